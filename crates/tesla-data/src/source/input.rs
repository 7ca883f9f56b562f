use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use crate::fingerprint::hash_files;
use crate::{Error, Result, hex_sha256};

/// Bytes that can be read more than once: a file, or what standard input held.
#[derive(Clone, Debug)]
pub struct Input {
    name: String,
    bytes: Bytes,
}

#[derive(Clone, Debug)]
enum Bytes {
    File(PathBuf),
    Memory(Arc<[u8]>),
}

impl Input {
    /// A file, or standard input when `path` is `-`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .map_err(|e| Error::io(path, e))?;
            return Ok(Self::from_bytes("-", bytes));
        }
        File::open(path).map_err(|e| Error::io(path, e))?;
        Ok(Self {
            name: file_name(path),
            bytes: Bytes::File(path.to_path_buf()),
        })
    }

    /// Bytes in memory under a name for messages.
    pub fn from_bytes(name: impl Into<String>, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self {
            name: name.into(),
            bytes: Bytes::Memory(bytes.into()),
        }
    }

    /// The name for messages: the file's, without directories.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same bytes under another name.
    #[cfg(feature = "http")]
    pub(crate) fn renamed(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// The path, when there is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.bytes {
            Bytes::File(path) => Some(path),
            Bytes::Memory(_) => None,
        }
    }

    /// A new reader from the start; gzip is undone.
    pub(crate) fn reader(&self) -> Result<Box<dyn BufRead + Send>> {
        const BUFFER: usize = 1 << 16;
        let mut raw: Box<dyn BufRead + Send> = match &self.bytes {
            Bytes::File(path) => {
                let file = File::open(path).map_err(|e| Error::io(path, e))?;
                Box::new(BufReader::with_capacity(BUFFER, file))
            }
            Bytes::Memory(bytes) => Box::new(Cursor::new(bytes.clone())),
        };
        let start = raw.fill_buf().map_err(|e| self.error(e))?;
        Ok(match start.starts_with(&[0x1f, 0x8b]) {
            true => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(raw))),
            false => raw,
        })
    }

    /// The first bytes, gzip undone.
    pub(crate) fn peek(&self) -> Result<Vec<u8>> {
        let mut start = Vec::new();
        let reader = self.reader()?;
        reader
            .take(64)
            .read_to_end(&mut start)
            .map_err(|e| self.error(e))?;
        Ok(start)
    }

    pub(crate) fn fingerprint(&self) -> Result<String> {
        match &self.bytes {
            Bytes::File(path) => hash_files([path.as_path()]),
            Bytes::Memory(bytes) => Ok(hex_sha256(bytes)),
        }
    }

    pub(crate) fn error(&self, source: std::io::Error) -> Error {
        Error::io(&self.name, source)
    }
}

pub(crate) fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}
