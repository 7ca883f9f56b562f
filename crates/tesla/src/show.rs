//! Reports and models as text.

pub(crate) mod profile;

use std::fmt::Write;

use serde_json::{Map, Value, json};
use tesla::evaluate::{
    Classification, Comparison, CrossValidation, Difference, Interval, Metrics, Slices,
};
use tesla::{Bundle, Report};
use tesla_data::contract::Role;
use tesla_data::{ColumnKind, ColumnRule};
use tesla_train::explain::Explained;

use crate::figures;

/// More classes than this make a confusion matrix that nobody reads.
const MAX_CONFUSION: usize = 12;
/// More coefficients than this are left to `--json`.
const MAX_COEFFICIENTS: usize = 40;

/// A number of things: "1 row", "2 rows".
pub(crate) fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The figures of a report, the main ones.
pub(crate) fn report(rows: &str, report: &Report) -> String {
    let mut out = format!("\n{rows}: {}{}\n", plural(report.rows, "row"), weighed(report));
    let names = match &report.metrics {
        Metrics::Classification(_) => {
            &["accuracy", "precision", "recall", "f1", "log_loss", "roc_auc"][..]
        }
        Metrics::Regression(_) => &["rmse", "mae", "r2"][..],
        Metrics::Ranking(_) => {
            &["ndcg", "map", "mrr", "precision", "recall", "hit_rate", "coverage"][..]
        }
    };
    for (at, name) in names.iter().enumerate() {
        if let Some(value) = report.figure(name) {
            let interval = report.intervals.figures.get(*name).filter(|_| at == 0);
            out += &figure(name, value, 10, interval.map(|i| (i, level(report))));
        }
    }
    out += &interactions(report);
    out += &baselines(report, names[0]);
    if let Metrics::Classification(m) = &report.metrics {
        out += &classes(m);
    }
    out
}

/// All there is to say of some rows: every figure with its interval, classes, slices and mistakes.
pub(crate) fn full_report(rows: &str, report: &Report) -> String {
    let mut out = format!("\n{rows}: {}{}\n", plural(report.rows, "row"), weighed(report));
    for (name, value) in report.figures() {
        let interval = report.intervals.figures.get(name).map(|i| (i, level(report)));
        out += &match (value, report.undefined.get(name)) {
            (Some(value), _) => figure(name, value, 21, interval),
            (None, Some(reason)) => format!("  {:<21} none: {reason}\n", name.replace('_', " ")),
            (None, None) => String::new(),
        };
    }
    if let Some(threshold) = report.threshold {
        let label = match &report.metrics {
            Metrics::Classification(m) => m.classes.last().map_or("", |c| &c.label),
            Metrics::Regression(_) | Metrics::Ranking(_) => "",
        };
        let _ = writeln!(out, "  `{label}` is predicted from a probability of {threshold:.4} on");
    }
    let main = match &report.metrics {
        Metrics::Classification(_) => "accuracy",
        Metrics::Regression(_) => "rmse",
        Metrics::Ranking(_) => "ndcg",
    };
    out += &interactions(report);
    out += &baselines(report, main);
    if let Metrics::Classification(m) = &report.metrics {
        out += &classes(m);
    }
    for by in &report.slices {
        out += &slices(by, main);
    }
    out += &worst(report);
    out
}

