//! `/v1/models/{name}/predict`: plain rows in, plain predictions out.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use tesla_core::{Bundle, Predictions};
use tesla_data::arrow::array::{LargeBinaryArray, RecordBatch};
use tesla_data::arrow::compute::concat_batches;
use tesla_data::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use tesla_data::config::DataConfig;
use tesla_data::contract::Need;
use tesla_data::source::{CsvSource, IMAGE_KEY, Input, Scanned, Source};

use super::infer::image_of;
use super::json::{self, Unread};
use super::rest::json_response;
use crate::error::Failure;
use crate::model::{Loaded, too_many};

/// Rows as a body carries them.
pub(crate) enum Rows {
    Json(Bytes),
    Csv(Bytes),
    /// Image files, one a row.
    Images(Vec<Bytes>),
}

/// What a body is, by its content type: JSON unless it says something else.
///
/// # Errors
/// When it says something that this server does not read, or a form has more than `most` images.
pub(crate) async fn sort(
    body: Bytes,
    kind: Option<&HeaderValue>,
    most: usize,
) -> Result<Rows, Failure> {
    let text = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "text/csv" => Ok(Rows::Csv(body)),
        "multipart/form-data" => multipart(body, text, most).await,
        essence if essence.starts_with("image/") => Ok(Rows::Images(vec![body])),
        // What `curl -d` says of anything.
        "" | "application/json" | "application/x-www-form-urlencoded" | "text/plain" => {
            Ok(Rows::Json(body))
        }
        essence if essence.ends_with("+json") => Ok(Rows::Json(body)),
        other => {
            let shown: String = other.chars().take(60).collect();
            Err(Failure::unsupported(format!(
                "`{shown}` is nothing this server reads: send `application/json`, `text/csv`, an image, or `multipart/form-data`"
            )))
        }
    }
}

/// The files of a form: up to `most` images, or one table.
async fn multipart(body: Bytes, kind: &str, most: usize) -> Result<Rows, Failure> {
    let bad =
        |e: &dyn std::fmt::Display| Failure::bad_request(format!("the form cannot be read: {e}"));
    let mut request = Request::builder()
        .header(header::CONTENT_TYPE, kind)
        .body(Body::from(body))
        .map_err(|e| bad(&e))?;
    // The body is here already, and is as large as it may be.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &()).await.map_err(|e| bad(&e))?;
    let mut images = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|e| bad(&e))? {
        let is_csv = field.content_type() == Some("text/csv")
            || field
                .file_name()
                .is_some_and(|name| name.to_lowercase().ends_with(".csv"));
        let bytes = field.bytes().await.map_err(|e| bad(&e))?;
        match is_csv {
            true => return Ok(Rows::Csv(bytes)),
            false if images.len() == most => return Err(too_many(most)),
            false => images.push(bytes),
        }
    }
    match images.is_empty() {
        true => Err(Failure::bad_request("the form holds no file: send images, or one CSV")),
        false => Ok(Rows::Images(images)),
    }
}

impl Rows {
    /// About how many values there are to read.
    pub(crate) fn size(&self) -> usize {
        match self {
            Rows::Json(body) => body.len() / 8,
            // Reading a file starts threads.
            Rows::Csv(_) | Rows::Images(_) => usize::MAX,
        }
    }

    /// The body, where it may ask for lists of items: JSON to a model that has them.
    pub(crate) fn lists(&self, bundle: &Bundle) -> Option<Bytes> {
        match self {
            Rows::Json(body) if super::lists::may_ask(body, bundle) => Some(body.clone()),
            _ => None,
        }
    }

    /// The rows with the model's columns. Of more than `most`, no body is read to its end.
    ///
    /// # Errors
    /// When they are not what the model reads.
    pub(crate) fn read(self, bundle: &Bundle, most: usize) -> Result<RecordBatch, Failure> {
        match self {
            Rows::Json(body) => json_rows(&body, bundle, most),
            Rows::Csv(body) => csv_rows(&body, bundle, most),
            Rows::Images(files) => image_rows(&files, bundle),
        }
    }
}

/// `{"rows": [{…}]}`, `[{…}]` or one `{…}`.
fn json_rows(body: &[u8], bundle: &Bundle, most: usize) -> Result<RecordBatch, Failure> {
    let bad = |unread| match unread {
        Unread::TooMany => too_many(most),
        Unread::NotJson(e) => {
            let hint = match body.trim_ascii_start().first() {
                Some(b'{' | b'[') => "",
                _ => "; a table in CSV comes with the header `Content-Type: text/csv`",
            };
            Failure::bad_request(format!("the body is not JSON: {e}{hint}"))
        }
    };
    let body = json::read(body, most).map_err(bad)?;
    let expected = || {
        Failure::bad_request(
            "the body holds no rows: expected one object with a value per column, an array of them, or `{\"rows\": […]}`",
        )
    };
    let rows = match body {
        Value::Array(rows) => rows,
        Value::Object(mut object) => match object.remove("rows") {
            Some(Value::Array(rows)) if object.is_empty() => rows,
            Some(_) => return Err(expected()),
            None => vec![Value::Object(object)],
        },
        _ => return Err(expected()),
    };
    objects(rows, bundle)?.ok_or_else(expected)
}

