"""Self-play as a user would run it: a start, prompts, a judge; stopped and gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

import holdfast
from holdfast.errors import DataError, NeedError, OptionError, RunError
from holdfast.games import ROLES
from holdfast.models.load import load_tokenizer
from holdfast.training.prompts import read_prompts, split_prompts
from holdfast.training.sampler import HFSampler
from holdfast.training.selfplay import selfplay as module
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
    assert record["status"] == "finished" and len(record["standings"]["rounds"]) == 3
    first, *_, last = record["standings"]["rounds"]
    assert first["win_rate"]["value"] == 0.5 and first["kl"]["value"] == 0
    assert 0 < last["win_rate"]["value"] < 1 and last["kl"]["value"] > 0.01
    table = np.array(record["standings"]["win_TU"])
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
        gaps(policy, load_tokenizer(policy), rows, {}, tmp_path / "set_aside.jsonl")
        for policy in (played.policy(0), played.policy(1))
    )
    moved = [b - a for a, b in zip(before, after, strict=True) if a is not None and b is not None]
    assert np.mean(moved) > 0.5
    assert record["draws"][0]["comparisons"] == len(rows) and set(record["losses"][0]) == {
        "first",
        "last",
    }
    page = (played.out / "report.html").read_text()
    assert "Everyone against everyone" in page and (played.out / "exploitability.png").is_file()
    assert played.policy().parent.name == "run" and played.policy(0) == Path(record["start"])


def test_stopped_anywhere_it_goes_on_to_the_same_numbers(
    tmp_path: Path, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    """Stopped after a round's drawing, in its training's place, and before the last look."""
    whole = selfplay("gpo", out=tmp_path / "whole", **how)
    for number, place in enumerate(("train", "standings")):
        own, calls = getattr(module, place), []

        def stop(
            *args: Any, own: Any = own, calls: list[int] = calls, place: str = place, **more: Any
        ) -> Any:
            calls.append(1)
            if len(calls) == (2 if place == "train" else 1):
                raise KeyboardInterrupt
            return own(*args, **more)

        monkeypatch.setattr(module, place, stop)
        with pytest.raises(KeyboardInterrupt):
            selfplay("gpo", out=tmp_path / f"cut{number}", **how)
        monkeypatch.setattr(module, place, own)
        with pytest.raises(RunError, match="already holds self-play"):
            selfplay("gpo", out=tmp_path / f"cut{number}", **how)
        again = selfplay("gpo", out=tmp_path / f"cut{number}", resume=True, **how)
        assert again.record["standings"] == whole.record["standings"]
        one, two = (load_file(play.policy() / "model.safetensors") for play in (whole, again))
        assert all((one[name] == two[name]).all() for name in one)
    with pytest.raises(RunError, match="samples was 3 and is now 4"):
        selfplay("gpo", out=tmp_path / "cut0", resume=True, **{**how, "samples": 4})
    with pytest.raises(
        RunError,
        match=r"temperature was 1\.0 and is now 0\.5; learning_rate was 0\.002 and is now 0\.001",
    ):
        selfplay(
            "gpo",
            out=tmp_path / "cut0",
            resume=True,
            **{**how, "temperature": 0.5, "learning_rate": 1e-3},
        )
    (again.out / "report.html").unlink()
    assert (
        "</html>"
        in (selfplay("gpo", out=again.out, resume=True, **how).out / "report.html").read_text()
    )
    more = selfplay("gpo", out=tmp_path / "cut0", resume=True, **{**how, "rounds": 3})
    assert (
        more.record["standings"]["rounds"][1]["kl"] == whole.record["standings"]["rounds"][1]["kl"]
    )


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
    assert played.record["reference"] == roles.reference
    assert played.record["pairing"] == (
        "independent" if roles.pairing == "independent" else "best_worst"
    )
    for number in (1, 2):
        folder = played.out / f"rounds/{number:03d}"
        rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
        assert all(("earlier_gap" in row) == (roles.earlier is not None) for row in rows)
        assert (folder / "half" / "model").is_dir() == (roles.opponent == "midpoint")
        first = json.loads((folder / "run" / "metrics.jsonl").read_text().splitlines()[0])
        assert np.isfinite(first["loss"])
        if (
            roles.earlier == "current" and roles.reference == "start" and number == 1
        ):  # current is the reference: the gap is its own
            assert first["step"] == 1


def test_a_mixtures_weights_are_importance_weights(tiny_model_dir: Path, how: dict[str, Any]):
    """Against itself all weigh the same; share 0 too; else a more probable answer of the start
    weighs more.
    """
    drawn = HFSampler(8, progress=False)(tiny_model_dir, [[0, 5, 6], [0, 7]], samples=3, seed=1)
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
    assert played.record["judge"] == str(judge.out)


def test_refusals(tmp_path: Path, how: dict[str, Any]):
    for bad, error, match in (
        ({"samples": 1}, OptionError, "samples is 1; it must be at least 2"),
        ({"rounds": 0}, OptionError, "rounds is 0"),
        ({"flip": 0.1}, OptionError, "gpo does not read flip"),
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
