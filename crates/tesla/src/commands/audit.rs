use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use tesla_data::Sources;
use tesla_data::audit::Severity;

use super::train::program;

#[derive(Parser)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// A `tesla.toml`, or data.
    input: PathBuf,
    /// The column to predict.
    #[arg(long)]
    target: Option<String>,
    /// Print the findings as one JSON list.
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
What is looked for: rows, texts and images that are in two parts of the split; groups in two parts;
times that overlap; columns that tell the target alone; columns that are ids. A finding that is known
is accepted in `tesla.toml`: `[audit] accept = [\"KIND:COLUMN\"]`.

Exit codes: 0 when nothing stops training, 1 when something does.";

pub(crate) fn run(args: Args) -> Result<()> {
    let (mut config, base, _) = program(&args.input)?;
    if let Some(target) = &args.target {
        config.data.target = Some(target.clone());
    }
    let data = Sources::open(&config.data, &base)?
        .with_columns(&config.columns)
        .read()?;
    let findings = tesla_train::findings(&config, &data)?;
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", serde_json::to_string_pretty(&findings)?)?;
    } else if findings.is_empty() {
        writeln!(stdout, "nothing was found: the parts are apart, and no column tells the target")?;
    } else {
        for finding in &findings {
            let severity = match finding.severity {
                Severity::Stop => "stop",
                Severity::Warn => "warning",
            };
            writeln!(stdout, "{severity}: {finding}")?;
        }
    }
    match findings.iter().filter(|f| f.severity == Severity::Stop).count() {
        0 => Ok(()),
        1 => anyhow::bail!("one finding stops the training"),
        grave => anyhow::bail!("{grave} findings stop the training"),
    }
}
