//! Models solved in 64-bit floats on the CPU: linear ones to the optimum, factors by alternating least
//! squares.

mod als;
mod lbfgs;
mod least_squares;
mod logistic;
mod sparse;

use std::ops::Range;

use serde_json::json;
use tesla_core::model::{MfSolver, Solver};
use tesla_core::{Device, ModelConfig, Network};
use tesla_data::prepare::FittedTarget;
use tesla_data::samples::SparseRows;
use tesla_data::{FittedPipeline, Inputs, Samples, Selection};

use crate::train::Fitted;
use crate::{Error, Event, Observer, Result};

use least_squares::Sums;

pub use lbfgs::{Minimum, minimise};

/// Weights of a linear model: `[inputs, outputs]` row-major, and one intercept per output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weights {
    pub(crate) weight: Vec<f64>,
    pub(crate) bias: Vec<f64>,
    pub(crate) passes: usize,
    pub(crate) converged: bool,
}

/// Whether a model is solved here instead of by mini-batches.
pub(crate) fn is_exact(model: &ModelConfig) -> bool {
    match model {
        ModelConfig::Linear(config) => config.solver == Solver::Exact,
        ModelConfig::Logistic(config) => config.solver == Solver::Exact,
        ModelConfig::Mf(config) => config.solver == MfSolver::Als,
        _ => false,
    }
}

/// Solves a model; `network` has its first weights. Least squares takes the features of `rows` in full precision:
/// the normal equations square their condition.
pub(crate) fn solve(
    model: &ModelConfig,
    network: Network,
    pipeline: &FittedPipeline,
    rows: &Selection<'_>,
    train: &Samples,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Fitted> {
    if let (ModelConfig::Mf(config), Network::Mf(first)) = (model, &network) {
        return als::solve(config, first, &pipeline.target, train, device, observer);
    }
    if let Inputs::Sequences(_) = train.inputs {
        return Err(Error::Config(format!(
            "the model `{}` does not read sequences: expected `conv1d`, `lstm` or `mlp`",
            model.kind()
        )));
    }
    let width = train.inputs.row_shape().iter().product();
    let weights = match (model, &pipeline.target) {
        (ModelConfig::Linear(config), FittedTarget::Value { .. }) => {
            let y = train.target.values().unwrap_or_default();
            let y: Vec<f64> = y.iter().map(|y| pipeline.target.encode(*y)).collect();
            let mut sums = Sums::new(width);
            match &train.inputs {
                Inputs::Dense(_) => {
                    let mut rest = y.as_slice();
                    let mut pass = pipeline.train_pass();
                    for batch in rows.batches()? {
                        let batch = batch?;
                        let (here, after) = rest.split_at(batch.num_rows());
                        sums.add(&pass.matrix(&batch)?, here);
                        rest = after;
                    }
                }
                images => {
                    for (block, y) in blocks(train.len).zip(y.chunks(BLOCK)) {
                        let x = images.gather(&block.collect::<Vec<_>>())?;
                        sums.add(&x.into_iter().map(f64::from).collect::<Vec<_>>(), y);
                    }
                }
            }
            least_squares::solve(sums, config.l2)?
        }
        (ModelConfig::Logistic(config), FittedTarget::Classes { labels, .. }) => {
            let classes = train.target.classes().unwrap_or_default();
            match &train.inputs {
                Inputs::Tokens(_) => {
                    let mut all: Option<SparseRows> = None;
                    for batch in rows.batches()? {
                        let next = pipeline.sparse(&batch?)?;
                        match &mut all {
                            Some(all) => all.append(next),
                            None => all = Some(next),
                        }
                    }
                    let all = all.unwrap_or_else(|| SparseRows::new(width));
                    sparse::solve(&all, classes, labels.len(), config.c)?
                }
                inputs => logistic::solve(inputs, classes, labels.len(), config.c)?,
            }
        }
        _ => unreachable!("`ModelConfig::init` refused a model that does not fit the task"),
    };
    if !weights.weight.iter().chain(&weights.bias).all(|w| w.is_finite()) {
        let message =
            "no finite solution was found: look for extreme values in the features and the target";
        return Err(Error::Config(message.into()));
    }
    observer.event(Event::Solved {
        passes: weights.passes,
        converged: weights.converged,
    });
    let narrow = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect();
    Ok(Fitted {
        network: Network::linear(narrow(weights.weight), narrow(weights.bias), device),
        first_loss: None,
        history: json!({ "passes": weights.passes, "converged": weights.converged }),
    })
}

/// Rows per task. Fixed, so that sums have one order at any number of threads.
const BLOCK: usize = 1024;

/// The rows in blocks.
fn blocks(rows: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows)
        .step_by(BLOCK)
        .map(move |start| start..rows.min(start + BLOCK))
}
