//! Why a server does not start.

/// Why a server does not start: one sentence on what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError {
    message: String,
    /// Whether the operating system returned an error; otherwise a setting is not accepted.
    pub of_system: bool,
}

impl StartError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), of_system: false }
    }

    pub(crate) fn system(message: impl Into<String>) -> Self {
        Self { message: message.into(), of_system: true }
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}
