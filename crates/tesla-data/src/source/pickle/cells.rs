//! Python values as one Arrow column.

use std::borrow::Cow;
use std::sync::Arc;

use super::globals::Global;
use super::numpy::{damaged, scalar};
use super::value::{Heap, Id, Node, Read};
use crate::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, LargeBinaryArray,
    StringBuilder, TimestampMicrosecondArray,
};
use crate::arrow::compute::cast;
use crate::arrow::datatypes::{
    DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use crate::source::ndarray::{days, text};

/// One value of a column.
#[derive(Clone, Debug)]
enum Cell<'h> {
    Missing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'h, str>),
    Bytes(&'h [u8]),
    /// Microseconds since 1970; in UTC where `zoned`.
    Time {
        micros: i64,
        zoned: bool,
    },
}

const DAY: i64 = 86_400_000_000;

/// The values as a column: booleans, whole numbers, numbers, times, images or texts. Where kinds
/// are mixed, whole numbers become numbers, and any other mixture becomes text.
pub(super) fn column(heap: &Heap<'_>, values: impl Iterator<Item = Option<Id>>) -> Read<ArrayRef> {
    let mut cells = Vec::new();
    for (row, value) in values.enumerate() {
        heap.charge(size_of::<Cell>() + 8)?;
        cells.push(match value {
            Some(id) => cell(heap, id, row)?,
            None => Cell::Missing,
        });
    }
    let all = |fits: fn(&Cell) -> bool| cells.iter().all(|c| matches!(c, Cell::Missing) || fits(c));
    if all(|_| false) {
        return Ok(Arc::new(crate::arrow::array::StringArray::new_null(cells.len())));
    }
    if all(|c| matches!(c, Cell::Bool(_))) {
        return Ok(Arc::new(BooleanArray::from_iter(cells.iter().map(|c| match c {
            Cell::Bool(b) => Some(*b),
            _ => None,
        }))));
    }
    if all(|c| matches!(c, Cell::Int(_))) {
        return Ok(Arc::new(Int64Array::from_iter(cells.iter().map(|c| match c {
            Cell::Int(i) => Some(*i),
            _ => None,
        }))));
    }
    if all(|c| matches!(c, Cell::Int(_) | Cell::Float(_))) {
        return Ok(Arc::new(Float64Array::from_iter(cells.iter().map(|c| match c {
            Cell::Int(i) => Some(*i as f64),
            Cell::Float(f) => Some(*f),
            _ => None,
        }))));
    }
    let micros = || {
        TimestampMicrosecondArray::from_iter(cells.iter().map(|c| match c {
            Cell::Time { micros, .. } => Some(*micros),
            _ => None,
        }))
    };
    if all(|c| matches!(c, Cell::Time { zoned: false, .. })) {
        return Ok(Arc::new(micros()));
    }
    if all(|c| matches!(c, Cell::Time { zoned: true, .. })) {
        return Ok(Arc::new(micros().with_timezone("+00:00")));
    }
    if all(|c| matches!(c, Cell::Bytes(b) if is_image(b))) {
        let bytes = cells.iter().map(|c| match c {
            Cell::Bytes(b) => Some(*b),
            _ => None,
        });
        let total: usize = bytes.clone().flatten().map(<[u8]>::len).sum();
        heap.charge(total)?;
        return Ok(Arc::new(LargeBinaryArray::from_iter(bytes)));
    }
    texts(heap, &cells)
}

/// Whether [`column`] can read the value: it is not a container.
pub(super) fn is_scalar(heap: &Heap<'_>, id: Id) -> bool {
    match heap.get(id) {
        Node::List(_) | Node::Tuple(_) | Node::Set(_) | Node::Dict(_) => false,
        Node::Global(global) => *global == Global::MissingNa,
        Node::Call { function, .. } => matches!(
            function,
            Global::Date
                | Global::DateTime
                | Global::Decimal
                | Global::MissingNa
                | Global::MissingNat
                | Global::PandasTimedelta
                | Global::Scalar
                | Global::Time
                | Global::TimeDelta
                | Global::Timestamp
        ),
        _ => true,
    }
}

fn cell<'h>(heap: &'h Heap<'_>, id: Id, row: usize) -> Read<Cell<'h>> {
    let node = heap.get(id);
    let unread = || {
        format!(
            "holds {} in row {}: expected a number, a text, a time, bytes or `None`",
            heap.describe(id),
            row + 1
        )
    };
    let (function, args) = match node {
        Node::None | Node::Global(Global::MissingNa) => return Ok(Cell::Missing),
        Node::Bool(b) => return Ok(Cell::Bool(*b)),
        Node::Int(i) => return Ok(Cell::Int(*i)),
        Node::Float(f) if f.is_nan() => return Ok(Cell::Missing),
        Node::Float(f) => return Ok(Cell::Float(*f)),
        Node::Str(s) => return Ok(Cell::Text(Cow::Borrowed(s))),
        Node::Bytes(b) => return Ok(Cell::Bytes(b)),
        _ => match heap.call(id) {
            Some((function, args, _)) => (function, args),
            None => return Err(unread()),
        },
    };
    let number = |at: usize| args.get(at).and_then(|id| heap.int(*id));
    let raw = || match args.first().map(|id| heap.get(*id)) {
        Some(Node::Bytes(bytes)) => Ok(bytes.as_ref()),
        _ => Err(damaged("a date")),
    };
    Ok(match function {
        Global::MissingNa | Global::MissingNat => Cell::Missing,
        Global::Scalar => from_array(scalar(heap, args)?)?,
        Global::Date => Cell::Time {
            micros: date(raw()?)?,
            zoned: false,
        },
        Global::DateTime => {
            let raw = raw()?;
            let local = date(raw)? + clock(raw.get(4..).unwrap_or_default())?;
            match args.get(1) {
                None | Some(&Heap::NONE) => Cell::Time {
                    micros: local,
                    zoned: false,
                },
                Some(zone) => Cell::Time {
                    micros: local - offset(heap, *zone)?,
                    zoned: true,
                },
            }
        }
        Global::Time => {
            let seconds = clock(raw()?)? / 1_000_000;
            let [hours, minutes] = [seconds / 3600, seconds / 60 % 60];
            Cell::Text(format!("{hours:02}:{minutes:02}:{:02}", seconds % 60).into())
        }
        Global::TimeDelta => match delta(heap, args) {
            Some(micros) => Cell::Float(micros as f64 / 1e6),
            None => return Err(damaged("a duration")),
        },
        Global::Decimal => {
            let value = args.first().and_then(|id| heap.text(*id)?.parse().ok());
            match value.ok_or_else(|| damaged("a decimal number"))? {
                f64::INFINITY | f64::NEG_INFINITY => return Err(unread()),
                value if value.is_nan() => Cell::Missing,
                value => Cell::Float(value),
            }
        }
        // (value, frequency, zone, resolution); the value is in UTC.
        Global::Timestamp => {
            let value = number(0).ok_or_else(|| damaged("a time"))?;
            Cell::Time {
                micros: micros(value, number(3))?,
                zoned: args.get(2).is_some_and(|zone| *zone != Heap::NONE),
            }
        }
        Global::PandasTimedelta => {
            let value = number(0).ok_or_else(|| damaged("a duration"))?;
            Cell::Float(micros(value, number(1))? as f64 / 1e6)
        }
        _ => return Err(unread()),
    })
}

/// A NumPy scalar.
fn from_array(values: ArrayRef) -> Read<Cell<'static>> {
    let bad = |_| damaged("a scalar");
    if values.len() != 1 || values.is_null(0) {
        return Ok(Cell::Missing);
    }
    Ok(match values.data_type() {
        DataType::Boolean => Cell::Bool(values.as_boolean().value(0)),
        DataType::Utf8 => Cell::Text(values.as_string::<i32>().value(0).to_string().into()),
        DataType::Timestamp(..) => {
            let values =
                cast(&values, &DataType::Timestamp(TimeUnit::Microsecond, None)).map_err(bad)?;
            Cell::Time {
                micros: values.as_primitive::<TimestampMicrosecondType>().value(0),
                zoned: false,
            }
        }
        kind if kind.is_integer() && *kind != DataType::UInt64 => {
            let values = cast(&values, &DataType::Int64).map_err(bad)?;
            Cell::Int(values.as_primitive::<Int64Type>().value(0))
        }
        _ => {
            let values = cast(&values, &DataType::Float64).map_err(bad)?;
            Cell::Float(values.as_primitive::<Float64Type>().value(0))
        }
    })
}

