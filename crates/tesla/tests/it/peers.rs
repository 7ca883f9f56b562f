//! The same numbers as scikit-learn, on the same rows. The reference is what
//! `benches/peers/reference.py` printed.

use serde_json::Value;
use tesla::evaluate::Metrics;
use tesla::train::{LinearConfig, with_config};
use tesla::{Config, DeviceChoice, Model, ModelConfig, Predictions};
use tesla_data::arrow::array::UInt32Array;
use tesla_data::arrow::compute::take_record_batch;

use crate::support::repo;

fn reference() -> Value {
    let text = std::fs::read_to_string(repo("benches/peers/reference.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Trains on all but the listed test rows of a shipped data set.
fn train(name: &str, target: &str, model: ModelConfig) -> (Model, tesla::Dataset) {
    let mut config = Config {
        model: Some(model),
        ..Default::default()
    };
    config.data.source = format!("{name}.csv").into();
    config.data.target = Some(target.into());
    config.data.split.valid = 0.0;
    config.data.split.test_rows = Some("test_rows.txt".into());
    let base = repo("datasets").join(name);
    let data = tesla::Dataset::load(&config.data, &base).unwrap();
    let model = with_config(&config, &data, DeviceChoice::Flex).unwrap();
    (model, data)
}

fn near(found: f64, expected: &Value, relative: f64, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!(
        (found - expected).abs() <= relative * expected.abs(),
        "{what}: {found} is not {expected}"
    );
}

#[test]
fn linear_on_diabetes_equals_linear_regression() {
    let reference = &reference()["diabetes"]["linear"];
    let (model, _) = train("diabetes", "progression", ModelConfig::Linear(Default::default()));
    let coefficients = model.bundle().coefficients().unwrap();
    near(coefficients[0].intercept, &reference["intercept"], 1e-3, "intercept");
    for (name, value) in &coefficients[0].features {
        near(*value, &reference["coefficients"][name.as_str()], 1e-3, name);
    }
    let Metrics::Regression(metrics) = &model.test().unwrap().metrics else {
        panic!("a number is predicted");
    };
    let r2 = reference["test"]["r2"].as_f64().unwrap();
    assert!((metrics.r2 - r2).abs() < 1e-4, "{} {r2}", metrics.r2);
    near(metrics.mae, &reference["test"]["mae"], 1e-5, "mae");
}

#[test]
fn ridge_on_diabetes_equals_ridge() {
    let reference = &reference()["diabetes"]["ridge"];
    let ridge = LinearConfig {
        l2: 1.0,
        ..Default::default()
    };
    let (model, _) = train("diabetes", "progression", ModelConfig::Linear(ridge));
    for (name, value) in &model.bundle().coefficients().unwrap()[0].features {
        let scale = reference["scaler_std"][name.as_str()].as_f64().unwrap();
        near(value * scale, &reference["coefficients"][name.as_str()], 1e-3, name);
    }
    let Metrics::Regression(metrics) = &model.test().unwrap().metrics else {
        panic!("a number is predicted");
    };
    near(metrics.r2, &reference["test"]["r2"], 1e-5, "r2");
}

#[test]
fn logistic_equals_logistic_regression_on_every_test_row() {
    for (name, target) in
        [("breast-cancer", "diagnosis"), ("iris", "species"), ("wine", "cultivar")]
    {
        let reference = &reference()[name];
        let (model, data) = train(name, target, ModelConfig::Logistic(Default::default()));
        let expected = reference["predictions"].as_array().unwrap();
        let rows = UInt32Array::from_iter_values(
            expected.iter().map(|p| p["row"].as_u64().unwrap() as u32),
        );
        let rows = take_record_batch(&data.frame.to_batch().unwrap(), &rows).unwrap();
        let predictions = model.predict(&rows).unwrap();
        let Predictions::Classes {
            labels,
            probabilities,
            ..
        } = &predictions
        else {
            panic!("classes are predicted");
        };
        let found = predictions.to_strings();
        let mut worst = 0.0f64;
        for (i, row) in expected.iter().enumerate() {
            assert_eq!(found[i], row["predicted"].as_str().unwrap(), "{name} row {}", row["row"]);
            for (k, p) in row["probabilities"].as_array().unwrap().iter().enumerate() {
                let p = p.as_f64().unwrap();
                worst = worst.max((probabilities[i * labels.len() + k] - p).abs());
            }
        }
        assert!(worst < 1e-5, "{name}: a probability is {worst} off");
        let Metrics::Classification(metrics) = &model.test().unwrap().metrics else {
            panic!("classes are predicted");
        };
        near(metrics.accuracy, &reference["test"]["accuracy"], 1e-12, name);
        near(metrics.f1, &reference["test"]["macro"]["f1"], 1e-12, name);
        near(metrics.log_loss, &reference["test"]["log_loss"], 1e-4, name);
    }
}
