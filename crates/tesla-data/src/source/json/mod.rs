//! JSON files: one object a line, or one document.

mod document;
mod rows;

use std::collections::HashMap;
use std::io::{BufRead, Read};
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use self::document::Document;
pub(crate) use self::rows::{rows_to_batch, value_of};
use super::{
    BATCH_BYTES, BATCH_ROWS, Batches, Input, ORIGINAL_KEY, Reading, Scanned, Seen, Source, text,
};
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use crate::config::JsonConfig;
use crate::{BadRow, Error, Place, Result};

/// JSON lines (one object or list a line), or one document: a list of objects or of lists, an
/// object with a list per column, or any of these under the keys of `path`.
///
/// The objects of a list are streamed. Nested objects are columns `a.b`. A column is a number when
/// every value is one, or nearly every, by the rule for CSV files; text otherwise.
pub struct JsonSource {
    input: Input,
    config: JsonConfig,
    is_lines: bool,
}

/// The longest line, and the longest row of a list, in bytes.
const LONGEST: u64 = 16 << 20;
/// Keys of all rows together. Where they are more, keys are data.
const MAX_COLUMNS: usize = 16_384;
/// Bytes of a column's name.
const MAX_NAME: usize = 4096;
/// Cells of one batch: rows with many columns come fewer at a time.
const BATCH_CELLS: usize = 1 << 21;

impl JsonSource {
    /// Looks at the first values to tell lines from a document.
    ///
    /// # Errors
    /// When the input cannot be read or is empty.
    pub fn open(input: Input, config: JsonConfig) -> Result<Self> {
        let named_lines = [".jsonl", ".ndjson"]
            .iter()
            .any(|end| input.inner_name().ends_with(end));
        let mut source = Self {
            is_lines: named_lines && config.path.is_none(),
            input,
            config,
        };
        let start = source.start(1 << 16)?;
        if start.trim_ascii().is_empty() {
            let reason = "is empty: expected one JSON object a line, or a list of objects";
            return Err(Error::source(source.name(), reason));
        }
        if source.config.path.is_none() && !source.is_lines {
            source.is_lines = match is_lines(&start) {
                Some(is_lines) => is_lines,
                // The first value is long; a list that long is a document.
                None if start.trim_ascii_start().starts_with(b"{") => {
                    is_lines(&source.start(LONGEST)?).unwrap_or(false)
                }
                None => false,
            };
        }
        Ok(source)
    }

    fn start(&self, most: u64) -> Result<Vec<u8>> {
        let mut start = Vec::new();
        let reader = text::reader(&self.input, None)?;
        let read = reader.take(most).read_to_end(&mut start);
        read.map_err(|e| self.input.error(e))?;
        Ok(start)
    }

    fn rows(&self) -> Result<Rows<'_>> {
        let reader = text::reader(&self.input, None)?;
        let values: Box<dyn Iterator<Item = Result<Row>> + Send> = match self.is_lines {
            true => Box::new(Lines {
                input: &self.input,
                reader,
                line: Vec::new(),
                number: 0,
            }),
            false => {
                let path = self.config.path.as_deref();
                let path =
                    path.map_or(Vec::new(), |path| path.split('.').map(String::from).collect());
                let row = |value: Result<Value>| {
                    value.map(|value| Row {
                        line: None,
                        value: Ok(value),
                    })
                };
                Box::new(Document::read(reader, self.name().into(), path).map(row))
            }
        };
        Ok(Rows {
            values,
            names: self.config.names.clone(),
            has_objects: false,
        })
    }
}

/// Whether text that starts so is one value a line; `None` when the first value is cut off.
fn is_lines(start: &[u8]) -> Option<bool> {
    let start = start.trim_ascii_start();
    let mut values = serde_json::Deserializer::from_slice(start).into_iter::<IgnoredAny>();
    let line = |rest: &[u8]| rest.iter().position(|b| *b == b'\n');
    match values.next()? {
        Ok(_) => {
            let end = values.byte_offset().min(start.len());
            let is_one_line = line(start).is_none_or(|at| at + 1 >= end);
            let rest = &start[line(start).map_or(start.len(), |at| at + 1)..];
            Some(is_one_line && !rest.trim_ascii().is_empty())
        }
        Err(e) if e.is_eof() && !start.ends_with(b"\n") => None,
        // A first line that is damaged, before others that are not.
        Err(_) => {
            let rest = &start[line(start).map_or(start.len(), |at| at + 1)..];
            let second = rest.split(|b| *b == b'\n').next().unwrap_or_default();
            Some(serde_json::from_slice::<Map<String, Value>>(second).is_ok())
        }
    }
}

