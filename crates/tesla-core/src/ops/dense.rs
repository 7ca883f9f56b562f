//! A linear layer and its gradients, as products of rows.
//!
//! A single row is bound by reading the weights, so those of an input that is 0 in all rows of a tile are
//! not read, as most are where categories and words are inputs. A sum over rows goes through them in order:
//! the same at any number of threads.

use pulp::Arch;
use rayon::prelude::*;

use super::awake::stay_awake;
use super::buffers;
use super::product::{Input, PARALLEL, Product, least};

/// Lines of weights that are turned together.
const TILE: usize = 16;
/// Lines of a weight's gradient that a thread takes at a time.
const LINES: usize = 48;

/// `x weight + bias`, with the ReLU behind it if `relu` is true. Weights are finite.
///
/// # Shapes
/// - `x`: `[rows, inputs]`, `weight`: `[inputs, outputs]`, `bias`: `[outputs]`
/// - result: `[rows, outputs]`
pub(super) fn forward(
    x: &[f32],
    weight: &[f32],
    [inputs, outputs]: [usize; 2],
    bias: Option<&[f32]>,
    relu: bool,
) -> Vec<f32> {
    let rows = x.len() / inputs;
    let mut out = buffers::take(rows * outputs);
    // Rows that go over the weights together: many, so that weights are seldom read, and some for each thread.
    let together = rows.div_ceil(2 * rayon::current_num_threads()).clamp(16, 64);
    let tile = |(i, out): (usize, &mut [f32])| {
        for out in out.chunks_exact_mut(outputs) {
            match bias {
                Some(bias) => out.copy_from_slice(bias),
                None => out.fill(0.0),
            }
        }
        let x = &x[i * together * inputs..][..out.len() / outputs * inputs];
        let starts: Vec<usize> = (0..x.len()).step_by(inputs).collect();
        Product {
            x,
            starts: &starts,
            inputs: &used(x, inputs, outputs),
            weight,
            out,
            across: outputs,
            outputs,
        }
        .add();
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for value in out {
                    // What is no number stays, so that it is noticed. Adding 0 makes 0 of -0, as inputs of 0
                    // that are not read would have.
                    let closed = relu && *value <= 0.0;
                    *value = if closed { 0.0 } else { *value + 0.0 };
                }
            },
        );
    };
    if !out.is_empty() {
        let tiles = out.par_chunks_mut(together * outputs);
        tiles
            .with_min_len(least(together * weight.len()))
            .enumerate()
            .for_each(tile);
    }
    out
}

/// The inputs that are not 0 in all rows.
fn used(x: &[f32], inputs: usize, outputs: usize) -> Vec<Input> {
    // Bits that are not those of 0 or -0.
    let mut is_used = vec![0; inputs];
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for row in x.chunks_exact(inputs) {
                for (is_used, x) in std::iter::zip(&mut is_used, row) {
                    *is_used |= x.to_bits() << 1;
                }
            }
        },
    );
    // Without a branch, which would be guessed wrong half of the time.
    let (mut used, mut count) = (vec![Input { x: 0, weight: 0 }; inputs], 0);
    for (i, is_used) in is_used.into_iter().enumerate() {
        used[count] = Input {
            x: i,
            weight: i * outputs,
        };
        count += usize::from(is_used != 0);
    }
    used.truncate(count);
    used
}

/// The gradients of a layer.
pub(super) struct Gradients {
    /// `None` where it was not asked for.
    pub(super) x: Option<Vec<f32>>,
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

/// The gradients from that of the output, `[rows, outputs]`, and from the output, where a ReLU was behind it.
pub(super) fn backward(
    x: &[f32],
    weight: &[f32],
    [inputs, outputs]: [usize; 2],
    (gradient, out): (&[f32], Option<&[f32]>),
    wants_x: bool,
) -> Gradients {
    if x.len() * outputs > 4 * PARALLEL {
        stay_awake();
    }
    let opened = out.map(|out| open(gradient, out));
    let gradient = opened.as_deref().unwrap_or(gradient);
    let of_x = || {
        wants_x.then(|| {
            let mut turned = buffers::take(weight.len());
            if !turned.is_empty() {
                turned
                    .par_chunks_mut(TILE * inputs)
                    .with_min_len(least(TILE * inputs))
                    .enumerate()
                    .for_each(|(i, turned)| turn(&weight[i * TILE..], outputs, turned, inputs));
            }
            let found = match outputs {
                0 => vec![0.0; x.len()],
                _ => forward(gradient, &turned, [outputs, inputs], None, false),
            };
            buffers::give(turned);
            found
        })
    };
    let of_weight = || of_weight(x, [inputs, outputs], gradient);
    let (x, weight) = match wants_x && x.len() * outputs > PARALLEL {
        true => rayon::join(of_x, of_weight),
        false => (of_x(), of_weight()),
    };
    let bias = columns(gradient, outputs);
    opened.into_iter().for_each(buffers::give);
    Gradients { x, weight, bias }
}

/// Values that a thread takes at a time where there is little to do with each.
const PIECE: usize = 1 << 14;

/// The gradient where the ReLU let something through.
fn open(gradient: &[f32], out: &[f32]) -> Vec<f32> {
    let mut open = buffers::take(gradient.len());
    open.par_chunks_mut(PIECE)
        .zip(gradient.par_chunks(PIECE).zip(out.par_chunks(PIECE)))
        .for_each(|(open, (gradient, out))| {
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    for ((open, g), out) in open.iter_mut().zip(gradient).zip(out) {
                        *open = if *out == 0.0 { 0.0 } else { *g };
                    }
                },
            );
        });
    open
}

/// The sum of each column: of some rows, and then of these sums in order.
fn columns(values: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    let rows = PIECE.div_ceil(columns.max(1));
    let of_piece = |rows: &[f32]| {
        let mut sums = vec![0.0; columns];
        add_rows(&mut sums, rows);
        sums
    };
    let pieces = values.par_chunks((rows * columns).max(1)).map(of_piece);
    let pieces: Vec<Vec<f32>> = pieces.collect();
    pieces.iter().for_each(|piece| add_rows(&mut sums, piece));
    sums
}

fn add_rows(sums: &mut [f32], rows: &[f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for row in rows.chunks_exact(sums.len().max(1)) {
                std::iter::zip(&mut *sums, row).for_each(|(sum, x)| *sum += x);
            }
        },
    );
}

fn of_weight(x: &[f32], [inputs, outputs]: [usize; 2], gradient: &[f32]) -> Vec<f32> {
    let mut found = buffers::take(inputs * outputs);
    let rows = x.len() / inputs;
    let each_row: Vec<Input> = (0..rows)
        .map(|row| Input {
            x: row * inputs,
            weight: row * outputs,
        })
        .collect();
    if !found.is_empty() {
        found
            .par_chunks_mut(LINES * outputs)
            .with_min_len(least(LINES * outputs * rows))
            .enumerate()
            .for_each(|(i, out)| {
                out.fill(0.0);
                let starts: Vec<usize> = (i * LINES..).take(out.len() / outputs).collect();
                Product {
                    x,
                    starts: &starts,
                    inputs: &each_row,
                    weight: gradient,
                    out,
                    across: outputs,
                    outputs,
                }
                .add();
            });
    }
    found
}

/// Columns of a matrix, whose lines lie `across` apart, as lines of `inputs` values.
fn turn(weight: &[f32], across: usize, turned: &mut [f32], inputs: usize) {
    for (at, weight) in weight.chunks(across).enumerate() {
        let values = turned[at..].iter_mut().step_by(inputs);
        std::iter::zip(values, weight).for_each(|(to, from)| *to = *from);
    }
}
