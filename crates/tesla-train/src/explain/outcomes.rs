//! Predictions with the truth beside them.

use serde::Serialize;
use tesla_core::{Predictions, Predictor};
use tesla_data::contract::Need;
use tesla_data::prepare::FittedTarget;
use tesla_data::{ColumnKind, Selection, Target};

use super::{Sample, cell, targets};
use crate::metrics::{self, RegressionSums};
use crate::{Error, Result};

/// What should have been said of some rows, and what was.
#[derive(Clone, Debug)]
pub struct Outcomes {
    /// The rows that are judged, by their places in the sample.
    pub rows: Vec<usize>,
    /// What is true of each.
    pub truth: Target,
    /// `[rows, width]`: probabilities of classes, or the predicted number.
    pub predicted: Vec<f64>,
    /// The number of classes, or 1.
    pub width: usize,
}

/// What should have been said of the rows of a sample, and what was; with `only_last`, of each group
/// of a sequence the last row only.
///
/// # Errors
/// When the rows break the contract.
pub fn outcomes(predictor: &Predictor, sample: &Sample, only_last: bool) -> Result<Outcomes> {
    let bundle = predictor.bundle();
    let place = |row: usize| format!("row {}", row + 1);
    let conformed = bundle.contract.conform(&sample.batch, Need::Target, &place)?;
    let (judged, truth) = bundle.pipeline.judged(&conformed, only_last)?;
    let (found, width) = match predictor.predict_at(&sample.batch, &place)? {
        Predictions::Classes {
            probabilities,
            labels,
        } => (probabilities, labels.len()),
        Predictions::Values(values) => (values, 1),
    };
    let rows: Vec<usize> = judged.into_iter().map(|row| row as usize).collect();
    let predicted = rows.iter().flat_map(|row| &found[row * width..][..width]).copied();
    Ok(Outcomes {
        predicted: predicted.collect(),
        rows,
        truth,
        width,
    })
}

impl Outcomes {
    /// The log loss of classes, or the root mean squared error of numbers.
    ///
    /// # Errors
    /// When there is no row, or a prediction is not a number.
    pub fn loss(&self) -> Result<f64> {
        Ok(match &self.truth {
            Target::Classes(truth) => {
                metrics::log_loss(self.width, truth, &self.predicted, None)?
            }
            Target::Values(truth) => {
                RegressionSums::of(truth, &self.predicted, None)?.finish()?.rmse
            }
            Target::Absent => return Err(Error::Config("the rows have no target".into())),
        })
    }

    /// What [`Outcomes::loss`] is called.
    pub fn loss_name(&self) -> &'static str {
        match &self.truth {
            Target::Values(_) => "RMSE",
            _ => "log loss",
        }
    }

    /// How wrong each row is: 1 less the probability of the true class, or the distance from the true
    /// number.
    pub fn errors(&self) -> Vec<f64> {
        let rows = self.predicted.chunks_exact(self.width.max(1));
        match &self.truth {
            Target::Classes(truth) => {
                std::iter::zip(rows, truth).map(|(p, class)| 1.0 - p[*class as usize]).collect()
            }
            Target::Values(truth) => {
                std::iter::zip(rows, truth).map(|(p, y)| (p[0] - y).abs()).collect()
            }
            Target::Absent => Vec::new(),
        }
    }

    /// The most probable class of a judged row; 0 where numbers are predicted.
    pub fn class(&self, at: usize) -> usize {
        let row = &self.predicted[at * self.width..][..self.width];
        (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best })
    }

    /// The places of at most `most` judged rows that are wrong, the worst first; equally wrong ones in
    /// their order.
    pub fn worst(&self, most: usize) -> Vec<usize> {
        let errors = self.errors();
        let mut worst: Vec<usize> = (0..targets(&self.truth))
            .filter(|at| match &self.truth {
                Target::Classes(truth) => self.class(*at) != truth[*at] as usize,
                _ => errors[*at] > 0.0,
            })
            .collect();
        worst.sort_by(|a, b| errors[*b].total_cmp(&errors[*a]).then(a.cmp(b)));
        worst.truncate(most);
        worst
    }
}

/// A row that the model is most wrong about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mistake {
    /// The place of the row in the sample.
    pub row: usize,
    /// Where it stands in its source.
    pub place: String,
    /// What is true.
    pub truth: String,
    /// What was predicted.
    pub predicted: String,
    /// The probability of what was predicted, where it is a class.
    pub probability: Option<f64>,
    /// As [`Outcomes::errors`] has it.
    pub error: f64,
    /// The values that the model saw, by column; no pictures.
    pub values: Vec<(String, String)>,
}

/// The rows of a sample that the model is most wrong about, the worst first.
pub fn mistakes(
    predictor: &Predictor,
    rows: &Selection<'_>,
    sample: &Sample,
    outcomes: &Outcomes,
    most: usize,
) -> Vec<Mistake> {
    let bundle = predictor.bundle();
    let errors = outcomes.errors();
    let worst = outcomes.worst(most).into_iter().map(|at| {
        let row = outcomes.rows[at];
        let (truth, predicted, probability) = match (&outcomes.truth, &bundle.pipeline.target) {
            (Target::Classes(truth), FittedTarget::Classes { labels, .. }) => {
                let class = outcomes.class(at);
                let probability = outcomes.predicted[at * outcomes.width + class];
                (labels[truth[at] as usize].clone(), labels[class].clone(), Some(probability))
            }
            (Target::Values(truth), _) => {
                (truth[at].to_string(), outcomes.predicted[at].to_string(), None)
            }
            _ => (String::new(), String::new(), None),
        };
        let columns = bundle.contract.inputs().filter(|rule| rule.kind != ColumnKind::Image);
        let values = columns.filter_map(|rule| {
            let column = sample.batch.column_by_name(&rule.name)?;
            Some((rule.name.clone(), cell(column, row)))
        });
        Mistake {
            row,
            place: rows.place(sample.rows[row]),
            truth,
            predicted,
            probability,
            error: errors[at],
            values: values.collect(),
        }
    });
    worst.collect()
}
