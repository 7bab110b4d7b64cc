//! Fuzzes by hand: `fuzz [TARGET...] [--seconds N] [--store] [--input FILE]`. Without a target, all of them, a minute each.
//! `--store` puts inputs that show something new into the corpus; `--input` tries a single one.

use std::process::ExitCode;
use std::time::Duration;

use flint_torture::evidence;
use flint_torture::fuzz::{self, Counting, Target};
use flint_torture::random::Random;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program")]
fn main() -> ExitCode {
    let mut targets = Vec::new();
    let (mut seconds, mut store, mut input) = (60, false, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let known = Target::ALL.into_iter().find(|target| target.name() == argument);
        match (argument.as_str(), known) {
            (_, Some(target)) => targets.push(target),
            ("--store", _) => store = true,
            ("--seconds", _) => seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(60),
            ("--input", _) => input = arguments.next(),
            _ => {
                eprintln!(
                    "fuzz: {argument:?} is not understood; targets: {}",
                    Target::ALL.map(Target::name).join(", ")
                );
                return ExitCode::from(2);
            }
        }
    }
    if let Some(path) = input {
        let ([target], Ok(bytes)) = (targets.as_slice(), std::fs::read(&path)) else {
            eprintln!("fuzz: --input takes one target and a readable file");
            return ExitCode::from(2);
        };
        fuzz::replay_input(*target, &bytes);
        println!("{}: nothing is wrong with {path}", target.name());
        return ExitCode::SUCCESS;
    }
    if targets.is_empty() {
        targets = Target::ALL.to_vec();
    }
    let seed = Random::seed();
    for target in targets {
        let run = if store { fuzz::run_and_store } else { fuzz::run };
        let report = run(target, Duration::from_secs(seconds), seed);
        println!("{}: {report:?}", target.name());
        evidence::record(&target.evidence(), report.executions);
    }
    ExitCode::SUCCESS
}
