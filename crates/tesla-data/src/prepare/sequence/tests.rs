use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::{ColumnConfigs, CsvConfig, DataConfig};
use crate::contract::Need;
use crate::source::{Batches, CsvSource, Input};
use crate::{Dataset, FittedPipeline, Frame, Pipeline, Source, Task};

/// Rows that come in given batches.
struct Batched(Vec<RecordBatch>);

impl Source for Batched {
    fn name(&self) -> &str {
        "batches"
    }

    fn schema(&self) -> Result<crate::arrow::datatypes::SchemaRef> {
        Ok(self.0[0].schema())
    }

    fn scan(&self, _: &crate::arrow::datatypes::SchemaRef) -> Result<Batches<'_>> {
        Ok(Box::new(self.0.iter().cloned().map(|rows| Ok(rows.into()))))
    }

    fn fingerprint(&self) -> Result<String> {
        Ok(String::new())
    }
}

fn frame(text: &str) -> Frame {
    let input = Input::from_bytes("t.csv", text.as_bytes());
    let source = CsvSource::open(input, CsvConfig::default()).unwrap();
    Frame::read_all(Box::new(source)).unwrap()
}

/// The same rows, cut anew, with room for `memory` bytes.
fn cut(frame: &Frame, cuts: &[usize], memory: usize) -> Frame {
    let rows = frame.to_batch().unwrap();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (rows.num_rows() + 1)).collect();
    ends.extend([0, rows.num_rows()]);
    ends.sort_unstable();
    let pieces = ends.windows(2).map(|ends| rows.slice(ends[0], ends[1] - ends[0]));
    let source = Batched(pieces.collect());
    Frame::read(Arc::new(source), &rows.schema(), memory, crate::OnBad::Quarantine).unwrap()
}

/// Settings of `[data]` with a target `y`, unless they make one.
fn data(sequence: serde_json::Value) -> DataConfig {
    let sequence: SequenceConfig = serde_json::from_value(sequence).unwrap();
    DataConfig {
        target: sequence.remaining_life.is_none().then(|| "y".into()),
        task: sequence.remaining_life.is_none().then_some(Task::Regression),
        sequence: Some(sequence),
        max_bad: 0.5,
        ..Default::default()
    }
}

/// Settled rows, their contract and what was fitted on all of them; `x` is left as it is.
fn fit(frame: &Frame, data: &DataConfig) -> Result<(Frame, Contract, FittedPipeline)> {
    let columns: ColumnConfigs =
        serde_json::from_value(json!({ "x": { "scale": "none" } })).unwrap();
    let contract = Contract::infer(frame, data, &columns)?;
    let frame = frame.settle(&contract, &data.bad_policy())?;
    let fitted = Pipeline::new(&contract, &columns)?
        .with_sequence(data.sequence.as_ref())?
        .fit(&frame.all())?;
    Ok((frame, contract, fitted))
}

fn windows(samples: &Samples) -> &SequenceSet {
    match &samples.inputs {
        Inputs::Sequences(set) => set,
        other => panic!("{other:?}"),
    }
}

fn all(samples: &Samples) -> Vec<f32> {
    samples.inputs.gather(&(0..samples.len).collect::<Vec<_>>()).unwrap()
}

const TWO: &str = "unit,cycle,x,y\na,2,12,102\nb,1,21,201\na,1,11,101\na,3,13,103\nb,2,22,202\n";

