use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tesla_core::ModelConfig;
use tesla_data::augment::AugmentConfig;
use tesla_data::config::ColumnConfigs;
use tesla_data::{AuditConfig, DataConfig};

use crate::{Error, Result, Schedule};

/// `tesla.toml`: the whole program of a training run. Every field has a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the rows come from and what is predicted.
    pub data: DataConfig,
    /// What is said about single columns, by name.
    #[serde(skip_serializing_if = "ColumnConfigs::is_empty")]
    pub columns: ColumnConfigs,
    /// What the leak auditor does with what it finds.
    pub audit: AuditConfig,
    /// How training images are changed by chance, so that the network sees more than there are.
    #[serde(skip_serializing_if = "AugmentConfig::is_off")]
    pub augment: AugmentConfig,
    /// Which network to build. Default: `cnn` for images, `mlp` for tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelConfig>,
    /// How it is trained.
    pub train: TrainConfig,
}

/// `[train]`: how the network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// `auto`, `wgpu`, `wgpu:N`, `flex` or `ndarray`; the command line's `--device` wins.
    pub device: String,
    /// The seed of split, initial weights, shuffling and dropout.
    pub seed: u64,
    /// The most passes over the training rows.
    pub epochs: usize,
    /// Rows per step.
    pub batch_size: usize,
    /// The step size.
    pub learning_rate: f64,
    /// How the step size changes while training.
    pub schedule: Schedule,
    /// The rule that turns gradients into steps.
    pub optimizer: Optimizer,
    /// The momentum of `sgd`, in 0..1.
    pub momentum: f64,
    /// Decoupled weight decay (`adamw`, `lion`) or L2 penalty (`adam`, `sgd`, `rms_prop`). Biases and
    /// norms do not decay.
    pub weight_decay: f64,
    /// The largest norm that all gradients together may have; 0 for any.
    pub clip_norm: f64,
    /// Batches whose gradients are averaged into one step.
    pub accumulate: usize,
    /// The share of a class's probability that goes to all classes alike, in 0..1.
    pub label_smoothing: f64,
    /// What rows weigh in the loss, by their class.
    #[serde(skip_serializing_if = "ClassWeights::is_equal")]
    pub class_weights: ClassWeights,
    /// Focal loss (Lin et al. 2017): each row's loss times `(1 - p)` to this power; 0 for none.
    pub focal: f64,
    /// What the moving average of the weights keeps at each step, such as 0.999; predictions then
    /// come from the average. 0 for no average.
    pub average: f64,
    /// When to stop before `epochs`.
    pub early_stop: EarlyStop,
    /// How often a run saves what it needs to go on after it was stopped.
    pub checkpoint: CheckpointConfig,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            device: "auto".into(),
            seed: 42,
            epochs: 50,
            batch_size: 64,
            learning_rate: 1e-3,
            schedule: Schedule::default(),
            optimizer: Optimizer::AdamW,
            momentum: 0.9,
            weight_decay: 0.01,
            clip_norm: 0.0,
            accumulate: 1,
            label_smoothing: 0.0,
            class_weights: ClassWeights::default(),
            focal: 0.0,
            average: 0.0,
            early_stop: EarlyStop::default(),
            checkpoint: CheckpointConfig::default(),
        }
    }
}

/// The rule that turns gradients into steps. Everything not in `[train]` is PyTorch's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019); betas 0.9, 0.999, eps 1e-8.
    #[default]
    #[serde(rename = "adamw")]
    AdamW,
    /// Adam (Kingma & Ba 2015); betas 0.9, 0.999, eps 1e-8.
    Adam,
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// RMSprop (Tieleman & Hinton 2012); alpha 0.99, eps 1e-8.
    RmsProp,
    /// Lion (Chen et al. 2023); betas 0.9, 0.99. It wants a tenth of AdamW's learning rate.
    Lion,
}

/// What rows weigh in the loss, by their class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// All the same.
    #[default]
    Equal,
    /// Classes weigh the same together, however many rows they have: `rows / (classes * count)`.
    Balanced,
    /// As listed by class; 1 for those that are not.
    #[serde(untagged)]
    Each(BTreeMap<String, f64>),
}

impl ClassWeights {
    fn is_equal(&self) -> bool {
        *self == ClassWeights::Equal
    }
}

/// How often a run saves what it needs to go on, in its folder under `checkpoints/`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// Minutes between two checkpoints; 0 for none by time.
    pub every_minutes: f64,
    /// Steps between two checkpoints; 0 for none by steps.
    pub every_steps: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            every_minutes: 5.0,
            every_steps: 0,
        }
    }
}

/// When to stop early; the best weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EarlyStop {
    /// Epochs without anything better before training stops; 0 never stops and keeps
    /// the last weights.
    pub patience: usize,
    /// What has to get better.
    pub metric: StopMetric,
}

/// What decides on the best epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopMetric {
    /// The validation loss.
    #[default]
    Loss,
    /// The accuracy on the validation rows; the loss where a number is predicted.
    Accuracy,
    /// NDCG at 10 of the users of the validation rows; the loss where the model does not rank.
    Ndcg,
}

impl Default for EarlyStop {
    fn default() -> Self {
        Self {
            patience: 10,
            metric: StopMetric::default(),
        }
    }
}

impl TrainConfig {
    pub(crate) fn check(&self) -> Result<()> {
        let positive = |key: &str, ok: bool, value: &dyn std::fmt::Display, valid: &str| match ok {
            true => Ok(()),
            false => Err(Error::Config(format!("`train.{key}` is {value}: expected {valid}"))),
        };
        let rate = self.learning_rate;
        let decay = self.weight_decay;
        positive("epochs", self.epochs > 0, &self.epochs, "at least 1")?;
        positive("batch_size", self.batch_size > 0, &self.batch_size, "at least 1")?;
        positive("learning_rate", rate > 0.0 && rate.is_finite(), &rate, "a number above 0")?;
        positive("weight_decay", decay >= 0.0 && decay.is_finite(), &decay, "0 or more")?;
        let share = 0.0..1.0;
        positive("momentum", share.contains(&self.momentum), &self.momentum, "0 to below 1")?;
        positive("average", share.contains(&self.average), &self.average, "0 to below 1")?;
        let smoothing = self.label_smoothing;
        positive("label_smoothing", share.contains(&smoothing), &smoothing, "0 to below 1")?;
        positive("accumulate", self.accumulate > 0, &self.accumulate, "at least 1")?;
        for (key, value) in [("clip_norm", self.clip_norm), ("focal", self.focal)] {
            positive(key, value >= 0.0 && value.is_finite(), &value, "0 or more")?;
        }
        if let ClassWeights::Each(each) = &self.class_weights
            && let Some((class, weight)) = each.iter().find(|(_, w)| !(w.is_finite() && **w >= 0.0))
        {
            return Err(Error::Config(format!(
                "`train.class_weights.{class}` is {weight}: expected 0 or more"
            )));
        }
        let minutes = self.checkpoint.every_minutes;
        positive("checkpoint.every_minutes", (0.0..1e9).contains(&minutes), &minutes, "0 or more")?;
        self.schedule.check()
    }
}

impl Config {
    /// The configuration as a bundle carries it: sources by name, without directories or secrets.
    pub(crate) fn without_paths(&self) -> serde_json::Value {
        let config = Self {
            data: self.data.without_paths(),
            ..self.clone()
        };
        serde_json::to_value(config).expect("the configuration serialises")
    }
}
