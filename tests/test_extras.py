"""What is imported is declared, and a verb whose extra is not installed says so."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import holdfast
from holdfast import extras
from holdfast.extras import EXTRA_OF, MissingPackagesError, packages, require

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LISTED = [
    *PROJECT["dependencies"],
    *(
        f'{line}; extra == "{name}"'
        for name, lines in PROJECT["optional-dependencies"].items()
        for line in lines
    ),
]
IMPORT_NAMES = {
    "ot": "pot",
    "sklearn": "scikit-learn",
    "vl_convert": "vl-convert-python",
    "PIL": "pillow",
    "yaml": "pyyaml",
}
ELSEWHERE = {"pyspiel"}  # a benchmark's, imported where it is at hand


@pytest.fixture
def metadata_of_this_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: LISTED)


def imported() -> dict[str, str]:
    """Top-level packages that the sources import, and a file that does."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                found.setdefault(name.partition(".")[0], str(path))
    return found


def test_every_import_is_declared():
    declared = {re.match(r"[\w.-]+", line)[0].lower() for line in LISTED}
    for name, path in imported().items():
        if name in sys.stdlib_module_names or name in ELSEWHERE or name == "holdfast":
            continue
        assert IMPORT_NAMES.get(name, name).lower() in declared, (
            f"{path} imports {name}, which pyproject.toml does not declare"
        )


def test_the_objectives_need_nothing_but_torch_and_numpy():
    """With every package of every extra hidden, holdfast.preference is there and computes."""
    hidden = {re.match(r"[\w.-]+", line)[0] for line in LISTED if "extra ==" in line} | {
        "sklearn",
        "vl_convert",
    }
    hidden -= {"holdfast", "jinja2", "markupsafe", "filelock"}  # torch brings these three
    code = f"""
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hide())
import torch
from holdfast.preference import dpo
from holdfast.types import Pairs, Scored
side = lambda x: Scored(torch.tensor([[x]]), torch.ones(1, 1), torch.zeros(1, 1))
print(dpo(Pairs(side(-1.0), side(-2.0)), beta=1.0).item())
"""
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert float(printed) == pytest.approx(0.3132617)  # log(1 + exp(-1))


def test_extras_of_extras_are_read_from_the_metadata(metadata_of_this_tree: None):
    assert packages("games") == ["scipy", "rich"]
    assert {"typer", "altair", "scipy", "cleanlab"} <= set(packages("check"))
    assert set(packages("check")) | set(packages("train")) <= set(packages("all"))
    assert not any(name.startswith("holdfast") for name in packages("all"))


def test_every_verb_and_module_names_an_extra_that_exists():
    assert set(EXTRA_OF.values()) <= set(PROJECT["optional-dependencies"])
    assert set(holdfast.FUNCTIONS) | set(holdfast.MODULES) <= set(EXTRA_OF) | {
        "preference",
        "reductions",
    }


def test_a_verb_without_its_packages_names_them_and_the_cure(
    metadata_of_this_tree: None, monkeypatch: pytest.MonkeyPatch
):
    there = extras.installed
    monkeypatch.setattr(
        extras, "installed", lambda name: name not in ("scipy", "cleanlab") and there(name)
    )
    with pytest.raises(
        MissingPackagesError,
        match=(
            r"packages that are not installed: scipy, cleanlab\nhint: pip install "
            r"'holdfast\[check\]'"
        ),
    ):
        require("check")
    monkeypatch.delitem(vars(holdfast), "games", raising=False)  # another test may have imported it
    with pytest.raises(MissingPackagesError, match=r"a package that is not installed: scipy\n"):
        holdfast.__getattr__(
            "games"
        )  # not the attribute, which is there once anything has imported the module
    require("preference")


def test_where_holdfast_runs_without_being_installed_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch,
):
    def absent(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", absent)
    require("check")
