//! A model behind a program: one file that runs and knows what to predict.
//!
//! Behind the program's own bytes, which the system does not look at, stand the bundle, its length in 8
//! bytes (little-endian), its SHA-256 in 32 and a mark. The program itself says that they must be there.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// What a program with a model ends in.
const MAGIC: &[u8; 16] = b"TESLA app bundle";
const LENGTH: usize = 8;
const DIGEST: usize = 32;
const TRAILER: usize = LENGTH + DIGEST + MAGIC.len();

/// Says within the program itself whether a model stands behind it, so that a file that lost its end
/// does not pass for a program without one. `tesla bundle` changes the last byte.
static PLACE: [u8; 33] = *b"TESLA app: 5d1f9c07b3e2a48690c1: ";
const BUNDLED: u8 = b'+';

/// Whether this program was made by `tesla bundle`, by its own bytes: a model should be behind it.
pub fn is_bundled() -> bool {
    // Not known before: the bytes of the file are changed after the program was compiled.
    std::hint::black_box(&PLACE)[PLACE.len() - 1] == BUNDLED
}

/// Lets a program say that a model is behind it.
///
/// # Errors
/// When it is no `tesla` program, or one with a model.
pub fn mark(name: &str, program: &mut [u8]) -> Result<()> {
    // As a plain program has it, whether or not this one is plain.
    let mut plain = *std::hint::black_box(&PLACE);
    plain[PLACE.len() - 1] = b' ';
    let windows = program.windows(plain.len()).enumerate();
    let places: Vec<usize> = windows
        .filter(|(_, bytes)| **bytes == plain)
        .map(|(at, _)| at + plain.len() - 1)
        .collect();
    if places.is_empty() {
        return Err(Error::Bundle {
            name: name.into(),
            reason: "has no place for a model: expected a plain `tesla` program of this version"
                .into(),
        });
    }
    for at in places {
        program[at] = BUNDLED;
    }
    Ok(())
}

/// What stands behind the program's bytes: the model and what it is found by.
pub fn appendix(model: &[u8]) -> Vec<u8> {
    let length = (model.len() as u64).to_le_bytes();
    [model, &length, &Sha256::digest(model), MAGIC].concat()
}

/// The model behind the program in the file at `path`; `None` where there is none.
///
/// # Errors
/// When the file cannot be read, or the model behind the program is cut off or altered.
pub fn find(path: &Path) -> Result<Option<Vec<u8>>> {
    let read = || -> io::Result<Option<(Vec<u8>, [u8; DIGEST])>> {
        let mut file = File::open(path)?;
        let Some((length, digest)) = trailer(&mut file)? else {
            return Ok(None);
        };
        let end = file.metadata()?.len() - TRAILER as u64;
        let Some(start) = end.checked_sub(length) else {
            return Ok(Some((Vec::new(), digest)));
        };
        file.seek(SeekFrom::Start(start))?;
        let mut model = vec![0; length as usize];
        file.read_exact(&mut model)?;
        Ok(Some((model, digest)))
    };
    let found = read().map_err(|source| Error::Io {
        action: "read",
        path: path.to_path_buf(),
        source,
    })?;
    match found {
        Some((model, digest)) if Sha256::digest(&model)[..] != digest => Err(Error::Bundle {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            reason: "has been altered: its model does not match its checksum; make it again with `tesla bundle`".into(),
        }),
        Some((model, _)) => Ok(Some(model)),
        None => Ok(None),
    }
}

/// Whether there is a model behind the program in the file at `path`.
pub fn is_app(path: &Path) -> bool {
    File::open(path).is_ok_and(|mut file| matches!(trailer(&mut file), Ok(Some(_))))
}

/// The model's length and checksum.
fn trailer(file: &mut File) -> io::Result<Option<(u64, [u8; DIGEST])>> {
    if file.metadata()?.len() < TRAILER as u64 {
        return Ok(None);
    }
    file.seek(SeekFrom::End(-(TRAILER as i64)))?;
    let mut length = [0; LENGTH];
    let mut digest = [0; DIGEST];
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut length)?;
    file.read_exact(&mut digest)?;
    file.read_exact(&mut magic)?;
    Ok((magic == *MAGIC).then(|| (u64::from_le_bytes(length), digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_says_that_a_model_is_behind_it() {
        let mut program = [b"the ".as_slice(), &PLACE, b" program"].concat();
        mark("p", &mut program).unwrap();
        assert_eq!(program, b"the TESLA app: 5d1f9c07b3e2a48690c1:+ program");
        let twice = mark("p", &mut program).unwrap_err().to_string();
        assert!(twice.starts_with("`p` has no place for a model"), "{twice}");
        assert!(!is_bundled());
    }

    #[test]
    fn a_model_is_found_behind_a_program_and_only_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app");
        let app = [b"the program".as_slice(), &appendix(b"the model")].concat();
        std::fs::write(&path, &app).unwrap();
        assert!(is_app(&path));
        assert_eq!(find(&path).unwrap().unwrap(), b"the model");

        let mut altered = app.clone();
        altered[12] ^= 1;
        std::fs::write(&path, &altered).unwrap();
        assert!(
            find(&path)
                .unwrap_err()
                .to_string()
                .starts_with("`app` has been altered")
        );
        // A length that exceeds the file.
        let at = app.len() - TRAILER;
        let mut altered = app.clone();
        altered[at..at + LENGTH].copy_from_slice(&u64::MAX.to_le_bytes());
        std::fs::write(&path, &altered).unwrap();
        assert!(
            find(&path)
                .unwrap_err()
                .to_string()
                .starts_with("`app` has been altered")
        );

        for other in [b"".as_slice(), b"the program", &app[..app.len() - 1]] {
            std::fs::write(&path, other).unwrap();
            assert!(!is_app(&path) && find(&path).unwrap().is_none());
        }
    }
}
