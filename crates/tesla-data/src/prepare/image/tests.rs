//! Against what Pillow reads: `benches/peers/augment.py` made the reference values.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::decode::{Planes, decode_file, planes};
use super::resize::{fit, resize};
use crate::config::Fit;

fn reference(part: &str) -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/peers/augment.json");
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[part].clone()
}

fn bytes(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap()
}

fn size(value: &Value) -> [usize; 2] {
    [0, 1].map(|i| value[i].as_u64().unwrap() as usize)
}

/// Pillow's interleaved pixels as planes.
fn planar(pixels: &[u8], channels: usize, [height, width]: [usize; 2]) -> Planes {
    let plane = |c: usize| pixels.iter().skip(c).step_by(channels).copied();
    Planes {
        channels,
        height,
        width,
        pixels: (0..channels).flat_map(plane).collect(),
    }
}

fn furthest(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

#[test]
fn files_hold_what_pillow_sees_in_them() {
    for case in reference("files").as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let image = decode_file(&bytes(&case["file"])).unwrap();
        let within = case["within"].as_u64().unwrap() as u8;
        for (channels, key) in [(3, "rgb"), (1, "grey")] {
            let expected = planar(&bytes(&case[key]), channels, size(&case["size"]));
            let found = planes(image.clone(), channels as u8);
            assert_eq!((found.height, found.width), (expected.height, expected.width), "{name}");
            let off = furthest(&found.pixels, &expected.pixels);
            assert!(off <= within, "{name} as {key}: {off} levels off");
        }
    }
}

#[test]
fn a_photograph_that_is_cut_off_is_refused() {
    let cases = reference("files");
    let files = cases.as_array().unwrap().iter().map(|case| bytes(&case["file"]));
    let photographs: Vec<Vec<u8>> = files.filter(|file| file.starts_with(&[0xff, 0xd8])).collect();
    assert!(!photographs.is_empty());
    for file in photographs {
        for length in [file.len() / 3, file.len() / 2, file.len() - 2] {
            let why = decode_file(&file[..length]).unwrap_err();
            assert!(why.contains("cut off"), "{why}");
        }
        // What other programs put behind a picture does no harm.
        assert!(decode_file(&[&file[..], b"more"].concat()).is_ok());
    }
}

#[test]
fn other_sizes_are_pillows_to_the_bit() {
    let set = reference("sizes");
    let from = ["height", "width"].map(|key| set[key].as_u64().unwrap() as usize);
    for case in set["cases"].as_array().unwrap() {
        let to = size(&case["size"]);
        let image = planar(&bytes(&set["pixels"]), 3, from);
        let expected = planar(&bytes(&case["pixels"]), 3, to);
        assert_eq!(resize(image, to[0], to[1]), expected, "{to:?}");
    }
}

#[test]
fn proportions_are_stretched_cut_or_padded() {
    let wide = || Planes {
        channels: 1,
        height: 2,
        width: 4,
        pixels: vec![10, 20, 30, 40, 10, 20, 30, 40],
    };
    let pixels = |how, height, width| fit(wide(), height, width, how).pixels;
    assert_eq!(pixels(Fit::Cover, 2, 2), [20, 30, 20, 30]);
    assert_eq!(
        pixels(Fit::Contain, 4, 4),
        [0, 0, 0, 0, 10, 20, 30, 40, 10, 20, 30, 40, 0, 0, 0, 0]
    );
    assert_eq!(pixels(Fit::Stretch, 1, 4), [10, 20, 30, 40]);
    for how in [Fit::Stretch, Fit::Cover, Fit::Contain] {
        for (height, width) in [(1, 1), (1, 9), (9, 1), (3, 5), (64, 2)] {
            assert_eq!(pixels(how, height, width).len(), height * width, "{how:?}");
        }
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let mut header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    header.extend(60_000_u32.to_be_bytes());
    header.extend(60_000_u32.to_be_bytes());
    header.extend([8, 6, 0, 0, 0]);
    header.extend(crc(&header[12..]).to_be_bytes());
    let error = decode_file(&header).unwrap_err();
    assert!(error.contains("limit"), "{error}");
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
