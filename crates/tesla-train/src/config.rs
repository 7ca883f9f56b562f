use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tesla_core::ModelConfig;
use tesla_data::DataConfig;
use tesla_data::config::ColumnConfigs;

use crate::{Error, Result};

/// `tesla.toml`: the whole program of a training run. Every field has a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the rows come from and what is predicted.
    pub data: DataConfig,
    /// What is said about single columns, by name.
    #[serde(skip_serializing_if = "ColumnConfigs::is_empty")]
    pub columns: ColumnConfigs,
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
    /// The rule that turns gradients into steps.
    pub optimizer: Optimizer,
    /// Decoupled weight decay (`adamw`) or L2 penalty (`adam`, `sgd`).
    pub weight_decay: f64,
    /// When to stop before `epochs`.
    pub early_stop: EarlyStop,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            device: "auto".into(),
            seed: 42,
            epochs: 50,
            batch_size: 64,
            learning_rate: 1e-3,
            optimizer: Optimizer::AdamW,
            weight_decay: 0.01,
            early_stop: EarlyStop::default(),
        }
    }
}

/// The rule that turns gradients into steps. Everything not in `[train]` is PyTorch's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019); betas 0.9, 0.999, eps 1e-8.
    #[default]
    AdamW,
    /// Adam (Kingma & Ba 2015); betas 0.9, 0.999, eps 1e-8.
    Adam,
    /// Stochastic gradient descent with momentum 0.9.
    Sgd,
}

/// When to stop early: the validation loss decides, and the best weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EarlyStop {
    /// Epochs without a better validation loss before training stops; 0 never stops and keeps
    /// the last weights.
    pub patience: usize,
}

impl Default for EarlyStop {
    fn default() -> Self {
        Self { patience: 10 }
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
        positive("weight_decay", decay >= 0.0 && decay.is_finite(), &decay, "0 or more")
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
