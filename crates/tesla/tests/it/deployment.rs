//! The same sealed model elsewhere: scored files, one program, files of other systems, other formats.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{fails, files, folder, iris, repo, succeeds, tesla};

const HEADER: &str = "sepal_length,sepal_width,petal_length,petal_width,id";

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn lines(folder: &Path, name: &str) -> Vec<Value> {
    read(folder, name)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn predict(folder: &Path, args: &[&str]) -> Output {
    tesla(folder, &[&["predict", "run/model.tesla"], args, &["--device", "flex"]].concat())
}

/// Rows of iris with a number each; those whose number is in `bad` have a text for a number.
fn flowers(rows: std::ops::Range<usize>, bad: &[usize]) -> String {
    let mut text = format!("{HEADER}\n");
    for i in rows {
        let width = if bad.contains(&i) {
            "wide".into()
        } else {
            format!("{}", 2.0 + (i % 20) as f64 / 10.0)
        };
        text += &format!("{},{width},{},0.{},{i}\n", 4 + i % 4, 1 + i % 6, i % 9);
    }
    text
}

#[test]
fn rows_keep_their_order_and_bad_ones_are_listed_beside_the_output() {
    let folder = folder();
    let at = folder.path();
    iris(at);
    // More than one batch, with a bad row in each and one that breaks off.
    let bad = [5, 9_000, 19_999];
    let text = flowers(0..20_000, &bad) + "1,2\n";
    std::fs::write(at.join("in.csv"), &text).unwrap();
    let output = predict(at, &["in.csv", "--out", "out.jsonl"]);
    assert!(output.status.success(), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains(
            "20001 rows read = 19997 predicted + 4 left out, listed in `out.quarantine.jsonl`"
        ),
        "{stderr}"
    );
    let ids: Vec<String> = lines(at, "out.jsonl")
        .iter()
        .map(|row| row["id"].as_str().unwrap().into())
        .collect();
    let kept = (0..20_000).filter(|i| !bad.contains(i)).map(|i| i.to_string());
    assert!(ids.into_iter().eq(kept));
    let listed = lines(at, "out.quarantine.jsonl");
    let places: Vec<&Value> = listed.iter().map(|row| &row["line"]).collect();
    assert_eq!(places, [7, 9_002, 20_001, 20_002]);
    assert_eq!(listed[0]["column"], "sepal_width");
    assert_eq!(listed[0]["value"], "wide");

    // How the file is cut into batches changes nothing; standard output holds the same.
    let good = flowers(0..20_000, &[]);
    std::fs::write(at.join("good.csv"), &good).unwrap();
    let whole = predict(at, &["good.csv"]).stdout;
    std::fs::write(at.join("part.csv"), flowers(10_000..10_010, &[])).unwrap();
    let part = String::from_utf8(predict(at, &["part.csv"]).stdout).unwrap();
    let whole = String::from_utf8(whole).unwrap();
    let rows: Vec<&str> = whole.lines().skip(10_001).take(10).collect();
    assert_eq!(part.lines().skip(1).collect::<Vec<_>>(), rows);

    // The list of another run goes away with its output.
    assert!(predict(at, &["good.csv", "--out", "out.jsonl"]).status.success());
    assert!(!at.join("out.quarantine.jsonl").exists());
}

#[test]
fn a_bad_row_ends_it_where_that_is_said_and_too_many_always() {
    let folder = folder();
    let at = folder.path();
    iris(at);
    let before = files(at);
    std::fs::write(at.join("in.csv"), flowers(0..300, &[7, 8])).unwrap();
    let args = |more: &[&'static str]| -> Vec<&'static str> {
        [&["predict", "run/model.tesla", "in.csv", "--device", "flex"], more].concat()
    };
    let first = "`in.csv` line 9, column `sepal_width`: `wide` is not a number: expected a finite number, or nothing for a missing value";
    let hint = "; `--on-bad quarantine` leaves such rows out";
    assert_eq!(fails(at, &args(&[])), format!("{first}{hint}"));
    assert_eq!(fails(at, &args(&["--out", "out.csv", "--on-bad", "fail"])), first);
    let message = fails(at, &args(&["--out", "out.csv", "--max-bad", "0.005"]));
    insta::assert_snapshot!(message, @"`in.csv`: 2 of 300 rows are bad, more than `--max-bad 0.005` allows: 2 times column `sepal_width`: `wide` is not a number: expected a finite number, or nothing for a missing value (first in line 9)");
    let mut after = files(at);
    after.retain(|file| file != "in.csv");
    assert_eq!(after, before, "a failed run left files");
    // On standard output the bad rows go to standard error.
    let output = tesla(at, &args(&["--on-bad", "quarantine"]));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 299);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(&format!("left out: {first}")), "{stderr}");
    assert!(stderr.contains("300 rows read = 298 predicted + 2 left out"), "{stderr}");
    // A file without rows has a header.
    std::fs::write(at.join("none.csv"), format!("{HEADER}\n")).unwrap();
    let output = predict(at, &["none.csv"]);
    let header = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        header.trim_end(),
        format!(
            "{HEADER},prediction,probability_setosa,probability_versicolor,probability_virginica"
        )
    );
}

