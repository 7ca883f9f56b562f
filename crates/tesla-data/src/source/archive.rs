//! Single files out of an archive, onto the disk.

use std::fs::File;
use std::io::{Read, copy};
use std::path::Path;

use super::Input;
use crate::error::list;
use crate::{Error, Result};

/// The largest file that is taken out of an archive, in bytes.
const LARGEST: u64 = 4 << 30;
/// What a tar archive is made of, in bytes.
const BLOCK: u64 = 512;

/// Takes files out of a zip archive, or of a tar archive packed in any way: each of `wanted` is the name
/// inside and where it goes. A file appears whole or not at all.
///
/// # Errors
/// When the archive is damaged, holds a name that points outside of it, or not what is wanted; when a
/// file is larger than 4 GiB or cannot be written.
pub fn extract(archive: &Path, wanted: &[(&str, &Path)]) -> Result<()> {
    let mut start = [0; 4];
    let read = File::open(archive).and_then(|mut file| file.read(&mut start));
    read.map_err(|e| Error::io(archive, e))?;
    if start == *b"PK\x03\x04" {
        for (name, to) in wanted {
            let file = Input::open(&archive.join(name))?;
            write(name, file.reader()?, to)?;
        }
        return Ok(());
    }
    let input = Input::open(archive)?;
    tar(&input, wanted)
}

fn tar(input: &Input, wanted: &[(&str, &Path)]) -> Result<()> {
    let bad = |reason: &str| Error::source(input.name(), reason);
    let mut reader = input.reader()?;
    let mut found = vec![false; wanted.len()];
    loop {
        let mut header = [0; BLOCK as usize];
        let read = reader.read_exact(&mut header);
        read.map_err(|_| bad("is a tar archive that ends in the middle"))?;
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let entry =
            Entry::read(&header).ok_or_else(|| bad("is no tar or zip archive, or is damaged"))?;
        if entry.name.starts_with('/') || entry.name.split(['/', '\\']).any(|part| part == "..") {
            let reason = format!(
                "holds an entry `{}`, which points outside the archive: refused",
                entry.name
            );
            return Err(bad(&reason));
        }
        let mut content = reader.by_ref().take(entry.size);
        let place = wanted
            .iter()
            .position(|(name, _)| *name == entry.name && entry.is_file);
        if let Some(place) = place {
            let (name, to) = wanted[place];
            if entry.size > LARGEST {
                return Err(bad(&format!("holds `{name}`, which is larger than {LARGEST} bytes")));
            }
            write(name, &mut content, to)?;
            found[place] = true;
        }
        let padding = entry.size.next_multiple_of(BLOCK) - entry.size;
        let rest = content.limit() + padding;
        let skipped = copy(&mut reader.by_ref().take(rest), &mut std::io::sink());
        if skipped.map_err(|e| bad(&format!("cannot be unpacked: {e}")))? != rest {
            return Err(bad("is a tar archive that ends in the middle"));
        }
    }
    let missing: Vec<String> = std::iter::zip(wanted, found)
        .filter(|(_, found)| !found)
        .map(|((name, _), _)| name.to_string())
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(bad(&format!("does not hold {}", list(&missing)))),
    }
}

/// The head of a file in a tar archive (POSIX.1-1988 and `ustar`).
struct Entry {
    name: String,
    size: u64,
    is_file: bool,
}

impl Entry {
    fn read(header: &[u8; BLOCK as usize]) -> Option<Self> {
        let text = |from: usize, to: usize| {
            let field = header[from..to].split(|byte| *byte == 0).next().unwrap_or_default();
            std::str::from_utf8(field).ok().map(str::trim)
        };
        let octal = |from, to| u64::from_str_radix(text(from, to)?, 8).ok();
        // The sum of all bytes, with its own field as blanks.
        let own: u64 = header[148..156].iter().map(|byte| u64::from(*byte)).sum();
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        if sum - own + 8 * u64::from(b' ') != octal(148, 156)? {
            return None;
        }
        let prefix = match &header[257..262] {
            b"ustar" if header[263] == b'0' => text(345, 500)?,
            _ => "",
        };
        let name = match prefix {
            "" => text(0, 100)?.to_string(),
            prefix => format!("{prefix}/{}", text(0, 100)?),
        };
        Some(Self {
            name: name.trim_start_matches("./").to_string(),
            size: octal(124, 136)?,
            is_file: matches!(header[156], b'0' | 0),
        })
    }
}

/// Writes a file that appears whole or not at all.
fn write(name: &str, content: impl Read, to: &Path) -> Result<()> {
    let part = super::part_of(to);
    let done = File::create(&part).and_then(|mut file| {
        let bytes = copy(&mut content.take(LARGEST + 1), &mut file)?;
        match bytes > LARGEST {
            true => Err(std::io::Error::other(format!("`{name}` is larger than {LARGEST} bytes"))),
            false => file.sync_all().and_then(|()| std::fs::rename(&part, to)),
        }
    });
    done.map_err(|e| {
        let _ = std::fs::remove_file(&part);
        Error::source(name, format!("cannot be unpacked into `{}`: {e}", to.display()))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A tar archive of files, written by hand.
    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, content) in files {
            let mut header = [0; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
            header[156] = b'0';
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            bytes.extend_from_slice(&header);
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + 1024, 0);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        packed.write_all(&bytes).unwrap();
        packed.finish().unwrap()
    }

    /// Takes `b` out of an archive.
    fn take(archive: &[u8]) -> (Result<()>, Option<Vec<u8>>) {
        let folder = tempfile::tempdir().unwrap();
        let (packed, to) = (folder.path().join("a.tar.gz"), folder.path().join("out"));
        std::fs::write(&packed, archive).unwrap();
        let done = extract(&packed, &[("dir/b", &to)]);
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 1 + usize::from(done.is_ok()), "nothing is left behind");
        (done, std::fs::read(to).ok())
    }

    #[test]
    fn one_file_comes_out_of_many() {
        let (done, bytes) =
            take(&archive(&[("dir/a", b"first"), ("dir/b", &[7; 1000]), ("c", b"")]));
        done.unwrap();
        assert_eq!(bytes.unwrap(), [7; 1000]);
    }

    #[test]
    fn what_is_not_there_points_outside_or_is_damaged_is_refused() {
        let cut = &archive(&[("dir/b", &[7; 100_000])])[..60];
        for (bytes, reason) in [
            (archive(&[("dir/a", b"first")]), "does not hold `dir/b`"),
            (archive(&[("../../b", b"x"), ("dir/b", b"x")]), "points outside the archive"),
            (archive(&[("/b", b"x"), ("dir/b", b"x")]), "points outside the archive"),
            (b"no archive at all".repeat(100), "is no tar or zip archive"),
            (cut.to_vec(), ""),
        ] {
            let (done, file) = take(&bytes);
            let error = done.unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert_eq!(file, None);
        }
    }
}
