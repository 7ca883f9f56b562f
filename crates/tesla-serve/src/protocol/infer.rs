//! Tensors as rows of a model, and predictions as tensors: one input tensor per feature column.

use std::sync::Arc;

use serde_json::{Value, json};
use tesla_core::{Bundle, Predictions};
use tesla_data::arrow::array::{
    ArrayRef, Float64Array, LargeBinaryArray, RecordBatch, StringArray,
};
use tesla_data::arrow::datatypes::{DataType, Field, Schema};
use tesla_data::prepare::{FittedColumn, FittedImage};
use tesla_data::source::IMAGE_KEY;
use tesla_data::{ColumnKind, ColumnRule};

use super::tensor::{Datatype, Tensor};
use crate::error::Failure;
use crate::model::check_rows;

/// The outputs every model has; a model of numbers has only the first.
pub(crate) const OUTPUTS: [&str; 2] = ["prediction", "probability"];

/// What a tensor is called and looks like; -1 is a size that varies.
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) datatype: &'static str,
    pub(crate) shape: Vec<i64>,
    /// What its last dimension holds.
    pub(crate) labels: Option<String>,
}

/// The tensors that go into a model.
pub(crate) fn inputs(bundle: &Bundle) -> Vec<Described> {
    let describe = |rule: &ColumnRule| {
        let (datatype, shape) = match (rule.kind, image_of(bundle)) {
            (ColumnKind::Image, Some(image)) => {
                let [channels, height, width] = dimensions(image).map(|size| size as i64);
                ("UINT8", vec![-1, channels, height, width])
            }
            (ColumnKind::Numeric, _) => ("FP64", vec![-1]),
            _ => ("BYTES", vec![-1]),
        };
        Described {
            name: rule.name.clone(),
            datatype,
            shape,
            labels: None,
        }
    };
    bundle.contract.inputs().map(describe).collect()
}

/// The tensors that come out of a model.
pub(crate) fn outputs(bundle: &Bundle) -> Vec<Described> {
    let labels = bundle.pipeline.target.labels();
    let described = |name: &str, datatype, shape, labels| Described {
        name: name.into(),
        datatype,
        shape,
        labels,
    };
    match labels {
        [] => vec![described(OUTPUTS[0], "FP64", vec![-1], None)],
        labels => vec![
            described(OUTPUTS[0], "BYTES", vec![-1], None),
            described(OUTPUTS[1], "FP64", vec![-1, labels.len() as i64], Some(labels.join(","))),
        ],
    }
}

impl Described {
    pub(crate) fn to_json(&self) -> Value {
        let mut tensor =
            json!({ "name": self.name, "datatype": self.datatype, "shape": self.shape });
        if let Some(labels) = &self.labels {
            tensor["parameters"] = json!({ "labels": labels });
        }
        tensor
    }
}

/// What a model is, as the protocol says it.
pub(crate) fn platform(bundle: &Bundle) -> String {
    format!("tesla_{}", bundle.model.kind())
}

/// The tensors of a request as rows.
///
/// # Errors
/// When a tensor is not one of the model's, not of its kind, or has more rows than `most`.
pub(crate) fn rows(
    inputs: Vec<Tensor<'_>>,
    bundle: &Bundle,
    most: usize,
) -> Result<RecordBatch, Failure> {
    let contract = &bundle.contract;
    let mut fields: Vec<Field> = Vec::new();
    let mut columns = Vec::new();
    for tensor in inputs {
        let Some(rule) = contract.inputs().find(|c| c.name == tensor.name) else {
            let names: Vec<&str> = contract.inputs().map(|c| c.name.as_str()).collect();
            let shown: String = tensor.name.chars().take(100).collect();
            let near = tesla_data::nearest(&shown, &names)
                .map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
            return Err(Failure::bad_request(format!(
                "the model has no input `{shown}`{near}: see its metadata"
            )));
        };
        if fields.iter().any(|field| *field.name() == rule.name) {
            return Err(tensor.wrong("comes twice: expected it once".into()));
        }
        let rows = tensor.shape.first().copied().unwrap_or(0);
        check_rows(usize::try_from(rows).unwrap_or(usize::MAX), most)?;
        let (field, column) = match (rule.kind, image_of(bundle)) {
            (ColumnKind::Image, Some(image)) => pixels(tensor, image)?,
            (ColumnKind::Numeric, _) => numbers(tensor)?,
            _ => texts(tensor, rule)?,
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
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|e| Failure::bad_request(format!("the inputs do not make a table: {e}")))
}

/// A tensor that comes out.
pub(crate) struct Output {
    pub(crate) name: &'static str,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Values,
}

/// What it holds.
pub(crate) enum Values {
    Numbers(Vec<f64>),
    Texts(Vec<String>),
}

impl Output {
    pub(crate) fn datatype(&self) -> &'static str {
        match self.values {
            Values::Numbers(_) => "FP64",
            Values::Texts(_) => "BYTES",
        }
    }

    /// Little-endian, as binary data.
    pub(crate) fn raw(&self) -> Vec<u8> {
        match &self.values {
            Values::Numbers(numbers) => super::tensor::raw_numbers(numbers),
            Values::Texts(texts) => super::tensor::raw_texts(texts.iter().map(String::as_str)),
        }
    }
}

