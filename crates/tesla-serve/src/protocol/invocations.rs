//! `/invocations`: the formats of MLflow's scoring server.

use axum::body::Bytes;
use axum::http::HeaderValue;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tesla_core::{Bundle, Predictions};
use tesla_data::arrow::array::RecordBatch;

use super::json::{self, Unread};
use super::rows;
use crate::error::Failure;

/// Values beside those of the model's columns that a small table may have.
const SPARE: usize = 1 << 16;

/// A body in one of MLflow's formats.
pub(crate) enum Invocation {
    Json(Bytes),
    Csv(Bytes),
}

#[derive(Deserialize)]
struct Split {
    columns: Vec<String>,
    data: Vec<Vec<Value>>,
}

impl Invocation {
    /// What a body is, by its content type.
    ///
    /// # Errors
    /// When that is neither JSON nor CSV.
    pub(crate) fn new(body: Bytes, kind: Option<&HeaderValue>) -> Result<Self, Failure> {
        let text = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        match text.split(';').next().unwrap_or_default().trim() {
            "text/csv" => Ok(Self::Csv(body)),
            "application/json" => Ok(Self::Json(body)),
            _ => Err(Failure::unsupported(
                "the content type must be `application/json` or `text/csv`",
            )),
        }
    }

    /// About how many values there are to read.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Json(body) => body.len() / 8,
            Self::Csv(_) => usize::MAX,
        }
    }

    /// The rows with the model's columns.
    ///
    /// # Errors
    /// When they are not what the model reads.
    pub(crate) fn read(self, bundle: &Bundle, most: usize) -> Result<RecordBatch, Failure> {
        let body = match self {
            Self::Csv(body) => return rows::csv_rows(&body, bundle, most),
            Self::Json(body) => body,
        };
        // A row may be an array of its values, and have an index. Some columns may be none of the
        // model's, such as its target.
        let columns = bundle.contract.inputs().count();
        let values = most.saturating_mul(2 * columns + 2).saturating_add(SPARE);
        let body = match json::read(&body, values) {
            Ok(Value::Object(body)) => body,
            Ok(_) => return Err(Failure::bad_request("the body is not a JSON object")),
            Err(Unread::NotJson(e)) => {
                return Err(Failure::bad_request(format!("the body is not a JSON object: {e}")));
            }
            Err(Unread::TooMany) => {
                return Err(Failure::bad_request(format!(
                    "the request has more than {values} values: this server takes up to {most} rows at a time here, with the model's columns"
                )));
            }
        };
        let formats = ["dataframe_split", "dataframe_records", "inputs", "instances"];
        let mut given: Vec<(String, Value)> = body
            .into_iter()
            .filter(|(key, _)| formats.contains(&key.as_str()))
            .collect();
        let (Some((format, value)), true) = (given.pop(), given.is_empty()) else {
            return Err(Failure::bad_request(
                "expected exactly one of `dataframe_split`, `dataframe_records`, `inputs` and `instances`",
            ));
        };
        let bad = |what: &str| Failure::bad_request(format!("`{format}` must be {what}"));
        let found = match (format.as_str(), value) {
            ("dataframe_split", value) => {
                let what =
                    "an object with `columns` and `data`, which has a value per column in each row";
                let split: Split = serde_json::from_value(value).map_err(|_| bad(what))?;
                named(&split.columns, split.data).ok_or_else(|| bad(what))?
            }
            // Columns by name.
            ("inputs" | "instances", Value::Object(columns)) => {
                let what = "lists of one length, by column";
                by_column(columns).ok_or_else(|| bad(what))?
            }
            (_, Value::Array(rows)) if rows.iter().all(Value::is_object) => rows,
            // Values in the order of the model's columns.
            ("inputs" | "instances", Value::Array(rows)) => {
                let names: Vec<String> =
                    bundle.contract.inputs().map(|rule| rule.name.clone()).collect();
                let what = "objects, or lists with a value per column of the model";
                let values = |row| match row {
                    Value::Array(values) => Some(values),
                    _ => None,
                };
                let rows: Option<Vec<Vec<Value>>> = rows.into_iter().map(values).collect();
                rows.and_then(|rows| named(&names, rows)).ok_or_else(|| bad(what))?
            }
            _ => return Err(bad("a list of objects")),
        };
        rows::objects(found, bundle)?.ok_or_else(|| bad("at least one row"))
    }
}

/// Rows of values as objects; `None` when a row has not a value for every name.
fn named(names: &[String], rows: Vec<Vec<Value>>) -> Option<Vec<Value>> {
    let row = |values: Vec<Value>| {
        let object: Map<String, Value> = std::iter::zip(names.iter().cloned(), values).collect();
        Value::Object(object)
    };
    let fits = rows.iter().all(|values| values.len() == names.len());
    fits.then(|| rows.into_iter().map(row).collect())
}

/// Columns as rows; `None` when one is no list, or longer than another.
fn by_column(columns: Map<String, Value>) -> Option<Vec<Value>> {
    let mut rows: Option<Vec<Map<String, Value>>> = None;
    for (name, values) in columns {
        let Value::Array(values) = values else {
            return None;
        };
        let rows = rows.get_or_insert_with(|| vec![Map::new(); values.len()]);
        if rows.len() != values.len() {
            return None;
        }
        for (row, value) in rows.iter_mut().zip(values) {
            // A column of lists of one, as a matrix has it.
            let value = match value {
                Value::Array(mut one) if one.len() == 1 => one.remove(0),
                value => value,
            };
            row.insert(name.clone(), value);
        }
    }
    Some(rows?.into_iter().map(Value::Object).collect())
}

/// `{"predictions": […]}`: the most probable class of each row, or its number.
pub(crate) fn respond(predictions: &Predictions) -> Value {
    match predictions {
        Predictions::Values(values) => json!({ "predictions": values }),
        classes => json!({ "predictions": classes.to_strings() }),
    }
}
