//! NumPy's types of elements.

/// What went wrong, to be read after the name of the file: "`x.pkl` is truncated: …".
pub(crate) type Read<T> = Result<T, String>;

/// The type of one element.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dtype {
    pub(crate) kind: Kind,
    /// Bytes an element takes.
    pub(crate) size: usize,
    pub(crate) big_endian: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Bool,
    Int,
    UInt,
    Float,
    /// Bytes padded with zeros.
    Bytes,
    /// UTF-32 padded with zeros.
    Text,
    Time(Unit),
    Duration(Unit),
    /// Python values, which only a pickle can hold.
    Object,
    /// Named fields, each at its offset.
    Struct(Vec<(String, Dtype, usize)>),
}

/// The unit of a time or a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Years,
    Months,
    /// `per_second` divides a second; `seconds` multiplies it.
    Ticks {
        per_second: i64,
        seconds: i64,
    },
}

impl Dtype {
    /// Parses NumPy's short form, such as `<f8`, `|S5`, `>M8[ns]`.
    pub(crate) fn parse(code: &str) -> Read<Self> {
        let unknown = || {
            let code: String = code.chars().take(40).collect();
            format!(
                "has an array of type `{}`: expected booleans, integers, floats of 16, 32 or 64 \
                 bits, texts, times or objects; convert it with `astype`",
                code.escape_debug()
            )
        };
        let (big_endian, rest) = match code.split_at_checked(1) {
            Some((">", rest)) => (true, rest),
            Some(("<" | "|" | "=", rest)) => (false, rest),
            _ => (false, code),
        };
        let letter = rest.chars().next().ok_or_else(unknown)?;
        let rest = &rest[letter.len_utf8()..];
        let (digits, unit) = match rest.split_once('[') {
            Some((digits, unit)) => (digits, unit.strip_suffix(']').ok_or_else(unknown)?),
            None => (rest, ""),
        };
        let size: usize = match digits {
            "" if letter == 'O' => 8,
            _ => digits.parse().map_err(|_| unknown())?,
        };
        let (kind, size) = match (letter, size) {
            ('b' | '?', 1) => (Kind::Bool, 1),
            ('i', 1 | 2 | 4 | 8) => (Kind::Int, size),
            ('u', 1 | 2 | 4 | 8) => (Kind::UInt, size),
            ('f', 2 | 4 | 8) => (Kind::Float, size),
            ('S' | 'a', _) => (Kind::Bytes, size),
            ('U', _) => (Kind::Text, size.checked_mul(4).ok_or_else(unknown)?),
            ('M', 8) => (Kind::Time(Unit::parse(unit)?), 8),
            ('m', 8) => (Kind::Duration(Unit::parse(unit)?), 8),
            ('O', _) => (Kind::Object, 8),
            _ => return Err(unknown()),
        };
        Ok(Self {
            kind,
            size,
            big_endian,
        })
    }
}

impl Unit {
    pub(crate) fn parse(unit: &str) -> Read<Self> {
        let ticks = |per_second, seconds| Unit::Ticks {
            per_second,
            seconds,
        };
        Ok(match unit {
            "Y" => Unit::Years,
            "M" => Unit::Months,
            "W" => ticks(1, 604_800),
            "D" => ticks(1, 86_400),
            "h" => ticks(1, 3600),
            "m" => ticks(1, 60),
            "s" => ticks(1, 1),
            "ms" => ticks(1000, 1),
            "us" => ticks(1_000_000, 1),
            "ns" => ticks(1_000_000_000, 1),
            _ => {
                let unit: String = unit.chars().take(20).collect();
                return Err(format!(
                    "has times in the unit `{}`: expected one of Y, M, W, D, h, m, s, ms, us and \
                     ns; convert it with `astype('datetime64[ns]')`",
                    unit.escape_debug()
                ));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_parsed_or_refused() {
        let kind = |code| Dtype::parse(code).map(|d| (d.kind, d.size, d.big_endian));
        assert_eq!(kind(">f8"), Ok((Kind::Float, 8, true)));
        assert_eq!(kind("<U10"), Ok((Kind::Text, 40, false)));
        assert!(matches!(kind("<M8[ns]"), Ok((Kind::Time(_), 8, false))));
        for code in [
            "",
            "f",
            "f3",
            "<c16",
            "é8",
            "M8[x]",
            "M8",
            "U99999999999999999999",
            "U9999999999999999999",
        ] {
            assert!(kind(code).is_err(), "{code}");
        }
    }
}
