//! Going through many independent cases on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::oracle::Tally;

/// Cases taken at a time.
const BLOCK: usize = 16;

/// Runs `case` for every number below `count`. A panic of one ends the sweep and is passed on.
pub(super) fn sweep(count: usize, case: impl Fn(usize, &mut Tally) + Sync) -> Tally {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(count.max(1));
    let work = || {
        let mut tally = Tally::default();
        loop {
            let from = next.fetch_add(BLOCK, Ordering::Relaxed);
            if from >= count {
                return tally;
            }
            for index in from..(from + BLOCK).min(count) {
                case(index, &mut tally);
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut total = Tally::default();
        for worker in workers {
            match worker.join() {
                Ok(tally) => total += tally,
                Err(panic) => {
                    next.store(count, Ordering::Relaxed);
                    std::panic::resume_unwind(panic);
                }
            }
        }
        total
    })
}
