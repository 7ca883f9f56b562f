//! How rows are divided, and what the auditor does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How rows are divided into train, validation and test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SplitConfig {
    /// Stratified by class where the target is a class, random where it is a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<SplitBy>,
    /// The column that `group`, `time`, `column` and `hash` go by. It is no feature unless
    /// `[columns]` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The column of users that `user_ratio`, `user_time` and `leave_one_out` go by. Default: `user`
    /// in `[data.interactions]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The column of times, numbers or ISO dates, that `user_time` and `leave_one_out` go by.
    /// Default: `time` in `[data.interactions]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Share of all rows used for early stopping and tuning, in 0..1.
    pub valid: f64,
    /// Share of all rows kept for the final figures, in 0..1.
    pub test: f64,
    /// A text file of zero-based row numbers, one a line: the test rows (`by = "rows"`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_rows: Option<String>,
    /// The `split.json` of an earlier run, which is repeated (`by = "file"`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self {
            by: None,
            column: None,
            user: None,
            time: None,
            valid: 0.1,
            test: 0.2,
            test_rows: None,
            file: None,
        }
    }
}

/// The rule that divides rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SplitBy {
    /// Shuffle, then cut.
    Random,
    /// Shuffle within each class, so that every part has the classes in the same proportion.
    Stratified,
    /// Rows with the same value of `column` stay together: patients, users, machines.
    Group,
    /// The earliest rows teach, later ones tune, the latest judge. `column` holds numbers or ISO
    /// dates such as `2024-01-31` or `2024-01-31T12:00:00Z`; rows of one time stay together.
    Time,
    /// `column` says `train`, `valid` or `test`.
    Column,
    /// A hash of `column` decides, whatever the seed and the other rows: the first eight bytes of
    /// the SHA-256 of its text, as a big-endian number over 2^64, are below `test`, below
    /// `test + valid`, or not. A row keeps its part when the table grows.
    Hash,
    /// Shuffle the rows of each `user`, then cut: every user with enough rows is in every part.
    UserRatio,
    /// Of each `user` the earliest rows teach, later ones tune, the latest judge; rows of one `time`
    /// are in the order in which they stand.
    UserTime,
    /// Of each `user` the last row by `time` judges and the one before tunes, where their shares are
    /// above 0; without a `time`, rows drawn at random. Users of one row teach, of two also judge.
    LeaveOneOut,
    /// The test rows are listed in a file; validation rows are drawn from the rest.
    Rows,
    /// The parts are those of an earlier run.
    File,
}

impl SplitBy {
    /// The word for it in `tesla.toml`.
    pub fn name(self) -> &'static str {
        match self {
            SplitBy::Random => "random",
            SplitBy::Stratified => "stratified",
            SplitBy::Group => "group",
            SplitBy::Time => "time",
            SplitBy::Column => "column",
            SplitBy::Hash => "hash",
            SplitBy::UserRatio => "user_ratio",
            SplitBy::UserTime => "user_time",
            SplitBy::LeaveOneOut => "leave_one_out",
            SplitBy::Rows => "rows",
            SplitBy::File => "file",
        }
    }
}

/// `[audit]`: what is looked for before training, and what is known and accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Whether a grave finding ends the run. Default: `stop`.
    pub level: AuditLevel,
    /// Findings that are known: `"KIND:COLUMN"`, or `"KIND"` where no column is at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<String>,
    /// A column whose values must not be in two parts. Default: `split.column` of `by = "group"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// A column of times: later rows should not teach what earlier ones judge. Default:
    /// `split.column` of `by = "time"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// What a grave finding does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditLevel {
    /// It ends the run.
    #[default]
    Stop,
    /// It is a warning.
    Warn,
    /// Nothing is looked for.
    Off,
}
