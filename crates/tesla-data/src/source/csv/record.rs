use memchr::{memchr, memchr_iter, memchr2};
use wide::u8x16;

/// The characters that divide text into records and fields.
///
/// A quote opens only at the start of a field; anywhere else it is a character. Inside quotes a
/// doubled quote is one, and delimiters and line ends are characters. These are the rules of
/// RFC 4180 and, where that is silent, of the crate `csv`; a test compares the two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Syntax {
    /// A blank stands for a run of spaces and tabs.
    pub(super) delimiter: u8,
    pub(super) quote: Option<u8>,
    pub(super) comment: Option<u8>,
    pub(super) newline: u8,
    /// Whether blanks around fields are left out. Those inside quotes always stay.
    pub(super) trim: bool,
}

/// Where a record ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    /// Just after its line end.
    At(usize),
    /// With the text, or after it.
    Open,
    /// A quote is still open where the text ends.
    InQuotes,
}

/// A field: a range of the text, or of the scratch text when quotes inside had to be undone. Small,
/// because a block has a hundred thousand of them; a block is shorter than 2 GiB by far.
#[derive(Clone, Copy, Debug)]
struct Field {
    start: u32,
    end: u32,
}

impl Field {
    const SCRATCH: u32 = 1 << 31;

    #[inline]
    fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }
}

/// The fields of some records, one record after the other; kept, so that nothing is allocated.
#[derive(Default)]
pub(super) struct Fields {
    list: Vec<Field>,
    scratch: Vec<u8>,
}

impl Fields {
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.scratch.clear();
    }

    /// Drops all fields but the first `count`.
    pub(super) fn truncate(&mut self, count: usize) {
        self.list.truncate(count);
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    #[inline]
    pub(super) fn get<'a>(&'a self, text: &'a [u8], at: usize) -> &'a [u8] {
        let Field { start, end } = self.list[at];
        match start & Field::SCRATCH {
            0 => &text[start as usize..end as usize],
            _ => &self.scratch[(start ^ Field::SCRATCH) as usize..end as usize],
        }
    }

    /// Column `at` of records of `width` fields each.
    #[inline]
    pub(super) fn column<'a>(
        &'a self,
        text: &'a [u8],
        at: usize,
        width: usize,
    ) -> impl Iterator<Item = &'a [u8]> {
        (at..self.list.len()).step_by(width).map(|at| self.get(text, at))
    }

    pub(super) fn iter<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.column(text, 0, 1)
    }
}

impl Syntax {
    /// Where the record that starts `text` ends.
    pub(super) fn record_end(&self, text: &[u8]) -> End {
        let line = |from: usize| match memchr(self.newline, &text[from..]) {
            Some(at) => End::At(from + at + 1),
            None => End::Open,
        };
        let Some(quote) = self.quote.filter(|_| !self.is_comment(text)) else {
            return line(0);
        };
        let mut from = 0;
        while let Some(at) = memchr2(quote, self.newline, &text[from..]) {
            let at = from + at;
            if text[at] == self.newline {
                return End::At(at + 1);
            }
            from = at + 1;
            if self.opens_field(text, at) {
                match closing(quote, text, from) {
                    Some(closing) => from = closing + 1,
                    None => return End::InQuotes,
                }
            }
        }
        End::Open
    }

    /// Whether the line is a comment.
    pub(super) fn is_comment(&self, record: &[u8]) -> bool {
        self.comment.is_some() && record.first() == self.comment.as_ref()
    }

    /// Whether the line is neither a comment nor blank.
    pub(super) fn is_row(&self, record: &[u8]) -> bool {
        match record.first() {
            None => false,
            Some(b' ' | b'\t' | b'\r') => !record.iter().all(|b| self.is_blank(*b) || *b == b'\r'),
            Some(first) => self.comment != Some(*first),
        }
    }

