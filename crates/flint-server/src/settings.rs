//! What a server is started with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::auth::{STRONG, TokenSource, is_strong};
use crate::error::StartError;

/// Returns the text of `/metrics` about the limiter itself. Called in a worker thread.
pub type MetricsText = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// Bounds on what clients may do. The defaults are those of the documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// From a request's first byte to the end of its head, and the same for the handshake of TLS, milliseconds.
    pub header_timeout_ms: u64,
    /// From a request's first byte to its answer, milliseconds.
    pub request_timeout_ms: u64,
    /// How long a connection may be silent between two requests, milliseconds.
    pub idle_timeout_ms: u64,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Bytes of the body of `/v1/limit-many`.
    pub many_body_bytes: usize,
    /// Bytes of bodies of `/v1/limit-many` in memory, in all.
    pub many_bodies_bytes: usize,
    /// The same for one client: one of the largest, and some smaller ones.
    pub many_bodies_bytes_per_client: usize,
    /// Bytes of large answers in memory, in all: from the time at which they are made until the clients have read them.
    pub answers_bytes: usize,
    /// The same for one client.
    pub answers_bytes_per_client: usize,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// Open connections.
    pub connections: usize,
    /// The part of the connections that one token may have where there are several tokens, percent.
    pub token_connections_percent: usize,
    /// How long a scan, or the setting of many limits, goes on for a client that sends no more, milliseconds: it may be gone.
    pub half_closed_timeout_ms: u64,
    /// Threads for what reads files or scans all keys.
    pub blocking: usize,
    /// How long open requests may take when the server shuts down, milliseconds.
    pub shutdown_timeout_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            header_timeout_ms: 5_000,
            request_timeout_ms: 10_000,
            idle_timeout_ms: 75_000,
            body_bytes: 64 * 1024,
            many_body_bytes: 16 * 1024 * 1024,
            many_bodies_bytes: 24 * 1024 * 1024,
            many_bodies_bytes_per_client: 20 * 1024 * 1024,
            answers_bytes: 24 * 1024 * 1024,
            answers_bytes_per_client: 16 * 1024 * 1024,
            head_bytes: 16 * 1024,
            headers: 64,
            connections: 512,
            token_connections_percent: 75,
            half_closed_timeout_ms: 1_000,
            blocking: 128,
            shutdown_timeout_ms: 5_000,
        }
    }
}

impl Bounds {
    /// Connections of one token where there are several.
    pub(crate) const fn connections_per_token(&self) -> usize {
        let part = self.connections.saturating_mul(self.token_connections_percent) / 100;
        if part == 0 { 1 } else { part }
    }
}

/// Certificate and key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, with its chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How a server is started.
#[derive(Clone, Default)]
pub struct Settings {
    /// Address for TCP; with port 0 the system chooses.
    pub bind: Option<SocketAddr>,
    /// Path of a Unix socket.
    pub unix: Option<PathBuf>,
    /// Takes the sockets that systemd passed, instead of making any.
    pub activated: bool,
    /// The tokens that are accepted.
    pub tokens: TokenSource,
    /// Speaks TLS over TCP.
    pub tls: Option<TlsFiles>,
    /// Refuses a token over TCP without TLS.
    pub require_tls: bool,
    /// Names other than localhost that requests may be for when no token is needed.
    pub allowed_hosts: Vec<String>,
    /// Bounds on what clients may do.
    pub bounds: Bounds,
    /// Text of `/metrics`.
    pub metrics: Option<MetricsText>,
}

impl Settings {
    /// Refuses settings that are dangerous for a TCP socket at `address`. Returns warnings.
    ///
    /// # Errors
    /// A combination that would be dangerous.
    pub(crate) fn check_tcp(&self, address: SocketAddr) -> Result<Vec<String>, StartError> {
        let loopback = address.ip().to_canonical().is_loopback();
        let needs_token = !matches!(self.tokens, TokenSource::None);
        if !loopback && !needs_token {
            return Err(StartError::new(format!(
                "{address} can be reached from other machines, and no token is set: give --token-file, or bind to 127.0.0.1"
            )));
        }
        if self.require_tls && self.tls.is_none() {
            return Err(StartError::new(
                "--require-tls needs --tls-cert and --tls-key: over TCP everything would go in the clear",
            ));
        }
        if let TokenSource::Single { token, .. } = &self.tokens
            && !is_strong(token)
            && !loopback
        {
            return Err(StartError::new(format!(
                "the token is too weak for {address}, which other machines can reach: it takes {STRONG}"
            )));
        }
        let mut warnings = Vec::new();
        if needs_token && self.tls.is_none() {
            warnings.push(format!(
                "tokens go over TCP in the clear at {address}: use --tls-cert and --tls-key, or --unix on one machine"
            ));
        }
        Ok(warnings)
    }

    /// Warnings about the token that hold for every socket.
    pub(crate) fn token_warnings(&self) -> Vec<String> {
        let TokenSource::Single { token, visible } = &self.tokens else { return Vec::new() };
        let mut warnings = Vec::new();
        if !is_strong(token) {
            warnings.push(
                "the token is short or simple enough to be guessed; `openssl rand -hex 16` makes a good one".to_owned(),
            );
        }
        if *visible {
            warnings.push(
                "the token is in the command line, where every user of this machine can read it with ps: use --token-file \
                 or FLINT_TOKEN"
                    .to_owned(),
            );
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(token: Option<&str>) -> Settings {
        let tokens =
            token.map_or(TokenSource::None, |token| TokenSource::Single { token: token.to_owned(), visible: true });
        Settings { tokens, ..Settings::default() }
    }

    fn check(settings: &Settings, address: &str) -> Result<Vec<String>, StartError> {
        settings.check_tcp(address.parse().unwrap())
    }

    #[test]
    fn a_weak_or_visible_token_leads_to_a_warning() {
        let warnings = |token| settings(token).token_warnings().len();
        assert_eq!([warnings(None), warnings(Some("dev-secret")), warnings(Some(STRONG))], [0, 2, 1]);
        let hidden = TokenSource::Single { token: STRONG.to_owned(), visible: false };
        assert_eq!(Settings { tokens: hidden, ..Settings::default() }.token_warnings(), Vec::<String>::new());
    }

    const STRONG: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn other_machines_need_a_strong_token() {
        for address in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:192.0.2.1]:1"] {
            assert!(check(&settings(None), address).unwrap_err().to_string().contains("--token-file"));
            assert!(check(&settings(Some("dev-secret")), address).unwrap_err().to_string().contains("too weak"));
            assert!(check(&settings(Some(STRONG)), address).is_ok());
        }
        for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(check(&settings(None), address), Ok(vec![]));
            assert_eq!(check(&settings(Some("dev-secret")), address).unwrap().len(), 1);
            assert_eq!(check(&settings(Some(STRONG)), address).unwrap().len(), 1);
        }
    }

    #[test]
    fn tls_can_be_required() {
        let files = TlsFiles { cert: "c".into(), key: "k".into() };
        let required = Settings { require_tls: true, ..settings(Some(STRONG)) };
        assert!(check(&required, "127.0.0.1:1").unwrap_err().to_string().contains("--tls-cert"));
        let given = Settings { tls: Some(files), ..required };
        assert_eq!(check(&given, "127.0.0.1:1"), Ok(vec![]));
    }
}
