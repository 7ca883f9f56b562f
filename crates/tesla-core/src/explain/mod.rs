//! What each column, word or part of a picture added to the prediction of one row.

mod owners;
mod terms;

use std::collections::BTreeSet;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device as BurnDevice, Tensor, TensorData};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tesla_data::arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array, new_null_array,
};
use tesla_data::arrow::compute::{cast, take_record_batch};
use tesla_data::arrow::datatypes::{DataType, Float64Type};
use tesla_data::contract::Need;
use tesla_data::prepare::FittedTarget;
use tesla_data::samples::{ImageSet, TokenSet};
use tesla_data::{Inputs, Samples};

use crate::decision::softmax;
use crate::device::to_host;
use crate::predictor::not_finite;
use crate::{Batch, Bundle, Device, ModelConfig, Network, Result};

use owners::{owners, with_added};
use terms::{by_word, text_columns};

/// Points on the way from the baseline to a row, at which gradients are taken.
const STEPS: usize = 64;
/// Orders in which columns are put in, where they are ids; each is also gone through backwards.
const ORDERS: usize = 8;
/// Parts of a picture, across and down.
const CELLS: usize = 8;
/// Different words of a text that are taken out, one at a time.
const WORDS: usize = 64;
/// Rows per pass through the network.
const CHUNK: usize = 256;

/// How contributions are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Weight times the distance from the baseline: linear models.
    Exact,
    /// Gradients on the way from the baseline to the row (Sundararajan et al. 2017): networks.
    IntegratedGradients,
    /// Shapley values over orders of columns (Castro et al. 2009): networks that look ids up.
    Shapley,
    /// What is lost when a part of the picture becomes the mean colour.
    Occlusion,
    /// What is lost when a word is taken out.
    WordRemoval,
}

/// What one row's prediction is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// The class that is explained, or the target.
    pub of: String,
    /// What is explained of it: see `docs/report.md`.
    pub unit: String,
    /// The number that is explained.
    pub output: f64,
    /// The same for a row of which nothing is known: every value missing, or an empty text.
    pub baseline: f64,
    /// How the contributions were found.
    pub method: Method,
    /// What each column or word added, the largest first. With every method but occlusion and word
    /// removal they and `rest` add up to `output - baseline`.
    pub contributions: Vec<Contribution>,
    /// What no column accounts for.
    pub rest: f64,
    /// Of a picture, what each part added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<HeatMap>,
}

impl Explained {
    fn is_finite(&self) -> bool {
        let amounts = self.contributions.iter().map(|c| c.amount);
        let parts = self.map.iter().flat_map(|map| map.amounts.iter().copied());
        let mut all = [self.output, self.rest].into_iter().chain(amounts).chain(parts);
        all.all(f64::is_finite)
    }
}

/// What one column or word added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// The column, or the word.
    pub name: String,
    /// The value of the column; empty for a word.
    pub value: String,
    /// What it added.
    pub amount: f64,
}

/// What each part of a picture added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeatMap {
    /// Parts from top to bottom.
    pub height: usize,
    /// Parts from left to right.
    pub width: usize,
    /// `[height, width]`, row-major: what is lost without the part.
    pub amounts: Vec<f64>,
}

/// Explains single predictions of a model.
pub struct Explainer<'a> {
    bundle: &'a Bundle,
    network: Network,
    device: Device,
    /// For gradients: a network that records, and where.
    recording: Option<(Network, BurnDevice)>,
    /// The prepared numbers of a row of which nothing is known, and the columns each comes from.
    baseline: Vec<f32>,
    owners: Vec<Vec<usize>>,
    /// Of a linear model its weights, `[inputs, outputs]`, and of texts the names of the terms.
    linear: Option<Vec<f64>>,
    terms: Vec<String>,
}