    /// Divides the record that ends `record` and starts at `start` in it, without its line end, and
    /// puts its fields behind those of `fields`.
    #[inline]
    pub(super) fn split(
        &self,
        record: &[u8],
        mut start: usize,
        has_quotes: bool,
        fields: &mut Fields,
    ) {
        match self.quote.filter(|_| has_quotes) {
            None if self.delimiter == b' ' => self.split_runs(record, start, None, fields),
            None => {
                let mut marks = Marks::new(record, start, self.delimiter, self.delimiter);
                while let Some(at) = marks.next() {
                    fields.list.push(self.plain(record, start, at));
                    start = at + 1;
                }
                fields.list.push(self.plain(record, start, record.len()));
            }
            Some(quote) if self.delimiter == b' ' => {
                self.split_runs(record, start, Some(quote), fields);
            }
            Some(quote) => {
                let mut marks = Marks::new(record, start, self.delimiter, quote);
                while let Some(at) = marks.next() {
                    if record[at] == self.delimiter {
                        fields.list.push(self.plain(record, start, at));
                        start = at + 1;
                    } else if self.only_blanks(&record[start..at]) {
                        let end = self.field(record, start, quote, fields);
                        if end == record.len() {
                            return;
                        }
                        start = end + 1;
                        marks.skip_to(start);
                    }
                }
                fields.list.push(self.plain(record, start, record.len()));
            }
        }
    }

    fn split_runs(&self, record: &[u8], start: usize, quote: Option<u8>, fields: &mut Fields) {
        let mut at = start;
        loop {
            while at < record.len() && self.is_blank(record[at]) {
                at += 1;
            }
            if at == record.len() {
                break;
            }
            at = match quote {
                Some(quote) => self.field(record, at, quote, fields),
                None => {
                    let end = self.delimiter_from(record, at);
                    fields.list.push(self.plain(record, at, end));
                    end
                }
            };
        }
    }

    /// Reads one field from `start` and returns where its delimiter stands.
    fn field(&self, record: &[u8], start: usize, quote: u8, fields: &mut Fields) -> usize {
        let mut open = start;
        while self.trim && open < record.len() && self.is_blank(record[open]) {
            open += 1;
        }
        if record.get(open) != Some(&quote) {
            let end = self.delimiter_from(record, start);
            fields.list.push(self.plain(record, start, end));
            return end;
        }
        let first = open + 1;
        let closing = closing(quote, record, first).unwrap_or(record.len());
        let after = (closing + 1).min(record.len());
        let end = self.delimiter_from(record, after);
        let tail = self.plain(record, after, end);
        let inside = &record[first..closing];
        if tail.start == tail.end && memchr(quote, inside).is_none() {
            fields.list.push(Field::new(first, closing));
            return end;
        }
        let scratch = &mut fields.scratch;
        let begin = scratch.len();
        let mut from = 0;
        for at in memchr_iter(quote, inside) {
            // The first of a pair is kept, the second is where the next part starts.
            if at >= from {
                scratch.extend_from_slice(&inside[from..=at]);
                from = at + 2;
            }
        }
        scratch.extend_from_slice(inside.get(from..).unwrap_or_default());
        scratch.extend_from_slice(&record[tail.start as usize..tail.end as usize]);
        let mut field = Field::new(begin, scratch.len());
        field.start |= Field::SCRATCH;
        fields.list.push(field);
        end
    }

    /// A field without quotes, blanks around it left out.
    #[inline]
    fn plain(&self, record: &[u8], mut start: usize, mut end: usize) -> Field {
        if self.trim {
            while start < end && self.is_blank(record[start]) {
                start += 1;
            }
            while start < end && self.is_blank(record[end - 1]) {
                end -= 1;
            }
        }
        Field::new(start, end)
    }

    fn delimiter_from(&self, record: &[u8], from: usize) -> usize {
        let found = match self.delimiter {
            b' ' => memchr2(b' ', b'\t', &record[from..]),
            delimiter => memchr(delimiter, &record[from..]),
        };
        found.map_or(record.len(), |at| from + at)
    }

    /// Whether a quote at `at` is the first character of a field of the record that starts `text`.
    fn opens_field(&self, text: &[u8], at: usize) -> bool {
        let mut start = at;
        while self.trim && start > 0 && self.is_blank(text[start - 1]) {
            start -= 1;
        }
        match start {
            0 => true,
            _ if self.delimiter == b' ' => start < at,
            _ => text[start - 1] == self.delimiter,
        }
    }

    #[inline]
    fn only_blanks(&self, text: &[u8]) -> bool {
        text.is_empty() || (self.trim && text.iter().all(|byte| self.is_blank(*byte)))
    }

    #[inline]
    fn is_blank(&self, byte: u8) -> bool {
        byte == b' ' || (byte == b'\t' && self.delimiter != b'\t')
    }
}

