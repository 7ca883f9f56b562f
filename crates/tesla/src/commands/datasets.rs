use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use serde::Deserialize;
use tesla_data::source::{extract, is_url};
use tesla_data::{hex_sha256, nearest};

use super::write_whole;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the public data sets that can be fetched.
    List,
    /// Fetch a public data set, check it, and put it where its settings look for it.
    Get(Args),
}

#[derive(Parser)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// One of `tesla datasets list`.
    name: String,
    /// The folder that gets a folder of the data set's name.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// A folder or an address that holds `NAME/FILE` for each file, instead of the public addresses.
    #[arg(long, value_name = "DIR|URL")]
    mirror: Option<String>,
}

const AFTER_HELP: &str = "\
A download that broke off goes on where it was when the command is run again. Files that are there stay.

Example:
  tesla datasets get fashion-mnist
  tesla train fashion-mnist.tesla.toml";

/// `datasets/catalogue.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    dataset: Vec<Entry>,
}

/// A data set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    about: String,
    task: String,
    rows: String,
    licence: String,
    page: String,
    /// Where its sums were published.
    checked: Option<String>,
    /// Whether settings ship with TESLA.
    #[serde(default)]
    settings: bool,
    file: Vec<Remote>,
}

/// A file to fetch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Remote {
    name: String,
    url: String,
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "for who downloads"))]
    bytes: Option<u64>,
    sha256: Option<String>,
    /// What is taken out of it, where it is an archive.
    #[serde(default)]
    take: Vec<Taken>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Taken {
    from: String,
    to: String,
}

/// The settings of a data set, as they stand beside the examples.
fn settings(name: &str) -> Option<&'static str> {
    macro_rules! shipped {
        ($($name:literal),*) => {
            match name {
                $($name => Some(include_str!(concat!("../../../../examples/configs/", $name, ".tesla.toml"))),)*
                _ => None,
            }
        };
    }
    shipped!(
        "adult",
        "ai4i2020",
        "california-housing",
        "cifar10",
        "clinc150",
        "cmapss",
        "fashion-mnist",
        "sms-spam"
    )
}

fn catalogue() -> Result<Vec<Entry>> {
    let text = include_str!("../../../../datasets/catalogue.toml");
    let catalogue: Catalogue = toml::from_str(text)?;
    Ok(catalogue.dataset)
}

pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::List => list(),
        Command::Get(args) => get(&args),
    }
}

fn list() -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<18}  {:<20}  {:>23}  {:<34}  about", "name", "task", "rows", "licence")?;
    for entry in catalogue()? {
        let Entry {
            name,
            task,
            rows,
            licence,
            about,
            ..
        } = entry;
        writeln!(out, "{name:<18}  {task:<20}  {rows:>23}  {licence:<34}  {about}")?;
    }
    writeln!(out, "\nnext   tesla datasets get NAME")?;
    Ok(())
}

fn get(args: &Args) -> Result<()> {
    let entries = catalogue()?;
    let Some(entry) = entries.iter().find(|entry| entry.name == args.name) else {
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        let near = nearest(&args.name, &names)
            .map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
        bail!("no data set `{}`{near}: expected one of {}", args.name, names.join(", "));
    };
    let folder = args.out.join(&entry.name);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create the folder `{}`", folder.display()))?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{}: {} rows, licence: {}, {}",
        entry.name, entry.rows, entry.licence, entry.page
    )?;
    for file in &entry.file {
        let done = fetch_one(entry, file, &folder, args.mirror.as_deref())?;
        writeln!(out, "  {}  {done}", file.name)?;
    }
    if let Some(settings) = settings(&entry.name).filter(|_| entry.settings) {
        let path = args.out.join(format!("{}.tesla.toml", entry.name));
        if !path.exists() {
            write_whole(&path, |f| Ok(f.write_all(settings.as_bytes())?))?;
        }
        writeln!(out, "next   tesla train {}", path.display())?;
    } else {
        writeln!(
            out,
            "next   tesla profile {}",
            folder.join(&results(&entry.file[0])[0]).display()
        )?;
    }
    Ok(())
}

/// The files that a file of the catalogue becomes.
fn results(file: &Remote) -> Vec<String> {
    match file.take.as_slice() {
        [] => vec![file.name.clone()],
        taken => taken.iter().map(|taken| taken.to.clone()).collect(),
    }
}