impl Source for JsonSource {
    fn name(&self) -> &str {
        self.input.name()
    }

    fn schema(&self) -> Result<SchemaRef> {
        let columns = self.look()?;
        if columns.names.is_empty() && columns.rows > 0 {
            let reason =
                "holds rows without any value: expected objects with keys, or lists of values";
            return Err(Error::source(self.name(), reason));
        }
        let fields = std::iter::zip(&columns.names, &columns.seen)
            // A missing object leaves a missing value behind, which is no column of its own.
            .filter(|(name, seen)| seen.has_values() || !columns.has_inside(name))
            .map(|(name, seen)| Field::new(name, seen.data_type(), true));
        Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    }

    fn original_schema(&self) -> Result<Option<SchemaRef>> {
        let columns = self.look()?;
        let fields = std::iter::zip(&columns.names, &columns.kinds)
            .filter(|(name, kinds)| kinds.is_some() || !columns.has_inside(name))
            .map(|(name, kinds)| kinds.unwrap_or(Kind::Text).field(name));
        Ok(Some(Arc::new(Schema::new(fields.collect::<Vec<_>>()))))
    }

    fn is_json(&self) -> bool {
        true
    }

    fn scan(&self, schema: &SchemaRef) -> Result<Batches<'_>> {
        let mut rows = self.rows()?;
        let schema = schema.clone();
        let mut seen = 0;
        Ok(Box::new(std::iter::from_fn(move || {
            self.batch(&mut rows, &schema, &mut seen).transpose()
        })))
    }

    /// Reads the file again to find the lines; only a message needs them.
    fn places(&self, rows: &[usize]) -> Vec<Place> {
        let lines = || -> Option<Vec<Place>> {
            let mut values = self.rows().ok()?.values.enumerate();
            rows.iter()
                .map(|wanted| {
                    let (_, row) = values.find(|(at, _)| at == wanted)?;
                    Some(Place::line(self.name(), row.ok()?.line?))
                })
                .collect()
        };
        let lines = self.is_lines.then(lines).flatten();
        lines.unwrap_or_else(|| rows.iter().map(|row| Place::row(self.name(), *row)).collect())
    }

    fn reading(&self) -> Reading {
        self.input.reading()
    }

    fn fingerprint(&self) -> Result<String> {
        self.input.fingerprint()
    }
}

impl JsonSource {
    /// Looks at all rows.
    fn look(&self) -> Result<Columns> {
        let mut columns = Columns::default();
        for row in self.rows()? {
            if let Ok(row) = row?.value {
                columns.rows += 1;
                let seen = columns.see("", &row);
                seen.map_err(|reason| Error::source(self.name(), reason))?;
            }
        }
        Ok(columns)
    }

    fn batch(
        &self,
        rows: &mut Rows,
        schema: &SchemaRef,
        seen: &mut usize,
    ) -> Result<Option<Scanned>> {
        let mut good = Vec::new();
        let mut bad = Vec::new();
        let mut bytes = 0;
        let most = (BATCH_CELLS / schema.fields().len().max(1)).clamp(1, BATCH_ROWS);
        while good.len() < most && bad.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            let Some(row) = rows.next() else {
                break;
            };
            let Row { line, value } = row?;
            let number = *seen;
            *seen += 1;
            let fault = match value {
                Err(Fault { value, reason }) => (None, value, reason),
                Ok(row) => match rows::fault(&row, schema) {
                    Some((column, value, reason)) => {
                        (Some(column.to_string()), Some(shown(value)), reason)
                    }
                    None => {
                        let text = |value: &Value| value.as_str().map_or(8, str::len);
                        bytes += row.values().map(text).sum::<usize>();
                        good.push(row);
                        continue;
                    }
                },
            };
            let (column, value, reason) = fault;
            let most = match column {
                Some(_) => BadRow::SHOWN,
                None => BadRow::SHOWN_ROW,
            };
            bad.push(BadRow {
                place: match line {
                    Some(line) => Place::line(self.name(), line),
                    None => Place::row(self.name(), number),
                },
                number,
                column,
                value: value.map(|value| value.chars().take(most).collect()),
                reason,
            });
        }
        if good.is_empty() && bad.is_empty() {
            return Ok(None);
        }
        let place = |_| format!("`{}`", self.name());
        let rows = rows_to_batch(&good, schema, &place)?;
        Ok(Some(Scanned { rows, bad }))
    }
}

