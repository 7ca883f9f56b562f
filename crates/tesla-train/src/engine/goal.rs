use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData, activation};
use tesla_core::Network;
use tesla_core::decision::softmax;
use tesla_data::augment::Mix;
use tesla_data::prepare::FittedTarget;
use tesla_data::{Samples, Target};

use super::pairs::Pairs;
use crate::evaluate::Metrics;
use crate::metrics::{classification_of, regression_of};
use crate::{ClassWeights, Error, Result, TrainConfig};

/// What the network is pulled towards.
pub(super) enum Goal {
    /// Cross-entropy over classes.
    Classes {
        /// Classes, as many as the network has outputs.
        count: usize,
        smoothing: f32,
        /// Focal loss (Lin et al. 2017): each row's loss times `(1 - p)^focus`.
        focus: f64,
    },
    /// Items that users have score above others (Rendle et al. 2009).
    Pairs(Arc<Pairs>),
    /// Mean squared error of what the target is scaled to, and what one of that is.
    Value { target: FittedTarget, unit: f64 },
}

/// The validation metric of a model that ranks.
pub(super) const NDCG: &str = "ndcg@10";
/// What each training row weighs in the loss: its own weight times that of its class. `None` when all
/// weigh 1.
///
/// # Errors
/// When a class is weighed that the target has not, or no row weighs anything.
pub(crate) fn row_weights(
    own: Option<Vec<f64>>,
    config: &ClassWeights,
    target: &FittedTarget,
    train: &Target,
) -> Result<Option<Vec<f64>>> {
    let mut weights = own;
    if let (FittedTarget::Classes { labels, .. }, Some(classes), false) =
        (target, train.classes(), *config == ClassWeights::Equal)
    {
        let each = class_weights(config, labels, train)?;
        let weights = weights.get_or_insert_with(|| vec![1.0; classes.len()]);
        for (weight, class) in std::iter::zip(weights, classes) {
            *weight *= f64::from(each[*class as usize]);
        }
    }
    if weights
        .as_ref()
        .is_some_and(|all| all.iter().all(|weight| *weight == 0.0))
    {
        let message = "no training row weighs anything: `data.weight`, times the class's own in `train.class_weights`, is 0 for all";
        return Err(Error::Config(message.into()));
    }
    Ok(weights)
}

/// The targets of one batch, on the host.
pub(super) struct Targets {
    /// `[rows, outputs]`: probabilities of classes, or the standardised number.
    pub(super) values: Vec<f32>,
    /// What each row weighs.
    pub(super) weights: Vec<f32>,
}

impl Targets {
    /// Mixes them as their images were mixed. The cross-entropy of mixed targets is the mix of the
    /// cross-entropies, each with its row's weight.
    pub(super) fn mix(&mut self, mix: &Mix) {
        let width = self.values.len() / mix.lambda.len().max(1);
        let (values, weights) = (self.values.clone(), self.weights.clone());
        for (row, (partner, lambda)) in std::iter::zip(&mix.partner, &mix.lambda).enumerate() {
            let (own, other) = (weights[row] * lambda, weights[*partner] * (1.0 - lambda));
            self.weights[row] = own + other;
            let share = match own + other > 0.0 {
                true => own / (own + other),
                false => *lambda,
            };
            let other = &values[partner * width..][..width];
            for (own, other) in self.values[row * width..][..width].iter_mut().zip(other) {
                *own = *own * share + other * (1.0 - share);
            }
        }
    }
}

impl Goal {
    pub(super) fn new(target: &FittedTarget, config: &TrainConfig) -> Self {
        match target {
            FittedTarget::Classes { labels, .. } => Goal::Classes {
                count: labels.len(),
                smoothing: config.label_smoothing as f32,
                focus: config.focal,
            },
            FittedTarget::Value { scale, .. } => Goal::Value {
                target: target.clone(),
                unit: *scale,
            },
        }
    }

