//! Uncertainty by resampling, and tests of two models on the same rows. Every resample has its own
//! stream of random numbers, so the figures are the same on any number of threads.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::probability::quantile;
use super::{MetricError, Result, check_length, invalid, undefined};

/// How often, how sure and from which seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resampling {
    /// The number of resamples.
    pub resamples: usize,
    /// The share of resamples that an interval holds.
    pub level: f64,
    /// The seed.
    pub seed: u64,
}

impl Default for Resampling {
    fn default() -> Self {
        Self {
            resamples: 1000,
            level: 0.95,
            seed: 0,
        }
    }
}

/// A figure and the interval it would lie in were the rows drawn again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The figure of the rows themselves.
    pub estimate: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The standard deviation of the resampled figures.
    pub spread: f64,
    /// The resamples on which the figure was undefined: they are left out.
    pub undefined: usize,
}

impl Interval {
    /// The interval of a sample, moved to the figure of all rows.
    pub(crate) fn around(self, value: f64) -> Self {
        let shift = value - self.estimate;
        Self {
            estimate: value,
            low: self.low + shift,
            high: self.high + shift,
            ..self
        }
    }
}

/// The difference of two models on the same rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The figure of the first less that of the second.
    pub interval: Interval,
    /// The chance of a bootstrapped difference at least this far on the other side of 0, two-sided.
    pub p_value: f64,
}

fn rng(options: &Resampling, resample: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    rng.set_stream(resample as u64);
    rng
}

/// Rows drawn with replacement, as many as there are.
fn draw(rows: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    (0..rows).map(|_| rng.random_range(0..rows)).collect()
}

fn check(rows: usize, options: &Resampling) -> Result<()> {
    if rows == 0 {
        return undefined("there is no row to draw from");
    }
    if options.resamples < 2 {
        return invalid(format!("there are {} resamples: give at least 2", options.resamples));
    }
    if !(options.level > 0.0 && options.level < 1.0) {
        return invalid(format!("the level is {}: give a number between 0 and 1", options.level));
    }
    Ok(())
}

/// The figures of the resamples on which it is defined.
fn resampled(
    rows: usize,
    options: &Resampling,
    figure: &(impl Fn(&[usize]) -> Result<f64> + Sync),
) -> Result<Vec<f64>> {
    let all: Vec<Result<f64>> = (0..options.resamples)
        .into_par_iter()
        .map(|resample| figure(&draw(rows, &mut rng(options, resample))))
        .collect();
    let mut defined = Vec::with_capacity(all.len());
    for result in all {
        match result {
            Ok(value) => defined.push(value),
            Err(MetricError::Undefined(_)) => {}
            Err(error) => return Err(error),
        }
    }
    match defined.len() < 2 {
        true => undefined("the figure is undefined on nearly every resample"),
        false => Ok(defined),
    }
}

fn interval(estimate: f64, mut values: Vec<f64>, options: &Resampling) -> Interval {
    values.sort_unstable_by(f64::total_cmp);
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    let tail = (1.0 - options.level) / 2.0;
    Interval {
        estimate,
        low: quantile(&values, tail).unwrap_or(estimate),
        high: quantile(&values, 1.0 - tail).unwrap_or(estimate),
        spread: (squares / (count - 1.0)).sqrt(),
        undefined: options.resamples - values.len(),
    }
}

/// The percentile bootstrap interval of a figure (Efron 1979). `figure` is given the numbers of the
/// rows to take, some of them more than once; on all rows it gives the estimate.
///
/// # Errors
/// Those of `figure` on all rows, when it is undefined on nearly every resample, or when an option
/// is out of range.
pub fn bootstrap(
    rows: usize,
    options: &Resampling,
    figure: impl Fn(&[usize]) -> Result<f64> + Sync,
) -> Result<Interval> {
    check(rows, options)?;
    let estimate = figure(&(0..rows).collect::<Vec<_>>())?;
    Ok(interval(estimate, resampled(rows, options, &figure)?, options))
}

/// [`bootstrap`] of several figures, which all see the same resamples. `figures` is given how often
/// each row was drawn. A figure that all rows do not define, or nearly no resample, has no interval.
///
/// # Errors
/// When a figure is at fault, or an option is out of range.
pub fn bootstrap_counts(
    rows: usize,
    options: &Resampling,
    figures: impl Fn(&[u32]) -> Vec<Result<f64>> + Sync,
) -> Result<Vec<Option<Interval>>> {
    let found = difference_counts(rows, options, figures)?;
    Ok(found.into_iter().map(|found| Some(found?.interval)).collect())
}

