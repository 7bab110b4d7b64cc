//! The body of `POST /v1/limit-many`, limit by limit: none is kept here, and the first that is refused ends the parsing.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::request::{Object, SpecBody};

/// Calls `each` with every limit of a body and its place, until it returns an error, which is the inner one.
///
/// # Errors
/// What is wrong with the JSON, or with the types in it.
pub fn each_limit<'a, E>(
    body: &'a [u8],
    each: &mut dyn FnMut(usize, SpecBody<'a>) -> Result<(), E>,
) -> serde_json::Result<Result<(), E>> {
    let mut refused = None;
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let parsed = Body { each, refused: &mut refused }.deserialize(&mut deserializer);
    match (refused, parsed) {
        (Some(error), _) => Ok(Err(error)),
        (None, Ok(())) => deserializer.end().map(Ok),
        (None, Err(error)) => Err(error),
    }
}

struct Body<'f, 'a, E> {
    each: &'f mut dyn FnMut(usize, SpecBody<'a>) -> Result<(), E>,
    refused: &'f mut Option<E>,
}

impl<'de, E> DeserializeSeed<'de> for Body<'_, 'de, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

const FIELD: &str = "limits";

impl<'de, E> Visitor<'de> for Body<'_, 'de, E> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { each, refused } = self;
        let mut found = false;
        while let Some(name) = map.next_key::<String>()? {
            if name != FIELD {
                return Err(A::Error::unknown_field(&name, &[FIELD]));
            }
            if found {
                return Err(A::Error::duplicate_field(FIELD));
            }
            found = true;
            map.next_value_seed(Limits { each: &mut *each, refused: &mut *refused })?;
        }
        if found { Ok(()) } else { Err(A::Error::missing_field(FIELD)) }
    }
}

struct Limits<'f, 'a, E> {
    each: &'f mut dyn FnMut(usize, SpecBody<'a>) -> Result<(), E>,
    refused: &'f mut Option<E>,
}

impl<'de, E> DeserializeSeed<'de> for Limits<'_, 'de, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, E> Visitor<'de> for Limits<'_, 'de, E> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of limits")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(Object(spec)) = seq.next_element::<Object<SpecBody<'de>>>()? {
            if let Err(error) = (self.each)(index, spec) {
                *self.refused = Some(error);
                // Not shown: `each_limit` returns the other.
                return Err(A::Error::custom("refused"));
            }
            index += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(body: &str, most: usize) -> (Vec<String>, Result<Result<(), usize>, String>) {
        let mut keys = Vec::new();
        let result = each_limit(body.as_bytes(), &mut |index, spec| {
            keys.push(spec.key.into_owned());
            if index < most { Ok(()) } else { Err(index) }
        });
        (keys, result.map_err(|error| error.to_string()))
    }

    #[test]
    fn each_limit_comes_once_and_in_order() {
        let body = r#" {"limits": [{"key": "a", "rate": "1/s"}, {"rate": 5, "per": "1m", "key": "b\n"}]} "#;
        assert_eq!(keys(body, 9), (vec!["a".to_owned(), "b\n".to_owned()], Ok(Ok(()))));
        assert_eq!(keys(r#"{"limits": []}"#, 9), (vec![], Ok(Ok(()))));
    }

    #[test]
    fn the_first_fault_ends_it() {
        let rest = r#"{"key":"x","rate":1},"#.repeat(100_000);
        let (seen, result) = keys(&format!(r#"{{"limits":[{{"key":"a","rate":1}},{rest}"#), 1);
        assert_eq!((seen.len(), result), (2, Ok(Err(1))));
        for (body, part) in [
            ("", "EOF"),
            ("[]", "an object"),
            ("{}", "missing field `limits`"),
            (r#"{"limits":{}}"#, "a list of limits"),
            (r#"{"limits":[[1]]}"#, "an object"),
            (r#"{"limits":[{"key":"a","rate":1,"key":"b"}]}"#, "duplicate field `key`"),
            (r#"{"limits":[{"key":"a","rate":1,"brust":1}]}"#, "unknown field `brust`"),
            (r#"{"limits":[],"limits":[]}"#, "duplicate field `limits`"),
            (r#"{"limits":[],"limit":[]}"#, "unknown field `limit`"),
            (r#"{"limits":[]} x"#, "trailing characters"),
            (r#"{"limits":[{"key":"a","rate":1}"#, "EOF"),
            (&format!(r#"{{"limits":[{{"key":"a","rate":[{}"#, r#"{"":0},"#.repeat(1_000_000)), "128 values"),
        ] {
            let error = keys(body, 9).1.unwrap_err();
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
