//! Reports and models as text.

pub(crate) mod profile;

use std::fmt::Write;

use serde_json::{Map, Value, json};
use tesla::evaluate::{Classification, Metrics};
use tesla::{Bundle, Report};
use tesla_data::contract::Role;
use tesla_data::{ColumnKind, ColumnRule};

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
            out += &format!(
                "  {:.4} is the accuracy of always saying the commonest class\n",
                report.baseline
            );
            out += &classes(m);
        }
        Metrics::Regression(m) => {
            figures(&[("rmse", m.rmse), ("mae", m.mae), ("r2", m.r2)]);
            out += &format!("  {:.4} is the rmse of always saying the mean\n", report.baseline);
        }
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
            "  {:<wide$}     {:.4}  {:.4} {:.4} {:>5}",
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
                let _ = write!(out, " {:>5}", if *n == 0 { "·".into() } else { n.to_string() });
            });
        }
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
