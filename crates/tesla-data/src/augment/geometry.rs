//! Where pixels come from: all moves of an image composed into one map, and one resampling.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::config::{Affine, ResizedCrop};

/// A linear map from a place in the result to the place in the source it shows:
/// `(a x + b y + c, d x + e y + f)`. Pixel `i` reaches from `i` to `i + 1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Map {
    pub(super) a: f64,
    pub(super) b: f64,
    pub(super) c: f64,
    pub(super) d: f64,
    pub(super) e: f64,
    pub(super) f: f64,
}

impl Map {
    const IDENTITY: Map = Map {
        a: 1.0,
        b: 0.0,
        c: 0.0,
        d: 0.0,
        e: 1.0,
        f: 0.0,
    };

    /// The inverse of turning by `degrees` (clockwise), magnifying by `scale`, shearing by `shear`
    /// degrees and then moving by `shift`, all about `centre`. Torchvision's formula.
    pub(super) fn affine(
        degrees: f64,
        shift: [f64; 2],
        scale: f64,
        shear: [f64; 2],
        centre: [f64; 2],
    ) -> Self {
        let rotation = degrees.to_radians();
        let [sx, sy] = shear.map(f64::to_radians);
        let a = (rotation - sy).cos() / sy.cos();
        let b = -(a * sx.tan() + rotation.sin());
        let c = (rotation - sy).sin() / sy.cos();
        let d = rotation.cos() - c * sx.tan();
        let inverse = [d / scale, -b / scale, -c / scale, a / scale];
        let [x, y] = [centre[0] + shift[0], centre[1] + shift[1]];
        Map {
            a: inverse[0],
            b: inverse[1],
            c: centre[0] - inverse[0] * x - inverse[1] * y,
            d: inverse[2],
            e: inverse[3],
            f: centre[1] - inverse[2] * x - inverse[3] * y,
        }
    }

    /// First `next`, then this: the way from a result back to the source.
    fn after(&self, next: &Map) -> Self {
        Map {
            a: self.a * next.a + self.b * next.d,
            b: self.a * next.b + self.b * next.e,
            c: self.a * next.c + self.b * next.f + self.c,
            d: self.d * next.a + self.e * next.d,
            e: self.d * next.b + self.e * next.e,
            f: self.d * next.c + self.e * next.f + self.f,
        }
    }
}

/// The moves of one image so far.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    height: usize,
    width: usize,
    map: Map,
    /// Top, left, height and width of the part that is shown, as long as nothing was done that
    /// shows what lies outside: its edge pixels stand in for their neighbours.
    part: Option<[usize; 4]>,
}

impl Geometry {
    pub(super) fn new(height: usize, width: usize) -> Self {
        Self {
            height,
            width,
            map: Map::IDENTITY,
            part: Some([0, 0, height, width]),
        }
    }

    /// The middle of the image.
    pub(super) fn centre(&self) -> [f64; 2] {
        [self.width as f64 / 2.0, self.height as f64 / 2.0]
    }

    /// Shows one part of the untouched image in full size.
    pub(super) fn crop(&mut self, [top, left, height, width]: [usize; 4]) {
        self.map = Map {
            a: width as f64 / self.width as f64,
            c: left as f64,
            e: height as f64 / self.height as f64,
            f: top as f64,
            ..Map::IDENTITY
        };
        self.part = Some([top, left, height, width]);
    }

    pub(super) fn flip_horizontal(&mut self) {
        self.map = self.map.after(&Map {
            a: -1.0,
            c: self.width as f64,
            ..Map::IDENTITY
        });
    }

    pub(super) fn flip_vertical(&mut self) {
        self.map = self.map.after(&Map {
            e: -1.0,
            f: self.height as f64,
            ..Map::IDENTITY
        });
    }

    /// Any other move; what it uncovers is black.
    pub(super) fn transform(&mut self, inverse: &Map) {
        self.map = self.map.after(inverse);
        self.part = None;
    }

