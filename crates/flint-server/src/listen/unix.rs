//! Unix sockets.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr as SocketAddress, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::listener::{Listener, SocketFile};
use crate::error::StartError;

fn unusable(path: &Path, error: &io::Error) -> StartError {
    let hint = if error.kind() == io::ErrorKind::InvalidInput {
        "; the path of a Unix socket has about 100 bytes at most, name a shorter one"
    } else {
        ""
    };
    StartError::system(format!("cannot listen on {}: {error}{hint}", path.display()))
}

/// Refuses a path where anything is but the file of a server that ended.
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

/// Listens at a path; only the owner may connect. The file is bound under a name of its own, gets its mode, and only then its real name, so that there
/// is no moment at which others could.
pub(super) fn bind(path: &Path) -> Result<Listener, StartError> {
    // Clients have other working directories.
    let path = &std::path::absolute(path).map_err(|error| unusable(path, &error))?;
    require_free(path)?;
    let failed = |error: io::Error| unusable(path, &error);
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
