//! Images: their sizes, read from the headers only.

use std::collections::HashMap;
use std::io::Cursor;

use image::ImageReader;
use serde::{Deserialize, Serialize};

use super::cells::Cells;
use super::numbers::Numbers;
use super::{Level, TOP};
use crate::arrow::datatypes::Field;
use crate::source::IMAGE_KEY;

/// What the images of a column look like. Pixels are not decoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Images {
    /// The commonest sizes, `WIDTHxHEIGHT`.
    pub sizes: Vec<Level>,
    /// How many sizes there are.
    pub distinct_sizes: usize,
    /// The file formats, such as `Png`; `raw` where the pixels are not in files.
    pub formats: Vec<Level>,
    /// Widths in pixels.
    pub widths: Option<Numbers>,
    /// Heights in pixels.
    pub heights: Option<Numbers>,
    /// Images whose header cannot be read.
    pub unreadable: usize,
}

impl Images {
    pub(super) fn of(field: &Field, cells: &Cells) -> Self {
        let layout = field.metadata().get(IMAGE_KEY).map(String::as_str);
        let raw = layout.filter(|layout| *layout != "encoded").map(|layout| {
            let dims: Vec<u32> = layout.split('x').flat_map(str::parse).collect();
            (dims.get(1).copied().unwrap_or(0), dims.first().copied().unwrap_or(0))
        });
        let (mut unreadable, mut widths, mut heights) = (0, Vec::new(), Vec::new());
        let mut sizes: HashMap<(u32, u32), usize> = HashMap::new();
        let mut formats: HashMap<String, usize> = HashMap::new();
        let images = match cells {
            Cells::Bytes(images) => Some(images),
            _ => None,
        };
        for bytes in images.into_iter().flatten().flatten() {
            let found = match raw {
                Some(size) => Some((size, "raw".to_string())),
                None => header(bytes),
            };
            let Some((size, format)) = found else {
                unreadable += 1;
                continue;
            };
            widths.push(f64::from(size.0));
            heights.push(f64::from(size.1));
            *sizes.entry(size).or_default() += 1;
            *formats.entry(format).or_default() += 1;
        }
        Self {
            distinct_sizes: sizes.len(),
            sizes: top(sizes.into_iter().map(|((w, h), n)| (format!("{w}x{h}"), n))),
            formats: top(formats.into_iter()),
            widths: Numbers::of(widths.iter().copied()),
            heights: Numbers::of(heights.iter().copied()),
            unreadable,
        }
    }
}

fn header(bytes: &[u8]) -> Option<((u32, u32), String)> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    let format = format!("{:?}", reader.format()?);
    Some((reader.into_dimensions().ok()?, format))
}

fn top(levels: impl Iterator<Item = (String, usize)>) -> Vec<Level> {
    let mut levels: Vec<Level> = levels.map(|(value, count)| Level { value, count }).collect();
    levels.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
    levels.truncate(TOP);
    levels
}
