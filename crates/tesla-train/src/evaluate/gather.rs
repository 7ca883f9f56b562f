//! Judged rows become figures, batch by batch.

use std::collections::BTreeMap;

use tesla_core::Predictions;
use tesla_data::prepare::FittedTarget;
use tesla_data::{Selection, Target};

use super::curves;
use super::sample::Sample;
use super::{Baseline, Curves, Intervals, Judged, Metrics, Mistake};
use crate::Result;
use crate::metrics::resample::{Interval, Resampling, bootstrap_counts};
use crate::metrics::{
    self, Average, ClassGather, ClassScore, ClassesFound, Confusion, KappaWeights, MetricError,
    RegressionSums, Undefined, ZeroDivision, regression_of,
};

/// More classes than this have too large a confusion matrix to count it for every resample.
const MOST_COUNTED: usize = 100;
/// More classes than this are not ranked for every resample.
const MOST_RANKED: usize = 20;
/// Nor are more scores than this, of more than two classes: a thousand rankings of them take seconds.
const MOST_SORTED: usize = 100_000;
/// Classes that have curves.
const MOST_CURVES: usize = 10;

/// What is kept of judged rows.
pub(super) struct Gather {
    rows: Rows,
    count: usize,
    weight: Option<f64>,
    most_worst: usize,
    worst: Vec<Worst>,
}

/// By task.
pub(super) enum Rows {
    Classes {
        all: Box<ClassGather>,
        sample: Sample<ClassRow>,
    },
    Values {
        truth: Vec<f64>,
        predicted: Vec<f64>,
        weights: Vec<f64>,
        sample: Sample<ValueRow>,
    },
}

#[derive(Clone)]
pub(super) struct ClassRow {
    truth: u32,
    predicted: u32,
    weight: f64,
    loss: f64,
    brier: f64,
    /// The probability of the second of two classes, or of each of a few.
    scores: Vec<f64>,
}

#[derive(Clone, Copy)]
pub(super) struct ValueRow {
    pub(super) truth: f64,
    pub(super) predicted: f64,
    weight: f64,
}

impl ClassRow {
    pub(super) fn new(truth: u32, predicted: u32, weight: f64, row: &[f64]) -> Self {
        Self {
            truth,
            predicted,
            weight,
            loss: loss(row[truth as usize]),
            brier: brier(row, truth as usize),
            scores: match row {
                [_, second] => vec![*second],
                row if row.len() <= MOST_RANKED => row.to_vec(),
                _ => Vec::new(),
            },
        }
    }

    pub(super) fn is_right(&self) -> bool {
        self.truth == self.predicted
    }
}

impl ValueRow {
    pub(super) fn new(truth: f64, predicted: f64, weight: f64) -> Self {
        Self {
            truth,
            predicted,
            weight,
        }
    }
}

fn loss(p: f64) -> f64 {
    -p.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
}

/// A mistake, by the place of its row in the selection.
pub(super) struct Worst {
    severity: f64,
    place: usize,
    truth: f64,
    predicted: f64,
    probability: Option<f64>,
    truth_probability: Option<f64>,
}

pub(super) struct Finished {
    pub(super) rows: usize,
    pub(super) metrics: Metrics,
    pub(super) undefined: Undefined,
    pub(super) intervals: Intervals,
    pub(super) curves: Curves,
    pub(super) worst: Vec<Worst>,
    /// The model that always says the same.
    pub(super) constant: Baseline,
}

