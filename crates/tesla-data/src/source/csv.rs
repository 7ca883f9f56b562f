use std::io::BufRead;
use std::sync::Arc;

use crate::arrow::array::{
    ArrayBuilder, ArrayRef, Float64Builder, RecordBatch, RecordBatchOptions, StringBuilder,
};
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use csv::{ByteRecord, Trim};

use super::{BATCH_ROWS, Batches, Input, Scanned, Source};
use crate::config::CsvConfig;
use crate::contract::number;
use crate::{BadRow, Error, Place, Result};

/// A CSV file, or anything separated by one character.
///
/// A column is a number (`Float64`) when every value that is not missing is one, and text
/// (`Utf8`) otherwise; all rows are looked at, so a late exception cannot surprise.
pub struct CsvSource {
    input: Input,
    config: CsvConfig,
    names: Vec<String>,
}

impl CsvSource {
    /// Reads the header.
    ///
    /// # Errors
    /// When the file is empty, the header names a column twice or is not UTF-8.
    pub fn open(input: Input, config: CsvConfig) -> Result<Self> {
        if !config.delimiter.is_ascii() {
            return Err(Error::Config(format!(
                "`delimiter` is `{}`: expected one ASCII character",
                config.delimiter
            )));
        }
        let mut source = Self {
            input,
            config,
            names: Vec::new(),
        };
        source.names = source.read_names()?;
        Ok(source)
    }

    fn read_names(&self) -> Result<Vec<String>> {
        let mut first = ByteRecord::new();
        let found = self
            .reader()?
            .read_byte_record(&mut first)
            .map_err(|e| self.error(e))?;
        if !found {
            let expected = match self.config.header {
                true => "is empty: expected a header line and at least one row",
                false => "is empty: expected at least one row",
            };
            return Err(Error::source(self.name(), expected));
        }
        let names: Vec<String> = match (self.config.header, self.config.names.as_slice()) {
            (true, _) => first
                .iter()
                .map(|name| {
                    std::str::from_utf8(name)
                        .map(String::from)
                        .map_err(|_| Error::source(self.name(), "has a header that is not UTF-8"))
                })
                .collect::<Result<_>>()?,
            (false, []) => (1..=first.len()).map(|i| format!("c{i}")).collect(),
            (false, given) if given.len() != first.len() => {
                return Err(Error::source(
                    self.name(),
                    format!(
                        "has {} fields in its first line, but `names` lists {}",
                        first.len(),
                        given.len()
                    ),
                ));
            }
            (false, given) => given.to_vec(),
        };
        for (i, name) in names.iter().enumerate() {
            if names[..i].contains(name) {
                let reason = format!("names the column `{name}` twice in its header");
                return Err(Error::source(self.name(), reason));
            }
        }
        Ok(names)
    }

    /// A reader at the first line; the header is not skipped.
    fn reader(&self) -> Result<csv::Reader<Box<dyn BufRead + Send>>> {
        let mut reader = self.input.reader()?;
        let start = reader.fill_buf().map_err(|e| self.input.error(e))?;
        if start.starts_with(b"\xef\xbb\xbf") {
            reader.consume(3);
        }
        Ok(csv::ReaderBuilder::new()
            .has_headers(false)
            .delimiter(self.config.delimiter as u8)
            .trim(Trim::All)
            .from_reader(reader))
    }

    /// A reader at the first row.
    fn rows(&self) -> Result<csv::Reader<Box<dyn BufRead + Send>>> {
        let mut reader = self.reader()?;
        if self.config.header {
            reader
                .read_byte_record(&mut ByteRecord::new())
                .map_err(|e| self.error(e))?;
        }
        Ok(reader)
    }

    fn is_missing(&self, field: &[u8]) -> bool {
        self.config.missing.iter().any(|m| m.as_bytes() == field)
    }

    fn error(&self, error: csv::Error) -> Error {
        let place = |pos: &Option<csv::Position>| match pos {
            Some(pos) => format!("`{}` line {}", self.name(), pos.line()),
            None => format!("`{}`", self.name()),
        };
        match error.kind() {
            csv::ErrorKind::UnequalLengths {
                pos,
                expected_len,
                len,
            } => Error::Row {
                place: place(pos),
                reason: unequal(*expected_len, *len),
            },
            csv::ErrorKind::Io(_) => match error.into_kind() {
                csv::ErrorKind::Io(e) => self.input.error(e),
                _ => unreachable!("the kind was matched above"),
            },
            _ => Error::source(self.name(), format!("is not a readable CSV file: {error}")),
        }
    }
}

