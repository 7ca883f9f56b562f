//! Rows times weights, added to what is there: the product behind layers, convolutions and their gradients.
//!
//! Each number that comes out is one chain of fused multiplications and additions, from what was there
//! through the inputs in their order, however many rows there are and however wide the registers: a row gets
//! the same bits in any company. Neither side is copied first: a row is wherever its values are, so the
//! patches of an image are read in the image.

use pulp::{Arch, Simd, WithSimd};

/// `out[row] += x[starts[row] + input.x] * weight[input.weight..]`, for each row and each of the inputs.
pub(super) struct Product<'a> {
    /// What the rows see.
    pub(super) x: &'a [f32],
    /// Where each row begins in `x`.
    pub(super) starts: &'a [usize],
    pub(super) inputs: &'a [Input],
    pub(super) weight: &'a [f32],
    /// `[rows, outputs]`, with `across` from one row to the next.
    pub(super) out: &'a mut [f32],
    pub(super) across: usize,
    pub(super) outputs: usize,
}

/// One of the values that every row has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input {
    /// How far behind the start of a row it is.
    pub(super) x: usize,
    /// Where its weights begin.
    pub(super) weight: usize,
}

/// Columns that are worked on together, and weights of theirs that are read again before others are: as many
/// as a core keeps near, beside the sums. A few rows read each weight once, whole lines of them.
const PANEL: usize = 128;
const LINE: usize = 512;
const FEW: usize = 3;
const NEAR: usize = 1 << 13;

/// Multiplications from which on it is worth waking another thread.
pub(super) const PARALLEL: usize = 1 << 18;

/// How many pieces of so much work a thread should take at least.
pub(super) fn least(work: usize) -> usize {
    PARALLEL.div_ceil(work.max(1))
}

/// Whether this processor multiplies and adds in one instruction. Others are better served by products that
/// round twice.
pub(super) fn is_fast() -> bool {
    !matches!(Arch::new(), Arch::Scalar)
}

impl Product<'_> {
    /// Adds it.
    pub(super) fn add(self) {
        Arch::new().dispatch(self);
    }
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let reach = self.inputs.iter().map(|input| input.x + 1).max().unwrap_or(0);
        let rows = self.starts.len();
        let panel = if rows > FEW { PANEL } else { LINE }.min(self.outputs);
        let deep = NEAR / panel.max(1);
        // The sums, the weights and an input have to find room in the registers.
        let is_large = S::REGISTER_COUNT >= 32;
        let is_narrow = self.outputs <= 2 * S::F32_LANES;
        for first in (0..self.outputs).step_by(panel.max(1)) {
            let columns = first..self.outputs.min(first + panel);
            for inputs in self.inputs.chunks(deep) {
                let at = Part {
                    inputs,
                    reach,
                    columns: columns.clone(),
                };
                let mut row = 0;
                while row < rows {
                    row += match rows - row {
                        12.. if is_large && is_narrow => self.rows::<S, 12, 2>(simd, &at, row),
                        6.. if is_large => self.rows::<S, 6, 4>(simd, &at, row),
                        4.. if is_large => self.rows::<S, 4, 4>(simd, &at, row),
                        2.. if is_large => self.rows::<S, 2, 8>(simd, &at, row),
                        1 if is_large => self.rows::<S, 1, 16>(simd, &at, row),
                        4.. => self.rows::<S, 4, 2>(simd, &at, row),
                        2.. => self.rows::<S, 2, 4>(simd, &at, row),
                        _ => self.rows::<S, 1, 8>(simd, &at, row),
                    };
                }
            }
        }
    }
}

/// Some inputs and some columns of a product.
struct Part<'a> {
    inputs: &'a [Input],
    /// No input lies as far as this behind the start of a row.
    reach: usize,
    columns: std::ops::Range<usize>,
}

