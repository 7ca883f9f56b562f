//! A linear layer and its gradients, as products of rows.
//!
//! A single row is bound by reading the weights, so those of an input that is 0 in all rows of a tile are
//! not read, as most are where categories and words are inputs. A sum over rows goes through them in order:
//! the same at any number of threads.

use rayon::prelude::*;

use super::product::{Input, Product};

/// Rows that go over the weights together.
const TILE: usize = 16;
/// Lines of a weight's gradient that a thread takes at a time.
const LINES: usize = 48;

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
    // Where all inputs are 0, nothing is added: what would then make 0 of -0 is done here.
    let bias: Vec<f32> = bias.iter().map(|bias| bias + 0.0).collect();
    let mut out = bias.repeat(rows);
    if out.is_empty() {
        return out;
    }
    let inputs = weight.len() / outputs;
    let tile = |(i, out): (usize, &mut [f32])| {
        let x = &x[i * TILE * inputs..][..out.len() / outputs * inputs];
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
        if relu {
            // What is no number stays, so that it is noticed.
            out.iter_mut()
                .for_each(|value| *value = if *value <= 0.0 { 0.0 } else { *value });
        }
    };
    match rows <= TILE {
        true => tile((0, &mut out)),
        false => out.par_chunks_mut(TILE * outputs).enumerate().for_each(tile),
    }
    out
}

/// The inputs that are not 0 in all rows.
fn used(x: &[f32], inputs: usize, outputs: usize) -> Vec<Input> {
    let mut is_used = vec![false; inputs];
    for row in x.chunks_exact(inputs) {
        for (is_used, x) in std::iter::zip(&mut is_used, row) {
            *is_used |= *x != 0.0;
        }
    }
    // Without a branch, which would be guessed wrong half of the time.
    let (mut used, mut count) = (vec![Input { x: 0, weight: 0 }; inputs], 0);
    for (i, is_used) in is_used.into_iter().enumerate() {
        used[count] = Input {
            x: i,
            weight: i * outputs,
        };
        count += usize::from(is_used);
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

/// The gradients from that of the output before its ReLU, `[rows, outputs]`.
pub(super) fn backward(
    x: &[f32],
    rows: usize,
    weight: &[f32],
    gradient: &[f32],
    wants_x: bool,
) -> Gradients {
    let outputs = gradient.len().checked_div(rows).unwrap_or(0);
    let inputs = x.len().checked_div(rows).unwrap_or(0);
    let mut of_weight = vec![0.0; weight.len()];
    let mut bias = vec![0.0; outputs];
    if outputs == 0 || inputs == 0 {
        return Gradients {
            x: wants_x.then(|| vec![0.0; x.len()]),
            weight: of_weight,
            bias,
        };
    }
    let each_row: Vec<Input> = (0..rows)
        .map(|row| Input {
            x: row * inputs,
            weight: row * outputs,
        })
        .collect();
    of_weight
        .par_chunks_mut(LINES * outputs)
        .enumerate()
        .for_each(|(i, out)| {
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
    for gradient in gradient.chunks_exact(outputs) {
        std::iter::zip(&mut bias, gradient).for_each(|(sum, g)| *sum += g);
    }
    let x = wants_x.then(|| {
        let mut turned = vec![0.0; weight.len()];
        turned
            .par_chunks_mut(TILE * inputs)
            .enumerate()
            .for_each(|(i, turned)| turn(&weight[i * TILE..], outputs, turned, inputs));
        forward(gradient, rows, &turned, &vec![0.0; inputs], false)
    });
    Gradients {
        x,
        weight: of_weight,
        bias,
    }
}

/// Columns of a matrix, whose lines lie `across` apart, as lines of `inputs` values.
fn turn(weight: &[f32], across: usize, turned: &mut [f32], inputs: usize) {
    for (at, weight) in weight.chunks(across).enumerate() {
        let values = turned[at..].iter_mut().step_by(inputs);
        std::iter::zip(values, weight).for_each(|(to, from)| *to = *from);
    }
}
