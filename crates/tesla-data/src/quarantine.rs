//! Rows that cannot be used, and why: nothing is lost in silence.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What happens to rows that cannot be read or that break the contract.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BadPolicy {
    /// What happens to one.
    pub on_bad: OnBad,
    /// The largest share of rows, in 0..1, that may be quarantined.
    pub max_bad: f64,
    /// What happens to rows that repeat an earlier one.
    pub duplicates: Duplicates,
}

impl Default for BadPolicy {
    fn default() -> Self {
        Self {
            on_bad: OnBad::Quarantine,
            max_bad: 0.01,
            duplicates: Duplicates::Keep,
        }
    }
}

/// What happens to a row that cannot be read or that breaks the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBad {
    /// It is set apart and listed in the run's `quarantine.jsonl`.
    Quarantine,
    /// It ends the run.
    Fail,
    /// A feature's value that is no number where numbers are expected, or that breaks the contract
    /// otherwise, becomes missing, and its row is listed in the run's `nulled.jsonl`. A row that
    /// cannot be read at all, or whose target is missing or at fault, is set apart: no row is kept
    /// without a target.
    Null,
}

/// What happens to a row that repeats an earlier one in target and every feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// It counts like any other.
    Keep,
    /// It is left out, and listed in the run's `quarantine.jsonl`. It does not count against
    /// `max_bad`.
    Drop,
}

impl BadPolicy {
    /// Whether a run may go on with `kept` rows and without the bad ones, none of which repeats
    /// another.
    pub(crate) fn check(&self, source: &str, bad: &[BadRow], kept: usize) -> Result<()> {
        let (count, total) = (bad.len(), bad.len() + kept);
        match bad {
            [] => Ok(()),
            [first, ..] if self.on_bad == OnBad::Fail => Err(first.clone().into_error()),
            _ if kept > 0 && count as f64 <= self.max_bad * total as f64 => Ok(()),
            [only] if kept == 0 => Err(only.clone().into_error()),
            _ => Err(self.refuse(source, bad, kept)),
        }
    }

    /// The error for more bad rows than are allowed.
    pub(crate) fn refuse(&self, source: &str, bad: &[BadRow], kept: usize) -> Error {
        Error::TooManyBad {
            name: source.into(),
            bad: bad.len(),
            total: bad.len() + kept,
            max_bad: self.max_bad,
            reasons: commonest(bad),
        }
    }
}

/// A reason that rows are bad for.
pub(crate) struct Group<'a> {
    /// How many rows have it.
    pub(crate) count: usize,
    /// The first of them.
    pub(crate) first: &'a BadRow,
}

/// Bad rows by reason, the commonest first.
pub(crate) fn groups(bad: &[BadRow]) -> Vec<Group<'_>> {
    // Values differ from row to row; what stands between the backticks is no part of the reason.
    let kind = |bad: &BadRow| {
        let outside = bad.reason.split('`').step_by(2);
        (bad.column.clone(), outside.collect::<String>())
    };
    let mut groups: Vec<((Option<String>, String), Group<'_>)> = Vec::new();
    for row in bad {
        let kind = kind(row);
        match groups.iter_mut().find(|(k, _)| *k == kind) {
            Some((_, group)) => group.count += 1,
            None => groups.push((
                kind,
                Group {
                    count: 1,
                    first: row,
                },
            )),
        }
    }
    let mut groups: Vec<Group<'_>> = groups.into_iter().map(|(_, group)| group).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}

/// The three commonest reasons, with how often and where first.
pub fn commonest(bad: &[BadRow]) -> String {
    let reasons = groups(bad).into_iter().take(3).map(|Group { count, first }| {
        let column = match &first.column {
            Some(column) => format!("column `{column}`: "),
            None => String::new(),
        };
        let place = match (first.place.line, first.place.row) {
            (Some(line), _) => format!("line {line}"),
            (None, Some(row)) => format!("row {row}"),
            (None, None) => format!("`{}`", first.place.source),
        };
        match count {
            1 => format!("{column}{} ({place})", first.reason),
            _ => format!("{count} times {column}{} (first in {place})", first.reason),
        }
    });
    reasons.collect::<Vec<_>>().join("; ")
}

/// How the reason of a duplicate begins; what follows stands in backticks, so that duplicates have
/// one reason however many rows they repeat.
const REPEATS: &str = "repeats `";

/// Where a row stands in its source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file (or table, or address) without directories.
    pub source: String,
    /// The line, counted from 1, where the source has lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The row, counted from 1, where the source has rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
}

impl Place {
    /// A line of a source, counted from 1.
    pub fn line(source: &str, line: u64) -> Self {
        Self {
            source: source.into(),
            line: Some(line),
            row: None,
        }
    }

    /// The row with the zero-based number `row`.
    pub fn row(source: &str, row: usize) -> Self {
        Self {
            source: source.into(),
            line: None,
            row: Some(row as u64 + 1),
        }
    }

    /// A source that is one row, such as an image file.
    pub fn whole(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            ..Self::default()
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.source)?;
        match (self.line, self.row) {
            (Some(line), _) => write!(f, " line {line}"),
            (None, Some(row)) => write!(f, " row {row}"),
            (None, None) => Ok(()),
        }
    }
}

/// A row that could not be read or that breaks the contract: one line of `quarantine.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadRow {
    /// Where it stands.
    #[serde(flatten)]
    pub place: Place,
    /// Its zero-based number among all rows of the source, good and bad.
    #[serde(skip)]
    pub number: usize,
    /// The column at fault, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The value at fault, cut to [`BadRow::SHOWN`] characters; where it is no one column, the row as
    /// it stands in the source, cut to [`BadRow::SHOWN_ROW`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What is wrong and what would be valid.
    pub reason: String,
}

impl BadRow {
    /// Characters of a value that are kept.
    pub const SHOWN: usize = 200;

    /// Characters of a row that are kept.
    pub const SHOWN_ROW: usize = 1000;

    /// The row `number` at `place`, which repeats the one at `first`.
    pub(crate) fn repeat(number: usize, place: Place, first: &Place) -> Self {
        let first = match (first.line, first.row) {
            (Some(line), _) => format!("line {line}"),
            (None, Some(row)) => format!("row {row}"),
            (None, None) => first.source.clone(),
        };
        Self {
            place,
            number,
            column: None,
            value: None,
            reason: format!("{REPEATS}{first}`"),
        }
    }

    /// Whether the row was left out because it repeats an earlier one.
    pub fn is_repeat(&self) -> bool {
        self.column.is_none() && self.reason.starts_with(REPEATS)
    }

    /// The row as the error that ends a run.
    pub fn into_error(self) -> Error {
        let place = self.place.to_string();
        match self.column {
            Some(column) => Error::value(place, column, self.reason),
            None => Error::Row {
                place,
                reason: self.reason,
            },
        }
    }
}
