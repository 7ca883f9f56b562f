//! Python's pickle, read without Python: numbers, texts, lists, dicts, NumPy arrays and pandas
//! frames become tables. Nothing is imported and nothing is called; a name that is not on the
//! closed list of `globals` is refused.
//!
//! ```text
//! bytes --machine--> values in a Heap --numpy, pandas, cells--> columns --table--> RecordBatch
//! ```

mod arrow;
mod cells;
mod globals;
mod machine;
mod numpy;
mod pandas;
mod reader;
mod strings;
mod table;
mod value;

use super::Input;
use super::assemble::Part;
use super::dtype::Read;
use super::table::{TableSource, read_all};
use crate::arrow::array::RecordBatch;
use crate::{Error, Result};

/// Reads a pickle of protocol 0 to 5 that holds a table, arrays or images.
///
/// # Errors
/// When it is damaged, names anything that is not data, or holds what is not a table.
pub fn open_pickle(input: Input) -> Result<TableSource> {
    let bytes = read_all(&input)?;
    let rows = rows(&bytes).map_err(|reason| Error::source(input.name(), reason))?;
    Ok(TableSource::new(input, rows))
}

/// Whether a file of this name, in lower case, is a pickle.
pub(super) fn is_named(name: &str) -> bool {
    let packed = [".bz2", ".xz", ".zst", ".zip"];
    let plain = packed.iter().find_map(|end| name.strip_suffix(end));
    let name = plain.unwrap_or(name);
    name.ends_with(".pkl") || name.ends_with(".pickle")
}

/// The table of a pickle.
pub(super) fn rows(bytes: &[u8]) -> Read<RecordBatch> {
    let (heap, root) = machine::load(bytes)?;
    table::table(&heap, root)
}

/// The array of Python objects that a pickle inside a `.npy` file is, as a part of a table.
pub(super) fn objects(bytes: &[u8]) -> Read<Part<'static>> {
    let (heap, root) = machine::load(bytes)?;
    match numpy::array(&heap, root)? {
        Some(array @ numpy::Array::Objects { .. }) => Ok(match table::array_part(&heap, array)? {
            Part::Column(values) => Part::Column(values),
            Part::Columns(columns) => Part::Columns(columns),
            Part::Table(columns) => Part::Table(columns),
            Part::Other(found) => Part::Other(found),
            Part::Array(_) => return Err(numpy::damaged("an array of objects")),
        }),
        _ => Err(numpy::damaged("an array of objects")),
    }
}
