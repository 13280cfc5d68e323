"""Representativeness: the definition by hand, and intervals that cover a planted truth."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from scipy import stats

from holdfast.errors import DataError, OptionError
from holdfast.pluralism.representativeness import (
    _groups,
    labels_for,
    radius,
    representativeness,
    wilson,
)

THIRDS = {"a": 1, "b": 1, "c": 1}


def rows_of(means, counts):
    """Rows of 0 and 1 whose group means are exactly these."""
    value, group = [], []
    for name, mean, count in zip("abc", means, counts, strict=True):
        ones = round(mean * count)
        value += [1.0] * ones + [0.0] * (count - ones)
        group += [name] * count
    return value, group


def test_the_definition_by_hand():
    value, group = rows_of((0.8, 0.6, 0.2), (700, 200, 100))
    found = representativeness(value, group, THIRDS)
    assert found.seen == pytest.approx(0.70)
    assert found.population == pytest.approx(0.533333, abs=1e-6)
    assert found.average.value == pytest.approx(0.166667, abs=1e-6)
    assert found.worst.value == pytest.approx(0.5)
    assert found.worst_group == "c"
    assert found.composition == pytest.approx((0.7 - 1 / 3 + 1 / 3 - 0.2 + 1 / 3 - 0.1) / 2)
    assert [g.gap.value for g in found.groups] == pytest.approx([0.1, -0.1, -0.5])
    assert json.loads(json.dumps(found.to_dict()))["worst"]["value"] == pytest.approx(0.5)


def test_identities():
    value, group = rows_of((0.8, 0.6, 0.2), (50, 50, 50))
    equal = representativeness(value, group, THIRDS)
    assert equal.average.value == pytest.approx(0)
    assert equal.average.low == 0
    assert equal.average.high == pytest.approx(
        0, abs=1e-12
    )  # nothing of it is random: the shares agree
    assert equal.worst.value == pytest.approx(1 / 3)
    same = representativeness(*rows_of((0.4, 0.4, 0.4), (700, 200, 100)), THIRDS)
    assert same.average.value == pytest.approx(0)
    assert same.worst.value == pytest.approx(0)
    assert same.worst.low == 0
    turned = representativeness(
        value, [{"a": "c", "b": "a", "c": "b"}[g] for g in group], {"c": 3, "a": 3, "b": 3}
    )
    assert turned.worst.value == pytest.approx(equal.worst.value)
    assert turned.worst_group == "b"
    shifted = representativeness(np.array(value) / 2 + 0.25, group, THIRDS)
    assert shifted.worst.value == pytest.approx(equal.worst.value / 2)
    told = representativeness(value, group, THIRDS, seen=0.9)
    assert told.average.value == pytest.approx(0.9 - 1.6 / 3)


def test_intervals_cover_what_was_planted_with_raters_who_repeat_themselves():
    mean, counts, target = (
        {"a": 0.7, "b": 0.5, "c": 0.35},
        {"a": 30, "b": 12, "c": 8},
        {"a": 0.3, "b": 0.3, "c": 0.4},
    )
    share = {g: n / 50 for g, n in counts.items()}
    seen = sum(share[g] * mean[g] for g in mean)
    average, worst = (
        abs(sum(target[g] * mean[g] for g in mean) - seen),
        max(abs(mean[g] - seen) for g in mean),
    )
    inside_average, inside_worst, naive = 0, 0, 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        value, group, rater = [], [], []
        for g, n in counts.items():
            for r in range(n):
                own = rng.beta(4 * mean[g], 4 * (1 - mean[g]))  # a rater's own leaning
                value += list((rng.random(10) < own).astype(float))
                group += [g] * 10
                rater += [f"{g}{r}"] * 10
        found = representativeness(value, group, target, rater_N=rater)
        inside_average += found.average.low <= average <= found.average.high
        inside_worst += found.worst.low <= worst <= found.worst.high
        plain = representativeness(value, group, target)
        naive += plain.average.low <= average <= plain.average.high
    assert 0.92 <= inside_average / 300 <= 0.99
    assert inside_worst / 300 >= 0.94
    assert naive / 300 < 0.9  # rows of one rater are not independent


def test_no_flaw_is_seldom_called_one():
    false = 0
    for seed in range(200):
        rng = np.random.default_rng(1000 + seed)
        group = rng.choice(["a", "b", "c"], 200, p=[0.7, 0.2, 0.1]).tolist()
        found = representativeness((rng.random(200) < 0.6).astype(float), group, THIRDS)
        false += found.worst.low > 0
    assert false / 200 <= 0.05


def test_groups_that_nobody_speaks_for_may_think_anything():
    value, group = rows_of((0.8, 0.6, 0.0), (50, 50, 0))
    found = representativeness(value, group, THIRDS)
    assert found.absent == ("c",)
    assert found.groups[2].mean is None
    assert found.population == pytest.approx(0.7)
    assert found.average.high > 1 / 3 * 0.7 - 0.05  # c may be 0
    assert found.worst.high == pytest.approx(0.7, abs=0.15)
    assert found.worst_group != "c"
    single = representativeness([*value, 1.0], [*group, "c"], THIRDS)
    assert single.absent == ()
    assert single.average.high > 0.2  # one row says nothing yet
    agreed = representativeness([1.0] * 12, ["a"] * 6 + ["b"] * 6, {"a": 1, "b": 3})
    assert agreed.average.value == 0
    assert agreed.average.high > 0.02


def test_rows_that_cannot_be_used_are_counted():
    found = representativeness([1.0, 0.0, np.nan, 1.0, 0.5], ["a", "a", "a", None, "z"], {"a": 1.0})
    assert (found.unknown, found.stray, found.groups[0].rows) == (2, 1, 2)
    with pytest.raises(DataError, match="of row 1 is"):
        representativeness([0.0, 1.5], ["a", "a"], {"a": 1})
    with pytest.raises(DataError, match="no row"):
        representativeness([0.0], ["b"], {"a": 1})
    with pytest.raises(DataError, match="shares"):
        representativeness([0.0], ["a"], {"a": -1})
    with pytest.raises(DataError, match="shares"):
        representativeness([0.0], ["a"], {})
    with pytest.raises(DataError, match="one value, one group"):
        representativeness([0.0, 1.0], ["a"], {"a": 1})
    with pytest.raises(OptionError, match="level"):
        representativeness([0.0], ["a"], {"a": 1}, level=1.0)


def test_labels_that_a_target_needs():
    assert labels_for(0.05) == 738
    assert labels_for(0.1) == 185
    assert labels_for(0.05, groups=200) == 1798
    assert labels_for(0.01, level=0.999) == 38005
    assert labels_for(0.01, groups=200, level=0.999) == 64497
    assert radius(100) == pytest.approx(0.1358, abs=1e-4)
    assert radius(50, groups=20, level=0.95) == pytest.approx(0.2585, abs=1e-4)
    n = labels_for(0.03, groups=7)
    assert radius(n, groups=7) <= 0.03 < radius(n - 1, groups=7)
    with pytest.raises(OptionError, match="epsilon"):
        labels_for(0.0)


@pytest.mark.parametrize(
    ("raters", "rows", "means"),
    [(5, 10, (0.5, 0.7)), (10, 10, (0.85, 0.9)), (20, 1, (0.8, 0.9))],
    ids=["few", "skewed", "one row each"],
)
def test_intervals_hold_with_few_raters_of_unequal_size(
    raters: int, rows: int, means: tuple[float, ...]
):
    """Raters differ (a beta of 5) and give from two rows to dozens. Before, the groups' intervals
    held together in 80% to 91% of these.
    """
    rng, trials = np.random.default_rng([raters, rows]), 300
    held = {"average": 0, "worst": 0, "groups": 0}
    for _ in range(trials):
        value, group, rater = [], [], []
        for g, m in enumerate(means):
            for r in range(raters):
                n = 1 + rng.geometric(1 / rows) if rows > 1 else 1
                value += (rng.random(n) < rng.beta(5 * m, 5 * (1 - m))).tolist()
                group += [g] * n
                rater += [(g, r)] * n
        found = representativeness(
            value, group, dict.fromkeys(range(len(means)), 1.0), rater_N=rater, seen=0.5
        )
        away = np.array(means) - 0.5
        held["average"] += found.average.low <= away.mean() <= found.average.high
        held["worst"] += found.worst.low <= away.max() <= found.worst.high
        held["groups"] += all(
            g.gap.low <= a <= g.gap.high for g, a in zip(found.groups, away, strict=True)
        )
    assert min(held.values()) / trials >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / trials), held


def test_wilsons_interval_by_hand_and_scipy():
    from scipy import stats

    from holdfast.pluralism.representativeness import wilson

    low, high = wilson(np.array([0.3]), np.array([50.0]), 1.959963984540054)
    theirs = stats.binomtest(15, 50).proportion_ci(0.95, method="wilson")
    assert (low[0], high[0]) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_what_is_no_population_and_no_values():
    for population in ([0.5, 0.5], {"a": "x"}, {"a": float("nan")}, {}):
        with pytest.raises(DataError, match="a population"):
            representativeness([1.0], ["a"], population)
    with pytest.raises(DataError, match="value_N must be an array"):
        representativeness(["yes"], ["a"], {"a": 1.0})


def one_by_one(value, group, rater, target, level):
    """The interval of each group's gap, from the formulas, a group and a term at a time."""
    groups = len(target)
    known = _groups(np.array(value), np.array(group), np.array(rater), groups)
    share = known.rows_K / known.rows_K.sum()
    ends = []
    for k in range(groups):
        weight = [(j == k) - share[j] for j in range(groups)]
        told = [j for j in range(groups) if known.raters_K[j] >= 2]
        part = {j: weight[j] ** 2 * known.variance_K[j] for j in told}
        total = sum(part.values())
        free = total**2 / sum(part[j] ** 2 / known.free_K[j] for j in told) if total > 0 else np.inf
        reach = stats.t.ppf(1 - (1 - level) / groups / 2, free)
        center = down = up = low_open = high_open = 0.0
        for j in range(groups):
            if j not in told:
                low_open, high_open = low_open + min(weight[j], 0), high_open + max(weight[j], 0)
                continue
            low, high = wilson(known.mean_K[j], known.size_K[j], reach)
            sides = (known.mean_K[j] - low, high - known.mean_K[j])
            below, above = sides if weight[j] > 0 else sides[::-1]
            center, down, up = (
                center + weight[j] * known.mean_K[j],
                down + (weight[j] * below) ** 2,
                up + (weight[j] * above) ** 2,
            )
        ends.append(
            (max(-1.0, center - down**0.5 + low_open), min(1.0, center + up**0.5 + high_open))
        )
    return ends


