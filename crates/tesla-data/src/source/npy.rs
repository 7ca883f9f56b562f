//! NumPy's own files: `.npy` holds one array, `.npz` a zip of them.

use std::io::{Cursor, Read as _};

use zip::ZipArchive;

use super::assemble::{Part, named, single};
use super::dtype::{Dtype, Kind, Read};
use super::literal::{Literal, parse};
use super::ndarray::{NdArray, count};
use super::table::{TableSource, read_all};
use super::unpack::Guard;
use super::{Input, pickle};
use crate::{Error, Result};

/// The first bytes of a `.npy` file.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// Bytes that the members of one `.npz` may have together when unpacked.
const MAX_UNPACKED: u64 = 4 << 30;
/// Members of one `.npz`.
const MAX_MEMBERS: usize = 10_000;
/// A header describes one array; NumPy itself stops at 10,000 bytes unless told otherwise.
const MAX_HEADER: usize = 1 << 16;

/// Reads a `.npy` or a `.npz` file that holds a table, arrays or images.
///
/// # Errors
/// When it is damaged, or holds what is not a table.
pub fn open_numpy(input: Input) -> Result<TableSource> {
    let bytes = read_all(&input)?;
    let rows = match bytes.starts_with(b"PK") {
        true => members(&bytes).and_then(named),
        false => array(bytes).and_then(single),
    };
    let rows = rows.map_err(|reason| Error::source(input.name(), reason))?;
    Ok(TableSource::new(input, rows))
}

/// The arrays of a `.npz`, in the order of their writing. Nothing is unpacked to disk, so a name
/// is only a name.
fn members(bytes: &[u8]) -> Read<Vec<(String, Part<'static>)>> {
    let bad = |e| format!("is not a readable zip file: {e}");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(bad)?;
    if archive.len() > MAX_MEMBERS {
        return Err(format!("has more than {MAX_MEMBERS} arrays: expected fewer"));
    }
    let mut parts = Vec::new();
    let mut left = MAX_UNPACKED;
    for at in 0..archive.len() {
        let member = archive.by_index(at).map_err(bad)?;
        let name = member.name().map_err(bad)?.into_owned();
        let Some(name) = name.strip_suffix(".npy").map(String::from) else {
            let shown: String = name.escape_debug().take(80).collect();
            return Err(format!(
                "has the member `{shown}`: expected arrays only, as `np.savez` writes them"
            ));
        };
        // The size that the archive states is not trusted: unpacking stops where it is reached.
        let size = member.size();
        Guard::check(member.compressed_size(), size)
            .map_err(|reason| format!("has the array `{name}`, and {reason}"))?;
        left = left
            .checked_sub(size)
            .ok_or("unpacks to more than 4 GiB: write it as several files")?;
        let mut bytes = Vec::new();
        member
            .take(size.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|e| format!("has a damaged array `{name}`: {e}"))?;
        if bytes.len() as u64 != size {
            return Err(format!("has a damaged array `{name}`: its size is not the one stated"));
        }
        parts.push((name, array(bytes)?));
    }
    Ok(parts)
}

/// The array of a `.npy` file: magic, version, the header's length, the header, the data.
fn array(bytes: Vec<u8>) -> Read<Part<'static>> {
    let bad = || "is not a `.npy` file: expected the header that `np.save` writes".to_string();
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(bad)?;
    let (length, rest) = match rest {
        [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return Err(bad()),
    };
    if length > MAX_HEADER || length > rest.len() {
        return Err(format!("is truncated or damaged: its header promises {length} bytes"));
    }
    let (header, data) = rest.split_at(length);
    let header = parse(std::str::from_utf8(header).map_err(|_| bad())?)?;
    let field = |name| header.entry(name).ok_or_else(bad);
    let fortran = match field("fortran_order")? {
        Literal::Bool(fortran) => *fortran,
        _ => return Err(bad()),
    };
    let shape = field("shape")?.items().ok_or_else(bad)?;
    let shape: Option<Vec<usize>> = shape.iter().map(Literal::size).collect();
    let shape = shape.ok_or_else(bad)?;
    let dtype = dtype(field("descr")?)?;
    if dtype.kind == Kind::Object {
        return pickle::objects(data);
    }
    let size = count(&shape)?.checked_mul(dtype.size).ok_or_else(bad)?;
    if size != data.len() {
        return Err(format!(
            "is truncated or damaged: an array of shape {shape:?} has {size} bytes, and {} are there",
            data.len()
        ));
    }
    let start = bytes.len() - size;
    let mut data = bytes;
    data.drain(..start);
    let array = NdArray::new(dtype, shape, fortran, data.into())?;
    match array.rank() {
        0 => Ok(Part::Other("a single value".into())),
        _ => Ok(Part::Array(array)),
    }
}

/// A type: a short form, or a list of `(name, short form)`.
fn dtype(descr: &Literal) -> Read<Dtype> {
    let fields = match descr {
        Literal::Text(code) => return Dtype::parse(code),
        Literal::List(fields) => fields,
        _ => return Err("is damaged: the type of its array cannot be read".into()),
    };
    let mut offset = 0;
    let mut out = Vec::new();
    for field in fields {
        // A field with a title is ((title, name), type); one with a shape has it as third part.
        let (name, code) = match field.items() {
            Some([Literal::Text(name), Literal::Text(code)]) => (name, code),
            Some([Literal::Tuple(names), Literal::Text(code)]) => match &names[..] {
                [_, Literal::Text(name)] => (name, code),
                _ => return Err("is damaged: the type of its array cannot be read".into()),
            },
            _ => {
                return Err(
                    "has a structured array with arrays inside: split it into columns".into()
                );
            }
        };
        // Padding between fields has no name and the type `V`.
        if let Some(padding) = code.strip_prefix("|V")
            && name.is_empty()
        {
            let padding: u32 =
                padding.parse().map_err(|_| format!("has a field of type `{code}`"))?;
            offset += padding as usize;
            continue;
        }
        let dtype = Dtype::parse(code)?;
        if dtype.kind == Kind::Object {
            return Err("has a structured array with objects: write it as a data frame".into());
        }
        let size = dtype.size;
        out.push((name.clone(), dtype, offset));
        offset = offset
            .checked_add(size)
            .ok_or("has a structured array of absurd size")?;
    }
    Ok(Dtype {
        kind: Kind::Struct(out),
        size: offset,
        big_endian: false,
    })
}
