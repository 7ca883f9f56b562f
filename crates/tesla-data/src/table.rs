//! Rows as Arrow batches: in memory or, once they outgrow the budget, in a temporary file.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;
use std::sync::Arc;

use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use tempfile::NamedTempFile;

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
    /// An Arrow IPC stream, deleted with its last owner.
    File(Arc<NamedTempFile>),
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
                let opened = File::open(file.path()).map_err(|e| Error::io(file.path(), e))?;
                let reader = StreamReader::try_new(BufReader::new(opened), None)?;
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

struct Spill {
    file: NamedTempFile,
    writer: StreamWriter<BufWriter<File>>,
}

impl Spill {
    fn new(schema: &SchemaRef) -> Result<Self> {
        let failed = |e| spill_error(&std::env::temp_dir(), e);
        let file = NamedTempFile::with_prefix("tesla-").map_err(failed)?;
        let handle = file.reopen().map_err(failed)?;
        let writer = StreamWriter::try_new(BufWriter::with_capacity(1 << 20, handle), schema)?;
        Ok(Self { file, writer })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let path: &Path = self.file.path();
        self.writer.write(batch).map_err(|e| write_error(path, e))
    }

    fn finish(mut self) -> Result<NamedTempFile> {
        let path = self.file.path().to_path_buf();
        self.writer.finish().map_err(|e| write_error(&path, e))?;
        let file = self.writer.into_inner().map_err(|e| write_error(&path, e))?;
        file.into_inner().map_err(|e| spill_error(&path, e.into_error()))?;
        Ok(self.file)
    }
}

fn write_error(path: &Path, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, e) => spill_error(path, e),
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
