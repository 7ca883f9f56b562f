//! The Open Inference Protocol, JSON form: one input tensor per feature column.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use tesla_core::Predictions;
use tesla_data::arrow::array::{
    ArrayRef, Float64Array, LargeBinaryArray, RecordBatch, StringArray,
};
use tesla_data::arrow::datatypes::{DataType, Field, Schema};
use tesla_data::prepare::{FittedColumn, FittedImage};
use tesla_data::source::IMAGE_KEY;
use tesla_data::{ColumnKind, Contract, FittedPipeline};

use crate::error::Failure;
use crate::server::Model;

/// An inference request.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    #[serde(default)]
    id: Option<String>,
    inputs: Vec<Tensor>,
    #[serde(default)]
    outputs: Vec<Wanted>,
}

#[derive(Debug, Deserialize)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(default)]
    data: Value,
}

#[derive(Debug, Deserialize)]
struct Wanted {
    name: String,
}

/// Number types of the protocol.
const NUMBERS: [&str; 12] = [
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16",
    "FP32", "FP64",
];
/// The outputs every model has; a model of numbers has only the first.
const OUTPUTS: [&str; 2] = ["prediction", "probability"];

/// The model's metadata, made from its contract.
pub(crate) fn metadata(model: &Model, version: &str) -> Value {
    let bundle = model.predictor.bundle();
    let inputs: Vec<Value> = bundle
        .pipeline
        .features
        .iter()
        .map(|feature| match feature {
            FittedColumn::Numeric(f) => {
                json!({ "name": f.name, "datatype": "FP64", "shape": [-1] })
            }
            FittedColumn::Category(_) | FittedColumn::Text(_) => {
                json!({ "name": feature.name(), "datatype": "BYTES", "shape": [-1] })
            }
            FittedColumn::Image(f) => json!({
                "name": f.name, "datatype": "UINT8", "shape": [-1, f.channels, f.height, f.width],
            }),
        })
        .collect();
    let labels = bundle.pipeline.target.labels();
    let outputs = match labels {
        [] => vec![json!({ "name": OUTPUTS[0], "datatype": "FP64", "shape": [-1] })],
        labels => vec![
            json!({ "name": OUTPUTS[0], "datatype": "BYTES", "shape": [-1] }),
            json!({
                "name": OUTPUTS[1], "datatype": "FP64", "shape": [-1, labels.len()],
                "parameters": { "labels": labels.join(",") },
            }),
        ],
    };
    json!({
        "name": model.name,
        "versions": [version],
        "platform": format!("tesla_{}", bundle.model.kind()),
        "inputs": inputs,
        "outputs": outputs,
    })
}

/// The request of a body and its tensors as rows. The body is read as JSON whatever its content
/// type says: some clients send none.
pub(crate) fn parse(
    body: &[u8],
    contract: &Contract,
    pipeline: &FittedPipeline,
) -> Result<(Request, RecordBatch), Failure> {
    let mut request: Request = serde_json::from_slice(body)
        .map_err(|e| Failure::bad_request(format!("the body is not an inference request: {e}")))?;
    if let Some(unknown) = request.outputs.iter().find(|o| !OUTPUTS.contains(&o.name.as_str())) {
        return Err(Failure::bad_request(format!(
            "no output `{}`: expected `prediction` or `probability`",
            unknown.name
        )));
    }
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for tensor in &mut request.inputs {
        let Some(rule) = contract.inputs().find(|c| c.name == tensor.name) else {
            let names: Vec<&str> = contract.inputs().map(|c| c.name.as_str()).collect();
            let near = tesla_data::nearest(&tensor.name, &names)
                .map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
            return Err(Failure::bad_request(format!(
                "the model has no input `{}`{near}: see its metadata",
                tensor.name
            )));
        };
        let (field, column) = match rule.kind {
            ColumnKind::Image => image(tensor, fitted_image(pipeline, &rule.name)?)?,
            ColumnKind::Numeric => {
                let column: Float64Array = numbers(tensor)?.into();
                let field = Field::new(&rule.name, DataType::Float64, true);
                (field, Arc::new(column) as ArrayRef)
            }
            ColumnKind::Category | ColumnKind::Text => {
                let column: StringArray = texts(tensor)?.into();
                let field = Field::new(&rule.name, DataType::Utf8, true);
                (field, Arc::new(column) as ArrayRef)
            }
        };
        fields.push(field);
        columns.push(column);
    }
    let lengths: Vec<usize> = columns.iter().map(|c| c.len()).collect();
    if lengths.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(Failure::bad_request(format!(
            "the inputs have different numbers of rows: {lengths:?}"
        )));
    }
    if columns.is_empty() {
        return Err(Failure::bad_request("`inputs` is empty: send one tensor per feature column"));
    }
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|e| Failure::bad_request(format!("the inputs do not make a table: {e}")))?;
    Ok((request, rows))
}

