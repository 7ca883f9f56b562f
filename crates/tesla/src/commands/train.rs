use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;
use tesla::{Config, DeviceChoice, Event, ModelConfig, Observer};
use tesla_data::{BadRow, Sources, hex_sha256};
use tesla_train::{Checkpoints, Error as TrainError};

use super::report::{Finished, settled};
use super::{INTERRUPTED, dry_run, open_device, write_whole};
use crate::progress::{Progress, Style};
use crate::{settings, show};

/// Rows up to which a run's `split.json` lists them.
const LISTED: usize = 1_000_000;

/// The folder of a run that holds its checkpoint.
const CHECKPOINTS: &str = "checkpoints";
/// Beside it, the events so far.
const LOG: &str = "metrics.jsonl";

#[derive(Parser)]
pub(crate) struct Args {
    /// A `tesla.toml`, or data: a file (CSV, JSON, Parquet, Arrow, NumPy, pickle, IDX, SQLite), a folder
    /// of images or texts, a URL, or `-` for standard input.
    #[arg(required_unless_present = "resume")]
    input: Option<PathBuf>,
    /// Go on with the run in this folder, where it was stopped.
    #[arg(long, value_name = "RUN", conflicts_with_all = [
        "input", "target", "model", "device", "seed", "epochs", "out"
    ])]
    resume: Option<PathBuf>,
    /// The column to predict.
    #[arg(long)]
    target: Option<String>,
    /// `linear`, `logistic`, `mlp`, `cnn`, `bag`, `textcnn`, `conv1d`, `lstm`, `mf` or `bpr`.
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
    /// Also train and judge a model for each of this many parts of the rows (cross-validation); the
    /// model that is kept is then trained on all rows but those that stop it early.
    #[arg(long, value_name = "FOLDS", conflicts_with = "resume")]
    cv: Option<usize>,
    /// Where the run is written. Default: `runs/` and the name of the data.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Send a few batches through every stage, say what the whole would take, and write nothing.
    #[arg(long, conflicts_with_all = ["resume", "cv"])]
    dry_run: bool,
    /// Print the result only.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// Print one JSON object per event instead of text.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<()> {
    share_the_work();
    let (mut config, base, name) = match (&args.resume, &args.input) {
        (Some(run), _) => (stored(run)?, PathBuf::new(), String::new()),
        (None, Some(input)) => program(input)?,
        (None, None) => unreachable!("clap asks for one of them"),
    };
    if let Some(target) = &args.target {
        config.data.target = Some(target.clone());
    }
    if let Some(kind) = &args.model
        && config.model.as_ref().is_none_or(|m| m.kind() != kind)
    {
        config.model = Some(ModelConfig::from_kind(kind)?);
    }
    let solved = config
        .model
        .as_ref()
        .filter(|model| tesla_train::solve::is_exact(model));
    if let (Some(model), Some(_)) = (solved, args.epochs) {
        note!("`{}` is solved exactly: `--epochs` changes nothing", model.kind());
    }
    config.train.seed = args.seed.unwrap_or(config.train.seed);
    config.train.epochs = args.epochs.unwrap_or(config.train.epochs);
    if let Some(device) = args.device {
        config.train.device = device.to_string();
    }
    let choice: DeviceChoice = config.train.device.parse().map_err(anyhow::Error::msg)?;

    let style = match (args.quiet, args.json) {
        (true, _) => Style::Quiet,
        (_, true) => Style::Json,
        _ if std::io::stdout().is_terminal() => Style::Bar,
        _ => Style::Lines,
    };
    let out = args.resume.clone().or(args.out);
    let out = out.unwrap_or_else(|| Path::new("runs").join(name));
    // Before hours are spent on what cannot be written.
    let _folder = match args.dry_run {
        true => None,
        false => Some(RunFolder::make(&out)?),
    };
    let mut observer = Recorder {
        progress: Progress::new(style),
        lines: Vec::new(),
        log: None,
        stop: stop_on_interrupt(),
    };
    let data = observer
        .progress
        .read(&Sources::open(&config.data, &base)?.with_columns(&config.columns))?;
    let device = open_device(choice)?;
    if args.dry_run {
        observer.progress.finish();
        return dry_run::run(&config, &data, &device, args.json);
    }
    let folds = match args.cv {
        None => None,
        Some(folds) => {
            let found = tesla_train::cross_validate(&config, &data, folds, &device, &mut observer)?;
            // They took long: nothing that happens later may lose them.
            let cv = serde_json::to_vec_pretty(&found)?;
            write_whole(&out.join("cv.json"), |f| Ok(f.write_all(&cv)?))?;
            // Folds have said how good such models are: no row need be kept from this one.
            config.data.split.test = 0.0;
            Some(found)
        }
    };
    let checkpoints = Checkpoints {
        folder: out.join(CHECKPOINTS),
        resume: args.resume.is_some(),
        program: settings::to_toml(&config, &base)?,
    };
    if folds.is_none() && args.resume.is_none() {
        forget(&out.join("cv.json"))?;
    }
    let log = checkpoints.folder.join(LOG);
    std::fs::create_dir_all(&checkpoints.folder)?;
    observer.log =
        Some(File::create(&log).with_context(|| format!("cannot write `{}`", log.display()))?);
    let trained =
        tesla_train::train_with(&config, &data, &device, &mut observer, Some(&checkpoints));
    observer.progress.finish();
    observer.log = None;
    match &trained {
        Ok(_) => {}
        Err(TrainError::Interrupted { saved: true, .. }) => {
            note!("go on with: tesla train --resume {}", out.display());
        }
        Err(_) => {
            // What a run that cannot go on leaves is nothing; why it cannot go on matters more.
            let _ = forget(&log);
            let _ = std::fs::remove_dir(&checkpoints.folder);
        }
    }
    let trained = trained?;

    // Everything is ready before the first file is written.
    let bytes = trained.bundle.to_bytes()?;
    config.model = Some(trained.bundle.model.clone());
    let resolved = settings::to_toml(&config, &base)?;
    let quarantine = json_lines(&trained.bad)?;
    let nulled = json_lines(&trained.nulled)?;
    std::fs::create_dir_all(&out)
        .with_context(|| format!("cannot create the folder `{}`", out.display()))?;
    let model = out.join("model.tesla");
    let report = serde_json::to_vec_pretty(&trained.bundle.report)?;
    // Rule and seed repeat the split of a table of any size; its rows are listed while they are few.
    let split = match trained.split.rows <= LISTED {
        true => trained.split.to_json(),
        false => String::new(),
    };
    for (file, content) in [
        ("quarantine.jsonl", quarantine.as_slice()),
        ("nulled.jsonl", nulled.as_slice()),
        ("tesla.toml", resolved.as_bytes()),
        ("metrics.jsonl", observer.lines.as_slice()),
        ("report.json", report.as_slice()),
        ("split.json", split.as_bytes()),
        ("model.tesla", bytes.as_slice()),
    ] {
        // Nothing to say, and then not there.
        match matches!(file, "nulled.jsonl" | "split.json") && content.is_empty() {
            true => forget(&out.join(file))?,
            false => write_whole(&out.join(file), |f| Ok(f.write_all(content)?))?,
        }
    }
    forget(&log)?;
    checkpoints.clear();

    // The model is safe: a report that cannot be made is a pity, not an error.
    let finished = Finished {
        folder: &out,
        bundle: &trained.bundle,
        sha256: hex_sha256(&bytes),
        device: &device,
        reports: [trained.valid.clone(), trained.test.clone()],
        data: Some((settled(&config, &data, &trained.bundle)?, trained.split.clone())),
        notes: Vec::new(),
    };
    if let Err(error) = finished.write() {
        note!("note: the report cannot be written: {}", super::sentence(&error));
    }

    let mut stdout = std::io::stdout().lock();
    if args.json {
        let done = json!({
            "event": "finished", "model": model, "quarantined": trained.bad.len(), "sha256": hex_sha256(&bytes),
            "first_loss": trained.first_loss, "valid": trained.valid, "test": trained.test,
            "cv": folds,
        });
        writeln!(stdout, "{done}")?;
        return Ok(());
    }
    if let Some(folds) = &folds {
        write!(stdout, "{}", show::folds(folds))?;
        writeln!(
            stdout,
            "  the model below learned from all rows; these figures are those of models like it"
        )?;
    }
    match (&trained.test, &trained.valid) {
        (None, _) if folds.is_some() => {}
        (Some(test), _) => write!(stdout, "{}", show::report("test", test))?,
        (None, Some(valid)) => write!(stdout, "{}", show::report("validation", valid))?,
        (None, None) => writeln!(stdout, "no rows were kept to measure the model on")?,
    }
    if !trained.bad.is_empty() {
        let list = out.join("quarantine.jsonl");
        writeln!(
            stdout,
            "\n{} set apart: {} says which and why",
            match trained.bad.len() {
                1 => "1 row was".to_string(),
                rows => format!("{rows} rows were"),
            },
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
    writeln!(stdout, "report {}", out.join("report.html").display())?;
    writeln!(stdout, "next   tesla predict {0} <data>    tesla serve {0}", model.display())?;
    Ok(())
}

/// Makes this thread one of those that share its work: it goes on with it where it would otherwise wait until
/// they have been woken, many times in each step. One of them must be another, since whoever makes batches
/// ready needs help too while this thread waits for the next.
fn share_the_work() {
    let said = std::env::var("RAYON_NUM_THREADS").ok();
    let said = said
        .and_then(|threads| threads.parse().ok())
        .filter(|threads| *threads > 0);
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = said.unwrap_or_else(cores);
    if threads > 1 {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .use_current_thread();
        // A program that has threads already keeps them.
        let _ = pool.build_global();
    }
}

/// Removes what an earlier run may have left in the folder.
fn forget(file: &Path) -> Result<()> {
    match std::fs::remove_file(file) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove `{}`", file.display()))
        }
        _ => Ok(()),
    }
}

