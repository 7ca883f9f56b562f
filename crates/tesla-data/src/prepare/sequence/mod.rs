//! Windows of rows that follow each other, and targets that lie ahead.

mod config;
mod fill;
mod groups;
mod life;
mod recent;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::arrow::array::RecordBatch;
use crate::arrow::compute::concat_batches;
use crate::contract::{ColumnKind, Contract, Role, column};
use crate::floats::{Floats, FloatsBuilder};
use crate::samples::{Inputs, Samples, SequenceSet, Target};
use crate::{Error, Result, nearest};

pub use config::{RemainingLife, Rolling, RollingStatistic, SequenceConfig};
pub(crate) use groups::Groups;
use groups::KeyColumn;
pub use life::REMAINING_LIFE;
pub(crate) use life::read_numbers;
use recent::Recent;

/// How rows become windows. Nothing of it is learned; it stands with what was, so that prediction
/// builds the windows of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedSequence {
    /// The column that says which rows belong together; all do when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The column that orders the rows of a group; they stand in order when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Rows in a window.
    pub length: usize,
    /// Every so many rows of a group end a training window.
    pub stride: usize,
    /// The target is taken from so many rows later.
    pub horizon: usize,
    /// Numbers as they were so many rows before are added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lags: Vec<usize>,
    /// Statistics over the last rows are added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling: Option<Rolling>,
    /// Whether the figures of the test rows count the last row of each group only.
    #[serde(default)]
    pub evaluate_last: bool,
}

impl FittedSequence {
    /// What `config` asks for of rows that keep `contract`.
    ///
    /// # Errors
    /// When a setting is out of its range, or the contract has not the columns.
    pub(super) fn new(config: &SequenceConfig, contract: &Contract) -> Result<Self> {
        config.check()?;
        let kinds = [ColumnKind::Image, ColumnKind::Text];
        if let Some(rule) = contract.features().find(|rule| kinds.contains(&rule.kind)) {
            return Err(Error::Config(format!(
                "column `{}` holds images or texts, of which no sequences are made: drop it, or remove `[data.sequence]`",
                rule.name
            )));
        }
        let there = |rule: &&crate::ColumnRule| matches!(rule.role, Role::Feature | Role::Key);
        let names: Vec<&str> = contract
            .columns
            .iter()
            .filter(there)
            .map(|rule| rule.name.as_str())
            .collect();
        if let Some(key) = config.keys().find(|key| !names.contains(key)) {
            let near =
                nearest(key, &names).map_or(String::new(), |near| format!(" (is it `{near}`?)"));
            return Err(Error::Config(format!(
                "`data.sequence` builds windows by `{key}`, which is no column that predictions come with{near}: name a column that has values and is not the target"
            )));
        }
        Ok(Self {
            group: config.group.clone(),
            order: config.order.clone(),
            length: config.length,
            stride: config.stride,
            horizon: config.horizon,
            lags: config.lags.clone(),
            rolling: config.rolling.clone(),
            evaluate_last: config.evaluate_last,
        })
    }

    /// The columns of `rows` that windows are built by.
    pub(super) fn keys(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let keys = self.group.iter().chain(&self.order);
        let at = keys
            .map(|name| Ok(column(rows, name)?.0))
            .collect::<Result<Vec<_>>>()?;
        Ok(rows.project(&at)?)
    }

    /// The groups of rows of which `keys` has the columns, batch by batch.
    pub(super) fn groups(
        &self,
        keys: &[RecordBatch],
        place: &dyn Fn(usize) -> String,
    ) -> Result<Groups> {
        let len = keys.iter().map(RecordBatch::num_rows).sum();
        if u32::try_from(len).is_err() {
            let message = format!(
                "{len} rows are more than sequences are made of: expected at most {}",
                u32::MAX
            );
            return Err(Error::Config(message));
        }
        let key = |name: &'_ Option<String>| -> Result<_> {
            let (Some(name), Some(first)) = (name, keys.first()) else {
                return Ok(None);
            };
            let at = column(first, name)?.0;
            let only = keys
                .iter()
                .map(|keys| keys.project(&[at]))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(Some(concat_batches(&only[0].schema(), &only)?.column(0).clone()))
        };
        let group: KeyColumn<'_> = self.group.as_deref().zip(key(&self.group)?);
        let order: KeyColumn<'_> = self.order.as_deref().zip(key(&self.order)?);
        Groups::of(len, &group, &order, place)?.complete(&group, &order, place)
    }

    /// Numbers per row with the ones that are added; `numbers` are the places of those that they
    /// are made of.
    fn width(&self, width: usize, numbers: &[usize]) -> usize {
        let rolling = self.rolling.as_ref().map_or(0, |r| r.rows.len() * r.of.len());
        width + numbers.len() * (self.lags.len() + rolling)
    }

    /// Prepared rows as windows, one for each row: window `i` ends with row `i`. What exceeds `memory`
    /// bytes goes to a file.
    pub(super) fn windows(
        &self,
        rows: Floats,
        groups: &Groups,
        numbers: &[usize],
        memory: usize,
    ) -> Result<SequenceSet> {
        let order = &groups.order;
        let width = self.width(rows.width(), numbers);
        let in_order = order.iter().enumerate().all(|(place, row)| place == *row as usize);
        let rows = match in_order && width == rows.width() {
            true => rows,
            false => self.arrange(&rows, groups, numbers, FloatsBuilder::new(width, memory))?,
        };
        let mut ends = vec![0; order.len()];
        for (place, row) in order.iter().enumerate() {
            ends[*row as usize] = place as u32;
        }
        let starts = groups
            .ranges()
            .flat_map(|group| std::iter::repeat_n(group.start as u32, group.len()));
        Ok(SequenceSet {
            rows,
            starts: starts.collect(),
            order: order.clone(),
            ends,
            length: self.length,
            without_target: 0,
        })
    }

    /// The windows whose last row has its target, every `stride`-th of a group, with the targets of
    /// all rows put beside them.
    pub(super) fn with_targets(
        &self,
        mut windows: SequenceSet,
        groups: &Groups,
        target: &Target,
        stride: usize,
    ) -> Result<Samples> {
        let truths = groups.truths(self.horizon, stride);
        if truths.is_empty() && !groups.order.is_empty() {
            return Err(Error::Config(format!(
                "no row has its target {} rows later in the same group: lower `data.sequence.horizon`",
                self.horizon
            )));
        }
        let without = groups.ranges().map(|group| group.len().min(self.horizon));
        windows.without_target = without.sum();
        windows.ends = truths.iter().map(|[row, _]| windows.ends[*row as usize]).collect();
        Ok(Samples {
            len: truths.len(),
            inputs: Inputs::Sequences(windows),
            target: target.take(truths.iter().map(|[_, row]| *row)),
        })
    }

    /// The rows by group and in order, each with what is added to it.
    fn arrange(
        &self,
        rows: &Floats,
        groups: &Groups,
        numbers: &[usize],
        mut out: FloatsBuilder,
    ) -> Result<Floats> {
        let mut row = Vec::new();
        for group in groups.ranges() {
            let mut recent = Recent::new(self);
            for from in &groups.order[group] {
                row.clear();
                rows.read(*from as usize..*from as usize + 1, &mut row)?;
                recent.push(numbers.iter().map(|at| f64::from(row[*at])).collect());
                recent.add(&mut row);
                out.extend(row.iter().copied())?;
            }
        }
        out.finish()
    }
}