/// Where a text holds one of two bytes, sixteen compared at a time: the marks of a record stand ten
/// bytes apart, too close for a search that starts anew at each.
struct Marks<'a> {
    text: &'a [u8],
    either: [u8x16; 2],
    /// Where the bytes start that `mask` tells of, one bit for each.
    at: usize,
    mask: u32,
}

impl<'a> Marks<'a> {
    #[inline]
    fn new(text: &'a [u8], start: usize, one: u8, other: u8) -> Self {
        let either = [u8x16::splat(one), u8x16::splat(other)];
        let mut marks = Self {
            text,
            either,
            at: start,
            mask: 0,
        };
        marks.skip_to(start);
        marks
    }

    #[inline]
    fn skip_to(&mut self, at: usize) {
        self.at = at;
        let bytes = match self.text.get(at..at + 16) {
            Some(bytes) => u8x16::from(<[u8; 16]>::try_from(bytes).unwrap_or_default()),
            None => {
                // Zeros behind the end: neither a delimiter nor a quote.
                let mut last = [0; 16];
                let rest = self.text.get(at..).unwrap_or_default();
                last[..rest.len()].copy_from_slice(rest);
                u8x16::from(last)
            }
        };
        let [one, other] = self.either;
        self.mask = (bytes.simd_eq(one) | bytes.simd_eq(other)).to_bitmask();
    }

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.mask == 0 {
            if self.at + 16 >= self.text.len() {
                return None;
            }
            self.skip_to(self.at + 16);
        }
        let at = self.at + self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        Some(at)
    }
}

/// Where the quote closes that opened just before `from`.
fn closing(quote: u8, text: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let at = from + memchr(quote, text.get(from..)?)?;
        if text.get(at + 1) != Some(&quote) {
            return Some(at);
        }
        from = at + 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMMA: Syntax = Syntax {
        delimiter: b',',
        quote: Some(b'"'),
        comment: None,
        newline: b'\n',
        trim: false,
    };

    fn split(syntax: Syntax, record: &str) -> Vec<String> {
        let mut fields = Fields::default();
        syntax.split(record.as_bytes(), 0, record.contains('"'), &mut fields);
        let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
        fields.iter(record.as_bytes()).map(text).collect()
    }

    #[test]
    fn blanks_stay_inside_quotes_only() {
        let trim = Syntax {
            trim: true,
            ..COMMA
        };
        assert_eq!(
            split(trim, r#" 1 , " a ""b"" " ,"x, y",, z"z "#),
            ["1", " a \"b\" ", "x, y", "", "z\"z"]
        );
        assert_eq!(split(COMMA, r#" 1 ,"a" b,"#), [" 1 ", "a b", ""]);
        let tab = Syntax {
            delimiter: b'\t',
            ..trim
        };
        assert_eq!(split(tab, "a\t\t b"), ["a", "", "b"]);
    }

    #[test]
    fn runs_of_blanks_are_one_delimiter() {
        let runs = Syntax {
            delimiter: b' ',
            trim: true,
            ..COMMA
        };
        assert_eq!(split(runs, "  1 \t 2   \"a  b\" \"\" c "), ["1", "2", "a  b", "", "c"]);
        assert_eq!(split(runs, " 1  -2 "), ["1", "-2"]);
    }

    #[test]
    fn a_quote_inside_a_field_is_a_character() {
        assert_eq!(COMMA.record_end(b"5\" pipe,3\nx"), End::At(10));
        assert_eq!(COMMA.record_end(b"\"a\nb\",c\nx"), End::At(8));
        assert_eq!(COMMA.record_end(b"a,\"b\nc"), End::InQuotes);
        assert_eq!(COMMA.record_end(b"a,\"\"\"\"\nc"), End::At(7));
    }

    proptest! {
        #[test]
        fn equals_the_crate_csv(text in "[ab,\"\n ]{0,40}") {
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .from_reader(text.as_bytes());
            let expected: Vec<Vec<String>> = reader
                .records()
                .map(|r| r.unwrap().iter().map(String::from).collect())
                .collect();
            let mut rest = text.as_str();
            let mut found = Vec::new();
            while !rest.is_empty() {
                let (record, next) = match COMMA.record_end(rest.as_bytes()) {
                    End::At(end) => (&rest[..end - 1], &rest[end..]),
                    End::Open | End::InQuotes => (rest, ""),
                };
                if !record.is_empty() {
                    found.push(split(COMMA, record));
                }
                rest = next;
            }
            prop_assert_eq!(found, expected);
        }
    }
}
