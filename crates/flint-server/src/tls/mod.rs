//! TLS over TCP: certificate and key from PEM files.

use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config_file;
use crate::error::StartError;
use crate::settings::TlsFiles;

mod validity;

const ENCRYPTED: &[u8] = b"ENCRYPTED";

/// Longest file that is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Accepts TLS with a certificate that can be read again while the server runs.
pub(crate) struct ReloadableAcceptor {
    files: TlsFiles,
    acceptor: RwLock<TlsAcceptor>,
}

impl ReloadableAcceptor {
    /// With the certificate as it is now.
    ///
    /// # Errors
    /// As [`load`].
    pub(crate) fn open(files: &TlsFiles) -> Result<Self, StartError> {
        let acceptor = RwLock::new(TlsAcceptor::from(load(files)?));
        Ok(Self { files: files.clone(), acceptor })
    }

    /// For one handshake.
    pub(crate) fn current(&self) -> TlsAcceptor {
        self.acceptor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A warning about the certificate, as it is now.
    pub(crate) fn warning(&self) -> Option<String> {
        validity_warning(&self.files)
    }

    /// Reads the certificate again. The old one stays where it cannot be read.
    ///
    /// # Errors
    /// As [`load`].
    pub(crate) fn reload(&self) -> Result<(), StartError> {
        let config = load(&self.files)?;
        *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = TlsAcceptor::from(config);
        Ok(())
    }
}

/// The configuration of handshakes, from the files as they are now.
///
/// # Errors
/// What is wrong with which file.
pub(crate) fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, StartError> {
    let wrong = |path: &std::path::Path, what: &dyn std::fmt::Display| {
        StartError::new(format!("TLS: {}: {what}", path.display()))
    };
    let (pem, _) = config_file::read(&files.cert, MAX_FILE_BYTES).map_err(|error| wrong(&files.cert, &error))?;
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| wrong(&files.cert, &error))?;
    if chain.is_empty() {
        return Err(wrong(&files.cert, &"there is no certificate in it"));
    }
    let (pem, _) = config_file::read(&files.key, MAX_FILE_BYTES).map_err(|error| wrong(&files.key, &error))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        let hint = if pem.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
            "; it is encrypted, and the server cannot ask for a passphrase: give a key without one"
        } else {
            ""
        };
        wrong(&files.key, &format!("{error}{hint}"))
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            wrong(&files.key, &format!("it is not the key of the certificate in {}", files.cert.display()))
        }
        error => wrong(&files.cert, &error),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A warning about a certificate that is not valid now.
pub(crate) fn validity_warning(files: &TlsFiles) -> Option<String> {
    let (pem, _) = config_file::read(&files.cert, MAX_FILE_BYTES).ok()?;
    let certificate = CertificateDer::pem_slice_iter(&pem).next()?.ok()?;
    let (begins, ends) = validity::period(&certificate)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let day = |seconds: u64| flint_core::rfc3339(seconds.saturating_mul(1_000_000_000))[..19].replace('T', " ");
    let path = files.cert.display();
    if now > ends {
        return Some(format!(
            "TLS: {path}: the certificate expired at {} UTC, and clients refuse it; renew it",
            day(ends)
        ));
    }
    let early = format!(
        "TLS: {path}: the certificate is not valid before {} UTC, and clients refuse it until then",
        day(begins)
    );
    (now < begins).then_some(early)
}

/// A warning about a key that others may read.
pub(crate) fn key_warning(files: &TlsFiles) -> Option<String> {
    let metadata = std::fs::metadata(&files.key).ok()?;
    let mode = metadata.mode() & 0o777;
    let path = files.key.display();
    if let Some(owner) = config_file::foreign_owner(&metadata) {
        return Some(format!(
            "TLS: {path}: the key belongs to the user with the id {owner}, which can read it; chown it to the user of the server, or to root"
        ));
    }
    (mode & 0o077 != 0)
        .then(|| format!("TLS: {path}: others may read or write the key (mode {mode:04o}); chmod 600 it"))
}
