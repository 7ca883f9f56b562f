//! Bad input: one sentence with file, line and column, a non-zero exit, nothing left behind.

use std::path::Path;

use crate::support::{fails, files, folder, iris, repo, succeeds, tesla};

const HEADER: &str = "sepal_length,sepal_width,petal_length,petal_width";

fn write(folder: &Path, name: &str, content: &str) {
    std::fs::write(folder.join(name), content).unwrap();
}

fn train(folder: &Path, data: &str) -> String {
    let message =
        fails(folder, &["train", data, "--target", "y", "--device", "flex", "--out", "run"]);
    assert!(!folder.join("run").exists(), "a failed run left files");
    message
}

#[test]
fn sources_that_cannot_be_read() {
    let folder = folder();
    let at = folder.path();
    let message = train(at, "nowhere.csv");
    assert!(message.starts_with("cannot read `nowhere.csv`: No such file"), "{message}");

    write(at, "empty.csv", "");
    insta::assert_snapshot!(train(at, "empty.csv"), @"`empty.csv` is empty: expected a header line and at least one row");

    write(at, "ragged.csv", "x,y\n1,2\n3\n");
    insta::assert_snapshot!(train(at, "ragged.csv"), @"`ragged.csv`: 1 of 2 rows is bad, more than `max_bad = 0.01` in `[data]` allows: 1 fields where 2 are expected: a quote or a delimiter is missing or too many (line 3)");

    std::fs::create_dir(at.join("pictures")).unwrap();
    insta::assert_snapshot!(train(at, "pictures"), @"`pictures` holds no images: expected one sub-folder per class with files ending in .png, .jpg, .jpeg, .bmp, .gif, .webp, .tif, .tiff, or in .txt for texts");

    write(at, "one.csv", "x,z\n1,2\n");
    insta::assert_snapshot!(train(at, "one.csv"), @"no column `y` in `one.csv`: it has `x`, `z`");
}

#[test]
fn a_picture_that_is_none() {
    let folder = folder();
    let class = folder.path().join("pictures/cat");
    std::fs::create_dir_all(&class).unwrap();
    std::fs::write(class.join("a.png"), b"not a picture").unwrap();
    let message = fails(folder.path(), &["train", "pictures", "--device", "flex"]);
    assert!(message.contains("a.png`, column `image`: the image cannot be decoded"), "{message}");
}

#[test]
fn rows_that_break_the_contract() {
    let folder = folder();
    let at = folder.path();
    let model = iris(at);
    let predict = |data: &str| {
        let message = fails(
            at,
            &["predict", model.to_str().unwrap(), data, "-o", "out.csv", "--device", "flex"],
        );
        assert!(
            !files(at).iter().any(|f| f.contains("out") || f.starts_with(".tmp")),
            "{:?}",
            files(at)
        );
        message
    };
    write(at, "text.csv", &format!("{HEADER}\n5.1,3.5,1.4,0.2\n5.1,wide,1.4,0.2\n"));
    insta::assert_snapshot!(predict("text.csv"), @"`text.csv`: 1 of 2 rows is bad, more than `--max-bad 0.01` allows: column `sepal_width`: `wide` is not a number: expected a finite number, or nothing for a missing value (line 3)");

    write(at, "missing.csv", "sepal_length,sepal_wdth,petal_length,petal_width\n5.1,3.5,1.4,0.2\n");
    insta::assert_snapshot!(predict("missing.csv"), @"no column `sepal_width` in `missing.csv` (did you mean `sepal_wdth`?): it has `sepal_length`, `sepal_wdth`, `petal_length`, `petal_width`");

    write(
        at,
        "class.csv",
        &format!("{HEADER},species\n5.1,3.5,1.4,0.2,setosa\n5.1,3.5,1.4,0.2,sitosa\n"),
    );
    let message =
        fails(at, &["evaluate", model.to_str().unwrap(), "class.csv", "--device", "flex"]);
    insta::assert_snapshot!(message, @"`class.csv`: 1 of 2 rows is bad, more than `max_bad = 0.01` in `[data]` allows: column `species`: the class `sitosa` is unknown (did you mean `setosa`?): the model knows `setosa`, `versicolor`, `virginica` (line 3)");
}

