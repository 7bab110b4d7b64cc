//! Which source file of a crate uses which, read from its text: paths that start with `crate`, `super`, `self` or an imported name,
//! followed through re-exports to the file that defines what they name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module with a file of its own: the names on its path, none for the crate's root.
pub(super) type Module = Vec<String>;

pub(super) struct Graph {
    pub(super) files: BTreeMap<Module, PathBuf>,
    pub(super) edges: BTreeMap<Module, BTreeSet<Module>>,
}

/// The paths that a file's code has, and what each imported name stands for.
struct Names {
    paths: Vec<Vec<String>>,
    imported: BTreeMap<String, Vec<String>>,
}

pub(super) fn show(module: &Module) -> String {
    if module.is_empty() { "lib".to_owned() } else { module.join("::") }
}

/// Every file below `dir` with this ending.
pub(super) fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Text without comments, where other modules may be named, and without tests: what only a test uses is no dependency. A `//` in
/// a string cuts its line short, which hides nothing: no string is followed by a path.
pub(super) fn code(text: &str) -> String {
    let text: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    text.join("\n").split("\nmod tests {").next().unwrap_or_default().to_owned()
}

/// A line of a module inside of a file, where `super` is the file, as if it were a line of the file.
fn own(line: &str) -> String {
    line.replace("super::super::", "self::parent::").replace("super::", "self::").replace("parent::", "super::")
}

/// Code with the modules inside of it as part of it.
fn flattened(code: &str) -> String {
    let mut depth = 0_usize;
    let mut inside: Vec<usize> = Vec::new();
    let mut lines = Vec::new();
    for line in code.lines() {
        lines.push(if inside.is_empty() { line.to_owned() } else { own(line) });
        let opens = line.ends_with('{') && line.split_whitespace().any(|word| word == "mod");
        if opens {
            inside.push(depth);
        }
        depth = (depth + line.matches('{').count()).saturating_sub(line.matches('}').count());
        if !opens && inside.last().is_some_and(|start| depth <= *start) {
            inside.pop();
        }
    }
    lines.join("\n")
}

/// The paths of a use tree, with the name that each imports.
fn expand(prefix: &[String], tree: &str, into: &mut Vec<(Vec<String>, String)>) {
    let tree = tree.trim();
    let (head, group) = match tree.split_once('{') {
        Some((head, rest)) => (head, Some(&rest[..rest.rfind('}').unwrap_or(rest.len())])),
        None => (tree, None),
    };
    let (path, alias) = match head.split_once(" as ") {
        Some((path, alias)) => (path, Some(alias.trim().to_owned())),
        None => (head, None),
    };
    let mut full = prefix.to_vec();
    full.extend(path.split("::").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
    let Some(group) = group else {
        if full.len() > 1 && full.last().is_some_and(|last| last == "self") {
            full.pop();
        }
        let name = alias.or_else(|| full.last().cloned()).unwrap_or_default();
        into.push((full, name));
        return;
    };
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&full, &group[start..at], into);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !group[start..].trim().is_empty() {
        expand(&full, &group[start..], into);
    }
}

fn names(code: &str) -> Names {
    let mut names = Names { paths: Vec::new(), imported: BTreeMap::new() };
    let mut rest = String::new();
    let mut in_use: Option<String> = None;
    for line in code.lines() {
        let trimmed = line.trim();
        let begins = ["use ", "pub use ", "pub(crate) use ", "pub(super) use "]
            .iter()
            .find_map(|form| trimmed.strip_prefix(form));
        let text = match (&mut in_use, begins) {
            (Some(text), _) => {
                text.push(' ');
                text.push_str(trimmed);
                text.clone()
            }
            (None, Some(begins)) => begins.to_owned(),
            (None, None) => {
                rest.push_str(line);
                rest.push('\n');
                continue;
            }
        };
        in_use = Some(text.clone());
        if let Some(tree) = text.strip_suffix(';') {
            let mut found = Vec::new();
            expand(&[], tree, &mut found);
            for (path, name) in found {
                if name != "*" {
                    names.imported.insert(name, path.clone());
                }
                names.paths.push(path);
            }
            in_use = None;
        }
    }
    for word in rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')) {
        let path: Vec<String> = word.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if path.len() > 1 && !path.iter().any(|name| name.contains(':')) {
            names.paths.push(path);
        }
    }
    names
}

