//! The report of a model, as a page and as Markdown.

mod charts;
mod reasons;

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use tesla::evaluate::Metrics;
use tesla::{Bundle, Config, ModelConfig, Report};
use tesla_data::contract::Role;
use tesla_data::{ColumnKind, ColumnRule, Task};
use tesla_train::evaluate::Slices;
use tesla_train::metrics::ranking::Candidates;
use tesla_train::metrics::resample::Interval;

use super::render;
use crate::figures::{count, figure as shown, number};
use crate::report::Subject;
use charts::{Card, capital, cards, dependence, training};
use reasons::{Importances, Mistake, Words, importances, mistake, mistakes_note, words};

/// What the templates fill in.
#[derive(Serialize)]
struct Page {
    version: &'static str,
    command: String,
    repeat: Option<String>,
    name: String,
    /// What is done with the target.
    aim: &'static str,
    target: String,
    task: String,
    model: String,
    verdict: String,
    notes: Vec<String>,
    tiles: Vec<(&'static str, String)>,
    /// The names of the columns of figures behind the value: other parts, then baselines.
    others: Vec<String>,
    figures: Vec<Figure>,
    figures_note: String,
    has_intervals: bool,
    confusion: Option<Confusion>,
    classes: Vec<ClassRow>,
    cards: Vec<Card>,
    training: Vec<Card>,
    training_note: String,
    importances: Option<Importances>,
    dependence: Vec<Card>,
    words: Vec<Words>,
    slices: Vec<SliceTable>,
    mistakes: Vec<Mistake>,
    mistakes_note: String,
    columns: Vec<Column>,
    may_be_missing: bool,
    rows: Vec<(&'static str, String)>,
    provenance: Vec<(&'static str, String)>,
    program: String,
}

#[derive(Serialize)]
struct Figure {
    name: String,
    value: String,
    interval: String,
    others: Vec<String>,
    /// Why it is not there.
    undefined: Option<String>,
}

/// A square of counts; classes beyond [`SQUARE`] make pairs instead.
#[derive(Serialize)]
struct Confusion {
    labels: Vec<String>,
    rows: Vec<Vec<Cell>>,
    /// True and predicted class, rows, share of the true class.
    pairs: Vec<(String, String, String, f64)>,
}

#[derive(Serialize)]
struct Cell {
    count: String,
    heat: usize,
    right: bool,
}

#[derive(Serialize)]
struct ClassRow {
    label: String,
    rows: String,
    precision: String,
    recall: String,
    f1: String,
    roc_auc: Option<String>,
}

#[derive(Serialize)]
struct SliceTable {
    column: String,
    figures: Vec<String>,
    rows: Vec<SliceRow>,
}

/// Value, rows, and figures with their intervals.
type SliceRow = (String, String, Vec<(String, String)>);

#[derive(Serialize)]
struct Column {
    name: String,
    kind: &'static str,
    role: String,
    values: String,
    missing: &'static str,
}

/// More classes than this make a square that nobody reads.
const SQUARE: usize = 15;

/// The most classes, pairs, columns and slices that are shown.
const CLASSES: usize = 60;
const PAIRS: usize = 15;
const COLUMNS: usize = 200;
const SLICES: usize = 20;

/// The report as one HTML file.
///
/// # Errors
/// When the template and this module do not fit each other.
pub(crate) fn page(subject: &Subject<'_>) -> Result<String> {
    render("report.html", &fill(subject)?)
}

/// The report as Markdown: the same, without pictures.
///
/// # Errors
/// When the template and this module do not fit each other.
pub(crate) fn markdown(subject: &Subject<'_>) -> Result<String> {
    render("report.md", &fill(subject)?)
}

fn fill(subject: &Subject<'_>) -> Result<Page> {
    let bundle = subject.bundle;
    let (part, report) = match subject.parts.first() {
        Some((part, report)) => (part.as_str(), Some(report)),
        None => ("", None),
    };
    let labels = bundle.pipeline.target.labels();
    let (training, training_note) = training(bundle)?;
    let from = &bundle.provenance;
    let model = format!("`{}`, trained on {}", bundle.model.kind(), from.device);
    Ok(Page {
        version: env!("CARGO_PKG_VERSION"),
        command: subject.command.clone(),
        repeat: subject.repeat.clone(),
        name: subject.name.clone(),
        aim: match ranks(bundle) {
            true => "To recommend",
            false => "To predict",
        },
        target: match &bundle.pipeline.interactions {
            Some(fitted) if ranks(bundle) => fitted.item.clone(),
            _ => bundle.pipeline.target.name().to_string(),
        },
        task: match (&bundle.pipeline.interactions, bundle.contract.task) {
            (Some(fitted), _) if ranks(bundle) => format!("in an order for each {}", fitted.user),
            (_, Task::Classification) => format!("one of {} classes", count(labels.len())),
            (_, Task::Regression) => "a number".into(),
        },
        model,
        verdict: report.map_or_else(String::new, |report| verdict(part, report)),
        notes: subject.notes.clone(),
        tiles: report.map_or_else(Vec::new, tiles),
        others: others(subject),
        figures: report.map_or_else(Vec::new, |report| figures(report, subject)),
        figures_note: report.map_or_else(String::new, figures_note),
        has_intervals: report.is_some_and(|report| !report.intervals.figures.is_empty()),
        confusion: report.and_then(confusion),
        classes: report.map_or_else(Vec::new, classes),
        cards: match report {
            Some(report) => cards(&report.curves, bundle)?,
            None => Vec::new(),
        },
        training,
        training_note,
        importances: importances(subject),
        dependence: subject
            .explanations
            .dependence
            .iter()
            .map(|found| dependence(found, bundle.contract.task))
            .collect::<Result<_>>()?,
        words: words(subject),
        slices: report.map_or_else(Vec::new, |report| report.slices.iter().map(slices).collect()),
        mistakes: subject.mistakes.iter().map(mistake).collect(),
        mistakes_note: mistakes_note(subject),
        columns: bundle.contract.columns.iter().take(COLUMNS).map(column).collect(),
        may_be_missing: bundle.contract.columns.iter().any(|rule| rule.nullable),
        rows: vec![
            ("to train", count(from.rows[0])),
            ("to validate", count(from.rows[1])),
            ("to test", count(from.rows[2])),
            ("set apart", count(from.quarantined)),
        ],
        provenance: provenance(subject),
        program: program(bundle),
    })
}

/// Whether the model ranks items for users, instead of predicting a number.
fn ranks(bundle: &Bundle) -> bool {
    matches!(bundle.model, ModelConfig::Bpr(_))
}

fn range(interval: &Interval) -> String {
    format!("{} to {}", shown(interval.low), shown(interval.high))
}

/// What a figure is called.
fn title(name: &str) -> String {
    let known = [
        ("roc_auc", "ROC AUC"),
        ("roc_auc_ovo", "ROC AUC, one against one"),
        ("f1", "F1"),
        ("mcc", "Matthews correlation"),
        ("kappa", "Cohen's kappa"),
        ("rmse", "RMSE"),
        ("mae", "MAE"),
        ("mse", "MSE"),
        ("r2", "R²"),
        ("mape", "MAPE"),
        ("rmsle", "RMSLE"),
        ("d2_absolute_error", "D² of absolute errors"),
        ("brier", "Brier score"),
        ("cmapss", "C-MAPSS score"),
        ("ndcg", "NDCG"),
        ("map", "mean average precision"),
        ("mrr", "mean reciprocal rank"),
    ];
    match known.iter().find(|(own, _)| *own == name) {
        Some((_, title)) => (*title).into(),
        None => name.replace('_', " "),
    }
}

fn verdict(part: &str, report: &Report) -> String {
    let (name, value) = report.headline();
    let interval = report.intervals.figures.get(name);
    let mut out = format!("{} {}", capital(&title(name)), shown(value));
    if let Some(interval) = interval {
        let level = report.intervals.resampling.as_ref().map_or(0.95, |r| r.level);
        out += &format!(" ({:.0} % interval {})", 100.0 * level, range(interval));
    }
    out += &format!(" on {} {part} rows", count(report.rows));
    let baselines: Vec<String> = report
        .baselines
        .iter()
        .filter_map(|b| Some(format!("{} by {}", shown(*b.figures.get(name)?), baseline(&b.name))))
        .collect();
    if !baselines.is_empty() {
        out += &format!("; for comparison, {}", baselines.join(" and "));
    }
    out + "."
}

fn tiles(report: &Report) -> Vec<(&'static str, String)> {
    let wanted: &[(&str, &'static str)] = match &report.metrics {
        Metrics::Classification(_) => &[
            ("accuracy", "accuracy"),
            ("f1", "F1"),
            ("roc_auc", "ROC AUC"),
            ("log_loss", "log loss"),
        ],
        Metrics::Regression(_) => &[("rmse", "RMSE"), ("mae", "MAE"), ("r2", "R²")],
        Metrics::Ranking(_) => &[
            ("ndcg", "NDCG"),
            ("hit_rate", "hit rate"),
            ("recall", "recall"),
            ("coverage", "coverage"),
        ],
    };
    let tile = |(name, title): &(&str, &'static str)| Some((*title, shown(report.figure(name)?)));
    let mut tiles: Vec<_> = wanted.iter().filter_map(tile).collect();
    if let Metrics::Ranking(m) = &report.metrics {
        tiles.push(("users judged", count(m.users)));
    }
    tiles.push(("rows judged", count(report.rows)));
    tiles
}

fn others(subject: &Subject<'_>) -> Vec<String> {
    let Some((_, first)) = subject.parts.first() else {
        return Vec::new();
    };
    let parts = subject.parts.iter().skip(1).map(|(part, _)| part.clone());
    parts
        .chain(first.baselines.iter().map(|b| baseline(&b.name).to_string()))
        .collect()
}

/// What a simple model is called.
fn baseline(name: &str) -> &str {
    match name {
        "majority" => "the commonest class",
        "mean" => "the mean",
        "logistic" => "logistic regression",
        "linear" => "linear regression",
        "popularity" => "the most popular items",
        other => other,
    }
}

fn figures(report: &Report, subject: &Subject<'_>) -> Vec<Figure> {
    let dot = |value: Option<f64>| value.map_or_else(|| "·".into(), shown);
    let figures = report.figures();
    figures
        .iter()
        .map(|(name, value)| Figure {
            name: title(name),
            value: dot(*value),
            interval: report.intervals.figures.get(*name).map_or_else(String::new, range),
            others: subject
                .parts
                .iter()
                .skip(1)
                .map(|(_, other)| dot(other.figure(name)))
                .chain(report.baselines.iter().map(|b| dot(b.figures.get(*name).copied())))
                .collect(),
            undefined: report.undefined.get(*name).cloned(),
        })
        .collect()
}

fn figures_note(report: &Report) -> String {
    if let Metrics::Ranking(m) = &report.metrics {
        let from = match m.candidates {
            Candidates::AllUnseen => "all items that the user has not seen".to_string(),
            Candidates::Sampled { negatives, .. } => {
                format!("the relevant items and {} others", count(negatives))
            }
        };
        return format!(
            "Means over {} users; of each list the first {} count. Lists are ranked from {from}.",
            count(m.users),
            m.k
        );
    }
    let intervals = &report.intervals;
    let Some(resampling) = intervals
        .resampling
        .as_ref()
        .filter(|_| !intervals.figures.is_empty())
    else {
        return String::new();
    };
    format!(
        "Intervals hold {:.0} % of {} bootstrap samples of {} rows, drawn with seed {}.",
        100.0 * resampling.level,
        count(resampling.resamples),
        count(intervals.rows),
        resampling.seed
    )
}

fn confusion(report: &Report) -> Option<Confusion> {
    let Metrics::Classification(m) = &report.metrics else {
        return None;
    };
    let labels: Vec<String> = m.classes.iter().map(|c| c.label.clone()).collect();
    let mut rows = Vec::new();
    let mut pairs: Vec<(f64, f64, usize, usize)> = Vec::new();
    for (truth, counts) in m.confusion.iter().enumerate() {
        let whole: f64 = counts.iter().sum();
        let share = |n: f64| if whole > 0.0 { n / whole } else { 0.0 };
        let cell = |(predicted, n): (usize, &f64)| Cell {
            count: if *n == 0.0 { "·".into() } else { number(*n) },
            // Mistakes are few and should be seen.
            heat: match predicted == truth {
                true => (100.0 * share(*n)).round() as usize,
                false => (250.0 * share(*n)).round().min(100.0) as usize,
            },
            right: predicted == truth,
        };
        if labels.len() <= SQUARE {
            rows.push(counts.iter().enumerate().map(cell).collect());
        }
        let wrong = counts.iter().enumerate().filter(|(p, n)| *p != truth && **n > 0.0);
        pairs.extend(wrong.map(|(predicted, n)| (*n, share(*n), truth, predicted)));
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    if labels.len() <= SQUARE {
        pairs.clear();
    }
    let pair = |(n, share, truth, predicted): (f64, f64, usize, usize)| {
        (labels[truth].clone(), labels[predicted].clone(), number(n), share)
    };
    Some(Confusion {
        pairs: pairs.into_iter().take(PAIRS).map(pair).collect(),
        rows,
        labels,
    })
}

fn classes(report: &Report) -> Vec<ClassRow> {
    let Metrics::Classification(m) = &report.metrics else {
        return Vec::new();
    };
    let row = |class: &tesla_train::metrics::ClassFigures| ClassRow {
        label: class.label.clone(),
        rows: number(class.support),
        precision: shown(class.precision),
        recall: shown(class.recall),
        f1: shown(class.f1),
        roc_auc: class.roc_auc.map(shown),
    };
    // The hardest first, where they are many.
    let mut classes: Vec<_> = m.classes.iter().collect();
    if classes.len() > SQUARE {
        classes.sort_by(|a, b| a.f1.total_cmp(&b.f1));
    }
    classes.into_iter().take(CLASSES).map(row).collect()
}

fn slices(found: &Slices) -> SliceTable {
    let first = found.slices.first();
    let names: Vec<String> = first
        .map(|slice| {
            let with: Vec<String> = slice.intervals.keys().cloned().collect();
            let all: Vec<String> = slice.figures.keys().cloned().collect();
            if with.is_empty() { all } else { with }
        })
        .unwrap_or_default();
    let order = ["accuracy", "f1", "roc_auc", "rmse", "mae", "r2", "log_loss"];
    let mut shown_names: Vec<String> = order
        .iter()
        .map(|n| n.to_string())
        .filter(|n| names.contains(n))
        .collect();
    shown_names.truncate(3);
    let figure = |figures: &BTreeMap<String, Option<f64>>, name: &str| {
        figures.get(name).copied().flatten().map_or_else(|| "·".into(), shown)
    };
    let rows = found.slices.iter().take(SLICES).map(|slice| {
        let cells = shown_names.iter().map(|name| {
            let interval = slice.intervals.get(name).map_or_else(String::new, range);
            (figure(&slice.figures, name), interval)
        });
        (slice.value.clone(), count(slice.rows), cells.collect())
    });
    SliceTable {
        column: found.column.clone(),
        rows: rows.collect(),
        figures: shown_names.iter().map(|name| title(name)).collect(),
    }
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_string(),
    }
}

fn column(rule: &ColumnRule) -> Column {
    let levels = |names: &[String]| {
        let shown: Vec<String> = names.iter().take(6).map(|name| cut(name, 24)).collect();
        match names.len() > 6 {
            true => format!("{} levels: {}, …", count(names.len()), shown.join(", ")),
            false => shown.join(", "),
        }
    };
    Column {
        name: rule.name.clone(),
        kind: match rule.kind {
            ColumnKind::Numeric => "number",
            ColumnKind::Category => "category",
            ColumnKind::Text => "text",
            ColumnKind::Image => "image",
            ColumnKind::Time => "time",
        },
        role: match (rule.role, &rule.note) {
            (Role::Feature, _) => "feature".into(),
            (Role::Target, _) => "target".into(),
            (Role::Key, _) => "key of windows".into(),
            (Role::Weight, _) => "what each row counts for".into(),
            (Role::Unused, Some(note)) => format!("not used: {note}"),
            (Role::Unused, None) => "not used".into(),
        },
        values: match rule.range {
            Some([min, max]) => format!("{} to {}", number(min), number(max)),
            None => levels(&rule.categories),
        },
        missing: if rule.nullable { "may be missing" } else { "" },
    }
}

fn provenance(subject: &Subject<'_>) -> Vec<(&'static str, String)> {
    let from = &subject.bundle.provenance;
    let mut rows =
        vec![("data", from.source.clone()), ("SHA-256 of the data", from.data_sha256.clone())];
    rows.extend(subject.sha256.clone().map(|hash| ("SHA-256 of the model file", hash)));
    rows.push(("model", subject.bundle.model.kind().into()));
    rows.push(("seed", from.seed.to_string()));
    rows.push(("device", from.device.clone()));
    rows
}

/// The configuration of the run, without directories.
fn program(bundle: &Bundle) -> String {
    let config: Option<Config> = serde_json::from_value(bundle.provenance.config.clone()).ok();
    config
        .and_then(|config| toml::to_string(&config).ok())
        .unwrap_or_default()
}
