//! The process that holds a lock, as far as the system shows it, for error messages.
//!
//! The lock file names its writer, but that proves little: in another PID namespace, such as that of a container, the number stands
//! for another process, and a lock that `flock(1)` took is not in the file at all. So first the open files of all processes are
//! looked through, as far as this process may see them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::files;
use crate::lock_holder::{Holder, Relation};
use crate::sync::process::OnceLock;

/// Enough for interpreter, script and a few arguments with long paths.
const MAX_COMMAND_CHARS: usize = 500;

/// What the command lines of the kernels of Jupyter and Colab contain.
const NOTEBOOK_KERNELS: [&str; 2] = ["ipykernel", "colab_kernel"];

/// The lines of the lock file that tell which process its number stands for; none where the system does not say. They stay the
/// same for a process, and a forked child, which inherits what was asked for before, has its own.
pub(crate) fn own_lines() -> String {
    static ASKED: OnceLock<(u32, String)> = OnceLock::new();
    let (pid, lines) = ASKED.get_or_init(|| (std::process::id(), ask_for_own_lines()));
    if *pid == std::process::id() { lines.clone() } else { ask_for_own_lines() }
}

fn ask_for_own_lines() -> String {
    let Some((namespace, started)) = own_namespace().zip(started(std::process::id())) else { return String::new() };
    format!("{}{namespace}\n{}{started}\n", files::NAMESPACE_LINE, files::STARTED_LINE)
}

fn own_namespace() -> Option<u64> {
    fs::metadata("/proc/self/ns/pid").ok().map(|meta| meta.ino())
}

/// When a process started, in clock ticks since the system did. With its number it names one process for good.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc(5): field 22, counted from behind the command, which is field 2 and may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

/// The process that holds the lock of the directory `dir`, whose lock file has this content.
pub(crate) fn identify(dir: &Path, content: &str) -> Holder {
    let number = |start: &str| content.lines().find_map(|line| line.strip_prefix(start)?.parse::<u64>().ok());
    let named = content.lines().next().and_then(|line| line.trim().parse::<u32>().ok());
    let (namespace, start) = (number(files::NAMESPACE_LINE), number(files::STARTED_LINE));
    let own = own_namespace();
    let holders = lockers(dir);
    // A descriptor that a child inherited holds the lock, too.
    if let Some(&pid) = holders.iter().find(|&&pid| Some(pid) == named && namespace == own).or(holders.first()) {
        return if pid == std::process::id() { here(None) } else { process(pid) };
    }
    let Some(pid) = named else { return Holder::Unknown };
    match (own, namespace) {
        (None, _) => process(pid),
        (Some(own), Some(namespace)) if own != namespace => Holder::OtherNamespace { pid },
        (Some(_), Some(_)) if start.is_some() && started(pid) == start => process(pid),
        _ if started(pid).is_none() || namespace.is_some() => Holder::Ended { pid },
        _ => Holder::Unknown,
    }
}

/// This process as the holder, which opened the directory with that path.
pub(crate) fn here(opened_as: Option<PathBuf>) -> Holder {
    let own = words(std::process::id());
    let is_notebook = own.iter().any(|word| NOTEBOOK_KERNELS.iter().any(|kernel| word.contains(kernel)));
    Holder::Here { opened_as, is_notebook }
}

fn process(pid: u32) -> Holder {
    let (other, own) = (words(pid), words(std::process::id()));
    let relation = if pid == std::os::unix::process::parent_id() {
        Relation::Parent
    } else {
        match program(&own) {
            Some(name) if program(&other) == Some(name) => Relation::SameProgram(printable(name)),
            _ => Relation::None,
        }
    };
    let command = printable(&other.join(" "));
    Holder::Process { pid, command: (!command.is_empty()).then_some(command), relation }
}

/// The name of the script or module that an interpreter's command line names; none for code on the command line, and for programs
/// without arguments.
fn program(words: &[String]) -> Option<&str> {
    let mut rest = words.iter().skip(1);
    while let Some(word) = rest.next() {
        match word.as_str() {
            "-m" => return rest.next().map(String::as_str),
            "-X" | "-W" => drop(rest.next()),
            option if option.starts_with('-') => {
                if option.ends_with('c') {
                    return None;
                }
            }
            script => return Path::new(script).file_name()?.to_str(),
        }
    }
    None
}

/// The processes that have locked a directory or its lock file, in order of their numbers.
fn lockers(dir: &Path) -> Vec<u32> {
    let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
    let file = fs::symlink_metadata(dir.join(files::LOCK)).map(identity).ok();
    let wanted = [fs::metadata(dir).map(identity).ok(), file];
    let dir_name = fs::canonicalize(dir).ok().and_then(|path| path.file_name().map(OsStr::to_owned));
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut found: Vec<u32> = numbers
        .filter(|pid| {
            let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
            descriptors.flatten().any(|entry| {
                // Only what has the right name is looked at: asking a server that is gone about its files would not return.
                let is_named = fs::read_link(entry.path()).is_ok_and(|target| {
                    let name = target.file_name().unwrap_or_default();
                    name.as_bytes().starts_with(files::LOCK.as_bytes()) || Some(name) == dir_name.as_deref()
                });
                is_named
                    && fs::metadata(entry.path()).is_ok_and(|meta| wanted.contains(&Some(identity(meta))))
                    && fs::read_to_string(Path::new(&format!("/proc/{pid}/fdinfo")).join(entry.file_name()))
                        .is_ok_and(|info| info.contains(" FLOCK "))
            })
        })
        .collect();
    found.sort_unstable();
    found
}

/// The words of a process's command line, where the system shows it.
fn words(pid: u32) -> Vec<String> {
    let bytes = fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).unwrap_or_default();
    bytes.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// One line of bounded length.
fn printable(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(MAX_COMMAND_CHARS).collect()
}