impl<'a> Explainer<'a> {
    /// # Errors
    /// When the stored weights are not those of the stored model.
    pub fn new(bundle: &'a Bundle, device: &Device) -> Result<Self> {
        let load = |model: &ModelConfig| model.load(&bundle.signature, bundle.weights(), device);
        let network = load(&bundle.model)?;
        let by_gradients = bundle.signature.ids.is_empty()
            && matches!(network, Network::Mlp(_) | Network::Conv1d(_) | Network::Lstm(_));
        let recording = match by_gradients {
            true => {
                let recording = device.burn().clone().autodiff();
                // Frozen, norms go by what they learned and not by the rows that are explained.
                let frozen = load(&bundle.model.without_dropout())?.train().freeze();
                Some((frozen, recording))
            }
            false => None,
        };
        let is_table = bundle.signature.vocabulary == 0 && bundle.signature.input.len() < 3;
        let texts = bundle
            .pipeline
            .features
            .iter()
            .any(|f| matches!(f, tesla_data::prepare::FittedColumn::Text(_)));
        let (baseline, owners) = match is_table && !texts {
            true => (baseline(bundle)?, owners(&bundle.pipeline)),
            false => (Vec::new(), Vec::new()),
        };
        let linear = match &network {
            Network::Linear(linear) => Some(wide(linear.weight.val())?),
            _ => None,
        };
        Ok(Self {
            bundle,
            network,
            device: device.clone(),
            recording,
            baseline,
            owners,
            terms: match linear {
                Some(_) if texts => bundle.pipeline.feature_names(),
                _ => Vec::new(),
            },
            linear,
        })
    }

    /// Explains the `wanted` rows (zero-based) of `rows`, each for the class it is predicted as.
    /// Where windows are made of rows, `rows` are whole groups.
    ///
    /// # Errors
    /// When the rows break the contract; `place` names a row for the message.
    pub fn explain(
        &self,
        rows: &RecordBatch,
        wanted: &[usize],
        place: &(dyn Fn(usize) -> String + Sync),
    ) -> Result<Vec<Explained>> {
        let rows = self.bundle.contract.conform(rows, Need::Features, place)?;
        let samples = self.bundle.pipeline.samples(&rows, place)?;
        let one = |row: &usize| match self.row(&rows, &samples, *row)? {
            explained if explained.is_finite() => Ok(explained),
            _ => Err(not_finite(place(*row))),
        };
        wanted.iter().map(one).collect()
    }

    fn row(&self, rows: &RecordBatch, samples: &Samples, row: usize) -> Result<Explained> {
        let own = samples.inputs.gather(&[row])?;
        let scores = self.scores(own.clone(), 1)?;
        let goal = Goal::of(self.bundle, &scores);
        let output = goal.value(&scores);
        let mut explained = Explained {
            of: goal.of.clone(),
            unit: goal.unit.clone(),
            output,
            baseline: 0.0,
            method: Method::Exact,
            contributions: Vec::new(),
            rest: 0.0,
            map: None,
        };
        match &samples.inputs {
            Inputs::Images(set) => self.picture(set, own, &goal, &mut explained)?,
            Inputs::Tokens(set) => match &self.linear {
                Some(layer) => self.terms(layer, rows, set, row, &goal, &mut explained)?,
                None => self.words(rows, row, &goal, &mut explained)?,
            },
            Inputs::Dense(_) | Inputs::Sequences(_) => {
                self.numbers(rows, row, own, &goal, &mut explained)?;
            }
        }
        let sizes = |c: &Contribution| c.amount.abs();
        explained
            .contributions
            .sort_by(|a, b| sizes(b).total_cmp(&sizes(a)).then(a.name.cmp(&b.name)));
        Ok(explained)
    }

