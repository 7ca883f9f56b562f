use std::ops::Range;

use rayon::prelude::*;
use tesla_data::Inputs;

use super::{Truth, Weights, blocks, minimise};
use crate::{Error, Result};

/// The largest entry of the gradient of the mean loss at which the solution counts as found.
const TOLERANCE: f64 = 1e-8;
/// The most evaluations of the loss over all rows.
const LIMIT: usize = 2000;

/// Minimises `c * sum(log loss) + |W|² / 2`, scikit-learn's objective; intercepts are free.
///
/// Two classes have one logit (its weights belong to the second class, the first keeps 0), more
/// classes have one each.
pub(super) fn solve(x: &Inputs, truth: &Truth<'_>, c: f64) -> Result<Weights> {
    search(x, truth, c, TOLERANCE, LIMIT)
}

/// Like [`solve`], but ends at a gradient of `tolerance` or after `limit` evaluations.
pub(super) fn search(
    x: &Inputs,
    truth: &Truth<'_>,
    c: f64,
    tolerance: f64,
    limit: usize,
) -> Result<Weights> {
    if !(c > 0.0 && c.is_finite()) {
        let message = format!("`model.c` is {c}: expected a number above 0");
        return Err(Error::Config(message));
    }
    let width = x.row_shape().iter().product();
    let (labels, logits, rows) = (truth.labels, truth.logits(), truth.total);
    let blocks: Vec<Range<usize>> = blocks(truth.classes.len()).collect();
    let penalty = 1.0 / (c * rows);
    // Per logit `width` weights and the intercept; the loss is the mean over rows.
    let size = (width + 1) * logits;
    let mut failed = None;
    let minimum = minimise(vec![0.0; size], tolerance, limit, |w, gradient| {
        let part = |rows: &Range<usize>| -> Result<(f64, Vec<f64>)> {
            Ok(match x {
                Inputs::Dense(table) => {
                    table.with(rows.clone(), |x| block(x, width, truth, rows.start, w))?
                }
                images => {
                    let x = images.gather(&rows.clone().collect::<Vec<_>>())?;
                    block(&x, width, truth, rows.start, w)
                }
            })
        };
        let parts: Result<Vec<(f64, Vec<f64>)>> = blocks.par_iter().map(part).collect();
        let parts = match parts {
            Ok(parts) => parts,
            Err(e) => {
                // An infinite loss ends the search at once.
                failed = Some(e);
                return f64::INFINITY;
            }
        };
        let mut loss = 0.0;
        gradient.fill(0.0);
        for (part_loss, part_gradient) in &parts {
            loss += part_loss;
            gradient.iter_mut().zip(part_gradient).for_each(|(g, p)| *g += p);
        }
        loss /= rows;
        for (w, g) in w.chunks_exact(width + 1).zip(gradient.chunks_exact_mut(width + 1)) {
            for (j, g) in g.iter_mut().enumerate() {
                *g /= rows;
                if j < width {
                    *g += penalty * w[j];
                    loss += penalty * w[j] * w[j] / 2.0;
                }
            }
        }
        loss
    });

    if let Some(e) = failed {
        return Err(e);
    }
    if !minimum.value.is_finite() {
        let message = "the loss is not finite: look for extreme values in the features";
        return Err(Error::Config(message.into()));
    }
    let mut weight = vec![0.0; width * labels];
    let mut bias = vec![0.0; labels];
    for (logit, w) in minimum.at.chunks_exact(width + 1).enumerate() {
        let label = logit + labels - logits;
        bias[label] = w[width];
        for j in 0..width {
            weight[j * labels + label] = w[j];
        }
    }
    Ok(Weights {
        weight,
        bias,
        passes: minimum.evaluations,
        // A search that no step improves any more has converged as far as 64 bits allow.
        converged: minimum.evaluations < limit,
    })
}

/// The summed loss and gradient of some rows, the first of which is row `start`.
fn block(x: &[f32], width: usize, truth: &Truth<'_>, start: usize, w: &[f64]) -> (f64, Vec<f64>) {
    /// Rows that go to the gradient together: it is read and written once for all of them.
    const ROWS: usize = 4;
    let logits = truth.logits();
    let mut loss = 0.0;
    let mut gradient = vec![0.0; w.len()];
    let mut z = vec![0.0; ROWS * logits];
    for (x, start) in x.chunks(ROWS * width).zip((start..).step_by(ROWS)) {
        let rows = x.chunks_exact(width).zip(z.chunks_exact_mut(logits));
        let count = rows.len();
        for ((x, z), row) in rows.zip(start..) {
            for (z, w) in z.iter_mut().zip(w.chunks_exact(width + 1)) {
                *z = w[width] + dot(x, w);
            }
            loss += truth.error(row, z);
        }
        // Where rows are missing, the first stands for them with a weight of 0.
        let row = |i: usize| &x[if i < count { i * width } else { 0 }..][..width];
        z[count * logits..].fill(0.0);
        let [a, b, c, d] = std::array::from_fn::<_, ROWS, _>(row);
        for (logit, g) in gradient.chunks_exact_mut(width + 1).enumerate() {
            let [p, q, r, s] = std::array::from_fn::<_, ROWS, _>(|i| z[i * logits + logit]);
            g[width] += (p + q) + (r + s);
            for ((((g, a), b), c), d) in g.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                let (a, b, c, d) = (f64::from(*a), f64::from(*b), f64::from(*c), f64::from(*d));
                *g += (p * a + q * b) + (r * c + s * d);
            }
        }
    }
    (loss, gradient)
}

/// The scalar product, in lanes that do not wait for each other.
fn dot(x: &[f32], w: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (pieces, weights) = (x.chunks_exact(LANES), w.chunks_exact(LANES));
    let rest = std::iter::zip(pieces.remainder(), &w[x.len() - x.len() % LANES..]);
    let rest: f64 = rest.map(|(x, w)| f64::from(*x) * w).sum();
    for (x, w) in std::iter::zip(pieces, weights) {
        for ((sum, x), w) in sums.iter_mut().zip(x).zip(w) {
            *sum += f64::from(*x) * w;
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// The loss of a row; its logits become probability minus truth.
pub(super) fn error(z: &mut [f64], class: usize) -> f64 {
    if let [z] = z {
        // One exponential serves `ln(1 + e^z)` and the probability, neither of which overflows.
        let (logit, truth, e) = (*z, class as f64, (-z.abs()).exp());
        *z = (if logit < 0.0 { e } else { 1.0 }) / (1.0 + e) - truth;
        return logit.max(0.0) + e.ln_1p() - truth * logit;
    }
    let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let score = z[class];
    z.iter_mut().for_each(|z| *z = (*z - max).exp());
    let sum: f64 = z.iter().sum();
    z.iter_mut().for_each(|z| *z /= sum);
    z[class] -= 1.0;
    max + sum.ln() - score
}
