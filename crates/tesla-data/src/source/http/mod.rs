//! Rows from an HTTP address.

mod client;
mod fetch;
#[cfg(test)]
mod tests;
mod url;

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, Write, copy};
use std::time::Duration;

use serde_json::Value;
use tempfile::{NamedTempFile, TempPath};

use self::client::{Answer, Client};
pub use self::fetch::fetch;
use self::url::{next_link, origin, resolve, with_parameter};
use super::secret::{Env, environment, expand_url, percent_encode};
use super::{Batches, CsvSource, Input, JsonSource, Source, public_name};
use crate::arrow::datatypes::SchemaRef;
use crate::config::{DataConfig, HttpConfig, JsonConfig, Pages};
use crate::error::list;
use crate::{Error, Place, Result};

/// JSON or CSV from an HTTP address, from one answer or from many.
///
/// Everything is fetched once, into a temporary file: inference and scan see the same rows.
pub struct HttpSource {
    rows: Box<dyn Source>,
    _file: TempPath,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Json,
    Csv,
}

impl HttpSource {
    /// Fetches all rows. `${NAME}` in the address is an environment variable.
    ///
    /// # Errors
    /// When the server refuses or keeps failing, or answers with something else than rows. No
    /// message holds a token, a header's value or the address's query.
    pub fn open(url: &str, data: &DataConfig) -> Result<Self> {
        Self::open_with(url, data, &environment, &std::thread::sleep)
    }

    fn open_with(
        url: &str,
        data: &DataConfig,
        env: Env<'_>,
        wait: &dyn Fn(Duration),
    ) -> Result<Self> {
        let name = public_name(url);
        let secrets = std::cell::RefCell::new(Vec::new());
        let url = expand_url(url, &|variable| {
            let value = env(variable)?;
            secrets.borrow_mut().push(value.clone());
            Some(value)
        })?;
        if origin(&url).contains('@') {
            let message = "the URL of `source` names a user: say `headers = { Authorization = \"Basic ${NAME}\" }` in `[data.http]` instead";
            return Err(Error::Config(message.into()));
        }
        let client = Client::new(&name, &url, &data.http, secrets.into_inner(), env, wait)?;
        let temporary = |e| Error::io(std::env::temp_dir(), e);
        let mut fetch = Fetch {
            client,
            config: &data.http,
            header: data.csv.header,
            page: tempfile::tempfile().map_err(temporary)?,
            rows: BufWriter::new(NamedTempFile::new().map_err(temporary)?),
            first_line: None,
        };
        let format = fetch.all(url)?;
        let file = fetch.rows.into_inner().map_err(|e| temporary(e.into_error()))?;
        let file = file.into_temp_path();
        let input = Input::open(&file)?.renamed(&name);
        // The keys before the rows were left out page by page.
        let names = JsonConfig {
            path: None,
            names: data.json.names.clone(),
        };
        let rows: Box<dyn Source> = match format {
            Format::Json => Box::new(JsonSource::open(input, names)?),
            Format::Csv => {
                Box::new(CsvSource::open(input, data.csv.clone())?.with_memory(data.memory_bytes()))
            }
        };
        Ok(Self { rows, _file: file })
    }
}

impl Source for HttpSource {
    fn name(&self) -> &str {
        self.rows.name()
    }

    fn schema(&self) -> Result<SchemaRef> {
        self.rows.schema()
    }

    fn raw_schema(&self) -> Result<SchemaRef> {
        self.rows.raw_schema()
    }

    fn original_schema(&self) -> Result<Option<SchemaRef>> {
        self.rows.original_schema()
    }

    fn is_json(&self) -> bool {
        self.rows.is_json()
    }

    fn scan(&self, schema: &SchemaRef) -> Result<Batches<'_>> {
        self.rows.scan(schema)
    }

    fn places(&self, rows: &[usize]) -> Vec<Place> {
        self.rows.places(rows)
    }

    fn fingerprint(&self) -> Result<String> {
        self.rows.fingerprint()
    }
}

/// The way through all pages.
struct Fetch<'a> {
    client: Client<'a>,
    config: &'a HttpConfig,
    /// Whether a CSV answer starts with the columns' names.
    header: bool,
    /// The answer that is being read.
    page: File,
    /// All rows so far: JSON lines, CSV, or the one answer as it came.
    rows: BufWriter<NamedTempFile>,
    first_line: Option<String>,
}

