use std::fs::File;
use std::io::{BufRead, BufReader, Error as IoError, Read, Seek, SeekFrom};

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use ::parquet::errors::{ParquetError, Result as ParquetResult};
use ::parquet::file::reader::{ChunkReader, Length};
use bytes::Bytes;

use super::columns::Columns;
use super::guard::guard;
use super::spool::Spool;
use super::{BATCH_ROWS, Batches, Input, Scanned, Source};
use crate::arrow::datatypes::SchemaRef;
use crate::{Error, Result};

/// A Parquet file. Only the columns that are asked for are read, a few thousand rows at a time.
pub struct ParquetSource {
    input: Input,
    file: Spool,
    footer: ArrowReaderMetadata,
    columns: Columns,
}

/// The largest page that is read, in bytes: writers make them about 1 MiB.
const MAX_PAGE: u64 = 256 << 20;

impl ParquetSource {
    /// Reads the footer. The columns in `drop` need not be readable.
    ///
    /// # Errors
    /// When the file is not Parquet, is cut off or is encrypted.
    pub fn open(input: Input, drop: &[String]) -> Result<Self> {
        let file = Spool::of(&input, b"PAR1")?;
        let pages = Pages::open(&file)?;
        if !pages.is_whole().map_err(|e| input.error(e))? {
            let reason = "is a Parquet file that is cut off: its footer, which stands at the end, is missing; copy or write it again";
            return Err(Error::source(input.name(), reason));
        }
        let footer = guard(|| ArrowReaderMetadata::load(&pages, ArrowReaderOptions::new()))
            .map_err(|reason| damaged(input.name(), &reason))?;
        let columns = Columns::new(input.name(), footer.schema().clone(), drop)?;
        Ok(Self {
            input,
            file,
            footer,
            columns,
        })
    }

    /// The rows that the footer promises.
    fn promised(&self) -> i64 {
        self.footer.metadata().file_metadata().num_rows()
    }

    fn error(&self, reason: &str) -> Error {
        damaged(self.name(), reason)
    }
}

impl Source for ParquetSource {
    fn name(&self) -> &str {
        self.input.name()
    }

    fn schema(&self) -> Result<SchemaRef> {
        self.columns.schema()
    }

    fn raw_schema(&self) -> Result<SchemaRef> {
        Ok(self.columns.readable())
    }

    fn original_schema(&self) -> Result<Option<SchemaRef>> {
        Ok(Some(self.columns.original()))
    }

    fn scan(&self, schema: &SchemaRef) -> Result<Batches<'_>> {
        let places = self.columns.project(schema)?;
        let pages = Pages::open(&self.file)?;
        let mut rows = guard(|| {
            let reader =
                ParquetRecordBatchReaderBuilder::new_with_metadata(pages, self.footer.clone());
            let mask = ProjectionMask::roots(reader.parquet_schema(), places);
            reader.with_projection(mask).with_batch_size(BATCH_ROWS).build()
        })
        .map_err(|reason| self.error(&reason))?;
        let schema = schema.clone();
        let mut seen = 0;
        let mut next = move || -> Result<Option<Scanned>> {
            let batch = guard(|| rows.next().transpose()).map_err(|reason| self.error(&reason))?;
            let Some(batch) = batch else {
                return match seen as i64 == self.promised() {
                    true => Ok(None),
                    false => Err(self.error(&format!(
                        "it holds {seen} rows where its footer promises {}",
                        self.promised()
                    ))),
                };
            };
            let scanned = self.columns.convert(&batch, &schema, seen)?;
            seen += batch.num_rows();
            Ok(Some(scanned))
        };
        let mut failed = false;
        Ok(Box::new(std::iter::from_fn(move || {
            let next = (!failed).then(|| next().transpose())?;
            failed = matches!(next, Some(Err(_)));
            next
        })))
    }

    fn fingerprint(&self) -> Result<String> {
        self.input.fingerprint()
    }
}

fn damaged(name: &str, reason: &str) -> Error {
    Error::source(name, format!("is not a readable Parquet file: {reason}"))
}

/// The file, with a limit on what a page may claim to be: the reader allocates what it is told.
struct Pages {
    file: File,
    len: u64,
}

impl Pages {
    fn open(spool: &Spool) -> Result<Self> {
        let file = spool.open()?;
        let len = file.metadata().map_err(|e| Error::io(spool.path(), e))?.len();
        Ok(Self { file, len })
    }

    /// Whether the file ends as it must; what is encrypted ends otherwise.
    fn is_whole(&self) -> std::io::Result<bool> {
        // The word at either end, and the footer's length.
        const SHORTEST: u64 = 12;
        if self.len < SHORTEST {
            return Ok(false);
        }
        let mut end = [0; 4];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.len - 4))?;
        file.read_exact(&mut end)?;
        Ok(end == *b"PAR1" || end == *b"PARE")
    }
}

impl Length for Pages {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Pages {
    type T = BufReader<File>;

    /// The reader asks for this to read a page's header, and once for the last 8 bytes.
    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let mut reader = self.file.get_read(start)?;
        if start.checked_add(8) != Some(self.len) {
            match page_sizes(reader.fill_buf()?) {
                Some(sizes) if sizes.iter().all(|size| *size <= MAX_PAGE) => {}
                Some(_) => {
                    let message = format!("a page claims more than {} MiB", MAX_PAGE >> 20);
                    return Err(ParquetError::from(IoError::other(message)));
                }
                None => return Err(ParquetError::General("a page's header is damaged".into())),
            }
        }
        Ok(reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.len) {
            let message = format!("it ends before byte {start} + {length}");
            return Err(ParquetError::EOF(message));
        }
        self.file.get_bytes(start, length)
    }
}