impl Gather {
    pub(super) fn new(target: &FittedTarget, most_worst: usize, most_sampled: usize) -> Self {
        let rows = match target {
            FittedTarget::Classes { labels, .. } => Rows::Classes {
                all: Box::new(ClassGather::new(labels.len())),
                sample: Sample::new(most_sampled),
            },
            FittedTarget::Value { .. } => Rows::Values {
                truth: Vec::new(),
                predicted: Vec::new(),
                weights: Vec::new(),
                sample: Sample::new(most_sampled),
            },
        };
        Self {
            rows,
            count: 0,
            weight: None,
            most_worst,
            worst: Vec::new(),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.count
    }

    pub(super) fn weight(&self) -> Option<f64> {
        self.weight
    }

    pub(super) fn update(&mut self, judged: &Judged, weights: Option<&[f64]>) -> Result<()> {
        self.count += judged.rows.len();
        if let Some(weights) = weights {
            *self.weight.get_or_insert_default() += weights.iter().sum::<f64>();
        }
        let weight = |at: usize| weights.map_or(1.0, |w| w[at]);
        match (&mut self.rows, &judged.truth, &judged.predictions) {
            (
                Rows::Classes { all, sample },
                Target::Classes(truth),
                Predictions::Classes { probabilities, .. },
            ) => {
                let predicted: Vec<u32> =
                    judged.predictions.classes().into_iter().map(|c| c as u32).collect();
                all.update(truth, &predicted, probabilities, weights)?;
                let classes = probabilities.len() / truth.len().max(1);
                for (at, row) in probabilities.chunks_exact(classes.max(1)).enumerate() {
                    let (truth, predicted) = (truth[at], predicted[at]);
                    let own = row[truth as usize];
                    if truth != predicted && self.most_worst > 0 {
                        self.worst.push(Worst {
                            severity: loss(own),
                            place: judged.rows[at],
                            truth: f64::from(truth),
                            predicted: f64::from(predicted),
                            probability: Some(row[predicted as usize]),
                            truth_probability: Some(own),
                        });
                    }
                    sample
                        .add(judged.rows[at], || ClassRow::new(truth, predicted, weight(at), row));
                }
            }
            (
                Rows::Values {
                    truth,
                    predicted,
                    weights: kept,
                    sample,
                },
                Target::Values(y),
                Predictions::Values(p),
            ) => {
                truth.extend(y);
                predicted.extend(p);
                kept.extend(weights.unwrap_or_default());
                for (at, (y, p)) in std::iter::zip(y, p).enumerate() {
                    let row = ValueRow::new(*y, *p, weight(at));
                    sample.add(judged.rows[at], || row);
                    if y != p && self.most_worst > 0 {
                        self.worst.push(Worst {
                            severity: (p - y).abs(),
                            place: judged.rows[at],
                            truth: *y,
                            predicted: *p,
                            probability: None,
                            truth_probability: None,
                        });
                    }
                }
            }
            _ => unreachable!("the pipeline that made the target made the predictions"),
        }
        if self.worst.len() > 1000 + 10 * self.most_worst {
            self.cut_worst();
        }
        Ok(())
    }

    fn cut_worst(&mut self) {
        let key =
            |a: &Worst, b: &Worst| b.severity.total_cmp(&a.severity).then(a.place.cmp(&b.place));
        self.worst.sort_unstable_by(key);
        self.worst.truncate(self.most_worst);
    }

    pub(super) fn finish(
        mut self,
        target: &FittedTarget,
        resampling: &Resampling,
        is_life: bool,
    ) -> Result<Finished> {
        self.cut_worst();
        let (rows, worst) = (self.count, self.worst);
        match self.rows {
            Rows::Classes { all, sample } => {
                let labels = target.labels();
                let ClassesFound {
                    figures,
                    undefined,
                    reliability,
                    ranked,
                } = all.finish(labels, MOST_CURVES)?;
                let supports: Vec<f64> = figures.classes.iter().map(|c| c.support).collect();
                let metrics = Metrics::Classification(figures);
                let intervals = class_intervals(&sample.finish(), labels.len(), rows, resampling)?;
                Ok(Finished {
                    rows,
                    undefined,
                    intervals: intervals.around(&metrics),
                    curves: curves::of_classes(&ranked, labels, reliability),
                    worst,
                    constant: majority(&supports),
                    metrics,
                })
            }
            Rows::Values {
                truth,
                predicted,
                weights,
                sample,
            } => {
                let weights = (!weights.is_empty()).then_some(weights.as_slice());
                let (figures, undefined) = regression_of(&truth, &predicted, weights, is_life)?;
                let metrics = Metrics::Regression(figures);
                let sample = sample.finish();
                let intervals = value_intervals(&sample, rows, resampling)?;
                Ok(Finished {
                    rows,
                    undefined,
                    intervals: intervals.around(&metrics),
                    curves: curves::of_values(&sample),
                    worst,
                    constant: mean(&truth, weights)?,
                    metrics,
                })
            }
        }
    }
}

impl Worst {
    pub(super) fn named(self, target: &FittedTarget, rows: &Selection<'_>) -> Mistake {
        let name = |value: f64| match target.labels() {
            [] => value.to_string(),
            labels => labels[value as usize].clone(),
        };
        Mistake {
            row: rows.frame().number(rows.row(self.place)),
            place: rows.place(self.place),
            truth: name(self.truth),
            predicted: name(self.predicted),
            probability: self.probability,
            truth_probability: self.truth_probability,
            error: target.labels().is_empty().then_some(self.predicted - self.truth),
        }
    }
}

fn brier(row: &[f64], truth: usize) -> f64 {
    let squares = row
        .iter()
        .enumerate()
        .map(|(i, p)| (p - f64::from(i == truth)).powi(2));
    squares.sum::<f64>() * if row.len() == 2 { 0.5 } else { 1.0 }
}

/// Intervals of a sample as they would be of all rows: the error of a mean falls with the root of
/// their number.
pub(super) fn widths(
    names: &[&str],
    found: Vec<Option<Interval>>,
    sampled: usize,
    rows: usize,
    resampling: &Resampling,
) -> Intervals {
    let share = (sampled as f64 / rows as f64).sqrt();
    let figures = std::iter::zip(names, found).filter_map(|(name, interval)| {
        let found = interval?;
        let narrowed = |end: f64| found.estimate + (end - found.estimate) * share;
        let interval = match sampled < rows {
            true => Interval {
                low: narrowed(found.low),
                high: narrowed(found.high),
                spread: found.spread * share,
                ..found
            },
            false => found,
        };
        Some((name.to_string(), interval))
    });
    Intervals {
        resampling: Some(*resampling),
        rows: sampled,
        figures: figures.collect(),
    }
}

/// Fewer rows than this say nothing of how others would vary.
const FEWEST: usize = 10;

impl Intervals {
    /// Moves the intervals of a sample to the figures of all rows.
    fn around(mut self, metrics: &Metrics) -> Self {
        if self.rows < FEWEST {
            return Self::default();
        }
        for (name, value) in metrics.figures() {
            if let (Some(value), Some(interval)) = (value, self.figures.get_mut(name)) {
                *interval = interval.around(value);
            }
        }
        self
    }
}

pub(super) const OF_CLASSES: [&str; 11] = [
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "mcc",
    "kappa",
    "log_loss",
    "brier",
    "roc_auc",
    "average_precision",
];

fn none(what: &str) -> metrics::Result<f64> {
    Err(MetricError::Undefined(format!("{what} is not resampled")))
}

fn class_intervals(
    sample: &[ClassRow],
    classes: usize,
    rows: usize,
    resampling: &Resampling,
) -> Result<Intervals> {
    if sample.len() < 2 {
        return Ok(Intervals::default());
    }
    let figures = class_figures(sample, classes);
    let found = bootstrap_counts(sample.len(), resampling, figures)?;
    Ok(widths(&OF_CLASSES, found, sample.len(), rows, resampling))
}

/// The figures of [`OF_CLASSES`] of rows that count as often as is said.
pub(super) fn class_figures(
    sample: &[ClassRow],
    classes: usize,
) -> impl Fn(&[u32]) -> Vec<metrics::Result<f64>> + Sync + '_ {
    // The rows by falling score of each class that is ranked.
    let columns = match sample.first().map_or(0, |row| row.scores.len()) {
        columns if columns > 1 && columns * sample.len() > MOST_SORTED => 0,
        columns => columns,
    };
    let ranked: Vec<Vec<u32>> = (0..columns)
        .map(|column| {
            let mut order: Vec<u32> = (0..sample.len() as u32).collect();
            let score = |row: &u32| sample[*row as usize].scores[column];
            order.sort_by(|a, b| score(b).total_cmp(&score(a)));
            order
        })
        .collect();
    move |counts: &[u32]| -> Vec<metrics::Result<f64>> {
        let weight = |at: usize| f64::from(counts[at]) * sample[at].weight;
        let mut found = of_matrix(sample, classes, &weight);
        let whole: f64 = (0..sample.len()).map(weight).sum();
        let mean = |value: fn(&ClassRow) -> f64| -> metrics::Result<f64> {
            let sum: f64 = sample
                .iter()
                .enumerate()
                .map(|(at, row)| weight(at) * value(row))
                .sum();
            match whole > 0.0 {
                true => Ok(sum / whole),
                false => none("a mean of rows without weight"),
            }
        };
        found.extend([mean(|row| row.loss), mean(|row| row.brier)]);
        let mut sums: [metrics::Result<f64>; 2] = [Ok(0.0), Ok(0.0)];
        for (column, order) in ranked.iter().enumerate() {
            let class = if columns == 1 { 1 } else { column as u32 };
            let areas = areas(sample, order, column, class, &weight);
            for (sum, area) in std::iter::zip(&mut sums, areas) {
                *sum = match (&*sum, area) {
                    (Ok(sum), Ok(area)) => Ok(sum + area / columns as f64),
                    (Err(error), _) => Err(error.clone()),
                    (_, Err(error)) => Err(error),
                };
            }
        }
        match ranked.is_empty() {
            true => found.extend([none("the ranking"), none("the ranking")]),
            false => found.extend(sums),
        }
        found
    }
}

