//! Log lines: one per event on standard error, as text or as JSON.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use flint_core::rfc3339;
use serde_json::json;

/// How lines are written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `flint: warning: …`, for people.
    #[default]
    Text,
    /// `{"at": …, "level": …, "message": …}`, for programs.
    Json,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Nothing to do.
    Info,
    /// Worth a look.
    Warning,
    /// Something does not work.
    Error,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Limits a log line to one per minute, however often its cause occurs.
#[derive(Debug, Default)]
pub(crate) struct OncePerMinute(Mutex<Option<Instant>>);

impl OncePerMinute {
    /// Whether the line is due; then the next is due in a minute.
    pub(crate) fn is_due(&self) -> bool {
        self.is_due_at(Instant::now())
    }

    fn is_due_at(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.duration_since(last) >= Duration::from_secs(60));
        if due {
            *last = Some(now);
        }
        due
    }
}

impl LogFormat {
    /// Writes one line. An error of writing is ignored: there is no other place to report it.
    pub fn write(self, level: Level, message: &str) {
        let _ = io::stderr().write_all(self.line(level, message, wall_ns()).as_bytes());
    }

    fn line(self, level: Level, message: &str, wall_ns: u64) -> String {
        match (self, level) {
            (Self::Json, _) => {
                let line = json!({"at": rfc3339(wall_ns), "level": level.name(), "message": message});
                format!("{line}\n")
            }
            (Self::Text, Level::Info) => format!("flint: {}\n", one_line(message)),
            (Self::Text, _) => format!("flint: {}: {}\n", level.name(), one_line(message)),
        }
    }
}

fn one_line(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn wall_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(LogFormat::Text.line(Level::Info, "a\nb\u{1b}[0m", 0), "flint: a b [0m\n");
        assert_eq!(LogFormat::Text.line(Level::Error, "no", 0), "flint: error: no\n");
        let line = LogFormat::Json.line(Level::Warning, "a\n\"b\"", 0);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], "a\n\"b\"");
        assert_eq!(value["at"], "1970-01-01T00:00:00.000000000Z");
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn a_line_is_due_once_a_minute() {
        let (line, start) = (OncePerMinute::default(), Instant::now());
        let due: Vec<u64> = (0..150).filter(|second| line.is_due_at(start + Duration::from_secs(*second))).collect();
        assert_eq!(due, [0, 60, 120]);
    }
}
