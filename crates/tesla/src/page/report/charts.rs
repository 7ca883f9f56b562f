//! The pictures of a report: charts, and the tables behind them.

use anyhow::Result;
use minijinja::Value;
use serde::Serialize;
use serde_json::Value as Json;
use tesla::Bundle;
use tesla_data::Task;
use tesla_train::evaluate::Curves;
use tesla_train::explain::Dependence;

use super::title;
use crate::figures::{count, figure as shown, number};
use crate::page::chart::{self, Mark, Plot, Range};
use crate::page::html;

/// A chart with its legend, or a table in its place.
#[derive(Serialize)]
pub(super) struct Card {
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

/// Series that the style can tell apart.
const SERIES: usize = 6;

/// The pictures of an evaluation.
pub(super) fn cards(curves: &Curves, bundle: &Bundle) -> Result<Vec<Card>> {
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

pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// The losses by epoch, and what is said of a model that has none.
pub(super) fn training(bundle: &Bundle) -> Result<(Vec<Card>, String)> {
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

pub(super) fn dependence(found: &Dependence, task: Task) -> Result<Card> {
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
