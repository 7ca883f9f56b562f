//! The self-check a bundle carries: a few made-up rows and what the model said of them when it was
//! sealed. Whoever loads the bundle predicts them again, and finds out whether this machine, this
//! device and this version of the engine still say the same.

use std::sync::Arc;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tesla_data::arrow::array::{LargeBinaryArray, RecordBatch};
use tesla_data::arrow::datatypes::{DataType, Field, Schema};
use tesla_data::contract::Role;
use tesla_data::prepare::{FittedColumn, FittedTarget};
use tesla_data::source::IMAGE_KEY;
use tesla_data::{ColumnKind, ColumnRule};

use crate::{Bundle, Error, Predictions, Predictor, Result};

/// Made-up rows.
const ROWS: usize = 4;
/// How far a number may be from what was expected, relative to its size: devices round differently.
const TOLERANCE: f64 = 1e-3;

/// Made-up rows with the predictions that were right when the bundle was sealed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// A value per input column. Of an image, the number that its pixels are drawn with.
    rows: Vec<Map<String, Value>>,
    /// For each row the probability of each class, or the number.
    expected: Vec<f64>,
}

impl Probe {
    /// Makes up rows from the contract and asks the predictor. No value is a training row's but by
    /// chance: numbers are drawn from the contract's ranges, names from its categories.
    ///
    /// # Errors
    /// When the predictor refuses the rows, which only a damaged bundle does.
    pub fn record(predictor: &Predictor) -> Result<Self> {
        let rows = made_up(predictor.bundle());
        let expected = predict(predictor, &rows)?;
        Ok(Self { rows, expected })
    }
}

impl Predictor {
    /// Predicts the bundle's made-up rows and compares with what it expects. A bundle of an older
    /// version carries none: its predictions of rows made up here must be numbers.
    ///
    /// # Errors
    /// When a prediction fails or differs.
    pub fn self_check(&self) -> Result<()> {
        let Some(probe) = &self.bundle().probe else {
            Probe::record(self)?;
            return Ok(());
        };
        let found = predict(self, &probe.rows)?;
        let scale = match &self.bundle().pipeline.target {
            FittedTarget::Value { scale, .. } => *scale,
            FittedTarget::Classes { .. } => 1.0,
        };
        let far = |(found, expected): &(&f64, &f64)| {
            (*found - *expected).abs() > TOLERANCE * (scale + expected.abs())
        };
        let mut pairs = std::iter::zip(&found, &probe.expected);
        match pairs.find(far) {
            None if found.len() == probe.expected.len() => Ok(()),
            None => Err(failed(format!(
                "it gives {} numbers, expected {}",
                found.len(),
                probe.expected.len()
            ))),
            Some((found, expected)) => {
                Err(failed(format!("it gives {found} where {expected} is expected")))
            }
        }
    }
}

fn failed(what: String) -> Error {
    Error::Model(format!(
        "the self-check of the model failed: {what}; the device or this version computes something else, so train again or use the version it was trained with"
    ))
}

fn predict(predictor: &Predictor, rows: &[Map<String, Value>]) -> Result<Vec<f64>> {
    let batch = to_batch(predictor.bundle(), rows)?;
    let numbers = match predictor.predict(&batch)? {
        Predictions::Classes { probabilities, .. } => probabilities,
        Predictions::Values(values) => values,
    };
    match numbers.iter().all(|n| n.is_finite()) {
        true => Ok(numbers),
        false => Err(failed("it gives something that is not a number".into())),
    }
}

fn made_up(bundle: &Bundle) -> Vec<Map<String, Value>> {
    let mut rng = ChaCha8Rng::seed_from_u64(bundle.provenance.seed ^ 0x7072_6f62);
    let words: Vec<String> = bundle
        .pipeline
        .feature_names()
        .into_iter()
        .filter_map(|name| name.rsplit(':').next().map(str::to_string))
        .collect();
    (0..ROWS)
        .map(|row| {
            let cell = |rule: &ColumnRule| (rule.name.clone(), value(rule, row, &words, &mut rng));
            bundle.contract.inputs().map(cell).collect()
        })
        .collect()
}

fn value(rule: &ColumnRule, row: usize, words: &[String], rng: &mut ChaCha8Rng) -> Value {
    let names = match rule.limits.categories.is_empty() {
        true => &rule.categories,
        false => &rule.limits.categories,
    };
    match (rule.role, rule.kind) {
        (Role::Key, ColumnKind::Numeric) => json!(row as f64),
        // A date, so that it also says an order.
        (Role::Key, _) => json!(format!("2000-01-0{}", row + 1)),
        // The last row has no value where there may be none.
        (_, kind)
            if row + 1 == ROWS
                && rule.nullable
                && !rule.limits.required
                && kind != ColumnKind::Image =>
        {
            Value::Null
        }
        (_, ColumnKind::Numeric) => {
            let [low, high] = rule.limits.range.or(rule.range).unwrap_or([0.0, 1.0]);
            json!(low + (high - low) * rng.random_range(0.0..=1.0))
        }
        (_, ColumnKind::Category) => match names.len() {
            0 => json!("a"),
            count => json!(names[rng.random_range(0..count)]),
        },
        (_, ColumnKind::Text) => {
            let word = |_| words[rng.random_range(0..words.len())].as_str();
            match words.is_empty() {
                true => json!("a text"),
                false => json!((0..8).map(word).collect::<Vec<_>>().join(" ")),
            }
        }
        (_, ColumnKind::Image) => json!(rng.random_range(0..u64::from(u32::MAX))),
    }
}

fn to_batch(bundle: &Bundle, rows: &[Map<String, Value>]) -> Result<RecordBatch> {
    let [FittedColumn::Image(image)] = bundle.pipeline.features.as_slice() else {
        return Ok(bundle.contract.from_json(rows)?);
    };
    let [h, w, c] = [image.height, image.width, u32::from(image.channels)];
    let images = rows.iter().map(|row| {
        let seed = row.get(&image.name).and_then(Value::as_u64).unwrap_or_default();
        let mut pixels = vec![0; (h * w * c) as usize];
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut pixels);
        pixels
    });
    let layout = [(IMAGE_KEY.to_string(), format!("{h}x{w}x{c}"))];
    let field = Field::new(&image.name, DataType::LargeBinary, true).with_metadata(layout.into());
    let column = Arc::new(LargeBinaryArray::from_iter_values(images));
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column])
        .map_err(|e| tesla_data::Error::from(e).into())
}
