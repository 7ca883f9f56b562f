use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};
use tempfile::NamedTempFile;
use tesla::{Bundle, DeviceChoice, Predictor};
use tesla_core::Predictions;
use tesla_data::arrow::array::RecordBatch;
use tesla_data::arrow::compute::{concat_batches, filter_record_batch};
use tesla_data::arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use tesla_data::contract::Need;
use tesla_data::prepare::{FittedTarget, Pass};
use tesla_data::source::{Batches, Reading, Scanned, Source};
use tesla_data::{BadRow, Contract, OnBad, Place, commonest};

use super::{
    cannot_write, folder_of, open_device, open_rows, persist, recommend, seen, write_whole,
};
use crate::sink::{Format, Sink};

#[derive(Parser)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// A model file.
    model: PathBuf,
    /// Rows to predict: a file or a pattern of files, a folder of images, a database, an address, or `-`
    /// for standard input.
    data: String,
    /// Where to write; `-` is standard output.
    #[arg(
        long,
        short,
        visible_alias = "output",
        default_value = "-",
        value_name = "FILE"
    )]
    out: PathBuf,
    /// How to write. Default: what the name of the output ends in (`.csv`, `.jsonl`, `.parquet`); JSON
    /// lines for JSON on standard output, CSV otherwise.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What happens to a row that cannot be read or breaks the model's contract. Default: as in the
    /// training run, but `fail` on standard output.
    #[arg(long, value_enum)]
    on_bad: Option<Bad>,
    /// The largest share of rows, in 0..1, that may be left out. Default: as in the training run.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    max_bad: Option<f64>,
    /// Where to list the rows that were left out. Default: `NAME.quarantine.jsonl` beside the output
    /// `NAME`; standard error where the output is standard output.
    #[arg(long, value_name = "FILE")]
    quarantine: Option<PathBuf>,
    /// The folder that the paths in a table of images start at. Default: the table's own.
    #[arg(long, value_name = "FOLDER")]
    images: Option<PathBuf>,
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

const AFTER_HELP: &str = "\
Rows are read, predicted and written a few thousand at a time, in their order, so a file may be of any
size. Every column comes out as it came in, and after them `prediction` and, for classes, the probability
of each. A file appears whole or not at all.";

/// What happens to a row that is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bad {
    /// It ends the command.
    Fail,
    /// It is left out and listed.
    Quarantine,
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    number.ok_or_else(|| "expected a number from 0 to 1, such as 0.01".into())
}

pub(crate) fn run(args: Args) -> Result<()> {
    let bundle = Bundle::load(&args.model)?;
    let (source, trained) = open_rows(&args.data, args.images.as_deref(), &bundle)?;
    let to_stdout = args.out == Path::new("-");
    if let (Ok(out), Ok(data)) = (args.out.canonicalize(), Path::new(&args.data).canonicalize())
        && out == data
    {
        bail!("`{}` is what is read: choose another name for `--out`", args.out.display());
    }
    let format = match args.format.or_else(|| Format::of(&args.out)) {
        Some(format) => format,
        None if to_stdout && source.is_json() => Format::Jsonl,
        None if !to_stdout && args.out.extension().is_some() => bail!(
            "`{}` says no format that can be written: expected a name that ends in `.csv`, `.jsonl` or `.parquet`, or `--format`",
            args.out.display()
        ),
        None => Format::Csv,
    };
    let predictor = bundle.predictor(&open_device(args.device)?)?;
    if let Some(top) = args.top {
        let seen = seen(args.seen.as_deref(), &predictor)?;
        let lists = recommend::Lists {
            source: &*source,
            predictor: &predictor,
            top,
            seen: &seen,
        };
        return match to_stdout {
            true => lists.write(format, &mut BufWriter::new(std::io::stdout())),
            false => write_whole(&args.out, |out| lists.write(format, out)),
        };
    }
    let columns = Columns::new(&*source, &predictor, format)?;
    let mut apart = Apart {
        source: &*source,
        ends: match args.on_bad {
            Some(bad) => bad == Bad::Fail,
            None => to_stdout || trained.on_bad == OnBad::Fail,
        },
        was_said: args.on_bad.is_some(),
        max_bad: args.max_bad.unwrap_or(trained.max_bad),
        list: match (args.quarantine, to_stdout) {
            (Some(path), _) => Some(path),
            (None, true) => None,
            (None, false) => Some(args.out.with_extension("quarantine.jsonl")),
        },
        file: None,
        unplaced: Vec::new(),
        examples: Vec::new(),
        bad: 0,
        kept: 0,
    };
    let progress = Progress::new(to_stdout);
    let mut write = |out: &mut (dyn Write + Send)| {
        let mut sink = format.open(out, &columns.out)?;
        stream(&*source, &predictor, &columns, &mut *sink, &mut apart, &progress)
    };
    let done = match to_stdout {
        true => write(&mut BufWriter::with_capacity(1 << 16, std::io::stdout())),
        false => write_whole(&args.out, write),
    };
    progress.end();
    done?;
    apart.finish()
}

