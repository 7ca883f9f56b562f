//! The columns of texts that pandas 3 keeps in arrays of `pyarrow`.

use std::sync::Arc;

use super::globals::Global;
use super::numpy::damaged;
use super::value::{Heap, Id, Node, Read};
use crate::arrow::array::{ArrayRef, StringBuilder};

/// The texts of an array, or of one in chunks.
pub(super) fn texts(heap: &Heap<'_>, id: Id) -> Read<ArrayRef> {
    let bad = || damaged("a column of texts");
    let chunks = match heap.call(id) {
        Some((Global::ArrowChunks, [chunks, ..], _)) => heap.items(*chunks).ok_or_else(bad)?,
        _ => &[id],
    };
    let mut column = Column::default();
    for chunk in chunks {
        // A chunk of no rows costs as much to look at.
        heap.charge(64)?;
        match heap.call(*chunk) {
            Some((Global::ArrowArray, [parts], _)) => column.append(heap, *parts)?,
            _ => return Err(bad()),
        }
    }
    Ok(Arc::new(column.texts.finish()))
}

#[derive(Default)]
struct Column {
    texts: StringBuilder,
    bytes: usize,
}

impl Column {
    /// `(type, length, null count, offset, [validity, offsets, bytes], children, dictionary)`: the
    /// layout of Arrow's specification, of which no number is trusted.
    fn append(&mut self, heap: &Heap<'_>, parts: Id) -> Read<()> {
        let bad = || damaged("a column of texts");
        let Some([kind, length, _, offset, buffers, ..]) = heap.items(parts) else {
            return Err(bad());
        };
        let width = offset_width(heap, *kind)?;
        let Some([validity, offsets, bytes]) = heap.items(*buffers) else {
            return Err(bad());
        };
        let [validity, offsets, bytes] = [*validity, *offsets, *bytes].map(|id| buffer(heap, id));
        let (validity, offsets, bytes) = (validity?, offsets?, bytes?.unwrap_or_default());
        let (first, length) = heap.size(*offset).zip(heap.size(*length)).ok_or_else(bad)?;
        let end = first.checked_add(length).ok_or_else(bad)?;
        for row in first..end {
            if let Some(validity) = validity {
                let byte = validity.get(row / 8).ok_or_else(bad)?;
                if byte >> (row % 8) & 1 == 0 {
                    heap.charge(4)?;
                    self.texts.append_null();
                    continue;
                }
            }
            let at = |row| position(offsets?, row, width);
            let (from, to) = at(row).zip(at(row + 1)).ok_or_else(bad)?;
            let text = bytes.get(from..to).and_then(|text| std::str::from_utf8(text).ok());
            let text = text.ok_or_else(bad)?;
            // Offsets that overlap would make a large column of few bytes.
            heap.charge(4 + text.len())?;
            self.bytes += text.len();
            if self.bytes > i32::MAX as usize {
                return Err(
                    "has more than 2 GiB of text in one column: write it in several files".into()
                );
            }
            self.texts.append_value(text);
        }
        Ok(())
    }
}

/// Bytes of one offset of a type of texts.
fn offset_width(heap: &Heap<'_>, kind: Id) -> Read<usize> {
    let name = match heap.call(kind) {
        Some((Global::ArrowType, [name], _)) => heap.text(*name).unwrap_or_default(),
        _ => "".into(),
    };
    match name.as_ref() {
        "string" => Ok(4),
        "large_string" => Ok(8),
        _ => Err(format!(
            "has an array of pyarrow of type `{}`: expected texts; write it again with \
             `df.to_parquet(…)`, or after `df.astype(object)`",
            name.chars().take(40).flat_map(char::escape_debug).collect::<String>()
        )),
    }
}

/// The bytes of a buffer; `None` where there is none.
fn buffer<'h>(heap: &'h Heap<'_>, id: Id) -> Read<Option<&'h [u8]>> {
    match heap.get(id) {
        Node::None => Ok(None),
        Node::Bytes(bytes) => Ok(Some(bytes)),
        _ => Err(damaged("a column of texts")),
    }
}

fn position(offsets: &[u8], row: usize, width: usize) -> Option<usize> {
    let from = row.checked_mul(width)?;
    let bytes = offsets.get(from..)?.get(..width)?;
    // Negative offsets become far too large ones.
    let mut number = [0; 8];
    number[..width].copy_from_slice(bytes);
    usize::try_from(u64::from_le_bytes(number)).ok()
}
