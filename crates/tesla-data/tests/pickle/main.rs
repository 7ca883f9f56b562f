//! Pickles and NumPy files, as Python wrote them and as nobody should.

mod fixtures;
mod hostile;
mod shared;

use std::path::Path;

use tesla_data::DataConfig;
use tesla_data::arrow::array::{AsArray, RecordBatch};
use tesla_data::arrow::compute::{cast, concat_batches};
use tesla_data::arrow::datatypes::DataType;
use tesla_data::{Result, source};

/// All rows of a file, opened as the command line does; none is an empty table.
fn load(path: &Path) -> Result<RecordBatch> {
    let source = source::open(path, &DataConfig::default())?;
    let schema = source.schema()?;
    let mut batches = Vec::new();
    for scanned in source.scan(&schema)? {
        let scanned = scanned?;
        assert!(scanned.bad.is_empty(), "{:?}", scanned.bad);
        batches.push(scanned.rows);
    }
    Ok(concat_batches(&schema, &batches)?)
}

fn names(rows: &RecordBatch) -> Vec<String> {
    rows.schema().fields().iter().map(|f| f.name().clone()).collect()
}

/// The values of a column as texts; a missing one is "".
fn texts(rows: &RecordBatch, name: &str) -> Vec<String> {
    let values = rows
        .column_by_name(name)
        .unwrap_or_else(|| panic!("no column {name}"));
    let values = cast(values, &DataType::Utf8).unwrap();
    let values = values.as_string::<i32>();
    values.iter().map(|v| v.unwrap_or("").to_string()).collect()
}

/// Whether two cells are equal as texts, as truth values or as numbers.
fn same(a: &str, b: &str) -> bool {
    a == b
        || a.eq_ignore_ascii_case(b) && matches!(a, "true" | "false")
        || matches!((a.parse::<f64>(), b.parse::<f64>()), (Ok(a), Ok(b)) if (a - b).abs() <= 1e-6 * a.abs())
}