/// Fetches a file and unpacks it; what to say about it.
fn fetch_one(entry: &Entry, file: &Remote, folder: &Path, mirror: Option<&str>) -> Result<String> {
    if results(file).iter().all(|name| folder.join(name).exists()) {
        return Ok("is there already".into());
    }
    let path = folder.join(&file.name);
    let sha256 = match mirror {
        Some(mirror) if !is_url(mirror) => {
            copy(&Path::new(mirror).join(&entry.name).join(&file.name), &path, file)?
        }
        Some(mirror) => {
            let url = format!("{}/{}/{}", mirror.trim_end_matches('/'), entry.name, file.name);
            download(&url, &path, file)?
        }
        None => download(&file.url, &path, file)?,
    };
    if !file.take.is_empty() {
        let names: Vec<(&str, PathBuf)> = file
            .take
            .iter()
            .map(|taken| (taken.from.as_str(), folder.join(&taken.to)))
            .collect();
        let wanted: Vec<(&str, &Path)> =
            names.iter().map(|(from, to)| (*from, to.as_path())).collect();
        let done = extract(&path, &wanted);
        let _ = std::fs::remove_file(&path);
        done?;
    }
    Ok(match (&file.sha256, &entry.checked) {
        (Some(_), Some(checked)) => format!("SHA-256 {sha256}: as in {checked}"),
        _ => format!(
            "SHA-256 {sha256}: not verified, nobody publishes one; compare it with that of somebody you trust"
        ),
    })
}

/// A file of a mirror on this machine, with the same checks as a download.
fn copy(from: &Path, to: &Path, file: &Remote) -> Result<String> {
    let bytes = std::fs::read(from).with_context(|| format!("cannot read `{}`", from.display()))?;
    let found = hex_sha256(&bytes);
    if let Some(expected) = file.sha256.as_ref().filter(|expected| **expected != found) {
        bail!(
            "`{}` is not the file that is expected: its SHA-256 is {found} instead of {expected}; it was not taken",
            from.display()
        );
    }
    write_whole(to, |f| Ok(f.write_all(&bytes)?))?;
    Ok(found)
}

#[cfg(feature = "http")]
fn download(url: &str, path: &Path, file: &Remote) -> Result<String> {
    use std::io::IsTerminal;

    use indicatif::{ProgressBar, ProgressStyle};
    use tesla_data::source::Expected;

    let bar = match std::io::stderr().is_terminal() {
        true => ProgressBar::new(file.bytes.unwrap_or(0)),
        false => ProgressBar::hidden(),
    };
    let template =
        "{bar:24.cyan/blue} {msg}  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left";
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(file.name.clone());
    let expected = Expected {
        sha256: file.sha256.as_deref(),
        bytes: file.bytes,
    };
    let done = tesla_data::source::fetch(url, path, &expected, &mut |bytes, total| {
        bar.set_length(total.unwrap_or(bytes));
        bar.set_position(bytes);
    });
    bar.finish_and_clear();
    Ok(done?)
}

#[cfg(not(feature = "http"))]
fn download(url: &str, _path: &Path, _file: &Remote) -> Result<String> {
    bail!(
        "`{url}` cannot be fetched: this TESLA was built without the feature `http`; use `--mirror DIR`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::parse;

    #[test]
    fn the_catalogue_is_whole() {
        let entries = catalogue().unwrap();
        for entry in &entries {
            assert_eq!(entries.iter().filter(|e| e.name == entry.name).count(), 1);
            assert_eq!(settings(&entry.name).is_some(), entry.settings, "{}", entry.name);
            for file in &entry.file {
                assert!(is_url(&file.url), "{}", file.url);
                let hex =
                    |sum: &String| sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit());
                assert!(file.sha256.as_ref().is_none_or(hex), "{}", file.name);
                assert!(file.sha256.is_none() || entry.checked.is_some(), "{}", entry.name);
                for name in results(file).iter().chain([&file.name]) {
                    assert!(!name.contains(['/', '\\']) && !name.starts_with('.'), "{name}");
                }
            }
        }
    }

    #[test]
    fn what_is_fetched_is_what_the_settings_name() {
        for entry in catalogue().unwrap().iter().filter(|entry| entry.settings) {
            let config = parse(&entry.name, settings(&entry.name).unwrap()).unwrap();
            let mut named: Vec<String> = Vec::new();
            named.extend(config.data.source.iter().map(String::from));
            named.extend(config.data.test.clone().into_iter().chain(config.data.valid.clone()));
            let life = config.data.sequence.and_then(|s| s.remaining_life);
            named.extend(life.and_then(|life| life.after));
            let files: Vec<String> = entry.file.iter().flat_map(results).collect();
            for path in named {
                let path = path.split('#').next().unwrap();
                let name = path.strip_prefix(&format!("{}/", entry.name)).unwrap();
                let start = name.trim_end_matches('*');
                assert!(files.iter().any(|file| file.starts_with(start)), "{path}");
            }
        }
    }
}
