//! Python literals, as the headers of `.npy` files are written: read, never evaluated.

use super::dtype::Read;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    None,
    Bool(bool),
    Int(i64),
    Text(String),
    Tuple(Vec<Literal>),
    List(Vec<Literal>),
    Dict(Vec<(Literal, Literal)>),
}

impl Literal {
    /// The value of a dict under a text.
    pub(crate) fn entry(&self, name: &str) -> Option<&Literal> {
        let Literal::Dict(entries) = self else {
            return None;
        };
        let found = entries.iter().find(|(key, _)| *key == Literal::Text(name.into()));
        found.map(|(_, value)| value)
    }

    pub(crate) fn items(&self) -> Option<&[Literal]> {
        match self {
            Literal::Tuple(items) | Literal::List(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn size(&self) -> Option<usize> {
        match self {
            Literal::Int(i) => usize::try_from(*i).ok(),
            _ => None,
        }
    }
}

/// Literals inside literals.
const MAX_DEPTH: usize = 8;

/// Reads one literal, which must fill `text`.
pub(crate) fn parse(text: &str) -> Read<Literal> {
    let mut parser = Parser { text, at: 0 };
    let literal = parser.value(0)?;
    match parser.peek() {
        None => Ok(literal),
        Some(_) => Err(parser.error()),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn error(&self) -> String {
        format!("is damaged: byte {} of its header is not the dict that `np.save` writes", self.at)
    }

    /// The next character that is not a space.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn word(&mut self, fits: fn(char) -> bool) -> &str {
        let start = self.at;
        let rest = &self.text[start..];
        self.at += rest.find(|c| !fits(c)).unwrap_or(rest.len());
        &self.text[start..self.at]
    }

    fn value(&mut self, depth: usize) -> Read<Literal> {
        if depth > MAX_DEPTH {
            return Err(self.error());
        }
        match self.peek() {
            Some('{') => self.dict(depth),
            Some('(') => {
                self.items(depth, ')')
                    .map(|(mut items, comma)| match (items.len(), comma) {
                        // One value in brackets is itself, not a tuple.
                        (1, false) => items.remove(0),
                        _ => Literal::Tuple(items),
                    })
            }
            Some('[') => self.items(depth, ']').map(|(items, _)| Literal::List(items)),
            Some(quote @ ('\'' | '"')) => self.quoted(quote).map(Literal::Text),
            Some('-' | '0'..='9') => {
                let digits = self.word(|c| c == '-' || c.is_ascii_digit()).parse();
                // Python 2 wrote long integers as `3L`.
                if self.text[self.at..].starts_with('L') {
                    self.at += 1;
                }
                digits.map(Literal::Int).map_err(|_| self.error())
            }
            Some(_) => match self.word(|c| c.is_ascii_alphanumeric()) {
                "True" => Ok(Literal::Bool(true)),
                "False" => Ok(Literal::Bool(false)),
                "None" => Ok(Literal::None),
                _ => Err(self.error()),
            },
            None => Err(self.error()),
        }
    }

    fn dict(&mut self, depth: usize) -> Read<Literal> {
        self.at += 1;
        let mut entries = Vec::new();
        while !self.eat('}') {
            let key = self.value(depth + 1)?;
            if !self.eat(':') {
                return Err(self.error());
            }
            entries.push((key, self.value(depth + 1)?));
            if !self.eat(',') && self.peek() != Some('}') {
                return Err(self.error());
            }
        }
        Ok(Literal::Dict(entries))
    }

    /// The items up to `end`, and whether a comma stood before it.
    fn items(&mut self, depth: usize, end: char) -> Read<(Vec<Literal>, bool)> {
        self.at += 1;
        let mut items = Vec::new();
        let mut comma = false;
        while !self.eat(end) {
            items.push(self.value(depth + 1)?);
            comma = self.eat(',');
            if !comma && self.peek() != Some(end) {
                return Err(self.error());
            }
        }
        Ok((items, comma))
    }

    fn quoted(&mut self, quote: char) -> Read<String> {
        // `b'…'` and `u'…'` are of Python 2 and not written by `np.save`.
        self.at += 1;
        let mut out = String::new();
        let mut chars = self.text[self.at..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.at += at + 1;
                    return Ok(out);
                }
                '\\' => match chars.next() {
                    Some((_, c @ ('\\' | '\'' | '"'))) => out.push(c),
                    _ => return Err(self.error()),
                },
                c => out.push(c),
            }
        }
        Err(self.error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_nothing_else_is() {
        let header = "{'descr': [('id', '<i4'), ('naïve', \"|S5\")], 'fortran_order': False, 'shape': (150, 4L), }   \n";
        let header = parse(header).unwrap();
        assert_eq!(header.entry("fortran_order"), Some(&Literal::Bool(false)));
        let shape = header.entry("shape").and_then(Literal::items).unwrap();
        assert_eq!(shape, [Literal::Int(150), Literal::Int(4)]);
        assert_eq!(parse("(3)").unwrap(), Literal::Int(3));
        assert_eq!(parse("(3,)").unwrap(), Literal::Tuple(vec![Literal::Int(3)]));
        assert_eq!(parse("()").unwrap(), Literal::Tuple(vec![]));
        for bad in [
            "",
            "{",
            "{'a'}",
            "{'a': }",
            "(1 2)",
            "(,)",
            "1-1",
            "'x",
            "'\\n'",
            "exec('x')",
            "True1",
            "1 2",
            "99999999999999999999",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
    }
}
