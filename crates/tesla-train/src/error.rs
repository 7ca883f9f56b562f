/// What can go wrong in training and evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The rows are at fault.
    #[error(transparent)]
    Data(#[from] tesla_data::Error),
    /// The model, the device or the bundle is at fault.
    #[error(transparent)]
    Core(#[from] tesla_core::Error),
    /// The predictions are at fault.
    #[error(transparent)]
    Metric(#[from] crate::metrics::MetricError),
    /// A setting of `[train]` is out of range.
    #[error("{0}")]
    Config(String),
    /// The loss is no longer a number.
    #[error(
        "the loss became {loss} in epoch {epoch}: lower `learning_rate` (now {learning_rate}), or look for extreme values in the features"
    )]
    Diverged {
        /// The loss.
        loss: f64,
        /// The epoch, counted from 1.
        epoch: usize,
        /// The learning rate of the run.
        learning_rate: f64,
    },
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
