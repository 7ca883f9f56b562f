use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use indicatif::HumanBytes;
use tesla::Bundle;
use tesla_core::onnx;

use super::write_whole;

/// What other programs read.
#[derive(Subcommand)]
pub(crate) enum Format {
    /// The network and its preparation in one graph: raw columns go in.
    Onnx(OnnxArgs),
    /// The network's weights alone, by the names of its modules.
    Safetensors(SafetensorsArgs),
}

#[derive(Parser)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct OnnxArgs {
    /// A model file.
    model: PathBuf,
    /// The file to write.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// Leave out the checks of `range`, `categories` and `required`: a graph cannot refuse a row.
    #[arg(long)]
    without_limits: bool,
}

const AFTER_HELP: &str = "\
Every feature column is an input of the graph: [rows, 1] of doubles for a number (NaN where it is missing),
[rows, 1] of strings for a category (empty where it is missing), [rows, channels, height, width] of bytes
for an image in the model's size. Outputs: `prediction` and, for classes, `probability`. What ONNX cannot
express is refused by its name.";

#[derive(Parser)]
pub(crate) struct SafetensorsArgs {
    /// A model file.
    model: PathBuf,
    /// The file to write.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(format: Format) -> Result<()> {
    let (out, bytes) = match format {
        Format::Onnx(args) => {
            let options = onnx::Options {
                without_limits: args.without_limits,
            };
            (args.out, onnx::export(&Bundle::load(&args.model)?, options)?)
        }
        Format::Safetensors(args) => (args.out, Bundle::load(&args.model)?.weights().to_vec()),
    };
    write_whole(&out, |file| Ok(file.write_all(&bytes)?))?;
    let size = HumanBytes(bytes.len() as u64);
    writeln!(std::io::stdout().lock(), "{}: {size}", out.display())?;
    Ok(())
}