    /// A row of numbers, or a window of them: column by column.
    fn numbers(
        &self,
        rows: &RecordBatch,
        row: usize,
        own: Vec<f32>,
        goal: &Goal,
        explained: &mut Explained,
    ) -> Result<()> {
        let base = self.baseline_like(&own);
        explained.baseline = goal.value(&self.scores(base.clone(), 1)?);
        let features = &self.bundle.pipeline.features;
        let mut amounts = vec![0.0; features.len()];
        let mut share = |at: usize, amount: f64| {
            let owners = &self.owners[at % self.owners.len()];
            owners
                .iter()
                .for_each(|c| amounts[*c] += amount / owners.len() as f64);
        };
        let moved = |at: usize| f64::from(own[at]) - f64::from(base[at]);
        match (&self.linear, &self.recording) {
            (Some(layer), _) => {
                let weights = goal.of_weights(layer);
                weights
                    .iter()
                    .enumerate()
                    .for_each(|(at, w)| share(at, w * moved(at)));
            }
            (_, Some(recording)) => {
                explained.method = Method::IntegratedGradients;
                let gradients = self.gradients(recording, &own, &base, goal)?;
                gradients
                    .iter()
                    .enumerate()
                    .for_each(|(at, g)| share(at, g * moved(at)));
            }
            _ => {
                explained.method = Method::Shapley;
                amounts = self.shapley(&own, &base, goal)?;
            }
        }
        explained.rest = explained.output - explained.baseline - amounts.iter().sum::<f64>();
        explained.contributions = std::iter::zip(features, amounts)
            .map(|(feature, amount)| Contribution {
                name: feature.name().into(),
                value: rows
                    .column_by_name(feature.name())
                    .map_or_else(String::new, |c| cell(c, row)),
                amount,
            })
            .collect();
        Ok(())
    }

    /// The baseline in the shape of a row: of a window, where it has rows.
    fn baseline_like(&self, own: &[f32]) -> Vec<f32> {
        if self.bundle.pipeline.sequence.is_none() {
            return self.baseline.clone();
        }
        let width = self.baseline.len() + 1;
        let steps = own.chunks_exact(width).flat_map(|step| {
            let mask = step[width - 1];
            self.baseline.iter().map(move |v| v * mask).chain([mask])
        });
        steps.collect()
    }

    /// The mean gradient on the straight way from `base` to `own`.
    fn gradients(
        &self,
        (network, device): &(Network, BurnDevice),
        own: &[f32],
        base: &[f32],
        goal: &Goal,
    ) -> Result<Vec<f64>> {
        let size = own.len();
        let mut points = Vec::with_capacity(STEPS * size);
        for step in 0..STEPS {
            let share = (step as f32 + 0.5) / STEPS as f32;
            points.extend(std::iter::zip(own, base).map(|(x, b)| b + share * (x - b)));
        }
        let points: Tensor<2> =
            Tensor::from_data(TensorData::new(points, [STEPS, size]), device).require_grad();
        let batch = match self.bundle.signature.input[..] {
            [length, width] => Batch::Sequences(points.clone().reshape([STEPS, length, width])),
            _ => Batch::Dense(points.clone()),
        };
        let weights: Vec<f32> = goal.weights.iter().map(|w| *w as f32).collect();
        let weights: Tensor<2> =
            Tensor::from_data(TensorData::new(weights, [goal.weights.len(), 1]), device);
        let gradients = network.forward(batch).matmul(weights).sum().backward();
        let Some(found) = points.grad(&gradients) else {
            // Nothing of the input reaches the output.
            return Ok(vec![0.0; size]);
        };
        let found = wide(found)?;
        let mean = |at: usize| {
            let each = found.iter().skip(at).step_by(size);
            each.sum::<f64>() / STEPS as f64
        };
        Ok((0..size).map(mean).collect())
    }

    /// What each column adds when it is put in, on average over orders.
    fn shapley(&self, own: &[f32], base: &[f32], goal: &Goal) -> Result<Vec<f64>> {
        let columns = self.bundle.pipeline.features.len();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut orders: Vec<Vec<usize>> = Vec::new();
        for _ in 0..if columns > 2 { ORDERS } else { 1 } {
            let mut order: Vec<usize> = (0..columns).collect();
            order.shuffle(&mut rng);
            orders.push(order.iter().rev().copied().collect());
            orders.push(order);
        }
        let mut points = Vec::new();
        for order in &orders {
            let mut there = vec![false; columns];
            points.extend(self.mixed(own, base, &there));
            for column in order {
                there[*column] = true;
                points.extend(self.mixed(own, base, &there));
            }
        }
        let count = orders.len() * (columns + 1);
        let scores = self.scores(points, count)?;
        let values: Vec<f64> = scores
            .chunks_exact(goal.weights.len())
            .map(|s| goal.value(s))
            .collect();
        let mut amounts = vec![0.0; columns];
        for (order, values) in std::iter::zip(&orders, values.chunks_exact(columns + 1)) {
            for (column, pair) in std::iter::zip(order, values.windows(2)) {
                amounts[*column] += (pair[1] - pair[0]) / orders.len() as f64;
            }
        }
        Ok(amounts)
    }

