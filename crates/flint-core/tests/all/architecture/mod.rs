//! The rules of the crate's structure, read from its sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

mod graph;

use graph::{Graph, code, show, sources};

/// The layers of the crate's doc comment, top first: the names in backticks before the colon of each list item.
fn layers(lib: &str) -> Vec<Vec<String>> {
    lib.lines()
        .filter_map(|line| line.strip_prefix("//! - "))
        .map(|line| {
            let names = line.split_once(':').expect("a layer says what it is for").0;
            names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        })
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// Folders whose files may use each other, with the reason.
const CYCLES: [(&str, &str); 4] = [
    ("legacy", "the parts of one format that no longer changes"),
    ("snapshot", "the parts of one format, whose field names are in mod.rs"),
    ("table", "the table and what replay does to it"),
    ("testing::sim", "the parts of one simulated disk"),
];

/// `tests/python/test_rust_layers.py` says the same of the other crates.
#[test]
fn no_files_use_each_other() {
    let graph = Graph::read(&root().join("src"));
    let edges: usize = graph.edges.values().map(BTreeSet::len).sum();
    assert!(edges > 400, "only {edges} uses were found");
    let allowed =
        |from: &str, to: &str| CYCLES.iter().any(|(folder, _)| from.starts_with(folder) && to.starts_with(folder));
    let cycles: Vec<String> = graph
        .cycles()
        .into_iter()
        .map(|(from, to)| (show(from), show(to)))
        .filter(|(from, to)| !allowed(from, to))
        .map(|(from, to)| format!("{from} uses {to}"))
        .collect();
    assert!(cycles.is_empty(), "cycles:\n{}", cycles.join("\n"));
}

#[test]
fn a_module_uses_only_modules_of_lower_layers() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let layers = layers(&lib);
    let level: BTreeMap<&str, usize> = layers
        .iter()
        .rev()
        .enumerate()
        .flat_map(|(level, names)| names.iter().map(move |name| (name.as_str(), level)))
        .collect();
    let declared: BTreeSet<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    assert!(declared.len() > 20);
    assert_eq!(level.keys().copied().collect::<BTreeSet<_>>(), declared, "every module is in one layer of lib.rs");
    assert_eq!(level.len(), layers.iter().map(Vec::len).sum::<usize>(), "and in no more than one");
    let graph = Graph::read(&root().join("src"));
    let mut edges = 0;
    for (module, used) in &graph.edges {
        for other in used {
            // What lib.rs re-exports is followed to the file that defines it.
            let (Some(from), Some(to)) = (module.first(), other.first()) else { continue };
            if from != to {
                let lower = level[to.as_str()] < level[from.as_str()];
                assert!(lower, "{} uses {}, which is not below it", show(module), show(other));
                edges += 1;
            }
        }
    }
    assert!(edges > 200, "only {edges} uses were found");
}

#[test]
fn the_engine_has_no_runtime_no_python_and_prints_nothing() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for name in ["tokio", "pyo3", "async", "futures", "log =", "tracing"] {
        assert!(!manifest.contains(name), "{name} in Cargo.toml");
    }
    let lock = fs::read_to_string(root().join("../../Cargo.lock")).unwrap();
    let mut reached = BTreeSet::from(["flint-core".to_owned()]);
    let packages: BTreeMap<&str, &str> = lock
        .split("[[package]]")
        .filter_map(|block| Some((block.split("name = \"").nth(1)?.split('"').next()?, block)))
        .collect();
    let mut todo = vec!["flint-core".to_owned()];
    while let Some(name) = todo.pop() {
        let dependencies = packages[name.as_str()].split("dependencies = [").nth(1).unwrap_or_default();
        for other in dependencies.split(']').next().unwrap().split('"').skip(1).step_by(2) {
            let other = other.split(' ').next().unwrap().to_owned();
            if reached.insert(other.clone()) {
                todo.push(other);
            }
        }
    }
    assert!(reached.contains("crc32c") && reached.len() > 10);
    for name in ["tokio", "pyo3", "pyo3-ffi", "async-std", "smol"] {
        assert!(!reached.contains(name), "{name} is reached from flint-core");
    }

    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    for path in files {
        let text = code(&fs::read_to_string(&path).unwrap());
        for macro_name in ["println!", "eprintln!", "print!", "eprint!", "dbg!", "io::stdout", "io::stderr"] {
            assert!(!text.contains(macro_name), "{macro_name} in {}", path.display());
        }
    }
}

/// With them a store would work only inside of a test.
#[test]
fn the_model_checker_is_in_no_build_but_that_of_its_tests() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let dependency = manifest.lines().find(|line| line.starts_with("shuttle = {")).expect("a dependency");
    assert!(dependency.contains("optional = true"), "{dependency}");
    assert!(!manifest.contains("default ="), "features that are enabled by default");
    for other in ["crates/flint-py/Cargo.toml", "crates/flint-torture/Cargo.toml", "Cargo.toml", "pyproject.toml"] {
        let text = fs::read_to_string(root().join("../..").join(other)).unwrap();
        assert!(!text.contains("shuttle"), "{other} names it");
    }
    // The features of a build are those that any package of it asks for.
    let enabled = cfg!(feature = "shuttle");
    assert!(!enabled, "this build has it");
}

