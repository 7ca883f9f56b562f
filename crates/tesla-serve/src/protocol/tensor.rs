//! Tensors of the Open Inference Protocol, whatever form they came in.

use std::fmt;

use axum::body::Bytes;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::Failure;
use crate::proto::InferTensorContents;

/// An input as it came.
#[derive(Debug)]
pub(crate) struct Tensor<'a> {
    pub(crate) name: String,
    pub(crate) shape: Vec<u64>,
    pub(crate) datatype: String,
    pub(crate) data: Data<'a>,
}

/// The elements of a tensor, row-major. They are read once the shape is known to be one that may be,
/// so that a body cannot make more of them than that.
#[derive(Debug)]
pub(crate) enum Data<'a> {
    /// As JSON has them, flat or nested; `None` when there are none.
    Json(Option<&'a RawValue>),
    /// As gRPC has them where they are not raw.
    Typed(InferTensorContents),
    /// Little-endian bytes. A text is its length in four bytes and its own.
    Raw(Bytes),
}

/// One element of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Element<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Text(&'a str),
}

/// The protocol's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Datatype {
    Bool,
    /// Bytes of each, and whether there is a sign.
    Integer(usize, bool),
    Fp16,
    Bf16,
    Fp32,
    Fp64,
    Bytes,
}

impl Datatype {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "BOOL" => Self::Bool,
            "INT8" => Self::Integer(1, true),
            "INT16" => Self::Integer(2, true),
            "INT32" => Self::Integer(4, true),
            "INT64" => Self::Integer(8, true),
            "UINT8" => Self::Integer(1, false),
            "UINT16" => Self::Integer(2, false),
            "UINT32" => Self::Integer(4, false),
            "UINT64" => Self::Integer(8, false),
            "FP16" => Self::Fp16,
            "BF16" => Self::Bf16,
            "FP32" => Self::Fp32,
            "FP64" => Self::Fp64,
            "BYTES" => Self::Bytes,
            _ => return None,
        })
    }

    /// Bytes of an element; `None` for texts.
    fn size(self) -> Option<usize> {
        match self {
            Self::Bool => Some(1),
            Self::Integer(size, _) => Some(size),
            Self::Fp16 | Self::Bf16 => Some(2),
            Self::Fp32 => Some(4),
            Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }
}

