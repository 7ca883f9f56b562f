//! The predictor: the only door to a prediction.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;
use tesla_data::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use tesla_data::arrow::datatypes::{DataType, Field, Schema};
use tesla_data::contract::Need;
use tesla_data::prepare::{FittedTarget, Pass};
use tesla_data::{FittedInteractions, Inputs, Task};

use crate::decision::softmax;
use crate::device::to_host;
use crate::{Batch, Bundle, Device, Error, ModelConfig, Network, Result, ops};

/// The most rows of a pass through the network: bounds memory.
const TILE: usize = 16;

/// A bundle on a device. Raw rows go in, predictions come out; the contract is enforced on the way.
#[derive(Debug)]
pub struct Predictor {
    bundle: Bundle,
    pub(crate) network: Network,
    pub(crate) device: Device,
    /// The vectors of items, each of length 1, once somebody has asked for neighbours.
    pub(crate) directions: OnceLock<Vec<f32>>,
}

/// Rows that were checked against the contract and prepared: numbers, ready for the network.
#[derive(Debug)]
pub struct Prepared {
    rows: RecordBatch,
    len: usize,
    inputs: Inputs,
}

impl Prepared {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The rows as the contract has them, before they were made numbers.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// Without the rows as the contract has them, for who keeps the numbers for a while.
    #[must_use]
    pub fn without_rows(self) -> Self {
        Self {
            rows: RecordBatch::new_empty(Arc::new(Schema::empty())),
            ..self
        }
    }
}

/// Predictions for some rows, in their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Predictions {
    /// For each row the probability of each class.
    Classes {
        /// The class labels.
        labels: Arc<[String]>,
        /// `[rows, labels]`, row-major; each row sums to 1.
        probabilities: Vec<f64>,
        /// The probability of the second of two classes from which on it is predicted; without one
        /// the most probable class is.
        threshold: Option<f64>,
    },
    /// For each row a number in the target's unit.
    Values(Vec<f64>),
}

impl Predictor {
    pub(crate) fn new(bundle: Bundle, network: Network, device: &Device) -> Self {
        Self {
            bundle,
            network,
            device: device.clone(),
            directions: OnceLock::new(),
        }
    }

    /// What the predictor was made from.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Predicts raw rows. Columns may stand in any order and in any Arrow layout of their kind;
    /// columns the model does not use are ignored.
    ///
    /// # Errors
    /// When a column is missing or a value is not of its column's kind; the message names the
    /// row, counted from 1.
    pub fn predict(&self, rows: &RecordBatch) -> Result<Predictions> {
        self.predict_at(rows, &|row| format!("row {}", row + 1))
    }

    /// Like [`Predictor::predict`], with messages that name a row as `place` does.
    ///
    /// # Errors
    /// As [`Predictor::predict`].
    pub fn predict_at(
        &self,
        rows: &RecordBatch,
        place: &(dyn Fn(usize) -> String + Sync),
    ) -> Result<Predictions> {
        self.predict_in(&mut self.bundle.pipeline.pass(), rows, place)
    }

    /// Like [`Predictor::predict_at`] for the next rows of several batches that are one table: what
    /// goes from one row to the next, as with `forward_fill`, goes from one batch to the next. `pass`
    /// is one of the bundle's own pipeline.
    ///
    /// # Errors
    /// As [`Predictor::predict`].
    pub fn predict_in(
        &self,
        pass: &mut Pass<'_>,
        rows: &RecordBatch,
        place: &(dyn Fn(usize) -> String + Sync),
    ) -> Result<Predictions> {
        let prepared = self.prepare_in(pass, rows, place)?;
        let all = 0..prepared.len();
        let scores = self.scores(&[(&prepared, all)])?;
        // A value far out of the range of training leaves the network as no number at all.
        let outputs = self.bundle.signature.outputs;
        if let Some(at) = scores.iter().position(|score| !score.is_finite()) {
            return Err(not_finite(place(at / outputs)));
        }
        Ok(self.predictions(scores))
    }

    /// The first half of [`Predictor::predict`]: rows that are checked and made numbers, for
    /// [`Predictor::scores`].
    ///
    /// # Errors
    /// As [`Predictor::predict`].
    pub fn prepare(&self, rows: &RecordBatch) -> Result<Prepared> {
        let place = |row: usize| format!("row {}", row + 1);
        self.prepare_in(&mut self.bundle.pipeline.pass(), rows, &place)
    }

