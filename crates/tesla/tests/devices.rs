//! One configuration, every device: the same start and the same result. A device that this
//! machine lacks is counted as ignored, not as passed.

use std::path::Path;
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

fn main() {
    let args = Arguments::from_args();
    let has_wgpu = tesla_core::device::list()
        .iter()
        .any(|device| device.choice.starts_with("wgpu"));
    if !has_wgpu {
        println!("no wgpu adapter was found on this machine: the test of `wgpu` is skipped");
    }
    let trials = vec![
        Trial::test("ndarray_agrees_with_flex", || agrees("ndarray")),
        Trial::test("wgpu_agrees_with_flex", || agrees("wgpu")).with_ignored_flag(!has_wgpu),
        Trial::test("ndarray_follows_flex_for_20_steps", || follows("ndarray")),
        Trial::test("wgpu_follows_flex_for_20_steps", || follows("wgpu"))
            .with_ignored_flag(!has_wgpu),
    ];
    libtest_mimic::run(&args, trials).exit();
}

/// The digits configuration, cut to two epochs, on `device` and on `flex`: the first loss within
/// 1e-4, the test accuracy within one point. Weights, order of rows and dropout are the same on
/// every device, so the runs agree from the first step to the last.
fn agrees(device: &str) -> Result<(), Failed> {
    let (flex_loss, flex_accuracy) = digits("flex")?;
    let (loss, accuracy) = digits(device)?;
    if (loss - flex_loss).abs() > 1e-4 {
        return Err(format!("the first loss is {loss} on {device}, {flex_loss} on flex").into());
    }
    if (accuracy - flex_accuracy).abs() > 0.01 {
        return Err(
            format!("the accuracy is {accuracy} on {device}, {flex_accuracy} on flex").into()
        );
    }
    Ok(())
}

/// `ndarray` takes seconds for one, a software renderer more.
const EPOCHS: &str = "2";

fn digits(device: &str) -> Result<(f64, f64), Failed> {
    let folder = tempfile::tempdir()?;
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/digits/tesla.toml");
    let lines = run(&config, &["--device", device, "--epochs", EPOCHS], folder.path())?;
    let last = lines.last().ok_or("nothing was printed")?;
    let number = |value: &Value| value.as_f64().ok_or("a figure is missing");
    Ok((number(&last["first_loss"])?, number(&last["test"]["metrics"]["accuracy"])?))
}

/// The events that `tesla train` prints.
fn run(config: &Path, args: &[&str], folder: &Path) -> Result<Vec<Value>, Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_tesla"))
        .arg("train")
        .arg(config)
        .args(args)
        .args(["--out", "run", "--json"])
        .current_dir(folder)
        // A software renderer spends minutes on tuning kernels that a GPU tunes in seconds.
        .env("CUBECL_AUTOTUNE_LEVEL", "minimal")
        .env("XDG_RUNTIME_DIR", folder)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// The loss of each of the first 20 steps of an MLP on wine: within 1e-3 of that on `flex`.
fn follows(device: &str) -> Result<(), Failed> {
    for (step, (loss, flex)) in std::iter::zip(steps(device)?, steps("flex")?).enumerate() {
        if (loss - flex).abs() > 1e-3 {
            let message =
                format!("the loss of step {} is {loss} on {device}, {flex} on flex", step + 1);
            return Err(message.into());
        }
    }
    Ok(())
}

fn steps(device: &str) -> Result<Vec<f64>, Failed> {
    let folder = tempfile::tempdir()?;
    let wine = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/wine/wine.csv");
    // An epoch is one step of all rows, so that its loss is the step's.
    let config = format!(
        "[data]\nsource = {wine:?}\ntarget = \"cultivar\"\n[model]\nkind = \"mlp\"\ndropout = 0.2\n\
         [train]\nepochs = 20\nbatch_size = 1000\nearly_stop = {{ patience = 0 }}\n"
    );
    let path = folder.path().join("wine.toml");
    std::fs::write(&path, config)?;
    let lines = run(&path, &["--device", device], folder.path())?;
    let losses: Vec<f64> = lines
        .iter()
        .filter(|line| line["event"] == "epoch")
        .filter_map(|line| line["loss"].as_f64())
        .collect();
    match losses.len() {
        20 => Ok(losses),
        other => Err(format!("{other} losses were reported, not 20").into()),
    }
}
