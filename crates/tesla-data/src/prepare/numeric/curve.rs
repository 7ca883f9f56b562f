//! Curves that a number may follow before it is scaled.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::normal::normal_quantile;
use super::order::Sorted;

/// A curve that a number follows before it is scaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Curve {
    /// `ln(1 + x)`.
    Log1p {
        /// The smallest training value, which stands in for values of -1 and below.
        least: f64,
    },
    /// The power transform of Yeo and Johnson (2000).
    YeoJohnson {
        /// Its exponent.
        lambda: f64,
    },
    /// The share of training rows below the value.
    Quantile {
        /// The values at equally spaced shares from 0 to 1.
        quantiles: Vec<f64>,
        /// Whether the share is turned into a quantile of the normal distribution.
        normal: bool,
    },
}

/// The most quantiles that are kept of a column, as scikit-learn's `QuantileTransformer` has it.
const QUANTILES: u64 = 1000;
/// How far shares stay away from 0 and 1 where they become quantiles of the normal distribution.
pub const QUANTILE_THRESHOLD: f64 = 1e-7;

impl Curve {
    /// The quantiles of a column.
    pub(super) fn quantile(sorted: &Sorted, normal: bool) -> Self {
        let count = sorted.len().min(QUANTILES);
        let step = 1.0 / (count.max(2) - 1) as f64;
        // NumPy's arithmetic to the last bit: a share that is off by one moves a quantile off the
        // values that tie there.
        let share = |i: u64| {
            if i + 1 == count {
                1.0
            } else {
                i as f64 * step * 100.0 / 100.0
            }
        };
        Curve::Quantile {
            quantiles: (0..count).map(|i| sorted.quantile(share(i))).collect(),
            normal,
        }
    }

    /// The exponent that makes the column most like a normal distribution: the maximum of the same
    /// likelihood, within the same bounds and found in the same way as by `scipy.stats.yeojohnson`.
    pub(super) fn yeo_johnson(sorted: &Sorted) -> Self {
        let values: Vec<(f64, f64)> = sorted
            .weighted()
            .map(|(x, n)| (x.abs().ln_1p().copysign(x), n as f64))
            .collect();
        let (first, last) = match values.as_slice() {
            [first, .., last] if first.0 != last.0 => (first.0, last.0),
            _ => return Curve::YeoJohnson { lambda: 1.0 },
        };
        let most = 20.0 * first.abs().max(last.abs()).exp_m1();
        let room = most.ln_1p();
        let low = (f64::MIN_POSITIVE.ln() - f64::EPSILON.ln()) / 2.0 / room;
        let high = (f64::MAX.ln() + f64::EPSILON.ln()) / 2.0 / room;
        let (low, high) = match (first < 0.0, last < 0.0) {
            (true, true) => (2.0 - high, 2.0 - low),
            (true, false) => (low.max(2.0 - high), high.min(2.0 - low)),
            _ => (low, high),
        };
        let rows: f64 = values.iter().map(|(_, n)| n).sum();
        let logs: f64 = values.iter().map(|(l, n)| l * n).sum();
        let unlikeliness = |lambda: f64| match variance(&values, lambda) {
            v if v >= f64::MIN_POSITIVE => rows / 2.0 * v.ln() - (lambda - 1.0) * logs,
            _ => f64::INFINITY,
        };
        Curve::YeoJohnson {
            lambda: minimise(unlikeliness, low, high),
        }
    }

    /// Where a value lies on the curve.
    pub(super) fn apply(&self, x: f64) -> f64 {
        match self {
            Curve::Log1p { least } => if x > -1.0 { x } else { *least }.ln_1p(),
            Curve::YeoJohnson { lambda } => power(x.abs().ln_1p().copysign(x), *lambda),
            Curve::Quantile { quantiles, normal } => {
                let (Some(first), Some(last)) = (quantiles.first(), quantiles.last()) else {
                    return 0.0;
                };
                let near = if *normal { QUANTILE_THRESHOLD } else { 0.0 };
                let share = match x {
                    x if x <= *first || x - near < *first => 0.0,
                    x if x >= *last || x + near > *last => 1.0,
                    x => share(quantiles, x),
                };
                match normal {
                    false => share,
                    true => {
                        normal_quantile(share.clamp(QUANTILE_THRESHOLD, 1.0 - QUANTILE_THRESHOLD))
                    }
                }
            }
        }
    }
}

