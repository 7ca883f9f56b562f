//! Text as UTF-8, whatever it is stored as.

use std::io::{self, BufRead, Read};

use encoding_rs::{Decoder, Encoding, UTF_8};

use super::Input;
use crate::{Error, Result};

/// What to do about text that is not UTF-8, for a message.
pub(super) const NOT_UTF8: &str =
    "the text is not UTF-8: say `encoding = \"latin-1\"`, or whatever it is, in `[data.csv]`";

/// A reader of UTF-8 text. A byte-order mark decides and is left out; without one it is
/// `encoding`, and UTF-8 when that is not said. UTF-8 is not checked here.
pub(super) fn reader(input: &Input, encoding: Option<&str>) -> Result<Box<dyn BufRead + Send>> {
    let said = encoding.map(find).transpose()?;
    let (encoding, mark) = match Encoding::for_bom(&input.peek()?) {
        Some(found) => found,
        None => (said.unwrap_or(UTF_8), 0),
    };
    let mut reader = input.reader()?;
    let skipped = io::copy(&mut reader.by_ref().take(mark as u64), &mut io::sink());
    skipped.map_err(|e| input.error(e))?;
    if encoding == UTF_8 {
        return Ok(reader);
    }
    Ok(Box::new(Decoded {
        inner: reader,
        decoder: encoding.new_decoder_without_bom_handling(),
        text: vec![0; 1 << 17],
        at: 0,
        end: 0,
        ended: false,
    }))
}

/// The encoding of a name as browsers know it, with or without hyphens.
fn find(name: &str) -> Result<&'static Encoding> {
    let plain = name.replace(['-', '_', ' '], "");
    Encoding::for_label(name.as_bytes())
        .or_else(|| Encoding::for_label(plain.as_bytes()))
        .ok_or_else(|| {
            Error::Config(format!(
                "`encoding` is `{name}`: expected `utf-8`, `latin-1`, `windows-1252`, `utf-16le`, `shift_jis`, `gbk` or another name of the WHATWG list"
            ))
        })
}

struct Decoded {
    inner: Box<dyn BufRead + Send>,
    decoder: Decoder,
    text: Vec<u8>,
    /// What of `text` is still to be read.
    at: usize,
    end: usize,
    ended: bool,
}

impl BufRead for Decoded {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.end && !self.ended {
            let bytes = self.inner.fill_buf()?;
            self.ended = bytes.is_empty();
            let decoded = self.decoder.decode_to_utf8(bytes, &mut self.text, self.ended);
            let (_, read, written, _) = decoded;
            self.inner.consume(read);
            (self.at, self.end) = (0, written);
        }
        Ok(&self.text[self.at..self.end])
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }
}

impl Read for Decoded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], encoding: Option<&str>) -> String {
        let input = Input::from_bytes("t", bytes);
        let mut text = String::new();
        let mut reader = reader(&input, encoding).unwrap();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn byte_order_marks_and_names_decide() {
        assert_eq!(read("\u{feff}né".as_bytes(), None), "né");
        assert_eq!(read(b"\xff\xfen\0\xe9\0", None), "né");
        assert_eq!(read(b"\xfe\xff\0n\0\xe9", Some("latin-1")), "né");
        for name in ["latin-1", "Windows-1252", "latin1", "ISO-8859-1"] {
            assert_eq!(read(b"n\xe9", Some(name)), "né");
        }
        let long = "é".repeat(200_000);
        let utf16: Vec<u8> = long.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(read(&utf16, Some("utf-16le")), long);
        assert!(find("klingon").unwrap_err().to_string().contains("`klingon`"));
    }
}