    /// The numbers of the columns that are there, and of the others the baseline's. A product is there
    /// with all its factors.
    fn mixed(&self, own: &[f32], base: &[f32], there: &[bool]) -> Vec<f32> {
        let pick = |at: usize| {
            let owners = &self.owners[at % self.owners.len()];
            match owners.iter().all(|column| there[*column]) {
                true => own[at],
                false => base[at],
            }
        };
        (0..own.len()).map(pick).collect()
    }

    /// The terms of a text under a linear model, by the words they come from.
    fn terms(
        &self,
        layer: &[f64],
        rows: &RecordBatch,
        set: &TokenSet,
        row: usize,
        goal: &Goal,
        explained: &mut Explained,
    ) -> Result<()> {
        let (ids, values) = set.row(row);
        let term = |(id, value): (&u32, &f32)| {
            let amount = goal.of_weight(layer, *id as usize) * f64::from(*value);
            (self.terms[*id as usize].as_str(), amount)
        };
        let terms: Vec<(&str, f64)> =
            std::iter::zip(ids, values.unwrap_or_default()).map(term).collect();
        let text = |column: &str| {
            let text = rows.column_by_name(column).map(|texts| cell(texts, row));
            (column.to_string(), text.unwrap_or_default())
        };
        let texts: Vec<_> = text_columns(&self.bundle.pipeline.features).map(text).collect();
        explained.contributions = by_word(&texts, &terms)
            .into_iter()
            .map(|(name, amount)| Contribution {
                name,
                value: String::new(),
                amount,
            })
            .collect();
        let sum: f64 = explained.contributions.iter().map(|c| c.amount).sum();
        explained.baseline = goal.value(&self.scores(vec![0.0; self.terms.len()], 1)?);
        explained.rest = explained.output - explained.baseline - sum;
        Ok(())
    }

    /// The words of a text, each taken out wherever it stands.
    fn words(
        &self,
        rows: &RecordBatch,
        row: usize,
        goal: &Goal,
        explained: &mut Explained,
    ) -> Result<()> {
        explained.method = Method::WordRemoval;
        let one = |at: usize| taken(rows, at, &[row]);
        let columns = (0..rows.num_columns()).map(one).collect::<Result<Vec<_>>>()?;
        let own = RecordBatch::try_new(rows.schema(), columns).map_err(tesla_data::Error::from)?;
        for feature in &self.bundle.pipeline.features {
            let Ok(at) = own.schema().index_of(feature.name()) else {
                continue;
            };
            let text = cell(own.column(at), 0);
            let words = words(&text);
            let mut texts: Vec<String> = words.iter().map(|word| without(&text, word)).collect();
            texts.push(String::new());
            let scores = self.with_texts(&own, at, &texts)?;
            let mut each = scores.chunks_exact(goal.weights.len()).map(|s| goal.value(s));
            for word in words {
                let amount = explained.output - each.next().unwrap_or_default();
                explained.contributions.push(Contribution {
                    name: word,
                    value: String::new(),
                    amount,
                });
            }
            explained.baseline = each.next().unwrap_or_default();
        }
        Ok(())
    }

    /// The scores of one row with other texts.
    fn with_texts(&self, own: &RecordBatch, at: usize, texts: &[String]) -> Result<Vec<f64>> {
        let repeat = |column: usize| taken(own, column, &vec![0; texts.len()]);
        let columns = (0..own.num_columns()).map(repeat).collect::<Result<Vec<_>>>()?;
        let rows = RecordBatch::try_new(own.schema(), columns).map_err(tesla_data::Error::from)?;
        let rows = with_column(&rows, at, Arc::new(StringArray::from_iter_values(texts)))?;
        let place = |row: usize| format!("row {}", row + 1);
        let samples = self.bundle.pipeline.samples(&rows, &place)?;
        let all: Vec<usize> = (0..texts.len()).collect();
        self.scores(samples.inputs.gather(&all)?, texts.len())
    }

