//! CSV files: text, one record a line, fields between delimiters.

mod blocks;
mod dialect;
mod parse;
mod record;

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use self::blocks::{Blocks, Mapped};
use self::dialect::Dialect;
use self::parse::Plan;
use self::record::Fields;
use super::{Batches, Input, Reading, Scanned, Seen, Source, text};
use crate::arrow::array::{ArrayRef, Float64Array, RecordBatch, RecordBatchOptions, StringArray};
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use crate::config::CsvConfig;
use crate::error::list;
use crate::frame::downcast;
use crate::table::MEMORY;
use crate::{Error, Place, Result};

/// A CSV file, or anything separated by one character or by runs of blanks.
///
/// All rows are looked at before a column's type is settled, so a late exception cannot surprise.
/// A column is a number (`Float64`) when every value that is not missing is one, or nearly every: at
/// least 99 % of them and these at least 100, or, in a short table, all but one. The others are then
/// bad rows, named with their line. Any other column is text (`Utf8`).
///
/// That first look reads the columns as the first rows suggest, and keeps the rows as far as memory
/// allows: where the suggestion holds, which is nearly always, the file is read only once.
pub struct CsvSource {
    input: Input,
    config: CsvConfig,
    dialect: Dialect,
    names: Vec<String>,
    memory: usize,
    /// The columns, once all rows were looked at.
    schema: OnceLock<SchemaRef>,
    /// The rows that were read on that occasion, for the scan that comes first.
    kept: Mutex<Option<Vec<Scanned>>>,
}

impl CsvSource {
    /// Infers what the configuration does not say of the dialect, and reads the header.
    ///
    /// # Errors
    /// When the configuration contradicts itself; when the file is empty or is not text; when the
    /// header names a column twice or is not UTF-8.
    pub fn open(input: Input, config: CsvConfig) -> Result<Self> {
        const START: u64 = 1 << 16;
        let mut start = Vec::new();
        let reader = text_from(&input, &config)?;
        reader
            .take(START)
            .read_to_end(&mut start)
            .map_err(|e| input.error(e))?;
        if start.contains(&0) {
            let reason = "is not text, it holds zero bytes: say `encoding = \"utf-16le\"` in `[data.csv]` if it is UTF-16";
            return Err(Error::source(input.name(), reason));
        }
        let is_whole = (start.len() as u64) < START;
        let name = input.inner_name();
        let is_tsv = name.ends_with(".tsv") || name.ends_with(".tab");
        let dialect = Dialect::new(&config, &start, is_whole, is_tsv)?;
        let mut source = Self {
            input,
            config,
            dialect,
            names: Vec::new(),
            memory: MEMORY,
            schema: OnceLock::new(),
            kept: Mutex::new(None),
        };
        if let Some(line) = source.header_after_all()? {
            source.config.header = true;
            source.config.names.clear();
            source.config.skip_rows = line;
        }
        source.names = source.read_names()?;
        Ok(source)
    }

    /// The lines before a header that new rows have though the rows of training had none, or one that was
    /// skipped: a line, the first of all or the first that is not skipped, with the names of all columns that
    /// the model reads.
    fn header_after_all(&self) -> Result<Option<usize>> {
        let Some(new) = self.config.new_rows.as_ref().filter(|new| !new.reads.is_empty()) else {
            return Ok(None);
        };
        let mut places = vec![0, self.config.skip_rows];
        places.dedup();
        for skip_rows in places {
            let config = CsvConfig {
                skip_rows,
                ..self.config.clone()
            };
            let reader = text_from(&self.input, &config)?;
            let mut blocks = Blocks::new(reader, self.dialect.syntax, self.name().into(), 1);
            // What is skipped need not be readable.
            let Ok(Some(block)) = blocks.read() else {
                continue;
            };
            let first = &block.text[block.records[0].start..block.records[0].end];
            let mut fields = Fields::default();
            self.dialect.split(first, 0, &mut fields);
            let have: Vec<&[u8]> = fields.iter(first).collect();
            if new.reads.iter().all(|name| have.contains(&name.as_bytes())) {
                return Ok(Some(skip_rows));
            }
        }
        Ok(None)
    }

    /// The most bytes of rows that are kept between looking at them and scanning them.
    pub(crate) fn with_memory(self, memory: usize) -> Self {
        Self { memory, ..self }
    }

