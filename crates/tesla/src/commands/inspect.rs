use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use serde_json::json;
use tesla::Bundle;

use crate::show;

#[derive(Parser)]
pub(crate) struct Args {
    /// A model file.
    model: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let bundle = Bundle::load(&args.model)?;
    let mut stdout = std::io::stdout().lock();
    if args.json {
        let all = json!({
            "signature": bundle.signature, "contract": bundle.contract,
            "pipeline": bundle.pipeline, "model": bundle.model,
            "coefficients": bundle.coefficients(), "provenance": bundle.provenance,
            "report": bundle.report,
        });
        writeln!(stdout, "{}", serde_json::to_string_pretty(&all)?)?;
    } else {
        write!(stdout, "{}", show::bundle(&bundle))?;
    }
    Ok(())
}
