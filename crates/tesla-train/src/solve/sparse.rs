use rayon::prelude::*;
use tesla_data::samples::SparseRows;

use super::{Truth, Weights, minimise};
use crate::{Error, Result};

/// The largest entry of the gradient of the mean loss at which the solution counts as found. Texts
/// have as many weights as there are terms and classes; a smaller one changes no prediction.
const TOLERANCE: f64 = 1e-6;
/// The most evaluations of the loss over all rows.
const LIMIT: usize = 1000;
/// The most memory that the search may take, in bytes: it holds twenty directions.
const MEMORY: usize = 8 << 30;
/// Rows or columns per task. Fixed, so that sums have one order at any number of threads.
const TASK: usize = 256;

/// Minimises `c * sum(log loss) + |W|² / 2` over rows of which most numbers are zero; see
/// [`super::logistic::solve`]. The weights of one column stand side by side, so that a number that is
/// there costs one pass over the classes.
pub(super) fn solve(x: &SparseRows, truth: &Truth<'_>, c: f64) -> Result<Weights> {
    if !(c > 0.0 && c.is_finite()) {
        let message = format!("`model.c` is {c}: expected a number above 0");
        return Err(Error::Config(message));
    }
    let (width, labels, logits) = (x.width, truth.labels, truth.logits());
    let size = (width + 1) * logits;
    if size.saturating_mul(22 * 8) > MEMORY {
        return Err(Error::Config(format!(
            "{width} terms and {labels} classes make more weights than can be solved exactly: say `max_terms = {}` or less for the text",
            MEMORY / (22 * 8 * logits) - 1
        )));
    }
    let rows = truth.total;
    let penalty = 1.0 / (c * rows);
    let columns = Columns::of(x);
    let minimum = minimise(vec![0.0; size], TOLERANCE, LIMIT, |w, gradient| {
        let (weights, levels) = w.split_at(width * logits);
        // Probability minus truth, for each row and class, and the loss of each task.
        let mut errors = vec![0.0; truth.classes.len() * logits];
        let losses: Vec<f64> = errors
            .par_chunks_mut(TASK * logits)
            .enumerate()
            .map(|(task, errors)| {
                let start = task * TASK;
                let mut loss = 0.0;
                for (i, z) in errors.chunks_exact_mut(logits).enumerate() {
                    z.copy_from_slice(levels);
                    let (at, values) = x.row(start + i);
                    for (column, value) in std::iter::zip(at, values) {
                        let own = &weights[*column as usize * logits..][..logits];
                        z.iter_mut().zip(own).for_each(|(z, w)| *z += value * w);
                    }
                    loss += truth.error(start + i, z);
                }
                loss
            })
            .collect();
        let (weight_gradient, level_gradient) = gradient.split_at_mut(width * logits);
        weight_gradient
            .par_chunks_mut(TASK * logits)
            .enumerate()
            .for_each(|(task, gradient)| {
                for (i, g) in gradient.chunks_exact_mut(logits).enumerate() {
                    g.fill(0.0);
                    let column = task * TASK + i;
                    let (at, values) = columns.column(column);
                    for (row, value) in std::iter::zip(at, values) {
                        let errors = &errors[*row as usize * logits..][..logits];
                        g.iter_mut().zip(errors).for_each(|(g, e)| *g += value * e);
                    }
                    let own = &weights[column * logits..][..logits];
                    g.iter_mut().zip(own).for_each(|(g, w)| *g = *g / rows + penalty * w);
                }
            });
        level_gradient.fill(0.0);
        for errors in errors.chunks_exact(logits) {
            level_gradient
                .iter_mut()
                .zip(errors)
                .for_each(|(g, e)| *g += e / rows);
        }
        let squares: f64 = weights.iter().map(|w| w * w).sum();
        losses.iter().sum::<f64>() / rows + penalty * squares / 2.0
    });
    if !minimum.value.is_finite() {
        let message = "the loss is not finite: look for extreme values in the features";
        return Err(Error::Config(message.into()));
    }
    // Of two classes the first keeps 0.
    let first = labels - logits;
    let mut weight = vec![0.0; width * labels];
    for (to, from) in weight.chunks_exact_mut(labels).zip(minimum.at.chunks_exact(logits)) {
        to[first..].copy_from_slice(from);
    }
    let mut bias = vec![0.0; labels];
    bias[first..].copy_from_slice(&minimum.at[width * logits..]);
    Ok(Weights {
        weight,
        bias,
        passes: minimum.evaluations,
        converged: minimum.evaluations < LIMIT,
    })
}

/// The same numbers by column.
struct Columns {
    offsets: Vec<usize>,
    rows: Vec<u32>,
    values: Vec<f64>,
}

impl Columns {
    fn of(x: &SparseRows) -> Self {
        let mut offsets = vec![0; x.width + 1];
        x.columns.iter().for_each(|column| offsets[*column as usize + 1] += 1);
        for i in 0..x.width {
            offsets[i + 1] += offsets[i];
        }
        let mut next = offsets.clone();
        let (mut rows, mut values) = (vec![0; x.columns.len()], vec![0.0; x.columns.len()]);
        for row in 0..x.rows() {
            let (columns, own) = x.row(row);
            for (column, value) in std::iter::zip(columns, own) {
                let at = &mut next[*column as usize];
                (rows[*at], values[*at]) = (row as u32, *value);
                *at += 1;
            }
        }
        Self {
            offsets,
            rows,
            values,
        }
    }

    fn column(&self, at: usize) -> (&[u32], &[f64]) {
        let range = self.offsets[at]..self.offsets[at + 1];
        (&self.rows[range.clone()], &self.values[range])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tesla_data::Inputs;
    use tesla_data::samples::Floats;

    #[test]
    fn finds_what_the_dense_search_finds() {
        let dense: Vec<f32> = (0..60 * 4).map(|i| [0.0, 1.5, 0.0, -0.5, 2.0][i * 7 % 5]).collect();
        let mut sparse = SparseRows::new(4);
        for row in dense.chunks_exact(4) {
            let there = (0..4u32).filter(|i| row[*i as usize] != 0.0);
            let (columns, values): (Vec<u32>, Vec<f64>) =
                there.map(|i| (i, f64::from(row[i as usize]))).unzip();
            let mut next = SparseRows::new(4);
            next.columns = columns;
            next.values = values;
            next.offsets.push(next.columns.len());
            sparse.append(next);
        }
        for labels in [2, 3] {
            let classes: Vec<u32> = (0..60).map(|i| (i * i / 7 % labels) as u32).collect();
            let inputs = Inputs::Dense(Floats::new(4, dense.clone()));
            let weights: Vec<f64> = (0..60).map(|i| f64::from(i % 4)).collect();
            let truth = Truth::new(&classes, labels, Some(&weights));
            let expected = super::super::logistic::solve(&inputs, &truth, 2.0).unwrap();
            let found = solve(&sparse, &truth, 2.0).unwrap();
            let pairs = expected.weight.iter().zip(&found.weight);
            for (a, b) in pairs.chain(expected.bias.iter().zip(&found.bias)) {
                assert!((a - b).abs() < 1e-3, "{a} {b}");
            }
        }
    }
}
