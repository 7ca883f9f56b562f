use crate::arrow::array::{ArrayRef, Float64Array, StringArray};
use serde::{Deserialize, Serialize};

use super::numeric::Moments;
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
    /// A number; the network predicts `(y - mean) / scale`.
    Value {
        /// The column's name.
        name: String,
        /// The mean of the training rows.
        mean: f64,
        /// Their population standard deviation.
        scale: f64,
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
}

impl TargetFit {
    pub(super) fn new(task: Task, rule: &ColumnRule) -> Self {
        Self {
            task,
            name: rule.name.clone(),
            labels: rule.categories.clone(),
            classes: (None, false),
            moments: Moments::default(),
        }
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
                values.iter().flatten().for_each(|v| self.moments.add(v));
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
            Task::Regression => Ok(FittedTarget::Value {
                name,
                mean: self.moments.mean(),
                scale: self.moments.scale(),
            }),
        }
    }
}

impl FittedTarget {
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
