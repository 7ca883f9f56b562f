use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use tesla::Bundle;

use super::write_whole;
use crate::deploy::{Facts, docker, kubernetes, systemd};

/// Where a model is to run.
#[derive(Subcommand)]
pub(crate) enum Target {
    /// A `Dockerfile` of a small image without a shell or root, with the model inside.
    Docker {
        #[command(flatten)]
        common: Common,
    },
    /// A deployment with service, autoscaler, disruption budget and network policy, and a runtime for
    /// KServe.
    Kubernetes {
        #[command(flatten)]
        common: Common,
        /// The image that has the model inside. Default: the one of `tesla deploy docker`.
        #[arg(long)]
        image: Option<String>,
        /// Where KServe finds the model.
        #[arg(long, value_name = "URI")]
        storage_uri: Option<String>,
    },
    /// A unit with as few rights as it can do with.
    Systemd {
        #[command(flatten)]
        common: Common,
        /// Where the `tesla` program will be.
        #[arg(long, value_name = "FILE", default_value = "/usr/local/bin/tesla")]
        program: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct Common {
    /// A model file.
    model: PathBuf,
    /// The folder to write to.
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,
    /// What to call the model. Default: its file name, or its folder's for `model.tesla`.
    #[arg(long)]
    name: Option<String>,
    /// The port that predictions are answered on.
    #[arg(long, default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1024..))]
    port: u16,
}

pub(crate) fn run(target: Target) -> Result<()> {
    let (Target::Docker { common }
    | Target::Kubernetes { common, .. }
    | Target::Systemd { common, .. }) = &target;
    let model = Bundle::load(&common.model)?.to_bytes()?;
    let name = common
        .name
        .clone()
        .unwrap_or_else(|| tesla_serve::name_of(&common.model));
    let facts = Facts::new(label(&name)?, common.port, &model);
    let out = common.out.clone();
    let files = match target {
        Target::Docker { .. } => docker(&facts)?,
        Target::Kubernetes {
            image, storage_uri, ..
        } => kubernetes(&facts, image, storage_uri)?,
        Target::Systemd { program, .. } => systemd(&facts, &program)?,
    };
    std::fs::create_dir_all(&out).map_err(|e| super::cannot_write(&out, e))?;
    let mut stdout = std::io::stdout().lock();
    for (file, content) in files {
        let path = out.join(file);
        let bytes = content.as_deref().map_or(model.as_slice(), str::as_bytes);
        write_whole(&path, |file| Ok(file.write_all(bytes)?))?;
        writeln!(stdout, "{}", path.display())?;
    }
    Ok(())
}

/// A name that is also one in Kubernetes: a label of RFC 1123.
fn label(name: &str) -> Result<String> {
    let label: String = name
        .to_lowercase()
        .chars()
        .map(|c| if matches!(c, '_' | '.' | ' ') { '-' } else { c })
        .collect();
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match !label.is_empty()
        && label.len() <= 50
        && label.chars().all(valid)
        && label.starts_with(|c: char| c.is_ascii_lowercase())
        && !label.ends_with('-')
    {
        true => Ok(label),
        false => bail!(
            "`{name}` cannot be the name of a service: expected up to 50 letters, digits and `-`, beginning with a letter; say another with `--name`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_a_label_or_is_refused() {
        assert_eq!(label("California_housing.v2").unwrap(), "california-housing-v2");
        for bad in ["", "-a", "a-", "1a", "preço", "a/b", "a\nb", &"a".repeat(51)] {
            let error = label(bad).unwrap_err().to_string();
            assert!(error.contains("--name"), "{error}");
        }
    }
}
