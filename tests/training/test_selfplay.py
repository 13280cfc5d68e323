"""Self-play as a user would run it: a start, prompts, a judge; stopped and gone on with."""

from __future__ import annotations

import json
import shutil
import signal
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

import holdfast
from holdfast.errors import DataError, NeedError, OptionError, RunError
from holdfast.games import ROLES
from holdfast.generation import Generation, hugging_face_backend
from holdfast.models.load import load_tokenizer
from holdfast.signals import Interrupted
from holdfast.training.progress import Progress
from holdfast.training.prompts import read_prompts, split_prompts
from holdfast.training.run.rerun import rerun
from holdfast.training.selfplay import stages, watch
from holdfast.training.selfplay.columns import gaps, mixture_weights
from holdfast.training.selfplay.report import standings
from holdfast.training.selfplay.selfplay import SelfPlay, selfplay

PROMPTS = [
    f"the {color} {what} {n}"
    for n in range(4)
    for color in ("red", "blue")
    for what in ("cat", "dog")
]


def shorter(prompts: Any, first: Any, second: Any) -> list[float]:
    """Prefers the shorter answer, in nine of ten where lengths differ much."""
    return [1 / (1 + np.exp((len(a) - len(b)) / 5)) for a, b in zip(first, second, strict=True)]


@pytest.fixture()
def how(tiny_model_dir: Path) -> dict[str, Any]:
    return {
        "model": tiny_model_dir,
        "data": PROMPTS,
        "judge": shorter,
        "rounds": 2,
        "samples": 3,
        "prompts": 8,
        "watched": 6,
        "max_new_tokens": 12,
        "learning_rate": 2e-3,
        "batch_size": 4,
        "epochs": 3.0,
        "warmup_ratio": 0.0,
    }


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    return {}


def test_rounds_leave_policies_numbers_and_a_page(tmp_path: Path, how: dict[str, Any]):
    played = selfplay("gpo", out=tmp_path / "play", beta=2.0, **how)
    record = played.record
    assert record["status"] == "finished" and len(record["results"]["standings"]["rounds"]) == 3
    first, *_, last = record["results"]["standings"]["rounds"]
    assert first["win_rate"]["value"] == 0.5 and first["kl"]["value"] == 0
    assert 0 < last["win_rate"]["value"] < 1 and last["kl"]["value"] > 0.01
    table = np.array(record["results"]["standings"]["win_TU"])
    assert np.allclose(table + table.T, 1)
    rows = [
        json.loads(line)
        for line in (played.out / "rounds/001/pairs.jsonl").read_text().splitlines()
    ]
    assert all(row["chosen_log_odds"] > row["rejected_log_odds"] for row in rows)
    # What 6 steps of 37,792 weights teach is the round's own 8 comparisons: the gap of chosen and
    # rejected grows by 3.2 nats on average over 30 seeds (standard deviation 0.9, least 1.5), while
    # the win rate on other prompts stays at 0.50 (standard deviation 0.05 over 200 seeds).
    before, after = (
        gaps(policy, load_tokenizer(policy), rows, {}, tmp_path / "quarantine.jsonl")
        for policy in (played.policy(0), played.policy(1))
    )
    moved = [b - a for a, b in zip(before, after, strict=True) if a is not None and b is not None]
    assert np.mean(moved) > 0.5
    first_round = record["rounds"][0]
    assert first_round["drawn"]["comparisons"] == len(rows)
    assert set(first_round["losses"]) == {"first", "last"}
    page = (played.out / "report.html").read_text()
    assert "Everyone against everyone" in page and (played.out / "exploitability.png").is_file()
    assert played.policy().parent.name == "002"
    assert played.policy(0) == Path(record["selfplay"]["start"])


