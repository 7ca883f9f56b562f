//! Runs repeat to the bit.

use tesla::{Config, Dataset, Device, DeviceChoice};
use tesla_train::{Checkpoints, Error, train_with};

use crate::support::{Stops, folder, repo, tesla};

#[test]
fn a_run_that_was_stopped_ends_with_the_bits_of_one_that_was_not() {
    // Everything that has a state: dropout, norms, momentum, averages, a schedule, half an epoch.
    let config: Config = toml::from_str(
        r#"
        [data]
        source = "breast-cancer.csv"
        target = "diagnosis"
        [model]
        kind = "mlp"
        hidden = [16]
        dropout = 0.3
        batch_norm = true
        [train]
        epochs = 4
        batch_size = 32
        accumulate = 2
        clip_norm = 0.5
        average = 0.9
        schedule = { kind = "one_cycle" }
        "#,
    )
    .unwrap();
    let data = Dataset::load(&config.data, &repo("datasets/breast-cancer")).unwrap();
    let device = Device::open(DeviceChoice::Flex).unwrap();
    let whole = tesla::train::train(&config, &data, &device, &mut tesla_train::Silent).unwrap();
    let whole = whole.bundle.to_bytes().unwrap();
    // It is asked once before the first step.
    for stops in [2, 6, 10, 21] {
        let folder = folder();
        let mut checkpoints = Checkpoints {
            folder: folder.path().join("checkpoints"),
            resume: false,
            program: "as it was".into(),
        };
        let run = |checkpoints: &Checkpoints, stops: usize| {
            train_with(&config, &data, &device, &mut Stops(stops), Some(checkpoints))
        };
        let stopped = run(&checkpoints, stops).unwrap_err();
        assert!(matches!(stopped, Error::Interrupted { saved: true, .. }), "{stopped}");
        let program = Checkpoints::program(&checkpoints.folder).unwrap();
        assert_eq!(program.as_deref(), Some("as it was"));
        checkpoints.resume = true;
        let resumed = run(&checkpoints, usize::MAX).unwrap();
        assert!(resumed.bundle.to_bytes().unwrap() == whole, "stopped after {} steps", stops - 1);
        assert_eq!(Checkpoints::program(&checkpoints.folder).unwrap(), None);
    }
}

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