#[test]
fn bundles_that_are_damaged() {
    let folder = folder();
    let at = folder.path();
    let model = std::fs::read(iris(at)).unwrap();
    std::fs::write(at.join("cut.tesla"), &model[..model.len() / 2]).unwrap();
    insta::assert_snapshot!(fails(at, &["inspect", "cut.tesla"]), @"`cut.tesla` is truncated or not a TESLA bundle: its seal is missing; copy it again from where it was trained");

    // Any single changed byte is noticed, wherever it stands.
    for place in (0..model.len()).step_by(model.len() / 40) {
        let mut altered = model.clone();
        altered[place] ^= 0x20;
        std::fs::write(at.join("altered.tesla"), &altered).unwrap();
        fails(at, &["inspect", "altered.tesla"]);
    }
    let mut altered = model.clone();
    altered[model.len() / 2] ^= 1;
    std::fs::write(at.join("altered.tesla"), &altered).unwrap();
    insta::assert_snapshot!(fails(at, &["inspect", "altered.tesla"]), @"`altered.tesla` has been altered: its bytes do not match its seal; copy it again from where it was trained");

    write(at, "text.tesla", "hello");
    insta::assert_snapshot!(fails(at, &["inspect", "text.tesla"]), @"`text.tesla` is not a TESLA bundle: expected the `model.tesla` of `tesla train`");
}

#[test]
fn configurations_that_are_misspelt() {
    let folder = folder();
    let at = folder.path();
    write(at, "a.toml", "[data]\nsource = \"x.csv\"\ntraget = \"y\"\n");
    let message = fails(at, &["train", "a.toml"]);
    assert!(
        message.starts_with(
            "`a.toml` line 3, column 1: unknown key `traget` (did you mean `target`?)"
        ),
        "{message}"
    );

    let data = repo("datasets/iris/iris.csv");
    write(at, "b.toml", &format!("[data]\nsource = {data:?}\ntarget = \"specis\"\n"));
    let message = fails(at, &["train", "b.toml"]);
    assert!(
        message.starts_with("no column `specis` in `iris.csv` (did you mean `species`?)"),
        "{message}"
    );
}

#[test]
fn models_that_do_not_fit_the_data() {
    let folder = folder();
    let data = repo("datasets/iris/iris.csv");
    let data = data.to_str().unwrap();
    for (model, part) in [
        ("cnn", "the model `cnn` needs images"),
        ("linear", "the model `linear` needs a number to predict"),
        ("mpl", "`mpl` is not a model (did you mean `mlp`?)"),
    ] {
        let args = ["train", data, "--target", "species", "--model", model, "--device", "flex"];
        let message = fails(folder.path(), &args);
        assert!(message.starts_with(part), "{message}");
    }
}

#[test]
fn settings_that_mean_nothing_here() {
    let folder = folder();
    let at = folder.path();
    let rows: String = (0..40)
        .map(|i| format!("{i},{},{}\n", i * i, ["no", "yes"][i % 2]))
        .collect();
    write(at, "t.csv", &format!("a,b,c\n{rows}"));
    let train = |target: &str, rest: &str| {
        let program = format!("[data]\nsource = 't.csv'\ntarget = '{target}'\n{rest}");
        write(at, "t.toml", &program);
        fails(at, &["train", "t.toml", "--device", "flex", "--out", "run"])
    };
    insta::assert_snapshot!(train("b", "[train]\nfocal = 2.0"), @"`train.focal` is about classes, but the target is a number: remove it");
    let none = "[train]\nclass_weights = { no = 0.0, yes = 0.0 }";
    insta::assert_snapshot!(train("c", none), @"no training row weighs anything: `data.weight`, times the class's own in `train.class_weights`, is 0 for all");
    let alone = "[model]\nkind = 'mlp'\nbatch_norm = true\n[train]\nbatch_size = 1";
    insta::assert_snapshot!(train("c", alone), @"`batch_norm` goes by the spread of the rows of a step: set `batch_size` in `[train]` to 2 or more, or remove it");
    let fixed = "[train]\noptimizer = 'lbfgs'\nclip_norm = 1.0";
    insta::assert_snapshot!(train("c", fixed), @"`train.clip_norm` does nothing with `optimizer = \"lbfgs\"`, which finds its own steps: remove it, or choose `adamw`");
    // Too large steps end the run long before its numbers end.
    let leaps = "[audit]\nlevel = 'off'\n[model]\nkind = 'mlp'\n[train]\noptimizer = 'sgd'\nlearning_rate = 30.0";
    let message = train("b", leaps);
    assert!(message.contains("lower `learning_rate` (now 30)"), "{message}");
}

