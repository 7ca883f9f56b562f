//! Prepared columns against scikit-learn's, and what holds of every column.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::arrow::array::{ArrayRef, StringArray};
use crate::arrow::datatypes::{Schema, SchemaRef};
use crate::config::{CsvConfig, DataConfig};
use crate::source::{Batches, CsvSource, Input, open};
use crate::{Frame, Source};

fn repo(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A table and the contract of some of its columns.
struct Prepared {
    frame: Frame,
    contract: Contract,
    columns: ColumnConfigs,
}

impl Prepared {
    fn new(source: Box<dyn Source>, target: &str, columns: ColumnConfigs) -> Result<Self> {
        let schema = source.schema()?;
        let all = columns.is_empty();
        let wanted = |name: &String| all || columns.contains_key(name) || name == target;
        let fields = schema.fields().iter().filter(|field| wanted(field.name()));
        let schema = Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()));
        let frame = Frame::read(source.into(), &schema, usize::MAX, crate::OnBad::Quarantine)?;
        let data = DataConfig {
            target: Some(target.into()),
            ..Default::default()
        };
        let contract = Contract::infer(&frame, &data, &columns)?;
        Ok(Self {
            frame: frame.settle(&contract, &data.bad_policy())?,
            contract,
            columns,
        })
    }

    /// Columns by name and, in JSON, their settings; the rest of `text` is left out, if there are
    /// any.
    fn of(text: &str, target: &str, columns: Value) -> Result<Self> {
        let input = Input::from_bytes("t.csv", text.as_bytes());
        let source = Box::new(CsvSource::open(input, CsvConfig::default())?);
        Self::new(source, target, serde_json::from_value(columns).unwrap())
    }

    fn fit(&self) -> Result<FittedPipeline> {
        Pipeline::new(&self.contract, &self.columns)?.fit(&self.frame.all())
    }

    fn rows(&self) -> RecordBatch {
        self.frame.to_batch().unwrap()
    }
}

/// Fits one column `x` beside a numeric target and prepares it.
fn prepare(text: &str, config: Value) -> Result<Vec<f64>> {
    let prepared = Prepared::of(text, "y", serde_json::json!({ "x": config }))?;
    prepared.fit()?.matrix(&prepared.rows())
}

/// Prepares other values of a text column `name`.
fn names(fitted: &FittedPipeline, name: &str, values: Vec<Option<&str>>) -> Vec<f64> {
    let values: ArrayRef = Arc::new(StringArray::from(values));
    fitted
        .matrix(&RecordBatch::try_from_iter([(name, values)]).unwrap())
        .unwrap()
}