#[test]
fn a_window_is_padded_in_front_and_ends_with_its_row() {
    let data = data(json!({ "group": "unit", "order": "cycle", "length": 3 }));
    let (frame, contract, fitted) = fit(&frame(TWO), &data).unwrap();
    let roles: Vec<Role> = contract.columns.iter().map(|rule| rule.role).collect();
    assert_eq!(roles, [Role::Key, Role::Key, Role::Feature, Role::Target]);
    let samples = fitted.collect_train(&frame.all()).unwrap();
    assert_eq!((samples.len, samples.inputs.row_shape()), (5, vec![3, 2]));
    let expected = [
        [0., 0., 11., 1., 12., 1.],
        [0., 0., 0., 0., 21., 1.],
        [0., 0., 0., 0., 11., 1.],
        [11., 1., 12., 1., 13., 1.],
        [0., 0., 21., 1., 22., 1.],
    ];
    assert_eq!(all(&samples), expected.concat());
    assert_eq!(samples.target.values().unwrap(), [102., 201., 101., 103., 202.]);
    // One table makes the same windows at prediction, without a target, and from a bundle.
    let rows = frame.to_batch().unwrap();
    let place = |row: usize| format!("row {row}");
    let conformed = contract.conform(&rows, Need::Features, &place).unwrap();
    let text = serde_json::to_string(&fitted).unwrap();
    let loaded: FittedPipeline = serde_json::from_str(&text).unwrap();
    assert_eq!(loaded, fitted);
    let again = loaded.samples(&conformed, &place).unwrap();
    assert_eq!((all(&again), again.target), (expected.concat(), Target::Absent));
    assert_eq!(frame.last_of_groups(Some("unit"), Some("cycle")).unwrap(), [3, 4]);
}

#[test]
fn stride_counts_from_the_last_row_that_has_its_target() {
    let mut text = String::from("unit,x,y\n");
    (0..7).for_each(|i| text += &format!("a,{i},{}.5\n", 100 + i));
    (0..2).for_each(|i| text += &format!("b,{i},{}.5\n", 200 + i));
    let data = data(json!({ "group": "unit", "length": 2, "stride": 3, "horizon": 2 }));
    let (frame, _, fitted) = fit(&frame(&text), &data).unwrap();
    let train = fitted.collect_train(&frame.all()).unwrap();
    let rows: Vec<usize> = (0..train.len).map(|i| train.inputs.source_row(i)).collect();
    assert_eq!(rows, [1, 4]);
    assert_eq!(train.target.values().unwrap(), [103.5, 106.5]);
    assert_eq!(all(&train), [0., 1., 1., 1., 3., 1., 4., 1.]);
    assert_eq!(windows(&train).without_target(), 4);
    let valid = fitted.collect(&frame.all()).unwrap();
    assert_eq!(valid.target.values().unwrap(), [102.5, 103.5, 104.5, 105.5, 106.5]);
    // At prediction every row has a window, whoever knows what comes.
    let batch = frame.to_batch().unwrap();
    let samples = fitted.samples(&batch, &|_| String::new()).unwrap();
    assert_eq!((samples.len, samples.target), (9, Target::Absent));
    let (rows, truth) = fitted.judged(&batch, false).unwrap();
    assert_eq!((rows, &truth), (vec![0, 1, 2, 3, 4], &valid.target));
    assert_eq!(fitted.judged(&batch, true).unwrap(), (vec![4], Target::Values(vec![106.5])));
    let error = fitted.collect(&frame.select(vec![7, 8])).unwrap_err().to_string();
    assert!(error.contains("lower `data.sequence.horizon`"), "{error}");
}

#[test]
fn lags_and_statistics_stay_in_their_group() {
    let text = "unit,x,y\na,1,1.5\na,3,2\nb,10,3\na,8,4\nb,20,5\n";
    let data = data(json!({
        "group": "unit", "length": 1, "lags": [1, 2],
        "rolling": { "rows": [2, 9], "of": ["mean", "std", "min", "max"] },
    }));
    let (frame, _, fitted) = fit(&frame(text), &data).unwrap();
    let samples = fitted.collect_train(&frame.all()).unwrap();
    assert_eq!(samples.inputs.row_shape(), [1, 12]);
    // pandas: groupby("unit").x.rolling(n, min_periods=1), with 0 for what is missing.
    let std = 13f32.sqrt();
    let expected = [
        [1., 0., 0., 1., 0., 1., 1., 1., 0., 1., 1., 1.],
        [3., 1., 0., 2., 2f32.sqrt(), 1., 3., 2., 2f32.sqrt(), 1., 3., 1.],
        [10., 0., 0., 10., 0., 10., 10., 10., 0., 10., 10., 1.],
        [8., 3., 1., 5.5, 12.5f32.sqrt(), 3., 8., 4., std, 1., 8., 1.],
        [20., 10., 0., 15., 50f32.sqrt(), 10., 20., 15., 50f32.sqrt(), 10., 20., 1.],
    ];
    for (found, expected) in all(&samples).iter().zip(expected.concat()) {
        assert!((found - expected).abs() <= 1e-6 * expected, "{found} is not {expected}");
    }
}

