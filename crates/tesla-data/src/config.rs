//! The `[data]` and `[columns.*]` tables of `tesla.toml`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{ColumnKind, Task};
use crate::interactions::InteractionsConfig;
use crate::paths::Paths;
use crate::prepare::{SequenceConfig, TextConfig};
use crate::quarantine::{BadPolicy, Duplicates, OnBad};
use crate::source::public_name;
use crate::table::MEMORY;

/// Where the rows come from, which column is predicted and how rows are divided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Where the rows are: a file, a folder of images or texts (one sub-folder per class), a
    /// database (an SQLite file or `postgres://USER:${PASSWORD}@HOST/NAME`), or an `http://` or
    /// `https://` address of JSON or CSV. Files are CSV, JSON, Parquet, Arrow IPC (Feather), NumPy,
    /// pickle or IDX images, as they are or packed by gzip, zstd, bzip2, xz or zip;
    /// `archive.zip/inner.csv` names one of several in an archive. `data/*.csv`, or a list, is one
    /// table of several files. `${…}` is an environment variable; passwords, keys and tokens in an
    /// address must be one. Paths are relative to the configuration file.
    pub source: Paths,
    /// What the files are, when that cannot be seen from name and content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
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
    /// The column of what each row counts for, a number of 0 or more, in training and in the figures;
    /// the model does not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// Columns to leave out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// How the rows are divided.
    pub split: SplitConfig,
    /// Rows that follow each other in time: windows of them are the samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<SequenceConfig>,
    /// Users and items: which columns name them, and what a row says of the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interactions: Option<InteractionsConfig>,
    /// What happens to rows that repeat an earlier one in target and every feature.
    pub duplicates: Duplicates,
    /// What happens to a row that cannot be read or that breaks the contract.
    pub on_bad: OnBad,
    /// The largest share of rows, in 0..1, that may be set apart.
    pub max_bad: f64,
    /// MiB of rows, and of samples made of them, that are held in memory at a time; what exceeds
    /// them is kept in temporary files. The model does not depend on it.
    pub memory: usize,
    /// How a CSV file is written, where it differs from the usual.
    #[serde(skip_serializing_if = "CsvConfig::is_default")]
    pub csv: CsvConfig,
    /// Where the pictures are, when the source is a table of paths.
    #[serde(skip_serializing_if = "ImagesConfig::is_default")]
    pub images: ImagesConfig,
    /// How an HTTP address is asked, where it is not one plain answer.
    #[serde(skip_serializing_if = "HttpConfig::is_default")]
    pub http: HttpConfig,
    /// Where the rows are in a JSON file, when that cannot be seen.
    #[serde(skip_serializing_if = "JsonConfig::is_default")]
    pub json: JsonConfig,
}

impl Default for DataConfig {
    fn default() -> Self {
        let BadPolicy {
            on_bad,
            max_bad,
            duplicates,
        } = BadPolicy::default();
        Self {
            source: Paths::default(),
            format: None,
            test: None,
            valid: None,
            weight: None,
            target: None,
            task: None,
            drop: Vec::new(),
            split: SplitConfig::default(),
            sequence: None,
            interactions: None,
            duplicates,
            on_bad,
            max_bad,
            memory: MEMORY >> 20,
            query: None,
            table: None,
            password_file: None,
            http: HttpConfig::default(),
            images: ImagesConfig::default(),
            csv: CsvConfig::default(),
            json: JsonConfig::default(),
        }
    }
}

impl DataConfig {
    /// Bytes of rows that are held in memory.
    pub fn memory_bytes(&self) -> usize {
        self.memory.saturating_mul(1 << 20)
    }

    /// What happens to bad rows and to duplicates.
    pub fn bad_policy(&self) -> BadPolicy {
        BadPolicy {
            on_bad: self.on_bad,
            max_bad: self.max_bad,
            duplicates: self.duplicates,
        }
    }

