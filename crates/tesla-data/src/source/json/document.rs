use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{LONGEST, MAX_COLUMNS};
use crate::error::list;
use crate::{Error, Result};

/// Bytes of a document that may be held in memory: columns stand one after the other, so the first
/// row is complete only at the end. A list of rows streams whatever its length.
const HELD: u64 = 256 << 20;
const HELD_REASON: &str = "it is one object of more than 256 MiB, which cannot be streamed: write one object a line, or say `path` in `[data.json]` if a key holds the rows";
const LONG_REASON: &str =
    "a row or a text in it is longer than 16 MiB: expected a list of smaller objects";
/// Rows that are handed over at a time.
const ROWS: usize = 1024;

/// The rows of one JSON document, at `path` inside it.
///
/// A parser pushes and a scan pulls, so the parser has a thread of its own, which ends when this
/// value is dropped.
pub(super) struct Document {
    chunks: Receiver<Result<Vec<Value>>>,
    rows: std::vec::IntoIter<Value>,
}

impl Document {
    pub(super) fn read(reader: Box<dyn BufRead + Send>, name: String, path: Vec<String>) -> Self {
        let (send, chunks) = sync_channel(2);
        std::thread::spawn(move || parse(reader, &name, &path, send));
        Self {
            chunks,
            rows: Vec::new().into_iter(),
        }
    }
}