/// Refuses names of outputs that no model has, or not this one.
///
/// # Errors
/// When there is one.
pub(crate) fn check_wanted<'a>(
    wanted: impl Iterator<Item = &'a str>,
    bundle: &Bundle,
) -> Result<(), Failure> {
    let have = outputs(bundle);
    for name in wanted {
        if !have.iter().any(|output| output.name == name) {
            let names: Vec<String> = have.iter().map(|o| format!("`{}`", o.name)).collect();
            let shown: String = name.chars().take(100).collect();
            return Err(Failure::bad_request(format!(
                "the model has no output `{shown}`: expected {}",
                names.join(" or ")
            )));
        }
    }
    Ok(())
}

/// Predictions as tensors.
pub(crate) fn tensors(predictions: Predictions) -> Vec<Output> {
    let rows = predictions.len();
    match predictions {
        Predictions::Values(values) => vec![Output {
            name: OUTPUTS[0],
            shape: vec![rows],
            values: Values::Numbers(values),
        }],
        predictions => {
            let texts = predictions.to_strings();
            let Predictions::Classes {
                labels,
                probabilities,
                ..
            } = predictions
            else {
                return Vec::new();
            };
            vec![
                Output {
                    name: OUTPUTS[0],
                    shape: vec![rows],
                    values: Values::Texts(texts),
                },
                Output {
                    name: OUTPUTS[1],
                    shape: vec![rows, labels.len()],
                    values: Values::Numbers(probabilities),
                },
            ]
        }
    }
}

/// The model's image column, if it reads images.
pub(crate) fn image_of(bundle: &Bundle) -> Option<&FittedImage> {
    bundle.pipeline.features.iter().find_map(|feature| match feature {
        FittedColumn::Image(image) => Some(image),
        _ => None,
    })
}

fn dimensions(image: &FittedImage) -> [u64; 3] {
    [u64::from(image.channels), u64::from(image.height), u64::from(image.width)]
}

/// A column of numbers: shape `[rows]` or `[rows, 1]`; `null` and NaN are missing values.
fn numbers(tensor: Tensor<'_>) -> Result<(Field, ArrayRef), Failure> {
    if tensor.datatype()? == Datatype::Bytes {
        return Err(
            tensor.wrong("has datatype `BYTES`: expected a number type such as `FP64`".into())
        );
    }
    let field = Field::new(&tensor.name, DataType::Float64, true);
    let rows = tensor.rows(&[])?;
    let mut column: Vec<Option<f64>> = Vec::new();
    tensor.each(rows, |element| {
        column.push(element.number());
        Ok(())
    })?;
    Ok((field, Arc::new(Float64Array::from(column))))
}

/// A column of texts or names; names may also be numbers.
fn texts(tensor: Tensor<'_>, rule: &ColumnRule) -> Result<(Field, ArrayRef), Failure> {
    if rule.kind == ColumnKind::Text && tensor.datatype()? != Datatype::Bytes {
        let message = format!("has datatype `{}`: expected `BYTES`", tensor.datatype);
        return Err(tensor.wrong(message));
    }
    let field = Field::new(&tensor.name, DataType::Utf8, true);
    let rows = tensor.rows(&[])?;
    let mut column: Vec<Option<String>> = Vec::new();
    tensor.each(rows, |element| {
        column.push(element.text());
        Ok(())
    })?;
    Ok((field, Arc::new(StringArray::from(column))))
}

/// Pixels `[rows, channels, height, width]` in 0..255, or image files as `BYTES` `[rows]`.
fn pixels(tensor: Tensor<'_>, image: &FittedImage) -> Result<(Field, ArrayRef), Failure> {
    if tensor.datatype()? == Datatype::Bytes {
        let message = "has datatype `BYTES`: expected pixels such as `UINT8`; image files go to `/v1/models/NAME/predict`";
        return Err(tensor.wrong(message.into()));
    }
    let [c, h, w] = dimensions(image);
    let rows = tensor.rows(&[c, h, w])?;
    let name = tensor.name.clone();
    let mut planes = Vec::new();
    tensor.each(rows.saturating_mul(c * h * w), |element| match element.number() {
        Some(v) if (0.0..=255.0).contains(&v) => {
            planes.push(v.round() as u8);
            Ok(())
        }
        _ => Err(Failure::bad_request(format!(
            "input `{name}` holds {element}: expected pixels from 0 to 255"
        ))),
    })?;
    let area = (h * w) as usize;
    let images = planes.chunks_exact(area * c as usize).map(|planes| {
        let pixel = |i: usize| (0..c as usize).map(move |channel| planes[channel * area + i]);
        (0..area).flat_map(pixel).collect::<Vec<u8>>()
    });
    let layout = [(IMAGE_KEY.to_string(), format!("{h}x{w}x{c}"))];
    let field = Field::new(&image.name, DataType::LargeBinary, true).with_metadata(layout.into());
    Ok((field, Arc::new(LargeBinaryArray::from_iter_values(images))))
}