#[test]
fn what_the_model_does_not_need_comes_out_as_it_came() {
    let folder = folder();
    let at = folder.path();
    iris(at);
    let row = |more: &str| {
        format!(
            "{{\"sepal_length\": 5, \"sepal_width\": 3.5, \"petal_length\": 1.4, \"petal_width\": 0.2, {more}}}\n"
        )
    };
    let text = [
        row("\"id\": 9007199254740993, \"big\": 18446744073709551615, \"any\": 1, \"on\": true, \"x\": 1"),
        row("\"id\": -9007199254740993, \"big\": 1, \"any\": {\"a\": [1, 2]}, \"on\": false, \"x\": 0.5"),
        row("\"id\": null, \"big\": 2, \"any\": [\"t\"], \"on\": null, \"x\": null"),
    ]
    .concat()
        // A text among many numbers is a slip in a column that is needed; in this one it is a text.
        + &(0..300).map(|i| row(&format!("\"id\": {i}, \"any\": {i}"))).collect::<String>()
        + &row("\"id\": 7, \"any\": \"slip\"");
    std::fs::write(at.join("in.jsonl"), text).unwrap();
    assert!(predict(at, &["in.jsonl", "--out", "out.jsonl"]).status.success());
    let out = lines(at, "out.jsonl");
    assert_eq!(out.len(), 304);
    assert!(read(at, "out.jsonl").starts_with("{\"sepal_length\":5,"));
    assert_eq!(out[0]["id"], json!(9_007_199_254_740_993_i64));
    assert_eq!(out[1]["id"], json!(-9_007_199_254_740_993_i64));
    assert_eq!(out[0]["big"], json!(u64::MAX));
    assert_eq!([&out[1]["any.a"], &out[2]["any"]], [&json!([1, 2]), &json!(["t"])]);
    assert_eq!(
        [&out[0]["on"], &out[2]["on"], &out[1]["x"]],
        [&json!(true), &Value::Null, &json!(0.5)]
    );
    assert_eq!(out[303]["any"], "slip");

    // To Parquet and back.
    assert!(predict(at, &["in.jsonl", "--out", "out.parquet"]).status.success());
    assert!(predict(at, &["out.parquet", "--out", "again.jsonl"]).status.success());
    let again = lines(at, "again.jsonl");
    assert_eq!(again[0]["id"], json!(9_007_199_254_740_993_i64));
    assert_eq!(again[0]["on"], json!(true));
    assert_eq!(again[0]["probability_setosa"], out[0]["probability_setosa"]);
    let output = predict(at, &["out.parquet", "--format", "csv"]);
    let csv = String::from_utf8(output.stdout).unwrap();
    assert!(csv.lines().nth(1).unwrap().contains("9007199254740993"), "{csv}");
}

