//! Sources: where rows come from. Each streams Arrow record batches and can name the line of a row.

mod archive;
mod assemble;
mod columns;
mod csv;
mod database;
mod dtype;
mod folder;
mod guard;
#[cfg(feature = "http")]
mod http;
mod idx;
mod image_list;
mod images;
mod input;
mod ipc;
mod json;
mod literal;
mod ndarray;
mod npy;
mod parquet;
mod pickle;
mod secret;
mod seen;
mod several;
mod spool;
mod table;
mod text;
mod texts;
mod unpack;

use std::path::{Path, PathBuf};

use crate::arrow::array::RecordBatch;
use crate::arrow::datatypes::SchemaRef;

pub use self::archive::extract;
pub use self::columns::texts as as_texts;
pub use self::csv::CsvSource;
#[cfg(feature = "http")]
pub use self::http::{HttpSource, fetch};
pub use self::parquet::ParquetSource;
#[cfg(feature = "postgres")]
pub use database::PostgresSource;
#[cfg(feature = "sqlite")]
pub use database::SqliteSource;
pub use idx::IdxSource;
pub use image_list::ImageList;
pub use images::ImageFolder;
pub use input::Input;
pub use ipc::IpcSource;
pub use json::JsonSource;
pub(crate) use json::{rows_to_batch, value_of};
pub use npy::open_numpy;
pub use pickle::open_pickle;
use seen::Seen;
pub use several::Several;
pub use table::TableSource;
pub use texts::TextFolder;

use crate::config::{DataConfig, Format};
use crate::{BadRow, Error, Paths, Place, Result};

/// What is known of a file before it is fetched.
#[derive(Clone, Debug, Default)]
pub struct Expected<'a> {
    /// SHA-256 in hexadecimal.
    pub sha256: Option<&'a str>,
    /// The exact size in bytes.
    pub bytes: Option<u64>,
}

/// Where a file waits until it is whole.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    path.with_file_name(name)
}

/// Rows on their way, a few thousand at a time.
pub type Batches<'a> = Box<dyn Iterator<Item = Result<Scanned>> + Send + 'a>;

/// Some rows of a scan, and the rows among them that could not be read.
#[derive(Clone, Debug)]
pub struct Scanned {
    /// The rows that could be read, in the source's order.
    pub rows: RecordBatch,
    /// The others, in the source's order.
    pub bad: Vec<BadRow>,
}

/// How far reading is. Zero where a source does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Bytes read so far, as stored, in all passes together.
    pub bytes: u64,
    /// Bytes of one pass.
    pub of: u64,
    /// Rows seen so far, in all passes together.
    pub rows: u64,
}

impl std::ops::Add for Reading {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            of: self.of + other.of,
            rows: self.rows + other.rows,
        }
    }
}

impl From<RecordBatch> for Scanned {
    fn from(rows: RecordBatch) -> Self {
        Self {
            rows,
            bad: Vec::new(),
        }
    }
}

/// Rows per batch while streaming.
pub(crate) const BATCH_ROWS: usize = 8192;

/// Bytes per batch, about, where rows may be large: Arrow's texts end at 2 GiB.
pub(crate) const BATCH_BYTES: usize = 32 << 20;

/// The key of an image column's Arrow field metadata. Its value is `encoded` for the bytes of
/// PNG, JPEG and other image files, or `HEIGHTxWIDTHxCHANNELS` for raw 8-bit pixels.
pub const IMAGE_KEY: &str = "tesla.image";

/// The key of a column's Arrow field metadata that says it is free text, whatever it looks like.
pub const TEXT_KEY: &str = "tesla.text";

/// The key of a column's Arrow field metadata that asks a scan for the column as the source has it, so
/// that no value of it makes a row bad. Its value is `json` where each value comes as JSON text.
pub const ORIGINAL_KEY: &str = "tesla.original";

/// A place that rows come from.
pub trait Source: Send + Sync {
    /// The source as the user wrote it, without directories.
    fn name(&self) -> &str;

    /// The columns and their physical types, inferred from all rows.
    ///
    /// # Errors
    /// When the source cannot be read or is empty.
    fn schema(&self) -> Result<SchemaRef>;

