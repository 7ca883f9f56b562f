//! When will an engine fail, and which machine needs a look now?
//!
//! `cargo run --release --example predictive_maintenance`, on generated engines and machines that ship
//! with TESLA. With `-- --data DIR`, on NASA's turbofans in `DIR/cmapss` and the records of a milling machine
//! in `DIR/ai4i2020` (`tesla datasets get cmapss --out DIR`, and so on).

use std::path::PathBuf;

use anyhow::{Context, Result};
use examples::{folder, open, out, serve};
use tesla::evaluate::{Classification, Metrics, ThresholdRule};
use tesla::{Config, DeviceChoice, Model, train};

fn main() -> Result<()> {
    let rmse = remaining_life()?;
    let saved = alarms()?;
    println!("\nremaining life: rmse {rmse:.2} flights; alarms save {saved:.0} % of the cost");
    Ok(())
}

/// How many flights an engine has left, from its latest ones.
fn remaining_life() -> Result<f64> {
    println!("1. How many flights does an engine have left?");
    let (config, data) = open("engines", "cmapss")?;
    let sequence = config.data.sequence.as_ref().context("the rows are flights")?;
    // One flight says little: a network looks at many in a row, so it sees where the gauges are going.
    // Far from failure nothing can be seen yet, so lives are capped. The parts are whole engines: the
    // flights of one engine in both training and test would be a leak.
    println!("  from the last {} flights of each", sequence.length);
    let model = train::with_config(&config, &data, DeviceChoice::Flex)?;
    let test = model.test().context("the settings name test engines")?;
    let Metrics::Regression(figures) = &test.metrics else {
        anyhow::bail!("a number is predicted");
    };
    println!(
        "  {} engines taken off the wing before they failed, judged by their last flight",
        test.rows
    );
    println!(
        "  off by {:.1} flights in the middle case, rmse {:.2}",
        figures.median_absolute_error.unwrap_or(f64::NAN),
        figures.rmse
    );
    for baseline in &test.baselines {
        println!("  in comparison, `{}`: rmse {:.2}", baseline.name, baseline.figures["rmse"]);
    }
    for mistake in test.worst.iter().take(2) {
        println!(
            "  worst: {} has {} left, predicted {:.0}",
            mistake.place,
            mistake.truth,
            mistake.predicted.parse::<f64>()?
        );
    }
    let file = keep(&model, "remaining_life")?;
    let flights = last_engine(&config)?;
    let answer = serve(&file, "text/csv", &flights)?;
    let left = answer["predictions"].as_array().and_then(|rows| rows.last());
    println!(
        "  the last engine after its last flight: {:.0} left",
        left.and_then(|row| row["prediction"].as_f64()).unwrap_or(f64::NAN)
    );
    Ok(figures.rmse)
}

/// Which machines to look at, at the lowest cost.
fn alarms() -> Result<f64> {
    println!("\n2. Which machine needs a look?");
    let (config, data) = open("machines", "ai4i2020")?;
    // Failures are rare, and to miss one is dear. So the alarm goes off at the probability where mistakes
    // cost least on the validation rows, as `[evaluate]` says; the model file remembers it.
    let Some(ThresholdRule::Cost(costs)) = config.evaluate.threshold else {
        anyhow::bail!("the settings say what mistakes cost");
    };
    println!(
        "  a failure that nobody saw coming costs {}, a look at a machine that is well {}",
        costs.false_negative, costs.false_positive
    );
    let model = train::with_config(&config, &data, DeviceChoice::Flex)?;
    let test = model.test().context("the settings keep test rows")?;
    let Metrics::Classification(figures) = &test.metrics else {
        anyhow::bail!("a class is predicted");
    };
    let [[well, alarms], [missed, seen]] = counts(figures)?;
    println!("  alarm from a probability of {:.3} on", test.threshold.unwrap_or(0.5));
    println!(
        "  {} test rows: {seen} failures seen, {missed} missed, {alarms} alarms for nothing",
        test.rows
    );
    let cost = costs.false_positive * alarms + costs.false_negative * missed;
    let never = costs.false_negative * (missed + seen);
    let always = costs.false_positive * (well + alarms);
    println!("  cost {cost:.0}; never looking costs {never:.0}, always looking {always:.0}");
    println!(
        "  AUC {:.3}: how well it ranks, whatever the threshold",
        figures.roc_auc.unwrap_or(f64::NAN)
    );
    let file = keep(&model, "alarms")?;
    serve(&file, "text/csv", &first_machine(&config)?)?;
    Ok(100.0 * (1.0 - cost / never.min(always)))
}

/// The confusion matrix of two classes: row = what happened, column = what was said; the failure second.
fn counts(figures: &Classification) -> Result<[[f64; 2]; 2]> {
    let rows: Option<Vec<[f64; 2]>> = figures
        .confusion
        .iter()
        .map(|row| row.as_slice().try_into().ok())
        .collect();
    rows.and_then(|rows| rows.try_into().ok())
        .context("there are two classes")
}

/// The first machine of the file, below the names of its columns.
fn first_machine(config: &Config) -> Result<String> {
    let file = config
        .data
        .source
        .iter()
        .next()
        .context("the settings name a source")?;
    let text = std::fs::read_to_string(folder("machines")?.join(file))?;
    // Some programs mark UTF-8 by a character in front.
    let text = text.trim_start_matches('\u{feff}');
    Ok(text.lines().take(2).collect::<Vec<_>>().join("\n"))
}

/// The flights of the last engine of the test file, as they stand there.
fn last_engine(config: &Config) -> Result<String> {
    let file = config.data.test.as_ref().context("the settings name test engines")?;
    let text = std::fs::read_to_string(folder("engines")?.join(file))?;
    let lines: Vec<&str> = text.lines().collect();
    let engine = |line: &str| line.split([',', ' ']).next().map(str::to_string);
    let last = lines.last().and_then(|line| engine(line));
    let header = lines.first().filter(|_| config.data.csv.header);
    let flights = lines.iter().filter(|line| engine(line) == last);
    Ok(header
        .into_iter()
        .chain(flights)
        .copied()
        .collect::<Vec<_>>()
        .join("\n"))
}

fn keep(model: &Model, name: &str) -> Result<PathBuf> {
    let file = out("predictive_maintenance")?.join(format!("{name}.tesla"));
    model.save(&file)?;
    Ok(file)
}
