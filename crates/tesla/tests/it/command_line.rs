//! What a person types and reads.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{folder, iris, repo, succeeds};

#[test]
fn predict_keeps_the_columns_and_appends_the_prediction() {
    let folder = folder();
    let model = iris(folder.path());
    let model = model.to_str().unwrap();
    let rows = "id,petal_width,petal_length,sepal_width,sepal_length\n007,0.2,1.4,3.5,5.1\n008,2.3,6.0,,6.9\n";
    std::fs::write(folder.path().join("new.csv"), rows).unwrap();
    succeeds(folder.path(), &["predict", model, "new.csv", "-o", "out.csv", "--device", "flex"]);
    let out = std::fs::read_to_string(folder.path().join("out.csv")).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[0],
        "id,petal_width,petal_length,sepal_width,sepal_length,prediction,probability_setosa,probability_versicolor,probability_virginica"
    );
    assert!(lines[1].starts_with("007,0.2,1.4,3.5,5.1,setosa,0.9"), "{}", lines[1]);
    assert!(lines[2].starts_with("008,2.3,6.0,,6.9,virginica,"), "{}", lines[2]);
}

#[test]
fn predict_reads_standard_input_and_answers_json_with_json() {
    let folder = folder();
    let model = iris(folder.path());
    let row = r#"{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2, "note": "a"}"#;
    let mut child = Command::new(env!("CARGO_BIN_EXE_tesla"))
        .args(["predict", model.to_str().unwrap(), "-", "--device", "flex"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{row}").unwrap();
    let output = child.wait_with_output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["prediction"], "setosa");
    assert_eq!(answer["note"], "a");
    assert!(answer["probability_setosa"].as_f64().unwrap() > 0.9);
}

#[test]
fn evaluate_prints_one_object_with_metrics() {
    let folder = folder();
    let model = iris(folder.path());
    let data = repo("datasets/iris/iris.csv");
    let args =
        ["evaluate", model.to_str().unwrap(), data.to_str().unwrap(), "--json", "--device", "flex"];
    let report: Value = serde_json::from_str(&succeeds(folder.path(), &args)).unwrap();
    assert_eq!(report["rows"], 150);
    assert!(report["metrics"]["accuracy"].as_f64().unwrap() > 0.9);
}

#[test]
fn a_run_leaves_what_is_needed_to_repeat_it() {
    let folder = folder();
    let first = iris(folder.path());
    succeeds(
        folder.path(),
        &["train", "run/tesla.toml", "--device", "flex", "--out", "again", "-q"],
    );
    let again = folder.path().join("again/model.tesla");
    assert_eq!(std::fs::read(first).unwrap(), std::fs::read(again).unwrap());
    assert_eq!(
        crate::support::files(&folder.path().join("run")),
        [
            "metrics.jsonl",
            "model.tesla",
            "quarantine.jsonl",
            "report.html",
            "report.json",
            "report.md",
            "split.json",
            "tesla.toml"
        ]
    );
}

#[test]
fn training_can_speak_json() {
    let folder = folder();
    let data = repo("datasets/wine/wine.csv");
    let args = [
        "train",
        data.to_str().unwrap(),
        "--target",
        "cultivar",
        "--device",
        "flex",
        "--epochs",
        "2",
        "--out",
        "run",
        "--json",
    ];
    let out = succeeds(folder.path(), &args);
    let events: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let first = &events[0];
    assert_eq!(first["event"], "rows");
    assert_eq!([&first["read"], &first["kept"], &first["quarantined"]], [178, 178, 0]);
    assert_eq!(events[1]["event"], "started");
    let last = events.last().unwrap();
    assert_eq!(last["event"], "finished");
    assert!(last["test"]["metrics"]["accuracy"].is_number());
    assert_eq!(events.iter().filter(|e| e["event"] == "epoch").count(), 2);
}

#[test]
fn inspect_shows_the_coefficients_and_the_schema_names_every_table() {
    let folder = folder();
    let model = iris(folder.path());
    let text = succeeds(folder.path(), &["inspect", model.to_str().unwrap()]);
    assert!(text.contains("target   species: setosa, versicolor, virginica"), "{text}");
    assert!(text.contains("coefficients of `setosa`"), "{text}");
    let schema: Value = serde_json::from_str(&succeeds(folder.path(), &["schema"])).unwrap();
    for table in ["data", "columns", "model", "train"] {
        assert!(schema["properties"][table].is_object(), "{table}");
    }
    let devices = succeeds(folder.path(), &["devices"]);
    assert!(devices.contains("flex"), "{devices}");
}

#[test]
fn profile_shows_the_columns_as_text_json_and_a_page() {
    let folder = folder();
    let data = repo("datasets/iris/iris.csv");
    let data = data.to_str().unwrap();
    let text = succeeds(folder.path(), &["profile", data, "--target", "species"]);
    assert!(text.starts_with("iris.csv: 150 rows, 5 columns; target species, 3 classes"), "{text}");
    let args = ["profile", data, "--target", "species", "--json", "--html", "iris.html"];
    let profile: Value = serde_json::from_str(&succeeds(folder.path(), &args)).unwrap();
    assert_eq!(profile["rows"], 150);
    assert_eq!(profile["columns"][0]["relation"]["measure"], "correlation_ratio");
    let page = std::fs::read_to_string(folder.path().join("iris.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("petal_length"), "{page}");
}

/// Train, then evaluate and predict on the same source: what was read once is read again.
#[test]
fn what_trains_also_predicts() {
    let rows = |f: &dyn Fn(i32) -> String| (0..200).map(f).collect::<String>();
    let cases = [
        // Classes and categories written as numbers.
        (
            "labels.csv",
            format!("x,g,y\n{}", rows(&|i| format!("{i},{}.0,{}.0\n", i % 3, i32::from(i > 90)))),
            "",
            "[columns.g]\nkind = \"category\"\n",
        ),
        // Numbers with a decimal comma.
        (
            "comma.csv",
            format!(
                "a;b;y\n{}",
                rows(&|i| format!("{i},5;{};{}\n", i % 7, ["n", "j"][usize::from(i > 90)]))
            ),
            "csv = { decimal = \",\" }\n",
            "",
        ),
        // A column that cannot be read, and is not wanted.
        (
            "tags.jsonl",
            rows(&|i| {
                format!(
                    "{{\"x\": {i}, \"tags\": [{i}], \"y\": \"{}\"}}\n",
                    ["a", "b"][usize::from(i > 90)]
                )
            }),
            "drop = [\"tags\"]\n",
            "",
        ),
    ];
    for (name, text, data, columns) in cases {
        let folder = folder();
        let at = folder.path();
        std::fs::write(at.join(name), text).unwrap();
        let config = format!(
            "[data]\nsource = \"{name}\"\ntarget = \"y\"\n{data}[model]\nkind = \"logistic\"\n[audit]\nlevel = \"off\"\n{columns}"
        );
        std::fs::write(at.join("t.toml"), config).unwrap();
        succeeds(at, &["train", "t.toml", "--device", "flex", "--out", "run", "-q"]);
        if name.ends_with(".jsonl") {
            // Predicting writes all columns, so this one would have to be read.
            continue;
        }
        let report =
            succeeds(at, &["evaluate", "run/model.tesla", name, "--device", "flex", "--json"]);
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["rows"], 200, "{name}");
        let predicted = succeeds(at, &["predict", "run/model.tesla", name, "--device", "flex"]);
        assert_eq!(predicted.lines().count(), 201, "{name}");
        let right = report["metrics"]["accuracy"].as_f64().unwrap();
        assert!(right > 0.95, "{name}: {right}");
    }
}
