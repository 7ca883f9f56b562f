//! Against torchvision, whose values `benches/peers/augment.py` printed, and what must hold.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use serde_json::Value;

use super::colour::Colour;
use super::geometry::{Geometry, Map};
use super::*;

fn config(text: &str) -> AugmentConfig {
    toml::from_str(text).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// Every pixel differs from its neighbours.
fn picture(channels: usize, height: usize, width: usize) -> Vec<u8> {
    (0..channels * height * width).map(|i| (i * 37 % 251) as u8).collect()
}

fn set(rows: usize, channels: usize, height: usize, width: usize) -> ImageSet {
    ImageSet {
        channels,
        height,
        width,
        pixels: picture(channels, height * rows, width),
        mean: vec![0.5; channels],
        std: vec![0.25; channels],
    }
}

const EVERYTHING: &str = r#"
    random_resized_crop = { scale = [0.3, 1.0] }
    flip = "both"
    rotate = 15.0
    affine = { degrees = 10.0, translate = [0.1, 0.1], scale = [0.9, 1.1], shear = 5.0 }
    randaugment = { count = 2, magnitude = 9 }
    colour_jitter = { brightness = 0.4, contrast = 0.4, saturation = 0.4, hue = 0.1 }
    blur = { sigma = [0.1, 2.0] }
    noise = 0.02
    erase = { p = 0.5 }
    mixup = 0.2
    cutmix = 1.0
"#;

#[test]
fn operations_are_torchvisions_within_one_level() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/peers/augment.json");
    let text = std::fs::read_to_string(path).unwrap();
    let set = serde_json::from_str::<Value>(&text).unwrap()["operations"].clone();
    let [height, width] = ["height", "width"].map(|key| set[key].as_u64().unwrap() as usize);
    let area = height * width;
    let image = bytes(&set["pixels"]);
    for case in set["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let with: Vec<f64> = case["with"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect();
        let colour = |colour: Colour| {
            let mut out = image.clone();
            if colour == Colour::AutoContrast {
                out.iter_mut().for_each(|p| *p = *p / 2 + 20);
            }
            colour.apply(&mut out, width, area);
            out
        };
        let moved = |change: &dyn Fn(&mut Geometry)| {
            let mut geometry = Geometry::new(height, width);
            change(&mut geometry);
            let mut out = vec![0; image.len()];
            geometry.resample(&image, &mut out);
            out
        };
        let found = match name {
            "brightness" => colour(Colour::Brightness(with[0] as f32)),
            "contrast" => colour(Colour::Contrast(with[0] as f32)),
            "saturation" => colour(Colour::Saturation(with[0] as f32)),
            "hue" => colour(Colour::Hue(with[0] as f32)),
            "sharpness" => colour(Colour::Sharpness(with[0] as f32)),
            "posterize" => colour(Colour::Posterize(with[0] as u32)),
            "solarize" => colour(Colour::Solarize(with[0] as f32)),
            "autocontrast" => colour(Colour::AutoContrast),
            "equalize" => colour(Colour::Equalize),
            "horizontal_flip" => moved(&|g| g.flip_horizontal()),
            "vertical_flip" => moved(&|g| g.flip_vertical()),
            "rotate" => moved(&|g| g.rotate(with[0])),
            "resized_crop" => moved(&|g| g.crop([0, 1, 2, 3].map(|i| with[i] as usize))),
            "affine" => moved(&|g| {
                let shear = [with[4], 0.0];
                g.transform(&Map::affine(with[0], [with[1], with[2]], with[3], shear, g.centre()));
            }),
            "blur" => {
                let mut out = image.clone();
                out.chunks_exact_mut(area)
                    .for_each(|p| filter::blur(p, width, with[0]));
                out
            }
            other => panic!("{other} is not tested"),
        };
        let off = found
            .iter()
            .zip(bytes(&case["pixels"]))
            .map(|(a, b)| a.abs_diff(b))
            .max();
        assert!(off <= Some(1), "{name} with {with:?}: {off:?} levels off");
    }
}

#[test]
fn off_is_the_image_itself() {
    let set = set(5, 3, 7, 9);
    let off = Augment::new(&AugmentConfig::default(), 3, 7, 9).unwrap();
    let rows = [3, 0, 4];
    let plain = crate::Inputs::Images(set.clone()).gather(&rows).unwrap();
    assert_eq!(off.batch(&set, &rows, 1, 1).unwrap(), plain);
    assert_eq!(off.mix(&rows, 1, 1), None);
}

#[test]
fn a_quarter_turn_moves_every_pixel() {
    let image = picture(1, 6, 6);
    let mut geometry = Geometry::new(6, 6);
    geometry.rotate(90.0);
    let mut out = vec![0; 36];
    geometry.resample(&image, &mut out);
    // Counter-clockwise: the right column becomes the top row.
    let expected: Vec<u8> = (0..36).map(|i| image[i % 6 * 6 + 5 - i / 6]).collect();
    assert_eq!(out, expected);
}