impl Tensor<'_> {
    /// The type of the elements.
    ///
    /// # Errors
    /// When there is no such type.
    pub(crate) fn datatype(&self) -> Result<Datatype, Failure> {
        Datatype::parse(&self.datatype).ok_or_else(|| {
            let shown: String = self.datatype.chars().take(20).collect();
            self.wrong(format!("has datatype `{shown}`: expected one such as `FP64` or `BYTES`"))
        })
    }

    /// The number of rows of a tensor `[rows, …]` whose rows have the shape `row`; a column may also
    /// be `[rows, 1]`.
    ///
    /// # Errors
    /// When the shape is another.
    pub(crate) fn rows(&self, row: &[u64]) -> Result<u64, Failure> {
        match self.shape.split_first() {
            Some((rows, rest)) if rest == row || (row.is_empty() && rest == [1]) => Ok(*rows),
            _ => {
                let row: String = row.iter().map(|size| format!(", {size}")).collect();
                Err(self.wrong(format!("has shape {:?}: expected [rows{row}]", self.shape)))
            }
        }
    }

    /// Hands all elements to `take`, `size` of them.
    ///
    /// # Errors
    /// When there are more or fewer, one is not of the tensor's type, or `take` refuses it.
    pub(crate) fn each(
        self,
        size: u64,
        mut take: impl FnMut(Element<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let datatype = self.datatype()?;
        let (name, shape) = (self.name, self.shape);
        let wrong = |what: String| wrong(&name, what);
        let miscounted = |found: &dyn fmt::Display| {
            wrong(format!("has {found} values, but its shape {shape:?} asks for {size}"))
        };
        if datatype == Datatype::Bf16 && !matches!(self.data, Data::Raw(_)) {
            return Err(wrong("has datatype `BF16`, which must come as binary data".into()));
        }
        let mut found = 0u64;
        let mut next = |element: Element<'_>| {
            found += 1;
            match element.is_of(datatype) {
                _ if found > size => Err(miscounted(&format_args!("more than {size}"))),
                true => take(element),
                false => Err(wrong(format!("holds {element}, which is no `{}`", self.datatype))),
            }
        };
        match self.data {
            Data::Json(None) => {}
            Data::Json(Some(json)) => {
                let mut refused = None;
                let mut reader = serde_json::Deserializer::from_str(json.get());
                let read = reader.deserialize_any(Nested {
                    take: &mut next,
                    refused: &mut refused,
                });
                if let Some(failure) = refused {
                    return Err(failure);
                }
                read.map_err(|e| wrong(format!("has `data` that cannot be read: {e}")))?;
            }
            Data::Typed(contents) => typed(&contents, &mut next)?,
            Data::Raw(bytes) => match datatype.size() {
                Some(width) if bytes.len() % width != 0 => {
                    return Err(wrong(format!(
                        "has {} bytes, but a `{}` has {width}",
                        bytes.len(),
                        self.datatype
                    )));
                }
                Some(width) if (bytes.len() / width) as u64 != size => {
                    return Err(miscounted(&(bytes.len() / width)));
                }
                Some(width) => {
                    for raw in bytes.chunks_exact(width) {
                        next(number(raw, datatype))?;
                    }
                }
                None => {
                    let bad = || {
                        wrong(
                            "has texts that are not each four bytes of length and UTF-8 of it"
                                .into(),
                        )
                    };
                    let mut rest = &bytes[..];
                    while !rest.is_empty() {
                        let (text, others) = text(rest).ok_or_else(bad)?;
                        next(Element::Text(text))?;
                        rest = others;
                    }
                }
            },
        }
        match found == size {
            true => Ok(()),
            false => Err(miscounted(&found)),
        }
    }

    pub(crate) fn wrong(&self, what: String) -> Failure {
        wrong(&self.name, what)
    }
}

fn wrong(name: &str, what: String) -> Failure {
    let shown: String = name.chars().take(100).collect();
    Failure::bad_request(format!("input `{shown}` {what}"))
}

/// Typed contents, whatever their type.
fn typed(
    contents: &InferTensorContents,
    mut next: impl FnMut(Element<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    contents
        .bool_contents
        .iter()
        .try_for_each(|v| next(Element::Bool(*v)))?;
    contents
        .int_contents
        .iter()
        .try_for_each(|v| next(Element::Integer(i64::from(*v))))?;
    contents
        .int64_contents
        .iter()
        .try_for_each(|v| next(Element::Integer(*v)))?;
    contents
        .uint_contents
        .iter()
        .try_for_each(|v| next(Element::Unsigned(u64::from(*v))))?;
    contents
        .uint64_contents
        .iter()
        .try_for_each(|v| next(Element::Unsigned(*v)))?;
    contents
        .fp32_contents
        .iter()
        .try_for_each(|v| next(Element::Float(f64::from(*v))))?;
    contents
        .fp64_contents
        .iter()
        .try_for_each(|v| next(Element::Float(*v)))?;
    contents.bytes_contents.iter().try_for_each(|text| {
        let text = std::str::from_utf8(text);
        next(Element::Text(text.map_err(|_| Failure::bad_request("a text is not UTF-8"))?))
    })
}

/// One number from its bytes.
fn number(raw: &[u8], datatype: Datatype) -> Element<'static> {
    let mut wide = [0; 8];
    wide[..raw.len()].copy_from_slice(raw);
    let bits = u64::from_le_bytes(wide);
    match datatype {
        Datatype::Bool => Element::Bool(bits != 0),
        Datatype::Integer(_, false) => Element::Unsigned(bits),
        Datatype::Integer(size, true) => {
            let unused = 64 - 8 * size as u32;
            Element::Integer(((bits << unused) as i64) >> unused)
        }
        Datatype::Fp16 => Element::Float(half(bits as u16)),
        Datatype::Bf16 => Element::Float(f64::from(f32::from_bits((bits as u32) << 16))),
        Datatype::Fp32 => Element::Float(f64::from(f32::from_bits(bits as u32))),
        Datatype::Fp64 | Datatype::Bytes => Element::Float(f64::from_bits(bits)),
    }
}

