"""A run's folder: one process at a time, its own checkpoints, whole files, and one clear error
where something is wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from holdfast.errors import HoldfastError, OptionError, RunError
from holdfast.files import write_json, write_text
from holdfast.methods import METHODS
from holdfast.training import task
from holdfast.training.options import split_options
from holdfast.training.policy import train
from holdfast.training.reward_model import train_reward
from holdfast.training.run import checkpoint
from holdfast.training.run.lock import LOCK, locked
from holdfast.training.run.log import cut_back


@pytest.fixture
def setting(
    tmp_path: Path, tiny_model_dir: Path, pair_rows: list[dict[str, Any]]
) -> dict[str, Any]:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in pair_rows[:16]))
    return {
        "model": tiny_model_dir,
        "data": data,
        "learning_rate": 3e-3,
        "batch_size": 8,
        "max_steps": 4,
        "save_every": 1,
    }


def stopped_after(step: int, monkeypatch: pytest.MonkeyPatch, **call: Any) -> Path:
    """A run that was left, as if killed, once the checkpoint of that step was there: its record
    still says running.
    """
    save = checkpoint.save

    def last(
        context: Any,
        folder: Path,
        scorer: Any,
        optimizer: Any,
        state: Any,
        position: Any,
        *,
        keep: int,
    ) -> None:
        save(context, folder, scorer, optimizer, state, position, keep=keep)
        if position.step == step:
            raise ZeroDivisionError

    monkeypatch.setattr(checkpoint, "save", last)
    with pytest.raises(ZeroDivisionError):
        train("dpo", **call)
    monkeypatch.setattr(checkpoint, "save", save)
    return Path(call["out"])


def model_bytes(out: Path) -> bytes:
    return (out / "model" / "model.safetensors").read_bytes()


# ------------------------------------------------------------ one process at a time

HOLD = """
import sys, time
from pathlib import Path
from holdfast.training.run.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_held_by_one_process_and_is_free_when_that_is_killed(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(
        RunError, match=rf"another process is at work in .*process {holder.pid} on .*, since 20"
    ):
        train("dpo", out=out, **setting)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert train("dpo", out=out, **setting).status == "finished"


def test_a_process_holds_its_folder_while_it_trains_and_not_after(
    tmp_path: Path, setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, save = [], checkpoint.save

    def meanwhile(*args: Any, **more: Any) -> None:
        with pytest.raises(
            RunError, match=f"another process is at work in .*process {os.getpid()} on"
        ):
            train("simpo", out=tmp_path / "run", resume=True, **setting)
        tried.append(1)
        save(*args, **more)

    monkeypatch.setattr(checkpoint, "save", meanwhile)
    train("dpo", out=tmp_path / "run", **setting)
    assert len(tried) == 3
    with locked(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).exists()


def test_a_checkpoint_of_another_run_is_never_loaded(
    tmp_path: Path, setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = stopped_after(2, monkeypatch, out=tmp_path / "one", **setting)
    two = stopped_after(3, monkeypatch, out=tmp_path / "two", **{**setting, "learning_rate": 1e-3})
    (two / "checkpoints" / "step-00000003").rename(one / "checkpoints" / "step-00000003")
    with pytest.raises(RunError, match="step-00000003 belongs to another run"):
        train("dpo", out=one, resume=True, **setting)
    assert not (one / "model").exists()


# ------------------------------------------------------------ resuming


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, pair_rows: list[dict[str, Any]]
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pair_rows[:16]))
    call = {
        "model": tiny_model_dir,
        "data": folder / "rows.jsonl",
        "batch_size": 8,
        "max_steps": 2,
        "out": folder / "run",
    }
    train("dpo", **call)
    return call


def tree(out: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in out.rglob("*")
        if path.is_file() and path.name != LOCK
    }


def test_a_finished_run_is_not_resumed_as_another(
    finished: dict[str, Any], tmp_path: Path, pair_rows: list[dict[str, Any]]
) -> None:
    before = tree(finished["out"])
    other_data = tmp_path / "other.jsonl"
    other_data.write_text("".join(json.dumps(row) + "\n" for row in pair_rows[1:17]))
    other_model = tmp_path / "model"
    write_other_model(finished["model"], other_model)
    for method, changes, named in (
        ("ipo", {}, ['method was "dpo" and is now "ipo"', "tau", "beta"]),
        ("dpo", {"beta": 0.2}, ["beta was 0.1 and is now 0.2"]),
        ("dpo", {"max_steps": 3}, ["max_steps was 2 and is now 3"]),
        ("dpo", {"data": other_data}, ["data (its content) was"]),
        ("dpo", {"model": other_model}, ["model (its content) was", "reference (its content) was"]),
        ("dpo", {"eval_fraction": 0.2}, ["eval_fraction was 0.0 and is now 0.2", "eval_data"]),
        (
            "dpo",
            {"data": other_data, "beta": 0.3, "seed": 1},
            ["data (its content)", "beta was", "seed was 0 and is now 1"],
        ),
        ("kto", {"data": tmp_path / "nowhere.jsonl"}, ["method was"]),
    ):
        with pytest.raises(RunError, match="not the run that is to be resumed") as error:
            train(method, **{**finished, **changes}, resume=True)
        for words in named:
            assert words in str(error.value), (changes, str(error.value))
    assert tree(finished["out"]) == before


def write_other_model(source: Path, target: Path) -> None:
    shutil.copytree(source, target)
    weights = load_file(target / "model.safetensors")
    from safetensors.torch import save_file

    name = "model.norm.weight"
    save_file(
        {**weights, name: weights[name] * 1.5},
        target / "model.safetensors",
        metadata={"format": "pt"},
    )


def test_a_finished_run_without_its_model_makes_it_again(
    setting: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    before = train("dpo", out=out, **setting)
    made, metrics = model_bytes(out), [line["loss"] for line in before.metrics]
    shutil.rmtree(out / "model")
    again = train("dpo", out=out, resume=True, **setting)
    assert again.status == "finished" and model_bytes(out) == made
    assert [line["loss"] for line in again.metrics] == metrics


def test_a_last_step_that_breaks_the_weights_is_an_error(
    setting: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="weights that are not finite"):
        train(
            "dpo",
            out=tmp_path / "run",
            **{**setting, "learning_rate": 1e39, "max_steps": 1, "warmup_ratio": 0.0},
        )
    assert not (tmp_path / "run" / "model").exists()


def test_the_same_rows_under_another_name_are_the_same_data(
    finished: dict[str, Any], tmp_path: Path
) -> None:
    moved = tmp_path / "moved.jsonl"
    moved.write_bytes(Path(finished["data"]).read_bytes())
    before = tree(finished["out"])
    assert (
        train("dpo", **{**finished, "data": moved, "log_every": 3}, resume=True).status
        == "finished"
    )
    assert tree(finished["out"]) == before


def test_a_finished_run_on_a_disk_that_is_read_only_is_resumed_and_not_written(
    finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **more: Any) -> None:
        raise OSError(30, "Read-only file system")

    before = tree(finished["out"])
    monkeypatch.setattr("holdfast.files.tempfile.mkstemp", refuse)
    assert train("dpo", **finished, resume=True).status == "finished"
    with pytest.raises(RunError, match=r"beta was 0\.1 and is now 0\.2"):
        train("dpo", **{**finished, "beta": 0.2}, resume=True)
    with pytest.raises(OptionError, match="Read-only"):
        train("dpo", **finished)
    assert tree(finished["out"]) == before


@pytest.mark.parametrize("how", ["policy", "reward"])
def test_resuming_writes_a_report_that_is_missing(
    setting: dict[str, Any], tmp_path: Path, how: str
) -> None:
    call = {**setting, "out": tmp_path / "run", "max_steps": 2, "eval_fraction": 0.2}
    verb: Any = train if how == "policy" else train_reward
    name = "dpo" if how == "policy" else "bradley_terry"
    verb(name, **call)
    page = (tmp_path / "run" / "report.html").read_text()
    (tmp_path / "run" / "report.html").unlink()
    verb(name, **call, resume=True)
    again = (tmp_path / "run" / "report.html").read_text()
    assert again.rstrip().endswith("</html>") and abs(len(again) - len(page)) < 200


@pytest.mark.parametrize("lost", ["all", "half", "a line in the middle"])
def test_metrics_that_are_lost_are_told_before_training_and_change_no_weight(
    lost: str,
    tmp_path: Path,
    setting: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calm = train("dpo", out=tmp_path / "calm", **setting)
    out = stopped_after(2, monkeypatch, out=tmp_path / "run", **setting)
    metrics = out / "metrics.jsonl"
    lines = metrics.read_bytes().splitlines(keepends=True)
    if lost == "all":
        metrics.unlink()
    elif lost == "half":
        metrics.write_bytes(lines[0] + lines[1][: len(lines[1]) // 2])
    else:
        metrics.write_bytes(b"\0" * (len(lines[0]) - 1) + b"\n" + lines[1])
    capsys.readouterr()
    run = train("dpo", out=out, resume=True, **setting)
    said = capsys.readouterr().out
    assert said.index("metrics of some earlier steps are lost") < said.index("step 4/4")
    assert model_bytes(out) == model_bytes(calm.out)
    kept = {"all": [], "half": [1], "a line in the middle": [2]}[lost]
    assert [line["step"] for line in run.metrics] == [*kept, 3, 4]
    assert any("are lost" in note for note in run.record["notes"])


def test_a_log_is_cut_back_to_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2}\n{"a": 3}\n{"a"')
    assert cut_back(path, 18) == 0 and path.read_bytes() == b'{"a": 1}\n{"a": 2}\n'
    assert cut_back(path, 20) == 2 and path.read_bytes() == b'{"a": 1}\n{"a": 2}\n'
    assert cut_back(tmp_path / "none", 0) == 0 and not (tmp_path / "none").exists()


DAMAGE = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "list": lambda data: b"[1]",
    "zeros": lambda data: b"\0" * len(data),
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["manifest.json", "checkpoint.json", "weights.safetensors"])
def test_of_a_damaged_checkpoint_the_one_before_is_used(
    name: str, how: str, tmp_path: Path, setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = stopped_after(2, monkeypatch, out=tmp_path / "run", **setting)
    file = out / "checkpoints" / "step-00000002" / name
    file.write_bytes(DAMAGE[how](file.read_bytes()))
    if name == "checkpoint.json":  # damaged before its checksum was taken
        manifest = json.loads((file.parent / "manifest.json").read_text())
        manifest[name] = checkpoint._fingerprint(file)
        write_json(file.parent / "manifest.json", manifest)
    with pytest.warns(
        UserWarning, match=rf"step-00000002 is not whole \(.*{name.split('.')[0]}|cannot be read"
    ):
        run = train("dpo", out=out, resume=True, **setting)
    assert run.status == "finished" and [line["step"] for line in run.metrics] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "5",
        '{"status": "running"}',
        '{"status": 5, "identity": {}}',
        "\0" * 40,
        "[" * 100000,
    ],
)
def test_a_damaged_record_is_named(text: str, tmp_path: Path, setting: dict[str, Any]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"run\.json"):
        train("dpo", out=tmp_path / "run", resume=True, **setting)
    assert (tmp_path / "run" / "run.json").read_text() == text


# ------------------------------------------------------------ places


def test_places_that_cannot_be_written_are_one_error_each(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    for out, words in (
        (file, "is a file"),
        (file / "x" / "y", "lies under .*file', which is a file"),
        ("/dev/null", "is a file"),
        (tmp_path / ("x" * 300), "File name too long"),
        (tmp_path / "a\nb", "is no name for a file or folder"),
        ("", "is no name"),
        (None, "out must be a path, not None"),
        ("/proc/nowhere", "cannot be written"),
    ):
        with pytest.raises(OptionError, match=words):
            train("dpo", out=out, **setting)
    with pytest.raises(OptionError, match="reference_cache '/dev/null' is a file"):
        train("dpo", out=tmp_path / "run", reference_cache="/dev/null", **setting)
    assert file.read_text() == "kept" and Path("/dev/null").is_char_device()
    assert train("dpo", out=tmp_path / "run", **setting).status == "finished"


def test_a_disk_that_is_full_from_the_start_or_at_the_end_is_one_error(
    tmp_path: Path, setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(28, "No space left on device")

    def no_room(*args: Any, **more: Any) -> None:
        raise full

    monkeypatch.setattr(task, "save_pretrained", no_room)
    with pytest.raises(RunError, match="the model cannot be written: the disk is full"):
        train("dpo", out=tmp_path / "run", **setting)
    monkeypatch.undo()
    assert train("dpo", out=tmp_path / "run", resume=True, **setting).status == "finished"
    monkeypatch.setattr("holdfast.training.run.record.write_json", no_room)
    with pytest.raises(RunError, match="cannot be written: the disk is full"):
        train("dpo", out=tmp_path / "other", **setting)


def test_other_verbs_refuse_such_places_before_they_compute(
    tmp_path: Path, tiny_model_dir: Path, setting: dict[str, Any]
) -> None:
    from typer.testing import CliRunner

    from holdfast.cli import app

    file = tmp_path / "file"
    file.write_text("kept")
    data = str(setting["data"])
    for words, said in (
        (["check", data, "--out", str(file)], "is a file"),
        (
            ["evaluate", str(tiny_model_dir), "--data", data, "--out", str(file / "x.json")],
            "lies under",
        ),
        (
            ["evaluate", str(tiny_model_dir), "--data", data, "--report", str(tmp_path)],
            "is a folder",
        ),
        (["new-model", data, "--out", str(file / "m")], "lies under"),
        (["demo", "--out", str(file)], "is a file"),
        (["lab", "claims", "--out", str(file)], "is a file"),
        (["lab", "games", data, "--out", str(tmp_path / "a\nb")], "no name for a file or folder"),
    ):
        done = CliRunner().invoke(app, words)
        assert isinstance(done.exception, OptionError) and said in str(done.exception), (
            words,
            done.exception,
        )
    assert file.read_text() == "kept"


def test_a_page_is_replaced_whole_and_links_and_pipes_stay(tmp_path: Path) -> None:
    target, link = tmp_path / "target.html", tmp_path / "link.html"
    target.write_text("before")
    link.symlink_to(target)
    write_text(link, "after")
    assert link.is_symlink() and target.read_text() == "after"
    write_text(Path("/dev/null"), "gone")
    assert Path("/dev/null").is_char_device()
    write_text(tmp_path / ("n" * 250), "a name as long as the disk allows")
    with pytest.raises(OSError):
        write_text(tmp_path / ("n" * 260), "longer")
    assert sorted(path.name[:6] for path in tmp_path.iterdir()) == ["link.h", "n" * 6, "target"]


# ------------------------------------------------------------ settings, and the exit status


@pytest.mark.parametrize(
    "given",
    [
        {"beta": "0.1"},
        {"beta": None},
        {"beta": True},
        {"beta": torch.tensor(0.1)},
        {"beta": np.array([0.1])},
        {"beta": float("nan")},
        {"beta": 10**400},
        {"beta": -1.0},
        {"learning_rate": 10**400},
        {"batch_size": 10**30},
        {"seed": "0"},
        {"model": None},
        {"model": 3},
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused_by_name_before_anything_is_made(
    given: dict[str, Any], tmp_path: Path, setting: dict[str, Any]
) -> None:
    with pytest.raises(HoldfastError, match=f"{next(iter(given))} (must|is)"):
        train("dpo", out=tmp_path / "run", **{**setting, **given})
    assert not (tmp_path / "run" / "run.json").exists()


def test_scalars_of_numpy_are_numbers(tmp_path: Path, setting: dict[str, Any]) -> None:
    assert (
        type(split_options(METHODS["dpo"], {"beta": 10**30})[1]["beta"]) is float
    )  # torch takes no such whole number
    given = {
        "beta": np.float32(0.25),
        "max_steps": np.int64(1),
        "gradient_checkpointing": np.bool_(False),
    }
    record = train("dpo", out=tmp_path / "run", **{**setting, **given}).record
    assert record["settings"]["beta"] == 0.25 and record["options"]["max_steps"] == 1


@pytest.mark.parametrize(
    ("number", "status", "moment"), [(signal.SIGINT, 130, "steps"), (signal.SIGTERM, 143, "start")]
)
def test_the_command_line_ends_with_128_and_the_signal(
    number: int, status: int, moment: str, tmp_path: Path, setting: dict[str, Any]
) -> None:
    """While steps are taken, with a checkpoint; and before the first of them."""
    out = tmp_path / "run"
    words = [
        "train",
        "dpo",
        "--model",
        str(setting["model"]),
        "--data",
        str(setting["data"]),
        "--max-steps",
        "100000",
        "--out",
        str(out),
    ]
    going = subprocess.Popen(
        [sys.executable, "-c", COMMAND_LINE, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen = out / ("metrics.jsonl" if moment == "steps" else LOCK)
    until = time.monotonic() + 60
    while (
        not (seen.exists() and (moment == "start" or seen.stat().st_size))
        and time.monotonic() < until
    ):
        time.sleep(0.01)
    going.send_signal(number)
    _, err = going.communicate(timeout=60)
    assert going.returncode == status, err
    assert "Traceback" not in err
    if moment == "steps":
        assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
        assert list((out / "checkpoints").glob("step-*"))


COMMAND_LINE = """
import signal, sys
# a shell that starts tests in the background has it ignored
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv[0] = "holdfast"
from holdfast.cli import main
main()
"""


def test_a_run_with_another_average_is_not_resumed(
    tiny_model_dir: Path, pair_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    how = {"model": str(tiny_model_dir), "data": pair_rows, "out": tmp_path / "run", "max_steps": 1}
    train("sft", average="token_mean", **how)
    with pytest.raises(RunError, match='average was "token_mean" and is now'):
        train("sft", resume=True, **how)
    assert train("sft", average="token_mean", resume=True, **how).status == "finished"
