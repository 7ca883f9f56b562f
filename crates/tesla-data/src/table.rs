//! Rows as Arrow batches: in memory or, once they outgrow the budget, in a temporary file.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read};
use std::sync::Arc;

use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;

use crate::arrow::array::RecordBatch;
use crate::arrow::compute::concat_batches;
use crate::arrow::datatypes::SchemaRef;
use crate::arrow::error::ArrowError;
use crate::floats::spill_error;
use crate::{Error, Result};

/// Bytes of rows that are held in memory when nothing else is said.
pub(crate) const MEMORY: usize = 1 << 30;

/// Rows that can be read more than once, batch by batch. Cloning one copies nothing.
#[derive(Clone)]
pub(crate) struct Table {
    schema: SchemaRef,
    rows: usize,
    store: Store,
}

#[derive(Clone)]
enum Store {
    Memory(Arc<[RecordBatch]>),
    /// An Arrow IPC stream. It has no name: it is gone with the process, however that ends.
    File(Arc<File>),
}

impl Table {
    /// Collects batches; what exceeds `memory` bytes goes to a file in the system's folder for
    /// temporary files.
    ///
    /// # Errors
    /// When a batch is an error, or the file cannot be written.
    pub(crate) fn collect(
        schema: SchemaRef,
        batches: impl Iterator<Item = Result<RecordBatch>>,
        memory: usize,
    ) -> Result<Self> {
        let mut rows = 0;
        let mut bytes = 0;
        let mut held = Vec::new();
        let mut spill: Option<Spill> = None;
        for batch in batches {
            let batch = batch?;
            rows += batch.num_rows();
            match &mut spill {
                Some(spill) => spill.write(&batch)?,
                None => {
                    bytes += batch.get_array_memory_size();
                    held.push(batch);
                    if bytes > memory {
                        let spill = spill.insert(Spill::new(&schema)?);
                        held.drain(..).try_for_each(|batch| spill.write(&batch))?;
                    }
                }
            }
        }
        let store = match spill {
            Some(spill) => Store::File(Arc::new(spill.finish()?)),
            None => Store::Memory(held.into()),
        };
        Ok(Self {
            schema,
            rows,
            store,
        })
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether the rows outgrew the budget.
    pub(crate) fn is_on_disk(&self) -> bool {
        matches!(self.store, Store::File(_))
    }

    /// The columns.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The batches, from the first.
    ///
    /// # Errors
    /// When the temporary file cannot be read.
    pub(crate) fn batches(&self) -> Result<Box<dyn Iterator<Item = Result<RecordBatch>> + '_>> {
        Ok(match &self.store {
            Store::Memory(batches) => Box::new(batches.iter().cloned().map(Ok)),
            Store::File(file) => {
                let reader = Positioned {
                    file: file.clone(),
                    at: 0,
                };
                let reader =
                    StreamReader::try_new(BufReader::with_capacity(1 << 20, reader), None)?;
                Box::new(reader.map(|batch| Ok(batch?)))
            }
        })
    }

    /// All rows as one batch in memory.
    ///
    /// # Errors
    /// When they do not fit one.
    pub(crate) fn to_batch(&self) -> Result<RecordBatch> {
        let batches = self.batches()?.collect::<Result<Vec<_>>>()?;
        Ok(concat_batches(&self.schema, &batches)?)
    }
}

/// Reads a file from a place of its own, so that several readers share one handle.
struct Positioned {
    file: Arc<File>,
    at: u64,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(&*self.file, buffer, self.at)?;
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(&*self.file, buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

struct Spill {
    writer: StreamWriter<BufWriter<File>>,
}

impl Spill {
    fn new(schema: &SchemaRef) -> Result<Self> {
        let file = tempfile::tempfile().map_err(spill_error)?;
        let writer = StreamWriter::try_new(BufWriter::with_capacity(1 << 20, file), schema)?;
        Ok(Self { writer })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(write_error)
    }

    fn finish(mut self) -> Result<File> {
        self.writer.finish().map_err(write_error)?;
        let file = self.writer.into_inner().map_err(write_error)?;
        file.into_inner().map_err(|e| spill_error(e.into_error()))
    }
}

fn write_error(error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, e) => spill_error(e),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::arrow::array::{ArrayRef, Float64Array, StringArray};

    fn batches(sizes: &[usize]) -> Vec<RecordBatch> {
        let mut next = 0;
        let batch = |size: &usize| {
            let rows: Vec<usize> = (next..next + size).collect();
            next += size;
            let x: ArrayRef = Arc::new(Float64Array::from_iter(
                rows.iter().map(|r| (r % 3 > 0).then_some(*r as f64)),
            ));
            let s: ArrayRef =
                Arc::new(StringArray::from_iter_values(rows.iter().map(|r| format!("é{r}"))));
            RecordBatch::try_from_iter_with_nullable([("x", x, true), ("s", s, true)]).unwrap()
        };
        sizes.iter().map(batch).collect()
    }

    proptest! {
        #[test]
        fn a_table_on_disk_is_the_table_in_memory(
            sizes in prop::collection::vec(1usize..50, 1..8),
            memory in 0usize..4000,
        ) {
            let given = batches(&sizes);
            let schema = given[0].schema();
            let collect = |memory| {
                Table::collect(schema.clone(), given.iter().cloned().map(Ok), memory).unwrap()
            };
            let (small, large) = (collect(memory), collect(usize::MAX));
            prop_assert_eq!(small.len(), sizes.iter().sum::<usize>());
            for _ in 0..2 {
                prop_assert_eq!(small.to_batch().unwrap(), large.to_batch().unwrap());
            }
        }
    }
}
