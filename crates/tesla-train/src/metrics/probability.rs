//! Figures of probabilities, in one pass.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::counts::{ClassCounts, Confusion};
use super::scores::{Score, Scores};
use super::sum::{Exact, Tally};
use super::{
    Result, check_classes, check_finite, check_length, check_weights, invalid, share, undefined,
    weight_of,
};

/// How far the probabilities of a row may be from summing to 1: what 32-bit floats over thousands of
/// classes need.
const SUM_TOLERANCE: f64 = 1e-4;

/// Rows that one thread takes at a time.
const CHUNK: usize = 1 << 16;

/// Bins of the calibration error where none are named.
const DEFAULT_BINS: usize = 15;

/// Log loss, Brier score, confusion matrix, calibration and, of two classes, the ranking, of
/// probabilities in one pass over batches, on all threads.
pub struct Probabilities {
    classes: usize,
    rows: usize,
    sums: Sums,
}

struct Sums {
    weight: Tally,
    counts: ClassCounts,
    log_loss: Exact,
    brier: Exact,
    bins: Vec<BinSums>,
    /// By how many classes scored higher than the true one.
    ranks: Vec<Tally>,
    scores: Scores,
}

#[derive(Default)]
struct BinSums {
    weight: Tally,
    predicted: Exact,
    observed: Tally,
}

/// The figures of probabilities.
#[derive(Clone, Debug)]
pub struct ProbabilityFigures {
    /// The rows, of any weight.
    pub rows: usize,
    /// True and most probable classes; the first of several that are equally probable.
    pub confusion: Confusion,
    /// The mean of `-ln p(true class)`, with p kept one step of a 64-bit float away from 0 and 1.
    pub log_loss: f64,
    /// The mean of `Σ (p - truth)²` over classes; half of that for two classes.
    pub brier: f64,
    /// The expected calibration error: see [`calibration_error`].
    pub calibration_error: f64,
    /// The bins of the calibration error that are not empty.
    pub reliability: Vec<Bin>,
    /// The scores of class 1 where there are two classes.
    pub scores: Option<Scores>,
    ranks: Vec<f64>,
}

/// Rows whose probabilities are alike.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// The mean of the probabilities.
    pub predicted: f64,
    /// The share of rows where it came true.
    pub observed: f64,
    /// The weight of the rows.
    pub weight: f64,
}

/// How probabilities are cut into bins. A bin takes its upper edge in, the first its lower too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bins {
    /// Edges at equal distances from 0 to 1.
    Uniform(usize),
    /// Edges at quantiles of the probabilities, of rows of any weight alike.
    Quantile(usize),
}

