use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Parser;
use tesla::evaluate::Options;
use tesla::{Bundle, Config, DeviceChoice, Frame};
use tesla_data::contract::Need;

use super::{open_device, open_rows, seen, write_whole};
use crate::report::{Subject, look};
use crate::{page, show};

#[derive(Parser)]
pub(crate) struct Args {
    /// A model file.
    model: PathBuf,
    /// Rows that carry the target.
    data: String,
    /// The folder that the paths in a table of images start at. Default: the table's own.
    #[arg(long, value_name = "FOLDER")]
    images: Option<PathBuf>,
    /// Models that rank: rows of users and items, such as the training rows. What a user has there is left
    /// out of the user's list.
    #[arg(long, value_name = "DATA")]
    seen: Option<String>,
    /// A column whose values divide the rows into slices with figures of their own; may be repeated.
    #[arg(long, value_name = "COLUMN")]
    by: Vec<String>,
    /// The column that says what a row weighs in the figures. Default: that of the training run.
    #[arg(long, value_name = "COLUMN")]
    weight: Option<String>,
    /// `auto`, `wgpu`, `wgpu:N`, `flex` or `ndarray`.
    #[arg(long, default_value_t)]
    device: DeviceChoice,
    /// Print one JSON object: `rows`, `metrics`, `intervals`, `baselines`, `curves`, `slices`, `worst`.
    #[arg(long)]
    json: bool,
    /// Also write the report as one HTML page; it needs no network.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let bundle = Bundle::load(&args.model)?;
    let others: Vec<String> = args.by.iter().chain(&args.weight).cloned().collect();
    let (frame, weight) = read(&args.data, args.images.as_deref(), &bundle, &others)?;
    if frame.fingerprint()? == bundle.provenance.data_sha256 {
        note!(
            "note: the model was trained on rows of this very data; the figures of its test rows are in `tesla inspect`"
        );
    }
    let device = open_device(args.device)?;
    let predictor = bundle.predictor(&device)?;
    let options = Options {
        by: args.by,
        weight: args.weight.or(weight),
        seen: seen(args.seen.as_deref(), &predictor)?,
        ..Default::default()
    };
    let report = tesla_train::evaluate_with(&predictor, &frame.all(), &options)?;
    if let Some(path) = &args.html {
        let command = format!("tesla evaluate {} {}", args.model.display(), args.data);
        let by = options.by.iter().map(|column| format!(" --by {column}"));
        let seed = predictor.bundle().provenance.seed;
        let (explanations, mistakes) = look(&predictor, &device, &frame.all(), &report, seed)?;
        let subject = Subject {
            name: frame.name().into(),
            command: format!("{command}{} --html {}", by.collect::<String>(), path.display()),
            repeat: None,
            bundle: predictor.bundle(),
            sha256: None,
            parts: vec![("evaluated".into(), report.clone())],
            explanations,
            mistakes,
            notes: Vec::new(),
        };
        let page = page::report::page(&subject)?;
        write_whole(path, |file| Ok(file.write_all(page.as_bytes())?))?;
    }
    let mut stdout = std::io::stdout().lock();
    match args.json {
        true => writeln!(stdout, "{}", serde_json::to_string_pretty(&report)?)?,
        false => write!(stdout, "{}", show::full_report(frame.name(), &report))?,
    }
    Ok(())
}

fn run_of(bundle: &Bundle) -> Option<Config> {
    serde_json::from_value(bundle.provenance.config.clone()).ok()
}

/// Rows with their truth and with `others` of their columns; those that break the contract are left out,
/// and said. And the column that weighed rows in the training run, where they have it.
pub(super) fn read(
    data: &str,
    images: Option<&Path>,
    bundle: &Bundle,
    others: &[String],
) -> Result<(Frame, Option<String>)> {
    let (source, policy) = open_rows(data, images, bundle)?;
    let run = run_of(bundle).map(|config| config.data).unwrap_or_default();
    let mut weight = run.weight;
    if let Some(column) = &weight
        && source.schema()?.column_with_name(column).is_none()
    {
        note!(
            "note: `{}` has no column `{column}`, which weighed the rows of the training run: all rows count alike",
            source.name()
        );
        weight = None;
    }
    let others: Vec<String> = others.iter().chain(&weight).cloned().collect();
    let unrated = run.interactions.filter(|interactions| interactions.rating.is_none());
    let frame = match run.sequence.filter(|s| s.remaining_life.is_some()) {
        // The target is made of the rows; each group ends with its last.
        Some(sequence) => {
            let frame = bundle.contract.read_with(source, Need::Features, &others)?;
            frame.with_remaining_life(&sequence, None)?
        }
        None => match unrated {
            Some(interactions) => {
                let frame = bundle.contract.read_with(source, Need::Features, &others)?;
                frame.with_interaction(&interactions)?
            }
            None => bundle.contract.read_with(source, Need::Target, &others)?,
        },
    };
    let frame = frame.settle(&bundle.contract, &policy)?;
    for bad in frame.bad() {
        note!("left out: {}", bad.clone().into_error());
    }
    Ok((frame, weight))
}
