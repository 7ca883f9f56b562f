//! Programs that use TESLA as a library; each runs with `cargo run --release --example NAME`.
//!
//! What they share: a program starts from a `tesla.toml`, that of a small data set which ships with the
//! project or, with `--data DIR`, that of the full one, and ends with a request to the model it has saved.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tesla::deploy::{ServedModel, router};
use tesla::{Config, Dataset, DeviceChoice, Model};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Characters of a request or an answer that are shown.
const SHOWN: usize = 240;

/// Settings and rows: those of `datasets/SHIPPED/tesla.toml`, or with `--data DIR` those of
/// `examples/configs/FULL.tesla.toml`, whose files lie where `tesla datasets get NAME --out DIR` puts
/// them.
///
/// # Errors
/// When the settings or the rows cannot be read.
pub fn open(shipped: &str, full: &str) -> Result<(Config, Dataset)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let settings = match full_data()? {
        None => root.join("datasets").join(shipped).join("tesla.toml"),
        Some(_) => root.join(format!("examples/configs/{full}.tesla.toml")),
    };
    let text = std::fs::read_to_string(&settings)
        .with_context(|| format!("cannot read `{}`", settings.display()))?;
    let config: Config = toml::from_str(&text)?;
    let data = Dataset::load(&config.data, &folder(shipped)?)?;
    let rows: usize = data.frames().map(|frame| frame.len()).sum();
    let source: Vec<&str> = config.data.source.iter().collect();
    println!("{rows} rows of `{}`", source.join("`, `"));
    Ok((config, data))
}

/// The folder that the paths in the settings of [`open`] start at.
///
/// # Errors
/// When `--data` has no folder behind it.
pub fn folder(shipped: &str) -> Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../datasets")
        .join(shipped);
    Ok(full_data()?.unwrap_or(own))
}

/// The folder after `--data`, where the full data sets lie.
///
/// # Errors
/// When no folder of that name is there: the small set must not pass for the full one.
pub fn full_data() -> Result<Option<PathBuf>> {
    full_data_of(std::env::args().skip(1))
}

fn full_data_of(args: impl IntoIterator<Item = String>) -> Result<Option<PathBuf>> {
    let mut args = args.into_iter();
    let Some(word) = args.next() else {
        return Ok(None);
    };
    let folder = args.next().map(PathBuf::from);
    match (word.as_str(), folder) {
        ("--data", Some(folder)) if folder.is_dir() => Ok(Some(folder)),
        ("--data", Some(folder)) => bail!(
            "`--data {}` is no folder: name the one that `tesla datasets get NAME --out DIR` wrote to, or leave `--data` out to take the small set",
            folder.display()
        ),
        ("--data", None) => bail!(
            "`--data` says no folder: write `--data DIR`, `DIR` being that of `tesla datasets get NAME --out DIR`, or leave `--data` out to take the small set"
        ),
        _ => bail!("`{word}` is no option of this example: expected `--data DIR`, or nothing"),
    }
}

/// A new folder under `runs/` for what an example writes.
///
/// # Errors
/// When it cannot be made.
pub fn out(name: &str) -> Result<PathBuf> {
    let folder = Path::new("runs").join(name);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create `{}`", folder.display()))?;
    Ok(folder)
}

/// Opens a model file again and serves it as `tesla serve` does, on a free port of this machine; sends
/// one request, shows both sides, and stops. `kind` is what the body is, such as `application/json`.
///
/// # Errors
/// When the file cannot be opened, or the answer is not `200 OK`.
pub fn serve(file: &Path, kind: &str, body: &str) -> Result<Value> {
    let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("model");
    let served = ServedModel {
        name: name.into(),
        predictor: Model::load(file, DeviceChoice::Flex)?.into_predictor(),
    };
    let path = format!("/v1/models/{name}/predict");
    let (status, answer) = tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        // It ends with the runtime.
        tokio::spawn(async move { axum::serve(listener, router(vec![served])).await });
        post(&address, &path, kind, body).await
    })?;
    println!("  served from `{}` over HTTP, and asked once:", file.display());
    println!("    POST {path}  {}", shortened(body));
    println!("    {status}: {}", shortened(&answer));
    println!("  keep it running: cargo run --release -- serve {}", file.display());
    match status.as_str() {
        "200 OK" => Ok(serde_json::from_str(&answer)?),
        _ => bail!("the server refused the request: {answer}"),
    }
}

/// What any client does, by hand: a request, the status and the body of the answer.
///
/// # Errors
/// When the connection breaks.
pub async fn post(address: &str, path: &str, kind: &str, body: &str) -> Result<(String, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.lines().next().unwrap_or_default().replace("HTTP/1.1 ", "");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_string()))
}

/// A text on one line, without its middle where it is long.
fn shortened(text: &str) -> String {
    let line: Vec<char> = text.trim_end().replace('\n', "⏎").chars().collect();
    match line.len() > SHOWN {
        false => line.into_iter().collect(),
        true => {
            let (head, tail) = (&line[..SHOWN / 2], &line[line.len() - SHOWN / 2..]);
            head.iter().chain(&[' ', '…', ' ']).chain(tail).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_is_an_error_and_not_the_small_set() {
        let of = |args: &[&str]| {
            full_data_of(args.iter().map(|arg| arg.to_string())).map_err(|e| e.to_string())
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["--data", "."]), Ok(Some(PathBuf::from("."))));
        for (args, part) in [
            (&["--data"][..], "`--data` says no folder"),
            (&["--data", "nowhere"], "`--data nowhere` is no folder"),
            (&["data"], "`data` is no option"),
        ] {
            assert!(of(args).unwrap_err().starts_with(part), "{args:?}");
        }
    }

    #[test]
    fn long_texts_lose_their_middle() {
        assert_eq!(shortened("a\nb\n"), "a⏎b");
        let long = shortened(&format!("<{}>", "x".repeat(1000)));
        assert!(long.starts_with('<') && long.ends_with('>') && long.chars().count() == SHOWN + 3);
    }
}