impl Probabilities {
    /// No row yet, of `classes` classes.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            rows: 0,
            sums: Sums::new(classes),
        }
    }

    /// Adds rows: their true class and `[rows, classes]` probabilities, row-major. Of two classes
    /// it may be one probability per row, that of class 1.
    ///
    /// # Errors
    /// When lengths differ, a class or a weight is out of range, a probability is not within 0 to
    /// 1, or those of a row do not sum to 1.
    pub fn update<S: Score>(
        &mut self,
        truth: &[u32],
        probabilities: &[S],
        weights: Option<&[f64]>,
    ) -> Result<()> {
        let columns = self.check(truth, probabilities, weights)?;
        let classes = self.classes;
        let batches = truth.par_chunks(CHUNK).zip(probabilities.par_chunks(CHUNK * columns));
        // Sums are exact and scores are sorted later, so the cuts leave no trace.
        let sums = batches
            .enumerate()
            .fold(
                || Sums::new(classes),
                |mut sums, (chunk, (truth, probabilities))| {
                    let weights = weights.map(|w| &w[chunk * CHUNK..][..truth.len()]);
                    sums.add(truth, probabilities, columns, weights);
                    sums
                },
            )
            .reduce_with(|mut a, b| {
                a.merge(b);
                a
            });
        if let Some(sums) = sums {
            self.sums.merge(sums);
        }
        self.rows += truth.len();
        Ok(())
    }

    fn check<S: Score>(
        &self,
        truth: &[u32],
        probabilities: &[S],
        weights: Option<&[f64]>,
    ) -> Result<usize> {
        let (classes, rows) = (self.classes, truth.len());
        if classes < 2 {
            return invalid(format!("there are {classes} classes: give at least 2"));
        }
        let columns = match probabilities.len() {
            n if n == rows * classes => classes,
            n if n == rows && classes == 2 => 1,
            n => {
                return invalid(format!(
                    "there are {n} probabilities for {rows} rows: give one per row and class, {} in all",
                    rows * classes
                ));
            }
        };
        check_weights(weights, rows, self.rows)?;
        check_classes("truth", truth, classes, self.rows)?;
        let wrong = probabilities.par_chunks(columns).position_first(|row| {
            let mut sum = 0.0;
            let within = row.iter().all(|p| {
                sum += p.number();
                (0.0..=1.0).contains(&p.number())
            });
            !within || (columns > 1 && (sum - 1.0).abs() > SUM_TOLERANCE)
        });
        let Some(row) = wrong else { return Ok(columns) };
        let values = probabilities[row * columns..][..columns].iter().map(|p| p.number());
        match values.clone().find(|p| !(0.0..=1.0).contains(p)) {
            Some(p) => invalid(format!(
                "a probability of row {} is {p}: give numbers from 0 to 1",
                self.rows + row
            )),
            None => invalid(format!(
                "the probabilities of row {} sum to {}: they must sum to 1",
                self.rows + row,
                values.sum::<f64>()
            )),
        }
    }

    /// Adds the rows of another.
    ///
    /// # Panics
    /// When the numbers of classes differ.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.sums.merge(other.sums);
    }

    /// The figures.
    ///
    /// # Errors
    /// Without a row of a weight above 0.
    pub fn finish(self) -> Result<ProbabilityFigures> {
        let Sums {
            weight,
            counts,
            log_loss,
            brier,
            bins,
            ranks,
            scores,
        } = self.sums;
        let weight = weight.value();
        let reliability = finish_bins(bins);
        Ok(ProbabilityFigures {
            rows: self.rows,
            confusion: counts.finish(),
            log_loss: share("log loss", log_loss.value(), weight)?,
            brier: share("the Brier score", brier.value(), weight)?,
            calibration_error: gap(&reliability)?,
            reliability,
            scores: (self.classes == 2).then_some(scores),
            ranks: ranks.into_iter().map(Tally::value).collect(),
        })
    }
}

impl ProbabilityFigures {
    /// The share of rows whose true class is among the `k` most probable; of equally probable
    /// classes the later ones come first, as in scikit-learn.
    ///
    /// # Errors
    /// When `k` is 0, or so large that every row counts.
    pub fn top_k_accuracy(&self, k: usize) -> Result<f64> {
        if k == 0 || k >= self.ranks.len() {
            return invalid(format!(
                "top-{k} accuracy of {} classes says nothing: choose k from 1 to {}",
                self.ranks.len(),
                self.ranks.len() - 1
            ));
        }
        share("top-k accuracy", self.ranks[..k].iter().sum(), self.ranks.iter().sum())
    }
}

impl Sums {
    fn new(classes: usize) -> Self {
        Self {
            weight: Tally::default(),
            counts: ClassCounts::new(classes),
            log_loss: Exact::default(),
            brier: Exact::default(),
            bins: new_bins(DEFAULT_BINS),
            ranks: (0..classes).map(|_| Tally::default()).collect(),
            scores: Scores::new(),
        }
    }

    fn add<S: Score>(
        &mut self,
        truth: &[u32],
        probabilities: &[S],
        columns: usize,
        weights: Option<&[f64]>,
    ) {
        let mut row = vec![0.0; columns.max(2)];
        for (i, (truth, given)) in truth.iter().zip(probabilities.chunks_exact(columns)).enumerate()
        {
            match given {
                [p] => row.copy_from_slice(&[1.0 - p.number(), p.number()]),
                given => row.iter_mut().zip(given).for_each(|(p, given)| *p = given.number()),
            }
            self.add_row(*truth, &row, weight_of(weights, i));
        }
    }

    fn add_row(&mut self, truth: u32, row: &[f64], weight: Option<f64>) {
        let (class, factor) = (truth as usize, weight.unwrap_or(1.0));
        let best = (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best });
        self.weight.add(weight);
        self.counts.add(truth, best as u32, weight);
        let certain = row[class].clamp(f64::EPSILON, 1.0 - f64::EPSILON);
        self.log_loss.add(-certain.ln() * factor);
        let squares: f64 = row
            .iter()
            .enumerate()
            .map(|(i, p)| (p - f64::from(i == class)).powi(2))
            .sum();
        self.brier
            .add(squares * factor * if row.len() == 2 { 0.5 } else { 1.0 });
        let higher = row
            .iter()
            .enumerate()
            .filter(|(i, p)| **p > row[class] || (**p == row[class] && *i > class))
            .count();
        self.ranks[higher].add(weight);
        match row {
            [_, p] => {
                self.scores.add(truth, *p, weight);
                add_to_bin(&mut self.bins, *p, truth == 1, weight);
            }
            row => add_to_bin(&mut self.bins, row[best], best == class, weight),
        }
    }

    fn merge(&mut self, other: Self) {
        self.weight.merge(other.weight);
        self.counts.merge(other.counts);
        self.log_loss.merge(other.log_loss);
        self.brier.merge(other.brier);
        self.bins.iter_mut().zip(other.bins).for_each(|(a, b)| a.merge(b));
        self.ranks.iter_mut().zip(other.ranks).for_each(|(a, b)| a.merge(b));
        self.scores.merge(other.scores);
    }
}