#[test]
fn moves_are_composed_in_their_order() {
    let image = picture(3, 8, 8);
    let mut together = Geometry::new(8, 8);
    together.crop([1, 2, 4, 4]);
    together.flip_horizontal();
    together.rotate(90.0);
    let mut out = vec![0; image.len()];
    together.resample(&image, &mut out);
    let mut step = image;
    let alone: [fn(&mut Geometry); 3] =
        [|g| g.crop([1, 2, 4, 4]), |g| g.flip_horizontal(), |g| g.rotate(90.0)];
    for change in alone {
        let mut geometry = Geometry::new(8, 8);
        change(&mut geometry);
        let mut next = vec![0; step.len()];
        geometry.resample(&step, &mut next);
        step = next;
    }
    // Composed, the part's edge shows the image around it, so the rim is left out.
    for (i, (a, b)) in out.iter().zip(&step).enumerate() {
        let (x, y) = (i % 8, i / 8 % 8);
        if (1..7).contains(&x) && (1..7).contains(&y) {
            assert!(a.abs_diff(*b) <= 1, "{x} {y}: {a} {b}");
        }
    }
}

#[test]
fn parts_lie_inside_and_keep_their_ratio() {
    let mut rng = generator(7, 0, 0, Use::Image);
    for _ in 0..1000 {
        let [top, left, tall, wide] = geometry::part(&ResizedCrop::default(), 40, 60, &mut rng);
        assert!(tall > 0 && wide > 0 && top + tall <= 40 && left + wide <= 60);
        let ratio = wide as f64 / tall as f64;
        // Sides are whole pixels, 11 at least.
        assert!((0.7..1.45).contains(&ratio), "{ratio}");
        assert!((tall * wide) as f64 >= 0.07 * 2400.0);
    }
}

#[test]
fn every_second_image_is_flipped() {
    let augment = Augment::new(&config("flip = \"horizontal\""), 1, 1, 2).unwrap();
    let mut flipped = 0;
    for row in 0..2000 {
        let mut out = [0; 2];
        augment.apply(&[1, 2], &mut out, 5, 3, row).unwrap();
        assert!(out == [1, 2] || out == [2, 1]);
        flipped += u32::from(out == [2, 1]);
    }
    // Four standard deviations.
    assert!(flipped.abs_diff(1000) < 90, "{flipped}");
}

#[test]
fn noise_has_its_standard_deviation() {
    let augment = Augment::new(&config("noise = 0.1"), 1, 100, 100).unwrap();
    let mut out = vec![0; 10_000];
    augment.apply(&vec![128; 10_000], &mut out, 1, 1, 1).unwrap();
    let mean = out.iter().map(|p| f64::from(*p)).sum::<f64>() / 1e4;
    let variance = out.iter().map(|p| (f64::from(*p) - mean).powi(2)).sum::<f64>() / 1e4;
    assert!((mean - 128.0).abs() < 1.1, "{mean}");
    assert!((variance.sqrt() - 25.5).abs() < 0.8, "{}", variance.sqrt());
}

#[test]
fn a_row_and_an_epoch_decide_and_nothing_else() {
    let set = set(12, 3, 16, 20);
    let augment = Augment::new(&config(EVERYTHING), 3, 16, 20).unwrap();
    let rows: Vec<usize> = (0..12).collect();
    let threads = |n: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| augment.batch(&set, &rows, 42, 7).unwrap())
    };
    let all = threads(1);
    assert_eq!(all, threads(4));
    let size = 3 * 16 * 20;
    assert_eq!(augment.batch(&set, &[5, 2], 42, 7).unwrap()[size..], all[2 * size..3 * size]);
    assert_ne!(augment.batch(&set, &rows, 42, 8).unwrap(), all);
    assert_ne!(augment.batch(&set, &rows, 43, 7).unwrap(), all);
    // The same image in two rows is not changed alike.
    let mut two = set.clone();
    two.pixels.copy_within(0..size, size);
    let pair = augment.batch(&two, &[0, 1], 42, 7).unwrap();
    assert_ne!(pair[..size], pair[size..]);
}

#[test]
fn mixed_images_are_weighted_by_their_share() {
    let rows: Vec<usize> = (0..64).collect();
    for (text, boxed) in [("mixup = 0.2", false), ("cutmix = 1.0", true)] {
        let augment = Augment::new(&config(text), 1, 8, 10).unwrap();
        let mix = augment.mix(&rows, 3, 1).unwrap();
        assert_eq!(mix, augment.mix(&rows, 3, 1).unwrap());
        assert_eq!(mix.boxes.is_some(), boxed);
        // Image `i` is all `i`: what comes out is the weighted mean of two.
        let mut batch: Vec<f32> = rows.iter().flat_map(|row| [*row as f32; 80]).collect();
        mix.apply(&mut batch, 10, 80);
        for (row, image) in batch.chunks(80).enumerate() {
            let own = mix.lambda[row];
            assert!((0.0..=1.0).contains(&own));
            let expected = own * row as f32 + (1.0 - own) * mix.partner[row] as f32;
            let mean = image.iter().sum::<f32>() / 80.0;
            assert!((mean - expected).abs() < 1e-3, "{text} row {row}: {mean} {expected}");
        }
    }
}

