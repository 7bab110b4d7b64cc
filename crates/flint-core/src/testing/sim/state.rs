//! Everything that a simulated disk remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::PathBuf;

use super::node::{Keep, Node};
use super::random::Random;
use super::{CrashPlan, Fault, PowerCut, Unit};

pub(super) const ROOT: usize = 0;

/// Indexes into `State::dirs` and `State::nodes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    File(usize),
    Dir(usize),
}

pub(super) type Names = BTreeMap<String, Entry>;

#[derive(Clone)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    pub(super) names: Names,
    durable: Names,
}

impl Directory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, names: Names::new(), durable: Names::new() }
    }
}

/// One name of one directory set or removed.
#[derive(Clone)]
pub(super) struct Effect {
    pub(super) dir: usize,
    pub(super) name: String,
    pub(super) to: Option<Entry>,
}

/// A directory operation that is not durable. Its effects survive together or not at all.
#[derive(Clone)]
struct Change {
    order: u64,
    effects: Vec<Effect>,
    /// The removal half of a move between directories: survives only if the change before it does.
    needs_previous: bool,
}

/// What kind of counted operation a call is; faults hit them differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// Creating, renaming or removing a name.
    Change,
    Write,
    Sync,
    /// Through a mapping: cannot fail.
    Store,
    /// Making a mapping: only ever short of memory.
    Map,
}

#[derive(Clone)]
pub(super) struct Failure {
    pub(super) at: u64,
    pub(super) fault: Fault,
    pub(super) sticky: bool,
    pub(super) fired: bool,
}