/// Year (2 bytes), month, day: microseconds since 1970.
fn date(raw: &[u8]) -> Read<i64> {
    let [high, low, month, day, ..] = *raw else {
        return Err(damaged("a date"));
    };
    // The highest bit of the month tells the second of two equal hours in autumn.
    let (year, month) = (i64::from(high) << 8 | i64::from(low), i64::from(month & 0x7f));
    match (1..=12).contains(&month) && (1..=31).contains(&day) && (1..=9999).contains(&year) {
        true => Ok(days(year, month, i64::from(day)) * DAY),
        false => Err(damaged("a date")),
    }
}

/// Hour, minute, second and microseconds (3 bytes): microseconds since midnight.
fn clock(raw: &[u8]) -> Read<i64> {
    let [h, m, s, a, b, c] = *raw else {
        return Err(damaged("a time of day"));
    };
    let [h, m, s, a, b, c] = [h & 0x7f, m, s, a, b, c].map(i64::from);
    Ok(((h * 60 + m) * 60 + s) * 1_000_000 + (a << 16 | b << 8 | c))
}

fn delta(heap: &Heap<'_>, args: &[Id]) -> Option<i64> {
    let part = |at: usize| args.get(at).map_or(Some(0), |id| heap.int(*id));
    let seconds = part(0)?.checked_mul(86_400)?.checked_add(part(1)?)?;
    seconds.checked_mul(1_000_000)?.checked_add(part(2)?)
}

