//! Why a model says what it says.
//!
//! * [`importance`] shuffles one column at a time and looks how much worse the predictions become.
//! * [`dependence`] sets one column to a value in all rows and looks where the predictions go.
//! * [`Explainer`] says of single rows what each column, word or part of a picture added.
//! * [`explanations`] is all of it that a report shows.
//!
//! All of it looks at a [`Sample`]: rows drawn with a seed, so that the time it takes does not grow
//! with the data and the same model and rows give the same numbers. `docs/report.md` says how each is
//! defined.

mod dependence;
mod importance;
mod outcomes;
#[cfg(all(test, feature = "flex"))]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tesla_core::{Bundle, Device, ModelConfig, Predictor};
use tesla_data::arrow::array::{Array, RecordBatch, UInt32Array};
use tesla_data::arrow::compute::{concat_batches, take_record_batch};
use tesla_data::{ColumnKind, Selection, Task};

use crate::{Error, Result};

pub use dependence::{Dependence, dependence};
pub use importance::{Importance, Importances, importance};
use outcomes::loss;
pub use tesla_core::explain::{Contribution, Explained, Explainer, HeatMap, Method, cell};

/// Some rows of a selection as one batch.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The rows, as they stand in the source.
    pub batch: RecordBatch,
    /// The number that each has in the selection, ascending.
    pub rows: Vec<usize>,
}

impl Sample {
    /// About `most` rows, drawn with `seed`. Where windows are made of rows, whole groups, and at least
    /// one.
    ///
    /// # Errors
    /// When the rows cannot be read, or there is none.
    pub fn draw(
        predictor: &Predictor,
        rows: &Selection<'_>,
        most: usize,
        seed: u64,
    ) -> Result<Self> {
        if rows.is_empty() {
            return Err(Error::Config("there is no row to look at".into()));
        }
        let sequence = predictor.bundle().pipeline.sequence.as_ref();
        let wanted = match sequence {
            None => drawn(rows.len(), most, seed),
            Some(sequence) => match &sequence.group {
                None => (0..rows.len().min(most)).collect(),
                Some(group) => groups(&column(rows, group)?, most, seed),
            },
        };
        Self::of(rows, wanted)
    }

    /// The `wanted` rows (ascending) of a selection, and where windows are made of rows the other rows
    /// of their groups.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn around(predictor: &Predictor, rows: &Selection<'_>, wanted: Vec<usize>) -> Result<Self> {
        let Some(sequence) = &predictor.bundle().pipeline.sequence else {
            return Self::of(rows, wanted);
        };
        let Some(group) = &sequence.group else {
            return Self::of(rows, (0..rows.len()).collect());
        };
        let keys = column(rows, group)?;
        let kept: BTreeSet<&str> = wanted.iter().map(|row| keys[*row].as_str()).collect();
        Self::of(
            rows,
            (0..rows.len())
                .filter(|row| kept.contains(keys[*row].as_str()))
                .collect(),
        )
    }

    /// The given rows (ascending) of a selection.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn of(rows: &Selection<'_>, wanted: Vec<usize>) -> Result<Self> {
        let (mut start, mut next) = (0, 0);
        let mut pieces = Vec::new();
        for batch in rows.batches()? {
            let batch = batch?;
            let end = start + batch.num_rows();
            let here = &wanted[next..][..wanted[next..].partition_point(|row| *row < end)];
            if !here.is_empty() || pieces.is_empty() {
                let at = UInt32Array::from_iter_values(here.iter().map(|row| (row - start) as u32));
                pieces.push(take_record_batch(&batch, &at).map_err(tesla_data::Error::from)?);
            }
            (start, next) = (end, next + here.len());
        }
        let Some(first) = pieces.first() else {
            return Err(Error::Config("there is no row to look at".into()));
        };
        Ok(Self {
            batch: concat_batches(&first.schema(), &pieces).map_err(tesla_data::Error::from)?,
            rows: wanted,
        })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows at the given places of this sample.
    ///
    /// # Errors
    /// When Arrow refuses, which memory alone decides.
    pub fn take(&self, places: &[usize]) -> Result<Self> {
        let at = UInt32Array::from_iter_values(places.iter().map(|row| *row as u32));
        Ok(Self {
            batch: take_record_batch(&self.batch, &at).map_err(tesla_data::Error::from)?,
            rows: places.iter().map(|row| self.rows[*row]).collect(),
        })
    }
}

/// What a report says of a model as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanations {
    /// What the columns are worth, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importances: Option<Importances>,
    /// Where the predictions go with the columns that are worth most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependence: Vec<Dependence>,
    /// The words that speak for each class most, or move the number most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Words>,
}

/// Words that speak for a class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Words {
    /// The class, or the target.
    pub of: String,
    /// The rows they are from: those that are predicted as the class.
    pub rows: usize,
    /// Words and what each added, summed over the rows and divided by their number.
    pub words: Vec<(String, f64)>,
}

/// Predictions that shuffling may cost, over all columns and repeats; windows cost more each.
const PREDICTIONS: usize = 200_000;
const WINDOWS: usize = 12_000;
/// The fewest and the most rows that are shuffled, and how often. Of windows fewer do.
const SHUFFLED: std::ops::RangeInclusive<usize> = 200..=1000;
const SHUFFLED_WINDOWS: usize = 100;
const REPEATS: usize = 5;
/// Columns whose dependence is shown, and the rows it is a mean of.
const SHOWN: usize = 6;
const AVERAGED: usize = 200;
/// Texts whose words are looked at, and what is shown of them.
const TEXTS: usize = 100;
const CLASSES: usize = 6;
const WORDS: usize = 10;

