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
    let output = Command::new(env!("CARGO_BIN_EXE_tesla"))
        .arg("train")
        .arg(config)
        .args(["--device", device, "--epochs", EPOCHS, "--out", "run", "--json"])
        .current_dir(folder.path())
        // A software renderer spends minutes on tuning kernels that a GPU tunes in seconds.
        .env("CUBECL_AUTOTUNE_LEVEL", "minimal")
        .env("XDG_RUNTIME_DIR", folder.path())
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let text = String::from_utf8(output.stdout)?;
    let last: Value = serde_json::from_str(text.lines().last().unwrap_or_default())?;
    let number = |value: &Value| value.as_f64().ok_or("a figure is missing");
    Ok((number(&last["first_loss"])?, number(&last["test"]["metrics"]["accuracy"])?))
}