@pytest.mark.parametrize("seed", range(12))
def test_every_gap_is_that_of_the_formulas_one_by_one(seed: int):
    """Groups of one row, of many, of one rater, without a row, and alike: those that are known
    equally well are found only once.
    """
    rng = np.random.default_rng(seed)
    groups, rows = [(1, 5), (2, 9), (7, 40), (40, 60), (40, 400), (90, 120)][seed % 6]
    value = rng.random(rows) if seed % 4 == 0 else rng.choice([0.0, 0.5, 1.0], rows)
    group, rater = rng.integers(groups, size=rows), rng.integers(5 + rows // 4, size=rows)
    found = representativeness(
        value, group.tolist(), dict.fromkeys(range(groups), 1.0), rater_N=rater.tolist(), level=0.9
    )
    assert [(g.gap.low, g.gap.high) for g in found.groups] == [
        pytest.approx(ends, abs=1e-12)
        for ends in one_by_one(value, group, rater, np.ones(groups), 0.9)
    ]


def test_fifty_thousand_groups_are_no_more_work_than_their_kinds(monkeypatch: pytest.MonkeyPatch):
    worked = []
    monkeypatch.setattr(
        sys.modules[representativeness.__module__],
        "wilson",
        lambda *given: worked.append(np.broadcast(*given).size) or wilson(*given),
    )
    rng = np.random.default_rng(0)
    for groups in (50_000, 25_000):
        value, group = rng.choice([0.0, 1.0], 50_000), rng.permutation(50_000) % groups
        found = representativeness(value, group.tolist(), dict.fromkeys(range(groups), 1.0))
        assert len(found.groups) == groups and all(
            g.gap.low <= g.gap.value <= g.gap.high for g in found.groups
        )
    assert sum(worked) < 10 * 50_000