impl Source for CsvSource {
    fn name(&self) -> &str {
        self.input.name()
    }

    fn schema(&self) -> Result<SchemaRef> {
        let mut numeric = vec![true; self.names.len()];
        let mut any = vec![false; self.names.len()];
        let mut rows = self.rows()?;
        let mut record = ByteRecord::new();
        loop {
            match rows.read_byte_record(&mut record) {
                Ok(true) => {}
                Ok(false) => break,
                // A ragged row says nothing about columns; the scan sets it apart.
                Err(e) if matches!(e.kind(), csv::ErrorKind::UnequalLengths { .. }) => continue,
                Err(e) => return Err(self.error(e)),
            }
            for (i, field) in record.iter().enumerate().take(numeric.len()) {
                if numeric[i] && !self.is_missing(field) {
                    any[i] = true;
                    numeric[i] = number(field).is_some();
                }
            }
        }
        let fields: Vec<Field> = std::iter::zip(&self.names, std::iter::zip(numeric, any))
            .map(|(name, (numeric, any))| {
                let kind = match numeric && any {
                    true => DataType::Float64,
                    false => DataType::Utf8,
                };
                Field::new(name, kind, true)
            })
            .collect();
        Ok(Arc::new(Schema::new(fields)))
    }

    fn raw_schema(&self) -> Result<SchemaRef> {
        let field = |name: &String| Field::new(name, DataType::Utf8, true);
        let fields: Vec<Field> = self.names.iter().map(field).collect();
        Ok(Arc::new(Schema::new(fields)))
    }

    fn scan(&self, schema: &SchemaRef) -> Result<Batches<'_>> {
        let columns = schema
            .fields()
            .iter()
            .map(|field| {
                let at = self.names.iter().position(|n| n == field.name());
                let at = at.ok_or_else(|| Error::MissingColumn {
                    column: field.name().clone(),
                    place: format!("`{}`", self.name()),
                    valid: self.names.clone(),
                })?;
                Ok((at, Column::new(field)))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Box::new(Scan {
            source: self,
            schema: schema.clone(),
            rows: self.rows()?,
            columns,
            record: ByteRecord::new(),
            seen: 0,
        }))
    }

    /// Reads the file again to find the lines; only a message needs them.
    fn places(&self, rows: &[usize]) -> Vec<Place> {
        let lines = || -> Option<Vec<Place>> {
            let mut reader = self.rows().ok()?;
            let mut record = ByteRecord::new();
            let mut next = 0;
            let mut places = Vec::with_capacity(rows.len());
            for row in rows {
                while next <= *row {
                    // A ragged row is a row too, and its record is filled.
                    if let Ok(false) = reader.read_byte_record(&mut record) {
                        return None;
                    }
                    next += 1;
                }
                places.push(Place::line(self.name(), record.position()?.line()));
            }
            Some(places)
        };
        lines().unwrap_or_else(|| {
            let row = |row: &usize| Place::row(self.name(), *row);
            rows.iter().map(row).collect()
        })
    }

    fn fingerprint(&self) -> Result<String> {
        self.input.fingerprint()
    }
}

struct Scan<'a> {
    source: &'a CsvSource,
    schema: SchemaRef,
    rows: csv::Reader<Box<dyn BufRead + Send>>,
    columns: Vec<(usize, Column)>,
    record: ByteRecord,
    /// Rows seen so far, good and bad.
    seen: usize,
}

enum Column {
    Number {
        builder: Float64Builder,
        /// The value of the row that is being read, until the whole row is known to be good.
        value: Option<f64>,
    },
    Text(StringBuilder),
}

impl Column {
    fn new(field: &Field) -> Self {
        match field.data_type() {
            DataType::Float64 => Column::Number {
                builder: Float64Builder::with_capacity(BATCH_ROWS),
                value: None,
            },
            _ => Column::Text(StringBuilder::new()),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Column::Number { builder, .. } => ArrayBuilder::finish(builder),
            Column::Text(builder) => ArrayBuilder::finish(builder),
        }
    }
}