    /// The parts of a picture, each made the mean colour with a margin of half its size.
    fn picture(
        &self,
        set: &ImageSet,
        own: Vec<f32>,
        goal: &Goal,
        explained: &mut Explained,
    ) -> Result<()> {
        explained.method = Method::Occlusion;
        let (height, width) = (CELLS.min(set.height), CELLS.min(set.width));
        let span = |cell: usize, cells: usize, side: usize| {
            let (start, end) = (cell * side / cells, (cell + 1) * side / cells);
            let margin = ((end - start) / 2).max(1);
            start.saturating_sub(margin)..(end + margin).min(side)
        };
        let mut amounts = Vec::new();
        let parts: Vec<(usize, usize)> =
            (0..height).flat_map(|y| (0..width).map(move |x| (y, x))).collect();
        for parts in parts.chunks(CHUNK) {
            let mut pictures = Vec::with_capacity(parts.len() * own.len());
            for (y, x) in parts {
                let mut picture = own.clone();
                for plane in picture.chunks_exact_mut(set.height * set.width) {
                    for line in span(*y, height, set.height) {
                        // Normalised pixels: zero is the mean of the training pictures.
                        let columns = span(*x, width, set.width);
                        plane[line * set.width..][columns].fill(0.0);
                    }
                }
                pictures.extend(picture);
            }
            let scores = self.scores(pictures, parts.len())?;
            let each = scores.chunks_exact(goal.weights.len());
            amounts.extend(each.map(|scores| explained.output - goal.value(scores)));
        }
        explained.baseline = goal.value(&self.scores(vec![0.0; own.len()], 1)?);
        explained.map = Some(HeatMap {
            height,
            width,
            amounts,
        });
        Ok(())
    }

    /// What the network says of prepared rows.
    fn scores(&self, values: Vec<f32>, rows: usize) -> Result<Vec<f64>> {
        let size = values.len() / rows.max(1);
        let shape = &self.bundle.signature.input;
        let mut scores = Vec::new();
        for values in values.chunks(CHUNK * size.max(1)) {
            let rows = values.len() / size.max(1);
            let batch = Batch::new(values.to_vec(), rows, shape, self.device.burn());
            scores.extend(wide(self.network.forward(batch))?);
        }
        Ok(scores)
    }
}

/// The number that is explained: a weighted sum of a network's outputs.
struct Goal {
    of: String,
    unit: String,
    weights: Vec<f64>,
    shift: f64,
}

impl Goal {
    fn of(bundle: &Bundle, scores: &[f64]) -> Self {
        match &bundle.pipeline.target {
            FittedTarget::Classes { labels, .. } => {
                let class = decided(bundle, scores);
                let others = (scores.len() - 1).max(1) as f64;
                let weight = |at: usize| if at == class { 1.0 } else { -1.0 / others };
                Goal {
                    of: labels[class].clone(),
                    unit: match labels.len() {
                        2 => "log-odds".into(),
                        _ => "score above the mean of the other classes".into(),
                    },
                    weights: (0..scores.len()).map(weight).collect(),
                    shift: 0.0,
                }
            }
            FittedTarget::Value {
                name,
                mean,
                scale,
                log,
            } => Goal {
                of: name.clone(),
                unit: match (&bundle.model, log) {
                    // It ranks: its numbers are no ratings.
                    (ModelConfig::Bpr(_), _) => "score".into(),
                    (_, true) => format!("ln(1 + {name})"),
                    (_, false) => name.clone(),
                },
                weights: vec![*scale],
                shift: *mean,
            },
        }
    }

    fn value(&self, scores: &[f64]) -> f64 {
        self.shift + std::iter::zip(scores, &self.weights).map(|(s, w)| s * w).sum::<f64>()
    }

