//! From an image file's bytes to 8-bit planes of grey or colour.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

/// The largest side of an image that is decoded, in pixels.
pub(super) const MAX_SIDE: u32 = 16_384;
/// The most memory one decoded image may take, in bytes.
const MAX_BYTES: u64 = 512 << 20;

/// Pixels of 8 bits, one plane after the other.
#[derive(Debug, PartialEq)]
pub(super) struct Planes {
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// `[channels, height, width]`.
    pub(super) pixels: Vec<u8>,
}

/// An image file's picture the way it is meant to be seen, or why it has none.
pub(crate) fn decode_file(bytes: &[u8]) -> Result<DynamicImage, String> {
    if is_cut_jpeg(bytes) {
        return Err("the image is cut off: the end of its JPEG data is missing".into());
    }
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| format!("the image cannot be read: {e}"))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits.clone());
    let bad = |e| format!("the image cannot be decoded: {e}");
    let mut decoder = reader.into_decoder().map_err(bad)?;
    limits.reserve(decoder.total_bytes()).map_err(bad)?;
    decoder.set_limits(limits).map_err(bad)?;
    // A camera writes what its sensor saw, and beside it how it was held. Where that cannot be
    // read the pixels are still good.
    let orientation = decoder.orientation();
    let mut image = DynamicImage::from_decoder(decoder).map_err(bad)?;
    if let Ok(orientation) = orientation {
        image.apply_orientation(orientation);
    }
    Ok(image)
}

/// Whether a JPEG ends before its data does. The decoder fills what is missing with grey.
fn is_cut_jpeg(bytes: &[u8]) -> bool {
    const END: [u8; 2] = [0xff, 0xd9];
    let Some(mut rest) = bytes.strip_prefix(&[0xff, 0xd8]) else {
        return false;
    };
    // Segments say how long they are, up to that before the data. One of them may hold a small JPEG.
    while let [0xff, marker, high, low, ..] = *rest {
        let length = 2 + usize::from(u16::from_be_bytes([high, low]));
        let Some(next) = rest.get(length..) else {
            return true;
        };
        rest = next;
        if marker == 0xda {
            return !rest.windows(2).any(|pair| pair == END);
        }
    }
    // Fill bytes, or no JPEG at all: the decoder's to judge.
    false
}

/// The image in grey (1 channel) or colour (3), as Pillow's `convert("L")` and `convert("RGB")`
/// have it: 16 bits keep their high byte, transparency is left out, and grey is
/// `0.299 R + 0.587 G + 0.114 B`.
pub(super) fn planes(image: DynamicImage, channels: u8) -> Planes {
    let (height, width) = (image.height() as usize, image.width() as usize);
    let image = match image {
        DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_) => image.into_rgb8().into(),
        image => image,
    };
    let samples = image.color().channel_count() as usize;
    let bytes = match &image {
        DynamicImage::ImageLuma16(i) => high_bytes(i),
        DynamicImage::ImageLumaA16(i) => high_bytes(i),
        DynamicImage::ImageRgb16(i) => high_bytes(i),
        DynamicImage::ImageRgba16(i) => high_bytes(i),
        _ => image.into_bytes(),
    };
    let colour = samples >= 3;
    let area = height * width;
    let mut pixels = vec![0; area * channels as usize];
    for (to, plane) in pixels.chunks_exact_mut(area.max(1)).enumerate() {
        let from = bytes.chunks_exact(samples);
        match (colour, channels) {
            (true, 1) => plane.iter_mut().zip(from).for_each(|(p, rgb)| *p = grey(rgb)),
            (true, _) => plane.iter_mut().zip(from).for_each(|(p, rgb)| *p = rgb[to]),
            (false, _) => plane.iter_mut().zip(from).for_each(|(p, grey)| *p = grey[0]),
        }
    }
    Planes {
        channels: channels as usize,
        height,
        width,
        pixels,
    }
}

fn high_bytes(samples: &[u16]) -> Vec<u8> {
    samples.iter().map(|s| (s >> 8) as u8).collect()
}

fn grey(rgb: &[u8]) -> u8 {
    let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(u32::from);
    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
}
