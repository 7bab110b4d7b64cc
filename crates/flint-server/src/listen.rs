//! Sockets that clients connect to: TCP, Unix, or passed by systemd.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr as SocketAddress, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;

use crate::start::{Settings, StartError};

/// One socket.
#[derive(Debug)]
pub(crate) enum Listener {
    /// TCP, at this address.
    Tcp(TcpListener, SocketAddr),
    /// A Unix socket; the server removes its file at the end if it made it.
    Unix(UnixListener, PathBuf, Option<SocketFile>),
}

/// The file of a Unix socket, as it was made: another server may have put one of its own in its place since.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// How many descriptors one of its connections takes at most; `local` says why it may be two.
    pub(crate) const fn descriptors(&self) -> u64 {
        match self {
            Self::Tcp(..) => 1,
            Self::Unix(..) => 2,
        }
    }

    /// Where it listens, as a URL.
    pub(crate) fn url(&self, tls: bool) -> String {
        match self {
            Self::Tcp(_, address) => format!("{}://{address}", if tls { "https" } else { "http" }),
            Self::Unix(_, path, _) => format!("unix://{}", path.display()),
        }
    }
}

/// Whether `open` would open what the settings name. What systemd passed can be taken once only: it is not looked at.
///
/// # Errors
/// As [`open`].
pub(crate) fn examine(settings: &Settings) -> Result<(), StartError> {
    if settings.activated {
        return Ok(());
    }
    require_use(settings, settings.bind.is_some() || settings.unix.is_some(), settings.bind.is_some())?;
    if let Some(address) = settings.bind {
        settings.judge_tcp(address)?;
        tcp(address)?;
    }
    if let Some(path) = &settings.unix {
        let path = &std::path::absolute(path).map_err(|error| not_there(path, &error))?;
        require_free(path)?;
        SocketAddress::from_pathname(temporary(path)).map_err(|error| not_there(path, &error))?;
    }
    Ok(())
}

/// Opens every socket that the settings name. Gives them with what there is to warn of.
///
/// # Errors
/// Settings that would be dangerous, and what the operating system refuses.
pub(crate) fn open(settings: &Settings) -> Result<(Vec<Listener>, Vec<String>), StartError> {
    let (mut listeners, mut warnings) = (Vec::new(), settings.judge_token());
    if settings.activated {
        listeners = passed()?;
    } else {
        if let Some(address) = settings.bind {
            // Before anything listens: a refused setting never does, not even for a moment.
            settings.judge_tcp(address)?;
            listeners.push(tcp(address)?);
        }
        if let Some(path) = &settings.unix {
            listeners.push(unix(path)?);
        }
    }
    let mut tls_is_used = false;
    for listener in &listeners {
        if let Listener::Tcp(_, address) = listener {
            warnings.extend(settings.judge_tcp(*address)?);
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

fn tcp(address: SocketAddr) -> Result<Listener, StartError> {
    let failed = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => "; another server listens there: end it, or choose another port",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges",
            io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
            _ => "",
        };
        StartError::system(format!("cannot listen on {address}: {error}{remedy}"))
    };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Listener::Tcp(listener, address))
}

fn not_there(path: &Path, error: &io::Error) -> StartError {
    let hint = if error.kind() == io::ErrorKind::InvalidInput {
        "; the path of a Unix socket has about 100 bytes at most, name a shorter one"
    } else {
        ""
    };
    StartError::system(format!("cannot listen on {}: {error}{hint}", path.display()))
}

/// Nothing but what a dead server left may be in the place of a Unix socket.
fn require_free(path: &Path) -> Result<(), StartError> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(StartError::system(format!("{} exists and is no socket; name another path", path.display())));
    }
    if UnixStream::connect(path).is_ok() {
        let path = path.display();
        return Err(StartError::system(format!("another server listens on {path}: end it, or name another path")));
    }
    Ok(())
}

/// Where a Unix socket is until it has its mode.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}

/// Only the owner may connect. The file is bound under a name of its own, gets its mode, and only then its real name, so that there
/// is no moment at which others could.
fn unix(path: &Path) -> Result<Listener, StartError> {
    // As clients need it, wherever they are.
    let path = &std::path::absolute(path).map_err(|error| not_there(path, &error))?;
    require_free(path)?;
    let failed = |error: io::Error| not_there(path, &error);
    let temporary = temporary(path);
    let _ = fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary).map_err(failed)?;
    let placed = fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))
        .and_then(|()| listener.set_nonblocking(true))
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| fs::symlink_metadata(path));
    let made = placed.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        failed(error)
    })?;
    let file = SocketFile { path: path.to_path_buf(), device: made.dev(), inode: made.ino() };
    Ok(Listener::Unix(listener, path.to_path_buf(), Some(file)))
}

/// The sockets that systemd passed to this process.
fn passed() -> Result<Vec<Listener>, StartError> {
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        let wrong = |what: String| StartError::new(format!("socket {index} that systemd passed {what}"));
        if let Ok(Some(listener)) = passed.take_unix_listener(index) {
            listener.set_nonblocking(true).map_err(|error| wrong(error.to_string()))?;
            let address = listener.local_addr().map_err(|error| wrong(error.to_string()))?;
            let path = address.as_pathname().unwrap_or_else(|| Path::new("")).to_path_buf();
            listeners.push(Listener::Unix(listener, path, None));
        } else if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
            listener.set_nonblocking(true).map_err(|error| wrong(error.to_string()))?;
            let address = listener.local_addr().map_err(|error| wrong(error.to_string()))?;
            listeners.push(Listener::Tcp(listener, address));
        } else {
            return Err(wrong("is neither a listening TCP nor a listening Unix socket".to_owned()));
        }
    }
    if listeners.is_empty() {
        return Err(StartError::new("systemd passed no socket: start this through its socket unit"));
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(settings: &Settings) -> String {
        open(settings).unwrap_err().to_string()
    }

    #[test]
    fn a_unix_socket_is_for_its_owner_and_goes_with_its_server() {
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
    fn what_a_dead_server_left_is_replaced_and_anything_else_is_not() {
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
        let tls = Some(crate::start::TlsFiles { cert: "c".into(), key: "k".into() });
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