/// A number of 16 bits: 1 of sign, 5 of exponent, 10 of fraction.
fn half(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3ff);
    let size = match (bits >> 10) & 0x1f {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + fraction / 1024.0) * 2f64.powi(i32::from(exponent) - 15),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// The first text, which stands after its length, and what follows.
fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

/// Texts as binary data.
pub(crate) fn raw_texts<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut raw = Vec::new();
    for text in texts {
        raw.extend((text.len() as u32).to_le_bytes());
        raw.extend(text.as_bytes());
    }
    raw
}

/// Numbers as binary data.
pub(crate) fn raw_numbers(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

impl<'a> Element<'a> {
    /// Whether the element can be one of `datatype`. `null` is a missing value of any type.
    fn is_of(&self, datatype: Datatype) -> bool {
        match (datatype, self) {
            (_, Element::Null) => true,
            (Datatype::Bytes, element) => matches!(element, Element::Text(_)),
            (_, Element::Text(_)) => false,
            (Datatype::Integer(size, signed), element) => {
                let bits = 8 * size as u32;
                let value = match element {
                    Element::Bool(b) => i128::from(*b),
                    Element::Integer(i) => i128::from(*i),
                    Element::Unsigned(u) => i128::from(*u),
                    // Clients write 3.0 where they mean 3.
                    Element::Float(f) if f.fract() == 0.0 => *f as i128,
                    _ => return false,
                };
                match signed {
                    true => (-(1i128 << (bits - 1))..1i128 << (bits - 1)).contains(&value),
                    false => (0..1i128 << bits).contains(&value),
                }
            }
            (Datatype::Bool, element) => matches!(
                element,
                Element::Bool(_) | Element::Integer(0 | 1) | Element::Unsigned(0 | 1)
            ),
            _ => true,
        }
    }

    /// The element as a number; `None` where a value is missing.
    pub(crate) fn number(self) -> Option<f64> {
        match self {
            Element::Null | Element::Text(_) => None,
            Element::Bool(b) => Some(f64::from(u8::from(b))),
            Element::Integer(i) => Some(i as f64),
            Element::Unsigned(u) => Some(u as f64),
            Element::Float(f) => Some(f).filter(|f| !f.is_nan()),
        }
    }

    /// The element as a name; `None` where a value is missing.
    pub(crate) fn text(self) -> Option<String> {
        match self {
            Element::Null => None,
            Element::Text(text) => Some(text.into()),
            Element::Float(f) if f.is_nan() => None,
            other => Some(other.to_string()),
        }
    }
}

impl fmt::Display for Element<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Null => f.write_str("null"),
            Element::Bool(b) => b.fmt(f),
            Element::Integer(i) => i.fmt(f),
            Element::Unsigned(u) => u.fmt(f),
            Element::Float(number) => number.fmt(f),
            Element::Text(text) => {
                let shown: String = text.chars().take(40).collect();
                write!(f, "`{shown}`")
            }
        }
    }
}

/// Hands a value to `take`, or those of an array and its arrays.
struct Nested<'a, F> {
    take: &'a mut F,
    /// Why `take` would not have one.
    refused: &'a mut Option<Failure>,
}

