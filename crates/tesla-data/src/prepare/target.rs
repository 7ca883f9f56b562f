use crate::arrow::array::{ArrayRef, Float64Array, StringArray};
use serde::{Deserialize, Serialize};

use super::numeric::{Moments, no_logarithm, too_far};
use crate::config::{ColumnConfig, Scale};
use crate::contract::{ColumnRule, Task};
use crate::frame::downcast;
use crate::samples::Target;
use crate::{Error, Result};

/// The target column: class labels, or the mean and scale of a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FittedTarget {
    /// One of these classes.
    Classes {
        /// The column's name.
        name: String,
        /// The labels, sorted; a class number is a place in this list.
        labels: Vec<String>,
    },
    /// A number; the network predicts `(y - mean) / scale`, of `ln(1 + y)` where `log` says so.
    Value {
        /// The column's name.
        name: String,
        /// The mean of the training rows.
        mean: f64,
        /// Their population standard deviation.
        scale: f64,
        /// Whether the logarithm is taken first.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        log: bool,
    },
}

/// What is known of the target after some batches.
pub(super) struct TargetFit {
    task: Task,
    name: String,
    labels: Vec<String>,
    /// The first class seen, and whether there was another.
    classes: (Option<String>, bool),
    moments: Moments,
    scale: Scale,
    /// The smallest number.
    least: f64,
}

impl TargetFit {
    /// # Errors
    /// When a target cannot be scaled as `config` says.
    pub(super) fn new(task: Task, rule: &ColumnRule, config: &ColumnConfig) -> Result<Self> {
        let scale = config.scale.unwrap_or_default();
        let plain = ColumnConfig {
            kind: config.kind,
            scale: config.scale.filter(|_| task == Task::Regression),
            remove_outliers: config.remove_outliers.filter(|_| task == Task::Regression),
            ..Default::default()
        };
        if *config != plain || !matches!(scale, Scale::Standard | Scale::Log1p | Scale::None) {
            return Err(Error::Config(format!(
                "column `{}` is the target: it takes `kind` and, if it is a number, `remove_outliers` and `scale` as `standard`, `log1p` or `none`",
                rule.name
            )));
        }
        Ok(Self {
            task,
            scale,
            least: f64::INFINITY,
            name: rule.name.clone(),
            labels: rule.categories.clone(),
            classes: (None, false),
            moments: Moments::default(),
        })
    }

    pub(super) fn update(&mut self, values: &ArrayRef) -> Result<()> {
        match self.task {
            Task::Classification => {
                let (first, other) = &mut self.classes;
                for class in downcast::<StringArray>(values)?.iter().flatten() {
                    match first {
                        Some(first) => *other |= first != class,
                        None => *first = Some(class.to_string()),
                    }
                }
            }
            Task::Regression => {
                let values = downcast::<Float64Array>(values)?;
                for value in values.iter().flatten() {
                    self.least = self.least.min(value);
                    self.moments.add(if self.scale == Scale::Log1p {
                        value.ln_1p()
                    } else {
                        value
                    });
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<FittedTarget> {
        let name = self.name;
        match self.task {
            Task::Classification => {
                let (_, several) = self.classes;
                if !several {
                    return Err(Error::Config(format!(
                        "the target `{name}` has one class in the training rows: there is nothing to tell apart"
                    )));
                }
                // The labels are the contract's, so that a class no training row happens to
                // have can still be counted when it turns up in the test rows.
                Ok(FittedTarget::Classes {
                    name,
                    labels: self.labels,
                })
            }
            Task::Regression => {
                let log = self.scale == Scale::Log1p;
                if log && self.least <= -1.0 {
                    return Err(no_logarithm(&name, self.least));
                }
                let range = self.moments.seen().unwrap_or_default();
                let (mean, scale) = match self.scale {
                    Scale::None => (0.0, 1.0),
                    _ => (self.moments.mean(), self.moments.scale()),
                };
                if !(mean.is_finite() && scale.is_finite()) {
                    return Err(too_far(&name, range));
                }
                Ok(FittedTarget::Value {
                    name,
                    mean,
                    scale,
                    log,
                })
            }
        }
    }
}

impl FittedTarget {
    /// What a network should say for a number in the target's own unit. Where the logarithm is
    /// taken, numbers of -1 and below, which have none, count as just above.
    pub fn encode(&self, y: f64) -> f64 {
        match self {
            FittedTarget::Classes { .. } => y,
            FittedTarget::Value {
                mean, scale, log, ..
            } => {
                let y = if *log {
                    y.max(f64::EPSILON - 1.0).ln_1p()
                } else {
                    y
                };
                (y - mean) / scale
            }
        }
    }

    /// What a network says, in the target's own unit: the inverse of [`FittedTarget::encode`].
    pub fn decode(&self, y: f64) -> f64 {
        match self {
            FittedTarget::Classes { .. } => y,
            FittedTarget::Value {
                mean, scale, log, ..
            } => {
                let y = y * scale + mean;
                // A finite number even where a network is far off.
                if *log {
                    y.min(f64::MAX.ln()).exp_m1()
                } else {
                    y
                }
            }
        }
    }

    pub(super) fn transform(&self, values: &ArrayRef) -> Result<Target> {
        match self {
            FittedTarget::Classes { labels, .. } => {
                let classes = downcast::<StringArray>(values)?;
                let ids = classes.iter().map(|class| {
                    let class = class.unwrap_or_default();
                    labels
                        .binary_search_by(|l| l.as_str().cmp(class))
                        .map(|i| i as u32)
                        .map_err(|_| Error::Config(format!("the class `{class}` is unknown")))
                });
                Ok(Target::Classes(ids.collect::<Result<_>>()?))
            }
            FittedTarget::Value { .. } => {
                let values = downcast::<Float64Array>(values)?;
                Ok(Target::Values(values.values().to_vec()))
            }
        }
    }

    /// The column's name.
    pub fn name(&self) -> &str {
        match self {
            FittedTarget::Classes { name, .. } | FittedTarget::Value { name, .. } => name,
        }
    }

    /// The class labels; empty for a number.
    pub fn labels(&self) -> &[String] {
        match self {
            FittedTarget::Classes { labels, .. } => labels,
            FittedTarget::Value { .. } => &[],
        }
    }

    /// The task.
    pub fn task(&self) -> Task {
        match self {
            FittedTarget::Classes { .. } => Task::Classification,
            FittedTarget::Value { .. } => Task::Regression,
        }
    }
}
