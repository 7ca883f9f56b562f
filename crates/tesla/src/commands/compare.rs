use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Parser;
use serde_json::json;
use tesla::evaluate::Resampling;
use tesla::{Bundle, DeviceChoice};

use super::evaluate::read;
use super::open_device;
use crate::show;

#[derive(Parser)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// A model file.
    first: PathBuf,
    /// Another, of the same target.
    second: PathBuf,
    /// Rows that carry the target, and that neither model was trained on.
    data: String,
    /// `auto`, `wgpu`, `wgpu:N`, `flex` or `ndarray`.
    #[arg(long, default_value_t)]
    device: DeviceChoice,
    /// The column that says what a row weighs in the figures.
    #[arg(long, value_name = "COLUMN")]
    weight: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Both models predict the rows that keep the contracts of both. Whether one is better is decided by McNemar's
test (classes), or a paired bootstrap of the accuracy (classes with --weight) or the rmse (numbers), at
p < 0.05.";

pub(crate) fn run(args: Args) -> Result<()> {
    let others: Vec<String> = args.weight.clone().into_iter().collect();
    let device = open_device(args.device)?;
    let open = |path: &Path| -> Result<_> {
        let bundle = Bundle::load(path)?;
        let (frame, _) = read(&args.data, None, &bundle, &others)?;
        if frame.fingerprint()? == bundle.provenance.data_sha256 {
            note!(
                "note: `{}` was trained on rows of this very data: it knows answers that it is asked for",
                path.display()
            );
        }
        Ok((bundle.predictor(&device)?, frame))
    };
    let (first, second) = (open(&args.first)?, open(&args.second)?);
    let found = tesla_train::compare(
        [&first.0, &second.0],
        [&first.1.all(), &second.1.all()],
        args.weight.as_deref(),
        &Resampling::default(),
    )?;
    if found.left_out > 0 {
        note!(
            "note: {} rows that only one of the models can be judged on are left out",
            found.left_out
        );
    }
    let names = names(&args.first, &args.second);
    let names = [names[0].as_str(), names[1].as_str()];
    let mut stdout = std::io::stdout().lock();
    match args.json {
        true => {
            let mut all = json!(found);
            all["models"] = json!(names);
            all["conclusion"] = json!(found.conclusion(names));
            writeln!(stdout, "{}", serde_json::to_string_pretty(&all)?)?;
        }
        false => write!(stdout, "{}", show::comparison(names, &found))?,
    }
    Ok(())
}

/// The names of two model files: of their folders where the files are called the same.
fn names(first: &Path, second: &Path) -> [String; 2] {
    let last = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let folder = |path: &Path| path.parent().and_then(last);
    let both = |name: &dyn Fn(&Path) -> Option<String>| {
        let names = [name(first)?, name(second)?];
        (names[0] != names[1]).then_some(names)
    };
    both(&last)
        .or_else(|| both(&folder))
        .unwrap_or_else(|| [first.display().to_string(), second.display().to_string()])
}
