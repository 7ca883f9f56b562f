//! What preparation produces: numbers and pixels, ready to become tensors.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::ImageEncoder;

use crate::{Error, Result};

pub use crate::floats::Floats;
pub use crate::sequences::SequenceSet;
pub use crate::tokens::{SparseRows, TokenSet};

/// Prepared rows.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The number of rows.
    pub len: usize,
    /// What the network sees.
    pub inputs: Inputs,
    /// What it should say.
    pub target: Target,
}

/// What the network sees.
#[derive(Clone, Debug)]
pub enum Inputs {
    /// A table: `[rows, width]`.
    Dense(Floats),
    /// Pictures of one size.
    Images(ImageSet),
    /// Texts, as bags of terms or as sequences of ids.
    Tokens(TokenSet),
    /// Windows of rows that follow each other.
    Sequences(SequenceSet),
}

/// Pictures of one size, 8 bits a channel until a batch is made of them.
#[derive(Clone, Debug)]
pub struct ImageSet {
    /// 1 for grey, 3 for colour.
    pub channels: usize,
    /// Pixels per column.
    pub height: usize,
    /// Pixels per row.
    pub width: usize,
    /// `[rows, channels, height, width]`.
    pub pixels: Vec<u8>,
    /// The mean of each channel, in 0..1.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel.
    pub std: Vec<f32>,
}

/// What the network should say.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// The rows carry no target.
    Absent,
    /// Class numbers.
    Classes(Vec<u32>),
    /// Numbers in the target's own unit.
    Values(Vec<f64>),
}

impl Inputs {
    /// The shape of one row: `[width]`, `[channels, height, width]`, or for texts `[vocabulary]` of
    /// bags and `[length]` of sequences of ids; `[length, width]` of windows, the mask last.
    pub fn row_shape(&self) -> Vec<usize> {
        match self {
            Inputs::Dense(values) => vec![values.width()],
            Inputs::Images(set) => vec![set.channels, set.height, set.width],
            Inputs::Tokens(set) => set.row_shape(),
            Inputs::Sequences(set) => set.row_shape(),
        }
    }

    /// The given rows as one batch of 32-bit floats, images normalised, bags with their zeros and
    /// sequences padded with zeros: `[rows.len(), ..row_shape]`.
    ///
    /// # Errors
    /// When rows stand in a temporary file that cannot be read.
    pub fn gather(&self, rows: &[usize]) -> Result<Vec<f32>> {
        let size = self.row_shape().iter().product();
        let mut batch = Vec::with_capacity(rows.len() * size);
        match self {
            Inputs::Dense(values) => {
                for row in rows {
                    values.read(*row..row + 1, &mut batch)?;
                }
            }
            Inputs::Images(set) => {
                let tables = set.tables();
                let area = set.height * set.width;
                for row in rows {
                    let planes = set.pixels[row * size..][..size].chunks_exact(area);
                    for (plane, table) in planes.zip(&tables) {
                        batch.extend(plane.iter().map(|p| table[*p as usize]));
                    }
                }
            }
            Inputs::Tokens(set) => rows.iter().for_each(|row| set.read(*row, &mut batch)),
            Inputs::Sequences(set) => {
                rows.iter().try_for_each(|row| set.read(*row, &mut batch))?;
            }
        }
        Ok(batch)
    }

    /// The number that a sample's row has in the selection it was made from; of a window, its last
    /// row.
    pub fn source_row(&self, sample: usize) -> usize {
        match self {
            Inputs::Sequences(set) => set.last_row(sample),
            _ => sample,
        }
    }
}

impl ImageSet {
    /// A picture as a PNG file in a `data:` address, for a page.
    ///
    /// # Errors
    /// When it cannot be encoded, which memory alone decides.
    pub fn data_uri(&self, row: usize) -> Result<String> {
        let area = self.height * self.width;
        let planes = &self.pixels[row * self.channels * area..][..self.channels * area];
        let pixel = |at: usize| (0..self.channels).map(move |channel| planes[channel * area + at]);
        let pixels: Vec<u8> = (0..area).flat_map(pixel).collect();
        let color = match self.channels {
            1 => image::ExtendedColorType::L8,
            _ => image::ExtendedColorType::Rgb8,
        };
        let mut file = Vec::new();
        image::codecs::png::PngEncoder::new(&mut file)
            .write_image(&pixels, self.width as u32, self.height as u32, color)
            .map_err(|e| Error::Config(format!("a picture cannot be encoded: {e}")))?;
        Ok(format!("data:image/png;base64,{}", BASE64_STANDARD.encode(file)))
    }

    /// The normalised value of each of the 256 pixel values, per channel.
    pub(crate) fn tables(&self) -> Vec<[f32; 256]> {
        std::iter::zip(&self.mean, &self.std)
            .map(|(mean, std)| std::array::from_fn(|p| (p as f32 / 255.0 - mean) / std))
            .collect()
    }
}

impl Target {
    /// Puts the rows of `next` behind these.
    pub(crate) fn extend(&mut self, next: Target) {
        match (self, next) {
            (Target::Classes(all), Target::Classes(next)) => all.extend(next),
            (Target::Values(all), Target::Values(next)) => all.extend(next),
            (all, next) => *all = next,
        }
    }

    /// The given rows of these.
    pub(crate) fn take(&self, rows: impl Iterator<Item = u32>) -> Target {
        let rows = rows.map(|row| row as usize);
        match self {
            Target::Absent => Target::Absent,
            Target::Classes(all) => Target::Classes(rows.map(|row| all[row]).collect()),
            Target::Values(all) => Target::Values(rows.map(|row| all[row]).collect()),
        }
    }

    /// The class numbers, when the target is one.
    pub fn classes(&self) -> Option<&[u32]> {
        match self {
            Target::Classes(classes) => Some(classes),
            _ => None,
        }
    }

    /// The numbers, when the target is one.
    pub fn values(&self) -> Option<&[f64]> {
        match self {
            Target::Values(values) => Some(values),
            _ => None,
        }
    }
}
