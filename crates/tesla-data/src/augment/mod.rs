//! Augmentation: training images changed by chance, anew in every epoch.
//!
//! What happens to an image follows from the run's seed, the epoch and the row alone: not from the
//! batch it comes in and not from the number of threads. The order is fixed: part or moved, flipped,
//! rotated, affine (one resampling for all of these), RandAugment, colours, blur, noise, erased.

mod colour;
mod config;
mod filter;
mod geometry;
mod mix;
#[cfg(test)]
mod tests;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::samples::ImageSet;
use crate::{Error, Result};
use colour::Colour;
use filter::Noise;
use geometry::Geometry;

pub use config::{
    Affine, AugmentConfig, Blur, ColourJitter, Erase, Flip, RandAugment, ResizedCrop,
};
pub use mix::Mix;

/// What happens to images of one shape.
pub struct Augment {
    config: AugmentConfig,
    channels: usize,
    height: usize,
    width: usize,
    noise: Option<Noise>,
}

impl Augment {
    /// For images of the given shape.
    ///
    /// # Errors
    /// When a number of the configuration makes no sense: names its key.
    pub fn new(
        config: &AugmentConfig,
        channels: usize,
        height: usize,
        width: usize,
    ) -> Result<Self> {
        config.check()?;
        if !matches!(channels, 1 | 3) || height == 0 || width == 0 {
            let message = format!(
                "`[augment]` takes images of 1 or 3 channels: these are {channels}x{height}x{width}"
            );
            return Err(Error::Config(message));
        }
        Ok(Self {
            config: config.clone(),
            channels,
            height,
            width,
            noise: config.noise.filter(|sigma| *sigma > 0.0).map(Noise::new),
        })
    }

    /// One image of 8-bit planes, `[channels, height, width]`, as epoch `epoch` shows row `row`.
    ///
    /// # Errors
    /// When an image has not the shape that this was made for.
    pub fn apply(
        &self,
        image: &[u8],
        out: &mut [u8],
        seed: u64,
        epoch: u64,
        row: u64,
    ) -> Result<()> {
        let size = self.size();
        if image.len() != size || out.len() != size {
            return Err(self.other_shape(&format!("{} into {} bytes", image.len(), out.len())));
        }
        self.change(image, out, &mut generator(seed, epoch, row, Use::Image));
        Ok(())
    }

    /// The given rows as one batch, `[rows.len(), channels, height, width]`, normalised as
    /// [`Inputs::gather`](crate::Inputs::gather) does it.
    ///
    /// # Errors
    /// When the images have not the shape that this was made for, or a row does not exist.
    pub fn batch(&self, set: &ImageSet, rows: &[usize], seed: u64, epoch: u64) -> Result<Vec<f32>> {
        let (size, area) = (self.size(), self.height * self.width);
        if [set.channels, set.height, set.width] != [self.channels, self.height, self.width] {
            let shape = format!("{}x{}x{} images", set.channels, set.height, set.width);
            return Err(self.other_shape(&shape));
        }
        let count = set.pixels.len() / size;
        if let Some(row) = rows.iter().find(|row| **row >= count) {
            return Err(Error::Config(format!("there is no row {row} among {count} images")));
        }
        let tables = set.tables();
        let mut batch = vec![0.0; rows.len() * size];
        batch.par_chunks_exact_mut(size).zip(rows).for_each_init(
            || vec![0; size],
            |pixels, (out, row)| {
                let image = &set.pixels[row * size..][..size];
                let mut rng = generator(seed, epoch, *row as u64, Use::Image);
                self.change(image, pixels, &mut rng);
                let planes = pixels.chunks_exact(area).zip(out.chunks_exact_mut(area));
                for ((plane, out), table) in planes.zip(&tables) {
                    for (value, pixel) in out.iter_mut().zip(plane) {
                        *value = table[*pixel as usize];
                    }
                }
            },
        );
        Ok(batch)
    }

    /// How the images of a batch of `rows` are mixed, where the configuration says so.
    pub fn mix(&self, rows: &[usize], seed: u64, epoch: u64) -> Option<Mix> {
        let first = *rows.first()?;
        let mut rngs: Vec<_> = rows
            .iter()
            .map(|row| generator(seed, epoch, *row as u64, Use::Mix))
            .collect();
        let (mixup, cutmix) = (self.config.mixup, self.config.cutmix);
        let either = || generator(seed, epoch, first as u64, Use::Batch).random();
        match (mixup, cutmix) {
            (None, None) => None,
            (Some(alpha), cutmix) if cutmix.is_none() || either() => {
                Some(Mix::mixup(alpha, &mut rngs))
            }
            (_, alpha) => Some(Mix::cutmix(alpha?, self.height, self.width, &mut rngs)),
        }
    }

    fn size(&self) -> usize {
        self.channels * self.height * self.width
    }

    fn other_shape(&self, found: &str) -> Error {
        Error::Config(format!(
            "`[augment]` was made for {}x{}x{} images and got {found}",
            self.channels, self.height, self.width
        ))
    }

    /// The order of all changes.
    fn change(&self, image: &[u8], out: &mut [u8], rng: &mut ChaCha8Rng) {
        let config = &self.config;
        let area = self.height * self.width;
        let mut geometry = Geometry::new(self.height, self.width);
        let mut colours = Vec::new();
        if let Some(crop) = &config.random_resized_crop {
            geometry.crop(geometry::part(crop, self.height, self.width, rng));
        }
        if let Some(pixels) = config.pad_crop.filter(|pixels| *pixels > 0) {
            let most = f64::from(pixels);
            let [x, y] = [0, 1].map(|_| f64::from(rng.random_range(0..=2 * pixels)) - most);
            geometry.shift(x, y);
        }
        if matches!(config.flip, Some(Flip::Horizontal | Flip::Both)) && rng.random() {
            geometry.flip_horizontal();
        }
        if matches!(config.flip, Some(Flip::Vertical | Flip::Both)) && rng.random() {
            geometry.flip_vertical();
        }
        if let Some(degrees) = config.rotate {
            geometry.rotate(geometry::within(rng, [-degrees, degrees]));
        }
        if let Some(affine) = &config.affine {
            geometry::affine(affine, &mut geometry, rng);
        }
        if let Some(rand) = &config.randaugment {
            colour::randaugment(rand, &mut geometry, rng, &mut colours);
        }
        if let Some(jitter) = &config.colour_jitter {
            colour::jitter(jitter, rng, &mut colours);
        }
        geometry.resample(image, out);
        colours
            .into_iter()
            .for_each(|c: Colour| c.apply(out, self.width, area));
        if let Some(blur) = &config.blur {
            let sigma = geometry::within(rng, blur.sigma);
            out.chunks_exact_mut(area)
                .for_each(|plane| filter::blur(plane, self.width, sigma));
        }
        if let Some(noise) = &self.noise {
            noise.apply(out, rng);
        }
        if let Some(erase) = &config.erase {
            filter::erase(erase, out, self.height, self.width, rng);
        }
    }
}

/// What a generator is for, so that no two uses share their chance.
#[derive(Clone, Copy)]
enum Use {
    Image = 0,
    Mix = 1,
    Batch = 2,
}

/// The chance of one row in one epoch: seed, epoch and row are the generator's key.
fn generator(seed: u64, epoch: u64, row: u64, what: Use) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (part, number) in key.chunks_exact_mut(8).zip([seed, epoch, row, what as u64]) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
