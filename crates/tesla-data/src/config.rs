//! The `[data]` and `[columns.*]` tables of `tesla.toml`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{ColumnKind, Task};

/// Where the rows come from, which column is predicted and how rows are divided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// A CSV, JSON-lines, Parquet, Arrow IPC (Feather) or IDX image file, any of them also
    /// gzipped, a folder of images (one sub-folder per class), or a database: an SQLite file or
    /// `postgres://USER:${PASSWORD}@HOST/NAME`, where `${…}` is an environment variable. Paths are
    /// relative to the configuration file.
    pub source: String,
    /// The table of a database to read, whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The query of a database to read, one `SELECT`. Say `ORDER BY` for runs that repeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// A file that holds a database's password and nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    /// Rows to test on, kept apart by whoever made the data. Replaces the test share of `split`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// Rows to validate on. Replaces the validation share of `split`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid: Option<String>,
    /// The column to predict. Images know theirs: `label`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Classes or a number. Inferred from the target when not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Columns to leave out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// How the rows are divided.
    pub split: SplitConfig,
    /// How a CSV file is written, where it differs from the usual.
    #[serde(skip_serializing_if = "CsvConfig::is_default")]
    pub csv: CsvConfig,
}

/// How rows are divided into train, validation and test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SplitConfig {
    /// Stratified by class where the target is a class, random where it is a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<SplitBy>,
    /// Share of all rows used for early stopping and tuning, in 0..1.
    pub valid: f64,
    /// Share of all rows kept for the final figures, in 0..1.
    pub test: f64,
    /// A text file of zero-based row numbers, one a line: the test rows (`by = "rows"`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_rows: Option<String>,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self {
            by: None,
            valid: 0.1,
            test: 0.2,
            test_rows: None,
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
    /// The test rows are listed in a file; validation rows are drawn from the rest.
    Rows,
}

/// How a CSV file is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CsvConfig {
    /// The character between fields; `"\t"` for tabs.
    pub delimiter: char,
    /// Whether the first line names the columns.
    pub header: bool,
    /// Column names for a file without a header; `c1`, `c2`, … when not said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Fields that mean "no value". Surrounding blanks are ignored.
    pub missing: Vec<String>,
}

impl Default for CsvConfig {
    fn default() -> Self {
        Self {
            delimiter: ',',
            header: true,
            names: Vec::new(),
            missing: ["", "?", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]
                .map(String::from)
                .to_vec(),
        }
    }
}

impl CsvConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// `[columns.NAME]`: what is said about one column instead of inferred.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnConfig {
    /// What the column holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ColumnKind>,
    /// What stands in for a missing value. Numbers: `mean`; categories: `missing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impute: Option<Impute>,
    /// How a number is scaled. Default: `standard`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// Height and width in pixels that every image is brought to. Default: the first image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<[u32; 2]>,
    /// 1 for grey, 3 for colour. Default: the first image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u8>,
}

/// `[columns]`, by column name.
pub type ColumnConfigs = BTreeMap<String, ColumnConfig>;

/// What stands in for a missing value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Impute {
    /// The mean of the training rows (numbers).
    Mean,
    /// The median of the training rows (numbers).
    Median,
    /// The most frequent value of the training rows (categories).
    Mode,
    /// A level of its own (categories).
    Missing,
}

/// How a number is scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Subtract the mean, divide by the standard deviation of the training rows.
    Standard,
    /// Leave the number as it is.
    None,
}
