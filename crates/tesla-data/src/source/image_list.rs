use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::folder::{has_extension, read_file};
use super::images::{EXTENSIONS, check, field};
use super::{Batches, CsvSource, Input, Scanned, Source, require};
use crate::arrow::array::{
    Array, ArrayRef, AsArray, LargeBinaryBuilder, RecordBatch, RecordBatchOptions, UInt32Array,
};
use crate::arrow::compute::take_record_batch;
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use crate::config::{CsvConfig, DataConfig};
use crate::fingerprint::hex;
use crate::{BadRow, Error, Place, Result};

/// A table with a column of paths to images: the column `image` (the files' bytes) comes on top.
///
/// A path is relative to one folder and does not leave it. An image that is missing or damaged
/// sets its row apart.
pub struct ImageList {
    table: Box<dyn Source>,
    column: String,
    root: PathBuf,
    real_root: PathBuf,
}

/// Images are read this many at a time: their bytes weigh more than a table's rows.
const BATCH_IMAGES: usize = 256;
const IMAGE: &str = "image";

impl ImageList {
    /// The images that the column `column` of `table` names, in the folder `root`.
    ///
    /// # Errors
    /// When there is no such column or no such folder.
    pub fn new(table: Box<dyn Source>, column: &str, root: &Path) -> Result<Self> {
        let schema = table.raw_schema()?;
        let wanted = Arc::new(Schema::new(vec![Field::new(column, DataType::Utf8, true)]));
        require(&wanted, &schema, table.name())?;
        if column != IMAGE && schema.column_with_name(IMAGE).is_some() {
            let reason = format!("has a column `image` beside the paths in `{column}`: rename it");
            return Err(Error::source(table.name(), reason));
        }
        let root = here(root);
        Ok(Self {
            real_root: root.canonicalize().map_err(|e| Error::io(root, e))?,
            root: root.to_path_buf(),
            table,
            column: column.into(),
        })
    }

    fn with_image(&self, table: SchemaRef) -> SchemaRef {
        let fields = table.fields().iter().filter(|f| f.name() != IMAGE);
        let mut fields: Vec<Field> = fields
            .map(|field| match *field.name() == self.column {
                // A path is a text even where all of them are digits.
                true => Field::new(field.name(), DataType::Utf8, true),
                false => field.as_ref().clone(),
            })
            .collect();
        fields.push(field());
        Arc::new(Schema::new(fields))
    }

    fn image(&self, path: Option<&str>) -> Result<Vec<u8>, String> {
        let path = self.resolve(path.ok_or("the path is missing")?)?;
        if !path.exists() {
            return Err("there is no such file where the paths start, the table's own folder unless `root` in `[data.images]` (at prediction: `--images`) says another".into());
        }
        let bytes = read_file(&path, &self.real_root)?;
        check(&bytes).map(|()| bytes)
    }

    fn resolve(&self, path: &str) -> Result<PathBuf, String> {
        let relative = Path::new(path);
        let leaves = relative.components().any(|part| part == Component::ParentDir)
            || !self.root.join(relative).starts_with(&self.root);
        match leaves {
            true => Err("the path leaves the folder: say `root` in `[data.images]` (at prediction: `--images`)".into()),
            false => Ok(self.root.join(relative)),
        }
    }

    /// The images of some rows of the table; `numbers` are the rows' numbers in the source.
    fn load(&self, rows: &RecordBatch, numbers: &[usize], wanted: &SchemaRef) -> Result<Scanned> {
        let paths = rows.column_by_name(&self.column).ok_or_else(|| {
            Error::Config(format!("internal error: the column `{}` was not read", self.column))
        })?;
        let paths: Vec<Option<&str>> = paths.as_string::<i32>().iter().collect();
        let loaded: Vec<_> = paths.par_iter().map(|path| self.image(*path)).collect();
        let mut images = LargeBinaryBuilder::new();
        let mut good = Vec::new();
        let mut faults = Vec::new();
        for (at, loaded) in loaded.into_iter().enumerate() {
            match loaded {
                Ok(bytes) => {
                    images.append_value(bytes);
                    good.push(at as u32);
                }
                Err(reason) => faults.push((at, reason)),
            }
        }
        let rows = take_record_batch(rows, &UInt32Array::from(good.clone()))?;
        let images: ArrayRef = Arc::new(images.finish());
        let columns = wanted.fields().iter().map(|field| match field.name().as_str() {
            IMAGE => Some(images.clone()),
            name => rows.column_by_name(name).cloned(),
        });
        let columns = columns.flatten().collect();
        let options = RecordBatchOptions::new().with_row_count(Some(good.len()));
        let bad: Vec<usize> = faults.iter().map(|(at, _)| numbers[*at]).collect();
        let places = self.table.places(&bad);
        let bad = std::iter::zip(places, faults).map(|(place, (at, reason))| BadRow {
            place,
            number: numbers[at],
            column: Some(self.column.clone()),
            value: paths[at].map(|path| path.chars().take(BadRow::SHOWN).collect()),
            reason,
        });
        Ok(Scanned {
            bad: bad.collect(),
            rows: RecordBatch::try_new_with_options(wanted.clone(), columns, &options)?,
        })
    }
}

