//! What a data set looks like before anybody trains on it: one summary per column, how each
//! column relates to the target, and what is suspicious.
//!
//! Nothing is sampled unless it is said, and a table larger than memory is looked at too: a column
//! at a time is put together, quantiles are found by counting digits, levels and distinct values
//! by 64-bit hashes.

pub(crate) mod cells;
mod images;
mod numbers;
pub(crate) mod relation;
pub(crate) mod warnings;

#[cfg(test)]
mod tests;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::config::{ColumnConfigs, DataConfig};
use crate::contract::{ColumnKind, ColumnRule, Role, Task, survey};
use crate::quarantine::groups;
use crate::{Error, Frame, Result};

use cells::{Cells, Seen};
use relation::Target;

pub use images::Images;
pub use numbers::{Histogram, Numbers};
pub use relation::{Measure, Relation};
pub use warnings::{Warning, WarningKind};

/// What a data set looks like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The source as the user wrote it.
    pub source: String,
    /// Rows that could be read: what every figure below counts.
    pub rows: usize,
    /// Rows that could not be read.
    pub quarantined: usize,
    /// Why, the commonest reasons first.
    pub reasons: Vec<Reason>,
    /// Rows that repeat an earlier row in every column.
    pub duplicates: usize,
    /// The column to predict, when it is known.
    pub target: Option<String>,
    /// The task it asks for.
    pub task: Option<Task>,
    /// What is suspicious, the gravest first.
    pub warnings: Vec<Warning>,
    /// One summary per column, in the order of the source.
    pub columns: Vec<ColumnProfile>,
}

/// Why rows could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// How many rows.
    pub count: usize,
    /// The column at fault, where it is one.
    pub column: Option<String>,
    /// What is wrong with the first of them.
    pub reason: String,
    /// Where the first of them stands.
    pub first: String,
}

/// What one column looks like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnProfile {
    /// The column's name.
    pub name: String,
    /// What it holds, as the contract would infer it.
    pub kind: ColumnKind,
    /// What it is used for, as the contract would infer it.
    pub role: Role,
    /// Why it is not used, when that was inferred.
    pub note: Option<String>,
    /// Rows without a value; NaN and infinities count as missing.
    pub missing: usize,
    /// Distinct values, those missing left out.
    pub distinct: Distinct,
    /// The commonest values; empty where too many are distinct to count each, or none repeats.
    pub top: Vec<Level>,
    /// The numbers of a numeric column.
    pub numbers: Option<Numbers>,
    /// The lengths of texts, in characters.
    pub lengths: Option<Numbers>,
    /// The sizes of images.
    pub images: Option<Images>,
    /// How it relates to the target, where there is a measure for it.
    pub relation: Option<Relation>,
}

/// A number of distinct values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distinct {
    /// How many.
    pub count: usize,
    /// Whether they were counted; if not, the figure is an estimate, good to about 0.2 %.
    pub exact: bool,
}

/// A value and how often it occurs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// The value as text, cut to 80 characters.
    pub value: String,
    /// Its rows.
    pub count: usize,
}

/// Values in [`ColumnProfile::top`].
const TOP: usize = 10;
/// Reasons in [`Profile::reasons`].
const REASONS: usize = 5;

impl ColumnProfile {
    /// The share of rows without a value, in 0..1.
    pub fn missing_share(&self, rows: usize) -> f64 {
        share(self.missing, rows)
    }
}

/// Looks at all rows of `frame`. Kinds, roles and the task are inferred as
/// [`Contract::infer`](crate::Contract::infer) does, but a target need not be known.
///
/// # Errors
/// When no row could be read, or `data` or `columns` name a column that does not exist.
pub fn profile(frame: &Frame, data: &DataConfig, columns: &ColumnConfigs) -> Result<Profile> {
    if let (true, Some(bad)) = (frame.is_empty(), frame.bad().first()) {
        let reason = format!("has no row that can be read: {}", bad.clone().into_error());
        return Err(Error::source(frame.name(), reason));
    }
    let (task, rules) = survey(frame, data, columns)?;
    let target_at = rules.iter().position(|rule| rule.role == Role::Target);
    let answers = target_at.map(|at| Cells::read(frame, at)).transpose()?;
    let target = answers.as_ref().map(|cells| Target::of(cells, task));

    let look = |(at, rule): (usize, ColumnRule)| -> Result<(ColumnProfile, Vec<Warning>)> {
        let cells = Cells::read(frame, at)?;
        let seen = Seen::of(&cells);
        let mut column = describe(&cells, &seen, rule);
        if column.kind == ColumnKind::Image {
            column.images = Some(Images::of(frame.schema().field(at), &cells));
        }
        let mut tells = None;
        if let Some(target) = target.as_ref().filter(|_| Some(at) != target_at) {
            column.relation = relation::relate(&cells, &seen, column.kind, target);
            tells = relation::tells(&cells, &seen, &column, target);
        }
        let found = warnings::of_column(&column, &cells, &seen, tells);
        Ok((column, found))
    };
    let looked: Vec<(ColumnProfile, Vec<Warning>)> =
        rules.into_par_iter().enumerate().map(look).collect::<Result<_>>()?;
    let (columns, found): (Vec<_>, Vec<_>) = looked.into_iter().unzip();

    let reasons = groups(frame.bad()).into_iter().take(REASONS).map(|group| Reason {
        count: group.count,
        column: group.first.column.clone(),
        reason: group.first.reason.clone(),
        first: group.first.place.to_string(),
    });
    let mut profile = Profile {
        source: frame.name().to_string(),
        rows: frame.len(),
        quarantined: frame.bad().len(),
        reasons: reasons.collect(),
        duplicates: cells::duplicates(frame)?,
        target: target_at.map(|at| columns[at].name.clone()),
        task,
        warnings: Vec::new(),
        columns,
    };
    profile.warnings = warnings::of_profile(&profile, target.as_ref(), data.csv.header);
    profile.warnings.extend(found.into_iter().flatten());
    profile.warnings.sort_by_key(|warning| warning.kind);
    Ok(profile)
}

pub(crate) fn describe(cells: &Cells, seen: &Seen, rule: ColumnRule) -> ColumnProfile {
    let mut column = ColumnProfile {
        name: rule.name,
        kind: rule.kind,
        role: rule.role,
        note: rule.note,
        missing: cells.len() - seen.present,
        distinct: seen.distinct,
        top: seen.top(cells, TOP),
        numbers: None,
        lengths: None,
        images: None,
        relation: None,
    };
    match rule.kind {
        ColumnKind::Numeric => column.numbers = Numbers::of(cells.numbers()),
        ColumnKind::Text => {
            let lengths: Vec<f64> = cells.texts().map(|t| t.chars().count() as f64).collect();
            column.lengths = Numbers::of(lengths.iter().copied());
        }
        ColumnKind::Category | ColumnKind::Image | ColumnKind::Time => {}
    }
    column
}

/// A part of a whole, in 0..1; nothing of nothing is 0.
pub(crate) fn share(part: usize, whole: usize) -> f64 {
    match whole {
        0 => 0.0,
        whole => part as f64 / whole as f64,
    }
}