/// The share of rows below `x`, which lies within the quantiles: interpolated between the nearest
/// two; the middle where several of them are `x`.
fn share(quantiles: &[f64], x: f64) -> f64 {
    let step = 1.0 / (quantiles.len() - 1) as f64;
    let below = quantiles.partition_point(|q| *q < x);
    let not_above = quantiles.partition_point(|q| *q <= x);
    match below == not_above {
        true => {
            let (low, high) = (quantiles[below - 1], quantiles[below]);
            ((below - 1) as f64 + (x - low) / (high - low)) * step
        }
        false => (below + not_above - 1) as f64 / 2.0 * step,
    }
}

/// Yeo and Johnson's transform of `x`, of which `log` is `ln(1 + |x|)` with the sign of `x`.
fn power(log: f64, lambda: f64) -> f64 {
    let (l, e, sign) = match log.is_sign_negative() {
        true => (-log, 2.0 - lambda, -1.0),
        false => (log, lambda, 1.0),
    };
    sign * if e.abs() < f64::EPSILON {
        l
    } else {
        (e * l).exp_m1() / e
    }
}

/// Values per task. Fixed, so that sums have one order at any number of threads.
const BLOCK: usize = 4096;

/// The variance of the transformed values.
fn variance(values: &[(f64, f64)], lambda: f64) -> f64 {
    let part = |block: &[(f64, f64)]| {
        let moved: Vec<(f64, f64)> =
            block.iter().map(|(log, n)| (power(*log, lambda), *n)).collect();
        let n: f64 = moved.iter().map(|(_, n)| n).sum();
        let mean = moved.iter().map(|(y, n)| y * n).sum::<f64>() / n;
        (n, mean, moved.iter().map(|(y, n)| n * (y - mean) * (y - mean)).sum::<f64>())
    };
    let parts: Vec<(f64, f64, f64)> = values.par_chunks(BLOCK).map(part).collect();
    let (n, _, squares) =
        parts
            .into_iter()
            .fold((0.0, 0.0, 0.0), |(n, mean, squares), (m, b, s)| {
                let (all, off) = (n + m, b - mean);
                (all, mean + off * m / all, squares + s + off * off * n * m / all)
            });
    squares / n
}

/// Where `f` is least between two bounds: Brent's method as `scipy.optimize.fminbound` has it, by
/// golden section and parabolas.
fn minimise(f: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    const TOLERANCE: f64 = 1.48e-8;
    const ROUNDS: usize = 500;
    let golden = 0.5 * (3.0 - 5.0f64.sqrt());
    let precision = f64::EPSILON.sqrt();
    let start = low + golden * (high - low);
    // The best place, the second best, and the one before.
    let (mut x, mut second, mut third) = (start, start, start);
    let (mut fx, mut f_second, mut f_third) = (f(x), f(x), f(x));
    let (mut step, mut before) = (0.0f64, 0.0f64);
    for _ in 0..ROUNDS {
        let middle = 0.5 * (low + high);
        let near = precision * x.abs() + TOLERANCE / 3.0;
        if (x - middle).abs() <= 2.0 * near - 0.5 * (high - low) {
            break;
        }
        let mut parabola = None;
        if before.abs() > near {
            let r = (x - second) * (fx - f_third);
            let q = (x - third) * (fx - f_second);
            let (p, q) = ((x - third) * q - (x - second) * r, 2.0 * (q - r));
            let (p, q) = (if q > 0.0 { -p } else { p }, q.abs());
            let last = std::mem::replace(&mut before, step);
            if p.abs() < (0.5 * q * last).abs() && p > q * (low - x) && p < q * (high - x) {
                let to = x + p / q;
                let inside = to - low >= 2.0 * near && high - to >= 2.0 * near;
                parabola = Some(if inside {
                    p / q
                } else {
                    near.copysign(middle - x)
                });
            }
        }
        step = parabola.unwrap_or_else(|| {
            before = if x >= middle { low - x } else { high - x };
            golden * before
        });
        let to = x + step.abs().max(near).copysign(step);
        let f_to = f(to);
        if f_to <= fx {
            if to >= x {
                low = x;
            } else {
                high = x;
            }
            (third, f_third) = (second, f_second);
            (second, f_second) = (x, fx);
            (x, fx) = (to, f_to);
            continue;
        }
        if to < x {
            low = to;
        } else {
            high = to;
        }
        if f_to <= f_second || second == x {
            (third, f_third) = (second, f_second);
            (second, f_second) = (to, f_to);
        } else if f_to <= f_third || third == x || third == second {
            (third, f_third) = (to, f_to);
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parabola_is_minimised() {
        let x = minimise(|x| (x - 1.25) * (x - 1.25), -40.0, 60.0);
        assert!((x - 1.25).abs() < 1e-7, "{x}");
    }
}
