"""Stress tests: flaws at known rates, curves that fall, and a table that says who survives."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from holdfast.errors import DataError, OptionError
from holdfast.lab.commands import lab_app
from holdfast.lab.stress import Score, Stress, arm_named, difference, flaw_named, stress
from holdfast.lab.stress_text import TextPlan, plant, split, world_rows
from holdfast.lab.stress_world import cyclic
from holdfast.lab.verdict import over_seeds
from holdfast.lab.worlds.loglinear import compare, log_linear
from holdfast.types import Row, Where


def score(arm: str, rate: float, values: list[float], per_row: tuple[float, ...] = ()) -> Score:
    return Score("uniform", rate, arm, tuple(values), over_seeds(values), None, per_row)


def test_arms_are_told_the_rate_unless_given_another():
    assert arm_named("rdpo").told(0.3) == {"flip": 0.3}
    assert arm_named("rdpo").told(0.5) == {"flip": 0.49}
    assert arm_named("rdpo:flip=0.1,beta=2").told(0.3) == {"flip": 0.1, "beta": 2.0}
    assert arm_named("dpo").told(0.3) == {}
    with pytest.raises(OptionError, match="does not read"):
        arm_named("dpo:flip=0.1")
    with pytest.raises(OptionError, match="cannot read"):
        arm_named("dpo:beta=much")
    with pytest.raises(OptionError, match="did you mean rdpo"):
        arm_named("rdpoo")
    assert flaw_named("flips") == "uniform"
    with pytest.raises(OptionError, match="no flaw"):
        flaw_named("typo")


def test_survival_needs_evidence_either_way():
    steady, falling, unsure = [0.8, 0.81, 0.79], [0.6, 0.61, 0.59], [0.9, 0.7, 0.75]
    base = [0.8, 0.81, 0.79]
    scores = [score(arm, 0.0, base) for arm in "abc"]
    scores += [score("a", 0.4, [x - 0.01 for x in steady]), score("b", 0.4, falling), score("c", 0.4, unsure)]
    rulings = {row["arm"]: row["ruling"] for row in Stress("q", tuple(scores), {}).survival()}
    assert rulings == {"a": "survives", "b": "falls", "c": "undecided"}


def test_a_fall_has_the_wider_of_its_two_intervals():
    first = score("a", 0.0, [0.9, 0.9], (1.0, 1.0, 1.0, 1.0, 0.5, 1.0))
    second = score("a", 0.4, [0.7, 0.7], (0.0, 1.0, 1.0, 1.0, 0.5, 0.5))
    fall = difference(first, second)
    assert fall is not None
    assert fall.mean == pytest.approx(0.2)
    assert fall.low < 0.2 < fall.high  # seeds alone would say exactly 0.2


def test_the_world_degrades_and_rdpo_holds(tmp_path):
    found = stress("world", flaw=("uniform",), rates=(0.0, 0.3), methods=("dpo", "rdpo"), seeds=4, out=tmp_path, workers=1, quiet=True)
    rulings = {row["arm"]: row["ruling"] for row in found.survival()}
    assert rulings["dpo"] == "falls"
    assert found.of("uniform", "rdpo")[1].mean > found.of("uniform", "dpo")[1].mean + 0.2
    assert found.of("uniform", "dpo")[0].values == found.of("uniform", "rdpo")[0].values  # told 0, rdpo is dpo
    tuned = found.of("uniform", "dpo, best beta")[1].mean
    assert tuned > found.of("uniform", "dpo")[1].mean + 0.2  # random flips shrink margins and hardly turn them
    assert abs(found.of("uniform", "dpo")[1].realized - 0.3) < 0.02
    html = (tmp_path / "stress.html").read_text()
    assert "Who survives" in html
    assert json.loads((tmp_path / "stress.json").read_text())["survival"] == json.loads(json.dumps(found.survival()))
    assert (tmp_path / "stress-uniform.png").stat().st_size > 1000


def test_cycles_turn_prompts_into_circles():
    world = log_linear([0], prompts=20, answers=5, features=2)
    labels = cyclic(world, compare(world, 20000), 1.0)
    ahead = (labels.rejected_WN - labels.chosen_WN) % 5 <= 2
    assert abs(ahead.double().mean() - 0.9) < 0.01
    assert not cyclic(world, compare(world, 500), 0.0).wrong_WN.any()


def test_no_prompt_is_on_both_sides_and_only_training_rows_are_flawed():
    rows = world_rows(300).rows
    train, held = split(rows, 200, 50)
    assert not {row.prompt for row in train} & {row.prompt for row in held}
    assert len(held) <= 50
    assert len(train) <= 200
    flawed, planted = plant(train, "uniform", 0.5, 0)
    assert 0.3 < planted.realized < 0.7
    assert sum(a.chosen == b.rejected for a, b in zip(train, flawed, strict=True)) == planted.hit
    cycled, planted = plant(train, "cycle", 0.5, 0)
    assert planted.flaw in ("cycles", "triples")
    assert len(cycled) >= len(train)
    lonely = [Row(Where("f", i + 1), prompt="p", chosen="a", rejected="b") for i in range(3)]
    with pytest.raises(DataError, match="at least two"):
        split(lonely, 10, 10)


def test_rows_of_text_go_through_the_whole_of_it(tmp_path):
    args = ["stress", "--data", "text-world", "--rates", "0,0.4", "--methods", "dpo", "--seeds", "1", "--rows", "24", "--held-out", "8"]
    ran = CliRunner().invoke(lab_app, [*args, "--workers", "1", "--out", str(tmp_path), "--json"], catch_exceptions=False)
    assert ran.exit_code == 0
    facts = json.loads((tmp_path / "stress.json").read_text())
    assert {s["rate"] for s in facts["scores"]} == {0.0, 0.4}
    assert all(0 <= s["mean"] <= 1 for s in facts["scores"])
    assert facts["facts"]["held-out rows"] == 8


def test_rates_and_seeds_are_checked(tmp_path):
    with pytest.raises(OptionError, match="between 0 and 1"):
        stress("world", rates=(0.0, 1.5), out=tmp_path)
    with pytest.raises(OptionError, match="at least 1"):
        stress("world", seeds=0, out=tmp_path)


def test_rows_too_long_are_set_aside_when_asked(tmp_path):
    rows = list(world_rows(60).rows)
    rows[3] = replace(rows[3], prompt=rows[3].prompt + " word" * 3000)
    with pytest.raises(DataError, match="tokens"):
        TextPlan.prepare(rows, tmp_path / "a", **SMALL_PLAN, quarantine=False)
    plan = TextPlan.prepare(rows, tmp_path / "b", **SMALL_PLAN, quarantine=True)
    assert plan.facts()["set aside"] == 1
    assert len(plan.train) + len(plan.held) == 59
    assert (tmp_path / "b" / "quarantine.jsonl").is_file()


SMALL_PLAN = {"model": None, "rows": 100, "held_out": 100, "epochs": 1.0, "learning_rate": 1e-4, "beta": None, "seeds": 1}