#[test]
fn a_few_bad_rows_are_quarantined_and_counted() {
    let folder = folder();
    let at = folder.path();
    let mut text = String::from("x,y\n");
    (0..300).for_each(|i| {
        text.push_str(&format!("{i},{}\n", ["no", "yes"][usize::from(i > 150 || i % 20 == 0)]))
    });
    text.push_str("7\n8,\n");
    write(at, "t.csv", &text);
    let args = [
        "train", "t.csv", "--target", "y", "--model", "logistic", "--device", "flex", "--out",
        "run",
    ];
    let out = succeeds(at, &args);
    assert!(out.contains("`t.csv`: 302 rows read = 300 kept + 2 quarantined"), "{out}");
    let list = std::fs::read_to_string(at.join("run/quarantine.jsonl")).unwrap();
    insta::assert_snapshot!(list, @r#"
    {"source":"t.csv","line":302,"value":"7","reason":"1 fields where 2 are expected: a quote or a delimiter is missing or too many"}
    {"source":"t.csv","line":303,"column":"y","reason":"the target is missing: remove the row or fill it in"}
    "#);

    // The same rows are left out of an evaluation, and said to be.
    let output = tesla(at, &["evaluate", "run/model.tesla", "t.csv", "--device", "flex", "--json"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("left out: `t.csv` line 303, column `y`: the target is missing"),
        "{stderr}"
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["rows"], 300);

    // A stricter policy stops at the first.
    write(at, "t.toml", "[data]\nsource = \"t.csv\"\ntarget = \"y\"\non_bad = \"fail\"\n");
    let message = fails(at, &["train", "t.toml", "--device", "flex"]);
    assert!(message.starts_with("`t.csv` line 302: 1 fields where 2 are expected"), "{message}");
}

#[test]
fn the_model_does_not_depend_on_the_memory_budget() {
    let folder = folder();
    let at = folder.path();
    for (name, model) in [("diabetes", "linear"), ("iris", "logistic"), ("wine", "mlp")] {
        let target = ["progression", "species", "cultivar"][["linear", "logistic", "mlp"]
            .iter()
            .position(|m| *m == model)
            .unwrap()];
        let source = repo(&format!("datasets/{name}/{name}.csv"));
        let mut hashes = Vec::new();
        for memory in [1024, 0] {
            write(
                at,
                "t.toml",
                &format!(
                    "[data]\nsource = {source:?}\ntarget = \"{target}\"\nmemory = {memory}\n[model]\nkind = \"{model}\"\n[train]\nepochs = 2\n"
                ),
            );
            let out =
                succeeds(at, &["train", "t.toml", "--device", "flex", "--json", "--out", "run"]);
            let last: serde_json::Value =
                serde_json::from_str(out.lines().last().unwrap()).unwrap();
            let bundle = tesla::Bundle::load(&at.join("run/model.tesla")).unwrap();
            hashes.push((last["test"].to_string(), bundle.weights().to_vec()));
        }
        assert!(hashes[0] == hashes[1], "{name}");
    }
}
