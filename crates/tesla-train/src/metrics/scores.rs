//! Figures of scores: how well the rows of one class rank above the others.

use rayon::prelude::*;

use super::sum::Running;
use super::{
    Result, check_classes, check_finite, check_length, check_weights, undefined, weight_of,
};

/// A number that scores may be given as.
pub trait Score: Copy + Send + Sync {
    /// The number as a 64-bit float, exactly.
    fn number(self) -> f64;
}

impl Score for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Score for f32 {
    fn number(self) -> f64 {
        f64::from(self)
    }
}

/// Scores of class 1 and class 0, batch by batch: 8 bytes a row, 16 with weights, since the ranking
/// has no smaller exact summary.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    pub(super) rows: usize,
    pub(super) positive: Keys,
    pub(super) negative: Keys,
}

/// Scores as integers in the same order, of rows without and with a weight.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    plain: Vec<u64>,
    weighted: Vec<(u64, u64)>,
}

impl Keys {
    pub(super) fn push(&mut self, score: f64, weight: Option<f64>) {
        match weight {
            None => self.plain.push(key(score)),
            // Weights are not negative, so their bits are in their order.
            Some(weight) if weight > 0.0 => self.weighted.push((key(score), weight.to_bits())),
            Some(_) => {}
        }
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.plain.extend_from_slice(&other.plain);
        self.weighted.extend_from_slice(&other.weighted);
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.plain.append(&mut other.plain);
        self.weighted.append(&mut other.weighted);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.weighted.is_empty()
    }

    /// Gives every row a weight.
    fn into_weighted(mut self) -> Vec<(u64, u64)> {
        self.weighted
            .extend(self.plain.iter().map(|key| (*key, 1f64.to_bits())));
        self.weighted
    }
}

/// An integer that is larger for a larger score. Both zeros have the same.
fn key(score: f64) -> u64 {
    let bits = (score + 0.0).to_bits();
    match bits >> 63 {
        0 => bits | 1 << 63,
        _ => !bits,
    }
}

fn score(key: u64) -> f64 {
    f64::from_bits(match key >> 63 {
        1 => key & !(1 << 63),
        _ => !key,
    })
}

impl Scores {
    /// No row yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The scores of all rows at once.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn of<S: Score>(truth: &[u32], scores: &[S], weights: Option<&[f64]>) -> Result<Self> {
        let mut all = Self::new();
        all.update(truth, scores, weights)?;
        Ok(all)
    }

    /// Adds rows: their true class, 0 or 1, and the score of class 1.
    ///
    /// # Errors
    /// When lengths differ, a class is neither 0 nor 1, a score is not finite or a weight is out of
    /// range.
    pub fn update<S: Score>(
        &mut self,
        truth: &[u32],
        scores: &[S],
        weights: Option<&[f64]>,
    ) -> Result<()> {
        check_length("scores", scores.len(), truth.len())?;
        check_weights(weights, truth.len(), self.rows)?;
        check_classes("truth", truth, 2, self.rows)?;
        check_finite("score", scores, self.rows)?;
        for (row, (truth, score)) in truth.iter().zip(scores).enumerate() {
            self.add(*truth, score.number(), weight_of(weights, row));
        }
        Ok(())
    }

    pub(super) fn add(&mut self, truth: u32, score: f64, weight: Option<f64>) {
        self.rows += 1;
        match truth {
            1 => self.positive.push(score, weight),
            _ => self.negative.push(score, weight),
        }
    }

    /// Adds the rows of another.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.positive.append(other.positive);
        self.negative.append(other.negative);
    }

    /// Sorts the rows by score, on all threads.
    pub fn finish(self) -> RankedScores {
        let Self {
            positive, negative, ..
        } = self;
        if positive.weighted.is_empty() && negative.weighted.is_empty() {
            let mut sides = [positive.plain, negative.plain];
            sides.iter_mut().for_each(|keys| keys.par_sort_unstable());
            let [positive, negative] = sides;
            return RankedScores(Ranked::Plain { positive, negative });
        }
        let mut sides = [positive.into_weighted(), negative.into_weighted()];
        sides.iter_mut().for_each(|keys| keys.par_sort_unstable());
        let [positive, negative] = sides;
        RankedScores(Ranked::Weighted { positive, negative })
    }
}

/// Scores in order: what the curves and the areas under them are read from.
#[derive(Clone, Debug)]
pub struct RankedScores(Ranked);

#[derive(Clone, Debug)]
enum Ranked {
    Plain { positive: Vec<u64>, negative: Vec<u64> },
    Weighted { positive: Vec<(u64, u64)>, negative: Vec<(u64, u64)> },
}

