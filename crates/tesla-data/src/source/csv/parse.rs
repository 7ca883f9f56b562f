use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use super::blocks::{Block, Record};
use super::dialect::Dialect;
use super::record::Fields;
use crate::arrow::array::{ArrayRef, Float64Array, RecordBatch, RecordBatchOptions, StringArray};
use crate::arrow::compute::filter_record_batch;
use crate::arrow::datatypes::{DataType, SchemaRef};
use crate::arrow::error::ArrowError;
use crate::source::{BATCH_ROWS, Scanned, Seen, text};
use crate::{BadRow, Place, Result};

/// Which columns of a file are read, and as what.
pub(super) struct Plan<'a> {
    pub(super) name: &'a str,
    pub(super) names: &'a [String],
    pub(super) dialect: &'a Dialect,
    pub(super) schema: SchemaRef,
    /// For each field of the schema its place in the file.
    pub(super) columns: Vec<usize>,
}

/// The rows that cannot be read, in the order of a batch: the column and the reason.
type Failed = BTreeMap<usize, (usize, String)>;

impl Plan<'_> {
    /// Reads the rows of one block. What its columns hold is counted in `seen`, where it is asked
    /// for; a row with too many or too few fields says nothing about columns.
    pub(super) fn read(
        &self,
        block: &Block,
        mut seen: Option<&mut [Seen]>,
    ) -> Result<Vec<Scanned>> {
        let mut fields = Fields::default();
        let mut all = Vec::with_capacity(block.records.len() / BATCH_ROWS + 1);
        let mut first = block.first;
        for records in block.records.chunks(BATCH_ROWS) {
            all.push(self.batch(block, records, first, &mut fields, seen.as_deref_mut())?);
            first += records.len();
        }
        Ok(all)
    }

    /// Divides all records into fields, then makes the columns, one after the other: a loop over
    /// fields of one kind runs several times faster than one over the kinds of a row.
    fn batch(
        &self,
        block: &Block,
        records: &[Record],
        first: usize,
        fields: &mut Fields,
        mut seen: Option<&mut [Seen]>,
    ) -> Result<Scanned> {
        let (text, width) = (&block.text, self.names.len());
        fields.clear();
        let mut bad = Vec::new();
        let mut rows: Vec<usize> = Vec::with_capacity(records.len());
        for (i, record) in records.iter().enumerate() {
            let before = fields.len();
            self.dialect.split(&text[..record.end], record.start, fields);
            let found = fields.len() - before;
            match found == width {
                true => rows.push(i),
                false => {
                    fields.truncate(before);
                    let place = Place::line(self.name, block.line(record.start));
                    let row = &text[record.start..record.end];
                    bad.push(BadRow {
                        place,
                        number: first + i,
                        column: None,
                        value: Some(shown(row, BadRow::SHOWN_ROW)),
                        reason: unequal(width, found),
                    });
                }
            }
        }
        let mut failed = Failed::new();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (i, (field, at)) in std::iter::zip(self.schema.fields(), &self.columns).enumerate() {
            let seen = seen.as_mut().map(|seen| &mut seen[i]);
            let column = || fields.column(text, *at, width);
            arrays.push(match field.data_type() {
                DataType::Float64 => self.numbers(*at, column(), rows.len(), &mut failed, seen),
                _ => self.texts(*at, column, rows.len(), &mut failed, seen)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let mut batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?;
        if !failed.is_empty() {
            let keep: Vec<bool> = (0..rows.len()).map(|row| !failed.contains_key(&row)).collect();
            batch = filter_record_batch(&batch, &keep.into())?;
            bad.extend(failed.into_iter().map(|(row, (at, reason))| {
                let value = fields.get(text, row * width + at);
                let place = Place::line(self.name, block.line(records[rows[row]].start));
                BadRow {
                    place,
                    number: first + rows[row],
                    column: Some(self.names[at].clone()),
                    value: Some(shown(value, BadRow::SHOWN)),
                    reason,
                }
            }));
            bad.sort_by_key(|bad| bad.number);
        }
        Ok(Scanned { rows: batch, bad })
    }

    fn numbers<'a>(
        &self,
        at: usize,
        column: impl Iterator<Item = &'a [u8]>,
        rows: usize,
        failed: &mut Failed,
        seen: Option<&mut Seen>,
    ) -> ArrayRef {
        let mut values = Vec::with_capacity(rows);
        let mut missing = Vec::new();
        let mut strange = Vec::new();
        for (row, field) in column.enumerate() {
            if self.dialect.missing.has(field) {
                missing.push(row);
                values.push(0.0);
                continue;
            }
            values.push(self.dialect.number(field).unwrap_or_else(|| {
                strange.push(row);
                failed.entry(row).or_insert_with(|| {
                    (at, crate::contract::not_a_number(&String::from_utf8_lossy(field)))
                });
                0.0
            }));
        }
        if let Some(seen) = seen {
            let present = rows - missing.len();
            let none =
                |row: &usize| [&missing, &strange].iter().any(|r| r.binary_search(row).is_ok());
            let numbers = values.iter().enumerate().filter(|(row, _)| !none(row));
            seen.add_all(present, present - strange.len(), numbers.map(|(_, value)| *value));
        }
        Arc::new(Float64Array::new(values.into(), nulls(&missing, rows)))
    }

    fn texts<'a, I: Iterator<Item = &'a [u8]>>(
        &self,
        at: usize,
        column: impl Fn() -> I,
        rows: usize,
        failed: &mut Failed,
        seen: Option<&mut Seen>,
    ) -> Result<ArrayRef> {
        if let Some(seen) = seen {
            for field in column().filter(|field| !self.dialect.missing.has(field)) {
                seen.add(self.dialect.number(field));
            }
        }
        // All at once, which is fast, and one by one only where something is not UTF-8.
        let fast = self.strings(column(), rows);
        Ok(Arc::new(match fast {
            Ok(strings) => strings,
            Err(_) => {
                let checked = column().enumerate().map(|(row, field)| {
                    if std::str::from_utf8(field).is_ok() {
                        return field;
                    }
                    failed.entry(row).or_insert_with(|| (at, text::NOT_UTF8.into()));
                    b"".as_slice()
                });
                self.strings(checked, rows)?
            }
        }))
    }

    fn strings<'a>(
        &self,
        column: impl Iterator<Item = &'a [u8]>,
        rows: usize,
    ) -> Result<StringArray, ArrowError> {
        let mut offsets = Vec::with_capacity(rows + 1);
        let mut bytes = Vec::new();
        let mut missing = Vec::new();
        offsets.push(0);
        for (row, field) in column.enumerate() {
            match self.dialect.missing.has(field) {
                true => missing.push(row),
                false => bytes.extend_from_slice(field),
            }
            // A block is far shorter than the 2 GiB of an array.
            offsets.push(bytes.len() as i32);
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        StringArray::try_new(offsets, Buffer::from_vec(bytes), nulls(&missing, rows))
    }
}

/// The start of a text. It is cut before decoding: a field may be megabytes long.
fn shown(text: &[u8], characters: usize) -> String {
    let text = &text[..text.len().min(4 * characters)];
    String::from_utf8_lossy(text).chars().take(characters).collect()
}

/// The rows that have no value, as Arrow has them.
fn nulls(missing: &[usize], rows: usize) -> Option<NullBuffer> {
    if missing.is_empty() {
        return None;
    }
    let mut valid = vec![true; rows];
    missing.iter().for_each(|row| valid[*row] = false);
    Some(NullBuffer::from(valid))
}

fn unequal(expected: usize, found: usize) -> String {
    format!(
        "{found} fields where {expected} are expected: a quote or a delimiter is missing or too many"
    )
}
