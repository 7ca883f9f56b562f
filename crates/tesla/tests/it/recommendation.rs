//! From ratings to lists, through the binary.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;
use tesla::{Config, Dataset, Device, DeviceChoice};
use tesla_train::{Checkpoints, Error, train_with};

use crate::support::{Stops, fails, folder, repo, succeeds};

fn config(extra: &str) -> String {
    let source = repo("datasets/ratings/ratings.csv");
    format!(
        "[data]\nsource = {source:?}\n[data.interactions]\nuser = \"user\"\nitem = \"film\"\nrating = \"stars\"\ntime = \"day\"\n{extra}"
    )
}

fn report(folder: &Path, run: &str) -> Value {
    let text = std::fs::read_to_string(folder.join(run).join("report.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn ratings_are_predicted_better_than_by_their_mean() {
    let folder = folder();
    let toml = config("[data.split]\nby = \"user_ratio\"\n[model]\nkind = \"mf\"\nfactors = 8\n");
    std::fs::write(folder.path().join("mf.toml"), toml).unwrap();
    let train = |out: &str| {
        succeeds(folder.path(), &["train", "mf.toml", "--device", "flex", "--out", out, "-q"])
    };
    assert!(train("a").contains("nmae"));
    let test = &report(folder.path(), "a")["test"];
    let rmse = test["metrics"]["rmse"].as_f64().unwrap();
    assert!(rmse < 0.93 * test["baselines"][0]["figures"]["rmse"].as_f64().unwrap(), "{test}");
    assert!(test["interactions"]["nmae"].as_f64().unwrap() < 0.2, "{test}");
    train("b");
    let model = |run: &str| std::fs::read(folder.path().join(run).join("model.tesla")).unwrap();
    assert!(model("a") == model("b"), "the same run gave another file");

    // A rating stays within those that are; an unknown user and item have the mean.
    std::fs::write(folder.path().join("x.csv"), "film,user\nno such film,nobody\n").unwrap();
    let args = ["predict", "a/model.tesla", "x.csv", "--device", "flex"];
    let out = succeeds(folder.path(), &args);
    let value: f64 = out.trim().rsplit(',').next().unwrap().parse().unwrap();
    assert!((3.0..4.5).contains(&value), "{out}");

    // In a list, too; and a list says of an item what a prediction says.
    let users: String = (1..=40).map(|user| format!("u{user:03}\n")).collect();
    std::fs::write(folder.path().join("users.csv"), format!("user\n{users}")).unwrap();
    let args = ["predict", "a/model.tesla", "users.csv", "--top", "3", "--device", "flex"];
    let out = succeeds(folder.path(), &args);
    let lists: Vec<Vec<&str>> = out.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let listed: Vec<f64> = lists.iter().map(|row| row[3].parse().unwrap()).collect();
    assert!(listed.contains(&5.0) && listed.iter().all(|stars| *stars <= 5.0), "{out}");
    let rows: String = lists.iter().map(|row| format!("{},{}\n", row[0], row[2])).collect();
    std::fs::write(folder.path().join("rows.csv"), format!("user,film\n{rows}")).unwrap();
    let args = ["predict", "a/model.tesla", "rows.csv", "--device", "flex"];
    let predicted = succeeds(folder.path(), &args);
    for (line, stars) in std::iter::zip(predicted.lines().skip(1), listed) {
        let value: f64 = line.rsplit(',').next().unwrap().parse().unwrap();
        assert!((value - stars).abs() < 1e-5, "{line} is not {stars}");
    }
}

#[test]
fn lists_are_ranked_filtered_and_say_who_is_unknown() {
    let folder = folder();
    let toml = repo("datasets/ratings/tesla.toml");
    let toml = toml.to_str().unwrap();
    let args = ["train", toml, "--device", "flex", "--epochs", "8", "--out", "run", "-q"];
    let out = succeeds(folder.path(), &args);
    assert!(out.contains("of all items but those in the user's training rows"), "{out}");
    let report = report(folder.path(), "run");
    let (test, candidates) = (&report["test"], &report["test"]["metrics"]["candidates"]);
    assert_eq!(candidates, "all-unseen");
    let ndcg = test["metrics"]["ndcg"].as_f64().unwrap();
    assert!(ndcg > 1.1 * test["baselines"][0]["figures"]["ndcg"].as_f64().unwrap(), "{test}");

    std::fs::write(folder.path().join("users.csv"), "user\nu007\nnobody\n").unwrap();
    let ratings = repo("datasets/ratings/ratings.csv");
    let ratings = ratings.to_str().unwrap();
    let base = ["predict", "run/model.tesla", "users.csv", "--top", "5", "--device", "flex"];
    let lists = |extra: &[&str]| -> Vec<Vec<String>> {
        let out = succeeds(folder.path(), &[&base, extra].concat());
        let mut lines = out.lines();
        assert_eq!(lines.next(), Some("user,rank,film,score,by"));
        lines
            .map(|line| line.split(',').map(String::from).collect())
            .collect()
    };
    let rows = lists(&["--seen", ratings]);
    assert_eq!(rows.len(), 10);
    let own: HashSet<String> = std::fs::read_to_string(ratings)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("u007,")?.split(',').next().map(String::from))
        .collect();
    for (at, row) in rows.iter().enumerate() {
        let known = at < 5;
        assert_eq!(row[0], if known { "u007" } else { "nobody" });
        assert_eq!(row[1], (at % 5 + 1).to_string());
        assert_eq!(row[4], if known { "model" } else { "popularity" });
        assert!(!known || !own.contains(&row[2]), "{row:?} was seen");
    }
    assert_eq!(rows[5][2], lists(&[])[5][2]);

    // Scores have no unit: no row of one model can be held against that of another.
    let args = ["compare", "run/model.tesla", "run/model.tesla", ratings, "--device", "flex"];
    let error = fails(folder.path(), &args);
    assert!(error.contains("`bpr`") && error.contains("`tesla evaluate`"), "{error}");
}

#[test]
fn a_model_that_ranks_nothing_says_so() {
    let folder = folder();
    let model = crate::support::iris(folder.path());
    let model = model.to_str().unwrap();
    std::fs::write(folder.path().join("users.csv"), "user\na\n").unwrap();
    let args = ["predict", model, "users.csv", "--top", "3", "--device", "flex"];
    let error = fails(folder.path(), &args);
    assert!(error.contains("ranks no items"), "{error}");
    for (toml, expected) in [
        ("[model]\nkind = \"mlp\"\n", "goes with the models `mf` and `bpr`"),
        ("threshold = 3\n[model]\nkind = \"mf\"\n", "has no meaning with the model `mf`"),
        ("threshold = 9\n[model]\nkind = \"bpr\"\n", "lower it"),
        ("[data.split]\nby = \"random\"\nuser = \"user\"\n", "`split.user` has no meaning"),
    ] {
        std::fs::write(folder.path().join("t.toml"), config(toml)).unwrap();
        let error = fails(folder.path(), &["train", "t.toml", "--device", "flex", "-q"]);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_ranking_run_that_was_stopped_ends_with_the_same_bits() {
    let config: Config = toml::from_str(
        r#"
        [data]
        source = "ratings.csv"
        [data.interactions]
        user = "user"
        item = "film"
        keep_seen = true
        [data.split]
        by = "leave_one_out"
        [model]
        kind = "bpr"
        factors = 4
        negatives = 2
        [train]
        epochs = 3
        batch_size = 1024
        "#,
    )
    .unwrap();
    let data = Dataset::load(&config.data, &repo("datasets/ratings")).unwrap();
    let device = Device::open(DeviceChoice::Flex).unwrap();
    let whole = train_with(&config, &data, &device, &mut Stops(usize::MAX), None).unwrap();
    let test = whole.test.as_ref().unwrap();
    assert_eq!(test.interactions.as_ref().unwrap().cold_users, 0);
    let folder = folder();
    let mut checkpoints = Checkpoints {
        folder: folder.path().join("checkpoints"),
        resume: false,
        program: "as it was".into(),
    };
    let stopped = train_with(&config, &data, &device, &mut Stops(11), Some(&checkpoints));
    assert!(matches!(stopped, Err(Error::Interrupted { saved: true, .. })));
    checkpoints.resume = true;
    let resumed =
        train_with(&config, &data, &device, &mut Stops(usize::MAX), Some(&checkpoints)).unwrap();
    let bytes = |bundle: &tesla::Bundle| bundle.to_bytes().unwrap();
    assert!(bytes(&resumed.bundle) == bytes(&whole.bundle));

    // What users have is in the file, because `keep_seen` says so.
    let predictor = whole.bundle.predictor(&device).unwrap();
    assert!(predictor.keeps_seen());
    let list = predictor
        .recommend(&["u007".into()], 200, &Default::default())
        .unwrap();
    let own = predictor.seen(&data.frame.to_batch().unwrap()).unwrap();
    let rest = predictor.recommend(&["u007".into()], 200, &own).unwrap();
    // The one row that was left out to judge, and the one to tune, are not in the file.
    assert_eq!(list[0].items.len(), rest[0].items.len() + 2);
    let reasons = predictor
        .reasons(&list[0].items[0].0, &[list[0].items[1].0.clone()], 3)
        .unwrap();
    assert_eq!(reasons.len(), 1);
    let near = predictor.neighbours(&list[0].items[0].0, 3).unwrap();
    assert!(near.len() == 3 && near[0].1 >= near[1].1);
    let error = predictor.neighbours("Golden Mon", 3).unwrap_err().to_string();
    assert!(error.contains("did you mean `Golden Moon`"), "{error}");
}
