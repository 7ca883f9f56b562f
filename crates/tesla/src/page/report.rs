//! The report of a model, as a page and as Markdown.

use std::collections::BTreeMap;

use anyhow::Result;
use minijinja::Value;
use serde::Serialize;
use serde_json::Value as Json;
use tesla::evaluate::Metrics;
use tesla::{Bundle, Config, ModelConfig, Report};
use tesla_data::contract::Role;
use tesla_data::{ColumnKind, ColumnRule, Task};
use tesla_train::evaluate::{Curves, Slices};
use tesla_train::explain::{Dependence, Explained, Method};
use tesla_train::metrics::ranking::Candidates;
use tesla_train::metrics::resample::Interval;

use super::chart::{self, Mark, Plot, Range};
use super::{html, render};
use crate::figures::{count, figure as shown, number};
use crate::report::{Shown, Subject};

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

/// A chart with its legend, or a table in its place.
#[derive(Serialize)]
struct Card {
    title: String,
    note: String,
    chart: Option<Value>,
    /// The names of its series, when there are several.
    legend: Vec<String>,
    head: Vec<String>,
    table: Vec<Vec<String>>,
    /// Whether the table is there for who wants the numbers of the chart.
    folded: bool,
}

#[derive(Serialize)]
struct Importances {
    note: String,
    rows: Vec<Importance>,
}

#[derive(Serialize)]
struct Importance {
    column: String,
    width: f64,
    mean: String,
    spread: String,
}

