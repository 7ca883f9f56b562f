//! Max-pooling over images whose pixels hold their channels side by side, or plane by plane.

use rayon::prelude::*;

/// Says of a value that ReLU closed it: no gradient goes through.
pub(super) const CLOSED: u8 = u8::MAX;

/// Square windows over an image, side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) size: [usize; 2],
    pub(super) channels: usize,
    pub(super) side: usize,
}

impl Window {
    pub(super) fn pooled(&self) -> [usize; 2] {
        self.size.map(|side| side / self.side)
    }

    pub(super) fn pooled_len(&self) -> usize {
        let [height, width] = self.pooled();
        height * width * self.channels
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pooled_len() == 0
    }

    /// Where the pixels of a window begin, by their number in it.
    fn pixel(&self, [y, x]: [usize; 2], number: usize) -> usize {
        let (down, across) = (number / self.side, number % self.side);
        ((y * self.side + down) * self.size[1] + x * self.side + across) * self.channels
    }

    fn pixels(&self) -> usize {
        self.side * self.side
    }
}

/// The largest value of each window plus a bias, then ReLU where it is asked for, pixel by pixel. `chosen`
/// gets the number of the pixel that held it, the first of several, or [`CLOSED`].
pub(super) fn forward(
    window: &Window,
    values: &[f32],
    bias: &[f32],
    relu: bool,
    out: &mut [f32],
    chosen: &mut [u8],
) {
    let (channels, width) = (window.channels, window.pooled()[1]);
    let pixels = std::iter::zip(out.chunks_exact_mut(channels), chosen.chunks_exact_mut(channels));
    for (i, (out, chosen)) in pixels.enumerate() {
        let at = [i / width, i % width];
        out.copy_from_slice(&values[window.pixel(at, 0)..][..channels]);
        chosen.fill(0);
        for number in 1..window.pixels() {
            let values = &values[window.pixel(at, number)..][..channels];
            for ((best, chosen), value) in out.iter_mut().zip(&mut *chosen).zip(values) {
                // A value that is no number stays, so that training notices it.
                let better = *value > *best || value.is_nan();
                *best = if better { *value } else { *best };
                *chosen = if better { number as u8 } else { *chosen };
            }
        }
        for ((out, chosen), bias) in out.iter_mut().zip(chosen).zip(bias) {
            let sum = *out + bias;
            let closed = relu && sum <= 0.0;
            *out = if closed { 0.0 } else { sum };
            *chosen = if closed { CLOSED } else { *chosen };
        }
    }
}

/// Brings gradients to the pixels that were chosen; all others get 0.
pub(super) fn backward(window: &Window, gradient: &[f32], chosen: &[u8], out: &mut [f32]) {
    let (channels, [height, width]) = (window.channels, window.pooled());
    if [height, width].map(|side| side * window.side) != window.size {
        out.fill(0.0);
    }
    let pixels = std::iter::zip(gradient.chunks_exact(channels), chosen.chunks_exact(channels));
    for (i, (gradient, chosen)) in pixels.enumerate() {
        for number in 0..window.pixels() {
            let out = &mut out[window.pixel([i / width, i % width], number)..][..channels];
            for ((out, gradient), chosen) in out.iter_mut().zip(gradient).zip(chosen) {
                *out = if *chosen == number as u8 { *gradient } else { 0.0 };
            }
        }
    }
}

/// Adds the gradients that are not closed to the sum of their channel.
pub(super) fn add_open(gradient: &[f32], chosen: &[u8], channels: usize, sums: &mut [f32]) {
    let pixels = std::iter::zip(gradient.chunks_exact(channels), chosen.chunks_exact(channels));
    for (gradient, chosen) in pixels {
        for ((sum, gradient), chosen) in sums.iter_mut().zip(gradient).zip(chosen) {
            *sum += if *chosen == CLOSED { 0.0 } else { *gradient };
        }
    }
}

/// Pooling of planes: as [`forward`] for images of one channel, without bias and ReLU.
pub(super) fn forward_planes(window: &Window, values: &[f32]) -> (Vec<f32>, Vec<u8>) {
    let (area, pooled) = (window.size[0] * window.size[1], window.pooled_len());
    let planes = values.len().checked_div(area).unwrap_or(0);
    let (mut out, mut chosen) = (vec![0.0; planes * pooled], vec![0; planes * pooled]);
    if pooled > 0 {
        out.par_chunks_mut(pooled)
            .zip(chosen.par_chunks_mut(pooled))
            .zip(values.par_chunks(area))
            .with_min_len(16)
            .for_each(|((out, chosen), values)| {
                forward(window, values, &[0.0], false, out, chosen);
            });
    }
    (out, chosen)
}

/// The gradient of [`forward_planes`].
pub(super) fn backward_planes(window: &Window, planes: usize, gradient: &[f32], chosen: &[u8]) -> Vec<f32> {
    let (area, pooled) = (window.size[0] * window.size[1], window.pooled_len());
    let mut out = vec![0.0; planes * area];
    if pooled > 0 {
        out.par_chunks_mut(area)
            .zip(gradient.par_chunks(pooled))
            .zip(chosen.par_chunks(pooled))
            .with_min_len(16)
            .for_each(|((out, gradient), chosen)| backward(window, gradient, chosen, out));
    }
    out
}
