//! What of a pickle is a table.

use std::collections::HashMap;

use super::globals::Global;
use super::value::{Heap, Id, Node, Read};
use super::{cells, numpy, pandas};
use crate::arrow::array::{ArrayRef, RecordBatch};
use crate::source::assemble::{self, Part, SHAPES};

/// The table that the value at `root` means.
pub(super) fn table(heap: &Heap<'_>, root: Id) -> Read<RecordBatch> {
    match heap.get(root) {
        Node::Dict(entries) => {
            let mut places = HashMap::new();
            let mut parts: Vec<(String, Part<'_>)> = Vec::new();
            for (key, value) in entries {
                let (key, part) = (heap.key(*key), part(heap, *value)?);
                heap.charge(size_of::<Part<'_>>() + 2 * key.len())?;
                match places.get(&key) {
                    Some(at) => parts[*at] = (key, part),
                    None => {
                        places.insert(key.clone(), parts.len());
                        parts.push((key, part));
                    }
                }
            }
            assemble::named(parts)
        }
        Node::List(items) | Node::Tuple(items) if is_bundle(heap, items) => bundle(heap, items),
        _ => assemble::single(part(heap, root)?),
    }
}

/// The most parts of a tuple of arrays.
const MAX_PARTS: usize = 64;

/// Whether the items are arrays or tables side by side, not rows.
fn is_bundle(heap: &Heap<'_>, items: &[Id]) -> bool {
    let whole =
        |id: &Id| matches!(heap.get(*id), Node::Call { .. }) && !cells::is_scalar(heap, *id);
    let all = |id: &Id, fits: &dyn Fn(&Id) -> bool| {
        heap.items(*id)
            .is_some_and(|items| !items.is_empty() && items.iter().all(fits))
    };
    let lists = match items {
        // X as rows, y as values.
        [x, y] => {
            all(x, &|row| heap.items(*row).is_some()) && all(y, &|v| cells::is_scalar(heap, *v))
        }
        _ => false,
    };
    let nested = |id: &Id| heap.items(*id).is_some_and(|pair| pair.iter().any(whole));
    (1..=MAX_PARTS).contains(&items.len()) && (lists || items.iter().any(|i| whole(i) || nested(i)))
}

fn bundle(heap: &Heap<'_>, items: &[Id]) -> Read<RecordBatch> {
    let mut parts = Vec::new();
    for id in items {
        parts.push(part(heap, *id)?);
    }
    let pairs = items
        .iter()
        .filter(|id| heap.items(**id).is_some_and(|pair| pair.len() == 2))
        .count();
    if pairs == items.len() && pairs > 1 && parts.iter().all(|p| matches!(p, Part::Other(_))) {
        return Err(format!(
            "holds {pairs} pairs (X, y), as of training and test: save each as a file of its own, \
             and name them as `source` and `test`"
        ));
    }
    match <[Part<'_>; 2]>::try_from(parts) {
        Ok([x, y]) if assemble::is_pair(&x, &y) => assemble::pair(x, y),
        Ok(parts) => assemble::named(numbered(parts.into())),
        Err(mut parts) if parts.len() == 1 => assemble::single(parts.remove(0)),
        Err(parts) => assemble::named(numbered(parts)),
    }
}

fn numbered(parts: Vec<Part<'_>>) -> Vec<(String, Part<'_>)> {
    let parts = parts.into_iter().enumerate();
    parts.map(|(i, part)| (format!("c{}", i + 1), part)).collect()
}

fn part<'h>(heap: &'h Heap<'_>, id: Id) -> Read<Part<'h>> {
    if let Some(array) = numpy::array(heap, id)? {
        return array_part(heap, array);
    }
    if let Some(columns) = pandas::table(heap, id)? {
        return Ok(Part::Table(columns));
    }
    if let Some(values) = pandas::values(heap, id, 0)? {
        return Ok(Part::Column(values));
    }
    let other = || Ok(Part::Other(heap.describe(id)));
    let Some(items) = heap.items(id).filter(|items| !items.is_empty()) else {
        return other();
    };
    if items.iter().all(|i| cells::is_scalar(heap, *i)) {
        return cells::column(heap, items.iter().map(|i| Some(*i))).map(Part::Column);
    }
    if items.iter().all(|i| matches!(heap.get(*i), Node::Dict(_))) {
        return dicts(heap, items).map(Part::Table);
    }
    if is_rows(heap, items)? {
        return lists(heap, items).map(Part::Columns);
    }
    if items
        .iter()
        .all(|i| matches!(heap.call(*i), Some((Global::Reconstruct | Global::FromBuffer, ..))))
    {
        return Ok(Part::Other(format!(
            "a list of {} arrays (make one of them with `np.stack`)",
            items.len()
        )));
    }
    other()
}

/// Whether all items are lists of plain values.
fn is_rows(heap: &Heap<'_>, items: &[Id]) -> Read<bool> {
    for id in items {
        let Some(row) = heap.items(*id) else {
            return Ok(false);
        };
        // One row may stand for many.
        heap.charge(row.len())?;
        if !row.iter().all(|id| cells::is_scalar(heap, *id)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The array as a part; a pickle that holds it cannot go away while the part is used.
pub(super) fn array_part<'h>(heap: &'h Heap<'_>, array: numpy::Array<'h>) -> Read<Part<'h>> {
    match array {
        numpy::Array::Plain(array) if array.rank() == 0 => Ok(Part::Other("a single value".into())),
        numpy::Array::Plain(array) => {
            heap.charge(2 * array.len() + 64)?;
            Ok(Part::Array(array))
        }
        numpy::Array::Objects { shape, items } => match shape[..] {
            [_] => cells::column(heap, items.iter().map(|i| Some(*i))).map(Part::Column),
            [_, 0] => Ok(Part::Other("an array without columns".into())),
            [_, width] => {
                let column = |at| {
                    cells::column(heap, items.iter().skip(at).step_by(width).map(|i| Some(*i)))
                };
                (0..width).map(column).collect::<Read<_>>().map(Part::Columns)
            }
            _ => Ok(Part::Other(format!("an array of objects of shape {shape:?}"))),
        },
    }
}

/// Rows that are dicts: a column per key, in the order of their first appearance.
fn dicts(heap: &Heap<'_>, rows: &[Id]) -> Read<Vec<(String, ArrayRef)>> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut columns: Vec<(String, Vec<Option<Id>>)> = Vec::new();
    for (row, id) in rows.iter().enumerate() {
        let Node::Dict(entries) = heap.get(*id) else {
            continue;
        };
        heap.charge(16 * entries.len())?;
        for (key, value) in entries {
            let key = heap.key(*key);
            let at = match places.get(&key) {
                Some(at) => *at,
                None => {
                    heap.charge(8 * rows.len() + 2 * key.len())?;
                    places.insert(key.clone(), columns.len());
                    columns.push((key, vec![None; rows.len()]));
                    columns.len() - 1
                }
            };
            columns[at].1[row] = Some(*value);
        }
    }
    let column = |(name, values): (String, Vec<Option<Id>>)| {
        let values = cells::column(heap, values.into_iter());
        Ok((name, values?))
    };
    columns.into_iter().map(column).collect()
}

/// Rows that are lists of one length.
fn lists(heap: &Heap<'_>, rows: &[Id]) -> Read<Vec<ArrayRef>> {
    let width = heap.items(rows[0]).map_or(0, <[Id]>::len);
    let length = |id: &Id| heap.items(*id).map_or(0, <[Id]>::len);
    if let Some(row) = rows.iter().position(|row| length(row) != width) {
        return Err(format!(
            "holds {} values in row {} and {width} in the first: expected as many",
            length(&rows[row]),
            row + 1
        ));
    }
    if width == 0 {
        return Err(format!("holds rows without values: {SHAPES}"));
    }
    let value = |id: &Id, at: usize| heap.items(*id).and_then(|row| row.get(at)).copied();
    let column = |at| cells::column(heap, rows.iter().map(|row| value(row, at)));
    (0..width).map(column).collect()
}
