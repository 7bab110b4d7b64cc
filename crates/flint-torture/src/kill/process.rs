//! Starting a worker and killing it at an exact point.
//!
//! strace sends a signal when a thread enters a system call for the nth time. SIGKILL ends the process there: the call does
//! not happen. SIGTERM, which the worker does not handle, is delivered on the way back: the call has happened, and no instruction of
//! the program runs after it in that thread. strace counts for each thread by itself, so that the thread that comes first
//! to its nth call dies; naming the files narrows that down to the thread that works on them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use flint_core::engine::SyncMode;
use flint_core::files::{self, FileKind};

use super::workload::Workload;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// The calls that read or change files, and the one that reports. A question mark: not every platform has it.
const CALLS: &str = "openat,mkdirat,?renameat,?renameat2,?rename,unlinkat,fsync,fdatasync,pwrite64,write,ftruncate,flock,\
                     mmap,close,getdents64";

/// A directory that goes away with this value.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// In memory where there is such a file system, or where temporary files are.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(on_disk: bool) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let memory = Path::new("/dev/shm");
        let root = if !on_disk && memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("flint-kill-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Copies a directory with its subdirectories.
///
/// # Panics
/// When it cannot be copied.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a new directory");
    for entry in fs::read_dir(from).expect("a directory to copy") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a file to copy");
        }
    }
}

/// The files that a point is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Files {
    /// No matter which.
    Any,
    /// The data directory itself: everything that names a file in it, and its syncs.
    Root,
    /// Files in it.
    Named(Vec<String>),
}

/// Where the process dies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Point {
    /// `2n` just before the nth store into the mapping, `2n + 1` in the middle of it.
    Store(u64),
    /// At a system call.
    Call {
        /// Its name.
        name: String,
        /// Calls with other files do not count.
        files: Files,
        /// The nth one of a thread, from 1.
        when: u64,
        /// Right after it, instead of right before.
        after: bool,
    },
}

/// A part of a workload for a worker.
#[derive(Debug, Clone)]
pub struct Task<'a> {
    /// The data directory.
    pub dir: &'a Path,
    /// The sync mode.
    pub sync: SyncMode,
    /// The whole workload.
    pub workload: &'a Workload,
    /// Steps made before.
    pub from: usize,
    /// Steps made in the end.
    pub to: usize,
    /// Whether it ends without close().
    pub dies: bool,
}

/// What a worker reported until its end.
#[derive(Debug)]
pub struct Outcome {
    /// Its lines.
    pub reported: Vec<String>,
    /// Whether it was killed; otherwise it came to its end.
    pub killed: bool,
    /// Whether the thread that met the point was not the caller's. Only known for system calls.
    pub in_background: bool,
}

fn program() -> PathBuf {
    let here = std::env::current_exe().expect("the path of this program");
    let dir = here.parent().expect("its directory");
    let dir = if dir.ends_with("deps") { dir.parent().expect("the build's directory") } else { dir };
    let worker = dir.join("worker");
    assert!(worker.exists(), "build it first: cargo build -p flint-torture --bin worker");
    worker
}

fn path_arguments(files: &Files, dir: &Path) -> Vec<String> {
    let root = dir.display().to_string();
    let names = match files {
        Files::Any => Vec::new(),
        Files::Root => vec![root],
        // By name when they are opened, renamed or removed; by path when a descriptor is used.
        Files::Named(names) => names.iter().flat_map(|name| [name.clone(), format!("{root}/{name}")]).collect(),
    };
    names.into_iter().flat_map(|name| ["-P".to_owned(), name]).collect()
}