    fn read_names(&self) -> Result<Vec<String>> {
        let Some(block) = self.blocks()?.read()? else {
            let expected = match self.config.header {
                true => "is empty: expected a header line and at least one row",
                false => "is empty: expected at least one row",
            };
            return Err(Error::source(self.name(), expected));
        };
        let first = &block.text[block.records[0].start..block.records[0].end];
        let mut fields = Fields::default();
        self.dialect.split(first, 0, &mut fields);
        let count = fields.len();
        let names: Vec<String> = match (self.config.header, self.config.names.as_slice()) {
            (true, _) => std::iter::zip(1.., fields.iter(first))
                .map(|(i, name)| match std::str::from_utf8(name) {
                    // Data frames are often written with an index that has no name.
                    Ok("") => Ok(format!("c{i}")),
                    Ok(name) => Ok(name.to_string()),
                    Err(_) => {
                        let reason =
                            format!("has a header that cannot be read: {}", text::NOT_UTF8);
                        Err(Error::source(self.name(), reason))
                    }
                })
                .collect::<Result<_>>()?,
            (false, []) => (1..=count).map(|i| format!("c{i}")).collect(),
            (false, given) if given.len() != count => {
                let new = self.config.new_rows.as_ref();
                let reason = match new.and_then(|new| new.may_lack.as_ref()) {
                    Some(target) if given.len() == count + 1 => {
                        let rest = given.iter().filter(|name| *name != target);
                        return Ok(rest.cloned().collect());
                    }
                    Some(target) => format!(
                        "has {count} fields in its first line: expected a header, or the columns that the model was trained with, {}, or all of them but `{target}`",
                        list(given)
                    ),
                    None => format!(
                        "has {count} fields in its first line, but `names` lists {}",
                        given.len()
                    ),
                };
                return Err(Error::source(self.name(), reason));
            }
            (false, given) => given.to_vec(),
        };
        let mut sorted: Vec<&String> = names.iter().collect();
        sorted.sort();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            let cure = match self.dialect.number(twice[0].as_bytes()) {
                // A name that is a number is none.
                Some(_) => "say `header = false` in `[data.csv]` where the first line is a row",
                None => {
                    "say `header = false`, `skip_rows = 1` and `names` in `[data.csv]` to name the columns yourself"
                }
            };
            let reason = format!("names the column `{}` twice: {cure}", twice[0]);
            return Err(Error::source(self.name(), reason));
        }
        Ok(names)
    }

    /// The file from its first record, the header, on.
    fn blocks(&self) -> Result<Blocks> {
        let reader = text_from(&self.input, &self.config)?;
        let line = self.config.skip_rows as u64 + 1;
        Ok(Blocks::new(reader, self.dialect.syntax, self.name().into(), line))
    }

    fn schema_of(&self, kind: impl Fn(usize) -> DataType) -> SchemaRef {
        let fields = self.names.iter().enumerate();
        let fields = fields.map(|(i, name)| Field::new(name, kind(i), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn plan(&self, schema: &SchemaRef) -> Result<Plan<'_>> {
        let fields = schema.fields().iter();
        let columns = fields.map(|field| {
            let at = self.names.iter().position(|name| name == field.name());
            at.ok_or_else(|| Error::MissingColumn {
                column: field.name().clone(),
                place: format!("`{}`", self.name()),
                valid: self.names.clone(),
            })
        });
        Ok(Plan {
            name: self.name(),
            names: &self.names,
            dialect: &self.dialect,
            schema: schema.clone(),
            columns: columns.collect::<Result<_>>()?,
        })
    }

    /// Looks at all rows to settle the columns' types, and keeps the rows for the first scan.
    fn look(&self) -> Result<SchemaRef> {
        let plan = self.plan(&self.suggested()?)?;
        let keep = AtomicBool::new(true);
        let blocks = Mapped::new(self.rows()?, |block| -> Result<_> {
            let mut seen = vec![Seen::default(); self.names.len()];
            let rows = plan.read(&block, Some(&mut seen))?;
            self.input.count_rows(block.records.len());
            Ok((seen, keep.load(Ordering::Relaxed).then_some(rows)))
        });
        let mut total = vec![Seen::default(); self.names.len()];
        let mut kept = Vec::new();
        let mut bytes = 0;
        for block in blocks {
            let (seen, rows) = block??;
            std::iter::zip(&mut total, seen).for_each(|(total, seen)| total.merge(seen));
            let rows = rows.unwrap_or_default();
            bytes += rows.iter().map(|r| r.rows.get_array_memory_size()).sum::<usize>();
            kept.extend(rows);
            if bytes > self.memory {
                keep.store(false, Ordering::Relaxed);
                kept = Vec::new();
            }
        }
        if keep.into_inner() {
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        }
        Ok(self.schema_of(|column| total[column].data_type()))
    }

    /// The columns as the first rows have them.
    fn suggested(&self) -> Result<SchemaRef> {
        const ROWS: usize = 1000;
        let mut seen = vec![Seen::default(); self.names.len()];
        if let Some(mut block) = self.rows()?.read()? {
            block.records.truncate(ROWS);
            self.plan(&self.raw_schema()?)?.read(&block, Some(&mut seen))?;
        }
        Ok(self.schema_of(|column| seen[column].data_type()))
    }

    /// Rows that were read as suggested, as `plan` wants them; `None` where the file has to be read
    /// again: for the text of what was taken for a number, and for rows that were set apart because
    /// of a column that is not wanted or wanted as another type.
    fn convert(&self, kept: Vec<Scanned>, plan: &Plan) -> Option<Vec<Scanned>> {
        let convert = |Scanned { rows, bad }: Scanned| {
            let read_as =
                |name: &str| Some(rows.schema().field_with_name(name).ok()?.data_type().clone());
            let wanted =
                |name: &str| Some(plan.schema.field_with_name(name).ok()?.data_type().clone());
            let still_bad = |column: &Option<String>| match column {
                Some(name) => wanted(name).is_some() && wanted(name) == read_as(name),
                None => true,
            };
            if !bad.iter().all(|bad| still_bad(&bad.column)) {
                return None;
            }
            let columns = std::iter::zip(plan.schema.fields(), &plan.columns);
            let columns = columns.map(|(field, at)| {
                let column = rows.column(*at);
                match (column.data_type(), field.data_type()) {
                    (have, want) if have == want => Some(column.clone()),
                    (DataType::Utf8, DataType::Float64) => self.to_numbers(column),
                    _ => None,
                }
            });
            let columns = columns.collect::<Option<Vec<_>>>()?;
            let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
            let rows = RecordBatch::try_new_with_options(plan.schema.clone(), columns, &options);
            Some(Scanned {
                rows: rows.ok()?,
                bad,
            })
        };
        kept.into_iter().map(convert).collect()
    }

    /// Texts as numbers, when all of them are.
    fn to_numbers(&self, texts: &ArrayRef) -> Option<ArrayRef> {
        let texts = downcast::<StringArray>(texts).ok()?;
        let number = |text: Option<&str>| match text {
            Some(text) => self.dialect.number(text.as_bytes()).map(Some),
            None => Some(None),
        };
        let numbers: Option<Float64Array> = texts.iter().map(number).collect::<Option<_>>();
        Some(Arc::new(numbers?))
    }

    /// The file from its first row on.
    fn rows(&self) -> Result<Blocks> {
        let mut blocks = self.blocks()?;
        if self.config.header {
            blocks.skip_record();
        }
        Ok(blocks)
    }
}

/// A reader at the first line that is not skipped.
fn text_from(input: &Input, config: &CsvConfig) -> Result<Box<dyn std::io::BufRead + Send>> {
    let mut reader = text::reader(input, config.encoding.as_deref())?;
    for _ in 0..config.skip_rows {
        let skipped = reader.skip_until(b'\n').map_err(|e| input.error(e))?;
        if skipped == 0 {
            break;
        }
    }
    Ok(reader)
}

impl Source for CsvSource {
    fn name(&self) -> &str {
        self.input.name()
    }

    fn schema(&self) -> Result<SchemaRef> {
        if let Some(schema) = self.schema.get() {
            return Ok(schema.clone());
        }
        let schema = self.look()?;
        Ok(self.schema.get_or_init(|| schema).clone())
    }

    fn raw_schema(&self) -> Result<SchemaRef> {
        Ok(self.schema_of(|_| DataType::Utf8))
    }

    fn original_schema(&self) -> Result<Option<SchemaRef>> {
        self.raw_schema().map(Some)
    }

    fn quoted_delimiter(&self) -> Option<char> {
        let syntax = self.dialect.syntax;
        syntax.quote.map(|_| syntax.delimiter.into())
    }

    fn scan(&self, schema: &SchemaRef) -> Result<Batches<'_>> {
        let plan = self.plan(schema)?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(rows) = kept.and_then(|rows| self.convert(rows, &plan)) {
            return Ok(Box::new(rows.into_iter().map(Ok)));
        }
        let blocks = Mapped::new(self.rows()?, move |block| {
            self.input.count_rows(block.records.len());
            plan.read(&block, None)
        });
        Ok(Box::new(blocks.flat_map(|block| {
            let (batches, error) = match block.and_then(|batches| batches) {
                Ok(batches) => (batches, None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            batches.into_iter().map(Ok).chain(error)
        })))
    }

    /// Reads the file again to find the lines; only a message needs them.
    fn places(&self, rows: &[usize]) -> Vec<Place> {
        let lines = || -> Option<Vec<Place>> {
            let mut blocks = self.rows().ok()?;
            let mut places = Vec::with_capacity(rows.len());
            while places.len() < rows.len() {
                let block = blocks.read().ok()??;
                while let Some(record) = rows
                    .get(places.len())
                    .and_then(|row| block.records.get(row.checked_sub(block.first)?))
                {
                    places.push(Place::line(self.name(), block.line(record.start)));
                }
            }
            Some(places)
        };
        lines().unwrap_or_else(|| {
            let row = |row: &usize| Place::row(self.name(), *row);
            rows.iter().map(row).collect()
        })
    }

    fn reading(&self) -> Reading {
        self.input.reading()
    }

    fn fingerprint(&self) -> Result<String> {
        self.input.fingerprint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frame;
    use crate::arrow::array::{AsArray, RecordBatch};
    use crate::arrow::datatypes::Float64Type;
    use crate::frame::as_strings;
    use crate::source::Scanned;

    fn open(text: impl AsRef<[u8]>, config: CsvConfig) -> Result<CsvSource> {
        CsvSource::open(Input::from_bytes("t.csv", text.as_ref()), config)
    }

    fn read(text: &str) -> Result<RecordBatch> {
        let source = open(text, CsvConfig::default())?;
        let frame = Frame::read_all(Box::new(source))?;
        match frame.bad() {
            [] => Ok(frame.to_batch()?),
            [first, ..] => Err(first.clone().into_error()),
        }
    }

    fn message(text: &str) -> String {
        read(text).map(|_| ()).unwrap_err().to_string()
    }

    /// The columns as texts, `-` where a value is missing, each after its name and type.
    fn columns(text: impl AsRef<[u8]>, config: CsvConfig) -> Vec<String> {
        let frame = Frame::read_all(Box::new(open(text, config).unwrap())).unwrap();
        let rows = frame.to_batch().unwrap();
        std::iter::zip(rows.schema().fields(), rows.columns())
            .map(|(field, column)| {
                let kind = match field.data_type() {
                    DataType::Float64 => "number",
                    _ => "text",
                };
                let values = as_strings(column).unwrap();
                let values: Vec<&str> = values.iter().map(|v| v.unwrap_or("-")).collect();
                format!("{} {kind}: {}", field.name(), values.join(" "))
            })
            .collect()
    }

    fn scan(source: &CsvSource) -> Result<Vec<Scanned>> {
        source.scan(&source.schema()?)?.collect()
    }

    #[test]
    fn infers_numbers_and_text_and_keeps_missing_values() {
        let rows = read("\u{feff}a,b\n 1 , x\n?,\"y, z\"\n2.5,\n").unwrap();
        let a = rows.column(0).as_primitive::<Float64Type>();
        assert_eq!(a.iter().collect::<Vec<_>>(), [Some(1.0), None, Some(2.5)]);
        let b = rows.column(1).as_string::<i32>();
        assert_eq!(b.iter().collect::<Vec<_>>(), [Some("x"), Some("y, z"), None]);
    }

    #[test]
    fn dialects_are_inferred_or_said() {
        let config = CsvConfig::default();
        let expected = ["a number: 1.5 -2", "b text: x -"];
        assert_eq!(columns("a\tb\r\n1.5\tx\r\n-2\t\r\n", config.clone()), expected);
        assert_eq!(columns("a|b\r1.5|x\r-2|NA", config.clone()), expected);
        let comma = CsvConfig {
            decimal: ',',
            ..config.clone()
        };
        assert_eq!(columns("a;b\n1,5;x\n-2;?\n", comma.clone()), expected);
        assert_eq!(columns("a\n1,5\n-2\n", comma)[..], expected[..1]);
        let bare = CsvConfig {
            header: false,
            names: vec!["a".into(), "b".into()],
            delimiter: Some(' '),
            ..config.clone()
        };
        assert_eq!(columns("  1.5   x \n\n-2\t ?  \n", bare), expected);
        let odd = CsvConfig {
            skip_rows: 2,
            comment: Some('#'),
            quote: "'".into(),
            ..config.clone()
        };
        let text = "made by \"hand\nyesterday\n#c\na,b\n1.5,'x'\n# it's a comment\n-2,''\n";
        assert_eq!(columns(text, odd), expected);
        let plain = CsvConfig {
            quote: String::new(),
            ..config
        };
        assert_eq!(columns("a\n\"x\n\"y\"\n", plain), ["a text: \"x \"y\""]);
    }

    #[test]
    fn encodings_are_marked_or_said() {
        let utf16: Vec<u8> = "\u{feff}a,b\n1.5,é\n"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        let expected = ["a number: 1.5", "b text: é"];
        assert_eq!(columns(utf16, CsvConfig::default()), expected);
        let latin1 = b"a,b\n1.5,\xe9\n";
        let said = CsvConfig {
            encoding: Some("latin-1".into()),
            ..Default::default()
        };
        assert_eq!(columns(latin1, said), expected);
        let scanned = scan(&open(latin1, CsvConfig::default()).unwrap()).unwrap();
        assert!(scanned[0].bad[0].reason.contains("say `encoding = \"latin-1\"`"));
        let error = open(b"\xe9,b\n1,2\n", CsvConfig::default()).err().unwrap();
        assert!(error.to_string().contains("say `encoding = \"latin-1\"`"), "{error}");
        let error = open(b"a\0,\0b\0\n\0", CsvConfig::default()).err().unwrap();
        assert!(error.to_string().contains("utf-16le"), "{error}");
    }

    #[test]
    fn a_few_late_texts_are_bad_rows_and_many_make_a_text() {
        let mut text = String::from("a,b\n");
        text.extend((0..20_000).map(|i| format!("{i},x\n")));
        text.push_str("late,x\n7\n8,x\n");
        let source = open(&text, CsvConfig::default()).unwrap();
        assert_eq!(source.schema().unwrap().field(0).data_type(), &DataType::Float64);
        let scanned = scan(&source).unwrap();
        let bad: Vec<_> = scanned.iter().flat_map(|s| &s.bad).collect();
        assert_eq!(scanned.iter().map(|s| s.rows.num_rows()).sum::<usize>(), 20_001);
        assert_eq!(bad[0].place.to_string(), "`t.csv` line 20002");
        assert_eq!((bad[0].number, bad[0].value.as_deref()), (20_000, Some("late")));
        assert!(bad[1].reason.starts_with("1 fields where 2 are expected"));
        assert_eq!(bad[1].number, 20_001);

        text.extend((0..300).map(|_| "late,x\n"));
        let source = open(&text, CsvConfig::default()).unwrap();
        assert_eq!(source.schema().unwrap().field(0).data_type(), &DataType::Utf8);
    }

    #[test]
    fn what_was_read_while_looking_is_what_a_second_reading_gives() {
        // `a` starts without values and turns out a number; `b` has one text, `c` many.
        let row = |i: usize| {
            let a = if i < 2_000 {
                String::new()
            } else {
                format!("{i}.5")
            };
            let b = if i == 5_000 {
                "late".into()
            } else {
                i.to_string()
            };
            let c = if i < 9_000 {
                i.to_string()
            } else {
                format!("c{i}")
            };
            format!("{a},{b},{c}\n")
        };
        let text: String = std::iter::once("a,b,c\n".to_string())
            .chain((0..10_000).map(row))
            .collect();
        let number = |name| Field::new(name, DataType::Float64, true);
        let texts = |name| Field::new(name, DataType::Utf8, true);
        for (schema, bad) in [
            (vec![number("a"), number("b"), texts("c")], 1),
            (vec![number("a"), number("b")], 1),
            (vec![number("a")], 0),
            (vec![texts("b"), texts("a")], 0),
        ] {
            let schema: SchemaRef = Arc::new(Schema::new(schema));
            let read = |looked: bool| {
                let source = open(&text, CsvConfig::default()).unwrap();
                if looked {
                    source.schema().unwrap();
                }
                let all: Vec<Scanned> = source.scan(&schema).unwrap().map(Result::unwrap).collect();
                let rows: Vec<&RecordBatch> = all.iter().map(|s| &s.rows).collect();
                let rows = crate::arrow::compute::concat_batches(&schema, rows).unwrap();
                (rows, all.iter().map(|s| s.bad.len()).sum::<usize>())
            };
            assert_eq!(read(true), read(false));
            assert_eq!((read(true).0.num_rows(), read(true).1), (10_000 - bad, bad));
        }
    }

    #[test]
    fn a_number_can_mean_that_there_is_none() {
        let config = CsvConfig {
            missing: vec!["-999".into()],
            ..Default::default()
        };
        assert_eq!(columns("a\n1\n-999\n", config), ["a number: 1 -"]);
    }

    #[test]
    fn blocks_join_without_a_seam() {
        // Quoted line breaks and rows of many lengths, over several blocks.
        let row = |i: usize| format!("{i},\"{}\n\"\"{i}\"\"\"\n", "é,".repeat(i % 50));
        let text: String = (0..60_000).map(row).collect();
        let config = CsvConfig {
            header: false,
            ..Default::default()
        };
        let source = open(&text, config).unwrap();
        let mut seen = 0;
        for scanned in source.scan(&source.schema().unwrap()).unwrap() {
            let scanned = scanned.unwrap();
            assert!(scanned.bad.is_empty() && scanned.rows.num_rows() <= super::super::BATCH_ROWS);
            let numbers = scanned.rows.column(0).as_primitive::<Float64Type>();
            for (row, value) in numbers.values().iter().enumerate() {
                assert_eq!(*value, seen as f64);
                let expected = format!("{}\n\"{seen}\"", "é,".repeat(seen % 50));
                assert_eq!(scanned.rows.column(1).as_string::<i32>().value(row), expected);
                seen += 1;
            }
        }
        assert_eq!(seen, 60_000);
        let places = source.places(&[0, 1, 59_999]);
        let lines: Vec<_> = places.iter().map(|p| p.line.unwrap()).collect();
        assert_eq!(lines, [1, 3, 119_999]);
    }

    #[test]
    fn an_endless_field_is_refused() {
        let mut text = b"a,b\n1,2\n3,\"".to_vec();
        text.resize(text.len() + (40 << 20), b'x');
        let config = CsvConfig::default();
        let source = open(&text, config.clone()).unwrap();
        let error = source.schema().unwrap_err().to_string();
        assert!(error.starts_with("`t.csv` line 3: the row is longer than 16 MiB"), "{error}");
        text.truncate(1000);
        let error = open(&text, config).err().unwrap().to_string();
        assert!(
            error.starts_with("`t.csv` line 3: a quote opens here and never closes"),
            "{error}"
        );
    }

    #[test]
    fn errors_name_the_line() {
        insta_like(&message("a,b\n1,2\n3\n"), "`t.csv` line 3: 1 fields");
        insta_like(&message(""), "`t.csv` is empty");
        insta_like(&message("a,a\n1,2\n"), "names the column `a` twice");
        insta_like(
            &message("7,7\n1,2\n"),
            "names the column `7` twice: say `header = false` in `[data.csv]`",
        );
        insta_like(&message("a,b\n"), "`t.csv` has no rows");
    }

    fn insta_like(message: &str, part: &str) {
        assert!(message.contains(part), "{message}");
    }

    #[test]
    fn a_row_knows_its_line_even_after_a_quoted_line_break() {
        let source = open("a\n\"x\ny\"\n\nz\n", CsvConfig::default()).unwrap();
        assert_eq!(source.places(&[1])[0].to_string(), "`t.csv` line 5");
    }

    #[test]
    fn a_column_without_a_name_gets_one() {
        assert_eq!(columns(",b\n1,x\n", CsvConfig::default()), ["c1 number: 1", "b text: x"]);
    }
}
