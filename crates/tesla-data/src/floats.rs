use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::{Error, Result};

/// A table of 32-bit floats, `[rows, width]`: in memory or, once it outgrows the budget, in a
/// temporary file. Either way each row can be read at any time, so a shuffle does not depend on it.
#[derive(Clone, Debug)]
pub struct Floats {
    width: usize,
    store: Store,
}

#[derive(Clone, Debug)]
enum Store {
    Memory(Vec<f32>),
    File(Arc<OnDisk>),
}

#[derive(Debug)]
struct OnDisk {
    /// Read by one thread at a time. It has no name: it is gone with the process, however that ends.
    file: Mutex<File>,
}

impl Floats {
    /// Values in memory, row-major.
    pub fn new(width: usize, values: Vec<f32>) -> Self {
        Self {
            width,
            store: Store::Memory(values),
        }
    }

    /// Numbers per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Calls `f` with consecutive rows, which are copied only when they stand in a file.
    ///
    /// # Errors
    /// When that file cannot be read.
    pub fn with<T>(&self, rows: Range<usize>, f: impl FnOnce(&[f32]) -> T) -> Result<T> {
        match &self.store {
            Store::Memory(values) => Ok(f(&values[rows.start * self.width..rows.end * self.width])),
            Store::File(_) => {
                let mut copy = Vec::new();
                self.read(rows, &mut copy)?;
                Ok(f(&copy))
            }
        }
    }

    /// Appends consecutive rows to `out`.
    ///
    /// # Errors
    /// When they stand in a temporary file that cannot be read.
    pub fn read(&self, rows: Range<usize>, out: &mut Vec<f32>) -> Result<()> {
        match &self.store {
            Store::Memory(values) => {
                out.extend_from_slice(&values[rows.start * self.width..rows.end * self.width]);
            }
            Store::File(disk) => {
                let mut bytes = vec![0; rows.len() * self.width * 4];
                let at = (rows.start * self.width * 4) as u64;
                let mut read = |mut file: &File| {
                    file.seek(SeekFrom::Start(at))?;
                    file.read_exact(&mut bytes)
                };
                let file = disk.file.lock().unwrap_or_else(|e| e.into_inner());
                read(&file).map_err(|e| Error::io(std::env::temp_dir(), e))?;
                drop(file);
                let (words, _) = bytes.as_chunks::<4>();
                out.extend(words.iter().map(|word| f32::from_le_bytes(*word)));
            }
        }
        Ok(())
    }
}

/// Collects rows; what exceeds `memory` bytes goes to a file.
pub(crate) struct FloatsBuilder {
    width: usize,
    memory: usize,
    values: Vec<f32>,
    spill: Option<BufWriter<File>>,
}

impl FloatsBuilder {
    pub(crate) fn new(width: usize, memory: usize) -> Self {
        Self {
            width,
            memory,
            values: Vec::new(),
            spill: None,
        }
    }

    pub(crate) fn extend(&mut self, rows: impl Iterator<Item = f32>) -> Result<()> {
        self.values.extend(rows);
        if self.spill.is_none() && self.values.len() * 4 > self.memory {
            let file = tempfile::tempfile().map_err(spill_error)?;
            self.spill = Some(BufWriter::with_capacity(1 << 20, file));
        }
        if let Some(writer) = &mut self.spill {
            let mut write = || {
                let mut values = self.values.drain(..);
                values.try_for_each(|value| writer.write_all(&value.to_le_bytes()))
            };
            write().map_err(spill_error)?;
            self.values.shrink_to(1 << 20);
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Floats> {
        let store = match self.spill {
            None => Store::Memory(self.values),
            Some(writer) => {
                let file = writer.into_inner().map_err(|e| spill_error(e.into_error()))?;
                Store::File(Arc::new(OnDisk {
                    file: Mutex::new(file),
                }))
            }
        };
        Ok(Floats {
            width: self.width,
            store,
        })
    }
}

/// A full disk is the likely cause, and the message should say which disk.
pub(crate) fn spill_error(source: std::io::Error) -> Error {
    Error::Spill {
        path: std::env::temp_dir(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_as_memory_does() {
        let rows: Vec<f32> = (0..3000).map(|v| v as f32 / 7.0).collect();
        let build = |memory| {
            let mut builder = FloatsBuilder::new(3, memory);
            for part in rows.chunks(90) {
                builder.extend(part.iter().copied()).unwrap();
            }
            builder.finish().unwrap()
        };
        let (disk, memory) = (build(100), build(usize::MAX));
        assert!(matches!(disk.store, Store::File(_)) && matches!(memory.store, Store::Memory(_)));
        for range in [0..1000, 5..6, 999..1000, 7..7] {
            let read = |floats: &Floats| {
                let mut out = Vec::new();
                floats.read(range.clone(), &mut out).unwrap();
                out
            };
            assert_eq!(read(&disk), read(&memory));
            assert_eq!(read(&disk), rows[range.start * 3..range.end * 3]);
        }
    }
}
