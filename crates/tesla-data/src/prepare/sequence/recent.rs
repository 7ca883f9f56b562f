use std::collections::VecDeque;

use super::{FittedSequence, RollingStatistic};

/// The last rows of a group, for lags and statistics of them.
pub(super) struct Recent<'a> {
    sequence: &'a FittedSequence,
    /// The last row is the first.
    rows: VecDeque<Vec<f64>>,
    /// How many rows are ever asked for.
    most: usize,
}

impl<'a> Recent<'a> {
    pub(super) fn new(sequence: &'a FittedSequence) -> Self {
        let lags = sequence.lags.iter().map(|lag| lag + 1);
        let rolling = sequence.rolling.iter().flat_map(|r| r.rows.iter().copied());
        Self {
            sequence,
            rows: VecDeque::new(),
            most: lags.chain(rolling).max().unwrap_or(0),
        }
    }

    pub(super) fn push(&mut self, row: Vec<f64>) {
        self.rows.push_front(row);
        self.rows.truncate(self.most);
    }

    /// Puts behind `row`, which was pushed last, lag by lag its numbers as they were, then statistic
    /// by statistic.
    pub(super) fn add(&self, row: &mut Vec<f32>) {
        let Some(width) = self.rows.front().map(Vec::len) else {
            return;
        };
        for lag in &self.sequence.lags {
            match self.rows.get(*lag) {
                Some(then) => row.extend(then.iter().map(|value| *value as f32)),
                None => row.resize(row.len() + width, 0.0),
            }
        }
        let Some(rolling) = &self.sequence.rolling else {
            return;
        };
        for rows in &rolling.rows {
            for of in &rolling.of {
                let values = |at: usize| self.rows.iter().take(*rows).map(move |row| row[at]);
                row.extend((0..width).map(|at| statistic(*of, values(at)) as f32));
            }
        }
    }
}

fn statistic(of: RollingStatistic, values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count() as f64;
    let mean = || values.clone().sum::<f64>() / count;
    match of {
        RollingStatistic::Mean => mean(),
        RollingStatistic::Std => {
            let mean = mean();
            let squares: f64 = values.clone().map(|v| (v - mean).powi(2)).sum();
            (squares / (count - 1.0).max(1.0)).sqrt()
        }
        RollingStatistic::Min => values.fold(f64::INFINITY, f64::min),
        RollingStatistic::Max => values.fold(f64::NEG_INFINITY, f64::max),
    }
}
