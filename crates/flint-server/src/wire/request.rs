//! Bodies of requests. A field that is not known is refused: a mistyped one would change what is meant.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use flint_core::engine::OnChange;
use flint_core::limit::Limit;
use flint_core::{Error, Result};
use schemars::JsonSchema;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use super::bounded::Bounded;
use super::cost::Cost;
use super::item::Item;
use super::limit::{LimitSchema, PeriodSchema, RateSchema, brought, limit_of_parts};

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

const fn yes() -> bool {
    true
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
    limit: Option<Bounded>,
    /// False for a caller that waits and tries again: a denial is not counted.
    #[serde(default = "yes")]
    pub count_denied: bool,
}

impl CheckBody<'_> {
    /// The limit that comes with the call.
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
    limit: Option<Bounded>,
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
    /// Tokens that were requested.
    #[serde(default)]
    pub cost: Cost,
    /// The limit that came with the call.
    #[schemars(with = "Option<LimitSchema>")]
    limit: Option<Bounded>,
}

impl DenyBody<'_> {
    /// As in [`CheckBody::limit`].
    ///
    /// # Errors
    /// `InvalidLimit`.
    pub fn limit(&self) -> Result<Option<Limit>> {
        brought(self.limit.as_ref())
    }
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
    rate: Bounded,
    /// The period where `rate` is a number.
    #[schemars(with = "Option<PeriodSchema>")]
    per: Option<Bounded>,
    /// The name of an algorithm, as a rate has it; the default is `token_bucket`.
    #[serde(borrow)]
    algorithm: Option<Cow<'a, str>>,
    /// Tokens that a full bucket holds.
    #[schemars(with = "Option<u64>")]
    burst: Option<Bounded>,
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
        let (per, burst) = (self.per.as_ref().map(|per| &per.0), self.burst.as_ref().map(|burst| &burst.0));
        limit_of_parts(&self.rate.0, per, self.algorithm.as_deref(), burst)
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

/// `POST /v1/limit-many`, as the document describes it; [`each_limit`](super::many::each_limit) reads it.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "LimitMany", deny_unknown_fields)]
pub struct LimitManyBody<'a> {
    /// At most 100,000, all of them set or none.
    pub limits: Vec<SpecBody<'a>>,
}

/// A body without fields.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Nothing")]
pub struct NoBody {}