trait Entry: Copy {
    fn key(self) -> u64;
    fn weight(self) -> f64;
}

impl Entry for u64 {
    fn key(self) -> u64 {
        self
    }
    fn weight(self) -> f64 {
        1.0
    }
}

impl Entry for (u64, u64) {
    fn key(self) -> u64 {
        self.0
    }
    fn weight(self) -> f64 {
        f64::from_bits(self.1)
    }
}

/// The rows that share a score.
struct Step {
    score: f64,
    positive: f64,
    negative: f64,
}

/// The weights of the rows at or above a score.
pub(super) struct Above {
    pub(super) score: f64,
    pub(super) true_positives: f64,
    pub(super) false_positives: f64,
}

/// A receiver operating characteristic, from the highest threshold to the lowest.
#[derive(Clone, Debug, PartialEq)]
pub struct RocCurve {
    /// The share of class 0 at or above each threshold.
    pub false_positive_rate: Vec<f64>,
    /// The share of class 1 at or above each threshold.
    pub true_positive_rate: Vec<f64>,
    /// The thresholds; the first is infinite, above every score.
    pub thresholds: Vec<f64>,
}

/// Precision against recall, from the lowest threshold to the highest, and at the end the point of
/// precision 1 and recall 0, which has no threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct PrecisionRecallCurve {
    /// Of the rows at or above each threshold, the share of class 1.
    pub precision: Vec<f64>,
    /// Of the rows of class 1, the share at or above each threshold.
    pub recall: Vec<f64>,
    /// The thresholds: one less than points.
    pub thresholds: Vec<f64>,
}

impl RankedScores {
    /// Walks down the distinct scores.
    fn steps(&self, visit: impl FnMut(Step)) {
        match &self.0 {
            Ranked::Plain { positive, negative } => walk(positive, negative, visit),
            Ranked::Weighted { positive, negative } => walk(positive, negative, visit),
        }
    }

    pub(super) fn above(&self, mut visit: impl FnMut(Above)) {
        let (mut true_positives, mut false_positives) = (Running::default(), Running::default());
        self.steps(|step| {
            true_positives.add(step.positive);
            false_positives.add(step.negative);
            visit(Above {
                score: step.score,
                true_positives: true_positives.value(),
                false_positives: false_positives.value(),
            });
        });
    }

    /// The weights of class 1 and class 0.
    pub(super) fn totals(&self) -> (f64, f64) {
        match &self.0 {
            Ranked::Plain { positive, negative } => (positive.len() as f64, negative.len() as f64),
            Ranked::Weighted { .. } => {
                let mut totals = (0.0, 0.0);
                self.above(|above| totals = (above.true_positives, above.false_positives));
                totals
            }
        }
    }

    fn both(&self, metric: &str) -> Result<(f64, f64)> {
        let (positives, negatives) = self.totals();
        match (positives > 0.0, negatives > 0.0) {
            (true, true) => Ok((positives, negatives)),
            (positive, negative) => undefined(format!(
                "{metric} is undefined: there is no row of class {}",
                match (positive, negative) {
                    (true, false) => "0",
                    (false, true) => "1",
                    _ => "0 or 1",
                }
            )),
        }
    }

    /// The area under the ROC curve: the chance that a random row of class 1 scores higher than a
    /// random row of class 0, ties counting half (Mann-Whitney U).
    ///
    /// # Errors
    /// Unless both classes occur.
    pub fn roc_auc(&self) -> Result<f64> {
        let (positives, negatives) = self.both("the area under the ROC curve")?;
        let (mut above, mut pairs) = (Running::default(), Running::default());
        self.steps(|step| {
            pairs.add(step.negative * (above.value() + step.positive / 2.0));
            above.add(step.positive);
        });
        Ok(pairs.value() / (positives * negatives))
    }

    /// The average precision: `Σ (recall(n) - recall(n-1)) precision(n)` over the thresholds.
    ///
    /// # Errors
    /// Without a row of class 1; scikit-learn says 0 there.
    pub fn average_precision(&self) -> Result<f64> {
        let (positives, _) = self.totals();
        if positives <= 0.0 {
            return undefined("average precision is undefined: there is no row of class 1");
        }
        let (mut sum, mut before) = (Running::default(), 0.0);
        self.above(|above| {
            let precision = above.true_positives / (above.true_positives + above.false_positives);
            sum.add((above.true_positives - before) * precision);
            before = above.true_positives;
        });
        Ok(sum.value() / positives)
    }

