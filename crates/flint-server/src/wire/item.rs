//! One key of a multi-key check.

use std::borrow::Cow;
use std::fmt;

use flint_core::Result;
use flint_core::limit::Limit;
use schemars::JsonSchema;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::bounded::Bounded;
use super::cost::Cost;
use super::limit::{LimitSchema, brought};

/// One key's part in a multi-key check.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ItemParts")]
pub struct ItemParts<'a> {
    /// The key.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    /// Tokens to take.
    #[serde(default)]
    pub cost: Cost,
    /// A limit for a key that has none that was set explicitly.
    #[schemars(with = "Option<LimitSchema>")]
    limit: Option<Bounded>,
}

impl ItemParts<'_> {
    /// As in [`CheckBody::limit`].
    ///
    /// # Errors
    /// `InvalidLimit`.
    pub fn limit(&self) -> Result<Option<Limit>> {
        brought(self.limit.as_ref())
    }
}

/// An item: a key alone, `[key, cost]`, or by its parts.
#[derive(Debug)]
pub struct Item<'a>(pub ItemParts<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Item<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;

        impl<'de> Visitor<'de> for Items {
            type Value = Item<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key, [key, cost], or an object with key, cost and limit")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Item<'de>, E> {
                Ok(Item(ItemParts { key: Cow::Borrowed(key), cost: Cost::default(), limit: None }))
            }

            fn visit_str<E>(self, key: &str) -> Result<Item<'de>, E> {
                Ok(Item(ItemParts { key: Cow::Owned(key.to_owned()), cost: Cost::default(), limit: None }))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Item<'de>, A::Error> {
                let short = || de::Error::custom("an item that is a list is [key, cost]");
                let key = seq.next_element::<String>()?.ok_or_else(short)?;
                let cost = seq.next_element()?.ok_or_else(short)?;
                if seq.next_element::<de::IgnoredAny>()?.is_some() {
                    return Err(short());
                }
                Ok(Item(ItemParts { key: Cow::Owned(key), cost, limit: None }))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Item<'de>, A::Error> {
                ItemParts::deserialize(de::value::MapAccessDeserializer::new(map)).map(Item)
            }
        }

        deserializer.deserialize_any(Items)
    }
}

impl JsonSchema for Item<'_> {
    fn schema_name() -> Cow<'static, str> {
        "Item".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let parts = generator.subschema_for::<ItemParts<'_>>();
        let cost = generator.subschema_for::<Cost>();
        schemars::json_schema!({
            "description": "A key alone, [key, cost], or an object.",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "prefixItems": [{"type": "string"}, cost], "minItems": 2, "maxItems": 2},
                parts,
            ],
        })
    }
}