#[test]
fn equals_scikit_learn() {
    let text = std::fs::read_to_string(repo("benches/peers/prepare.json")).unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    let made: Vec<String> = reference["made"]
        .as_array()
        .unwrap()
        .iter()
        .map(Value::to_string)
        .collect();
    let cases = reference["cases"].as_array().unwrap();
    for case in cases {
        let target = case["target"].as_str().unwrap();
        let columns: ColumnConfigs = serde_json::from_value(case["columns"].clone()).unwrap();
        let data = DataConfig::default();
        let source = match case["table"].as_str().unwrap() {
            "made" => {
                let input = Input::from_bytes("made.jsonl", made.join("\n").as_bytes());
                Box::new(crate::source::JsonSource::open(input, Default::default()).unwrap())
            }
            name => open(&repo(&format!("datasets/{name}/{name}.csv")), &data).unwrap(),
        };
        let prepared = Prepared::new(source, target, columns).unwrap();
        let fitted = prepared.fit().unwrap();
        let width = fitted.width();
        let found = match case.get("new") {
            Some(new) => {
                let new = new.as_array().unwrap().iter().map(Value::as_str).collect();
                names(&fitted, "city", new)
            }
            None if case.get("train").is_some() => {
                fitted.train_pass().matrix(&prepared.rows()).unwrap()
            }
            None => fitted.matrix(&prepared.rows()).unwrap(),
        };
        let rows = case["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row.as_u64().unwrap());
        let found: Vec<f64> = rows
            .flat_map(|row| found[row as usize * width..][..width].to_vec())
            .collect();
        let expected: Vec<f64> = case["matrix"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect();
        assert_eq!(found.len(), expected.len(), "{} {target}", case["columns"]);
        for (i, (found, expected)) in std::iter::zip(found, expected).enumerate() {
            // Relative to the value; near zero, where subtraction cancels digits away, 1e-8.
            let near = (found - expected).abs() <= 1e-6 * expected.abs().max(1e-2);
            assert!(near, "{} {target} at {i}: {found} is not {expected}", case["columns"]);
        }
    }
    assert!(cases.len() > 100, "{}", cases.len());
}

/// Every setting of a number and of a category once.
fn every_setting() -> Value {
    let scales = [
        "standard",
        "min_max",
        "max_abs",
        "robust",
        "quantile_uniform",
        "quantile_normal",
        "yeo_johnson",
        "log1p",
        "none",
    ];
    let mut columns = serde_json::Map::new();
    for (i, scale) in scales.iter().enumerate() {
        let impute = ["mean", "median", "mode", "forward_fill"][i % 4];
        let config = serde_json::json!({
            "scale": scale, "impute": impute, "indicator": i % 2 == 0,
            "clip": (i % 2 == 1).then(|| serde_json::json!({ "z": 1.0 })),
        });
        columns.insert(scale.to_string(), config);
    }
    columns["none"]["degree"] = 2.into();
    columns["robust"]["degree"] = 2.into();
    columns.insert("bins".into(), serde_json::json!({ "bins": { "count": 3 } }));
    let encodes = ["one_hot", "ordinal", "hash", "frequency", "target", "embedding"];
    for (i, encode) in encodes.iter().enumerate() {
        let impute = ["missing", "mode", "forward_fill"][i % 3];
        let mut config = serde_json::json!({ "encode": encode, "impute": impute });
        config["kind"] = "category".into();
        if i % 2 == 1 {
            config["min_count"] = 3.into();
        }
        columns.insert(encode.to_string(), config);
    }
    columns.into()
}

/// Rows that come in given batches.
struct Batched(Vec<RecordBatch>);

impl Source for Batched {
    fn name(&self) -> &str {
        "batches"
    }

    fn schema(&self) -> Result<SchemaRef> {
        Ok(self.0[0].schema())
    }

    fn scan(&self, _: &SchemaRef) -> Result<Batches<'_>> {
        Ok(Box::new(self.0.iter().cloned().map(|rows| Ok(rows.into()))))
    }

    fn fingerprint(&self) -> Result<String> {
        Ok(String::new())
    }
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn batches_and_files_change_no_bit(
        rows in prop::collection::vec(
            (prop::option::of(0u32..2000), prop::option::of(0usize..6), 0u32..50), 2..80),
        cuts in prop::collection::vec(0usize..80, 0..6),
    ) {
        let columns: ColumnConfigs = serde_json::from_value(every_setting()).unwrap();
        let mut text = columns.keys().cloned().collect::<Vec<_>>().join(",") + ",y\n";
        for (number, name, y) in [(Some(3), Some(0), 7), (Some(9), Some(1), 8)].iter().chain(&rows) {
            for config in columns.values() {
                match config.kind {
                    Some(_) => text += name.map_or("", |i| ["a", "b", "cc", "d e", "é", "Z"][i]),
                    None => text += &number.map_or(String::new(), |x| format!("{}", x as f64 / 8.0)),
                }
                text += ",";
            }
            text += &format!("{}.5\n", y);
        }
        let prepared = Prepared::of(&text, "y", serde_json::to_value(&columns).unwrap()).unwrap();
        let whole = prepared.fit().unwrap();
        let all = prepared.rows();

        // The same rows, cut into other batches.
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(all.num_rows())).collect();
        cuts.extend([0, all.num_rows()]);
        cuts.sort_unstable();
        let batches: Vec<RecordBatch> =
            cuts.windows(2).map(|ends| all.slice(ends[0], ends[1] - ends[0])).collect();
        let frame = Frame::read(std::sync::Arc::new(Batched(batches.clone())), &all.schema(), usize::MAX, crate::OnBad::Quarantine).unwrap();
        let pipeline = Pipeline::new(&prepared.contract, &prepared.columns).unwrap();
        let parts = pipeline.fit(&frame.all()).unwrap();
        prop_assert_eq!(&parts, &whole);
        let json = serde_json::to_string(&whole).unwrap();
        prop_assert_eq!(&serde_json::to_string(&parts).unwrap(), &json);

        // A file of it prepares to the same bits, batch by batch too.
        let loaded: FittedPipeline = serde_json::from_str(&json).unwrap();
        let expected = bits(&whole.matrix(&all).unwrap());
        prop_assert_eq!(&bits(&loaded.matrix(&all).unwrap()), &expected);
        let mut pass = loaded.pass();
        let mut found = Vec::new();
        for batch in &batches {
            found.extend(bits(&pass.matrix(batch).unwrap()));
        }
        prop_assert_eq!(found, expected);
        let mut pass = whole.train_pass();
        let mut found = Vec::new();
        for batch in &batches {
            found.extend(bits(&pass.matrix(batch).unwrap()));
        }
        prop_assert_eq!(found, bits(&whole.train_pass().matrix(&all).unwrap()));
        prop_assert_eq!(whole.feature_names().len(), whole.width());
        prop_assert_eq!(whole.units().len(), whole.width());
        prop_assert_eq!(whole.embeddings().len(), 1);
    }
}

