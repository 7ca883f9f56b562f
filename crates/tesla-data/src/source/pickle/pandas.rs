//! The data frames and series of pandas 1, 2 and 3.

use std::sync::Arc;

use super::globals::Global;
use super::numpy::{Array, array, damaged};
use super::value::{Heap, Id, Node, Read};
use super::{arrow, cells};
use crate::arrow::array::{Array as _, ArrayRef, AsArray, Int64Array};
use crate::arrow::compute::cast;
use crate::arrow::datatypes::{DataType, Int64Type};
use crate::frame::as_strings;
use arrow_select::nullif::nullif;
use arrow_select::take::take;

/// Columns with their names.
type Columns = Vec<(String, ArrayRef)>;
/// Values, and the columns they stand for.
type Block = (Id, Id);

/// More labels than this are not names of columns.
const MAX_LABELS: usize = 100_000;

/// The columns of a data frame, a series or an index, if it is one. The index is left out where
/// it only counts the rows. A series or an index without a name has the name "".
pub(super) fn table(heap: &Heap<'_>, id: Id) -> Read<Option<Columns>> {
    match heap.call(id) {
        Some((Global::DataFrame, _, Some(state))) => frame(heap, state).map(Some),
        Some((Global::Series, _, Some(state))) => series(heap, state).map(Some),
        Some((Global::NewIndex, ..)) => {
            let name = index_name(heap, id).unwrap_or_default();
            Ok(Some(vec![(name, index_values(heap, id)?)]))
        }
        _ => Ok(None),
    }
}

fn frame(heap: &Heap<'_>, state: Id) -> Read<Columns> {
    let manager = heap.entry(state, &["_mgr", "_data"]);
    let manager = manager.ok_or_else(|| damaged("the data of a data frame"))?;
    let (axes, blocks) = manager_parts(heap, manager)?;
    let [labels, index] = axes[..] else {
        return Err(damaged("the axes of a data frame"));
    };
    let labels = index_labels(heap, labels)?;
    let mut columns: Vec<Option<ArrayRef>> = vec![None; labels.len()];
    for (block, placement) in blocks {
        for (row, at) in placed(heap, placement, labels.len())?.into_iter().enumerate() {
            let values = values(heap, block, row)?;
            columns[at] = Some(values.ok_or_else(|| unread(heap, block))?);
        }
    }
    let mut table = index_columns(heap, index)?;
    for (name, values) in std::iter::zip(labels, columns) {
        let values = values.ok_or_else(|| damaged(&format!("column `{name}`")))?;
        table.push((name, values));
    }
    Ok(table)
}

fn series(heap: &Heap<'_>, state: Id) -> Read<Columns> {
    let manager = heap.entry(state, &["_mgr", "_data"]);
    let manager = manager.ok_or_else(|| damaged("the data of a series"))?;
    let (axes, blocks) = manager_parts(heap, manager)?;
    let ([index], [(block, _)]) = (&axes[..], &blocks[..]) else {
        return Err(damaged("the data of a series"));
    };
    let name = heap.entry(state, &["_name", "name"]);
    let name = name.filter(|n| *n != Heap::NONE).map(|n| heap.key(n));
    let mut table = index_columns(heap, *index)?;
    let values = values(heap, *block, 0)?.ok_or_else(|| unread(heap, *block))?;
    table.push((name.unwrap_or_default(), values));
    Ok(table)
}

