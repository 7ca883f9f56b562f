use nalgebra::{DMatrix, DVector};

use super::Weights;
use crate::{Error, Result};

/// Sums over rows that least squares needs; rows come block by block and are not kept.
///
/// With the rows of a first block as origin, the centred Gram matrix is
/// `Σ (x - o)(x - o)' - n (m - o)(m - o)'`: the origin is near the mean `m`, so nothing cancels.
pub(super) struct Sums {
    rows: f64,
    /// The means of the first block: features, then the target.
    origin: Option<(DVector<f64>, f64)>,
    /// `Σ (x - o)`, `Σ (y - p)`.
    x: DVector<f64>,
    y: f64,
    /// `Σ (x - o)(x - o)'`, `Σ (x - o)(y - p)`.
    gram: DMatrix<f64>,
    moment: DVector<f64>,
}

/// Rows per multiplication: the block fits the cache.
const BLOCK: usize = 1024;

impl Sums {
    pub(super) fn new(width: usize) -> Self {
        Self {
            rows: 0.0,
            origin: None,
            x: DVector::zeros(width),
            y: 0.0,
            gram: DMatrix::zeros(width, width),
            moment: DVector::zeros(width),
        }
    }

    /// Adds rows: `x` is `[rows, width]` row-major; without `weights` each counts for 1.
    pub(super) fn add(&mut self, x: &[f64], y: &[f64], weights: Option<&[f64]>) {
        let width = self.x.len();
        let blocks = std::iter::zip(x.chunks(BLOCK * width), y.chunks(BLOCK));
        for (i, (x, y)) in blocks.enumerate() {
            let n = y.len() as f64;
            // One column per row of the table: nalgebra is column-major.
            let mut block = DMatrix::from_column_slice(width, y.len(), x);
            let mut target = DVector::from_column_slice(y);
            let (origin, middle) = self
                .origin
                .get_or_insert_with(|| (block.column_sum() / n, target.sum() / n));
            block.column_iter_mut().for_each(|mut row| row -= &*origin);
            target.add_scalar_mut(-*middle);
            match weights {
                None => {
                    self.rows += n;
                    self.x += block.column_sum();
                    self.y += target.sum();
                }
                Some(weights) => {
                    let own = DVector::from_column_slice(&weights[i * BLOCK..][..y.len()]);
                    self.rows += own.sum();
                    self.x += &block * &own;
                    self.y += target.dot(&own);
                    // What is multiplied by itself below carries the root.
                    let roots = own.map(f64::sqrt);
                    target.component_mul_assign(&roots);
                    for (mut row, root) in block.column_iter_mut().zip(&roots) {
                        row *= *root;
                    }
                }
            }
            self.moment.gemv(1.0, &block, &target, 1.0);
            self.gram.gemm(1.0, &block, &block.transpose(), 1.0);
        }
    }
}

/// Minimises `|y - xW - b|² + l2 |W|² + l1 |W|₁` over the rows behind `sums`; the intercept is not
/// penalised.
///
/// With `l1`, coordinate descent (Friedman et al. 2010); else centred normal equations, solved by Cholesky; where columns depend on each other (all levels
/// of a one-hot column do), the solution of least norm through the eigenvectors of the Gram
/// matrix, as LAPACK's `gelsd` has it.
pub(super) fn solve(sums: Sums, l2: f64, l1: f64) -> Result<Weights> {
    for (key, penalty) in [("l2", l2), ("l1", l1)] {
        if !(penalty >= 0.0 && penalty.is_finite()) {
            let message = format!("`model.{key}` is {penalty}: expected 0 or more");
            return Err(Error::Config(message));
        }
    }
    let width = sums.x.len();
    let (origin, middle) = sums.origin.unwrap_or_else(|| (DVector::zeros(width), 0.0));
    let (x, y) = (sums.x / sums.rows, sums.y / sums.rows);
    let mut gram = sums.gram;
    gram.ger(-sums.rows, &x, &x, 1.0);
    let mut moment = sums.moment;
    moment.axpy(-sums.rows * y, &x, 1.0);
    let (x_mean, y_mean) = (origin + x, middle + y);
    for j in 0..width {
        gram[(j, j)] += l2;
    }

    if l1 > 0.0 {
        let (weight, passes, converged) = descend(&gram, &moment, l1);
        return Ok(Weights {
            bias: vec![y_mean - weight.dot(&x_mean)],
            weight: weight.as_slice().to_vec(),
            passes,
            converged,
        });
    }

    // Columns of one length: units then do not decide what counts as dependent.
    let lengths = gram.diagonal().map(|d| if d > 0.0 { d.sqrt() } else { 1.0 });
    let scaled = DMatrix::from_fn(width, width, |i, j| gram[(i, j)] / (lengths[i] * lengths[j]));
    let weight = match well_conditioned(scaled) {
        Some(cholesky) => cholesky
            .solve(&moment.component_div(&lengths))
            .component_div(&lengths),
        None => least_norm(gram, &moment),
    };
    Ok(Weights {
        bias: vec![y_mean - weight.dot(&x_mean)],
        weight: weight.as_slice().to_vec(),
        passes: 1,
        converged: true,
    })
}

/// Sweeps over the coordinates of a lasso before it is given up.
const SWEEPS: usize = 10_000;
/// Sweeps after which weights that move the prediction by 1e-5 of its spread are good enough: where columns
/// depend on each other and `l1` is tiny, weights move along them long after the prediction has settled.
const SETTLED: usize = 1000;

