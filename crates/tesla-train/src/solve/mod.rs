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

pub(crate) use lbfgs::Search;
pub use lbfgs::{Minimum, minimise};

/// Weights of a linear model: `[inputs, outputs]` row-major, and one intercept per output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weights {
    pub(crate) weight: Vec<f64>,
    pub(crate) bias: Vec<f64>,
    pub(crate) passes: usize,
    pub(crate) converged: bool,
}

/// Whether a model is solved exactly instead of by mini-batches.
pub fn is_exact(model: &ModelConfig) -> bool {
    match model {
        ModelConfig::Linear(config) => config.solver == Solver::Exact,
        ModelConfig::Logistic(config) => config.solver == Solver::Exact,
        ModelConfig::Mf(config) => config.solver == MfSolver::Als,
        _ => false,
    }
}

/// The training rows, before and after preparation.
pub(crate) struct Rows<'a> {
    pub(crate) selection: &'a Selection<'a>,
    pub(crate) samples: &'a Samples,
    /// What each row weighs; `None` when all weigh the same.
    pub(crate) weights: Option<&'a [f64]>,
}

/// Solves a model; `network` has its first weights. Least squares takes the features in full precision: the normal
/// equations square their condition.
pub(crate) fn solve(
    model: &ModelConfig,
    network: Network,
    pipeline: &FittedPipeline,
    rows: &Rows<'_>,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Fitted> {
    let Rows {
        selection,
        samples: train,
        weights: row_weights,
    } = *rows;
    if let (ModelConfig::Mf(config), Network::Mf(first)) = (model, &network) {
        return als::solve(config, first, &pipeline.target, (train, row_weights), device, observer);
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
                    let mut pass = pipeline.train_pass();
                    let mut start = 0;
                    for batch in selection.batches()? {
                        let batch = batch?;
                        let end = start + batch.num_rows();
                        let weights = row_weights.map(|all| &all[start..end]);
                        sums.add(&pass.matrix(&batch)?, &y[start..end], weights);
                        start = end;
                    }
                }
                images => {
                    for block in blocks(train.len) {
                        let x = images.gather(&block.clone().collect::<Vec<_>>())?;
                        let x: Vec<f64> = x.into_iter().map(f64::from).collect();
                        let weights = row_weights.map(|all| &all[block.clone()]);
                        sums.add(&x, &y[block], weights);
                    }
                }
            }
            least_squares::solve(sums, config.l2, config.l1)?
        }
        (ModelConfig::Logistic(config), FittedTarget::Classes { labels, .. }) => {
            let classes = train.target.classes().unwrap_or_default();
            match &train.inputs {
                Inputs::Tokens(_) => {
                    let mut all: Option<SparseRows> = None;
                    for batch in selection.batches()? {
                        let next = pipeline.sparse(&batch?)?;
                        match &mut all {
                            Some(all) => all.append(next),
                            None => all = Some(next),
                        }
                    }
                    let all = all.unwrap_or_else(|| SparseRows::new(width));
                    let truth = Truth::new(classes, labels.len(), row_weights);
                    sparse::solve(&all, &truth, config.c)?
                }
                inputs => {
                    let truth = Truth::new(classes, labels.len(), row_weights);
                    logistic::solve(inputs, &truth, config.c)?
                }
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

/// The classes of the training rows.
pub(crate) struct Truth<'a> {
    classes: &'a [u32],
    labels: usize,
    weights: Option<&'a [f64]>,
    /// The sum of the weights.
    total: f64,
}

impl<'a> Truth<'a> {
    fn new(classes: &'a [u32], labels: usize, weights: Option<&'a [f64]>) -> Self {
        let total = weights.map_or(classes.len() as f64, |weights| weights.iter().sum());
        Self {
            classes,
            labels,
            weights,
            total,
        }
    }

    /// The weighted loss of a row; its logits become probability minus truth, weighted.
    fn error(&self, row: usize, z: &mut [f64]) -> f64 {
        let loss = logistic::error(z, self.classes[row] as usize);
        let Some(weights) = self.weights else {
            return loss;
        };
        z.iter_mut().for_each(|z| *z *= weights[row]);
        loss * weights[row]
    }

    /// Of two classes the first has no scores of its own: they are 0.
    fn logits(&self) -> usize {
        if self.labels == 2 { 1 } else { self.labels }
    }
}

/// Logistic regression near its optimum, for comparison: a search that ends soon.
pub(crate) fn quick_logistic(
    x: &Inputs,
    classes: &[u32],
    labels: usize,
    weights: Option<&[f64]>,
) -> Result<Weights> {
    logistic::search(x, &Truth::new(classes, labels, weights), 1.0, 1e-4, 100)
}

/// Least squares of prepared rows.
pub(crate) fn quick_least_squares(
    x: &Inputs,
    y: &[f64],
    weights: Option<&[f64]>,
) -> Result<Weights> {
    let mut sums = Sums::new(x.row_shape().iter().product());
    for (block, y) in blocks(y.len()).zip(y.chunks(BLOCK)) {
        let weights = weights.map(|all| &all[block.clone()]);
        let x = x.gather(&block.collect::<Vec<_>>())?;
        sums.add(&x.into_iter().map(f64::from).collect::<Vec<_>>(), y, weights);
    }
    least_squares::solve(sums, 1e-6, 0.0)
}

/// Rows per task. Fixed, so that sums have one order at any number of threads.
const BLOCK: usize = 1024;

/// The rows in blocks.
fn blocks(rows: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows)
        .step_by(BLOCK)
        .map(move |start| start..rows.min(start + BLOCK))
}
