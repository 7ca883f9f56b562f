use super::{FittedSequence, Groups};
use crate::Result;
use crate::arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use crate::contract::column;

impl FittedSequence {
    /// The columns `names` of rows that come in batches and conform: a missing value becomes the last
    /// one before it in the same group, in the group's order. It stays missing where there is none.
    pub(in crate::prepare) fn filled(
        &self,
        names: &[&str],
        batches: impl Iterator<Item = Result<RecordBatch>>,
        place: &dyn Fn(usize) -> String,
    ) -> Result<Vec<ArrayRef>> {
        let mut keys = Vec::new();
        let mut pieces: Vec<Vec<ArrayRef>> = vec![Vec::new(); names.len()];
        for batch in batches {
            let batch = batch?;
            keys.push(self.keys(&batch)?);
            for (name, pieces) in std::iter::zip(names, &mut pieces) {
                pieces.push(batch.column(column(&batch, name)?.0).clone());
            }
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let groups = self.groups(&keys, place)?;
        let fill = |pieces: Vec<ArrayRef>| {
            let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            let values = arrow_select::concat::concat(&pieces)?;
            Ok(arrow_select::take::take(&values, &sources(&values, &groups), None)?)
        };
        pieces.into_iter().map(fill).collect()
    }
}

/// The row that each row has its value from.
fn sources(values: &ArrayRef, groups: &Groups) -> UInt32Array {
    let mut from: Vec<Option<u32>> = vec![None; values.len()];
    for group in groups.ranges() {
        let mut last = None;
        for row in &groups.order[group] {
            if values.is_valid(*row as usize) {
                last = Some(*row);
            }
            from[*row as usize] = last;
        }
    }
    from.into()
}
