//! JSON of a bounded size. A body of a few bytes a value would otherwise take many times its own size
//! before anybody counts its rows.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Keys of an object, at most: where one is missing, all are searched for the one it is misspelt as.
const KEYS: usize = 1 << 16;

/// Why there is no value.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The arrays have more elements than they may.
    TooMany,
    /// The text is not JSON.
    NotJson(serde_json::Error),
}

/// The value of a text whose arrays have no more than `most` elements, all of them together.
///
/// # Errors
/// As soon as there is one more, or the text is not JSON.
pub(crate) fn read(text: &[u8], most: usize) -> Result<Value, Unread> {
    let left = Cell::new(Some(most));
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Bounded(&left)
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    match left.get() {
        None => Err(Unread::TooMany),
        Some(_) => value.map_err(Unread::NotJson),
    }
}

/// A value, and how many elements its arrays may still have: `None` once there was one more.
#[derive(Clone, Copy)]
struct Bounded<'a>(&'a Cell<Option<usize>>);

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(self)? {
            self.0.set(self.0.get().and_then(|left| left.checked_sub(1)));
            if self.0.get().is_none() {
                return Err(A::Error::custom("too many elements"));
            }
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.len() == KEYS {
                return Err(A::Error::custom(format!("an object has more than {KEYS} keys")));
            }
            object.insert(key, entries.next_value_seed(self)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_stands_there_and_no_more_than_may() {
        let text = r#" {"a": [1, -2, 2.5e-3, [null, true]], "b": {"c": "x\u00e9", "d": 18446744073709551615}} "#;
        let wanted: Value = serde_json::from_str(text).unwrap();
        assert_eq!(read(text.as_bytes(), 6).unwrap(), wanted);
        assert!(matches!(read(text.as_bytes(), 5), Err(Unread::TooMany)));
        assert!(matches!(read(b"[1, 2", 2), Err(Unread::NotJson(_))));
        assert!(matches!(read(b"[1] 2", 2), Err(Unread::NotJson(_))));
        assert!(matches!(read(b"", 2), Err(Unread::NotJson(_))));
        // The end of a long text is not looked at.
        let long = [b"[0".to_vec(), b",0".repeat(1000), b" and no end".to_vec()].concat();
        assert!(matches!(read(&long, 100), Err(Unread::TooMany)));
        let keys: Vec<String> = (0..=KEYS).map(|key| format!("\"{key}\":0")).collect();
        let error = read(format!("{{{}}}", keys.join(",")).as_bytes(), 1).unwrap_err();
        assert!(format!("{error:?}").contains("more than 65536 keys"), "{error:?}");
        read(format!("{{{}}}", keys[1..].join(",")).as_bytes(), 1).unwrap();
    }
}
