use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};

use super::query::{distinct, query, unreadable};
use super::rows::{Cell, Rows, fingerprint};
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use crate::config::DataConfig;
use crate::source::input::file_name;
use crate::source::{Batches, Scanned, Seen, Source, require};
use crate::{Error, Result};

/// A table or a query of an SQLite file, which is opened read-only.
///
/// SQLite types values, not columns. A column is a number (`Float64`) when every value that is not
/// `NULL` is one, and text (`Utf8`) otherwise; all rows are looked at.
pub struct SqliteSource {
    path: PathBuf,
    name: String,
    query: String,
    columns: Vec<String>,
    drop: Vec<String>,
}

const BLOB: &str = "a BLOB, not a number or text";

impl SqliteSource {
    /// Opens the file and prepares the query.
    ///
    /// # Errors
    /// When the file is not an SQLite database or the query is wrong.
    pub fn open(path: &Path, data: &DataConfig) -> Result<Self> {
        let mut source = Self {
            path: path.to_path_buf(),
            name: file_name(path),
            query: String::new(),
            columns: Vec::new(),
            drop: data.drop.clone(),
        };
        let connection = source.connect()?;
        source.query =
            query(&source.name, data, quote, || tables(&connection).map_err(|e| source.error(e)))?;
        let statement = connection.prepare(&source.query).map_err(|e| source.error(e))?;
        source.columns = statement.column_names().map(String::from).collect();
        distinct(&source.columns, &source.name)?;
        Ok(source)
    }

    fn connect(&self) -> Result<Connection> {
        // Without this, a path that is not there would be a message without the reason.
        std::fs::File::open(&self.path).map_err(|e| Error::io(&self.path, e))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(&self.path, flags).map_err(|e| self.error(e))?;
        // The file may come from anywhere: its views must not call functions with side effects.
        connection
            .pragma_update(None, "trusted_schema", false)
            .map_err(|e| self.error(e))?;
        Ok(connection)
    }

    fn error(&self, error: rusqlite::Error) -> Error {
        Error::source(&self.name, format!("cannot be queried: {error}"))
    }

    /// Runs the query in a thread of its own, because a running statement borrows its connection.
    fn run(&self, schema: &SchemaRef, send: &SyncSender<Result<Option<Scanned>>>) -> Result<()> {
        let connection = self.connect()?;
        let mut statement = connection.prepare(&self.query).map_err(|e| self.error(e))?;
        let place = |field: &Arc<Field>| self.columns.iter().position(|c| c == field.name());
        let places: Vec<_> = schema.fields().iter().flat_map(place).collect();
        let dropped: Vec<_> = places
            .iter()
            .map(|at| self.drop.contains(&self.columns[*at]))
            .collect();
        let mut rows = Rows::new(&self.name, schema);
        let mut found = statement.query([]).map_err(|e| self.error(e))?;
        while let Some(row) = found.next().map_err(|e| self.error(e))? {
            rows.push(|at| match cell(row, places[at]) {
                Cell::Unreadable(_) if dropped[at] => Cell::Null,
                cell => cell,
            });
            if rows.is_full() && send.send(rows.take()).is_err() {
                return Ok(()); // Nobody wants the rest.
            }
        }
        if let last @ Ok(Some(_)) = rows.take() {
            let _ = send.send(last);
        }
        Ok(())
    }
}