    /// The configuration as it may travel with a model: sources by their public names, and no
    /// path of the machine it was trained on.
    pub fn without_paths(&self) -> Self {
        let mut data = self.clone();
        data.source = data.source.map(public_name);
        data.password_file = None;
        data.images.root = None;
        for path in
            [&mut data.test, &mut data.valid, &mut data.split.test_rows, &mut data.split.file]
        {
            *path = path.as_deref().map(public_name);
        }
        if let Some(life) = data.sequence.as_mut().and_then(|s| s.remaining_life.as_mut()) {
            life.after = life.after.as_deref().map(public_name);
        }
        data
    }

    /// Whether windows are built by the column.
    pub(crate) fn is_key(&self, column: &str) -> bool {
        self.sequence
            .iter()
            .flat_map(SequenceConfig::keys)
            .any(|key| key == column)
    }

    /// Whether the column is left out: one that divides the rows, or that windows are built by, is
    /// read nevertheless.
    pub(crate) fn leaves_out(&self, column: &str) -> bool {
        let split = &self.split;
        let mut divides = [&split.column, &split.user, &split.time].into_iter().flatten();
        let needed = divides.any(|name| name == column)
            || self.is_key(column)
            || self.interactions.iter().any(|i| i.names(column));
        !needed && self.drop.iter().any(|dropped| dropped == column)
    }
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Fields between delimiters, one row a line.
    Csv,
    /// JSON lines or one JSON document.
    Json,
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, stream or file (Feather).
    Arrow,
    /// A Python pickle; nothing in it is executed.
    Pickle,
    /// NumPy's `.npy` or `.npz`.
    Numpy,
    /// Images of MNIST's kind.
    Idx,
}

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

/// How a CSV file is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CsvConfig {
    /// The character between fields; `"\t"` for tabs, `" "` for runs of spaces and tabs. When not
    /// said: a tab for `.tsv`, otherwise the first of tab, `;`, `|` and `,` that divides each of
    /// the first 100 lines into as many fields as the first, or on which most of them agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// Whether the first line names the columns.
    pub header: bool,
    /// Column names for a file without a header; `c1`, `c2`, … when not said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Fields that mean "no value". Surrounding blanks are ignored.
    pub missing: Vec<String>,
    /// The character around fields that hold delimiters or line ends; `""` when quotes are
    /// characters like any other.
    pub quote: String,
    /// Lines that start with this character are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<char>,
    /// Lines to leave out before the header.
    pub skip_rows: usize,
    /// The decimal mark of numbers: `"."` or `","`.
    pub decimal: char,
    /// Whether blanks around fields are left out. Those inside quotes always stay.
    pub trim: bool,
    /// How characters are stored, such as `latin-1` or `windows-1252`. A byte-order mark wins;
    /// UTF-8 when not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
}

impl Default for CsvConfig {
    fn default() -> Self {
        Self {
            delimiter: None,
            header: true,
            names: Vec::new(),
            missing: ["", "?", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]
                .map(String::from)
                .to_vec(),
            quote: "\"".into(),
            comment: None,
            skip_rows: 0,
            decimal: '.',
            trim: true,
            encoding: None,
        }
    }
}

impl CsvConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// `[data.images]`: a table with a column of paths to images. A table of one or two columns whose
/// first row names an image that is there needs no `column`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImagesConfig {
    /// The column that holds the paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The folder that the paths start at and do not leave. Default: the table's own. It does not
    /// travel with the model: `tesla predict` and `tesla evaluate` take it as `--images`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

impl ImagesConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// `[data.http]`: how an HTTP address is asked for rows in JSON or CSV.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Headers to send; `${NAME}` is an environment variable. They go to no other host.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The environment variable with the token for `Authorization: Bearer …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_env: Option<String>,
    /// Where the rows stand in a JSON answer, such as `data.items`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How the rows are spread over several answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages: Option<Pages>,
    /// The most answers that are asked for.
    pub max_pages: usize,
    /// How often a request is tried again.
    pub retries: u32,
    /// Seconds to wait for a connection, for an answer and for each next part of it.
    pub timeout_s: u64,
    /// The most that all answers may hold together, in MiB.
    pub max_mib: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            headers: BTreeMap::new(),
            bearer_env: None,
            path: None,
            pages: None,
            max_pages: 10_000,
            retries: 5,
            timeout_s: 30,
            max_mib: 1024,
        }
    }
}

