//! Rows that cannot be used, and why: nothing is lost in silence.

use std::fmt;

use serde::Serialize;

use crate::Error;

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
    /// The value at fault, cut to [`BadRow::SHOWN`] characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What is wrong and what would be valid.
    pub reason: String,
}

impl BadRow {
    /// Characters of a value that are kept.
    pub const SHOWN: usize = 200;

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
