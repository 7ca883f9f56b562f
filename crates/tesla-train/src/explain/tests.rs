use tesla_core::model::MlpConfig;
use tesla_core::{Bundle, Device, DeviceChoice, ModelConfig, Predictor};
use tesla_data::source::{CsvSource, Input};
use tesla_data::{Dataset, Frame};

use super::*;
use crate::{Config, Silent, train};

/// A model of the table, and its rows.
fn model(table: &str, kind: &str, epochs: usize) -> (Predictor, Dataset, Device) {
    model_of(table, ModelConfig::from_kind(kind).unwrap(), epochs)
}

fn model_of(table: &str, model: ModelConfig, epochs: usize) -> (Predictor, Dataset, Device) {
    let device = Device::open(DeviceChoice::Flex).unwrap();
    let input = Input::from_bytes("t.csv", table.as_bytes());
    let source = CsvSource::open(input, Default::default()).unwrap();
    let data = Dataset::from_frame(Frame::read_all(Box::new(source)).unwrap());
    let mut config = Config {
        model: Some(model),
        ..Default::default()
    };
    config.data.target = Some("y".into());
    config.audit.level = tesla_data::AuditLevel::Off;
    config.train.epochs = epochs;
    let kinds = [
        ("user", ColumnKind::Category),
        ("item", ColumnKind::Category),
        ("text", ColumnKind::Text),
    ];
    for (column, kind) in kinds.into_iter().filter(|(column, _)| table.contains(column)) {
        config.columns.entry(column.to_string()).or_default().kind = Some(kind);
    }
    let bundle = train(&config, &data, &device, &mut Silent).unwrap().bundle;
    let data = data.settle(&bundle.contract, &config.data.bad_policy()).unwrap();
    (bundle.predictor(&device).unwrap(), data, device)
}

/// Numbers that look drawn: `rows` of them in -1..1.
fn noise(rows: usize, stream: usize) -> Vec<f64> {
    let next = |i: usize| ((i * 7919 + stream * 104_729 + 13) % 1009) as f64;
    (0..rows)
        .map(|i| (next(i * i + 3 * i) / 504.5 - 1.0 + next(i) / 504.5 - 1.0) / 2.0)
        .collect()
}

/// `y = 3 a - 2 b`, with a category and a column that say nothing.
fn linear_table(rows: usize) -> String {
    let [a, b, c] = [0, 1, 2].map(|stream| noise(rows, stream));
    let mut table = String::from("a,b,idle,kind,y\n");
    for i in 0..rows {
        let y = 3.0 * a[i] - 2.0 * b[i] + 7.0;
        table += &format!("{},{},{},{},{y}\n", a[i], b[i], c[i], ["u", "v"][i % 2]);
    }
    table
}

fn explain(bundle: &Bundle, device: &Device, frame: &Frame, rows: &[usize]) -> Vec<Explained> {
    let place = |row: usize| format!("row {}", row + 1);
    let explainer = Explainer::new(bundle, device).unwrap();
    explainer.explain(&frame.to_batch().unwrap(), rows, &place).unwrap()
}

#[test]
fn a_linear_model_is_explained_by_its_coefficients() {
    let (predictor, data, device) = model(&linear_table(200), "linear", 1);
    let found = explain(predictor.bundle(), &device, &data.frame, &[5, 17]);
    let a = noise(200, 0);
    let mean = |bundle: &Bundle| match &bundle.pipeline.features[0] {
        tesla_data::prepare::FittedColumn::Numeric(f) => f.mean,
        _ => unreachable!(),
    };
    for (row, found) in std::iter::zip([5, 17], &found) {
        let own = found.contributions.iter().find(|c| c.name == "a").unwrap();
        let expected = 3.0 * (a[row] - mean(predictor.bundle()));
        assert!((own.amount - expected).abs() < 1e-4, "{} {expected}", own.amount);
        assert!(found.rest.abs() < 1e-4 && found.method == Method::Exact, "{found:?}");
        assert_eq!(own.value, a[row].to_string());
        assert!(found.contributions[2].amount.abs() < 1e-4, "{found:?}");
    }
}

#[test]
fn integrated_gradients_add_up_and_do_not_depend_on_other_rows() {
    let normed = MlpConfig {
        batch_norm: true,
        ..Default::default()
    };
    for config in [MlpConfig::default(), normed] {
        let (predictor, data, device) = model_of(&linear_table(300), ModelConfig::Mlp(config), 8);
        let bundle = predictor.bundle();
        let together = explain(bundle, &device, &data.frame, &[3, 4, 5]);
        let alone = explain(bundle, &device, &data.frame, &[4]);
        assert_eq!(together[1], alone[0]);
        let predicted = predictor.predict(&data.frame.to_batch().unwrap()).unwrap();
        let tesla_core::Predictions::Values(values) = predicted else {
            unreachable!()
        };
        for (row, found) in std::iter::zip([3, 4, 5], &together) {
            assert_eq!(found.method, Method::IntegratedGradients);
            assert!(found.rest.abs() < 0.05, "{found:?}");
            assert!((values[row] - found.output).abs() < 1e-3, "{found:?}");
        }
    }
}

