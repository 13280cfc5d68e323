"""The command line: every verb answers --help, a mistake ends in one readable message and status 2,
and each verb calls its function.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from holdfast import cli
from holdfast.cli import screen
from holdfast.methods import METHODS

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*args: Any) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["holdfast", *map(str, args)])
        capfd.readouterr()
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = capfd.readouterr()
        return status, out, err

    return call


@pytest.fixture
def pairs_file(tmp_path: Path, pair_rows: list[dict[str, Any]]) -> Path:
    path = tmp_path / "prefs.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in pair_rows))
    return path


@pytest.mark.parametrize(
    "verb",
    [
        (),
        ("train",),
        ("train", "rdpo"),
        ("train", "kto"),
        ("evaluate",),
        ("methods",),
        ("new-model",),
        ("rerun",),
        ("demo",),
    ],
)
def test_help_teaches(run: Run, verb: tuple[str, ...]) -> None:
    status, out, _ = run(*verb, "--help")
    assert status == 0 and "Usage: holdfast" in out
    assert "│ --" in out or "--help" in out


def test_help_of_a_method_shows_its_own_settings(run: Run) -> None:
    _, out, _ = run("train", "rdpo", "--help")
    assert "What rdpo reads" in out and "--flip-rate" in out
    _, out, _ = run("train", "dpo", "--help")
    assert "--flip-rate" not in out and "--beta" in out


def test_a_flag_that_the_method_does_not_read_is_an_error_that_says_who_does(
    run: Run, tiny_model_dir: Path, pairs_file: Path
) -> None:
    status, _, err = run(
        "train", "dpo", "--model", tiny_model_dir, "--data", pairs_file, "--flip-rate", "0.2"
    )
    assert status == 2
    assert "dpo does not read flip" in err and "rdpo" in err


def test_unknown_method_and_missing_file_name_the_cure(
    run: Run, tmp_path: Path, tiny_model_dir: Path
) -> None:
    status, _, err = run("train", "rpdo", "--model", "m", "--data", "d")
    assert status == 2 and "did you mean" in err
    status, _, err = run(
        "train",
        "dpo",
        "--model",
        tiny_model_dir,
        "--data",
        tmp_path / "none.jsonl",
        "--out",
        tmp_path / "run",
    )
    assert status == 2 and "none.jsonl" in err and "hint:" in err


def test_methods_lists_and_shows_one(run: Run) -> None:
    status, out, _ = run("methods", "--json")
    assert status == 0
    names = [row["method"] for row in json.loads(out)]
    assert {"sft", "dpo", "cdpo", "rdpo", "ipo", "slic", "simpo", "cpo", "orpo", "kto"} <= set(
        names
    )
    status, out, _ = run("methods", "rdpo")
    assert status == 0 and "flip_rate" in out and "2403.00409" in out


def test_the_table_of_methods_fits_a_screen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen.out, "_width", 100)
    status, out, _ = run("methods")
    lines = out.splitlines()
    assert status == 0 and len(METHODS) < len(lines) <= 60
    assert all(len(line.rstrip()) <= 100 for line in lines)
    assert [x.split()[0] for x in lines if re.match(r"  \S", x)] == list(METHODS)


HELP = [
    *(["check"], ["evaluate"], ["selfplay"], ["methods"], ["rerun"], ["demo"], ["new-model"], []),
    *(["train"], ["train", "rdpo"], ["train-reward", "bradley_terry"]),
    *(["lab", "claims"], ["lab", "stress"], ["lab", "games"], ["optimize"]),
]


@pytest.mark.parametrize("verb", HELP, ids=" ".join)
def test_help_speaks_to_a_shell(verb: list[str]) -> None:
    """No kind of value by its name in Python, no argument in backticks, nothing that a shell cannot
    give; a flag's help begins at once and does not end in a full stop.
    """
    said = CliRunner().invoke(cli.app, [*verb, "--help"], env={"COLUMNS": "300", "TERM": "dumb"})
    assert said.exit_code == 0
    for word in ("<", "`", "In Python", "holdfast.read", "given tokenizer", "list[", "=True"):
        assert word not in said.output, word
    assert not re.search(r"--[a-z]+_", said.output)


def test_the_cure_of_an_error_is_a_flag(
    run: Run, tiny_model_dir: Path, pairs_file: Path, tmp_path: Path
) -> None:
    asked = ["train", "dpo", "--model", tiny_model_dir, "--data", pairs_file, "--max-steps", 1]
    assert run(*asked, "--out", tmp_path / "run")[0] == 0
    status, _, err = run(*asked, "--out", tmp_path / "run")
    assert status == 2 and "--resume goes on with it" in err and "=True" not in err


def test_show_prints_the_mask_and_trains_nothing(
    run: Run, tiny_model_dir: Path, pairs_file: Path, tmp_path: Path
) -> None:
    status, out, _ = run(
        "train",
        "dpo",
        "--model",
        tiny_model_dir,
        "--data",
        pairs_file,
        "--out",
        tmp_path / "run",
        "--show",
        2,
    )
    assert status == 0
    assert "prompt, not scored" in out and "chosen, scored" in out and "rejected, scored" in out
    assert not (tmp_path / "run").exists()


def test_train_evaluate_rerun(
    run: Run, tiny_model_dir: Path, pairs_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    status, out, err = run(
        "train",
        "rdpo",
        "--model",
        tiny_model_dir,
        "--data",
        pairs_file,
        "--out",
        folder,
        "--flip-rate",
        0.2,
        "--batch-size",
        4,
        "--max-steps",
        2,
        "--learning-rate",
        1e-3,
        "--json",
    )
    assert status == 0, err
    record = json.loads(out[out.index("{\n") :])
    assert record["status"] == "finished" and record["settings"]["flip_rate"] == 0.2
    page = tmp_path / "pages" / "report.html"
    short = ["--prompts", 2, "--max-new-tokens", 4, "--bootstrap", 50]
    status, out, err = run(
        "evaluate", folder, "--data", pairs_file, *short, "--json", "--report", page
    )
    assert (
        "How hard the pairs are" in page.read_text()
        and (page.parent / "idealized-ranking.png").stat().st_size > 1000
    )
    assert status == 0, err
    assert 0 <= json.loads(out)["all"]["ranking"]["policy"]["value"] <= 1
    status, _, err = run("rerun", folder, "--out", tmp_path / "again")
    assert status == 0, err
    assert (tmp_path / "again/model/model.safetensors").read_bytes() == (
        folder / "model/model.safetensors"
    ).read_bytes()
    status, _, err = run(
        "train", "rdpo", "--model", tiny_model_dir, "--data", pairs_file, "--out", folder
    )
    assert status == 2 and "hint:" in err  # the folder holds a run


def test_a_run_has_a_folder_of_its_own_unless_told(
    run: Run,
    tiny_model_dir: Path,
    pairs_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = run(
        "train", "ipo", "--model", tiny_model_dir, "--data", pairs_file, "--max-steps", 1
    )
    assert status == 0, err
    assert (tmp_path / "runs/ipo/model/model.safetensors").exists()


def test_new_model_can_be_trained(run: Run, pairs_file: Path, tmp_path: Path) -> None:
    status, _, err = run(
        "new-model",
        pairs_file,
        "--out",
        tmp_path / "m",
        "--vocab",
        300,
        "--hidden",
        32,
        "--layers",
        1,
        "--heads",
        2,
    )
    assert status == 0 and "wrote" in err
    status, _, err = run(
        "train",
        "sft",
        "--model",
        tmp_path / "m",
        "--data",
        pairs_file,
        "--out",
        tmp_path / "sft",
        "--max-steps",
        1,
    )
    assert status == 0, err
