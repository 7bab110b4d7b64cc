//! A listening socket.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

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
    pub(super) path: PathBuf,
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let unchanged =
            fs::symlink_metadata(&self.path).is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode);
        if unchanged {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// How many descriptors one of its connections takes at most; `unix_connection` says why it may be two.
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
