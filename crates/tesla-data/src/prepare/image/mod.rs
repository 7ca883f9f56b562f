//! Image columns: decoded, brought to one size and normalised per channel.

mod decode;
mod resize;
#[cfg(test)]
mod tests;

use crate::arrow::array::{Array, ArrayRef, LargeBinaryArray};
use crate::arrow::datatypes::Field;
use image::DynamicImage;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::config::{ColumnConfig, Fit};
use crate::frame::downcast;
use crate::samples::ImageSet;
use crate::source::IMAGE_KEY;
use crate::{Error, Result};
use decode::MAX_SIDE;

/// The longer side that larger images are scaled to where nothing is said, in pixels.
const DEFAULT_SIDE: u32 = 128;

pub(crate) use decode::decode_file;

/// An image: decoded, brought to one size and to grey or colour, then normalised per channel as
/// `(pixel / 255 - mean) / std`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedImage {
    /// The column's name.
    pub name: String,
    /// Pixels per column.
    pub height: u32,
    /// Pixels per row.
    pub width: u32,
    /// 1 for grey, 3 for colour.
    pub channels: u8,
    /// What happens to an image of other proportions.
    #[serde(default, skip_serializing_if = "Fit::is_default")]
    pub fit: Fit,
    /// The mean of each channel over the training images, in 0..1.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel over the training images.
    pub std: Vec<f32>,
}

type Place<'a> = &'a (dyn Fn(usize) -> String + Sync);

/// What is known of an image column after some batches.
pub(super) struct ImageFit {
    name: String,
    config: ColumnConfig,
    /// Size and channels, known from the first image on.
    image: Option<FittedImage>,
    images: usize,
    /// Sum and sum of squares of each channel: integers, so that any order of images gives the
    /// same.
    sums: Vec<(u64, u64)>,
}

impl ImageFit {
    pub(super) fn new(name: &str, config: &ColumnConfig) -> Self {
        Self {
            name: name.to_string(),
            config: config.clone(),
            image: None,
            images: 0,
            sums: Vec::new(),
        }
    }

    pub(super) fn update(
        &mut self,
        field: &Field,
        values: &ArrayRef,
        place: Place<'_>,
    ) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let image = match &mut self.image {
            Some(image) => image,
            none => {
                let first = downcast::<LargeBinaryArray>(values)?.value(0);
                let first = decode(field, first, || place(0))?;
                none.insert(FittedImage::unscaled(&self.name, &self.config, &first)?)
            }
        };
        let set = image.transform(field, values, place)?;
        self.sums.resize(set.channels, (0, 0));
        for image in set.pixels.chunks_exact(set.channels * set.height * set.width) {
            let planes = image.chunks_exact(set.height * set.width);
            for (plane, (sum, squares)) in planes.zip(&mut self.sums) {
                for pixel in plane.iter().map(|p| u64::from(*p)) {
                    *sum += pixel;
                    *squares += pixel * pixel;
                }
            }
        }
        self.images += values.len();
        Ok(())
    }

    pub(super) fn finish(self) -> Result<FittedImage> {
        let Some(mut image) = self.image else {
            let message = format!("column `{}` has no images to learn from", self.name);
            return Err(Error::Config(message));
        };
        let n = self.images as f64 * f64::from(image.height) * f64::from(image.width);
        for (channel, (sum, squares)) in self.sums.into_iter().enumerate() {
            let mean = sum as f64 / n;
            let variance = (squares as f64 / n - mean * mean).max(0.0);
            image.mean[channel] = (mean / 255.0) as f32;
            image.std[channel] = match variance > 0.0 {
                true => (variance.sqrt() / 255.0) as f32,
                false => 1.0,
            };
        }
        Ok(image)
    }
}

impl FittedImage {
    /// Size and channels as configured or as the first image has them; no statistics yet.
    fn unscaled(name: &str, config: &ColumnConfig, first: &DynamicImage) -> Result<Self> {
        let [height, width] = config.size.unwrap_or_else(|| {
            // Cameras write millions of pixels, of which a network from the start can use few.
            let longer = first.height().max(first.width());
            let scaled = |side: u32| match longer > DEFAULT_SIDE {
                true => (side * DEFAULT_SIDE).div_ceil(longer),
                false => side,
            };
            [scaled(first.height()), scaled(first.width())]
        });
        let channels = config.channels.unwrap_or(match first.color().has_color() {
            true => 3,
            false => 1,
        });
        if !matches!(channels, 1 | 3) {
            let message = format!(
                "column `{name}`: `channels` is {channels}: expected 1 (grey) or 3 (colour)"
            );
            return Err(Error::Config(message));
        }
        if height == 0 || width == 0 || height > MAX_SIDE || width > MAX_SIDE {
            let message = format!(
                "column `{name}`: `size` is [{height}, {width}]: expected 1 to {MAX_SIDE} pixels"
            );
            return Err(Error::Config(message));
        }
        Ok(Self {
            name: name.to_string(),
            height,
            width,
            channels,
            fit: config.fit.unwrap_or_default(),
            mean: vec![0.0; channels as usize],
            std: vec![1.0; channels as usize],
        })
    }

    /// Decodes in parallel; the order of rows is kept.
    pub(super) fn transform(
        &self,
        field: &Field,
        values: &ArrayRef,
        place: Place<'_>,
    ) -> Result<ImageSet> {
        let images = downcast::<LargeBinaryArray>(values)?;
        let [channels, height, width] =
            [self.channels as usize, self.height as usize, self.width as usize];
        let mut pixels = vec![0; images.len() * channels * height * width];
        pixels
            .par_chunks_exact_mut(channels * height * width)
            .enumerate()
            .try_for_each(|(row, out)| {
                if images.is_null(row) {
                    return Err(Error::value(place(row), &self.name, "the image is missing"));
                }
                let image = decode(field, images.value(row), || place(row))?;
                self.write(image, out);
                Ok(())
            })?;
        Ok(ImageSet {
            channels,
            height,
            width,
            pixels,
            mean: self.mean.clone(),
            std: self.std.clone(),
        })
    }

    /// One image as planar 8-bit pixels, `[channels, height, width]`.
    fn write(&self, image: DynamicImage, out: &mut [u8]) {
        let planes = decode::planes(image, self.channels);
        let planes = resize::fit(planes, self.height as usize, self.width as usize, self.fit);
        out.copy_from_slice(&planes.pixels);
    }
}

/// The image behind `bytes`: raw pixels or an image file, as the field's metadata says.
fn decode(field: &Field, bytes: &[u8], place: impl Fn() -> String) -> Result<DynamicImage> {
    let bad = |reason: String| Error::value(place(), field.name(), reason);
    match field.metadata().get(IMAGE_KEY).map(String::as_str) {
        None | Some("encoded") => decode_file(bytes).map_err(bad),
        Some(layout) => {
            let dims: Vec<u32> = layout.split('x').flat_map(str::parse).collect();
            let image = match dims[..] {
                [h, w, 1] => image::GrayImage::from_raw(w, h, bytes.to_vec()).map(Into::into),
                [h, w, 3] => image::RgbImage::from_raw(w, h, bytes.to_vec()).map(Into::into),
                _ => None,
            };
            image.ok_or_else(|| bad(format!("{} bytes are not {layout} pixels", bytes.len())))
        }
    }
}
