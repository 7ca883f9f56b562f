//! Databases: a query's rows, read only and streamed.
//!
//! A database gives rows in any order it likes: say `ORDER BY` in the query where a run is to be
//! repeatable. The fingerprint is of the rows as they came.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod query;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod rows;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::path::Path;

#[cfg(feature = "postgres")]
pub use self::postgres::PostgresSource;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteSource;

use super::Source;
use crate::Result;
use crate::config::DataConfig;

/// Opens an SQLite file.
pub(super) fn open_sqlite(path: &Path, data: &DataConfig) -> Result<Box<dyn Source>> {
    #[cfg(feature = "sqlite")]
    return Ok(Box::new(SqliteSource::open(path, data)?));
    #[cfg(not(feature = "sqlite"))]
    return Err(super::missing_feature("an SQLite database", "sqlite", (path, data)));
}

/// Opens a PostgreSQL database; `url` has its environment variables put in.
pub(super) fn open_postgres(url: &str, base: &Path, data: &DataConfig) -> Result<Box<dyn Source>> {
    #[cfg(feature = "postgres")]
    return Ok(Box::new(PostgresSource::open(url, base, data)?));
    #[cfg(not(feature = "postgres"))]
    return Err(super::missing_feature("a PostgreSQL database", "postgres", (url, base, data)));
}