    /// The weight of each input, where a linear layer `[inputs, outputs]` stands before the outputs.
    fn of_weights(&self, layer: &[f64]) -> Vec<f64> {
        let inputs = layer.len() / self.weights.len();
        (0..inputs).map(|input| self.of_weight(layer, input)).collect()
    }

    fn of_weight(&self, layer: &[f64], input: usize) -> f64 {
        let outputs = self.weights.len();
        let own = &layer[input * outputs..][..outputs];
        std::iter::zip(own, &self.weights).map(|(a, b)| a * b).sum()
    }
}

/// The class that is predicted, as the bundle decides.
fn decided(bundle: &Bundle, scores: &[f64]) -> usize {
    let mut shares = scores.to_vec();
    softmax(&mut shares);
    if let Some(calibration) = &bundle.decision.calibration {
        calibration.apply(&mut shares);
    }
    match bundle.decision.threshold {
        Some(threshold) => usize::from(shares[1] >= threshold),
        None => {
            (1..shares.len()).fold(0, |best, at| if shares[at] > shares[best] { at } else { best })
        }
    }
}

/// The prepared numbers of a row whose values are all missing.
fn baseline(bundle: &Bundle) -> Result<Vec<f32>> {
    let schema = bundle.contract.schema(Need::Features);
    let nothing = schema
        .fields()
        .iter()
        .map(|field| new_null_array(field.data_type(), 1));
    let nothing = RecordBatch::try_new(schema.clone(), nothing.collect());
    let row = bundle.pipeline.matrix(&nothing.map_err(tesla_data::Error::from)?)?;
    let row = row.into_iter().map(|v| v as f32).collect();
    Ok(with_added(&bundle.pipeline, row))
}

/// Whether a character is part of a word.
fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '\''
}

/// The different words of a text, in their order and lower case.
fn words(text: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let words = text.split(|c| !in_word(c)).filter(|word| !word.is_empty());
    words
        .map(str::to_lowercase)
        .filter(|word| seen.insert(word.clone()))
        .take(WORDS)
        .collect()
}

/// The text without `word`, which is in lower case.
fn without(text: &str, word: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let is_word = rest.starts_with(in_word);
        let end = rest.find(|c| in_word(c) != is_word).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        if !is_word || piece.to_lowercase() != word {
            out += piece;
        }
        rest = after;
    }
    out
}

/// A value as a text; nothing for one that is missing, or is a picture.
pub fn cell(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) || *column.data_type() == DataType::LargeBinary {
        return String::new();
    }
    if let Some(numbers) = column.as_primitive_opt::<Float64Type>() {
        return numbers.value(row).to_string();
    }
    let text = cast(&column.slice(row, 1), &DataType::Utf8);
    text.map(|text| text.as_string::<i32>().value(0).to_string())
        .unwrap_or_default()
}

/// The rows with another column in the place of one.
///
/// # Errors
/// When it has another length or another kind.
pub fn with_column(rows: &RecordBatch, at: usize, column: ArrayRef) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    columns[at] = column;
    let batch = RecordBatch::try_new(rows.schema(), columns).map_err(tesla_data::Error::from)?;
    Ok(batch)
}

/// The rows of a column in another order, or some of them several times.
///
/// # Errors
/// When a row is not there.
pub fn taken(rows: &RecordBatch, at: usize, order: &[usize]) -> Result<ArrayRef> {
    let order = UInt32Array::from_iter_values(order.iter().map(|row| *row as u32));
    let one = rows.project(&[at]).map_err(tesla_data::Error::from)?;
    let one = take_record_batch(&one, &order).map_err(tesla_data::Error::from)?;
    Ok(one.column(0).clone())
}

/// Numbers of the device in the precision that is summed in.
fn wide<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f64>> {
    Ok(to_host(tensor, "scores")?.into_iter().map(f64::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_taken_out_wherever_it_stands_and_only_whole() {
        assert_eq!(words("Free, don't FREE! freedom"), ["free", "don't", "freedom"]);
        assert_eq!(without("Free, don't FREE! freedom", "free"), ", don't ! freedom");
        assert_eq!(without("", "a"), "");
        assert_eq!(words(" ,, "), Vec::<String>::new());
    }
}
