//! The JSON of requests.

use flint_core::limit::{Algorithm, Limit};

/// JSON text that grows. Serialising into memory cannot fail.
#[derive(Default)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    pub(crate) fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        serde_json::to_writer(&mut self.0, text).expect("text is written to memory");
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        serde_json::to_writer(&mut self.0, &number).expect("a number is written to memory");
        self
    }

    /// `,"cost":n`, left out where it is the default.
    pub(crate) fn cost(&mut self, cost: u64) -> &mut Self {
        if cost == 1 { self } else { self.raw(r#","cost":"#).number(cost) }
    }

    /// The limit, losslessly: its text names no algorithm, so that other algorithms than the default are named in addition.
    pub(crate) fn limit(&mut self, limit: &Limit) -> &mut Self {
        if limit.rates().iter().all(|rate| rate.algorithm() == Algorithm::TokenBucket) {
            return self.text(&limit.to_string());
        }
        for (index, rate) in limit.rates().iter().enumerate() {
            self.raw(if index == 0 { r#"[{"rate":"# } else { r#",{"rate":"# })
                .text(&Limit::single(*rate).to_string())
                .raw(r#","algorithm":"#)
                .text(rate.algorithm().name())
                .raw("}");
        }
        self.raw("]")
    }

    /// The comma in front of every element of a list but the first.
    pub(crate) fn separator(&mut self, index: usize) -> &mut Self {
        if index == 0 { self } else { self.raw(",") }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