    fn prepare_in(
        &self,
        pass: &mut Pass<'_>,
        rows: &RecordBatch,
        place: &(dyn Fn(usize) -> String + Sync),
    ) -> Result<Prepared> {
        let rows = self.bundle.contract.conform(rows, Need::Features, place)?;
        let samples = pass.samples(&rows, place)?;
        self.check(&samples.inputs)?;
        Ok(Prepared {
            rows,
            len: samples.len,
            inputs: samples.inputs,
        })
    }

    /// What the network says of some prepared rows of one or several requests, one after the other:
    /// `[rows, outputs]`. A row's numbers do not depend, to the bit, on the rows beside it.
    ///
    /// # Errors
    /// When the device does not deliver.
    pub fn scores(&self, parts: &[(&Prepared, Range<usize>)]) -> Result<Vec<f64>> {
        let mut passes: Vec<Vec<(&Prepared, Range<usize>)>> = Vec::new();
        let mut filled = TILE;
        for (prepared, rows) in parts {
            let mut rest = rows.clone();
            while !rest.is_empty() {
                if filled == TILE {
                    passes.push(Vec::new());
                    filled = 0;
                }
                let now = rest.start..rest.end.min(rest.start + TILE - filled);
                (rest.start, filled) = (now.end, filled + now.len());
                if let Some(pass) = passes.last_mut() {
                    pass.push((*prepared, now));
                }
            }
        }
        let scores: Result<Vec<Vec<f64>>> = match self.device.is_cpu() {
            true => passes.par_iter().map(|parts| self.pass(parts)).collect(),
            false => passes.iter().map(|parts| self.pass(parts)).collect(),
        };
        Ok(scores?.concat())
    }

    /// One pass through the network.
    fn pass(&self, parts: &[(&Prepared, Range<usize>)]) -> Result<Vec<f64>> {
        let shape = &self.bundle.signature.input;
        let size: usize = shape.iter().product();
        let filled: usize = parts.iter().map(|(_, rows)| rows.len()).sum();
        let rows = self.rows_of_pass(filled);
        let mut values: Vec<f32> = Vec::with_capacity(rows * size);
        for (prepared, rows) in parts {
            values.extend(prepared.inputs.gather(&rows.clone().collect::<Vec<_>>())?);
        }
        values.resize(rows * size, 0.0);
        let batch = Batch::new(values, rows, shape, self.device.burn());
        let outputs = self.bundle.signature.outputs;
        let found = to_host(self.network.forward(batch), "predictions")?;
        Ok(found.into_iter().take(filled * outputs).map(f64::from).collect())
    }

    /// The rows that a pass is filled up to with zeros. Kernels choose their order of summing by that number,
    /// so it is one for all; but those of `flex` (`ops`) give a row the same bits in any company. What a
    /// network of a program's own does is not known.
    fn rows_of_pass(&self, filled: usize) -> usize {
        let is_known = !matches!(self.network, Network::Custom(_));
        match is_known && self.device.name() == "flex" && ops::rows_stand_alone() {
            true => filled,
            false => TILE,
        }
    }

    /// The last step of [`Predictor::predict`]: `scores` as probabilities or in the target's unit.
    pub fn predictions(&self, mut scores: Vec<f64>) -> Predictions {
        let target = &self.bundle.pipeline.target;
        match target {
            FittedTarget::Classes { labels, .. } => {
                let outputs = self.bundle.signature.outputs;
                let decision = &self.bundle.decision;
                for row in scores.chunks_exact_mut(outputs) {
                    softmax(row);
                    if let Some(calibration) = &decision.calibration {
                        calibration.apply(row);
                    }
                }
                Predictions::Classes {
                    labels: labels.as_slice().into(),
                    probabilities: scores,
                    threshold: decision.threshold,
                }
            }
            FittedTarget::Value { .. } => {
                Predictions::Values(scores.into_iter().map(|y| self.value(y)).collect())
            }
        }
    }

