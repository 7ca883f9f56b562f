use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::{Batches, ORIGINAL_KEY, Reading, Scanned, Source, is_url};
use crate::arrow::array::Array;
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use crate::{Error, Place, Result, hex_sha256};

/// Several sources of the same columns as one table, one after the other.
///
/// A column that holds numbers in one source and texts in another is text, unless the texts are
/// all missing. Rows of JSON may lack a column of other files, as they may within a file.
pub struct Several {
    name: String,
    sources: Vec<Box<dyn Source>>,
    /// The rows of each source, good and bad, once they are known.
    rows: Vec<OnceLock<usize>>,
}

impl Several {
    /// `name` stands for all of them in messages.
    pub fn new(name: impl Into<String>, sources: Vec<Box<dyn Source>>) -> Self {
        Self {
            name: name.into(),
            rows: sources.iter().map(|_| OnceLock::new()).collect(),
            sources,
        }
    }

    fn merge(&self, schema: impl Fn(&dyn Source) -> Result<SchemaRef>) -> Result<SchemaRef> {
        let mut fields: Vec<(Field, &dyn Source)> = Vec::new();
        let mut at: HashMap<String, usize> = HashMap::new();
        for (i, source) in self.sources.iter().map(AsRef::as_ref).enumerate() {
            let schema = schema(source)?;
            for field in schema.fields() {
                match at.get(field.name()) {
                    Some(at) => {
                        let (known, first) = &mut fields[*at];
                        if let Some(merged) = one_kind(known, *first, field, source)? {
                            (*known, *first) = (merged, source);
                        }
                    }
                    None if i == 0 || self.is_json() => {
                        at.insert(field.name().clone(), fields.len());
                        fields.push((field.as_ref().clone(), source));
                    }
                    None => {
                        let reason = format!(
                            "has a column `{}` that `{}` has not: files of one table need the same columns",
                            field.name(),
                            self.sources[0].name()
                        );
                        return Err(Error::source(source.name(), reason));
                    }
                }
            }
            let absent = fields
                .iter()
                .find(|(f, _)| schema.column_with_name(f.name()).is_none());
            if let Some((field, _)) = absent.filter(|_| !self.is_json()) {
                return Err(Error::MissingColumn {
                    column: field.name().clone(),
                    place: format!("`{}`", source.name()),
                    valid: schema.fields().iter().map(|f| f.name().clone()).collect(),
                });
            }
        }
        let fields: Vec<Field> = fields.into_iter().map(|(field, _)| field).collect();
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The rows of one source, good and bad.
    fn count(&self, at: usize) -> Result<usize> {
        if let Some(rows) = self.rows[at].get() {
            return Ok(*rows);
        }
        let mut rows = 0;
        for scanned in self.sources[at].scan(&Arc::new(Schema::empty()))? {
            let scanned = scanned?;
            rows += scanned.rows.num_rows() + scanned.bad.len();
        }
        Ok(*self.rows[at].get_or_init(|| rows))
    }
}

/// The field for a column that two sources hold, when it is not the one known so far.
fn one_kind(
    known: &Field,
    first: &dyn Source,
    found: &Field,
    source: &dyn Source,
) -> Result<Option<Field>> {
    use DataType::{Float64, Utf8};
    match (known.data_type(), found.data_type()) {
        (a, b) if a == b && known.metadata() == found.metadata() => Ok(None),
        (Float64, Utf8) => Ok(has_values(found, source)?.then(|| found.clone())),
        (Utf8, Float64) => Ok((!has_values(known, first)?).then(|| found.clone())),
        (a, b) => Err(Error::source(
            source.name(),
            format!(
                "has a column `{}` of {b}, which is {a} in `{}`: files of one table need the same columns",
                found.name(),
                first.name()
            ),
        )),
    }
}

fn has_values(column: &Field, source: &dyn Source) -> Result<bool> {
    for scanned in source.scan(&Arc::new(Schema::new(vec![column.clone()])))? {
        let rows = scanned?.rows;
        if rows.column(0).null_count() < rows.num_rows() {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Source for Several {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> Result<SchemaRef> {
        self.merge(|source| source.schema())
    }

    fn raw_schema(&self) -> Result<SchemaRef> {
        self.merge(|source| source.raw_schema())
    }

    fn original_schema(&self) -> Result<Option<SchemaRef>> {
        let mut fields: Vec<Field> = Vec::new();
        for source in &self.sources {
            let Some(schema) = source.original_schema()? else {
                return Ok(None);
            };
            for field in schema.fields() {
                match fields.iter_mut().find(|known| known.name() == field.name()) {
                    None => fields.push(field.as_ref().clone()),
                    Some(known) if *known == **field => {}
                    // What two files write in two ways: texts, or JSON of whatever it is.
                    Some(known) => {
                        let mark = self.is_json().then(|| (ORIGINAL_KEY.into(), "json".into()));
                        *known = Field::new(field.name(), DataType::Utf8, true)
                            .with_metadata(mark.into_iter().collect());
                    }
                }
            }
        }
        Ok(Some(Arc::new(Schema::new(fields))))
    }

    fn is_json(&self) -> bool {
        self.sources.iter().all(|source| source.is_json())
    }

    fn quoted_delimiter(&self) -> Option<char> {
        self.sources.iter().find_map(|source| source.quoted_delimiter())
    }

    fn scan(&self, schema: &SchemaRef) -> Result<Batches<'_>> {
        let mut current = Some(self.sources[0].scan(schema)?);
        let (mut at, mut before, mut rows) = (0, 0, 0);
        let schema = schema.clone();
        Ok(Box::new(std::iter::from_fn(move || {
            loop {
                match current.as_mut()?.next() {
                    Some(Ok(Scanned {
                        rows: batch,
                        mut bad,
                    })) => {
                        rows += batch.num_rows() + bad.len();
                        bad.iter_mut().for_each(|row| row.number += before);
                        return Some(Ok(Scanned { rows: batch, bad }));
                    }
                    Some(Err(error)) => {
                        current = None;
                        return Some(Err(error));
                    }
                    None => {
                        self.rows[at].get_or_init(|| rows);
                        (at, before, rows) = (at + 1, before + rows, 0);
                        match self.sources.get(at).map(|source| source.scan(&schema)) {
                            None => current = None,
                            Some(Ok(next)) => current = Some(next),
                            Some(Err(error)) => {
                                current = None;
                                return Some(Err(error));
                            }
                        }
                    }
                }
            }
        })))
    }

    fn reading(&self) -> Reading {
        let all = self.sources.iter().map(|source| source.reading());
        all.fold(Reading::default(), std::ops::Add::add)
    }

    fn places(&self, rows: &[usize]) -> Vec<Place> {
        let mut places = Vec::with_capacity(rows.len());
        let mut before = 0;
        for at in 0..self.sources.len() {
            // The last source has all that is left.
            let count = match at + 1 == self.sources.len() {
                true => usize::MAX,
                false => match self.count(at) {
                    Ok(count) => count,
                    Err(_) => break,
                },
            };
            let left = &rows[places.len()..];
            let here = left.partition_point(|row| row - before < count);
            let own: Vec<usize> = left[..here].iter().map(|row| row - before).collect();
            if !own.is_empty() {
                places.extend(self.sources[at].places(&own));
            }
            if places.len() == rows.len() {
                return places;
            }
            before += count;
        }
        let rest = rows[places.len()..].iter();
        places.extend(rest.map(|row| Place::row(&self.name, *row)));
        places
    }

    fn fingerprint(&self) -> Result<String> {
        let mut all = String::new();
        for source in &self.sources {
            all += &source.fingerprint()?;
        }
        Ok(hex_sha256(all.as_bytes()))
    }
}

/// The files that a pattern with `*`, `?`, `[…]` or `**` stands for, sorted; `None` when `source`
/// is no pattern. A file that several links lead to counts once.
pub(super) fn expand(source: &str, base: &Path) -> Result<Option<Vec<PathBuf>>> {
    let path = base.join(source);
    if is_url(source) || !source.contains(['*', '?', '[']) || path.exists() {
        return Ok(None);
    }
    let folder = glob::Pattern::escape(&base.to_string_lossy());
    let pattern = Path::new(&folder).join(source);
    let bad = |reason: &str| Error::source(source, reason);
    let found = glob::glob(&pattern.to_string_lossy())
        .map_err(|e| bad(&format!("is no pattern: {}", e.msg)))?;
    let mut files = Vec::new();
    for path in found {
        let path = path.map_err(|e| Error::Io {
            path: e.path().into(),
            source: e.into(),
        })?;
        if path.is_file() {
            files.push(path);
        }
    }
    // The shortest way to a file stays; a link that leads back up makes longer ones.
    files.sort_by_key(|path| path.components().count());
    let mut seen = std::collections::HashSet::new();
    files.retain(|path| path.canonicalize().is_ok_and(|path| seen.insert(path)));
    files.sort();
    match files.is_empty() {
        true => Err(bad("matches no file")),
        false => Ok(Some(files)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frame;
    use crate::config::DataConfig;
    use crate::frame::as_strings;
    use crate::source::open_all;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn open(files: &[(&str, &str)], paths: &[&str]) -> Result<Box<dyn Source>> {
        let folder = folder(files);
        let paths = paths.iter().map(|p| p.to_string()).collect();
        let source = open_all(&paths, folder.path(), &DataConfig::default())?;
        // Sources read on after this function: the folder must outlive the test.
        let _ = folder.keep();
        Ok(source)
    }

    fn message(files: &[(&str, &str)]) -> String {
        let source = open(files, &["*"]).unwrap();
        source.schema().unwrap_err().to_string()
    }

    #[test]
    fn a_pattern_is_one_table_in_the_order_of_names() {
        let files =
            [("b.csv", "y;x\nu;3\n;4;5\nv;5\n"), ("a.csv", "x,y\n1,s\n2,t\n"), ("c.txt", "no")];
        for paths in [&["*.csv"][..], &["a.csv", "b.csv"]] {
            let source = open(&files, paths).unwrap();
            let fingerprint = source.fingerprint().unwrap();
            let frame = Frame::read_all(source).unwrap();
            let rows = frame.to_batch().unwrap();
            let x: Vec<_> = as_strings(rows.column(0))
                .unwrap()
                .iter()
                .flatten()
                .map(String::from)
                .collect();
            assert_eq!(x, ["1", "2", "3", "5"]);
            assert_eq!(frame.bad()[0].number, 3);
            assert_eq!(frame.bad()[0].place.to_string(), "`b.csv` line 3");
            assert_eq!(frame.place(3), "`b.csv` line 4");
            assert_eq!(fingerprint.len(), 64);
        }
    }

    #[test]
    fn columns_must_agree_and_kinds_are_settled_by_rule() {
        let error = message(&[("a.csv", "x,y\n1,2\n"), ("b.csv", "x,z\n1,2\n")]);
        assert!(error.starts_with("`b.csv` has a column `z` that `a.csv` has not"), "{error}");
        let error = message(&[("a.csv", "x,y\n1,2\n"), ("b.csv", "x\n1\n")]);
        assert!(error.starts_with("no column `y` in `b.csv`"), "{error}");
        let kind = |a: &str, b: &str| {
            let source = open(&[("a.csv", a), ("b.csv", b)], &["*"]).unwrap();
            source.schema().unwrap().field(0).data_type().clone()
        };
        assert_eq!(kind("x,y\n1,1\n", "x,y\na,1\n"), DataType::Utf8);
        assert_eq!(kind("x,y\na,1\n", "x,y\n1,1\n"), DataType::Utf8);
        assert_eq!(kind("x,y\n1,1\n", "x,y\n,1\n"), DataType::Float64);
        assert_eq!(kind("x,y\n,1\n", "x,y\n1,1\n"), DataType::Float64);
        let files = [("a.jsonl", "{\"x\": 1}\n{\"x\": 2}\n"), ("b.jsonl", "{\"y\": 1}\n{}\n")];
        let source = open(&files, &["*.jsonl"]).unwrap();
        assert_eq!(source.schema().unwrap().fields().len(), 2);
        assert_eq!(source.places(&[1, 3])[1].to_string(), "`b.jsonl` line 2");
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_in_a_circle_end() {
        let folder = folder(&[("data/a.csv", "x\n1\n"), ("data/sub/b.csv", "x\n2\n")]);
        let link = folder.path().join("data/sub/up");
        std::os::unix::fs::symlink(folder.path().join("data"), link).unwrap();
        let files = expand("data/**/*.csv", folder.path()).unwrap().unwrap();
        let names: Vec<_> = files.iter().map(|f| f.strip_prefix(folder.path()).unwrap()).collect();
        assert_eq!(names, [Path::new("data/a.csv"), Path::new("data/sub/b.csv")]);
        let error = expand("data/*.json", folder.path()).unwrap_err().to_string();
        assert_eq!(error, "`data/*.json` matches no file");
        let odd = folder.path().join("x[1].csv");
        std::fs::write(&odd, "x\n1\n").unwrap();
        assert_eq!(expand("x[1].csv", folder.path()).unwrap(), None);
    }
}
