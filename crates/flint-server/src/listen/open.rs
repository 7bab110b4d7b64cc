//! Opens the sockets that the settings name.

use super::listener::Listener;
use super::{activation, tcp, unix};
use crate::error::StartError;
use crate::settings::Settings;

/// Whether [`open`] would succeed. The sockets that systemd passed can be taken only once: they are not examined.
///
/// # Errors
/// As [`open`].
pub(crate) fn examine(settings: &Settings) -> Result<(), StartError> {
    if settings.activated {
        return Ok(());
    }
    require_use(settings, settings.bind.is_some() || settings.unix.is_some(), settings.bind.is_some())?;
    if let Some(address) = settings.bind {
        settings.check_tcp(address)?;
        tcp::bind(address)?;
    }
    if let Some(path) = &settings.unix {
        unix::examine(path)?;
    }
    Ok(())
}

/// Opens every socket that the settings name. Returns them with warnings.
///
/// # Errors
/// Settings that would be dangerous, and what the operating system refuses.
pub(crate) fn open(settings: &Settings) -> Result<(Vec<Listener>, Vec<String>), StartError> {
    let (mut listeners, mut warnings) = (Vec::new(), settings.token_warnings());
    if settings.activated {
        listeners = activation::take()?;
    } else {
        if let Some(address) = settings.bind {
            // Before anything listens: a refused setting never does, not even for a moment.
            settings.check_tcp(address)?;
            listeners.push(tcp::bind(address)?);
        }
        if let Some(path) = &settings.unix {
            listeners.push(unix::bind(path)?);
        }
    }
    let mut tls_is_used = false;
    for listener in &listeners {
        if let Listener::Tcp(_, address) = listener {
            warnings.extend(settings.check_tcp(*address)?);
            tls_is_used = true;
        }
    }
    require_use(settings, !listeners.is_empty(), tls_is_used)?;
    warnings.dedup();
    Ok((listeners, warnings))
}

fn require_use(settings: &Settings, listens: bool, listens_on_tcp: bool) -> Result<(), StartError> {
    if !listens {
        return Err(StartError::new("nothing to listen on: give --bind ADDRESS:PORT, --unix PATH, or both"));
    }
    if settings.tls.is_some() && !listens_on_tcp {
        return Err(StartError::new("--tls-cert and --tls-key are for TCP; a Unix socket needs no TLS"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::SocketAddr;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn refused(settings: &Settings) -> String {
        open(settings).unwrap_err().to_string()
    }

    #[test]
    fn a_unix_socket_is_for_its_owner_and_removed_with_its_server() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let settings = Settings { unix: Some(path.clone()), ..Settings::default() };
        let (listeners, warnings) = open(&settings).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(refused(&settings).contains("another server listens"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        drop(listeners);
        assert!(!path.exists());
    }

    #[test]
    fn the_file_of_an_ended_server_is_replaced_and_anything_else_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let settings = Settings { unix: Some(path.clone()), ..Settings::default() };
        drop(UnixListener::bind(&path).unwrap());
        let (mut listeners, _) = open(&settings).unwrap();
        // One that took the place since stays.
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        listeners.clear();
        assert!(path.exists());
        drop(other);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(refused(&settings).contains("is no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn an_address_in_use_and_no_address_are_said() {
        assert!(refused(&Settings::default()).contains("--bind"));
        let bind = |address: SocketAddr| Settings { bind: Some(address), ..Settings::default() };
        let (listeners, _) = open(&bind("127.0.0.1:0".parse().unwrap())).unwrap();
        let Listener::Tcp(_, address) = listeners[0] else { panic!("{listeners:?}") };
        assert!(refused(&bind(address)).contains("another port"));
        assert!(refused(&bind("0.0.0.0:0".parse().unwrap())).contains("--token-file"));
    }

    #[test]
    fn what_is_examined_is_refused_as_it_would_be_and_nothing_listens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let local =
            Settings { bind: Some("127.0.0.1:0".parse().unwrap()), unix: Some(path.clone()), ..Settings::default() };
        examine(&local).unwrap();
        assert!(!path.exists());
        let (listeners, _) = open(&local).unwrap();
        let Listener::Tcp(_, address) = listeners[0] else { panic!("{listeners:?}") };
        fs::write(dir.path().join("file"), "precious").unwrap();
        let tls = Some(crate::settings::TlsFiles { cert: "c".into(), key: "k".into() });
        for settings in [
            Settings::default(),
            Settings { bind: Some("0.0.0.0:0".parse().unwrap()), ..Settings::default() },
            Settings { bind: Some(address), ..Settings::default() },
            Settings { unix: Some(path.clone()), ..Settings::default() },
            Settings { unix: Some(dir.path().join("file")), ..Settings::default() },
            Settings { unix: Some(dir.path().join("s".repeat(200))), ..Settings::default() },
            Settings { unix: Some(dir.path().join("other")), tls, ..Settings::default() },
        ] {
            assert_eq!(examine(&settings).unwrap_err().to_string(), refused(&settings));
        }
    }
}