/// A value as it is shown: a text without its quotes.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// One row as it stands in the file.
struct Row<T = Value> {
    line: Option<u64>,
    value: Result<T, Fault>,
}

/// A row that is none.
struct Fault {
    value: Option<String>,
    reason: String,
}

/// The rows of a file as objects; lists take the names of columns.
struct Rows<'a> {
    values: Box<dyn Iterator<Item = Result<Row>> + Send + 'a>,
    names: Vec<String>,
    /// Whether a row was an object, so that a list is none.
    has_objects: bool,
}

impl Iterator for Rows<'_> {
    type Item = Result<Row<Map<String, Value>>>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.values.next()?;
        Some(row.map(|Row { line, value }| Row {
            line,
            value: value.and_then(|value| self.object(value)),
        }))
    }
}

impl Rows<'_> {
    fn object(&mut self, value: Value) -> Result<Map<String, Value>, Fault> {
        match value {
            Value::Object(row) => {
                self.has_objects = true;
                Ok(row)
            }
            Value::Array(cells) if self.has_objects => Err(Fault {
                value: Some(Value::Array(cells).to_string()),
                reason: "is a list among objects: expected an object".into(),
            }),
            Value::Array(cells) if cells.is_empty() => Err(Fault {
                value: Some("[]".into()),
                reason: "is an empty list: expected a list of values".into(),
            }),
            Value::Array(cells) => {
                if self.names.is_empty() {
                    self.names = (1..=cells.len()).map(|i| format!("c{i}")).collect();
                }
                if cells.len() != self.names.len() {
                    return Err(Fault {
                        value: Some(Value::Array(cells.clone()).to_string()),
                        reason: format!(
                            "{} values where {} are expected",
                            cells.len(),
                            self.names.len()
                        ),
                    });
                }
                Ok(std::iter::zip(self.names.iter().cloned(), cells).collect())
            }
            other => Err(Fault {
                value: Some(shown(&other)),
                reason: "is no row: expected an object or a list".into(),
            }),
        }
    }
}

/// One value a line; blank lines are left out.
struct Lines<'a> {
    input: &'a Input,
    reader: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    number: u64,
}

impl Iterator for Lines<'_> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.line.clear();
            let mut line = self.reader.by_ref().take(LONGEST + 1);
            match line.read_until(b'\n', &mut self.line) {
                Err(e) => return Some(Err(self.input.error(e))),
                Ok(0) => return None,
                Ok(_) => self.number += 1,
            }
            if self.line.len() as u64 > LONGEST {
                return Some(Err(Error::Row {
                    place: Place::line(self.input.name(), self.number).to_string(),
                    reason: "the line is longer than 16 MiB: expected one JSON object a line"
                        .into(),
                }));
            }
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            let value = serde_json::from_slice(self.line.trim_ascii_end()).map_err(|e| Fault {
                value: Some(String::from_utf8_lossy(self.line.trim_ascii()).into_owned()),
                // The line is known; serde counts from it.
                reason: format!("not JSON: {e}").replace(" at line 1 column ", " at character "),
            });
            return Some(Ok(Row {
                line: Some(self.number),
                value,
            }));
        }
    }
}

/// The columns seen so far, in the order in which they were met.
#[derive(Default)]
struct Columns {
    /// The rows that were looked at.
    rows: usize,
    names: Vec<String>,
    seen: Vec<Seen>,
    /// What the values of each column have in common; none where all are missing.
    kinds: Vec<Option<Kind>>,
    at: HashMap<String, usize>,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Integer,
    /// Integers, some of which no 64-bit float holds.
    Long,
    Number,
    Boolean,
    Text,
    Mixed,
}