#[test]
fn a_row_does_not_see_its_own_target() {
    let rows = |last: f64| {
        let mut text = String::from("x,y\n");
        (0..20).for_each(|i| text += &format!("{},{}\n", ["a", "b"][i % 2], i as f64 / 4.0));
        text + &format!("a,{last}\n")
    };
    let config = || serde_json::json!({ "x": { "encode": "target" } });
    let [one, other] = [1.25, 1e6].map(|last| {
        let prepared = Prepared::of(&rows(last), "y", config()).unwrap();
        let fitted = prepared.fit().unwrap();
        // In the target's own unit: what it is standardised by does know all rows.
        let FittedColumn::Category(f) = &fitted.features[0] else {
            panic!("a category")
        };
        let [mean, scale] = f.units.unwrap();
        let train = fitted.train_pass().matrix(&prepared.rows()).unwrap();
        train.iter().map(|v| v * scale + mean).collect::<Vec<f64>>()
    });
    // Row 20 is in the part of rows 0, 5, 10 and 15; their encoding does not know it.
    for row in [0, 5, 10, 15, 20] {
        assert!((one[row] - other[row]).abs() < 1e-6, "{row}: {} {}", one[row], other[row]);
    }
    assert!((one[2] - other[2]).abs() > 1.0);
}

#[test]
fn unknown_and_missing_categories_have_a_place_or_none() {
    let text = "c,y\na,1.5\na,2.5\nb,3\nb,4\nz,5\n";
    let check = |config: Value, expected: &[f64]| {
        let fitted = Prepared::of(text, "y", serde_json::json!({ "c": config }))
            .unwrap()
            .fit();
        let new = vec![Some("b"), Some("never"), Some(""), None];
        assert_eq!(names(&fitted.unwrap(), "c", new), expected);
    };
    check(serde_json::json!({ "encode": "ordinal" }), &[1.0, -1.0, -1.0, -1.0]);
    check(serde_json::json!({ "encode": "embedding" }), &[2.0, 0.0, 0.0, 0.0]);
    check(serde_json::json!({ "encode": "frequency" }), &[0.4, 0.0, 0.0, 0.0]);
    check(serde_json::json!({ "encode": "ordinal", "min_count": 2 }), &[1.0, 2.0, 2.0, 2.0]);
    check(serde_json::json!({ "encode": "ordinal", "impute": "mode" }), &[1.0, -1.0, -1.0, 0.0]);
    let fill = serde_json::json!({ "encode": "embedding", "impute": { "constant": "b" } });
    check(fill, &[2.0, 0.0, 0.0, 2.0]);
}

