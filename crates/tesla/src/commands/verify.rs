use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Parser;
use tesla::{Bundle, Config, DeviceChoice, Event};
use tesla_data::{Sources, hex_sha256};

use super::open_device;
use crate::progress::{Progress, Style};

#[derive(Parser)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// A model file.
    model: PathBuf,
    /// The folder that the data is in. Default: the working folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Trains again what the model file says it was trained on, with its configuration, seed and device, and
compares the two files byte by byte.

Exit codes: 0 when they are equal, 1 when they are not or the data has changed.";

pub(crate) fn run(args: Args) -> Result<()> {
    // The folder of a run is its model, too.
    let model = match args.model.is_dir() {
        true => args.model.join("model.tesla"),
        false => args.model.clone(),
    };
    let stored =
        std::fs::read(&model).with_context(|| format!("cannot read `{}`", model.display()))?;
    let bundle = Bundle::from_bytes(&model.display().to_string(), &stored)?;
    let provenance = &bundle.provenance;
    let config: Config = serde_json::from_value(provenance.config.clone()).with_context(|| {
        format!("`{}` holds a configuration of another version of TESLA", args.model.display())
    })?;
    let base = args.data.unwrap_or_default();
    let style = match std::io::stdout().is_terminal() {
        true => Style::Bar,
        false => Style::Quiet,
    };
    let mut progress = Progress::new(style);
    let sources =
        Sources::open(&config.data, &base).with_context(|| match base.as_os_str().is_empty() {
            true => {
                "the data is looked for in the working folder: say where it is with `--data`".into()
            }
            false => format!("the data is looked for in `{}`", base.display()),
        })?;
    let data = progress.read(&sources.with_columns(&config.columns))?;
    let found = data.frame.fingerprint()?;
    if found != provenance.data_sha256 {
        bail!(
            "`{}` is not the data the model was trained on: its SHA-256 is {}, not {}",
            provenance.source,
            &found[..12],
            provenance.data_sha256.get(..12).unwrap_or_default()
        );
    }
    for (part, frame) in [("valid", &data.valid), ("test", &data.test)] {
        if let (Some(frame), Some(known)) = (frame, provenance.apart_sha256.get(part))
            && frame.fingerprint()? != *known
        {
            bail!(
                "`data.{part}` is not what it was when the model was trained: its SHA-256 is not {}",
                known.get(..12).unwrap_or_default()
            );
        }
    }
    let choice: DeviceChoice = provenance.device.parse().map_err(anyhow::Error::msg)?;
    let device = open_device(choice)?;
    let mut observer = |event: Event| progress.event(event);
    let trained = tesla::train::train(&config, &data, &device, &mut observer)?;
    progress.finish();
    let (again, stored) = (hex_sha256(&trained.bundle.to_bytes()?), hex_sha256(&stored));
    if again != stored {
        bail!(
            "the model file is {}, but training again gives {}: another version of TESLA, or a processor with other instructions, rounds differently",
            &stored[..12],
            &again[..12]
        );
    }
    writeln!(
        std::io::stdout().lock(),
        "training again gives the same file, byte for byte (sha256 {})",
        &stored[..12]
    )?;
    Ok(())
}
