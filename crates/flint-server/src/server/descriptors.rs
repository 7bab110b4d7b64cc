//! How many files this process may have open: connections take some.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For the store, the listening sockets, and everything else that the process has open.
const OTHERS: u64 = 64;

/// Raises the limit of open files to what `connections` take, of which each takes up to `each`. Returns for how many
/// connections there is room, and a warning when that is less.
pub(crate) fn provide(connections: usize, each: u64) -> (usize, Option<String>) {
    let wanted = (connections as u64).saturating_mul(each).saturating_add(OTHERS);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return (connections, None);
    }
    let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
    let have = getrlimit(Resource::Nofile).current.unwrap_or(wanted);
    if have >= wanted {
        return (connections, None);
    }
    let room = usize::try_from(have.saturating_sub(OTHERS) / each).unwrap_or(connections).max(1);
    let warning = format!(
        "there is room for {room} connections instead of {connections}: the process may have {have} files open; raise that \
         (ulimit -n, or LimitNOFILE= of systemd)"
    );
    (room, Some(warning))
}