    pub(super) fn metric(&self) -> &'static str {
        match self {
            Goal::Classes { .. } => "accuracy",
            Goal::Pairs(_) => NDCG,
            Goal::Value {
                target: FittedTarget::Value { log: true, .. },
                ..
            } => "rmsle",
            Goal::Value { .. } => "rmse",
        }
    }

    /// What the given rows should give; `weights` is what every training row weighs.
    pub(super) fn targets(
        &self,
        target: &Target,
        weights: Option<&[f64]>,
        rows: &[usize],
    ) -> Targets {
        let weights = match weights {
            Some(weights) => rows.iter().map(|row| weights[*row] as f32).collect(),
            None => vec![1.0; rows.len()],
        };
        match (self, target) {
            (
                Goal::Classes {
                    count, smoothing, ..
                },
                Target::Classes(all),
            ) => {
                let rest = smoothing / *count as f32;
                let mut values = vec![rest; rows.len() * count];
                for (row, values) in std::iter::zip(rows, values.chunks_exact_mut(*count)) {
                    values[all[*row] as usize] += 1.0 - smoothing;
                }
                Targets { values, weights }
            }
            (Goal::Value { target, .. }, Target::Values(all)) => Targets {
                values: rows.iter().map(|row| target.encode(all[*row]) as f32).collect(),
                weights,
            },
            // The pipeline that fitted the target made it, too.
            _ => Targets {
                values: Vec::new(),
                weights: Vec::new(),
            },
        }
    }

    /// The weighted mean loss over a batch, shape `[1]`.
    pub(super) fn loss(&self, output: Tensor<2>, targets: Targets, device: &Device) -> Tensor<1> {
        if let Goal::Pairs(pairs) = self {
            return pairs.loss(output);
        }
        let [rows, outputs] = output.dims();
        let target: Tensor<2> =
            Tensor::from_data(TensorData::new(targets.values, [rows, outputs]), device);
        let losses = match self {
            Goal::Classes { focus, .. } => {
                let logs = activation::log_softmax(output, 1);
                let loss = (target.clone() * logs.clone()).sum_dim(1).neg();
                match *focus > 0.0 {
                    true => {
                        let wrong = (target * logs.exp()).sum_dim(1).neg().add_scalar(1.0);
                        loss * wrong.clamp_min(0.0).powf_scalar(*focus)
                    }
                    false => loss,
                }
            }
            Goal::Pairs(_) | Goal::Value { .. } => (output - target).powi_scalar(2),
        };
        if targets.weights.iter().all(|w| *w == 1.0) {
            return losses.mean();
        }
        let total: f32 = targets.weights.iter().sum();
        // A batch of which no row weighs anything pulls nowhere.
        let total = if total > 0.0 { total } else { 1.0 };
        let weights: Tensor<2> =
            Tensor::from_data(TensorData::new(targets.weights, [rows, 1]), device);
        (losses * weights).sum().div_scalar(total)
    }

    /// Mean loss and metric over all rows, each times its weight, without gradients, smoothing or weights of
    /// classes; summed on the host in 64-bit floats. The metric is the figure that `stop` names, or that of
    /// the goal.
    pub(super) fn evaluate(
        &self,
        network: &Network,
        samples: &Samples,
        weights: Option<&[f64]>,
        device: &Device,
        stop: Option<&'static str>,
    ) -> Result<(f64, f64)> {
        if let Goal::Pairs(pairs) = self {
            return pairs.evaluate(network, samples, device);
        }
        let mut said = Vec::new();
        let order: Vec<usize> = (0..samples.len).collect();
        let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
        let (mut loss, mut hits) = (0.0, 0.0);
        for rows in order.chunks(VALID_ROWS) {
            let batch = tesla_core::Batch::gather(&samples.inputs, rows, device)?;
            let output = read(network.forward(batch))?;
            if stop.is_some() {
                said.extend(output.iter().map(|v| f64::from(*v)));
            }
            match (self, &samples.target) {
                (Goal::Classes { count, .. }, Target::Classes(all)) => {
                    for (row, scores) in std::iter::zip(rows, output.chunks_exact(*count)) {
                        let class = all[*row] as usize;
                        let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                        let sum: f64 = scores.iter().map(|s| f64::from(s - max).exp()).sum();
                        loss += weight(*row) * (sum.ln() - f64::from(scores[class] - max));
                        if scores.iter().position(|s| *s == max) == Some(class) {
                            hits += weight(*row);
                        }
                    }
                }
                (Goal::Value { target, .. }, Target::Values(all)) => {
                    for (row, found) in std::iter::zip(rows, &output) {
                        loss +=
                            weight(*row) * (f64::from(*found) - target.encode(all[*row])).powi(2);
                    }
                }
                _ => {}
            }
        }
        let total = weights.map_or(samples.len as f64, |weights| weights.iter().sum());
        if total == 0.0 {
            let message = "no validation row weighs anything: `data.weight` is 0 for all";
            return Err(Error::Config(message.into()));
        }
        if let Some(name) = stop {
            return Ok((loss / total, self.figure(name, said, &samples.target, weights)?));
        }
        let metric = match self {
            Goal::Classes { .. } | Goal::Pairs(_) => hits / total,
            Goal::Value { unit, .. } => (loss / total).sqrt() * unit,
        };
        Ok((loss / total, metric))
    }
}