/// The axes, and the blocks of values with the columns each holds.
fn manager_parts(heap: &Heap<'_>, manager: Id) -> Read<(Vec<Id>, Vec<Block>)> {
    let bad = || damaged("the blocks of a data frame");
    let block = |id: &Id| match heap.call(*id) {
        Some((Global::UnpickleBlock, [values, placement, ..], _)) => Ok((*values, *placement)),
        _ => Err(bad()),
    };
    let (found, blocks) = match heap.call(manager) {
        // Since pandas 1.3. A series has one block and one axis, not lists of one.
        Some((Global::BlockManager, [blocks, axes, ..], _)) => match heap.items(*blocks) {
            Some(blocks) => (*axes, blocks.iter().map(block).collect::<Read<_>>()?),
            None => (*axes, vec![block(blocks)?]),
        },
        // Before: (axes, values, items, {"0.14.1": {"axes": …, "blocks": [{"values": …, "mgr_locs": …}]}}).
        Some((Global::BlockManager, [], Some(state))) => {
            let last = heap.items(state).and_then(|s| s.last());
            let inner = last.and_then(|s| heap.entry(*s, &["0.14.1"])).ok_or_else(bad)?;
            let axes = heap.entry(inner, &["axes"]).ok_or_else(bad)?;
            let blocks = heap.entry(inner, &["blocks"]).and_then(|b| heap.items(b));
            let part = |id: &Id| {
                let values = heap.entry(*id, &["values"])?;
                Some((values, heap.entry(*id, &["mgr_locs"])?))
            };
            let blocks = blocks.ok_or_else(bad)?.iter().map(part);
            (axes, blocks.collect::<Option<_>>().ok_or_else(bad)?)
        }
        _ => return Err(bad()),
    };
    let axes = heap.items(found).map_or(vec![found], <[Id]>::to_vec);
    Ok((axes, blocks))
}

/// The columns of a block: a slice or an array of numbers.
fn placed(heap: &Heap<'_>, placement: Id, columns: usize) -> Read<Vec<usize>> {
    let bad = || damaged("the place of a block");
    let places: Vec<i64> = match heap.call(placement) {
        Some((Global::Slice, [start, stop, step], _)) => {
            let [start, stop, step] = [start, stop, step].map(|id| heap.int(*id));
            let (start, stop, step) =
                (start.unwrap_or(0), stop.ok_or_else(bad)?, step.unwrap_or(1));
            let (from, to) = (start.max(-1), stop.clamp(-1, columns as i64));
            match step {
                1.. => (from..to).step_by(step as usize).collect(),
                _ => std::iter::successors(Some(from), |at| at.checked_add(step))
                    .take_while(|at| step < 0 && *at > to && *at < columns as i64)
                    .collect(),
            }
        }
        _ => {
            let values = values(heap, placement, 0)?.ok_or_else(bad)?;
            integers(&values)?.values().to_vec()
        }
    };
    heap.charge(8 * places.len())?;
    let place = |at: i64| usize::try_from(at).ok().filter(|at| *at < columns).ok_or_else(bad);
    places.into_iter().map(place).collect()
}

/// Row `row` of a block, or the values of an array of pandas' own; `None` where it is no array.
pub(super) fn values(heap: &Heap<'_>, id: Id, row: usize) -> Read<Option<ArrayRef>> {
    if let Some(values) = plain(heap, id, row)? {
        return Ok(Some(values));
    }
    let Some((function, args, state)) = heap.call(id) else {
        return Ok(None);
    };
    let state = state.unwrap_or(Heap::NONE);
    let part = |names: &[&str]| heap.entry(state, names);
    match function {
        // (class, checksum, state) and, usually later, a state of (type, array, …).
        Global::UnpickleNdArrayBacked => {
            let state = if state == Heap::NONE {
                args.get(2).copied()
            } else {
                Some(state)
            };
            let state = state.and_then(|s| heap.items(s));
            let (Some([first, second, ..]), Some(class)) = (state, args.first()) else {
                return Err(damaged("an array of pandas"));
            };
            let is_array =
                matches!(heap.call(*first), Some((Global::Reconstruct | Global::FromBuffer, ..)));
            let (dtype, data) = if is_array {
                (second, first)
            } else {
                (first, second)
            };
            match heap.get(*class) {
                Node::Global(class) => backed(heap, *class, Some(*dtype), *data, row).map(Some),
                _ => Err(damaged("an array of pandas")),
            }
        }
        Global::Categorical
        | Global::DatetimeArray
        | Global::NumpyExtensionArray
        | Global::StringArray
        | Global::TimedeltaArray => {
            let data = part(&["_ndarray", "_codes", "_data"]);
            let data = data.ok_or_else(|| damaged("an array of pandas"))?;
            backed(heap, function, part(&["_dtype"]), data, row).map(Some)
        }
        Global::MaskedArray | Global::BooleanArray => {
            let (Some(data), Some(mask)) = (part(&["_data"]), part(&["_mask"])) else {
                return Err(damaged("an array of pandas"));
            };
            let (Some(data), Some(mask)) = (plain(heap, data, 0)?, plain(heap, mask, 0)?) else {
                return Err(damaged("an array of pandas"));
            };
            match mask.as_boolean_opt().filter(|mask| mask.len() == data.len()) {
                Some(mask) => nullif(&data, mask).map(Some).map_err(|e| e.to_string()),
                None => Err(damaged("the missing values of an array")),
            }
        }
        Global::ArrowStringArray => {
            let data = part(&["_pa_array", "_data"]);
            arrow::texts(heap, data.ok_or_else(|| damaged("a column of texts"))?).map(Some)
        }
        Global::NewIndex => index_values(heap, id).map(Some),
        _ => Ok(None),
    }
}

