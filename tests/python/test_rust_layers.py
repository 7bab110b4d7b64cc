"""The files of each Rust crate form no circle, and its modules are listed in order of layers at the top of lib.rs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

CRATES = Path(__file__).parents[2] / "crates"

Module = tuple[str, ...]


def modules(crate: str) -> dict[Module, str]:
    """The source of every module of a crate, without comments and without its unit tests."""
    root = CRATES / crate / "src"
    found = {}
    for path in sorted(root.rglob("*.rs")):
        name = path.relative_to(root).with_suffix("").parts
        if name[0] == "bin":
            continue
        text = path.read_text(encoding="utf-8").split("#[cfg(test)]\nmod tests")[0]
        name = name[:-1] if name[-1] in {"mod", "lib"} else name
        found[name] = re.sub(r"//.*", "", text)
    return found


def expanded(use: str, prefix: Module = ()) -> Iterator[Module]:
    """The paths that a tree such as `a::{b, c::{d, e}}` names."""
    match = re.fullmatch(r"([\w:]*?)(?:::)?\{(.*)\}", use.strip(), re.DOTALL)
    if match is None:
        yield prefix + tuple(re.findall(r"\w+", use.split(" as ")[0]))
        return
    prefix += tuple(re.findall(r"\w+", match[1]))
    depth, part = 0, ""
    for character in match[2] + ",":
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            if part.strip():
                yield from expanded(part, prefix)
            part = ""
        else:
            part += character


def named(module: Module, text: str, is_root: bool) -> Iterator[Module]:
    """The paths, from the crate's root, that a module's source names."""
    uses = re.findall(r"\buse\s+([^;]+);", text)
    paths = [path for use in uses for path in expanded(use)]
    paths += [tuple(path.split("::")) for path in re.findall(r"\b(?:crate|super)(?:::\w+)+", text)]
    for path in paths:
        if path[0] == "crate":
            yield path[1:]
        elif path[0] == "super":
            ups = next((index for index, part in enumerate(path) if part != "super"), len(path))
            yield module[: len(module) - ups] + path[ups:]
        elif is_root:
            yield module + path


def uses(crate: str) -> dict[Module, set[Module]]:
    """The modules that each module of a crate uses."""
    known = modules(crate)
    graph: dict[Module, set[Module]] = {}
    for module, text in known.items():
        has_children = any(other[: len(module)] == module and other != module for other in known)
        graph[module] = set()
        for path in named(module, text, has_children):
            # The longest part of the path that is a module; the rest is an item in it.
            used = next((path[:length] for length in range(len(path), 0, -1) if path[:length] in known), module)
            if used != module:
                graph[module].add(used)
    return graph


def layers(crate: str) -> dict[Module, int]:
    """The place of each module in the list at the top of lib.rs."""
    text = (CRATES / crate / "src" / "lib.rs").read_text(encoding="utf-8")
    entries = re.findall(r"^//! - ((?:`[^`]+`(?:, )?)+):", text, re.MULTILINE)
    places = {}
    for place, entry in enumerate(entries):
        for name in re.findall(r"`([^`]+)`", entry):
            for path in expanded(name):
                places[path] = place
    return places


@pytest.mark.parametrize("crate", ["flint-py", "flint-server", "flint-torture"])
def test_no_files_of_a_crate_use_each_other_in_a_circle(crate: str) -> None:
    graph = uses(crate)
    assert len(graph) > 30
    assert sum(map(len, graph.values())) > 80
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("crate", ["flint-py", "flint-server", "flint-torture"])
def test_a_module_uses_only_modules_that_are_listed_before_it(crate: str) -> None:
    graph, places = uses(crate), layers(crate)

    def place(module: Module) -> int:
        listed = [module[:length] for length in range(len(module), 0, -1) if module[:length] in places]
        if listed:
            return places[listed[0]]
        # A table of contents takes the last place of its parts.
        parts = [place for name, place in places.items() if name[: len(module)] == module]
        assert parts, f"{'::'.join(module)} is missing in the list of layers"
        return max(parts)

    for module, used in graph.items():
        if module:
            for other in used:
                same = module[0] == other[0]
                assert same or place(other) <= place(module), f"{'::'.join(module)} uses {'::'.join(other)}"


def test_uses_are_found_in_every_form() -> None:
    assert set(expanded("a::{b, c::{d as x, e}, f}")) == {("a", "b"), ("a", "c", "d"), ("a", "c", "e"), ("a", "f")}
    text = "use crate::x::Y; use super::z; fn f() { super::super::w::g(); crate::v::h() }"
    assert set(named(("a", "b"), text, False)) == {("x", "Y"), ("a", "z"), ("w", "g"), ("v", "h")}
    assert set(named(("a",), "pub use b::C;", True)) == {("a", "b", "C")}