impl Scan<'_> {
    fn next_batch(&mut self) -> Result<Option<Scanned>> {
        let mut rows = 0;
        let mut bad = Vec::new();
        while rows < BATCH_ROWS && bad.len() < BATCH_ROWS {
            let reason = match self.rows.read_byte_record(&mut self.record) {
                Ok(false) => break,
                Ok(true) => self.check(),
                Err(e) => match e.kind() {
                    csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                        Err((None, unequal(*expected_len, *len)))
                    }
                    _ => return Err(self.source.error(e)),
                },
            };
            match reason {
                Ok(()) => {
                    self.append();
                    rows += 1;
                }
                Err((at, reason)) => bad.push(self.bad_row(at, reason)),
            }
            self.seen += 1;
        }
        if rows == 0 && bad.is_empty() {
            return Ok(None);
        }
        let arrays = self.columns.iter_mut().map(|(_, c)| c.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?;
        Ok(Some(Scanned { rows, bad }))
    }

    /// Whether every field of the record is of its column's type; if not, which and why.
    fn check(&mut self) -> Result<(), (Option<usize>, String)> {
        for (at, column) in &mut self.columns {
            let field = &self.record[*at];
            let missing = self.source.is_missing(field);
            match column {
                Column::Number { value, .. } => {
                    *value = number(field);
                    if value.is_none() && !missing {
                        let text = String::from_utf8_lossy(field);
                        return Err((Some(*at), crate::contract::not_a_number(&text)));
                    }
                }
                Column::Text(_) => {
                    if !missing && std::str::from_utf8(field).is_err() {
                        return Err((Some(*at), "the text is not UTF-8".into()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes over the record that was checked.
    fn append(&mut self) {
        for (at, column) in &mut self.columns {
            match column {
                Column::Number { builder, value } => builder.append_option(*value),
                Column::Text(builder) => {
                    let field = &self.record[*at];
                    match self.source.is_missing(field) {
                        true => builder.append_null(),
                        false => builder.append_option(std::str::from_utf8(field).ok()),
                    }
                }
            }
        }
    }

    fn bad_row(&self, at: Option<usize>, reason: String) -> BadRow {
        let field = |at: usize| String::from_utf8_lossy(&self.record[at]).chars().take(BadRow::SHOWN).collect();
        let line = self.record.position().map_or(0, |p| p.line());
        BadRow {
            place: Place::line(self.source.name(), line),
            number: self.seen,
            column: at.map(|at| self.source.names[at].clone()),
            value: at.map(field),
            reason,
        }
    }
}

fn unequal(expected: u64, found: u64) -> String {
    format!("{found} fields where {expected} are expected: a quote or a delimiter is missing or too many")
}

impl Iterator for Scan<'_> {
    type Item = Result<Scanned>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

#[cfg(test)]
mod tests {
    use crate::arrow::array::AsArray;

    use super::*;

    fn read(text: &str) -> Result<RecordBatch> {
        let input = Input::from_bytes("t.csv", text.as_bytes());
        let source = CsvSource::open(input, CsvConfig::default())?;
        let frame = crate::Frame::read_all(Box::new(source))?;
        match frame.bad() {
            [] => Ok(frame.to_batch()?),
            [first, ..] => Err(first.clone().into_error()),
        }
    }

    fn message(text: &str) -> String {
        read(text).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn infers_numbers_and_text_and_keeps_missing_values() {
        let rows = read("\u{feff}a,b\n 1 , x\n?,\"y, z\"\n2.5,\n").unwrap();
        let a = rows.column(0).as_primitive::<crate::arrow::datatypes::Float64Type>();
        assert_eq!(a.iter().collect::<Vec<_>>(), [Some(1.0), None, Some(2.5)]);
        let b = rows.column(1).as_string::<i32>();
        assert_eq!(
            b.iter().collect::<Vec<_>>(),
            [Some("x"), Some("y, z"), None]
        );
    }

    #[test]
    fn a_late_text_makes_the_column_text() {
        let mut text = String::from("a\n");
        text.extend((0..20_000).map(|i| format!("{i}\n")));
        text.push_str("late\n");
        assert_eq!(read(&text).unwrap().column(0).data_type(), &DataType::Utf8);
    }

    #[test]
    fn errors_name_the_line() {
        insta_like(&message("a,b\n1,2\n3\n"), "`t.csv` line 3: 1 fields");
        insta_like(&message(""), "`t.csv` is empty");
        insta_like(&message("a,a\n1,2\n"), "names the column `a` twice");
        insta_like(&message("a,b\n"), "`t.csv` has no rows");
    }

    fn insta_like(message: &str, part: &str) {
        assert!(message.contains(part), "{message}");
    }

    #[test]
    fn a_row_knows_its_line_even_after_a_quoted_line_break() {
        let input = Input::from_bytes("t.csv", "a\n\"x\ny\"\nz\n".as_bytes());
        let source = CsvSource::open(input, CsvConfig::default()).unwrap();
        assert_eq!(source.places(&[1])[0].to_string(), "`t.csv` line 4");
    }
}
