//! Executes a part of a workload in a real directory and reports every call that returned, until it is killed:
//! `worker DIR always|batch WORKLOAD SEED FROM TO close|die`.

use std::io::Write as _;
use std::path::Path;

use flint_core::engine::SyncMode;
use flint_torture::kill::session::{Session, resumed_ns};
use flint_torture::kill::workload::{Workload, WorkloadKind};

/// One write(2) a line: what was reported before the death is in the pipe.
fn report(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).expect("the parent reads the pipe");
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, sync, kind, seed, from, to, ending] = args.as_slice() else {
        panic!("worker DIR always|batch WORKLOAD SEED FROM TO close|die");
    };
    let sync = if sync == "always" { SyncMode::Always } else { SyncMode::Batch };
    let workload = Workload::new(WorkloadKind::parse(kind), seed.parse().expect("a number"));
    let (from, to): (usize, usize) = (from.parse().expect("a number"), to.parse().expect("a number"));
    // The prelude is so long a log that the background would begin to compact it.
    let threads = from >= workload.prelude();
    let mut session =
        Session::open(Path::new(dir), sync, resumed_ns(from), threads).unwrap_or_else(|error| panic!("{error}"));
    report("open");
    for n in from..to {
        report(&session.execute(n, &workload.steps[n]));
    }
    if ending == "die" {
        // No destructor runs: the files are as after a kill.
        std::process::exit(0);
    }
    session.engine.close().unwrap_or_else(|error| panic!("{error}"));
    report("closed");
}
