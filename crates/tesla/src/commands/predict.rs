use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Parser;
use serde_json::{Map, Value, json};
use tesla::{Bundle, DeviceChoice, Predictor};
use tesla_data::arrow::array::{Array, AsArray, RecordBatch};
use tesla_data::arrow::datatypes::{DataType, Float64Type, Schema};
use tesla_data::source::{Scanned, Source};

use super::{open_device, open_rows, write_whole};

#[derive(Parser)]
pub(crate) struct Args {
    /// A model file.
    model: PathBuf,
    /// Rows to predict: CSV or JSON lines, a folder of images, an IDX file, or `-` for standard
    /// input.
    data: String,
    /// Where to write; `-` is standard output. JSON lines when the name ends in `.jsonl`, or when
    /// the input is JSON and the output has no name; CSV otherwise.
    #[arg(long, short, default_value = "-")]
    output: PathBuf,
    /// `auto`, `wgpu`, `wgpu:N`, `flex` or `ndarray`.
    #[arg(long, default_value_t)]
    device: DeviceChoice,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let bundle = Bundle::load(&args.model)?;
    let source = open_rows(&args.data, &bundle)?;
    let predictor = bundle.predictor(&open_device(args.device)?)?;
    let ends = |path: &Path, end: &str| path.extension().is_some_and(|e| e == end);
    let to_stdout = args.output == Path::new("-");
    let as_json = match to_stdout {
        true => source.is_json(),
        false => ends(&args.output, "jsonl") || ends(&args.output, "ndjson"),
    };
    let write = |out: &mut dyn Write| match as_json {
        true => stream(&*source, &predictor, &mut JsonLines { out }),
        false => stream(
            &*source,
            &predictor,
            &mut Csv {
                out: csv_writer(out),
                header: false,
            },
        ),
    };
    match to_stdout {
        true => write(&mut std::io::BufWriter::new(std::io::stdout().lock())),
        false => write_whole(&args.output, write),
    }
}

/// Predicts batch by batch: memory does not grow with the file.
fn stream(source: &dyn Source, predictor: &Predictor, out: &mut dyn Rows) -> Result<()> {
    let mut first = 0;
    for batch in source.scan(&source.raw_schema()?)? {
        let Scanned {
            rows: batch,
            mut bad,
        } = batch?;
        if !bad.is_empty() {
            return Err(bad.swap_remove(0).into_error().into());
        }
        let place = |row: usize| source.places(&[first + row])[0].to_string();
        let predictions = predictor.predict_at(&batch, &place)?;
        out.write(&join(&batch, &predictions.to_batch())?)?;
        first += batch.num_rows();
    }
    out.finish()
}

/// The columns that can be written, then the predictions.
fn join(rows: &RecordBatch, predictions: &RecordBatch) -> Result<RecordBatch> {
    let schema = rows.schema();
    let (mut fields, mut columns): (Vec<_>, Vec<_>) =
        std::iter::zip(schema.fields(), rows.columns())
            .filter(|(field, _)| *field.data_type() != DataType::LargeBinary)
            .filter(|(field, _)| predictions.column_by_name(field.name()).is_none())
            .map(|(field, column)| (field.clone(), column.clone()))
            .unzip();
    fields.extend(predictions.schema().fields().iter().cloned());
    columns.extend(predictions.columns().iter().cloned());
    let schema = Schema::new(fields);
    Ok(RecordBatch::try_new(schema.into(), columns)?)
}

/// A format that rows are written in.
trait Rows {
    fn write(&mut self, rows: &RecordBatch) -> Result<()>;
    fn finish(&mut self) -> Result<()>;
}

struct Csv<W: Write> {
    out: csv::Writer<W>,
    header: bool,
}

fn csv_writer<W: Write>(out: W) -> csv::Writer<W> {
    csv::Writer::from_writer(out)
}

impl<W: Write> Rows for Csv<W> {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        if !self.header {
            let schema = rows.schema();
            self.out.write_record(schema.fields().iter().map(|f| f.name()))?;
            self.header = true;
        }
        for row in 0..rows.num_rows() {
            for column in rows.columns() {
                match column.data_type() {
                    _ if column.is_null(row) => self.out.write_field("")?,
                    DataType::Float64 => {
                        let value = column.as_primitive::<Float64Type>().value(row);
                        self.out.write_field(value.to_string())?;
                    }
                    _ => self.out.write_field(column.as_string::<i32>().value(row))?,
                }
            }
            self.out.write_record(None::<&[u8]>)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }
}

struct JsonLines<W: Write> {
    out: W,
}

impl<W: Write> Rows for JsonLines<W> {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let schema = rows.schema();
        for row in 0..rows.num_rows() {
            let object: Map<String, Value> = std::iter::zip(schema.fields(), rows.columns())
                .map(|(field, column)| {
                    let value = match column.data_type() {
                        _ if column.is_null(row) => Value::Null,
                        DataType::Float64 => json!(column.as_primitive::<Float64Type>().value(row)),
                        _ => json!(column.as_string::<i32>().value(row)),
                    };
                    (field.name().clone(), value)
                })
                .collect();
            serde_json::to_writer(&mut self.out, &object)?;
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }
}
