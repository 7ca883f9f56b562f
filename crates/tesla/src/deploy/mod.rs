//! What a model needs to be served elsewhere: files made from templates.

use std::path::Path;

use anyhow::{Result, bail};
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::Serialize;
use tesla_data::hex_sha256;

/// A file by its name; without a content it is the model.
type File = (String, Option<String>);

/// What the templates speak of.
#[derive(Serialize)]
pub(crate) struct Facts {
    name: String,
    port: u16,
    /// The first digits of the model's SHA-256, so that another model has another tag.
    tag: String,
    version: &'static str,
    rust: &'static str,
}

impl Facts {
    pub(crate) fn new(name: String, port: u16, model: &[u8]) -> Self {
        Self {
            name,
            port,
            tag: hex_sha256(model)[..12].into(),
            version: env!("CARGO_PKG_VERSION"),
            rust: env!("CARGO_PKG_RUST_VERSION"),
        }
    }
}

/// An image of the program and the model.
///
/// # Errors
/// Never, unless a template is at fault.
pub(crate) fn docker(facts: &Facts) -> Result<Vec<File>> {
    let render = |template| render(template, context! { facts => Serde(facts) });
    Ok(vec![
        ("Dockerfile".into(), Some(render(include_str!("Dockerfile.j2"))?)),
        (".dockerignore".into(), Some("*\n!model.tesla\n".into())),
        ("model.tesla".into(), None),
    ])
}

/// The objects of a cluster. `image` has the model inside.
///
/// # Errors
/// When `image` or `storage_uri` cannot stand in a YAML file.
pub(crate) fn kubernetes(
    facts: &Facts,
    image: Option<String>,
    storage_uri: Option<String>,
) -> Result<Vec<File>> {
    let image = image.unwrap_or_else(|| format!("{}:{}", facts.name, facts.tag));
    let storage_uri = storage_uri.unwrap_or_else(|| format!("pvc://models/{}", facts.name));
    check_plain("--image", &image)?;
    check_image(&image)?;
    check_plain("--storage-uri", &storage_uri)?;
    let templates = [
        ("kustomization.yaml", include_str!("kustomization.yaml.j2")),
        ("deployment.yaml", include_str!("deployment.yaml.j2")),
        ("service.yaml", include_str!("service.yaml.j2")),
        ("autoscaler.yaml", include_str!("autoscaler.yaml.j2")),
        ("disruption-budget.yaml", include_str!("disruption-budget.yaml.j2")),
        ("network-policy.yaml", include_str!("network-policy.yaml.j2")),
        ("kserve.yaml", include_str!("kserve.yaml.j2")),
    ];
    templates
        .into_iter()
        .map(|(name, template)| {
            let text = render(
                template,
                context! { facts => Serde(facts), image => &*image, storage_uri => &*storage_uri },
            )?;
            Ok((name.into(), Some(text)))
        })
        .collect()
}

/// A service of one machine. `program` is where `tesla` will be.
///
/// # Errors
/// When the path of the program cannot stand in a unit.
pub(crate) fn systemd(facts: &Facts, program: &Path) -> Result<Vec<File>> {
    let program = program.display().to_string();
    check_plain("--program", &program)?;
    if !program.starts_with('/') {
        bail!("`--program` is `{program}`: expected an absolute path");
    }
    let unit = render(include_str!("service.j2"), context! { facts => Serde(facts), program })?;
    Ok(vec![
        (format!("tesla-{}.service", facts.name), Some(unit)),
        (format!("{}.tesla", facts.name), None),
    ])
}

/// Templates quote nothing, so values that would have to be quoted are refused.
fn check_plain(option: &str, value: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./:@_-+".contains(c);
    match !value.is_empty() && value.chars().all(plain) {
        true => Ok(()),
        false => bail!(
            "`{option}` is `{value}`: expected letters, digits and any of `.`, `/`, `:`, `@`, `_`, `-`, `+`"
        ),
    }
}

/// The name of an image is in lower case; its tag need not be.
fn check_image(image: &str) -> Result<()> {
    let (name, digest) = image.split_at(image.find('@').unwrap_or(image.len()));
    // A colon before the last `/` is that of a port.
    let path = name.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = name.split_at(name[path..].find(':').map_or(name.len(), |at| path + at));
    match name.contains(|c: char| c.is_ascii_uppercase()) {
        false => Ok(()),
        true => bail!(
            "`--image` is `{image}`: the name of an image is in lower case: expected `{}{tag}{digest}`",
            name.to_lowercase()
        ),
    }
}

fn render(template: &str, values: Value) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // The last line end of a template is not its own.
    Ok(environment.render_str(template, values)?.trim_end().to_string() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_image_is_in_lower_case() {
        for image in ["iris", "iris:V1", "localhost:5000/a/iris:1", "a/iris@sha256:AB"] {
            check_image(image).unwrap();
        }
        let error = check_image("Registry.example:5000/Iris:V1@sha256:AB")
            .unwrap_err()
            .to_string();
        assert!(error.ends_with("expected `registry.example:5000/iris:V1@sha256:AB`"), "{error}");
        assert!(check_image("Iris").is_err());
    }
}
