//! Sources: where rows come from. Each streams Arrow record batches and can name the line of a row.

mod assemble;
mod csv;
mod dtype;
mod idx;
mod images;
mod input;
mod json;
mod literal;
mod ndarray;
mod npy;
mod pickle;
mod table;

use std::path::Path;

use crate::arrow::array::RecordBatch;
use crate::arrow::datatypes::SchemaRef;

pub use self::csv::CsvSource;
pub use idx::IdxSource;
pub use images::ImageFolder;
pub use input::Input;
pub use json::{JsonSource, rows_to_batch};
pub use npy::open_numpy;
pub use pickle::open_pickle;
pub use table::TableSource;

use crate::config::CsvConfig;
use crate::{BadRow, Place, Result};

/// Rows on their way, a few thousand at a time.
pub type Batches<'a> = Box<dyn Iterator<Item = Result<Scanned>> + Send + 'a>;

/// Some rows of a scan, and the rows among them that could not be read.
#[derive(Clone, Debug)]
pub struct Scanned {
    /// The rows that could be read, in the source's order.
    pub rows: RecordBatch,
    /// The others, in the source's order.
    pub bad: Vec<BadRow>,
}

impl From<RecordBatch> for Scanned {
    fn from(rows: RecordBatch) -> Self {
        Self {
            rows,
            bad: Vec::new(),
        }
    }
}

/// Rows per batch while streaming.
pub(crate) const BATCH_ROWS: usize = 8192;

/// The key of an image column's Arrow field metadata. Its value is `encoded` for the bytes of
/// PNG, JPEG and other image files, or `HEIGHTxWIDTHxCHANNELS` for raw 8-bit pixels.
pub const IMAGE_KEY: &str = "tesla.image";

/// A place that rows come from.
pub trait Source: Send + Sync {
    /// The source as the user wrote it, without directories.
    fn name(&self) -> &str;

    /// The columns and their physical types, inferred from all rows.
    ///
    /// # Errors
    /// When the source cannot be read or is empty.
    fn schema(&self) -> Result<SchemaRef>;

    /// All columns without looking at the rows: text where the source itself has no types.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn raw_schema(&self) -> Result<SchemaRef> {
        self.schema()
    }

    /// Whether the rows are JSON objects, so that an answer may be too.
    fn is_json(&self) -> bool {
        false
    }

    /// Streams the columns of `schema`, in its order and with its types. A row that cannot be read
    /// is set apart and the scan goes on.
    ///
    /// # Errors
    /// At once when a column does not exist; on the way when the source itself fails.
    fn scan(&self, schema: &SchemaRef) -> Result<Batches<'_>>;

    /// Where rows stand. They are counted from zero, good and bad, and given in ascending order.
    fn places(&self, rows: &[usize]) -> Vec<Place> {
        rows.iter().map(|row| Place::row(self.name(), *row)).collect()
    }

    /// SHA-256 of the bytes the rows are read from.
    ///
    /// # Errors
    /// When they cannot be read.
    fn fingerprint(&self) -> Result<String>;
}

/// Opens a file, a folder or (as `-`) standard input. What it is, is inferred from its name and
/// its first bytes.
///
/// # Errors
/// When it does not exist, is empty, or is nothing TESLA reads.
pub fn open(path: &Path, csv: &CsvConfig) -> Result<Box<dyn Source>> {
    if path.is_dir() {
        return Ok(Box::new(ImageFolder::open(path)?));
    }
    let input = Input::open(path)?;
    let start = input.peek()?;
    let name = input.name().to_lowercase();
    let name = name.trim_end_matches(".gz");
    if start.starts_with(&[0, 0, 8]) {
        return Ok(Box::new(IdxSource::open(input)?));
    }
    if start.starts_with(npy::MAGIC) || (name.ends_with(".npz") && start.starts_with(b"PK")) {
        return Ok(Box::new(open_numpy(input)?));
    }
    // Since protocol 2 a pickle says so; older ones are known by their name alone.
    if matches!(start[..], [0x80, 2..=5, ..]) || pickle::is_named(name) {
        return Ok(Box::new(open_pickle(input)?));
    }
    let first = start.iter().find(|b| !b.is_ascii_whitespace());
    let named_json = [".json", ".jsonl", ".ndjson"]
        .iter()
        .any(|end| name.ends_with(end));
    if named_json || (name == "-" && matches!(first, Some(b'{' | b'['))) {
        return Ok(Box::new(JsonSource::open(input)?));
    }
    Ok(Box::new(CsvSource::open(input, csv.clone())?))
}

/// Checks that every column of `wanted` is in `found`.
fn require(wanted: &SchemaRef, found: &SchemaRef, name: &str) -> Result<()> {
    for field in wanted.fields() {
        if found.column_with_name(field.name()).is_none() {
            return Err(crate::Error::MissingColumn {
                column: field.name().clone(),
                place: format!("`{name}`"),
                valid: found.fields().iter().map(|f| f.name().clone()).collect(),
            });
        }
    }
    Ok(())
}