    /// All columns without looking at the rows: text where the source itself has no types.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn raw_schema(&self) -> Result<SchemaRef> {
        self.schema()
    }

    /// All columns as the source has them, for a scan that asks for some twice: first as a model needs
    /// them, then as they are, to be written out again. `None` where a scan cannot.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn original_schema(&self) -> Result<Option<SchemaRef>> {
        Ok(None)
    }

    /// Whether the rows are JSON objects, so that an answer may be too.
    fn is_json(&self) -> bool {
        false
    }

    /// The character between the fields of a text in which a quote may stand around several of them.
    fn quoted_delimiter(&self) -> Option<char> {
        None
    }

    /// Streams the columns of `schema`, in its order and with its types. A row that cannot be read
    /// is set apart and the scan goes on.
    ///
    /// # Errors
    /// At once when a column does not exist; on the way when the source itself fails.
    fn scan(&self, schema: &SchemaRef) -> Result<Batches<'_>>;

    /// Where rows stand. They are counted from zero, good and bad, and given in ascending order.
    fn places(&self, rows: &[usize]) -> Vec<Place> {
        rows.iter().map(|row| Place::row(self.name(), *row)).collect()
    }

    /// How far reading is, for whoever watches from another thread.
    fn reading(&self) -> Reading {
        Reading::default()
    }

    /// SHA-256 of the bytes the rows are read from.
    ///
    /// # Errors
    /// When they cannot be read.
    fn fingerprint(&self) -> Result<String>;
}

/// Whether `source` is an address rather than a path, so that no folder goes before it.
pub fn is_url(source: &str) -> bool {
    source.contains("://") || source.starts_with("sqlite:") || source.starts_with("${")
}

/// What may be told of `source` to anybody: a path without its folders, a URL without its user,
/// password and query. Environment variables are not put in.
pub fn public_name(source: &str) -> String {
    let Some((_, rest)) = source.split_once("://") else {
        return input::file_name(Path::new(source.strip_prefix("sqlite:").unwrap_or(source)));
    };
    if source.starts_with("sqlite:") {
        return input::file_name(Path::new(rest));
    }
    let rest = match source.starts_with("postgres") {
        true => rest.rsplit('@').next().unwrap_or_default(),
        false => rest,
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => rest[at + 1..].to_string(),
        None => rest.to_string(),
    }
}

/// Opens `path`, relative to the working folder; see [`open_data`].
///
/// # Errors
/// As [`open_data`].
pub fn open(path: &Path, data: &DataConfig) -> Result<Box<dyn Source>> {
    open_data(&path.to_string_lossy(), Path::new(""), data)
}

/// Opens all of `paths` as one table; see [`open_data`].
///
/// # Errors
/// As [`open_data`], and when nothing is named.
pub fn open_all(paths: &Paths, base: &Path, data: &DataConfig) -> Result<Box<dyn Source>> {
    let sources = paths.iter().map(|path| open_data(path, base, data));
    let mut sources = sources.collect::<Result<Vec<_>>>()?;
    match (sources.len(), sources.pop()) {
        (_, None) => Err(Error::Config("no data: `source` is an empty list".into())),
        (1, Some(only)) => Ok(only),
        (count, Some(last)) => {
            sources.push(last);
            let name = format!("{} and {} more", sources[0].name(), count - 1);
            Ok(Box::new(Several::new(name, sources)))
        }
    }
}