#[test]
fn remaining_life_counts_to_the_end_of_the_group() {
    let life = |cap: Option<f64>, order: Option<&str>, after: Option<&[f64]>| {
        let sequence: SequenceConfig = serde_json::from_value(json!({
            "group": "unit", "order": order, "remaining_life": { "cap": cap },
        }))
        .unwrap();
        let text = TWO.replace("a,3,", "a,7,");
        let frame = frame(&text).with_remaining_life(&sequence, after)?;
        let values = frame.column(REMAINING_LIFE)?;
        let values = crate::frame::downcast::<crate::arrow::array::Float64Array>(&values)?;
        Ok::<_, Error>(values.values().to_vec())
    };
    assert_eq!(life(None, Some("cycle"), None).unwrap(), [5., 1., 6., 0., 0.]);
    assert_eq!(life(Some(5.5), Some("cycle"), None).unwrap(), [5., 1., 5.5, 0., 0.]);
    assert_eq!(life(None, None, None).unwrap(), [2., 1., 1., 0., 0.]);
    let after = [10., 0.5];
    assert_eq!(life(Some(15.), Some("cycle"), Some(&after)).unwrap(), [15., 1.5, 15., 10., 0.5]);
    let error = life(None, None, Some(&[1.])).unwrap_err().to_string();
    assert!(error.contains("has 1 numbers, but `t.csv` has 2 groups"), "{error}");
}

#[test]
fn a_data_set_knows_what_is_left_of_its_engines() {
    let folder = tempfile::tempdir().unwrap();
    let mut train = String::from("unit,cycle,x\n");
    for unit in 0..10 {
        (0..unit + 3).for_each(|cycle| train += &format!("{unit},{cycle},{}\n", cycle % 3));
    }
    std::fs::write(folder.path().join("train.csv"), train).unwrap();
    std::fs::write(folder.path().join("test.csv"), "unit,cycle,x\n1,0,0\n1,1,1\n2,0,2\n").unwrap();
    std::fs::write(folder.path().join("left.txt"), "4\n7 \n\n").unwrap();
    let mut data = data(json!({
        "group": "unit", "order": "cycle", "evaluate_last": true,
        "remaining_life": { "cap": 6.0, "after": "left.txt" },
    }));
    data.source = "train.csv".into();
    data.test = Some("test.csv".into());
    data.drop = vec!["unit".into()];
    let set = Dataset::load(&data, folder.path()).unwrap();
    let contract = Contract::infer(&set.frame, &data, &Default::default()).unwrap();
    assert_eq!(contract.task, Task::Regression);
    assert_eq!(contract.target().unwrap().name, REMAINING_LIFE);
    let inputs: Vec<&str> = contract.inputs().map(|rule| rule.name.as_str()).collect();
    assert_eq!(inputs, ["unit", "cycle", "x"]);
    let set = set.settle(&contract, &data.bad_policy()).unwrap();
    let split = set.split(&data, None, 1).unwrap();
    assert_eq!((split.by, split.valid.is_empty()), (crate::config::SplitBy::Group, false));
    let fitted = Pipeline::new(&contract, &Default::default())
        .unwrap()
        .with_sequence(data.sequence.as_ref())
        .unwrap()
        .fit(&set.frame.select(&split.train))
        .unwrap();
    let rows = set.test.as_ref().unwrap().to_batch().unwrap();
    let (rows, truth) = fitted.judged(&rows, true).unwrap();
    assert_eq!((rows, truth), (vec![1, 2], Target::Values(vec![4., 6.])));
    let travels = serde_json::to_string(&data.without_paths()).unwrap();
    assert!(travels.contains("left.txt"), "{travels}");

    data.split.by = Some(crate::config::SplitBy::Random);
    let error = set.split(&data, None, 1).unwrap_err().to_string();
    assert!(error.contains("tears sequences apart (first at `train.csv` line"), "{error}");
    data.split.by = Some(crate::config::SplitBy::Time);
    data.split.column = Some("cycle".into());
    set.split(&data, None, 1).unwrap();
    data.test = None;
    let error = Dataset::load(&data, folder.path()).err().unwrap().to_string();
    assert!(error.contains("there is no `test`"), "{error}");
}