/// What follows from the confusion matrix.
fn of_matrix(
    sample: &[ClassRow],
    classes: usize,
    weight: &impl Fn(usize) -> f64,
) -> Vec<metrics::Result<f64>> {
    if classes > MOST_COUNTED {
        let (mut hits, mut whole) = (0.0, 0.0);
        for (at, row) in sample.iter().enumerate() {
            whole += weight(at);
            hits += if row.truth == row.predicted {
                weight(at)
            } else {
                0.0
            };
        }
        let accuracy = match whole > 0.0 {
            true => Ok(hits / whole),
            false => none("accuracy of rows without weight"),
        };
        let others = (0..6).map(|_| none("a figure of so many classes"));
        return std::iter::once(accuracy).chain(others).collect();
    }
    let mut cells = vec![0.0; classes * classes];
    for (at, row) in sample.iter().enumerate() {
        cells[row.truth as usize * classes + row.predicted as usize] += weight(at);
    }
    let confusion = Confusion::from_cells(classes, cells);
    let mean = confusion.average(Average::Macro, 1.0, ZeroDivision::Zero);
    let mean = |figure: fn(&ClassScore) -> Option<f64>| match &mean {
        Ok(found) => figure(found).map_or_else(|| none("an average of no class"), Ok),
        Err(error) => Err(error.clone()),
    };
    vec![
        confusion.accuracy(),
        confusion.balanced_accuracy(),
        mean(|found| found.precision),
        mean(|found| found.recall),
        mean(|found| found.f),
        confusion.mcc(),
        confusion.kappa(KappaWeights::Equal),
    ]
}