/// [`paired_bootstrap`] of several figures, which all see the same resamples. `differences` is given
/// how often each row was drawn.
///
/// # Errors
/// As [`bootstrap_counts`].
pub fn difference_counts(
    rows: usize,
    options: &Resampling,
    figures: impl Fn(&[u32]) -> Vec<Result<f64>> + Sync,
) -> Result<Vec<Option<Difference>>> {
    check(rows, options)?;
    let estimates = figures(&vec![1; rows]);
    let drawn: Vec<Vec<Result<f64>>> = (0..options.resamples)
        .into_par_iter()
        .map(|resample| {
            let mut counts = vec![0; rows];
            draw(rows, &mut rng(options, resample))
                .into_iter()
                .for_each(|row| counts[row] += 1);
            figures(&counts)
        })
        .collect();
    let mut intervals = Vec::with_capacity(estimates.len());
    for (at, estimate) in estimates.into_iter().enumerate() {
        let values: Vec<f64> = drawn.iter().filter_map(|found| found[at].clone().ok()).collect();
        intervals.push(match estimate {
            Ok(estimate) if values.len() > 1 => Some(difference(estimate, values, options)),
            Ok(_) | Err(MetricError::Undefined(_)) => None,
            Err(error) => return Err(error),
        });
    }
    Ok(intervals)
}

/// The bootstrap of the difference of two figures on the same rows: both see every resample.
///
/// # Errors
/// As [`bootstrap`].
pub fn paired_bootstrap(
    rows: usize,
    options: &Resampling,
    first: impl Fn(&[usize]) -> Result<f64> + Sync,
    second: impl Fn(&[usize]) -> Result<f64> + Sync,
) -> Result<Difference> {
    check(rows, options)?;
    let both = |rows: &[usize]| Ok(first(rows)? - second(rows)?);
    let estimate = both(&(0..rows).collect::<Vec<_>>())?;
    Ok(difference(estimate, resampled(rows, options, &both)?, options))
}

fn difference(estimate: f64, values: Vec<f64>, options: &Resampling) -> Difference {
    let side = |beyond: fn(f64) -> bool| {
        (1 + values.iter().filter(|v| beyond(**v)).count()) as f64 / (1 + values.len()) as f64
    };
    let p_value = (2.0 * side(|v| v <= 0.0).min(side(|v| v >= 0.0))).min(1.0);
    Difference {
        interval: interval(estimate, values, options),
        p_value,
    }
}

/// McNemar's exact test of two classifiers on the same rows: given that one was right and the other
/// wrong, either is as likely (McNemar 1947, with the binomial distribution).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// The rows that only the first had right.
    pub only_first: usize,
    /// The rows that only the second had right.
    pub only_second: usize,
    /// The two-sided p-value.
    pub p_value: f64,
}

/// See [`McNemar`]. `first` and `second` say of each row whether the model was right.
///
/// # Errors
/// When lengths differ.
pub fn mcnemar(first: &[bool], second: &[bool]) -> Result<McNemar> {
    check_length("outcomes of the second model", second.len(), first.len())?;
    let count =
        |a: bool, b: bool| first.iter().zip(second).filter(|(x, y)| (**x, **y) == (a, b)).count();
    let (only_first, only_second) = (count(true, false), count(false, true));
    Ok(McNemar {
        only_first,
        only_second,
        p_value: binomial_test(only_first.min(only_second), only_first + only_second),
    })
}

/// Twice the chance of at most `k` heads in `n` tosses, at most 1.
fn binomial_test(k: usize, n: usize) -> f64 {
    // ln C(n, i) - n ln 2, up from i = 0.
    let mut term = -(n as f64) * std::f64::consts::LN_2;
    let mut sum = term.exp();
    for i in 1..=k {
        term += ((n - i + 1) as f64 / i as f64).ln();
        sum += term.exp();
    }
    (2.0 * sum).min(1.0)
}

/// A paired permutation test: the chance, were the models alike, of a difference as large as the one
/// found, two-sided, `(1 + as large) / (1 + resamples)` (Phipson & Smyth 2010). `difference` is
/// given, per row, whether the predictions of the two models change places.
///
/// # Errors
/// Those of `difference` where nothing changes places, when it is undefined on nearly every
/// resample, or when an option is out of range.
pub fn permutation_test(
    rows: usize,
    options: &Resampling,
    difference: impl Fn(&[bool]) -> Result<f64> + Sync,
) -> Result<f64> {
    check(rows, options)?;
    let found = difference(&vec![false; rows])?.abs();
    let swapped = |resample: usize| {
        let mut rng = rng(options, resample);
        let swaps: Vec<bool> = (0..rows).map(|_| rng.random()).collect();
        difference(&swaps)
    };
    let all: Vec<Result<f64>> = (0..options.resamples).into_par_iter().map(swapped).collect();
    let (mut defined, mut as_large) = (0, 0);
    for result in all {
        match result {
            Ok(value) => {
                defined += 1;
                // Sums in another order may differ in their last digits.
                as_large += usize::from(value.abs() >= found * (1.0 - 1e-12));
            }
            Err(MetricError::Undefined(_)) => {}
            Err(error) => return Err(error),
        }
    }
    match defined < 2 {
        true => undefined("the difference is undefined on nearly every resample"),
        false => Ok((1 + as_large) as f64 / (1 + defined) as f64),
    }
}
