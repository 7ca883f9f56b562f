//! Linear models solved to the optimum, in 64-bit floats on the CPU.

mod lbfgs;
mod least_squares;
mod logistic;

use std::borrow::Cow;

use serde_json::json;
use tesla_core::model::Solver;
use tesla_core::{Device, ModelConfig, Network};
use tesla_data::arrow::array::RecordBatch;
use tesla_data::prepare::FittedTarget;
use tesla_data::{FittedPipeline, Inputs, Samples};

use crate::train::Fitted;
use crate::{Event, Observer, Result};

pub use lbfgs::{Minimum, minimise};

/// Weights of a linear model: `[inputs, outputs]` row-major, and one intercept per output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weights {
    pub(crate) weight: Vec<f64>,
    pub(crate) bias: Vec<f64>,
    pub(crate) passes: usize,
}

/// Whether a model is solved here instead of by mini-batches.
pub(crate) fn is_exact(model: &ModelConfig) -> bool {
    match model {
        ModelConfig::Linear(config) => config.solver == Solver::Exact,
        ModelConfig::Logistic(config) => config.solver == Solver::Exact,
        _ => false,
    }
}

/// Solves a linear or logistic model. Least squares takes the features of `rows` in full precision:
/// the normal equations square their condition.
pub(crate) fn solve(
    model: &ModelConfig,
    pipeline: &FittedPipeline,
    rows: &RecordBatch,
    train: &Samples,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Fitted> {
    let width = train.inputs.row_shape().iter().product();
    let weights = match (model, &pipeline.target) {
        (ModelConfig::Linear(config), FittedTarget::Value { mean, scale, .. }) => {
            let y = train.target.values().unwrap_or_default();
            let y: Vec<f64> = y.iter().map(|y| (y - mean) / scale).collect();
            let x = match &train.inputs {
                Inputs::Dense { .. } => pipeline.matrix(rows)?,
                images => all(images, train.len).into_iter().map(f64::from).collect(),
            };
            least_squares::solve(&x, width, &y, config.l2)?
        }
        (ModelConfig::Logistic(config), FittedTarget::Classes { labels, .. }) => {
            let classes = train.target.classes().unwrap_or_default();
            let x = match &train.inputs {
                Inputs::Dense { values, .. } => Cow::Borrowed(values),
                images => Cow::Owned(all(images, train.len)),
            };
            logistic::solve(&x, width, classes, labels.len(), config.c)?
        }
        _ => unreachable!("`ModelConfig::init` refused a model that does not fit the task"),
    };
    observer.event(Event::Solved {
        passes: weights.passes,
    });
    let narrow = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect();
    Ok(Fitted {
        network: Network::linear(narrow(weights.weight), narrow(weights.bias), device),
        first_loss: None,
        history: json!({ "passes": weights.passes }),
    })
}

/// Images as one table, row by row.
fn all(images: &Inputs, rows: usize) -> Vec<f32> {
    images.gather(&(0..rows).collect::<Vec<_>>())
}
