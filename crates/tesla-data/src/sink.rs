//! Rows on their way out, in the one format that needs Arrow's own writer.

use std::io::{Error as IoError, Write};

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::Compression;
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;

use crate::arrow::array::RecordBatch;
use crate::arrow::datatypes::SchemaRef;

/// A Parquet file that grows batch by batch.
pub struct ParquetSink<W: Write + Send>(ArrowWriter<W>);

/// Rows of a row group, and its bytes: what is held in memory before it is written.
const GROUP_ROWS: usize = 1 << 16;
const GROUP_BYTES: usize = 64 << 20;

impl<W: Write + Send> ParquetSink<W> {
    /// A file of the columns of `schema`.
    ///
    /// # Errors
    /// When Parquet has no such type, or the start cannot be written.
    pub fn new(out: W, schema: &SchemaRef) -> std::io::Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_max_row_group_bytes(Some(GROUP_BYTES))
            .build();
        let writer = ArrowWriter::try_new(out, schema.clone(), Some(properties));
        writer.map(Self).map_err(as_io)
    }

    /// Writes some rows.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, rows: &RecordBatch) -> std::io::Result<()> {
        self.0.write(rows).map_err(as_io)
    }

    /// Writes what is left and the footer.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn finish(&mut self) -> std::io::Result<()> {
        self.0.finish().map(|_| ()).map_err(as_io)
    }
}

fn as_io(error: ParquetError) -> IoError {
    match error {
        ParquetError::External(cause) => match cause.downcast::<IoError>() {
            Ok(cause) => *cause,
            Err(cause) => IoError::other(cause),
        },
        other => IoError::other(other),
    }
}