#[test]
fn pictures_that_cannot_be_decoded_are_set_apart() {
    let folder = folder();
    let at = folder.path();
    let digits = repo("datasets/digits/digits-images-idx3-ubyte");
    let args = [
        "train",
        digits.to_str().unwrap(),
        "--model",
        "logistic",
        "--out",
        "run",
        "-q",
        "--device",
        "flex",
    ];
    succeeds(at, &args);
    // A bitmap of one grey pixel, in base64.
    let mut bitmap =
        b"BM\x3e\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0".to_vec();
    bitmap.resize(54, 0);
    bitmap.extend([80, 80, 80, 0]);
    let encode = |bytes: &[u8]| {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let groups = bytes.chunks(3).map(|group| {
            let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - group.len()));
            let digit = |at: usize| {
                if at > group.len() {
                    '='
                } else {
                    DIGITS[(bits >> (18 - 6 * at)) as usize & 63] as char
                }
            };
            (0..4).map(digit).collect::<String>()
        });
        groups.collect::<String>()
    };
    let row =
        |i: usize, bytes: &[u8]| format!("{{\"n\": {i}, \"image\": \"{}\"}}\n", encode(bytes));
    let mut text: String = (0..40).map(|i| row(i, &bitmap)).collect();
    text += &row(40, b"no picture");
    text += "{\"n\": 41, \"image\": \"###\"}\n";
    text += &row(42, &bitmap);
    std::fs::write(at.join("in.jsonl"), text).unwrap();
    let output = predict(
        at,
        &["in.jsonl", "--out", "out.jsonl", "--on-bad", "quarantine", "--max-bad", "0.1"],
    );
    assert!(output.status.success(), "{output:?}");
    let out = lines(at, "out.jsonl");
    assert_eq!(out.len(), 41);
    assert_eq!(out[40]["n"], 42);
    let bad = lines(at, "out.quarantine.jsonl");
    let places: Vec<&Value> = bad.iter().map(|bad| &bad["line"]).collect();
    assert_eq!(places, [41, 42]);
}

/// The program with iris behind it.
fn app(at: &Path) -> PathBuf {
    iris(at);
    let out = succeeds(at, &["bundle", "run/model.tesla", "-o", "app"]);
    assert!(out.starts_with("app: ") && out.contains("+ model"), "{out}");
    at.join("app")
}

fn run(app: &Path, args: &[&str]) -> Output {
    Command::new(app)
        .args(args)
        .current_dir(app.parent().unwrap())
        .output()
        .expect("the app runs")
}

#[test]
fn a_program_with_its_model_needs_no_other_file() {
    let folder = folder();
    let app = app(folder.path());
    let model = folder.path().join("run/model.tesla");
    let data = repo("datasets/iris/iris.csv");
    let data = data.to_str().unwrap();
    let expected =
        succeeds(folder.path(), &["predict", "run/model.tesla", data, "--device", "flex"]);
    let inside = succeeds(folder.path(), &["inspect", "run/model.tesla"]);
    std::fs::remove_file(&model).unwrap();

    let output = run(&app, &["predict", data, "--device", "flex"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    assert_eq!(String::from_utf8(run(&app, &["inspect"]).stdout).unwrap(), inside);
    let help = String::from_utf8(run(&app, &["predict", "--help"]).stdout).unwrap();
    assert!(!help.contains("MODEL") && help.contains("<DATA>"), "{help}");
    // It does what needs the model and nothing else; `tesla` reads it as a model file.
    assert_eq!(run(&app, &["train", data]).status.code(), Some(2));
    assert_eq!(succeeds(folder.path(), &["inspect", "app"]), inside);
    let message = fails(folder.path(), &["bundle", "app", "-o", "twice", "--program", "app"]);
    assert!(message.contains("has a model already"), "{message}");

    let whole = std::fs::read(&app).unwrap();
    let at = whole.len() - 200;
    let mut altered = whole.clone();
    altered[at] ^= 1;
    let refused = |bytes: &[u8], said: &str| {
        std::fs::write(&app, bytes).unwrap();
        let output = run(&app, &["inspect"]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr.starts_with(said), "{stderr}");
    };
    refused(&altered, "error: `app` has been altered");
    // Cut at its end, it is no plain `tesla`.
    for cut in [1, 200, 2000] {
        refused(&whole[..whole.len() - cut], "error: this program has been cut off");
    }
}

#[test]
fn files_for_docker_hold_what_they_must() {
    let folder = folder();
    let at = folder.path();
    iris(at);
    succeeds(at, &["deploy", "docker", "run/model.tesla", "--out", "docker", "--name", "iris"]);
    assert_eq!(files(&at.join("docker")), [".dockerignore", "Dockerfile", "model.tesla"]);
    let text = read(at, "docker/Dockerfile");
    let last = text.rsplit("\nFROM ").next().unwrap();
    assert!(last.contains("\nUSER 65532:65532\n") && !last.contains("RUN "), "{text}");
    assert!(
        text.contains(
            "cargo build --release --locked -p tesla --no-default-features --features flex"
        )
    );
    assert!(
        std::fs::read(at.join("docker/model.tesla")).unwrap()
            == std::fs::read(at.join("run/model.tesla")).unwrap()
    );
    let message =
        fails(at, &["deploy", "docker", "run/model.tesla", "--out", "x", "--name", "a/b"]);
    assert!(message.starts_with("`a/b` cannot be the name of a service"), "{message}");
    assert!(!at.join("x").exists());
}

#[test]
fn files_for_kubernetes_keep_its_schemas() {
    let folder = folder();
    let at = folder.path();
    iris(at);
    succeeds(at, &["deploy", "kubernetes", "run/model.tesla", "--out", "k8s", "--name", "iris"]);
    let message =
        fails(at, &["deploy", "kubernetes", "run/model.tesla", "--out", "x", "--image", "a: b\nc"]);
    assert!(message.starts_with("`--image` is"), "{message}");
    let message = fails(
        at,
        &["deploy", "kubernetes", "run/model.tesla", "--out", "x", "--image", "a/Iris:1"],
    );
    assert!(message.contains("expected `a/iris:1`"), "{message}");
    let all = files(&at.join("k8s"));
    assert_eq!(
        all,
        [
            "autoscaler.yaml",
            "deployment.yaml",
            "disruption-budget.yaml",
            "kserve.yaml",
            "kustomization.yaml",
            "network-policy.yaml",
            "service.yaml"
        ]
    );
    for file in &all {
        let text = read(at, &format!("k8s/{file}"));
        assert!(!text.contains("{{ ") && text.contains("apiVersion: "), "{file}: {text}");
    }
    assert!(read(at, "k8s/kserve.yaml").contains("\"{{.Name}}\""));
    // The schemas themselves, where Python and the package are.
    let script = repo("benches/peers/deploy_check.py");
    match Command::new("python3").arg(script).arg(at.join("k8s")).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
            eprint!("{said}");
        }
        Err(_) => eprintln!("skipped: there is no Python"),
    }
}

