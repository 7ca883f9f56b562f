//! Rows that a file holds all at once, such as those of a pickle: read when opened, kept in memory.

use std::io::Read as _;
use std::sync::Arc;

use crate::arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, RecordBatch, RecordBatchOptions,
};
use crate::arrow::compute::cast;
use crate::arrow::datatypes::{DataType, Field, SchemaRef};
use arrow_select::filter::filter_record_batch;

use super::{BATCH_ROWS, Batches, Input, Scanned, Source, require};
use crate::contract::{not_a_number, number};
use crate::frame::as_strings;
use crate::{BadRow, Error, Place, Result};

/// A file whose rows are read all at once: a pickle, a `.npy` or a `.npz` file.
pub struct TableSource {
    input: Input,
    rows: RecordBatch,
}

/// Bytes of a file that are held in memory.
const MAX_BYTES: u64 = 4 << 30;

impl TableSource {
    pub(super) fn new(input: Input, rows: RecordBatch) -> Self {
        Self { input, rows }
    }

    fn scanned(&self, schema: &SchemaRef, first: usize) -> Result<Scanned> {
        let rows = self.rows.slice(first, BATCH_ROWS.min(self.rows.num_rows() - first));
        let mut bad: Vec<BadRow> = Vec::new();
        let mut columns = Vec::new();
        for field in schema.fields() {
            let values = rows
                .column_by_name(field.name())
                .ok_or_else(|| Error::Config("internal error: a checked column is gone".into()))?;
            columns.push(self.convert(values, field, first, &mut bad)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
        if bad.is_empty() {
            return Ok(rows.into());
        }
        // One reason a row is enough, and rows stay in order.
        bad.sort_by_key(|row| row.number);
        bad.dedup_by_key(|row| row.number);
        let mut keep = vec![true; rows.num_rows()];
        bad.iter().for_each(|row| keep[row.number - first] = false);
        let rows = filter_record_batch(&rows, &BooleanArray::from(keep))?;
        Ok(Scanned { rows, bad })
    }

    /// The values in the type that is asked for. A text where a number is asked for is a bad row.
    fn convert(
        &self,
        values: &ArrayRef,
        field: &Field,
        first: usize,
        bad: &mut Vec<BadRow>,
    ) -> Result<ArrayRef> {
        if values.data_type() == field.data_type() {
            return Ok(values.clone());
        }
        if field.data_type() == &DataType::Utf8 {
            return Ok(Arc::new(as_strings(values)?));
        }
        if values.data_type() != &DataType::Utf8 || !field.data_type().is_numeric() {
            return Ok(cast(values, field.data_type())?);
        }
        let texts = as_strings(values)?;
        let mut numbers = Vec::with_capacity(texts.len());
        for (row, text) in texts.iter().enumerate() {
            let value = text.and_then(|text| number(text.trim().as_bytes()));
            if let (Some(text), None) = (text, value) {
                bad.push(BadRow {
                    place: Place::row(self.name(), first + row),
                    number: first + row,
                    column: Some(field.name().clone()),
                    value: Some(text.chars().take(BadRow::SHOWN).collect()),
                    reason: not_a_number(text),
                });
            }
            numbers.push(value);
        }
        let numbers: ArrayRef = Arc::new(Float64Array::from(numbers));
        Ok(cast(&numbers, field.data_type())?)
    }
}

impl Source for TableSource {
    fn name(&self) -> &str {
        self.input.name()
    }

    fn schema(&self) -> Result<SchemaRef> {
        Ok(self.rows.schema())
    }

    fn scan(&self, schema: &SchemaRef) -> Result<Batches<'_>> {
        require(schema, self.rows.schema_ref(), self.name())?;
        let schema = schema.clone();
        let firsts = (0..self.rows.num_rows()).step_by(BATCH_ROWS);
        Ok(Box::new(firsts.map(move |first| self.scanned(&schema, first))))
    }

    fn fingerprint(&self) -> Result<String> {
        self.input.fingerprint()
    }
}

/// All bytes of `input`, unpacked.
pub(super) fn read_all(input: &Input) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut reader = input.reader()?.take(MAX_BYTES + 1);
    reader.read_to_end(&mut bytes).map_err(|e| input.error(e))?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(Error::source(
            input.name(),
            "is larger than 4 GiB, and this format cannot be read in pieces: write it as Parquet with `df.to_parquet(…)`",
        )),
        false => Ok(bytes),
    }
}