impl Source for ImageList {
    fn name(&self) -> &str {
        self.table.name()
    }

    fn schema(&self) -> Result<SchemaRef> {
        Ok(self.with_image(self.table.schema()?))
    }

    fn raw_schema(&self) -> Result<SchemaRef> {
        Ok(self.with_image(self.table.raw_schema()?))
    }

    fn is_json(&self) -> bool {
        self.table.is_json()
    }

    fn scan(&self, schema: &SchemaRef) -> Result<Batches<'_>> {
        let Some((at, _)) = schema.column_with_name(IMAGE) else {
            return self.table.scan(schema);
        };
        let mut fields = schema.fields().to_vec();
        fields.remove(at);
        if !fields.iter().any(|f| *f.name() == self.column) {
            fields.push(Arc::new(Field::new(&self.column, DataType::Utf8, true)));
        }
        let tables = self.table.scan(&Arc::new(Schema::new(fields)))?;
        let wanted = schema.clone();
        let mut seen = 0;
        Ok(Box::new(tables.flat_map(move |scanned| {
            let Scanned { rows, bad } = match scanned {
                Ok(scanned) => scanned,
                Err(e) => return vec![Err(e)].into_iter().boxed(),
            };
            let skipped: HashSet<usize> = bad.iter().map(|bad| bad.number).collect();
            let all = rows.num_rows() + bad.len();
            let numbers: Vec<usize> = (seen..seen + all).filter(|n| !skipped.contains(n)).collect();
            seen += all;
            let wanted = wanted.clone();
            let mut bad = Some(bad);
            let starts = (0..rows.num_rows().max(1)).step_by(BATCH_IMAGES);
            let parts = starts.map(move |start| {
                let length = BATCH_IMAGES.min(rows.num_rows() - start);
                let part = rows.slice(start, length);
                let mut part = self.load(&part, &numbers[start..start + length], &wanted)?;
                part.bad.extend(bad.take().into_iter().flatten());
                part.bad.sort_by_key(|bad| bad.number);
                Ok(part)
            });
            parts.boxed()
        })))
    }

    fn places(&self, rows: &[usize]) -> Vec<Place> {
        self.table.places(rows)
    }

    /// Of the table, and of every image that can be read.
    fn fingerprint(&self) -> Result<String> {
        let mut all = Sha256::new();
        all.update(self.table.fingerprint()?);
        let path = Arc::new(Schema::new(vec![Field::new(&self.column, DataType::Utf8, true)]));
        for scanned in self.table.scan(&path)? {
            for path in scanned?.rows.column(0).as_string::<i32>().iter().flatten() {
                let image = self.resolve(path).and_then(|path| read_file(&path, &self.real_root));
                all.update(Sha256::digest(image.unwrap_or_default()));
            }
        }
        Ok(hex(&all.finalize()))
    }
}

/// An iterator in a box, so that two kinds of it have one type.
trait Boxed<'a>: Iterator + Send + Sized + 'a {
    fn boxed(self) -> Box<dyn Iterator<Item = Self::Item> + Send + 'a> {
        Box::new(self)
    }
}

impl<'a, T: Iterator + Send + 'a> Boxed<'a> for T {}

/// The working folder has two names, and only one of them can be opened.
fn here(folder: &Path) -> &Path {
    match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    }
}

