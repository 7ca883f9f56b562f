use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use tesla::{Event, Observer};

/// A file of the repository.
pub(crate) fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Runs the binary in `folder`, on the CPU: `auto` would look for a GPU each time.
pub(crate) fn tesla(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tesla"))
        .args(args)
        .current_dir(folder)
        // Some Vulkan drivers complain on standard error where there is no desktop.
        .env("XDG_RUNTIME_DIR", folder)
        .output()
        .expect("the binary runs")
}

/// Standard output of a run that must succeed.
pub(crate) fn succeeds(folder: &Path, args: &[&str]) -> String {
    let output = tesla(folder, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the output is UTF-8")
}

/// The last line of standard error of a run that must fail without a panic.
pub(crate) fn fails(folder: &Path, args: &[&str]) -> String {
    let output = tesla(folder, args);
    let stderr = String::from_utf8(output.stderr).expect("the message is UTF-8");
    assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    let errors: Vec<&str> = stderr.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "one sentence: {stderr}");
    errors[0].trim_start_matches("error: ").to_string()
}

/// Trains logistic regression on iris and returns the path of its model.
pub(crate) fn iris(folder: &Path) -> PathBuf {
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
        "-q",
    ];
    succeeds(folder, &args);
    folder.join("run/model.tesla")
}

/// The files of a folder, by name.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder can be read")
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Asks to stop when it is asked for the so many-th time: once before the first step, then after each.
pub(crate) struct Stops(pub(crate) usize);

impl Observer for Stops {
    fn event(&mut self, _: Event) {}

    fn should_stop(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 == 0
    }
}
