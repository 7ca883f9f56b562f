use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use serde_json::json;
use tesla::{Bundle, DeviceChoice};
use tesla_data::contract::Need;
use tesla_train::explain::{Explainer, Sample};

use super::{open_device, open_rows};
use crate::show;

#[derive(Parser)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// A model file.
    model: PathBuf,
    /// Rows to explain: CSV or JSON lines, a folder of images, an IDX file, or `-` for standard input.
    data: String,
    /// The most rows that are explained, from the first on.
    #[arg(long, default_value_t = 20)]
    rows: usize,
    /// The most columns or words that are shown of each.
    #[arg(long, default_value_t = 8)]
    top: usize,
    /// The folder that the paths in a table of images start at. Default: the table's own.
    #[arg(long, value_name = "FOLDER")]
    images: Option<PathBuf>,
    /// `auto`, `wgpu`, `wgpu:N`, `flex` or `ndarray`.
    #[arg(long, default_value_t)]
    device: DeviceChoice,
    /// Print one JSON object per row, with everything that was found.
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
How to read it:
  Each number says what a column or word added to the prediction, compared with a row of which nothing
  is known. A class is explained by its log-odds, or, of more than two classes, by its score above the
  mean score of the others; a number in its own unit. Of a picture, each part has what the score loses
  without it.";

pub(crate) fn run(args: Args) -> Result<()> {
    let bundle = Bundle::load(&args.model)?;
    let (source, _) = open_rows(&args.data, args.images.as_deref(), &bundle)?;
    let frame = bundle.contract.read(source, Need::Features)?;
    for bad in frame.bad() {
        note!("left out: {}", bad.clone().into_error());
    }
    let device = open_device(args.device)?;
    let rows = frame.all();
    let first: Vec<usize> = (0..rows.len().min(args.rows)).collect();
    let predictor = bundle.predictor(&device)?;
    let sample = Sample::around(&predictor, &rows, first.clone())?;
    let wanted: Vec<usize> = first
        .iter()
        .filter_map(|row| sample.rows.binary_search(row).ok())
        .collect();
    let place = |row: usize| rows.place(sample.rows[row]);
    let explained =
        Explainer::new(predictor.bundle(), &device)?.explain(&sample.batch, &wanted, &place)?;
    let mut out = std::io::stdout().lock();
    for (row, explained) in std::iter::zip(wanted, explained) {
        match args.json {
            true => {
                let mut object = json!({ "place": place(row) });
                let found = serde_json::to_value(&explained)?;
                if let (Some(object), Some(found)) = (object.as_object_mut(), found.as_object()) {
                    object.extend(found.clone());
                }
                writeln!(out, "{object}")?;
            }
            false => write!(out, "{}", show::explained(&place(row), &explained, args.top))?,
        }
    }
    if rows.len() > args.rows && !args.json {
        writeln!(out, "\n{} more rows: say `--rows {}`", rows.len() - args.rows, rows.len())?;
    }
    Ok(())
}
