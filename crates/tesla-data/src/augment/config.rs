//! The `[augment]` table of `tesla.toml`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// `[augment]`: what happens to training images by chance, anew in every epoch. All of it is off
/// unless said. Names, defaults and meanings are those of torchvision's transforms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Cuts out a part of the image and brings it back to the full size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_resized_crop: Option<ResizedCrop>,
    /// Moves the image by up to this many pixels in each direction; the rim turns black.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pad_crop: Option<u32>,
    /// Mirrors every second image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flip: Option<Flip>,
    /// Turns the image by up to this many degrees either way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate: Option<f64>,
    /// Turns, moves, scales and shears the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affine: Option<Affine>,
    /// A few operations out of fourteen, all with one strength.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub randaugment: Option<RandAugment>,
    /// Changes brightness, contrast, saturation and hue, in an order left to chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colour_jitter: Option<ColourJitter>,
    /// Blurs the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blur: Option<Blur>,
    /// The standard deviation of the noise added to every pixel, where 1 is the whole range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
    /// Blackens a rectangle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erase: Option<Erase>,
    /// Blends each image with another of its batch, by a share drawn from Beta(mixup, mixup).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup: Option<f64>,
    /// Puts a rectangle of another image of the batch into each, of a share drawn from
    /// Beta(cutmix, cutmix). Beside `mixup`, each batch takes one of the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutmix: Option<f64>,
}

/// Which way an image is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Flip {
    /// Left and right.
    Horizontal,
    /// Top and bottom.
    Vertical,
    /// Each of the two on its own.
    Both,
}

/// A part of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResizedCrop {
    /// The least and the largest share of the image's area.
    pub scale: [f64; 2],
    /// The least and the largest width divided by height.
    pub ratio: [f64; 2],
}

impl Default for ResizedCrop {
    fn default() -> Self {
        Self {
            scale: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
        }
    }
}

/// An affine transform about the middle of the image; what it uncovers is black.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Affine {
    /// The largest turn either way, in degrees.
    pub degrees: f64,
    /// The largest moves, as shares of width and height.
    pub translate: [f64; 2],
    /// The least and the largest magnification.
    pub scale: [f64; 2],
    /// The largest shear along the rows either way, in degrees.
    pub shear: f64,
}

impl Default for Affine {
    fn default() -> Self {
        Self {
            degrees: 0.0,
            translate: [0.0, 0.0],
            scale: [1.0, 1.0],
            shear: 0.0,
        }
    }
}

/// How far colours are changed; 0 leaves one as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ColourJitter {
    /// Brightness is multiplied by a number from `1 - brightness` to `1 + brightness`.
    pub brightness: f64,
    /// Likewise.
    pub contrast: f64,
    /// Likewise; grey images have none.
    pub saturation: f64,
    /// The largest turn of the hue either way, where 1 is the whole circle: at most 0.5.
    pub hue: f64,
}

/// A Gaussian blur, cut off at three standard deviations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Blur {
    /// The least and the largest standard deviation, in pixels.
    pub sigma: [f64; 2],
}

impl Default for Blur {
    fn default() -> Self {
        Self { sigma: [0.1, 2.0] }
    }
}

/// A rectangle to blacken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Erase {
    /// The share of images it happens to.
    pub p: f64,
    /// The least and the largest share of the image's area.
    pub scale: [f64; 2],
    /// The least and the largest height divided by width.
    pub ratio: [f64; 2],
}

impl Default for Erase {
    fn default() -> Self {
        Self {
            p: 0.5,
            scale: [0.02, 0.33],
            ratio: [0.3, 3.3],
        }
    }
}

/// RandAugment (Cubuk et al., 2019).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RandAugment {
    /// Operations per image.
    pub count: usize,
    /// Their strength, 0 to 30.
    pub magnitude: u32,
}

impl Default for RandAugment {
    fn default() -> Self {
        Self {
            count: 2,
            magnitude: 9,
        }
    }
}

/// The largest strength of RandAugment.
pub(super) const MAGNITUDES: u32 = 30;
/// The most operations of RandAugment: more would leave nothing to be seen.
const MAX_COUNT: usize = 14;

impl AugmentConfig {
    /// Whether it changes nothing.
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }

    /// Whether every number makes sense.
    ///
    /// # Errors
    /// Names the first key that does not.
    pub fn check(&self) -> Result<()> {
        if let Some(crop) = &self.random_resized_crop {
            pair("random_resized_crop.scale", crop.scale, f64::MIN_POSITIVE, 1.0)?;
            pair("random_resized_crop.ratio", crop.ratio, 0.01, 100.0)?;
            if self.pad_crop.is_some() {
                let message = "`augment.random_resized_crop` and `augment.pad_crop` both cut the \
                               image: keep one of them";
                return Err(Error::Config(message.into()));
            }
        }
        if let Some(pixels) = self.pad_crop {
            number("pad_crop", f64::from(pixels), 0.0, 16_384.0)?;
        }
        if let Some(degrees) = self.rotate {
            number("rotate", degrees, 0.0, 180.0)?;
        }
        if let Some(affine) = &self.affine {
            number("affine.degrees", affine.degrees, 0.0, 180.0)?;
            number("affine.translate", affine.translate[0], 0.0, 1.0)?;
            number("affine.translate", affine.translate[1], 0.0, 1.0)?;
            pair("affine.scale", affine.scale, 0.01, 100.0)?;
            number("affine.shear", affine.shear, 0.0, 80.0)?;
        }
        if let Some(rand) = &self.randaugment {
            number("randaugment.count", rand.count as f64, 0.0, MAX_COUNT as f64)?;
            number("randaugment.magnitude", f64::from(rand.magnitude), 0.0, f64::from(MAGNITUDES))?;
        }
        if let Some(jitter) = &self.colour_jitter {
            number("colour_jitter.brightness", jitter.brightness, 0.0, 100.0)?;
            number("colour_jitter.contrast", jitter.contrast, 0.0, 100.0)?;
            number("colour_jitter.saturation", jitter.saturation, 0.0, 100.0)?;
            number("colour_jitter.hue", jitter.hue, 0.0, 0.5)?;
        }
        if let Some(blur) = &self.blur {
            pair("blur.sigma", blur.sigma, 0.01, 100.0)?;
        }
        if let Some(noise) = self.noise {
            number("noise", noise, 0.0, 1.0)?;
        }
        if let Some(erase) = &self.erase {
            number("erase.p", erase.p, 0.0, 1.0)?;
            pair("erase.scale", erase.scale, 0.0, 1.0)?;
            pair("erase.ratio", erase.ratio, 0.01, 100.0)?;
        }
        for (key, alpha) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            if let Some(alpha) = alpha {
                number(key, alpha, 0.001, 1000.0)?;
            }
        }
        Ok(())
    }
}

fn number(key: &str, value: f64, least: f64, most: f64) -> Result<()> {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false => Err(Error::Config(format!(
            "`augment.{key}` is {value}: expected a number {}",
            range(least, most)
        ))),
    }
}

fn pair(key: &str, [low, high]: [f64; 2], least: f64, most: f64) -> Result<()> {
    match (least..=most).contains(&low) && (low..=most).contains(&high) {
        true => Ok(()),
        false => Err(Error::Config(format!(
            "`augment.{key}` is [{low}, {high}]: expected the least and the largest value, {}",
            range(least, most)
        ))),
    }
}

fn range(least: f64, most: f64) -> String {
    match least == f64::MIN_POSITIVE {
        true => format!("above 0 and at most {most}"),
        false => format!("from {least} to {most}"),
    }
}
