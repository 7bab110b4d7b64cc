//! A run over one target: the corpus, then changed inputs until the budget is spent.

use std::any::Any;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::corpus::Corpus;
use super::features::Features;
use super::random::Random;
use super::target::Target;
use super::watch::Watch;
use super::{allocation, mutate};

/// Inputs in memory at most.
const MAX_KEPT: usize = 4_000;

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Inputs tried, those of the corpus included.
    pub executions: u64,
    /// Inputs that showed something new and were kept.
    pub kept: u64,
    /// Different things seen.
    pub features: u64,
    /// Inputs written to the corpus.
    pub stored: u64,
}

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// After so many inputs beyond the corpus.
    Inputs(u64),
    /// After so long.
    Time(Duration),
}

/// Tries one input; says what it showed, or what is wrong.
fn attempt(target: Target, input: &[u8], watch: &Watch) -> Result<HashSet<u64>, String> {
    watch.begin(input);
    let attempted = catch_unwind(AssertUnwindSafe(|| {
        let mut features = Features::default();
        let ((), most) = allocation::most_during(|| target.execute(input, &mut features));
        (features, most)
    }));
    watch.end();
    let (features, most) = attempted.map_err(|panic| message(&*panic))?;
    let allowed = target.max_memory(input.len());
    if most > allowed {
        return Err(format!("it took {most} bytes of memory, more than {allowed}"));
    }
    Ok(features.into_set())
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    text.unwrap_or("a panic without a message").to_owned()
}

/// A run under way.
struct Run {
    target: Target,
    watch: Watch,
    corpus: Corpus,
    seen: HashSet<u64>,
    inputs: Vec<Vec<u8>>,
    report: Report,
}

impl Run {
    fn new(target: Target) -> Self {
        let report = Report { executions: 0, kept: 0, features: 0, stored: 0 };
        let corpus = Corpus::of(target);
        Self { target, watch: Watch::over(target), corpus, seen: HashSet::new(), inputs: Vec::new(), report }
    }

    /// Tries an input and keeps it if it shows something new, or if it is kept already.
    fn attempt(&mut self, input: Vec<u8>, known: bool) -> bool {
        self.report.executions += 1;
        match attempt(self.target, &input, &self.watch) {
            Err(problem) => self.fail(&input, &problem),
            Ok(features) => {
                let seen = self.seen.len();
                self.seen.extend(features);
                let new = self.seen.len() > seen;
                self.report.features = self.seen.len() as u64;
                if new || known {
                    self.inputs.push(input);
                }
                new
            }
        }
    }

    fn fail(&self, input: &[u8], problem: &str) -> ! {
        let path = self.corpus.store_crash(input);
        let name = self.target.name();
        panic!(
            "{name}: {problem}\nthe input is {}; to try it again:\n  cargo run -p flint-torture --bin fuzz -- {name} --input {}",
            path.display(),
            path.display()
        );
    }

    /// The seeds and everything in the corpus.
    fn start(&mut self) {
        for input in self.target.seeds() {
            self.attempt(input, true);
        }
        for input in self.corpus.inputs() {
            self.attempt(input, true);
        }
    }

    fn go_on(&mut self, budget: Budget, seed: u64, store: bool) {
        let mut random = Random::new(seed);
        let start = Instant::now();
        let first = self.report.executions;
        loop {
            let done = match budget {
                Budget::Inputs(inputs) => self.report.executions - first >= inputs,
                Budget::Time(time) => start.elapsed() >= time,
            };
            if done {
                return;
            }
            // Half of the time one of the newest: what led somewhere new leads further.
            let len = self.inputs.len();
            let from = if random.one_in(2) { len.saturating_sub(64) } else { 0 };
            let base = from + random.below(len - from);
            let other = random.below(len);
            let (words, max_len) = (self.target.words(), self.target.max_len());
            let input = mutate::mutate(&self.inputs[base], &self.inputs[other], words, max_len, &mut random);
            if self.attempt(input.clone(), false) {
                self.report.kept += 1;
                if store {
                    self.store(&input);
                }
                if self.inputs.len() > MAX_KEPT {
                    self.inputs.swap_remove(random.below(MAX_KEPT));
                }
            }
        }
    }

    /// Puts an input that showed something new into the corpus, as short as it shows the same.
    fn store(&mut self, input: &[u8]) {
        if self.corpus.is_full() {
            return;
        }
        let Ok(shown) = attempt(self.target, input, &self.watch) else { return };
        let mut short = input.to_vec();
        let mut size = short.len() / 2;
        while size > 0 {
            let mut at = 0;
            while at < short.len() {
                let mut shorter = short.clone();
                shorter.drain(at..(at + size).min(short.len()));
                let still = attempt(self.target, &shorter, &self.watch);
                match still {
                    Ok(features) if features.is_superset(&shown) => short = shorter,
                    Ok(_) => at += size,
                    Err(problem) => self.fail(&shorter, &problem),
                }
            }
            size /= 2;
        }
        if self.corpus.store(&short) {
            self.report.stored += 1;
        }
    }
}

/// Tries the corpus, then new inputs until the budget is spent. The same seed leads to the same inputs.
///
/// # Panics
/// With what is wrong, where the input was written, and how to try it again.
pub fn run_for(target: Target, budget: Budget, seed: u64) -> Report {
    let mut run = Run::new(target);
    run.start();
    run.go_on(budget, seed, false);
    run.report
}

/// The same for a time.
///
/// # Panics
/// As [`run_for`].
pub fn run(target: Target, time: Duration, seed: u64) -> Report {
    run_for(target, Budget::Time(time), seed)
}

/// The same, and what shows something new goes into the corpus, as far as there is room.
///
/// # Panics
/// As [`run_for`].
pub fn run_and_store(target: Target, time: Duration, seed: u64) -> Report {
    let mut run = Run::new(target);
    run.start();
    run.go_on(Budget::Time(time), seed, true);
    run.report
}

/// Tries every input of the corpus.
///
/// # Panics
/// As [`run_for`].
pub fn replay(target: Target) -> Report {
    let mut run = Run::new(target);
    for input in run.corpus.inputs() {
        run.attempt(input, true);
    }
    run.report
}

/// Tries one input, without catching anything.
///
/// # Panics
/// With what is wrong.
pub fn replay_input(target: Target, input: &[u8]) {
    let mut features = Features::default();
    let ((), most) = allocation::most_during(|| target.execute(input, &mut features));
    let allowed = target.max_memory(input.len());
    assert!(most <= allowed, "it took {most} bytes of memory, more than {allowed}");
}
