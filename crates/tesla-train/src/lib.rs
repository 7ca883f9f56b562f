//! Training and evaluation.
//!
//! [`train`] is the one place where the order of stages is written: contract, split, preparation,
//! samples, network, weights, bundle, figures. Linear models are solved exactly in [`solve`];
//! everything else runs through the mini-batch loop of this crate, on every device alike.

mod config;
mod cross_validation;
mod decide;
mod engine;
mod error;
pub mod evaluate;
pub mod explain;
pub mod metrics;
mod observer;
pub mod solve;
mod train;

pub use config::{
    CalibrationKind, CheckpointConfig, ClassWeights, Config, EarlyStop, EvaluateConfig, Optimizer,
    StopMetric, ThresholdRule, TrainConfig,
};
pub use cross_validation::{CrossValidation, Fold, Spread, cross_validate};
pub use engine::{Checkpoints, Schedule};
pub use error::{Error, Result};
pub use evaluate::{Comparison, Report, compare, evaluate, evaluate_with};
pub use observer::{Event, Observer, Silent};
pub use train::{Trained, findings, train, train_with};
