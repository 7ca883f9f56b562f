//! Reports and models as text.

pub(crate) mod profile;

use std::fmt::Write;

use serde_json::{Map, Value, json};
use tesla::evaluate::{Classification, Metrics};
use tesla::{Bundle, Report};
use tesla_data::contract::Role;
use tesla_data::{ColumnKind, ColumnRule};
use tesla_train::explain::Explained;

use crate::figures::figure;

/// More classes than this make a confusion matrix that nobody reads.
const MAX_CONFUSION: usize = 12;
/// More coefficients than this are left to `--json`.
const MAX_COEFFICIENTS: usize = 40;

/// The figures of a report.
pub(crate) fn report(rows: &str, report: &Report) -> String {
    let mut out = format!("\n{rows}: {} rows\n", report.rows);
    let mut figures = |figures: &[(&str, f64)]| {
        for (name, value) in figures {
            out += &format!("  {name:<10} {value:.4}\n");
        }
    };
    match &report.metrics {
        Metrics::Classification(m) => {
            figures(&[("accuracy", m.accuracy)]);
            figures(&[("precision", m.precision), ("recall", m.recall), ("f1", m.f1)]);
            figures(&[("log loss", m.log_loss)]);
            if let Some(auc) = m.roc_auc {
                figures(&[("roc auc", auc)]);
            }
            out += &baselines(report, "accuracy");
            out += &classes(m);
        }
        Metrics::Regression(m) => {
            figures(&[("rmse", m.rmse), ("mae", m.mae), ("r2", m.r2)]);
            if let Some(nmae) = report.interactions.as_ref().and_then(|i| i.nmae) {
                figures(&[("nmae", nmae)]);
            }
            out += &baselines(report, "rmse");
        }
        Metrics::Ranking(m) => {
            figures(&[("ndcg", m.ndcg), ("map", m.map), ("mrr", m.mrr)]);
            figures(&[("precision", m.precision), ("recall", m.recall)]);
            figures(&[("hit rate", m.hit_rate), ("coverage", m.coverage)]);
            out += &format!(
                "  of the first {} of all items but those in the user's training rows; {} users\n",
                m.k, m.users
            );
            out += &baselines(report, "ndcg");
        }
    }
    if let Some(cold) = report.interactions.as_ref().filter(|cold| cold.cold_rows > 0) {
        out += &format!(
            "  unknown to training: {} users and {} items, in {} rows; {}\n",
            cold.cold_users,
            cold.cold_items,
            cold.cold_rows,
            match report.metrics {
                Metrics::Ranking(_) =>
                    "such users are shown the most popular items, such items nobody",
                _ => "the mean rating and what is known of the other side stand in",
            }
        );
    }
    out
}

/// What simple models reach.
fn baselines(report: &Report, figure: &str) -> String {
    let mut out = String::new();
    for baseline in &report.baselines {
        let Some(value) = baseline.figures.get(figure) else {
            continue;
        };
        let who = match baseline.name.as_str() {
            "majority" => "always saying the commonest class",
            "mean" => "always saying the mean",
            "logistic" => "logistic regression",
            "popularity" => "showing everybody the most popular items",
            _ => "linear regression",
        };
        let _ = writeln!(out, "  {value:.4} is the {figure} of {who}");
    }
    out
}

fn classes(m: &Classification) -> String {
    let label = |s: &str| -> String { s.chars().take(16).collect() };
    let wide = m
        .classes
        .iter()
        .map(|c| label(&c.label).chars().count())
        .max()
        .unwrap_or(0);
    let mut out =
        format!("\n  {:<wide$}  precision  recall     f1  rows", "class", wide = wide.max(5));
    let confusion = m.classes.len() <= MAX_CONFUSION;
    if confusion {
        out += "   predicted as";
        m.classes.iter().for_each(|c| {
            let _ = write!(out, " {:>5}", c.label.chars().take(5).collect::<String>());
        });
    }
    out.push('\n');
    for (class, row) in std::iter::zip(&m.classes, &m.confusion) {
        let _ = write!(
            out,
            "  {:<wide$}     {:.4}  {:.4} {:.4} {:>5.0}",
            label(&class.label),
            class.precision,
            class.recall,
            class.f1,
            class.support,
            wide = wide.max(5)
        );
        if confusion {
            out += "               ";
            row.iter().for_each(|n| {
                let _ = write!(
                    out,
                    " {:>5}",
                    if *n == 0.0 {
                        "·".into()
                    } else {
                        format!("{n:.0}")
                    }
                );
            });
        }
        out.push('\n');
    }
    out
}

/// What one prediction is made of.
pub(crate) fn explained(place: &str, found: &Explained, top: usize) -> String {
    let signed = |x: f64| format!("{}{}", if x > 0.0 { "+" } else { "" }, figure(x));
    let mut out = format!(
        "\n{place}: {}, {} {}, {} for a row of which nothing is known\n",
        found.of,
        found.unit,
        figure(found.output),
        figure(found.baseline)
    );
    let shown: Vec<(String, f64)> = found
        .contributions
        .iter()
        .take(top)
        .map(|c| match c.value.as_str() {
            "" => (c.name.clone(), c.amount),
            value => (format!("{} = {value}", c.name), c.amount),
        })
        .collect();
    let wide = shown.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, amount) in shown {
        let _ = writeln!(out, "  {name:<wide$}  {:>10}", signed(amount));
    }
    if found.contributions.len() > top {
        let rest: f64 = found.contributions[top..].iter().map(|c| c.amount).sum();
        let name = format!("{} others", found.contributions.len() - top);
        let _ = writeln!(out, "  {name:<wide$}  {:>10}", signed(rest));
    }
    if let Some(map) = &found.map {
        for row in map.amounts.chunks(map.width.max(1)) {
            let cells: String = row.iter().map(|a| format!(" {:>8}", signed(*a))).collect();
            let _ = writeln!(out, " {cells}");
        }
    }
    out
}

