//! Changes of colour. Each is torchvision's of the same name on 8-bit pixels.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::config::{ColourJitter, MAGNITUDES, RandAugment};
use super::geometry::{Geometry, Map, within};

/// One change of an image's colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Colour {
    /// Multiplies every pixel.
    Brightness(f32),
    /// 0 is the image's mean grey, 1 the image.
    Contrast(f32),
    /// 0 is the image in grey, 1 the image.
    Saturation(f32),
    /// Turns the hue; 1 is the whole circle.
    Hue(f32),
    /// 0 is the image smoothed, 1 the image.
    Sharpness(f32),
    /// Keeps this many bits of each pixel.
    Posterize(u32),
    /// Inverts the pixels from this value on.
    Solarize(f32),
    /// Stretches each channel to the whole range.
    AutoContrast,
    /// Spreads each channel's values evenly.
    Equalize,
}

impl Colour {
    /// Changes `image`, whose planes have `width` pixels a row and `area` pixels in all.
    pub(super) fn apply(self, image: &mut [u8], width: usize, area: usize) {
        match self {
            Colour::Brightness(factor) => {
                for pixel in image {
                    *pixel = (f32::from(*pixel) * factor) as u8;
                }
            }
            Colour::Contrast(factor) => {
                let add = mean_grey(image, area) * (1.0 - factor);
                for pixel in image {
                    *pixel = (f32::from(*pixel) * factor + add) as u8;
                }
            }
            Colour::Saturation(factor) => saturation(image, area, factor),
            Colour::Hue(turn) => hue(image, area, turn),
            Colour::Sharpness(factor) => {
                image.chunks_exact_mut(area).for_each(|p| sharpness(p, width, factor));
            }
            Colour::Posterize(bits) => {
                let mask = (0xff00_u32 >> bits.min(8)) as u8;
                image.iter_mut().for_each(|p| *p &= mask);
            }
            Colour::Solarize(threshold) => {
                for pixel in image.iter_mut().filter(|p| f32::from(**p) >= threshold) {
                    *pixel = 255 - *pixel;
                }
            }
            Colour::AutoContrast => image.chunks_exact_mut(area).for_each(stretch),
            Colour::Equalize => image.chunks_exact_mut(area).for_each(equalize),
        }
    }
}

/// The three planes of a coloured image.
fn colours(image: &mut [u8], area: usize) -> Option<[&mut [u8]; 3]> {
    let (r, rest) = image.split_at_mut(area);
    let (g, b) = rest.split_at_mut_checked(area)?;
    (!b.is_empty()).then_some([r, g, b])
}

/// Torchvision's grey of an 8-bit pixel: a whole number.
fn grey(r: u8, g: u8, b: u8) -> u8 {
    (f32::from(r) * 0.2989 + f32::from(g) * 0.587 + f32::from(b) * 0.114) as u8
}

fn mean_grey(image: &mut [u8], area: usize) -> f32 {
    let sum: u64 = match colours(image, area) {
        Some([r, g, b]) => r
            .iter()
            .zip(g)
            .zip(b)
            .map(|((r, g), b)| u64::from(grey(*r, *g, *b)))
            .sum(),
        None => image.iter().map(|p| u64::from(*p)).sum(),
    };
    (sum as f64 / area as f64) as f32
}

fn saturation(image: &mut [u8], area: usize, factor: f32) {
    let Some([r, g, b]) = colours(image, area) else {
        return;
    };
    for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
        let add = f32::from(grey(*r, *g, *b)) * (1.0 - factor);
        *r = (f32::from(*r) * factor + add) as u8;
        *g = (f32::from(*g) * factor + add) as u8;
        *b = (f32::from(*b) * factor + add) as u8;
    }
}

/// Hue, saturation and value of each pixel; the hue turned; and back.
fn hue(image: &mut [u8], area: usize, turn: f32) {
    let Some([red, green, blue]) = colours(image, area) else {
        return;
    };
    let turn = (turn * 6.0).rem_euclid(6.0);
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        let [r, g, b] = [f32::from(*red), f32::from(*green), f32::from(*blue)];
        let most = r.max(g).max(b);
        let range = most - r.min(g).min(b);
        let scale = 1.0 / range.max(1.0);
        // In sixths of the circle: -1 to 5.
        let at = match (most == r, most == g) {
            (true, _) => (g - b) * scale,
            (false, true) => 2.0 + (b - r) * scale,
            (false, false) => 4.0 + (r - g) * scale,
        };
        // A channel falls by the range within one sixth and stays low for two.
        let channel = |n: f32| {
            let k = at + turn + n;
            let k = k - if k >= 12.0 { 12.0 } else { 0.0 };
            let k = k - if k >= 6.0 { 6.0 } else { 0.0 };
            let low = k.min(4.0 - k).clamp(0.0, 1.0);
            ((most - range * low) * (255.999 / 255.0)) as u8
        };
        *red = channel(5.0);
        *green = channel(3.0);
        *blue = channel(1.0);
    }
}