/// JSON objects as rows; `None` when there is none, or something that is no object.
pub(crate) fn objects(rows: Vec<Value>, bundle: &Bundle) -> Result<Option<RecordBatch>, Failure> {
    let object = |row| match row {
        Value::Object(row) => Some(row),
        _ => None,
    };
    let rows: Option<Vec<Map<String, Value>>> = rows.into_iter().map(object).collect();
    match rows.filter(|rows| !rows.is_empty()) {
        Some(rows) => Ok(Some(bundle.contract.from_json(&rows)?)),
        None => Ok(None),
    }
}

/// A table written as the one that the model was trained on was. Of more than `most`
/// rows it is not read to its end.
pub(crate) fn csv_rows(body: &Bytes, bundle: &Bundle, most: usize) -> Result<RecordBatch, Failure> {
    // A file may be packed; a body says so in its header, where what comes out is bounded.
    if std::str::from_utf8(body).is_err() || body.starts_with(b"BZh") {
        return Err(Failure::bad_request("the table is not UTF-8 text"));
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Failure::bad_request(
            "the table is empty: expected rows, and a header if those of training had one",
        ));
    }
    let [csv, drop] = ["csv", "drop"].map(|key| bundle.provenance.config["data"][key].clone());
    let data = DataConfig {
        csv: serde_json::from_value(csv).unwrap_or_default(),
        drop: serde_json::from_value(drop).unwrap_or_default(),
        ..DataConfig::default()
    };
    let mut config = data.for_new_rows(&bundle.contract).csv;
    config.encoding = None;
    let source = CsvSource::open(Input::from_bytes("the table", body.to_vec()), config)?;
    let schema = schema(&source, bundle)?;
    let mut rows = Vec::new();
    let mut count = 0;
    for batch in source.scan(&schema)? {
        let Scanned {
            rows: batch,
            mut bad,
        } = batch?;
        if !bad.is_empty() {
            return Err(bad.swap_remove(0).into_error().into());
        }
        count += batch.num_rows();
        if count > most {
            return Err(too_many(most));
        }
        rows.push(batch);
    }
    let rows = concat_batches(&schema, &rows).map_err(tesla_data::Error::from)?;
    match rows.num_rows() {
        0 => Err(Failure::bad_request("the table has no rows")),
        _ => Ok(rows),
    }
}

/// The model's columns as texts, but for numbers that only the source knows how to read.
fn schema(source: &CsvSource, bundle: &Bundle) -> Result<SchemaRef, Failure> {
    let decimal = &bundle.provenance.config["data"]["csv"]["decimal"];
    let wanted = bundle.contract.schema(Need::Features);
    if decimal.as_str().is_some_and(|mark| mark != ".") {
        return Ok(wanted);
    }
    let have = source.raw_schema()?;
    let missing = wanted
        .fields()
        .iter()
        .find(|f| have.column_with_name(f.name()).is_none());
    if let Some(missing) = missing {
        return Err(tesla_data::Error::MissingColumn {
            column: missing.name().clone(),
            place: "the table".into(),
            valid: have.fields().iter().map(|f| f.name().clone()).collect(),
        }
        .into());
    }
    let texts = wanted
        .fields()
        .iter()
        .map(|f| Field::new(f.name(), DataType::Utf8, true));
    Ok(Arc::new(Schema::new(texts.collect::<Vec<_>>())))
}

fn image_rows(files: &[Bytes], bundle: &Bundle) -> Result<RecordBatch, Failure> {
    let Some(image) = image_of(bundle) else {
        return Err(Failure::bad_request(
            "this model reads tables, no images: send JSON rows or CSV",
        ));
    };
    let layout = [(IMAGE_KEY.to_string(), "encoded".to_string())];
    let field = Field::new(&image.name, DataType::LargeBinary, true).with_metadata(layout.into());
    let column = LargeBinaryArray::from_iter_values(files);
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(column)])
        .map_err(|e| tesla_data::Error::from(e).into())
}

/// `{"model": …, "version": …, "predictions": [{"prediction": …, "probabilities": {…}}]}`.
///
/// # Errors
/// When it cannot be written, which memory alone decides.
pub(crate) fn respond(model: &Loaded, predictions: &Predictions) -> Result<Response, Failure> {
    let answer = Answer {
        model: &model.name,
        version: model.version.to_string(),
        predictions: Written(predictions),
    };
    Ok(json_response(serde_json::to_vec(&answer).map_err(Failure::internal)?))
}

#[derive(Serialize)]
struct Answer<'a> {
    model: &'a str,
    version: String,
    predictions: Written<'a>,
}

/// Predictions as JSON, without a tree of values in between.
struct Written<'a>(&'a Predictions);

#[derive(Serialize)]
struct Row<'a> {
    prediction: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    probabilities: Option<Each<'a>>,
}

/// A row's classes and their probabilities.
struct Each<'a>(&'a [String], &'a [f64]);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Predictions::Values(values) => serializer.collect_seq(values.iter().map(|value| Row {
                prediction: json!(value),
                probabilities: None,
            })),
            Predictions::Classes {
                labels,
                probabilities,
                ..
            } => {
                let rows = probabilities.chunks_exact(labels.len());
                let best = self.0.to_strings().into_iter();
                serializer.collect_seq(std::iter::zip(best, rows).map(|(best, row)| Row {
                    prediction: Value::String(best),
                    probabilities: Some(Each(labels, row)),
                }))
            }
        }
    }
}

impl Serialize for Each<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(std::iter::zip(self.0, self.1))
    }
}
