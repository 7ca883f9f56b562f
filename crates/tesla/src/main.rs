//! The `tesla` command line: arguments, dispatch and exit codes. One file per command.

mod commands;
mod figures;
mod page;
mod progress;
mod report;
mod settings;
mod show;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

// Keeps the large blocks of a training step instead of returning them to the kernel: a CNN step
// on the CPU takes half the time of one with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Raw data in, a sealed model out, the same model served anywhere.
#[derive(Parser)]
#[command(name = "tesla", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  tesla profile data.csv --target income      look at the data first
  tesla train data.csv --target income        train on a table
  tesla train datasets/digits/tesla.toml      train as a file says
  tesla predict runs/data/model.tesla new.csv predict, CSV to standard output
  tesla serve runs/data/model.tesla           answer predictions over HTTP

Exit codes:
  0  done
  1  the data, the configuration or the model file is at fault; the message says where
  2  the command line is at fault
  3  the machine is at fault (device, disk, network address): worth another try
  130  training was interrupted; `tesla train --resume` goes on with it";

#[derive(Subcommand)]
enum Command {
    /// Look at data before training: columns, relation to the target, warnings.
    Profile(commands::profile::Args),
    /// Look for leaks: rows in two parts, columns that tell the target alone.
    Audit(commands::audit::Args),
    /// Train a model from a `tesla.toml` or straight from data.
    Train(commands::train::Args),
    /// Measure a model on rows that carry the target.
    Evaluate(commands::evaluate::Args),
    /// Compare two models on the same rows.
    Compare(commands::compare::Args),
    /// Write the report of a run again: page, Markdown and JSON.
    Report(commands::report::Args),
    /// Say what each column or word added to the prediction of single rows.
    Explain(commands::explain::Args),
    /// List, filter, sort and compare runs.
    Runs(commands::runs::Args),
    /// Predict rows: CSV or JSON lines in and out.
    Predict(commands::predict::Args),
    /// Answer predictions over HTTP.
    Serve(commands::serve::Args),
    /// Show what is inside a model file.
    Inspect(commands::inspect::Args),
    /// Train a model again from what its file says, and compare.
    Verify(commands::verify::Args),
    /// List the devices of this machine.
    Devices,
    /// Print the JSON Schema of `tesla.toml`, for editors.
    Schema,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Profile(args) => commands::profile::run(args),
        Command::Audit(args) => commands::audit::run(args),
        Command::Train(args) => commands::train::run(args),
        Command::Evaluate(args) => commands::evaluate::run(args),
        Command::Compare(args) => commands::compare::run(args),
        Command::Report(args) => commands::report::run(args),
        Command::Explain(args) => commands::explain::run(args),
        Command::Runs(args) => commands::runs::run(args),
        Command::Predict(args) => commands::predict::run(args),
        Command::Serve(args) => commands::serve::run(args),
        Command::Inspect(args) => commands::inspect::run(args),
        Command::Verify(args) => commands::verify::run(args),
        Command::Devices => commands::devices(),
        Command::Schema => commands::schema(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough, such as `| head`.
        Err(error) if commands::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", commands::sentence(&error));
            ExitCode::from(commands::exit_code(&error))
        }
    }
}
