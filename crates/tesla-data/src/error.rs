use std::path::{Path, PathBuf};

/// What can go wrong between a source and its samples.
///
/// Every message is one sentence that names the place and says what would be valid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory could not be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Rows that exceed the memory budget could not be put aside.
    #[error("cannot write `{}`, where rows beyond `data.memory` are kept: {source}; set TMPDIR to a folder with more space", path.display())]
    Spill {
        /// The temporary file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The source holds no rows, or nothing TESLA can read.
    #[error("`{name}` {reason}")]
    Source {
        /// The source as the user wrote it.
        name: String,
        /// What is wrong and what would be valid.
        reason: String,
    },
    /// More rows are bad than the configuration allows.
    #[error(
        "`{name}`: {bad} of {total} rows {} bad, more than `max_bad = {max_bad}` in `[data]` allows: {reasons}",
        if *bad == 1 { "is" } else { "are" }
    )]
    TooManyBad {
        /// The source as the user wrote it.
        name: String,
        /// Bad rows.
        bad: usize,
        /// All rows.
        total: usize,
        /// The share of bad rows that is allowed.
        max_bad: f64,
        /// The commonest reasons.
        reasons: String,
    },
    /// One row cannot be read.
    #[error("{place}: {reason}")]
    Row {
        /// Source and line, such as "`data.csv` line 7".
        place: String,
        /// What is wrong and what would be valid.
        reason: String,
    },
    /// A column that is needed is not there.
    #[error(
        "no column `{column}` in {place}{}: it has {}",
        did_you_mean(column, valid),
        list(valid)
    )]
    MissingColumn {
        /// The column that was asked for.
        column: String,
        /// Where it was looked for.
        place: String,
        /// The columns that exist.
        valid: Vec<String>,
    },
    /// One value breaks the contract.
    #[error("{place}, column `{column}`: {reason}")]
    Value {
        /// Source and line, or "row 3" of a request.
        place: String,
        /// The column's name.
        column: String,
        /// What is wrong and what would be valid.
        reason: String,
    },
    /// The configuration cannot be carried out on this data.
    #[error("{0}")]
    Config(String),
    /// Arrow refused an operation; the message is Arrow's own.
    #[error("internal table error: {0}")]
    Arrow(#[from] crate::arrow::error::ArrowError),
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io {
            path: path.as_ref().to_path_buf(),
            source,
        }
    }

    pub(crate) fn source(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::Source {
            name: name.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn value(
        place: impl Into<String>,
        column: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Error::Value {
            place: place.into(),
            column: column.into(),
            reason: reason.into(),
        }
    }
}

fn did_you_mean(word: &str, valid: &[String]) -> String {
    crate::nearest(word, valid).map_or(String::new(), |near| format!(" (did you mean `{near}`?)"))
}

/// The first names of a list, in backticks, and how many more there are.
pub(crate) fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<_> = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect();
    match names.len() {
        0 => "none".into(),
        n if n > SHOWN => format!("{} and {} more", shown.join(", "), n - SHOWN),
        _ => shown.join(", "),
    }
}
