//! NumPy's arrays: their types, their layout in memory, and their values as Arrow columns. Pickles
//! and `.npy` files share it.

use std::borrow::Cow;
use std::sync::Arc;

use crate::arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, LargeBinaryBuilder, StringBuilder, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt8Array,
    UInt16Array, UInt32Array, UInt64Array,
};

use super::dtype::{Dtype, Kind, Read, Unit};

/// An array over bytes that were checked to be all there.
#[derive(Clone, Debug)]
pub(crate) struct NdArray<'a> {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Bytes from one index of an axis to the next.
    strides: Vec<usize>,
    data: Cow<'a, [u8]>,
}

/// The axes NumPy allows.
const MAX_RANK: usize = 64;

impl<'a> NdArray<'a> {
    /// An array in C order, or in Fortran order.
    pub(crate) fn new(
        dtype: Dtype,
        shape: Vec<usize>,
        fortran: bool,
        data: Cow<'a, [u8]>,
    ) -> Read<Self> {
        let count = count(&shape)?;
        if dtype.size == 0 && count > 0 {
            return Err(
                "has an array of elements of no size: expected at least one byte each".into()
            );
        }
        if count.checked_mul(dtype.size) != Some(data.len()) {
            return Err(format!(
                "is damaged: an array of shape {shape:?} and {} bytes an element has {} bytes of data",
                dtype.size,
                data.len()
            ));
        }
        let strides = strides(&shape, dtype.size, fortran);
        Ok(Self {
            dtype,
            shape,
            strides,
            data,
        })
    }

    /// Reorders the axes as NumPy's `transpose`.
    pub(crate) fn transpose(mut self, axes: &[usize]) -> Read<Self> {
        let mut seen = vec![false; self.shape.len()];
        for axis in axes {
            match seen.get_mut(*axis) {
                Some(seen) if !*seen => *seen = true,
                _ => return Err("is damaged: the order of an array's axes is not one".into()),
            }
        }
        if axes.len() != self.shape.len() {
            return Err("is damaged: the order of an array's axes is not one".into());
        }
        self.shape = axes.iter().map(|a| self.shape[*a]).collect();
        self.strides = axes.iter().map(|a| self.strides[*a]).collect();
        Ok(self)
    }

    /// An array in C order seen with another shape of as many elements.
    pub(crate) fn reshape(mut self, shape: Vec<usize>) -> Option<Self> {
        let in_order = self.strides == strides(&self.shape, self.dtype.size, false);
        if !in_order || count(&shape).ok()? != count(&self.shape).ok()? {
            return None;
        }
        self.strides = strides(&shape, self.dtype.size, false);
        self.shape = shape;
        Some(self)
    }

