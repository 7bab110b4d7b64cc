//! A JSON value of bounded size, in which no name appears twice: what a limit is parsed into before it is understood. The tree of a
//! crafted body takes a hundred times the memory of its text.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

/// Most values in one limit: eight rates by their parts, in lists of lists, have fewer.
const MAX_VALUES: usize = 128;
/// Longest text in one limit: eight rates in the longest words have fewer bytes.
const MAX_TEXT: usize = 2 * 1024;

/// A JSON value with at most [`MAX_VALUES`] values in it.
#[derive(Debug)]
pub(super) struct Bounded(pub(super) Value);

impl<'de> Deserialize<'de> for Bounded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let left = Cell::new(MAX_VALUES);
        Values { left: &left }.deserialize(deserializer).map(Bounded)
    }
}

/// Parses one value, and those in it.
#[derive(Clone, Copy)]
struct Values<'a> {
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.left.get().checked_sub(1);
        let too_many = || de::Error::custom(format!("a limit has more than {MAX_VALUES} values in it"));
        self.left.set(left.ok_or_else(too_many)?);
        deserializer.deserialize_any(self)
    }
}

fn text<E: de::Error>(text: &str) -> Result<String, E> {
    if text.len() > MAX_TEXT {
        return Err(E::custom(format!("a text in a limit has more than {MAX_TEXT} bytes")));
    }
    Ok(text.to_owned())
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a limit, or a part of one")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        text(value).map(Value::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let name = text(&name)?;
            if object.contains_key(&name) {
                return Err(de::Error::custom(format!("the name {name:?} appears twice")));
            }
            object.insert(name, map.next_value_seed(self)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Value, String> {
        serde_json::from_str(text).map(|Bounded(value)| value).map_err(|error| error.to_string())
    }

    #[test]
    fn it_is_the_value_that_the_text_says() {
        for text in [
            "null",
            "true",
            "18446744073709551615",
            "-1",
            "1.5",
            r#""a\u0041""#,
            r#"[[1,"5/s"],{"rate":{"a":[]},"per":null}]"#,
        ] {
            assert_eq!(parsed(text).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn what_is_too_large_or_says_a_thing_twice_is_refused_where_it_begins_to_be() {
        let many = format!("[{}", r#"{"":0},"#.repeat(1_000_000));
        let long = format!(r#"{{"rate":"{}"}}"#, "x".repeat(MAX_TEXT + 1));
        let name = format!(r#"{{"{}":1}}"#, "x".repeat(MAX_TEXT + 1));
        for (text, part) in [
            (many.as_str(), "more than 128 values"),
            (&long, "more than 2048 bytes"),
            (&name, "more than 2048 bytes"),
            (r#"{"rate":1,"rate":1}"#, r#"the name "rate" appears twice"#),
            (r#"[{"a":{"b":1,"c":2,"\u0062":3}}]"#, r#"the name "b" appears twice"#),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(part) && error.len() < 200, "{error}");
        }
    }
}
