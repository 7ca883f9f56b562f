//! JSON objects as record batches.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use crate::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Float64Builder, Int64Array, LargeBinaryBuilder,
    RecordBatch, RecordBatchOptions, StringArray, StringBuilder,
};
use crate::arrow::datatypes::{DataType, Field, SchemaRef};
use crate::contract::not_a_number;
use crate::source::ORIGINAL_KEY;
use crate::{Error, Result};

/// JSON objects as a record batch with the columns of `schema`; a key that is absent or `null` is
/// a missing value, and a column `a.b` is also the key `b` of an object under `a`. `place` names a
/// row for a message.
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
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
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
    if let Some(written) = field.metadata().get(ORIGINAL_KEY) {
        return Ok(original(rows, field, written == "json"));
    }
    let numeric = field.data_type() == &DataType::Float64;
    let mut numbers = Float64Builder::new();
    let mut texts = StringBuilder::new();
    for (i, row) in rows.iter().enumerate() {
        let value = value_of(row, name).unwrap_or(&Value::Null);
        match cell(value, numeric).map_err(|reason| Error::value(place(i), name, reason))? {
            Cell::Missing if numeric => numbers.append_null(),
            Cell::Missing => texts.append_null(),
            Cell::Number(n) => numbers.append_value(n),
            Cell::Text(text) => texts.append_value(text),
        }
    }
    Ok(match numeric {
        true => Arc::new(numbers.finish()),
        false => Arc::new(texts.finish()),
    })
}

/// A column as it is; a value of another kind than its column is missing.
fn original(rows: &[Map<String, Value>], field: &Field, as_json: bool) -> ArrayRef {
    let values = rows
        .iter()
        .map(|row| value_of(row, field.name()).filter(|value| !value.is_null()));
    match field.data_type() {
        DataType::Int64 => Arc::new(values.map(|v| v?.as_i64()).collect::<Int64Array>()),
        DataType::Float64 => Arc::new(values.map(|v| v?.as_f64()).collect::<Float64Array>()),
        DataType::Boolean => Arc::new(values.map(|v| v?.as_bool()).collect::<BooleanArray>()),
        _ if as_json => Arc::new(values.map(|v| Some(v?.to_string())).collect::<StringArray>()),
        _ => Arc::new(values.map(|v| v?.as_str()).collect::<StringArray>()),
    }
}

/// A value as its column wants it.
enum Cell<'a> {
    Missing,
    Number(f64),
    Text(Cow<'a, str>),
}

fn cell(value: &Value, numeric: bool) -> Result<Cell<'_>, String> {
    Ok(match value {
        Value::Null => Cell::Missing,
        Value::Number(n) if numeric => {
            let finite = n.as_f64().filter(|n| n.is_finite());
            Cell::Number(finite.ok_or_else(|| not_a_number(&n.to_string()))?)
        }
        Value::Bool(b) if numeric => Cell::Number(f64::from(u8::from(*b))),
        Value::String(s) if numeric => return Err(not_a_number(s)),
        Value::String(s) => Cell::Text(Cow::Borrowed(s)),
        Value::Number(_) | Value::Bool(_) => Cell::Text(Cow::Owned(value.to_string())),
        Value::Array(_) | Value::Object(_) => {
            return Err("holds a nested value: expected a number, a text or null".into());
        }
    })
}

/// The first value of a row that is not of its column's type, and why.
pub(super) fn fault<'a>(
    row: &'a Map<String, Value>,
    schema: &'a SchemaRef,
) -> Option<(&'a str, &'a Value, String)> {
    schema.fields().iter().find_map(|field| {
        if field.metadata().contains_key(ORIGINAL_KEY) {
            return None;
        }
        let value = value_of(row, field.name())?;
        let numeric = field.data_type() == &DataType::Float64;
        let reason = match field.data_type() {
            DataType::LargeBinary => image(value).is_none().then(|| NO_IMAGE.to_string()),
            _ => cell(value, numeric).err(),
        };
        reason.map(|reason| (field.name().as_str(), value, reason))
    })
}

/// The value of a column; `a.b` is also the key `b` of the object under `a`.
pub(crate) fn value_of<'a>(row: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    row.get(name).or_else(|| {
        name.match_indices('.').find_map(|(at, _)| {
            let inner = row.get(&name[..at])?.as_object()?;
            value_of(inner, &name[at + 1..])
        })
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
        let bytes = value_of(row, name).and_then(image);
        images.append_value(bytes.ok_or_else(|| Error::value(place(i), name, NO_IMAGE))?);
    }
    Ok(Arc::new(images.finish()))
}

const NO_IMAGE: &str = "expected an image file (PNG, JPEG, …) as a base64 text";

fn image(value: &Value) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(value.as_str()?).ok()
}
