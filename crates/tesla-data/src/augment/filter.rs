//! Blur, noise and erased rectangles.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::config::Erase;
use super::geometry::within;

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

/// The normal distribution's quantile of `p` in 0..1, to 2e-9 (P. Acklam's rational functions).
fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.38357751867269e2,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    const B: [f64; 6] = [
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 5] =
        [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1.0];
    let sum = |terms: &[f64], x: f64| terms.iter().fold(0.0, |sum, term| sum * x + term);
    let tail = |p: f64| {
        let q = (-2.0 * p.ln()).sqrt();
        sum(&C, q) / sum(&D, q)
    };
    if p < 0.02425 {
        tail(p)
    } else if p > 1.0 - 0.02425 {
        -tail(1.0 - p)
    } else {
        let q = p - 0.5;
        sum(&A, q * q) * q / sum(&B, q * q)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_the_normal_distribution() {
        for (p, expected) in [(0.5, 0.0), (0.975, 1.959963984540054), (0.001, -3.090232306167813)] {
            assert!((normal_quantile(p) - expected).abs() < 1e-8, "{p}");
        }
    }
}
