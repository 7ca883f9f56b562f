use std::path::PathBuf;

/// What can go wrong with models, devices and bundles.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The rows are at fault.
    #[error(transparent)]
    Data(#[from] tesla_data::Error),
    /// A file could not be read or written.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A bundle is damaged, altered, too new or not a bundle.
    #[error("`{name}` {reason}")]
    Bundle {
        /// The file's name.
        name: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The device was not found.
    #[error("{0}")]
    Device(String),
    /// The model cannot be built for this data.
    #[error("{0}")]
    Model(String),
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
