//! The points at which a process can be killed.

use flint_core::files;

use super::process::{Calls, Files, Point};
use crate::random::Random;

/// Points at which one run can be cut short.
#[derive(Debug, Clone, Default)]
pub struct Points(pub Vec<Point>);

impl Points {
    /// At most `most` points at each kind of system call with each kind of file, as `count` counts them, before and after.
    pub fn at_calls(count: impl Fn(&Files) -> Calls, most: usize) -> Self {
        let any = count(&Files::Any);
        let named = |names: &[&str]| Files::Named(names.iter().map(|name| (*name).to_owned()).collect());
        let mut snapshots = vec![files::SNAPSHOT_TMP.to_owned()];
        snapshots.extend(any.snapshots.iter().cloned());
        let groups = [
            Files::Root,
            named(&[files::SPARE]),
            Files::Named(any.segments.clone()),
            Files::Named(snapshots),
            named(&[files::LOCK]),
            named(&[files::LEGACY_AOF, files::LEGACY_SNAPSHOT, files::LEGACY_DIR]),
        ];
        let mut points = Vec::new();
        let mut add = |files: &Files, name: &str, times: u64| {
            let times = usize::try_from(times).expect("a number of calls");
            // Nothing changes at these; a few will do.
            let most = if matches!(name, "close" | "flock" | "getdents64" | "mmap") { most.min(2) } else { most };
            for n in spread(2 * times, most) {
                points.push(Point::Call {
                    name: name.to_owned(),
                    files: files.clone(),
                    when: n as u64 / 2 + 1,
                    after: n % 2 == 1,
                });
            }
        };
        // What belongs to no file of the store: directories above it, and what is reported.
        for name in ["mkdirat", "write"] {
            add(&Files::Any, name, any.most.get(name).copied().unwrap_or(0));
        }
        for files in groups {
            if files == Files::Named(Vec::new()) {
                continue;
            }
            for (name, times) in count(&files).most {
                add(&files, &name, times);
            }
        }
        Self(points)
    }

    /// At most `count` of them, evenly.
    pub fn spread(&self, count: usize) -> Self {
        Self(spread(self.0.len(), count).map(|index| self.0[index].clone()).collect())
    }

    /// At most `count` of them, by chance.
    pub fn chosen(mut self, count: usize, random: &mut Random) -> Vec<Point> {
        while self.0.len() > count {
            let index = random.below(self.0.len() as u64);
            self.0.swap_remove(usize::try_from(index).expect("an index"));
        }
        self.0
    }
}

/// `count` numbers below `of`, evenly, the first and the last among them; all if there are not more.
fn spread(of: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(of);
    (0..count).map(move |n| if count == 1 { of / 2 } else { n * (of - 1) / (count - 1) })
}