    /// Images without an axis for their one channel get it.
    pub(crate) fn grey(mut self) -> Self {
        self.shape.push(1);
        self.strides.push(1);
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    pub(crate) fn rank(&self) -> usize {
        self.shape.len()
    }

    pub(crate) fn is_bytes(&self) -> bool {
        self.dtype.kind == Kind::UInt && self.dtype.size == 1
    }

    /// The values of a one-dimensional array, or of column `at` of a two-dimensional one. A
    /// scalar is a column of one.
    pub(crate) fn column(&self, at: usize) -> Read<ArrayRef> {
        self.values(&self.dtype, at * self.strides.get(1).copied().unwrap_or(0))
    }

    /// The values of row `at` of a two-dimensional array.
    pub(crate) fn row(&self, at: usize) -> Read<ArrayRef> {
        match self.rank() {
            2 => self.clone().transpose(&[1, 0])?.column(at),
            _ => self.column(0),
        }
    }

    /// The named fields of a one-dimensional structured array.
    pub(crate) fn fields(&self) -> Read<Option<Vec<(String, ArrayRef)>>> {
        let Kind::Struct(fields) = &self.dtype.kind else {
            return Ok(None);
        };
        let column = |(name, dtype, offset): &(String, Dtype, usize)| {
            Ok((name.clone(), self.values(dtype, *offset)?))
        };
        fields.iter().map(column).collect::<Read<_>>().map(Some)
    }

    fn values(&self, dtype: &Dtype, first: usize) -> Read<ArrayRef> {
        let rows = self.shape.first().copied().unwrap_or(1);
        let stride = self.strides.first().copied().unwrap_or(0);
        let element = |row: usize| &self.data[first + row * stride..][..dtype.size];
        let elements = (0..rows).map(element);
        let big = dtype.big_endian;
        macro_rules! integers {
            ($array:ty, $native:ty) => {
                Arc::new(<$array>::from_iter_values(
                    elements.map(|e| <$native>::from_le_bytes(ordered(e, big))),
                ))
            };
        }
        Ok(match (&dtype.kind, dtype.size) {
            (Kind::Bool, _) => Arc::new(BooleanArray::from_iter(elements.map(|e| Some(e[0] != 0)))),
            (Kind::Int, 1) => integers!(Int8Array, i8),
            (Kind::Int, 2) => integers!(Int16Array, i16),
            (Kind::Int, 4) => integers!(Int32Array, i32),
            (Kind::Int, _) => integers!(Int64Array, i64),
            (Kind::UInt, 1) => integers!(UInt8Array, u8),
            (Kind::UInt, 2) => integers!(UInt16Array, u16),
            (Kind::UInt, 4) => integers!(UInt32Array, u32),
            (Kind::UInt, _) => integers!(UInt64Array, u64),
            // NaN is how NumPy and pandas write "missing".
            (Kind::Float, 2) => {
                Arc::new(Float32Array::from_iter(elements.map(|e| {
                    Some(half(u16::from_le_bytes(ordered(e, big)))).filter(|v| !v.is_nan())
                })))
            }
            (Kind::Float, 4) => Arc::new(Float32Array::from_iter(
                elements.map(|e| Some(f32::from_le_bytes(ordered(e, big))).filter(|v| !v.is_nan())),
            )),
            (Kind::Float, _) => Arc::new(Float64Array::from_iter(
                elements.map(|e| Some(f64::from_le_bytes(ordered(e, big))).filter(|v| !v.is_nan())),
            )),
            (Kind::Bytes, _) => texts(elements.map(|e| text(trimmed(e))), self.data.len())?,
            (Kind::Text, _) => texts(elements.map(|e| wide_text(e, big).into()), self.data.len())?,
            (Kind::Time(unit), _) => {
                times(elements.map(|e| i64::from_le_bytes(ordered(e, big))), *unit)?
            }
            (Kind::Duration(unit), _) => {
                let Unit::Ticks {
                    per_second,
                    seconds,
                } = *unit
                else {
                    return Err("has durations in years or months: expected days or shorter".into());
                };
                let ticks = elements.map(|e| i64::from_le_bytes(ordered(e, big)));
                Arc::new(Float64Array::from_iter(ticks.map(|t| {
                    (t != i64::MIN).then(|| t as f64 * seconds as f64 / per_second as f64)
                })))
            }
            (Kind::Object | Kind::Struct(_), _) => {
                return Err(
                    "has an array of objects or fields inside another: expected plain values"
                        .into(),
                );
            }
        })
    }

    /// The images of a four-dimensional array of bytes whose axes are image, row, column and
    /// channel.
    pub(crate) fn images(&self) -> ArrayRef {
        let [count, height, width, channels] = self.shape[..] else {
            unreachable!("the caller has checked the rank");
        };
        let [next, down, right, deep] = self.strides[..] else {
            unreachable!("there are as many strides as axes");
        };
        let size = height * width * channels;
        let mut images = LargeBinaryBuilder::with_capacity(count, count * size);
        let mut image = Vec::with_capacity(size);
        for i in 0..count {
            image.clear();
            for y in 0..height {
                let row = i * next + y * down;
                if deep == 1 && right == channels {
                    image.extend_from_slice(&self.data[row..][..width * channels]);
                    continue;
                }
                for x in 0..width {
                    image.extend((0..channels).map(|c| self.data[row + x * right + c * deep]));
                }
            }
            images.append_value(&image);
        }
        Arc::new(images.finish())
    }
}

/// The number of elements, refused where it is absurd.
pub(crate) fn count(shape: &[usize]) -> Read<usize> {
    let count = shape.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim));
    // An empty axis must not hide the absurd length of another.
    let longest = shape.iter().max().copied().unwrap_or(0);
    match count {
        Some(count) if shape.len() <= MAX_RANK && longest <= u32::MAX as usize => Ok(count),
        _ => {
            let shape: Vec<_> = shape.iter().take(8).collect();
            Err(format!("has an array of shape {shape:?}: expected one that fits in memory"))
        }
    }
}

fn strides(shape: &[usize], size: usize, fortran: bool) -> Vec<usize> {
    let mut strides = vec![0; shape.len()];
    let mut step = size;
    let mut set = |axis: usize| {
        strides[axis] = step;
        step = step.saturating_mul(shape[axis]);
    };
    match fortran {
        true => (0..shape.len()).for_each(&mut set),
        false => (0..shape.len()).rev().for_each(&mut set),
    }
    strides
}

/// The element's bytes in little-endian order.
fn ordered<const N: usize>(element: &[u8], big_endian: bool) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(element);
    if big_endian {
        bytes.reverse();
    }
    bytes
}