#[test]
fn the_unit_is_valid_and_has_few_rights() {
    let folder = folder();
    let at = folder.path();
    iris(at);
    let program = env!("CARGO_BIN_EXE_tesla");
    let args = ["deploy", "systemd", "run/model.tesla", "--out", "unit", "--name", "iris"];
    succeeds(at, &[&args[..], &["--program", program]].concat());
    assert_eq!(files(&at.join("unit")), ["iris.tesla", "tesla-iris.service"]);
    let message = fails(at, &[&args[..], &["--program", "tesla"]].concat());
    assert!(message.contains("expected an absolute path"), "{message}");
    let unit = at.join("unit/tesla-iris.service");
    let analyze = |args: &[&str]| {
        Command::new("systemd-analyze")
            .args(args)
            .arg(&unit)
            .env("SYSTEMD_COLORS", "0")
            .output()
    };
    let Ok(verified) = analyze(&["verify"]) else {
        eprintln!("skipped: there is no systemd-analyze");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    let about_it: Vec<&str> = said.lines().filter(|line| line.contains("tesla-iris")).collect();
    assert!(about_it.is_empty(), "{said}");
    // The threshold is in tenths.
    let Ok(judged) = analyze(&["security", "--offline=true", "--threshold=20"]) else {
        return;
    };
    let said = String::from_utf8_lossy(&judged.stdout).into_owned();
    if said.is_empty() {
        eprintln!("skipped: this systemd-analyze judges no file");
        return;
    }
    assert!(judged.status.success(), "{said}");
    eprintln!("{}", said.lines().last().unwrap_or_default());
}

#[test]
fn other_programs_read_the_weights_and_the_graph() {
    let folder = folder();
    let at = folder.path();
    iris(at);
    succeeds(at, &["export", "safetensors", "run/model.tesla", "-o", "w.safetensors"]);
    let bytes = std::fs::read(at.join("w.safetensors")).unwrap();
    assert!(bytes == tesla::Bundle::load(&at.join("run/model.tesla")).unwrap().weights());
    succeeds(at, &["export", "onnx", "run/model.tesla", "-o", "m.onnx"]);
    assert!(
        String::from_utf8_lossy(&std::fs::read(at.join("m.onnx")).unwrap()).contains("petal_width")
    );
}