#[test]
fn importance_finds_what_matters_and_dependence_its_slope() {
    let (predictor, data, _) = model(&linear_table(400), "linear", 1);
    let rows = data.frame.all();
    let sample = Sample::draw(&predictor, &rows, 300, 1).unwrap();
    assert_eq!(sample.len(), 300);
    let all = importance(&predictor, &sample, 5, 1).unwrap().unwrap();
    let names: Vec<&str> = all.columns.iter().map(|c| c.column.as_str()).collect();
    assert_eq!(names[..2], ["a", "b"]);
    assert!(all.columns[0].mean > 1.0 && all.columns[3].mean.abs() < 1e-4, "{all:?}");
    assert!(all.columns[0].spread > 0.0 && all.metric == "RMSE");
    assert_eq!(importance(&predictor, &sample, 5, 1).unwrap().unwrap(), all);

    let found = dependence(&predictor, &sample, "b").unwrap().unwrap();
    let at = |i: usize| (found.values[i].parse::<f64>().unwrap(), found.means[i][0]);
    let ((x0, y0), (x1, y1)) = (at(0), at(found.values.len() - 1));
    assert!(((y1 - y0) / (x1 - x0) + 2.0).abs() < 1e-3, "{found:?}");
    let found = dependence(&predictor, &sample, "kind").unwrap().unwrap();
    assert!(!found.numeric && found.values == ["u", "v"], "{found:?}");
}

#[test]
fn words_that_tell_are_found_by_weights_and_by_taking_them_out() {
    let fill = ["today", "we", "meet", "there", "again"];
    let mut table = String::from("text,y\n");
    for i in 0..120 {
        let word = if i % 2 == 0 { "prize" } else { "lunch" };
        let class = if i % 2 == 0 { "spam" } else { "ham" };
        table += &format!(
            "{} {word} {} {},{class}\n",
            // Each word once: a mean of words moves far without one that stands there three times.
            fill[i % 5],
            fill[(i + 1) % 5],
            fill[(i + 3) % 5]
        );
    }
    for (kind, method) in [("logistic", Method::Exact), ("bag", Method::WordRemoval)] {
        let (predictor, data, device) = model(&table, kind, 80);
        let found = explain(predictor.bundle(), &device, &data.frame, &[0, 1]);
        let first =
            |i: usize| found[i].contributions[0].name.trim_start_matches("word:").to_string();
        assert_eq!([first(0), first(1)], ["prize", "lunch"], "{found:?}");
        assert!(found[0].of == "spam" && found[0].method == method && found[0].unit == "log-odds");
        let all = explanations(&predictor, &device, &data.frame.all(), 3).unwrap();
        assert_eq!(all.words.len(), 2);
        assert!(all.importances.is_none() && all.words.iter().all(|w| w.words[0].1 > 0.0));
    }
}

#[test]
fn ids_are_explained_by_shapley_values_that_add_up() {
    let mut table = String::from("user,item,y\n");
    for user in 0..12 {
        for item in 0..12 {
            table += &format!("u{user},i{item},{}\n", (user % 4) as f64 + 0.1 * (item % 3) as f64);
        }
    }
    let (predictor, data, device) = model(&table, "mf", 20);
    let found = explain(predictor.bundle(), &device, &data.frame, &[3]);
    assert_eq!((found[0].method, found[0].contributions.len()), (Method::Shapley, 2));
    assert!(found[0].rest.abs() < 1e-4, "{found:?}");
}

#[test]
fn whole_groups_are_drawn_until_there_are_enough() {
    let keys: Vec<String> = (0..30).map(|i| format!("g{}", i / 5)).collect();
    let rows = groups(&keys, 12, 4);
    assert_eq!(rows.len(), 10);
    for row in &rows {
        let group = row / 5;
        assert!((0..5).all(|i| rows.contains(&(group * 5 + i))), "{rows:?}");
    }
    assert_eq!(rows, groups(&keys, 12, 4));
    assert_eq!(groups(&keys, 2, 4).len(), 5);
    assert_eq!(drawn(10, 20, 1), (0..10).collect::<Vec<_>>());
    assert!(drawn(1000, 20, 1).is_sorted());
}