#[test]
fn constant_and_empty_columns_become_zeros() {
    let scales = ["standard", "min_max", "robust", "quantile_uniform", "yeo_johnson", "log1p"];
    for scale in scales {
        let config = serde_json::json!({ "scale": scale, "clip": { "iqr": 1.5 } });
        let constant = prepare("x,y\n4,1.5\n4,2\n,3\n", config.clone()).unwrap();
        assert_eq!(constant, [0.0; 3], "{scale}");
        // A column without a value in the training rows alone.
        let prepared =
            Prepared::of("x,y\n,1.5\n,2\n4,3\n", "y", serde_json::json!({ "x": config })).unwrap();
        let pipeline = Pipeline::new(&prepared.contract, &prepared.columns).unwrap();
        let fitted = pipeline.fit(&prepared.frame.select(vec![0, 1])).unwrap();
        let found = fitted.matrix(&prepared.rows()).unwrap();
        assert_eq!(found[..2], [0.0; 2], "{scale}");
        assert!(found[2].is_finite(), "{scale}");
        let json = serde_json::to_string(&fitted).unwrap();
        assert_eq!(serde_json::from_str::<FittedPipeline>(&json).unwrap(), fitted);
    }
    let bins = serde_json::json!({ "bins": { "count": 4 } });
    assert_eq!(prepare("x,y\n4,1.5\n4,2\n", bins).unwrap(), [1.0; 2]);
}

#[test]
fn an_example_is_a_plain_value_of_training() {
    let text = "age,share,y\n20,0.12345,1.5\n30,0.5,2\n90,,3\n,0.25,4\n";
    let columns = serde_json::json!({ "age": { "impute": "median" }, "share": {} });
    let prepared = Prepared::of(text, "y", columns).unwrap();
    let (fitted, columns) = (prepared.fit().unwrap(), &prepared.contract.columns);
    let of = |name: &str| fitted.example(columns.iter().find(|c| c.name == name).unwrap());
    assert_eq!([of("age"), of("share")], [30.0, 0.291]);
}

#[test]
fn one_row_is_enough_to_fit() {
    let columns = every_setting();
    let names: Vec<&String> = columns.as_object().unwrap().keys().collect();
    let row: Vec<&str> = names
        .iter()
        .map(|name| {
            if columns[name.as_str()].get("kind").is_some() {
                "a"
            } else {
                "2.5"
            }
        })
        .collect();
    let header: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    let text = format!("{},y\n{},1.5\n", header.join(","), row.join(","));
    let prepared = Prepared::of(&text, "y", columns).unwrap();
    let fitted = prepared.fit().unwrap();
    for found in [fitted.pass(), fitted.train_pass()].map(|mut p| p.matrix(&prepared.rows())) {
        assert!(found.unwrap().iter().all(|v| v.is_finite()));
    }
}

