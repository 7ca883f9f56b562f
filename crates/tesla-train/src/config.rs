use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tesla_core::ModelConfig;
use tesla_data::augment::AugmentConfig;
use tesla_data::config::ColumnConfigs;
use tesla_data::{AuditConfig, DataConfig, Task};

use crate::metrics::threshold::Costs;
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
    /// What is chosen on validation rows, and how figures are made.
    #[serde(skip_serializing_if = "EvaluateConfig::is_default")]
    pub evaluate: EvaluateConfig,
}

/// `[evaluate]`: what is chosen on validation rows, and how figures are made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluateConfig {
    /// When the second of two classes (in sorted order) is predicted: `"f1"`,
    /// `{ recall_at_precision = 0.9 }` or `{ cost = { false_positive = 1, false_negative = 20 } }`.
    /// Chosen on the validation rows and stored in the model. Default: when it is the more probable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<ThresholdRule>,
    /// How probabilities are made to come true as often as they say: fitted on the validation rows and
    /// stored in the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibrate: Option<CalibrationKind>,
    /// Columns whose values divide the test rows into slices with figures of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
}

/// How the threshold of two classes is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdRule {
    /// The highest F1 of the second class.
    F1,
    /// The highest recall of the second class among those of at least this precision, in 0..1.
    RecallAtPrecision(f64),
    /// The lowest mean cost. What is not said is 1 for a mistake and 0 for what is right.
    Cost(Costs),
}

/// How probabilities are calibrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationKind {
    /// One number that all logits are divided by: it keeps the predicted class.
    Temperature,
    /// A logistic curve; of two classes.
    Platt,
    /// Rising steps, of two classes: for a thousand validation rows or more.
    Isotonic,
}

impl EvaluateConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.threshold {
            Some(ThresholdRule::RecallAtPrecision(precision))
                if !(0.0..=1.0).contains(&precision) =>
            {
                Err(Error::Config(format!(
                    "`evaluate.threshold.recall_at_precision` is {precision}: expected 0 to 1"
                )))
            }
            _ => Ok(()),
        }
    }
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
    /// Rows per step; the last step of an epoch takes those that are left, and one more where that would be
    /// a single row.
    pub batch_size: usize,
    /// The step size.
    pub learning_rate: f64,
    /// How the step size changes while training.
    pub schedule: Schedule,
    /// The rule that turns gradients into steps.
    pub optimizer: Optimizer,
    /// The momentum of `sgd`, in 0..1.
    pub momentum: f64,
    /// Decoupled weight decay (`adamw`, `lion`) or L2 penalty (all others). Biases and norms do not
    /// decay. Default: 0.01 for `adamw`, 0 for all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
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
            weight_decay: None,
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
    #[serde(alias = "rmsprop")]
    RmsProp,
    /// Lion (Chen et al. 2023); betas 0.9, 0.99. It wants a tenth of AdamW's learning rate.
    Lion,
    /// L-BFGS (Nocedal & Wright 2006) on all training rows at once, for small data: an epoch is one step,
    /// whose length a line search finds in some passes over the rows; ten steps are remembered.
    Lbfgs,
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

/// What decides on the best epoch: the validation loss, or a figure of the validation rows. Averages
/// are over classes, as in reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopMetric {
    /// The validation loss.
    #[default]
    Loss,
    /// Of classes: the share of rows whose most probable class is the true one.
    Accuracy,
    /// Of classes: the mean over classes of recall.
    BalancedAccuracy,
    /// Of classes: the mean over classes of precision.
    Precision,
    /// Of classes: the mean over classes of recall, 0 where a class is only predicted.
    Recall,
    /// Of classes: the mean over classes of F1.
    F1,
    /// Of classes: the area under the ROC curve of the second of two, or of each of more against the
    /// rest.
    #[serde(alias = "roc_auc")]
    Auc,
    /// Of classes: the average precision of the second of two, or of each of more against the rest.
    AveragePrecision,
    /// Of classes: the log loss, without label smoothing or class weights.
    LogLoss,
    /// Of classes: the Brier score.
    Brier,
    /// Of classes: the Matthews correlation.
    Mcc,
    /// Of classes: Cohen's kappa.
    Kappa,
    /// Of numbers: the root of the mean squared error.
    Rmse,
    /// Of numbers: the mean absolute error.
    Mae,
    /// Of numbers: the share of variance explained.
    R2,
    /// Of numbers: the median absolute error.
    MedianAbsoluteError,
    /// Of numbers: the mean error as a share of the true number.
    Mape,
    /// Of models that rank: NDCG at 10 of the users of the validation rows.
    Ndcg,
}

