"""The modules of the package form layers, in the order that python/flint/__init__.py lists, and no cycles."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2] / "python"


def modules() -> dict[str, Path]:
    """Every module of the package, by its name; packages by theirs."""
    found = {}
    for path in sorted((ROOT / "flint").rglob("*.py")):
        *parents, last = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parents if last == "__init__" else [*parents, last])] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = str(node.module)
            names.update(
                f"{module}.{alias.name}" if f"{module}.{alias.name}" in known else module for alias in node.names
            )
    return {name for name in names if name.partition(".")[0] == "flint"}


def listed() -> dict[str, int]:
    """The place of each layer's modules, from the list in the package."""
    text = (ROOT / "flint" / "__init__.py").read_text(encoding="utf-8")
    lines = re.findall(r"^#   (\S.*)$", text, re.MULTILINE)
    return {name: place for place, line in enumerate(lines) for name in line.split(", ")}


def layer(module: str, places: dict[str, int]) -> int:
    """The place of a module: its own, or that of the package that it belongs to."""
    name = module.removeprefix("flint.")
    while name not in places:
        assert "." in name, f"{module} is missing in the list of layers"
        name = name.rpartition(".")[0]
    return places[name]


def test_a_module_imports_only_from_lower_layers() -> None:
    known, places = modules(), listed()
    for module, path in known.items():
        for used in imported(path, known):
            same_package = module.split(".")[:2] == used.split(".")[:2]
            lower = layer(used, places) < layer(module, places)
            assert same_package or lower, f"{module} imports {used}, which is no lower layer"


def test_every_layer_exists() -> None:
    known = modules()
    for name in listed():
        assert name in ("_native", "flint") or f"flint.{name}" in known, name


def test_no_modules_import_each_other() -> None:
    """Not in a cycle of any length, inside a package neither."""
    known = modules()
    graph = {module: imported(path, known) - {module} for module, path in known.items()}
    # Raises CycleError, which names the modules.
    TopologicalSorter(graph).prepare()
