//! Models, devices, the sealed bundle and the predictor: what training and serving share.
//!
//! * [`model`] holds the networks as Burn modules. No model names a backend: a tensor takes it
//!   from its [`Device`] at run time, so one binary runs every model on a GPU through `wgpu` and
//!   on the CPU through `flex` or `ndarray`.
//! * [`device`] is the only file that names backends, but for the kernels of `flex` in [`ops`].
//! * [`ops`] are operations that the CPU does faster than Burn's own.
//! * [`bundle`] is one sealed file: contract, fitted preparation, network, report, provenance.
//! * [`explain`] says of single rows why they are predicted as they are.
//! * [`Predictor`] is the only door to a prediction. Evaluation, the command line, the server and
//!   a program that embeds TESLA all go through it, so what is measured is what is served.

pub mod app;
pub mod bundle;
pub mod decision;
pub mod device;
mod error;
pub mod explain;
pub mod model;
pub mod onnx;
pub mod ops;
mod predictor;
mod probe;
mod recommend;
mod weights;

/// The library that models are written in, in the one version this workspace uses.
pub use burn;
/// The crate that rows come from.
pub use tesla_data as data;

pub use bundle::{Bundle, Provenance};
pub use decision::{Calibration, Decision};
pub use device::{Device, DeviceChoice};
pub use error::{Error, Result};
pub use model::{Batch, ModelConfig, Network, Signature};
pub use predictor::{Predictions, Predictor, Prepared};
pub use probe::Probe;
pub use recommend::{Ranked, Seen, best};
