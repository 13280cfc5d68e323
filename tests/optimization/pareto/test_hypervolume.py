"""Exact hypervolume: by hand, against inclusion-exclusion, and against pymoo's."""

from __future__ import annotations

from itertools import combinations
from math import log

import numpy as np
import pytest
from pymoo.indicators.hv import HV

from holdfast.errors import DataError
from holdfast.optimization.pareto import hypervolume, log_difference, named, nondominated


def by_inclusion_exclusion(y_NM, r_M):
    """sum over subsets S of (-1)^(|S|+1) times the box from the componentwise maximum of S."""
    total = 0.0
    for size in range(1, len(y_NM) + 1):
        for rows in combinations(range(len(y_NM)), size):
            sides = np.maximum(r_M - y_NM[list(rows)].max(0), 0.0)
            total += (-1) ** (size + 1) * sides.prod()
    return total


def slowly_nondominated(y_NM):
    return [
        not any(
            (np.all(b <= a) and np.any(b < a)) or (m < n and np.all(a == b))
            for m, b in enumerate(y_NM)
        )
        for n, a in enumerate(y_NM)
    ]


@pytest.mark.parametrize(
    ("rows", "reference", "expected"),
    [
        ([(0.2, 0.8), (0.5, 0.5), (0.8, 0.2)], (1.1, 1.1), 0.54),
        ([(0.5, 0.5), (0.5, 0.5), (0.6, 0.6)], (1.0, 1.0), 0.25),  # repeated, dominated
        ([(0.0, 0.0)], (2.0, 3.0), 6.0),
        ([(1.0, 0.0), (2.0, -5.0)], (1.0, 1.0), 0.0),  # on the reference, and beyond it
        ([(0, 1, 1), (1, 0, 1), (1, 1, 0)], (2, 2, 2), 4.0),  # 3 * 2 - 3 + 1
        ([(0, 0, 0, 0)], (1, 2, 3, 4), 24.0),
    ],
)
def test_by_hand(rows, reference, expected):
    assert hypervolume(rows, reference) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("ties", [False, True])
def test_against_inclusion_exclusion(objectives, ties):
    rng = np.random.default_rng(objectives)
    for _ in range(8):
        y = rng.random((9, objectives)) * 1.2
        if ties:
            y = np.round(y * 3) / 3
        reference = np.ones(objectives)
        expected = by_inclusion_exclusion(y, reference)
        assert hypervolume(y, reference) == pytest.approx(expected, abs=1e-12)
        assert nondominated(y).tolist() == slowly_nondominated(y)


@pytest.mark.parametrize(("objectives", "rows"), [(2, 400), (3, 120), (4, 50)])
def test_against_pymoo(objectives, rows):
    y = np.abs(np.random.default_rng(0).normal(size=(rows, objectives)))
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    reference = np.full(objectives, 1.1)
    expected = float(HV(ref_point=reference)(y))
    assert hypervolume(y, reference) == pytest.approx(expected, rel=1e-10)


def test_the_difference_to_the_true_front():
    """The constants of an empty archive, and of a front that was reached."""
    for name, variables, expected in (
        ("zdt1", 8, -0.131628),
        ("zdt2", 8, -0.610032),
        ("vlmop2", 6, -0.594003),
    ):
        problem = named(name, variables)
        assert log_difference(problem, 0.0) == pytest.approx(expected, abs=2e-6)
        assert log_difference(problem, problem.hypervolume) is None
    assert log_difference(named("zdt1"), 0.876667 - 0.01) == pytest.approx(log(0.01), abs=1e-4)


def test_bad_rows():
    assert hypervolume(np.empty((0, 2)), [1, 1]) == 0.0
    with pytest.raises(DataError, match="y_NM has shape"):
        hypervolume([[0.0, 0.0, 0.0]], [1, 1])
    with pytest.raises(DataError, match="y_NM"):
        hypervolume([[0.0, np.nan]], [1, 1])
    with pytest.raises(DataError, match="reference_M is empty"):
        hypervolume(np.empty((3, 0)), [])
