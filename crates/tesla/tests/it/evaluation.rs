//! Figures with intervals, baselines and slices; thresholds and calibration that travel with the model;
//! folds; two models side by side.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;
use tesla::{Bundle, DeviceChoice, Model};

use crate::support::{fails, folder, repo, succeeds};

/// Rows of two classes that `x` tells apart with mistakes; `w` is a weight, and `group` a part.
fn table(folder: &Path, rows: usize) {
    let mut text = String::from("x,z,group,w,y\n");
    let mut state = 7u64;
    let mut random = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as f64 / (1u64 << 31) as f64
    };
    for row in 0..rows {
        let (x, z, noise) = (random(), random(), random());
        let label = if x + 0.8 * (noise - 0.5) > 0.7 {
            "yes"
        } else {
            "no"
        };
        let group = ["a", "b", "c"][row % 3];
        writeln!(text, "{x:.4},{z:.4},{group},{},{label}", row % 4).unwrap();
    }
    std::fs::write(folder.join("t.csv"), text).unwrap();
}

fn program(folder: &Path, rest: &str) {
    let text = format!("[data]\nsource = \"t.csv\"\ntarget = \"y\"\n{rest}\n");
    std::fs::write(folder.join("t.toml"), text).unwrap();
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn read(folder: &Path, file: &str) -> Value {
    json(&std::fs::read_to_string(folder.join(file)).unwrap())
}

/// The report that travels with the model.
fn sealed(folder: &Path) -> Value {
    let model = Model::load(folder.join("run/model.tesla"), DeviceChoice::Flex).unwrap();
    model.bundle().report.clone()
}

fn train(folder: &Path, out: &str) -> String {
    succeeds(folder, &["train", "t.toml", "--device", "flex", "--out", out])
}

#[test]
fn a_report_has_intervals_baselines_slices_and_no_row_in_the_bundle() {
    let folder = folder();
    let folder = folder.path();
    table(folder, 900);
    program(
        folder,
        "[columns.group]\n[model]\nkind = \"mlp\"\nhidden = [8]\n[train]\nepochs = 8\n[evaluate]\nby = [\"group\"]",
    );
    let shown = train(folder, "run");
    assert!(shown.contains("  accuracy   0.") && shown.contains(", 95 %)"), "{shown}");
    assert!(shown.contains("of logistic regression"), "{shown}");
    let report = &sealed(folder)["test"];
    assert!(report.get("worst").is_none());
    let names: Vec<&str> = report["baselines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["majority", "logistic"]);
    assert_eq!(report["slices"][0]["column"], "group");

    let args = [
        "evaluate",
        "run/model.tesla",
        "t.csv",
        "--by",
        "group",
        "--by",
        "x",
        "--json",
        "--device",
        "flex",
    ];
    let report = json(&succeeds(folder, &args));
    let accuracy = report["metrics"]["accuracy"].as_f64().unwrap();
    let interval = &report["intervals"]["figures"]["accuracy"];
    assert_eq!(interval["estimate"].as_f64().unwrap(), accuracy);
    assert!(interval["low"].as_f64().unwrap() < accuracy);
    assert!(interval["high"].as_f64().unwrap() > accuracy);
    for (at, slices) in [(0, 3), (1, 5)] {
        let all = report["slices"][at]["slices"].as_array().unwrap();
        let rows: u64 = all.iter().map(|slice| slice["rows"].as_u64().unwrap()).sum();
        assert_eq!((all.len(), rows), (slices, 900));
    }
    // Slices of one size: the accuracy of all is the mean of theirs.
    let groups = report["slices"][0]["slices"].as_array().unwrap();
    let mean: f64 = groups
        .iter()
        .map(|s| s["figures"]["accuracy"].as_f64().unwrap())
        .sum::<f64>()
        / 3.0;
    assert!((mean - accuracy).abs() < 1e-12);
    let worst = &report["worst"][0];
    assert_ne!(worst["truth"], worst["predicted"]);
    let line = worst["row"].as_u64().unwrap() + 2;
    assert_eq!(worst["place"], format!("`t.csv` line {line}"));
    assert!(report["curves"]["ranking"][0]["roc"].as_array().unwrap().len() <= 200);
    // The same again, to the byte.
    assert_eq!(json(&succeeds(folder, &args)), report);
    let text = succeeds(folder, &args[..7]);
    assert!(text.contains("balanced accuracy") && text.contains("worst mistakes"), "{text}");
    let error = fails(
        folder,
        &["evaluate", "run/model.tesla", "t.csv", "--by", "gruop", "--device", "flex"],
    );
    assert!(error.contains("did you mean `group`"), "{error}");
}

#[test]
fn a_stored_report_is_read_back() {
    let folder = folder();
    let model = crate::support::iris(folder.path());
    let bundle = Bundle::load(&model).unwrap();
    let stored: tesla::Report = serde_json::from_value(bundle.report["test"].clone()).unwrap();
    assert_eq!(stored.figure("top_2"), Some(1.0));
    assert_eq!(stored.curves.ranking.len(), 3);
    assert_eq!(stored, stored.without_rows());
    let text = succeeds(folder.path(), &["inspect", model.to_str().unwrap()]);
    assert!(text.contains("test: 30 rows") && text.contains(", 95 %)"), "{text}");
}

#[test]
fn a_weight_counts_rows_and_is_no_feature() {
    let folder = folder();
    let folder = folder.path();
    table(folder, 400);
    program(folder, "weight = \"w\"\n[model]\nkind = \"logistic\"");
    train(folder, "run");
    let weighted = json(&succeeds(
        folder,
        &["evaluate", "run/model.tesla", "t.csv", "--json", "--device", "flex"],
    ));
    assert_eq!((&weighted["rows"], &weighted["weight"]), (&400.into(), &600.0.into()));
    let confusion = weighted["metrics"]["confusion"].as_array().unwrap();
    let cells = confusion.iter().flat_map(|row| row.as_array().unwrap());
    assert_eq!(cells.map(|cell| cell.as_u64().unwrap()).sum::<u64>(), 600);
    // Each row as often as it weighs.
    let text = std::fs::read_to_string(folder.join("t.csv")).unwrap();
    let mut lines = text.lines();
    let mut repeated = lines.next().unwrap().to_string() + "\n";
    for line in lines {
        let times: usize = line.split(',').nth(3).unwrap().parse().unwrap();
        (0..times).for_each(|_| repeated += &format!("{}\n", line));
    }
    std::fs::write(folder.join("repeated.csv"), repeated.replace(",w,", ",v,")).unwrap();
    let mut model = Model::load(folder.join("run/model.tesla"), DeviceChoice::Flex).unwrap();
    let data = tesla::ingest::load_csv(folder.join("repeated.csv")).unwrap();
    let report = tesla::evaluate::evaluate(&model, &data).unwrap();
    for name in ["accuracy", "f1", "log_loss", "roc_auc", "average_precision", "mcc"] {
        let key = weighted["metrics"][name].as_f64().unwrap();
        assert!((report.figure(name).unwrap() - key).abs() < 1e-12, "{name}");
    }
    // One class alone: what it does not define is `null`, with the reason.
    let ones: String = text
        .lines()
        .filter(|line| !line.ends_with(",no"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(folder.join("ones.csv"), ones).unwrap();
    model = Model::load(folder.join("run/model.tesla"), DeviceChoice::Flex).unwrap();
    let data = tesla::ingest::load_csv(folder.join("ones.csv")).unwrap();
    let report = tesla::evaluate::evaluate(&model, &data).unwrap();
    assert_eq!(report.figure("roc_auc"), None);
    assert!(report.undefined["roc_auc"].ends_with("there is no row of class `no`"));
}

#[test]
fn a_weight_counts_in_what_stops_training() {
    let folder = folder();
    let folder = folder.path();
    table(folder, 400);
    program(folder, "weight = \"w\"\n[model]\nkind = \"mlp\"\n[train]\nepochs = 6");
    train(folder, "run");
    let text = std::fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap();
    let epochs = text.lines().map(json).filter(|line| line["event"] == "epoch");
    let best = epochs.min_by(|a, b| {
        let loss = |line: &Value| line["valid_loss"].as_f64().unwrap();
        loss(a).total_cmp(&loss(b))
    });
    // The report of the model that was kept counts the same rows in the same way.
    let report = read(folder, "run/report.json");
    let figures = &report["valid"]["metrics"];
    let best = best.unwrap();
    for (own, other) in [("valid_loss", "log_loss"), ("valid_metric", "accuracy")] {
        let (own, other) = (best[own].as_f64().unwrap(), figures[other].as_f64().unwrap());
        assert!((own - other).abs() < 1e-6, "{own} is not {other}");
    }
}

#[test]
fn a_threshold_and_a_calibration_are_chosen_kept_and_applied() {
    let folder = folder();
    let folder = folder.path();
    table(folder, 900);
    let rest = "[model]\nkind = \"logistic\"\n[evaluate]\ncalibrate = \"platt\"\nthreshold = { cost = { false_positive = 1, false_negative = 20 } }";
    program(folder, rest);
    train(folder, "run");
    train(folder, "again");
    let bytes = |run: &str| std::fs::read(folder.join(run).join("model.tesla")).unwrap();
    assert!(bytes("run") == bytes("again"));
    let bundle = Bundle::from_bytes("model", &bytes("run")).unwrap();
    let threshold = bundle.decision.threshold.unwrap();
    assert!(threshold < 0.3 && bundle.decision.calibration.is_some(), "{:?}", bundle.decision);
    assert!(String::from_utf8_lossy(&bytes("run")).contains("\"format\": 2"));
    let out = succeeds(folder, &["predict", "run/model.tesla", "t.csv", "--device", "flex"]);
    let mut below_half = 0;
    for line in out.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let (label, p) = (fields[fields.len() - 3], fields[fields.len() - 1]);
        let p: f64 = p.parse().unwrap();
        assert_eq!(label == "yes", p >= threshold, "{line}");
        below_half += usize::from(label == "yes" && p < 0.5);
    }
    assert!(below_half > 0);
    let report = &sealed(folder)["test"];
    assert_eq!(report["threshold"].as_f64().unwrap(), threshold);
    // Costs ask for nearly all of the dear class.
    assert!(report["metrics"]["classes"][1]["recall"].as_f64().unwrap() > 0.9);
    succeeds(folder, &["verify", "run/model.tesla"]);

    for (kind, kept) in [("temperature", "Temperature"), ("isotonic", "Isotonic")] {
        program(
            folder,
            &format!(
                "[model]\nkind = \"logistic\"\n[evaluate]\ncalibrate = \"{kind}\"\nthreshold = {{ recall_at_precision = 0.6 }}"
            ),
        );
        train(folder, kind);
        let bundle = Bundle::from_bytes("model", &bytes(kind)).unwrap();
        assert!(format!("{:?}", bundle.decision.calibration).contains(kept));
    }
}

#[test]
fn what_cannot_be_chosen_is_refused_before_training() {
    let folder = folder();
    let folder = folder.path();
    table(folder, 200);
    let refused = |rest: &str| {
        program(folder, rest);
        fails(folder, &["train", "t.toml", "--device", "flex"])
    };
    let error = refused("split = { valid = 0.0 }\n[evaluate]\nthreshold = \"f1\"");
    assert!(error.contains("`evaluate.threshold` is chosen on validation rows"), "{error}");
    let error = refused("[evaluate]\nthreshold = { recall_at_precision = 1.5 }");
    assert!(error.contains("is 1.5: expected 0 to 1"), "{error}");
    let error = refused("[train]\nearly_stop = { metric = \"rmse\" }");
    assert!(error.contains("is `rmse`, but the target is a class: expected `loss`, `accuracy`"));
    let error = refused("[train]\nearly_stop = { metric = \"acuracy\" }");
    assert!(error.contains("did you mean `accuracy`"), "{error}");
    let data = repo("datasets/iris/iris.csv");
    let text = format!(
        "[data]\nsource = \"{}\"\ntarget = \"species\"\n[evaluate]\ncalibrate = \"isotonic\"\n",
        data.display()
    );
    std::fs::write(folder.join("iris.toml"), text).unwrap();
    let error = fails(folder, &["train", "iris.toml", "--device", "flex"]);
    assert!(error.contains("is for two classes, but the target has 3: use `temperature`"));
}

#[test]
fn training_can_stop_on_any_figure() {
    let folder = folder();
    let folder = folder.path();
    table(folder, 600);
    for (key, name) in [("auc", "roc_auc"), ("f1", "f1"), ("mcc", "mcc"), ("log_loss", "log_loss")]
    {
        // Steps so long that the figures go up and down.
        program(
            folder,
            &format!(
                "[model]\nkind = \"mlp\"\nhidden = [8]\n[train]\nepochs = 40\nbatch_size = 32\nlearning_rate = 0.05\nearly_stop = {{ metric = \"{key}\", patience = 3 }}"
            ),
        );
        train(folder, key);
        let log = std::fs::read_to_string(folder.join(key).join("metrics.jsonl")).unwrap();
        let events: Vec<Value> = log.lines().map(json).collect();
        let epochs: Vec<&Value> = events.iter().filter(|event| event["event"] == "epoch").collect();
        assert!(epochs.iter().all(|epoch| epoch["metric"] == name));
        let figures: Vec<f64> = epochs
            .iter()
            .map(|epoch| epoch["valid_metric"].as_f64().unwrap())
            .collect();
        // The first of the best: the highest, but for losses.
        let sign = if name == "log_loss" { -1.0 } else { 1.0 };
        let best = (0..figures.len())
            .reduce(|best, at| match sign * figures[at] > sign * figures[best] {
                true => at,
                false => best,
            })
            .unwrap();
        assert!(best > 0, "{name}: the first is the best: {figures:?}");
        assert_eq!(figures.len(), best + 4, "three more epochs, none better: {figures:?}");
        let stopped = events.iter().find(|event| event["event"] == "stopped_early").unwrap();
        assert_eq!(stopped["best_epoch"], best + 1);
        let model = Bundle::load(&folder.join(key).join("model.tesla")).unwrap();
        let kept = model.report["valid"]["metrics"][name].as_f64().unwrap();
        assert!((kept - figures[best]).abs() < 1e-6, "{name}: {kept} is not that of {figures:?}");
        assert!(
            (kept - figures[best + 3]).abs() > 1e-6,
            "{name}: the last is as good: {figures:?}"
        );
    }
}

#[test]
fn folds_are_judged_and_the_model_learns_from_all_rows() {
    let folder = folder();
    let folder = folder.path();
    let data = repo("datasets/iris/iris.csv");
    let args = [
        "train",
        data.to_str().unwrap(),
        "--target",
        "species",
        "--model",
        "logistic",
        "--device",
        "flex",
        "--out",
        "run",
        "--cv",
        "3",
    ];
    let out = succeeds(folder, &args);
    assert!(out.contains("fold 3 of 3") && out.contains("3 folds, stratified"), "{out}");
    let cv = read(folder, "run/cv.json");
    let folds = cv["folds"].as_array().unwrap();
    assert_eq!(folds.len(), 3);
    for fold in folds {
        assert_eq!(
            fold["rows"]
                .as_array()
                .unwrap()
                .iter()
                .map(|n| n.as_u64().unwrap())
                .sum::<u64>(),
            150
        );
        assert_eq!(fold["rows"][2], 50);
        assert!(fold["baselines"]["majority"]["accuracy"].as_f64().unwrap() < 0.35);
    }
    let accuracy = &cv["figures"]["accuracy"];
    assert!(accuracy["mean"].as_f64().unwrap() > 0.9 && accuracy["folds"] == 3);
    let bundle = Bundle::load(&folder.join("run/model.tesla")).unwrap();
    assert_eq!(bundle.provenance.rows, [135, 15, 0]);
    let again = ["train", "run/tesla.toml", "--device", "flex", "--out", "again", "-q"];
    succeeds(folder, &again);
    let bytes = |run: &str| std::fs::read(folder.join(run).join("model.tesla")).unwrap();
    assert!(bytes("run") == bytes("again"));
    let mut too_many = args.to_vec();
    too_many[11] = "151";
    let error = fails(folder, &too_many);
    assert!(error.contains("151 folds of 150 rows"), "{error}");
}

#[test]
fn folds_keep_groups_together_through_the_whole_way() {
    let folder = folder();
    let folder = folder.path();
    table(folder, 300);
    program(
        folder,
        "split = { by = \"group\", column = \"group\", valid = 0.0 }\n[model]\nkind = \"logistic\"",
    );
    succeeds(folder, &["train", "t.toml", "--device", "flex", "--out", "run", "--cv", "3", "-q"]);
    let cv = read(folder, "run/cv.json");
    assert_eq!(cv["by"], "group");
    assert!(
        cv["folds"]
            .as_array()
            .unwrap()
            .iter()
            .all(|fold| fold["rows"][2] == 100)
    );
    let bundle = Bundle::load(&folder.join("run/model.tesla")).unwrap();
    assert!(bundle.contract.features().all(|rule| rule.name != "group"));
}

#[test]
fn two_models_are_compared_on_the_same_rows() {
    let folder = folder();
    let folder = folder.path();
    table(folder, 1200);
    program(folder, "[model]\nkind = \"logistic\"");
    train(folder, "good");
    // It sees what says nothing.
    program(folder, "drop = [\"x\"]\n[model]\nkind = \"logistic\"");
    train(folder, "blind");
    let compare = |first: &str, second: &str| {
        let args = ["compare", first, second, "t.csv", "--device", "flex", "--json"];
        json(&succeeds(folder, &args))
    };
    let found = compare("good/model.tesla", "blind/model.tesla");
    assert_eq!((&found["rows"], &found["better"]), (&1200.into(), &1.into()));
    assert_eq!(found["figures"][0]["name"], "accuracy");
    assert!(found["mcnemar"]["p_value"].as_f64().unwrap() < 0.001);
    let sentence = found["conclusion"].as_str().unwrap();
    assert!(sentence.starts_with("`good` is better than `blind` on these 1200 rows"), "{sentence}");
    assert_eq!(compare("blind/model.tesla", "good/model.tesla")["better"], 2);
    let same = compare("good/model.tesla", "good/model.tesla");
    assert_eq!((&same["better"], &same["mcnemar"]["p_value"]), (&0.into(), &1.0.into()));
    let text = succeeds(
        folder,
        &["compare", "good/model.tesla", "blind/model.tesla", "t.csv", "--device", "flex"],
    );
    assert!(text.contains("difference (95 % interval)"), "{text}");
    let iris = crate::support::iris(folder);
    let error = fails(
        folder,
        &["compare", "good/model.tesla", iris.to_str().unwrap(), "t.csv", "--device", "flex"],
    );
    assert!(error.contains("sepal_length"), "{error}");
}

#[test]
fn weights_decide_which_model_is_better() {
    let folder = folder();
    let folder = folder.path();
    // Of each three rows two are as the first model learned, and the third, which weighs more than both,
    // as the second did.
    let rows = |flipped: &dyn Fn(usize) -> bool| {
        let mut text = String::from("x,w,y\n");
        for row in 0..300 {
            let is_yes = (row % 10 >= 5) != flipped(row);
            let (label, w) = (["no", "yes"][usize::from(is_yes)], [1, 1, 10][row % 3]);
            writeln!(text, "{},{w},{label}", row % 10).unwrap();
        }
        text
    };
    let third = |row: usize| row % 3 == 2;
    for (name, text) in [("a", rows(&|_| false)), ("b", rows(&|_| true)), ("both", rows(&third))] {
        std::fs::write(folder.join(format!("{name}.csv")), text).unwrap();
    }
    for name in ["a", "b"] {
        let toml = format!(
            "[data]\nsource = \"{name}.csv\"\ntarget = \"y\"\nweight = \"w\"\n[model]\nkind = \"logistic\"\n[audit]\nlevel = \"off\"\n"
        );
        std::fs::write(folder.join("t.toml"), toml).unwrap();
        train(folder, name);
    }
    let compare = |extra: &[&str]| {
        let args = ["compare", "a/model.tesla", "b/model.tesla", "both.csv", "--device", "flex"];
        json(&succeeds(folder, &[&args, extra, &["--json"]].concat()))
    };
    assert_eq!(compare(&[])["better"], 1);
    let weighted = compare(&["--weight", "w"]);
    assert_eq!(weighted["better"], 2);
    let figure = &weighted["figures"][0];
    assert!(figure["first"].as_f64().unwrap() < figure["second"].as_f64().unwrap(), "{figure}");
    let sentence = weighted["conclusion"].as_str().unwrap();
    assert!(
        sentence.starts_with("`b` is better than `a`") && sentence.ends_with("paired bootstrap"),
        "{sentence}"
    );
    assert!(weighted.get("mcnemar").is_none(), "{weighted}");
}

#[test]
fn numbers_have_residuals_and_a_linear_baseline() {
    let folder = folder();
    let folder = folder.path();
    let data = repo("datasets/diabetes/diabetes.csv");
    let args = [
        "train",
        data.to_str().unwrap(),
        "--target",
        "progression",
        "--model",
        "mlp",
        "--epochs",
        "3",
        "--device",
        "flex",
        "--out",
        "run",
    ];
    let shown = succeeds(folder, &args);
    assert!(shown.contains("is the rmse of linear regression"), "{shown}");
    let stored = &sealed(folder)["test"];
    let residuals = &stored["curves"]["residuals"];
    assert!(residuals.get("sample").is_none());
    let counts = residuals["counts"].as_array().unwrap();
    let edges = residuals["edges"].as_array().unwrap();
    assert_eq!(edges.len(), counts.len() + 1);
    let rows: u64 = counts.iter().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(rows, stored["rows"].as_u64().unwrap());
    assert_eq!(
        stored["metrics"]["pinball"][1].as_f64().unwrap() * 2.0,
        stored["metrics"]["mae"].as_f64().unwrap()
    );
    let args = [
        "evaluate",
        "run/model.tesla",
        data.to_str().unwrap(),
        "--by",
        "sex",
        "--json",
        "--device",
        "flex",
    ];
    let report = json(&succeeds(folder, &args));
    assert!(report["curves"]["residuals"]["sample"].as_array().unwrap().len() <= 1000);
    assert!(report["intervals"]["figures"]["rmse"]["low"].is_number());
    assert_eq!(report["slices"][0]["slices"].as_array().unwrap().len(), 2);
    let worst = report["worst"].as_array().unwrap();
    let errors: Vec<f64> = worst.iter().map(|m| m["error"].as_f64().unwrap().abs()).collect();
    assert!(errors.is_sorted_by(|a, b| a >= b) && errors.len() == 20);
}

#[test]
fn a_picture_of_any_row_can_be_shown() {
    // More pictures than are read at a time: bright ones and dark ones, some under the wrong name.
    const ROWS: u32 = 9000;
    let folder = folder();
    let name = |row: u32| (row + u32::from(row.is_multiple_of(10))) % 2;
    let big =
        |numbers: &[u32]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_be_bytes()).collect() };
    let pixels = (0..ROWS).flat_map(|row| [row % 2 * 200, row % 7, 3, 9].map(|v| v as u8));
    let images = big(&[0x0803, ROWS, 2, 2])
        .into_iter()
        .chain(pixels)
        .collect::<Vec<_>>();
    let labels = big(&[0x0801, ROWS])
        .into_iter()
        .chain((0..ROWS).map(|row| name(row) as u8));
    std::fs::write(folder.path().join("x-images-idx3-ubyte"), images).unwrap();
    std::fs::write(folder.path().join("x-labels-idx1-ubyte"), labels.collect::<Vec<_>>()).unwrap();
    let data = tesla::ingest::load(folder.path().join("x-images-idx3-ubyte")).unwrap();
    let config = toml::from_str("[audit]\nlevel = 'off'\n[model]\nkind = 'logistic'\n").unwrap();
    let model = tesla::train::with_config(&config, &data, DeviceChoice::Flex).unwrap();
    let report = tesla::evaluate::evaluate(&model, &data).unwrap();
    let mut mistake = report.worst[0].clone();
    for row in [0, ROWS as usize - 1] {
        mistake.row = row;
        let picture = tesla::evaluate::picture(&model, &data.frame, &mistake).unwrap();
        assert!(picture.starts_with("data:image/png;base64,"), "{picture}");
    }
    mistake.row = ROWS as usize;
    let refused = tesla::evaluate::picture(&model, &data.frame, &mistake).unwrap_err();
    assert!(refused.to_string().contains("not in these rows"), "{refused}");
}
