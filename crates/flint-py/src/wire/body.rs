//! Requests' JSON.

use flint_core::limit::{Algorithm, Limit};

/// JSON text that grows. Serialising into memory cannot fail.
#[derive(Default)]
pub(super) struct Body(Vec<u8>);

impl Body {
    pub(super) fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        serde_json::to_writer(&mut self.0, text).expect("text is written to memory");
        self
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        serde_json::to_writer(&mut self.0, &number).expect("a number is written to memory");
        self
    }

    /// `,"cost":n`, left out where it is the default.
    pub(super) fn cost(&mut self, cost: u64) -> &mut Self {
        if cost == 1 { self } else { self.raw(r#","cost":"#).number(cost) }
    }

    /// The limit, losslessly: its text names no algorithm, so that other algorithms than the default are named beside it.
    pub(super) fn limit(&mut self, limit: &Limit) -> &mut Self {
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

    /// `items` with commas in between.
    pub(super) fn each<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.raw(",");
            }
            write(self, item);
        }
        self
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