impl BinSums {
    fn add(&mut self, predicted: f64, came_true: bool, weight: Option<f64>) {
        self.weight.add(weight);
        self.predicted.add(predicted * weight.unwrap_or(1.0));
        if came_true {
            self.observed.add(weight);
        }
    }

    fn merge(&mut self, other: Self) {
        self.weight.merge(other.weight);
        self.predicted.merge(other.predicted);
        self.observed.merge(other.observed);
    }
}

fn new_bins(count: usize) -> Vec<BinSums> {
    (0..count).map(|_| BinSums::default()).collect()
}

/// The `i`-th of `bins + 1` edges from 0 to 1, rounded as `numpy.linspace` does.
fn edge(i: usize, bins: usize) -> f64 {
    i as f64 * (1.0 / bins as f64)
}

fn add_to_bin(bins: &mut [BinSums], p: f64, came_true: bool, weight: Option<f64>) {
    let count = bins.len();
    // The first guess is off by at most one where rounding moved an edge.
    let mut bin = ((p * count as f64) as usize).min(count - 1);
    while bin > 0 && p <= edge(bin, count) {
        bin -= 1;
    }
    while bin + 1 < count && p > edge(bin + 1, count) {
        bin += 1;
    }
    bins[bin].add(p, came_true, weight);
}

fn finish_bins(bins: Vec<BinSums>) -> Vec<Bin> {
    let bins = bins.into_iter().map(|bin| {
        let weight = bin.weight.value();
        Bin {
            predicted: bin.predicted.value() / weight,
            observed: bin.observed.value() / weight,
            weight,
        }
    });
    bins.filter(|bin| bin.weight > 0.0).collect()
}

fn gap(bins: &[Bin]) -> Result<f64> {
    let weight: f64 = bins.iter().map(|bin| bin.weight).sum();
    let sum = bins
        .iter()
        .map(|bin| bin.weight * (bin.observed - bin.predicted).abs())
        .sum();
    share("the calibration error", sum, weight)
}

/// The figures of all rows at once.
fn figures<S: Score>(
    classes: usize,
    truth: &[u32],
    probabilities: &[S],
    weights: Option<&[f64]>,
) -> Result<ProbabilityFigures> {
    let mut all = Probabilities::new(classes);
    all.update(truth, probabilities, weights)?;
    all.finish()
}

/// [`ProbabilityFigures::log_loss`] of all rows at once.
///
/// # Errors
/// As [`Probabilities::update`] and [`Probabilities::finish`].
pub fn log_loss<S: Score>(
    classes: usize,
    truth: &[u32],
    probabilities: &[S],
    weights: Option<&[f64]>,
) -> Result<f64> {
    Ok(figures(classes, truth, probabilities, weights)?.log_loss)
}

/// [`ProbabilityFigures::brier`] of all rows at once.
///
/// # Errors
/// As [`Probabilities::update`] and [`Probabilities::finish`].
pub fn brier<S: Score>(
    classes: usize,
    truth: &[u32],
    probabilities: &[S],
    weights: Option<&[f64]>,
) -> Result<f64> {
    Ok(figures(classes, truth, probabilities, weights)?.brier)
}