impl Iterator for Document {
    type Item = Result<Value>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(Ok(row));
            }
            match self.chunks.recv().ok()? {
                Ok(rows) => self.rows = rows.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn parse(
    reader: Box<dyn BufRead + Send>,
    name: &str,
    path: &[String],
    send: SyncSender<Result<Vec<Value>>>,
) {
    let limit = Rc::new(Cell::new((LONGEST, LONG_REASON)));
    let limited = Limited {
        inner: reader,
        limit: limit.clone(),
    };
    let mut sink = Sink {
        send,
        rows: Vec::new(),
        problem: None,
        limit,
    };
    let mut json = serde_json::Deserializer::from_reader(io::BufReader::new(limited));
    let at = At {
        path,
        sink: &mut sink,
    };
    let read = at.deserialize(&mut json);
    sink.limit.set(ENDLESS);
    let failed = read.is_err();
    let end = match (read.and_then(|()| json.end()), sink.problem.take()) {
        (Err(_), Some(reason)) if failed => Err(Error::source(name, reason)),
        (Err(e), _) if e.is_io() => Err(Error::io(name, e.into())),
        (Err(e), _) => Err(Error::source(name, format!("is not JSON: {e}"))),
        (Ok(()), Some(reason)) => Err(Error::source(name, reason)),
        (Ok(()), None) => Ok(std::mem::take(&mut sink.rows)),
    };
    // Nobody may be listening any more, which is no failure.
    let _ = sink.send.send(end);
}

struct Sink {
    send: SyncSender<Result<Vec<Value>>>,
    rows: Vec<Value>,
    /// What is wrong with a document that is JSON.
    problem: Option<String>,
    limit: Rc<Cell<Limit>>,
}

impl Sink {
    fn push<E: serde::de::Error>(&mut self, row: Value) -> Result<(), E> {
        self.rows.push(row);
        if self.rows.len() == ROWS {
            let rows = std::mem::take(&mut self.rows);
            self.send.send(Ok(rows)).map_err(|_| E::custom("no reader"))?;
        }
        Ok(())
    }

    fn fail<T, E: serde::de::Error>(&mut self, problem: String) -> Result<T, E> {
        self.problem = Some(problem);
        Err(E::custom("not rows"))
    }
}

/// A value of the document, with the keys that still lead from it to the rows.
struct At<'a> {
    path: &'a [String],
    sink: &'a mut Sink,
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        if let Some(key) = self.path.first() {
            let problem =
                format!("holds a list where `path` in `[data.json]` looks for the key `{key}`");
            return self.sink.fail(problem);
        }
        loop {
            self.sink.limit.set((LONGEST, LONG_REASON));
            match rows.next_element()? {
                Some(row) => self.sink.push(row)?,
                None => return Ok(()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((key, path)) = self.path.split_first() else {
            self.sink.limit.set((HELD, HELD_REASON));
            let mut whole = Map::new();
            while let Some((key, value)) = map.next_entry()? {
                whole.insert(key, value);
            }
            return object(whole, self.sink);
        };
        let mut keys: Vec<String> = Vec::new();
        let mut found = false;
        while let Some(next) = map.next_key::<String>()? {
            self.sink.limit.set((LONGEST, LONG_REASON));
            if next == *key && !found {
                found = true;
                map.next_value_seed(At {
                    path,
                    sink: &mut *self.sink,
                })?;
            } else {
                // What is passed over takes no memory.
                self.sink.limit.set(ENDLESS);
                map.next_value::<IgnoredAny>()?;
                if keys.len() < MAX_COLUMNS {
                    keys.push(next);
                }
            }
            self.sink.limit.set((LONGEST, LONG_REASON));
        }
        match found {
            true => Ok(()),
            false => {
                let problem = format!(
                    "has no key `{key}`, which `path` in `[data.json]` names: it has {}",
                    list(&keys)
                );
                self.sink.fail(problem)
            }
        }
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.scalar()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.scalar()
    }
}

impl At<'_> {
    /// A scalar may still be followed by what is no JSON, so it is only noted.
    fn scalar<E>(self) -> Result<(), E> {
        self.sink.problem = Some(
            "is JSON, but holds no rows: expected a list of objects, one object a line, or an object with a list per column"
                .into(),
        );
        Ok(())
    }
}

/// An object that is the whole document: columns, or one row.
fn object<E: serde::de::Error>(whole: Map<String, Value>, sink: &mut Sink) -> Result<(), E> {
    if let Some(columns) = columns(&whole) {
        let rows = columns[0].len();
        if let Some(at) = columns.iter().position(|c| c.len() != rows) {
            let names: Vec<&String> = whole.keys().collect();
            let problem = format!(
                "holds columns of different lengths: `{}` has {rows} values, `{}` has {}",
                names[0],
                names[at],
                columns[at].len()
            );
            return sink.fail(problem);
        }
        for row in 0..rows {
            let cells = std::iter::zip(whole.keys(), &columns);
            let row = cells.map(|(name, column)| (name.clone(), column[row].clone()));
            sink.push(Value::Object(row.collect()))?;
        }
        return Ok(());
    }
    let mut lists = Vec::new();
    find_lists(&whole, "", &mut lists);
    match lists.is_empty() {
        true => sink.push(Value::Object(whole)),
        false => {
            let problem = format!(
                "is an object, not rows: say `path` in `[data.json]`, which leads to one of {}",
                list(&lists)
            );
            sink.fail(problem)
        }
    }
}

/// The columns of an object whose every value is a list of plain values, or an object of them by
/// row number, as pandas writes by default.
fn columns(whole: &Map<String, Value>) -> Option<Vec<Vec<&Value>>> {
    let columns: Vec<_> = whole.values().map(column).collect::<Option<_>>()?;
    (!columns.is_empty()).then_some(columns)
}

fn column(value: &Value) -> Option<Vec<&Value>> {
    match value {
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::Object(values) => std::iter::zip(0.., values)
            .map(|(i, (key, value))| plain(value).filter(|_| *key == i.to_string()))
            .collect(),
        _ => None,
    }
}

fn plain(value: &Value) -> Option<&Value> {
    (!value.is_array() && !value.is_object()).then_some(value)
}

/// The keys that lead to lists, as `path` names them.
fn find_lists(object: &Map<String, Value>, before: &str, found: &mut Vec<String>) {
    for (key, value) in object {
        match value {
            Value::Array(_) => found.push(format!("{before}{key}")),
            Value::Object(inner) => find_lists(inner, &format!("{before}{key}."), found),
            _ => {}
        }
    }
}

/// Bytes that may still be read for what is held in memory at a time, and why no more.
type Limit = (u64, &'static str);
const ENDLESS: Limit = (u64::MAX, "");

/// Ends the reading of what would have to be held in memory and is too long.
struct Limited {
    inner: Box<dyn BufRead + Send>,
    limit: Rc<Cell<Limit>>,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let (left, reason) = self.limit.get();
        let left = left.checked_sub(n as u64).ok_or_else(|| io::Error::other(reason))?;
        self.limit.set((left, reason));
        Ok(n)
    }
}