#[test]
fn unsafe_code_stands_in_few_small_files() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let with_unsafe: BTreeSet<String> = files
        .iter()
        .filter(|path| code(&fs::read_to_string(path).unwrap()).contains("unsafe "))
        .map(|path| path.strip_prefix(root().join("src")).unwrap().display().to_string())
        .collect();
    let expected = ["memory.rs", "storage/disk/blocks.rs", "storage/disk/map.rs", "storage/fork.rs"].map(str::to_owned);
    assert_eq!(with_unsafe, BTreeSet::from(expected));
}

/// What a file names of `std` and `core`: "sync::Arc". A whole module, and one in a group of modules, stands for all in it.
fn named_of_std(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    for rest in code.split("std::").chain(code.split("core::").skip(1)).skip(1) {
        let path: String = rest.chars().take_while(|c| is_path(*c)).collect();
        match rest[path.len()..].strip_prefix('{') {
            None => drop(named.insert(path)),
            Some(group) => {
                let group = group.split(';').next().unwrap_or_default();
                for name in group.split(|c| !is_path(c)).filter(|name| !name.is_empty()) {
                    named.insert(format!("{path}{name}"));
                }
            }
        }
    }
    named
}

fn names(code: &str, any_of: &[&str]) -> bool {
    named_of_std(code).iter().any(|name| any_of.contains(&name.as_str()))
}

#[test]
fn names_of_the_standard_library_are_found_in_every_form() {
    let text = "use std::sync::{Arc, Condvar, atomic::AtomicU8};\nuse std::{fmt, thread};\nstd::thread::yield_now();\nuse std::sync;";
    let found: Vec<_> = named_of_std(text).into_iter().collect();
    let expected =
        ["fmt", "sync", "sync::Arc", "sync::Condvar", "sync::atomic::AtomicU8", "thread", "thread::yield_now"];
    assert_eq!(found, expected);
    assert_eq!(named_of_std("core::sync::atomic::fence(x)"), BTreeSet::from(["sync::atomic::fence".to_owned()]));
}

/// One place reads clocks, one offers locks, atomics and threads, one touches files: so that each can be replaced in tests.
#[test]
fn clocks_locks_and_files_are_reached_through_their_modules() {
    /// A rule, what breaks it, and where it may be broken for which reason.
    type Rule = (&'static str, fn(&str) -> bool, &'static [(&'static str, &'static str)]);
    let rules: [Rule; 4] = [
        (
            "locks, atomics and threads",
            |code| {
                let shared = |name: &String| name.starts_with("sync") || name.starts_with("thread");
                // Counting references orders nothing, and no decision depends on the count.
                named_of_std(code).iter().any(|name| shared(name) && name != "sync::Arc" && name != "thread_local")
            },
            &[
                ("sync.rs", "the module that offers them"),
                ("sync/", "what a model checker puts in their place"),
                ("hooks.rs", "chosen once for the process, in builds for tests only, and no part of any store"),
                ("testing/sim.rs", "a test's listener on the simulated disk, set once before anything runs"),
            ],
        ),
        (
            "measuring time",
            |code| names(code, &["time", "time::Instant"]),
            &[
                ("sync.rs", "how long a wait for a deadline has left"),
                ("sync/", "what a model checker puts in its place"),
                ("engine/acquire.rs", "until when the thread that serves the queues sleeps"),
                ("engine/background.rs", "when to sync and when to try again, which changes no decision"),
                ("engine/open.rs", "how long opening took, which is only reported"),
                ("store/bell.rs", "until when a background thread waits"),
                ("store/shared.rs", "how long syncs took, which is only reported"),
            ],
        ),
        (
            "reading clocks",
            |code| code.contains("clock_gettime") || names(code, &["time", "time::SystemTime", "time::UNIX_EPOCH"]),
            &[("clock.rs", "the module that does")],
        ),
        ("files", |code| code.contains("fs::File"), &[("storage/", "the module that touches them")]),
    ];
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    for path in files {
        let relative = path.strip_prefix(root().join("src")).unwrap().display().to_string();
        if relative.ends_with("shuttle_tests.rs") {
            continue;
        }
        let text = code(&fs::read_to_string(&path).unwrap());
        let text = text.split("\nmod tests {").next().unwrap_or_default();
        for (what, breaks, places) in rules {
            let allowed = places.iter().any(|(place, _)| relative.starts_with(place));
            assert!(allowed || !breaks(text), "{what} in {relative}");
        }
    }
}
