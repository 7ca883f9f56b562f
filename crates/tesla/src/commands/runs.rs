use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use clap::Parser;
use serde::Serialize;
use serde_json::Value;
use tesla::evaluate::Metrics;
use tesla::{Bundle, Report};
use tesla_data::nearest;

use super::report::MODEL;
use super::write_whole;
use crate::{page, show};

#[derive(Parser)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Folders of runs, or folders that hold some.
    #[arg(default_value = "runs")]
    folders: Vec<PathBuf>,
    /// Only runs that satisfy this, such as `accuracy>0.9` or `model=mlp`; may be said several times.
    #[arg(long = "where", value_name = "CONDITION")]
    conditions: Vec<String>,
    /// The column to sort by; of a figure the best comes first.
    #[arg(long, value_name = "COLUMN")]
    sort: Option<String>,
    /// Also show the settings in which the runs differ.
    #[arg(long)]
    settings: bool,
    /// Print one JSON array with everything that is known of the runs.
    #[arg(long)]
    json: bool,
    /// Also write one HTML page with the table and the curves side by side.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  tesla runs                                           what is in `runs`
  tesla runs --where 'accuracy>0.9' --sort log_loss    the good ones, the best first
  tesla runs runs/a runs/b --settings                  two runs and where they differ
  tesla runs --html runs.html                          with their curves

Columns: run, model, part, rows, seed, device, epochs, all figures of the report, and settings such as
`train.learning_rate`. Figures are of the test rows, or of the validation rows where there are none.";

/// What is known of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    /// Its folder's name.
    pub(crate) run: String,
    /// Where it is.
    pub(crate) folder: PathBuf,
    /// The kind of its model.
    pub(crate) model: String,
    /// The rows that the figures are of: `test` or `validation`.
    pub(crate) part: String,
    /// How many they are.
    pub(crate) rows: usize,
    pub(crate) seed: u64,
    pub(crate) device: String,
    /// The figures.
    pub(crate) figures: BTreeMap<String, f64>,
    /// Loss and metric by epoch.
    pub(crate) epochs: Vec<Value>,
    /// The configuration, one line each.
    pub(crate) settings: BTreeMap<String, String>,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let mut runs = Vec::new();
    let mut unfinished = Vec::new();
    for folder in &args.folders {
        find(folder, &mut runs, &mut unfinished)?;
    }
    for folder in unfinished {
        note!("note: `{}` is not finished: tesla train --resume {0}", folder.display());
    }
    let conditions: Vec<Condition> = args
        .conditions
        .iter()
        .map(|text| Condition::parse(text))
        .collect::<Result<_>>()?;
    let wanted = conditions
        .iter()
        .map(|c| c.column.as_str())
        .chain(args.sort.as_deref());
    for column in wanted {
        check(column, &runs)?;
    }
    runs.retain(|run| conditions.iter().all(|condition| condition.holds(run)));
    runs.sort_by(|a, b| a.run.cmp(&b.run));
    if let Some(column) = &args.sort {
        sort(&mut runs, column);
    }
    let table = table(&runs, args.settings);
    if let Some(path) = &args.html {
        let page = page::runs::page(&runs, &table, &command(&args))?;
        write_whole(path, |file| Ok(file.write_all(page.as_bytes())?))?;
    }
    let mut out = std::io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&runs)?)?,
        false if runs.is_empty() => writeln!(out, "no run was found")?,
        false => write!(out, "{}", show::table(&table))?,
    }
    Ok(())
}

/// The command that was given.
fn command(args: &Args) -> String {
    let folders: Vec<String> = args.folders.iter().map(|f| f.display().to_string()).collect();
    let mut out = format!("tesla runs {}", folders.join(" "));
    args.conditions.iter().for_each(|c| out += &format!(" --where '{c}'"));
    args.sort.iter().for_each(|c| out += &format!(" --sort {c}"));
    if args.settings {
        out += " --settings";
    }
    out
}

/// The runs in a folder: itself, or those that it holds.
fn find(folder: &Path, runs: &mut Vec<Run>, unfinished: &mut Vec<PathBuf>) -> Result<()> {
    if folder.join(MODEL).is_file() {
        runs.push(Run::load(folder)?);
        return Ok(());
    }
    let entries = std::fs::read_dir(folder).map_err(|e| {
        anyhow!("cannot read `{}`: {e}: expected a folder of runs", folder.display())
    })?;
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    for folder in folders {
        if folder.join(MODEL).is_file() {
            match Run::load(&folder) {
                Ok(run) => runs.push(run),
                Err(error) => note!("note: {error}"),
            }
        } else if folder.join("checkpoints").is_dir() {
            unfinished.push(folder);
        }
    }
    Ok(())
}

