//! Resizing: the triangle filter with antialiasing, to the bit as Pillow's `BILINEAR` computes it.

use super::decode::Planes;
use crate::config::Fit;

/// Bits behind the point of a weight.
const BITS: u32 = 22;

/// The image brought to `height` by `width` pixels.
pub(super) fn fit(image: Planes, height: usize, width: usize, fit: Fit) -> Planes {
    if (image.height, image.width) == (height, width) {
        return image;
    }
    let (tall, wide) = match fit {
        Fit::Stretch => (height, width),
        Fit::Cover => scaled(&image, height, width, |height_leads| height_leads),
        Fit::Contain => scaled(&image, height, width, |height_leads| !height_leads),
    };
    let image = resize(image, tall, wide);
    centred(image, height, width)
}

/// The size that keeps the image's proportions and has one side as asked: the height where
/// `choose` says so. It is told whether the height needs the larger scale.
fn scaled(
    image: &Planes,
    height: usize,
    width: usize,
    choose: impl Fn(bool) -> bool,
) -> (usize, usize) {
    let (h, w) = (image.height as u64, image.width as u64);
    let (height, width) = (height as u64, width as u64);
    let (tall, wide) = match choose(height * w >= width * h) {
        true => (height, (w * height / h).max(1)),
        false => ((h * width / w).max(1), width),
    };
    (tall as usize, wide as usize)
}

/// The middle of the image, black where the image does not reach.
fn centred(image: Planes, height: usize, width: usize) -> Planes {
    if (image.height, image.width) == (height, width) {
        return image;
    }
    let mut pixels = vec![0; image.channels * height * width];
    let (top, from_top) = offsets(image.height, height);
    let (left, from_left) = offsets(image.width, width);
    let rows = image.height.min(height);
    let columns = image.width.min(width);
    for channel in 0..image.channels {
        for row in 0..rows {
            let from = (channel * image.height + from_top + row) * image.width + from_left;
            let to = (channel * height + top + row) * width + left;
            pixels[to..to + columns].copy_from_slice(&image.pixels[from..from + columns]);
        }
    }
    Planes {
        height,
        width,
        pixels,
        ..image
    }
}

/// Where the image begins in the frame, and where the frame begins in the image.
fn offsets(image: usize, frame: usize) -> (usize, usize) {
    let cut = image.saturating_sub(frame);
    // Half of an odd number is rounded to an even one, as Python's `round` does.
    let half = cut / 2 + usize::from(cut % 4 == 3);
    (frame.saturating_sub(image) / 2, half)
}

/// The whole image in another size.
pub(super) fn resize(image: Planes, height: usize, width: usize) -> Planes {
    let image = match image.width == width {
        true => image,
        false => across(&image, width),
    };
    match image.height == height {
        true => image,
        false => down(&image, height),
    }
}

fn across(image: &Planes, width: usize) -> Planes {
    let windows = windows(image.width, width);
    let mut pixels = vec![0; image.channels * image.height * width];
    let rows = image.pixels.chunks_exact(image.width);
    for (row, out) in rows.zip(pixels.chunks_exact_mut(width)) {
        for (pixel, (first, weights)) in out.iter_mut().zip(&windows) {
            let seen = &row[*first..*first + weights.len()];
            let sum: i32 = seen.iter().zip(weights).map(|(p, w)| i32::from(*p) * w).sum();
            *pixel = rounded(sum);
        }
    }
    Planes {
        channels: image.channels,
        height: image.height,
        width,
        pixels,
    }
}

fn down(image: &Planes, height: usize) -> Planes {
    let width = image.width;
    let windows = windows(image.height, height);
    let mut pixels = vec![0; image.channels * height * width];
    let mut sums = vec![0; width];
    let planes = image.pixels.chunks_exact(image.height * width);
    for (plane, out) in planes.zip(pixels.chunks_exact_mut(height * width)) {
        for (out, (first, weights)) in out.chunks_exact_mut(width).zip(&windows) {
            sums.fill(0);
            for (row, weight) in plane[first * width..].chunks_exact(width).zip(weights) {
                for (sum, pixel) in sums.iter_mut().zip(row) {
                    *sum += i32::from(*pixel) * weight;
                }
            }
            for (pixel, sum) in out.iter_mut().zip(&sums) {
                *pixel = rounded(*sum);
            }
        }
    }
    Planes {
        channels: image.channels,
        height,
        width,
        pixels,
    }
}

fn rounded(sum: i32) -> u8 {
    ((sum + (1 << (BITS - 1))) >> BITS).clamp(0, 255) as u8
}

/// For each pixel of the new line: the first pixel of the old one that it sees, and the weights of
/// that one and those after it.
fn windows(from: usize, to: usize) -> Vec<(usize, Vec<i32>)> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    let window = |pixel: usize| {
        let centre = (pixel as f64 + 0.5) * scale;
        let first = (centre - reach + 0.5).max(0.0) as usize;
        let last = ((centre + reach + 0.5) as usize).min(from);
        let weights: Vec<f64> = (first..last)
            .map(|x| (1.0 - ((x as f64 - centre + 0.5) / reach).abs()).max(0.0))
            .collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |w: &f64| (w / sum * f64::from(1 << BITS) + 0.5) as i32;
        (first, weights.iter().map(fixed).collect())
    };
    (0..to).map(window).collect()
}
