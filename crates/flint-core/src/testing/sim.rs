//! A disk in memory that keeps exactly what was made durable, for tests of crashes and failing devices.
//!
//! The model, harsher than real disks where it matters:
//!
//! - A sector of 512 bytes is old or new, never mixed; sectors of one write survive independently of each other.
//! - A file's content is durable after `sync_data`, its name after `Dir::sync`: neither implies the other.
//! - A rename is atomic. A move between directories may leave the file under both names, never under none.
//! - After a failed `sync_data` the data stays visible but counts as clean: a later sync succeeds without writing it, unless
//!   the sector is written again. A failed `Dir::sync` leaves the names in doubt; a later one makes them durable.
//! - Stores through a mapping are like writes, but cannot fail.
//!
//! Every call that changes or syncs something is one operation, counted from 0 (`subdir` making a directory is two, `lock`
//! one); a test runs a scenario once to count, then again with a fault or the power cut at each. Nothing depends on time or
//! on the order of hash tables: the same calls and the same plan give the same disk.

mod content;
mod handle;
mod node;
mod random;
mod state;

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use self::content::Content;
use self::handle::SimDir;
use self::node::Node;
use self::state::{Entry, Failure, ROOT, State};
use crate::storage::Dir;
use crate::sync::{Mutex, MutexGuard};

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// EIO; nothing is changed (but see the module about syncs).
    Eio,
    /// ENOSPC; nothing is changed.
    Enospc,
    /// EDQUOT; nothing is changed.
    Edquot,
    /// A write writes its first half and then fails with ENOSPC; other operations fail with ENOSPC.
    ShortWrite,
    /// EIO at the first sync from the given operation on.
    FsyncFails,
    /// ENOMEM at the first mapping from the given operation on.
    MapFails,
    /// EIO at the read of this number; see [`SimDisk::reads`].
    ReadFails,
}

impl Fault {
    fn errno(self) -> i32 {
        match self {
            Self::Eio | Self::FsyncFails | Self::ReadFails => libc::EIO,
            Self::MapFails => libc::ENOMEM,
            Self::Enospc | Self::ShortWrite => libc::ENOSPC,
            Self::Edquot => libc::EDQUOT,
        }
    }
}

/// What a power cut leaves of the changes that were not durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPlan {
    /// Nothing.
    LoseUnsynced,
    /// Everything that a sync would have written.
    KeepAll,
    /// Each dirty sector old, new or in a state between; each directory operation or not, in order for each name; each file's
    /// length old, new or between. The number is the seed.
    Random(u64),
    /// Like `Random`, and each dirty sector that held nothing but zeros when it was last durable may hold garbage.
    Garbage(u64),
    /// The first so many changes (writes and directory operations) in issue order; see [`SimDisk::unsynced`].
    KeepPrefix(usize),
    /// What is chosen of [`SimDisk::doubts`], each for itself: bit n of `names` for the nth directory operation (in order for
    /// each name), bit n of `pieces` for the nth dirty sector or page, new if set, else old. A file is as long as what
    /// survived of it needs.
    Choose {
        /// Directory operations; those beyond the 64th survive.
        names: u64,
        /// Sectors or pages; those beyond the 64th survive.
        pieces: u64,
        /// What a bit of `pieces` means.
        unit: Unit,
    },
}

/// What is written back as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 512 bytes.
    Sector,
    /// 4,096 bytes, as the page cache does.
    Page,
    /// All of a file.
    File,
}

impl Unit {
    fn sectors(self) -> usize {
        match self {
            Self::Sector => 1,
            Self::Page => content::SECTORS_A_PAGE,
            Self::File => usize::MAX,
        }
    }
}

/// The error of every call from the power cut on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowerCut;

impl fmt::Display for PowerCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulated power is cut")
    }
}

impl std::error::Error for PowerCut {}

impl PowerCut {
    /// Whether `error` comes from a power cut.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// A simulated disk. A clone is another handle to the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    before_sync: Arc<OnceLock<Hook>>,
}

