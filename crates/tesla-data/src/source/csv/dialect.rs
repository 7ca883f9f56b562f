use super::record::{End, Fields, Syntax};
use crate::config::CsvConfig;
use crate::contract::number;
use crate::{Error, Result};

/// How one file is written: what the configuration says, and what the file's first lines show.
#[derive(Clone, Debug)]
pub(super) struct Dialect {
    pub(super) syntax: Syntax,
    pub(super) missing: Missing,
    decimal: u8,
}

/// The delimiters that are looked for, the surest sign first: who separates with `;` often
/// writes commas inside numbers, but hardly ever the other way round.
const CANDIDATES: [u8; 4] = *b"\t;|,";

/// Lines that decide on the delimiter.
const LINES: usize = 100;

impl Dialect {
    /// `start` is the first text of the file, `is_whole` whether it is all of it, `is_tsv`
    /// whether the name ends in `.tsv` or `.tab`.
    ///
    /// # Errors
    /// When the configuration contradicts itself.
    pub(super) fn new(
        config: &CsvConfig,
        start: &[u8],
        is_whole: bool,
        is_tsv: bool,
    ) -> Result<Self> {
        let quote = match config.quote.as_bytes() {
            [] => None,
            [quote] if quote.is_ascii() && *quote != 0 => Some(*quote),
            _ => {
                let message = format!(
                    "`quote` is `{}`: expected one ASCII character, or `\"\"` for none",
                    config.quote
                );
                return Err(Error::Config(message));
            }
        };
        let decimal = match config.decimal {
            '.' => b'.',
            ',' => b',',
            other => {
                let message = format!("`decimal` is `{other}`: expected `.` or `,`");
                return Err(Error::Config(message));
            }
        };
        if config.header && !config.names.is_empty() {
            let message = "`names` is for a file without a header: say `header = false` too, and `skip_rows = 1` to replace the header";
            return Err(Error::Config(message.into()));
        }
        let mut syntax = Syntax {
            delimiter: b',',
            quote,
            comment: config.comment.map(|c| ascii("comment", c)).transpose()?,
            newline: match !start.contains(&b'\n') && start.contains(&b'\r') {
                true => b'\r',
                false => b'\n',
            },
            trim: config.trim,
        };
        syntax.delimiter = match config.delimiter {
            Some(delimiter) => ascii("delimiter", delimiter)?,
            None if is_tsv => b'\t',
            None => infer(syntax, start, is_whole, decimal),
        };
        for (key, taken) in
            [("quote", syntax.quote), ("comment", syntax.comment), ("decimal", Some(decimal))]
        {
            if taken == Some(syntax.delimiter) {
                let message = format!(
                    "`delimiter` and `{key}` are both `{}`: say another one",
                    char::from(syntax.delimiter)
                );
                return Err(Error::Config(message));
            }
        }
        // Blanks that are a delimiter cannot also be part of a field.
        syntax.trim |= syntax.delimiter == b' ';
        Ok(Self {
            syntax,
            missing: Missing::new(&config.missing),
            decimal,
        })
    }

    /// Puts the fields of the record that ends `text` and starts at `start` behind those of `fields`.
    #[inline]
    pub(super) fn split(&self, text: &[u8], start: usize, fields: &mut Fields) {
        let quote = self.syntax.quote;
        let has_quotes = quote.is_some_and(|quote| memchr::memchr(quote, &text[start..]).is_some());
        self.syntax.split(text, start, has_quotes, fields);
    }

    /// A field that is not missing as a number.
    #[inline]
    pub(super) fn number(&self, field: &[u8]) -> Option<f64> {
        match self.decimal {
            b'.' => number(field),
            _ => number_with_comma(field),
        }
    }
}

fn ascii(key: &str, c: char) -> Result<u8> {
    match u8::try_from(c) {
        Ok(byte) if byte.is_ascii() && !matches!(byte, 0 | b'\n' | b'\r') => Ok(byte),
        _ => {
            let message =
                format!("`{key}` is `{}`: expected one ASCII character", c.escape_default());
            Err(Error::Config(message))
        }
    }
}

fn number_with_comma(field: &[u8]) -> Option<f64> {
    let mut point = [0; 64];
    let point = point.get_mut(..field.len())?;
    for (to, from) in std::iter::zip(point.iter_mut(), field) {
        *to = match from {
            b',' => b'.',
            b'.' => return None,
            other => *other,
        };
    }
    number(point)
}

