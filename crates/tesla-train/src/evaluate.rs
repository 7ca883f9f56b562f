//! Evaluation: raw rows with their truth go through the predictor, as every prediction does.

use serde::{Deserialize, Serialize};
use tesla_core::{Predictions, Predictor};
use tesla_data::contract::Need;
use tesla_data::prepare::FittedTarget;
use tesla_data::{Selection, Target, Task};

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

/// Evaluates a model on raw rows that carry the target, batch by batch.
///
/// # Errors
/// When the rows break the contract, a class is unknown to the model, there is no row, or a prediction
/// is not a number.
pub fn evaluate(predictor: &Predictor, rows: &Selection<'_>) -> Result<Report> {
    let bundle = predictor.bundle();
    let mut classes: Vec<u32> = Vec::new();
    let mut values: Vec<f64> = Vec::new();
    // Probabilities of each class, or the predicted number.
    let mut predicted: Vec<f64> = Vec::new();
    let mut count = 0;
    for batch in rows.batches()? {
        let batch = batch?;
        let place = |row: usize| rows.place(count + row);
        let conformed = bundle.contract.conform(&batch, Need::Target, &place)?;
        match bundle.pipeline.target_values(&conformed)? {
            Target::Classes(truth) => classes.extend(truth),
            Target::Values(truth) => values.extend(truth),
            Target::Absent => unreachable!("`Need::Target` asks for the column"),
        }
        predicted.extend(match predictor.predict_at(&batch, &place)? {
            Predictions::Classes { probabilities, .. } => probabilities,
            Predictions::Values(values) => values,
        });
        count += batch.num_rows();
    }
    if count == 0 {
        return Err(Error::Config("there is no row to evaluate on".into()));
    }
    let (metrics, baseline) = match &bundle.pipeline.target {
        FittedTarget::Classes { labels, .. } => {
            let metrics = metrics::classification(labels, &classes, &predicted)?;
            let largest = metrics.classes.iter().map(|c| c.support).max();
            let baseline = largest.unwrap_or(0) as f64 / count as f64;
            (Metrics::Classification(metrics), baseline)
        }
        FittedTarget::Value { .. } => {
            let mean = values.iter().sum::<f64>() / count as f64;
            let baseline = metrics::regression(&values, &vec![mean; count])?.rmse;
            let metrics = metrics::regression(&values, &predicted)?;
            (Metrics::Regression(metrics), baseline)
        }
    };
    Ok(Report {
        rows: count,
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
