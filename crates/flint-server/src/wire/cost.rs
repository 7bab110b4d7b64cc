//! The cost of a call.

use std::borrow::Cow;
use std::fmt;

use flint_core::{Error, Result};
use schemars::JsonSchema;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

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