/// The area under the ROC curve and the average precision of a class, its rows in falling order of
/// their scores.
fn areas(
    sample: &[ClassRow],
    order: &[u32],
    column: usize,
    class: u32,
    weight: &impl Fn(usize) -> f64,
) -> [metrics::Result<f64>; 2] {
    let (mut above, mut below) = (0.0, 0.0);
    let (mut pairs, mut precision) = (0.0, 0.0);
    let mut rest = order;
    while let Some(first) = rest.first() {
        let score = sample[*first as usize].scores[column];
        let (mut hits, mut misses, mut ties) = (0.0, 0.0, 0);
        for at in rest.iter().map(|at| *at as usize) {
            if sample[at].scores[column] != score {
                break;
            }
            match sample[at].truth == class {
                true => hits += weight(at),
                false => misses += weight(at),
            }
            ties += 1;
        }
        pairs += misses * (above + hits / 2.0);
        above += hits;
        below += misses;
        if hits > 0.0 {
            precision += hits * above / (above + below);
        }
        rest = &rest[ties..];
    }
    let whole = |part: f64, whole: f64| match whole > 0.0 {
        true => Ok(part / whole),
        false => none("the ranking of one class"),
    };
    [whole(pairs, above * below), whole(precision, above)]
}

pub(super) const OF_VALUES: [&str; 4] = ["mae", "rmse", "r2", "median_absolute_error"];

