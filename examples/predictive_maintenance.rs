//! When will an engine fail, and which machine needs a look now?
//!
//! `cargo run --release --example predictive_maintenance`, on generated engines and machines that ship
//! with TESLA. With `-- --data DIR`, on NASA's turbofans in `DIR/cmapss` and the records of a milling machine
//! in `DIR/ai4i2020` (`tesla datasets get cmapss --out DIR`, and so on).

use anyhow::{Context, Result};
use examples::{open, out};
use tesla::evaluate::{Classification, Metrics};
use tesla::{DeviceChoice, Model, train};

/// What a failure costs that nobody saw coming, where a look at a machine that is well costs 1.
const FAILURE: f64 = 20.0;

fn main() -> Result<()> {
    let rmse = remaining_life()?;
    let saved = alarms()?;
    println!("\nremaining life: rmse {rmse:.2} flights; alarms save {saved:.0} % of the cost");
    Ok(())
}

/// How many flights an engine has left, from its last thirty.
fn remaining_life() -> Result<f64> {
    println!("1. How many flights does an engine have left?");
    let (config, data) = open("engines", "cmapss")?;
    // One flight says little: a network looks at 30 flights in a row, so it sees where the gauges are going.
    // Far from failure nothing can be seen yet, so lives are capped. The parts are whole engines: the
    // flights of one engine in both training and test would be a leak.
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
    keep(&model, "remaining_life")?;
    Ok(figures.rmse)
}

/// Which machines to look at, at the lowest cost.
fn alarms() -> Result<f64> {
    println!("\n2. Which machine needs a look?");
    let (mut config, data) = open("machines", "ai4i2020")?;
    // Failures are rare, and to miss one is dear. So the alarm goes off at the probability where mistakes
    // cost least on the validation rows; the model file remembers it.
    config.evaluate = toml::from_str(&format!(
        "threshold = {{ cost = {{ false_positive = 1, false_negative = {FAILURE} }} }}"
    ))?;
    config.data.split.valid = 0.2;
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
    let cost = alarms + FAILURE * missed;
    let never = FAILURE * (missed + seen);
    let always = well + alarms;
    println!("  cost {cost:.0}; never looking costs {never:.0}, always looking {always:.0}");
    println!(
        "  AUC {:.3}: how well it ranks, whatever the threshold",
        figures.roc_auc.unwrap_or(f64::NAN)
    );
    keep(&model, "alarms")?;
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

fn keep(model: &Model, name: &str) -> Result<()> {
    let file = out("predictive_maintenance")?.join(format!("{name}.tesla"));
    model.save(&file)?;
    println!("  serve it: tesla serve {}", file.display());
    Ok(())
}