    /// Turns counter-clockwise, as torchvision's `rotate` does.
    pub(super) fn rotate(&mut self, degrees: f64) {
        self.transform(&Map::affine(-degrees, [0.0; 2], 1.0, [0.0; 2], self.centre()));
    }

    /// Moves the content by whole pixels, to the right and down.
    pub(super) fn shift(&mut self, x: f64, y: f64) {
        self.transform(&Map {
            c: -x,
            f: -y,
            ..Map::IDENTITY
        });
    }

    /// The image as the moves leave it: planes of `u8`, bilinear.
    pub(super) fn resample(&self, image: &[u8], out: &mut [u8]) {
        if self.map == Map::IDENTITY {
            out.copy_from_slice(image);
        } else if self.map.b == 0.0 && self.map.d == 0.0 {
            self.by_axes(image, out);
        } else {
            self.by_pixels(image, out);
        }
    }

    /// Rows and columns stay rows and columns: first along the rows, then along the columns.
    fn by_axes(&self, image: &[u8], out: &mut [u8]) {
        let (height, width) = (self.height, self.width);
        let (ys, xs) = match self.part {
            Some([top, left, tall, wide]) => ((top, top + tall), (left, left + wide)),
            None => ((0, height), (0, width)),
        };
        let edge = self.part.is_some();
        let across: Vec<Tap> = (0..width)
            .map(|x| Tap::new(x, self.map.a, self.map.c, xs, edge))
            .collect();
        let down: Vec<Tap> = (0..height)
            .map(|y| Tap::new(y, self.map.e, self.map.f, ys, edge))
            .collect();
        let mut lines = vec![0.0; (ys.1 - ys.0) * width];
        for (plane, out) in image
            .chunks_exact(height * width)
            .zip(out.chunks_exact_mut(height * width))
        {
            let rows = plane[ys.0 * width..ys.1 * width].chunks_exact(width);
            for (line, row) in lines.chunks_exact_mut(width).zip(rows) {
                for (value, tap) in line.iter_mut().zip(&across) {
                    *value = f32::from(row[tap.at[0]]) * tap.weight[0]
                        + f32::from(row[tap.at[1]]) * tap.weight[1];
                }
            }
            for (out, tap) in out.chunks_exact_mut(width).zip(&down) {
                let [first, second] = tap.at.map(|row| &lines[(row - ys.0) * width..][..width]);
                for ((pixel, p), q) in out.iter_mut().zip(first).zip(second) {
                    *pixel = (p * tap.weight[0] + q * tap.weight[1] + 0.5) as u8;
                }
            }
        }
    }

    fn by_pixels(&self, image: &[u8], out: &mut [u8]) {
        let (height, width) = (self.height, self.width);
        let area = height * width;
        let (right, bottom) = (width as f32, height as f32);
        for y in 0..height {
            let middle = y as f64 + 0.5;
            let start_x = (self.map.b * middle + self.map.c + self.map.a * 0.5 - 0.5) as f32;
            let start_y = (self.map.e * middle + self.map.f + self.map.d * 0.5 - 0.5) as f32;
            let (step_x, step_y) = (self.map.a as f32, self.map.d as f32);
            for x in 0..width {
                // Shifted by one, so that cutting off is rounding down.
                let from_x = (start_x + step_x * x as f32 + 1.0).clamp(0.0, right + 1.0);
                let from_y = (start_y + step_y * x as f32 + 1.0).clamp(0.0, bottom + 1.0);
                let (left, top) = (from_x as usize, from_y as usize);
                let (u, v) = (from_x - left as f32, from_y - top as f32);
                let weights = [(1.0 - u) * (1.0 - v), u * (1.0 - v), (1.0 - u) * v, u * v];
                let to = y * width + x;
                if (1..width).contains(&left) && (1..height).contains(&top) {
                    let from = (top - 1) * width + left - 1;
                    for (plane, out) in image.chunks_exact(area).zip(out.chunks_exact_mut(area)) {
                        let seen = [
                            plane[from],
                            plane[from + 1],
                            plane[from + width],
                            plane[from + width + 1],
                        ];
                        out[to] = blend(seen, weights);
                    }
                } else {
                    for (plane, out) in image.chunks_exact(area).zip(out.chunks_exact_mut(area)) {
                        let pixel = |y: usize, x: usize| match (1..=height).contains(&y)
                            && (1..=width).contains(&x)
                        {
                            true => plane[(y - 1) * width + x - 1],
                            false => 0,
                        };
                        let seen = [
                            pixel(top, left),
                            pixel(top, left + 1),
                            pixel(top + 1, left),
                            pixel(top + 1, left + 1),
                        ];
                        out[to] = blend(seen, weights);
                    }
                }
            }
        }
    }
}

