//! Unix sockets.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr as SocketAddress, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use flint_core::files::MAX_SOCKET_PATH_BYTES;
use rustix::fs::{Mode, fchmod};
#[cfg(target_os = "linux")]
use rustix::io::Errno;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, listen, socket};

use super::listener::{Listener, SocketFile};
use crate::error::StartError;

/// As the standard library has it.
const BACKLOG: i32 = 4096;

fn unusable(path: &Path, error: &io::Error) -> StartError {
    let hint = if error.kind() == io::ErrorKind::InvalidInput {
        format!("; its path has {} bytes, name one of at most {MAX_SOCKET_PATH_BYTES}", path.as_os_str().len())
    } else {
        String::new()
    };
    StartError::system(format!("cannot listen on {}: {error}{hint}", path.display()))
}

/// Refuses a path where anything is but the file of a server that ended.
fn require_free(path: &Path) -> Result<(), StartError> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(StartError::system(format!("{} exists and is no socket; name another path", path.display())));
    }
    if is_live(path) {
        let path = path.display();
        return Err(StartError::system(format!("another server listens on {path}: end it, or name another path")));
    }
    Ok(())
}

/// Whether a process has the socket at `path`, of whatever type. A datagram socket disturbs none that it connects to, and only a file
/// that no process has refuses it.
fn is_live(path: &Path) -> bool {
    let connected = UnixDatagram::unbound().and_then(|probe| probe.connect(path));
    connected.map_or_else(|error| error.kind() != io::ErrorKind::ConnectionRefused, |()| true)
}

/// Whether [`bind`] would listen at `path`.
pub(super) fn examine(path: &Path) -> Result<(), StartError> {
    let path = &std::path::absolute(path).map_err(|error| unusable(path, &error))?;
    require_free(path)?;
    SocketAddress::from_pathname(temporary(path)).map_err(|error| unusable(path, &error))?;
    Ok(())
}

/// Where a Unix socket is until it has its mode.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}

/// Listens at a path; only the owner may connect. The socket gets its mode before it listens, and its file a name of its own until then.
pub(super) fn bind(path: &Path) -> Result<Listener, StartError> {
    // Clients have other working directories.
    let path = &std::path::absolute(path).map_err(|error| unusable(path, &error))?;
    require_free(path)?;
    let failed = |error: io::Error| unusable(path, &error);
    let temporary = temporary(path);
    SocketAddress::from_pathname(&temporary).map_err(failed)?;
    let _ = fs::remove_file(&temporary);
    let placed = listening(&temporary).and_then(|listener| {
        place(&temporary, path)?;
        Ok((listener, fs::symlink_metadata(path)?))
    });
    let (listener, made) = placed.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        match error.kind() {
            io::ErrorKind::AlreadyExists => require_free(path).err().unwrap_or_else(|| failed(error)),
            _ => failed(error),
        }
    })?;
    let file = SocketFile { path: path.to_path_buf(), device: made.dev(), inode: made.ino() };
    Ok(Listener::Unix(listener, path.to_path_buf(), Some(file)))
}

/// A socket at `path` that listens, to which only its owner can connect.
fn listening(path: &Path) -> io::Result<UnixListener> {
    let mode = Mode::RUSR | Mode::WUSR;
    let socket = unbound()?;
    // Linux gives the file the mode of the socket. Other systems ignore it, or return an error.
    let _ = fchmod(&socket, mode);
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    if fs::symlink_metadata(path)?.mode() & 0o777 != 0o600 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    listen(&socket, BACKLOG)?;
    let listener = UnixListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A socket without an address, which the standard library has no function for.
fn unbound() -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    Ok(socket)
}

/// Gives the socket at `made` its real name, in the place of the file of a server that ended. A server that took the name since the
/// check keeps it.
#[cfg(target_os = "linux")]
fn place(made: &Path, path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let with = |flags| renameat_with(CWD, made, CWD, path, flags);
    match with(RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => {
            match with(RenameFlags::EXCHANGE) {
                Ok(()) => {}
                Err(Errno::INVAL | Errno::NOSYS) => return fs::rename(made, path),
                Err(error) => return Err(error.into()),
            }
            let was_socket = fs::symlink_metadata(made).is_ok_and(|found| found.file_type().is_socket());
            if was_socket && !is_live(made) {
                return fs::remove_file(made);
            }
            with(RenameFlags::EXCHANGE)?;
            Err(io::ErrorKind::AlreadyExists.into())
        }
        // A file system without it.
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(made, path),
        Err(error) => Err(error.into()),
    }
}

/// The same where a file is replaced whatever it is.
#[cfg(not(target_os = "linux"))]
fn place(made: &Path, path: &Path) -> io::Result<()> {
    fs::rename(made, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_is_right_before_it_listens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        // Whatever the mask of the process: it takes bits away, and the mode has none to take that others could have.
        let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        fchmod(&socket, Mode::RUSR | Mode::WUSR).unwrap();
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o177, 0);
    }

    #[test]
    fn a_live_socket_of_any_type_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        for (name, kind, listens) in [
            ("stream", SocketType::STREAM, true),
            ("not listening", SocketType::STREAM, false),
            ("datagram", SocketType::DGRAM, false),
            ("packets", SocketType::SEQPACKET, true),
        ] {
            let path = dir.path().join(name);
            let socket = socket(AddressFamily::UNIX, kind, None).unwrap();
            rustix::net::bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
            if listens {
                listen(&socket, 1).unwrap();
            }
            let inode = fs::metadata(&path).unwrap().ino();
            assert!(bind(&path).unwrap_err().to_string().contains("another server listens"), "{name}");
            // One that came after the check.
            let made = dir.path().join("made");
            let own = listening(&made).unwrap();
            assert_eq!(place(&made, &path).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{name}");
            assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "{name}");
            drop((socket, own));
            fs::remove_file(&made).unwrap();
            bind(&path).expect("its process has closed it");
        }
    }
}
