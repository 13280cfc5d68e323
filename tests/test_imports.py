"""Imports as a graph: no cycle of files, no cycle of modules, and arrows that point down.

Imports inside functions count, those for type checkers alone do not. A module is a folder of
`src/holdfast`, or a file that stands there by itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
FACES = ("holdfast", "holdfast.__main__", "holdfast.cli")  # they import every verb


def files(root: Path) -> dict[str, Path]:
    """Every module's dotted name and its file."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imported(path: Path, known: Iterable[str]) -> set[str]:
    """The modules among `known` that a file imports, anywhere but under TYPE_CHECKING."""
    known, found = set(known), set()

    def walk(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                for other in child.orelse:
                    walk(other)
                continue
            if isinstance(child, ast.ImportFrom) and child.level == 0 and child.module:
                inner = {f"{child.module}.{alias.name}" for alias in child.names}
                found.update(inner & known or {child.module} & known)
            elif isinstance(child, ast.Import):
                found.update({alias.name for alias in child.names} & known)
            walk(child)

    walk(ast.parse(path.read_text(encoding="utf-8")))
    return found


def cycles(graph: Mapping[str, Iterable[str]]) -> list[set[str]]:
    """Strongly connected components of more than one node (Tarjan 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            component = set()
            while node not in component:
                component.add(stack.pop())
            if len(component) > 1:
                found.append(component)

    for node in graph:
        if node not in number:
            visit(node)
    return found


def folder(name: str) -> str:
    return name.split(".")[1] if "." in name else name


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    known = files(SOURCE)
    return {name: imported(path, known) - {name} for name, path in known.items()}


@pytest.fixture(scope="module")
def modules(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Which folder imports which; the faces, which nobody imports, are left out."""
    found: dict[str, set[str]] = {}
    for name, others in graph.items():
        if name not in FACES:
            mine = found.setdefault(folder(name), set())
            mine.update(folder(other) for other in others if other not in FACES)
            mine.discard(folder(name))
    return found


def named(found: list[set[str]]) -> list[list[str]]:
    return sorted(sorted(name.removeprefix("holdfast.") for name in cycle) for cycle in found)


def test_no_file_is_in_a_cycle(graph):
    assert named(cycles(graph)) == []


def test_no_module_is_in_a_cycle(modules):
    assert named(cycles(modules)) == []


def test_nobody_imports_the_command_line(graph):
    assert {name for name, others in graph.items() if "holdfast.cli" in others} <= {
        "holdfast.__main__"
    }


def mapped(text: str) -> list[list[str]]:
    """The modules that each line of CONTRIBUTING's map names, from top to bottom."""
    lines = text.partition("    src/holdfast/\n")[2].partition("    tests/")[0].splitlines()
    return [re.findall(r"(?:^ {6}|; {3})([a-z_]+)(?:/|\.py) ", line) for line in lines]


CONTRIBUTING = Path(__file__).parent.parent / "CONTRIBUTING.md"


def test_the_map_names_every_module_once(modules):
    faces = {name.removeprefix("holdfast.") for name in FACES} - {"holdfast", "__main__"}
    named_there = [name for line in mapped(CONTRIBUTING.read_text()) for name in line]
    assert sorted(named_there) == sorted(set(modules) | faces)


def test_imports_point_up_the_map_alone(modules):
    height = {name: n for n, line in enumerate(mapped(CONTRIBUTING.read_text())) for name in line}
    against = {
        (name, other)
        for name, others in modules.items()
        for other in others
        if height[other] >= height[name]
    }
    assert not against


def test_the_check_up_knows_no_training_and_no_lab(modules):
    assert not modules["checkup"] & {"lab", "training", "demo"}


def test_a_cycle_through_a_function_is_found_and_one_for_type_checkers_is_none(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "__init__.py").write_text("")
    (tmp_path / "p" / "a.py").write_text("def f():\n    from p import b\n")
    (tmp_path / "p" / "b.py").write_text("import p.a\n")
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import f\n"
    (tmp_path / "p" / "c.py").write_text(typed)
    (tmp_path / "p" / "d.py").write_text("from p.c import x\nfrom p import e\n")
    (tmp_path / "p" / "e.py").write_text("from p import c\n")
    known = files(tmp_path)
    graph = {name: imported(path, known) - {name} for name, path in known.items()}
    assert cycles(graph) == [{"p.a", "p.b"}] and graph["p.c"] == set()
