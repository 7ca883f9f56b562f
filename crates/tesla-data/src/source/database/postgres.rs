use std::borrow::Cow;
use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::postgres::config::{Host, SslMode};
use ::postgres::types::{Kind as TypeKind, Type};
use ::postgres::{Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow};

use tokio_postgres_rustls::MakeRustlsConnect;

use super::query::{distinct, query, unreadable};
use super::rows::{Cell, Rows, fingerprint};
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use crate::config::DataConfig;
use crate::source::secret::scrub;
use crate::source::{BATCH_BYTES, BATCH_ROWS, Batches, Scanned, Source, require};
use crate::{Error, Result};

/// A table or a query of a PostgreSQL database, in a transaction that can only read.
///
/// Numbers are `Float64`; text, enumerations, booleans and (in ISO 8601, UTC) dates and times are
/// `Utf8`. A numeric NaN is a missing value.
///
/// `sslmode=require` in the URL encrypts the connection and accepts only a server whose certificate
/// is valid for its name and signed by an authority of the system's store, or of the file that the
/// environment variable `SSL_CERT_FILE` names: what libpq calls `verify-full`. Without it the
/// connection is not encrypted: for a local socket or a trusted network.
pub struct PostgresSource {
    config: Config,
    name: String,
    query: String,
    columns: Vec<(String, Kind)>,
    drop: Vec<String>,
}

/// How a column's values are read.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Number,
    Boolean,
    Text,
    Time,
    /// The name of a type that TESLA does not read.
    Other(String),
}

const CONNECT_SECONDS: u64 = 10;

impl PostgresSource {
    /// Connects and prepares the query. The password is the URL's, or stands in `password_file`
    /// (relative to `base`), or in the environment as `PGPASSWORD`.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses, or the query is wrong. No message holds the
    /// password.
    pub fn open(url: &str, base: &Path, data: &DataConfig) -> Result<Self> {
        // Every encrypted connection is verified here, whatever it is called.
        let url = ["verify-full", "verify-ca"]
            .iter()
            .fold(url.to_string(), |url, mode| {
                url.replace(&format!("sslmode={mode}"), "sslmode=require")
            });
        let mut config: Config = url.parse().map_err(|_| {
            let message = "`source` is not a PostgreSQL URL: expected `postgres://USER:${PASSWORD}@HOST:PORT/NAME`";
            Error::Config(message.into())
        })?;
        if config.get_password().is_none() {
            let file = data.password_file.as_ref().map(|path| base.join(path));
            let password = match &file {
                Some(path) => Some(std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?),
                None => crate::source::secret::environment("PGPASSWORD"),
            };
            if let Some(password) = password {
                config.password(password.trim_end_matches(['\r', '\n']));
            }
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(CONNECT_SECONDS));
        }
        let mut source = Self {
            name: name(&config),
            config,
            query: String::new(),
            columns: Vec::new(),
            drop: data.drop.clone(),
        };
        let mut client = source.connect()?;
        source.query = query(&source.name, data, quote, || source.tables(&mut client))?;
        // The extended protocol refuses several statements in one string.
        let statement = client.prepare(&source.query).map_err(|e| source.error(&e))?;
        let column =
            |column: &::postgres::Column| (column.name().to_string(), kind(column.type_()));
        source.columns = statement.columns().iter().map(column).collect();
        let names: Vec<String> = source.columns.iter().map(|(name, _)| name.clone()).collect();
        distinct(&names, &source.name)?;
        Ok(source)
    }

    /// A connection in a transaction that can only read and that sees one state of the tables.
    fn connect(&self) -> Result<Client> {
        const BEGIN: &str = "SET default_transaction_read_only = on; SET datestyle = 'ISO'; SET timezone = 'UTC'; BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let client = match self.config.get_ssl_mode() {
            SslMode::Require => {
                let (tls, _) = MakeRustlsConnect::with_native_certs().map_err(|_| {
                    let reason = "asks for `sslmode=require`, but this system has no certificates of authorities: install `ca-certificates` or name a file in SSL_CERT_FILE";
                    Error::source(&self.name, reason)
                })?;
                self.config.connect(tls)
            }
            _ => self.config.connect(NoTls),
        };
        let mut client = client.map_err(|e| self.error(&e))?;
        client.batch_execute(BEGIN).map_err(|e| self.error(&e))?;
        Ok(client)
    }

    fn tables(&self, client: &mut Client) -> Result<Vec<String>> {
        const TABLES: &str = "SELECT CASE table_schema WHEN 'public' THEN '' ELSE table_schema || '.' END || table_name FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1";
        let rows = client.query(TABLES, &[]).map_err(|e| self.error(&e))?;
        rows.iter()
            .map(|row| row.try_get(0).map_err(|e| self.error(&e)))
            .collect()
    }

    fn error(&self, error: &::postgres::Error) -> Error {
        let mut message = match error.as_db_error() {
            Some(error) => error.message().to_string(),
            None => error.to_string(),
        };
        if let (None, Some(source)) = (error.as_db_error(), error.source()) {
            message = format!("{message}: {source}");
        }
        let password = self.config.get_password().unwrap_or_default();
        let secrets = [String::from_utf8_lossy(password).into_owned()];
        Error::source(&self.name, format!("cannot be queried: {}", scrub(&message, &secrets)))
    }

    fn field(&self, name: &str, kind: &Kind) -> Result<Field> {
        let kind = match kind {
            Kind::Number => DataType::Float64,
            Kind::Boolean | Kind::Text | Kind::Time => DataType::Utf8,
            Kind::Other(_) if self.drop.iter().any(|d| d == name) => DataType::Utf8,
            Kind::Other(kind) => {
                return Err(unreadable(&self.name, name, &format!("values of type `{kind}`")));
            }
        };
        Ok(Field::new(name, kind, true))
    }
}

