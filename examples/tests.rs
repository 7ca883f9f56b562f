//! Runs the examples as a person would and looks at what they print last.

use std::path::PathBuf;
use std::process::Command;

/// The last line of an example, run in a folder of its own.
#[track_caller]
fn last_line(name: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(program(name))
        .current_dir(folder.path())
        // Some Vulkan drivers complain on standard error where there is no desktop.
        .env("XDG_RUNTIME_DIR", folder.path())
        .output()
        .expect("the example runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {error}");
    let text = String::from_utf8(output.stdout).expect("the output is UTF-8");
    text.trim_end().lines().last().unwrap_or_default().to_string()
}

/// Cargo builds examples beside the folder of this test.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let target = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("tests lie in `deps`");
    let program = target
        .join("examples")
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.exists(), "build the examples first: cargo build --release --examples");
    program
}

/// The numbers in a line.
fn numbers(line: &str) -> Vec<f64> {
    let words = line.split([' ', ',', ';', '%']);
    words
        .filter_map(|word| word.trim_end_matches('.').parse().ok())
        .collect()
}

#[test]
fn image_classification() {
    let line = last_line("image_classification");
    assert!(line.starts_with("accuracy on 359 pictures"), "{line}");
    assert!(*numbers(&line).last().unwrap() > 0.97, "{line}");
}

#[test]
fn text_classification() {
    let line = last_line("text_classification");
    let figures = numbers(&line);
    assert!(line.starts_with("accuracy: spam") && figures.iter().all(|f| *f > 0.9), "{line}");
}

#[test]
fn predictive_maintenance() {
    let line = last_line("predictive_maintenance");
    let figures = numbers(&line);
    assert!(line.starts_with("remaining life: rmse"), "{line}");
    assert!(figures[0] < 20.0 && figures[1] > 30.0, "{line}");
}

#[test]
fn recommendation() {
    let line = last_line("recommendation");
    let figures = numbers(&line);
    assert!(line.starts_with("NDCG@10 ") && figures[0] > figures[1], "{line}");
}

#[test]
fn embed_axum() {
    let line = last_line("embed_axum");
    assert!(line.starts_with("400 Bad Request") && line.contains("bmi"), "{line}");
}

#[test]
fn embed() {
    let line = last_line("embed");
    assert!(line.starts_with("refused: ") && line.contains("bmi"), "{line}");
}

#[test]
fn custom_model() {
    let line = last_line("custom_model");
    assert!(line.starts_with("the first wine, from the stored model: "), "{line}");
}