def test_stopped_anywhere_it_goes_on_to_the_same_numbers(
    tmp_path: Path, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    """Stopped after a round's drawing, before the last look, and by a signal in the middle of the
    second round's training, which leaves a checkpoint.
    """
    whole = selfplay("gpo", out=tmp_path / "whole", **how)
    for place, owner, name, call in (
        ("drawn", stages, "train_stage", 2),
        ("looked", watch, "standings", 1),
        ("trained", Progress, "step", 6 + 3),  # 6 steps a round
        ("crashed", Progress, "step", 6 + 3),  # after lines of metrics and before a checkpoint
    ):
        out = tmp_path / place
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, stopping(getattr(owner, name), call, place == "trained"))
            with pytest.raises(Interrupted if place == "trained" else KeyboardInterrupt):
                selfplay("gpo", out=out, **how)
        assert (place == "trained") == (out / "rounds/002/checkpoints/step-00000003").is_dir()
        with pytest.raises(RunError, match="already holds a run"):
            selfplay("gpo", out=out, **how)
        again = selfplay("gpo", out=out, resume=True, **how)
        assert again.record["results"] == whole.record["results"]
        assert numbers(again) == numbers(whole)
        for number in (1, 2):
            one, two = (
                load_file(play.policy(number) / "model.safetensors") for play in (whole, again)
            )
            assert all((one[name] == two[name]).all() for name in one)
    with pytest.raises(RunError, match="samples was 3 and is now 4"):
        selfplay("gpo", out=tmp_path / "drawn", resume=True, **{**how, "samples": 4})
    with pytest.raises(
        RunError,
        match=r"temperature was 1\.0 and is now 0\.5; learning_rate was 0\.002 and is now 0\.001",
    ):
        selfplay(
            "gpo",
            out=tmp_path / "drawn",
            resume=True,
            **{**how, "temperature": 0.5, "learning_rate": 1e-3},
        )
    (again.out / "report.html").unlink()
    assert (
        "</html>"
        in (selfplay("gpo", out=again.out, resume=True, **how).out / "report.html").read_text()
    )
    more = selfplay("gpo", out=tmp_path / "drawn", resume=True, **{**how, "rounds": 3})
    first, second = (play.record["results"]["standings"]["rounds"][1] for play in (more, whole))
    assert first["kl"] == second["kl"]
    assert [line["round"] for line in more.metrics] == [1] * 6 + [2] * 6 + [3] * 6
    assert [line["step"] for line in more.metrics] == list(range(1, 19))


def stopping(own: Any, call: int, by_signal: bool) -> Any:
    """The function, stopped at this call of it."""
    calls = count(1)

    def stop(*args: Any, **more: Any) -> Any:
        if next(calls) != call:
            return own(*args, **more)
        if not by_signal:
            raise KeyboardInterrupt
        return signal.raise_signal(signal.SIGTERM)

    return stop


def numbers(played: SelfPlay) -> list[dict[str, Any]]:
    """The metrics without times."""
    timed = ("seconds", "tokens_per_second", "memory/peak_gib")
    return [{key: x for key, x in line.items() if key not in timed} for line in played.metrics]


def test_a_round_whose_policy_was_deleted_is_trained_again_and_so_is_what_came_after(
    tmp_path: Path, how: dict[str, Any]
):
    played = selfplay("gpo", out=tmp_path / "play", **how)
    before, weights = numbers(played), (played.model_path / "model.safetensors").read_bytes()
    shutil.rmtree(played.policy(1))
    shutil.rmtree(played.model_path)
    again = selfplay("gpo", out=tmp_path / "play", resume=True, **how)
    assert numbers(again) == before
    assert (again.model_path / "model.safetensors").read_bytes() == weights


def test_it_is_a_run_like_any_other(tmp_path: Path, how: dict[str, Any]):
    """One record, one log; its last policy loads, and the call can be made again."""
    (tmp_path / "judge.py").write_text(
        "def shorter(prompts, first, second):\n"
        "    return [0.9 if len(a) < len(b) else 0.5 for a, b in zip(first, second)]\n"
    )
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS) + "\n")
    how |= {"judge": f"{tmp_path / 'judge.py'}:shorter", "data": tmp_path / "prompts.txt"}
    played = selfplay("dpo", out=tmp_path / "play", **{**how, "rounds": 1})
    assert {path.name for path in played.out.rglob("*.json") if path.name == "run.json"}
    assert (
        len(list(played.out.rglob("run.json"))) == len(list(played.out.rglob("metrics.jsonl"))) == 1
    )
    model, tokenizer = played.load()
    assert sum(p.numel() for p in model.parameters()) and tokenizer.eos_token_id is not None
    again = rerun(played.out, out=tmp_path / "again")
    assert again.record["results"] == played.record["results"]
    with pytest.raises(RunError, match="a run of another kind"):
        run = holdfast.train(
            "dpo",
            model=how["model"],
            data=[{"prompt": "a", "chosen": "b", "rejected": "c"}],
            out=tmp_path / "run",
            max_steps=1,
        )
        selfplay("dpo", out=run.out, resume=True, **how)