fn value_intervals(sample: &[ValueRow], rows: usize, resampling: &Resampling) -> Result<Intervals> {
    if sample.len() < 2 {
        return Ok(Intervals::default());
    }
    let figures = value_figures(sample);
    let found = bootstrap_counts(sample.len(), resampling, figures)?;
    Ok(widths(&OF_VALUES, found, sample.len(), rows, resampling))
}

/// The figures of [`OF_VALUES`] of rows that count as often as is said.
pub(super) fn value_figures(
    sample: &[ValueRow],
) -> impl Fn(&[u32]) -> Vec<metrics::Result<f64>> + Sync + '_ {
    let middle = sample.iter().map(|row| row.truth).sum::<f64>() / sample.len().max(1) as f64;
    let mut order: Vec<(f64, usize)> = (sample.iter().enumerate())
        .map(|(at, row)| ((row.predicted - row.truth).abs(), at))
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    move |counts: &[u32]| -> Vec<metrics::Result<f64>> {
        let [mut whole, mut errors, mut squares, mut truth, mut truths] = [0.0; 5];
        for (row, count) in std::iter::zip(sample, counts) {
            let (w, y) = (f64::from(*count) * row.weight, row.truth - middle);
            let error = row.predicted - row.truth;
            whole += w;
            errors += w * error.abs();
            squares += w * error * error;
            truth += w * y;
            truths += w * y * y;
        }
        if whole <= 0.0 {
            return OF_VALUES.iter().map(|name| none(name)).collect();
        }
        let spread = truths - truth * truth / whole;
        let mut sum = 0.0;
        let median = order.iter().find(|(_, at)| {
            sum += f64::from(counts[*at]) * sample[*at].weight;
            sum >= whole / 2.0
        });
        vec![
            Ok(errors / whole),
            Ok((squares / whole).sqrt()),
            match spread > 0.0 {
                true => Ok(1.0 - squares / spread),
                false => none("r2 of one truth"),
            },
            median.map_or_else(|| none("the median"), |(error, _)| Ok(*error)),
        ]
    }
}

/// Always the commonest class, with the shares of the classes as probabilities.
fn majority(supports: &[f64]) -> Baseline {
    let whole: f64 = supports.iter().sum();
    let shares: Vec<f64> = supports.iter().map(|s| s / whole).filter(|s| *s > 0.0).collect();
    let largest = shares.iter().copied().fold(0.0, f64::max);
    let occurring = shares.len().max(1) as f64;
    let brier = 1.0 - shares.iter().map(|s| s * s).sum::<f64>();
    let figures = [
        ("accuracy", largest),
        ("balanced_accuracy", 1.0 / occurring),
        ("f1", 2.0 * largest / (1.0 + largest) / occurring),
        ("log_loss", -shares.iter().map(|s| s * s.ln()).sum::<f64>()),
        (
            "brier",
            if supports.len() == 2 {
                brier / 2.0
            } else {
                brier
            },
        ),
    ];
    let mut figures: BTreeMap<String, f64> = figures
        .into_iter()
        .map(|(name, value)| (name.into(), value + 0.0))
        .collect();
    if shares.len() > 1 {
        figures.insert("roc_auc".into(), 0.5);
    }
    Baseline {
        name: "majority".into(),
        fitted_on: None,
        figures,
    }
}

