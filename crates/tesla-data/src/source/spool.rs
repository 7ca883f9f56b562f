use std::fs::File;
use std::io::{Read, copy};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use super::Input;
use crate::{Error, Result};

/// A file that can be read from any place, for formats that keep their index at the end. What is
/// compressed or in memory is written to a temporary file, which goes when this value does.
pub(super) struct Spool {
    path: PathBuf,
    _temporary: Option<TempPath>,
}

impl Spool {
    /// The file itself where it starts with `magic`, a temporary copy otherwise.
    pub(super) fn of(input: &Input, magic: &[u8]) -> Result<Self> {
        if let Some(path) = input.path() {
            let mut start = vec![0; magic.len()];
            let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
            if file.read_exact(&mut start).is_ok() && start == magic {
                return Ok(Self {
                    path: path.to_path_buf(),
                    _temporary: None,
                });
            }
        }
        let mut file = NamedTempFile::new().map_err(|e| Error::io(std::env::temp_dir(), e))?;
        copy(&mut input.reader()?, &mut file).map_err(|e| input.error(e))?;
        let path = file.into_temp_path();
        Ok(Self {
            path: path.to_path_buf(),
            _temporary: Some(path),
        })
    }

    /// A new handle at the start.
    pub(super) fn open(&self) -> Result<File> {
        File::open(&self.path).map_err(|e| Error::io(&self.path, e))
    }

    /// Where the bytes lie.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