/// Minimises `w'Gw - 2 m'w + l1 |w|₁`, one weight after the other, until no sweep moves the prediction of
/// the training rows by more than 1e-10 of their spread, or from [`SETTLED`] sweeps on 1e-5. Also says how many sweeps it took, and whether
/// they were enough.
fn descend(gram: &DMatrix<f64>, moment: &DVector<f64>, l1: f64) -> (DVector<f64>, usize, bool) {
    let mut weight: DVector<f64> = DVector::zeros(moment.len());
    // `m - Gw`, kept up to date.
    let mut rest = moment.clone();
    // The most that one column alone explains, in units of `w'Gw`.
    let alone = |j: usize| moment[j].powi(2) / gram[(j, j)].max(f64::MIN_POSITIVE);
    let small = (0..moment.len()).map(alone).fold(0.0, f64::max) * 1e-20;
    for sweep in 1..=SWEEPS {
        let mut moved = 0.0_f64;
        for j in 0..moment.len() {
            let length = gram[(j, j)];
            // A constant column explains nothing.
            if length <= 0.0 {
                continue;
            }
            let pull: f64 = rest[j] + length * weight[j];
            let next = (pull.abs() - l1 / 2.0).max(0.0).copysign(pull) / length;
            let step = next - weight[j];
            if step != 0.0 {
                rest.axpy(-step, &gram.column(j), 1.0);
                weight[j] = next;
                moved = moved.max(step * step * length);
            }
        }
        let enough = if sweep < SETTLED { small } else { small * 1e10 };
        if moved <= enough {
            return (weight, sweep, true);
        }
    }
    (weight, SWEEPS, false)
}

fn well_conditioned(gram: DMatrix<f64>) -> Option<nalgebra::Cholesky<f64, nalgebra::Dyn>> {
    let cholesky = gram.cholesky()?;
    let diagonal = cholesky.l_dirty().diagonal();
    let (smallest, largest) = (diagonal.min(), diagonal.max());
    (smallest > largest * 1e-6).then_some(cholesky)
}

fn least_norm(gram: DMatrix<f64>, moment: &DVector<f64>) -> DVector<f64> {
    let eigen = gram.symmetric_eigen();
    let cut = eigen.eigenvalues.amax() * 1e-12;
    let mut along = eigen.eigenvectors.tr_mul(moment);
    for (a, value) in along.iter_mut().zip(&eigen.eigenvalues) {
        *a = if *value > cut { *a / value } else { 0.0 };
    }
    eigen.eigenvectors * along
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row by row: the origin is the first row, far from the mean.
    fn sums(x: &[f64], y: &[f64]) -> Sums {
        let mut sums = Sums::new(2);
        for (x, y) in x.chunks(2).zip(y) {
            sums.add(x, &[*y], None);
        }
        sums
    }

    #[test]
    fn recovers_a_plane() {
        let x = [0.0, 1.0, 1.0, 0.0, 2.0, 1.0, 3.0, 5.0];
        let y: Vec<f64> = x.chunks(2).map(|r| 2.0 * r[0] - 3.0 * r[1] + 4.0).collect();
        let w = solve(sums(&x, &y), 0.0, 0.0).unwrap();
        assert!((w.weight[0] - 2.0).abs() < 1e-12);
        assert!((w.weight[1] + 3.0).abs() < 1e-12);
        assert!((w.bias[0] - 4.0).abs() < 1e-12);
    }

    #[test]
    fn a_row_of_weight_two_is_two_rows() {
        let (x, y) = ([0.0, 1.0, 1.0, 0.0, 2.0, 1.0, 3.0, 5.0], [1.0, -2.0, 0.5, 4.0]);
        let mut weighted = Sums::new(2);
        weighted.add(&x, &y, Some(&[1.0, 2.0, 1.0, 0.0]));
        let twice = sums(&[0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 2.0, 1.0], &[1.0, -2.0, -2.0, 0.5]);
        let (found, expected) =
            (solve(weighted, 0.5, 0.0).unwrap(), solve(twice, 0.5, 0.0).unwrap());
        for (a, b) in found.weight.iter().zip(&expected.weight) {
            assert!((a - b).abs() < 1e-12, "{found:?} {expected:?}");
        }
        assert!((found.bias[0] - expected.bias[0]).abs() < 1e-12);
    }

    #[test]
    fn a_tiny_penalty_on_columns_that_are_nearly_one_ends() {
        let t = |i: i32| f64::from(i % 13 - 6);
        let x: Vec<f64> = (0..143)
            .flat_map(|i| [t(i), t(i) + 1e-4 * f64::from(i % 11 - 5)])
            .collect();
        let y: Vec<f64> = x.chunks(2).map(|x| 10.0 * x[1] - 9.0 * x[0]).collect();
        let w = solve(sums(&x, &y), 0.0, 1e-6).unwrap();
        assert!(w.converged && w.passes == SETTLED, "{w:?}");
        for (x, y) in x.chunks(2).zip(&y) {
            let found = w.weight[0] * x[0] + w.weight[1] * x[1] + w.bias[0];
            assert!((found - y).abs() < 1e-2, "{found} {y}");
        }
    }

    #[test]
    fn dependent_columns_share_the_weight() {
        // The same column twice: the solution of least norm splits the slope evenly.
        let x = [1.0, 1.0, 2.0, 2.0, 3.0, 3.0];
        let w = solve(sums(&x, &[2.0, 4.0, 6.0]), 0.0, 0.0).unwrap();
        assert!((w.weight[0] - 1.0).abs() < 1e-9, "{w:?}");
        assert!((w.weight[1] - 1.0).abs() < 1e-9, "{w:?}");
    }
}
