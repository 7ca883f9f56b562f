//! `tesla train --dry-run`: what a run would take, and nothing written.

use crate::support::{folder, repo, succeeds};

#[test]
fn a_dry_run_says_what_a_run_takes_and_writes_nothing() {
    let folder = folder();
    let digits = repo("datasets/digits/tesla.toml");
    let digits = digits.to_str().unwrap();
    let args = ["train", digits, "--dry-run", "--device", "flex"];
    let text = succeeds(folder.path(), &args);
    for part in
        ["1797 rows read", "cnn with", "[32, 1, 8, 8] goes in, [32, 10] comes out", "ms a step"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let iris = repo("datasets/iris/iris.csv");
    let args = [
        "train",
        iris.to_str().unwrap(),
        "--target",
        "species",
        "--model",
        "logistic",
        "--dry-run",
    ];
    let text = succeeds(folder.path(), &args);
    assert!(text.contains("solved exactly"), "{text}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
