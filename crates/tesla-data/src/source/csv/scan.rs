use std::sync::Arc;

use super::blocks::{Block, Record};
use super::dialect::Dialect;
use super::record::Fields;
use crate::arrow::array::{
    ArrayBuilder, ArrayRef, Float64Builder, RecordBatch, RecordBatchOptions, StringBuilder,
};
use crate::arrow::datatypes::{DataType, Field, SchemaRef};
use crate::source::{BATCH_ROWS, Scanned, text};
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

impl Plan<'_> {
    /// Reads the rows of one block.
    pub(super) fn read(&self, block: &Block) -> Result<Vec<Scanned>> {
        // Checked once for the whole block instead of once for each field.
        let whole = std::str::from_utf8(&block.text).ok();
        let mut all = Vec::with_capacity(block.records.len() / BATCH_ROWS + 1);
        let mut fields = Fields::default();
        let mut rows = Rows::new(self);
        for (i, record) in block.records.iter().enumerate() {
            let text = &block.text[record.start..record.end];
            self.dialect.split(text, &mut fields);
            match self.check(text, &fields, whole.is_some(), &mut rows.values) {
                Ok(()) => rows.append(self, text, &fields, whole, record.start),
                Err((at, reason)) => {
                    let number = block.first + i;
                    rows.bad.push(self.bad_row(
                        record,
                        number,
                        at.map(|at| (at, fields.get(text, at))),
                        reason,
                    ));
                }
            }
            if rows.count == BATCH_ROWS || rows.bad.len() == BATCH_ROWS {
                all.push(rows.finish(self)?);
            }
        }
        if rows.count > 0 || !rows.bad.is_empty() {
            all.push(rows.finish(self)?);
        }
        Ok(all)
    }

    /// Whether every field of the record is of its column's type; if not, which and why. Numbers
    /// are left in `values`.
    fn check(
        &self,
        record: &[u8],
        fields: &Fields,
        is_utf8: bool,
        values: &mut [Option<f64>],
    ) -> Result<(), (Option<usize>, String)> {
        if fields.list.len() != self.names.len() {
            return Err((None, unequal(self.names.len(), fields.list.len())));
        }
        let columns = std::iter::zip(self.schema.fields(), &self.columns);
        for (value, (field, at)) in std::iter::zip(values, columns) {
            let text = fields.get(record, *at);
            if field.data_type() == &DataType::Float64 {
                *value = self.dialect.number(text);
                if value.is_none() && !self.dialect.missing.has(text) {
                    let text = String::from_utf8_lossy(text);
                    return Err((Some(*at), crate::contract::not_a_number(&text)));
                }
            } else if !is_utf8 && std::str::from_utf8(text).is_err() {
                return Err((Some(*at), text::NOT_UTF8.into()));
            }
        }
        Ok(())
    }

    fn bad_row(
        &self,
        record: &Record,
        number: usize,
        field: Option<(usize, &[u8])>,
        reason: String,
    ) -> BadRow {
        let shown = |text: &[u8]| {
            // Cut before decoding: the field may be megabytes long.
            let text = &text[..text.len().min(4 * BadRow::SHOWN)];
            String::from_utf8_lossy(text)
                .chars()
                .take(BadRow::SHOWN)
                .collect()
        };
        BadRow {
            place: Place::line(self.name, record.line),
            number,
            column: field.map(|(at, _)| self.names[at].clone()),
            value: field.map(|(_, text)| shown(text)),
            reason,
        }
    }
}

/// The batch that is being filled.
struct Rows {
    columns: Vec<Column>,
    /// The numbers of one row, until the whole row is known to be good.
    values: Vec<Option<f64>>,
    count: usize,
    bad: Vec<BadRow>,
}

enum Column {
    Number(Float64Builder),
    Text(StringBuilder),
}

impl Rows {
    fn new(plan: &Plan) -> Self {
        let columns = plan
            .schema
            .fields()
            .iter()
            .map(|f| Column::new(f))
            .collect();
        Self {
            columns,
            values: vec![None; plan.columns.len()],
            count: 0,
            bad: Vec::new(),
        }
    }

    /// Takes over a record that was checked. `whole` is the block's text when all of it is UTF-8.
    fn append(
        &mut self,
        plan: &Plan,
        record: &[u8],
        fields: &Fields,
        whole: Option<&str>,
        start: usize,
    ) {
        for (i, column) in self.columns.iter_mut().enumerate() {
            match column {
                Column::Number(builder) => builder.append_option(self.values[i]),
                Column::Text(builder) => {
                    let field = fields.list[plan.columns[i]];
                    let bytes = fields.get(record, plan.columns[i]);
                    let text = match whole {
                        _ if plan.dialect.missing.has(bytes) => None,
                        Some(whole) if !field.in_scratch => {
                            whole.get(start + field.start..start + field.end)
                        }
                        _ => std::str::from_utf8(bytes).ok(),
                    };
                    builder.append_option(text);
                }
            }
        }
        self.count += 1;
    }

    fn finish(&mut self, plan: &Plan) -> Result<Scanned> {
        let arrays = self.columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.count));
        self.count = 0;
        Ok(Scanned {
            rows: RecordBatch::try_new_with_options(plan.schema.clone(), arrays, &options)?,
            bad: std::mem::take(&mut self.bad),
        })
    }
}

impl Column {
    fn new(field: &Arc<Field>) -> Self {
        match field.data_type() {
            DataType::Float64 => Column::Number(Float64Builder::new()),
            _ => Column::Text(StringBuilder::new()),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Column::Number(builder) => ArrayBuilder::finish(builder),
            Column::Text(builder) => ArrayBuilder::finish(builder),
        }
    }
}

fn unequal(expected: usize, found: usize) -> String {
    format!(
        "{found} fields where {expected} are expected: a quote or a delimiter is missing or too many"
    )
}