    /// What the network says in the target's unit: a rating within the range of those it learned from.
    /// A model that ranks has no unit.
    pub(crate) fn value(&self, y: f64) -> f64 {
        let pipeline = &self.bundle.pipeline;
        match (&self.bundle.model, &pipeline.interactions) {
            (ModelConfig::Bpr(_), _) => y,
            (_, Some(FittedInteractions { range, .. })) => {
                pipeline.target.decode(y).max(range[0]).min(range[1])
            }
            _ => pipeline.target.decode(y),
        }
    }

    /// The pipeline and the network come from one bundle; this catches one made by hand.
    fn check(&self, inputs: &Inputs) -> Result<()> {
        let (have, need) = (inputs.row_shape(), &self.bundle.signature.input);
        match have == *need {
            true => Ok(()),
            false => Err(Error::Model(format!(
                "the bundle's preparation gives rows of shape {have:?}, but its network takes {need:?}"
            ))),
        }
    }
}

impl Predictions {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Predictions::Classes {
                labels,
                probabilities,
                ..
            } => probabilities.len() / labels.len(),
            Predictions::Values(values) => values.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The predictions of the given rows.
    pub fn take(&self, rows: &[u32]) -> Self {
        let rows = rows.iter().map(|row| *row as usize);
        match self {
            Predictions::Classes {
                labels,
                probabilities,
                threshold,
            } => Predictions::Classes {
                labels: labels.clone(),
                threshold: *threshold,
                probabilities: rows
                    .flat_map(|row| &probabilities[row * labels.len()..][..labels.len()])
                    .copied()
                    .collect(),
            },
            Predictions::Values(values) => {
                Predictions::Values(rows.map(|row| values[row]).collect())
            }
        }
    }

    /// What was predicted.
    pub fn task(&self) -> Task {
        match self {
            Predictions::Classes { .. } => Task::Classification,
            Predictions::Values(_) => Task::Regression,
        }
    }

    /// For each row the number of the predicted class: the most probable one, the first of equals, or
    /// of two classes what the threshold says. Empty for numbers.
    pub fn classes(&self) -> Vec<usize> {
        match self {
            Predictions::Classes {
                probabilities,
                threshold: Some(threshold),
                ..
            } => probabilities
                .chunks_exact(2)
                .map(|p| usize::from(p[1] >= *threshold))
                .collect(),
            Predictions::Classes {
                labels,
                probabilities,
                threshold: None,
            } => probabilities.chunks_exact(labels.len()).map(argmax).collect(),
            Predictions::Values(_) => Vec::new(),
        }
    }

    /// For each row the label of the predicted class, or the number as text.
    pub fn to_strings(&self) -> Vec<String> {
        match self {
            Predictions::Classes { labels, .. } => {
                let classes = self.classes();
                classes.into_iter().map(|c| labels[c].clone()).collect()
            }
            Predictions::Values(values) => values.iter().map(f64::to_string).collect(),
        }
    }

    /// As a record batch: `prediction` and, for classes, `probability_<class>`.
    pub fn to_batch(&self) -> RecordBatch {
        let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = match self {
            Predictions::Values(values) => {
                let values: ArrayRef = Arc::new(Float64Array::from(values.clone()));
                (vec![Field::new("prediction", DataType::Float64, false)], vec![values])
            }
            Predictions::Classes {
                labels,
                probabilities,
                ..
            } => {
                let best: ArrayRef = Arc::new(StringArray::from(self.to_strings()));
                let field = Field::new("prediction", DataType::Utf8, false);
                let each = labels.iter().enumerate().map(|(class, label)| {
                    let own = probabilities.iter().skip(class).step_by(labels.len());
                    let own: ArrayRef = Arc::new(Float64Array::from_iter_values(own.copied()));
                    let name = format!("probability_{label}");
                    (Field::new(name, DataType::Float64, false), own)
                });
                std::iter::once((field, best)).chain(each).unzip()
            }
        };
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .expect("the columns are made with the schema and have one length")
    }
}

/// Of a row whose values are far out of the range of training.
pub(crate) fn not_finite(place: String) -> Error {
    let reason = "a value is so large that the prediction is no number: expected values like those of training";
    Error::Data(tesla_data::Error::Row {
        place,
        reason: reason.into(),
    })
}

/// The place of the largest value, the first of equals.
fn argmax(values: &[f64]) -> usize {
    let best = (0..values.len()).reduce(|best, i| match values[i] > values[best] {
        true => i,
        false => best,
    });
    best.unwrap_or(0)
}