impl Source for PostgresSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> Result<SchemaRef> {
        let fields: Vec<Field> = self
            .columns
            .iter()
            .map(|(name, kind)| self.field(name, kind))
            .collect::<Result<_>>()?;
        Ok(Arc::new(Schema::new(fields)))
    }

    fn raw_schema(&self) -> Result<SchemaRef> {
        let fields: Vec<Field> = self
            .columns
            .iter()
            .flat_map(|(name, kind)| self.field(name, kind))
            .collect();
        Ok(Arc::new(Schema::new(fields)))
    }

    fn scan(&self, schema: &SchemaRef) -> Result<Batches<'_>> {
        let all = |(name, _): &(String, Kind)| Field::new(name, DataType::Utf8, true);
        let all: Vec<Field> = self.columns.iter().map(all).collect();
        require(schema, &Arc::new(Schema::new(all)), &self.name)?;
        let mut places = Vec::new();
        for field in schema.fields() {
            let found = self
                .columns
                .iter()
                .enumerate()
                .find(|(_, (name, _))| name == field.name());
            if let Some((at, (name, kind))) = found {
                self.field(name, kind)?;
                places.push((at, kind));
            }
        }
        let mut client = self.connect()?;
        let cursor = format!("DECLARE tesla_rows NO SCROLL CURSOR FOR {}", self.query);
        client.batch_execute(&cursor).map_err(|e| self.error(&e))?;
        let mut rows = Rows::new(&self.name, schema);
        let mut wanted = 256;
        let mut next = move || -> Result<Option<Scanned>> {
            let fetch = format!("FETCH {wanted} FROM tesla_rows");
            let mut bytes = 1;
            let mut fetched = 0;
            for message in client.simple_query(&fetch).map_err(|e| self.error(&e))? {
                let SimpleQueryMessage::Row(row) = message else {
                    continue;
                };
                bytes += (0..row.len())
                    .map(|at| row.get(at).map_or(1, str::len))
                    .sum::<usize>();
                fetched += 1;
                rows.push(|at| cell(&row, places[at].0, places[at].1));
            }
            wanted = (BATCH_BYTES.saturating_mul(fetched) / bytes).clamp(1, BATCH_ROWS);
            rows.take()
        };
        let mut done = false;
        Ok(Box::new(std::iter::from_fn(move || {
            let next = (!done).then(|| next().transpose())?;
            done = !matches!(next, Some(Ok(_)));
            next
        })))
    }

    fn fingerprint(&self) -> Result<String> {
        fingerprint(self)
    }
}

/// Host and database: what tells one source from another without telling who asks.
fn name(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.as_str(),
        _ => "localhost",
    };
    let database = config.get_dbname().or(config.get_user()).unwrap_or("postgres");
    format!("{host}/{database}")
}

/// `schema.table`, each part quoted.
fn quote(name: &str) -> String {
    let part = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    name.split('.').map(part).collect::<Vec<_>>().join(".")
}

fn kind(found: &Type) -> Kind {
    match *found {
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => Kind::Number,
        Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC => Kind::Number,
        Type::BOOL => Kind::Boolean,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR => Kind::Text,
        Type::UUID | Type::UNKNOWN => Kind::Text,
        Type::DATE | Type::TIME | Type::TIMETZ | Type::TIMESTAMP | Type::TIMESTAMPTZ => Kind::Time,
        _ => match found.kind() {
            TypeKind::Enum(_) => Kind::Text,
            TypeKind::Domain(inner) => kind(inner),
            _ if found.name() == "citext" => Kind::Text,
            _ => Kind::Other(found.name().into()),
        },
    }
}

/// The server writes every value as text, which spares a reader for each binary format.
fn cell<'a>(row: &'a SimpleQueryRow, at: usize, kind: &Kind) -> Cell<'a> {
    let Ok(Some(text)) = row.try_get(at) else {
        return Cell::Null;
    };
    match kind {
        Kind::Other(_) => Cell::Null,
        Kind::Boolean => Cell::Boolean(text == "t"),
        Kind::Text => Cell::Text(text.into()),
        Kind::Time => Cell::Text(iso_8601(text)),
        Kind::Number => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(integer), _) => Cell::Integer(integer),
            (_, Ok(real)) => Cell::Real(real),
            _ => Cell::Unreadable("the number is written in an unknown way"),
        },
    }
}

/// `2020-01-02 03:04:05+00` as `2020-01-02T03:04:05Z`.
fn iso_8601(text: &str) -> Cow<'_, str> {
    match text.split_once(' ') {
        Some((date, time)) => match time.strip_suffix("+00") {
            Some(time) => format!("{date}T{time}Z").into(),
            None => format!("{date}T{time}").into(),
        },
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_in_no_message() {
        // Nobody listens on port 1.
        let url = "postgres://someone:hunter2@127.0.0.1:1/shop";
        let data = DataConfig::default();
        let error = PostgresSource::open(url, Path::new(""), &data).err().unwrap();
        let text = format!("{error} {error:?}");
        assert!(text.starts_with("`127.0.0.1/shop` cannot be queried"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        let error = PostgresSource::open("postgres://a:hunter2@h:port/x", Path::new(""), &data);
        let text = format!("{:?}", error.err().unwrap());
        assert!(text.contains("not a PostgreSQL URL") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn times_are_iso_8601() {
        assert_eq!(iso_8601("2020-01-02 03:04:05.5+00"), "2020-01-02T03:04:05.5Z");
        assert_eq!(iso_8601("2020-01-02 03:04:05"), "2020-01-02T03:04:05");
        assert_eq!(iso_8601("2020-01-02"), "2020-01-02");
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(quote("a.b\"c"), "\"a\".\"b\"\"c\"");
    }
}
