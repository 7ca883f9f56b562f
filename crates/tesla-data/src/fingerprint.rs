use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// SHA-256 of `bytes`, as 64 lower-case hexadecimal digits.
pub fn hex_sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of one file's bytes, or of a sorted list of files with their names.
pub(crate) fn hash_files<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<String> {
    let mut all = Sha256::new();
    for path in files {
        all.update(digest(path)?);
    }
    Ok(hex(&all.finalize()))
}

/// What [`hex_sha256`] gives for the bytes of a file, which is read piece by piece.
///
/// # Errors
/// When it cannot be read.
pub fn file_sha256(path: &Path) -> Result<String> {
    Ok(hex(&digest(path)?))
}

fn digest(path: &Path) -> Result<Vec<u8>> {
    let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
    let mut buffer = vec![0; 1 << 20];
    let mut hash = Sha256::new();
    loop {
        match file.read(&mut buffer).map_err(|e| Error::io(path, e))? {
            0 => return Ok(hash.finalize().to_vec()),
            n => hash.update(&buffer[..n]),
        }
    }
}

pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}
