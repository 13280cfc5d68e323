"""One definition of how rows are read: the same names, meanings and flags in every verb."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from holdfast import cli
from holdfast.data import Reading, read
from holdfast.errors import DataError, OptionError
from holdfast.training.options import Options
from holdfast.training.prompts import read_prompts

FIELDS = [field.name for field in dataclasses.fields(Reading)]
VERBS = [
    ("check",),
    ("train", "dpo"),
    ("train-reward", "bradley_terry"),
    ("evaluate",),
    ("selfplay",),
    ("new-model",),
    ("lab", "stress"),
]


def test_read_takes_what_a_reading_holds_and_nothing_else() -> None:
    parameters = inspect.signature(read).parameters
    assert [name for name in parameters if name not in ("source", "sample")] == FIELDS
    assert [name for name in Options.__dataclass_fields__ if name in FIELDS] == FIELDS


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_that_reads_rows_has_the_same_flags(verb: tuple[str, ...]) -> None:
    shown = (
        CliRunner()
        .invoke(cli.app, [*verb, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
        .output
    )
    for name in FIELDS:
        assert re.search(rf"--{name}\b", shown), (verb, name)
    assert not re.search(
        r"--quarantine +(TEXT|PATH)", shown
    )  # a flag everywhere, a file name nowhere


def test_columns_may_be_a_mapping_or_words_and_are_kept_as_words() -> None:
    assert (
        Reading(columns={"prompt": "question"})
        == Reading(columns=["prompt=question"])
        == Reading(columns="prompt=question")
    )  # type: ignore[arg-type]
    assert Reading(columns=("prompt=a=b",)).flags() == ("--columns", "prompt=a=b")
    assert Options(columns={"prompt": "question"}).columns == ("prompt=question",)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "columns", [["prompt"], ["=a"], ["prompt=a", "prompt=b"], {"prompt": 3}, {"": "a"}, [3]]
)
def test_columns_that_say_nothing_or_two_things_are_refused(columns: Any) -> None:
    with pytest.raises(OptionError, match="columns"):
        Reading(columns=columns)


def test_an_unknown_keyword_is_named_with_the_near_one() -> None:
    with pytest.raises(OptionError, match=r"not (read|take) column\nhint: did you mean columns"):
        Reading.of({"column": "a=b"}, "evaluate")


def test_the_quarantine_is_a_flag_or_a_file(tmp_path: Path) -> None:
    assert Reading().quarantine_file(tmp_path) is None
    assert Reading(quarantine=True).quarantine_file(tmp_path) == tmp_path / "quarantine.jsonl"
    assert (
        Reading(quarantine=tmp_path / "x.jsonl").quarantine_file("elsewhere")
        == tmp_path / "x.jsonl"
    )  # type: ignore[arg-type]


def test_prompts_are_read_by_the_same_columns(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "who?"}\n{"question": "why?"}\n')
    assert read_prompts(path, Reading(columns=("prompt=question",))) == ["who?", "why?"]
    with pytest.raises(DataError):
        read_prompts(path)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)

    def call(*args: Any) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["holdfast", *map(str, args)])
        capfd.readouterr()
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        return (status, *capfd.readouterr())

    return call


def test_evaluate_renames_columns_and_sets_rows_aside(
    run: Run, tiny_model_dir: Path, tmp_path: Path
) -> None:
    rows = [{"Q": f"q {n}", "good": f"yes {n}", "bad": f"no {n}"} for n in range(4)]
    (tmp_path / "held.jsonl").write_text(
        "\n".join(map(json.dumps, [*rows, {"Q": "q", "good": None, "bad": "no"}]))
    )
    words = ["--columns", "prompt=Q", "--columns", "chosen=good", "--columns", "rejected=bad"]
    short = ["--data", "held.jsonl", "--prompts", 0, "--bootstrap", 0, *words]
    status, _, err = run("evaluate", tiny_model_dir, *short)
    assert status == 2 and "held.jsonl:5" in err and "--quarantine" in err
    status, out, err = run("evaluate", tiny_model_dir, *short, "--quarantine", "--json")
    assert status == 0, err
    assert json.loads(out)["data"]["comparisons"] == 4
    assert len((tmp_path / "quarantine.jsonl").read_text().splitlines()) == 1
    status, _, err = run(
        "evaluate", tiny_model_dir, *short, "--quarantine", "--out", "found/e.json"
    )
    assert (tmp_path / "found/quarantine.jsonl").exists()


def test_new_model_renames_columns(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"Q": "who is it", "A": "the cat"}\n' * 3)
    sizes = ["--vocab", 300, "--hidden", 32, "--layers", 1, "--heads", 2]
    status, _, err = run(
        "new-model",
        "rows.jsonl",
        "--out",
        "m",
        *sizes,
        "--columns",
        "prompt=Q",
        "--columns",
        "completion=A",
    )
    assert status == 0, err


def test_check_can_be_told_to_stop_at_a_bad_row(
    run: Run, tmp_path: Path, pair_rows: list[dict[str, Any]]
) -> None:
    (tmp_path / "p.jsonl").write_text(
        "\n".join(map(json.dumps, [*pair_rows, {"prompt": "q", "chosen": "", "rejected": "no"}]))
    )
    status, _, err = run("check", "p.jsonl", "--no-quarantine")
    assert status == 2 and "p.jsonl:49" in err


def test_several_files_are_checked_and_the_advice_names_each(
    run: Run, tmp_path: Path, pair_rows: list[dict[str, Any]]
) -> None:
    for name, rows in (("a", pair_rows[:24]), ("b c", pair_rows[24:])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    status, out, err = run("check", "a.jsonl", "b c.jsonl", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["comparisons"]["total"] == 48
    assert "--data a.jsonl --data 'b c.jsonl'" in found["advice"]["command"]
