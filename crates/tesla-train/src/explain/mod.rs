//! Why a model says what it says.
//!
//! * [`importance`] shuffles one column at a time and looks how much worse the predictions become.
//! * [`dependence`] sets one column to a value in all rows and looks where the predictions go.
//! * [`Explainer`] says of single rows what each column, word or part of a picture added.
//! * [`outcomes`] has the truth beside the predictions, from which the worst mistakes come.
//!
//! All of it looks at a [`Sample`]: rows drawn with a seed, so that the time it takes does not grow
//! with the data and the same model and rows give the same numbers. `docs/report.md` says how each is
//! defined.

mod contributions;
mod dependence;
mod importance;
mod outcomes;
mod owners;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tesla_core::Predictor;
use tesla_data::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use tesla_data::arrow::compute::{cast, concat_batches, take_record_batch};
use tesla_data::arrow::datatypes::{DataType, Float64Type};
use tesla_data::{Selection, Target};

use crate::{Error, Result};

pub use contributions::{Contribution, Explained, Explainer, HeatMap, Method};
pub use dependence::{Dependence, dependence};
pub use importance::{Importance, Importances, importance};
pub use outcomes::{Mistake, Outcomes, mistakes, outcomes};

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

    /// At most `most` of these rows: whole groups are no longer kept.
    fn some(&self, most: usize, seed: u64) -> Result<Self> {
        let kept = drawn(self.len(), most, seed);
        let at = UInt32Array::from_iter_values(kept.iter().map(|row| *row as u32));
        Ok(Self {
            batch: take_record_batch(&self.batch, &at).map_err(tesla_data::Error::from)?,
            rows: kept.into_iter().map(|row| self.rows[row]).collect(),
        })
    }
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

/// A value as a text; nothing for one that is missing, or is a picture.
fn cell(column: &ArrayRef, row: usize) -> String {
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
fn with_column(rows: &RecordBatch, at: usize, column: ArrayRef) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    columns[at] = column;
    let batch = RecordBatch::try_new(rows.schema(), columns).map_err(tesla_data::Error::from)?;
    Ok(batch)
}

/// The rows of a column in another order, or some of them several times.
fn taken(rows: &RecordBatch, at: usize, order: &[usize]) -> Result<ArrayRef> {
    let order = Arc::new(UInt32Array::from_iter_values(order.iter().map(|row| *row as u32)));
    let one = rows.project(&[at]).map_err(tesla_data::Error::from)?;
    let one = take_record_batch(&one, &order).map_err(tesla_data::Error::from)?;
    Ok(one.column(0).clone())
}

/// The number of targets.
fn targets(target: &Target) -> usize {
    match target {
        Target::Absent => 0,
        Target::Classes(classes) => classes.len(),
        Target::Values(values) => values.len(),
    }
}