def test_an_adapter_is_trained_further_in_each_round(tmp_path: Path, how: dict[str, Any]):
    played = selfplay("gpo", out=tmp_path / "play", lora_rank=2, **how)
    one, two = (load_file(played.policy(n) / "adapter_model.safetensors") for n in (1, 2))
    assert one.keys() == two.keys() and any((one[name] != two[name]).any() for name in one)


@pytest.mark.parametrize("method", ["nash_md", "optimistic", "egpo", "apo"])
def test_solvers_twins_find_what_they_read(tmp_path: Path, how: dict[str, Any], method: str):
    """Two rounds, so that before, current and start are three policies."""
    settings = {"eta": 1.0} if method == "sppo" else {}
    played = selfplay(
        method,
        out=tmp_path / method,
        **{**how, "epochs": 1.0, "prompts": 4, "watched": 2},
        **settings,
    )
    roles = ROLES[method]
    assert played.record["selfplay"]["reference"] == roles.reference
    assert played.record["selfplay"]["pairing"] == (
        "independent" if roles.pairing == "independent" else "best_worst"
    )
    for number in (1, 2):
        folder = played.out / f"rounds/{number:03d}"
        rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
        assert all(("earlier_gap" in row) == (roles.earlier is not None) for row in rows)
        assert (folder / "half" / "model").is_dir() == (roles.opponent == "midpoint")
        lines = [line for line in played.metrics if line["round"] == number]
        first = lines[0]
        assert np.isfinite(first["loss"])
        if (
            roles.earlier == "current" and roles.reference == "start" and number == 1
        ):  # current is the reference: the gap is its own
            assert first["step"] == 1


def test_a_mixtures_weights_are_importance_weights(tiny_model_dir: Path, how: dict[str, Any]):
    """Against itself all weigh the same; share 0 too; else a more probable answer of the start
    weighs more.
    """
    how = Generation(8, seed=1)
    generator = hugging_face_backend(progress=False)(tiny_model_dir)
    drawn = generator([[0, 5, 6], [0, 7]], samples=3, seeds=how.seeds(2), generation=how)
    assert np.allclose(mixture_weights(tiny_model_dir, tiny_model_dir, drawn, 0.5), 1 / 3)


@pytest.mark.parametrize("method", ["dpo", "ipo"])
def test_any_method_of_the_table_may_be_played(tmp_path: Path, how: dict[str, Any], method: str):
    played = selfplay(
        method,
        out=tmp_path / method,
        pairing="independent",
        reference="start",
        **{**how, "rounds": 1},
    )
    assert played.record["method"] == method and played.record["settings"]


def test_a_preference_model_judges(
    tmp_path: Path, how: dict[str, Any], pair_rows: list[dict[str, Any]]
):
    judge = holdfast.train_reward(
        "general_preference",
        model=how["model"],
        data=pair_rows,
        out=tmp_path / "judge",
        dim=4,
        max_steps=2,
        eval_fraction=0.0,
    )
    played = selfplay(
        "gpo", out=tmp_path / "play", **{**how, "judge": judge.out, "rounds": 1, "data": pair_rows}
    )
    assert played.record["selfplay"]["judge"] == str(judge.out)


