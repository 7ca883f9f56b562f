use tesla_data::audit::Finding;

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
        "the loss became {loss} in epoch {epoch}, step {step} (rows {rows}, …): lower `learning_rate` (now {learning_rate}), say `clip_norm = 1` in `[train]`, or look for extreme values in these rows"
    )]
    Diverged {
        /// The loss.
        loss: f64,
        /// The epoch, counted from 1.
        epoch: usize,
        /// The step of the epoch, counted from 1.
        step: usize,
        /// The learning rate of the run.
        learning_rate: f64,
        /// Where some rows of the batch stand.
        rows: String,
    },
    /// The leak auditor found what makes figures worthless.
    #[error("the auditor stops the training: {}", all(.0))]
    Leak(Vec<Finding>),
    /// Somebody asked to stop.
    #[error("training was interrupted in epoch {epoch} after step {step}")]
    Interrupted {
        /// The epoch, counted from 1.
        epoch: usize,
        /// Steps done in it.
        step: usize,
        /// Whether the run can go on from a checkpoint.
        saved: bool,
    },
    /// A checkpoint cannot be used: its path and why.
    #[error("the checkpoint `{0}` {1}")]
    Checkpoint(String, String),
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn all(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("; ")
}
