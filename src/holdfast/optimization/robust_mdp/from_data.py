"""Worst-case expectations of laws that a regression estimated.

Least squares on features gives each factor i a row w_IO of weights on the outcomes: the estimate of
E_{mu_i} f is sum_o w_IO[i, o] f_o for any f. Weights may be negative and need not sum to 1: ridge
shrinks them to 0, most of all where there is little data. So values must be at least 0, and a
factor without data is worth 0, the pessimist's guess.

The duals of `divergences` are evaluated with these weights, at all kinks where they are piecewise
linear and on a grid elsewhere: estimates need not be concave in the dual variable.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from holdfast.stats.arrays import Floats

GRID = np.geomspace(1e-3, 1e4, 71)  # of l, times the largest value; its error is second order
FRACTIONS = (0.25, 0.5, 0.75)  # of the way from one kink to the next
LEAST = 1e-6  # of an estimated E exp(-V / l)

# w_IO, values_O (at least 0), size_I, floor (the least value that an outcome can have) -> value_I
Estimated = Callable[[Floats, Floats, Floats, float], Floats]


def nominal(w_IO: Floats, values_O: Floats, size_I: Floats, floor: float) -> Floats:
    """The estimated expectation."""
    return w_IO @ values_O


def tv_ball(w_IO: Floats, values_O: Floats, size_I: Floats, floor: float) -> Floats:
    """max over a of w min(V, a) - size (a - floor), at every kink."""
    a_J = np.unique(np.concatenate([[0.0, floor], values_O]))
    z_IJ = w_IO @ np.minimum(values_O[:, None], a_J)
    return (z_IJ - size_I[:, None] * np.maximum(a_J - floor, 0.0)).max(1)


def tv_penalty(w_IO: Floats, values_O: Floats, size_I: Floats, floor: float) -> Floats:
    """w min(V, floor + size)."""
    return np.einsum("io,oi->i", w_IO, np.minimum(values_O[:, None], floor + size_I))


def kl_ball(w_IO: Floats, values_O: Floats, size_I: Floats, floor: float) -> Floats:
    """max over l of -l log(1 + w (exp(-V / l) - 1)) - l size. The regression is of exp(-V / l) - 1:
    ridge would shrink E exp(-V / l) itself toward 0, which is optimism.
    """
    top = float(values_O.max())
    if top <= 0:
        return np.zeros(len(w_IO))
    l_J = GRID * top
    value_IJ = _soft(w_IO, values_O, l_J) - l_J * size_I[:, None]
    free_I = w_IO @ values_O
    return np.where(size_I == 0, free_I, np.maximum(value_IJ.max(1), 0.0))


def kl_penalty(w_IO: Floats, values_O: Floats, size_I: Floats, floor: float) -> Floats:
    """-size log(1 + w (exp(-V / size) - 1)), for each distinct price."""
    out_I = w_IO @ values_O
    for price in np.unique(size_I[np.isfinite(size_I)]):
        mine_I = size_I == price
        out_I[mine_I] = _soft(w_IO[mine_I], values_O, np.array([price]))[:, 0]
    return out_I


def _soft(w_IO: Floats, values_O: Floats, l_J: Floats) -> Floats:
    inner_IJ = w_IO @ np.expm1(-values_O[:, None] / l_J)
    return -l_J * np.log1p(np.maximum(inner_IJ, LEAST - 1))


def chi_ball(w_IO: Floats, values_O: Floats, size_I: Floats, floor: float) -> Floats:
    """max over a of mean - sqrt(size variance) of min(V, a), at the kinks and between them."""
    mean_IJ, var_IJ = _moments(w_IO, values_O)
    return (mean_IJ - np.sqrt(size_I[:, None] * var_IJ)).max(1)


def chi_penalty(w_IO: Floats, values_O: Floats, size_I: Floats, floor: float) -> Floats:
    """max over a of mean - variance / (4 size) of min(V, a), at the kinks and between them."""
    mean_IJ, var_IJ = _moments(w_IO, values_O)
    return (mean_IJ - var_IJ / (4 * size_I[:, None])).max(1)


def _moments(w_IO: Floats, values_O: Floats) -> tuple[Floats, Floats]:
    kinks = np.unique(np.concatenate([[0.0], values_O]))
    a_J = np.unique(np.concatenate([kinks, *(kinks[:-1] + s * np.diff(kinks) for s in FRACTIONS)]))
    capped_OJ = np.minimum(values_O[:, None], a_J)
    mean_IJ, square_IJ = w_IO @ capped_OJ, w_IO @ capped_OJ**2
    return mean_IJ, np.maximum(square_IJ - mean_IJ**2, 0.0)
