//! Remaining life: a target that is made of the order of the rows.

use std::path::Path;

use super::groups::{Groups, KeyColumn};
use super::{RemainingLife, SequenceConfig};
use crate::arrow::array::{ArrayRef, Float64Array};
use crate::arrow::compute::cast;
use crate::arrow::datatypes::DataType;
use crate::contract::number;
use crate::frame::downcast;
use crate::{Error, Frame, Result};

/// The name of the target that `remaining_life` makes.
pub const REMAINING_LIFE: &str = "remaining_life";

impl Frame {
    /// The rows with one more column, `remaining_life`, which is missing where group or order are.
    /// `after` says what is left of each group after its last row, in the order in which the groups
    /// appear; nothing when not said. Without `remaining_life` in `sequence` nothing is added.
    ///
    /// # Errors
    /// When a column does not exist, there is one of this name, `order` does not hold numbers, or
    /// `after` has not one number per group.
    pub fn with_remaining_life(
        self,
        sequence: &SequenceConfig,
        after: Option<&[f64]>,
    ) -> Result<Self> {
        let Some(life) = &sequence.remaining_life else {
            return Ok(self);
        };
        if self.schema().column_with_name(REMAINING_LIFE).is_some() {
            return Err(Error::Config(format!(
                "`{}` has a column `{REMAINING_LIFE}` already: make it the `target`, or remove `remaining_life` from `[data.sequence]`",
                self.name()
            )));
        }
        let values = values(&self, sequence, life, after)?;
        self.with_column(REMAINING_LIFE, values)
    }
}

fn values(
    frame: &Frame,
    sequence: &SequenceConfig,
    life: &RemainingLife,
    after: Option<&[f64]>,
) -> Result<Float64Array> {
    let group = sequence.group.as_deref();
    let group = group.zip(group.map(|name| frame.column(name)).transpose()?);
    let order = sequence.order.as_deref();
    let order: KeyColumn<'_> = order.zip(order.map(|name| numbers(frame, name)).transpose()?);
    let groups = Groups::of(frame.len(), &group, &order, &|row| frame.place(row))?;
    let count = groups.starts.len() - 1;
    if let Some(after) = after.filter(|after| after.len() != count) {
        return Err(Error::Config(format!(
            "`data.sequence.remaining_life.after` has {} numbers, but `{}` has {count} groups: expected one number per group",
            after.len(),
            frame.name()
        )));
    }
    let times = order
        .as_ref()
        .map(|(_, values)| downcast::<Float64Array>(values))
        .transpose()?;
    let mut left = vec![None; frame.len()];
    for (number, places) in groups.ranges().enumerate() {
        let Some(end) = places.clone().last() else {
            continue;
        };
        let then = after.map_or(0.0, |after| after[number]);
        for place in places {
            let row = |place: usize| groups.order[place] as usize;
            let until = match times {
                Some(times) => times.value(row(end)) - times.value(row(place)),
                None => (end - place) as f64,
            };
            left[row(place)] = Some((then + until).min(life.cap.unwrap_or(f64::INFINITY)));
        }
    }
    Ok(left.into())
}

fn numbers(frame: &Frame, name: &str) -> Result<ArrayRef> {
    let values = frame.column(name)?;
    match values.data_type().is_numeric() {
        true => Ok(cast(&values, &DataType::Float64)?),
        false => Err(Error::Config(format!(
            "remaining life cannot be counted in column `{name}`, which holds no numbers: number the rows of each group in a column of their own and name it in `data.sequence.order`, or leave `order` out where the rows stand in order"
        ))),
    }
}

/// Reads numbers, one a line.
pub(crate) fn read_numbers(path: &Path) -> Result<Vec<f64>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let numbers = lines.map(|(i, line)| {
        number(line.trim().as_bytes()).ok_or_else(|| Error::Row {
            place: format!("`{}` line {}", path.display(), i + 1),
            reason: format!("`{}` is not a number: expected one a line", line.trim()),
        })
    });
    numbers.collect()
}
