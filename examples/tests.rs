//! Runs the examples as a person would and looks at what they print last.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// What an example printed, and the folder that it ran in.
struct Ran {
    text: String,
    folder: TempDir,
}

impl Ran {
    fn last_line(&self) -> &str {
        self.text.trim_end().lines().last().unwrap_or_default()
    }

    /// That it saved so many models and got an answer from each over HTTP.
    #[track_caller]
    fn served(&self, models: &[&str]) {
        let answered = self.text.matches("    200 OK: {").count();
        assert_eq!(answered, models.len(), "{}", self.text);
        for model in models {
            assert!(self.folder.path().join("runs").join(model).exists(), "{model}");
        }
    }
}

/// Runs an example in a folder of its own.
#[track_caller]
fn run(name: &str) -> Ran {
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
    Ran { text, folder }
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
    let ran = run("image_classification");
    let line = ran.last_line();
    assert!(line.starts_with("accuracy on 359 pictures"), "{line}");
    assert!(*numbers(line).last().unwrap() > 0.97, "{line}");
    ran.served(&["image_classification/pictures.tesla"]);
    let page = ran.folder.path().join("runs/image_classification/report.html");
    let page = std::fs::read_to_string(page).expect("the page of mistakes");
    assert!(page.matches("<img src=\"data:image/png;base64,").count() > 1, "no pictures");
}

#[test]
fn text_classification() {
    let ran = run("text_classification");
    let line = ran.last_line();
    assert!(line.starts_with("accuracy: spam"), "{line}");
    assert!(numbers(line).iter().all(|f| *f > 0.9), "{line}");
    ran.served(&["text_classification/spam.tesla", "text_classification/intents.tesla"]);
}

#[test]
fn predictive_maintenance() {
    let ran = run("predictive_maintenance");
    let line = ran.last_line();
    let figures = numbers(line);
    assert!(line.starts_with("remaining life: rmse"), "{line}");
    assert!(figures[0] < 20.0 && figures[1] > 30.0, "{line}");
    ran.served(&[
        "predictive_maintenance/remaining_life.tesla",
        "predictive_maintenance/alarms.tesla",
    ]);
}

#[test]
fn recommendation() {
    let ran = run("recommendation");
    let line = ran.last_line();
    let figures = numbers(line);
    assert!(line.starts_with("NDCG@10 ") && figures[0] > figures[1], "{line}");
    ran.served(&["recommendation/films.tesla"]);
    // Reasons are films that the user has seen, so none is in the list itself.
    let listed = ran.text.lines().filter(|line| line.contains("because of "));
    let (films, reasons): (Vec<&str>, Vec<&str>) =
        listed.filter_map(|line| line.split_once("because of ")).unzip();
    assert_eq!(films.len(), 5, "{}", ran.text);
    let films = films
        .iter()
        .filter_map(|film| film.split("  ").find(|part| !part.is_empty()));
    for film in films {
        assert!(reasons.iter().all(|reason| !reason.contains(film)), "{film}: {reasons:?}");
    }
}

#[test]
fn embed_axum() {
    let ran = run("embed_axum");
    let line = ran.last_line().trim();
    assert!(line.starts_with("400 Bad Request") && line.contains("bmi"), "{line}");
}

#[test]
fn embed() {
    let ran = run("embed");
    let line = ran.last_line();
    assert!(line.starts_with("refused: ") && line.contains("bmi"), "{line}");
}

#[test]
fn custom_model() {
    let ran = run("custom_model");
    let line = ran.last_line();
    assert!(line.starts_with("the first wine, from the stored model: "), "{line}");
}

#[test]
fn custom_step() {
    let ran = run("custom_step");
    let progression: f64 = ran.last_line().trim().parse().expect("a number");
    assert!((25.0..350.0).contains(&progression), "{progression}");
    assert!(ran.text.contains("bp above usual, bp below usual"), "{}", ran.text);
}