/// Opens a text file as a list of images and labels, if it is one: a table of one or two columns
/// whose first row names an image that is there, or lines of a path, a blank and a label.
/// `[data.images] root` is relative to `base`; without it, paths start beside the list.
pub(super) fn detect(input: &Input, base: &Path, data: &DataConfig) -> Result<Option<ImageList>> {
    let said = data.images.root.as_ref().map(|root| base.join(root));
    let beside = input.path().and_then(Path::parent);
    let Some(root) = said.as_deref().or(beside) else {
        return Ok(None);
    };
    let root = here(root);
    let is_there = |path: &str| {
        let path = Path::new(path.trim());
        has_extension(path, &EXTENSIONS) && root.join(path).is_file()
    };
    let start = input.start(4096)?;
    let first = String::from_utf8_lossy(&start);
    let first = first.lines().next().unwrap_or_default();
    if let Some((path, _)) = first.trim_end().rsplit_once([' ', '\t'])
        && is_there(path)
    {
        let table = lines(input)?;
        return Ok(Some(ImageList::new(Box::new(table), "path", root)?));
    }
    let mut csv = data.csv.clone();
    let usual = [',', ';', '\t'].into_iter().find(|mark| first.contains(*mark));
    let delimiter = csv.delimiter.or(usual).unwrap_or(',');
    if csv.header && first.split(delimiter).any(is_there) {
        // The first line is a row already.
        csv.header = false;
        csv.delimiter = Some(delimiter);
        csv.names = match first.split(delimiter).map(is_there).collect::<Vec<_>>()[..] {
            [true] => vec!["path".into()],
            [true, false] => vec!["path".into(), "label".into()],
            [false, true] => vec!["label".into(), "path".into()],
            _ => return Ok(None),
        };
    }
    let table = CsvSource::open(input.clone(), csv)?;
    let schema = table.raw_schema()?;
    if schema.fields().len() > 2 {
        return Ok(None);
    }
    let Some(scanned) = table.scan(&schema)?.next().transpose()? else {
        return Ok(None);
    };
    let names_image = |column: &ArrayRef| {
        let texts = column.as_string::<i32>();
        !texts.is_empty() && texts.is_valid(0) && is_there(texts.value(0))
    };
    let Some(at) = scanned.rows.columns().iter().position(names_image) else {
        return Ok(None);
    };
    let column = schema.field(at).name().clone();
    Ok(Some(ImageList::new(Box::new(table), &column, root)?))
}