/// The largest answer in JSON that is taken apart, in bytes: that takes several times its memory.
const MAX_DOCUMENT: u64 = 256 << 20;

/// What one page said.
struct Page {
    format: Format,
    rows: usize,
    cursor: Option<String>,
}

impl Fetch<'_> {
    fn all(&mut self, start: String) -> Result<Format> {
        let mut left = self.config.max_mib.saturating_mul(1 << 20);
        let mut seen = HashSet::new();
        let mut url = match &self.config.pages {
            Some(Pages::Page { parameter }) => with_parameter(&start, parameter, "1"),
            _ => start.clone(),
        };
        let mut format = None;
        for number in 1..=self.config.max_pages {
            let answer = self.client.get(&url, left, &mut self.page)?;
            left -= answer.bytes;
            let page = self.keep(&answer)?;
            if *format.get_or_insert(page.format) != page.format {
                return Err(self.client.error("answers with JSON on one page and CSV on another"));
            }
            let next = match &self.config.pages {
                None => None,
                Some(Pages::Link {}) => {
                    let link = answer.link.as_deref().and_then(next_link);
                    link.map(|link| resolve(&answer.url, link))
                }
                Some(Pages::Page { .. }) if page.rows == 0 => None,
                Some(Pages::Page { parameter }) => {
                    Some(with_parameter(&start, parameter, &(number + 1).to_string()))
                }
                Some(Pages::Cursor { parameter, .. }) => page.cursor.map(|cursor| {
                    match cursor.starts_with("http://") || cursor.starts_with("https://") {
                        true => cursor,
                        false => with_parameter(&start, parameter, &cursor),
                    }
                }),
            };
            seen.insert(url);
            match next {
                None => return Ok(page.format),
                Some(next) if seen.contains(&next) => {
                    let reason =
                        "sends from page to page in a circle: check `pages` in `[data.http]`";
                    return Err(self.client.error(reason));
                }
                Some(next) => url = next,
            }
        }
        Err(self.client.error(&format!(
            "has more than {} pages: say a larger `max_pages` in `[data.http]`",
            self.config.max_pages
        )))
    }

    /// Adds the rows of the page to what is kept.
    fn keep(&mut self, answer: &Answer) -> Result<Page> {
        let format = self.format(answer)?;
        let alone = self.config.pages.is_none() && self.config.path.is_none();
        match format {
            Format::Csv => self.keep_csv(),
            Format::Json if alone && self.starts_like_rows()? => {
                copy(&mut self.page, &mut self.rows).map_err(|e| self.failed(e))?;
                Ok(Page {
                    format,
                    rows: 1,
                    cursor: None,
                })
            }
            Format::Json if answer.bytes > MAX_DOCUMENT => {
                let reason = "answers with more than 256 MiB of JSON in one piece: ask for it in pages, or as JSON lines or CSV";
                Err(self.client.error(reason))
            }
            Format::Json => self.keep_json(),
        }
    }

    fn format(&mut self, answer: &Answer) -> Result<Format> {
        let kind = answer.content_type.as_str();
        if kind.contains("html") {
            return Err(self.client.error("answers with a web page: expected JSON or CSV"));
        }
        if kind.contains("json") {
            return Ok(Format::Json);
        }
        match self.first_byte()? {
            Some(b'{' | b'[') if !kind.contains("csv") => Ok(Format::Json),
            _ => Ok(Format::Csv),
        }
    }

    /// Whether a single answer is JSON rows as `JsonSource` reads them. An object alone on its
    /// lines may be one row or a wrapper around rows: a second object tells.
    fn starts_like_rows(&mut self) -> Result<bool> {
        if self.first_byte()? != Some(b'{') {
            return Ok(true);
        }
        let reader = BufReader::new(&self.page);
        let objects =
            serde_json::Deserializer::from_reader(reader).into_iter::<serde::de::IgnoredAny>();
        let several = objects.take(2).filter(Result::is_ok).count() == 2;
        self.page.rewind().map_err(|e| self.failed(e))?;
        Ok(several)
    }

    fn first_byte(&mut self) -> Result<Option<u8>> {
        let mut start = Vec::new();
        let read = (&self.page).take(256).read_to_end(&mut start);
        read.and_then(|_| self.page.rewind()).map_err(|e| self.failed(e))?;
        Ok(start.into_iter().find(|byte| !byte.is_ascii_whitespace()))
    }

    fn keep_json(&mut self) -> Result<Page> {
        let document: Value = serde_json::from_reader(BufReader::new(&self.page))
            .map_err(|e| self.client.error(&format!("answers with broken JSON: {e}")))?;
        let rows = match &self.config.path {
            Some(path) => match at(&document, path) {
                Some(Value::Array(rows)) => rows.as_slice(),
                // An empty page often has nothing there.
                Some(Value::Null) if self.config.pages.is_some() => &[],
                _ => {
                    let reason = format!(
                        "has no list at `{path}`, which `path` in `[data.http]` names: it has {}",
                        fields(&document)
                    );
                    return Err(self.client.error(&reason));
                }
            },
            None => self.only_list(&document)?,
        };
        for row in rows {
            if !row.is_object() {
                return Err(self
                    .client
                    .error("answers with a list of something else than objects"));
            }
            serde_json::to_writer(&mut self.rows, row).map_err(|e| self.failed(e.into()))?;
            self.rows.write_all(b"\n").map_err(|e| self.failed(e))?;
        }
        let cursor = match &self.config.pages {
            Some(Pages::Cursor { field, .. }) => match at(&document, field) {
                Some(Value::String(cursor)) if !cursor.is_empty() => Some(cursor.clone()),
                Some(Value::Number(cursor)) => Some(cursor.to_string()),
                _ => None,
            },
            _ => None,
        };
        Ok(Page {
            format: Format::Json,
            rows: rows.len(),
            cursor,
        })
    }

    /// The rows where nothing says where they are: the document, or the one list in it. An object
    /// without a list is one row.
    fn only_list<'d>(&self, document: &'d Value) -> Result<&'d [Value]> {
        if let Value::Array(rows) = document {
            return Ok(rows);
        }
        let values = document.as_object().into_iter().flat_map(|object| object.values());
        let mut lists = values.filter_map(Value::as_array);
        match (lists.next(), lists.next()) {
            (Some(rows), None) => Ok(rows),
            (None, _) if self.config.pages.is_none() => Ok(std::slice::from_ref(document)),
            _ => Err(self.client.error(&format!(
                "answers with JSON that is not one list of rows: say where they are with `path` in `[data.http]`; it has {}",
                fields(document)
            ))),
        }
    }

    fn keep_csv(&mut self) -> Result<Page> {
        if self.config.path.is_some() {
            let reason = "answers with CSV, which has no `path`: leave it out of `[data.http]`";
            return Err(self.client.error(reason));
        }
        let mut page = BufReader::new(&self.page);
        let failed = |e| Error::io(std::env::temp_dir(), e);
        if self.header {
            let mut line = Vec::new();
            page.read_until(b'\n', &mut line).map_err(failed)?;
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_start_matches('\u{feff}').trim_end();
            match &self.first_line {
                None => {
                    self.rows.write_all(line.as_bytes()).map_err(failed)?;
                    self.rows.write_all(b"\n").map_err(failed)?;
                    self.first_line = Some(line.into());
                }
                Some(first) if first == line || line.is_empty() => {}
                Some(_) => {
                    let reason = "answers with other columns on another page";
                    return Err(self.client.error(reason));
                }
            }
        }
        let mut last = b'\n';
        let mut rows = 0;
        loop {
            let part = page.fill_buf().map_err(failed)?;
            let Some(end) = part.last() else { break };
            last = *end;
            rows += part.iter().filter(|byte| !byte.is_ascii_whitespace()).count().min(1);
            self.rows.write_all(part).map_err(failed)?;
            let read = part.len();
            page.consume(read);
        }
        if last != b'\n' {
            self.rows.write_all(b"\n").map_err(failed)?;
        }
        Ok(Page {
            format: Format::Csv,
            rows,
            cursor: None,
        })
    }

    fn failed(&self, error: std::io::Error) -> Error {
        Error::io(std::env::temp_dir(), error)
    }
}

/// The value at a dotted path.
fn at<'d>(document: &'d Value, path: &str) -> Option<&'d Value> {
    path.split('.').try_fold(document, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        value => value.get(key),
    })
}

fn fields(document: &Value) -> String {
    match document {
        Value::Object(object) => list(&object.keys().cloned().collect::<Vec<_>>()),
        _ => "no fields".into(),
    }
}
