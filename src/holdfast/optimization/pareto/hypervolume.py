"""Exact hypervolume: the measure of what a set of points dominates, below a reference point.

    HV(Y; r) = measure of the union over y in Y of the boxes [y, r]      (minimization)

Two objectives: one sweep. More: the last objective is cut into slabs between neighboring values,
each the hypervolume of one objective fewer (hypervolume by slicing objectives, Zitzler 2001; While
et al. 2006). Exact in any number of objectives; the cost grows as N^(M-1).
"""

from __future__ import annotations

from math import log

import numpy as np

from holdfast.errors import DataError
from holdfast.optimization.pareto.problem import REFERENCE, Floats, Problem
from holdfast.stats.arrays import Bools, floats


def nondominated(y_NM: Floats) -> Bools:
    """Which rows no other row dominates: at most equal in every objective, below in one. Of equal
    rows the first is kept.
    """
    order = np.lexsort(y_NM.T[::-1])  # a row can be dominated only by an earlier one
    out = np.zeros(len(y_NM), bool)
    if y_NM.shape[1] == 2:
        second = y_NM[order, 1]
        out[order] = second < np.minimum.accumulate(np.append(np.inf, second))[:-1]
        return out
    kept_KM = np.empty((0, y_NM.shape[1]))
    for n in order:
        if not (kept_KM <= y_NM[n]).all(1).any():
            out[n] = True
            kept_KM = np.vstack([kept_KM, y_NM[n]])
    return out


def hypervolume(y_NM: object, reference_M: object) -> float:
    """The exact hypervolume of rows y_NM below `reference_M`; 0 for no rows. Rows that are not
    below the reference point in every objective add nothing.

    Raises:
        DataError: rows and reference of different widths, or numbers that are not finite.
    """
    r_M = floats(reference_M, "reference_M", shape=(None,))
    if not len(r_M):
        raise DataError("reference_M is empty: it needs a number for each objective")
    y = floats(y_NM, "y_NM", shape=(None, len(r_M)))
    y = y[(y < r_M).all(1)]
    return _volume(y[nondominated(y)], r_M)


def _volume(y_NM: Floats, r_M: Floats) -> float:
    """Of nondominated rows below r_M."""
    if not len(y_NM):
        return 0.0
    if len(r_M) == 1:
        return float(r_M[0] - y_NM.min())
    if len(r_M) == 2:
        y = y_NM[np.argsort(y_NM[:, 0], kind="stable")]
        above = np.minimum.accumulate(np.concatenate([[r_M[1]], y[:-1, 1]]))
        return float(((r_M[0] - y[:, 0]) * np.maximum(above - y[:, 1], 0.0)).sum())
    y = y_NM[np.argsort(y_NM[:, -1], kind="stable")]
    depth = np.diff(np.append(y[:, -1], r_M[-1]))
    front = np.empty((0, len(r_M) - 1))
    total = 0.0
    for row, height in zip(y[:, :-1], depth, strict=True):
        if not (front <= row).all(1).any():
            front = np.vstack([front[~(row <= front).all(1)], row])
        if height > 0:
            total += float(height) * _volume(front, r_M[:-1])
    return total


def scaled_hypervolume(problem: Problem, y_NM: Floats) -> float:
    """Of objectives scaled by the problem's ideal and nadir points, at 1.1 in each."""
    return hypervolume(problem.scaled(y_NM), np.full(problem.objectives, REFERENCE))


def log_difference(problem: Problem, found: float) -> float | None:
    """LHD = log(HV of the true front - HV found), lower is better; None where the front is unknown,
    or where a published approximation was reached or exceeded.
    """
    if problem.hypervolume is None or found >= problem.hypervolume:
        return None
    return log(problem.hypervolume - found)
