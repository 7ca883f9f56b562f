//! The product of rows and the weights of a layer, where nothing is recorded for a way back.
//!
//! Each number that comes out is one chain of fused multiplications and additions, from the bias through
//! the inputs in their order, however many rows there are and however wide the registers: a row
//! gets the same bits in any company. A single row is bound by reading the weights, so those of an input
//! that is 0 in all rows of a tile are not read, as most are where categories and words are inputs.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Rows that go over the weights together.
const TILE: usize = 16;
/// Inputs whose weights are read before the next rows of the tile follow: as many as a core keeps near.
const DEEP: usize = 16;

/// `x weight + bias`, with the ReLU behind it if `relu` is true.
///
/// # Shapes
/// - `x`: `[rows, inputs]`, `weight`: `[inputs, outputs]`, `bias`: `[outputs]`
/// - result: `[rows, outputs]`
pub(super) fn forward(
    x: &[f32],
    rows: usize,
    weight: &[f32],
    bias: &[f32],
    relu: bool,
) -> Vec<f32> {
    let outputs = bias.len();
    let mut out = bias.repeat(rows);
    if out.is_empty() {
        return out;
    }
    let inputs = weight.len() / outputs;
    let arch = Arch::new();
    let tile = |(i, out): (usize, &mut [f32])| {
        arch.dispatch(Tile {
            x: &x[i * TILE * inputs..][..out.len() / outputs * inputs],
            weight,
            out,
            inputs,
            outputs,
            relu,
        });
    };
    match rows <= TILE {
        true => tile((0, &mut out)),
        false => out.par_chunks_mut(TILE * outputs).enumerate().for_each(tile),
    }
    out
}

/// A few rows; `out` begins as the bias of each.
struct Tile<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    out: &'a mut [f32],
    inputs: usize,
    outputs: usize,
    relu: bool,
}

impl WithSimd for Tile<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let rows = self.out.len() / self.outputs;
        let used = self.used();
        // The sums, the weights and an input have to find room in the registers.
        let is_large = S::REGISTER_COUNT >= 32;
        for used in used.chunks(DEEP) {
            let mut row = 0;
            while row < rows {
                row += match rows - row {
                    6.. if is_large => self.rows::<S, 6, 4>(simd, used, row),
                    4.. if is_large => self.rows::<S, 4, 4>(simd, used, row),
                    2.. if is_large => self.rows::<S, 2, 8>(simd, used, row),
                    1 if is_large => self.rows::<S, 1, 16>(simd, used, row),
                    4.. => self.rows::<S, 4, 2>(simd, used, row),
                    2.. => self.rows::<S, 2, 4>(simd, used, row),
                    _ => self.rows::<S, 1, 8>(simd, used, row),
                };
            }
        }
        if self.relu {
            self.out.iter_mut().for_each(|value| *value = value.max(0.0));
        }
    }
}

impl Tile<'_> {
    /// The inputs that are not 0 in all rows.
    #[inline(always)]
    fn used(&self) -> Vec<usize> {
        let mut is_used = vec![false; self.inputs];
        for row in self.x.chunks_exact(self.inputs) {
            for (is_used, x) in std::iter::zip(&mut is_used, row) {
                *is_used |= *x != 0.0;
            }
        }
        // Without a branch, which would be guessed wrong half of the time.
        let (mut used, mut count) = (vec![0; self.inputs], 0);
        for (i, is_used) in is_used.into_iter().enumerate() {
            used[count] = i;
            count += usize::from(is_used);
        }
        used.truncate(count);
        used
    }

    /// Adds the products of the inputs `used` to `R` rows, `C` registers of columns at a time; gives `R`.
    #[inline(always)]
    fn rows<S: Simd, const R: usize, const C: usize>(
        &mut self,
        simd: S,
        used: &[usize],
        row: usize,
    ) -> usize {
        let x: [&[f32]; R] =
            std::array::from_fn(|r| &self.x[(row + r) * self.inputs..][..self.inputs]);
        let out = &mut self.out[row * self.outputs..];
        let mut column = 0;
        while column + C * S::F32_LANES <= self.outputs {
            columns::<S, R, C>(simd, used, x, self.weight, out, [self.outputs, column]);
            column += C * S::F32_LANES;
        }
        while column + S::F32_LANES <= self.outputs {
            columns::<S, R, 1>(simd, used, x, self.weight, out, [self.outputs, column]);
            column += S::F32_LANES;
        }
        let rest = self.outputs - column;
        if rest > 0 {
            let at = |line: usize| line * self.outputs + column;
            let mut sums: [S::f32s; R] =
                std::array::from_fn(|r| simd.partial_load_f32s(&out[at(r)..][..rest]));
            for i in used {
                let weights = simd.partial_load_f32s(&self.weight[at(*i)..][..rest]);
                for (sum, x) in std::iter::zip(&mut sums, x) {
                    *sum = simd.mul_add_f32s(simd.splat_f32s(x[*i]), weights, *sum);
                }
            }
            for (r, sum) in sums.into_iter().enumerate() {
                simd.partial_store_f32s(&mut out[at(r)..][..rest], sum);
            }
        }
        R
    }
}

/// `C` whole registers from `column` on.
#[inline(always)]
fn columns<S: Simd, const R: usize, const C: usize>(
    simd: S,
    used: &[usize],
    x: [&[f32]; R],
    weight: &[f32],
    out: &mut [f32],
    [outputs, column]: [usize; 2],
) {
    let width = C * S::F32_LANES;
    let at = |line: usize| line * outputs + column;
    let mut sums = [[simd.splat_f32s(0.0); C]; R];
    for (r, sums) in sums.iter_mut().enumerate() {
        sums.copy_from_slice(S::as_simd_f32s(&out[at(r)..][..width]).0);
    }
    for i in used {
        let weights = S::as_simd_f32s(&weight[at(*i)..][..width]).0;
        for (sums, x) in std::iter::zip(&mut sums, x) {
            let x = simd.splat_f32s(x[*i]);
            for (sum, weights) in std::iter::zip(sums, weights) {
                *sum = simd.mul_add_f32s(x, *weights, *sum);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        S::as_mut_simd_f32s(&mut out[at(r)..][..width])
            .0
            .copy_from_slice(sums);
    }
}