#[derive(Serialize)]
struct Words {
    of: String,
    note: String,
    rows: Vec<Importance>,
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
struct Mistake {
    place: String,
    truth: String,
    predicted: String,
    sure: String,
    values: Vec<(String, String)>,
    text: Option<String>,
    picture: Option<Picture>,
    why: String,
    because: Vec<Because>,
}

#[derive(Serialize)]
struct Because {
    name: String,
    value: String,
    amount: String,
    speaks_for: bool,
    width: f64,
}

#[derive(Serialize)]
struct Picture {
    /// A `data:` address: base64 needs no escaping.
    uri: Value,
    width: usize,
    height: usize,
    /// Parts of the picture, in units of the map.
    map: [usize; 2],
    parts: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    x: usize,
    y: usize,
    speaks_for: bool,
    opacity: f64,
}

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
const IMPORTANCES: usize = 20;
const SLICES: usize = 20;
/// What is shown of a mistake.
const VALUES: usize = 14;
const BECAUSE: usize = 5;
const LETTERS: usize = 400;
/// Series that the style can tell apart.
const SERIES: usize = 6;

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

/// The pictures of an evaluation.
fn cards(curves: &Curves, bundle: &Bundle) -> Result<Vec<Card>> {
    let mut cards = Vec::new();
    let ranking = &curves.ranking[..curves.ranking.len().min(SERIES)];
    let binary = bundle.pipeline.target.labels().len() == 2;
    if !ranking.is_empty() {
        let legend: Vec<String> = ranking.iter().map(|curve| curve.class.clone()).collect();
        let of = match binary {
            true => format!("for {}", legend[0]),
            false if ranking.len() < bundle.pipeline.target.labels().len() => format!(
                "each class against the rest, {} of {} classes",
                ranking.len(),
                count(bundle.pipeline.target.labels().len())
            ),
            false => "each class against the rest".into(),
        };
        let roc: Vec<Vec<(f64, f64)>> = ranking
            .iter()
            .map(|curve| curve.roc.iter().map(|[x, y]| (*x, *y)).collect())
            .collect();
        let plot = Plot {
            title: "ROC curve",
            description: &format!(
                "The share of a class that is found against the share of other rows that are taken for it, {of}; the nearer to the upper left corner, the better"
            ),
            x: "false positive rate",
            y: "true positive rate",
            range: Range::Diagonal,
        };
        let legend = if ranking.len() > 1 {
            legend
        } else {
            Vec::new()
        };
        cards.push(Card {
            note: format!("{}. The line across is guessing.", capital(&of)),
            legend: legend.clone(),
            ..card("ROC curve", chart::series(&plot, Mark::Line, &roc)?)
        });
        let precision: Vec<Vec<(f64, f64)>> = ranking
            .iter()
            .map(|curve| curve.precision_recall.iter().map(|[x, y]| (*x, *y)).collect())
            .collect();
        let plot = Plot {
            title: "Precision and recall",
            description: &format!(
                "The share of rows called a class that are of it, against the share of the class that is found, {of}; the nearer to the upper right corner, the better"
            ),
            x: "recall",
            y: "precision",
            range: Range::Shares,
        };
        cards.push(Card {
            note: format!("{}.", capital(&of)),
            legend,
            ..card("Precision and recall", chart::series(&plot, Mark::Line, &precision)?)
        });
    }
    if !curves.reliability.is_empty() {
        let points: Vec<(f64, f64)> = curves
            .reliability
            .iter()
            .map(|bin| (bin.predicted, bin.observed))
            .collect();
        let plot = Plot {
            title: "Calibration",
            description: "How often a predicted probability came true; on the line from corner to corner it can be taken at its word",
            x: "predicted probability",
            y: "share that came true",
            range: Range::Diagonal,
        };
        cards.push(Card {
            note: match binary {
                true => format!("Of {}.", bundle.pipeline.target.labels()[1]),
                false => "Of the most probable class.".into(),
            },
            head: ["predicted", "came true", "rows"].map(String::from).to_vec(),
            table: curves
                .reliability
                .iter()
                .map(|bin| vec![shown(bin.predicted), shown(bin.observed), number(bin.weight)])
                .collect(),
            folded: true,
            ..card("Calibration", chart::series(&plot, Mark::Dots, &[points])?)
        });
    }
    if let Some(residuals) = &curves.residuals {
        if !residuals.sample.is_empty() {
            let points = residuals.sample.iter().map(|[truth, predicted]| (*truth, *predicted));
            let plot = Plot {
                title: "Predicted against true",
                description: "Each point is a row; on the line from corner to corner the prediction is right",
                x: "true",
                y: "predicted",
                range: Range::Same,
            };
            cards.push(Card {
                note: format!(
                    "{} rows. On the line a prediction is right.",
                    count(residuals.sample.len())
                ),
                ..card(
                    "Predicted against true",
                    chart::series(&plot, Mark::Cloud, &[points.collect()])?,
                )
            });
        }
        if let [first, .., last] = residuals.edges[..] {
            let svg = chart::histogram("Residuals", first, last, &residuals.counts)?;
            cards.push(Card {
                note: "Predicted less true: right of 0 the prediction is too high. The outer bins hold what lies beyond them, too.".into(),
                ..card("Residuals", svg)
            });
        }
    }
    Ok(cards)
}

fn card(title: &str, svg: String) -> Card {
    Card {
        title: title.into(),
        note: String::new(),
        chart: Some(html(svg)),
        legend: Vec::new(),
        head: Vec::new(),
        table: Vec::new(),
        folded: false,
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// The losses by epoch, and what is said of a model that has none.
fn training(bundle: &Bundle) -> Result<(Vec<Card>, String)> {
    let history = &bundle.report["training"];
    let epochs = history["epochs"].as_array().map_or(&[][..], Vec::as_slice);
    if epochs.is_empty() {
        let note = match history["passes"].as_u64() {
            Some(passes) => format!(
                "The weights were solved for exactly, in {} passes over the rows: there are no epochs.",
                count(passes as usize)
            ),
            None => "The weights were solved for exactly: there are no epochs.".into(),
        };
        return Ok((Vec::new(), note));
    }
    let points = |key: &str| -> Vec<(f64, f64)> {
        let point = |epoch: &Json| Some((epoch["epoch"].as_f64()?, epoch[key].as_f64()?));
        epochs.iter().filter_map(point).collect()
    };
    let series = [("training rows", points("loss")), ("validation rows", points("valid_loss"))];
    let (legend, lines): (Vec<&str>, Vec<_>) =
        series.into_iter().filter(|(_, points)| !points.is_empty()).unzip();
    let names = ["accuracy", "rmse", "rmsle", "ndcg"];
    let metric = names.into_iter().find(|name| !points(name).is_empty());
    let mut cards = Vec::new();
    let last = |points: &[(f64, f64)]| points.last().map_or(f64::NAN, |(_, y)| *y);
    let first = |points: &[(f64, f64)]| points.first().map_or(f64::NAN, |(_, y)| *y);
    let ends = |name: &str, points: &[(f64, f64)]| {
        format!("{name}: from {} to {}", shown(first(points)), shown(last(points)))
    };
    let described: Vec<String> = std::iter::zip(&legend, &lines)
        .map(|(name, points)| ends(name, points))
        .collect();
    let plot = Plot {
        title: "Loss by epoch",
        description: &described.join("; "),
        x: "epoch",
        y: "loss",
        range: Range::Free,
    };
    let mark = if epochs.len() < 8 {
        Mark::Dots
    } else {
        Mark::Line
    };
    let cell = |epoch: &Json, key: &str| epoch[key].as_f64().map_or_else(|| "·".into(), shown);
    let keys: Vec<&str> = ["loss", "valid_loss"].into_iter().chain(metric).collect();
    let steps = epochs.len().div_ceil(20).max(1);
    let table = epochs
        .iter()
        .enumerate()
        .filter(|(i, _)| i % steps == 0 || i + 1 == epochs.len())
        .map(|(_, epoch)| {
            let number = epoch["epoch"].to_string();
            std::iter::once(number)
                .chain(keys.iter().map(|key| cell(epoch, key)))
                .collect()
        });
    let head = ["epoch", "training loss", "validation loss"]
        .into_iter()
        .chain(metric);
    cards.push(Card {
        legend: if legend.len() > 1 {
            legend.iter().map(|s| s.to_string()).collect()
        } else {
            Vec::new()
        },
        head: head.map(String::from).collect(),
        table: table.collect(),
        folded: true,
        ..card("Loss by epoch", chart::series(&plot, mark, &lines)?)
    });
    if let Some(metric) = metric {
        let points = points(metric);
        let name = format!("{} of the validation rows", capital(&title(metric)));
        let plot = Plot {
            title: &name,
            description: &ends("validation rows", &points),
            x: "epoch",
            y: &title(metric),
            range: Range::Free,
        };
        cards.push(card(&name, chart::series(&plot, mark, &[points])?));
    }
    Ok((cards, String::new()))
}

fn importances(subject: &Subject<'_>) -> Option<Importances> {
    let all = subject.explanations.importances.as_ref()?;
    let most = all.columns.first().map_or(0.0, |c| c.mean).max(f64::MIN_POSITIVE);
    let rows = all.columns.iter().take(IMPORTANCES).map(|c| Importance {
        column: c.column.clone(),
        width: (1000.0 * (c.mean / most).clamp(0.0, 1.0)).round() / 10.0,
        mean: shown(c.mean),
        spread: shown(c.spread),
    });
    let mut note = format!(
        "By how much the {} of {} rows ({}) grows when the values of one column change places among them, and the standard deviation over {} times. Columns that tell the same share what they are worth.",
        all.metric,
        count(all.rows),
        shown(all.base),
        all.repeats
    );
    if all.columns.len() > IMPORTANCES {
        let rest = all.columns.len() - IMPORTANCES;
        note += &format!(" {} less important columns are left out.", count(rest));
    }
    Some(Importances {
        rows: rows.collect(),
        note,
    })
}

fn dependence(found: &Dependence, task: Task) -> Result<Card> {
    let outputs: Vec<String> = found.outputs.clone();
    let name = match (&outputs[..], task) {
        ([only], Task::Regression) => only.clone(),
        ([only], Task::Classification) => format!("probability of {only}"),
        _ => "probability".into(),
    };
    let names = match outputs.len() {
        1 => vec![name.clone()],
        _ => outputs.clone(),
    };
    let head = std::iter::once(found.column.clone()).chain(names);
    let table = std::iter::zip(&found.values, &found.means).map(|(value, means)| {
        let value = value.parse().map_or_else(|_| value.clone(), number);
        std::iter::once(value)
            .chain(means.iter().map(|m| shown(*m)))
            .collect()
    });
    let own = |output: usize| -> Vec<(f64, f64)> {
        let pairs = std::iter::zip(&found.values, &found.means);
        pairs
            .filter_map(|(value, means)| Some((value.parse().ok()?, means[output])))
            .collect()
    };
    let mut made = Card {
        title: found.column.clone(),
        note: format!("mean prediction of {} rows", count(found.rows)),
        chart: None,
        legend: if outputs.len() > 1 {
            outputs.clone()
        } else {
            Vec::new()
        },
        head: head.collect(),
        table: table.collect(),
        folded: found.numeric,
    };
    if found.numeric {
        let lines: Vec<Vec<(f64, f64)>> = (0..outputs.len()).map(own).collect();
        let all = lines[0].iter().map(|(_, y)| *y);
        let (low, high) = all.fold((f64::MAX, f64::MIN), |(l, h), y| (l.min(y), h.max(y)));
        let plot = Plot {
            title: &format!("Predictions by {}", found.column),
            description: &format!(
                "The mean prediction of {} goes from {} to {} over the values of {}",
                outputs[0],
                shown(low),
                shown(high),
                found.column
            ),
            x: &found.column,
            y: &name,
            range: Range::Free,
        };
        made.chart = Some(html(chart::series(&plot, Mark::Line, &lines)?));
    } else {
        made.legend.clear();
    }
    Ok(made)
}

fn words(subject: &Subject<'_>) -> Vec<Words> {
    let of = |words: &tesla_train::explain::Words| {
        let most = words
            .words
            .iter()
            .map(|(_, a)| a.abs())
            .fold(f64::MIN_POSITIVE, f64::max);
        let row = |(word, amount): &(String, f64)| Importance {
            column: word.clone(),
            width: (1000.0 * amount.abs() / most).round() / 10.0,
            mean: shown(*amount),
            spread: String::new(),
        };
        Words {
            of: words.of.clone(),
            note: format!("{} texts that are predicted so", count(words.rows)),
            rows: words.words.iter().filter(|(_, a)| *a != 0.0).map(row).collect(),
        }
    };
    subject.explanations.words.iter().map(of).collect()
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

fn mistake(shown_row: &Shown) -> Mistake {
    let Shown {
        mistake,
        values,
        why,
        picture,
    } = shown_row;
    let as_number = |text: &str| text.parse().map_or_else(|_| text.to_string(), number);
    let (truth, predicted, sure) = match (mistake.probability, mistake.error) {
        (Some(p), _) => {
            let mut sure = crate::figures::percent(p);
            if let Some(own) = mistake.truth_probability {
                sure += &format!(", the true class {}", crate::figures::percent(own));
            }
            (mistake.truth.clone(), mistake.predicted.clone(), sure)
        }
        (None, error) => (
            as_number(&mistake.truth),
            as_number(&mistake.predicted),
            error.map_or_else(String::new, |e| {
                format!("{}{} away", if e > 0.0 { "+" } else { "" }, number(e))
            }),
        ),
    };
    let text = match values.as_slice() {
        [(_, text)] if text.chars().count() > 30 => Some(cut(text, LETTERS)),
        _ => None,
    };
    let shown_values = values.iter().take(VALUES).map(|(name, value)| {
        let value = if value.is_empty() {
            "missing".into()
        } else {
            cut(value, 60)
        };
        (name.clone(), value)
    });
    Mistake {
        place: mistake.place.clone(),
        truth,
        predicted,
        sure,
        values: if text.is_some() {
            Vec::new()
        } else {
            shown_values.collect()
        },
        text,
        because: why.as_ref().map_or_else(Vec::new, because),
        picture: picture.as_ref().map(|picture| with_map(picture, why.as_ref())),
        why: why.as_ref().map_or_else(String::new, |why| why.of.clone()),
    }
}

fn because(why: &Explained) -> Vec<Because> {
    let most = why
        .contributions
        .iter()
        .map(|c| c.amount.abs())
        .fold(f64::MIN_POSITIVE, f64::max);
    let row = |c: &tesla_train::explain::Contribution| Because {
        name: c.name.clone(),
        value: c.value.parse().map_or_else(|_| cut(&c.value, 30), number),
        amount: format!("{}{}", if c.amount > 0.0 { "+" } else { "" }, shown(c.amount)),
        speaks_for: c.amount > 0.0,
        width: (1000.0 * c.amount.abs() / most).round() / 10.0,
    };
    why.contributions
        .iter()
        .filter(|c| c.amount != 0.0)
        .take(BECAUSE)
        .map(row)
        .collect()
}

fn with_map((uri, [width, height]): &(String, [usize; 2]), why: Option<&Explained>) -> Picture {
    let map = why.and_then(|why| why.map.as_ref());
    let parts = map.map_or_else(Vec::new, |map| {
        let most = map.amounts.iter().map(|a| a.abs()).fold(f64::MIN_POSITIVE, f64::max);
        let part = |(at, amount): (usize, &f64)| Part {
            x: at % map.width,
            y: at / map.width,
            speaks_for: *amount > 0.0,
            opacity: (70.0 * amount.abs() / most).round() / 100.0,
        };
        map.amounts
            .iter()
            .enumerate()
            .map(part)
            .filter(|p| p.opacity > 0.02)
            .collect()
    });
    Picture {
        uri: html(uri.clone()),
        width: *width,
        height: *height,
        map: map.map_or([1, 1], |map| [map.width, map.height]),
        parts,
    }
}

fn mistakes_note(subject: &Subject<'_>) -> String {
    let Some(why) = subject.mistakes.iter().find_map(|m| m.why.as_ref()) else {
        return String::new();
    };
    let unit = match why.unit.as_str() {
        "log-odds" => "in log-odds of the predicted class".to_string(),
        unit if unit.starts_with("score") => {
            "in the score of the predicted class above the mean of the others".into()
        }
        unit => format!("in units of `{unit}`"),
    };
    match why.method {
        Method::Occlusion => "Blue parts speak for the predicted class, orange ones against it: what its score loses without them.".into(),
        Method::WordRemoval => format!("A word's number is what is lost when it is taken out, {unit}."),
        Method::Exact if subject.bundle.signature.vocabulary > 0 => format!("A word's number is what its terms added to the prediction, exactly, {unit}: the word itself, and its share of pairs and pieces."),
        Method::Exact => format!("A number beside a value is what it added to the prediction, exactly, {unit}."),
        Method::IntegratedGradients => format!("A number beside a value is what it added to the prediction (integrated gradients), {unit}."),
        Method::Shapley => format!("A number beside a value is what it added to the prediction (Shapley values), {unit}."),
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