/// Always the mean.
fn mean(truth: &[f64], weights: Option<&[f64]>) -> Result<Baseline> {
    let weight = |at: usize| weights.map_or(1.0, |w| w[at]);
    let whole: f64 = (0..truth.len()).map(weight).sum();
    let mean = truth.iter().enumerate().map(|(at, y)| weight(at) * y).sum::<f64>() / whole;
    let found = RegressionSums::of(truth, &vec![mean; truth.len()], weights)?.finish()?;
    let figures = [("mae", found.mae), ("mse", found.mse), ("rmse", found.rmse), ("r2", 0.0)];
    Ok(Baseline {
        name: "mean".into(),
        fitted_on: None,
        figures: figures
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use tesla_data::arrow::array::RecordBatch;
    use tesla_data::arrow::datatypes::Schema;

    use super::*;
    use crate::evaluate::sample::MOST;
    use crate::metrics::{average_precision, roc_auc};

    fn target() -> FittedTarget {
        FittedTarget::Classes {
            name: "y".into(),
            labels: vec!["no".into(), "yes".into()],
        }
    }

    /// Rows whose class the probability tells, but for every fifth; some scores tie.
    fn judged(rows: std::ops::Range<usize>) -> Judged {
        let probability = |row: &usize| (row * 7919 % 1000) as f64 / 1000.0;
        let truth = |row: usize| u32::from((probability(&row) > 0.5) != row.is_multiple_of(5));
        Judged {
            truth: Target::Classes(rows.clone().map(truth).collect()),
            predictions: Predictions::Classes {
                labels: target().labels().into(),
                probabilities: rows
                    .clone()
                    .flat_map(|r| [1.0 - probability(&r), probability(&r)])
                    .collect(),
                threshold: None,
            },
            rows: rows.collect(),
            batch: RecordBatch::new_empty(std::sync::Arc::new(Schema::empty())),
        }
    }

    fn finish(rows: usize, batch: usize) -> Finished {
        let mut gather = Gather::new(&target(), 5, MOST);
        for start in (0..rows).step_by(batch) {
            gather.update(&judged(start..rows.min(start + batch)), None).unwrap();
        }
        let resampling = Resampling {
            resamples: 200,
            ..Default::default()
        };
        gather.finish(&target(), &resampling, false).unwrap()
    }

    #[test]
    fn an_interval_of_a_sample_is_as_wide_as_that_of_all_rows() {
        let rows = 60_000;
        let found = finish(rows, 1000);
        assert_eq!(found.intervals.rows, MOST);
        let accuracy = &found.intervals.figures["accuracy"];
        let Metrics::Classification(metrics) = &found.metrics else {
            panic!("classes")
        };
        assert_eq!(accuracy.estimate, metrics.accuracy);
        let expected = (0.8 * 0.2 / rows as f64).sqrt();
        assert!((accuracy.spread / expected - 1.0).abs() < 0.2, "{} {expected}", accuracy.spread);
        assert!(accuracy.low < metrics.accuracy && metrics.accuracy < accuracy.high);
        assert_eq!(found.worst.len(), 5);
        assert!(found.worst.is_sorted_by(|a, b| a.severity >= b.severity));
    }

    #[test]
    fn batches_leave_no_trace() {
        let (whole, parts) = (finish(3000, 3000), finish(3000, 17));
        assert_eq!(whole.metrics, parts.metrics);
        assert_eq!(whole.intervals, parts.intervals);
        assert_eq!(whole.curves, parts.curves);
        assert_eq!(whole.constant, parts.constant);
    }

    #[test]
    fn resampled_rankings_are_those_of_the_metrics() {
        let judged = judged(0..500);
        let (Target::Classes(truth), Predictions::Classes { probabilities, .. }) =
            (&judged.truth, &judged.predictions)
        else {
            panic!("classes")
        };
        let weights: Vec<f64> = (0..500).map(|row| f64::from(row % 3)).collect();
        let sample: Vec<ClassRow> = (probabilities.chunks_exact(2).enumerate())
            .map(|(at, row)| ClassRow::new(truth[at], u32::from(row[1] > row[0]), weights[at], row))
            .collect();
        let counts: Vec<u32> = (0..500).map(|row| row % 4).collect();
        let found = class_figures(&sample, 2)(&counts);
        let all: Vec<f64> = std::iter::zip(&weights, &counts)
            .map(|(w, c)| w * f64::from(*c))
            .collect();
        let scores: Vec<f64> = probabilities.iter().skip(1).step_by(2).copied().collect();
        let close = |name: &str, expected: f64| {
            let at = OF_CLASSES.iter().position(|own| *own == name).unwrap();
            assert!((found[at].clone().unwrap() - expected).abs() < 1e-12, "{name}");
        };
        close("roc_auc", roc_auc(truth, &scores, Some(&all)).unwrap());
        close("average_precision", average_precision(truth, &scores, Some(&all)).unwrap());
        close("log_loss", metrics::log_loss(2, truth, probabilities, Some(&all)).unwrap());
        close("brier", metrics::brier(2, truth, probabilities, Some(&all)).unwrap());
    }
}
