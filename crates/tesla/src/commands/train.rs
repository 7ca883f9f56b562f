use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;
use tesla::{Config, Dataset, DeviceChoice, Event, ModelConfig, Observer};
use tesla_data::hex_sha256;

use super::{open_device, write_whole};
use crate::progress::{Progress, Style};
use crate::{settings, show};

#[derive(Parser)]
pub(crate) struct Args {
    /// A `tesla.toml`, or data: a CSV or JSON-lines file, a folder of images, an IDX file.
    input: PathBuf,
    /// The column to predict.
    #[arg(long)]
    target: Option<String>,
    /// `linear`, `logistic`, `mlp` or `cnn`.
    #[arg(long)]
    model: Option<String>,
    /// `auto`, `wgpu`, `wgpu:N`, `flex` or `ndarray`.
    #[arg(long)]
    device: Option<DeviceChoice>,
    /// The seed of everything random.
    #[arg(long)]
    seed: Option<u64>,
    /// The most passes over the training rows.
    #[arg(long)]
    epochs: Option<usize>,
    /// Where the run is written. Default: `runs/` and the name of the data.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print the result only.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// Print one JSON object per event instead of text.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let (mut config, base, name) = program(&args.input)?;
    if let Some(target) = &args.target {
        config.data.target = Some(target.clone());
    }
    if let Some(kind) = &args.model
        && config.model.as_ref().is_none_or(|m| m.kind() != kind)
    {
        config.model = Some(ModelConfig::from_kind(kind)?);
    }
    config.train.seed = args.seed.unwrap_or(config.train.seed);
    config.train.epochs = args.epochs.unwrap_or(config.train.epochs);
    if let Some(device) = args.device {
        config.train.device = device.to_string();
    }
    let choice: DeviceChoice = config.train.device.parse().map_err(anyhow::Error::msg)?;

    let data = Dataset::load(&config.data, &base)?;
    let device = open_device(choice)?;
    let style = match (args.quiet, args.json) {
        (true, _) => Style::Quiet,
        (_, true) => Style::Json,
        _ if std::io::stdout().is_terminal() => Style::Bar,
        _ => Style::Lines,
    };
    let mut observer = Recorder {
        progress: Progress::new(style),
        lines: Vec::new(),
    };
    let trained = tesla::train::train(&config, &data, &device, &mut observer)?;
    observer.progress.finish();

    // Everything is ready before the first file is written.
    let out = args.out.unwrap_or_else(|| Path::new("runs").join(name));
    let bytes = trained.bundle.to_bytes()?;
    let resolved = settings::to_toml(&config, &base, trained.bundle.model.clone())?;
    let mut quarantine = Vec::new();
    for bad in &trained.bad {
        serde_json::to_writer(&mut quarantine, bad)?;
        quarantine.push(b'\n');
    }
    std::fs::create_dir_all(&out)
        .with_context(|| format!("cannot create the folder `{}`", out.display()))?;
    let model = out.join("model.tesla");
    let report = serde_json::to_vec_pretty(&trained.bundle.report)?;
    let split = trained.split.to_json();
    for (file, content) in [
        ("quarantine.jsonl", quarantine.as_slice()),
        ("tesla.toml", resolved.as_bytes()),
        ("metrics.jsonl", observer.lines.as_slice()),
        ("report.json", report.as_slice()),
        ("split.json", split.as_bytes()),
        ("model.tesla", bytes.as_slice()),
    ] {
        write_whole(&out.join(file), |f| Ok(f.write_all(content)?))?;
    }

    let mut stdout = std::io::stdout().lock();
    if args.json {
        let done = json!({
            "event": "finished", "model": model, "quarantined": trained.bad.len(), "sha256": hex_sha256(&bytes),
            "first_loss": trained.first_loss, "valid": trained.valid, "test": trained.test,
        });
        writeln!(stdout, "{done}")?;
        return Ok(());
    }
    match (&trained.test, &trained.valid) {
        (Some(test), _) => write!(stdout, "{}", show::report("test", test))?,
        (None, Some(valid)) => write!(stdout, "{}", show::report("validation", valid))?,
        (None, None) => writeln!(stdout, "no rows were kept to measure the model on")?,
    }
    if !trained.bad.is_empty() {
        let list = out.join("quarantine.jsonl");
        writeln!(
            stdout,
            "\n{} rows were set apart: {} says which and why",
            trained.bad.len(),
            list.display()
        )?;
    }
    writeln!(
        stdout,
        "\nmodel  {}  ({}, sha256 {})",
        model.display(),
        show::bytes(bytes.len()),
        &hex_sha256(&bytes)[..12]
    )?;
    writeln!(stdout, "next   tesla predict {0} <data>    tesla serve {0}", model.display())?;
    Ok(())
}

/// The configuration, where its relative paths start, and what to call the run.
pub(super) fn program(input: &Path) -> Result<(Config, PathBuf, String)> {
    let stem = |path: &Path| {
        let name = tesla_data::source::public_name(&path.to_string_lossy());
        let name = name.rsplit('/').next().unwrap_or_default();
        let name = name.split('.').next().unwrap_or_default();
        // What stands for other characters in a pattern is no part of a name.
        let name = name.replace(['*', '?', '[', ']'], "");
        match name.is_empty() {
            true => "model".to_string(),
            false => name,
        }
    };
    if input.extension().is_some_and(|e| e == "toml") {
        let config = settings::load(input)?;
        let base = input.parent().unwrap_or(Path::new("")).to_path_buf();
        // `digits/tesla.toml` is called `digits`, `digits.toml` too.
        let name = match (stem(input).as_str(), base.file_name()) {
            ("tesla", Some(folder)) => folder.to_string_lossy().into_owned(),
            (stem, _) => stem.to_string(),
        };
        return Ok((config, base, name));
    }
    let mut config = Config::default();
    config.data.source = input.display().to_string().into();
    Ok((config, PathBuf::new(), stem(input)))
}

/// Shows progress and keeps the events that `metrics.jsonl` is made of.
struct Recorder {
    progress: Progress,
    lines: Vec<u8>,
}

impl Observer for Recorder {
    fn event(&mut self, event: Event) {
        if !matches!(event, Event::Progress { .. }) {
            let line = serde_json::to_string(&event).expect("events serialise");
            self.lines.extend_from_slice(line.as_bytes());
            self.lines.push(b'\n');
        }
        self.progress.event(event);
    }
}
