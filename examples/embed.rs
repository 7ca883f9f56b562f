//! TESLA inside a program of your own: train once, keep one sealed file, answer in the program.
//!
//! `cargo run --release --example embed`

use std::path::Path;

use anyhow::Result;
use serde_json::json;
use tesla::{DeviceChoice, Model, ingest, train};

fn main() -> Result<()> {
    let path = std::env::temp_dir().join("diabetes.tesla");
    train_once(&path)?;

    // This is all that a program which only predicts needs: no training code runs, and the file
    // brings its own preparation and its own rules for what a row may hold.
    let model = Model::load(&path, DeviceChoice::Flex)?;
    let patient = json!({
        "age": 52, "sex": 1, "bmi": 28.4, "bp": 98, "s1": 190,
        "s2": 115.2, "s3": 49, "s4": 4, "s5": 4.7, "s6": 93,
    });
    let progression = model.predict_json(std::slice::from_ref(&patient))?.to_strings();
    println!("disease progression after one year: {}", progression[0]);

    // A row that breaks the model's rules is an error that says why, never a guess.
    let mut wrong = patient;
    wrong["bmi"] = json!("tall");
    if let Err(error) = model.predict_json(&[wrong]) {
        println!("refused: {error}");
    }
    Ok(())
}

fn train_once(path: &Path) -> Result<()> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../datasets/diabetes/diabetes.csv");
    let model = train::linear_regression(&ingest::load_csv(data)?, "progression")?;
    if let Some(test) = model.test() {
        println!("trained: R² {:.3} on {} test rows", test.headline().1, test.rows);
    }
    Ok(model.save(path)?)
}