    /// The ROC curve. `drop_intermediate` leaves out points on a straight line between others, as
    /// scikit-learn does by default.
    ///
    /// # Errors
    /// Unless both classes occur.
    pub fn roc_curve(&self, drop_intermediate: bool) -> Result<RocCurve> {
        let (positives, negatives) = self.both("the ROC curve")?;
        let mut points: Vec<Above> = Vec::new();
        self.above(|above| points.push(above));
        let keep: Vec<bool> = (0..points.len())
            .map(|i| {
                let straight = drop_intermediate
                    && i > 0
                    && i + 1 < points.len()
                    && bend(&points[i - 1..=i + 1], |p| p.true_positives) == 0.0
                    && bend(&points[i - 1..=i + 1], |p| p.false_positives) == 0.0;
                !straight
            })
            .collect();
        let mut curve = RocCurve {
            false_positive_rate: vec![0.0],
            true_positive_rate: vec![0.0],
            thresholds: vec![f64::INFINITY],
        };
        for (point, _) in points.iter().zip(keep).filter(|(_, keep)| *keep) {
            curve.false_positive_rate.push(point.false_positives / negatives);
            curve.true_positive_rate.push(point.true_positives / positives);
            curve.thresholds.push(point.score);
        }
        Ok(curve)
    }

    /// The precision-recall curve.
    ///
    /// # Errors
    /// Without a row of class 1.
    pub fn precision_recall_curve(&self) -> Result<PrecisionRecallCurve> {
        let (positives, _) = self.totals();
        if positives <= 0.0 {
            return undefined(
                "the precision-recall curve is undefined: there is no row of class 1",
            );
        }
        let mut curve = PrecisionRecallCurve {
            precision: vec![1.0],
            recall: vec![0.0],
            thresholds: Vec::new(),
        };
        self.above(|above| {
            let predicted = above.true_positives + above.false_positives;
            curve.precision.push(above.true_positives / predicted);
            curve.recall.push(above.true_positives / positives);
            curve.thresholds.push(above.score);
        });
        curve.precision.reverse();
        curve.recall.reverse();
        curve.thresholds.reverse();
        Ok(curve)
    }
}

/// The second difference of three neighbours.
fn bend(points: &[Above], figure: fn(&Above) -> f64) -> f64 {
    (figure(&points[2]) - figure(&points[1])) - (figure(&points[1]) - figure(&points[0]))
}

fn walk<E: Entry>(mut positive: &[E], mut negative: &[E], mut visit: impl FnMut(Step)) {
    // `None` is below every key.
    while let Some(top) = positive.last().map(|e| e.key()).max(negative.last().map(|e| e.key())) {
        visit(Step {
            score: score(top),
            positive: take(&mut positive, top),
            negative: take(&mut negative, top),
        });
    }
}

/// Takes the entries of a key off the end; their weight.
fn take<E: Entry>(entries: &mut &[E], key: u64) -> f64 {
    let mut weight = Running::default();
    while let [rest @ .., last] = *entries
        && last.key() == key
    {
        weight.add(last.weight());
        *entries = rest;
    }
    weight.value()
}

/// [`RankedScores::roc_auc`] of all rows at once.
///
/// # Errors
/// As [`Scores::update`], and unless both classes occur.
pub fn roc_auc<S: Score>(truth: &[u32], scores: &[S], weights: Option<&[f64]>) -> Result<f64> {
    Scores::of(truth, scores, weights)?.finish().roc_auc()
}

/// [`RankedScores::average_precision`] of all rows at once.
///
/// # Errors
/// As [`Scores::update`], and without a row of class 1.
pub fn average_precision<S: Score>(
    truth: &[u32],
    scores: &[S],
    weights: Option<&[f64]>,
) -> Result<f64> {
    Scores::of(truth, scores, weights)?.finish().average_precision()
}

/// [`RankedScores::roc_curve`] of all rows at once, without points on a straight line.
///
/// # Errors
/// As [`Scores::update`], and unless both classes occur.
pub fn roc_curve<S: Score>(
    truth: &[u32],
    scores: &[S],
    weights: Option<&[f64]>,
) -> Result<RocCurve> {
    Scores::of(truth, scores, weights)?.finish().roc_curve(true)
}

/// [`RankedScores::precision_recall_curve`] of all rows at once.
///
/// # Errors
/// As [`Scores::update`], and without a row of class 1.
pub fn precision_recall_curve<S: Score>(
    truth: &[u32],
    scores: &[S],
    weights: Option<&[f64]>,
) -> Result<PrecisionRecallCurve> {
    Scores::of(truth, scores, weights)?.finish().precision_recall_curve()
}
