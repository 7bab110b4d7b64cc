//! Lives a part of a life in a real directory and tells every call that returned, until it is killed:
//! `worker DIR always|batch SCENE SEED FROM TO close|die`.

use std::io::Write as _;
use std::path::Path;

use flint_core::engine::SyncMode;
use flint_torture::kill::life::{Life, Scene, Session, resumed_ns};

/// One write(2) a line: what was told before the death is in the pipe.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).expect("somebody listens");
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, sync, scene, seed, from, to, ending] = args.as_slice() else {
        panic!("worker DIR always|batch SCENE SEED FROM TO close|die");
    };
    let sync = if sync == "always" { SyncMode::Always } else { SyncMode::Batch };
    let life = Life::new(Scene::parse(scene), seed.parse().expect("a number"));
    let (from, to): (usize, usize) = (from.parse().expect("a number"), to.parse().expect("a number"));
    // The prelude is so long a log that the background would begin to compact it.
    let threads = from >= life.prelude();
    let mut session =
        Session::open(Path::new(dir), sync, resumed_ns(from), threads).unwrap_or_else(|error| panic!("{error}"));
    tell("open");
    for n in from..to {
        tell(&session.make(n, &life.steps[n]));
    }
    if ending == "die" {
        // No destructor runs: the files are as after a kill.
        std::process::exit(0);
    }
    session.engine.close().unwrap_or_else(|error| panic!("{error}"));
    tell("closed");
}