impl Task<'_> {
    fn strace(&self, log: &Path, trace: &str, files: &Files) -> Command {
        let mut command = Command::new("strace");
        command.args(["-f", "-q", "-s", "64", "-o"]).arg(log).args(["-e", &format!("trace={trace}")]);
        command.args(path_arguments(files, self.dir));
        command
    }

    fn arguments(&self, command: &mut Command) {
        let sync = if self.sync == SyncMode::Always { "always" } else { "batch" };
        let (seed, from, to) = (self.workload.seed.to_string(), self.from.to_string(), self.to.to_string());
        let ending = if self.dies { "die" } else { "close" };
        command.arg(self.dir).args([sync, self.workload.kind.name(), &seed, &from, &to, ending]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }

    fn finish(&self, mut command: Command) -> Outcome {
        let output = command.output().unwrap_or_else(|error| {
            panic!("{}: {error} (sh scripts/install-system-tools.sh strace)", command.get_program().display())
        });
        let text = String::from_utf8(output.stdout).expect("lines of text");
        let reported = text.lines().map(str::to_owned).collect();
        let killed = match (output.status.code(), output.status.signal()) {
            (Some(0), None) => false,
            (None, Some(SIGKILL | SIGTERM)) => true,
            _ => panic!("{self:?} ended with {}: {}\n{text}", output.status, String::from_utf8_lossy(&output.stderr)),
        };
        Outcome { reported, killed, in_background: false }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it fails.
    pub fn undisturbed(&self) -> Outcome {
        let mut command = Command::new(program());
        self.arguments(&mut command);
        let ran = self.finish(command);
        assert!(!ran.killed, "{self:?} was killed by another process");
        ran
    }

    /// Runs it until it dies at `point`, or to its end if it does not come by.
    ///
    /// # Panics
    /// When it ends in another way.
    pub fn killed_at(&self, point: &Point) -> Outcome {
        match point {
            Point::Store(at) => {
                let mut command = Command::new(program());
                command.env("FLINT_KILL_AT_STORE", at.to_string());
                self.arguments(&mut command);
                self.finish(command)
            }
            Point::Call { name, files, when, after } => {
                let scratch = Scratch::new(false);
                let log = scratch.path().join("log");
                let signal = if *after { "SIGTERM" } else { "SIGKILL" };
                let mut command = self.strace(&log, name, files);
                command.args(["-e", &format!("inject={name}:signal={signal}:when={when}")]).arg(program());
                self.arguments(&mut command);
                let mut ran = self.finish(command);
                ran.in_background = ran.killed && victim_is_background(&fs::read_to_string(&log).unwrap_or_default());
                ran
            }
        }
    }

    /// How often each call is made with these files by the thread that makes it most often, and the names that are seen.
    ///
    /// # Panics
    /// When it fails.
    pub fn count_calls(&self, files: &Files) -> Calls {
        let scratch = Scratch::new(false);
        let log = scratch.path().join("log");
        let mut command = self.strace(&log, CALLS, files);
        command.arg(program());
        self.arguments(&mut command);
        assert!(!self.finish(command).killed, "{self:?} was killed by another process");
        Calls::read(&fs::read_to_string(&log).expect("what strace wrote"))
    }
}

impl Task<'_> {
    /// Runs it to its end and returns these system calls, one per line, with the paths of descriptors.
    ///
    /// # Panics
    /// When it fails.
    pub fn traced(&self, trace: &str) -> Vec<String> {
        let scratch = Scratch::new(false);
        let log = scratch.path().join("log");
        let mut command = self.strace(&log, trace, &Files::Any);
        command.arg("-y").arg(program());
        self.arguments(&mut command);
        assert!(!self.finish(command).killed, "{self:?} was killed by another process");
        fs::read_to_string(&log).expect("what strace wrote").lines().map(str::to_owned).collect()
    }
}

/// Threads are numbered upwards, so that the lowest number is the caller's.
fn victim_is_background(log: &str) -> bool {
    let thread = |line: &str| line.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
    let first = log.lines().filter_map(thread).min();
    let victim = log.lines().find(|line| line.ends_with("= ?") || line.contains("--- SIGTERM")).and_then(thread);
    victim.is_some() && victim != first
}

/// System calls of one run.
#[derive(Debug, Default)]
pub struct Calls {
    /// By name.
    pub most: BTreeMap<String, u64>,
    /// Names of log segments that came up.
    pub segments: Vec<String>,
    /// Names of snapshots that came up.
    pub snapshots: Vec<String>,
}

impl Calls {
    fn read(log: &str) -> Self {
        let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        let mut calls = Self::default();
        for line in log.lines() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            if let Some((name, _)) = rest.trim_start().split_once('(')
                && !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            {
                *counts.entry((name, thread)).or_default() += 1;
            }
            for word in line.split('"') {
                let names = match files::classify(word) {
                    FileKind::Segment(_) | FileKind::MigratingSegment(_) => &mut calls.segments,
                    FileKind::Snapshot(_) => &mut calls.snapshots,
                    _ => continue,
                };
                if !names.iter().any(|name| name == word) {
                    names.push(word.to_owned());
                }
            }
        }
        for ((name, _), count) in counts {
            let most = calls.most.entry(name.to_owned()).or_default();
            *most = count.max(*most);
        }
        calls
    }
}
