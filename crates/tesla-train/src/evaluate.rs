//! Evaluation: raw rows with their truth go through the predictor, as every prediction does.

use serde::{Deserialize, Serialize};
use tesla_core::{Predictions, Predictor};
use tesla_data::arrow::compute::concat_batches;
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
    evaluate_rows(predictor, rows, false)
}

/// Like [`evaluate`]; with `only_last`, of each group of a sequence the last row is judged.
pub(crate) fn evaluate_rows(
    predictor: &Predictor,
    rows: &Selection<'_>,
    only_last: bool,
) -> Result<Report> {
    let bundle = predictor.bundle();
    let mut classes: Vec<u32> = Vec::new();
    let mut values: Vec<f64> = Vec::new();
    // Probabilities of each class, or the predicted number.
    let mut predicted: Vec<f64> = Vec::new();
    let (mut count, mut start) = (0, 0);
    let mut batches = rows.batches()?;
    if bundle.pipeline.sequence.is_some() {
        // A window is made of rows that may stand in another batch.
        let all = batches.collect::<tesla_data::Result<Vec<_>>>()?;
        let whole = all
            .first()
            .map(|first| concat_batches(&first.schema(), &all))
            .transpose();
        batches = Box::new(whole.map_err(tesla_data::Error::from)?.into_iter().map(Ok));
    }
    let mut pass = bundle.pipeline.pass();
    for batch in batches {
        let batch = batch?;
        let place = |row: usize| rows.place(start + row);
        let conformed = bundle.contract.conform(&batch, Need::Target, &place)?;
        let (judged, truth) = bundle.pipeline.judged(&conformed, only_last)?;
        match truth {
            Target::Classes(truth) => classes.extend(truth),
            Target::Values(truth) => values.extend(truth),
            Target::Absent => unreachable!("`Need::Target` asks for the column"),
        }
        let (found, width) = match predictor.predict_in(&mut pass, &batch, &place)? {
            Predictions::Classes {
                probabilities,
                labels,
            } => (probabilities, labels.len()),
            Predictions::Values(values) => (values, 1),
        };
        for row in &judged {
            predicted.extend(&found[*row as usize * width..][..width]);
        }
        count += judged.len();
        start += batch.num_rows();
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
