//! What a token allows.

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Checks and looks at limits.
    Check,
    /// Sets, resets and deletes limits.
    Configure,
    /// Flushes, compacts, examines, reads the log.
    Admin,
    /// Reads metrics.
    Metrics,
}

impl Scope {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Check, Self::Configure, Self::Admin, Self::Metrics];

    /// Its name in a token file.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Configure => "configure",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
        }
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scopes(pub(super) u8);

impl Scopes {
    /// Everything.
    pub(crate) const ALL: Self = Self(0b1111);
    /// Nothing.
    pub(crate) const NONE: Self = Self(0);

    /// Whether `scope` is one of them.
    pub(crate) const fn has(self, scope: Scope) -> bool {
        self.0 & 1 << scope as u8 != 0
    }

    pub(super) fn parse(names: &str) -> Result<Self, String> {
        let mut scopes = Self::NONE;
        for name in names.split([' ', '\t', ',']).filter(|name| !name.is_empty()) {
            let scope = Scope::ALL.into_iter().find(|scope| scope.name() == name);
            let scope = scope.ok_or_else(|| {
                format!("{name:?} is not a scope; the scopes are check, configure, admin and metrics")
            })?;
            scopes.0 |= 1 << scope as u8;
        }
        if scopes == Self::NONE {
            return Err("a token needs at least one scope: check, configure, admin or metrics".to_owned());
        }
        Ok(scopes)
    }
}
