//! Rows on their way out: CSV, JSON lines or Parquet.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use clap::ValueEnum;
use serde_json::Value;
use tesla_data::ParquetSink;
use tesla_data::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use tesla_data::arrow::compute::cast;
use tesla_data::arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef};
use tesla_data::source::{ORIGINAL_KEY, as_texts};

/// A format that rows are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A header line, then fields between commas.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// What the name of a file asks for.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// A writer of rows with the columns of `schema`.
    ///
    /// # Errors
    /// When the start cannot be written.
    pub(crate) fn open<'a>(
        self,
        out: &'a mut (dyn Write + Send),
        schema: &SchemaRef,
    ) -> Result<Box<dyn Sink + 'a>> {
        Ok(match self {
            Self::Csv => {
                let mut out = csv::Writer::from_writer(out);
                out.write_record(schema.fields().iter().map(|field| field.name()))?;
                Box::new(Csv(out))
            }
            Self::Jsonl => Box::new(JsonLines(out)),
            Self::Parquet => Box::new(ParquetSink::new(out, &plain_schema(schema))?),
        })
    }
}

/// Somewhere that rows go.
pub(crate) trait Sink {
    fn write(&mut self, rows: &RecordBatch) -> Result<()>;
    fn finish(&mut self) -> Result<()>;
}

struct Csv<W: Write>(csv::Writer<W>);

impl<W: Write> Sink for Csv<W> {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let columns = columns(rows)?;
        for row in 0..rows.num_rows() {
            for column in &columns {
                match column {
                    column if column.is_null(row) => self.0.write_field("")?,
                    Column::Number(values) => {
                        let value = values.as_primitive::<Float64Type>().value(row);
                        self.0.write_field(value.to_string())?;
                    }
                    Column::Json(texts) => match serde_json::from_str(texts.value(row)) {
                        Ok(Value::String(text)) => self.0.write_field(text)?,
                        _ => self.0.write_field(texts.value(row))?,
                    },
                    Column::Text(texts) => self.0.write_field(texts.value(row))?,
                    Column::Integer(values) | Column::Boolean(values) => {
                        self.0.write_field(written(values, row))?;
                    }
                }
            }
            self.0.write_record(None::<&[u8]>)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(self.0.flush()?)
    }
}

struct JsonLines<W: Write>(W);

impl<W: Write> Sink for JsonLines<W> {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let columns = columns(rows)?;
        let keys = rows.schema_ref().fields().iter();
        let keys: Vec<String> = keys
            .map(|field| serde_json::to_string(field.name()))
            .collect::<Result<_, _>>()?;
        for row in 0..rows.num_rows() {
            for (i, (key, column)) in std::iter::zip(&keys, &columns).enumerate() {
                write!(self.0, "{}{key}:", if i == 0 { "{" } else { "," })?;
                match column {
                    column if column.is_null(row) => write!(self.0, "null")?,
                    Column::Number(values) => {
                        let value = values.as_primitive::<Float64Type>().value(row);
                        match value.fract() == 0.0 && value.abs() < 1e15 {
                            true => write!(self.0, "{value}")?,
                            // A number that is not finite becomes `null`.
                            false => serde_json::to_writer(&mut self.0, &value)?,
                        }
                    }
                    Column::Json(texts) => write!(self.0, "{}", texts.value(row))?,
                    Column::Text(texts) => serde_json::to_writer(&mut self.0, texts.value(row))?,
                    Column::Integer(values) | Column::Boolean(values) => {
                        write!(self.0, "{}", written(values, row))?;
                    }
                }
            }
            writeln!(self.0, "}}")?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(self.0.flush()?)
    }
}

impl<W: Write + Send> Sink for ParquetSink<W> {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let schema = plain_schema(rows.schema_ref());
        let rows = RecordBatch::try_new(schema, rows.columns().to_vec())?;
        Ok(ParquetSink::write(self, &rows)?)
    }

    fn finish(&mut self) -> Result<()> {
        Ok(ParquetSink::finish(self)?)
    }
}

/// The columns without our own marks, which mean nothing to other readers.
fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let plain = |field: &Arc<Field>| field.as_ref().clone().with_metadata(Default::default());
    Arc::new(Schema::new(schema.fields().iter().map(plain).collect::<Vec<_>>()))
}

/// A column as texts are made of it.
enum Column {
    Number(ArrayRef),
    /// 64 bits, signed or not.
    Integer(ArrayRef),
    Boolean(ArrayRef),
    Text(StringArray),
    Json(StringArray),
}

impl Column {
    fn of(field: &Field, values: &ArrayRef) -> Result<Self> {
        let values = match values.data_type() {
            DataType::Dictionary(_, inner) => &cast(values, inner)?,
            _ => values,
        };
        let texts = || -> Result<StringArray> { Ok(as_texts(values)?.as_string::<i32>().clone()) };
        Ok(match values.data_type() {
            DataType::Float64 => Self::Number(values.clone()),
            // By way of its text: 0.1 in 32 bits is not 0.10000000149011612.
            DataType::Float16 | DataType::Float32 => {
                Self::Number(cast(&cast(values, &DataType::Utf8)?, &DataType::Float64)?)
            }
            DataType::UInt64 => Self::Integer(values.clone()),
            kind if kind.is_integer() => Self::Integer(cast(values, &DataType::Int64)?),
            DataType::Boolean => Self::Boolean(values.clone()),
            _ if field.metadata().get(ORIGINAL_KEY).is_some_and(|as_| as_ == "json") => {
                Self::Json(texts()?)
            }
            _ => Self::Text(texts()?),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Number(values) | Self::Integer(values) | Self::Boolean(values) => {
                values.is_null(row)
            }
            Self::Text(texts) | Self::Json(texts) => texts.is_null(row),
        }
    }
}

fn columns(rows: &RecordBatch) -> Result<Vec<Column>> {
    std::iter::zip(rows.schema_ref().fields(), rows.columns())
        .map(|(field, values)| Column::of(field, values))
        .collect()
}

/// An integer or a boolean as JSON and CSV write it.
fn written(values: &ArrayRef, row: usize) -> String {
    use tesla_data::arrow::datatypes::UInt64Type;
    match values.data_type() {
        DataType::Boolean => values.as_boolean().value(row).to_string(),
        DataType::UInt64 => values.as_primitive::<UInt64Type>().value(row).to_string(),
        _ => values.as_primitive::<Int64Type>().value(row).to_string(),
    }
}