impl Kind {
    fn of(value: &Value) -> Self {
        match value {
            Value::Number(number) if number.is_i64() => {
                let held = number.as_i64().is_some_and(|n| n.unsigned_abs() <= 1 << 53);
                if held { Self::Integer } else { Self::Long }
            }
            Value::Number(number) if number.is_f64() => Self::Number,
            Value::Bool(_) => Self::Boolean,
            Value::String(_) => Self::Text,
            _ => Self::Mixed,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Integer, Self::Number) | (Self::Number, Self::Integer) => Self::Number,
            (Self::Integer, Self::Long) | (Self::Long, Self::Integer) => Self::Long,
            _ => Self::Mixed,
        }
    }

    /// The column as a scan delivers it when it is asked for as it is.
    fn field(self, name: &str) -> Field {
        let kind = match self {
            Self::Integer | Self::Long => DataType::Int64,
            Self::Number => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Text | Self::Mixed => DataType::Utf8,
        };
        let written = match self {
            Self::Mixed => "json",
            _ => "",
        };
        let mark = [(ORIGINAL_KEY.to_string(), written.to_string())];
        Field::new(name, kind, true).with_metadata(mark.into())
    }
}

impl Columns {
    /// # Errors
    /// When the keys are too many, or too long, to be names of columns.
    fn see(&mut self, before: &str, row: &Map<String, Value>) -> Result<(), String> {
        for (key, value) in row {
            let name = match before {
                "" => key.clone(),
                _ => format!("{before}.{key}"),
            };
            if let Value::Object(inner) = value {
                self.see(&name, inner)?;
                continue;
            }
            if name.len() > MAX_NAME {
                let start: String = name.chars().take(40).collect();
                return Err(format!(
                    "has a key of more than {MAX_NAME} bytes, `{start}…`: expected a name of a column"
                ));
            }
            if self.names.len() == MAX_COLUMNS && !self.at.contains_key(&name) {
                return Err(format!(
                    "has rows with more than {MAX_COLUMNS} different keys, such as `{}` and `{name}`: expected the same keys in every row; where keys are data, write them as values",
                    self.names[MAX_COLUMNS - 1]
                ));
            }
            let at = *self.at.entry(name).or_insert_with_key(|name| {
                self.names.push(name.clone());
                self.seen.push(Seen::default());
                self.kinds.push(None);
                self.names.len() - 1
            });
            if !value.is_null() {
                self.seen[at].add(value.as_f64());
                let kind = Kind::of(value);
                self.kinds[at] = Some(self.kinds[at].map_or(kind, |known| known.and(kind)));
            }
        }
        Ok(())
    }

