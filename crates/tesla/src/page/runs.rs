//! Runs side by side, as a page.

use anyhow::Result;
use minijinja::Value;
use serde::Serialize;

use super::chart::{self, Mark, Plot, Range};
use super::{html, render};
use crate::commands::runs::Run;

#[derive(Serialize)]
struct Page<'a> {
    version: &'static str,
    command: &'a str,
    head: &'a [String],
    rows: &'a [Vec<String>],
    cards: Vec<Card>,
}

#[derive(Serialize)]
struct Card {
    title: String,
    chart: Value,
    legend: Vec<String>,
}

/// Runs that a chart can tell apart.
const RUNS: usize = 6;

/// The table of runs and their curves as one HTML file; `command` makes it again.
///
/// # Errors
/// When the template and this function do not fit each other.
pub(crate) fn page(runs: &[Run], table: &[Vec<String>], command: &str) -> Result<String> {
    let mut cards = Vec::new();
    for (key, title) in [
        ("loss", "Training loss"),
        ("valid_loss", "Validation loss"),
        ("accuracy", "Validation accuracy"),
        ("rmse", "Validation RMSE"),
        ("rmsle", "Validation RMSLE"),
        ("ndcg", "Validation NDCG"),
    ] {
        let points = |run: &Run| -> Vec<(f64, f64)> {
            let epochs = run.epochs.iter();
            epochs
                .filter_map(|e| Some((e["epoch"].as_f64()?, e[key].as_f64()?)))
                .collect()
        };
        // A run looks the same in all charts, so one without points keeps its place, unnamed.
        let with: Vec<(String, Vec<(f64, f64)>)> = runs
            .iter()
            .filter(|run| !run.epochs.is_empty())
            .take(RUNS)
            .map(|run| (run.run.clone(), points(run)))
            .map(|(name, points)| match points.is_empty() {
                true => (String::new(), points),
                false => (name, points),
            })
            .collect();
        if with.iter().all(|(_, points)| points.is_empty()) {
            continue;
        }
        let mark = match with.iter().any(|(_, points)| (1..8).contains(&points.len())) {
            true => Mark::Dots,
            false => Mark::Line,
        };
        let last: Vec<String> = with
            .iter()
            .filter_map(|(name, points)| {
                Some(format!("{name} ends at {}", crate::figures::figure(points.last()?.1)))
            })
            .collect();
        let (legend, series): (Vec<String>, Vec<Vec<(f64, f64)>>) = with.into_iter().unzip();
        let plot = Plot {
            title,
            description: &last.join("; "),
            x: "epoch",
            y: "",
            range: Range::Free,
        };
        cards.push(Card {
            title: title.into(),
            chart: html(chart::series(&plot, mark, &series)?),
            legend,
        });
    }
    let (head, rows) = table
        .split_first()
        .map_or((&[][..], table), |(head, rows)| (head, rows));
    render(
        "runs.html",
        &Page {
            version: env!("CARGO_PKG_VERSION"),
            command,
            head,
            rows,
            cards,
        },
    )
}
