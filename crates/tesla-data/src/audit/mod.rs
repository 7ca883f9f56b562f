//! The leak auditor: what would make the final figures too good to be true, looked for before
//! training.
//!
//! Repeats between parts, groups and times that parts share, and features that tell the target.
//! A finding that must not pass unseen has [`Severity::Stop`]; it is accepted by name in `[audit]`.

mod parts;
mod repeats;
mod tells;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::{AuditConfig, AuditLevel, ColumnConfigs, DataConfig};
use crate::error::list;
use crate::{Contract, Dataset, Error, Result, Split, nearest};

use parts::Parts;

/// Something that may make figures too good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// Whether training should go on.
    pub severity: Severity,
    /// The column, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What was found, how much of it, and an example.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

/// Whether training should go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// No: the figures would not mean what they say.
    Stop,
    /// Yes, once somebody has read it.
    Warn,
}

/// The kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Rows with the same features are in two parts.
    RepeatedRows,
    /// Texts are in two parts, but for case and surrounding blanks.
    RepeatedTexts,
    /// Images are in two parts, byte for byte.
    RepeatedImages,
    /// A group is in two parts.
    SharedGroups,
    /// Rows to test on are older than rows to train on.
    TimeOverlap,
    /// Missing values are filled from the row before, but rows do not follow each other in time.
    RowOrder,
    /// A column is read as names or texts for the sake of a few values that are no numbers.
    MostlyNumbers,
    /// A text holds what looks like rows of its own file, which a lone quote would join.
    JoinedRows,
    /// A feature alone tells the target.
    TellsTarget,
    /// A value of a feature tells that a row is of a rare class.
    GivesAway,
    /// A feature looks like its neighbours that give the target away.
    Sibling,
    /// A feature numbers or names the rows.
    IdLike,
}

impl FindingKind {
    const ALL: [Self; 12] = [
        Self::RepeatedRows,
        Self::RepeatedTexts,
        Self::RepeatedImages,
        Self::SharedGroups,
        Self::TimeOverlap,
        Self::RowOrder,
        Self::MostlyNumbers,
        Self::JoinedRows,
        Self::TellsTarget,
        Self::GivesAway,
        Self::Sibling,
        Self::IdLike,
    ];

    /// The word for it in `accept`.
    pub fn name(self) -> &'static str {
        match self {
            Self::RepeatedRows => "repeated_rows",
            Self::RepeatedTexts => "repeated_texts",
            Self::RepeatedImages => "repeated_images",
            Self::SharedGroups => "shared_groups",
            Self::TimeOverlap => "time_overlap",
            Self::RowOrder => "row_order",
            Self::MostlyNumbers => "mostly_numbers",
            Self::JoinedRows => "joined_rows",
            Self::TellsTarget => "tells_target",
            Self::GivesAway => "gives_away",
            Self::Sibling => "sibling",
            Self::IdLike => "id_like",
        }
    }
}

impl Finding {
    /// What `accept` in `[audit]` must hold for the finding to be accepted.
    pub fn key(&self) -> String {
        match &self.column {
            Some(column) => format!("{}:{column}", self.kind.name()),
            None => self.kind.name().to_string(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, fix, .. } = self;
        write!(f, "{message}: {fix}, or say `accept = [\"{}\"]` in `[audit]`", self.key())
    }
}

/// Looks at settled rows and how they are divided. Features are judged by the training rows alone.
/// `said` and `columns` are what the run says of its data. What `config` accepts is left out; the gravest findings come first.
///
/// # Errors
/// When a configured column or an accepted kind does not exist, or rows cannot be read.
pub fn audit(
    data: &Dataset,
    contract: &Contract,
    split: &Split,
    config: &AuditConfig,
    said: &DataConfig,
    columns: &ColumnConfigs,
) -> Result<Vec<Finding>> {
    check(config)?;
    if config.level == AuditLevel::Off {
        return Ok(Vec::new());
    }
    let parts = Parts::of(data, split);
    let mut found = repeats::repeats(&parts, contract)?;
    let divided = &said.split;
    found.extend(parts::shared_groups(&parts, contract, split, config, divided)?);
    found.extend(parts::time_overlap(&parts, split, config, divided)?);
    // Windows have an order of their own, which filling goes by.
    if said.sequence.is_none() {
        found.extend(parts::row_order(&parts, contract, config, divided, columns)?);
    }
    found.extend(parts::mostly_numbers(&parts, contract, columns)?);
    found.extend(parts::joined_rows(&parts, contract)?);
    found.extend(tells::tells(&parts, contract)?);
    found.retain(|finding| !config.accept.contains(&finding.key()));
    if config.level == AuditLevel::Warn {
        found.iter_mut().for_each(|finding| finding.severity = Severity::Warn);
    }
    found.sort_by_key(|finding| finding.severity);
    Ok(found)
}

/// A misspelt kind would accept nothing, in silence.
fn check(config: &AuditConfig) -> Result<()> {
    let kinds = FindingKind::ALL.map(|kind| kind.name().to_string());
    for accepted in &config.accept {
        let kind = accepted.split(':').next().unwrap_or_default();
        if !kinds.iter().any(|known| known == kind) {
            let near = nearest(kind, &kinds)
                .map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
            return Err(Error::Config(format!(
                "`{kind}` in `audit.accept` is no kind of finding{near}: expected one of {}, then `:` and a column where one is at fault",
                list(&kinds)
            )));
        }
    }
    Ok(())
}