#[derive(Clone)]
pub(super) struct State {
    pub(super) dirs: Vec<Directory>,
    pub(super) nodes: Vec<Node>,
    pending: Vec<Change>,
    next_order: u64,
    pub(super) ops: u64,
    /// Whether a fault ever struck.
    pub(super) struck: bool,
    /// Syncs of files and directories, failed ones included.
    pub(super) syncs: u64,
    /// Reads of files and directories: a numbering of their own.
    pub(super) reads: u64,
    /// The disk before each operation, if a test asked for it.
    pub(super) recording: Option<Vec<State>>,
    pub(super) crash_at: Option<u64>,
    pub(super) crashed: bool,
    pub(super) failure: Option<Failure>,
    pub(super) full: bool,
    /// Whether overwriting needs room, too.
    pub(super) copies_on_write: bool,
    /// Directory and name of each held lock; the content if a foreign process holds it.
    pub(super) locks: BTreeMap<(usize, String), Option<String>>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            dirs: vec![Directory::new(PathBuf::from("/sim"))],
            nodes: Vec::new(),
            pending: Vec::new(),
            next_order: 0,
            ops: 0,
            struck: false,
            syncs: 0,
            reads: 0,
            recording: None,
            crash_at: None,
            crashed: false,
            failure: None,
            full: false,
            copies_on_write: false,
            locks: BTreeMap::new(),
        }
    }

    /// Fails once the power is out.
    pub(super) fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(io::Error::other(PowerCut)) } else { Ok(()) }
    }

    /// Counts an operation and says how it has to fail: `Ok(true)` means that a write writes a part and then fails.
    pub(super) fn begin(&mut self, op: Op) -> io::Result<bool> {
        self.crashed |= self.crash_at.is_some_and(|at| self.ops >= at);
        self.alive()?;
        if let Some(mut recording) = self.recording.take() {
            recording.push(self.clone());
            self.recording = Some(recording);
        }
        let index = self.ops;
        self.ops += 1;
        self.syncs += u64::from(op == Op::Sync);
        let Some(failure) = &mut self.failure else { return Ok(false) };
        let applies = match failure.fault {
            Fault::FsyncFails => op == Op::Sync && index >= failure.at,
            Fault::MapFails => op == Op::Map && index >= failure.at,
            Fault::ReadFails => false,
            _ => !matches!(op, Op::Store | Op::Map) && (index == failure.at || (failure.sticky && index > failure.at)),
        };
        if !applies || (failure.fired && !failure.sticky) {
            return Ok(false);
        }
        failure.fired = true;
        self.struck = true;
        if failure.fault == Fault::ShortWrite && op == Op::Write {
            return Ok(true);
        }
        Err(io::Error::from_raw_os_error(failure.fault.errno()))
    }

    /// Counts a read, which may fail.
    pub(super) fn begin_read(&mut self) -> io::Result<()> {
        self.alive()?;
        let index = self.reads;
        self.reads += 1;
        match &mut self.failure {
            Some(failure)
                if failure.fault == Fault::ReadFails
                    && (index == failure.at || (failure.sticky && index > failure.at)) =>
            {
                failure.fired = true;
                self.struck = true;
                Err(io::Error::from_raw_os_error(failure.fault.errno()))
            }
            _ => Ok(()),
        }
    }

    fn order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order
    }

    pub(super) fn write(&mut self, node: usize, data: &[u8], offset: usize) {
        let order = self.order();
        self.nodes[node].write(data, offset, order);
    }

    pub(super) fn change(&mut self, effects: Vec<Effect>, needs_previous: bool) {
        for effect in &effects {
            set(&mut self.dirs[effect.dir].names, effect);
        }
        let order = self.order();
        self.pending.push(Change { order, effects, needs_previous });
    }

    pub(super) fn create_file(&mut self, dir: usize, name: &str) -> usize {
        self.nodes.push(Node::default());
        let node = self.nodes.len() - 1;
        self.change(vec![Effect { dir, name: name.to_owned(), to: Some(Entry::File(node)) }], false);
        node
    }

    /// Fails when the disk is full.
    pub(super) fn need_room(&self) -> io::Result<()> {
        if self.full { Err(io::Error::from_raw_os_error(libc::ENOSPC)) } else { Ok(()) }
    }

    /// The plain file of this name.
    pub(super) fn file(&self, dir: usize, name: &str) -> io::Result<Entry> {
        match self.dirs[dir].names.get(name) {
            Some(entry @ Entry::File(_)) => Ok(*entry),
            Some(Entry::Dir(_)) => Err(io::Error::from_raw_os_error(libc::EISDIR)),
            None => Err(io::Error::from_raw_os_error(libc::ENOENT)),
        }
    }

    /// Sets a name of the root directory so that no power cut can undo it. Pending operations on that name are forgotten.
    pub(super) fn put_durable(&mut self, name: &str, node: Node) {
        self.nodes.push(node);
        let entry = Entry::File(self.nodes.len() - 1);
        let root = &mut self.dirs[ROOT];
        root.names.insert(name.to_owned(), entry);
        root.durable.insert(name.to_owned(), entry);
        for change in &mut self.pending {
            change.effects.retain(|effect| (effect.dir, effect.name.as_str()) != (ROOT, name));
        }
        self.pending.retain(|change| !change.effects.is_empty());
    }

    /// Makes every name of the directory durable, and of a move out of it the arrival as well.
    pub(super) fn sync_dir(&mut self, dir: usize) {
        let mut synced = BTreeSet::from([dir]);
        for pair in self.pending.windows(2) {
            if pair[1].needs_previous && pair[1].effects.iter().any(|effect| effect.dir == dir) {
                synced.extend(pair[0].effects.iter().map(|effect| effect.dir));
            }
        }
        for dir in &synced {
            let directory = &mut self.dirs[*dir];
            directory.durable.clone_from(&directory.names);
        }
        // A change within one directory is gone whole; the two halves of a move are separate changes, the arrival first.
        let mut previous_kept = false;
        self.pending.retain_mut(|change| {
            change.effects.retain(|effect| !synced.contains(&effect.dir));
            change.needs_previous &= previous_kept;
            previous_kept = !change.effects.is_empty();
            previous_kept
        });
    }

    /// Positions of all changes that are not durable, in issue order.
    pub(super) fn unsynced(&self) -> Vec<u64> {
        let mut orders: Vec<u64> = self.pending.iter().map(|change| change.order).collect();
        for node in &self.nodes {
            orders.extend(node.unsynced());
        }
        orders.sort_unstable();
        orders.dedup();
        orders
    }

    /// Numbers of directory operations and of dirty units that are not durable.
    pub(super) fn doubts(&self, unit: Unit) -> (usize, usize) {
        (self.pending.len(), self.nodes.iter().map(|node| node.dirty(unit).len()).sum())
    }

    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for directory in &self.dirs {
            hasher.write_usize(directory.names.len());
            for (name, entry) in &directory.names {
                name.hash(&mut hasher);
                match entry {
                    Entry::File(node) => self.nodes[*node].current.hash(&mut hasher),
                    Entry::Dir(dir) => hasher.write_usize(*dir),
                }
            }
        }
        hasher.finish()
    }

    /// A disk that holds what survived; nothing on it is in doubt.
    pub(super) fn after_power_cut(&self, plan: CrashPlan) -> Self {
        let before = match plan {
            CrashPlan::LoseUnsynced => 0,
            CrashPlan::KeepAll | CrashPlan::Random(_) | CrashPlan::Garbage(_) | CrashPlan::Choose { .. } => u64::MAX,
            CrashPlan::KeepPrefix(n) => self.unsynced().get(n).copied().unwrap_or(u64::MAX),
        };
        let mut random = match plan {
            CrashPlan::Random(seed) | CrashPlan::Garbage(seed) => Some(Random::new(seed)),
            _ => None,
        };
        let mut chosen_names = match plan {
            CrashPlan::Choose { names, .. } => Bits(names),
            _ => Bits(u64::MAX),
        };
        let tables = self.surviving_names(before, random.as_mut(), &mut chosen_names);
        // Which bits are whose depends on all files, those that no name survived of included.
        let mut chosen_pieces = Vec::new();
        if let CrashPlan::Choose { pieces, unit, .. } = plan {
            let mut bits = Bits(pieces);
            for node in &self.nodes {
                chosen_pieces.push(node.dirty(unit).into_iter().filter(|_| bits.next()).collect::<Vec<usize>>());
            }
        }
        let mut after = Self { copies_on_write: self.copies_on_write, ..Self::new() };
        let mut copies = BTreeMap::new();
        let mut todo = vec![(ROOT, ROOT)];
        while let Some((from, to)) = todo.pop() {
            for (name, entry) in &tables[from] {
                let copy = match entry {
                    Entry::Dir(dir) => {
                        after.dirs.push(Directory::new(self.dirs[*dir].path.clone()));
                        todo.push((*dir, after.dirs.len() - 1));
                        Entry::Dir(after.dirs.len() - 1)
                    }
                    Entry::File(node) => Entry::File(*copies.entry(*node).or_insert_with(|| {
                        let keep = match (plan, &mut random) {
                            (CrashPlan::LoseUnsynced, _) => Keep::None,
                            (CrashPlan::KeepAll, _) => Keep::All,
                            (CrashPlan::Choose { unit, .. }, _) => Keep::Units(&chosen_pieces[*node], unit),
                            (CrashPlan::Garbage(_), Some(random)) => Keep::Garbage(random),
                            (_, Some(random)) => Keep::Random(random),
                            (_, None) => Keep::Before(before),
                        };
                        after.nodes.push(self.nodes[*node].after_power_cut(keep));
                        after.nodes.len() - 1
                    })),
                };
                after.dirs[to].names.insert(name.clone(), copy);
            }
            after.dirs[to].durable = after.dirs[to].names.clone();
        }
        after
    }

    fn surviving_names(&self, before: u64, mut random: Option<&mut Random>, bits: &mut Bits) -> Vec<Names> {
        let mut tables: Vec<Names> = self.dirs.iter().map(|directory| directory.durable.clone()).collect();
        // Once an operation on a name is lost, later ones on that name are too.
        let mut stuck: BTreeSet<(usize, &str)> = BTreeSet::new();
        let mut previous = false;
        for change in &self.pending {
            let free = change.effects.iter().all(|effect| !stuck.contains(&(effect.dir, effect.name.as_str())));
            let chosen = random.as_mut().is_none_or(|random| random.coin()) & bits.next();
            previous = free && chosen && change.order < before && (previous || !change.needs_previous);
            for effect in &change.effects {
                if previous {
                    set(&mut tables[effect.dir], effect);
                } else {
                    stuck.insert((effect.dir, &effect.name));
                }
            }
        }
        tables
    }

    /// The same files in a new process: the page cache lives on, locks and injected faults do not.
    pub(super) fn after_kill(&self) -> Self {
        let mut after = self.clone();
        after.locks.clear();
        after.ops = 0;
        after.syncs = 0;
        after.reads = 0;
        after.recording = None;
        after.crash_at = None;
        after.crashed = false;
        after.failure = None;
        after
    }

    pub(super) fn dump(&self) -> String {
        let mut text = format!("{} operations, {} changes not durable\n", self.ops, self.unsynced().len());
        for directory in &self.dirs {
            let _ = writeln!(text, "{}/", directory.path.display());
            let names: BTreeSet<&String> = directory.names.keys().chain(directory.durable.keys()).collect();
            for name in names {
                let (now, durable) = (directory.names.get(name), directory.durable.get(name));
                let mark = match (now, durable) {
                    (Some(_), None) => " (name not durable)",
                    (None, Some(_)) => " (removal not durable)",
                    (a, b) if a != b => " (replacement not durable)",
                    _ => "",
                };
                if let Some(Entry::File(node)) = now.or(durable) {
                    let node = &self.nodes[*node];
                    let (len, durable) = (node.current.len(), node.durable_len());
                    let pending = node.unsynced().count();
                    let _ = writeln!(
                        text,
                        "  {name}{mark}: {len} bytes, {durable} durable, {pending} sector writes pending"
                    );
                }
            }
        }
        text
    }
}

/// A choice for each of 64, then yes.
struct Bits(u64);

impl Bits {
    fn next(&mut self) -> bool {
        let bit = self.0 & 1 == 1;
        // Ones come in from above.
        self.0 = self.0.rotate_right(1) | 1 << 63;
        bit
    }
}

fn set(names: &mut Names, effect: &Effect) {
    match effect.to {
        Some(entry) => names.insert(effect.name.clone(), entry),
        None => names.remove(&effect.name),
    };
}
