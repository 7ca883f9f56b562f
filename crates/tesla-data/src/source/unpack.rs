//! Packers and zip archives, undone while they are read.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::{DeflateDecoder, MultiGzDecoder};

use super::input::ReadSeek;
use crate::error::list;
use crate::{Error, Result, nearest};

/// How bytes are packed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Packing {
    None,
    Deflate,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Packing {
    /// The packing that these first bytes announce.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            // The digits of pi, or of its root where nothing is packed, start every block.
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, ..] => Some(Self::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            _ => None,
        }
    }
}

/// What is packed in a way that is not undone here: its name, and what undoes it.
pub(super) fn unknown(name: &str, start: &[u8]) -> Option<(&'static str, &'static str)> {
    const MAGIC: [(&[u8], &str, &str); 8] = [
        (b"\x04\x22\x4d\x18", "lz4", "unlz4"),
        (b"\x1f\x9d", "compress", "uncompress"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip", "7z x"),
        (b"Rar!\x1a\x07", "RAR", "unrar x"),
        (b"LZIP\x01", "lzip", "lzip -d"),
        (b"\x89LZO", "lzop", "lzop -d"),
        (b"\xff\x06\0\0sNaPpY", "snappy", "snzip -d"),
        (b"]\0\0", "lzma", "unlzma"),
    ];
    let magic = MAGIC.iter().find(|(magic, ..)| start.starts_with(magic));
    let is_tar = matches!(start.get(257..263), Some(b"ustar\0" | b"ustar "));
    match magic {
        Some((_, packing, tool)) => Some((packing, tool)),
        None if is_tar => Some(("tar", "tar -xf")),
        // Brotli begins with nothing of its own.
        None if name.ends_with(".br") => Some(("brotli", "brotli -d")),
        None => None,
    }
}

/// A reader of what was packed.
pub(super) fn undo(packing: Packing, packed: Box<dyn BufRead + Send>) -> Box<dyn Read + Send> {
    // A dictionary of at most 256 MiB: `xz -9` needs 64.
    const XZ_KIB: u32 = 256 << 10;
    match packing {
        Packing::None => packed,
        Packing::Deflate => Box::new(DeflateDecoder::new(packed)),
        Packing::Gzip => Box::new(MultiGzDecoder::new(packed)),
        Packing::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(packed)),
        Packing::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(packed, true, XZ_KIB)),
        // Windows above 128 MiB are refused by the library itself.
        Packing::Zstd => match zstd::Decoder::with_buffer(packed) {
            Ok(reader) => Box::new(reader),
            Err(e) => Box::new(Failed(Some(e))),
        },
    }
}

struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Ends the reading of a bomb: data that unpacks to far more than data does.
pub(super) struct Guard {
    inner: Box<dyn BufRead + Send>,
    packed: Arc<AtomicU64>,
    unpacked: u64,
}

impl Guard {
    /// Below this nothing is a bomb.
    const FREE: u64 = 256 << 20;
    /// Tables pack to a tenth, constant ones to a hundredth; gzip ends at a thousandth.
    const RATIO: u64 = 500;

    /// `packed` counts the bytes that `inner` has taken in.
    pub(super) fn new(inner: Box<dyn BufRead + Send>, packed: Arc<AtomicU64>) -> Self {
        Self {
            inner,
            packed,
            unpacked: 0,
        }
    }
}

impl Read for Guard {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.unpacked += n as u64;
        let packed = self.packed.load(Ordering::Relaxed);
        match Self::check(packed, self.unpacked) {
            Ok(()) => Ok(n),
            Err(reason) => Err(io::Error::other(reason)),
        }
    }
}

impl Guard {
    /// Refuses what unpacks to far more than it was.
    pub(super) fn check(packed: u64, unpacked: u64) -> Result<(), String> {
        match unpacked > Self::FREE && unpacked / Self::RATIO > packed {
            true => Err(format!(
                "it unpacks to more than {} times its size, as a bomb does: if it is meant, unpack it yourself and name what comes out",
                Self::RATIO
            )),
            false => Ok(()),
        }
    }
}

