use std::io::{BufRead, ErrorKind, Read};

use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::{MessageHeader, root_as_message};

use super::columns::Columns;
use super::guard::guard;
use super::{BATCH_ROWS, Batches, Input, Scanned, Source};
use crate::arrow::array::RecordBatch;
use crate::arrow::datatypes::SchemaRef;
use crate::{Error, Result};

/// Arrow's own format: a stream, or a file, which is also called Feather (version 2).
///
/// A file is a stream between a magic number and an index, so both are read from start to end.
pub struct IpcSource {
    input: Input,
    columns: Columns,
}

const FILE_MAGIC: &[u8] = b"ARROW1\0\0";
const FEATHER_1: &[u8] = b"FEA1";
/// Every message of a stream starts with this, then with the length of its description.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// The longest description of a message, in bytes: it grows with the number of columns.
const MAX_HEADER: usize = 64 << 20;
/// The most memory that the columns of one message may take, in bytes.
const MAX_BODY: i64 = 2 << 30;

impl IpcSource {
    /// Whether a file that starts with these bytes is for this reader.
    pub(super) fn is_ipc(start: &[u8]) -> bool {
        [FILE_MAGIC, FEATHER_1, &CONTINUATION]
            .iter()
            .any(|magic| start.starts_with(magic))
    }

    /// Reads the names and types. The columns in `drop` need not be readable.
    ///
    /// # Errors
    /// When the input is not Arrow IPC or is cut off within its schema.
    pub fn open(input: Input, drop: &[String]) -> Result<Self> {
        let mut messages = Messages::open(&input)?;
        // The schema is the first message.
        let first = messages.step()?;
        let Some(schema) = messages.decoder.schema().filter(|_| first) else {
            return Err(messages.damaged("it does not start with a schema"));
        };
        let columns = Columns::new(input.name(), schema, drop)?;
        Ok(Self { input, columns })
    }
}

impl Source for IpcSource {
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
        let mut messages = Messages::open(&self.input)?;
        let schema = schema.clone();
        let mut seen = 0;
        let mut batch: Option<(RecordBatch, usize)> = None;
        let mut next = move || -> Result<Option<Scanned>> {
            let (rows, start) = loop {
                match batch.take() {
                    Some((rows, start)) if start < rows.num_rows() => break (rows, start),
                    _ => match messages.next_batch()? {
                        Some(rows) => batch = Some((rows.project(&places)?, 0)),
                        None => return Ok(None),
                    },
                }
            };
            let part = rows.slice(start, BATCH_ROWS.min(rows.num_rows() - start));
            let scanned = self.columns.convert(&part, &schema, seen)?;
            seen += part.num_rows();
            batch = Some((rows, start + part.num_rows()));
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

/// The messages of a stream, checked for what they claim before they are decoded: the decoder
/// allocates what it is told.
struct Messages {
    name: String,
    reader: Box<dyn BufRead + Send>,
    decoder: StreamDecoder,
    batch: Option<RecordBatch>,
}

impl Messages {
    fn open(input: &Input) -> Result<Self> {
        let mut reader = input.reader()?;
        let start = reader.fill_buf().map_err(|e| input.error(e))?;
        if start.starts_with(FEATHER_1) {
            let reason = "is Feather version 1: write it again as version 2, which is Arrow IPC, or as Parquet";
            return Err(Error::source(input.name(), reason));
        }
        if start.starts_with(FILE_MAGIC) {
            reader.consume(FILE_MAGIC.len());
            // Some writers pad the magic number to 64 bytes.
            while let Ok([0, 0, 0, 0, ..]) = reader.fill_buf() {
                reader.consume(4);
            }
        }
        let mut decoder = StreamDecoder::new();
        decoder.decode(&mut Buffer::from(CONTINUATION.as_slice()))?;
        Ok(Self {
            name: input.name().into(),
            reader,
            decoder,
            batch: None,
        })
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while self.batch.is_none() && self.step()? {}
        Ok(self.batch.take())
    }

    /// Decodes one message; whether there was one.
    fn step(&mut self) -> Result<bool> {
        let mut word = [0; 4];
        match self.reader.read_exact(&mut word) {
            Ok(()) => {}
            // A writer that streams may just stop after a message.
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            Err(e) => return Err(self.failed(e)),
        }
        // Before Arrow 0.15 a message started with its length.
        if word == CONTINUATION {
            self.reader.read_exact(&mut word).map_err(|e| self.failed(e))?;
        }
        let length = u32::from_le_bytes(word) as usize;
        if length == 0 {
            return Ok(false);
        }
        if length > MAX_HEADER {
            return Err(self.damaged("a message claims a description of more than 64 MiB"));
        }
        let header = self.take(length)?;
        let message = guard(|| root_as_message(&header)).map_err(|e| self.damaged(&e))?;
        if !(0..=MAX_BODY).contains(&message.bodyLength()) {
            return Err(self.damaged("a message claims more than 2 GiB"));
        }
        let body = self.take(message.bodyLength() as usize)?;
        self.check_claims(&message, &body)?;
        // The decoder looks at an empty body only when more bytes come: so the mark of the next
        // message is given with this one.
        let decoded = guard(|| {
            let mut batch = None;
            for part in [word.to_vec(), header, body, CONTINUATION.to_vec()] {
                let mut part = Buffer::from_vec(part);
                while !part.is_empty() {
                    batch = self.decoder.decode(&mut part)?.or(batch);
                }
            }
            Ok::<_, crate::arrow::error::ArrowError>(batch)
        });
        self.batch = decoded.map_err(|e| self.damaged(&e))?;
        Ok(true)
    }

    /// A compressed column starts with the length it will have.
    fn check_claims(&self, message: &arrow_ipc::Message<'_>, body: &[u8]) -> Result<()> {
        let rows = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => {
                message.header_as_dictionary_batch().and_then(|d| d.data())
            }
            _ => None,
        };
        let Some(rows) = rows.filter(|rows| rows.compression().is_some()) else {
            return Ok(());
        };
        let mut claimed = 0_i64;
        for buffer in rows.buffers().into_iter().flatten() {
            let prefix = usize::try_from(buffer.offset())
                .ok()
                .and_then(|offset| body.get(offset..)?.first_chunk::<8>());
            if let (Some(prefix), true) = (prefix, buffer.length() > 0) {
                // -1 says that the column is not compressed after all.
                claimed = claimed.saturating_add(i64::from_le_bytes(*prefix).max(0));
            }
        }
        match claimed > MAX_BODY {
            true => Err(self.damaged("a message claims more than 2 GiB")),
            false => Ok(()),
        }
    }

    /// The next bytes; memory grows with what is there, not with what is claimed.
    fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut reader = self.reader.by_ref().take(length as u64);
        reader.read_to_end(&mut bytes).map_err(|e| self.failed(e))?;
        match bytes.len() == length {
            true => Ok(bytes),
            false => Err(self.damaged("it is cut off in the middle of a message")),
        }
    }

