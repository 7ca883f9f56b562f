//! NumPy's constructors: arrays, types and scalars.

use std::borrow::Cow;

use super::globals::Global;
use super::value::{Heap, Id, Node, Read};
use crate::arrow::array::ArrayRef;
use crate::source::dtype::{Dtype, Kind};
use crate::source::ndarray::{NdArray, count};

/// An array of a pickle.
pub(super) enum Array<'h> {
    Plain(NdArray<'h>),
    /// Python values, in C order.
    Objects {
        shape: Vec<usize>,
        items: &'h [Id],
    },
}

/// The array at `id`, if it is one.
pub(super) fn array<'h>(heap: &'h Heap<'_>, id: Id) -> Read<Option<Array<'h>>> {
    let (dtype_id, shape, data, fortran, axes) = match heap.call(id) {
        Some((Global::Reconstruct, _, Some(state))) => match heap.items(state) {
            Some([.., shape, dtype, fortran, data]) => (
                *dtype,
                *shape,
                *data,
                *fortran == Heap::TRUE || heap.int(*fortran) == Some(1),
                None,
            ),
            _ => return Err(damaged("the state of an array")),
        },
        Some((Global::Reconstruct, _, None)) => return Err(damaged("an array without data")),
        Some((Global::FromBuffer, [data, dtype, shape, order, axes @ ..], _)) => {
            let fortran = heap.text(*order).is_some_and(|o| o == "F");
            let axes = axes.first().filter(|id| **id != Heap::NONE).copied();
            (*dtype, *shape, *data, fortran, axes)
        }
        Some((Global::FromBuffer, ..)) => return Err(damaged("the arguments of an array")),
        _ => return Ok(None),
    };
    let shape = sizes(heap, shape).ok_or_else(|| damaged("the shape of an array"))?;
    let dtype = dtype(heap, dtype_id)?;
    match (heap.get(data), &dtype.kind) {
        (Node::List(items), Kind::Object) => match count(&shape)? == items.len() {
            // Whatever the order in memory was, objects are written in C order.
            true => Ok(Some(Array::Objects { shape, items })),
            false => Err(damaged("the number of objects in an array")),
        },
        (Node::Bytes(bytes), kind) if *kind != Kind::Object => {
            let array = NdArray::new(dtype, shape, fortran, Cow::Borrowed(bytes.as_ref()))?;
            match axes {
                None => Ok(Some(Array::Plain(array))),
                Some(axes) => {
                    let axes = sizes(heap, axes).ok_or_else(|| damaged("the axes of an array"))?;
                    array.transpose(&axes).map(|a| Some(Array::Plain(a)))
                }
            }
        }
        _ => Err(damaged("the data of an array")),
    }
}

/// The value of a NumPy scalar, as a column of one.
pub(super) fn scalar(heap: &Heap<'_>, args: &[Id]) -> Read<ArrayRef> {
    let [dtype_id, data] = args else {
        return Err(damaged("a scalar"));
    };
    let dtype = dtype(heap, *dtype_id)?;
    match heap.get(*data) {
        Node::Bytes(bytes) => {
            NdArray::new(dtype, Vec::new(), false, Cow::Borrowed(bytes.as_ref()))?.column(0)
        }
        _ => Err(damaged("a scalar")),
    }
}

fn dtype(heap: &Heap<'_>, id: Id) -> Read<Dtype> {
    let Some((Global::Dtype, args, state)) = heap.call(id) else {
        return Err(format!(
            "has an array of the type {}: expected one of NumPy's own types",
            heap.describe(id)
        ));
    };
    let code = args.first().and_then(|id| heap.text(*id)).unwrap_or("V".into());
    let state = state.and_then(|s| heap.items(s)).unwrap_or_default();
    let [endian, subtype, names, fields, size, metadata] =
        [1, 2, 3, 4, 5, 8].map(|at| state.get(at).copied().unwrap_or(Heap::NONE));
    if subtype != Heap::NONE {
        return Err("has an array of arrays of a fixed shape: split it into columns".into());
    }
    if names != Heap::NONE {
        return structure(heap, names, fields, size);
    }
    let endian = heap.text(endian).filter(|e| e.len() == 1).unwrap_or("=".into());
    let code: String = code.chars().take(40).collect();
    let unit = match code.starts_with(['M', 'm']) && !code.contains('[') {
        true => format!("[{}]", unit(heap, metadata)?),
        false => String::new(),
    };
    Dtype::parse(&format!("{endian}{code}{unit}"))
}

/// `(dict, (unit, count, 1, 1))`.
fn unit(heap: &Heap<'_>, metadata: Id) -> Read<String> {
    let parts = heap.items(metadata).and_then(|m| heap.items(*m.last()?));
    match parts {
        Some([unit, count, ..]) => {
            let unit = heap.text(*unit).unwrap_or_default();
            Ok(match heap.int(*count) {
                Some(1) => unit.into_owned(),
                count => format!("{}{unit}", count.unwrap_or(0)),
            })
        }
        _ => Err(damaged("the unit of a time")),
    }
}

fn structure(heap: &Heap<'_>, names: Id, fields: Id, size: Id) -> Read<Dtype> {
    const MAX_FIELDS: usize = 256;
    let bad = || damaged("the fields of a structured array");
    let size = heap.size(size).ok_or_else(bad)?;
    let names = heap.items(names).ok_or_else(bad)?;
    if names.len() > MAX_FIELDS {
        return Err(format!(
            "has a structured array of more than {MAX_FIELDS} fields: expected fewer"
        ));
    }
    heap.charge(64 * names.len())?;
    let mut out = Vec::new();
    for name in names {
        let name = heap.text(*name).ok_or_else(bad)?;
        let field = heap.entry(fields, &[&name]).and_then(|f| heap.items(f));
        let Some([field, offset, ..]) = field else {
            return Err(bad());
        };
        // One level only: a type inside a type inside a type could be written to take for ever.
        let nested = heap
            .call(*field)
            .and_then(|(_, _, state)| heap.items(state?)?.get(3).copied());
        if nested.is_some_and(|names| names != Heap::NONE) {
            return Err("has a structured array inside another: split it into columns".into());
        }
        let dtype = dtype(heap, *field)?;
        let offset = heap.size(*offset).ok_or_else(bad)?;
        if offset.checked_add(dtype.size).is_none_or(|end| end > size) {
            return Err(bad());
        }
        if dtype.kind == Kind::Object {
            return Err("has a structured array with objects: write it as a data frame".into());
        }
        out.push((name.into_owned(), dtype, offset));
    }
    Ok(Dtype {
        kind: Kind::Struct(out),
        size,
        big_endian: false,
    })
}

/// A tuple of sizes; NumPy also writes one size alone.
fn sizes(heap: &Heap<'_>, id: Id) -> Option<Vec<usize>> {
    const MAX_RANK: usize = 64;
    match heap.get(id) {
        Node::Int(_) => Some(vec![heap.size(id)?]),
        _ => {
            let items = heap.items(id).filter(|items| items.len() <= MAX_RANK)?;
            items.iter().map(|id| heap.size(*id)).collect()
        }
    }
}

pub(super) fn damaged(what: &str) -> String {
    format!("is damaged: {what} cannot be read")
}