/// The folder of a run. What was made for one that left nothing is removed again.
struct RunFolder {
    /// The deepest first.
    made: Vec<PathBuf>,
}

impl RunFolder {
    /// Makes the folder where it is not there, and sees that files can be written in it.
    fn make(path: &Path) -> Result<Self> {
        let is_new = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
        let made = path.ancestors().take_while(is_new).map(Path::to_path_buf).collect();
        let folder = Self { made };
        let cannot = || format!("cannot write into the folder `{}`", path.display());
        std::fs::create_dir_all(path).with_context(cannot)?;
        tempfile::NamedTempFile::new_in(path)
            .map_err(|e| e.kind())
            .map_err(std::io::Error::from)
            .with_context(cannot)?;
        Ok(folder)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // Only empty folders can be removed.
        self.made.iter().for_each(|folder| drop(std::fs::remove_dir(folder)));
    }
}

/// What the run in a folder was started with.
fn stored(run: &Path) -> Result<Config> {
    if !run.is_dir() {
        anyhow::bail!(
            "there is no run in `{}`: expected the folder of one, such as `runs/digits`",
            run.display()
        );
    }
    let Some(program) = Checkpoints::program(&run.join(CHECKPOINTS))? else {
        anyhow::bail!(
            "there is nothing to resume in `{}`: the run is done, or was stopped before its first checkpoint",
            run.display()
        );
    };
    settings::parse(&run.join(CHECKPOINTS).display().to_string(), &program)
}

