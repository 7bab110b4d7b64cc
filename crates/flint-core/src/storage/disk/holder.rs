//! The process that holds a lock, as the system shows it, for error messages.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Enough for interpreter, script and a few arguments with long paths.
const MAX_COMMAND_CHARS: usize = 500;

/// Whether this process has `file` open, as it has when another copy of this library holds the lock. The holder's process id
/// alone proves nothing: in two containers that share a volume both may be number 1.
pub(crate) fn is_open_here(file: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    let (Ok(open), Some(wanted)) = (std::fs::read_dir("/proc/self/fd"), identity(file)) else { return true };
    open.flatten().any(|entry| identity(&entry.path()) == Some(wanted))
}

/// The command line of a process, shortened, where the system tells.
pub(crate) fn command_line(pid: u32) -> Option<String> {
    let bytes = std::fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).ok()?;
    let words: Vec<_> = bytes.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
    let line = words
        .join(" ")
        .trim()
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(MAX_COMMAND_CHARS)
        .collect::<String>();
    (!line.is_empty()).then_some(line)
}
