//! Preparation learns from the training rows only, and the auditor lets honest data pass.

use proptest::prelude::*;
use tesla_data::audit::{Severity, audit};
use tesla_data::config::{ColumnConfigs, CsvConfig};
use tesla_data::source::{CsvSource, Input};
use tesla_data::{
    AuditConfig, BadPolicy, Contract, DataConfig, Dataset, FittedPipeline, Frame, Pipeline,
};

/// A number or none, a category or none, a class.
type Row = (Option<i16>, Option<u8>, bool);

/// What the rows are written as: a number, a category, a time and a class.
fn table(rows: &[Row]) -> String {
    let mut text = String::from("x,c,when,y\n");
    for (x, c, y) in rows {
        let when = x.map(|x| format!("20{:02}-01-{:02}", 10 + x % 7, 1 + x.rem_euclid(28)));
        let x = x.map_or(String::new(), |x| x.to_string());
        let c = c.map_or(String::new(), |c| format!("c{}", c % 30));
        let y = if *y { "yes" } else { "no" };
        text.push_str(&format!("{x},{c},{},{y}\n", when.unwrap_or_default()));
    }
    text
}

/// The same as sentences.
fn sentences(rows: &[Row]) -> String {
    let mut text = String::from("said,y\n");
    for (x, c, y) in rows {
        let (x, c) = (x.unwrap_or_default() % 50, c.unwrap_or_default() % 30);
        let y = if *y { "yes" } else { "no" };
        text.push_str(&format!("word{c} and number{x},{y}\n"));
    }
    text
}

/// What is learned from every third row left out, whatever those are.
fn fitted(text: &str, columns: &ColumnConfigs) -> FittedPipeline {
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
    let train: Vec<u32> = (0..frame.len() as u32).filter(|row| row % 3 > 0).collect();
    Pipeline::new(&contract, columns)
        .unwrap()
        .fit(&frame.select(train))
        .unwrap()
}

/// Every step that learns something of a number, of a category and of a text.
const NUMBERS: [&str; 10] = [
    "impute = \"mean\"",
    "impute = \"median\", scale = \"robust\"",
    "impute = \"mode\", scale = \"min_max\", indicator = true",
    "impute = \"forward_fill\", scale = \"max_abs\"",
    "scale = \"quantile_uniform\"",
    "scale = \"quantile_normal\", clip = { iqr = 1.5 }",
    "scale = \"yeo_johnson\", clip = { z = 1.0 }",
    "clip = { quantiles = [0.1, 0.9] }, degree = 2",
    "bins = { count = 4 }",
    "bins = { count = 3, strategy = \"uniform\" }",
];
const CATEGORIES: [&str; 8] = [
    "encode = \"one_hot\"",
    "encode = \"one_hot\", min_count = 3",
    "encode = \"one_hot\", impute = \"forward_fill\"",
    "encode = \"ordinal\", impute = \"mode\"",
    "encode = \"frequency\"",
    "encode = \"target\", min_count = 2",
    "encode = \"embedding\"",
    "encode = \"hash\", impute = \"mode\"",
];
const TEXTS: [&str; 4] = [
    "encode = \"tfidf\"",
    "encode = \"tfidf\", analyzer = \"char\", ngrams = [1, 3], max_terms = 20",
    "encode = \"words\", min_count = 2",
    "encode = \"subwords\", vocabulary = 300",
];

proptest! {
    #[test]
    fn no_fitted_state_changes_with_the_rows_left_out(
        mut rows in prop::collection::vec(any::<Row>(), 30..80),
        others in prop::collection::vec(any::<Row>(), 30),
        number in 0..NUMBERS.len(),
        category in 0..CATEGORIES.len(),
        text in 0..TEXTS.len(),
    ) {
        // The kinds of columns and the classes are known from the training rows.
        for (row, y) in [(1, false), (2, true)] {
            rows[row] = (Some(3), Some(1), y);
        }
        let mut changed = rows.clone();
        for (row, other) in changed.iter_mut().step_by(3).zip(others) {
            *row = other;
        }
        let (number, category) = (NUMBERS[number], CATEGORIES[category]);
        let columns = format!("x = {{ {number} }}\nc = {{ kind = \"category\", {category} }}");
        let columns: ColumnConfigs = toml::from_str(&columns).unwrap();
        prop_assert_eq!(fitted(&table(&rows), &columns), fitted(&table(&changed), &columns));
        let columns = format!("said = {{ kind = \"text\", text = {{ {} }} }}", TEXTS[text]);
        let columns: ColumnConfigs = toml::from_str(&columns).unwrap();
        prop_assert_eq!(fitted(&sentences(&rows), &columns), fitted(&sentences(&changed), &columns));
    }
}

#[test]
fn honest_data_raises_nothing_that_stops() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets");
    for (name, target) in [
        ("iris", "species"),
        ("wine", "cultivar"),
        ("breast-cancer", "diagnosis"),
        ("diabetes", "progression"),
    ] {
        let config = DataConfig {
            source: format!("{name}/{name}.csv").into(),
            target: Some(target.into()),
            ..Default::default()
        };
        let data = Dataset::load(&config, &folder).unwrap();
        let contract = Contract::infer(&data.frame, &config, &ColumnConfigs::new()).unwrap();
        let data = data.settle(&contract, &config.bad_policy()).unwrap();
        let classes = data.frame.class_ids(&contract).unwrap();
        for seed in 0..6 {
            let split = data.split(&config, classes.as_deref(), seed).unwrap();
            let found = audit(
                &data,
                &contract,
                &split,
                &AuditConfig::default(),
                &config,
                &ColumnConfigs::new(),
            );
            let grave = |found: &tesla_data::Finding| found.severity == Severity::Stop;
            let found: Vec<_> = found.unwrap().into_iter().filter(grave).collect();
            assert_eq!(found, [], "{name}");
        }
    }
}

#[test]
fn what_divides_the_rows_is_read_and_is_no_feature() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::from("x,who,y\n");
    (0..60).for_each(|i| text.push_str(&format!("{},{},{}\n", i * 17 % 23, i / 6, i * 7 % 31)));
    std::fs::write(folder.path().join("t.csv"), text).unwrap();
    let load = |drop: &str, columns: &str| {
        let config = format!(
            "source = \"t.csv\"\ntarget = \"y\"\ntask = \"regression\"\n{drop}\nsplit = {{ by = \"group\", column = \"who\" }}"
        );
        let config: DataConfig = toml::from_str(&config).unwrap();
        let data = Dataset::load(&config, folder.path()).unwrap();
        let columns: ColumnConfigs = toml::from_str(columns).unwrap();
        let contract = Contract::infer(&data.frame, &config, &columns).unwrap();
        let data = data.settle(&contract, &config.bad_policy()).unwrap();
        let split = data.split(&config, None, 0).unwrap();
        let part = |rows: &[u32]| {
            rows.iter()
                .map(|row| row / 6)
                .collect::<std::collections::BTreeSet<_>>()
        };
        assert!(part(&split.train).is_disjoint(&part(&split.test)));
        contract
    };
    let features =
        |contract: &Contract| contract.features().map(|rule| rule.name.clone()).collect::<Vec<_>>();
    let contract = load("", "");
    assert_eq!(features(&contract), ["x"]);
    let note = contract.notes().next().unwrap();
    assert_eq!(
        note,
        ("who", "it divides the rows (`split.column`); say `[columns.who]` to learn from it too")
    );
    assert_eq!(features(&load("drop = [\"who\"]", "")), ["x"]);
    assert_eq!(features(&load("", "who = { kind = \"numeric\" }")), ["x", "who"]);
}
