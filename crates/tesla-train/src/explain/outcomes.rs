//! How wrong a model is about the rows of a sample.

use tesla_core::{Predictions, Predictor};
use tesla_data::Target;
use tesla_data::contract::Need;

use super::Sample;
use crate::metrics::{self, RegressionSums};
use crate::{Error, Result};

/// A figure of which less is better, and its name: the log loss of classes, or the root mean squared
/// error of numbers.
pub(super) fn loss(predictor: &Predictor, sample: &Sample) -> Result<(&'static str, f64)> {
    let bundle = predictor.bundle();
    let place = |row: usize| format!("row {}", row + 1);
    let conformed = bundle.contract.conform(&sample.batch, Need::Target, &place)?;
    let (judged, truth) = bundle.pipeline.judged(&conformed, false)?;
    let (found, width) = match predictor.predict_at(&sample.batch, &place)? {
        Predictions::Classes {
            probabilities,
            labels,
            ..
        } => (probabilities, labels.len()),
        Predictions::Values(values) => (values, 1),
    };
    let rows = judged.iter().map(|row| *row as usize);
    let predicted: Vec<f64> =
        rows.flat_map(|row| &found[row * width..][..width]).copied().collect();
    match &truth {
        Target::Classes(truth) => {
            Ok(("log loss", metrics::log_loss(width, truth, &predicted, None)?))
        }
        Target::Values(truth) => {
            Ok(("RMSE", RegressionSums::of(truth, &predicted, None)?.finish()?.rmse))
        }
        Target::Absent => Err(Error::Config("the rows have no target".into())),
    }
}