impl Run {
    fn load(folder: &Path) -> Result<Self> {
        let bundle = Bundle::load(&folder.join(MODEL))?;
        let report = |part: &str| -> Option<Report> {
            serde_json::from_value(bundle.report[part].clone()).ok()
        };
        let found = report("test").map(|r| ("test", r));
        let found = found.or_else(|| report("valid").map(|r| ("validation", r)));
        let (part, rows, figures) = match found {
            Some((part, report)) => {
                let figures = report.figures().into_iter();
                let figures = figures.filter_map(|(name, value)| Some((name.into(), value?)));
                (part, report.rows, figures.collect())
            }
            None => ("", 0, BTreeMap::new()),
        };
        let mut settings = BTreeMap::new();
        flatten("", &bundle.provenance.config, &mut settings);
        let epochs = bundle.report["training"]["epochs"].as_array();
        let name = std::fs::canonicalize(folder).ok();
        let name = name.as_deref().unwrap_or(folder).file_name().unwrap_or_default();
        Ok(Self {
            run: name.to_string_lossy().into_owned(),
            folder: folder.to_path_buf(),
            model: bundle.model.kind().into(),
            part: part.into(),
            rows,
            seed: bundle.provenance.seed,
            device: bundle.provenance.device.clone(),
            figures,
            epochs: epochs.cloned().unwrap_or_default(),
            settings,
        })
    }

    /// The value in a column.
    fn get(&self, column: &str) -> Option<String> {
        match column {
            "run" => Some(self.run.clone()),
            "model" => Some(self.model.clone()),
            "part" => Some(self.part.clone()),
            "rows" => Some(self.rows.to_string()),
            "seed" => Some(self.seed.to_string()),
            "device" => Some(self.device.clone()),
            "epochs" => Some(self.epochs.len().to_string()),
            _ => match self.figures.get(column) {
                Some(value) => Some(value.to_string()),
                None => self.settings.get(column).cloned(),
            },
        }
    }
}

/// The columns of every run.
const COLUMNS: [&str; 7] = ["run", "model", "part", "rows", "seed", "device", "epochs"];

/// A configuration as lines, such as `train.epochs` and `40`.
fn flatten(path: &str, value: &Value, out: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                flatten(&path, value, out);
            }
        }
        Value::Null => {}
        Value::String(text) => {
            out.insert(path.into(), text.clone());
        }
        value => {
            out.insert(path.into(), value.to_string());
        }
    }
}

/// That some run has the column.
fn check(column: &str, runs: &[Run]) -> Result<()> {
    if runs.is_empty() || runs.iter().any(|run| run.get(column).is_some()) {
        return Ok(());
    }
    let mut known: BTreeSet<&str> = COLUMNS.into_iter().collect();
    for run in runs {
        known.extend(run.figures.keys().chain(run.settings.keys()).map(String::as_str));
    }
    let known: Vec<&str> = known.into_iter().collect();
    let near =
        nearest(column, &known).map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
    let figures: BTreeSet<&str> = runs
        .iter()
        .flat_map(|run| run.figures.keys().map(String::as_str))
        .collect();
    let names = COLUMNS.into_iter().chain(figures).map(|name| format!("`{name}`"));
    bail!(
        "no run has a column `{column}`{near}: expected {}, or a setting such as `train.epochs`",
        names.collect::<Vec<_>>().join(", ")
    )
}

/// The best of a figure first, numbers before texts otherwise; runs without it last.
fn sort(runs: &mut [Run], column: &str) {
    let is_figure = runs.iter().any(|run| run.figures.contains_key(column));
    let falls = is_figure && Metrics::more_is_better(column);
    runs.sort_by(|a, b| {
        let [a, b] = [a, b].map(|run| run.get(column));
        match (&a, &b) {
            (Some(a), Some(b)) => match (a.parse::<f64>(), b.parse::<f64>()) {
                (Ok(a), Ok(b)) if falls => b.total_cmp(&a),
                (Ok(a), Ok(b)) => a.total_cmp(&b),
                _ => a.cmp(b),
            },
            _ => a.is_none().cmp(&b.is_none()),
        }
    });
}

/// The figures of which the table has columns, where a run has them.
const FIGURES: [&str; 11] = [
    "accuracy",
    "f1",
    "roc_auc",
    "log_loss",
    "rmse",
    "mae",
    "r2",
    "calibration_error",
    "ndcg",
    "hit_rate",
    "coverage",
];

