"""Verdicts: rules on planted effects, and how often a true null is taken for an effect."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from holdfast.errors import OptionError
from holdfast.lab.verdict import (
    Cell,
    Found,
    Test,
    all_of,
    bounded,
    decide,
    equivalent,
    moves,
    number,
    over_seeds,
    separated,
    steady,
)


def found(**arms: list[list[float]]) -> Found:
    """Arms with one list of values a point of the axis x = 0, 1, ..."""
    cells = [Cell({"x": x}, arm, {"q": values}) for arm, lists in arms.items() for x, values in enumerate(lists)]
    return Found(tuple(cells), tuple(range(len(cells[0].values["q"]))))


def test_the_interval_is_students():
    values = [1.0, 2.0, 4.0, 9.0]
    ours = over_seeds(values)
    low, high = stats.t.interval(0.95, 3, loc=4.0, scale=stats.sem(values))
    assert (ours.low, ours.high) == pytest.approx((low, high))
    with pytest.raises(OptionError, match="not finite"):
        over_seeds([1.0, float("nan")])
    with pytest.raises(OptionError, match="no interval"):
        over_seeds([1.0])


def test_each_verdict_on_a_plain_effect():
    up, none, down = [1.0, 1.1, 0.9], [0.5, -0.6, 0.1], [-1.0, -1.1, -0.9]
    assert decide([Test("t", up, low=0.0)]).verdict == "supported"
    assert decide([Test("t", none, low=0.0)]).verdict == "undecided"
    assert decide([Test("t", down, low=0.0)]).verdict == "contradicted"
    assert decide([Test("t", up, low=0.0), Test("t", none, low=0.0)]).verdict == "undecided"
    assert decide([Test("t", up, low=0.0), Test("t", down, low=0.0)]).verdict == "contradicted"
    with pytest.raises(OptionError, match="without a test"):
        decide([])


def test_a_smallest_effect_turns_a_tie_into_a_contradiction():
    tie = list(np.random.default_rng(0).normal(0, 0.001, 20))
    assert decide([Test("t", tie, low=0.05)]).verdict == "contradicted"
    assert decide([Test("t", tie, low=-0.05, high=0.05)]).verdict == "supported"
    assert decide([Test("t", [x + 0.2 for x in tie], low=-0.05, high=0.05)]).verdict == "contradicted"


@pytest.mark.parametrize("spread", ["normal", "skewed"])
@pytest.mark.parametrize("tests", [1, 3])
def test_a_true_null_is_supported_or_contradicted_at_most_five_times_in_a_hundred(spread, tests):
    rng = np.random.default_rng(1)
    trials, seeds = 1500, 20
    draw = rng.standard_normal if spread == "normal" else lambda size: rng.gamma(4.0, 1.0, size) - 4.0
    values = draw((trials, tests, seeds))
    verdicts = [decide([Test("t", list(row), low=0.0) for row in trial]).verdict for trial in values]
    slack = 2 * np.sqrt(0.05 * 0.95 / trials)
    assert np.mean([v == "supported" for v in verdicts]) <= 0.05 + slack
    assert np.mean([v == "contradicted" for v in verdicts]) <= 0.05 + slack


def test_an_effect_of_one_standard_deviation_is_found():
    rng = np.random.default_rng(2)
    trials = rng.normal(1.0, 1.0, (200, 20))
    assert np.mean([decide([Test("t", list(row), low=0.0)]).verdict == "supported" for row in trials]) > 0.95


def test_separated_pairs_by_seed_and_knows_which_way_is_ahead():
    noise = list(np.random.default_rng(3).normal(0, 10, 12))
    data = found(a=[[x + 1 + 0.01 * i for i, x in enumerate(noise)]], b=[noise])
    assert decide(separated("a", "b", "q")(data)).verdict == "supported"
    assert decide(separated("b", "a", "q", lower=True)(data)).verdict == "supported"
    assert decide(separated("b", "a", "q")(data)).verdict == "contradicted"
    assert decide(separated("a", "b", "q", by=1.5)(data)).verdict == "contradicted"
    assert decide(equivalent("a", "b", "q", within=1.5)(data)).verdict == "supported"


def test_rules_select_points_and_follow_axes():
    data = found(a=[[1.0, 1.1], [2.0, 2.2], [2.0, 2.1]])
    assert [t.values_S for t in moves("a", "q", along="x", up=True)(data)] == [pytest.approx([1.0, 1.1]), pytest.approx([0.0, -0.1])]
    assert [t.values_S for t in steady("a", "q", along="x", within=0.5, at={"x": (1, 2)})(data)] == [pytest.approx([0.0, -0.1])]
    assert len(bounded("a", "q", low=0.0, at={"x": 1})(data)) == 1
    assert len(all_of(bounded("a", "q", low=0.0), bounded("a", "q", high=9.0))(data)) == 6
    with pytest.raises(OptionError, match="nothing was measured"):
        separated("a", "c", "q")(data)


@pytest.mark.parametrize(("x", "text"), [(0.0, "0.000"), (1234.5, "1234"), (0.01234, "0.0123"), (-0.5, "−0.500"), (2e-7, "2.00e−07")])
def test_numbers_are_short(x, text):
    assert number(x) == text