def test_refusals(tmp_path: Path, how: dict[str, Any]):
    for bad, error, match in (
        ({"samples": 1}, OptionError, "samples is 1; it must be at least 2"),
        ({"rounds": 0}, OptionError, "rounds is 0"),
        ({"flip_rate": 0.1}, OptionError, "gpo does not read flip_rate"),
        ({"pairing": "all"}, OptionError, "pairing must be one of best_worst, independent"),
        ({"reference": "me"}, OptionError, "reference must be one of current, start"),
        ({"judge": "nowhere"}, OptionError, "does not name a judge"),
        ({"data": []}, DataError, "no prompt"),
        ({"data": ["one"]}, DataError, "two prompts"),
        ({"judge": lambda p, a, b: [2.0] * len(a)}, OptionError, "the judge gave 2"),
        ({"temperature": 0.0}, RunError, "no prompt has two answers that differ"),
    ):
        with pytest.raises(error, match=match):
            selfplay("gpo", out=tmp_path / f"bad{match[:5]}", **{**how, **bad})
    with pytest.raises(NeedError, match="rationale"):
        selfplay("rationale_dpo", out=tmp_path / "needs", **how)


def test_prompts_come_from_anything_that_has_some(tmp_path: Path, pair_rows: list[dict[str, Any]]):
    assert read_prompts(pair_rows) == [row["prompt"] for row in pair_rows]
    alone = tmp_path / "prompts.jsonl"
    alone.write_text('{"prompt": "why"}\n{"prompt": "why"}\n{"prompt": "how", "group": "g"}\n')
    assert read_prompts(alone) == ["why", "how"]
    lines = tmp_path / "prompts.txt"
    lines.write_text("why\nhow\n")
    assert read_prompts(lines) == ["why", "how"]
    training, watching = split_prompts(list("abcdef"), 10, seed=0)
    assert len(watching) == 3 and sorted(training + watching) == list("abcdef")


def test_standings_by_hand():
    """One prompt, one answer a round, in a circle: round 1 beats 0, 2 beats 1, 0 beats 2, each with
    0.9.
    """
    circle = np.array([[[0.5, 0.1, 0.9], [0.9, 0.5, 0.1], [0.1, 0.9, 0.5]]])
    watched = [{"kl_N": [float(t)], "length": 1.0, "cut_off": 0.0} for t in range(3)]
    found = standings(circle, rounds=2, samples=1, watched=watched, seed=0)["rounds"]
    assert [row["win_rate"]["value"] for row in found] == [0.5, 0.9, pytest.approx(0.1)]
    assert [row["exploitability"] for row in found] == pytest.approx([0.4, 0.4, 0.4])
    assert found[2]["exploited_by"] == 0 and found[2]["mixture_exploitability"] == pytest.approx(
        0.0
    )
    assert found[1]["mixture_exploitability"] == pytest.approx(
        max(0.7 - 0.5, 0, (0.1 + 0.9) / 2 - 0.5)
    )


def test_the_command_line(tmp_path: Path, how: dict[str, Any]):
    from holdfast.cli import app

    verdict = "0.9 if len(a) < len(b) else 0.1 if len(a) > len(b) else 0.5"
    (tmp_path / "judge.py").write_text(
        f"def shorter(prompts, first, second):\n    return [{verdict} for a, b in "
        "zip(first, second)]\n"
    )
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS) + "\n")
    judge = f"{tmp_path / 'judge.py'}:shorter"
    line = [
        "selfplay",
        "--model",
        str(how["model"]),
        "--data",
        str(tmp_path / "prompts.txt"),
        "--judge",
        judge,
    ]
    line += [
        "--out",
        str(tmp_path / "play"),
        "--rounds",
        "1",
        "--samples",
        "2",
        "--prompts",
        "4",
        "--watched",
        "2",
    ]
    line += ["--max-new-tokens", "8"]
    done = CliRunner().invoke(app, [*line, "--setting", "beta=3", "--max-steps", "1"])
    assert done.exit_code == 0, done.output
    assert SelfPlay(tmp_path / "play").record["settings"] == {"beta": 3.0}
    assert isinstance(CliRunner().invoke(app, [*line, "--setting", "beta"]).exception, OptionError)


def test_a_win_rate_of_nan_is_no_exploitability_of_0():
    watched = [{"kl_N": [0.0], "length": 1.0, "cut_off": 0.0}] * 2
    found = standings(np.full((1, 2, 2), np.nan), rounds=1, samples=1, watched=watched, seed=0)[
        "rounds"
    ][1]
    assert np.isnan(found["exploitability"]) and np.isnan(found["mixture_exploitability"])