impl Product<'_> {
    /// Adds a part to `R` rows, `C` registers of columns at a time; gives `R`.
    #[inline(always)]
    fn rows<S: Simd, const R: usize, const C: usize>(
        &mut self,
        simd: S,
        at: &Part<'_>,
        row: usize,
    ) -> usize {
        let x: [&[f32]; R] = std::array::from_fn(|r| &self.x[self.starts[row + r]..][..at.reach]);
        let out = &mut self.out[row * self.across..];
        let (inputs, weight, across) = (at.inputs, self.weight, self.across);
        let (mut column, end) = (at.columns.start, at.columns.end);
        while column + C * S::F32_LANES <= end {
            columns::<S, R, C>(simd, inputs, x, weight, out, [across, column]);
            column += C * S::F32_LANES;
        }
        while C > 2 && column + 2 * S::F32_LANES <= end {
            columns::<S, R, 2>(simd, inputs, x, weight, out, [across, column]);
            column += 2 * S::F32_LANES;
        }
        while column + S::F32_LANES <= end {
            columns::<S, R, 1>(simd, inputs, x, weight, out, [across, column]);
            column += S::F32_LANES;
        }
        let rest = end - column;
        if rest > 0 {
            let at = |r: usize| r * across + column;
            let mut sums: [S::f32s; R] =
                std::array::from_fn(|r| simd.partial_load_f32s(&out[at(r)..][..rest]));
            for input in inputs {
                let weights = simd.partial_load_f32s(&weight[input.weight + column..][..rest]);
                for (sum, x) in std::iter::zip(&mut sums, x) {
                    *sum = simd.mul_add_f32s(simd.splat_f32s(x[input.x]), weights, *sum);
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
    inputs: &[Input],
    x: [&[f32]; R],
    weight: &[f32],
    out: &mut [f32],
    [across, column]: [usize; 2],
) {
    let width = C * S::F32_LANES;
    let at = |r: usize| r * across + column;
    let mut sums = [[simd.splat_f32s(0.0); C]; R];
    for (r, sums) in sums.iter_mut().enumerate() {
        sums.copy_from_slice(S::as_simd_f32s(&out[at(r)..][..width]).0);
    }
    for input in inputs {
        let weights = S::as_simd_f32s(&weight[input.weight + column..][..width]).0;
        for (sums, x) in std::iter::zip(&mut sums, x) {
            let x = simd.splat_f32s(x[input.x]);
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

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn every_width_of_registers_gives_the_same_bits() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for case in 0..200 {
            let mut side = |most: usize| rng.random_range(1..=most);
            let (rows, inputs, outputs) = (side(30), side(60), side(180));
            let across = outputs + side(9) - 1;
            let starts: Vec<usize> = (0..rows).map(|_| side(40) - 1).collect();
            let inputs: Vec<Input> = (0..inputs)
                .map(|_| Input {
                    x: side(50) - 1,
                    weight: side(300) - 1,
                })
                .collect();
            let mut numbers = |count: usize| -> Vec<f32> {
                (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
            };
            let (x, weight, first) = (numbers(100), numbers(500), numbers(rows * across));
            let run = |add: &dyn Fn(Product<'_>)| {
                let mut out = first.clone();
                add(Product {
                    x: &x,
                    starts: &starts,
                    inputs: &inputs,
                    weight: &weight,
                    out: &mut out,
                    across,
                    outputs,
                });
                out
            };
            let mut expected = first.clone();
            for (row, start) in starts.iter().enumerate() {
                for input in &inputs {
                    for output in 0..outputs {
                        let sum = &mut expected[row * across + output];
                        *sum = x[start + input.x].mul_add(weight[input.weight + output], *sum);
                    }
                }
            }
            assert_eq!(run(&|p: Product<'_>| p.add()), expected, "case {case}");
            assert_eq!(
                run(&|p: Product<'_>| Arch::Scalar.dispatch(p)),
                expected,
                "case {case}, one by one"
            );
            #[cfg(target_arch = "x86_64")]
            if let Some(arch) = pulp::x86::V3::try_new() {
                let wide = run(&|p: Product<'_>| pulp::Simd::vectorize(arch, p));
                assert_eq!(wide, expected, "case {case}, AVX2");
            }
        }
    }
}
