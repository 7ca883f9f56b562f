use std::collections::BTreeMap;

use super::numeric::{Values, bounds};
use crate::arrow::array::Float64Array;
use crate::config::{Bounds, ColumnConfigs};
use crate::contract::{Breach, ColumnKind, Contract, Need, Role, column};
use crate::frame::downcast;
use crate::{BadRow, Error, Result, Selection};

/// The training rows but those with an outlier in a column that says `remove_outliers`, and a list
/// of the rows that are left out. The bounds of every column are learned from all rows of `train`,
/// so that the order of columns makes no difference. A missing value is no outlier.
///
/// For training rows only: what is predicted or judged is never left out.
///
/// # Errors
/// When a column that says so holds no numbers, or no row would be left.
pub fn without_outliers<'a>(
    train: &Selection<'a>,
    contract: &Contract,
    columns: &ColumnConfigs,
) -> Result<(Selection<'a>, Vec<BadRow>)> {
    let frame = train.frame();
    let mut asked: Vec<(&str, Bounds)> = Vec::new();
    for rule in contract.columns.iter().filter(|rule| rule.role != Role::Unused) {
        let Some(by) = columns.get(&rule.name).and_then(|config| config.remove_outliers) else {
            continue;
        };
        if rule.kind != ColumnKind::Numeric {
            return Err(Error::Config(format!(
                "column `{}`: `remove_outliers` does not apply to its kind: expected a number",
                rule.name
            )));
        }
        by.check(&rule.name, "remove_outliers")?;
        asked.push((&rule.name, by));
    }
    let all: Vec<u32> = (0..train.len()).map(|at| train.row(at) as u32).collect();
    if asked.is_empty() {
        return Ok((frame.select(all), Vec::new()));
    }

    let mut start = 0;
    let mut seen: Vec<Values> = asked.iter().map(|_| Values::new(asked.len())).collect();
    for batch in train.batches()? {
        let place = |row: usize| train.place(start + row);
        let rows = contract.conform(&batch?, Need::Target, &place)?;
        for ((name, _), seen) in std::iter::zip(&asked, &mut seen) {
            let values = downcast::<Float64Array>(rows.column(column(&rows, name)?.0))?;
            values.iter().flatten().for_each(|value| seen.push(value));
        }
        start += rows.num_rows();
    }
    let learned: Vec<[f64; 2]> = std::iter::zip(&asked, seen)
        .map(|((_, by), values)| bounds(*by, &values.sort()))
        .collect();

    let mut start = 0;
    let mut outliers: BTreeMap<usize, Breach> = BTreeMap::new();
    for batch in train.batches()? {
        let place = |row: usize| train.place(start + row);
        let rows = contract.conform(&batch?, Need::Target, &place)?;
        for ((name, _), [low, high]) in std::iter::zip(&asked, &learned) {
            let values = downcast::<Float64Array>(rows.column(column(&rows, name)?.0))?;
            for (row, value) in values.iter().enumerate() {
                let Some(value) = value.filter(|v| v < low || v > high) else {
                    continue;
                };
                let row = all[start + row] as usize;
                outliers.entry(row).or_insert_with(|| Breach {
                    row,
                    column: name.to_string(),
                    value: Some(value.to_string()),
                    reason: format!(
                        "{value} is an outlier among the training rows, beyond {low} to {high}: left out, as `remove_outliers` says"
                    ),
                    spoils_row: true,
                });
            }
        }
        start += rows.num_rows();
    }
    let kept: Vec<u32> = all
        .into_iter()
        .filter(|row| !outliers.contains_key(&(*row as usize)))
        .collect();
    if kept.is_empty() {
        let message = "`remove_outliers` leaves no training row: widen its bounds";
        return Err(Error::Config(message.into()));
    }
    Ok((frame.select(kept), frame.bad_rows(outliers)))
}
