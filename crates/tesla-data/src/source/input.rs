use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::{NamedTempFile, TempPath};

use super::Reading;
use super::unpack::{self, Entry, Packing};
use crate::fingerprint::{file_sha256, hash_files};
use crate::{Error, Result, hex_sha256};

/// Bytes that can be read more than once: a file, a file inside a zip archive, or what standard
/// input held. gzip, zstd, bzip2 and xz are recognised by their first bytes and undone.
#[derive(Clone, Debug)]
pub struct Input {
    name: String,
    bytes: Bytes,
    entry: Option<Entry>,
    read: Arc<AtomicU64>,
    rows: Arc<AtomicU64>,
}

#[derive(Clone, Debug)]
enum Bytes {
    File(PathBuf),
    Memory(Arc<[u8]>),
    /// What is too much for memory, in a file that goes with the last who reads it.
    Temporary(Arc<TempPath>),
}

/// Bytes of standard input that are held in memory.
const HELD: u64 = 64 << 20;

/// Bytes per read of the operating system.
const BUFFER: usize = 1 << 17;

impl Input {
    /// A file, or standard input when `path` is `-`. A zip archive stands for the one file in it;
    /// `archive.zip/inner.csv` names one of several. `.npz` is not opened: it is a format of its
    /// own.
    ///
    /// # Errors
    /// When it cannot be read, or an archive holds several files and none is named.
    pub fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Self::from_stream("-", io::stdin().lock(), HELD)?.unzip(None);
        }
        let (path, entry) = inside(path);
        File::open(path).map_err(|e| Error::io(path, e))?;
        let input = Self {
            name: file_name(path),
            bytes: Bytes::File(path.to_path_buf()),
            entry: None,
            read: Arc::default(),
            rows: Arc::default(),
        };
        input.unzip(entry)
    }

    /// What can be read only once, held in memory up to `most` bytes and in a temporary file beyond.
    fn from_stream(name: &str, mut stream: impl Read, most: u64) -> Result<Self> {
        let fail = |e| Error::io(name, e);
        let mut bytes = Vec::new();
        stream.by_ref().take(most).read_to_end(&mut bytes).map_err(fail)?;
        let mut input = Self::from_bytes(name, bytes);
        let mut next = [0];
        if stream.read(&mut next).map_err(fail)? == 0 {
            return Ok(input);
        }
        let spill = |path: &Path, source| Error::Spill {
            path: path.to_path_buf(),
            source,
        };
        let mut file = NamedTempFile::new().map_err(|e| spill(&std::env::temp_dir(), e))?;
        let start = input.stored().map_err(fail)?;
        let mut all = start.chain(&next[..]).chain(stream);
        let written = io::copy(&mut all, &mut file);
        written.map_err(|e| spill(file.path(), e))?;
        input.bytes = Bytes::Temporary(Arc::new(file.into_temp_path()));
        Ok(input)
    }

    /// Bytes in memory under a name for messages.
    pub fn from_bytes(name: impl Into<String>, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self {
            name: name.into(),
            bytes: Bytes::Memory(bytes.into()),
            entry: None,
            read: Arc::default(),
            rows: Arc::default(),
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

    /// The name that tells the format, in lower case: the file's inside its archive, without the
    /// endings of packers.
    pub(crate) fn inner_name(&self) -> String {
        let name = self.entry.as_ref().map_or(&self.name, |e| &e.name);
        let name = name.to_lowercase();
        [".gz", ".zst", ".bz2", ".xz"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(&name)
            .to_string()
    }

    /// The path, when there is one to the file itself.
    pub(crate) fn path(&self) -> Option<&Path> {
        match (&self.bytes, &self.entry) {
            (Bytes::File(path), None) => Some(path),
            _ => None,
        }
    }

    /// Bytes as stored, before they are unpacked.
    pub fn len(&self) -> u64 {
        match (&self.entry, &self.bytes) {
            (Some(entry), _) => entry.packed,
            (None, Bytes::Memory(bytes)) => bytes.len() as u64,
            (None, Bytes::File(path)) => std::fs::metadata(path).map_or(0, |m| m.len()),
            (None, Bytes::Temporary(path)) => std::fs::metadata(&**path).map_or(0, |m| m.len()),
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How far reading is, in all passes over the input and all its clones together.
    pub(crate) fn reading(&self) -> Reading {
        Reading {
            bytes: self.read.load(Ordering::Relaxed),
            of: self.len(),
            rows: self.rows.load(Ordering::Relaxed),
        }
    }

    /// Counts rows that were made of the bytes.
    pub(crate) fn count_rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// A new reader from the start; packing is undone.
    pub(crate) fn reader(&self) -> Result<Box<dyn BufRead + Send>> {
        let packed = Counted {
            inner: self.stored().map_err(|e| self.error(e))?,
            all: self.read.clone(),
            own: Arc::default(),
        };
        let own = packed.own.clone();
        let mut reader: Box<dyn BufRead + Send> = match &self.entry {
            None => Box::new(BufReader::with_capacity(BUFFER, packed)),
            Some(entry) => {
                let packed = BufReader::with_capacity(BUFFER, packed.take(entry.packed));
                let file = entry.check(unpack::undo(entry.packing, Box::new(packed)));
                Box::new(BufReader::with_capacity(BUFFER, file))
            }
        };
        let mut is_packed = self.entry.is_some();
        // A file may be packed inside an archive, and hardly deeper.
        for _ in 0..2 {
            let start = reader.fill_buf().map_err(|e| self.error(e))?;
            let Some(packing) = Packing::of(start) else {
                break;
            };
            let unpacked = unpack::undo(packing, reader);
            reader = Box::new(BufReader::with_capacity(BUFFER, unpacked));
            is_packed = true;
        }
        Ok(match is_packed {
            true => {
                let guarded = unpack::Guard::new(reader, own);
                Box::new(BufReader::with_capacity(BUFFER, guarded))
            }
            false => reader,
        })
    }

    /// The first bytes, packing undone.
    pub(crate) fn peek(&self) -> Result<Vec<u8>> {
        self.start(64)
    }

    /// Whether the bytes are as stored: neither packed nor in an archive.
    pub(crate) fn is_plain(&self) -> bool {
        let mut start = Vec::new();
        let read = self
            .stored()
            .and_then(|stored| stored.take(8).read_to_end(&mut start));
        self.entry.is_none() && read.is_ok() && Packing::of(&start).is_none()
    }

    /// The first `most` bytes, or all when there are fewer; packing undone.
    pub(crate) fn start(&self, most: u64) -> Result<Vec<u8>> {
        let mut start = Vec::new();
        let reader = self.reader()?;
        reader.take(most).read_to_end(&mut start).map_err(|e| self.error(e))?;
        Ok(start)
    }

    pub(crate) fn fingerprint(&self) -> Result<String> {
        let stored = match &self.bytes {
            Bytes::File(path) => hash_files([path.as_path()])?,
            Bytes::Memory(bytes) => hex_sha256(bytes),
            Bytes::Temporary(path) => file_sha256(path)?,
        };
        Ok(match &self.entry {
            Some(entry) => hex_sha256(format!("{stored}/{}", entry.name).as_bytes()),
            None => stored,
        })
    }

    pub(crate) fn error(&self, source: io::Error) -> Error {
        Error::io(&self.name, source)
    }

    /// Steps into a zip archive; anything else stays as it is.
    fn unzip(mut self, wanted: Option<&str>) -> Result<Self> {
        let mut start = Vec::new();
        let mut stored = self.stored().map_err(|e| self.error(e))?;
        let found = stored.by_ref().take(4).read_to_end(&mut start);
        found.map_err(|e| self.error(e))?;
        let is_zip = start == b"PK\x03\x04" || start == b"PK\x05\x06";
        match wanted {
            Some(_) if !is_zip => {
                let reason = "is a file, but no zip archive: nothing can be read inside it";
                return Err(Error::source(self.name, reason));
            }
            None if !is_zip || self.name.to_lowercase().ends_with(".npz") => return Ok(self),
            _ => {}
        }
        let entry = unpack::entry(stored, &self.name, wanted)?;
        if let Some(wanted) = wanted {
            self.name = format!("{}/{wanted}", self.name);
        }
        self.entry = Some(entry);
        Ok(self)
    }

    /// The bytes as stored, from the start of the file or of the entry's data.
    fn stored(&self) -> io::Result<Box<dyn ReadSeek>> {
        let mut stored: Box<dyn ReadSeek> = match &self.bytes {
            Bytes::File(path) => Box::new(File::open(path)?),
            Bytes::Memory(bytes) => Box::new(Cursor::new(bytes.clone())),
            Bytes::Temporary(path) => Box::new(File::open(&**path)?),
        };
        if let Some(entry) = &self.entry {
            stored.seek(SeekFrom::Start(entry.start))?;
        }
        Ok(stored)
    }
}

/// What stored bytes can do.
pub(super) trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

struct Counted {
    inner: Box<dyn ReadSeek>,
    all: Arc<AtomicU64>,
    own: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.all.fetch_add(n as u64, Ordering::Relaxed);
        self.own.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// `archive.zip/inner.csv` as the archive and the name inside it.
fn inside(path: &Path) -> (&Path, Option<&str>) {
    if path.exists() {
        return (path, None);
    }
    let archive = path.ancestors().skip(1).find(|p| p.is_file());
    archive
        .and_then(|archive| Some((archive, path.strip_prefix(archive).ok()?.to_str())))
        .unwrap_or((path, None))
}

pub(crate) fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    const ROWS: &[u8] = b"a,b\n1,2\n3,4\n";

    #[test]
    fn what_is_read_once_is_held_in_memory_or_in_a_file() {
        let most = ROWS.len() as u64;
        let held = Input::from_stream("-", ROWS, most).unwrap();
        let put_aside = Input::from_stream("-", ROWS, most - 3).unwrap();
        assert!(matches!(held.bytes, Bytes::Memory(_)));
        assert!(matches!(put_aside.bytes, Bytes::Temporary(_)));
        for input in [&held, &put_aside] {
            let mut read = Vec::new();
            input.reader().unwrap().read_to_end(&mut read).unwrap();
            assert_eq!((read.as_slice(), input.len()), (ROWS, most));
            assert_eq!(input.fingerprint().unwrap(), hex_sha256(ROWS));
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut packer = bzip2::write::BzEncoder::new(Vec::new(), Default::default());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    /// A zip of entries packed with deflate, written by hand: the crate is built without packers.
    fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut directory = Vec::new();
        for (name, bytes) in entries {
            let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), Default::default());
            packer.write_all(bytes).unwrap();
            let packed = packer.finish().unwrap();
            let mut crc = flate2::Crc::new();
            crc.update(bytes);
            let mut common = Vec::new();
            for word in [20u16, 0, 8, 0, 0] {
                common.extend(word.to_le_bytes());
            }
            for long in [crc.sum(), packed.len() as u32, bytes.len() as u32] {
                common.extend(long.to_le_bytes());
            }
            common.extend((name.len() as u16).to_le_bytes());
            common.extend([0, 0]);
            directory.extend(b"PK\x01\x02\x14\x00");
            directory.extend(&common);
            directory.extend([0; 10]);
            directory.extend((out.len() as u32).to_le_bytes());
            directory.extend(name.as_bytes());
            out.extend(b"PK\x03\x04");
            out.extend(&common);
            out.extend(name.as_bytes());
            out.extend(packed);
        }
        let at = out.len() as u32;
        out.extend(&directory);
        out.extend(b"PK\x05\x06\x00\x00\x00\x00");
        for _ in 0..2 {
            out.extend((entries.len() as u16).to_le_bytes());
        }
        out.extend((directory.len() as u32).to_le_bytes());
        out.extend(at.to_le_bytes());
        out.extend([0, 0]);
        out
    }

    fn read(bytes: Vec<u8>) -> Result<Vec<u8>> {
        Input::from_bytes("t.csv", bytes).unzip(None)?.start(1 << 20)
    }

    #[test]
    fn packing_is_undone_whatever_the_name_says() {
        // Made by `xz -0`: the crate is built without its packer.
        let xz = "/Td6WFoAAATm1rRGAgAhAQwAAACPmEGcAQALYSxiCjEsMgozLDQKABBV45YyL5FeAAEkDKYY2NgftvN9AQAAAAAEWVo=";
        let xz = BASE64_STANDARD.decode(xz).unwrap();
        for packed in [
            ROWS.to_vec(),
            gzip(ROWS),
            zstd::encode_all(ROWS, 1).unwrap(),
            bzip2(ROWS),
            xz,
            zip(&[("t.csv", ROWS), ("__MACOSX/._t.csv", b"x")]),
            zip(&[("t.csv.gz", &gzip(ROWS))]),
        ] {
            assert_eq!(read(packed).unwrap(), ROWS);
        }
        let twice = [gzip(ROWS), gzip(ROWS)].concat();
        assert_eq!(read(twice).unwrap(), [ROWS, ROWS].concat());
    }

    #[test]
    fn a_file_in_an_archive_has_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.zip");
        std::fs::write(&path, zip(&[("x/a.json", b"{}"), ("b.csv", ROWS)])).unwrap();
        let input = Input::open(&path.join("b.csv")).unwrap();
        assert_eq!(input.start(100).unwrap(), ROWS);
        assert_eq!(input.name(), "t.zip/b.csv");
        assert_eq!(input.reading().bytes, input.len());
        assert_eq!(Input::open(&path.join("x/a.json")).unwrap().inner_name(), "x/a.json");

        let message = |path: &Path| Input::open(path).unwrap_err().to_string();
        assert_eq!(
            message(&path),
            "`t.zip` holds 2 files: say which one as `t.zip/NAME`, one of `x/a.json`, `b.csv`"
        );
        assert_eq!(
            message(&path.join("b.cvs")),
            "`t.zip` holds no file `b.cvs` (did you mean `b.csv`?): it has `x/a.json`, `b.csv`"
        );
    }

    #[test]
    fn hostile_archives_are_refused() {
        let message = |bytes: Vec<u8>| read(bytes).unwrap_err().to_string();
        for name in ["../t.csv", "/etc/t.csv", "a/../../t.csv"] {
            let message = message(zip(&[(name, ROWS)]));
            assert!(message.contains("points outside the archive"), "{message}");
        }
        let mut lying = zip(&[("t.csv", ROWS)]);
        let directory = lying.len() - 22 - 46 - 5;
        lying[directory + 24] = 3; // the size that is promised
        assert!(message(lying).contains("unpacks to more than"));
        let mut torn = zip(&[("t.csv", ROWS)]);
        torn[directory + 16] ^= 1; // the checksum
        assert!(message(torn).contains("is damaged"));
        assert!(message(b"PK\x03\x04 and no directory".to_vec()).contains("is not a readable zip"));
    }

    #[test]
    fn a_bomb_is_refused() {
        // 2 GiB of zeros in 2 MiB: more than the guard lets through.
        let block = zstd::encode_all(vec![0u8; 1 << 22].as_slice(), 1).unwrap();
        let bomb = Input::from_bytes("t.csv.zst", block.repeat(512));
        let mut reader = bomb.reader().unwrap();
        let error = io::copy(&mut reader, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("unpack it yourself"), "{error}");
    }
}