/// A head and rows as columns; numbers to the right.
pub(crate) fn table(table: &[Vec<String>]) -> String {
    let columns = table.first().map_or(0, Vec::len);
    let width = |at: usize| table.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let is_number = |at: usize| {
        table[1..]
            .iter()
            .all(|row| row[at] == "·" || row[at].replace(',', "").parse::<f64>().is_ok())
    };
    let mut out = String::new();
    for row in table {
        let cells = row.iter().enumerate().map(|(at, cell)| match is_number(at) {
            true => format!("{cell:>wide$}", wide = widths[at]),
            false => format!("{cell:<wide$}", wide = widths[at]),
        });
        out += cells.collect::<Vec<_>>().join("  ").trim_end();
        out.push('\n');
    }
    out
}

/// What is inside a bundle.
pub(crate) fn bundle(bundle: &Bundle) -> String {
    let from = &bundle.provenance;
    let [train, valid, test] = from.rows;
    let target = bundle.contract.target();
    let mut out = format!(
        "model    {} ({} inputs {:?}, {} outputs)\ntarget   {}{}\ntrained  on `{}` (sha256 {}), {train} rows, {valid} validation, {test} test; seed {}, device {}\n",
        bundle.model.kind(),
        bundle.pipeline.features.len(),
        bundle.signature.input,
        bundle.signature.outputs,
        target.map_or("", |t| &t.name),
        match bundle.pipeline.target.labels() {
            [] => String::new(),
            labels => format!(": {}", labels.join(", ")),
        },
        from.source,
        &from.data_sha256[..12.min(from.data_sha256.len())],
        from.seed,
        from.device,
    );
    out += "\ncolumns\n";
    for column in &bundle.contract.columns {
        let _ = writeln!(out, "  {:<24} {}", column.name, describe(column));
    }
    if let Some(models) = bundle.coefficients() {
        for model in models.iter().filter(|m| m.features.len() <= MAX_COEFFICIENTS) {
            let _ =
                writeln!(out, "\ncoefficients of `{}`, in the columns' own units", model.output);
            let _ = writeln!(out, "  {:<24} {:>14.6}", "intercept", model.intercept);
            for (name, value) in &model.features {
                let _ = writeln!(out, "  {name:<24} {value:>14.6}");
            }
        }
    }
    for part in ["valid", "test"] {
        let stored: Option<Report> = serde_json::from_value(bundle.report[part].clone()).ok();
        if let Some(stored) = stored {
            out += &report(if part == "test" { "test" } else { "validation" }, &stored);
        }
    }
    out
}

fn describe(column: &ColumnRule) -> String {
    let kind = match column.kind {
        ColumnKind::Numeric => "number",
        ColumnKind::Category => "category",
        ColumnKind::Text => "text",
        ColumnKind::Image => "image",
        ColumnKind::Time => "time",
    };
    let mut out = kind.to_string();
    if let Some([min, max]) = column.range {
        let _ = write!(out, " {min} to {max}");
    }
    if !column.categories.is_empty() {
        let _ = write!(out, " of {} levels", column.categories.len());
    }
    if column.nullable {
        out += ", may be missing";
    }
    match (column.role, &column.note) {
        (Role::Target, _) => out += ", the target",
        (Role::Unused, Some(note)) => {
            let _ = write!(out, ", not used: {note}");
        }
        (Role::Unused, None) => out += ", not used",
        (Role::Weight, _) => out += ", what each row counts for",
        (Role::Key, _) => out += ", says which rows follow each other",
        (Role::Feature, _) => {}
    }
    out
}

/// A made-up row that the model accepts, as JSON.
pub(crate) fn example_row(bundle: &Bundle) -> String {
    let row: Map<String, Value> = bundle
        .contract
        .inputs()
        .map(|column| {
            let value = match column.kind {
                ColumnKind::Numeric => {
                    let [min, max] = column.range.unwrap_or_default();
                    json!(((min + max) / 2.0 * 100.0).round() / 100.0)
                }
                ColumnKind::Image => json!("<base64 of an image file>"),
                ColumnKind::Time => json!("2024-01-31T12:00:00Z"),
                _ => json!(column.categories.first().map_or("a", String::as_str)),
            };
            (column.name.clone(), value)
        })
        .collect();
    Value::Object(row).to_string().replace('\'', "'\\''")
}

/// A size for people.
pub(crate) fn bytes(size: usize) -> String {
    match size {
        0..1000 => format!("{size} bytes"),
        1000..1_000_000 => format!("{:.0} kB", size as f64 / 1e3),
        _ => format!("{:.1} MB", size as f64 / 1e6),
    }
}
