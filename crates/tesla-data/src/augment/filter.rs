//! Blur, noise and erased rectangles.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::config::Erase;
use super::geometry::within;
use crate::prepare::normal_quantile;

/// Blurs one plane: torchvision's `gaussian_blur`, the kernel cut off at three standard deviations
/// and the image mirrored at its edges.
pub(super) fn blur(plane: &mut [u8], width: usize, sigma: f64) {
    let height = plane.len() / width;
    let across = kernel(sigma, width);
    let down = kernel(sigma, height);
    let mut lines = vec![0.0_f32; plane.len()];
    let mut padded = vec![0.0_f32; width + across.len() - 1];
    for (row, line) in plane.chunks_exact(width).zip(lines.chunks_exact_mut(width)) {
        for (i, value) in padded.iter_mut().enumerate() {
            *value = f32::from(row[mirrored(i, across.len() / 2, width)]);
        }
        for (weight, seen) in across.iter().zip(padded.windows(width)) {
            line.iter_mut().zip(seen).for_each(|(sum, p)| *sum += p * weight);
        }
    }
    let mut sums = vec![0.0_f32; width];
    for (y, row) in plane.chunks_exact_mut(width).enumerate() {
        sums.fill(0.5);
        for (i, weight) in down.iter().enumerate() {
            let seen = &lines[mirrored(y + i, down.len() / 2, height) * width..][..width];
            sums.iter_mut().zip(seen).for_each(|(sum, p)| *sum += p * weight);
        }
        row.iter_mut().zip(&sums).for_each(|(p, sum)| *p = *sum as u8);
    }
}

/// The weights of a Gaussian kernel that a line of `side` pixels can be mirrored for.
fn kernel(sigma: f64, side: usize) -> Vec<f32> {
    let reach = ((3.0 * sigma).ceil() as usize).min(side - 1);
    let at = |i: usize| (-0.5 * ((i as f64 - reach as f64) / sigma).powi(2)).exp();
    let weights: Vec<f64> = (0..=2 * reach).map(at).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|w| (w / sum) as f32).collect()
}

/// The pixel that stands at place `i` of a line with `pad` mirrored pixels at each end.
fn mirrored(i: usize, pad: usize, side: usize) -> usize {
    let from = i.abs_diff(pad);
    from.min((2 * (side - 1)).saturating_sub(from))
}

/// What noise adds to a pixel, by 12 bits of chance: the middles of 4096 equally likely parts of a
/// normal distribution.
pub(super) struct Noise(Vec<i16>);

impl Noise {
    const BITS: u32 = 12;

    pub(super) fn new(sigma: f64) -> Self {
        let parts = 1 << Self::BITS;
        let value = |i: u32| normal_quantile((f64::from(i) + 0.5) / f64::from(parts));
        Self(
            (0..parts)
                .map(|i| (value(i) * sigma * 255.0).round() as i16)
                .collect(),
        )
    }

    pub(super) fn apply(&self, image: &mut [u8], rng: &mut ChaCha8Rng) {
        for pixels in image.chunks_mut(5) {
            let mut bits = rng.next_u64();
            for pixel in pixels {
                let added = self.0[(bits & ((1 << Self::BITS) - 1)) as usize];
                *pixel = (i16::from(*pixel) + added).clamp(0, 255) as u8;
                bits >>= Self::BITS;
            }
        }
    }
}

/// Blackens one rectangle, or none: torchvision's `RandomErasing`.
pub(super) fn erase(
    config: &Erase,
    image: &mut [u8],
    height: usize,
    width: usize,
    rng: &mut ChaCha8Rng,
) {
    if rng.random::<f64>() >= config.p {
        return;
    }
    let area = (height * width) as f64;
    let [least, most] = config.ratio;
    for _ in 0..10 {
        let area = area * within(rng, config.scale);
        let ratio = within(rng, [least.ln(), most.ln()]).exp();
        let tall = (area * ratio).sqrt().round_ties_even() as usize;
        let wide = (area / ratio).sqrt().round_ties_even() as usize;
        if tall < height && wide < width {
            let top = rng.random_range(0..=height - tall);
            let left = rng.random_range(0..=width - wide);
            for plane in image.chunks_exact_mut(height * width) {
                for row in plane.chunks_exact_mut(width).skip(top).take(tall) {
                    row[left..left + wide].fill(0);
                }
            }
            return;
        }
    }
}