/// Which columns are read, which of them the model sees, and which are written.
struct Columns {
    scan: SchemaRef,
    /// The places in `scan` of what the model sees.
    seen: Vec<usize>,
    /// The places in `scan` of what is written.
    kept: Vec<usize>,
    /// What is written, the predictions last.
    out: SchemaRef,
    predictions: SchemaRef,
}

impl Columns {
    fn new(source: &dyn Source, predictor: &Predictor, format: Format) -> Result<Self> {
        let contract = &predictor.bundle().contract;
        let predictions = none(predictor).to_batch().schema();
        let (scan, seen, mut kept) = match source.original_schema()? {
            Some(all) => twice(source, contract, &all, format)?,
            None => {
                let all = source.raw_schema()?;
                let each: Vec<usize> = (0..all.fields().len()).collect();
                (all, each.clone(), each)
            }
        };
        // Pictures are not written, and a prediction takes the place of a column of its name.
        kept.retain(|at| {
            let field = scan.field(*at);
            *field.data_type() != DataType::LargeBinary
                && predictions.column_with_name(field.name()).is_none()
        });
        let fields = kept.iter().map(|at| scan.fields()[*at].clone());
        let fields = fields.chain(predictions.fields().iter().cloned());
        Ok(Self {
            out: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            scan,
            seen,
            kept,
            predictions,
        })
    }

    /// Rows as they are written.
    fn join(&self, rows: &RecordBatch, predictions: &RecordBatch) -> Result<RecordBatch> {
        let kept = self.kept.iter().map(|at| rows.column(*at).clone());
        let columns = kept.chain(predictions.columns().iter().cloned()).collect();
        Ok(RecordBatch::try_new(self.out.clone(), columns)?)
    }
}

/// The columns that the model needs, as it needs them, and all as they are: what one scan delivers, and
/// the places in it of the former and of the latter.
fn twice(
    source: &dyn Source,
    contract: &Contract,
    all: &SchemaRef,
    format: Format,
) -> Result<(SchemaRef, Vec<usize>, Vec<usize>)> {
    let needed = contract.schema(Need::Features);
    let mut fields: Vec<FieldRef> = needed.fields().to_vec();
    if let Some(absent) = fields.iter().find(|f| all.column_with_name(f.name()).is_none()) {
        if *absent.data_type() == DataType::LargeBinary {
            bail!(
                "`{}` holds no images: this model reads pictures, so expected one, a folder of them, or a table with the column `{}` of paths",
                source.name(),
                absent.name()
            );
        }
        return Err(tesla_data::Error::MissingColumn {
            column: absent.name().clone(),
            place: format!("`{}`", source.name()),
            valid: all.fields().iter().map(|f| f.name().clone()).collect(),
        }
        .into());
    }
    let seen = (0..fields.len()).collect();
    let mut kept = Vec::with_capacity(all.fields().len());
    for own in all.fields() {
        let same = needed.fields().iter().position(|field| {
            // A text that is a number to the model is one where there are types.
            let is_number = format != Format::Csv
                && *field.data_type() == DataType::Float64
                && *own.data_type() == DataType::Utf8;
            field.name() == own.name() && (field == own || is_number)
        });
        kept.push(same.unwrap_or(fields.len()));
        if same.is_none() {
            fields.push(own.clone());
        }
    }
    Ok((Arc::new(Schema::new(fields)), seen, kept))
}