/// The share of rows whose true class is among the `k` highest scores; `scores` is
/// `[rows, classes]`, row-major, of any finite numbers. Of equal scores the later class comes
/// first, as in scikit-learn.
///
/// # Errors
/// When lengths differ, a class, a score or a weight is out of range, or `k` is 0 or not below the
/// number of classes.
pub fn top_k_accuracy<S: Score>(
    classes: usize,
    k: usize,
    truth: &[u32],
    scores: &[S],
    weights: Option<&[f64]>,
) -> Result<f64> {
    if k == 0 || k >= classes {
        return invalid(format!(
            "top-{k} accuracy of {classes} classes says nothing: choose k from 1 to {}",
            classes.saturating_sub(1)
        ));
    }
    check_length("scores", scores.len(), truth.len() * classes)?;
    check_weights(weights, truth.len(), 0)?;
    check_classes("truth", truth, classes, 0)?;
    let (mut hits, mut all) = (Tally::default(), Tally::default());
    for (row, (truth, scores)) in truth.iter().zip(scores.chunks_exact(classes)).enumerate() {
        if let Some(score) = scores.iter().find(|s| !s.number().is_finite()) {
            return invalid(format!(
                "a score of row {row} is {}: give finite numbers",
                score.number()
            ));
        }
        let class = *truth as usize;
        let own = scores[class].number();
        let higher = scores
            .iter()
            .enumerate()
            .filter(|(i, s)| s.number() > own || (s.number() == own && *i > class))
            .count();
        all.add(weight_of(weights, row));
        if higher < k {
            hits.add(weight_of(weights, row));
        }
    }
    share("top-k accuracy", hits.value(), all.value())
}

/// A reliability curve: by bin of the probability of class 1, its mean and the share of class 1.
/// Empty bins are left out.
///
/// # Errors
/// When lengths differ, a class is neither 0 nor 1, a probability is not within 0 to 1, a weight is
/// out of range, or there are no rows or bins.
pub fn calibration_curve<S: Score>(
    truth: &[u32],
    probabilities: &[S],
    weights: Option<&[f64]>,
    bins: Bins,
) -> Result<Vec<Bin>> {
    Probabilities::new(2).check(truth, probabilities, weights)?;
    check_length("probabilities", probabilities.len(), truth.len())?;
    check_finite("probability", probabilities, 0)?;
    let (Bins::Uniform(count) | Bins::Quantile(count)) = bins;
    if count == 0 {
        return invalid("there are 0 bins: give at least 1");
    }
    let values: Vec<f64> = probabilities.iter().map(|p| p.number()).collect();
    let edges: Vec<f64> = match bins {
        Bins::Uniform(_) => (1..count).map(|i| edge(i, count)).collect(),
        Bins::Quantile(_) => {
            let mut sorted = values.clone();
            sorted.par_sort_unstable_by(f64::total_cmp);
            (1..count)
                .filter_map(|i| quantile(&sorted, edge(i, count) * 100.0 / 100.0))
                .collect()
        }
    };
    let mut sums = new_bins(count);
    for (row, p) in values.iter().enumerate() {
        let bin = edges.partition_point(|edge| edge < p);
        sums[bin].add(*p, truth[row] == 1, weight_of(weights, row));
    }
    match finish_bins(sums) {
        bins if bins.is_empty() => {
            undefined("the reliability curve is undefined: there is no row with a weight above 0")
        }
        bins => Ok(bins),
    }
}

/// The expected calibration error: the mean over rows of `|observed - predicted|` of their bin, over
/// bins of equal width (Naeini et al. 2015). Of two classes the probability is that of class 1; of
/// more it is the highest, and observed is whether it was right (Guo et al. 2017).
///
/// # Errors
/// As [`Probabilities::update`], and without bins or a row of a weight above 0.
pub fn calibration_error<S: Score>(
    classes: usize,
    truth: &[u32],
    probabilities: &[S],
    weights: Option<&[f64]>,
    bins: usize,
) -> Result<f64> {
    if bins == 0 {
        return invalid("there are 0 bins: give at least 1");
    }
    let columns = Probabilities::new(classes).check(truth, probabilities, weights)?;
    let mut sums = new_bins(bins);
    for (i, (truth, row)) in truth.iter().zip(probabilities.chunks_exact(columns)).enumerate() {
        let row: Vec<f64> = row.iter().map(|p| p.number()).collect();
        let (p, came_true) = match row[..] {
            [p] | [_, p] => (p, *truth == 1),
            _ => {
                let best =
                    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best });
                (row[best], best == *truth as usize)
            }
        };
        add_to_bin(&mut sums, p, came_true, weight_of(weights, i));
    }
    gap(&finish_bins(sums))
}

/// The value below which a share `q` of sorted values lies, between neighbours linearly, rounded as
/// NumPy does.
pub(super) fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let place = q * sorted.len().checked_sub(1)? as f64;
    let (low, t) = (place.floor() as usize, place.fract());
    let a = sorted[low.min(sorted.len() - 1)];
    let b = sorted[(low + 1).min(sorted.len() - 1)];
    Some(match t >= 0.5 {
        true => b - (b - a) * (1.0 - t),
        false => a + (b - a) * t,
    })
}