/// Bytes as UTF-8, and else as latin-1.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().map(|b| char::from(*b)).collect::<String>().into(),
    }
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    &bytes[..end]
}

fn wide_text(element: &[u8], big_endian: bool) -> String {
    let code = |c: &[u8]| u32::from_le_bytes(ordered(c, big_endian));
    let text: String = element
        .chunks_exact(4)
        .map(|c| char::from_u32(code(c)).unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    text.trim_end_matches('\0').to_string()
}

/// A column of texts from an array of `size` bytes.
fn texts<'t>(texts: impl Iterator<Item = Cow<'t, str>>, size: usize) -> Read<ArrayRef> {
    // Latin-1 doubles at most, and Arrow counts a column's bytes in 31 bits.
    if size > i32::MAX as usize / 2 {
        return Err("has more than 1 GiB in one array of texts: write it in several files".into());
    }
    let mut column = StringBuilder::new();
    texts.for_each(|text| column.append_value(text));
    Ok(Arc::new(column.finish()))
}

/// A column of times without a zone; NaT is a missing value.
fn times(ticks: impl Iterator<Item = i64>, unit: Unit) -> Read<ArrayRef> {
    const FARTHEST: i64 = 200_000 * 366 * 86_400;
    let scaled = |factor: i64, limit: i64| {
        let ticks = ticks.map(|tick| match (tick, tick.checked_mul(factor)) {
            (i64::MIN, _) => Ok(None),
            (_, Some(tick)) if (-limit..=limit).contains(&tick) => Ok(Some(tick)),
            _ => Err(too_far()),
        });
        ticks.collect::<Read<Vec<Option<i64>>>>()
    };
    Ok(match unit {
        Unit::Ticks {
            per_second,
            seconds,
        } => {
            let ticks = scaled(seconds, FARTHEST.saturating_mul(per_second))?;
            match per_second {
                1 => Arc::new(TimestampSecondArray::from(ticks)),
                1000 => Arc::new(TimestampMillisecondArray::from(ticks)),
                1_000_000 => Arc::new(TimestampMicrosecondArray::from(ticks)),
                _ => Arc::new(TimestampNanosecondArray::from(ticks)),
            }
        }
        Unit::Years | Unit::Months => {
            let factor = if unit == Unit::Years { 12 } else { 1 };
            let months = scaled(factor, 12 * 200_000)?.into_iter();
            let second = |m: i64| 86_400 * days(1970 + m.div_euclid(12), m.rem_euclid(12) + 1, 1);
            let seconds = months.map(|month| month.map(second));
            Arc::new(TimestampSecondArray::from(seconds.collect::<Vec<_>>()))
        }
    })
}

fn too_far() -> String {
    "has a time too far from now to be a date: expected a year of six digits at most".into()
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (Hinnant, `days_from_civil`).
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 != 0 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f32::from(bits & 0x3ff) / 1024.0;
    sign * match exponent {
        0 => fraction * 2f32.powi(-14),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction) * 2f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_and_dates() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_95), (1, 5.960_464_5e-8)]
        {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(2000, 3, 1), 11_017);
        assert_eq!(days(1912, 4, 10), -21_085);
    }

    #[test]
    fn lying_shapes_are_refused() {
        let array = |shape: Vec<usize>, size: usize| {
            NdArray::new(Dtype::parse("u1").unwrap(), shape, false, vec![0; size].into())
        };
        assert!(array(vec![2, 3], 6).is_ok());
        assert!(array(vec![2, 3], 5).is_err());
        assert!(array(vec![usize::MAX, 2], 6).is_err());
        assert!(array(vec![0, usize::MAX], 0).is_err());
        assert!(array(vec![1; 65], 1).is_err());
        let zero = Dtype::parse("S0").unwrap();
        assert!(NdArray::new(zero, vec![1 << 30], false, vec![].into()).is_err());
    }

    #[test]
    fn axes_can_be_permuted() {
        let data: Vec<u8> = (0..6).collect();
        let array =
            NdArray::new(Dtype::parse("u1").unwrap(), vec![2, 3], false, data.into()).unwrap();
        let column = |a: &NdArray, at| format!("{:?}", a.column(at).unwrap());
        let turned = array.clone().transpose(&[1, 0]).unwrap();
        assert_eq!(column(&turned, 1), format!("{:?}", array.row(1).unwrap()));
        assert!(array.clone().transpose(&[0, 0]).is_err());
        assert!(turned.reshape(vec![6]).is_none());
        assert!(array.reshape(vec![6]).is_some());
    }
}