/// The sizes a page claims, plain and compressed. A page header is Thrift's compact protocol, and
/// starts with three integers: kind, plain size, compressed size.
fn page_sizes(header: &[u8]) -> Option<[u64; 2]> {
    const NEXT_FIELD_I32: u8 = 0x15;
    let mut bytes = header.iter();
    let mut field = || {
        if *bytes.next()? != NEXT_FIELD_I32 {
            return None;
        }
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = *bytes.next()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                // Zigzag: an odd number stands for a negative one, which no size is.
                return (value % 2 == 0).then_some(value / 2);
            }
        }
        None
    };
    field()?;
    Some([field()?, field()?])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::parquet::arrow::ArrowWriter;
    use ::parquet::basic::Compression;
    use ::parquet::file::properties::WriterProperties;

    use super::*;
    use crate::arrow::array::{
        ArrayRef, AsArray, DictionaryArray, Int64Array, ListArray, RecordBatch, StringArray,
    };
    use crate::arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Schema};

    fn table(rows: i64) -> RecordBatch {
        let words = ["low", "high"];
        let dictionary: DictionaryArray<Int32Type> =
            (0..rows).map(|i| Some(words[i as usize % 2])).collect();
        let name = |i: i64| (i % 3 > 0).then(|| format!("name {}", i * 7919 % 1009));
        let list = |i: i64| Some(vec![Some(i as i32)]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("n", Arc::new(Int64Array::from_iter_values(0..rows))),
            ("name", Arc::new((0..rows).map(name).collect::<StringArray>())),
            ("level", Arc::new(dictionary)),
            (
                "list",
                Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>((0..rows).map(list))),
            ),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn bytes(table: &RecordBatch, compression: Compression) -> Vec<u8> {
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_max_row_group_row_count(Some(10_000))
            .build();
        let mut out = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut out, table.schema(), Some(properties)).unwrap();
        writer.write(table).unwrap();
        writer.close().unwrap();
        out
    }

    fn open(bytes: Vec<u8>, drop: &[String]) -> Result<ParquetSource> {
        ParquetSource::open(Input::from_bytes("t.parquet", bytes), drop)
    }

    #[test]
    fn reads_every_codec_in_batches_and_only_what_is_asked_for() {
        let table = table(25_000);
        for codec in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(Default::default()),
            Compression::ZSTD(Default::default()),
            Compression::LZ4_RAW,
        ] {
            let source = open(bytes(&table, codec), &["list".into()]).unwrap();
            let wanted = Arc::new(Schema::new(vec![
                Field::new("level", DataType::Utf8, true),
                Field::new("n", DataType::Float64, true),
            ]));
            let batches: Vec<_> = source.scan(&wanted).unwrap().map(|b| b.unwrap().rows).collect();
            assert!(batches.len() > 3 && batches.iter().all(|b| b.num_rows() <= BATCH_ROWS));
            assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 25_000);
            assert_eq!(batches[0].column(0).as_string::<i32>().value(1), "high");
            assert_eq!(batches[1].column(1).as_primitive::<Float64Type>().value(0), 8192.0);
        }
    }

    #[test]
    fn a_nested_column_is_named_unless_it_is_dropped() {
        let bytes = bytes(&table(3), Compression::SNAPPY);
        let error = open(bytes.clone(), &[]).unwrap().schema().unwrap_err().to_string();
        assert!(error.starts_with("`t.parquet`, column `list`: holds nested"), "{error}");
        assert!(error.contains("`drop = [\"list\"]`"), "{error}");

        let source = open(bytes, &["list".into()]).unwrap();
        let frame = crate::Frame::read_all(Box::new(source)).unwrap();
        assert_eq!(frame.to_batch().unwrap().column(3).null_count(), 3);
    }

    #[test]
    fn a_page_that_claims_gigabytes_is_refused() {
        let whole = bytes(&table(3), Compression::SNAPPY);
        // The first page follows the magic number: kind, then its plain size.
        assert!(page_sizes(&whole[4..]).unwrap()[0] < 1000);
        let end = whole[7..].iter().position(|byte| *byte < 0x80).unwrap() + 8;
        let gigabytes = [0xfe, 0xff, 0xff, 0xff, 0x0f];
        let lying = [&whole[..7], &gigabytes, &whole[end..]].concat();
        let error = open(lying, &["list".into()])
            .and_then(|source| crate::Frame::read_all(Box::new(source)))
            .err()
            .unwrap();
        assert!(error.to_string().contains("claims more than 256 MiB"), "{error}");
    }

    #[test]
    fn damage_anywhere_is_an_error_and_never_a_panic() {
        let whole = bytes(&table(50), Compression::SNAPPY);
        let drop = ["list".to_string()];
        for at in 0..whole.len() {
            for mask in [0x01, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= mask;
                if let Ok(source) = open(damaged, &drop)
                    && let Ok(schema) = source.schema()
                    && let Ok(mut rows) = source.scan(&schema)
                {
                    while let Some(Ok(_)) = rows.next() {}
                }
            }
        }
        for len in 0..whole.len() {
            let error = open(whole[..len].to_vec(), &drop).err().unwrap().to_string();
            assert!(error.contains("is cut off"), "{len}: {error}");
        }
    }
}