/// The predictions of no rows.
fn none(predictor: &Predictor) -> Predictions {
    match &predictor.bundle().pipeline.target {
        FittedTarget::Classes { labels, .. } => Predictions::Classes {
            labels: labels.as_slice().into(),
            probabilities: Vec::new(),
            threshold: None,
        },
        FittedTarget::Value { .. } => Predictions::Values(Vec::new()),
    }
}

/// Predicts batch by batch: memory does not grow with the file.
fn stream(
    source: &dyn Source,
    predictor: &Predictor,
    columns: &Columns,
    sink: &mut dyn Sink,
    apart: &mut Apart<'_>,
    progress: &Progress,
) -> Result<()> {
    let contract = &predictor.bundle().contract;
    let windows = predictor.bundle().pipeline.sequence.is_some();
    let mut batches = source.scan(&columns.scan)?;
    if windows {
        batches = Box::new(std::iter::once(whole(batches, &columns.scan)));
    }
    let mut first = 0;
    let mut pass = predictor.bundle().pipeline.pass();
    for scanned in batches {
        let Scanned { mut rows, mut bad } = scanned?;
        let end = first + rows.num_rows() + bad.len();
        let is_bad = |number: &usize| bad.binary_search_by_key(number, |b| b.number).is_ok();
        let mut numbers: Vec<usize> = (first..end).filter(|number| !is_bad(number)).collect();
        let breaches = contract.bad_rows(&rows.project(&columns.seen)?, Need::Features)?;
        leave_out(breaches, &mut rows, &mut numbers, &mut bad)?;
        let predictions = match windows {
            true => {
                let place = |row: usize| source.places(&numbers[row..=row])[0].to_string();
                predictor
                    .predict_at(&rows.project(&columns.seen)?, &place)?
                    .to_batch()
            }
            false => {
                let mut parts = Vec::new();
                let mut failed = Vec::new();
                let seen = rows.project(&columns.seen)?;
                predict(predictor, &mut pass, &seen, 0, &mut parts, &mut failed)?;
                leave_out(failed, &mut rows, &mut numbers, &mut bad)?;
                concat_batches(&columns.predictions, &parts)?
            }
        };
        bad.sort_by_key(|bad| bad.number);
        apart.add(bad, rows.num_rows())?;
        sink.write(&columns.join(&rows, &predictions)?)?;
        progress.show(source.reading(), end);
        first = end;
    }
    apart.check()?;
    sink.finish()
}

/// Takes rows, each named by its place among `rows`, out of these and of their `numbers`.
fn leave_out(
    out: Vec<BadRow>,
    rows: &mut RecordBatch,
    numbers: &mut Vec<usize>,
    bad: &mut Vec<BadRow>,
) -> Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    let mut keep = vec![true; numbers.len()];
    bad.extend(out.into_iter().map(|row| {
        keep[row.number] = false;
        BadRow {
            number: numbers[row.number],
            ..row
        }
    }));
    let mut kept = keep.iter();
    numbers.retain(|_| kept.next().copied().unwrap_or(true));
    *rows = filter_record_batch(rows, &keep.into())?;
    Ok(())
}

