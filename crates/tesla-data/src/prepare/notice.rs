use serde::{Deserialize, Serialize};

use super::{FittedColumn, FittedPipeline};
use crate::Result;
use crate::arrow::array::{Array, Float64Array, RecordBatch, StringArray};
use crate::contract::column;
use crate::frame::downcast;

/// What is unusual about one column of some rows, beside the rows that the pipeline was fitted on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnNotice {
    /// The column's name.
    pub column: String,
    /// The rows that were looked at.
    pub rows: u64,
    /// Rows without a value.
    pub missing: u64,
    /// Rows with a category that training did not have, or had in too few rows (`min_count`).
    /// Always 0 with `encode = "hash"`, which stores no level.
    pub unknown: u64,
    /// Rows with a number or a time beyond those of the training rows.
    pub out_of_range: u64,
}

impl ColumnNotice {
    /// Adds the counts of other rows of the same column.
    pub fn merge(&mut self, other: &ColumnNotice) {
        self.rows += other.rows;
        self.missing += other.missing;
        self.unknown += other.unknown;
        self.out_of_range += other.out_of_range;
    }
}

impl FittedPipeline {
    /// Counts what is unusual in rows that conform to the contract, feature by feature in their
    /// order: the counts of several batches add up by [`ColumnNotice::merge`]. One look at each
    /// value; nothing is prepared.
    ///
    /// # Errors
    /// When a column is missing.
    pub fn notice(&self, rows: &RecordBatch) -> Result<Vec<ColumnNotice>> {
        let notice = |feature: &FittedColumn| {
            let (at, _) = column(rows, feature.name())?;
            let values = rows.column(at);
            let mut notice = ColumnNotice {
                column: feature.name().to_string(),
                rows: values.len() as u64,
                missing: values.null_count() as u64,
                ..Default::default()
            };
            match feature {
                FittedColumn::Numeric(f) => {
                    let values = downcast::<Float64Array>(values)?;
                    notice.out_of_range = beyond(values, f.range);
                }
                FittedColumn::Category(f) => {
                    let values = downcast::<StringArray>(values)?;
                    let unknown = values.iter().flatten().filter(|value| f.is_unknown(value));
                    notice.unknown = unknown.count() as u64;
                }
                FittedColumn::Time(f) => {
                    let values = downcast::<Float64Array>(values)?;
                    notice.out_of_range = beyond(values, f.range);
                }
                FittedColumn::Image(_) | FittedColumn::Text(_) | FittedColumn::Custom(_) => {}
            }
            Ok(notice)
        };
        self.features.iter().map(notice).collect()
    }
}

/// The values that are not within `range`.
fn beyond(values: &Float64Array, range: Option<[f64; 2]>) -> u64 {
    let Some([low, high]) = range else {
        return 0;
    };
    let beyond = values.iter().flatten().filter(|v| *v < low || *v > high);
    beyond.count() as u64
}