/// The offset of a zone from UTC. Zones with a name need a calendar of their changes.
fn offset(heap: &Heap<'_>, zone: Id) -> Read<i64> {
    let fixed = match heap.call(zone) {
        // `pytz.utc` has no arguments.
        Some((Global::TimeZone, [], _)) => Some(0),
        Some((Global::TimeZone, [name, ..], _)) if heap.text(*name).is_some() => {
            heap.text(*name).filter(|name| name == "UTC").map(|_| 0)
        }
        Some((Global::TimeZone, [offset, ..], _)) => heap
            .call(*offset)
            .and_then(|(function, args, _)| {
                (function == Global::TimeDelta).then(|| delta(heap, args))
            })
            .flatten()
            .filter(|offset| offset.abs() < DAY),
        _ => None,
    };
    fixed.ok_or_else(|| {
        "holds a `datetime` in a time zone with a name: expected UTC, a fixed offset or none; \
         convert it with `astimezone(timezone.utc)`"
            .into()
    })
}

/// pandas' resolutions: 7 seconds, 8 milli-, 9 micro-, 10 (and none) nanoseconds.
fn micros(value: i64, resolution: Option<i64>) -> Read<i64> {
    let micros = match resolution {
        Some(7) => value.checked_mul(1_000_000),
        Some(8) => value.checked_mul(1000),
        Some(9) => Some(value),
        _ => Some(value.div_euclid(1000)),
    };
    let farthest = 200_000 * 366 * DAY;
    micros
        .filter(|m| (-farthest..=farthest).contains(m))
        .ok_or_else(|| damaged("a time"))
}

fn is_image(bytes: &[u8]) -> bool {
    [&b"\x89PNG\r\n"[..], b"\xff\xd8\xff", b"GIF8"]
        .iter()
        .any(|magic| bytes.starts_with(magic))
        || (bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"))
}

fn texts(heap: &Heap<'_>, cells: &[Cell<'_>]) -> Read<ArrayRef> {
    let mut column = StringBuilder::new();
    let mut total = 0;
    for cell in cells {
        let shown: Option<Cow<'_, str>> = match cell {
            Cell::Missing => None,
            Cell::Bool(b) => Some(b.to_string().into()),
            Cell::Int(i) => Some(i.to_string().into()),
            Cell::Float(f) => Some(f.to_string().into()),
            Cell::Text(t) => Some(Cow::Borrowed(t)),
            Cell::Bytes(b) => Some(text(b)),
            Cell::Time { micros, .. } => {
                let one: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![*micros]));
                let one = cast(&one, &DataType::Utf8).map_err(|_| damaged("a time"))?;
                Some(one.as_string::<i32>().value(0).to_string().into())
            }
        };
        let length = shown.as_ref().map_or(0, |s| s.len());
        heap.charge(length)?;
        total += length;
        // Arrow counts the bytes of a column of texts in 31 bits.
        if total > i32::MAX as usize {
            return Err(
                "has more than 2 GiB of text in one column: write it in several files".into()
            );
        }
        column.append_option(shown);
    }
    Ok(Arc::new(column.finish()))
}