/// Predicts rows that keep the contract. What still fails, such as a picture that cannot be decoded, is
/// found by halving, and is named by its place among the rows.
fn predict(
    predictor: &Predictor,
    pass: &mut Pass<'_>,
    rows: &RecordBatch,
    first: usize,
    parts: &mut Vec<RecordBatch>,
    failed: &mut Vec<BadRow>,
) -> Result<()> {
    use tesla_core::Error::Data;
    use tesla_data::Error::{Row, Value};
    // What failed must not have filled a gap of what comes next.
    let mut here = pass.clone();
    let place = |row: usize| format!("row {}", row + 1);
    let (column, reason) = match predictor.predict_in(&mut here, rows, &place) {
        Ok(predictions) => {
            *pass = here;
            parts.push(predictions.to_batch());
            return Ok(());
        }
        Err(Data(Value { column, reason, .. })) => (Some(column), reason),
        Err(Data(Row { reason, .. })) => (None, reason),
        Err(other) => return Err(other.into()),
    };
    let half = rows.num_rows() / 2;
    if half == 0 {
        failed.push(BadRow {
            place: Place::default(),
            number: first,
            column,
            value: None,
            reason,
        });
        return Ok(());
    }
    predict(predictor, pass, &rows.slice(0, half), first, parts, failed)?;
    let rest = rows.slice(half, rows.num_rows() - half);
    predict(predictor, pass, &rest, first + half, parts, failed)
}

/// All rows at once: a window is made of rows that may stand in another batch.
fn whole(batches: Batches<'_>, schema: &SchemaRef) -> tesla_data::Result<Scanned> {
    let all = batches.collect::<tesla_data::Result<Vec<Scanned>>>()?;
    let (rows, bad): (Vec<_>, Vec<_>) = all.into_iter().map(|s| (s.rows, s.bad)).unzip();
    Ok(Scanned {
        rows: concat_batches(schema, &rows)?,
        bad: bad.concat(),
    })
}

/// The rows that are left out.
struct Apart<'a> {
    source: &'a dyn Source,
    /// Whether the first ends the command, and whether that was said on the command line.
    ends: bool,
    was_said: bool,
    max_bad: f64,
    /// Where they are listed, if not on standard error.
    list: Option<PathBuf>,
    file: Option<BufWriter<NamedTempFile>>,
    /// Those whose places are not known yet, and all after them.
    unplaced: Vec<BadRow>,
    /// The first of them, for a message.
    examples: Vec<BadRow>,
    bad: usize,
    kept: usize,
}

/// To find where a row stands may take reading the file again, which is done for so many at a time.
const UNPLACED: usize = 100_000;
/// Rows that a message tells the commonest reasons of.
const EXAMPLES: usize = 1000;