/// What a report says of a model, by about a thousand of the given rows at most.
///
/// # Errors
/// When the rows break the contract.
pub fn explanations(
    predictor: &Predictor,
    device: &Device,
    rows: &Selection<'_>,
    seed: u64,
) -> Result<Explanations> {
    let bundle = predictor.bundle();
    let features: Vec<_> = bundle.contract.features().collect();
    let mut found = Explanations::default();
    // What a model that ranks says of a row is no number of anything, and has no error.
    if let ModelConfig::Bpr(_) = bundle.model {
        return Ok(found);
    }
    if features.iter().any(|rule| rule.kind == ColumnKind::Text) {
        found.words = words(bundle, device, &Sample::draw(predictor, rows, TEXTS, seed)?)?;
        return Ok(found);
    }
    if features.iter().any(|rule| rule.kind == ColumnKind::Image) {
        return Ok(found);
    }
    let (most, least) = match bundle.pipeline.sequence {
        Some(_) => (WINDOWS, SHUFFLED_WINDOWS),
        None => (PREDICTIONS, *SHUFFLED.start()),
    };
    let each = most / (REPEATS * features.len().max(1));
    let sample = Sample::draw(predictor, rows, each.clamp(least, *SHUFFLED.end()), seed)?;
    found.importances = importance(predictor, &sample, REPEATS, seed)?;
    // The levels of users and items are names, of which a few say nothing of the rest.
    if bundle.pipeline.interactions.is_some() {
        return Ok(found);
    }
    let averaged = match bundle.pipeline.sequence {
        Some(_) => SHUFFLED_WINDOWS,
        None => AVERAGED,
    };
    let sample = Sample::draw(predictor, rows, averaged, seed)?;
    let ranked: Vec<String> = match &found.importances {
        Some(all) => all.columns.iter().map(|c| c.column.clone()).collect(),
        None => features.iter().map(|rule| rule.name.clone()).collect(),
    };
    for column in ranked.iter().take(SHOWN) {
        found.dependence.extend(dependence(predictor, &sample, column)?);
    }
    Ok(found)
}

/// The words of some texts, by the class that the texts are predicted as. A word of one text only is
/// left out: it tells of a row, not of the model.
fn words(bundle: &Bundle, device: &Device, sample: &Sample) -> Result<Vec<Words>> {
    let place = |row: usize| format!("row {}", row + 1);
    let all: Vec<usize> = (0..sample.len()).collect();
    let explained = Explainer::new(bundle, device)?.explain(&sample.batch, &all, &place)?;
    // By class: its texts, and by word the texts that have it and the sum of what it added.
    type Sums = BTreeMap<String, (usize, f64)>;
    let mut classes: BTreeMap<String, (usize, Sums)> = BTreeMap::new();
    for row in explained {
        let (rows, words) = classes.entry(row.of).or_default();
        *rows += 1;
        for word in row.contributions {
            let (texts, sum) = words.entry(word.name).or_default();
            *texts += 1;
            *sum += word.amount;
        }
    }
    let mut found: Vec<Words> = classes
        .into_iter()
        .map(|(of, (rows, words))| {
            let mut words: Vec<(String, f64)> = words
                .into_iter()
                .filter(|(_, (texts, _))| *texts > 1)
                .map(|(word, (_, sum))| (word, sum / rows as f64))
                .collect();
            match bundle.contract.task {
                Task::Classification => {
                    words.retain(|(_, amount)| *amount > 0.0);
                    words.sort_by(|a, b| b.1.total_cmp(&a.1));
                }
                Task::Regression => words.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs())),
            }
            words.truncate(WORDS);
            Words { of, rows, words }
        })
        .collect();
    found.retain(|words| !words.words.is_empty());
    found.sort_by_key(|words| std::cmp::Reverse(words.rows));
    found.truncate(CLASSES);
    Ok(found)
}

/// `most` of the numbers below `rows`, ascending.
fn drawn(rows: usize, most: usize, seed: u64) -> Vec<usize> {
    if rows <= most {
        return (0..rows).collect();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut all: Vec<usize> = (0..rows).collect();
    let (kept, _) = all.partial_shuffle(&mut rng, most);
    let mut kept = kept.to_vec();
    kept.sort_unstable();
    kept
}

/// The rows of groups, drawn until there are `most`.
fn groups(keys: &[String], most: usize, seed: u64) -> Vec<usize> {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (row, key) in keys.iter().enumerate() {
        let group = *numbers.entry(key).or_insert_with(|| {
            members.push(Vec::new());
            members.len() - 1
        });
        members[group].push(row);
    }
    members.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut rows: Vec<usize> = Vec::new();
    for group in members {
        if !rows.is_empty() && rows.len() + group.len() > most {
            continue;
        }
        rows.extend(group);
    }
    rows.sort_unstable();
    rows
}

/// A column of a selection as texts.
fn column(rows: &Selection<'_>, name: &str) -> Result<Vec<String>> {
    let mut cells = Vec::new();
    for batch in rows.batches()? {
        let batch = batch?;
        if let Some(column) = batch.column_by_name(name) {
            cells.extend((0..column.len()).map(|row| cell(column, row)));
        }
    }
    Ok(cells)
}