impl StopMetric {
    /// Those of a task, by their names in `tesla.toml` and in reports.
    const OF_CLASSES: [(Self, &str, &str); 11] = [
        (Self::Accuracy, "accuracy", "accuracy"),
        (Self::BalancedAccuracy, "balanced_accuracy", "balanced_accuracy"),
        (Self::Precision, "precision", "precision"),
        (Self::Recall, "recall", "recall"),
        (Self::F1, "f1", "f1"),
        (Self::Auc, "auc", "roc_auc"),
        (Self::AveragePrecision, "average_precision", "average_precision"),
        (Self::LogLoss, "log_loss", "log_loss"),
        (Self::Brier, "brier", "brier"),
        (Self::Mcc, "mcc", "mcc"),
        (Self::Kappa, "kappa", "kappa"),
    ];
    const OF_NUMBERS: [(Self, &str, &str); 5] = [
        (Self::Rmse, "rmse", "rmse"),
        (Self::Mae, "mae", "mae"),
        (Self::R2, "r2", "r2"),
        (Self::MedianAbsoluteError, "median_absolute_error", "median_absolute_error"),
        (Self::Mape, "mape", "mape"),
    ];

    /// The name of its figure in a report; `None` of the loss.
    ///
    /// # Errors
    /// When the task does not have it.
    pub(crate) fn figure(self, task: Task, ranks: bool) -> Result<Option<&'static str>> {
        match (self, ranks) {
            (Self::Loss, _) => return Ok(None),
            (Self::Ndcg, true) => return Ok(Some("ndcg")),
            (Self::Ndcg, false) | (_, true) => {
                return Err(Error::Config(
                    "`train.early_stop.metric`: models that rank have `loss` and `ndcg`, which other models do not: choose one that the model has".into(),
                ));
            }
            _ => {}
        }
        let (valid, other, target) = match task {
            Task::Classification => (&Self::OF_CLASSES[..], &Self::OF_NUMBERS[..], "a class"),
            Task::Regression => (&Self::OF_NUMBERS[..], &Self::OF_CLASSES[..], "a number"),
        };
        let find = |list: &[(Self, &'static str, &'static str)]| {
            list.iter().find(|(own, _, _)| *own == self).copied()
        };
        if let Some((_, _, figure)) = find(valid) {
            return Ok(Some(figure));
        }
        let name = find(other).map_or("loss", |(_, name, _)| name);
        let valid: Vec<String> = valid.iter().map(|(_, name, _)| format!("`{name}`")).collect();
        Err(Error::Config(format!(
            "`train.early_stop.metric` is `{name}`, but the target is {target}: expected `loss`, {}",
            valid.join(", ")
        )))
    }
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
    /// The weight decay that is said, or else the default of the optimiser.
    pub(crate) fn weight_decay(&self) -> f64 {
        self.weight_decay.unwrap_or(match self.optimizer {
            Optimizer::AdamW => 0.01,
            _ => 0.0,
        })
    }

    /// Refuses what says how classes are learned where the target is a number.
    pub(crate) fn check_task(&self, task: Task) -> Result<()> {
        let of_classes = [
            ("class_weights", self.class_weights != ClassWeights::Equal),
            ("focal", self.focal > 0.0),
            ("label_smoothing", self.label_smoothing > 0.0),
        ];
        match of_classes.iter().find(|(_, said)| *said) {
            Some((key, _)) if task == Task::Regression => Err(Error::Config(format!(
                "`train.{key}` is about classes, but the target is a number: remove it"
            ))),
            _ => Ok(()),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let positive = |key: &str, ok: bool, value: &dyn std::fmt::Display, valid: &str| match ok {
            true => Ok(()),
            false => Err(Error::Config(format!("`train.{key}` is {value}: expected {valid}"))),
        };
        let rate = self.learning_rate;
        let decay = self.weight_decay();
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
        if self.optimizer == Optimizer::Lbfgs {
            let unused = [
                ("accumulate", self.accumulate > 1),
                ("average", self.average > 0.0),
                ("clip_norm", self.clip_norm > 0.0),
                ("schedule", self.schedule != Schedule::default()),
            ];
            if let Some((key, _)) = unused.iter().find(|(_, said)| *said) {
                return Err(Error::Config(format!(
                    "`train.{key}` does nothing with `optimizer = \"lbfgs\"`, which finds its own steps: remove it, or choose `adamw`"
                )));
            }
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