/// Lines of a path, a blank and a label as a table; a path may hold blanks, a label may not.
fn lines(input: &Input) -> Result<CsvSource> {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut input.reader()?, &mut text).map_err(|e| input.error(e))?;
    let quoted = |field: &str| format!("\"{}\"", field.trim().replace('"', "\"\""));
    let row = |line: &str| match line.trim_end().rsplit_once([' ', '\t']) {
        _ if line.trim().is_empty() => "\n".into(),
        Some((path, label)) => format!("{},{}\n", quoted(path), quoted(label)),
        None => format!("{}\n", quoted(line)),
    };
    let csv: String = text.lines().map(row).collect();
    let config = CsvConfig {
        header: false,
        names: vec!["path".into(), "label".into()],
        ..CsvConfig::default()
    };
    CsvSource::open(Input::from_bytes(input.name(), csv.into_bytes()), config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::images::tests::png;
    use crate::source::open_data;

    /// Opens `list` beside two good images and a broken one: (path, label) of the good rows, and
    /// the bad rows as messages.
    fn read(file: &str, list: &str, data: &DataConfig) -> (Vec<String>, Vec<String>) {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("img")).unwrap();
        std::fs::write(root.path().join("img/a b.png"), png()).unwrap();
        std::fs::write(root.path().join("img/c.png"), png()).unwrap();
        std::fs::write(root.path().join("img/broken.png"), &png()[..30]).unwrap();
        std::fs::write(root.path().join(file), list).unwrap();
        let source = open_data(file, root.path(), data).unwrap();
        let schema = source.schema().unwrap();
        assert!(schema.column_with_name("image").is_some(), "{schema:?}");
        assert_eq!(source.fingerprint().unwrap(), source.fingerprint().unwrap());
        let (mut labels, mut bad) = (Vec::new(), Vec::new());
        for scanned in source.scan(&schema).unwrap() {
            let scanned = scanned.unwrap();
            let column = scanned.rows.column_by_name("label").unwrap();
            labels.extend(column.as_string::<i32>().iter().map(|l| l.unwrap().to_string()));
            bad.extend(scanned.bad.into_iter().map(|bad| bad.into_error().to_string()));
        }
        (labels, bad)
    }

    #[test]
    fn lists_are_recognised_with_and_without_a_header() {
        let data = DataConfig::default();
        for (file, list) in [
            ("list.csv", "path,label\nimg/a b.png,x\nimg/c.png,y\n"),
            ("list.csv", "img/a b.png,x\nimg/c.png,y\n"),
            ("list.txt", "img/a b.png x\nimg/c.png y\n"),
        ] {
            assert_eq!(read(file, list, &data).0, ["x", "y"], "{list}");
        }
    }

    #[test]
    fn what_is_missing_damaged_or_outside_is_set_apart() {
        let list = "file,label,n\nimg/c.png,x,1\nimg/gone.png,x,2\nimg/broken.png,x\n../list.csv,x,3\n/etc/passwd,x,4\nimg/broken.png,x,5\n,x,6\nimg/a b.png,y,7\n";
        let mut data = DataConfig::default();
        data.images.column = Some("file".into());
        let (labels, bad) = read("list.csv", list, &data);
        assert_eq!(labels, ["x", "y"]);
        let expected = [
            "`list.csv` line 3, column `file`: there is no such file where the paths start",
            "`list.csv` line 4: 2 fields",
            "`list.csv` line 5, column `file`: the path leaves the folder",
            "`list.csv` line 6, column `file`: the path leaves the folder",
            "`list.csv` line 7, column `file`: the image cannot be decoded",
            "`list.csv` line 8, column `file`: the path is missing",
        ];
        assert_eq!(bad.len(), expected.len(), "{bad:?}");
        for (bad, expected) in std::iter::zip(bad, expected) {
            assert!(bad.starts_with(expected), "{bad}");
        }
    }

    #[test]
    fn paths_start_where_root_says() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("far/img")).unwrap();
        std::fs::create_dir(folder.path().join("lists")).unwrap();
        std::fs::write(folder.path().join("far/img/a.png"), png()).unwrap();
        let list = "path,label\nimg/a.png,x\n";
        std::fs::write(folder.path().join("lists/two.csv"), list).unwrap();
        std::fs::write(folder.path().join("lists/three.csv"), "path,label,n\nimg/a.png,x,1\n")
            .unwrap();
        let mut data = DataConfig::default();
        data.images.root = Some("far".into());
        let images = |file: &str, data: &DataConfig| -> Result<usize> {
            let source = open_data(file, folder.path(), data)?;
            let schema = source.schema()?;
            assert!(schema.column_with_name(IMAGE).is_some(), "{file}");
            let rows = source.scan(&schema)?.map(|s| s.unwrap().rows.num_rows());
            Ok(rows.sum())
        };
        assert_eq!(images("lists/two.csv", &data).unwrap(), 1);
        let error = images("lists/three.csv", &data).unwrap_err().to_string();
        assert!(error.contains("say `column` there too"), "{error}");
        data.images.column = Some("path".into());
        assert_eq!(images("lists/three.csv", &data).unwrap(), 1);
        data.images.root = None;
        assert_eq!(images("lists/three.csv", &data).unwrap(), 0);

        // A table in the working folder, as `tesla predict model.tesla new.csv` names it.
        let table = Input::from_bytes("t.csv", b"path\n/etc/passwd\nCargo.toml\n".as_slice());
        let table = CsvSource::open(table, CsvConfig::default()).unwrap();
        let list = ImageList::new(Box::new(table), "path", Path::new("")).unwrap();
        let scanned = list.scan(&list.schema().unwrap()).unwrap().next().unwrap().unwrap();
        assert!(scanned.bad[0].reason.starts_with("the path leaves the folder"));
        assert!(scanned.bad[1].reason.starts_with("the image cannot be decoded"));
    }

    #[test]
    fn a_table_that_is_no_list_stays_a_table() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("t.csv"), "a,b\n1,x.png\n").unwrap();
        let source = open_data("t.csv", root.path(), &DataConfig::default()).unwrap();
        assert!(source.schema().unwrap().column_with_name("image").is_none());
    }
}
