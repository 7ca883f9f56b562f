//! Runs repeat to the bit.

use crate::support::{folder, repo, tesla};

#[test]
fn the_same_seed_gives_the_same_file_and_another_seed_another() {
    let folder = folder();
    let config = repo("datasets/digits/tesla.toml");
    let train = |out: &str, seed: &str, threads: &str| {
        let args = [
            "train",
            config.to_str().unwrap(),
            "--device",
            "flex",
            "--epochs",
            "2",
            "--seed",
            seed,
            "--out",
            out,
            "-q",
        ];
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_tesla"))
            .args(args)
            .env("RAYON_NUM_THREADS", threads)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        std::fs::read(folder.path().join(out).join("model.tesla")).unwrap()
    };
    let first = train("a", "7", "2");
    assert!(first == train("b", "7", "2"), "the same seed gave another file");
    assert!(first == train("c", "7", "1"), "the number of threads changed the file");
    assert!(first != train("d", "8", "2"), "another seed gave the same file");
}

#[test]
fn a_solved_model_repeats_too() {
    let folder = folder();
    let data = repo("datasets/wine/wine.csv");
    let mut files = Vec::new();
    for out in ["a", "b"] {
        let args = [
            "train",
            data.to_str().unwrap(),
            "--target",
            "cultivar",
            "--model",
            "logistic",
            "--device",
            "flex",
            "--out",
            out,
            "-q",
        ];
        assert!(tesla(folder.path(), &args).status.success());
        files.push(std::fs::read(folder.path().join(out).join("model.tesla")).unwrap());
    }
    assert!(files[0] == files[1]);
}
