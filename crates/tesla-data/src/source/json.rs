use std::io::BufRead;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crate::arrow::array::{ArrayRef, Float64Builder, LargeBinaryBuilder, RecordBatch, StringBuilder};
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde_json::{Map, Value};

use super::{BATCH_ROWS, Batches, Input, Source};
use crate::{Error, Result};

/// JSON lines (one object a line), or one array of objects.
pub struct JsonSource {
    input: Input,
    is_array: bool,
}

impl JsonSource {
    /// Looks at the first byte to tell lines from an array.
    ///
    /// # Errors
    /// When the input cannot be read or is empty.
    pub fn open(input: Input) -> Result<Self> {
        let start = input.peek()?;
        let first = start.iter().find(|b| !b.is_ascii_whitespace());
        let is_array = match first {
            Some(b'[') => true,
            Some(b'{') => false,
            Some(_) => {
                let reason = "is not JSON rows: expected one object a line, or an array of objects";
                return Err(Error::source(input.name(), reason));
            }
            None => {
                let reason = "is empty: expected one JSON object a line";
                return Err(Error::source(input.name(), reason));
            }
        };
        Ok(Self { input, is_array })
    }

    fn rows(&self) -> Result<Box<dyn Iterator<Item = Result<Map<String, Value>>> + Send + '_>> {
        let bad = |line: usize, error: serde_json::Error| Error::Row {
            place: format!("`{}` line {line}", self.name()),
            reason: format!("not a JSON object: {error}"),
        };
        let reader = self.input.reader()?;
        if self.is_array {
            let rows: Vec<Map<String, Value>> =
                serde_json::from_reader(reader).map_err(|e| bad(e.line(), e))?;
            return Ok(Box::new(rows.into_iter().map(Ok)));
        }
        let lines = reader.lines().enumerate();
        Ok(Box::new(lines.filter_map(move |(i, line)| match line {
            Err(e) => Some(Err(self.input.error(e))),
            Ok(line) if line.trim().is_empty() => None,
            Ok(line) => Some(serde_json::from_str(&line).map_err(|e| bad(i + 1, e))),
        })))
    }
}

impl Source for JsonSource {
    fn name(&self) -> &str {
        self.input.name()
    }

    fn schema(&self) -> Result<SchemaRef> {
        let mut columns: Vec<(String, bool, bool)> = Vec::new();
        for row in self.rows()? {
            for (key, value) in row? {
                let at = match columns.iter().position(|(name, ..)| *name == key) {
                    Some(at) => at,
                    None => {
                        columns.push((key, true, false));
                        columns.len() - 1
                    }
                };
                if !value.is_null() {
                    columns[at].1 &= value.is_number();
                    columns[at].2 = true;
                }
            }
        }
        let fields: Vec<Field> = columns
            .into_iter()
            .map(|(name, numeric, any)| {
                let kind = match numeric && any {
                    true => DataType::Float64,
                    false => DataType::Utf8,
                };
                Field::new(name, kind, true)
            })
            .collect();
        Ok(Arc::new(Schema::new(fields)))
    }

    fn is_json(&self) -> bool {
        true
    }

    fn scan(&self, schema: &SchemaRef) -> Result<Batches<'_>> {
        let mut rows = self.rows()?;
        let schema = schema.clone();
        let mut done = 0;
        Ok(Box::new(std::iter::from_fn(move || {
            let batch: Result<Vec<_>> = rows.by_ref().take(BATCH_ROWS).collect();
            let batch = match batch {
                Ok(batch) if batch.is_empty() => return None,
                Ok(batch) => batch,
                Err(e) => return Some(Err(e)),
            };
            let first = done;
            done += batch.len();
            let place = |row: usize| self.places(&[first + row])[0].to_string();
            Some(rows_to_batch(&batch, &schema, &place).map(Into::into))
        })))
    }

    fn fingerprint(&self) -> Result<String> {
        self.input.fingerprint()
    }
}

/// JSON objects as a record batch with the columns of `schema`; a key that is absent or `null` is
/// a missing value. `place` names a row for a message.
///
/// # Errors
/// When a value is neither number, text nor boolean, or is text where a number is expected.
pub(crate) fn rows_to_batch(
    rows: &[Map<String, Value>],
    schema: &SchemaRef,
    place: &dyn Fn(usize) -> String,
) -> Result<RecordBatch> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| column(rows, field, place))
        .collect::<Result<Vec<_>>>()?;
    let options = crate::arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(
        schema.clone(),
        columns,
        &options,
    )?)
}

fn column(
    rows: &[Map<String, Value>],
    field: &Field,
    place: &dyn Fn(usize) -> String,
) -> Result<ArrayRef> {
    let name = field.name();
    if field.data_type() == &DataType::LargeBinary {
        return images(rows, name, place);
    }
    let numeric = field.data_type() == &DataType::Float64;
    let mut numbers = Float64Builder::new();
    let mut texts = StringBuilder::new();
    for (i, row) in rows.iter().enumerate() {
        let reason = match row.get(name).unwrap_or(&Value::Null) {
            Value::Null => {
                match numeric {
                    true => numbers.append_null(),
                    false => texts.append_null(),
                }
                continue;
            }
            Value::Number(n) if numeric => {
                numbers.append_option(n.as_f64());
                continue;
            }
            Value::Bool(b) if numeric => {
                numbers.append_value(f64::from(u8::from(*b)));
                continue;
            }
            Value::String(s) if numeric => crate::contract::not_a_number(s),
            Value::String(s) => {
                texts.append_value(s);
                continue;
            }
            value @ (Value::Number(_) | Value::Bool(_)) => {
                texts.append_value(value.to_string());
                continue;
            }
            Value::Array(_) | Value::Object(_) => {
                "holds a nested value: expected a number, a text or null".to_string()
            }
        };
        return Err(Error::value(place(i), name, reason));
    }
    Ok(match numeric {
        true => Arc::new(numbers.finish()),
        false => Arc::new(texts.finish()),
    })
}

/// Image files in base64, as JSON can carry them.
fn images(
    rows: &[Map<String, Value>],
    name: &str,
    place: &dyn Fn(usize) -> String,
) -> Result<ArrayRef> {
    let mut images = LargeBinaryBuilder::new();
    for (i, row) in rows.iter().enumerate() {
        let text = row.get(name).and_then(Value::as_str);
        let bytes = text.and_then(|text| BASE64_STANDARD.decode(text).ok());
        images.append_value(bytes.ok_or_else(|| {
            let reason = "expected an image file (PNG, JPEG, …) as a base64 text";
            Error::value(place(i), name, reason)
        })?);
    }
    Ok(Arc::new(images.finish()))
}
