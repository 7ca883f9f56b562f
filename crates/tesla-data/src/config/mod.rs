//! The `[data]` and `[columns.*]` tables of `tesla.toml`.

mod columns;
mod source;
mod split;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{Contract, Task};
use crate::interactions::InteractionsConfig;
use crate::paths::Paths;
use crate::prepare::SequenceConfig;
use crate::quarantine::{BadPolicy, Duplicates, OnBad};
use crate::source::public_name;
use crate::table::MEMORY;

pub use columns::{
    BinStrategy, Bins, Bounds, ColumnConfig, ColumnConfigs, Constant, Encode, Fit, Impute, Scale,
    TimePart,
};
pub use source::{CsvConfig, Format, HttpConfig, ImagesConfig, JsonConfig, NewRows, Pages};
pub use split::{AuditConfig, AuditLevel, SplitBy, SplitConfig};

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

    /// As new rows are read for a model that keeps `contract`. Where the CSV file of training had no
    /// header, new ones may have one, or the columns of training, all of them or all but the target.
    pub fn for_new_rows(&self, contract: &Contract) -> Self {
        let mut data = self.clone();
        if data.csv.header {
            return data;
        }
        if data.csv.names.is_empty() {
            // What is dropped is no part of the contract, and a column of the file all the same.
            let known = contract.columns.iter().map(|rule| &rule.name).chain(&data.drop);
            let number = |name: &String| name.strip_prefix('c')?.parse::<usize>().ok();
            let last = known.filter_map(number).max().unwrap_or(0);
            data.csv.names = (1..=last).map(|i| format!("c{i}")).collect();
        }
        let target = contract.target().map(|rule| rule.name.clone());
        data.csv.new_rows = Some(NewRows {
            reads: contract.inputs().map(|rule| rule.name.clone()).collect(),
            may_lack: target.filter(|name| data.csv.names.contains(name)),
        });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrow::array::AsArray;
    use crate::arrow::datatypes::Float64Type;

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
    fn new_rows_without_a_header_may_be_without_the_target() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let open = |text: &str, data: &DataConfig| {
            std::fs::write(&path, text).unwrap();
            crate::source::open(&path, data)
        };
        // The target comes first, and the third column is dropped.
        for names in [vec![], ["y", "a", "b", "x"].map(String::from).to_vec()] {
            let name = |i: usize| names.get(i).cloned().unwrap_or(format!("c{}", i + 1));
            let data = DataConfig {
                target: Some(name(0)),
                drop: vec![name(2)],
                csv: CsvConfig {
                    header: false,
                    names: names.clone(),
                    ..Default::default()
                },
                ..Default::default()
            };
            let source = open("u,1.5,0,2.5\nv,3.5,0,4\n", &data).unwrap();
            let fields = source.schema().unwrap().project(&[0, 1, 3]).unwrap();
            let rows = crate::Frame::read(source.into(), &fields.into(), MEMORY, OnBad::Fail);
            let contract = Contract::infer(&rows.unwrap(), &data, &Default::default()).unwrap();
            let new = data.for_new_rows(&contract);
            let header = format!("{},{}\n2.5,1.5\n", name(3), name(1));
            for text in ["1.5,0,2.5\n", "v,1.5,0,2.5\n", &header] {
                let source = open(text, &new).unwrap();
                let rows = contract.read(source, crate::contract::Need::Features).unwrap();
                let rows = rows.to_batch().unwrap();
                let found: Vec<f64> = (0..2)
                    .map(|at| rows.column(at).as_primitive::<Float64Type>().value(0))
                    .collect();
                assert_eq!(found, [1.5, 2.5], "{text}");
            }
            let error = open("1.5,2.5\n", &new).err().unwrap().to_string();
            let expected = format!("or all of them but `{}`", name(0));
            assert!(error.ends_with(&expected), "{error}");
        }
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
