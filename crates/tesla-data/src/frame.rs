//! Rows in memory, as one Arrow record batch.

use crate::arrow::array::{Array, ArrayRef, RecordBatch, StringArray, UInt32Array};
use crate::arrow::compute::{cast, concat_batches, take_record_batch};
use crate::arrow::datatypes::{DataType, SchemaRef};

use crate::source::Source;
use crate::{Error, Result};

/// Rows in memory with the source they came from, so that a message can name the line.
pub struct Frame {
    rows: RecordBatch,
    source: Box<dyn Source>,
}

impl Frame {
    /// Reads all rows of `source` with the columns of `schema`.
    ///
    /// # Errors
    /// When a row cannot be read, or when there is none.
    pub fn read(source: Box<dyn Source>, schema: &SchemaRef) -> Result<Self> {
        let mut batches = Vec::new();
        for scanned in source.scan(schema)? {
            let mut scanned = scanned?;
            if !scanned.bad.is_empty() {
                return Err(scanned.bad.swap_remove(0).into_error());
            }
            batches.push(scanned.rows);
        }
        let rows = concat_batches(schema, &batches)?;
        if rows.num_rows() == 0 {
            return Err(Error::source(
                source.name(),
                "has no rows: expected at least one",
            ));
        }
        Ok(Self { rows, source })
    }

    /// Reads all rows and columns of `source`.
    ///
    /// # Errors
    /// When the columns cannot be inferred or a row cannot be read.
    pub fn read_all(source: Box<dyn Source>) -> Result<Self> {
        let schema = source.schema()?;
        Self::read(source, &schema)
    }

    /// The rows.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Never true: a frame has at least one row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The source's name as the user wrote it.
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// Where row `row` (zero-based) stands, for a message: "`data.csv` line 7".
    pub fn place(&self, row: usize) -> String {
        self.source.places(&[row])[0].to_string()
    }

    /// SHA-256 of the source's bytes.
    ///
    /// # Errors
    /// When the source can no longer be read.
    pub fn fingerprint(&self) -> Result<String> {
        self.source.fingerprint()
    }

    /// The given rows (zero-based), in the given order.
    ///
    /// # Errors
    /// When Arrow cannot address them.
    pub fn take(&self, rows: &[usize]) -> Result<RecordBatch> {
        let rows = UInt32Array::from_iter_values(rows.iter().map(|r| *r as u32));
        Ok(take_record_batch(&self.rows, &rows)?)
    }
}

/// The column as strings, whatever Arrow layout it has; numbers without a fraction lose the `.0`,
/// so that a class `3` is the same class in CSV, JSON and Parquet.
pub(crate) fn as_strings(array: &ArrayRef) -> Result<StringArray> {
    let array = match array.data_type() {
        DataType::Utf8 => array.clone(),
        DataType::Float64 | DataType::Float32 | DataType::Float16 => {
            let numbers = cast(array, &DataType::Float64)?;
            let numbers = downcast::<crate::arrow::array::Float64Array>(&numbers)?;
            return Ok(numbers
                .iter()
                .map(|v| v.filter(|v| !v.is_nan()).map(|v| v.to_string()))
                .collect());
        }
        _ => cast(array, &DataType::Utf8)?,
    };
    Ok(downcast::<StringArray>(&array)?.clone())
}

/// The array as the concrete type `T`.
pub(crate) fn downcast<T: Array + 'static>(array: &ArrayRef) -> Result<&T> {
    array.as_any().downcast_ref::<T>().ok_or_else(|| {
        Error::Config(format!(
            "internal error: a column is {} where another type was expected",
            array.data_type()
        ))
    })
}
