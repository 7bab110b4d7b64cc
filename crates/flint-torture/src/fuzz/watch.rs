//! Noticing an input that never ends. It cannot be stopped, so the process is, after the input was written down.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::corpus::Corpus;
use super::target::Target;

/// Far beyond the slowest input, which takes a second on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
const LOOKS: u32 = 12;

#[derive(Default)]
struct Current {
    number: u64,
    input: Option<Vec<u8>>,
}

/// Watches until it is dropped.
pub(super) struct Watch {
    current: Arc<Mutex<Current>>,
    /// Dropped with this, which ends the thread.
    _alive: Sender<()>,
}

impl Watch {
    pub(super) fn over(target: Target) -> Self {
        let current = Arc::new(Mutex::new(Current::default()));
        let (alive, gone) = channel();
        let watched = current.clone();
        std::thread::spawn(move || {
            let (mut number, mut looks) = (0, 0);
            while gone.recv_timeout(LIMIT / LOOKS) == Err(RecvTimeoutError::Timeout) {
                let current = watched.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(input) = &current.input else { continue };
                if current.number != number {
                    (number, looks) = (current.number, 0);
                }
                looks += 1;
                if looks > LOOKS {
                    give_up(target, input);
                }
            }
        });
        Self { current, _alive: alive }
    }

    pub(super) fn begin(&self, input: &[u8]) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.number += 1;
        current.input = Some(input.to_vec());
    }

    pub(super) fn end(&self) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).input = None;
    }
}

#[expect(clippy::print_stderr, reason = "the process ends here")]
fn give_up(target: Target, input: &[u8]) -> ! {
    let path = Corpus::of(target).store_crash(input);
    eprintln!("{}: an input did not end within {LIMIT:?}; it is {}", target.name(), path.display());
    std::process::abort();
}
