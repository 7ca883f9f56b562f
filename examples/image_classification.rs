//! Pictures told apart by a small convolutional network, and a page with the pictures it has most wrong.
//!
//! `cargo run --release --example image_classification`, on the handwritten digits that ship with TESLA.
//! With `-- --data DIR`, on the 70,000 pictures of Fashion-MNIST in `DIR/fashion-mnist`
//! (`tesla datasets get fashion-mnist --out DIR`).

use std::fmt::Write;

use anyhow::{Context, Result};
use examples::{open, out, serve};
use serde_json::json;
use tesla::evaluate::{Classification, Metrics, picture};
use tesla::{DeviceChoice, Frame, Model, Report, train};

fn main() -> Result<()> {
    // A moved or turned digit is the same digit, so every epoch sees each training picture a little
    // otherwise, and the network has to learn the shape instead of the pixels: `[augment]` in the settings.
    // Clothes may be mirrored, a digit may not.
    let (config, data) = open("digits", "fashion-mnist")?;
    let augment = toml::to_string(&config.augment)?;
    println!("training with augmentation: {}", augment.trim_end().replace('\n', ", "));
    let model = train::with_config(&config, &data, DeviceChoice::Flex)?;

    // The test rows took no part in training: what the model says of them is what it will say of yours.
    let test = model.test().context("the settings keep test rows")?;
    let Metrics::Classification(figures) = &test.metrics else {
        anyhow::bail!("a class is predicted");
    };
    println!("\nrow = what it is, column = what the model says:\n{}", confusion(figures));
    println!("{}", most_confused(figures));

    // The worst mistakes are worth a look: some are labelled wrongly, some no person could tell.
    let folder = out("image_classification")?;
    let rows = data.test.as_ref().unwrap_or(&data.frame);
    let page = folder.join("report.html");
    std::fs::write(&page, report(&model, rows, test, figures)?)?;
    println!("the {} worst mistakes, as pictures: {}", test.worst.len(), page.display());

    // The file holds everything that a prediction needs. Asked for its worst mistake, it makes it again.
    let file = folder.join("pictures.tesla");
    model.save(&file)?;
    let worst = test.worst.first().context("some picture is the worst")?;
    let png = picture(&model, rows, worst)?.replace("data:image/png;base64,", "");
    let answer = serve(&file, "application/json", &json!({ "image": png }).to_string())?;
    let said = &answer["predictions"][0]["prediction"];
    println!("  the worst mistake again: it is {}, and the server says {said}", worst.truth);
    println!("accuracy on {} pictures it has never seen: {:.4}", test.rows, figures.accuracy);
    Ok(())
}

/// The confusion matrix as text.
fn confusion(figures: &Classification) -> String {
    let mut text = String::new();
    for (class, row) in figures.classes.iter().zip(&figures.confusion) {
        let _ = write!(text, "{:>3}", class.label);
        for count in row {
            let _ = write!(text, "{count:>6}");
        }
        text.push('\n');
    }
    text
}

/// The two classes that are taken for each other most often.
fn most_confused(figures: &Classification) -> String {
    let labels: Vec<&str> = figures.classes.iter().map(|c| c.label.as_str()).collect();
    let mut worst = (0.0, 0, 0);
    for (truth, row) in figures.confusion.iter().enumerate() {
        for (said, count) in row.iter().enumerate() {
            if truth != said && *count > worst.0 {
                worst = (*count, truth, said);
            }
        }
    }
    match worst {
        (0.0, ..) => "no class is taken for another".into(),
        (count, truth, said) => {
            format!(
                "most often confused: {} taken for {}, {count} times",
                labels[truth], labels[said]
            )
        }
    }
}

/// A page with the matrix and the worst mistakes; pictures are inside, so it opens anywhere.
fn report(model: &Model, rows: &Frame, test: &Report, figures: &Classification) -> Result<String> {
    let mut page = format!(
        "<!doctype html><meta charset=utf-8><title>Worst mistakes</title>\
         <style>body{{font-family:sans-serif}}img{{width:96px;image-rendering:pixelated}}\
         figure{{display:inline-block}}</style>\
         <h1>Accuracy {:.4}</h1><pre>{}</pre><h2>Worst mistakes</h2>",
        figures.accuracy,
        confusion(figures)
    );
    for mistake in &test.worst {
        let picture = picture(model, rows, mistake)?;
        let (truth, said) = (&mistake.truth, &mistake.predicted);
        let sure = 100.0 * mistake.probability.unwrap_or(f64::NAN);
        let _ = write!(
            page,
            "<figure><img src=\"{picture}\"><figcaption>{said} ({sure:.0} %)<br>is {truth}</figcaption></figure>"
        );
    }
    Ok(page)
}
