//! Partial dependence (Friedman 2001): where the predictions go with a column.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tesla_core::explain::with_column;
use tesla_core::{Predictions, Predictor};
use tesla_data::ColumnKind;
use tesla_data::arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringArray};
use tesla_data::arrow::compute::cast;
use tesla_data::arrow::datatypes::{DataType, Float64Type};

use super::Sample;
use crate::Result;

/// The mean prediction by the value of one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dependence {
    /// The column.
    pub column: String,
    /// What the predictions are: the classes, of which each has a mean probability, or the target.
    /// Of two classes the second only.
    pub outputs: Vec<String>,
    /// Whether values are numbers, ascending; otherwise they are levels, the commonest first.
    pub numeric: bool,
    /// The values that the column was set to in all rows.
    pub values: Vec<String>,
    /// `[values, outputs]`: the mean predictions.
    pub means: Vec<Vec<f64>>,
    /// The rows they are means of.
    pub rows: usize,
}

/// Values of a number that are tried, and levels of a category.
const NUMBERS: usize = 15;
const LEVELS: usize = 8;
/// Classes of which curves are kept.
const CLASSES: usize = 6;

/// Sets `column` to one value after the other in all rows of `sample`. `None` for texts and pictures,
/// and for a column that has one value only.
///
/// # Errors
/// When the rows break the contract.
pub fn dependence(
    predictor: &Predictor,
    sample: &Sample,
    column: &str,
) -> Result<Option<Dependence>> {
    let bundle = predictor.bundle();
    let rule = bundle.contract.features().find(|rule| rule.name == column);
    let at = sample.batch.schema().index_of(column);
    let (Some(rule), Ok(at)) = (rule, at) else {
        return Ok(None);
    };
    let found = sample.batch.column(at);
    let tried: Vec<(String, ArrayRef)> = match rule.kind {
        ColumnKind::Numeric => numbers(found, sample.len())?,
        ColumnKind::Category => levels(found, sample.len())?,
        ColumnKind::Text | ColumnKind::Image | ColumnKind::Time => return Ok(None),
    };
    if tried.len() < 2 {
        return Ok(None);
    }
    let (mut values, mut means) = (Vec::new(), Vec::new());
    let mut outputs = Vec::new();
    for (value, array) in tried {
        let rows = with_column(&sample.batch, at, cast_to(array, found.data_type())?)?;
        let (predicted, labels) = match predictor.predict(&rows)? {
            Predictions::Classes {
                probabilities,
                labels,
                ..
            } => (probabilities, labels.to_vec()),
            Predictions::Values(values) => (values, vec![bundle.pipeline.target.name().into()]),
        };
        let width = labels.len();
        let kept = match width {
            2 => 1..2,
            _ => 0..width.min(CLASSES),
        };
        let mean = |class: usize| {
            let own = predicted.iter().skip(class).step_by(width);
            own.sum::<f64>() / sample.len() as f64
        };
        values.push(value);
        means.push(kept.clone().map(mean).collect());
        outputs = labels[kept].to_vec();
    }
    Ok(Some(Dependence {
        column: column.into(),
        outputs,
        numeric: rule.kind == ColumnKind::Numeric,
        values,
        means,
        rows: sample.len(),
    }))
}

/// Quantiles from 5 % to 95 %, each once.
fn numbers(column: &ArrayRef, rows: usize) -> Result<Vec<(String, ArrayRef)>> {
    let numbers = cast_to(column.clone(), &DataType::Float64)?;
    let numbers = numbers.as_primitive::<Float64Type>();
    let mut sorted: Vec<f64> = numbers.iter().flatten().filter(|v| v.is_finite()).collect();
    if sorted.is_empty() {
        return Ok(Vec::new());
    }
    sorted.sort_by(f64::total_cmp);
    let quantile = |i: usize| {
        let share = 0.05 + 0.9 * i as f64 / (NUMBERS - 1) as f64;
        sorted[(share * (sorted.len() - 1) as f64).round() as usize]
    };
    let mut tried: Vec<f64> = (0..NUMBERS).map(quantile).collect();
    tried.dedup();
    let constant = |v: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![v; rows])) };
    Ok(tried.into_iter().map(|v| (v.to_string(), constant(v))).collect())
}

/// The commonest levels.
fn levels(column: &ArrayRef, rows: usize) -> Result<Vec<(String, ArrayRef)>> {
    let names = cast_to(column.clone(), &DataType::Utf8)?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names.as_string::<i32>().iter().flatten() {
        *counts.entry(name).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let constant = |name: &str| -> ArrayRef { Arc::new(StringArray::from(vec![name; rows])) };
    let levels = counts.into_iter().take(LEVELS);
    Ok(levels.map(|(name, _)| (name.to_string(), constant(name))).collect())
}

fn cast_to(array: ArrayRef, kind: &DataType) -> Result<ArrayRef> {
    match array.data_type() == kind {
        true => Ok(array),
        false => Ok(cast(&array, kind).map_err(tesla_data::Error::from)?),
    }
}
