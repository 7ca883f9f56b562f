//! Figures of predicted numbers.

use serde::{Deserialize, Serialize};

use super::sum::{Exact, Tally};
use super::{Result, check_finite, check_length, check_weights, share, undefined, weight_of};

/// Sums over rows of true and predicted numbers, batch by batch, in constant memory.
#[derive(Default)]
pub struct RegressionSums {
    rows: usize,
    weight: Tally,
    truth: Exact,
    truth_squares: Exact,
    errors: Exact,
    error_squares: Exact,
    /// Truth above prediction, and prediction above truth.
    under: Exact,
    over: Exact,
    relative: Exact,
    zero_truths: usize,
    log_squares: Exact,
    below_log: usize,
    largest: f64,
    cmapss: Exact,
}

/// The figures of predicted numbers, `y` the truth and `ŷ` the prediction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegressionFigures {
    /// The rows, of any weight.
    pub rows: usize,
    /// The mean of `|y - ŷ|`, in the target's unit.
    pub mae: f64,
    /// The mean of `(y - ŷ)²`.
    pub mse: f64,
    /// The square root of `mse`, in the target's unit.
    pub rmse: f64,
    /// The root of the mean of `(ln(1 + y) - ln(1 + ŷ))²`; none where a number is -1 or below.
    pub rmsle: Option<f64>,
    /// The mean of `|y - ŷ| / |y|`; none where a truth is 0, for which scikit-learn divides by
    /// 2.2e-16.
    pub mape: Option<f64>,
    /// The largest `|y - ŷ|` of a row with a weight above 0.
    pub max_error: f64,
    /// `1 - Σ(y - ŷ)² / Σ(y - mean y)²`: 1 is perfect, 0 is no better than the mean. None of fewer
    /// than two rows. As scikit-learn, a constant truth is 1 when met exactly and 0 otherwise.
    pub r2: Option<f64>,
    /// `1 - Var(y - ŷ) / Var(y)`: as `r2`, but blind to a constant error.
    pub explained_variance: f64,
    /// The sum over rows of `exp(-d / 13) - 1` where `d = ŷ - y` is negative and `exp(d / 10) - 1`
    /// otherwise: the score of the PHM08 challenge and C-MAPSS (Saxena et al. 2008), which punishes
    /// predicting too long a life more. None where it is too large for a number.
    pub cmapss: Option<f64>,
    under: f64,
    over: f64,
}

impl RegressionSums {
    /// No row yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The sums of all rows at once.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn of(truth: &[f64], predicted: &[f64], weights: Option<&[f64]>) -> Result<Self> {
        let mut all = Self::new();
        all.update(truth, predicted, weights)?;
        Ok(all)
    }

    /// Adds rows.
    ///
    /// # Errors
    /// When lengths differ, a number is not finite or a weight is out of range.
    pub fn update(
        &mut self,
        truth: &[f64],
        predicted: &[f64],
        weights: Option<&[f64]>,
    ) -> Result<()> {
        check(truth, predicted, weights, self.rows)?;
        for (row, (y, p)) in truth.iter().zip(predicted).enumerate() {
            self.add(*y, *p, weight_of(weights, row));
        }
        self.rows += truth.len();
        Ok(())
    }

    fn add(&mut self, y: f64, p: f64, weight: Option<f64>) {
        self.weight.add(weight);
        let w = weight.unwrap_or(1.0);
        if w == 0.0 {
            return;
        }
        let error = y - p;
        self.truth.add_product(w, y);
        add_weighted_square(&mut self.truth_squares, w, y);
        self.errors.add_product(w, error);
        add_weighted_square(&mut self.error_squares, w, error);
        match error > 0.0 {
            true => self.under.add(w * error),
            false => self.over.add(w * -error),
        }
        match y == 0.0 {
            true => self.zero_truths += 1,
            false => self.relative.add(w * (error / y).abs()),
        }
        match y > -1.0 && p > -1.0 {
            true => self.log_squares.add(w * (y.ln_1p() - p.ln_1p()).powi(2)),
            false => self.below_log += 1,
        }
        self.largest = self.largest.max(error.abs());
        self.cmapss.add(
            w * (if error > 0.0 {
                error / 13.0
            } else {
                -error / 10.0
            })
            .exp_m1(),
        );
    }

    /// Adds the rows of another.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.weight.merge(other.weight);
        self.truth.merge(other.truth);
        self.truth_squares.merge(other.truth_squares);
        self.errors.merge(other.errors);
        self.error_squares.merge(other.error_squares);
        self.under.merge(other.under);
        self.over.merge(other.over);
        self.relative.merge(other.relative);
        self.zero_truths += other.zero_truths;
        self.log_squares.merge(other.log_squares);
        self.below_log += other.below_log;
        self.largest = self.largest.max(other.largest);
        self.cmapss.merge(other.cmapss);
    }

    /// The figures.
    ///
    /// # Errors
    /// Without a row of a weight above 0, or when a sum is too large for a number.
    pub fn finish(self) -> Result<RegressionFigures> {
        let weights = self.weight.exact().parts();
        let weight: f64 = weights.iter().sum();
        let squares = self.error_squares.parts();
        let square_sum: f64 = squares.iter().sum();
        let mse = share("the mean squared error", square_sum, weight)?;
        let truth_squares = self.truth_squares.parts();
        if !(mse.is_finite() && truth_squares.iter().all(|part| part.is_finite())) {
            return undefined("the squares of the numbers are too large: scale them down");
        }
        let spread = centred(&weights, &truth_squares, &self.truth.parts());
        let error_spread = centred(&weights, &squares, &self.errors.parts());
        let (under, over) = (self.under.value() / weight, self.over.value() / weight);
        let relative = self.relative.value() / weight;
        let log_squares = self.log_squares.value() / weight;
        let cmapss = self.cmapss.value();
        Ok(RegressionFigures {
            rows: self.rows,
            mae: under + over,
            mse,
            rmse: mse.sqrt(),
            rmsle: (self.below_log == 0).then(|| log_squares.sqrt()),
            mape: (self.zero_truths == 0 && relative.is_finite()).then_some(relative),
            max_error: self.largest,
            r2: (self.rows > 1).then(|| explained(square_sum, spread)),
            explained_variance: explained(error_spread, spread),
            cmapss: cmapss.is_finite().then_some(cmapss),
            under,
            over,
        })
    }
}

