use rayon::prelude::*;

use super::{FittedColumn, FittedPipeline};
use crate::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use crate::contract::column;
use crate::frame::downcast;
use crate::samples::{Floats, Inputs, Samples, Target};
use crate::{Error, Result};

/// Rows on their way through a fitted pipeline, batch by batch. The numbers do not depend on how the
/// rows are cut into batches.
#[derive(Clone)]
pub struct Pass<'a> {
    pipeline: &'a FittedPipeline,
    /// The number of the next row, when the rows are those of training.
    row: Option<usize>,
    /// The last number or name of each column that fills missing values with it.
    last: Vec<Last>,
    /// Of sequences: what is known of the rows to come.
    ahead: Option<Ahead>,
}

/// For each feature that fills missing values in the order of groups its values in all rows to come,
/// filled, and how many of these rows have come.
#[derive(Clone)]
struct Ahead {
    columns: Vec<Option<ArrayRef>>,
    start: usize,
}

#[derive(Clone, Default)]
struct Last {
    number: Option<f64>,
    name: Option<String>,
}

/// A column of one batch: as it came, and with missing values filled from the row before.
struct Column<'a> {
    feature: &'a FittedColumn,
    came: ArrayRef,
    filled: ArrayRef,
}

/// Numbers that a task writes, about: so many stay in the cache of a core.
const TASK: usize = 1 << 15;

impl<'a> Pass<'a> {
    pub(super) fn new(pipeline: &'a FittedPipeline, row: Option<usize>) -> Self {
        Self {
            pipeline,
            row,
            last: vec![Last::default(); pipeline.features.len()],
            ahead: None,
        }
    }

    /// Looks at all rows to come, which conform and are whole groups, where sequences fill missing
    /// values. Otherwise the next rows are taken for whole groups.
    pub(super) fn look_ahead(
        &mut self,
        batches: impl Iterator<Item = Result<RecordBatch>>,
        place: &dyn Fn(usize) -> String,
    ) -> Result<()> {
        let Some(sequence) = &self.pipeline.sequence else {
            return Ok(());
        };
        let asked: Vec<Option<&str>> = self.pipeline.features.iter().map(fills).collect();
        let names: Vec<&str> = asked.iter().copied().flatten().collect();
        if names.is_empty() {
            return Ok(());
        }
        let mut filled = sequence.filled(&names, batches, place)?.into_iter();
        self.ahead = Some(Ahead {
            columns: asked.iter().map(|asked| asked.and_then(|_| filled.next())).collect(),
            start: 0,
        });
        Ok(())
    }

    /// The next rows in full precision, row-major, `[rows, width]`. They must conform to the
    /// contract.
    ///
    /// # Errors
    /// When a column is missing.
    pub fn matrix(&mut self, rows: &RecordBatch) -> Result<Vec<f64>> {
        self.write(rows, |task, out: &mut [f64]| task(out))
    }

    /// The next rows in 32 bits, row-major, `[rows, width]`. They must conform to the contract.
    ///
    /// # Errors
    /// When a column is missing.
    pub fn floats(&mut self, rows: &RecordBatch) -> Result<Vec<f32>> {
        self.write(rows, |task, out: &mut [f32]| {
            let mut wide = vec![0.0; out.len()];
            task(&mut wide)?;
            out.iter_mut().zip(wide).for_each(|(out, value)| *out = value as f32);
            Ok(())
        })
    }

    /// The next rows as samples; see [`FittedPipeline::samples`]. A missing value that is filled from
    /// the row before is filled from the batch before, too.
    ///
    /// # Errors
    /// As [`FittedPipeline::samples`].
    pub fn samples(
        &mut self,
        rows: &RecordBatch,
        place: &(dyn Fn(usize) -> String + Sync),
    ) -> Result<Samples> {
        let pipeline = self.pipeline;
        let inputs = match pipeline.features.as_slice() {
            [FittedColumn::Image(image)] => {
                let (at, field) = column(rows, &image.name)?;
                Inputs::Images(image.transform(field, rows.column(at), place)?)
            }
            [FittedColumn::Text(_), ..] => Inputs::Tokens(pipeline.tokens(rows)?),
            _ => {
                let values = Floats::new(pipeline.width(), self.floats(rows)?);
                match &pipeline.sequence {
                    None => Inputs::Dense(values),
                    Some(sequence) => {
                        let groups = sequence.groups(&[sequence.keys(rows)?], place)?;
                        let numbers = pipeline.numbers();
                        let windows = sequence.windows(values, &groups, &numbers, usize::MAX)?;
                        Inputs::Sequences(windows)
                    }
                }
            }
        };
        let target = match &pipeline.sequence {
            Some(sequence) if sequence.horizon > 0 => Target::Absent,
            _ => pipeline.target_values(rows)?,
        };
        Ok(Samples {
            len: rows.num_rows(),
            inputs,
            target,
        })
    }