impl<F: FnMut(Element<'_>) -> Result<(), Failure>> Nested<'_, F> {
    fn give<E: serde::de::Error>(self, element: Element<'_>) -> Result<(), E> {
        (self.take)(element).map_err(|failure| {
            *self.refused = Some(failure);
            E::custom("refused")
        })
    }
}

impl<'de, F: FnMut(Element<'_>) -> Result<(), Failure>> Visitor<'de> for Nested<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, texts, booleans, nulls, or arrays of them")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.give(Element::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.give(Element::Integer(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.give(Element::Unsigned(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.give(Element::Float(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.give(Element::Text(value))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.give(Element::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        let Self { take, refused } = self;
        while values
            .next_element_seed(Nested {
                take: &mut *take,
                refused: &mut *refused,
            })?
            .is_some()
        {}
        Ok(())
    }
}

impl<'de, F: FnMut(Element<'_>) -> Result<(), Failure>> serde::de::DeserializeSeed<'de>
    for Nested<'_, F>
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_are_read_as_ieee_has_them() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2f64.powi(-24)),
            (0x0400, 2f64.powi(-14)),
            (0x7c00, f64::INFINITY),
            (0x3555, 0.333251953125),
        ] {
            assert_eq!(half(bits), value, "{bits:#x}");
        }
        assert!(half(0x7e00).is_nan());
        assert_eq!(number(&0x4049u16.to_le_bytes(), Datatype::Bf16), Element::Float(3.140625));
        assert_eq!(number(&[0xff], Datatype::Integer(1, true)), Element::Integer(-1));
        assert_eq!(number(&[0xff], Datatype::Integer(1, false)), Element::Unsigned(255));
    }

    #[test]
    fn elements_must_be_of_their_type_and_number() {
        let tensor = |datatype: &str, data| Tensor {
            name: "x".into(),
            shape: vec![2],
            datatype: datatype.into(),
            data,
        };
        let raw = |bytes: &'static [u8]| Data::Raw(Bytes::from_static(bytes));
        fn flat(text: &str) -> Data<'_> {
            Data::Json(Some(serde_json::from_str(text).unwrap()))
        }
        let count = |datatype: &str, data: Data<'static>| {
            let mut count = 0;
            let take = |_: Element<'_>| {
                count += 1;
                Ok(())
            };
            tensor(datatype, data).each(2, take).map(|()| count)
        };
        let fails = |datatype: &str, data| count(datatype, data).unwrap_err().message;
        assert_eq!(count("FP64", flat("[[1.5], [null]]")).unwrap(), 2);
        assert_eq!(count("INT8", raw(&[1, 2])).unwrap(), 2);
        assert_eq!(count("BYTES", raw(b"\x01\0\0\0a\0\0\0\0")).unwrap(), 2);
        for (datatype, data, part) in [
            ("INT8", flat("[1, 128]"), "holds 128"),
            ("UINT8", flat("[1, -1]"), "holds -1"),
            ("INT64", flat("[1, 1.5]"), "holds 1.5"),
            ("BOOL", flat("[true, 2]"), "holds 2"),
            ("FP64", flat("[1, \"x\"]"), "holds `x`"),
            ("BYTES", flat("[\"x\", 1]"), "holds 1"),
            ("FP64", flat("[1]"), "has 1 values, but its shape [2] asks for 2"),
            ("FP64", flat("[1, [2, 3]]"), "has more than 2 values, but its shape [2] asks for 2"),
            (
                "FP64",
                flat("[1, {}]"),
                "expected numbers, texts, booleans, nulls, or arrays of them",
            ),
            ("FP64", Data::Json(None), "has 0 values"),
            ("BF16", flat("[1, 2]"), "binary data"),
            ("FP32", raw(&[0; 9]), "has 9 bytes"),
            ("FP32", raw(&[0; 12]), "asks for 2"),
            ("BYTES", raw(b"\xff\xff\xff\xffa"), "four bytes of length"),
            ("BYTES", raw(b"\x01\0\0\0\xff"), "four bytes of length"),
            ("FLOAT", flat("[1, 2]"), "datatype `FLOAT`"),
        ] {
            let message = fails(datatype, data);
            assert!(message.contains(part), "{message}");
        }
    }
}
