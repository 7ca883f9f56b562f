//! Max-pooling over images whose pixels hold their channels side by side, or plane by plane.

use pulp::Arch;
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

    /// How far each pixel of a window lies from its first.
    fn offsets(&self) -> Vec<usize> {
        let pixel = |number: usize| number / self.side * self.size[1] + number % self.side;
        (0..self.side * self.side)
            .map(|number| pixel(number) * self.channels)
            .collect()
    }

    /// Where each window begins, in order.
    fn starts(&self) -> impl Iterator<Item = usize> {
        let Window {
            size: [_, across],
            channels,
            side,
        } = *self;
        let [height, width] = self.pooled();
        (0..height).flat_map(move |y| (0..width).map(move |x| (y * across + x) * side * channels))
    }
}

/// Channels that are worked on together, so that the compiler keeps them in vector registers.
const LANES: usize = 16;

/// The largest value of each window, then ReLU where it is asked for, pixel by pixel. `chosen` gets the number
/// of the pixel that held it, the first of several, or [`CLOSED`].
pub(super) fn forward(
    window: &Window,
    values: &[f32],
    relu: bool,
    out: &mut [f32],
    chosen: &mut [u8],
) {
    let (channels, offsets) = (window.channels, window.offsets());
    let pixels = std::iter::zip(out.chunks_exact_mut(channels), chosen.chunks_exact_mut(channels));
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (start, (out, chosen)) in window.starts().zip(pixels) {
                let values = &values[start..];
                let mut channel = 0;
                while channel + LANES <= channels {
                    largest::<LANES>(channel, &offsets, values, relu, out, chosen);
                    channel += LANES;
                }
                for channel in channel..channels {
                    largest::<1>(channel, &offsets, values, relu, out, chosen);
                }
            }
        },
    );
}

/// [`forward`] for `N` channels of one window.
#[inline(always)]
// One lane in all arrays at a time: what the compiler makes vectors of.
#[allow(clippy::needless_range_loop)]
fn largest<const N: usize>(
    channel: usize,
    offsets: &[usize],
    values: &[f32],
    relu: bool,
    out: &mut [f32],
    chosen: &mut [u8],
) {
    let lanes = |values: &[f32]| -> [f32; N] { std::array::from_fn(|lane| values[lane]) };
    let mut best = lanes(&values[channel..channel + N]);
    let mut found = [0u32; N];
    for (number, offset) in (0..).zip(offsets).skip(1) {
        let values = lanes(&values[offset + channel..offset + channel + N]);
        for lane in 0..N {
            // A value that is no number stays, so that training notices it.
            let better = (values[lane] > best[lane]) | values[lane].is_nan();
            best[lane] = if better { values[lane] } else { best[lane] };
            found[lane] = if better { number } else { found[lane] };
        }
    }
    for lane in 0..N {
        let closed = relu & (best[lane] <= 0.0);
        best[lane] = if closed { 0.0 } else { best[lane] };
        found[lane] = if closed {
            u32::from(CLOSED)
        } else {
            found[lane]
        };
    }
    out[channel..channel + N].copy_from_slice(&best);
    chosen[channel..channel + N].copy_from_slice(&found.map(|number| number as u8));
}

/// Brings gradients to the pixels that were chosen; all others get 0. Adds those of each channel to
/// its sum, the gradient of the bias.
pub(super) fn backward(
    window: &Window,
    gradient: &[f32],
    chosen: &[u8],
    out: &mut [f32],
    sums: &mut [f32],
) {
    let (channels, offsets) = (window.channels, window.offsets());
    if window.pooled().map(|side| side * window.side) != window.size {
        out.fill(0.0);
    }
    let pixels = std::iter::zip(gradient.chunks_exact(channels), chosen.chunks_exact(channels));
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (start, (gradient, chosen)) in window.starts().zip(pixels) {
                let out = &mut out[start..];
                let mut channel = 0;
                while channel + LANES <= channels {
                    spread::<LANES>(channel, &offsets, gradient, chosen, out, sums);
                    channel += LANES;
                }
                for channel in channel..channels {
                    spread::<1>(channel, &offsets, gradient, chosen, out, sums);
                }
            }
        },
    );
}

/// [`backward`] for `N` channels of one window.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
fn spread<const N: usize>(
    channel: usize,
    offsets: &[usize],
    gradient: &[f32],
    chosen: &[u8],
    out: &mut [f32],
    sums: &mut [f32],
) {
    let gradient = &gradient[channel..channel + N];
    let gradient: [f32; N] = std::array::from_fn(|lane| gradient[lane]);
    let chosen = &chosen[channel..channel + N];
    let chosen: [u32; N] = std::array::from_fn(|lane| u32::from(chosen[lane]));
    for (number, offset) in (0..).zip(offsets) {
        let mut open = [0.0; N];
        for lane in 0..N {
            open[lane] = if chosen[lane] == number {
                gradient[lane]
            } else {
                0.0
            };
        }
        out[offset + channel..offset + channel + N].copy_from_slice(&open);
    }
    let sums = &mut sums[channel..channel + N];
    let mut open: [f32; N] = std::array::from_fn(|lane| sums[lane]);
    for lane in 0..N {
        let closed = chosen[lane] == u32::from(CLOSED);
        open[lane] += if closed { 0.0 } else { gradient[lane] };
    }
    sums.copy_from_slice(&open);
}

/// Pooling of planes: as [`forward`] for images of one channel, without ReLU.
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
                forward(window, values, false, out, chosen);
            });
    }
    (out, chosen)
}

/// The gradient of [`forward_planes`].
pub(super) fn backward_planes(
    window: &Window,
    planes: usize,
    gradient: &[f32],
    chosen: &[u8],
) -> Vec<f32> {
    let (area, pooled) = (window.size[0] * window.size[1], window.pooled_len());
    let mut out = vec![0.0; planes * area];
    if pooled > 0 {
        out.par_chunks_mut(area)
            .zip(gradient.par_chunks(pooled))
            .zip(chosen.par_chunks(pooled))
            .with_min_len(16)
            .for_each(|((out, gradient), chosen)| {
                backward(window, gradient, chosen, out, &mut [0.0])
            });
    }
    out
}
