//! The notations of protocol 0, and integers of any size.

use super::value::{Node, Read};

/// Digits of a decimal integer; no `f64` has more.
const MAX_DIGITS: usize = 400;

/// A decimal integer; beyond 64 bits the nearest float.
pub(super) fn integer(line: &[u8]) -> Read<Node<'static>> {
    let text = std::str::from_utf8(line).unwrap_or_default().trim();
    if let Ok(value) = text.parse() {
        return Ok(Node::Int(value));
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    match !digits.is_empty()
        && digits.len() <= MAX_DIGITS
        && digits.bytes().all(|b| b.is_ascii_digit())
    {
        true => Ok(Node::Float(number(line)?)),
        false => Err(not(line, "an integer")),
    }
}

/// A decimal number as Python writes it.
pub(super) fn number(line: &[u8]) -> Read<f64> {
    let text = std::str::from_utf8(line).unwrap_or_default();
    text.trim().parse().map_err(|_| not(line, "a number"))
}

/// A little-endian integer in two's complement of any length; beyond 64 bits the nearest float.
pub(super) fn long(bytes: &[u8]) -> Node<'static> {
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let (low, high) = bytes.split_at(bytes.len().min(8));
    let mut word = [fill; 8];
    word[..low.len()].copy_from_slice(low);
    let value = i64::from_le_bytes(word);
    if high.iter().all(|b| *b == fill) && (value < 0) == negative {
        return Node::Int(value);
    }
    // Twos' complement: the bytes as an unsigned number, less 2^bits where negative.
    let magnitude = bytes.iter().rev().fold(0.0, |sum: f64, byte| {
        let digit = if negative { !byte } else { *byte };
        sum * 256.0 + f64::from(digit)
    });
    Node::Float(if negative {
        -magnitude - 1.0
    } else {
        magnitude
    })
}

/// The `repr` of a Python 2 `str`, in single or double quotes.
pub(super) fn quoted(line: &[u8]) -> Read<Vec<u8>> {
    let inner = match line {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return Err(not(line, "a text in quotes")),
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        let Some((code, tail)) = rest.split_first() else {
            return Err(not(line, "a text in quotes"));
        };
        rest = tail;
        match code {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'v' => out.push(11),
            b'x' => {
                let byte = hex(rest, 2).and_then(|v| u8::try_from(v).ok());
                out.push(byte.ok_or_else(|| not(line, "a text in quotes"))?);
                rest = &rest[2..];
            }
            b'0'..=b'7' => {
                let mut value = u32::from(code - b'0');
                for _ in 0..2 {
                    if let [digit @ b'0'..=b'7', tail @ ..] = rest {
                        value = value * 8 + u32::from(digit - b'0');
                        rest = tail;
                    }
                }
                out.push(value as u8);
            }
            b'\\' | b'\'' | b'"' => out.push(*code),
            // As Python: an unknown escape stands for itself.
            _ => out.extend([b'\\', *code]),
        }
    }
    Ok(out)
}

/// Python's `raw-unicode-escape`: latin-1 with `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn escaped_unicode(line: &[u8]) -> String {
    let mut out = String::with_capacity(line.len());
    let mut surrogate: Option<u16> = None;
    let mut rest = line;
    while let [first, tail @ ..] = rest {
        let code = match rest {
            [b'\\', b'u', digits @ ..] => hex(digits, 4).map(|v| (v, 6)),
            [b'\\', b'U', digits @ ..] => hex(digits, 8).map(|v| (v, 10)),
            _ => None,
        };
        let (code, length) = code.unwrap_or((u32::from(*first), 1));
        rest = if length > 1 { &rest[length..] } else { tail };
        // Python 2 wrote characters beyond 16 bits as two halves.
        match (surrogate.take(), code) {
            (Some(high), 0xdc00..=0xdfff) => {
                let pair = char::decode_utf16([high, code as u16]);
                out.extend(pair.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
                continue;
            }
            (Some(_), _) => out.push(char::REPLACEMENT_CHARACTER),
            (None, _) => {}
        }
        match code {
            0xd800..=0xdbff => surrogate = Some(code as u16),
            _ => out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
        }
    }
    if surrogate.is_some() {
        out.push(char::REPLACEMENT_CHARACTER);
    }
    out
}

fn hex(bytes: &[u8], digits: usize) -> Option<u32> {
    let text = std::str::from_utf8(bytes.get(..digits)?).ok()?;
    match text.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => u32::from_str_radix(text, 16).ok(),
        false => None,
    }
}

fn not(line: &[u8], what: &str) -> String {
    let line = String::from_utf8_lossy(&line[..line.len().min(40)]);
    format!("is not a valid pickle: `{}` is not {what}", line.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_any_size() {
        let check = |bytes: &[u8], expected: &str| {
            assert_eq!(format!("{:?}", long(bytes)), expected, "{bytes:?}");
        };
        check(&[], "Int(0)");
        check(&[0xff], "Int(-1)");
        check(&[0xff, 0], "Int(255)");
        check(&[0, 0, 0, 0, 0, 0, 0, 0x80], "Int(-9223372036854775808)");
        check(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0], "Float(9.223372036854776e18)");
        check(&[0, 0, 0, 0, 0, 0, 0, 0, 0xff], "Float(-1.8446744073709552e19)");
        assert_eq!(format!("{:?}", integer(b"-12").unwrap()), "Int(-12)");
        assert!(integer(b"12x").is_err());
    }

    #[test]
    fn texts_of_protocol_0() {
        assert_eq!(quoted(br"'a\x00\n\'\\\101'").unwrap(), b"a\x00\n'\\A");
        assert!(quoted(b"'").is_err() && quoted(br"'\x0'").is_err());
        assert_eq!(escaped_unicode(b"caf\xe9 \\u2603 \\U0001f600"), "café ☃ 😀");
        assert_eq!(escaped_unicode(br"\ud83d\ude00 \ud83d"), "😀 \u{fffd}");
    }
}
