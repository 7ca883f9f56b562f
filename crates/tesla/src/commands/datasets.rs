use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use serde::Deserialize;
use tesla_data::source::{extract, is_url};
use tesla_data::{file_sha256, hex_sha256, nearest};

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
A download that broke off goes on where it was when the command is run again. Files that are there stay, and are
checked where a sum is known.

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
    /// The settings that ship with TESLA, by name; the first is the one to start with.
    #[serde(default)]
    settings: Vec<String>,
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

/// Settings for a data set, as they stand beside the examples.
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
        "movielens-1m",
        "movielens-bpr",
        "movielens-mf",
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
    let mut next = Vec::new();
    for name in &entry.settings {
        let path = args.out.join(format!("{name}.tesla.toml"));
        let text = settings(name).with_context(|| format!("no settings `{name}` are inside"))?;
        if !path.exists() {
            write_whole(&path, |f| Ok(f.write_all(text.as_bytes())?))?;
        }
        next.push(format!("tesla train {}", path.display()));
    }
    if next.is_empty() {
        let first = folder.join(&results(&entry.file[0])[0]);
        next.push(format!("tesla profile {}", first.display()));
    }
    writeln!(out, "next   {}", next.join("\n  or   "))?;
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
    let path = folder.join(&file.name);
    if results(file).iter().all(|name| folder.join(name).exists()) {
        return already_there(&path, file);
    }
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

/// What to say of a file that is there: of what was taken out of an archive nobody publishes a sum.
fn already_there(path: &Path, file: &Remote) -> Result<String> {
    let Some(expected) = file.sha256.as_ref().filter(|_| file.take.is_empty()) else {
        return Ok("is there already, and was not checked: no sum of it is known".into());
    };
    let found = file_sha256(path)?;
    if found != *expected {
        bail!(
            "`{}` is there already and is not the file that is expected: its SHA-256 is {found} instead of {expected}; move it away and run this again to fetch it",
            path.display()
        );
    }
    Ok(format!("is there already, with the SHA-256 that is expected, {found}"))
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
            assert!(entry.settings.iter().all(|name| settings(name).is_some()), "{}", entry.name);
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
        for (entry, name) in catalogue()
            .unwrap()
            .iter()
            .flat_map(|entry| entry.settings.iter().map(move |name| (entry, name)))
        {
            let config = parse(name, settings(name).unwrap()).unwrap();
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
    #[test]
    fn a_file_that_is_there_is_checked_where_a_sum_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::fs::write(&path, "x\n1\n").unwrap();
        let of = |sha256: Option<String>, take| {
            let file = Remote {
                name: "rows.csv".into(),
                url: "https://example.org/rows.csv".into(),
                bytes: None,
                sha256,
                take,
            };
            already_there(&path, &file).map_err(|e| e.to_string())
        };
        let taken = || {
            let [from, to] = ["in.csv".into(), "rows.csv".into()];
            vec![Taken { from, to }]
        };
        let (right, wrong) = (hex_sha256(b"x\n1\n"), hex_sha256(b"x\n2\n"));
        assert!(of(Some(right), vec![]).unwrap().contains("that is expected"));
        assert!(of(None, vec![]).unwrap().contains("was not checked"));
        // The sum is that of the archive.
        assert!(of(Some(wrong.clone()), taken()).unwrap().contains("was not checked"));
        let error = of(Some(wrong.clone()), vec![]).unwrap_err();
        assert!(error.contains(&format!("instead of {wrong}")), "{error}");
    }
}