/// The delimiter that the first lines agree on.
///
/// The first candidate that divides each of the first 100 lines into as many fields as the first
/// line, two or more. When none does, the one on which most lines agree, if those are at least
/// half; otherwise the comma: a file with one column.
fn infer(syntax: Syntax, start: &[u8], is_whole: bool, decimal: u8) -> u8 {
    let mut best = (0, b',');
    for delimiter in CANDIDATES.into_iter().filter(|c| *c != decimal) {
        let syntax = Syntax {
            delimiter,
            ..syntax
        };
        let (agree, lines) = agreement(syntax, start, is_whole);
        if agree == lines && lines > 0 {
            return delimiter;
        }
        if 2 * agree >= lines && agree > best.0 {
            best = (agree, delimiter);
        }
    }
    match best {
        (0, _) if decimal == b',' => b';',
        (_, delimiter) => delimiter,
    }
}

/// How many of the first lines have as many fields as the first, and how many lines there are.
fn agreement(syntax: Syntax, start: &[u8], is_whole: bool) -> (usize, usize) {
    let mut fields = Fields::default();
    let (mut expected, mut agree, mut lines) = (0, 0, 0);
    let mut rest = start;
    while !rest.is_empty() && lines < LINES {
        let (record, next) = match syntax.record_end(rest) {
            End::At(end) => (&rest[..end - 1], &rest[end..]),
            // A line that was cut off says nothing, unless it is the only one.
            _ if is_whole || lines == 0 => (rest, &rest[..0]),
            _ => break,
        };
        rest = next;
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        if !syntax.is_row(record) {
            continue;
        }
        fields.clear();
        syntax.split(record, 0, true, &mut fields);
        if lines == 0 {
            expected = fields.len();
        }
        lines += 1;
        agree += usize::from(expected > 1 && fields.len() == expected);
    }
    (agree, lines)
}

/// The fields that mean "no value".
#[derive(Clone, Debug)]
pub(super) struct Missing {
    markers: Vec<Vec<u8>>,
    empty: bool,
    longest: usize,
    /// Which bytes a marker starts with: most fields are told apart by their first.
    first: [bool; 256],
}

impl Missing {
    fn new(markers: &[String]) -> Self {
        let mut first = [false; 256];
        for byte in markers.iter().filter_map(|m| m.as_bytes().first()) {
            first[usize::from(*byte)] = true;
        }
        Self {
            markers: markers.iter().map(|m| m.as_bytes().to_vec()).collect(),
            empty: markers.iter().any(String::is_empty),
            longest: markers.iter().map(String::len).max().unwrap_or(0),
            first,
        }
    }

    #[inline]
    pub(super) fn has(&self, field: &[u8]) -> bool {
        match field.first() {
            None => self.empty,
            Some(first) => {
                self.first[usize::from(*first)]
                    && field.len() <= self.longest
                    && self.markers.iter().any(|m| m == field)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delimiter(text: &str) -> char {
        let config = CsvConfig::default();
        let dialect = Dialect::new(&config, text.as_bytes(), true, false).unwrap();
        dialect.syntax.delimiter.into()
    }

    #[test]
    fn the_first_lines_show_the_delimiter() {
        assert_eq!(delimiter("a,b\n1,2\n"), ',');
        assert_eq!(delimiter("a;b\n1,5;2\n"), ';');
        assert_eq!(delimiter("1,5;2,5\n3,5;4,5\n"), ';');
        assert_eq!(delimiter("a\tb, c\n1\t2\n"), '\t');
        assert_eq!(delimiter("a|b\r\n1|2\r\n"), '|');
        assert_eq!(delimiter("a,b\n\"x;y\",2\n\"x;y\",2\n"), ',');
        assert_eq!(delimiter("a,b;c\n1,2;3\n4,5\n"), ',');
        assert_eq!(delimiter("a;b;c\n1;2;3\n4;5\n6;7;8\n"), ';');
        assert_eq!(delimiter("text\none, two\nthree\n"), ',');
        assert_eq!(delimiter(""), ',');
    }

    #[test]
    fn a_decimal_comma_is_a_decimal_comma() {
        assert_eq!(number_with_comma(b"-1,5"), Some(-1.5));
        assert_eq!(number_with_comma(b"1.000,5"), None);
        assert_eq!(number_with_comma(&[b'1'; 65]), None);
    }

    #[test]
    fn contradictions_are_named() {
        let message =
            |config: CsvConfig| Dialect::new(&config, b"", true, false).unwrap_err().to_string();
        let config = CsvConfig::default();
        assert!(
            message(CsvConfig {
                delimiter: Some('\u{20ac}'),
                ..config.clone()
            })
            .contains("expected one ASCII")
        );
        assert!(
            message(CsvConfig {
                delimiter: Some(','),
                decimal: ',',
                ..config.clone()
            })
            .contains("`decimal` are both `,`")
        );
        assert!(
            message(CsvConfig {
                quote: "''".into(),
                ..config.clone()
            })
            .contains("`quote` is `''`")
        );
        assert!(
            message(CsvConfig {
                names: vec!["a".into()],
                ..config
            })
            .contains("`header = false`")
        );
    }
}