/// One file in a zip archive: where its data is and what must come out.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) start: u64,
    pub(super) packed: u64,
    pub(super) packing: Packing,
    size: u64,
    crc: u32,
}

/// Finds the file `wanted` in an archive, or the only one.
pub(super) fn entry(stored: Box<dyn ReadSeek>, name: &str, wanted: Option<&str>) -> Result<Entry> {
    let bad = |e: zip::result::ZipError| {
        Error::source(name, format!("is not a readable zip archive: {e}"))
    };
    let mut archive = zip::ZipArchive::new(stored).map_err(bad)?;
    let mut files = Vec::new();
    for at in 0..archive.len() {
        let file = archive.by_index_raw(at).map_err(bad)?;
        let inner = file.name().map_err(bad)?.into_owned();
        if file.enclosed_name().is_none() || inner.starts_with(['/', '\\']) {
            let reason =
                format!("holds an entry `{inner}`, which points outside the archive: refused");
            return Err(Error::source(name, reason));
        }
        // What macOS adds is not the user's.
        let hidden = inner.starts_with("__MACOSX/") || inner.ends_with(".DS_Store");
        if file.is_file() && !hidden {
            files.push((at, inner));
        }
    }
    let names = || files.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>();
    let at = match (wanted, files.as_slice()) {
        (Some(wanted), _) => files.iter().find(|(_, inner)| inner == wanted).ok_or_else(|| {
            let names = names();
            let near = nearest(wanted, &names)
                .map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
            let reason = format!("holds no file `{wanted}`{near}: it has {}", list(&names));
            Error::source(name, reason)
        })?,
        (None, [only]) => only,
        (None, []) => return Err(Error::source(name, "is an archive without files")),
        (None, _) => {
            let (count, names) = (files.len(), list(&names()));
            let reason =
                format!("holds {count} files: say which one as `{name}/NAME`, one of {names}");
            return Err(Error::source(name, reason));
        }
    };
    let file = archive.by_index_raw(at.0).map_err(bad)?;
    if file.encrypted() {
        let reason = format!("holds `{}` encrypted: unpack it first", at.1);
        return Err(Error::source(name, reason));
    }
    // Numbers of APPNOTE.TXT 4.4.5; the library names only those it is built with.
    let packing = match file.compression() {
        zip::CompressionMethod::STORE => Packing::None,
        zip::CompressionMethod::DEFLATE => Packing::Deflate,
        zip::CompressionMethod::BZIP2 => Packing::Bzip2,
        zip::CompressionMethod::ZSTD => Packing::Zstd,
        zip::CompressionMethod::XZ => Packing::Xz,
        other => {
            let reason = format!(
                "holds `{}` packed by the method {other}: expected stored, deflate, bzip2, zstd or xz",
                at.1
            );
            return Err(Error::source(name, reason));
        }
    };
    Ok(Entry {
        name: at.1.clone(),
        start: file.data_start().unwrap_or_default(),
        packed: file.compressed_size(),
        packing,
        size: file.size(),
        crc: file.crc32(),
    })
}

impl Entry {
    /// Checks that what is unpacked is what the archive promises, no more and no other.
    pub(super) fn check(&self, unpacked: Box<dyn Read + Send>) -> impl Read + Send + use<> {
        Checked {
            inner: unpacked,
            crc: flate2::Crc::new(),
            entry: self.clone(),
            seen: 0,
        }
    }
}

struct Checked {
    inner: Box<dyn Read + Send>,
    crc: flate2::Crc,
    entry: Entry,
    seen: u64,
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.crc.update(&buffer[..n]);
        self.seen += n as u64;
        let Entry {
            name, size, crc, ..
        } = &self.entry;
        if self.seen > *size {
            let reason =
                format!("`{name}` unpacks to more than the {size} bytes the archive promises");
            return Err(io::Error::other(reason));
        }
        if n == 0 && !buffer.is_empty() && (self.seen != *size || self.crc.sum() != *crc) {
            return Err(io::Error::other(format!("`{name}` is damaged: its checksum is wrong")));
        }
        Ok(n)
    }
}
