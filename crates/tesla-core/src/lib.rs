//! Models, devices, the sealed bundle and the predictor: what training and serving share.
//!
//! * [`model`] holds the networks as Burn modules. No model names a backend: a tensor takes it
//!   from its [`Device`] at run time, so one binary runs every model on a GPU through `wgpu` and
//!   on the CPU through `flex` or `ndarray`.
//! * [`device`] is the only file that names backends.
//! * [`bundle`] is one sealed file: contract, fitted preparation, network, report, provenance.
//! * [`Predictor`] is the only door to a prediction. Evaluation, the command line, the server and
//!   a program that embeds TESLA all go through it, so what is measured is what is served.

pub mod bundle;
pub mod device;
mod error;
pub mod model;
mod predictor;
mod probe;
mod weights;

/// The library that models are written in, in the one version this workspace uses.
pub use burn;
/// The crate that rows come from.
pub use tesla_data as data;

pub use bundle::{Bundle, Provenance};
pub use device::{Device, DeviceChoice};
pub use error::{Error, Result};
pub use model::{Batch, ModelConfig, Network, Signature};
pub use predictor::{Predictions, Predictor, Prepared};
pub use probe::Probe;