impl Goal {
    /// A figure of a report, from what the network said of all rows.
    fn figure(
        &self,
        name: &str,
        mut said: Vec<f64>,
        target: &Target,
        weights: Option<&[f64]>,
    ) -> Result<f64> {
        let metrics = match (self, target) {
            (Goal::Classes { count, .. }, Target::Classes(truth)) => {
                said.chunks_exact_mut(*count).for_each(softmax);
                let labels: Vec<String> = (0..*count).map(|class| class.to_string()).collect();
                Metrics::Classification(classification_of(&labels, truth, &said, weights)?.0)
            }
            (Goal::Value { target, .. }, Target::Values(truth)) => {
                let said: Vec<f64> = said.into_iter().map(|y| target.decode(y)).collect();
                Metrics::Regression(regression_of(truth, &said, weights, false)?.0)
            }
            // The pipeline that fitted the target made it, too.
            _ => return Ok(0.0),
        };
        let found = metrics.figures().into_iter().find(|(own, _)| *own == name);
        // Undefined in one epoch, such as where one class alone is predicted, it may be there in the next.
        Ok(found.and_then(|(_, value)| value).unwrap_or(f64::NAN))
    }
}

/// Scores on the host.
pub(super) fn read(output: Tensor<2>) -> Result<Vec<f32>> {
    Ok(tesla_core::device::to_host(output, "scores")?)
}

/// Rows per pass when only looking at the loss.
pub(super) const VALID_ROWS: usize = 256;

fn class_weights(config: &ClassWeights, labels: &[String], train: &Target) -> Result<Vec<f32>> {
    match config {
        ClassWeights::Equal => Ok(vec![1.0; labels.len()]),
        ClassWeights::Balanced => {
            let mut counts = vec![0usize; labels.len()];
            let classes = train.classes().unwrap_or_default();
            classes.iter().for_each(|class| counts[*class as usize] += 1);
            // As scikit-learn's `class_weight="balanced"`, over the classes that are there.
            let present = counts.iter().filter(|count| **count > 0).count();
            let weight = |count: &usize| match count {
                0 => 1.0,
                count => classes.len() as f32 / (present * count) as f32,
            };
            Ok(counts.iter().map(weight).collect())
        }
        ClassWeights::Each(each) => {
            if let Some((name, _)) = each.iter().find(|(name, _)| !labels.contains(name)) {
                return Err(Error::Config(format!(
                    "`train.class_weights` names the class `{name}`, which the target has not: expected {}",
                    labels
                        .iter()
                        .take(10)
                        .map(|l| format!("`{l}`"))
                        .collect::<Vec<_>>()
                        .join(", ")
                )));
            }
            let weight = |label: &String| each.get(label).copied().unwrap_or(1.0) as f32;
            Ok(labels.iter().map(weight).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_rows_pull_as_their_parts_did_each_with_its_weight() {
        let mix = Mix {
            partner: vec![1, 0],
            lambda: vec![0.75, 0.5],
            boxes: None,
        };
        let mut targets = Targets {
            values: vec![1.0, 0.0, 0.0, 1.0],
            weights: vec![30.0, 1.0],
        };
        targets.mix(&mix);
        // What -log p of each class is multiplied by.
        let pulls: Vec<f32> = targets
            .values
            .chunks(2)
            .zip(&targets.weights)
            .flat_map(|(values, weight)| values.iter().map(move |v| v * weight))
            .collect();
        for (found, expected) in std::iter::zip(pulls, [22.5, 0.25, 15.0, 0.5]) {
            assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
        }
    }
}