    /// Writes the rows in tasks of several; `place` gives a task room for its numbers.
    fn write<T: Default + Clone + Send>(
        &mut self,
        rows: &RecordBatch,
        place: impl Fn(&dyn Fn(&mut [f64]) -> Result<()>, &mut [T]) -> Result<()> + Sync,
    ) -> Result<Vec<T>> {
        let whole = self.ahead.is_none();
        if whole {
            let batch = std::iter::once(Ok(rows.clone()));
            self.look_ahead(batch, &|row| format!("row {}", row + 1))?;
        }
        let columns = self.columns(rows)?;
        if whole {
            self.ahead = None;
        }
        let width = self.pipeline.width();
        let mut out = vec![T::default(); rows.num_rows() * width];
        let many = (TASK / width.max(1)).clamp(64, 4096);
        let first_row = self.row;
        let pipeline = self.pipeline;
        let part = |(i, out): (usize, &mut [T])| {
            let start = i * many;
            let row = first_row.map(|row| row + start);
            place(&|out| write_rows(pipeline, &columns, start, row, out), out)
        };
        match rows.num_rows() > many {
            true => out
                .par_chunks_mut(many * width.max(1))
                .enumerate()
                .try_for_each(part)?,
            false => part((0, &mut out))?,
        }
        self.row = self.row.map(|row| row + rows.num_rows());
        Ok(out)
    }

    fn columns(&mut self, rows: &RecordBatch) -> Result<Vec<Column<'a>>> {
        let ahead = self.ahead.as_ref();
        let features = self.pipeline.features.iter().zip(&mut self.last).enumerate();
        let columns = features.map(|(i, (feature, last))| {
            let fields = rows.schema_ref().fields();
            // Nearly always the columns stand in the order of the features.
            let at = match fields.get(i) {
                Some(field) if field.name() == feature.name() => i,
                _ => column(rows, feature.name())?.0,
            };
            let came = rows.column(at).clone();
            let by_group = ahead.and_then(|ahead| Some((ahead.columns[i].as_ref()?, ahead.start)));
            let filled = match (feature, by_group) {
                (_, Some((all, start))) => all.slice(start, rows.num_rows()),
                (FittedColumn::Numeric(f), _) if f.forward_fill => {
                    f.filled(&came, &mut last.number)?
                }
                (FittedColumn::Category(f), _) if f.forward_fill => {
                    f.filled(&came, &mut last.name)?
                }
                _ => came.clone(),
            };
            Ok(Column {
                feature,
                came,
                filled,
            })
        });
        let columns = columns.collect();
        if let Some(ahead) = &mut self.ahead {
            ahead.start += rows.num_rows();
        }
        columns
    }
}

/// The column, where it fills missing values from rows before.
fn fills(feature: &FittedColumn) -> Option<&str> {
    let fills = match feature {
        FittedColumn::Numeric(f) => f.forward_fill,
        FittedColumn::Category(f) => f.forward_fill,
        _ => false,
    };
    fills.then(|| feature.name())
}

/// Writes rows from `start` on, as many as `out` has room for; it holds zeros. `row` is the number
/// of the first among the training rows.
fn write_rows(
    pipeline: &FittedPipeline,
    columns: &[Column<'_>],
    start: usize,
    row: Option<usize>,
    out: &mut [f64],
) -> Result<()> {
    let width = pipeline.width();
    let rows = out.len() / width.max(1);
    let mut at = 0;
    for Column {
        feature,
        came,
        filled,
    } in columns
    {
        match feature {
            FittedColumn::Numeric(f) => {
                let values = downcast::<Float64Array>(filled)?.slice(start, rows);
                let came = downcast::<Float64Array>(came)?.slice(start, rows);
                f.transform(&values, &came, out, width, at);
            }
            FittedColumn::Category(f) => {
                let values = downcast::<StringArray>(filled)?.slice(start, rows);
                f.transform(&values, row, out, width, at);
            }
            FittedColumn::Time(f) => {
                let values = downcast::<Float64Array>(filled)?.slice(start, rows);
                f.transform(&values, out, width, at);
            }
            FittedColumn::Custom(f) => f.transform(&filled.slice(start, rows), out, width, at)?,
            other => {
                let message = format!("column `{}` holds images or texts", other.name());
                return Err(Error::Config(message));
            }
        }
        at += feature.width();
    }
    if !pipeline.products.is_empty() {
        for row in out.chunks_exact_mut(width) {
            let (values, products) = row.split_at_mut(at);
            for (product, factors) in products.iter_mut().zip(&pipeline.products) {
                *product = factors.iter().map(|at| values[*at]).product();
            }
        }
    }
    Ok(())
}
