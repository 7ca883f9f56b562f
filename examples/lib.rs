//! Programs that use TESLA as a library; each runs with `cargo run --release --example NAME`.
//!
//! What they share: a program starts from a `tesla.toml`, that of a small data set which ships with the
//! project or, with `--data DIR`, that of the full one.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tesla::{Config, Dataset};

/// Settings and rows: those of `datasets/SHIPPED/tesla.toml`, or with `--data DIR` those of
/// `examples/configs/FULL.tesla.toml`, whose files lie where `tesla datasets get NAME --out DIR` puts
/// them.
///
/// # Errors
/// When the settings or the rows cannot be read.
pub fn open(shipped: &str, full: &str) -> Result<(Config, Dataset)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (settings, base) = match full_data() {
        None => {
            let folder = root.join("datasets").join(shipped);
            (folder.join("tesla.toml"), folder)
        }
        Some(folder) => (root.join(format!("examples/configs/{full}.tesla.toml")), folder),
    };
    let text = std::fs::read_to_string(&settings)
        .with_context(|| format!("cannot read `{}`", settings.display()))?;
    let config: Config = toml::from_str(&text)?;
    let data = Dataset::load(&config.data, &base)?;
    let rows: usize = data.frames().map(|frame| frame.len()).sum();
    let source: Vec<&str> = config.data.source.iter().collect();
    println!("{rows} rows of `{}`", source.join("`, `"));
    Ok((config, data))
}

/// The folder after `--data`, where the full data sets lie.
pub fn full_data() -> Option<PathBuf> {
    let mut args = std::env::args().skip_while(|arg| arg != "--data");
    args.nth(1).map(PathBuf::from)
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
