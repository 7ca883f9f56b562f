//! The bytes of a pickle, each length checked against what is there.

use super::value::{Read, invalid};

pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        self.fits(length)?;
        let bytes = &self.bytes[self.at..][..length];
        self.at += length;
        Ok(bytes)
    }

    /// Checks a length against what is there, before anything is allocated for it.
    pub(super) fn fits(&self, length: usize) -> Read<()> {
        let left = self.bytes.len() - self.at;
        match length <= left {
            true => Ok(()),
            false => Err(format!(
                "is truncated or damaged: byte {} promises {length} more, and {left} are left",
                self.at
            )),
        }
    }

    pub(super) fn fixed<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// A little-endian number of `width` bytes.
    pub(super) fn length(&mut self, width: usize) -> Read<usize> {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.take(width)?);
        Ok(usize::try_from(u64::from_le_bytes(bytes)).unwrap_or(usize::MAX))
    }

    /// Bytes behind their own number.
    pub(super) fn counted(&mut self, width: usize) -> Read<&'a [u8]> {
        let length = self.length(width)?;
        self.take(length)
    }

    /// The rest of the line, without its end.
    pub(super) fn line(&mut self) -> Read<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|b| *b == b'\n').ok_or_else(|| {
            format!("is truncated or damaged: the line from byte {} has no end", self.at)
        })?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    pub(super) fn decimal(&mut self) -> Read<u64> {
        let line = self.line()?;
        let number = std::str::from_utf8(line).ok().and_then(|l| l.parse().ok());
        number.ok_or_else(|| invalid("the number of a memo entry is not one"))
    }
}
