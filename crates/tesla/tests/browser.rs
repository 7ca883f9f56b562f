//! The pages in a browser: no script error, nothing refused by the page's own policy, no request to
//! anywhere. A machine without Chromium counts them as ignored, not as passed.

use std::path::Path;
use std::process::{Command, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

fn main() {
    let args = Arguments::from_args();
    let browser = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| {
            Command::new(name)
                .arg("--version")
                .output()
                .is_ok_and(|o| o.status.success())
        });
    if browser.is_none() {
        println!("no Chromium was found on this machine: the test of pages is skipped");
    }
    let name = browser.unwrap_or_default();
    let trial = |of: &'static str, make: fn(&Path) -> Result<(), Failed>, page: &'static str| {
        Trial::test(of, move || opens(name, make, page)).with_ignored_flag(browser.is_none())
    };
    let trials = vec![
        trial("the_report_of_a_table_opens", table, "run/report.html"),
        trial("the_report_of_pictures_opens", pictures, "run/report.html"),
        trial("the_report_of_numbers_opens", numbers, "run/report.html"),
        trial("runs_side_by_side_open", runs, "runs.html"),
    ];
    libtest_mimic::run(&args, trials).exit();
}

fn repo(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
        .display()
        .to_string()
}

fn tesla(folder: &Path, args: &[&str]) -> Result<(), Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_tesla"))
        .args(args)
        .current_dir(folder)
        .env("XDG_RUNTIME_DIR", folder)
        .output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}

fn train(folder: &Path, data: &str, more: &[&str]) -> Result<(), Failed> {
    let data = repo(data);
    let args = ["train", &data, "--device", "flex", "--out", "run", "-q"];
    tesla(folder, &[&args[..], more].concat())
}

fn table(folder: &Path) -> Result<(), Failed> {
    train(folder, "datasets/wine/wine.csv", &["--target", "cultivar", "--epochs", "3"])
}

fn pictures(folder: &Path) -> Result<(), Failed> {
    train(folder, "datasets/digits/tesla.toml", &["--epochs", "1"])
}

fn numbers(folder: &Path) -> Result<(), Failed> {
    train(folder, "datasets/diabetes/diabetes.csv", &["--target", "progression", "--epochs", "3"])
}

fn runs(folder: &Path) -> Result<(), Failed> {
    table(folder)?;
    tesla(folder, &["runs", "run", "--html", "runs.html"])
}

/// Makes the page and opens it: nothing on the console, and the page asked for nothing but itself.
fn opens(browser: &str, make: fn(&Path) -> Result<(), Failed>, page: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    make(folder.path())?;
    let log = folder.path().join("network.json");
    let Output { stdout, stderr, .. } = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-default-apps", "--disable-extensions", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("--log-net-log={}", log.display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", folder.path().join(page).display()))
        .output()?;
    let (shown, said) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    if !shown.contains("<h1>") || !shown.contains("</footer>") {
        return Err(format!("the page was not shown: {said}").into());
    }
    if let Some(line) = said.lines().find(|line| line.contains("CONSOLE")) {
        return Err(format!("the console says: {line}").into());
    }
    let asked = requests(&std::fs::read_to_string(&log)?)?;
    match asked.is_empty() {
        true => Ok(()),
        false => Err(format!("the page asked for {asked:?}").into()),
    }
}

/// The addresses that were asked for from a page, by the browser's own log. What the browser asks
/// for itself has no page behind it.
fn requests(log: &str) -> Result<Vec<String>, Failed> {
    // A browser that was closed may leave the list open.
    let text = log.trim_end().trim_end_matches(',');
    let all: Value = serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&format!("{text}]}}")))
        .map_err(|e| format!("the network log cannot be read: {e}"))?;
    let events = all["events"].as_array().ok_or("the network log has no events")?;
    let mut asked = Vec::new();
    for event in events {
        let parameters = &event["params"];
        let (Some(url), Some(initiator)) =
            (parameters["url"].as_str(), parameters["initiator"].as_str())
        else {
            continue;
        };
        if initiator != "not an origin" && (url.starts_with("http") || url.starts_with("ws")) {
            asked.push(url.to_string());
        }
    }
    Ok(asked)
}