impl RegressionFigures {
    /// The pinball loss of the quantile `alpha`: the mean of `alpha (y - ŷ)` where the truth is
    /// above the prediction and `(1 - alpha) (ŷ - y)` elsewhere.
    pub fn pinball(&self, alpha: f64) -> f64 {
        alpha * self.under + (1.0 - alpha) * self.over
    }
}

fn check(truth: &[f64], predicted: &[f64], weights: Option<&[f64]>, first: usize) -> Result<()> {
    check_length("predictions", predicted.len(), truth.len())?;
    check_weights(weights, truth.len(), first)?;
    check_finite("truth", truth, first)?;
    check_finite("prediction", predicted, first)
}

/// Adds `w x²` without rounding.
fn add_weighted_square(sum: &mut Exact, w: f64, x: f64) {
    if w == 1.0 {
        return sum.add_product(x, x);
    }
    let high = w * x;
    sum.add_product(high, x);
    sum.add_product(w.mul_add(x, -high), x);
}

/// `Σ w (x - mean)²` as `Σ w x² - (Σ w x)² / Σ w`, of exact sums: what cancels leaves no trace.
fn centred(weights: &[f64], squares: &[f64], sums: &[f64]) -> f64 {
    let mut exact = Exact::default();
    for w in weights {
        squares.iter().for_each(|s| exact.add_product(*w, *s));
    }
    for a in sums {
        sums.iter().for_each(|b| exact.add_product(-a, *b));
    }
    exact.value() / weights.iter().sum::<f64>()
}

/// As scikit-learn: a constant truth is 1 when met exactly and 0 otherwise.
fn explained(left: f64, whole: f64) -> f64 {
    match (whole > 0.0, left > 0.0) {
        (true, _) => 1.0 - left / whole,
        (false, true) => 0.0,
        (false, false) => 1.0,
    }
}

/// The pinball loss of the quantile `alpha`: see [`RegressionFigures::pinball`].
///
/// # Errors
/// As [`RegressionSums::update`] and [`RegressionSums::finish`].
pub fn pinball_loss(
    truth: &[f64],
    predicted: &[f64],
    weights: Option<&[f64]>,
    alpha: f64,
) -> Result<f64> {
    if !(0.0..=1.0).contains(&alpha) {
        return super::invalid(format!("the quantile is {alpha}: give a number from 0 to 1"));
    }
    Ok(RegressionSums::of(truth, predicted, weights)?
        .finish()?
        .pinball(alpha))
}

/// The median of `|y - ŷ|`. It needs every error at once: the median has no smaller exact summary.
///
/// # Errors
/// As [`RegressionSums::update`], and without a row of a weight above 0.
pub fn median_absolute_error(
    truth: &[f64],
    predicted: &[f64],
    weights: Option<&[f64]>,
) -> Result<f64> {
    check(truth, predicted, weights, 0)?;
    median(truth.iter().zip(predicted).map(|(y, p)| (p - y).abs()), weights)
}

/// `1 - Σ|y - ŷ| / Σ|y - median y|`: 1 is perfect, 0 is no better than the median.
///
/// # Errors
/// As [`RegressionSums::update`], of fewer than two rows, and without a weight above 0.
pub fn d2_absolute_error(truth: &[f64], predicted: &[f64], weights: Option<&[f64]>) -> Result<f64> {
    check(truth, predicted, weights, 0)?;
    if truth.len() < 2 {
        return undefined("D² is undefined of fewer than two rows");
    }
    let middle = median(truth.iter().copied(), weights)?;
    let whole = RegressionSums::of(truth, &vec![middle; truth.len()], weights)?
        .finish()?
        .mae;
    let left = RegressionSums::of(truth, predicted, weights)?.finish()?.mae;
    Ok(explained(left, whole))
}

/// The median; of weighted values the one where half of the weight is reached, or the mean with the
/// next where it is reached exactly.
fn median(values: impl Iterator<Item = f64>, weights: Option<&[f64]>) -> Result<f64> {
    let mut rows: Vec<(f64, f64)> = values
        .enumerate()
        .map(|(row, value)| (value, weight_of(weights, row).unwrap_or(1.0)))
        .filter(|(_, weight)| *weight > 0.0)
        .collect();
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let sums: Vec<f64> = rows
        .iter()
        .scan(0.0, |sum, (_, weight)| {
            *sum += weight;
            Some(*sum)
        })
        .collect();
    let Some(total) = sums.last() else {
        return undefined("the median is undefined: there is no row with a weight above 0");
    };
    let half = total / 2.0;
    let at = sums.partition_point(|sum| *sum < half).min(rows.len() - 1);
    let next = (at + 1).min(rows.len() - 1);
    Ok(match sums[at] - half > f64::EPSILON {
        true => rows[at].0,
        false => (rows[at].0 + rows[next].0) / 2.0,
    })
}
