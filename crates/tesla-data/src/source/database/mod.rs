//! Databases: a query's rows, read only and streamed.
//!
//! A database gives rows in any order it likes: say `ORDER BY` in the query where a run is to be
//! repeatable. The fingerprint is of the rows as they came.

#[cfg(feature = "postgres")]
mod postgres;
mod rows;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::path::Path;

#[cfg(feature = "postgres")]
pub use self::postgres::PostgresSource;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteSource;

use super::Source;
use crate::config::DataConfig;
use crate::error::list;
use crate::{Error, Result};

/// Opens an SQLite file.
pub(super) fn open_sqlite(path: &Path, data: &DataConfig) -> Result<Box<dyn Source>> {
    #[cfg(feature = "sqlite")]
    return Ok(Box::new(SqliteSource::open(path, data)?));
    #[cfg(not(feature = "sqlite"))]
    return Err(missing_feature(
        "an SQLite database",
        "sqlite",
        (path, data),
    ));
}

/// Opens a PostgreSQL database; `url` has its environment variables put in.
pub(super) fn open_postgres(url: &str, base: &Path, data: &DataConfig) -> Result<Box<dyn Source>> {
    #[cfg(feature = "postgres")]
    return Ok(Box::new(PostgresSource::open(url, base, data)?));
    #[cfg(not(feature = "postgres"))]
    return Err(missing_feature(
        "a PostgreSQL database",
        "postgres",
        (url, base, data),
    ));
}

/// The error for a source that this build leaves out; `_unused` is what it would have needed.
#[cfg(not(all(feature = "sqlite", feature = "postgres")))]
fn missing_feature<T>(what: &str, feature: &str, _unused: T) -> Error {
    Error::Config(format!(
        "`source` is {what}, which this build leaves out: build with the feature `{feature}`"
    ))
}

/// The query that `[data]` asks for. `tables` lists the tables, for when it does not.
fn query(
    name: &str,
    data: &DataConfig,
    quote: impl Fn(&str) -> String,
    tables: impl FnOnce() -> Result<Vec<String>>,
) -> Result<String> {
    let whole = |table: &str| format!("SELECT * FROM {}", quote(table));
    match (&data.query, &data.table) {
        (Some(_), Some(_)) => {
            let message = "`query` and `table` are both said in `[data]`: keep one";
            Err(Error::Config(message.into()))
        }
        (Some(query), None) => Ok(query.trim().trim_end_matches(';').to_string()),
        (None, Some(table)) => Ok(whole(table)),
        (None, None) => match tables()?.as_slice() {
            [table] => Ok(whole(table)),
            [] => Err(Error::source(name, "has no tables: expected at least one")),
            tables => Err(Error::source(
                name,
                format!(
                    "has several tables: say `table = \"…\"`, one of {}, or `query = \"SELECT …\"` in `[data]`",
                    list(tables)
                ),
            )),
        },
    }
}

/// Checks that no two columns of a result have the same name.
fn distinct(names: &[String], source: &str) -> Result<()> {
    for (i, name) in names.iter().enumerate() {
        if names[..i].contains(name) {
            let reason = format!("gives two columns named `{name}`: rename one with `AS`");
            return Err(Error::source(source, reason));
        }
    }
    Ok(())
}

/// The error for a column that TESLA does not read.
fn unreadable(source: &str, column: &str, holds: &str) -> Error {
    Error::value(
        format!("`{source}`"),
        column,
        format!(
            "holds {holds}: cast it in the query (`CAST({column} AS TEXT)`), or leave it out with `drop = [\"{column}\"]` in `[data]`"
        ),
    )
}