#[test]
fn many_columns_and_many_levels() {
    let header: Vec<String> = (0..10_000).map(|i| format!("x{i}")).collect();
    let row = |k: usize| {
        (0..10_000)
            .map(|i| ((i * k) % 7).to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    let text = format!("{},y\n{},1.5\n{},2\n", header.join(","), row(1), row(3));
    let prepared = Prepared::of(&text, "y", serde_json::json!({})).unwrap();
    let fitted = prepared.fit().unwrap();
    assert_eq!(fitted.matrix(&prepared.rows()).unwrap().len(), 20_000);

    let mut fit = CategoryFit::new("c", &Default::default(), 0).unwrap();
    for part in 0..100 {
        let values: ArrayRef = Arc::new(
            (0..10_000)
                .map(|i| Some(format!("{}", part * 10_000 + i)))
                .collect::<StringArray>(),
        );
        fit.update(&values, &Target::Absent).unwrap();
    }
    assert_eq!(fit.finish().width(), 1_000_000);
}

#[test]
fn a_logged_target_comes_back() {
    let prepared = |y: &str| {
        let columns = serde_json::json!({ "x": {}, "y": { "scale": "log1p" } });
        Prepared::of(&format!("x,y\n1,0.5\n2,30\n3,{y}\n"), "y", columns)
    };
    let fitted = prepared("1000").unwrap().fit().unwrap();
    for y in [0.5, 30.0, 1000.0] {
        assert!((fitted.target.decode(fitted.target.encode(y)) - y).abs() <= 1e-12 * y);
    }
    assert!(fitted.target.encode(-5.0).is_finite() && fitted.target.decode(1e9).is_finite());
    let error = prepared("-1.5").unwrap().fit().unwrap_err().to_string();
    assert!(error.starts_with("column `y` holds -1.5, of which `log1p`"), "{error}");
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let check = |config: Value, expected: &str| {
        let error = prepare("x,y\n-4,1.5\n4,2\n", config).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(serde_json::json!({ "encode": "hash" }), "`encode` does not apply to its kind");
    check(serde_json::json!({ "impute": "missing" }), "`indicator = true`");
    check(serde_json::json!({ "scale": "log1p" }), "holds -4");
    check(serde_json::json!({ "clip": { "quantiles": [0.9, 0.1] } }), "the smaller first");
    check(serde_json::json!({ "bins": { "count": 1 } }), "expected 2 to 10000");
    check(serde_json::json!({ "bins": {}, "scale": "none" }), "remove `bins`");
    check(serde_json::json!({ "degree": 4 }), "expected 2 or 3");
    let category = serde_json::json!({ "kind": "category", "hash_size": 3 });
    check(category, "`encode = \"hash\"` only");
}

#[test]
fn files_of_the_first_version_load_and_are_written_as_they_were() {
    let text = concat!(
        r#"{"features":[{"kind":"numeric","name":"x","fill":5.5,"mean":5.5,"scale":0.5},"#,
        r#"{"kind":"category","name":"c","levels":["a","b"],"missing":2}],"#,
        r#""target":{"kind":"value","name":"y","mean":1.5,"scale":2.0}}"#,
    );
    let fitted: FittedPipeline = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&fitted).unwrap(), text);
    assert_eq!(fitted.feature_names(), ["x", "c=a", "c=b", "c=(missing)"]);
    assert_eq!(fitted.target.decode(1.0), 3.5);
}

#[test]
fn what_is_unusual_is_counted_and_adds_up() {
    let text = "x,c,h,y\n1,a,a,1.5\n5,b,a,2\n,a,b,3\n2,z,b,4\n";
    let columns = serde_json::json!({
        "x": {}, "c": { "min_count": 2 }, "h": { "encode": "hash" },
    });
    let prepared = Prepared::of(text, "y", columns).unwrap();
    let fitted: FittedPipeline =
        serde_json::from_str(&serde_json::to_string(&prepared.fit().unwrap()).unwrap()).unwrap();
    let place = |row: usize| format!("row {row}");
    let new = Prepared::of(
        "x,c,h,y\n0,a,q,1\n,,q,1\n5,z,,1\n5.5,n,,2.5\n3,,b,1\n",
        "y",
        serde_json::json!({}),
    );
    let new = new.map(|new| new.frame.to_batch().unwrap()).unwrap();
    let new = prepared.contract.conform(&new, Need::Features, &place).unwrap();
    let whole = fitted.notice(&new).unwrap();
    let counts: Vec<_> = whole
        .iter()
        .map(|n| (n.column.as_str(), n.rows, n.missing, n.unknown, n.out_of_range))
        .collect();
    assert_eq!(counts, [("x", 5, 1, 0, 2), ("c", 5, 2, 2, 0), ("h", 5, 2, 0, 0)]);
    let mut parts = fitted.notice(&new.slice(0, 2)).unwrap();
    let rest = fitted.notice(&new.slice(2, 3)).unwrap();
    std::iter::zip(&mut parts, &rest).for_each(|(part, rest)| part.merge(rest));
    assert_eq!(parts, whole);
}

#[test]
fn times_become_what_pandas_and_scikit_learn_make_of_them() {
    let text = std::fs::read_to_string(repo("benches/peers/times.json")).unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    let times = reference["times"].as_array().unwrap().iter();
    let rows: String = times
        .enumerate()
        .map(|(i, t)| format!("{},{i}.5\n", t.as_str().unwrap()))
        .collect();
    let check = |config: Value, expected: &Value, names: usize| {
        let config = serde_json::json!({ "when": config });
        let prepared = Prepared::of(&format!("when,y\n{rows}"), "y", config).unwrap();
        let fitted = prepared.fit().unwrap();
        let json = serde_json::to_string(&fitted).unwrap();
        let fitted: FittedPipeline = serde_json::from_str(&json).unwrap();
        let found = fitted.matrix(&prepared.rows()).unwrap();
        let expected: Vec<f64> = expected
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect();
        assert_eq!((found.len(), fitted.feature_names().len()), (expected.len(), names));
        for (found, expected) in std::iter::zip(found, expected) {
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }
        fitted
    };
    let fitted = check(serde_json::json!({}), &reference["cyclic"], 12);
    assert_eq!(fitted.feature_names()[..3], ["elapsed(when)", "year(when)", "sin(month(when))"]);
    assert_eq!(fitted.units()[2], (0.0, 1.0));
    check(serde_json::json!({ "cyclic": false }), &reference["plain"], 7);
}

#[test]
fn a_time_has_the_parts_that_training_tells_apart() {
    let text = "when,y\n2024-01-31,1.5\n,2\n2024-02-01,3\n2024-02-03,4\n";
    let prepared =
        |config: Value| Prepared::of(text, "y", serde_json::json!({ "when": config })).unwrap();
    let names = |config: Value| prepared(config).fit().unwrap().feature_names();
    // Days only: no hours, no minutes.
    assert_eq!(names(serde_json::json!({})).len(), 8);
    let said = serde_json::json!({ "parts": ["hour"], "cyclic": false, "indicator": true });
    assert_eq!(names(said.clone()), ["hour(when)", "when=(missing)"]);
    let said = prepared(said);
    assert_eq!(
        said.fit().unwrap().matrix(&said.rows()).unwrap(),
        [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    );
    // Batch by batch it is the same, and times outside those of training are counted.
    let all = prepared(serde_json::json!({}));
    let fitted = all.fit().unwrap();
    let rows = all.rows();
    let mut pass = fitted.pass();
    let parts = [0..1, 1..3, 3..4].map(|at| pass.matrix(&rows.slice(at.start, at.len())).unwrap());
    assert_eq!(bits(&parts.concat()), bits(&fitted.matrix(&rows).unwrap()));
    let later = Prepared::of("when,y\n2024-02-04,1.5\n2024-02-02,1\n", "y", serde_json::json!({}));
    let notice = fitted.notice(&later.unwrap().rows()).unwrap();
    assert_eq!((notice[0].out_of_range, notice[0].missing), (1, 0));
    for (config, expected) in [
        (serde_json::json!({ "parts": ["day", "day"] }), "twice"),
        (serde_json::json!({ "scale": "none" }), "`scale` does not apply"),
        (serde_json::json!({ "kind": "category", "cyclic": true }), "`kind = \"time\"`"),
        (serde_json::json!({ "impute": "mean" }), "`impute` does not apply"),
    ] {
        let error = prepared(config).fit().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn outliers_are_left_out_of_training_and_listed() {
    let text = "x,z,y\n1,1,1.5\n2,2,2\n3,,3\n4,3,4\n500,4,5\n2,-90,6\n3,5,900\n900,3,6\n";
    let columns = serde_json::json!({
        "x": { "remove_outliers": { "iqr": 1.5 } },
        "z": { "remove_outliers": { "iqr": 1.5 }, "clip": { "z": 1.0 } },
        "y": { "remove_outliers": { "quantiles": [0.0, 0.9] } },
    });
    let prepared = Prepared::of(text, "y", columns).unwrap();
    let (contract, columns) = (&prepared.contract, &prepared.columns);
    // The last row is no training row: it neither teaches the bounds nor is left out.
    let train = prepared.frame.select((0..7).collect::<Vec<u32>>());
    let (kept, listed) = without_outliers(&train, contract, columns).unwrap();
    assert_eq!((kept.len(), kept.place(3)), (4, "`t.csv` line 5".into()));
    let reasons: Vec<_> = listed
        .iter()
        .map(|bad| (bad.place.line, bad.column.as_deref(), bad.value.as_deref()))
        .collect();
    assert_eq!(
        reasons,
        [
            (Some(6), Some("x"), Some("500")),
            (Some(7), Some("z"), Some("-90")),
            (Some(8), Some("y"), Some("900")),
        ]
    );
    assert!(listed[0].reason.contains("beyond -0.25 to 5.75"), "{}", listed[0].reason);
    let fitted = Pipeline::new(contract, columns).unwrap().fit(&kept).unwrap();
    let FittedColumn::Numeric(x) = &fitted.features[0] else {
        panic!("a number")
    };
    assert_eq!((x.mean, x.range), (2.5, Some([1.0, 4.0])));
    assert_eq!(fitted.matrix(&prepared.rows()).unwrap().len(), 16);
    // Sequences must keep their rows, and a category has no bounds.
    let sequence = SequenceConfig::default();
    let error = Pipeline::new(contract, columns)
        .unwrap()
        .with_sequence(Some(&sequence));
    assert!(error.err().unwrap().to_string().contains("tear sequences apart"));
    let category =
        serde_json::json!({ "x": { "kind": "category", "remove_outliers": { "z": 3 } } });
    let prepared = Prepared::of(text, "y", category).unwrap();
    let all = prepared.frame.all();
    let error = without_outliers(&all, &prepared.contract, &prepared.columns)
        .err()
        .unwrap();
    assert!(error.to_string().contains("expected a number"), "{error}");
}

#[test]
fn forward_fill_goes_from_one_batch_to_the_next() {
    let columns = serde_json::json!({
        "x": { "impute": "forward_fill", "scale": "none" },
        "c": { "impute": "forward_fill", "encode": "ordinal" },
    });
    let text = "x,c,y\n,,1.5\n4,b,2\n,,3\n,,4\n7,a,5\n,,6\n";
    let prepared = Prepared::of(text, "y", columns).unwrap();
    let fitted = prepared.fit().unwrap();
    let rows = prepared.rows();
    let place = |row: usize| format!("row {row}");
    let floats =
        |samples: Samples| samples.inputs.gather(&(0..samples.len).collect::<Vec<_>>()).unwrap();
    let whole = floats(fitted.samples(&rows, &place).unwrap());
    // The mean of 4, 4, 4, 7, 7 and the commonest level stand before the first value.
    assert!((whole[0] - 5.2).abs() < 1e-6 && whole[1] == 1.0, "{whole:?}");
    assert_eq!(whole[4..], [4.0, 1.0, 4.0, 1.0, 7.0, 0.0, 7.0, 0.0]);
    let mut pass = fitted.pass();
    let one = |row| floats(pass.samples(&rows.slice(row, 1), &place).unwrap());
    assert_eq!((0..6).flat_map(one).collect::<Vec<f32>>(), whole);
}

#[test]
fn tables_are_scaled_and_images_changed_by_single_calls() {
    let prepared = Prepared::of("x,c,y\n1,a,5\n,b,5\n3,a,8\n", "y", serde_json::json!({})).unwrap();
    let values = |frame: &Frame, name: &str| {
        let column = frame.column(name).unwrap();
        downcast::<Float64Array>(&column).unwrap().iter().collect::<Vec<_>>()
    };
    let raw = Frame::read_all(open_text("x,c,y\n1,a,5\n,b,5\n3,a,8\n")).unwrap();
    let normal = normalize(&raw).unwrap();
    assert_eq!(values(&normal, "x"), [Some(-1.0), None, Some(1.0)]);
    assert_eq!(normal.column("c").unwrap().as_ref(), raw.column("c").unwrap().as_ref());
    let scaled = scale(&raw, &["y"], crate::config::Scale::MinMax).unwrap();
    assert_eq!(values(&scaled, "y"), [Some(0.0), Some(0.0), Some(1.0)]);
    assert_eq!(values(&scaled, "x"), [Some(1.0), None, Some(3.0)]);
    let error = scale(&raw, &["c"], crate::config::Scale::MinMax).err().unwrap();
    assert!(error.to_string().contains("holds no numbers"), "{error}");
    assert!(images(&prepared.frame, &Default::default()).is_err());
    let set = ImageSet {
        channels: 1,
        height: 2,
        width: 3,
        pixels: (0..12).collect(),
        mean: vec![0.5],
        std: vec![0.25],
    };
    let config = serde_json::from_value(serde_json::json!({ "flip": "horizontal" }));
    let flipped = augment(&set, &config.unwrap(), 3).unwrap();
    let mirrored = [2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9];
    for at in [0..6, 6..12] {
        let now = &flipped.pixels[at.clone()];
        assert!(now == &set.pixels[at.clone()] || now == &mirrored[at], "{now:?}");
    }
    assert_eq!((flipped.mean, flipped.std), (set.mean, set.std));
}

fn open_text(text: &str) -> Box<dyn Source> {
    let input = Input::from_bytes("t.csv", text.as_bytes());
    Box::new(CsvSource::open(input, CsvConfig::default()).unwrap())
}

#[test]
fn unusual_values_do_what_the_table_in_the_manual_says() {
    let text = "x,c,w,e,y\n1,a,2024-01-01,,1.5\n2,b,2024-01-02,,2\n,a,2024-01-03,,3\n";
    let prepared = Prepared::of(text, "y", serde_json::json!({})).unwrap();
    let note = prepared.contract.notes().next();
    assert_eq!(note, Some(("e", "it has no values")));
    let fitted = prepared.fit().unwrap();
    let row = |value: Value| {
        let row = serde_json::json!({ "x": 1, "c": "a", "w": "2024-01-02" });
        let mut row = row.as_object().unwrap().clone();
        row.extend(value.as_object().unwrap().clone());
        row.retain(|_, value| value != "absent");
        let rows = prepared.contract.from_json(&[row])?;
        let place = |row: usize| format!("row {}", row + 1);
        let rows = prepared.contract.conform(&rows, Need::Features, &place)?;
        fitted.matrix(&rows)
    };
    let refused = |value: Value, expected: &str| {
        let error = row(value).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(serde_json::json!({ "c": "absent" }), "no key `c`");
    refused(serde_json::json!({ "x": "" }), "is not a number");
    refused(serde_json::json!({ "w": "soon" }), "`soon` is not a time");
    refused(serde_json::json!({ "w": 1e300 }), "is not a time");
    let usual = row(serde_json::json!({})).unwrap();
    // x, two levels, then the time.
    assert_eq!(usual[1..3], [1.0, 0.0]);
    assert_eq!(row(serde_json::json!({ "c": "" })).unwrap()[1..3], [0.0, 0.0]);
    assert_eq!(row(serde_json::json!({ "c": null })).unwrap()[1..3], [0.0, 0.0]);
    assert_eq!(row(serde_json::json!({ "x": null })).unwrap()[0], 0.0);
    for missing in [Value::Null, "".into()] {
        let found = row(serde_json::json!({ "w": missing })).unwrap();
        assert!(found[3..].iter().all(|number| *number == 0.0), "{found:?}");
    }
    let infinite: ArrayRef = Arc::new(Float64Array::from(vec![f64::INFINITY, f64::NAN]));
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "a"]));
    let times: ArrayRef = Arc::new(Float64Array::from(vec![0.0, f64::NAN]));
    let rows = RecordBatch::try_from_iter([("x", infinite), ("c", names), ("w", times)]).unwrap();
    let place = |row: usize| format!("row {}", row + 1);
    let error = prepared.contract.conform(&rows, Need::Features, &place).unwrap_err();
    assert!(error.to_string().starts_with("row 1, column `x`: `inf` is not"), "{error}");
    let rest = prepared
        .contract
        .conform(&rows.slice(1, 1), Need::Features, &place)
        .unwrap();
    assert_eq!(fitted.matrix(&rest).unwrap()[0], 0.0);
    let error = prepared
        .contract
        .conform(&rows.project(&[0, 2]).unwrap(), Need::Features, &place);
    assert!(error.unwrap_err().to_string().starts_with("no column `c`"));

    // A table of one row, of every kind.
    let one = Prepared::of("x,c,w,y\n1,a,2024-01-01,1.5\n", "y", serde_json::json!({})).unwrap();
    let found = one.fit().unwrap().matrix(&one.rows()).unwrap();
    assert!(found.iter().all(|number| number.is_finite()) && found[0] == 0.0, "{found:?}");
    // A time without a value in the training rows.
    let text = "w,x,y\n,1,1.5\n,2,2\n2024-01-01,3,3\n";
    let late = Prepared::of(text, "y", serde_json::json!({})).unwrap();
    let pipeline = Pipeline::new(&late.contract, &late.columns).unwrap();
    let fitted = pipeline.fit(&late.frame.select(vec![0, 1])).unwrap();
    let json = serde_json::to_string(&fitted).unwrap();
    assert_eq!(serde_json::from_str::<FittedPipeline>(&json).unwrap(), fitted);
    assert!(
        fitted
            .matrix(&late.rows())
            .unwrap()
            .iter()
            .all(|number| number.is_finite())
    );
}
