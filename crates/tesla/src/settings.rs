//! `tesla.toml`: read with errors that name the line, written resolved beside the model.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use tesla::Config;
use tesla_data::source::is_url;
use tesla_data::{in_plain_words, nearest};

/// Reads a configuration.
pub(crate) fn load(path: &Path) -> Result<Config> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| anyhow!("cannot read `{}`: {e}", path.display()))?;
    parse(&path.display().to_string(), &text)
}

/// Reads a configuration from `text`; `name` is for messages.
pub(crate) fn parse(name: &str, text: &str) -> Result<Config> {
    let error = match toml::from_str(text) {
        Ok(config) => return Ok(config),
        Err(error) => error,
    };
    let message = error.message();
    let start = error.span().map_or(0, |span| span.start);
    // Serde says "unknown field `x`, expected one of `a`, `b`", and for a table with a `kind` the
    // span is the table's head: find the word itself.
    let mut words = message.split('`').skip(1).step_by(2);
    let unknown = ["unknown field", "unknown variant"]
        .iter()
        .any(|start| message.starts_with(start));
    if let Some(word) = words.next().filter(|_| unknown) {
        let valid: Vec<&str> = words.collect();
        let near = nearest(word, &valid)
            .map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
        let at = find_word(text, start, word);
        let valid: Vec<String> = valid.iter().map(|v| format!("`{v}`")).collect();
        let what = match message.starts_with("unknown field") {
            true => "key",
            false => "value",
        };
        bail!(
            "`{name}` {}: unknown {what} `{word}`{near}: expected one of {}",
            place(text, at),
            valid.join(", ")
        );
    }
    let message = in_plain_words(&message.trim_end().replace('\n', ", "));
    bail!("`{name}` {}: {message}", place(text, start))
}

/// Where `word` stands as a whole word from `start` on, or `start`.
fn find_word(text: &str, start: usize, word: &str) -> usize {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let inside = &text[start..];
    inside
        .match_indices(word)
        .map(|(at, _)| at)
        .find(|at| {
            !inside[..*at].ends_with(is_part) && !inside[at + word.len()..].starts_with(is_part)
        })
        .map_or(start, |at| start + at)
}

fn place(text: &str, at: usize) -> String {
    let before = &text[..at.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("line {line}, column {column}")
}

/// The configuration as it was carried out, with paths that hold from anywhere.
pub(crate) fn to_toml(config: &Config, base: &Path) -> Result<String> {
    let anywhere = |path: &str| -> String {
        if let Some(file) = path.strip_prefix("sqlite:") {
            let joined = base.join(file.strip_prefix("//").unwrap_or(file));
            let absolute = std::path::absolute(&joined).unwrap_or(joined);
            return format!("sqlite:{}", absolute.display());
        }
        if path == "-" || is_url(path) {
            return path.to_string();
        }
        let joined: PathBuf = base.join(path);
        // A link keeps its own name: the run is called by it.
        std::path::absolute(&joined).unwrap_or(joined).display().to_string()
    };
    let mut config = config.clone();
    config.data.source = config.data.source.map(anywhere);
    let data = &mut config.data;
    for path in [
        &mut data.test,
        &mut data.valid,
        &mut data.split.test_rows,
        &mut data.split.file,
        &mut data.password_file,
        &mut data.images.root,
    ] {
        *path = path.as_deref().map(anywhere);
    }
    let life = data.sequence.as_mut().and_then(|s| s.remaining_life.as_mut());
    if let Some(after) = life.and_then(|life| life.after.as_mut()) {
        *after = anywhere(after);
    }
    Ok(toml::to_string(&config)?)
}

#[cfg(test)]
mod tests {
    use tesla::ModelConfig;

    use super::*;

    fn message(text: &str) -> String {
        parse("t.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn a_misspelt_key_names_its_line_and_the_nearest_word() {
        let error = message("[data]\nsource = \"a.csv\"\n\n[train]\nepcohs = 3\n");
        assert!(
            error.starts_with(
                "`t.toml` line 5, column 1: unknown key `epcohs` (did you mean `epochs`?)"
            ),
            "{error}"
        );
    }

    #[test]
    fn a_misspelt_key_of_a_model_is_found_inside_its_table() {
        let error = message("[model]\nkind = \"mlp\"\nhiden = [3]\n");
        assert!(
            error.starts_with(
                "`t.toml` line 3, column 1: unknown key `hiden` (did you mean `hidden`?)"
            ),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_kind_lists_the_right_ones() {
        let error = message("[model]\nkind = \"mpl\"\n");
        assert!(
            error.contains("line 2") && error.contains("unknown value `mpl` (did you mean `mlp`?)"),
            "{error}"
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let config =
            parse("t.toml", "[data]\nsource = \"/x.csv\"\n[columns.a]\nscale = \"none\"\n")
                .unwrap();
        let config = Config {
            model: Some(ModelConfig::from_kind("cnn").unwrap()),
            ..config
        };
        let text = to_toml(&config, Path::new("")).unwrap();
        assert_eq!(parse("t.toml", &text).unwrap(), config);
    }
}
