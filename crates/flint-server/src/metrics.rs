//! The server's own metrics, as text for Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::connection::Connections;
use crate::routes;

/// Classes of statuses, from 1xx on.
const CLASSES: usize = 5;

/// Answers by route and class of status; the last row counts requests without a route.
#[derive(Debug)]
pub(crate) struct ServerMetrics(Vec<[AtomicU64; CLASSES]>);

impl Default for ServerMetrics {
    fn default() -> Self {
        Self((0..=routes::all().count()).map(|_| Default::default()).collect())
    }
}

impl ServerMetrics {
    /// One more answer with this status.
    pub(crate) fn count(&self, route: Option<usize>, status: u16) {
        let row = route.unwrap_or(self.0.len() - 1);
        let class = usize::from(status / 100).clamp(1, CLASSES) - 1;
        self.0[row][class].fetch_add(1, Ordering::Relaxed);
    }

    /// The series, which follow those of the limiter.
    pub(crate) fn text(&self, connections: &Connections) -> String {
        let mut text = String::from(
            "# HELP flint_server_responses_total Answered requests.\n# TYPE flint_server_responses_total counter\n",
        );
        let names = routes::all().map(|route| (route.method, route.path)).chain([("", "other")]);
        for ((method, path), row) in names.zip(&self.0) {
            for (class, count) in row.iter().enumerate() {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let _ = writeln!(
                        text,
                        "flint_server_responses_total{{method=\"{method}\",path=\"{path}\",status=\"{}xx\"}} {count}",
                        class + 1
                    );
                }
            }
        }
        let mut one = |name: &str, kind: &str, help: &str, value: u64| {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        };
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let open = connections.count() as u64;
        one("flint_server_connections", "gauge", "Open connections.", open);
        one("flint_server_connections_accepted_total", "counter", "Accepted connections.", load(&connections.accepted));
        one(
            "flint_server_connections_timed_out_total",
            "counter",
            "Connections dropped because something took too long.",
            load(&connections.timed_out),
        );
        one(
            "flint_server_connections_evicted_total",
            "counter",
            "Connections dropped to make room for others.",
            load(&connections.evicted),
        );
        one(
            "flint_server_connections_refused_total",
            "counter",
            "Connections turned away because all others were being answered.",
            load(&connections.refused),
        );
        text
    }
}
