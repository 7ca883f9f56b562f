use nalgebra::{DMatrix, DVector};

use super::Weights;
use crate::{Error, Result};

/// Rows per block of the normal equations.
const BLOCK: usize = 1024;

/// Minimises `|y - xW - b|² + l2 |W|²`; the intercept is not penalised.
///
/// Centred normal equations, summed over blocks of rows and solved by Cholesky; where columns
/// depend on each other (all levels of a one-hot column do), the solution of least norm through
/// the eigenvectors of the Gram matrix, as LAPACK's `gelsd` has it.
pub(super) fn solve(x: &[f64], width: usize, y: &[f64], l2: f64) -> Result<Weights> {
    if !(l2 >= 0.0 && l2.is_finite()) {
        let message = format!("`model.l2` is {l2}: expected 0 or more");
        return Err(Error::Config(message));
    }
    let rows = y.len() as f64;
    let mut x_mean = DVector::zeros(width);
    for row in x.chunks_exact(width) {
        row.iter().enumerate().for_each(|(j, v)| x_mean[j] += v);
    }
    x_mean /= rows;
    let y_mean = y.iter().sum::<f64>() / rows;

    let mut gram = DMatrix::<f64>::zeros(width, width);
    let mut moment = DVector::<f64>::zeros(width);
    for (x, y) in std::iter::zip(x.chunks(BLOCK * width), y.chunks(BLOCK)) {
        // One column per row of the table: nalgebra is column-major.
        let block = DMatrix::from_fn(width, y.len(), |j, i| {
            x[i * width + j] - x_mean[j]
        });
        let y = DVector::from_iterator(y.len(), y.iter().map(|y| y - y_mean));
        moment.gemv(1.0, &block, &y, 1.0);
        gram.gemm(1.0, &block, &block.transpose(), 1.0);
    }
    for j in 0..width {
        gram[(j, j)] += l2;
    }

    let weight = match well_conditioned(&gram) {
        Some(cholesky) => cholesky.solve(&moment),
        None => least_norm(gram, &moment),
    };
    Ok(Weights {
        bias: vec![y_mean - weight.dot(&x_mean)],
        weight: weight.as_slice().to_vec(),
        passes: 2,
    })
}

fn well_conditioned(gram: &DMatrix<f64>) -> Option<nalgebra::Cholesky<f64, nalgebra::Dyn>> {
    let cholesky = gram.clone().cholesky()?;
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

    #[test]
    fn recovers_a_plane() {
        let x = [0.0, 1.0, 1.0, 0.0, 2.0, 1.0, 3.0, 5.0];
        let y: Vec<f64> = x
            .chunks(2)
            .map(|r| 2.0 * r[0] - 3.0 * r[1] + 4.0)
            .collect();
        let w = solve(&x, 2, &y, 0.0).unwrap();
        assert!((w.weight[0] - 2.0).abs() < 1e-12);
        assert!((w.weight[1] + 3.0).abs() < 1e-12);
        assert!((w.bias[0] - 4.0).abs() < 1e-12);
    }

    #[test]
    fn dependent_columns_share_the_weight() {
        // The same column twice: the solution of least norm splits the slope evenly.
        let x = [1.0, 1.0, 2.0, 2.0, 3.0, 3.0];
        let w = solve(&x, 2, &[2.0, 4.0, 6.0], 0.0).unwrap();
        assert!((w.weight[0] - 1.0).abs() < 1e-9, "{w:?}");
        assert!((w.weight[1] - 1.0).abs() < 1e-9, "{w:?}");
    }
}