    fn failed(&self, error: std::io::Error) -> Error {
        match error.kind() {
            ErrorKind::UnexpectedEof => self.damaged("it is cut off in the middle of a message"),
            _ => Error::io(&self.name, error),
        }
    }

    fn damaged(&self, reason: &str) -> Error {
        let reason = format!("is not a readable Arrow IPC file: {reason}");
        Error::source(&self.name, reason)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_ipc::CompressionType;
    use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};

    use super::*;
    use crate::arrow::array::{ArrayRef, AsArray, DictionaryArray, Int32Array, NullArray};
    use crate::arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Schema};

    fn table(rows: i32) -> RecordBatch {
        let words = ["low", "high"];
        let level: DictionaryArray<Int32Type> =
            (0..rows).map(|i| Some(words[i as usize % 2])).collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("n", Arc::new(Int32Array::from_iter_values(0..rows))),
            ("level", Arc::new(level)),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn file(table: &RecordBatch, compression: Option<CompressionType>) -> Vec<u8> {
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let mut out = Vec::new();
        let mut writer =
            FileWriter::try_new_with_options(&mut out, &table.schema(), options).unwrap();
        writer.write(table).unwrap();
        writer.write(table).unwrap();
        writer.finish().unwrap();
        out
    }

    fn open(bytes: Vec<u8>) -> Result<IpcSource> {
        IpcSource::open(Input::from_bytes("t.arrow", bytes), &[])
    }

    #[test]
    fn reads_files_and_streams_plain_and_compressed() {
        let table = table(10_000);
        let mut stream = Vec::new();
        let mut writer = StreamWriter::try_new(&mut stream, &table.schema()).unwrap();
        writer.write(&table).unwrap();
        writer.write(&table).unwrap();
        writer.finish().unwrap();
        for bytes in [
            stream,
            file(&table, None),
            file(&table, Some(CompressionType::LZ4_FRAME)),
            file(&table, Some(CompressionType::ZSTD)),
        ] {
            assert!(IpcSource::is_ipc(&bytes));
            let source = open(bytes).unwrap();
            let wanted = Arc::new(Schema::new(vec![
                Field::new("level", DataType::Utf8, true),
                Field::new("n", DataType::Float64, true),
            ]));
            let batches: Vec<_> = source.scan(&wanted).unwrap().map(|b| b.unwrap().rows).collect();
            assert!(batches.iter().all(|b| b.num_rows() <= BATCH_ROWS));
            assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 20_000);
            assert_eq!(batches[1].column(0).as_string::<i32>().value(1), "high");
            assert_eq!(batches[1].column(1).as_primitive::<Float64Type>().value(0), 8192.0);
        }
    }

    #[test]
    fn rows_without_values_do_not_fill_the_memory() {
        // A column of nulls takes no bytes, so a short file can promise any number of rows.
        let nulls: ArrayRef = Arc::new(NullArray::new(1 << 31));
        let source =
            open(file(&RecordBatch::try_from_iter([("x", nulls)]).unwrap(), None)).unwrap();
        let schema = source.schema().unwrap();
        let first = source.scan(&schema).unwrap().next().unwrap().unwrap();
        assert_eq!(first.rows.num_rows(), BATCH_ROWS);
    }

    #[test]
    fn feather_1_is_refused_with_a_way_out() {
        let error = open(b"FEA1....".to_vec()).err().unwrap().to_string();
        assert!(error.contains("write it again as version 2"), "{error}");
    }

    #[test]
    fn damage_anywhere_is_an_error_and_never_a_panic() {
        for compression in [None, Some(CompressionType::ZSTD)] {
            let whole = file(&table(40), compression);
            for at in 0..whole.len() {
                for mask in [0x01, 0xff] {
                    let mut damaged = whole.clone();
                    damaged[at] ^= mask;
                    if let Ok(source) = open(damaged)
                        && let Ok(schema) = source.schema()
                        && let Ok(mut rows) = source.scan(&schema)
                    {
                        while let Some(Ok(_)) = rows.next() {}
                    }
                }
            }
        }
    }
}
