//! How sources are read, where it cannot be seen.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// What is known of a file of new rows; `None` for rows to train with.
    #[serde(skip)]
    pub new_rows: Option<NewRows>,
}

/// What is known of a file of new rows when the rows of training had no header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRows {
    /// What the model reads. A first line that holds all these names is a header.
    pub reads: Vec<String>,
    /// Of the names of the columns, the one that the file may be without: new rows have no target.
    pub may_lack: Option<String>,
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
            new_rows: None,
        }
    }
}

impl CsvConfig {
    pub(super) fn is_default(&self) -> bool {
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
    pub(super) fn is_default(&self) -> bool {
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
    pub(super) fn is_default(&self) -> bool {
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
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