impl Source for SqliteSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> Result<SchemaRef> {
        let connection = self.connect()?;
        let mut statement = connection.prepare(&self.query).map_err(|e| self.error(e))?;
        let mut seen = vec![Seen::default(); self.columns.len()];
        let mut rows = statement.query([]).map_err(|e| self.error(e))?;
        while let Some(row) = rows.next().map_err(|e| self.error(e))? {
            for (at, seen) in seen.iter_mut().enumerate() {
                match cell(row, at) {
                    Cell::Null => {}
                    Cell::Integer(value) => seen.add(Some(value as f64)),
                    Cell::Real(value) => seen.add(Some(value)),
                    Cell::Boolean(value) => seen.add(Some(f64::from(u8::from(value)))),
                    Cell::Text(_) => seen.add(None),
                    Cell::Unreadable(BLOB) if !self.drop.contains(&self.columns[at]) => {
                        return Err(unreadable(&self.name, &self.columns[at], BLOB));
                    }
                    // The scan sets the row apart.
                    Cell::Unreadable(_) => {}
                }
            }
        }
        let fields: Vec<Field> = std::iter::zip(&self.columns, seen)
            .map(|(name, seen)| Field::new(name, seen.data_type(), true))
            .collect();
        Ok(Arc::new(Schema::new(fields)))
    }

    fn raw_schema(&self) -> Result<SchemaRef> {
        let text = |name: &String| Field::new(name, DataType::Utf8, true);
        let fields: Vec<Field> = self.columns.iter().map(text).collect();
        Ok(Arc::new(Schema::new(fields)))
    }

    fn scan(&self, schema: &SchemaRef) -> Result<Batches<'_>> {
        require(schema, &self.raw_schema()?, &self.name)?;
        let (send, receive) = sync_channel(2);
        let source = Self {
            path: self.path.clone(),
            name: self.name.clone(),
            query: self.query.clone(),
            columns: self.columns.clone(),
            drop: self.drop.clone(),
        };
        let schema = schema.clone();
        std::thread::spawn(move || {
            let end = source.run(&schema, &send).map(|()| None);
            let _ = send.send(end);
        });
        let mut done = false;
        Ok(Box::new(std::iter::from_fn(move || {
            if done {
                return None;
            }
            // A thread that dies without a last word must not look like the end of the table.
            let next = receive.recv().unwrap_or_else(|_| {
                Err(Error::source(&self.name, "stopped in the middle of its rows"))
            });
            done = !matches!(next, Ok(Some(_)));
            next.transpose()
        })))
    }

    fn fingerprint(&self) -> Result<String> {
        fingerprint(self)
    }
}