impl HttpConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How rows are spread over several answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum Pages {
    /// The header `Link: <…>; rel="next"` names the next one.
    // Braces, because serde lets unknown keys pass beside a bare name.
    Link {},
    /// A parameter of the address counts from 1, until an answer has no rows.
    Page {
        /// The parameter's name, such as `page`.
        parameter: String,
    },
    /// A field of the answer says where the next one starts; it is missing or empty at the end.
    Cursor {
        /// Where the field stands, such as `meta.next`. It holds a value or a whole address.
        field: String,
        /// The parameter of the address that takes the value, such as `cursor`.
        parameter: String,
    },
}

/// Where the rows are in a JSON file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JsonConfig {
    /// The keys that lead to the rows inside a document, with dots between them: `data.train`.
    /// `file.json#data.train` as a source says the same for one file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Column names for rows that are lists; `c1`, `c2`, … when not said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

impl JsonConfig {
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
    /// Numbers: the smallest and the largest that is valid, at training and at prediction. A row with
    /// another is bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// Categories: the names that are valid, at training and at prediction. A row with another is bad.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Whether a row without a value is bad, at training and at prediction.
    #[serde(skip_serializing_if = "is_false")]
    pub required: bool,
    /// What stands in for a missing value. Numbers: `mean`; categories: `missing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impute: Option<Impute>,
    /// Numbers: adds a column `NAME=(missing)` that is 1 where the value is missing, else 0.
    #[serde(skip_serializing_if = "is_false")]
    pub indicator: bool,
    /// Numbers: values beyond bounds learned from the training rows are moved to the bound, before
    /// anything else is learned of the column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<Bounds>,
    /// Numbers, the target too: training rows with a value beyond bounds learned from the training
    /// rows are left out, counted and listed in the run's `quarantine.jsonl`. Other rows never are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_outliers: Option<Bounds>,
    /// How a number is scaled. Default: `standard`. For a target that is a number, `standard`,
    /// `log1p` or `none`; predictions are turned back into its own unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// Numbers: one 0/1 column per interval, instead of a scaled number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bins: Option<Bins>,
    /// Numbers: adds the products of up to this many of the prepared columns that say so too, a
    /// column with itself included: 2 or 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degree: Option<usize>,
    /// Times: what is made of them. Default: all parts that the training rows tell apart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<TimePart>,
    /// Times: whether parts that come round again become a sine and a cosine. Default: `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cyclic: Option<bool>,
    /// The name of a step that the program has registered. It prepares the column alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Categories: how levels become numbers. Default: `one_hot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encode: Option<Encode>,
    /// Categories: levels with fewer training rows than this are one level, `(rare)`, which unknown
    /// levels join. Default: every level is one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_count: Option<usize>,
    /// Categories with `encode = "hash"`: the number of columns. Default: 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_size: Option<usize>,
    /// Height and width in pixels that every image is brought to. Default: the first image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<[u32; 2]>,
    /// 1 for grey, 3 for colour. Default: the first image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u8>,
    /// How a text becomes numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextConfig>,
    /// What happens to an image whose proportions are not those of `size`. Default: `stretch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit: Option<Fit>,
}

/// `[columns]`, by column name.
pub type ColumnConfigs = BTreeMap<String, ColumnConfig>;

fn is_false(value: &bool) -> bool {
    !value
}

/// What happens to an image of other proportions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// It is stretched.
    #[default]
    Stretch,
    /// It is scaled until it covers the size; what stands out is cut off, half on each side.
    Cover,
    /// It is scaled until it fits into the size, in the middle; the rest is black.
    Contain,
}

impl Fit {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What stands in for a missing value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Impute {
    /// The mean of the training rows (numbers).
    Mean,
    /// The median of the training rows (numbers).
    Median,
    /// The most frequent value of the training rows; of several, the smallest.
    Mode,
    /// The value of the row before, in the order of the rows that are prepared at one time. Where
    /// there is none yet: the mean of a number, the most frequent category.
    ForwardFill,
    /// A level of its own (categories).
    Missing,
    /// This value.
    Constant(Constant),
}

/// A value to put in the place of a missing one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Constant {
    /// For a number.
    Number(f64),
    /// For a category.
    Text(String),
}

