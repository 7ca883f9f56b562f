//! Images blended with others of their batch: mixup (Zhang et al., 2017) and CutMix (Yun et al.,
//! 2019).

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

/// How the images of one batch are mixed. The loss of row `i` is
/// `lambda[i] loss(y[i]) + (1 - lambda[i]) loss(y[partner[i]])`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// The place in the batch of the image that each one is mixed with: the one before it.
    pub partner: Vec<usize>,
    /// The share of its own image that each row keeps, in 0..=1.
    pub lambda: Vec<f32>,
    /// Top, left, bottom and right of the part that shows the partner; none where all of the two
    /// images are blended.
    pub boxes: Option<Vec<[usize; 4]>>,
}

impl Mix {
    pub(super) fn mixup(alpha: f64, rngs: &mut [ChaCha8Rng]) -> Self {
        Self {
            partner: partners(rngs.len()),
            lambda: rngs.iter_mut().map(|rng| beta(alpha, rng) as f32).collect(),
            boxes: None,
        }
    }

    pub(super) fn cutmix(alpha: f64, height: usize, width: usize, rngs: &mut [ChaCha8Rng]) -> Self {
        let boxes: Vec<_> = rngs.iter_mut().map(|rng| cut(alpha, height, width, rng)).collect();
        let area = (height * width) as f64;
        let kept = |[top, left, bottom, right]: &[usize; 4]| {
            (1.0 - ((bottom - top) * (right - left)) as f64 / area) as f32
        };
        Self {
            partner: partners(rngs.len()),
            lambda: boxes.iter().map(kept).collect(),
            boxes: Some(boxes),
        }
    }

    /// Mixes `batch`, `[rows, channels, height, width]` with `width` pixels a row and `area` pixels
    /// in a plane. What does not have that shape stays as it is.
    pub fn apply(&self, batch: &mut [f32], width: usize, area: usize) {
        let size = batch.len() / self.partner.len().max(1);
        if size == 0 || width == 0 || area == 0 {
            return;
        }
        let before = batch.to_vec();
        for (row, image) in batch.chunks_exact_mut(size).enumerate().take(self.partner.len()) {
            let other = &before[self.partner[row] * size..][..size];
            match &self.boxes {
                None => {
                    let own = self.lambda[row];
                    for (p, q) in image.iter_mut().zip(other) {
                        *p = own * *p + (1.0 - own) * q;
                    }
                }
                Some(boxes) => {
                    let [top, left, bottom, right] = boxes[row];
                    let planes = image.chunks_exact_mut(area).zip(other.chunks_exact(area));
                    for (plane, other) in planes {
                        let lines = plane.chunks_exact_mut(width).zip(other.chunks_exact(width));
                        for (line, other) in lines.take(bottom).skip(top) {
                            line[left..right].copy_from_slice(&other[left..right]);
                        }
                    }
                }
            }
        }
    }
}

/// The image before each one; batches are shuffled, so that is any.
fn partners(rows: usize) -> Vec<usize> {
    (0..rows).map(|row| (row + rows - 1) % rows).collect()
}

/// A rectangle about any point whose share is drawn, cut off at the image's edges.
fn cut(alpha: f64, height: usize, width: usize, rng: &mut ChaCha8Rng) -> [usize; 4] {
    let half = 0.5 * (1.0 - beta(alpha, rng)).sqrt();
    let mut side = |length: usize| {
        let middle = rng.random_range(0..length);
        let reach = (half * length as f64) as usize;
        (middle.saturating_sub(reach), (middle + reach).min(length))
    };
    let (left, right) = side(width);
    let (top, bottom) = side(height);
    [top, left, bottom, right]
}

/// A draw from Beta(alpha, alpha).
fn beta(alpha: f64, rng: &mut ChaCha8Rng) -> f64 {
    // In logarithms, because draws for a small alpha are smaller than any number.
    let (x, y) = (ln_gamma_draw(alpha, rng), ln_gamma_draw(alpha, rng));
    1.0 / (1.0 + (y - x).exp())
}

/// The logarithm of a draw from Gamma(shape, 1): Marsaglia and Tsang, 2000.
fn ln_gamma_draw(shape: f64, rng: &mut ChaCha8Rng) -> f64 {
    let d = shape.max(1.0) - 1.0 / 3.0 + f64::from(shape < 1.0) * shape;
    let c = 1.0 / (9.0 * d).sqrt();
    let drawn = loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && open_unit(rng).ln() < 0.5 * x * x + d * (1.0 - v + v.ln()) {
            break (d * v).ln();
        }
    };
    match shape < 1.0 {
        true => drawn + open_unit(rng).ln() / shape,
        false => drawn,
    }
}

/// Box and Muller, 1958.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * open_unit(rng).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

/// A number above 0 and up to 1.
fn open_unit(rng: &mut ChaCha8Rng) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
}