fn cell<'a>(row: &'a Row<'_>, at: usize) -> Cell<'a> {
    match row.get_ref(at) {
        Ok(ValueRef::Null) => Cell::Null,
        Ok(ValueRef::Integer(value)) => Cell::Integer(value),
        Ok(ValueRef::Real(value)) => Cell::Real(value),
        Ok(ValueRef::Text(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => Cell::Text(text.into()),
            Err(_) => Cell::Unreadable("the text is not UTF-8"),
        },
        Ok(ValueRef::Blob(_)) => Cell::Unreadable(BLOB),
        Err(_) => Cell::Unreadable("the row has fewer values than the query has columns"),
    }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    let mut statement = connection.prepare(TABLES)?;
    statement.query_map([], |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frame;
    use crate::arrow::array::AsArray;
    use crate::arrow::datatypes::Float64Type;
    use crate::source::open_data;

    /// A database in a directory that goes with the value.
    fn database(sql: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        (folder, path)
    }

    const SHOP: &str = "
        CREATE TABLE sales (id INTEGER PRIMARY KEY, price REAL, city TEXT, mixed, photo BLOB);
        INSERT INTO sales VALUES (1, 2.5, 'Oslo', 1, x'00'), (2, NULL, 'Bern', 'two', NULL);";

    fn config(query: Option<&str>, drop: &[&str]) -> DataConfig {
        DataConfig {
            query: query.map(String::from),
            drop: drop.iter().map(|d| d.to_string()).collect(),
            ..DataConfig::default()
        }
    }

    #[test]
    fn reads_a_table_with_inferred_types() {
        let (folder, path) = database(SHOP);
        let data = config(None, &["photo"]);
        for source in ["sqlite:t.db", "sqlite://t.db", "t.db"] {
            let source = open_data(source, folder.path(), &data).unwrap();
            assert_eq!(source.name(), "t.db");
            let frame = Frame::read_all(source).unwrap();
            let rows = frame.to_batch().unwrap();
            assert_eq!(rows.column(1).as_primitive::<Float64Type>().value(0), 2.5);
            assert!(rows.column(1).is_null(1));
            assert_eq!(rows.column(2).as_string::<i32>().value(1), "Bern");
            assert_eq!(rows.column(3).as_string::<i32>().value(0), "1");
            assert_eq!(frame.place(1), "`t.db` row 2");
        }
        let error = SqliteSource::open(&path, &config(None, &[]))
            .unwrap()
            .schema()
            .unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("`t.db`, column `photo`: holds a BLOB"), "{error}");
        assert!(error.contains("CAST(photo AS TEXT)"), "{error}");
    }

    #[test]
    fn a_text_among_numbers_is_a_bad_row_as_in_csv() {
        let (_folder, path) = database(
            "CREATE TABLE n (i REAL); WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM c WHERE i < 299) INSERT INTO n SELECT i FROM c; INSERT INTO n VALUES ('oops');",
        );
        let source = SqliteSource::open(&path, &config(None, &[])).unwrap();
        let frame = Frame::read_all(Box::new(source)).unwrap();
        assert_eq!((frame.len(), frame.bad().len()), (300, 1));
        assert_eq!(frame.bad()[0].value.as_deref(), Some("oops"));
    }

    #[test]
    fn streams_a_query_and_knows_when_a_row_changed() {
        let (_folder, path) = database(
            "CREATE TABLE n (i); WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM c WHERE i < 19999) INSERT INTO n SELECT i FROM c;",
        );
        let data = config(Some("SELECT i, i % 2 AS odd FROM n ORDER BY i;"), &[]);
        let source = SqliteSource::open(&path, &data).unwrap();
        let sizes: Vec<_> = source
            .scan(&source.schema().unwrap())
            .unwrap()
            .map(|batch| batch.unwrap().rows.num_rows())
            .collect();
        assert_eq!(sizes, [8192, 8192, 3616]);
        let before = source.fingerprint().unwrap();
        assert_eq!(before, source.fingerprint().unwrap());
        Connection::open(&path)
            .unwrap()
            .execute("UPDATE n SET i = -1 WHERE i = 77", [])
            .unwrap();
        assert_ne!(before, source.fingerprint().unwrap());
        // A reader that stops early leaves nothing behind.
        drop(source.scan(&source.schema().unwrap()).unwrap().next());
    }

    #[test]
    fn nothing_can_be_written_and_only_one_statement_runs() {
        let (_folder, path) = database(SHOP);
        let open = |query| SqliteSource::open(&path, &config(Some(query), &[]));
        let source = open("DELETE FROM sales RETURNING id").unwrap();
        let error = source.schema().unwrap_err().to_string();
        assert!(error.contains("readonly"), "{error}");
        let error = open("SELECT id FROM sales; DROP TABLE sales")
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("Multiple statements"), "{error}");
    }

    #[test]
    fn a_value_of_another_kind_is_set_apart() {
        let (_folder, path) = database(SHOP);
        let data = config(Some("SELECT id, mixed FROM sales ORDER BY id"), &[]);
        let source = SqliteSource::open(&path, &data).unwrap();
        let wanted = Arc::new(Schema::new(vec![Field::new("mixed", DataType::Float64, true)]));
        let scanned = source.scan(&wanted).unwrap().next().unwrap().unwrap();
        assert_eq!(scanned.rows.num_rows(), 1);
        assert_eq!(scanned.bad[0].number, 1);
        let error = scanned.bad[0].clone().into_error().to_string();
        assert!(error.starts_with("`t.db` row 2, column `mixed`: `two` is not"), "{error}");
    }

    #[test]
    fn says_which_tables_there_are_and_refuses_what_is_no_database() {
        let (folder, path) = database("CREATE TABLE a (x); CREATE TABLE b (x);");
        let error = SqliteSource::open(&path, &config(None, &[]))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("one of `a`, `b`"), "{error}");
        let other = folder.path().join("other.db");
        std::fs::write(&other, "x,y\n1,2\n").unwrap();
        let error = SqliteSource::open(&other, &config(None, &[]))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("not a database"), "{error}");
        let gone = folder.path().join("gone.db");
        let error = SqliteSource::open(&gone, &config(None, &[]))
            .err()
            .unwrap()
            .to_string();
        assert!(error.starts_with("cannot read `"), "{error}");
        assert!(!gone.exists());
    }
}
