"""Confirmation: arms are told what is planted and what was found; differences are paired; verdicts follow intervals; a run ends to end."""

import numpy as np
import pytest

from holdfast.checkup.advice import advise
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.confirm import arms_of, compared, confirm
from holdfast.checkup.finding import Finding, Status

ABOUT = {"flaw": "uniform", "rate": 0.2, "measure": "held-out accuracy", "rows": 10, "model": "m"}


def noisy(value=0.1):
    found = {"flip": {"value": value, "low": value - 0.02, "high": value + 0.02}, "identified": True}
    return {"label_noise": Finding("Noise", Status.WARN, "Noise.", numbers=found)}


def test_a_method_is_told_both_flip_rates_together():
    advice = advise(noisy(0.1))
    assert arms_of(advice, rate=0.2, found=0.1) == {"rdpo --flip 0.1": "rdpo:flip=0.26", "dpo": "dpo"}


def test_plain_dpo_as_advice_is_tried_against_a_rival():
    assert arms_of(advise({}), rate=0.2, found=0.0) == {"dpo": "dpo", "rdpo": "rdpo:flip=0.2"}


def test_a_reduction_is_an_arm_of_its_own():
    camps = {"camps": Finding("Camps", Status.BAD, "Two.", numbers={"camps": 2, "opposed_column": "group"})}
    arms = arms_of(advise(camps), rate=0.0, found=0.0)
    assert arms == {"dpo --reduction groups": "dpo:reduction=groups", "dpo": "dpo"}


def right(share, seeds=4, n=400, seed=0):
    return (np.random.default_rng(seed).random((seeds, n)) < share).astype(float)


@pytest.mark.parametrize("a, b, verdict", [(0.8, 0.6, "held"), (0.6, 0.8, "contradicted"), (0.7, 0.7, "undecided")])
def test_the_verdict_follows_the_interval_of_the_paired_difference(a, b, verdict):
    rows = np.arange(400)
    found = compared({"rdpo": right(a), "dpo": right(b, seed=1)}, rows, np.zeros(400, int), advised="rdpo", **ABOUT)
    assert found.verdict == verdict
    assert found.gains["dpo"].mean == pytest.approx(np.mean(found.values["rdpo"]) - np.mean(found.values["dpo"]))


def test_what_is_undecided_says_why():
    rows, ones = np.arange(400), np.zeros(400, int)
    chance = compared({"rdpo": right(0.5), "dpo": right(0.5, seed=1)}, rows, ones, advised="rdpo", **ABOUT)
    assert chance.verdict == "undecided" and "learns too little" in chance.says and "--model" in chance.says
    close = compared({"rdpo": right(0.8), "dpo": right(0.8, seed=1)}, rows, ones, advised="rdpo", **ABOUT)
    width = (close.gains["dpo"].high - close.gains["dpo"].low) / 2
    assert close.verdict == "undecided" and f"below about {100 * width:.0f} points" in close.says
    held = compared({"rdpo": right(0.9), "dpo": right(0.6, seed=1)}, rows, ones, advised="rdpo", **ABOUT)
    assert held.verdict == "held" and held.open == ""


def test_the_worst_group_is_measured_by_hand():
    right_SN = np.array([[1.0, 1, 0, 0, 1, 1], [1.0, 0, 1, 0, 0, 1]])
    group = np.array([0, 0, 0, 1, 1, -1])
    found = compared({"dpo": right_SN, "other": right_SN}, np.arange(6), group, advised="other", **ABOUT)
    # seed 1: group 0 has 2/3, group 1 has 1/2; seed 2: group 0 has 2/3, group 1 has 0; the last row is in no group
    assert found.values["dpo"] == pytest.approx((0.5, 0.0))
    assert found.gains["dpo"].mean == 0.0


def test_identical_arms_differ_by_nothing_at_all():
    found = compared({"a": right(0.7), "dpo": right(0.7)}, np.arange(400), np.zeros(400, int), advised="a", **ABOUT)
    assert (found.gains["dpo"].low, found.gains["dpo"].high) == (0.0, 0.0) and found.verdict == "undecided"


def test_it_runs_to_the_end_on_rows_and_says_what_was_planted(tmp_path):
    from holdfast.lab.stress_text import world_rows

    data = Comparisons.of(world_rows(40).rows)
    found = confirm(data, noisy(), advise(noisy()), tmp_path, rows=24, held_out=12, seeds=2, workers=1, quiet=True)
    assert set(found.values) == {"rdpo --flip 0.1", "dpo"} and all(len(v) == 2 for v in found.values.values())
    assert "rate 0.2" in found.says and found.verdict in ("held", "contradicted", "undecided")
    assert found.section().title == "Did the advice hold?"
