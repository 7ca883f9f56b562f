use std::collections::HashMap;

use crate::arrow::array::{Array, ArrayRef};
use crate::error::Error;
use crate::frame::as_strings;
use crate::split::{Key, times};
use crate::{Frame, Result};

/// Rows by group and, inside each, in order. Groups stand in the order in which they appear; equals
/// keep theirs.
#[derive(Debug)]
pub(crate) struct Groups {
    /// The row at each place.
    pub(crate) order: Vec<u32>,
    /// Where each group starts, and behind the last the end.
    pub(crate) starts: Vec<u32>,
    /// Rows that are in no group, or at no place in it, since a value is missing.
    pub(crate) missing: Vec<u32>,
}

/// A column that rows are grouped or ordered by: its name and values.
pub(crate) type KeyColumn<'a> = Option<(&'a str, ArrayRef)>;

impl Groups {
    /// `place` names a row in a message.
    ///
    /// # Errors
    /// When `order` holds neither numbers nor dates.
    pub(crate) fn of(
        len: usize,
        group: &KeyColumn<'_>,
        order: &KeyColumn<'_>,
        place: &dyn Fn(usize) -> String,
    ) -> Result<Self> {
        let names = group.as_ref().map(|(_, values)| as_strings(values)).transpose()?;
        let key = |(name, values)| Key {
            name,
            values,
            place,
        };
        let times = order
            .as_ref()
            .map(|(name, values)| times(key((*name, values))))
            .transpose()?;
        let mut ids: HashMap<&str, u32> = HashMap::new();
        let mut group_of = vec![0; len];
        if let Some(names) = &names {
            for (id, name) in group_of.iter_mut().zip(names) {
                let next = ids.len() as u32;
                *id = name.map_or(0, |name| *ids.entry(name).or_insert(next));
            }
        }
        let is_missing = |row: &u32| {
            let row = *row as usize;
            names.as_ref().is_some_and(|names| names.is_null(row))
                || times.as_ref().is_some_and(|times| times[row].is_none())
        };
        let (missing, mut order): (Vec<u32>, Vec<u32>) = (0..len as u32).partition(is_missing);
        order.sort_by_key(|row| {
            let row = *row as usize;
            (group_of[row], times.as_ref().and_then(|times| times[row]))
        });
        let group_at = |place: usize| group_of[order[place] as usize];
        let is_start = |place: &usize| *place == 0 || group_at(place - 1) != group_at(*place);
        let starts = (0..order.len()).filter(is_start).map(|place| place as u32);
        let starts = starts.chain([order.len() as u32]).collect();
        Ok(Self {
            order,
            starts,
            missing,
        })
    }

    /// The rows of a frame, which must all have a group and a place in it.
    ///
    /// # Errors
    /// When a column does not exist, a value is missing, or `order` holds neither numbers nor dates.
    pub(crate) fn of_frame(
        frame: &Frame,
        group: Option<&str>,
        order: Option<&str>,
    ) -> Result<Self> {
        let column = |name: Option<&'_ str>| -> Result<Option<ArrayRef>> {
            name.map(|name| frame.key_column(name)).transpose()
        };
        let (group, order) = (group.zip(column(group)?), order.zip(column(order)?));
        let place = |row: usize| frame.place(row);
        Self::of(frame.len(), &group, &order, &place)?.complete(&group, &order, &place)
    }

    /// Itself, once every row is in a group.
    pub(crate) fn complete(
        self,
        group: &KeyColumn<'_>,
        order: &KeyColumn<'_>,
        place: &dyn Fn(usize) -> String,
    ) -> Result<Self> {
        let Some(row) = self.missing.first().map(|row| *row as usize) else {
            return Ok(self);
        };
        let has_none = |key: &KeyColumn<'_>| key.as_ref().is_some_and(|(_, v)| v.is_null(row));
        let column = if has_none(group) { group } else { order };
        let name = column.as_ref().map_or("", |(name, _)| *name);
        let reason = "the value is missing: windows are built by this column (`data.sequence`), so fill it in or remove the row";
        Err(Error::value(place(row), name, reason))
    }

    /// Each group's places.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.starts.windows(2).map(|ends| ends[0] as usize..ends[1] as usize)
    }

    /// The rows that have a row `horizon` later, each with that one, ascending: of each group every
    /// `stride`-th, the last of them always.
    pub(crate) fn truths(&self, horizon: usize, stride: usize) -> Vec<[u32; 2]> {
        let mut truths = Vec::new();
        for group in self.ranges() {
            let rows = &self.order[group];
            let have = rows.len().saturating_sub(horizon);
            let chosen = (0..have).filter(|at| (have - 1 - at).is_multiple_of(stride));
            truths.extend(chosen.map(|at| [rows[at], rows[at + horizon]]));
        }
        truths.sort_unstable();
        truths
    }

    /// The last row of each group, ascending.
    pub(crate) fn last(&self) -> Vec<u32> {
        let mut rows: Vec<u32> = self
            .ranges()
            .filter_map(|g| self.order.get(g)?.last().copied())
            .collect();
        rows.sort_unstable();
        rows
    }
}