fn blend(seen: [u8; 4], weights: [f32; 4]) -> u8 {
    let sum: f32 = seen.iter().zip(weights).map(|(p, w)| f32::from(*p) * w).sum();
    (sum + 0.5) as u8
}

/// The two pixels of a line that one pixel of the result is made of.
struct Tap {
    at: [usize; 2],
    weight: [f32; 2],
}

impl Tap {
    /// For pixel `to`, which shows place `scale to + offset`. Pixels outside `low..high` are black,
    /// or those at the edge where `edge` says so.
    fn new(to: usize, scale: f64, offset: f64, (low, high): (usize, usize), edge: bool) -> Self {
        let place = (to as f64 + 0.5) * scale + offset - 0.5;
        let first = place.floor();
        let share = (place - first) as f32;
        let mut weight = [1.0 - share, share];
        let mut at = [low; 2];
        for (i, (at, weight)) in at.iter_mut().zip(&mut weight).enumerate() {
            let pixel = first + i as f64;
            *at = pixel.clamp(low as f64, (high - 1) as f64) as usize;
            if !edge && pixel != *at as f64 {
                *weight = 0.0;
            }
        }
        Self { at, weight }
    }
}

/// A part of an image of `height` by `width`: top, left, height and width. Torchvision's rule.
pub(super) fn part(
    config: &ResizedCrop,
    height: usize,
    width: usize,
    rng: &mut ChaCha8Rng,
) -> [usize; 4] {
    let area = (height * width) as f64;
    let [least, most] = config.ratio;
    for _ in 0..10 {
        let area = area * within(rng, config.scale);
        let ratio = within(rng, [least.ln(), most.ln()]).exp();
        let wide = (area * ratio).sqrt().round_ties_even() as usize;
        let tall = (area / ratio).sqrt().round_ties_even() as usize;
        if (1..=width).contains(&wide) && (1..=height).contains(&tall) {
            let top = rng.random_range(0..=height - tall);
            let left = rng.random_range(0..=width - wide);
            return [top, left, tall, wide];
        }
    }
    // None of ten fits: the middle, with a ratio as close as can be.
    let ratio = (width as f64 / height as f64).clamp(least, most);
    let wide = ((height as f64 * ratio).round_ties_even() as usize).clamp(1, width);
    let tall = ((width as f64 / ratio).round_ties_even() as usize).clamp(1, height);
    [(height - tall) / 2, (width - wide) / 2, tall, wide]
}

/// One affine transform of those that `config` allows.
pub(super) fn affine(config: &Affine, geometry: &mut Geometry, rng: &mut ChaCha8Rng) {
    let degrees = within(rng, [-config.degrees, config.degrees]);
    let centre = geometry.centre();
    let shift = [0, 1].map(|axis| {
        let most = config.translate[axis] * 2.0 * centre[axis];
        within(rng, [-most, most]).round_ties_even()
    });
    let scale = within(rng, config.scale);
    let shear = within(rng, [-config.shear, config.shear]);
    geometry.transform(&Map::affine(degrees, shift, scale, [shear, 0.0], centre));
}

/// A number between two, all equally likely.
pub(super) fn within(rng: &mut ChaCha8Rng, [low, high]: [f64; 2]) -> f64 {
    low + (high - low) * rng.random::<f64>()
}