/// Row `row` of an array of NumPy; a one-dimensional array has row 0 only.
fn plain(heap: &Heap<'_>, id: Id, row: usize) -> Read<Option<ArrayRef>> {
    let bad = || damaged("the shape of a block");
    Ok(match array(heap, id)? {
        None => None,
        Some(Array::Plain(array)) => {
            let rows = match array.shape[..] {
                [_] => 1,
                [rows, _] => rows,
                _ => return Err(bad()),
            };
            if row >= rows {
                return Err(bad());
            }
            heap.charge(2 * array.len() / rows + 64)?;
            Some(array.row(row)?)
        }
        Some(Array::Objects { shape, items }) => {
            let items = match shape[..] {
                [_] if row == 0 => Some(items),
                [_, width] => row
                    .checked_mul(width)
                    .and_then(|from| items.get(from..)?.get(..width)),
                _ => None,
            };
            let items = items.ok_or_else(bad)?;
            Some(cells::column(heap, items.iter().map(|i| Some(*i)))?)
        }
    })
}

/// An array of pandas over one of NumPy.
fn backed(
    heap: &Heap<'_>,
    class: Global,
    dtype: Option<Id>,
    data: Id,
    row: usize,
) -> Read<ArrayRef> {
    // Only an array of NumPy: arrays over arrays could be written to take for ever.
    let data = plain(heap, data, row)?.ok_or_else(|| unread(heap, data))?;
    let dtype = dtype.and_then(|d| heap.call(d));
    match (class, dtype) {
        (Global::Categorical, Some((Global::CategoricalDtype, args, state))) => {
            let categories = state.and_then(|s| heap.entry(s, &["categories"]));
            let categories = categories.or(args.first().copied());
            let categories = categories.ok_or_else(|| damaged("the categories of a column"))?;
            let categories = index_values(heap, categories)?;
            taken(heap, &categories, &data)
        }
        (Global::Categorical, _) => Err(damaged("the categories of a column")),
        // Stored in UTC, whatever the zone they are shown in.
        (Global::DatetimeArray, Some((Global::DatetimeTzDtype, ..))) => match data.data_type() {
            DataType::Timestamp(unit, None) => {
                let zoned = DataType::Timestamp(*unit, Some(Arc::from("+00:00")));
                cast(&data, &zoned).map_err(|e| e.to_string())
            }
            _ => Err(damaged("a column of times")),
        },
        _ => Ok(data),
    }
}

/// The category of each code; -1 is a missing value.
fn taken(heap: &Heap<'_>, categories: &ArrayRef, codes: &ArrayRef) -> Read<ArrayRef> {
    let texts = categories.as_string_opt::<i32>();
    let mut total = 0;
    let mut places = Vec::with_capacity(codes.len());
    for code in integers(codes)?.iter() {
        places.push(match code {
            Some(-1) => None,
            Some(code) if (0..categories.len() as i64).contains(&code) => {
                total += texts.map_or(8, |t| t.value_length(code as usize) as usize + 4);
                Some(code)
            }
            _ => return Err(damaged("the categories of a column")),
        });
    }
    heap.charge(total)?;
    if total > i32::MAX as usize {
        return Err("has more than 2 GiB of text in one column: write it in several files".into());
    }
    take(categories, &Int64Array::from(places), None).map_err(|e| e.to_string())
}

fn integers(values: &ArrayRef) -> Read<Int64Array> {
    match values.data_type().is_integer() && values.null_count() == 0 {
        true => {
            let values = cast(values, &DataType::Int64).map_err(|e| e.to_string())?;
            Ok(values.as_primitive::<Int64Type>().clone())
        }
        false => Err(damaged("a list of numbers")),
    }
}

