//! Times augmentation on the images of a folder and draws what it does to some of them:
//! `cargo run --release -p tesla-data --example augment -- FOLDER [SIDE] [SHEET.png]`.
//!
//! It prints images per second on one thread as one line of JSON; `benches/peers/augment.py time`
//! prints the same for torchvision, by processor time: on a busy machine TESLA's are too low. Each row of the sheet is an image, then the image under each
//! recipe.

use std::path::Path;
use std::time::Instant;

use tesla_data::augment::{Augment, AugmentConfig};
use tesla_data::config::{ColumnConfig, ColumnConfigs};
use tesla_data::samples::{ImageSet, Inputs};
use tesla_data::{Contract, DataConfig, Dataset, Pipeline};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const RECIPES: [(&str, &str); 12] = [
    ("none", ""),
    ("crop_flip", "random_resized_crop = {}\nflip = 'horizontal'"),
    (
        "crop_flip_jitter",
        "random_resized_crop = {}\nflip = 'horizontal'\ncolour_jitter = { brightness = 0.4, contrast = 0.4, saturation = 0.4, hue = 0.1 }",
    ),
    ("pad_crop_flip", "pad_crop = 4\nflip = 'horizontal'"),
    ("rotate", "rotate = 15.0"),
    ("randaugment", "randaugment = {}"),
    ("blur", "blur = {}"),
    ("noise", "noise = 0.02"),
    (
        "affine",
        "affine = { degrees = 15.0, translate = [0.1, 0.1], scale = [0.9, 1.1], shear = 10.0 }",
    ),
    ("erase", "erase = { p = 1.0 }"),
    ("mixup", "mixup = 1.0"),
    ("cutmix", "cutmix = 1.0"),
];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("say a folder of images")?;
    let side = arguments.next().map_or(Ok(128), |side| side.parse())?;
    let set = load(&folder, side)?;
    let rows: Vec<usize> =
        (0..set.pixels.len() / (set.channels * set.height * set.width)).collect();
    let mut figures = vec![format!("\"side\": {side}, \"images\": {}", rows.len())];
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    for (name, text) in RECIPES {
        let augment = augment(text, &set)?;
        let run = |rows: &[usize], epoch| -> tesla_data::Result<()> {
            let mut batch = augment.batch(&set, rows, 1, epoch)?;
            if let Some(mix) = augment.mix(rows, 1, epoch) {
                mix.apply(&mut batch, set.width, set.width * set.height);
            }
            std::hint::black_box(batch);
            Ok(())
        };
        // Many epochs and their mean: the best of a few short ones flatters.
        let (mut epochs, start) = (0, Instant::now());
        while epochs == 0 || start.elapsed().as_secs_f64() < 1.5 {
            one.install(|| rows.chunks(64).try_for_each(|rows| run(rows, epochs)))?;
            epochs += 1;
        }
        let speed = epochs as f64 * rows.len() as f64 / start.elapsed().as_secs_f64();
        figures.push(format!("\"{name}\": {speed:.0}"));
    }
    println!("{{{}}}", figures.join(", "));
    match arguments.next() {
        Some(path) => sheet(&set, &rows, Path::new(&path)),
        None => Ok(()),
    }
}

/// The images of a folder, `side` by `side` pixels.
fn load(folder: &str, side: u32) -> Result<ImageSet> {
    let data = DataConfig {
        source: folder.into(),
        ..Default::default()
    };
    let image = ColumnConfig {
        size: Some([side, side]),
        channels: Some(3),
        ..Default::default()
    };
    let columns = ColumnConfigs::from([("image".to_string(), image)]);
    let frame = Dataset::load(&data, Path::new(""))?.frame;
    let contract = Contract::infer(&frame, &data, &columns)?;
    let fitted = Pipeline::new(&contract, &columns)?.fit(&frame.all())?;
    match fitted.collect(&frame.all())?.inputs {
        Inputs::Images(set) => Ok(set),
        _ => Err("the folder holds no images".into()),
    }
}

fn augment(text: &str, set: &ImageSet) -> Result<Augment> {
    let config: AugmentConfig = toml::from_str(text)?;
    Ok(Augment::new(&config, set.channels, set.height, set.width)?)
}

/// A few images under every recipe.
fn sheet(set: &ImageSet, rows: &[usize], path: &Path) -> Result<()> {
    const IMAGES: usize = 8;
    let (side, area) = (set.width as u32, set.width * set.height);
    let shown: Vec<usize> = rows.iter().copied().step_by((rows.len() / IMAGES).max(1)).collect();
    let shown = &shown[..IMAGES.min(shown.len())];
    let mut sheet =
        image::RgbImage::new(side * RECIPES.len() as u32, set.height as u32 * shown.len() as u32);
    for (column, (_, text)) in RECIPES.iter().enumerate() {
        let augment = augment(text, set)?;
        let mut batch = augment.batch(set, shown, 1, 1)?;
        if let Some(mix) = augment.mix(shown, 1, 1) {
            mix.apply(&mut batch, set.width, area);
        }
        for (row, picture) in batch.chunks(set.channels * area).enumerate() {
            for i in 0..area {
                let channel = |c: usize| {
                    let c = c.min(set.channels - 1);
                    let value = picture[c * area + i] * set.std[c] + set.mean[c];
                    (value * 255.0).round() as u8
                };
                let x = column as u32 * side + (i % set.width) as u32;
                let y = (row * set.height + i / set.width) as u32;
                sheet.put_pixel(x, y, image::Rgb([0, 1, 2].map(channel)));
            }
        }
    }
    Ok(sheet.save(path)?)
}
