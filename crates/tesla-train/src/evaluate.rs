//! Evaluation: raw rows with their truth go through the predictor, as every prediction does.

use serde::{Deserialize, Serialize};
use tesla_core::{Predictions, Predictor};
use tesla_data::arrow::array::RecordBatch;
use tesla_data::contract::Need;
use tesla_data::prepare::FittedTarget;
use tesla_data::{Target, Task};

use crate::metrics::{self, Classification, Regression};
use crate::{Error, Result};

/// The figures of a model on some rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The rows that were evaluated.
    pub rows: usize,
    /// The figures.
    pub metrics: Metrics,
    /// The figure of always predicting the same, for comparison: the accuracy of the most
    /// frequent class of these rows, or the RMSE of their mean.
    pub baseline: f64,
}

/// Figures by task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Metrics {
    /// The target is a class.
    Classification(Classification),
    /// The target is a number.
    Regression(Regression),
}

/// Evaluates a model on raw rows that carry the target. `place` names a row for a message.
///
/// # Errors
/// When the rows break the contract, a class is unknown to the model, or there is no row.
pub fn evaluate(
    predictor: &Predictor,
    rows: &RecordBatch,
    place: &(dyn Fn(usize) -> String + Sync),
) -> Result<Report> {
    if rows.num_rows() == 0 {
        return Err(Error::Config("there is no row to evaluate on".into()));
    }
    let bundle = predictor.bundle();
    let target = bundle.pipeline.target_values(&bundle.contract.conform(rows, Need::Target, place)?)?;
    let predictions = predictor.predict_at(rows, place)?;
    let (metrics, baseline) = match (&bundle.pipeline.target, &predictions, &target) {
        (
            FittedTarget::Classes { labels, .. },
            Predictions::Classes { probabilities, .. },
            Target::Classes(truth),
        ) => {
            let metrics = metrics::classification(labels, truth, probabilities);
            let largest = metrics.classes.iter().map(|c| c.support).max();
            let baseline = largest.unwrap_or(0) as f64 / truth.len() as f64;
            (Metrics::Classification(metrics), baseline)
        }
        (_, Predictions::Values(values), Target::Values(truth)) => {
            let mean = truth.iter().sum::<f64>() / truth.len() as f64;
            let baseline = metrics::regression(truth, &vec![mean; truth.len()]).rmse;
            (
                Metrics::Regression(metrics::regression(truth, values)),
                baseline,
            )
        }
        _ => unreachable!("the predictor's task is its target's"),
    };
    Ok(Report {
        rows: rows.num_rows(),
        metrics,
        baseline,
    })
}

impl Report {
    /// The figure to look at first: its name and value.
    pub fn headline(&self) -> (&'static str, f64) {
        match &self.metrics {
            Metrics::Classification(m) => ("accuracy", m.accuracy),
            Metrics::Regression(m) => ("r2", m.r2),
        }
    }

    /// The task.
    pub fn task(&self) -> Task {
        match &self.metrics {
            Metrics::Classification(_) => Task::Classification,
            Metrics::Regression(_) => Task::Regression,
        }
    }
}
