use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tesla_data::config::{ColumnConfigs, Scale};
use tesla_data::contract::Role;
use tesla_data::source::open_all;
use tesla_data::{Contract, DataConfig, Frame, Paths, Pipeline};

#[derive(Deserialize)]
struct Case {
    table: String,
    columns: ColumnConfigs,
    width: usize,
    rows: Vec<usize>,
    values: Vec<f64>,
    /// Of all numbers, and of all numbers weighted by where they stand.
    sums: [f64; 2],
    #[serde(default)]
    train: bool,
}

/// Prepared columns are those of scikit-learn, as `benches/peers/prepare_real.json` has them.
fn check(folder: &Path, config: &str, source: &str) {
    #[derive(Deserialize)]
    struct File {
        data: DataConfig,
    }
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(repo.join("benches/peers/prepare_real.json")).unwrap();
    let mut reference: Value = serde_json::from_str(&text).unwrap();
    let cases: Vec<Case> = serde_json::from_value(reference["cases"].take()).unwrap();
    let text = repo.join(format!("examples/configs/{config}.tesla.toml"));
    let File { data } = toml::from_str(&std::fs::read_to_string(text).unwrap()).unwrap();
    let source = open_all(&Paths::from(source), folder, &data).unwrap();
    let frame = Frame::read_all(source).unwrap();
    let whole = Contract::infer(&frame, &data, &ColumnConfigs::new()).unwrap();
    let mut checked = 0;
    for case in cases.iter().filter(|case| case.table == config) {
        let mut contract = whole.clone();
        for rule in &mut contract.columns {
            if rule.role == Role::Feature && !case.columns.contains_key(&rule.name) {
                rule.role = Role::Unused;
            }
        }
        let settled = frame.settle(&contract, &data.bad_policy()).unwrap();
        let fitted = Pipeline::new(&contract, &case.columns)
            .unwrap()
            .fit(&settled.all())
            .unwrap();
        let what = format!("{config} {:?}", case.columns);
        assert_eq!(fitted.width(), case.width, "{what}");
        let mut pass = match case.train {
            true => fitted.train_pass(),
            false => fitted.pass(),
        };
        // Where the likeliest exponent is searched for, two searches come as near as 1e-5 of a standard
        // deviation: values far from 0 are nearly as likely with another.
        let searched = case.columns.values().any(|c| c.scale == Some(Scale::YeoJohnson));
        let (within, least) = if searched { (1e-5, 1.0) } else { (1e-6, 1e-2) };
        let mut sums = [0.0; 2];
        let mut row = 0;
        let mut expected = std::iter::zip(&case.rows, case.values.chunks(case.width)).peekable();
        for batch in settled.all().batches().unwrap() {
            for numbers in pass.matrix(&batch.unwrap()).unwrap().chunks(case.width) {
                for (column, number) in numbers.iter().enumerate() {
                    let weight = ((row % 97 + 1) * (column % 89 + 1)) as f64;
                    sums[0] += number.abs();
                    sums[1] += number.abs() * weight;
                }
                if let Some((_, expected)) = expected.next_if(|(at, _)| **at == row) {
                    for (number, expected) in std::iter::zip(numbers, expected) {
                        let near = (number - expected).abs() <= within * expected.abs().max(least);
                        assert!(near, "{what} row {row}: {number} is not {expected}");
                    }
                }
                row += 1;
            }
        }
        for (sum, expected) in std::iter::zip(sums, case.sums) {
            let near = (sum - expected).abs() <= within * expected.abs();
            assert!(near, "{what}: a sum is {sum}, not {expected}");
        }
        assert!(expected.peek().is_none(), "{what}");
        checked += 1;
    }
    assert!(checked > 30, "{config}: {checked}");
}

pub(crate) fn adult(folder: &Path) {
    check(folder, "adult", "adult/adult-train.csv");
}

pub(crate) fn california_housing(folder: &Path) {
    check(folder, "california-housing", "california-housing/housing.csv");
}

pub(crate) fn ai4i2020(folder: &Path) {
    check(folder, "ai4i2020", "ai4i2020/ai4i2020.csv");
}
