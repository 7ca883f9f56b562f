use std::borrow::Cow;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::arrow::array::{
    Array, ArrayRef, AsArray, Float64Builder, RecordBatch, RecordBatchOptions, StringBuilder,
};
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use crate::contract::{not_a_number, number};
use crate::fingerprint::hex;
use crate::source::{BATCH_ROWS, Scanned, Source};
use crate::{BadRow, Place, Result};

/// One value of a row of a database.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    #[cfg_attr(not(feature = "postgres"), expect(dead_code))]
    Boolean(bool),
    Integer(i64),
    Real(f64),
    Text(Cow<'a, str>),
    /// What TESLA does not read, and why not.
    Unreadable(&'a str),
}

/// Collects rows into batches; a row with a value that cannot be read is set apart.
pub(super) struct Rows {
    name: String,
    schema: SchemaRef,
    columns: Vec<Column>,
    bad: Vec<BadRow>,
    good: usize,
    /// Rows seen so far, good and bad.
    seen: usize,
}

enum Column {
    /// The value of the row that is being read waits until the whole row is known to be good.
    Number(Float64Builder, Option<f64>),
    Text(StringBuilder),
}

impl Rows {
    pub(super) fn new(name: &str, schema: &SchemaRef) -> Self {
        let column = |field: &Arc<Field>| match field.data_type() {
            DataType::Float64 => Column::Number(Float64Builder::new(), None),
            _ => Column::Text(StringBuilder::new()),
        };
        Self {
            name: name.into(),
            columns: schema.fields().iter().map(column).collect(),
            schema: schema.clone(),
            bad: Vec::new(),
            good: 0,
            seen: 0,
        }
    }

    /// Takes one row; `cell` gives its value in a column of the schema.
    pub(super) fn push<'a>(&mut self, cell: impl Fn(usize) -> Cell<'a>) {
        let mut fault = None;
        for (at, column) in self.columns.iter_mut().enumerate() {
            if let Err((value, reason)) = column.check(&cell(at)) {
                fault = Some((at, value, reason));
                break;
            }
        }
        match fault {
            None => {
                for (at, column) in self.columns.iter_mut().enumerate() {
                    column.append(&cell(at));
                }
                self.good += 1;
            }
            Some((at, value, reason)) => self.bad.push(BadRow {
                place: Place::row(&self.name, self.seen),
                number: self.seen,
                column: Some(self.schema.field(at).name().clone()),
                value,
                reason,
            }),
        }
        self.seen += 1;
    }

    pub(super) fn is_full(&self) -> bool {
        self.good.max(self.bad.len()) >= BATCH_ROWS
    }

    /// The rows since the last time, if there are any.
    pub(super) fn take(&mut self) -> Result<Option<Scanned>> {
        if self.good == 0 && self.bad.is_empty() {
            return Ok(None);
        }
        let arrays = self.columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.good));
        self.good = 0;
        Ok(Some(Scanned {
            rows: RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?,
            bad: std::mem::take(&mut self.bad),
        }))
    }
}

impl Column {
    /// Whether the value is of the column's type; if not, the value and why.
    fn check(&mut self, cell: &Cell<'_>) -> Result<(), (Option<String>, String)> {
        let shown = |text: &str| Some(text.chars().take(BadRow::SHOWN).collect());
        if let Cell::Unreadable(reason) = cell {
            return Err((None, reason.to_string()));
        }
        let Column::Number(_, value) = self else {
            return Ok(());
        };
        *value = match cell {
            Cell::Integer(value) => Some(*value as f64),
            Cell::Boolean(value) => Some(f64::from(u8::from(*value))),
            Cell::Real(value) if value.is_infinite() => {
                let text = value.to_string();
                return Err((shown(&text), not_a_number(&text)));
            }
            Cell::Real(value) => Some(*value).filter(|value| !value.is_nan()),
            Cell::Text(text) => match number(text.trim().as_bytes()) {
                None if text.trim().is_empty() => None,
                None => return Err((shown(text), not_a_number(text))),
                some => some,
            },
            Cell::Null | Cell::Unreadable(_) => None,
        };
        Ok(())
    }

    fn append(&mut self, cell: &Cell<'_>) {
        match (self, cell) {
            (Column::Number(numbers, value), _) => numbers.append_option(value.take()),
            (Column::Text(texts), Cell::Text(text)) => texts.append_value(text),
            (Column::Text(texts), Cell::Integer(value)) => texts.append_value(value.to_string()),
            (Column::Text(texts), Cell::Boolean(value)) => texts.append_value(value.to_string()),
            (Column::Text(texts), Cell::Real(value)) if !value.is_nan() => {
                texts.append_value(value.to_string());
            }
            (Column::Text(texts), _) => texts.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Column::Number(numbers, _) => Arc::new(numbers.finish()),
            Column::Text(texts) => Arc::new(texts.finish()),
        }
    }
}

/// SHA-256 of the columns' names and of every row's values as text, in the order of the scan.
pub(super) fn fingerprint(source: &dyn Source) -> Result<String> {
    let text = |field: &Arc<Field>| Field::new(field.name(), DataType::Utf8, true);
    let fields: Vec<Field> = source.raw_schema()?.fields().iter().map(text).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let mut hash = Sha256::new();
    // Lengths go first, so that no two tables give the same bytes.
    let mut add = |text: Option<&str>| match text {
        None => hash.update(u64::MAX.to_le_bytes()),
        Some(text) => {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
    };
    schema.fields().iter().for_each(|field| add(Some(field.name())));
    for scanned in source.scan(&schema)? {
        let scanned = scanned?;
        let columns: Vec<_> = scanned.rows.columns().iter().map(|c| c.as_string::<i32>()).collect();
        for row in 0..scanned.rows.num_rows() {
            for column in &columns {
                add(column.is_valid(row).then(|| column.value(row)));
            }
        }
        for bad in scanned.bad {
            add(Some(&format!("{}", bad.number)));
            add(bad.value.as_deref());
        }
    }
    Ok(hex(&hash.finalize()))
}