fn sharpness(plane: &mut [u8], width: usize, factor: f32) {
    let height = plane.len() / width;
    if width <= 2 || height <= 2 {
        return;
    }
    let image = plane.to_vec();
    for y in 1..height - 1 {
        let [above, row, below] = [y - 1, y, y + 1].map(|y| &image[y * width..][..width]);
        let out = &mut plane[y * width..][..width];
        for x in 1..width - 1 {
            let sum =
                |row: &[u8]| -> u32 { row[x - 1..=x + 1].iter().map(|p| u32::from(*p)).sum() };
            let sum = sum(above) + sum(row) + sum(below) + 4 * u32::from(row[x]);
            let smooth = ((sum * 2 + 13) / 26) as f32;
            let pixel = f32::from(row[x]);
            out[x] = (pixel + (1.0 - factor) * (smooth - pixel)) as u8;
        }
    }
}

fn stretch(plane: &mut [u8]) {
    let (least, most) = plane.iter().fold((255, 0), |(l, m), p| (*p.min(&l), *p.max(&m)));
    if least >= most {
        return;
    }
    let scale = f32::from(most - least) * (1.0 / 255.0);
    for pixel in plane {
        *pixel = (f32::from(*pixel - least) / scale) as u8;
    }
}

fn equalize(plane: &mut [u8]) {
    let mut counts = [0_usize; 256];
    plane.iter().for_each(|p| counts[*p as usize] += 1);
    let highest = counts.iter().rev().find(|n| **n > 0).copied().unwrap_or(0);
    let step = (plane.len() - highest) / 255;
    if step == 0 {
        return;
    }
    let mut below = 0;
    let table = counts.map(|n| {
        let value = ((below + step / 2) / step).min(255) as u8;
        below += n;
        value
    });
    plane.iter_mut().for_each(|p| *p = table[*p as usize]);
}

/// The changes that `config` makes this time, in the order it makes them.
pub(super) fn jitter(config: &ColourJitter, rng: &mut ChaCha8Rng, out: &mut Vec<Colour>) {
    let first = out.len();
    let mut factor = |by: f64, change: fn(f32) -> Colour| {
        if by > 0.0 {
            let factor = within(rng, [(1.0 - by).max(0.0), 1.0 + by]);
            out.push(change(factor as f32));
        }
    };
    factor(config.brightness, Colour::Brightness);
    factor(config.contrast, Colour::Contrast);
    factor(config.saturation, Colour::Saturation);
    if config.hue > 0.0 {
        let turn = within(rng, [-config.hue, config.hue]);
        out.push(Colour::Hue(turn as f32));
    }
    out[first..].shuffle(rng);
}

/// Draws RandAugment's operations. Those that move pixels go into `geometry`, so that all of them
/// are one resampling, ahead of those that change colours.
pub(super) fn randaugment(
    config: &RandAugment,
    geometry: &mut Geometry,
    rng: &mut ChaCha8Rng,
    out: &mut Vec<Colour>,
) {
    let strength = f64::from(config.magnitude) / f64::from(MAGNITUDES);
    for _ in 0..config.count {
        let operation = rng.random_range(0..14);
        let sign = if rng.random() { 1.0 } else { -1.0 };
        let factor = (1.0 + sign * 0.9 * strength) as f32;
        let shear = (sign * 0.3 * strength).atan().to_degrees();
        let move_by = |side: f64| (sign * 150.0 / 331.0 * strength * side).trunc();
        let [half_width, half_height] = geometry.centre();
        match operation {
            0 => {}
            1 => geometry.transform(&Map::affine(0.0, [0.0; 2], 1.0, [shear, 0.0], [0.0; 2])),
            2 => geometry.transform(&Map::affine(0.0, [0.0; 2], 1.0, [0.0, shear], [0.0; 2])),
            3 => geometry.shift(move_by(2.0 * half_width), 0.0),
            4 => geometry.shift(0.0, move_by(2.0 * half_height)),
            5 => geometry.rotate(sign * 30.0 * strength),
            6 => out.push(Colour::Brightness(factor)),
            7 => out.push(Colour::Saturation(factor)),
            8 => out.push(Colour::Contrast(factor)),
            9 => out.push(Colour::Sharpness(factor)),
            10 => out.push(Colour::Posterize(8 - (4.0 * strength).round_ties_even() as u32)),
            11 => out.push(Colour::Solarize((255.0 * (1.0 - strength)) as f32)),
            12 => out.push(Colour::AutoContrast),
            _ => out.push(Colour::Equalize),
        }
    }
}