/// The response; only the outputs that were asked for.
pub(crate) fn respond(
    request: &Request,
    name: &str,
    version: &str,
    predictions: &Predictions,
) -> Result<Value, Failure> {
    let rows = predictions.len();
    let mut outputs = match predictions {
        Predictions::Values(values) => vec![json!({
            "name": OUTPUTS[0], "datatype": "FP64", "shape": [rows], "data": values,
        })],
        Predictions::Classes {
            labels,
            probabilities,
            ..
        } => vec![
            json!({
                "name": OUTPUTS[0], "datatype": "BYTES", "shape": [rows],
                "data": predictions.to_strings(),
            }),
            json!({
                "name": OUTPUTS[1], "datatype": "FP64", "shape": [rows, labels.len()],
                "data": probabilities,
            }),
        ],
    };
    if !request.outputs.is_empty() {
        if let Some(absent) = request
            .outputs
            .iter()
            .find(|o| outputs.iter().all(|have| have["name"] != o.name))
        {
            return Err(Failure::bad_request(format!(
                "the model predicts a number and has no output `{}`",
                absent.name
            )));
        }
        outputs.retain(|have| request.outputs.iter().any(|o| have["name"] == o.name));
    }
    let mut response = json!({ "model_name": name, "model_version": version, "outputs": outputs });
    if let Some(id) = &request.id {
        response["id"] = json!(id);
    }
    Ok(response)
}

fn fitted_image<'a>(pipeline: &'a FittedPipeline, name: &str) -> Result<&'a FittedImage, Failure> {
    pipeline
        .features
        .iter()
        .find_map(|f| match f {
            FittedColumn::Image(image) if image.name == name => Some(image),
            _ => None,
        })
        .ok_or_else(|| Failure::internal(format!("the pipeline has no image column `{name}`")))
}

/// A column of numbers: shape `[rows]` or `[rows, 1]`; `null` is a missing value.
fn numbers(tensor: &mut Tensor) -> Result<Vec<Option<f64>>, Failure> {
    expect(tensor, &NUMBERS)?;
    let values = column(tensor)?;
    values
        .into_iter()
        .map(|value| match value {
            Value::Null => Ok(None),
            Value::Bool(b) => Ok(Some(f64::from(u8::from(b)))),
            Value::Number(n) => Ok(n.as_f64()),
            other => Err(wrong(tensor, &other, "a number")),
        })
        .collect()
}

/// A column of texts.
fn texts(tensor: &mut Tensor) -> Result<Vec<Option<String>>, Failure> {
    expect(tensor, &["BYTES"])?;
    let values = column(tensor)?;
    values
        .into_iter()
        .map(|value| match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text)),
            other => Err(wrong(tensor, &other, "a text")),
        })
        .collect()
}

/// Pixels `[rows, channels, height, width]` in 0..255 as raw images.
fn image(tensor: &mut Tensor, fitted: &FittedImage) -> Result<(Field, ArrayRef), Failure> {
    expect(tensor, &NUMBERS)?;
    let [c, h, w] = [fitted.channels as usize, fitted.height as usize, fitted.width as usize];
    let rows = match tensor.shape[..] {
        [rows, a, b, d] if [a, b, d] == [c, h, w] => rows,
        _ => {
            return Err(Failure::bad_request(format!(
                "input `{}` has shape {:?}: expected [rows, {c}, {h}, {w}]",
                tensor.name, tensor.shape
            )));
        }
    };
    let values = flat(tensor, rows.saturating_mul(c * h * w))?;
    let mut pixels = Vec::with_capacity(values.len());
    for value in values {
        match value.as_f64() {
            Some(v) if (0.0..=255.0).contains(&v) => pixels.push(v.round() as u8),
            _ => return Err(wrong(tensor, &value, "a pixel from 0 to 255")),
        }
    }
    let images = pixels.chunks_exact(c * h * w).map(|planes| {
        let raw: Vec<u8> = (0..h * w)
            .flat_map(|i| (0..c).map(move |channel| planes[channel * h * w + i]))
            .collect();
        raw
    });
    let layout = [(IMAGE_KEY.to_string(), format!("{h}x{w}x{c}"))];
    let field = Field::new(&fitted.name, DataType::LargeBinary, true).with_metadata(layout.into());
    let column = LargeBinaryArray::from_iter_values(images);
    Ok((field, Arc::new(column)))
}

fn expect(tensor: &Tensor, types: &[&str]) -> Result<(), Failure> {
    match types.contains(&tensor.datatype.as_str()) {
        true => Ok(()),
        false => Err(Failure::bad_request(format!(
            "input `{}` has datatype `{}`: expected {}",
            tensor.name,
            tensor.datatype,
            match types {
                [one] => format!("`{one}`"),
                _ => "a number type such as `FP64`".into(),
            }
        ))),
    }
}

/// One value per row.
fn column(tensor: &mut Tensor) -> Result<Vec<Value>, Failure> {
    match tensor.shape[..] {
        [rows] | [rows, 1] => flat(tensor, rows),
        _ => Err(Failure::bad_request(format!(
            "input `{}` has shape {:?}: expected [rows]",
            tensor.name, tensor.shape
        ))),
    }
}

/// The values of `data`, which may be flat or nested.
fn flat(tensor: &mut Tensor, size: usize) -> Result<Vec<Value>, Failure> {
    let mut values = Vec::new();
    flatten(tensor.data.take(), &mut values);
    match values.len() == size {
        true => Ok(values),
        false => Err(Failure::bad_request(format!(
            "input `{}` has {} values, but its shape {:?} asks for {size}",
            tensor.name,
            values.len(),
            tensor.shape
        ))),
    }
}

fn flatten(value: Value, out: &mut Vec<Value>) {
    match value {
        Value::Array(values) => values.into_iter().for_each(|v| flatten(v, out)),
        value => out.push(value),
    }
}

fn wrong(tensor: &Tensor, value: &Value, expected: &str) -> Failure {
    let shown: String = value.to_string().chars().take(40).collect();
    Failure::bad_request(format!("input `{}` holds {shown}: expected {expected}", tensor.name))
}
