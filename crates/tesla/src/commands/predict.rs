use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use clap::Parser;
use serde_json::{Map, Value, json};
use tesla::{Bundle, DeviceChoice, Predictor, Ranked, Seen};
use tesla_data::ColumnKind;
use tesla_data::arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use tesla_data::arrow::compute::{cast, concat_batches};
use tesla_data::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Schema, SchemaRef};
use tesla_data::source::{Batches, Scanned, Source};

use super::{open_device, open_rows, seen, write_whole};

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
    /// Models of users and items: this many items for each user instead, best first. The rows need the
    /// column of users only.
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// With `--top`: rows of users and items, such as the training rows. What a user has there is left
    /// out of the user's list.
    #[arg(long, value_name = "DATA", requires = "top")]
    seen: Option<String>,
    /// `auto`, `wgpu`, `wgpu:N`, `flex` or `ndarray`.
    #[arg(long, default_value_t)]
    device: DeviceChoice,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let bundle = Bundle::load(&args.model)?;
    let (source, _) = open_rows(&args.data, &bundle)?;
    let predictor = bundle.predictor(&open_device(args.device)?)?;
    let ends = |path: &Path, end: &str| path.extension().is_some_and(|e| e == end);
    let to_stdout = args.output == Path::new("-");
    let as_json = match to_stdout {
        true => source.is_json(),
        false => ends(&args.output, "jsonl") || ends(&args.output, "ndjson"),
    };
    let lists = match args.top {
        Some(top) => Some((top, seen(args.seen.as_deref(), &predictor)?)),
        None => None,
    };
    let each = |out: &mut dyn Rows| match &lists {
        Some((top, seen)) => recommend(&*source, &predictor, *top, seen, out),
        None => stream(&*source, &predictor, out),
    };
    let write = |out: &mut dyn Write| match as_json {
        true => each(&mut JsonLines { out }),
        false => each(&mut Csv {
            out: csv_writer(out),
            header: false,
        }),
    };
    match to_stdout {
        true => write(&mut std::io::BufWriter::new(std::io::stdout().lock())),
        false => write_whole(&args.output, write),
    }
}

