"""Every example runs as its reader would run it, and says what its text promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py") if path.name != "small_data.py")


def run(*arguments: str, cwd: Path = EXAMPLES.parent) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_on_the_page_and_is_run_here() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    listed = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
    assert all(f"({name})" in page or name == "small_data.py" for name in listed)
    assert {path.name for path in EXAMPLES.glob("*.ipynb")} == {"check_and_train.ipynb"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs(name: str) -> None:
    assert run(str(EXAMPLES / name)).strip()


def test_the_loop_that_knows_of_flips_ranks_better() -> None:
    said = run(str(EXAMPLES / "own_loop.py"))
    share = {line.split()[0]: int(line.split("%")[0].split()[-1]) for line in said.splitlines()}
    assert share["rdpo"] > share["dpo"] > 60


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    cells = json.loads((EXAMPLES / "check_and_train.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    script = tmp_path / "notebook.py"
    script.write_text(code + "\nprint(sorted(ranking))", encoding="utf-8")
    said = run(str(script))
    assert "holdfast train" in said and "'dpo'" in said.splitlines()[-1]