/// Opens `source` as `[data]` says: a file, several by a pattern,
/// a folder, (as `-`) standard input or a database's URL.
/// What a file is, is inferred from its name and its first bytes. Relative paths start at `base`.
///
/// # Errors
/// When it does not exist, is empty, or is nothing TESLA reads.
pub fn open_data(source: &str, base: &Path, data: &DataConfig) -> Result<Box<dyn Source>> {
    if let Some(files) = several::expand(source, base)? {
        // What one file keeps in memory between two looks, all of them share.
        let each = DataConfig {
            memory: data.memory / files.len().max(1),
            ..data.clone()
        };
        let open = |file: &PathBuf| open_data(&file.to_string_lossy(), Path::new(""), &each);
        let mut sources = files.iter().map(open).collect::<Result<Vec<_>>>()?;
        return Ok(match sources.len() {
            1 => sources.remove(0),
            _ => Box::new(Several::new(input::file_name(Path::new(source)), sources)),
        });
    }
    if let Some((file, data)) = part_of_json(source, base, data) {
        return open_data(file, base, &data);
    }
    let url = secret::expand_url(source, &secret::environment)?;
    let rows = open_rows(source, &url, base, data)?;
    let Some(column) = &data.images.column else {
        return match &data.images.root {
            // A list that was recognised starts there already.
            Some(_) if !has_images(&*rows)? => Err(Error::source(
                rows.name(),
                "is a table without images, but `root` in `[data.images]` says where they are: say `column` there too, the column that holds their paths",
            )),
            _ => Ok(rows),
        };
    };
    let beside = Path::new(&url).parent().filter(|_| !url.contains(':'));
    let root = match (&data.images.root, beside) {
        (Some(root), _) => base.join(root),
        (None, Some(folder)) => base.join(folder),
        (None, None) => base.to_path_buf(),
    };
    Ok(Box::new(ImageList::new(rows, column, &root)?))
}

fn has_images(rows: &dyn Source) -> Result<bool> {
    let schema = rows.raw_schema()?;
    Ok(schema
        .fields()
        .iter()
        .any(|field| field.metadata().contains_key(IMAGE_KEY)))
}

/// `data.json#train` as the file and the settings that lead to `train` inside it.
fn part_of_json<'a>(
    source: &'a str,
    base: &Path,
    data: &DataConfig,
) -> Option<(&'a str, DataConfig)> {
    let (file, key) = source.rsplit_once('#').filter(|_| !is_url(source))?;
    if base.join(source).exists() || !base.join(file).is_file() {
        return None;
    }
    let mut data = data.clone();
    data.json.path = Some(key.into());
    Some((file, data))
}

/// `url` is `source` with its environment variables put in.
fn open_rows(source: &str, url: &str, base: &Path, data: &DataConfig) -> Result<Box<dyn Source>> {
    match url.split_once(':') {
        Some(("sqlite", path)) => {
            let path = path.strip_prefix("//").unwrap_or(path);
            database::open_sqlite(&base.join(path), data)
        }
        Some(("postgres" | "postgresql", _)) => database::open_postgres(url, base, data),
        Some(("http" | "https", _)) => open_http(source, data),
        Some((scheme, rest)) if rest.starts_with("//") => Err(Error::Config(format!(
            "`{scheme}://` is nothing TESLA reads: expected a path, or a URL that starts with `sqlite:`, `postgres://`, `http://` or `https://`"
        ))),
        _ if source == "-" => open_path(Path::new(source), base, data),
        _ => open_path(&base.join(url), base, data),
    }
}

fn open_http(url: &str, data: &DataConfig) -> Result<Box<dyn Source>> {
    #[cfg(feature = "http")]
    return Ok(Box::new(HttpSource::open(url, data)?));
    #[cfg(not(feature = "http"))]
    return Err(missing_feature("an HTTP address", "http", (url, data)));
}

/// The error for a source that this build leaves out; `_unused` is what it would have needed.
#[cfg(not(all(feature = "sqlite", feature = "postgres", feature = "http")))]
fn missing_feature<T>(what: &str, feature: &str, _unused: T) -> Error {
    Error::Config(format!(
        "`source` is {what}, which this build leaves out: build with the feature `{feature}`"
    ))
}