impl Graph {
    /// The sources below `root`, without programs and tests.
    pub(super) fn read(root: &Path) -> Self {
        let mut paths = Vec::new();
        sources(root, &mut paths);
        let mut files = BTreeMap::new();
        for path in paths {
            let relative = path.strip_prefix(root).unwrap().with_extension("");
            let mut module: Module = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            if module.first().is_some_and(|first| first == "bin")
                || module.last().is_some_and(|last| last.ends_with("tests"))
            {
                continue;
            }
            if module.last().is_some_and(|last| last == "mod" || last == "lib") {
                module.pop();
            }
            files.insert(module, path);
        }
        let names: BTreeMap<&Module, Names> = files
            .iter()
            .map(|(module, path)| (module, names(&flattened(&code(&fs::read_to_string(path).unwrap())))))
            .collect();
        let edges = files
            .keys()
            .map(|module| {
                let used = names[module].paths.iter().filter_map(|path| resolve(&names, module, path, 0));
                (module.clone(), used.filter(|other| other != module).collect())
            })
            .collect();
        Self { files, edges }
    }

    /// The edges between files that use each other, directly or through others.
    pub(super) fn cycles(&self) -> Vec<(&Module, &Module)> {
        let mut left: BTreeSet<&Module> = self.files.keys().collect();
        loop {
            let ends = |module: &&Module| !self.edges[*module].iter().any(|other| left.contains(other));
            let starts = |module: &&Module| !left.iter().any(|other| self.edges[*other].contains(*module));
            let Some(module) = left.iter().find(|module| ends(module) || starts(module)).copied() else { break };
            left.remove(module);
        }
        let edges = left.iter().flat_map(|module| self.edges[*module].iter().map(move |other| (*module, other)));
        edges.filter(|(_, other)| left.contains(other)).collect()
    }
}

/// The module in whose file what `path` names in `from` is defined; `None` outside of the crate.
fn resolve(names: &BTreeMap<&Module, Names>, from: &Module, path: &[String], hops: usize) -> Option<Module> {
    let mut module = from.clone();
    let mut path = path;
    let mut relative = false;
    while let Some((first, rest)) = path.split_first() {
        match first.as_str() {
            "crate" => module.clear(),
            "super" => drop(module.pop()),
            "self" => {}
            _ => break,
        }
        (path, relative) = (rest, true);
    }
    while let Some((first, rest)) = path.split_first() {
        let mut child = module.clone();
        child.push(first.clone());
        if names.contains_key(&child) {
            (module, path, relative) = (child, rest, true);
        } else if let Some(imported) = names[&module].imported.get(first).filter(|_| hops < 16) {
            let target: Vec<String> = imported.iter().chain(rest).cloned().collect();
            return resolve(names, &module, &target, hops + 1);
        } else {
            break;
        }
    }
    relative.then_some(module)
}

#[test]
fn paths_are_followed_to_the_file_that_defines_them() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("lib.rs", "mod a;\nmod b;\npub use b::One;\n");
    write(
        "a.rs",
        "use crate::{One, b::{self as other, two::*}};\nuse std::fs;\n// crate::c::X\nfn f() { other::three::go() }\n",
    );
    write("b/mod.rs", "mod two;\nmod three;\npub(crate) use two::One;\npub struct Own;\n");
    write(
        "b/two.rs",
        "use super::Own;\npub struct One;\nmod inner {\n    use super::super::three;\n}\nmod tests {\n    use crate::a;\n}\n",
    );
    write("b/three.rs", "pub fn go() {}\n");
    let graph = Graph::read(root.path());
    let used = |module: &[&str]| -> Vec<String> {
        let module: Module = module.iter().map(|name| (*name).to_owned()).collect();
        graph.edges[&module].iter().map(show).collect()
    };
    assert_eq!(used(&["a"]), ["b", "b::three", "b::two"]);
    assert_eq!(used(&["b"]), ["b::two"]);
    assert_eq!(used(&["b", "two"]), ["b", "b::three"]);
    assert_eq!(used(&[]), ["b::two"]);
    let cycles: Vec<_> = graph.cycles().into_iter().map(|(from, to)| (show(from), show(to))).collect();
    assert_eq!(cycles, [("b".to_owned(), "b::two".to_owned()), ("b::two".to_owned(), "b".to_owned())]);
}
