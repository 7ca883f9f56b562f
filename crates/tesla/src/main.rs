//! The `tesla` command line: arguments, dispatch and exit codes. One file per command.

/// A line to standard error. Whoever closed it wants none, which is no reason to stop.
macro_rules! note {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

mod commands;
mod deploy;
mod figures;
mod page;
mod progress;
mod report;
mod settings;
mod show;
mod sink;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

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
    /// Predict rows of a file of any size: CSV, JSON lines or Parquet in and out.
    Predict(commands::predict::Args),
    /// Answer predictions over HTTP.
    Serve(commands::serve::Args),
    /// Show what is inside a model file.
    Inspect(commands::inspect::Args),
    /// Make one program of this one and a model.
    Bundle(commands::bundle::Args),
    /// Write what a model needs to be served by Docker, Kubernetes or systemd.
    #[command(subcommand)]
    Deploy(commands::deploy::Target),
    /// Write a model for other programs: ONNX with its preparation, or the bare weights.
    #[command(subcommand)]
    Export(commands::export::Format),
    /// Train a model again from what its file says, and compare.
    Verify(commands::verify::Args),
    /// List public data sets, and fetch one.
    #[command(subcommand)]
    Datasets(commands::datasets::Command),
    /// List the devices of this machine.
    Devices,
    /// Print the JSON Schema of `tesla.toml`, for editors.
    Schema,
}

/// What a program with a model behind it can do.
#[derive(Parser)]
#[command(
    version,
    about = "A model that predicts: one file, made by `tesla bundle`"
)]
struct App {
    #[command(subcommand)]
    command: AppCommand,
}

#[derive(Subcommand)]
enum AppCommand {
    /// Predict rows of a file of any size: CSV, JSON lines or Parquet in and out.
    #[command(mut_arg("model", behind), mut_arg("data", |data| data.index(2)))]
    Predict(commands::predict::Args),
    /// Answer predictions over HTTP.
    #[command(mut_arg("models", behind))]
    Serve(commands::serve::Args),
    /// Measure the model on rows that carry the target.
    #[command(mut_arg("model", behind), mut_arg("data", |data| data.index(2)))]
    Evaluate(commands::evaluate::Args),
    /// Show what the model is.
    #[command(mut_arg("model", behind))]
    Inspect(commands::inspect::Args),
}

/// The model as an argument that nobody gives: it comes first and is not shown.
fn behind(model: clap::Arg) -> clap::Arg {
    model.hide(true).required(false).index(1)
}

/// What was asked for; a program with a model behind it is its own model file.
fn command() -> Command {
    let own = std::env::current_exe()
        .ok()
        .filter(|path| tesla_core::app::is_app(path));
    let Some(own) = own else {
        if tesla_core::app::is_bundled() {
            eprintln!(
                "error: this program has been cut off: its model is missing; copy it whole, or make it again with `tesla bundle`"
            );
            std::process::exit(1);
        }
        return Cli::parse().command;
    };
    let mut args: Vec<_> = std::env::args_os().collect();
    let is_command = args.get(1).is_some_and(|arg| {
        let named = |command: &clap::Command| arg.as_os_str() == command.get_name();
        App::command().get_subcommands().any(named)
    });
    if is_command {
        args.insert(2, own.into());
    }
    match App::parse_from(args).command {
        AppCommand::Predict(args) => Command::Predict(args),
        AppCommand::Serve(args) => Command::Serve(args),
        AppCommand::Evaluate(args) => Command::Evaluate(args),
        AppCommand::Inspect(args) => Command::Inspect(args),
    }
}

fn main() -> ExitCode {
    let done = match command() {
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
        Command::Bundle(args) => commands::bundle::run(args),
        Command::Deploy(target) => commands::deploy::run(target),
        Command::Export(format) => commands::export::run(format),
        Command::Verify(args) => commands::verify::run(args),
        Command::Datasets(command) => commands::datasets::run(command),
        Command::Devices => commands::devices(),
        Command::Schema => commands::schema(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough, such as `| head`.
        Err(error) if commands::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            note!("error: {}", commands::sentence(&error));
            ExitCode::from(commands::exit_code(&error))
        }
    }
}