type Hook = Box<dyn Fn() + Send + Sync>;

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::from_state(State::new())
    }

    fn from_state(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)), before_sync: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The root directory.
    pub fn dir(&self) -> Arc<dyn Dir> {
        let path = self.state().dirs[ROOT].path.clone();
        Arc::new(SimDir { disk: self.clone(), dir: ROOT, path })
    }

    /// Runs `hook` in the thread that syncs a file, before it is done and with the disk free for others: a disk that takes as long as the
    /// test wants. Only the first one counts, and not for copies of the disk.
    pub fn before_sync(&self, hook: impl Fn() + Send + Sync + 'static) {
        let _ = self.before_sync.set(Box::new(hook));
    }

    /// Operations so far: the number that the next one has.
    pub fn ops(&self) -> u64 {
        self.state().ops
    }

    /// Syncs so far, failed ones included.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Reads so far (of content, lengths and directories): the number that the next one has, for [`Fault::ReadFails`].
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    /// From now on keeps the disk as it is before each operation, for [`SimDisk::recorded`].
    pub fn record(&self) {
        self.state().recording = Some(Vec::new());
    }

    /// The disk as it was before each operation since [`SimDisk::record`], and as it is now. What was appended to the
    /// recording is gone from it.
    pub fn recorded(&self) -> Vec<Self> {
        let mut state = self.state();
        let mut all = state.recording.take().unwrap_or_default();
        all.push(state.clone());
        all.into_iter().map(Self::from_state).collect()
    }

    /// How many directory operations and how many dirty sectors (or pages, or files) a power cut decides about now.
    pub fn doubts(&self, unit: Unit) -> (usize, usize) {
        self.state().doubts(unit)
    }

    /// A number that tells disks with different visible files apart: names and contents of the root directory and below.
    pub fn fingerprint(&self) -> u64 {
        self.state().fingerprint()
    }

    /// Lets operation `op` fail (with `sticky`, all from there on), instead of what was set before. Stores through a mapping
    /// do not fail; [`Fault::FsyncFails`] waits for the next sync.
    pub fn set_fail(&self, op: u64, fault: Fault, sticky: bool) {
        self.state().failure = Some(Failure { at: op, fault, sticky, fired: false });
    }

    /// Takes back [`SimDisk::set_fail`] and says whether it ever struck.
    pub fn clear_fail(&self) -> bool {
        self.state().failure.take().is_some_and(|failure| failure.fired)
    }

    /// Whether a fault ever struck.
    pub fn was_struck(&self) -> bool {
        self.state().struck
    }

    /// With true, whatever needs room (new names, writes that lengthen a file) fails with ENOSPC; the rest works.
    pub fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// With true, overwriting needs room as well, as on btrfs: no file may be mapped.
    pub fn set_copy_on_write(&self, copies: bool) {
        self.state().copies_on_write = copies;
    }

    /// Cuts the power at operation `op`: it and every call after it, reading included, fail with [`PowerCut`] and change
    /// nothing.
    pub fn crash_at(&self, op: u64) {
        self.state().crash_at = Some(op);
    }

    /// Whether the power cut has happened.
    pub fn crashed(&self) -> bool {
        self.state().crashed
    }

    /// The disk as it is found when the power comes back, all of it durable, without locks and faults. This disk stays as it
    /// is, so that many outcomes of one scenario can be tried.
    pub fn power_cut(&self, plan: CrashPlan) -> Self {
        Self::from_state(self.state().after_power_cut(plan))
    }

    /// The disk as the next process finds it when this one is killed: all changes are there, durable or not, the locks are
    /// not. This disk stays as it is.
    pub fn kill(&self) -> Self {
        Self::from_state(self.state().after_kill())
    }

    /// Number of changes that are not durable and still could become so: the useful values of [`CrashPlan::KeepPrefix`] are
    /// 0 to this.
    pub fn unsynced(&self) -> usize {
        self.state().unsynced().len()
    }

    /// The content of a file of the root directory as programs see it. Not an operation; works after the power cut too.
    pub fn read_file(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let Some(Entry::File(node)) = state.dirs[ROOT].names.get(name) else { return None };
        let content = &state.nodes[*node].current;
        let mut bytes = vec![0; content.len()];
        content.read(&mut bytes, 0);
        Some(bytes)
    }

    /// Puts a file into the root directory, durable at once, in place of one of that name: for damage and old stores. Not an
    /// operation.
    pub fn write_file(&self, name: &str, bytes: &[u8]) {
        let mut content = Content::default();
        content.write(bytes, 0);
        self.state().put_durable(name, Node::durable(content));
    }

    /// Lets a foreign process hold the lock `name` of the root directory, with `content` in the file; `None` releases it.
    pub fn lock_elsewhere(&self, name: &str, content: Option<&str>) {
        let mut state = self.state();
        let key = (ROOT, name.to_owned());
        match content {
            Some(content) => state.locks.insert(key, Some(content.to_owned())),
            None => state.locks.remove(&key),
        };
    }

    /// A readable account of what is there and what is not durable.
    pub fn dump(&self) -> String {
        self.state().dump()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.dump())
    }
}
