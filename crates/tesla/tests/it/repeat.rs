//! Runs repeat to the bit.

use tesla::{Config, Dataset, Device, DeviceChoice};
use tesla_train::evaluate::Metrics;
use tesla_train::{Checkpoints, Error, train_with};

use crate::support::{Stops, folder, repo, tesla};

#[test]
fn a_run_that_was_stopped_ends_with_the_bits_of_one_that_was_not() {
    // Everything that has a state: dropout, norms, momentum, averages, a schedule, half an epoch.
    let steps = "dropout = 0.3\n[train]\nepochs = 4\naccumulate = 2\nclip_norm = 0.5\naverage = 0.9\nschedule = { kind = 'one_cycle' }";
    resumes(steps, &[2, 6, 10, 21]);
    // What L-BFGS remembers; it asks at every batch of every pass.
    resumes("[train]\nepochs = 6\noptimizer = 'lbfgs'", &[2, 40, 70]);
}

fn resumes(settings: &str, stops: &[usize]) {
    let table = "[data]\nsource = 'breast-cancer.csv'\ntarget = 'diagnosis'\n";
    let model = "[model]\nkind = 'mlp'\nhidden = [16]\nbatch_norm = true\n";
    let config: Config =
        toml::from_str(&format!("{table}{model}{settings}\nbatch_size = 32\n")).unwrap();
    let data = Dataset::load(&config.data, &repo("datasets/breast-cancer")).unwrap();
    let device = Device::open(DeviceChoice::Flex).unwrap();
    let whole = tesla::train::train(&config, &data, &device, &mut tesla_train::Silent).unwrap();
    let whole = whole.bundle.to_bytes().unwrap();
    // It is asked once before the first step.
    for &stops in stops {
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
        checkpoints.clear();
        assert_eq!(Checkpoints::program(&checkpoints.folder).unwrap(), None);
    }
}

#[test]
fn lbfgs_finds_the_bottom_that_is_there() {
    // scikit-learn's objective, solved in 64-bit floats and by the engine.
    let table = "[data]\nsource = 'wine.csv'\ntarget = 'cultivar'\n[model]\nkind = 'logistic'\n";
    let data: Config = toml::from_str(table).unwrap();
    let data = Dataset::load(&data.data, &repo("datasets/wine")).unwrap();
    let train = |rest: &str| {
        let config: Config = toml::from_str(&format!("{table}{rest}")).unwrap();
        let device = Device::open(DeviceChoice::Flex).unwrap();
        tesla::train::train(&config, &data, &device, &mut tesla_train::Silent).unwrap()
    };
    let exact = train("c = 1.0");
    let decay = 1.0 / exact.bundle.provenance.rows[0] as f64;
    let found = train(&format!(
        "solver = 'mini_batch'\n[train]\noptimizer = 'lbfgs'\nepochs = 200\nweight_decay = {decay}\nearly_stop = {{ patience = 0 }}"
    ));
    let log_loss = |trained: &tesla_train::Trained| match &trained.test.as_ref().unwrap().metrics {
        Metrics::Classification(metrics) => metrics.log_loss,
        _ => unreachable!("cultivars are classes"),
    };
    let (exact, found) = (log_loss(&exact), log_loss(&found));
    assert!((exact - found).abs() < 1e-4, "{found} is not {exact}");
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