/// Predicts batch by batch: memory does not grow with the file.
fn stream(source: &dyn Source, predictor: &Predictor, out: &mut dyn Rows) -> Result<()> {
    let mut first = 0;
    let mut batches = source.scan(&schema(source, predictor)?)?;
    if predictor.bundle().pipeline.sequence.is_some() {
        batches = Box::new(std::iter::once(whole(batches)));
    }
    for batch in batches {
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

/// Writes a list of items for each user, batch by batch: one row per item.
fn recommend(
    source: &dyn Source,
    predictor: &Predictor,
    top: usize,
    seen: &Seen,
    out: &mut dyn Rows,
) -> Result<()> {
    let bundle = predictor.bundle();
    let Some(fitted) = &bundle.pipeline.interactions else {
        // Says what the model is instead.
        predictor.recommend(&[], top, seen)?;
        return Ok(());
    };
    if seen.is_empty() && !predictor.keeps_seen() {
        eprintln!(
            "note: the model file does not hold what users have, so that lists may repeat it: give `--seen <ratings>`, or train with `keep_seen = true` in `[data.interactions]`"
        );
    }
    let (mut users, mut unknown) = (0, 0);
    for batch in source.scan(&source.raw_schema()?)? {
        let Scanned {
            rows: batch,
            mut bad,
        } = batch?;
        if !bad.is_empty() {
            return Err(bad.swap_remove(0).into_error().into());
        }
        let Some(column) = batch.column_by_name(&fitted.user) else {
            let names = batch.schema_ref().fields().iter();
            return Err(tesla_data::Error::MissingColumn {
                column: fitted.user.clone(),
                place: format!("`{}`", source.name()),
                valid: names.map(|field| field.name().clone()).collect(),
            }
            .into());
        };
        let names = bundle.contract.names(&fitted.user, column)?;
        let names: Vec<String> = names.iter().flatten().map(String::from).collect();
        let lists = predictor.recommend(&names, top, seen)?;
        users += lists.len();
        unknown += lists.iter().filter(|list| !list.known).count();
        out.write(&as_rows(&lists, &fitted.user, &fitted.item)?)?;
    }
    if unknown > 0 {
        eprintln!(
            "note: {unknown} of {users} users are unknown to the model: their lists are the most popular items, with the number of training rows as score"
        );
    }
    out.finish()
}

/// Lists as rows: user, rank from 1, item, score, and whether the model or popularity ranked.
fn as_rows(lists: &[Ranked], user: &str, item: &str) -> Result<RecordBatch> {
    let all = || {
        let ranked = |list: &'_ Ranked| (0..list.items.len()).collect::<Vec<_>>();
        lists
            .iter()
            .flat_map(move |list| ranked(list).into_iter().map(move |at| (list, at)))
    };
    let texts = |values: Vec<String>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let numbers = |values: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
    let by = |list: &Ranked| if list.known { "model" } else { "popularity" }.to_string();
    let columns = [
        (user, texts(all().map(|(list, _)| list.user.clone()).collect())),
        ("rank", numbers(all().map(|(_, at)| at as f64 + 1.0).collect())),
        (item, texts(all().map(|(list, at)| list.items[at].0.clone()).collect())),
        ("score", numbers(all().map(|(list, at)| list.items[at].1).collect())),
        ("by", texts(all().map(|(list, _)| by(list)).collect())),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// All rows at once: a window is made of rows that may stand in another batch.
fn whole(batches: Batches<'_>) -> tesla_data::Result<Scanned> {
    let all = batches.collect::<tesla_data::Result<Vec<Scanned>>>()?;
    let Some(schema) = all.first().map(|first| first.rows.schema()) else {
        return Ok(RecordBatch::new_empty(Arc::new(Schema::empty())).into());
    };
    let (rows, bad): (Vec<_>, Vec<_>) = all.into_iter().map(|s| (s.rows, s.bad)).unzip();
    Ok(Scanned {
        rows: concat_batches(&schema, &rows)?,
        bad: bad.concat(),
    })
}

/// All columns as they are, but numbers that the model needs where only the source knows how they
/// are written.
fn schema(source: &dyn Source, predictor: &Predictor) -> Result<SchemaRef> {
    let bundle = predictor.bundle();
    let decimal = &bundle.provenance.config["data"]["csv"]["decimal"];
    let raw = source.raw_schema()?;
    if decimal.as_str().is_none_or(|mark| mark == ".") {
        return Ok(raw);
    }
    let is_number = |name: &str| {
        let mut features = bundle.contract.inputs();
        features.any(|rule| rule.name == name && rule.kind == ColumnKind::Numeric)
    };
    let fields = raw.fields().iter().map(|field| match is_number(field.name()) {
        true => Arc::new(Field::new(field.name(), DataType::Float64, true)),
        false => field.clone(),
    });
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// The columns that can be written, then the predictions.
fn join(rows: &RecordBatch, predictions: &RecordBatch) -> Result<RecordBatch> {
    let schema = rows.schema();
    let (mut fields, mut columns): (Vec<_>, Vec<_>) =
        std::iter::zip(schema.fields(), rows.columns())
            .filter(|(field, _)| *field.data_type() != DataType::LargeBinary)
            .filter(|(field, _)| predictions.column_by_name(field.name()).is_none())
            .map(|(field, column)| plain(field, column))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .unzip();
    fields.extend(predictions.schema().fields().iter().cloned());
    columns.extend(predictions.columns().iter().cloned());
    let schema = Schema::new(fields);
    Ok(RecordBatch::try_new(schema.into(), columns)?)
}

/// A column as the two types that are written: numbers, and texts for everything else.
fn plain(field: &FieldRef, column: &ArrayRef) -> Result<(FieldRef, ArrayRef)> {
    let kind = match field.data_type() {
        DataType::Float64 | DataType::Utf8 => return Ok((field.clone(), column.clone())),
        kind if kind.is_numeric() => DataType::Float64,
        _ => DataType::Utf8,
    };
    let column = cast(column, &kind)?;
    Ok((Arc::new(Field::new(field.name(), kind, true)), column))
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
