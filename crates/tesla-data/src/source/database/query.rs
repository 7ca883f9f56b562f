use crate::config::DataConfig;
use crate::error::list;
use crate::{Error, Result};

/// The query that `[data]` asks for. `tables` lists the tables, for when it does not.
pub(super) fn query(
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
pub(super) fn distinct(names: &[String], source: &str) -> Result<()> {
    for (i, name) in names.iter().enumerate() {
        if names[..i].contains(name) {
            let reason = format!("gives two columns named `{name}`: rename one with `AS`");
            return Err(Error::source(source, reason));
        }
    }
    Ok(())
}

/// The error for a column that TESLA does not read.
pub(super) fn unreadable(source: &str, column: &str, holds: &str) -> Error {
    Error::value(
        format!("`{source}`"),
        column,
        format!(
            "holds {holds}: cast it in the query (`CAST({column} AS TEXT)`), or leave it out with `drop = [\"{column}\"]` in `[data]`"
        ),
    )
}
