"""Stress tests: flaws at known rates, curves that fall, and a table that says who survives."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from holdfast.data import Reading
from holdfast.errors import DataError, NeedError, OptionError
from holdfast.lab.commands import lab_app
from holdfast.lab.stress.arms import arm_named, flaw_named
from holdfast.lab.stress.result import Score, Stress, difference
from holdfast.lab.stress.stress import stress
from holdfast.lab.stress.text import TextPlan, plant, split, world_rows
from holdfast.lab.stress.world import cyclic
from holdfast.lab.worlds import text
from holdfast.lab.worlds.loglinear import compare, log_linear
from holdfast.lab.worlds.needs import further_for, told
from holdfast.methods import METHODS
from holdfast.stats.seeds import over_seeds
from holdfast.types import Row, Where


def score(arm: str, rate: float, values: list[float], per_row: tuple[float, ...] = ()) -> Score:
    return Score("uniform", rate, arm, tuple(values), over_seeds(values), None, per_row)


def test_arms_are_told_the_rate_unless_given_another():
    assert arm_named("rdpo").told(0.3) == {"flip_rate": 0.3}
    assert arm_named("rdpo").told(0.5) == {"flip_rate": 0.49}
    assert arm_named("rdpo:flip_rate=0.1,beta=2").told(0.3) == {"flip_rate": 0.1, "beta": 2.0}
    assert arm_named("dpo").told(0.3) == {}
    assert (
        arm_named("rdpo:flip_rate=0.1,reduction=groups:k=2,step=0.5").reduction
        == "groups:k=2,step=0.5"
    )
    with pytest.raises(OptionError, match="no reduction"):
        arm_named("dpo:reduction=cvaar")
    with pytest.raises(OptionError, match="does not read"):
        arm_named("dpo:flip_rate=0.1")
    with pytest.raises(OptionError, match="cannot read"):
        arm_named("dpo:beta=much")
    with pytest.raises(OptionError, match="did you mean rdpo"):
        arm_named("rdpoo")
    assert flaw_named("uniform") == "uniform"
    with pytest.raises(OptionError, match="no flaw"):
        flaw_named("typo")


def test_survival_needs_evidence_either_way():
    steady, falling, unsure = [0.8, 0.81, 0.79], [0.6, 0.61, 0.59], [0.9, 0.7, 0.75]
    base = [0.8, 0.81, 0.79]
    scores = [score(arm, 0.0, base) for arm in "abc"]
    scores += [
        score("a", 0.4, [x - 0.01 for x in steady]),
        score("b", 0.4, falling),
        score("c", 0.4, unsure),
    ]
    rulings = {row["arm"]: row["ruling"] for row in Stress("q", tuple(scores), {}).survival()}
    assert rulings == {"a": "survives", "b": "falls", "c": "undecided"}


def test_what_did_not_learn_does_not_survive():
    flat, poor, good = [0.5, 0.52, 0.49], [0.53, 0.531, 0.529], [0.8, 0.81, 0.79]
    scores = [
        replace(score(arm, rate, x), chance=0.5)
        for arm, x in (("a", flat), ("b", poor), ("c", good))
        for rate in (0.0, 0.4)
    ]
    found = Stress("q", tuple(scores), {})
    rulings = {row["arm"]: (row["ruling"], row["why"]) for row in found.survival()}
    assert rulings["a"][0] == rulings["b"][0] == "inconclusive" and rulings["c"][0] == "survives"
    assert (
        "not shown to be above chance (0.500)" in rulings["a"][1]
        and "so near chance" in rulings["b"][1]
    )
    assert [said[0] for said in found.inconclusive] == ["a", "b"]
    nan = replace(scores[4], chance=float("nan"))  # of NaN nothing is above
    assert Stress("q", (nan, scores[5]), {}).survival()[0]["ruling"] == "inconclusive"


def test_too_few_seeds_are_said_before_the_compute_is_spent(tmp_path, capsys, monkeypatch):
    from holdfast.lab.stress import stress as module

    def spent(*_, **__):
        assert "note: 2 seeds" in capsys.readouterr().err
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_all", spent)
    with pytest.raises(KeyboardInterrupt):
        stress("world", rates=(0.0, 0.3), methods=("dpo",), seeds=2, out=tmp_path)
    assert module.seeds_said(3, rows=True) is None and "1 seed" in module.seeds_said(1, rows=False)


@pytest.mark.parametrize(
    "options",
    [
        {"rates": (0.0, float("nan"))},
        {"rates": ()},
        {"rates": (0.0, 1.5)},
        {"seeds": 0},
        {"seeds": 2.5},
        {"beta": 0.0},
        {"beta": float("nan")},
        {"rows": 0},
        {"epochs": float("nan")},
        {"learning_rate": -1.0},
    ],
)
def test_options_of_a_stress_test(options, tmp_path):
    with pytest.raises(OptionError, match="must"):
        stress("world", out=tmp_path, quiet=True, **options)


def test_a_fall_has_the_wider_of_its_two_intervals():
    first = score("a", 0.0, [0.9, 0.9], (1.0, 1.0, 1.0, 1.0, 0.5, 1.0))
    second = score("a", 0.4, [0.7, 0.7], (0.0, 1.0, 1.0, 1.0, 0.5, 0.5))
    fall = difference(first, second)
    assert fall is not None
    assert fall.value == pytest.approx(0.2)
    assert fall.low < 0.2 < fall.high  # seeds alone would say exactly 0.2


def test_the_world_degrades_and_rdpo_holds(tmp_path):
    found = stress(
        "world",
        flaw=("uniform",),
        rates=(0.0, 0.3),
        methods=("dpo", "rdpo"),
        seeds=4,
        out=tmp_path,
        workers=1,
        quiet=True,
    )
    rulings = {row["arm"]: row["ruling"] for row in found.survival()}
    assert rulings["dpo"] == "falls"
    assert found.of("uniform", "dpo")[0].chance < -0.5 < found.of("uniform", "dpo")[0].interval[0]
    assert found.of("uniform", "rdpo")[1].mean > found.of("uniform", "dpo")[1].mean + 0.2
    assert (
        found.of("uniform", "dpo")[0].values == found.of("uniform", "rdpo")[0].values
    )  # told 0, rdpo is dpo
    tuned = found.of("uniform", "dpo, best beta")[1].mean
    assert (
        tuned > found.of("uniform", "dpo")[1].mean + 0.2
    )  # random flips shrink margins and hardly turn them
    assert abs(found.of("uniform", "dpo")[1].realized - 0.3) < 0.02
    html = (tmp_path / "stress.html").read_text()
    assert "Who survives" in html
    assert json.loads((tmp_path / "stress.json").read_text())["survival"] == json.loads(
        json.dumps(found.survival())
    )
    assert (tmp_path / "stress-uniform.png").stat().st_size > 1000


def test_cycles_turn_prompts_into_circles():
    world = log_linear([0], prompts=20, answers=5, features=2)
    labels = cyclic(world, compare(world, 20000), 1.0)
    ahead = (labels.rejected_WN - labels.chosen_WN) % 5 <= 2
    assert abs(ahead.double().mean() - 0.9) < 0.01
    assert not cyclic(world, compare(world, 500), 0.0).wrong_WN.any()


def test_no_prompt_is_on_both_sides_and_only_training_rows_are_flawed():
    rows = world_rows(300).rows
    train, held, unit = split(rows, 200, 50)
    assert not {row.prompt for row in train} & {row.prompt for row in held}
    assert len(held) <= 50
    assert len(train) <= 200
    flawed, planted = plant(train, "uniform", 0.5, 0, False)
    assert 0.3 < planted.realized < 0.7
    assert sum(a.chosen == b.rejected for a, b in zip(train, flawed, strict=True)) == planted.hit
    cycled, planted = plant(train, "cycles", 0.5, 0, False)
    assert planted.flaw in ("cycles", "triples")
    assert len(cycled) >= len(train)
    with pytest.raises(DataError, match="at least two"):
        split(rows[:1], 10, 10)
    assert unit == "prompt"


def test_rows_of_one_prompt_are_held_out_by_rater_or_one_by_one():
    voters = [
        Row(Where("f", i + 1), prompt="which film?", chosen="a", rejected="b", rater=f"r{i % 10}")
        for i in range(60)
    ]
    train, held, unit = split(voters, 100, 100)
    assert unit == "rater" and len(train) + len(held) == 60
    assert not {row.rater for row in train} & {row.rater for row in held}
    assert len({row.rater for row in held}) == 2
    train, held, unit = split([replace(row, rater=None) for row in voters], 20, 5)
    assert (unit, len(train), len(held)) == ("row", 20, 5)
    places = [row.where.line for row in train]
    assert places == sorted(places) and places != list(
        range(1, 21)
    )  # drawn from all of the file, in its order


def test_rows_of_text_go_through_the_whole_of_it(tmp_path):
    args = [
        "stress",
        "--data",
        "text-world",
        "--rates",
        "0,0.4",
        "--methods",
        "dpo",
        "--seeds",
        "1",
        "--rows",
        "24",
        "--held-out",
        "8",
    ]
    ran = CliRunner().invoke(
        lab_app, [*args, "--workers", "1", "--out", str(tmp_path), "--json"], catch_exceptions=False
    )
    assert ran.exit_code == 0
    facts = json.loads((tmp_path / "stress.json").read_text())
    assert {s["rate"] for s in facts["scores"]} == {0.0, 0.4}
    assert all(0 <= s["mean"] <= 1 for s in facts["scores"])
    assert facts["facts"]["held-out rows"] == 8


def test_every_method_can_be_stressed_on_tables_or_is_refused_with_the_reason():
    """Everything but reasons in words, and what is read off single tokens, an exact table has."""
    refused = {}
    for name, method in METHODS.items():
        try:
            further_for(method, seed=0)
        except NeedError as error:
            refused[name] = error.need
            assert "the log-linear world has none" in str(error) and "text-world" in str(error)
            assert str(pickle.loads(pickle.dumps(error))) == str(
                error
            )  # it may be raised in a worker process
    assert {"rationale_dpo", "rationale_logistic"} <= set(refused)
    assert not {"madpo", "hypo", "srpo", "kto", "sft", "lcpo_dpo", "dr_dpo"} & set(refused)


def test_needs_of_a_table_are_met_by_what_it_knows():
    world = log_linear([3], prompts=6, answers=4, features=3)
    labels = told(world, compare(world, 400).turned(torch.ones(1, 400, dtype=torch.bool)))
    gold = world.reward_WSA[0]
    expected = (
        gold[labels.prompt_WN[0], labels.chosen_WN[0]]
        - gold[labels.prompt_WN[0], labels.rejected_WN[0]]
    )
    assert (
        torch.equal(labels.reward_gap_WN[0], expected) and expected.mean() < 0
    )  # all labels were turned
    assert set(labels.group_WN.unique().tolist()) == {0, 1, 2, 3}
    logp = world.policy_WSA(torch.full((1, 3), 0.7, dtype=torch.float64))
    drawn = further_for(METHODS["hypo"], seed=0).score(world, labels, logp, torch.zeros(1, 0))
    assert set(drawn) == {"sample_1", "sample_2"}
    means = torch.stack([part.logp_N for part in drawn.values()]).mean()
    entropy = -(logp.exp() * logp).sum(-1)[0][labels.prompt_WN[0]].mean()
    assert abs(means + entropy) < 0.1  # drawn from the policy itself
    reviser = further_for(METHODS["srpo"], seed=0)
    theta = torch.randn(
        1, reviser.parameters(3), dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    found = reviser.score(world, labels, logp, theta)
    s, w, lose = (int(x[0, 0]) for x in (labels.prompt_WN, labels.chosen_WN, labels.rejected_WN))
    phi, u, m = world.features_WSAD[0, s], theta[0, :3], theta[0, 3:].view(3, 3)
    logits = world.reference_WSA[0, s] + phi @ u + phi @ m @ phi[lose]
    assert found["chosen_given_rejected"].logp_N[0] == pytest.approx(
        float(logits.log_softmax(-1)[w])
    )
    assert found["rejected_given_rejected"].logp_N[0] == pytest.approx(
        float(logits.log_softmax(-1)[lose])
    )


def test_methods_that_ask_for_more_run_on_tables(tmp_path):
    arms = ("madpo", "hypo", "sft", "dpo:reduction=groups")
    found = stress(
        "world",
        flaw=("cycles",),
        rates=(0.0, 0.3),
        methods=arms,
        seeds=1,
        out=tmp_path,
        workers=1,
        quiet=True,
    )
    assert all(np.isfinite(score.values).all() for score in found.scores)
    for arm in ("madpo", "hypo", "sft"):
        assert (
            found.of("cycles", f"{arm}, best beta")[0].mean > -0.05
        )  # each finds the direction on clean labels
    assert "gold reward gap" in (tmp_path / "stress.html").read_text()
    with pytest.raises(NeedError, match="rationale_dpo needs rationale"):
        stress("world", methods=("rationale_dpo",), seeds=2, out=tmp_path, quiet=True)


def test_the_text_world_says_what_it_knows_of_each_label():
    rows = world_rows(60).rows
    flawed, planted = plant(rows, "uniform", 0.5, 0, True)
    assert 0 < planted.hit < 60
    for row in flawed:
        worth = text.gold([row.prompt] * 2, [row.chosen, row.rejected])
        assert row.extra["reward_gap"] == pytest.approx(worth[0] - worth[1])
        assert row.extra["rationale"] == text.reason(row.prompt, row.chosen, row.rejected)
    cycled, _ = plant(rows, "cycles", 0.5, 0, True)
    assert all("reward_gap" in row.extra for row in cycled)


def test_rows_without_what_a_method_asks_for_are_refused_before_anything_is_trained(tmp_path):
    rows = [
        Row(
            Where("f", i + 1),
            prompt=f"p{i}",
            chosen=f"a {i}",
            rejected=f"b {i}",
            extra={"reward_gap": 1.0},
        )
        for i in range(20)
    ]
    plan = {**SMALL_PLAN, "reading": Reading()}
    with pytest.raises(NeedError, match="rationale_dpo needs"):
        TextPlan.prepare(rows, tmp_path, **{**plan, "arms": [arm_named("rationale_dpo")]})
    with pytest.raises(OptionError, match="needs groups"):
        TextPlan.prepare(rows, tmp_path, **{**plan, "arms": [arm_named("dpo:reduction=groups")]})
    with pytest.raises(
        NeedError, match="madpo needs"
    ):  # a circle's new comparisons were judged by no reward model
        TextPlan.prepare(
            rows,
            tmp_path,
            **{**plan, "flaws": ["cycles"], "rates": [0.0, 0.9], "arms": [arm_named("madpo")]},
        )
    assert not (tmp_path / "start").exists()


def test_rates_and_seeds_are_checked(tmp_path):
    with pytest.raises(OptionError, match="between 0 and 1"):
        stress("world", rates=(0.0, 1.5), out=tmp_path)
    with pytest.raises(OptionError, match="at least 1"):
        stress("world", seeds=0, out=tmp_path)


def test_rows_too_long_are_set_aside_when_asked(tmp_path):
    rows = list(world_rows(60).rows)
    rows[3] = replace(rows[3], prompt=rows[3].prompt + " word" * 3000)
    with pytest.raises(DataError, match="tokens"):
        TextPlan.prepare(rows, tmp_path / "a", **SMALL_PLAN, reading=Reading())
    plan = TextPlan.prepare(rows, tmp_path / "b", **SMALL_PLAN, reading=Reading(quarantine=True))
    assert plan.facts()["skipped"] == 1
    assert len(plan.train) + len(plan.held) == 59
    assert (tmp_path / "b" / "quarantine.jsonl").is_file()


SMALL_PLAN = {
    "flaws": ["uniform"],
    "rates": [0.0],
    "arms": [arm_named("dpo")],
    "model": None,
    "rows": 100,
    "held_out": 100,
    "epochs": 1.0,
    "learning_rate": 1e-4,
    "beta": None,
    "seeds": 1,
}
