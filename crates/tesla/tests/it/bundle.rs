//! The bundle's format lasts: files of every format version keep loading and predicting.

use serde_json::json;
use tesla::{Bundle, DeviceChoice, Model};

use crate::support::repo;

/// Written by `tesla train datasets/iris/iris.csv --target species --model logistic --device flex`
/// of the version that introduced the format.
const GOLDEN: &str = "crates/tesla/tests/golden/format-1.tesla";

#[test]
fn a_bundle_of_format_1_keeps_predicting() {
    let model = Model::load(repo(GOLDEN), DeviceChoice::Flex).unwrap();
    let flower = json!({
        "sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2,
    });
    let predictions = model.predict_json(&[flower]).unwrap();
    assert_eq!(predictions.to_strings(), ["setosa"]);
}

/// Written by `tesla train` on `datasets/breast-cancer` with `model = { kind = "logistic" }` and in `[evaluate]`
/// `calibrate = "platt"` and `threshold = { cost = { false_positive = 1, false_negative = 20 } }`.
const GOLDEN_2: &str = "crates/tesla/tests/golden/format-2.tesla";

#[test]
fn a_bundle_of_format_2_keeps_its_decision_and_its_bytes() {
    let bytes = std::fs::read(repo(GOLDEN_2)).unwrap();
    let bundle = Bundle::from_bytes("golden", &bytes).unwrap();
    assert!(bundle.decision.threshold.is_some() && bundle.decision.calibration.is_some());
    assert!(bundle.to_bytes().unwrap() == bytes);
}

#[test]
fn reading_and_writing_gives_the_same_bytes() {
    let bytes = std::fs::read(repo(GOLDEN)).unwrap();
    let bundle = Bundle::from_bytes("golden", &bytes).unwrap();
    assert!(bundle.to_bytes().unwrap() == bytes);
}

#[test]
fn no_directory_of_the_machine_is_inside() {
    let bytes = std::fs::read(repo(GOLDEN)).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("\"source\": \"iris.csv\""));
    assert!(!text.contains("datasets/"));
}
