//! Bodies of requests. A field that is not known is refused: a mistyped one would change what is meant.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use flint_core::engine::OnChange;
use flint_core::limit::Limit;
use flint_core::{Error, Result};
use schemars::JsonSchema;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::limit::{LimitSchema, PeriodSchema, RateSchema, limit_of, limit_of_parts};

/// A JSON object as a `T`. Derived code would also take a list of the fields in their order, which is never meant.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Objects<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Objects<T> {
            type Value = Object<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Objects(PhantomData))
    }
}

/// A cost: what JSON said, judged when it is used, so that a wrong one is an `invalid_cost` and no mere wrong type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cost {
    /// An integer of 64 bits; whether it fits the limit is for the engine.
    Given(u64),
    /// What was given instead.
    Refused(String),
}

impl Default for Cost {
    fn default() -> Self {
        Self::Given(1)
    }
}

impl Cost {
    /// The number.
    ///
    /// # Errors
    /// `InvalidCost`.
    pub fn get(&self) -> Result<u64> {
        match self {
            Self::Given(cost) => Ok(*cost),
            Self::Refused(shown) => Err(Error::InvalidCost(format!(
                "{shown} is not accepted; a cost is an integer from 1 to the limit's capacity"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Cost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Costs;

        impl<'de> Visitor<'de> for Costs {
            type Value = Cost;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a cost")
            }

            fn visit_u64<E>(self, cost: u64) -> Result<Cost, E> {
                Ok(Cost::Given(cost))
            }

            fn visit_i64<E>(self, cost: i64) -> Result<Cost, E> {
                Ok(Cost::Refused(cost.to_string()))
            }

            fn visit_f64<E>(self, cost: f64) -> Result<Cost, E> {
                Ok(Cost::Refused(cost.to_string()))
            }

            fn visit_bool<E>(self, cost: bool) -> Result<Cost, E> {
                Ok(Cost::Refused(cost.to_string()))
            }

            fn visit_unit<E>(self) -> Result<Cost, E> {
                Ok(Cost::Refused("null".to_owned()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Cost, E> {
                Ok(Cost::Refused(if text.len() <= 60 { format!("{text:?}") } else { "a long text".to_owned() }))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Cost, A::Error> {
                while seq.next_element::<de::IgnoredAny>()?.is_some() {}
                Ok(Cost::Refused("a list".to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Cost, A::Error> {
                while map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
                Ok(Cost::Refused("an object".to_owned()))
            }
        }

        deserializer.deserialize_any(Costs)
    }
}

impl JsonSchema for Cost {
    fn schema_name() -> Cow<'static, str> {
        "Cost".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Tokens to take: from 1 to the limit's capacity.",
            "type": "integer",
            "minimum": 1,
            "maximum": u64::MAX,
        })
    }
}

const fn yes() -> bool {
    true
}

/// The limit that a call brings, if it brings one.
fn brought(limit: Option<&Value>) -> Result<Option<Limit>> {
    limit.map(limit_of).transpose()
}

/// `POST /v1/check`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Check")]
pub struct CheckBody<'a> {
    /// The key: 1 to 512 bytes of UTF-8.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    /// Tokens to take.
    #[serde(default)]
    pub cost: Cost,
    /// A limit for a key that has none that was set explicitly.
    #[schemars(with = "Option<LimitSchema>")]
    limit: Option<Value>,
    /// False for a caller that waits and tries again: a denial is not counted.
    #[serde(default = "yes")]
    pub count_denied: bool,
}

impl CheckBody<'_> {
    /// The limit that the call brings.
    ///
    /// # Errors
    /// `InvalidLimit`.
    pub fn limit(&self) -> Result<Option<Limit>> {
        brought(self.limit.as_ref())
    }
}

/// `POST /v1/peek`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Peek")]
pub struct PeekBody<'a> {
    /// The key: 1 to 512 bytes of UTF-8.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    /// Tokens that would be taken.
    #[serde(default)]
    pub cost: Cost,
    /// A limit for a key that has none that was set explicitly.
    #[schemars(with = "Option<LimitSchema>")]
    limit: Option<Value>,
    /// Costs of a queue, at most 10,000: the answer's `retry_after_ns` is then the wait until the last of them was taken, each in its
    /// turn, and the answer counts as denied.
    pub costs: Option<Vec<Cost>>,
}

impl PeekBody<'_> {
    /// As in [`CheckBody::limit`].
    ///
    /// # Errors
    /// `InvalidLimit`.
    pub fn limit(&self) -> Result<Option<Limit>> {
        brought(self.limit.as_ref())
    }
}

/// `POST /v1/deny`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Deny")]
pub struct DenyBody<'a> {
    /// The key.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    /// Tokens that were wanted.
    #[serde(default)]
    pub cost: Cost,
}

/// `POST /v1/reset`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Reset")]
pub struct ResetBody<'a> {
    /// The key.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
}

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
    limit: Option<Value>,
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

/// `POST /v1/check-all`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CheckAll")]
pub struct CheckAllBody<'a> {
    /// 1 to 1,000 items with different keys.
    #[serde(borrow)]
    pub items: Vec<Item<'a>>,
}

/// `POST /v1/limits`: a limit for a key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Spec")]
pub struct SpecBody<'a> {
    /// The key: 1 to 512 bytes of UTF-8.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    /// Tokens per period, grammar text that has the period in it, or limits whose rates are joined.
    #[schemars(with = "RateSchema")]
    rate: Value,
    /// The period where `rate` is a number.
    #[schemars(with = "Option<PeriodSchema>")]
    per: Option<Value>,
    /// The name of an algorithm, as a rate has it; the default is `token_bucket`.
    #[serde(borrow)]
    algorithm: Option<Cow<'a, str>>,
    /// Tokens that a full bucket holds.
    #[schemars(with = "Option<u64>")]
    burst: Option<Value>,
    /// `keep` (the default: unchanged rates keep their state, new ones start with what was used) or `reset`.
    #[serde(borrow)]
    on_change: Option<Cow<'a, str>>,
}

impl SpecBody<'_> {
    /// The limit.
    ///
    /// # Errors
    /// `InvalidLimit`.
    pub fn limit(&self) -> Result<Limit> {
        limit_of_parts(&self.rate, self.per.as_ref(), self.algorithm.as_deref(), self.burst.as_ref())
    }

    /// What happens to consumption.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn on_change(&self) -> Result<OnChange> {
        match self.on_change.as_deref() {
            None | Some("keep") => Ok(OnChange::Keep),
            Some("reset") => Ok(OnChange::Reset),
            Some(other) => {
                Err(Error::InvalidArgument(format!("on_change must be \"keep\" or \"reset\", not {other:?}")))
            }
        }
    }
}

/// `POST /v1/limit-many`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "LimitMany")]
pub struct LimitManyBody<'a> {
    /// At most 100,000, all of them set or none.
    #[serde(borrow)]
    #[schemars(with = "Vec<SpecBody<'_>>")]
    pub limits: Vec<Object<SpecBody<'a>>>,
}

/// A body that says nothing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Nothing")]
pub struct NoBody {}