/// The class and the parts of an index.
fn index_parts(heap: &Heap<'_>, id: Id) -> Read<(Global, Id)> {
    match heap.call(id) {
        Some((Global::NewIndex, [class, parts, ..], _)) => match heap.get(*class) {
            Node::Global(class) => Ok((*class, *parts)),
            _ => Err(damaged("an index")),
        },
        _ => Err(unread(heap, id)),
    }
}

fn index_name(heap: &Heap<'_>, id: Id) -> Option<String> {
    let (_, parts) = index_parts(heap, id).ok()?;
    let name = heap.entry(parts, &["name"])?;
    (name != Heap::NONE).then(|| heap.key(name))
}

fn index_values(heap: &Heap<'_>, id: Id) -> Read<ArrayRef> {
    let (class, parts) = index_parts(heap, id)?;
    match class {
        Global::RangeIndex => {
            let part = |name| heap.entry(parts, &[name]).and_then(|id| heap.int(id));
            let (Some(start), Some(stop)) = (part("start"), part("stop")) else {
                return Err(damaged("an index"));
            };
            let step = part("step").unwrap_or(1);
            let inside = |at: &i64| if step > 0 { *at < stop } else { step < 0 && *at > stop };
            let range = std::iter::successors(Some(start), |at| at.checked_add(step));
            let range: Vec<i64> = range.take_while(inside).take(MAX_LABELS + 1).collect();
            heap.charge(16 * range.len())?;
            match range.len() > MAX_LABELS {
                true => Err(format!("has an index of more than {MAX_LABELS} labels where names are expected")),
                false => Ok(Arc::new(Int64Array::from(range))),
            }
        }
        Global::MultiIndex => Err(
            "has columns in several levels: flatten them with `df.columns = ['_'.join(map(str, c)) for c in df.columns]`"
                .into(),
        ),
        _ => {
            let data = heap.entry(parts, &["data"]).ok_or_else(|| damaged("an index"))?;
            values(heap, data, 0)?.ok_or_else(|| unread(heap, data))
        }
    }
}

/// The names of columns.
fn index_labels(heap: &Heap<'_>, id: Id) -> Read<Vec<String>> {
    let values = index_values(heap, id)?;
    if values.len() > MAX_LABELS {
        return Err(format!(
            "has more than {MAX_LABELS} columns: expected fewer, is it transposed?"
        ));
    }
    let texts = as_strings(&values).map_err(|e| e.to_string())?;
    Ok(texts.iter().map(|t| t.unwrap_or("None").to_string()).collect())
}

/// The index as columns: none where it counts the rows, one for each level where it has several.
fn index_columns(heap: &Heap<'_>, id: Id) -> Read<Columns> {
    let (class, parts) = index_parts(heap, id)?;
    match class {
        Global::RangeIndex => Ok(Vec::new()),
        Global::MultiIndex => {
            let list = |names: &[&str]| heap.entry(parts, names).and_then(|id| heap.items(id));
            let (Some(levels), Some(codes)) = (list(&["levels"]), list(&["codes", "labels"]))
            else {
                return Err(damaged("an index of several levels"));
            };
            let names = list(&["names"]).unwrap_or_default();
            let level = |(i, (level, codes)): (usize, (&Id, &Id))| {
                let name = names.get(i).filter(|n| **n != Heap::NONE);
                let name = name.map_or_else(|| format!("level_{i}"), |n| heap.key(*n));
                let codes = values(heap, *codes, 0)?.ok_or_else(|| damaged("an index"))?;
                Ok((name, taken(heap, &index_values(heap, *level)?, &codes)?))
            };
            std::iter::zip(levels, codes).enumerate().map(level).collect()
        }
        _ => {
            let name = index_name(heap, id).unwrap_or_else(|| "index".into());
            Ok(vec![(name, index_values(heap, id)?)])
        }
    }
}

fn unread(heap: &Heap<'_>, id: Id) -> String {
    format!(
        "has {} where an array is expected: write it again with `df.to_parquet(…)`",
        heap.describe(id)
    )
}
