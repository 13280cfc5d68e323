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
    multiple,
    number,
    over_seeds,
    separated,
    steady,
)


def found(**arms: list[list[float]]) -> Found:
    """Arms with one list of values a point of the axis x = 0, 1, ..."""
    cells = [
        Cell({"x": x}, arm, {"q": values})
        for arm, lists in arms.items()
        for x, values in enumerate(lists)
    ]
    return Found(tuple(cells), tuple(range(len(cells[0].values["q"]))))


def test_the_interval_is_students_where_nothing_is_skewed_or_numbers_are_few():
    for values in ([1.0, 2.0, 4.0, 9.0], [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0], [2.0] * 8):
        ours = over_seeds(values)
        half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
        assert (ours.low, ours.high) == pytest.approx(
            (np.mean(values) - half, np.mean(values) + half)
        )
    with pytest.raises(OptionError, match="not finite"):
        over_seeds([1.0, float("nan")])
    with pytest.raises(OptionError, match="no interval"):
        over_seeds([1.0])


def test_a_skewed_interval_reaches_to_where_halls_transformation_says():
    """The far end w solves w + g w^2 / 3 + g^2 w^3 / 27 + g / (6 n) = -t / sqrt(n), by polynomial
    roots; the near one is Student's.
    """
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.9, 2.0, 7.0])
    n, spread, g = len(values), values.std(ddof=1), stats.skew(values, bias=False)
    reach = stats.t.ppf(0.975, n - 1) / np.sqrt(n)
    roots = np.roots([g**2 / 27, g / 3, 1, g / (6 * n) + reach])
    (w,) = roots[np.abs(roots.imag) < 1e-9].real
    ours = over_seeds(values)
    assert ours.high == pytest.approx(values.mean() - w * spread) and -w > 1.5 * reach
    assert ours.low == pytest.approx(values.mean() - reach * spread)
    turned = over_seeds(-values)
    assert (turned.low, turned.high) == pytest.approx((-ours.high, -ours.low))


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
    assert (
        decide([Test("t", [x + 0.2 for x in tie], low=-0.05, high=0.05)]).verdict == "contradicted"
    )


@pytest.mark.parametrize("spread", ["normal", "skewed"])
@pytest.mark.parametrize("tests", [1, 3])
def test_a_true_null_is_supported_or_contradicted_at_most_five_times_in_a_hundred(spread, tests):
    rng = np.random.default_rng(1)
    trials, seeds = 1500, 20
    draw = (
        rng.standard_normal if spread == "normal" else lambda size: rng.gamma(4.0, 1.0, size) - 4.0
    )
    values = draw((trials, tests, seeds))
    verdicts = [
        decide([Test("t", list(row), low=0.0) for row in trial]).verdict for trial in values
    ]
    slack = 2 * np.sqrt(0.05 * 0.95 / trials)
    assert np.mean([v == "supported" for v in verdicts]) <= 0.05 + slack
    assert np.mean([v == "contradicted" for v in verdicts]) <= 0.05 + slack


@pytest.mark.parametrize(
    ("draw", "most"),
    [
        (lambda rng, size: rng.exponential(1.0, size) - 1.0, 0.055),
        (lambda rng, size: rng.lognormal(0.0, 1.0, size) - np.exp(0.5), 0.09),
    ],
    ids=["exponential", "lognormal"],
)
def test_skewed_differences_on_a_true_border_are_seldom_supported(draw, most):
    """Student's interval alone supports 10% and 16%."""
    trials = draw(np.random.default_rng(4), (2000, 8))
    for side in ({"low": 0.0}, {"high": 0.0}):
        share = np.mean(
            [decide([Test("t", list(row), **side)]).verdict == "supported" for row in trials]
        )
        assert share <= most + 2 * np.sqrt(most * (1 - most) / len(trials))


def test_a_sentence_about_every_run_is_contradicted_by_one():
    nine = [0.5] * 9
    assert decide([Test("t", [*nine, 0.9], high=1.0, every=True)]).verdict == "supported"
    one = decide([Test("t", [*nine, 1.1], high=1.0, every=True)])
    assert (
        one.verdict == "contradicted"
        and one.tests[0]["high"] == 1.1
        and one.tests[0]["predicted"].endswith("in every run")
    )
    assert (
        decide([Test("t", [*nine, 1.1], high=1.0)]).verdict == "supported"
    )  # of the mean it is true
    data = found(a=[[0.5, 1.5]])
    assert [t.every for t in bounded("a", "q", high=1.0, every=True)(data)] == [True]


def test_a_multiple_is_tested_by_pairs_and_not_against_a_mean_of_the_same_sample():
    """Means are 4 and 1.9, so twice less than 4; but with the second as uncertain as it is nobody
    can tell.
    """
    less = [0.1, 5.0, 0.2, 4.0, 0.1, 2.0]
    data = found(more=[[4.0, 4.1, 3.9, 4.0, 4.1, 3.9]], less=[less])
    (test,) = multiple("more", "less", "q", times=2)(data)
    assert (
        test.values_S
        == pytest.approx([4.0 - 0.2, 4.1 - 10, 3.9 - 0.4, 4.0 - 8, 4.1 - 0.2, 3.9 - 4])
        and test.low == 0
    )
    assert decide([test]).verdict == "undecided"
    assert decide(separated("more", "less", "q", by=float(np.mean(less)))(data)).tests[0][
        "mean"
    ] == pytest.approx(4.0 - np.mean(less))


def test_an_effect_of_one_standard_deviation_is_found():
    rng = np.random.default_rng(2)
    trials = rng.normal(1.0, 1.0, (200, 20))
    assert (
        np.mean([decide([Test("t", list(row), low=0.0)]).verdict == "supported" for row in trials])
        > 0.95
    )


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
    assert [t.values_S for t in moves("a", "q", along="x", up=True)(data)] == [
        pytest.approx([1.0, 1.1]),
        pytest.approx([0.0, -0.1]),
    ]
    assert [
        t.values_S for t in steady("a", "q", along="x", within=0.5, at={"x": (1, 2)})(data)
    ] == [pytest.approx([0.0, -0.1])]
    assert len(bounded("a", "q", low=0.0, at={"x": 1})(data)) == 1
    assert len(all_of(bounded("a", "q", low=0.0), bounded("a", "q", high=9.0))(data)) == 6
    with pytest.raises(OptionError, match="nothing was measured"):
        separated("a", "c", "q")(data)


@pytest.mark.parametrize(
    ("x", "text"),
    [(0.0, "0.000"), (1234.5, "1234"), (0.01234, "0.0123"), (-0.5, "−0.500"), (2e-7, "2.00e−07")],
)
def test_numbers_are_short(x, text):
    assert number(x) == text