/// A head and a row of cells per run.
fn table(runs: &[Run], with_settings: bool) -> Vec<Vec<String>> {
    let figures: Vec<&str> = FIGURES
        .into_iter()
        .filter(|name| runs.iter().any(|run| run.figures.contains_key(*name)))
        .collect();
    let all: BTreeSet<&String> = runs.iter().flat_map(|run| run.settings.keys()).collect();
    let differ = |name: &&String| {
        let first = runs.first().and_then(|run| run.settings.get(*name));
        // The seed has a column of its own.
        *name != "train.seed" && runs.iter().any(|run| run.settings.get(*name) != first)
    };
    let settings: Vec<&String> = match with_settings {
        true => all.into_iter().filter(differ).collect(),
        false => Vec::new(),
    };
    let plain = ["run", "model", "part", "rows", "epochs", "seed"];
    let head = plain.into_iter().chain(figures.iter().copied());
    let mut table: Vec<Vec<String>> = vec![
        head.chain(settings.iter().map(|s| s.as_str()))
            .map(String::from)
            .collect(),
    ];
    for run in runs {
        let own = plain.into_iter().map(|name| run.get(name).unwrap_or_default());
        let figures = figures.iter().map(|name| {
            run.figures
                .get(*name)
                .map_or("·".into(), |v| crate::figures::figure(*v))
        });
        let settings = settings
            .iter()
            .map(|name| run.settings.get(*name).cloned().unwrap_or_else(|| "·".into()));
        table.push(own.chain(figures).chain(settings).collect());
    }
    table
}

/// A column, an operator and a value.
struct Condition {
    column: String,
    operator: &'static str,
    value: String,
}

const OPERATORS: [&str; 6] = [">=", "<=", "!=", ">", "<", "="];

impl Condition {
    fn parse(text: &str) -> Result<Self> {
        let at = text.find(['>', '<', '=', '!']);
        let found = at.and_then(|at| {
            let operator = OPERATORS.into_iter().find(|op| text[at..].starts_with(op))?;
            let value = text[at + operator.len()..].trim_start_matches('=').trim();
            Some((text[..at].trim(), operator, value))
        });
        match found {
            Some((column, operator, value)) if !column.is_empty() && !value.is_empty() => {
                Ok(Self {
                    column: column.into(),
                    operator,
                    value: value.into(),
                })
            }
            _ => bail!(
                "`--where {text}` is no condition: expected a column, one of `>`, `>=`, `<`, `<=`, `=`, `!=`, and a value, such as `accuracy>0.9`"
            ),
        }
    }

    fn holds(&self, run: &Run) -> bool {
        let Some(found) = run.get(&self.column) else {
            return false;
        };
        let order = match (found.parse::<f64>(), self.value.parse::<f64>()) {
            (Ok(found), Ok(value)) => found.partial_cmp(&value),
            _ => Some(found.cmp(&self.value)),
        };
        match self.operator {
            ">" => order.is_some_and(|o| o.is_gt()),
            ">=" => order.is_some_and(|o| o.is_ge()),
            "<" => order.is_some_and(|o| o.is_lt()),
            "<=" => order.is_some_and(|o| o.is_le()),
            "!=" => order.is_some_and(|o| o.is_ne()),
            _ => order.is_some_and(|o| o.is_eq()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, accuracy: f64, epochs: &str) -> Run {
        Run {
            run: name.into(),
            folder: name.into(),
            model: "mlp".into(),
            part: "test".into(),
            rows: 10,
            seed: 1,
            device: "flex".into(),
            figures: [("accuracy".to_string(), accuracy), ("log_loss".to_string(), 1.0 - accuracy)]
                .into(),
            epochs: Vec::new(),
            settings: [("train.epochs".to_string(), epochs.to_string())].into(),
        }
    }

    #[test]
    fn conditions_compare_numbers_as_numbers_and_texts_as_texts() {
        let run = run("a", 0.95, "9");
        let holds = |text: &str| Condition::parse(text).unwrap().holds(&run);
        let yes =
            ["accuracy>0.9", "accuracy >= 0.95", "train.epochs<10", "model=mlp", "model==mlp"];
        assert!(yes.into_iter().all(holds));
        let no = ["accuracy<0.9", "model!=mlp", "absent=1", "rows=11"];
        assert!(!no.into_iter().any(holds));
        for bad in ["accuracy", ">1", "accuracy>", "accuracy!1"] {
            let error = Condition::parse(bad).err().unwrap().to_string();
            assert!(error.contains("is no condition: expected a column"), "{error}");
        }
    }

    #[test]
    fn the_best_comes_first_and_only_settings_that_differ_are_shown() {
        let mut runs = vec![run("a", 0.5, "9"), run("b", 0.9, "10"), run("c", 0.7, "9")];
        sort(&mut runs, "accuracy");
        let names = |runs: &[Run]| runs.iter().map(|r| r.run.clone()).collect::<String>();
        assert_eq!(names(&runs), "bca");
        sort(&mut runs, "log_loss");
        assert_eq!(names(&runs), "bca");
        sort(&mut runs, "train.epochs");
        assert_eq!(names(&runs), "cab");
        assert_eq!(table(&runs, true)[0].last().unwrap(), "train.epochs");
        assert_eq!(table(&runs[..2], true)[0].last().unwrap(), "log_loss");
        let error = check("acuracy", &runs).unwrap_err().to_string();
        assert!(error.contains("did you mean `accuracy`?"), "{error}");
    }
}