fn open_path(path: &Path, base: &Path, data: &DataConfig) -> Result<Box<dyn Source>> {
    if path.is_dir() {
        return Ok(match (ImageFolder::open(path), TextFolder::open(path)) {
            (Err(_), Ok(texts)) => Box::new(texts),
            (images, _) => Box::new(images?),
        });
    }
    if path == Path::new("-") && (data.table.is_some() || data.query.is_some()) {
        return Err(Error::Config("`source = \"-\"` is standard input, but `table` and `query` in `[data]` read a database: name the database as `sqlite:FILE` or `postgres://…`, or leave them out".into()));
    }
    let ends_in = |extensions: &[&str]| folder::has_extension(path, extensions);
    if ends_in(&images::EXTENSIONS) && path.is_file() {
        return Ok(Box::new(ImageFolder::of_file(path)?));
    }
    if ends_in(&["xlsx", "xlsm", "xls", "ods"]) {
        return Err(Error::source(
            input::file_name(path),
            "is a workbook, which is not read: save the sheet as CSV, and name that file",
        ));
    }
    let input = Input::open(path)?;
    let start = input.start(512)?;
    let name = input.inner_name();
    if start.starts_with(b"SQLite format 3\0") {
        return match input.path().filter(|_| input.is_plain()) {
            Some(path) => database::open_sqlite(path, data),
            None => Err(Error::source(
                input.name(),
                "holds an SQLite database, which is read from a file of its own only: unpack or save it first and name that file",
            )),
        };
    }
    if let Some((packing, tool)) = unpack::unknown(&name, &start) {
        return Err(Error::source(
            input.name(),
            format!(
                "is packed by {packing}, which is not undone here: unpack it with `{tool}`, or pack it by gzip, zstd, bzip2, xz or zip"
            ),
        ));
    }
    if let Some(expected) = mismatch(&name, &start).filter(|_| data.format.is_none()) {
        return Err(Error::source(input.name(), expected));
    }
    let source: Box<dyn Source> = match data.format.or_else(|| format_of(&name, &start)) {
        Some(Format::Parquet) => Box::new(ParquetSource::open(input, &data.drop)?),
        Some(Format::Arrow) => Box::new(IpcSource::open(input, &data.drop)?),
        Some(Format::Idx) => Box::new(IdxSource::open(input)?),
        Some(Format::Numpy) => Box::new(open_numpy(input)?),
        Some(Format::Pickle) => Box::new(open_pickle(input)?),
        Some(Format::Json) => Box::new(JsonSource::open(input, data.json.clone())?),
        None if data.images.column.is_none() => match image_list::detect(&input, base, data)? {
            Some(list) => Box::new(list),
            None => {
                Box::new(CsvSource::open(input, data.csv.clone())?.with_memory(data.memory_bytes()))
            }
        },
        Some(Format::Csv) | None => {
            Box::new(CsvSource::open(input, data.csv.clone())?.with_memory(data.memory_bytes()))
        }
    };
    Ok(source)
}

/// What is wrong with a file whose name promises what its first bytes are not.
fn mismatch(name: &str, start: &[u8]) -> Option<String> {
    let (_, kind) = [
        (".parquet", "a Parquet file"),
        (".feather", "a Feather file"),
        (".arrow", "an Arrow file"),
        (".npy", "an array of NumPy"),
        (".npz", "a file of NumPy"),
        (".pkl", "a pickle"),
        (".pickle", "a pickle"),
    ]
    .into_iter()
    .find(|(end, _)| name.ends_with(end))?;
    let fits = !matches!(format_of(name, start), None | Some(Format::Json));
    match (start.is_empty(), fits) {
        (true, _) => Some(format!("is empty: its name promises {kind}; write or copy it again")),
        (false, false) => Some(format!(
            "does not begin as {kind}, which its name promises: say `format` in `[data]` if it is something else, or write it again"
        )),
        (false, true) => None,
    }
}

/// What a file's name and first bytes show; CSV files look like nothing in particular.
fn format_of(name: &str, start: &[u8]) -> Option<Format> {
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    let first = start.iter().find(|b| !b.is_ascii_whitespace());
    if start.starts_with(b"PAR1") {
        Some(Format::Parquet)
    } else if IpcSource::is_ipc(start) {
        Some(Format::Arrow)
    } else if start.starts_with(&[0, 0, 8]) {
        Some(Format::Idx)
    } else if start.starts_with(npy::MAGIC) || (ends(&[".npz"]) && start.starts_with(b"PK")) {
        Some(Format::Numpy)
    } else if matches!(start[..], [0x80, 2..=5, ..]) || pickle::is_named(name) {
        // Since protocol 2 a pickle says so; older ones are known by their name alone.
        Some(Format::Pickle)
    } else if ends(&[".json", ".jsonl", ".ndjson"])
        || (matches!(first, Some(b'{' | b'[')) && !ends(&[".csv", ".tsv", ".tab", ".txt"]))
    {
        Some(Format::Json)
    } else {
        None
    }
}