#[test]
fn shares_follow_the_beta_distribution() {
    // Variance of Beta(a, a): 1 / (4 (2a + 1)).
    for alpha in [0.001, 0.2, 1.0, 5.0] {
        let augment = Augment::new(&config(&format!("mixup = {alpha}")), 1, 1, 1).unwrap();
        let lambda = augment.mix(&(0..4000).collect::<Vec<_>>(), 1, 1).unwrap().lambda;
        let mean = lambda.iter().sum::<f32>() / 4000.0;
        let variance = lambda.iter().map(|l| (l - mean).powi(2)).sum::<f32>() / 4000.0;
        let expected = 0.25 / (2.0 * alpha as f32 + 1.0);
        assert!((mean - 0.5).abs() < 0.035, "{alpha}: {mean}");
        assert!((variance / expected - 1.0).abs() < 0.1, "{alpha}: {variance} {expected}");
    }
}

#[test]
fn errors_name_the_key() {
    for (text, key) in [
        ("rotate = -3.0", "`augment.rotate` is -3"),
        ("rotate = nan", "`augment.rotate`"),
        ("random_resized_crop = { scale = [0.5, 0.2] }", "`augment.random_resized_crop.scale`"),
        ("random_resized_crop = {}\npad_crop = 4", "`augment.pad_crop` both"),
        ("colour_jitter = { hue = 0.6 }", "`augment.colour_jitter.hue`"),
        ("mixup = 0.0", "`augment.mixup`"),
        ("randaugment = { magnitude = 31 }", "`augment.randaugment.magnitude`"),
        ("erase = { p = 2.0 }", "`augment.erase.p`"),
    ] {
        let error = Augment::new(&config(text), 3, 4, 4).err().unwrap().to_string();
        assert!(error.contains(key), "{error}");
    }
    assert!(Augment::new(&AugmentConfig::default(), 2, 4, 4).is_err());
    let augment = Augment::new(&AugmentConfig::default(), 3, 4, 4).unwrap();
    assert!(augment.apply(&[0; 3], &mut [0; 48], 0, 0, 0).is_err());
    assert!(augment.batch(&set(2, 3, 4, 5), &[0], 0, 0).is_err());
    assert!(augment.batch(&set(2, 3, 4, 4), &[2], 0, 0).is_err());
}

fn configs() -> impl Strategy<Value = AugmentConfig> {
    let moves = (
        prop::option::of((0.01..1.0_f64, 0.2..1.0_f64)),
        prop::option::of(0..50_u32),
        prop::option::of(prop_oneof![
            Just(Flip::Horizontal),
            Just(Flip::Vertical),
            Just(Flip::Both)
        ]),
        prop::option::of(0.0..180.0_f64),
        prop::option::of((0.0..180.0_f64, 0.0..1.0_f64, 0.01..5.0_f64, 0.0..80.0_f64)),
    );
    let colours = (
        prop::option::of((0..5_usize, 0..=30_u32)),
        prop::option::of((0.0..3.0_f64, 0.0..=0.5_f64)),
        prop::option::of(0.01..20.0_f64),
        prop::option::of(0.0..1.0_f64),
        prop::option::of((0.0..1.0_f64, 0.1..3.0_f64)),
    );
    (moves, colours).prop_map(|((part, pad, flip, rotate, affine), colours)| {
        let (rand, jitter, blur, noise, erase) = colours;
        AugmentConfig {
            random_resized_crop: part.map(|(scale, ratio)| ResizedCrop {
                scale: [scale, 1.0],
                ratio: [ratio, 1.5],
            }),
            pad_crop: pad.filter(|_| part.is_none()),
            flip,
            rotate,
            affine: affine.map(|(degrees, translate, scale, shear)| Affine {
                degrees,
                translate: [translate; 2],
                scale: [scale, 5.0],
                shear,
            }),
            randaugment: rand.map(|(count, magnitude)| RandAugment { count, magnitude }),
            colour_jitter: jitter.map(|(by, hue)| ColourJitter {
                brightness: by,
                contrast: by,
                saturation: by,
                hue,
            }),
            blur: blur.map(|sigma| Blur { sigma: [sigma; 2] }),
            noise,
            erase: erase.map(|(scale, ratio)| Erase {
                p: 1.0,
                scale: [scale, 1.0],
                ratio: [ratio, 3.3],
            }),
            mixup: Some(0.4),
            cutmix: Some(1.0),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_shape_and_any_configuration_works(
        config in configs(),
        colour in any::<bool>(),
        height in 1..=40_usize,
        width in 1..=40_usize,
        seed in any::<u64>(),
    ) {
        let channels = if colour { 3 } else { 1 };
        let set = set(3, channels, height, width);
        let augment = Augment::new(&config, channels, height, width).unwrap();
        let mut batch = augment.batch(&set, &[2, 0], seed, 1).unwrap();
        let mix = augment.mix(&[2, 0], seed, 1).unwrap();
        mix.apply(&mut batch, width, height * width);
        // Normalised by a mean of 0.5 and a deviation of 0.25.
        prop_assert!(batch.iter().all(|v| (-2.001..=2.001).contains(v)));
    }
}
