use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Parser;
use indicatif::HumanBytes;
use tesla::Bundle;
use tesla_core::app;

use super::write_whole_as;

#[derive(Parser)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// A model file.
    model: PathBuf,
    /// The program to write.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// The `tesla` program to take instead of this one, such as one built for another system or for the
    /// CPU alone.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
The program that is written is this one with the model behind it. It needs no other file:
  ./app predict rows.csv
  ./app serve
  ./app inspect";

pub(crate) fn run(args: Args) -> Result<()> {
    let program = match args.program {
        Some(program) => program,
        None => std::env::current_exe().context("cannot find this program's own file")?,
    };
    if app::is_app(&program) {
        bail!("`{}` has a model already: expected a plain `tesla` program", program.display());
    }
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut program =
        std::fs::read(&program).with_context(|| format!("cannot read `{}`", program.display()))?;
    app::mark(&name, &mut program)?;
    let bundle = Bundle::load(&args.model)?;
    let model = bundle.to_bytes()?;
    write_whole_as(&args.out, 0o755, |out| {
        out.write_all(&program)?;
        Ok(out.write_all(&app::appendix(&model))?)
    })?;
    writeln!(
        std::io::stdout().lock(),
        "{}: {} = program {} + model {} ({})",
        args.out.display(),
        HumanBytes((program.len() + app::appendix(&model).len()) as u64),
        HumanBytes(program.len() as u64),
        HumanBytes(model.len() as u64),
        bundle.model.kind(),
    )?;
    Ok(())
}
