//! Parts of the rows, by the values of a column.

use std::collections::BTreeMap;

use tesla_data::Target;
use tesla_data::arrow::array::{Array, ArrayRef, AsArray};
use tesla_data::arrow::compute::cast;
use tesla_data::arrow::datatypes::{DataType, Float64Type};
use tesla_data::prepare::FittedTarget;

use super::gather::Gather;
use super::{Judged, Slice, Slices};
use crate::metrics::resample::Resampling;
use crate::{Error, Result};

/// The most slices of a column; what is rarer is one slice together.
const MOST: usize = 30;
/// The most where there are many classes, each of which takes memory in each slice.
const FEW: usize = 5;
const MANY: usize = 200;
/// Numbers of more distinct values than this are cut into ranges of as many rows each.
const MOST_NUMBERS: usize = 12;
/// How many.
const RANGES: usize = 5;
/// Rows of a slice that intervals are drawn from, and how often.
const SAMPLED: usize = 2000;
const RESAMPLES: usize = 400;
/// The names of a slice's figures.
const FIGURES: [&str; 9] = [
    "accuracy",
    "balanced_accuracy",
    "f1",
    "log_loss",
    "roc_auc",
    "average_precision",
    "rmse",
    "mae",
    "r2",
];

/// The slices of a column while rows are judged.
pub(super) struct Cuts {
    column: String,
    names: Vec<String>,
    /// The slice of each row of the frame.
    slice: Vec<u32>,
    gathers: Vec<Gather>,
    in_order: bool,
}

impl Cuts {
    pub(super) fn new(column: &str, values: &ArrayRef, target: &FittedTarget) -> Result<Self> {
        let (names, slice, in_order) = match values.data_type() {
            kind if kind.is_numeric() => by_number(values)?,
            DataType::Binary | DataType::LargeBinary => {
                return Err(Error::Config(format!(
                    "the column `{column}` holds images, whose values divide nothing: name another"
                )));
            }
            _ => by_name(
                values,
                if target.labels().len() > MANY {
                    FEW
                } else {
                    MOST
                },
            )?,
        };
        Ok(Self {
            column: column.into(),
            gathers: names.iter().map(|_| Gather::new(target, 0, SAMPLED)).collect(),
            names,
            slice,
            in_order,
        })
    }

    pub(super) fn update(
        &mut self,
        judged: &Judged,
        weights: Option<&[f64]>,
        row: &dyn Fn(usize) -> usize,
    ) -> Result<()> {
        let mut parts: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (at, place) in judged.rows.iter().enumerate() {
            parts.entry(self.slice[row(*place)]).or_default().push(at as u32);
        }
        for (slice, rows) in parts {
            let part = judged.take(&rows);
            let weights: Option<Vec<f64>> =
                weights.map(|all| rows.iter().map(|at| all[*at as usize]).collect());
            self.gathers[slice as usize].update(&part, weights.as_deref())?;
        }
        Ok(())
    }

    pub(super) fn finish(self, target: &FittedTarget, resampling: &Resampling) -> Result<Slices> {
        let resampling = Resampling {
            resamples: resampling.resamples.min(RESAMPLES),
            ..*resampling
        };
        let mut slices = Vec::new();
        for (value, gather) in std::iter::zip(self.names, self.gathers) {
            // Without rows, or with rows that have no weight, there is nothing to say.
            if gather.rows() == 0 || gather.weight().is_some_and(|weight| weight <= 0.0) {
                continue;
            }
            let found = gather.finish(target, &resampling, false)?;
            let figures = found.metrics.figures().into_iter();
            let keep = |name: &str| FIGURES.contains(&name);
            let intervals = found.intervals.figures;
            slices.push(Slice {
                value,
                rows: found.rows,
                figures: figures
                    .filter(|(name, _)| keep(name))
                    .map(|(name, value)| (name.to_string(), value))
                    .collect(),
                intervals: intervals.into_iter().filter(|(name, _)| keep(name)).collect(),
                undefined: found.undefined.into_iter().filter(|(name, _)| keep(name)).collect(),
            });
        }
        if !self.in_order {
            slices.sort_by(|a, b| b.rows.cmp(&a.rows).then(a.value.cmp(&b.value)));
        }
        Ok(Slices {
            column: self.column,
            slices,
        })
    }
}

impl Judged {
    fn take(&self, at: &[u32]) -> Self {
        let pick = at.iter().map(|at| *at as usize);
        Self {
            rows: pick.clone().map(|at| self.rows[at]).collect(),
            truth: match &self.truth {
                Target::Absent => Target::Absent,
                Target::Classes(all) => Target::Classes(pick.map(|at| all[at]).collect()),
                Target::Values(all) => Target::Values(pick.map(|at| all[at]).collect()),
            },
            predictions: self.predictions.take(at),
        }
    }
}

type Cut = (Vec<String>, Vec<u32>, bool);

const MISSING: &str = "(missing)";

fn by_name(values: &ArrayRef, most: usize) -> Result<Cut> {
    let texts = cast(values, &DataType::Utf8).map_err(tesla_data::Error::from)?;
    let texts = texts.as_string::<i32>();
    let mut counts: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    texts.iter().for_each(|text| *counts.entry(text).or_default() += 1);
    let mut order: Vec<(Option<&str>, usize)> = counts.into_iter().collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let rest = order.len() > most;
    order.truncate(if rest { most - 1 } else { most });
    let mut names: Vec<String> = order
        .iter()
        .map(|(text, _)| text.unwrap_or(MISSING).to_string())
        .collect();
    let other = names.len() as u32;
    if rest {
        names.push("(other values)".into());
    }
    let place: BTreeMap<Option<&str>, u32> = order
        .iter()
        .enumerate()
        .map(|(at, (text, _))| (*text, at as u32))
        .collect();
    let slice = texts
        .iter()
        .map(|text| place.get(&text).copied().unwrap_or(other))
        .collect();
    Ok((names, slice, false))
}

fn by_number(values: &ArrayRef) -> Result<Cut> {
    let numbers = cast(values, &DataType::Float64).map_err(tesla_data::Error::from)?;
    let numbers = numbers.as_primitive::<Float64Type>();
    let is_there = |value: Option<f64>| value.filter(|value| !value.is_nan());
    let mut sorted: Vec<f64> = numbers.iter().filter_map(is_there).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let mut distinct = sorted.clone();
    distinct.dedup();
    // The first number of each slice.
    let (starts, mut names): (Vec<f64>, Vec<String>) = if distinct.len() <= MOST_NUMBERS {
        (distinct.clone(), distinct.iter().map(f64::to_string).collect())
    } else {
        let mut starts: Vec<f64> = (0..RANGES)
            .map(|range| sorted[sorted.len() * range / RANGES])
            .collect();
        starts.dedup();
        let end = |at: usize| match starts.get(at + 1) {
            Some(next) => sorted[sorted.partition_point(|v| v < next) - 1],
            None => sorted[sorted.len() - 1],
        };
        let name = |(at, start): (usize, &f64)| format!("{start} to {}", end(at));
        (starts.clone(), starts.iter().enumerate().map(name).collect())
    };
    let missing = names.len() as u32;
    if sorted.len() < numbers.len() {
        names.push(MISSING.into());
    }
    let slice = numbers.iter().map(|value| match is_there(value) {
        Some(value) => starts.partition_point(|start| *start <= value) as u32 - 1,
        None => missing,
    });
    Ok((names, slice.collect(), true))
}