/// What only rows of users and items have.
fn interactions(report: &Report) -> String {
    let mut out = String::new();
    if let Some(nmae) = report.interactions.as_ref().and_then(|i| i.nmae) {
        out += &figure("nmae", nmae, 10, None);
    }
    if let Metrics::Ranking(m) = &report.metrics {
        let _ = writeln!(
            out,
            "  of the first {} of all items but those in the user's training rows; {} users",
            m.k, m.users
        );
    }
    if let Some(cold) = report.interactions.as_ref().filter(|cold| cold.cold_rows > 0) {
        let _ = writeln!(
            out,
            "  unknown to training: {} users and {} items, in {} rows; {}",
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

/// The most mistakes that are shown.
const MISTAKES: usize = 5;

fn weighed(report: &Report) -> String {
    report
        .weight
        .map_or(String::new(), |weight| format!(" of weight {weight:.0}"))
}

fn level(report: &Report) -> f64 {
    report
        .intervals
        .resampling
        .map_or(0.95, |resampling| resampling.level)
}

fn figure(name: &str, value: f64, width: usize, interval: Option<(&Interval, f64)>) -> String {
    let range = interval.map_or(String::new(), |(interval, level)| {
        format!("  ({:.4} to {:.4}, {:.0} %)", interval.low, interval.high, 100.0 * level)
    });
    format!("  {:<width$} {value:.4}{range}\n", name.replace('_', " "))
}

/// The figures of slices, one a line.
fn slices(by: &Slices, main: &str) -> String {
    let names = match main {
        "accuracy" => ["accuracy", "f1", "log_loss", "roc_auc"],
        _ => ["rmse", "mae", "r2", ""],
    };
    let short = |text: &str| -> String { text.chars().take(24).collect() };
    let values = by.slices.iter().map(|slice| short(&slice.value).chars().count());
    let wide = values.chain([short(&by.column).chars().count()]).max().unwrap_or(0);
    let mut out = format!("\n  {:<wide$}     rows", short(&by.column));
    for (at, name) in names.iter().filter(|name| !name.is_empty()).enumerate() {
        let width = if at == 0 { 28 } else { 9 };
        let _ = write!(out, "  {:<width$}", name.replace('_', " "));
    }
    out = out.trim_end().to_string() + "\n";
    for slice in &by.slices {
        let mut line = format!("  {:<wide$} {:>8}", short(&slice.value), slice.rows);
        for (at, name) in names.iter().filter(|name| !name.is_empty()).enumerate() {
            let value = slice.figures.get(*name).copied().flatten();
            let value = value.map_or("none".to_string(), |value| format!("{value:.4}"));
            let _ = match (at, slice.intervals.get(*name)) {
                (0, Some(i)) => {
                    let range = format!("{value} ({:.4} to {:.4})", i.low, i.high);
                    write!(line, "  {range:<28}")
                }
                (0, None) => write!(line, "  {value:<28}"),
                _ => write!(line, "  {value:<9}"),
            };
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

fn worst(report: &Report) -> String {
    let mut out = String::new();
    for (at, mistake) in report.worst.iter().take(MISTAKES).enumerate() {
        if at == 0 {
            out += "\n  worst mistakes\n";
        }
        let sure = mistake.probability.map_or(String::new(), |p| format!(" ({p:.4})"));
        let _ =
            writeln!(out, "  {}: {} for {}{sure}", mistake.place, mistake.predicted, mistake.truth);
    }
    out
}

/// The figures of a cross-validation.
pub(crate) fn folds(found: &CrossValidation) -> String {
    let Some(first) = found.folds.first() else {
        return String::new();
    };
    let names: &[&str] = match first.figures.contains_key("accuracy") {
        true => &["accuracy", "f1", "log_loss", "roc_auc"],
        false => &["rmse", "mae", "r2"],
    };
    let mut out = format!("\n{} folds, {}\n  fold     rows", found.folds.len(), found.by.name());
    let head = |name: &&str| format!("  {:>9}", name.replace('_', " "));
    out.extend(names.iter().map(head));
    out.push('\n');
    let cell = |value: Option<f64>| {
        format!("  {:>9}", value.map_or("none".into(), |value| format!("{value:.4}")))
    };
    for (at, fold) in found.folds.iter().enumerate() {
        let _ = write!(out, "  {:<4} {:>8}", at + 1, fold.rows[2]);
        out.extend(
            names
                .iter()
                .map(|name| cell(fold.figures.get(*name).copied().flatten())),
        );
        out.push('\n');
    }
    for (what, of) in [("mean", 0), ("std", 1)] {
        let _ = write!(out, "  {what:<4} {:>8}", "");
        out.extend(names.iter().map(|name| {
            cell(found.figures.get(*name).map(|s| if of == 0 { s.mean } else { s.std }))
        }));
        out.push('\n');
    }
    out
}

/// Two models side by side.
pub(crate) fn comparison(names: [&str; 2], found: &Comparison) -> String {
    let mut out = format!("\n{}\n", plural(found.rows, "row"));
    let wide = names.map(|name| name.chars().count().max(10));
    let _ = writeln!(
        out,
        "  {:<21}  {:>a$}  {:>b$}  difference ({:.0} % interval)       p",
        "",
        names[0],
        names[1],
        100.0 * found.resampling.level,
        a = wide[0],
        b = wide[1]
    );
    for figure in &found.figures {
        let Difference { interval, p_value } = &figure.difference;
        let range =
            format!("{:+.4} ({:+.4} to {:+.4})", interval.estimate, interval.low, interval.high);
        let _ = writeln!(
            out,
            "  {:<21}  {:>a$.4}  {:>b$.4}  {range:<30} {p_value:.3}",
            figure.name.replace('_', " "),
            figure.first,
            figure.second,
            a = wide[0],
            b = wide[1]
        );
    }
    if let Some(test) = &found.mcnemar {
        let _ = writeln!(
            out,
            "  right alone: `{}` on {} rows, `{}` on {}",
            names[0], test.only_first, names[1], test.only_second
        );
    }
    let _ = writeln!(out, "\n{}", found.conclusion(names));
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
    let signed = |x: f64| format!("{}{}", if x > 0.0 { "+" } else { "" }, figures::figure(x));
    let mut out = format!(
        "\n{place}: {}\n  {}: {}, and {} for a row of which nothing is known\n",
        found.of,
        found.unit,
        figures::figure(found.output),
        figures::figure(found.baseline)
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
        let others = found.contributions.len() - top;
        let name = format!("{others} other{}", if others == 1 { "" } else { "s" });
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
        // A report of an older version lacks figures; one that cannot be read is left out.
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
                ColumnKind::Numeric => json!(bundle.pipeline.example(column)),
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
