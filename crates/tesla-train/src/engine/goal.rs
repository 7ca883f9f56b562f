use burn::tensor::{Device, Tensor, TensorData, activation};
use tesla_core::Network;
use tesla_data::augment::Mix;
use tesla_data::prepare::FittedTarget;
use tesla_data::{Samples, Target};

use crate::evaluate::Metrics;
use crate::metrics::{classification_of, regression_of};
use crate::{ClassWeights, Error, Result, TrainConfig};

/// What the network is pulled towards.
pub(super) enum Goal {
    /// Cross-entropy over classes.
    Classes {
        /// Classes, as many as the network has outputs.
        count: usize,
        /// What a row of each class weighs.
        weights: Vec<f32>,
        smoothing: f32,
        /// Focal loss (Lin et al. 2017): each row's loss times `(1 - p)^focus`.
        focus: f64,
    },
    /// Mean squared error of what the target is scaled to, and what one of that is.
    Value { target: FittedTarget, unit: f64 },
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
    /// cross-entropies.
    pub(super) fn mix(&mut self, mix: &Mix) {
        for all in [&mut self.values, &mut self.weights] {
            let width = all.len() / mix.lambda.len().max(1);
            let old = all.clone();
            for (row, (partner, lambda)) in std::iter::zip(&mix.partner, &mix.lambda).enumerate() {
                let own = &mut all[row * width..][..width];
                for (own, other) in own.iter_mut().zip(&old[partner * width..][..width]) {
                    *own = *own * lambda + other * (1.0 - lambda);
                }
            }
        }
    }
}

impl Goal {
    pub(super) fn new(target: &FittedTarget, train: &Target, config: &TrainConfig) -> Result<Self> {
        match target {
            FittedTarget::Classes { labels, .. } => Ok(Goal::Classes {
                count: labels.len(),
                weights: class_weights(&config.class_weights, labels, train)?,
                smoothing: config.label_smoothing as f32,
                focus: config.focal,
            }),
            FittedTarget::Value { scale, .. } => Ok(Goal::Value {
                target: target.clone(),
                unit: *scale,
            }),
        }
    }

    pub(super) fn metric(&self) -> &'static str {
        match self {
            Goal::Classes { .. } => "accuracy",
            Goal::Value {
                target: FittedTarget::Value { log: true, .. },
                ..
            } => "rmsle",
            Goal::Value { .. } => "rmse",
        }
    }

    pub(super) fn targets(&self, target: &Target, rows: &[usize]) -> Targets {
        match (self, target) {
            (
                Goal::Classes {
                    count,
                    weights,
                    smoothing,
                    ..
                },
                Target::Classes(all),
            ) => {
                let rest = smoothing / *count as f32;
                let mut values = vec![rest; rows.len() * count];
                for (row, values) in std::iter::zip(rows, values.chunks_exact_mut(*count)) {
                    values[all[*row] as usize] += 1.0 - smoothing;
                }
                Targets {
                    values,
                    weights: rows.iter().map(|row| weights[all[*row] as usize]).collect(),
                }
            }
            (Goal::Value { target, .. }, Target::Values(all)) => Targets {
                values: rows.iter().map(|row| target.encode(all[*row]) as f32).collect(),
                weights: vec![1.0; rows.len()],
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
            Goal::Value { .. } => (output - target).powi_scalar(2),
        };
        if targets.weights.iter().all(|w| *w == 1.0) {
            return losses.mean();
        }
        let total: f32 = targets.weights.iter().sum();
        let weights: Tensor<2> =
            Tensor::from_data(TensorData::new(targets.weights, [rows, 1]), device);
        (losses * weights).sum().div_scalar(total)
    }

    /// Mean loss and metric over all rows, without gradients, smoothing or weights; summed on the
    /// host in 64-bit floats. The metric is the figure that `stop` names, or that of the goal.
    pub(super) fn evaluate(
        &self,
        network: &Network,
        samples: &Samples,
        device: &Device,
        stop: Option<&'static str>,
    ) -> Result<(f64, f64)> {
        let mut said = Vec::new();
        let order: Vec<usize> = (0..samples.len).collect();
        let (mut loss, mut hits) = (0.0, 0usize);
        for rows in order.chunks(VALID_ROWS) {
            let batch = tesla_core::Batch::gather(&samples.inputs, rows, device)?;
            let output = network.forward(batch).try_into_data_as::<f32>();
            let output = output.and_then(|data| Ok(data.try_into_vec::<f32>()?)).map_err(|e| {
                tesla_core::Error::Device(format!("the device did not deliver the scores: {e}"))
            })?;
            if stop.is_some() {
                said.extend(output.iter().map(|v| f64::from(*v)));
            }
            match (self, &samples.target) {
                (Goal::Classes { count, .. }, Target::Classes(all)) => {
                    for (row, scores) in std::iter::zip(rows, output.chunks_exact(*count)) {
                        let class = all[*row] as usize;
                        let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                        let sum: f64 = scores.iter().map(|s| f64::from(s - max).exp()).sum();
                        loss += sum.ln() - f64::from(scores[class] - max);
                        hits += usize::from(scores.iter().position(|s| *s == max) == Some(class));
                    }
                }
                (Goal::Value { target, .. }, Target::Values(all)) => {
                    for (row, found) in std::iter::zip(rows, &output) {
                        loss += (f64::from(*found) - target.encode(all[*row])).powi(2);
                    }
                }
                _ => {}
            }
        }
        let rows = samples.len as f64;
        if let Some(name) = stop {
            return Ok((loss / rows, self.figure(name, said, &samples.target)?));
        }
        let metric = match self {
            Goal::Classes { .. } => hits as f64 / rows,
            Goal::Value { unit, .. } => (loss / rows).sqrt() * unit,
        };
        Ok((loss / rows, metric))
    }
}

impl Goal {
    /// A figure of a report, from what the network said of all rows.
    fn figure(&self, name: &str, mut said: Vec<f64>, target: &Target) -> Result<f64> {
        let (metrics, undefined) = match (self, target) {
            (Goal::Classes { count, .. }, Target::Classes(truth)) => {
                said.chunks_exact_mut(*count).for_each(softmax);
                let labels: Vec<String> = (0..*count).map(|class| class.to_string()).collect();
                let (figures, undefined) = classification_of(&labels, truth, &said)?;
                (Metrics::Classification(figures), undefined)
            }
            (Goal::Value { target, .. }, Target::Values(truth)) => {
                let said: Vec<f64> = said.into_iter().map(|y| target.decode(y)).collect();
                let (figures, undefined) = regression_of(truth, &said, None, false)?;
                (Metrics::Regression(figures), undefined)
            }
            // The pipeline that fitted the target made it, too.
            _ => return Ok(0.0),
        };
        let found = metrics.figures().into_iter().find(|(own, _)| *own == name);
        found.and_then(|(_, value)| value).ok_or_else(|| {
            let reason = undefined
                .get(name)
                .map_or("the rows do not define it", String::as_str);
            Error::Config(format!(
                "`train.early_stop.metric` cannot be taken from the validation rows: {reason}"
            ))
        })
    }
}

/// Scores to probabilities.
fn softmax(scores: &mut [f64]) {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|s| *s = (*s - max).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|s| *s /= sum);
}

/// Rows per pass when only looking at the loss.
const VALID_ROWS: usize = 256;

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