#[test]
fn a_row_without_a_group_is_set_apart() {
    let text = TWO.to_string() + ",3,1,1\nb,,1,1\n";
    let sequence = json!({ "group": "unit", "order": "cycle" });
    let (settled, contract, _) = fit(&frame(&text), &data(sequence.clone())).unwrap();
    assert_eq!((settled.len(), settled.bad().len()), (5, 2));
    let rows = serde_json::from_value(json!([{ "unit": null, "cycle": 1, "x": 2 }])).unwrap();
    let rows: Vec<serde_json::Map<String, serde_json::Value>> = rows;
    let batch = contract.from_json(&rows).unwrap();
    let error = contract.conform(&batch, Need::Features, &|row| format!("row {}", row + 1));
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("row 1, column `unit`: the value is missing"), "{error}");
    let error = contract.from_json(&[Default::default()]).unwrap_err().to_string();
    assert!(error.contains("no key `unit`"), "{error}");
}

#[test]
fn wrong_settings_say_what_would_be_right() {
    for (sequence, expected) in [
        (json!({ "length": 0 }), "`data.sequence.length` is 0: expected a number of rows from 1"),
        (json!({ "lags": [0] }), "`data.sequence.lags` is 0"),
        (json!({ "rolling": { "rows": [] } }), "asks for nothing"),
        (json!({ "group": "unti" }), "did you mean `unit`"),
        (json!({ "group": "y" }), "is both the target and"),
        (json!({ "group": "unit", "order": "unit" }), "are both `unit`"),
        (json!({ "remaining_life": { "cap": 0.0 } }), "cap` is 0: expected"),
    ] {
        let mut data = data(sequence);
        data.target = Some("y".into());
        if data.sequence.as_ref().unwrap().remaining_life.is_some() {
            data.target = None;
        }
        let text = TWO.replace(",y\n", ",remaining_life\n");
        let table = if data.target.is_none() {
            frame(&text)
        } else {
            frame(TWO)
        };
        let error = fit(&table, &data).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_window_leaves_its_group_however_rows_come(
        rows in prop::collection::vec((0usize..4, 0u32..9), 3..40),
        cuts in prop::collection::vec(0usize..40, 0..4),
        (length, stride, horizon) in (1usize..6, 1usize..4, 0usize..3),
    ) {
        let mut text = String::from("unit,cycle,x,y\n");
        for (row, (unit, cycle)) in rows.iter().enumerate() {
            text += &format!("{},{cycle},{row},{row}.25\n", ["a", "b", "c", "d"][*unit]);
        }
        let data = data(json!({
            "group": "unit", "order": "cycle",
            "length": length, "stride": stride, "horizon": horizon,
        }));
        let whole = frame(&text);
        let (settled, _, fitted) = fit(&whole, &data).unwrap();
        // Row by row what a window should be.
        let follow = |unit: usize| {
            let mut own: Vec<usize> = (0..rows.len()).filter(|row| rows[*row].0 == unit).collect();
            own.sort_by_key(|row| rows[*row].1);
            own
        };
        let mut expected = Vec::new();
        let mut kept = Vec::new();
        for (row, (unit, _)) in rows.iter().enumerate() {
            let own = follow(*unit);
            let at = own.iter().position(|other| *other == row).unwrap();
            let window = &own[(at + 1).saturating_sub(length)..=at];
            expected.extend(vec![0.0; 2 * (length - window.len())]);
            expected.extend(window.iter().flat_map(|row| [*row as f32, 1.0]));
            let left = own.len() - 1 - at;
            if left >= horizon && (left - horizon).is_multiple_of(stride) {
                kept.push((row, own[at + horizon] as f64 + 0.25));
            }
        }
        let batch = settled.to_batch().unwrap();
        let samples = fitted.samples(&batch, &|_| String::new()).unwrap();
        prop_assert_eq!(all(&samples), expected.clone());
        for memory in [usize::MAX, 1] {
            let (settled, _, again) = fit(&cut(&whole, &cuts, memory), &data).unwrap();
            prop_assert_eq!(&again, &fitted);
            let Ok(train) = again.collect_train(&settled.all()) else {
                prop_assert!(kept.is_empty());
                continue;
            };
            let found: Vec<(usize, f64)> = (0..train.len)
                .map(|i| (train.inputs.source_row(i), train.target.values().unwrap()[i]))
                .collect();
            prop_assert_eq!(&found, &kept);
            let own = kept.iter().flat_map(|(row, _)| &expected[row * 2 * length..][..2 * length]);
            prop_assert_eq!(all(&train), own.copied().collect::<Vec<_>>());
        }
    }
}

#[test]
fn missing_values_are_filled_in_the_order_of_their_group() {
    let text = "unit,cycle,x,c,y\na,2,,,102\nb,1,,,201\na,1,11,u,101\na,3,13,,103\nb,2,22,v,202\n";
    let data = data(json!({ "group": "unit", "order": "cycle", "length": 1 }));
    let columns: ColumnConfigs = serde_json::from_value(json!({
        "x": { "scale": "none", "impute": "forward_fill", "indicator": true },
        "c": { "encode": "ordinal", "impute": "forward_fill" },
    }))
    .unwrap();
    // Nothing comes before the first row of `b`: the mean of 11, 11, 13 and 22, the commonest name.
    let expected = [
        [11.0, 1.0, 0.0, 1.0],
        [14.25, 1.0, 0.0, 1.0],
        [11.0, 0.0, 0.0, 1.0],
        [13.0, 0.0, 0.0, 1.0],
        [22.0, 0.0, 1.0, 1.0],
    ];
    let whole = frame(text);
    let place = |row: usize| format!("row {row}");
    for frame in [cut(&whole, &[], usize::MAX), cut(&whole, &[1, 3, 4], 1)] {
        let contract = Contract::infer(&frame, &data, &columns).unwrap();
        let frame = frame.settle(&contract, &data.bad_policy()).unwrap();
        let fitted = Pipeline::new(&contract, &columns)
            .and_then(|pipeline| pipeline.with_sequence(data.sequence.as_ref()))
            .and_then(|pipeline| pipeline.fit(&frame.all()))
            .unwrap();
        for samples in [fitted.collect_train(&frame.all()), fitted.collect(&frame.all())] {
            assert_eq!(all(&samples.unwrap()), expected.concat());
        }
        let rows = frame.to_batch().unwrap();
        let rows = contract.conform(&rows, Need::Features, &place).unwrap();
        let mut pass = fitted.pass();
        // Each table that is predicted is one of its own.
        for _ in 0..2 {
            assert_eq!(all(&pass.samples(&rows, &place).unwrap()), expected.concat());
        }
    }
}
