use std::path::Path;

use serde::Deserialize;
use tesla_data::arrow::datatypes::DataType::{self, Float64, Utf8};
use tesla_data::source::open_all;
use tesla_data::{DataConfig, Frame, Paths};

/// What a configuration in `examples/configs` reads from files that may lie elsewhere.
fn check(folder: &Path, config: &str, source: &str, rows: usize, columns: usize, last: DataType) {
    #[derive(Deserialize)]
    struct File {
        data: DataConfig,
    }

    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/configs")
        .join(format!("{config}.tesla.toml"));
    let text = std::fs::read_to_string(path).unwrap();
    let File { data } = toml::from_str(&text).unwrap();
    let source = open_all(&Paths::from(source), folder, &data).unwrap();
    let frame = Frame::read_all(source).unwrap();
    assert_eq!(frame.bad(), []);
    let schema = frame.schema();
    assert_eq!((frame.len(), schema.fields().len()), (rows, columns), "{config}");
    assert_eq!(schema.field(columns - 1).data_type(), &last, "{config}");
    if let Some(target) = &data.target {
        assert!(schema.column_with_name(target).is_some(), "{config}: {target}");
    }
}

pub(crate) fn adult(folder: &Path) {
    check(folder, "adult", "adult/adult-train.csv", 32_561, 15, Utf8);
    check(folder, "adult", "adult/adult-test.csv", 16_281, 15, Utf8);
}

pub(crate) fn california_housing(folder: &Path) {
    check(folder, "california-housing", "california-housing/housing.csv", 20_640, 10, Utf8);
}

pub(crate) fn ai4i2020(folder: &Path) {
    check(folder, "ai4i2020", "ai4i2020/ai4i2020.csv", 10_000, 14, Float64);
}

pub(crate) fn clinc150(folder: &Path) {
    for (part, rows) in [("train", 15_000), ("val", 3_000), ("test", 4_500)] {
        check(folder, "clinc150", &format!("clinc150/data_full.json#{part}"), rows, 2, Utf8);
    }
}

pub(crate) fn sms_spam(folder: &Path) {
    check(folder, "sms-spam", "sms-spam/SMSSpamCollection", 5_574, 2, Utf8);
}

pub(crate) fn jester(folder: &Path) {
    check(folder, "jester", "jester/jester-data-1.zip", 24_983, 101, Float64);
}

pub(crate) fn cmapss(folder: &Path) {
    check(folder, "cmapss", "cmapss/train_FD001.txt", 20_631, 26, Float64);
    check(folder, "cmapss", "cmapss/test_FD001.txt", 13_096, 26, Float64);
}