/// A flag that Ctrl-C and SIGTERM raise; a second one ends the program at once.
fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    let handler = move || {
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
        note!("stopping after this step; once more to stop at once");
    };
    // Where no handler can be set, the system's own ends the program.
    let _ = ctrlc::set_handler(handler);
    stop
}

fn json_lines(rows: &[BadRow]) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut lines, row)?;
        lines.push(b'\n');
    }
    Ok(lines)
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
    /// The same lines as they come, for who looks while it trains; the whole is written at the end.
    log: Option<File>,
    stop: Arc<AtomicBool>,
}

impl Recorder {
    fn line(&mut self, event: &impl serde::Serialize) {
        let line = serde_json::to_string(event).expect("events serialise") + "\n";
        self.lines.extend_from_slice(line.as_bytes());
        // What does not fit now does not fit at the end either, and is said there.
        self.log.as_mut().map(|log| log.write_all(line.as_bytes()));
    }
}

impl Observer for Recorder {
    fn event(&mut self, event: Event) {
        // The epochs before a run was interrupted belong to it, too.
        if let Event::Resumed { history, .. } = &event {
            for epoch in history.iter().filter_map(serde_json::Value::as_object) {
                let mut line = serde_json::Map::new();
                line.insert("event".into(), "epoch".into());
                line.extend(epoch.clone());
                self.line(&line);
            }
        }
        if !matches!(event, Event::Progress { .. }) {
            self.line(&event);
        }
        self.progress.event(event);
    }

    fn should_stop(&mut self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
