//! Preparation learns from the training rows only.

use proptest::prelude::*;
use tesla_data::config::{ColumnConfigs, CsvConfig};
use tesla_data::source::{CsvSource, Input};
use tesla_data::{BadPolicy, Contract, DataConfig, FittedPipeline, Frame, Pipeline};

/// A number or none, a category or none, a class.
type Row = (Option<i16>, Option<u8>, bool);

/// What is learned from every third row left out, whatever those are.
fn fitted(rows: &[Row], columns: &ColumnConfigs) -> FittedPipeline {
    let mut text = String::from("x,c,y\n");
    for (x, c, y) in rows {
        let x = x.map_or(String::new(), |x| x.to_string());
        let c = c.map_or(String::new(), |c| format!("c{}", c % 30));
        text.push_str(&format!("{x},{c},{}\n", if *y { "yes" } else { "no" }));
    }
    let input = Input::from_bytes("t.csv", text.as_bytes());
    let source = CsvSource::open(input, CsvConfig::default()).unwrap();
    let frame = Frame::read_all(Box::new(source)).unwrap();
    let data = DataConfig {
        target: Some("y".into()),
        ..Default::default()
    };
    // The contract is inferred anew too: no part of what it learns of other rows may get in.
    let contract = Contract::infer(&frame, &data, columns).unwrap();
    let frame = frame.settle(&contract, &BadPolicy::default()).unwrap();
    let train = (0..rows.len() as u32).filter(|row| row % 3 > 0).collect();
    Pipeline::new(&contract, columns)
        .unwrap()
        .fit(&frame.select(train))
        .unwrap()
}

proptest! {
    #[test]
    fn no_fitted_state_changes_with_the_rows_left_out(
        mut rows in prop::collection::vec(any::<Row>(), 30..80),
        others in prop::collection::vec(any::<Row>(), 30),
        median: bool,
    ) {
        // The kinds of columns and the classes are known from the training rows.
        for (row, y) in [(1, false), (2, true)] {
            rows[row] = (Some(3), Some(1), y);
        }
        let mut changed = rows.clone();
        for (row, other) in changed.iter_mut().step_by(3).zip(others) {
            *row = other;
        }
        let impute = if median { "median" } else { "mean" };
        let columns = format!("c = {{ kind = \"category\" }}\nx = {{ impute = \"{impute}\" }}");
        let columns: ColumnConfigs = toml::from_str(&columns).unwrap();
        prop_assert_eq!(fitted(&rows, &columns), fitted(&changed, &columns));
    }
}
