//! Batch normalisation of images whose pixels hold their channels side by side, with the ReLU and the
//! max-pooling behind it: two passes to look, one to write, and two on the way back.
//!
//! Sums are taken over runs whose length depends on the shapes alone, in 32 bits, and over the runs in
//! order, in 64 bits: the same at any number of threads.

use rayon::prelude::*;

use super::pool::{self, Window};

/// What is normalised, and what follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) images: usize,
    /// The windows of the pooling, of side 1 where there is none.
    pub(super) window: Window,
    pub(super) relu: bool,
}

impl Shape {
    /// Values of an image.
    fn len(&self) -> usize {
        self.window.size[0] * self.window.size[1] * self.window.channels
    }

    fn pixels(&self) -> usize {
        self.images * self.window.size[0] * self.window.size[1]
    }
}

/// Values that a sum in 32 bits goes over, for all channels together.
const RUN: usize = 1 << 14;
/// Values that make it worth another thread.
const SHARE: usize = 1 << 14;

/// Mean and variance (over the count, not one less) of each channel.
pub(super) fn statistics(shape: &Shape, values: &[f32]) -> [Vec<f32>; 2] {
    let channels = shape.window.channels;
    let run = (RUN / channels).max(1) * channels;
    let count = shape.pixels() as f64;
    let means = |add: &(dyn Fn(&mut [f32], &[f32]) + Sync)| -> Vec<f32> {
        let of_run = |run: &[f32]| {
            let mut sums = vec![0.0; channels];
            run.chunks_exact(channels).for_each(|pixel| add(&mut sums, pixel));
            sums
        };
        let sums: Vec<Vec<f32>> = values.par_chunks(run).map(of_run).collect();
        total(channels, &sums)
            .iter()
            .map(|sum| (sum / count) as f32)
            .collect()
    };
    let mean = means(&|sums, pixel| {
        for (sum, x) in std::iter::zip(sums, pixel) {
            *sum += x;
        }
    });
    let variance = means(&|sums, pixel| {
        for ((sum, x), mean) in sums.iter_mut().zip(pixel).zip(&mean) {
            *sum += (x - mean) * (x - mean);
        }
    });
    [mean, variance]
}

fn total(channels: usize, parts: &[Vec<f32>]) -> Vec<f64> {
    let mut sums = vec![0.0; channels];
    for part in parts {
        std::iter::zip(&mut sums, part).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    sums
}

/// `scale x + shift` of each channel, then ReLU and pooling. The second of what it gives says which pixel
/// of a window was the largest, for the way back.
pub(super) fn forward(
    shape: &Shape,
    values: &[f32],
    scale: &[f32],
    shift: &[f32],
) -> (Vec<f32>, Vec<u8>) {
    let (len, pooled) = (shape.len(), shape.window.pooled_len());
    let mut out = vec![0.0; shape.images * pooled];
    let mut chosen = vec![0; shape.images * pooled];
    if pooled > 0 {
        out.par_chunks_mut(pooled)
            .zip(chosen.par_chunks_mut(pooled))
            .zip(values.par_chunks(len))
            .with_min_len(SHARE.div_ceil(len))
            .for_each_init(
                || vec![0.0; len],
                |scaled, ((out, chosen), values)| {
                    let pixels = values.chunks_exact(scale.len());
                    for (scaled, pixel) in scaled.chunks_exact_mut(scale.len()).zip(pixels) {
                        let lines = std::iter::zip(scale, shift);
                        for ((scaled, x), (scale, shift)) in scaled.iter_mut().zip(pixel).zip(lines)
                        {
                            *scaled = x * scale + shift;
                        }
                    }
                    pool::forward(&shape.window, scaled, shape.relu, out, chosen);
                },
            );
    }
    (out, chosen)
}

/// The gradients of the values, of the factors `gamma` and of what is added, given that of the output.
/// `inverse` is one over the standard deviation.
pub(super) fn backward(
    shape: &Shape,
    values: &[f32],
    [gamma, mean, inverse]: [&[f32]; 3],
    gradient: &[f32],
    chosen: &[u8],
) -> [Vec<f32>; 3] {
    let (len, pooled, channels) = (shape.len(), shape.window.pooled_len(), gamma.len());
    let mut found = vec![0.0; shape.images * len];
    if pooled == 0 {
        return [found, vec![0.0; channels], vec![0.0; channels]];
    }
    let least = SHARE.div_ceil(len);
    let sums: Vec<[Vec<f32>; 2]> = found
        .par_chunks_mut(len)
        .zip(values.par_chunks(len))
        .zip(gradient.par_chunks(pooled).zip(chosen.par_chunks(pooled)))
        .with_min_len(least)
        .map(|((found, values), (gradient, chosen))| {
            let (mut plain, mut turned) = (vec![0.0; channels], vec![0.0; channels]);
            pool::backward(&shape.window, gradient, chosen, found, &mut plain);
            let pixels = found.chunks_exact(channels).zip(values.chunks_exact(channels));
            for (gradient, pixel) in pixels {
                for (((sum, g), x), mean) in turned.iter_mut().zip(gradient).zip(pixel).zip(mean) {
                    *sum += g * (x - mean);
                }
            }
            [plain, turned]
        })
        .collect();
    let (plain, turned): (Vec<_>, Vec<_>) = sums.into_iter().map(|[a, b]| (a, b)).unzip();
    let (of_shift, turned) = (total(channels, &plain), total(channels, &turned));
    let of_gamma: Vec<f64> = std::iter::zip(turned, inverse)
        .map(|(sum, i)| sum * f64::from(*i))
        .collect();
    // dx = gamma / deviation * (dy - mean(dy) - x̂ mean(dy x̂)) is `a dy + b x + c` per channel.
    let count = shape.pixels() as f64;
    let of_channel = |c: usize| {
        let inverse = f64::from(inverse[c]);
        let a = f64::from(gamma[c]) * inverse;
        let b = -a * inverse * of_gamma[c] / count;
        [a, b, -a * of_shift[c] / count - b * f64::from(mean[c])].map(|v| v as f32)
    };
    let factors: Vec<[f32; 3]> = (0..channels).map(of_channel).collect();
    let [a, b, c] = [0, 1, 2].map(|i| factors.iter().map(|f| f[i]).collect::<Vec<f32>>());
    found
        .par_chunks_mut(len)
        .zip(values.par_chunks(len))
        .with_min_len(least)
        .for_each(|(found, values)| {
            let pixels = found.chunks_exact_mut(channels).zip(values.chunks_exact(channels));
            for (found, pixel) in pixels {
                let factors = a.iter().zip(&b).zip(&c);
                for ((g, x), ((a, b), c)) in found.iter_mut().zip(pixel).zip(factors) {
                    *g = a * *g + b * x + c;
                }
            }
        });
    let narrow = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect();
    [found, narrow(of_gamma), narrow(of_shift)]
}

/// Planes of channels as pixels that hold their channels side by side.
pub(super) fn by_pixels(planes: &[f32], channels: usize, area: usize) -> Vec<f32> {
    let mut out = vec![0.0; planes.len()];
    if area > 0 && channels > 0 {
        out.par_chunks_mut(channels * area)
            .zip(planes.par_chunks(channels * area))
            .for_each(|(out, planes)| {
                for (channel, plane) in planes.chunks_exact(area).enumerate() {
                    for (pixel, x) in plane.iter().enumerate() {
                        out[pixel * channels + channel] = *x;
                    }
                }
            });
    }
    out
}