    /// Whether the column is an object in other rows.
    fn has_inside(&self, name: &str) -> bool {
        let inside = |other: &String| other.strip_prefix(name).is_some_and(|r| r.starts_with('.'));
        self.names.iter().any(inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::as_strings;

    fn open(text: &str, config: JsonConfig) -> Result<JsonSource> {
        JsonSource::open(Input::from_bytes("t.json", text.as_bytes()), config)
    }

    /// The columns as texts, `-` where a value is missing, each after its name and type; then the
    /// bad rows.
    fn read(text: &str, config: JsonConfig) -> Result<Vec<String>> {
        let source = open(text, config)?;
        let schema = source.schema()?;
        let scanned = source.scan(&schema)?.collect::<Result<Vec<_>>>()?;
        let mut shown = Vec::new();
        for (at, field) in schema.fields().iter().enumerate() {
            let mut values = format!("{} {}:", field.name(), field.data_type());
            for scanned in &scanned {
                for value in as_strings(scanned.rows.column(at))?.iter() {
                    values = format!("{values} {}", value.unwrap_or("-"));
                }
            }
            shown.push(values);
        }
        for bad in scanned.iter().flat_map(|s| &s.bad) {
            let column = bad.column.as_deref().unwrap_or("-");
            assert!(!bad.value.as_ref().unwrap().starts_with('"'), "{bad:?}");
            shown.push(format!("{} {column}: {}", bad.place, bad.reason));
        }
        Ok(shown)
    }

    fn message(text: &str) -> String {
        read(text, JsonConfig::default()).unwrap_err().to_string()
    }

    #[test]
    fn a_line_that_is_cut_says_where() {
        let text = "{\"a\": 1}\n{\"a\": 2\n{\"a\": 3}\n";
        let found = read(text, JsonConfig::default()).unwrap();
        let expected = "`t.json` line 2 -: not JSON: EOF while parsing an object at character 7";
        assert_eq!(found[1], expected);
    }

    #[test]
    fn every_layout_of_rows_is_read() {
        let expected = ["a Float64: 1 2.5", "b Utf8: x -"];
        for text in [
            "{\"a\": 1, \"b\": \"x\"}\n\n{\"a\": 2.5}\n",
            "\u{feff}[{\"a\": 1, \"b\": \"x\"},\n {\"a\": 2.5, \"b\": null}]",
            "{\"a\": [1, 2.5],\n \"b\": [\"x\", null]}",
            "{\"a\":{\"0\":1,\"1\":2.5},\"b\":{\"0\":\"x\",\"1\":null}}",
        ] {
            assert_eq!(read(text, JsonConfig::default()).unwrap(), expected, "{text}");
        }
        let named = JsonConfig {
            names: vec!["a".into(), "b".into()],
            ..Default::default()
        };
        for text in ["[[1, \"x\"], [2.5, null]]", "[1, \"x\"]\n[2.5, null]\n"] {
            assert_eq!(read(text, named.clone()).unwrap(), expected, "{text}");
        }
        let under = JsonConfig {
            path: Some("data.train".into()),
            ..named
        };
        let text = "{\"data\": {\"x\": [[9]], \"train\": [[1, \"x\"], [2.5, null]]}, \"y\": {}}";
        assert_eq!(read(text, under).unwrap(), expected);
    }

    #[test]
    fn nested_objects_are_columns() {
        let text =
            "{\"u\": {\"id\": 1, \"n\": {\"x\": \"a\"}}}\n{\"u\": {\"id\": 2}}\n{\"u\": null}\n";
        let columns = read(text, JsonConfig::default()).unwrap();
        assert_eq!(columns, ["u.id Float64: 1 2 -", "u.n.x Utf8: a - -"]);
        let one = read("{\n \"a\": 1,\n \"b\": {\"c\": true}\n}", JsonConfig::default()).unwrap();
        assert_eq!(one, ["a Float64: 1", "b.c Utf8: true"]);
    }

    #[test]
    fn columns_are_also_delivered_as_they_are() {
        let text = "{\"n\": 9007199254740993, \"f\": 1, \"m\": 1, \"t\": \"x\", \"b\": true, \"o\": {\"i\": 2}}\n{\"f\": 0.5, \"m\": [\"y\"], \"o\": null}\n";
        let source = open(text, JsonConfig::default()).unwrap();
        let schema = source.original_schema().unwrap().unwrap();
        let rows = source.scan(&schema).unwrap().next().unwrap().unwrap().rows;
        let shown: Vec<String> = std::iter::zip(schema.fields(), rows.columns())
            .map(|(field, column)| {
                let texts = as_strings(column).unwrap();
                let texts: Vec<&str> = texts.iter().map(|text| text.unwrap_or("-")).collect();
                format!("{} {}: {}", field.name(), field.data_type(), texts.join(" "))
            })
            .collect();
        let expected = [
            "n Int64: 9007199254740993 -",
            "f Float64: 1 0.5",
            "m Utf8: 1 [\"y\"]",
            "t Utf8: x -",
            "b Boolean: true -",
            "o.i Int64: 2 -",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn bad_rows_are_set_apart() {
        let text = "{\"a\": 1}\n{\"a\": }\n[2]\n{\"a\": [2]}\n7\n";
        assert_eq!(
            read(text, JsonConfig::default()).unwrap(),
            [
                "a Utf8: 1",
                "`t.json` line 2 -: not JSON: expected value at character 7",
                "`t.json` line 3 -: is a list among objects: expected an object",
                "`t.json` line 4 a: holds a nested value: expected a number, a text or null",
                "`t.json` line 5 -: is no row: expected an object or a list",
            ]
        );
        let mut rows = "{\"a\": 1}\n".repeat(200);
        rows.push_str("{\"a\": \"x\"}\n");
        let last = read(&rows, JsonConfig::default()).unwrap().pop().unwrap();
        assert!(last.starts_with("`t.json` line 201 a: `x` is not a number"), "{last}");
        let source = open(&rows, JsonConfig::default()).unwrap();
        assert_eq!(source.places(&[0, 200])[1].to_string(), "`t.json` line 201");
        let list = read("[[1, 2], [3]]", JsonConfig::default()).unwrap();
        assert_eq!(list[2], "`t.json` row 2 -: 1 values where 2 are expected");
    }

    #[test]
    fn messages_say_what_to_do() {
        let check = |text: &str, part: &str| {
            let message = message(text);
            assert!(message.contains(part), "{message}");
        };
        check(" \n", "`t.json` is empty");
        check("7", "`t.json` is JSON, but holds no rows");
        check("[{\"a\": 1},", "`t.json` is not JSON: EOF");
        check(
            "{\"meta\": 1, \"x\": {\"train\": [{\"a\": 1}]}, \"y\": [1]}",
            "one of `x.train`, `y`",
        );
        check("{\"a\": [1, 2], \"b\": [1]}", "`a` has 2 values, `b` has 1");
        check(&"[".repeat(100_000), "is not JSON: recursion limit exceeded");
        check(&"{\"a\":".repeat(100_000), "is not JSON: recursion limit exceeded");
        let under = JsonConfig {
            path: Some("trian".into()),
            ..Default::default()
        };
        let message = read("{\"train\": []}", under).unwrap_err().to_string();
        assert!(message.contains("has no key `trian`") && message.contains("`train`"), "{message}");
    }

    #[test]
    fn keys_that_are_data_are_no_columns() {
        let rows = |n: usize| {
            let row = |i: usize| format!("{{\"k{i}\": 1}}\n{{\"u\": {{\"k{i}\": null}}}}\n");
            (0..n).map(row).collect::<String>()
        };
        let message = message(&rows(9000));
        assert!(
            message.contains("more than 16384 different keys, such as `u.k8191` and `k8192`"),
            "{message}"
        );
        // As many columns as wide tables have.
        let keys: Vec<String> = (0..10_000).map(|i| format!("\"k{i}\": {i}")).collect();
        let wide = format!("{{{}}}\n", keys.join(", ")).repeat(3);
        let source = open(&wide, JsonConfig::default()).unwrap();
        let schema = source.schema().unwrap();
        let rows = source.scan(&schema).unwrap().map(|s| s.unwrap().rows);
        let shapes: Vec<_> = rows.map(|rows| (rows.num_rows(), rows.num_columns())).collect();
        assert_eq!(shapes, [(3, 10_000)]);
        let long = format!("{{\"{}\": 1}}", "a".repeat(5000));
        assert!(self::message(&long).contains("a key of more than 4096 bytes, `aaa"));
    }

    #[test]
    fn rows_without_values_are_refused() {
        for text in ["[{}, {}]", "{}\n{}\n"] {
            assert!(message(text).contains("holds rows without any value"), "{text}");
        }
        let read = read("[[], [1], []]", JsonConfig::default()).unwrap();
        assert_eq!(
            read[..2],
            ["c1 Float64: 1", "`t.json` row 1 -: is an empty list: expected a list of values"]
        );
    }

    #[test]
    fn a_text_without_end_is_refused_before_it_fills_the_memory() {
        let check = |text: String, path: Option<&str>, part: &str| {
            let config = JsonConfig {
                path: path.map(String::from),
                ..Default::default()
            };
            let message = match read(&text, config) {
                Ok(rows) => rows.concat(),
                Err(error) => error.to_string(),
            };
            assert!(message.contains(part), "{}", &message[..message.len().min(300)]);
        };
        let long = "a".repeat(17 << 20);
        let refused = "longer than 16 MiB";
        check(format!("[{{\"a\": \"{long}\"}}]"), None, refused);
        check(format!("[[1], [\"{long}"), None, refused);
        check(format!("\"{long}"), None, refused);
        check(format!("{{\"{long}\": [[1]], \"x\": [[1]]}}"), Some("x"), refused);
        // What no row needs may be as long as it likes, and so may all rows together.
        check(format!("{{\"y\": \"{long}\", \"x\": [[1]]}}"), Some("x"), "c1 Float64: 1");
        let rows = vec![format!("[\"{}\"]", &long[..6 << 20]); 4].join(",");
        check(format!("[{rows}]"), None, "c1 Utf8: a");
    }

    #[test]
    fn a_long_list_streams_and_may_be_left_unread() {
        let text = format!("[{}]", vec!["{\"a\": 1}"; 50_000].join(","));
        let source = open(&text, JsonConfig::default()).unwrap();
        let schema = source.schema().unwrap();
        let first = source.scan(&schema).unwrap().next().unwrap().unwrap();
        assert_eq!(first.rows.num_rows(), BATCH_ROWS);
        let rows = source.scan(&schema).unwrap().map(|s| s.unwrap().rows.num_rows());
        assert_eq!(rows.sum::<usize>(), 50_000);
    }
}
