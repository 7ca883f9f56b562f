//! Cross-validation: as many models as folds, each judged by rows it did not see.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tesla_core::Device;
use tesla_data::config::{AuditLevel, SplitBy, SplitConfig};
use tesla_data::{Contract, Dataset};

use crate::{Config, Error, Event, Observer, Result, train};

/// The figures of models that were trained on all folds but one and judged by that one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CrossValidation {
    /// The rule that divided the rows.
    pub by: SplitBy,
    /// The seed that did.
    pub seed: u64,
    /// Fold by fold.
    pub folds: Vec<Fold>,
    /// Over the folds, by the names of [`Report::figures`](crate::Report::figures).
    pub figures: BTreeMap<String, Spread>,
}

/// One fold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fold {
    /// Rows trained on, validated on and tested on.
    pub rows: [usize; 3],
    /// The figures of the test rows; `None` where the rows do not define one.
    pub figures: BTreeMap<String, Option<f64>>,
    /// What simple models reach on the same rows, by their names.
    pub baselines: BTreeMap<String, BTreeMap<String, f64>>,
}

/// A figure over folds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of the folds; 0 of one.
    pub std: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The folds that define the figure.
    pub folds: usize,
}

/// Trains and judges a model for each of `folds` parts of the rows, divided by the rule of `[data.split]`:
/// stratified, random, by group or by time. All rows of the source take part; sources of `test` and
/// `valid` of their own do not. Within a fold, `split.valid` of the rows stop training early.
///
/// # Errors
/// When the rows cannot be divided so, and as [`train`](crate::train()).
pub fn cross_validate(
    config: &Config,
    data: &Dataset,
    folds: usize,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<CrossValidation> {
    let contract = Contract::infer(&data.frame, &config.data, &config.columns)?;
    let settled = data.settle(&contract, &config.data.bad_policy())?;
    let classes = settled.frame.class_ids(&contract)?;
    let seed = config.train.seed;
    let splits = settled.folds(&config.data, classes.as_deref(), folds, seed)?;
    let by = splits.first().map_or(SplitBy::Random, |split| split.by);
    let mut found = Vec::with_capacity(folds);
    for (at, split) in splits.into_iter().enumerate() {
        observer.event(Event::Fold {
            fold: at + 1,
            folds,
        });
        let rows = [split.train.len(), split.valid.len(), split.test.len()];
        let trained = train(&of_fold(config, at), &data.with_split(split), device, observer)?;
        let Some(test) = trained.test else {
            return Err(Error::Config(format!("fold {} has no row to test on", at + 1)));
        };
        let named = |(name, value): (&str, Option<f64>)| (name.to_string(), value);
        found.push(Fold {
            rows,
            figures: test.figures().into_iter().map(named).collect(),
            baselines: test.baselines.into_iter().map(|b| (b.name, b.figures)).collect(),
        });
    }
    Ok(CrossValidation {
        by,
        seed,
        figures: spreads(&found),
        folds: found,
    })
}

/// The configuration of one fold: the split is given. The auditor looks at the first fold only, by the
/// column that divides the rows, and says what it finds: a fold is smaller than a run, and chance tells
/// more of few rows. What is grave stops the run of the model that is kept.
fn of_fold(config: &Config, at: usize) -> Config {
    let mut config = config.clone();
    let (by, column) = (config.data.split.by, config.data.split.column.clone());
    match by {
        Some(SplitBy::Group) => config.audit.group = config.audit.group.or(column),
        Some(SplitBy::Time) => config.audit.time = config.audit.time.or(column),
        _ => {}
    }
    config.audit.level = match config.audit.level {
        AuditLevel::Stop | AuditLevel::Warn if at == 0 => AuditLevel::Warn,
        _ => AuditLevel::Off,
    };
    // What divides the rows is no feature, as in a run of its own.
    if let Some(column) = &config.data.split.column
        && !config.columns.contains_key(column)
        && !config.data.drop.contains(column)
    {
        config.data.drop.push(column.clone());
    }
    config.data.split = SplitConfig {
        by: Some(SplitBy::File),
        file: Some(format!("fold {}", at + 1)),
        ..SplitConfig::default()
    };
    (config.data.test, config.data.valid) = (None, None);
    config
}

fn spreads(folds: &[Fold]) -> BTreeMap<String, Spread> {
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, value) in folds.iter().flat_map(|fold| &fold.figures) {
        values.entry(name).or_default().extend(value);
    }
    let spread = |values: &[f64]| {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        Spread {
            mean,
            std: (squares / (count - 1.0).max(1.0)).sqrt(),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            folds: values.len(),
        }
    };
    let defined = values.into_iter().filter(|(_, values)| !values.is_empty());
    defined
        .map(|(name, values)| (name.to_string(), spread(&values)))
        .collect()
}
