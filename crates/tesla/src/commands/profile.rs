use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use tesla_data::{Sources, profile};

use super::train::program;
use super::write_whole;
use crate::progress::{Progress, Style};
use crate::{page, show};

#[derive(Parser)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Data (a file, a folder of images or texts, a URL, or `-` for standard input), or a `tesla.toml`
    /// that names it.
    data: PathBuf,
    /// The column to predict: every other column is related to it.
    #[arg(long)]
    target: Option<String>,
    /// Print one JSON object with everything that was found.
    #[arg(long)]
    json: bool,
    /// Also write one HTML page with plots; it needs no network.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  tesla profile data.csv                          what is in each column
  tesla profile data.csv --target income          and how it relates to `income`
  tesla profile tesla.toml --html profile.html    as a page to share

How to read it:
  r  Pearson's correlation, -1 to 1: a number against a number
  η  correlation ratio, 0 to 1: a number against classes, or classes against a number
  V  Cramér's V, 0 to 1: classes against classes
  A column that alone tells the target is often known only after the outcome; say
  `drop = [\"column\"]` under `[data]` in `tesla.toml` to keep the model from it.";

/// What a line is wide where there is no terminal.
const WIDTH: usize = 80;

pub(crate) fn run(args: Args) -> Result<()> {
    let (mut config, base, _) = program(&args.data)?;
    if let Some(target) = &args.target {
        config.data.target = Some(target.clone());
    }
    // Rows that are kept apart stay unseen.
    config.data.test = None;
    config.data.valid = None;
    config.data.split.test_rows = None;
    config.data.split.file = None;
    if let Some(life) = config.data.sequence.as_mut().and_then(|s| s.remaining_life.as_mut()) {
        life.after = None;
    }
    let style = match std::io::stderr().is_terminal() {
        true => Style::Bar,
        false => Style::Quiet,
    };
    let data = Progress::new(style)
        .read(&Sources::open(&config.data, &base)?.with_columns(&config.columns))?;
    let found = profile(&data.frame, &config.data, &config.columns)?;

    if let Some(path) = &args.html {
        let mut command = format!("tesla profile {}", args.data.display());
        if let Some(target) = &args.target {
            command += &format!(" --target {target}");
        }
        let page = page::profile::page(&found, &command)?;
        write_whole(path, |file| Ok(file.write_all(page.as_bytes())?))?;
    }
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", serde_json::to_string_pretty(&found)?)?;
        return Ok(());
    }
    let width = terminal_size::terminal_size().map_or(WIDTH, |(width, _)| usize::from(width.0));
    write!(stdout, "{}", show::profile::profile(&found, width))?;
    if let Some(path) = &args.html {
        writeln!(stdout, "\npage   {}", path.display())?;
    }
    Ok(())
}