/// Checks that every column of `wanted` is in `found`.
fn require(wanted: &SchemaRef, found: &SchemaRef, name: &str) -> Result<()> {
    for field in wanted.fields() {
        if found.column_with_name(field.name()).is_none() {
            return Err(Error::MissingColumn {
                column: field.name().clone(),
                place: format!("`{name}`"),
                valid: found.fields().iter().map(|f| f.name().clone()).collect(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_name_has_no_folders_and_no_secrets() {
        for (source, name) in [
            ("/home/me/data.csv", "data.csv"),
            ("-", "-"),
            ("sqlite:dir/shop.db", "shop.db"),
            ("sqlite:///dir/shop.db", "shop.db"),
            ("postgres://me:hunter2@host:5432/shop?password=x", "host:5432/shop"),
            ("postgres://me:p/w?x@host/shop", "host/shop"),
            ("https://host/rows.json?key=hunter2#x", "host/rows.json"),
            ("${DATABASE_URL}", "${DATABASE_URL}"),
        ] {
            assert_eq!(public_name(source), name);
        }
    }

    #[test]
    fn files_that_are_not_what_they_seem() {
        let folder = tempfile::tempdir().unwrap();
        let message = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(name), bytes).unwrap();
            let error = open_data(name, folder.path(), &DataConfig::default()).err().unwrap();
            let error = error.to_string();
            assert!(error.starts_with(&format!("`{name}` ")), "{error}");
            error
        };
        let brotli = message("a.csv.br", b"\x0b\x05\x80a,b\n1,2\n\x03");
        assert!(brotli.contains("packed by brotli") && brotli.contains("`brotli -d`"), "{brotli}");
        assert!(message("a.csv.lz4", b"\x04\x22\x4d\x18x").contains("packed by lz4"));
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert!(message("a.tar", &tar).contains("`tar -xf`"));
        for name in ["a.parquet", "a.npy", "a.npz", "a.pkl", "a.feather"] {
            assert!(message(name, b"").contains("is empty: its name promises"), "{name}");
        }
        assert!(message("b.parquet", b"a,b\n1,2\n").contains("does not begin as a Parquet file"));
        let database = [b"SQLite format 3\0".as_slice(), &[0; 100]].concat();
        let packed = zstd::encode_all(database.as_slice(), 1).unwrap();
        assert!(message("a.db.zst", &packed).contains("from a file of its own only"));
        for name in ["a.csv", "a.json", "a"] {
            assert!(message(name, b"").contains("is empty: expected"), "{name}");
        }
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for name in ["X.npy", "y.npy"] {
            let options = zip::write::SimpleFileOptions::default();
            zip.start_file(name, options).unwrap();
        }
        std::fs::write(folder.path().join("p.npz"), zip.finish().unwrap().into_inner()).unwrap();
        let error = open_data("p.npz/z.npy", folder.path(), &DataConfig::default())
            .err()
            .unwrap();
        assert!(error.to_string().ends_with("it has `X.npy`, `y.npy`"), "{error}");
        let data = DataConfig {
            table: Some("rows".into()),
            ..DataConfig::default()
        };
        let error = open_data("-", Path::new(""), &data).err().unwrap().to_string();
        assert!(error.contains("is standard input") && error.contains("`sqlite:FILE`"), "{error}");
    }

    #[test]
    fn an_unknown_scheme_is_named_and_nothing_else() {
        let data = DataConfig::default();
        let error = open_data("mysql://me@host/db?name=hunter2", Path::new(""), &data);
        let error = error.err().unwrap().to_string();
        assert!(error.starts_with("`mysql://` is nothing TESLA reads"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