/// How the bounds of a number are learned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bounds {
    /// So many interquartile ranges below the first and above the third quartile; 1.5 is usual.
    Iqr(f64),
    /// So many standard deviations around the mean; 3 is usual.
    Z(f64),
    /// These two quantiles, such as `[0.01, 0.99]`.
    Quantiles([f64; 2]),
}

/// A part of a date or time, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimePart {
    /// Seconds since the earliest training time, scaled by mean and deviation.
    Elapsed,
    /// The year, scaled by mean and deviation.
    Year,
    /// 1 to 12.
    Month,
    /// The day of the month, 1 to 31.
    Day,
    /// 0 for Monday to 6 for Sunday.
    Weekday,
    /// 0 to 23. By default only where a training time is not at midnight.
    Hour,
    /// 0 to 59. By default only where a training time is not at a full hour.
    Minute,
}

/// How a number is scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Subtract the mean, divide by the standard deviation of the training rows.
    #[default]
    Standard,
    /// The smallest training value becomes 0, the largest 1.
    MinMax,
    /// Divide by the largest absolute training value.
    MaxAbs,
    /// Subtract the median, divide by the interquartile range.
    Robust,
    /// The share of training rows below the value, interpolated between 1000 quantiles.
    QuantileUniform,
    /// The same share as a quantile of the normal distribution, within 5.2 of 0.
    QuantileNormal,
    /// Yeo and Johnson's power transform with the most likely exponent, then `standard`.
    YeoJohnson,
    /// `ln(1 + x)`, then `standard`. Training values must be above -1.
    Log1p,
    /// Leave the number as it is.
    None,
}

/// How the range of a number is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bins {
    /// The number of intervals, 2 or more; where quantiles coincide there are fewer.
    pub count: usize,
    /// Where one interval ends and the next begins.
    pub strategy: BinStrategy,
}

impl Default for Bins {
    fn default() -> Self {
        Self {
            count: 5,
            strategy: BinStrategy::Quantile,
        }
    }
}

/// Where one interval of a number ends and the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BinStrategy {
    /// Every interval has as many training rows.
    Quantile,
    /// Every interval is equally wide.
    Uniform,
}

/// How the levels of a category become numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encode {
    /// One 0/1 column per level.
    #[default]
    OneHot,
    /// The place of the level in alphabetical order, from 0; -1 for an unknown one.
    Ordinal,
    /// 1 or -1 in one of `hash_size` columns, chosen by the level's hash; no level is stored.
    Hash,
    /// The level's share of the training rows; 0 for an unknown one.
    Frequency,
    /// The mean of the target over the level's training rows, drawn towards the mean of all rows
    /// where they are few: one column, or one per class where there are more than two. A training
    /// row is encoded without the fifth of the rows it is in.
    Target,
    /// A number of its own per level, from 1, that a network looks a learned vector up by; 0 for
    /// an unknown or missing one.
    Embedding,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_and_no_secret_travels_with_a_model() {
        let data = DataConfig {
            source: "https://host/rows?key=hunter2".into(),
            test: Some("/home/me/test.csv".into()),
            password_file: Some("/home/me/password".into()),
            images: ImagesConfig {
                column: Some("file".into()),
                root: Some("/home/me/pictures".into()),
            },
            ..DataConfig::default()
        };
        let text = serde_json::to_string(&data.without_paths()).unwrap();
        assert!(text.contains("host/rows") && text.contains("test.csv"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("/home"), "{text}");
        assert!(text.contains("file") && !text.contains("pictures"), "{text}");
    }

    #[test]
    fn pages_are_written_as_a_small_table() {
        let pages = r#"{"by": "cursor", "field": "meta.next", "parameter": "after"}"#;
        let pages: Pages = serde_json::from_str(pages).unwrap();
        let (field, parameter) = ("meta.next".into(), "after".into());
        assert_eq!(pages, Pages::Cursor { field, parameter });
        assert!(serde_json::from_str::<Pages>(r#"{"by": "link", "x": 1}"#).is_err());
    }
}
