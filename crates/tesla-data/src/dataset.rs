use std::path::Path;

use crate::config::DataConfig;
use crate::split::{Split, read_rows, split};
use crate::{Error, Frame, Result, source};

/// The rows of a training run: one source that is divided, and rows somebody else set apart.
pub struct Dataset {
    /// The rows that are divided.
    pub frame: Frame,
    /// Validation rows from a source of their own.
    pub valid: Option<Frame>,
    /// Test rows from a source of their own.
    pub test: Option<Frame>,
    test_rows: Option<Vec<usize>>,
}

impl Dataset {
    /// Opens and reads what `[data]` names; relative paths start at `base`.
    ///
    /// # Errors
    /// When a source cannot be read.
    pub fn load(config: &DataConfig, base: &Path) -> Result<Self> {
        if config.source.is_empty() {
            let message = "no data: say `source = \"…\"` in `[data]`";
            return Err(Error::Config(message.into()));
        }
        let read = |path: &str| Frame::read_all(source::open_data(path, base, config)?);
        Ok(Self {
            frame: read(&config.source)?,
            valid: config.valid.as_deref().map(read).transpose()?,
            test: config.test.as_deref().map(read).transpose()?,
            test_rows: config
                .split
                .test_rows
                .as_deref()
                .map(|path| read_rows(&base.join(path)))
                .transpose()?,
        })
    }

    /// Rows already in memory, all to be divided.
    pub fn from_frame(frame: Frame) -> Self {
        Self {
            frame,
            valid: None,
            test: None,
            test_rows: None,
        }
    }

    /// Divides the rows; `classes` gives each row's class where the target is one. A part that
    /// has a source of its own takes nothing from the divided rows.
    ///
    /// # Errors
    /// When the shares leave no training rows.
    pub fn split(&self, config: &DataConfig, classes: Option<&[u32]>, seed: u64) -> Result<Split> {
        let mut shares = config.split.clone();
        if self.valid.is_some() {
            shares.valid = 0.0;
        }
        if self.test.is_some() {
            shares.test = 0.0;
        }
        let rows = self.test_rows.as_deref();
        split(&shares, self.frame.len(), classes, rows, seed)
    }
}