impl Apart<'_> {
    /// The next rows: those that are bad, and how many are not.
    fn add(&mut self, bad: Vec<BadRow>, kept: usize) -> Result<()> {
        self.kept += kept;
        self.bad += bad.len();
        self.unplaced.extend(bad);
        // Nobody waits for the end of a file that is not the one that was meant.
        let hopeless = self.bad > UNPLACED && self.bad > self.kept && self.max_bad < 0.5;
        if self.unplaced.len() >= UNPLACED || hopeless || (self.ends && self.bad > 0) {
            self.place()?;
        }
        if hopeless { self.check() } else { Ok(()) }
    }

    /// Finds where the rows stand, and lists them.
    fn place(&mut self) -> Result<()> {
        let mut rows = std::mem::take(&mut self.unplaced);
        let unknown: Vec<usize> = rows
            .iter()
            .filter(|row| row.place.source.is_empty())
            .map(|row| row.number)
            .collect();
        let mut places = match unknown.as_slice() {
            [] => Vec::new(),
            unknown => self.source.places(unknown),
        }
        .into_iter();
        for row in rows.iter_mut().filter(|row| row.place.source.is_empty()) {
            row.place = places
                .next()
                .unwrap_or_else(|| Place::row(self.source.name(), row.number));
        }
        if let (true, Some(first)) = (self.ends, rows.first()) {
            match self.was_said {
                true => return Err(first.clone().into_error().into()),
                false => bail!(
                    "{}; `--on-bad quarantine` leaves such rows out",
                    first.clone().into_error()
                ),
            }
        }
        for row in rows {
            match &self.list {
                Some(path) => {
                    if self.file.is_none() {
                        let file = NamedTempFile::new_in(folder_of(path));
                        let file = file.map_err(|e| cannot_write(path, e))?;
                        self.file = Some(BufWriter::new(file));
                    }
                    if let Some(file) = &mut self.file {
                        serde_json::to_writer(&mut *file, &row)?;
                        file.write_all(b"\n")?;
                    }
                }
                None => note!("left out: {}", row.clone().into_error()),
            }
            if self.examples.len() < EXAMPLES {
                self.examples.push(row);
            }
        }
        Ok(())
    }

    /// Whether there are too many of them.
    fn check(&mut self) -> Result<()> {
        self.place()?;
        let all = self.bad + self.kept;
        if self.bad == 0 || (self.kept > 0 && self.bad as f64 <= self.max_bad * all as f64) {
            return Ok(());
        }
        match self.examples.as_slice() {
            [only] if self.kept == 0 => Err(only.clone().into_error().into()),
            some => bail!(
                "`{}`: {} of {all} rows {} bad, more than `--max-bad {}` allows: {}",
                self.source.name(),
                self.bad,
                if self.bad == 1 { "is" } else { "are" },
                self.max_bad,
                commonest(some)
            ),
        }
    }

    /// Puts the list in its place and says how many rows there were.
    fn finish(mut self) -> Result<()> {
        let Self { bad, kept, .. } = self;
        let read = bad + kept;
        let Some(path) = self.list.take() else {
            if bad > 0 {
                note!("{read} rows read = {kept} predicted + {bad} left out");
            }
            return Ok(());
        };
        match self.file.take() {
            Some(file) => {
                let file = file.into_inner().map_err(|e| e.into_error())?;
                persist(file, &path, 0o644)?;
                note!(
                    "{read} rows read = {kept} predicted + {bad} left out, listed in `{}`",
                    path.display()
                );
            }
            None => {
                note!("{read} rows predicted");
                // The list of another run would be taken for this one's.
                if path.exists() {
                    std::fs::remove_file(&path)?;
                }
            }
        }
        Ok(())
    }
}

/// What a person sees on a terminal.
struct Progress {
    bar: ProgressBar,
    start: Instant,
}

impl Progress {
    fn new(to_stdout: bool) -> Self {
        // Hidden where standard error is no terminal, or rows go to the same one.
        let bar = match to_stdout && std::io::stdout().is_terminal() {
            true => ProgressBar::hidden(),
            false => ProgressBar::new(1),
        };
        let style = ProgressStyle::with_template("{bar:24.cyan/blue} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            bar,
            start: Instant::now(),
        }
    }

    fn show(&self, Reading { bytes, of, .. }: Reading, rows: usize) {
        if self.bar.is_hidden() {
            return;
        }
        let seconds = self.start.elapsed().as_secs_f64().max(1e-9);
        let mut message = format!("{rows} rows  {:.0} rows/s", rows as f64 / seconds);
        if of > 0 {
            // The columns may have been looked at before, which counts as a pass.
            let here = match bytes % of {
                0 => of,
                rest => rest,
            };
            let left = seconds * (of - here) as f64 / here as f64;
            self.bar.set_length(of);
            self.bar.set_position(here);
            message += &format!(
                "  {} of {}  {} left",
                HumanBytes(here),
                HumanBytes(of),
                HumanDuration(Duration::from_secs_f64(left.min(1e9)))
            );
        }
        self.bar.set_message(message);
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
