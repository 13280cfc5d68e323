"""Worst-case expectations over sets of probability laws, for many laws at once.

A nominal law m of I rows puts prob_IK[i, k] on an outcome of value values_IK[i, k]. For each row
an adversary picks a law q that makes the expectation of the values small:

    ball      inf { E_q V : D(q || m) <= size_i }
    penalty   inf { E_q V + size_i D(q || m) }

    total_variation   D = half of sum |q - m|; q may also reach an outcome outside the support of
                      m, of value floor_i at the lowest
    kl                D = sum q log(q / m)
    chi_square        D = sum m (q / m - 1)^2

Each function solves the dual exactly (Shi and Chi 2022, arXiv 2208.05767, and Panaganti et al.
2022, arXiv 2208.05129, have the forms) and returns the adversary's law beside it. That law is
feasible, so the primal value it has minus the dual value bounds the error.

Infinite prices and radii of 0 give the nominal expectation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np

from holdfast.stats.arrays import Floats

HALVINGS = 60  # of a bracket from 1e-18 to 1e18 spreads of the values; the rest is rounding


@dataclass(frozen=True)
class Worst:
    """The worst case of each row.

    Attributes:
        value_I: the dual value: worst expectation, the penalty included
        law_IK: the adversary's law on the outcomes of the nominal one
        outside_I: its mass on the outcome of value floor_i
    """

    value_I: Floats
    law_IK: Floats
    outside_I: Floats


Dual = Callable[[Floats, Floats, Floats, Floats], Worst]  # values_IK, prob_IK, size_I, floor_I


def nominal(values_IK: Floats, prob_IK: Floats, size_I: Floats, floor_I: Floats) -> Worst:
    """No adversary: the expectation under the nominal law."""
    return Worst((prob_IK * values_IK).sum(1), prob_IK, np.zeros(len(prob_IK)))


# ------------------------------------------------------------------------------------------------
# total variation


def tv_ball(values_IK: Floats, prob_IK: Floats, size_I: Floats, floor_I: Floats) -> Worst:
    """max over a of E min(V, a) - size (a - floor). Concave and piecewise linear in a, so one of
    the values or the floor is the best a. The adversary takes mass `size` from the best outcomes
    to the floor.
    """
    floor_I = np.minimum(floor_I, _lowest(values_IK, prob_IK))
    kinks_IJ = np.concatenate([np.maximum(values_IK, floor_I[:, None]), floor_I[:, None]], 1)
    capped_IJ = np.einsum(
        "ik,ijk->ij", prob_IK, np.minimum(values_IK[:, None, :], kinks_IJ[:, :, None])
    )
    dual_IJ = capped_IJ - size_I[:, None] * (kinks_IJ - floor_I[:, None])
    order_IK = np.argsort(-values_IK, axis=1, kind="stable")
    sorted_IK = np.take_along_axis(prob_IK, order_IK, 1)
    before_IK = sorted_IK.cumsum(1) - sorted_IK
    taken_IK = np.clip(np.minimum(size_I, 1.0)[:, None] - before_IK, 0.0, sorted_IK)
    law_IK = prob_IK.copy()
    np.put_along_axis(law_IK, order_IK, sorted_IK - taken_IK, 1)
    return Worst(dual_IJ.max(1), law_IK, taken_IK.sum(1))


def tv_penalty(values_IK: Floats, prob_IK: Floats, size_I: Floats, floor_I: Floats) -> Worst:
    """E min(V, floor + size): an outcome worth more than the price above the floor is moved
    there.
    """
    floor_I = np.minimum(floor_I, _lowest(values_IK, prob_IK))
    edge_I1 = (floor_I + size_I)[:, None]
    moved_IK = np.where(values_IK > edge_I1, prob_IK, 0.0)
    return Worst(
        (prob_IK * np.minimum(values_IK, edge_I1)).sum(1), prob_IK - moved_IK, moved_IK.sum(1)
    )


# ------------------------------------------------------------------------------------------------
# KL


def kl_ball(values_IK: Floats, prob_IK: Floats, size_I: Floats, floor_I: Floats) -> Worst:
    """sup over l > 0 of -l log E exp(-V / l) - l size. The derivative in l is KL(q_l || m) - size
    with q_l proportional to m exp(-V / l), and falls in l: l is found by bisection. Where the
    lowest outcomes alone are inside the ball, the value is theirs.
    """
    low_I = _lowest(values_IK, prob_IK)
    gap_IK = np.where(prob_IK > 0, values_IK - low_I[:, None], 0.0)
    spread_I = np.where(gap_IK.max(1) > 0, gap_IK.max(1), 1.0)
    unit_IK = gap_IK / spread_I[:, None]
    at_low_IK = np.where(gap_IK == 0, prob_IK, 0.0)
    below_I, above_I = np.full(len(low_I), 1e-18), np.full(len(low_I), 1e18)
    for _ in range(HALVINGS):
        middle_I = np.sqrt(below_I * above_I)
        law_IK = _tilted(unit_IK, prob_IK, middle_I)
        spent_I = _kl(law_IK, unit_IK, prob_IK, middle_I)
        below_I = np.where(spent_I > size_I, middle_I, below_I)
        above_I = np.where(spent_I > size_I, above_I, middle_I)
    law_IK = _tilted(unit_IK, prob_IK, above_I)  # of the two ends the feasible one
    value_I = low_I + spread_I * (
        -above_I * _log_mean_exp(unit_IK, prob_IK, above_I) - above_I * size_I
    )
    inside_I = -np.log(at_low_IK.sum(1)) <= size_I
    law_IK = np.where(inside_I[:, None], at_low_IK / at_low_IK.sum(1)[:, None], law_IK)
    none_I = size_I == 0
    law_IK = np.where(none_I[:, None], prob_IK, law_IK)
    value_I = np.where(none_I, (prob_IK * values_IK).sum(1), np.where(inside_I, low_I, value_I))
    return Worst(value_I, law_IK, np.zeros(len(low_I)))


def kl_penalty(values_IK: Floats, prob_IK: Floats, size_I: Floats, floor_I: Floats) -> Worst:
    """-size log E exp(-V / size)."""
    low_I = _lowest(values_IK, prob_IK)
    free_I = np.isinf(size_I)
    price_I = np.where(free_I, 1.0, size_I)
    gap_IK = np.where(prob_IK > 0, values_IK - low_I[:, None], 0.0)
    value_I = low_I - price_I * _log_mean_exp(gap_IK, prob_IK, price_I)
    law_IK = np.where(free_I[:, None], prob_IK, _tilted(gap_IK, prob_IK, price_I))
    return Worst(
        np.where(free_I, (prob_IK * values_IK).sum(1), value_I), law_IK, np.zeros(len(low_I))
    )


def _tilted(gap_IK: Floats, prob_IK: Floats, l_I: Floats) -> Floats:
    weight_IK = prob_IK * np.exp(-gap_IK / l_I[:, None])
    return weight_IK / weight_IK.sum(1, keepdims=True)


def _log_mean_exp(gap_IK: Floats, prob_IK: Floats, l_I: Floats) -> Floats:
    """log E exp(-gap / l), through expm1 so that nothing cancels at large l. A law's rounding (a
    sum of 1 + 1e-16) would be multiplied by l, so the sum is divided out.
    """
    mean_I = (prob_IK * np.expm1(-gap_IK / l_I[:, None])).sum(1) / prob_IK.sum(1)
    with np.errstate(divide="ignore"):
        return np.log1p(mean_I)


def _kl(law_IK: Floats, gap_IK: Floats, prob_IK: Floats, l_I: Floats) -> Floats:
    return -(law_IK * gap_IK).sum(1) / l_I - _log_mean_exp(gap_IK, prob_IK, l_I)


# ------------------------------------------------------------------------------------------------
# chi-square


def chi_ball(values_IK: Floats, prob_IK: Floats, size_I: Floats, floor_I: Floats) -> Worst:
    """max over a of a - sqrt((1 + size) E max(0, a - V)^2); the adversary's law is proportional to
    m max(0, a - V).

    Between two neighboring values the outcomes below a are known, and the best a solves a
    quadratic. All of these are tried: O(K^2) a row.
    """
    v_IK, m_IK, mass_IK, mean_IK, var_IK = _prefixes(values_IK, prob_IK)
    slack_IK = (1 + size_I[:, None]) * mass_IK - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        a_IK = mean_IK + np.sqrt(np.where(slack_IK > 0, var_IK / slack_IK, inf))
    a_IK = _between(a_IK, v_IK)
    short_IJK = np.maximum(a_IK[:, :, None] - v_IK[:, None, :], 0.0)
    square_IJ = np.einsum("ik,ijk->ij", m_IK, short_IJK**2)
    dual_IJ = a_IK - np.sqrt((1 + size_I[:, None]) * square_IJ)
    best_I = dual_IJ.argmax(1)
    a_I = np.take_along_axis(a_IK, best_I[:, None], 1)[:, 0]
    value_I = np.take_along_axis(dual_IJ, best_I[:, None], 1)[:, 0]
    low_I = v_IK[:, 0]
    inside_I = (1 + size_I) * np.where(v_IK == low_I[:, None], m_IK, 0.0).sum(1) >= 1
    at_low_IK = np.where((values_IK == low_I[:, None]) & (prob_IK > 0), prob_IK, 0.0)
    weight_IK = prob_IK * np.maximum(a_I[:, None] - values_IK, 0.0)
    weight_IK = np.where(inside_I[:, None] | (weight_IK.sum(1) <= 0)[:, None], at_low_IK, weight_IK)
    law_IK = weight_IK / weight_IK.sum(1, keepdims=True)
    none_I = size_I == 0
    law_IK = np.where(none_I[:, None], prob_IK, law_IK)
    value_I = np.where(none_I, (prob_IK * values_IK).sum(1), np.where(inside_I, low_I, value_I))
    return Worst(value_I, law_IK, np.zeros(len(low_I)))


def chi_penalty(values_IK: Floats, prob_IK: Floats, size_I: Floats, floor_I: Floats) -> Worst:
    """max over a of a - size - E max(0, a - V)^2 / (4 size); the adversary's law is
    m max(0, a - V) / (2 size), and the best a makes it sum to 1.
    """
    free_I = np.isinf(size_I)
    price_I = np.where(free_I, 1.0, size_I)
    v_IK, m_IK, mass_IK, mean_IK, _ = _prefixes(values_IK, prob_IK)
    with np.errstate(divide="ignore", invalid="ignore"):
        a_IK = _between(np.where(mass_IK > 0, mean_IK + 2 * price_I[:, None] / mass_IK, inf), v_IK)
    short_IJK = np.maximum(a_IK[:, :, None] - v_IK[:, None, :], 0.0)
    square_IJ = np.einsum("ik,ijk->ij", m_IK, short_IJK**2)
    dual_IJ = a_IK - price_I[:, None] - square_IJ / (4 * price_I[:, None])
    best_I = dual_IJ.argmax(1)
    a_I = np.take_along_axis(a_IK, best_I[:, None], 1)[:, 0]
    value_I = np.take_along_axis(dual_IJ, best_I[:, None], 1)[:, 0]
    # proportional, and made to sum to 1: at prices far below the spread of the values, rounding of
    # a would show
    weight_IK = prob_IK * np.maximum(a_I[:, None] - values_IK, 0.0)
    some_I = weight_IK.sum(1) > 0
    lowest_IK = np.where(values_IK == v_IK[:, :1], prob_IK, 0.0)
    weight_IK = np.where(some_I[:, None], weight_IK, lowest_IK)
    law_IK = weight_IK / weight_IK.sum(1, keepdims=True)
    return Worst(
        np.where(free_I, (prob_IK * values_IK).sum(1), value_I),
        np.where(free_I[:, None], prob_IK, law_IK),
        np.zeros(len(v_IK)),
    )


def _prefixes(values_IK: Floats, prob_IK: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Values in ascending order with their mass, and mass, mean and sum of squares around the mean
    of each prefix. Outcomes without mass take the value of the row's lowest one.
    """
    low_I = _lowest(values_IK, prob_IK)
    v_IK = np.where(prob_IK > 0, values_IK, low_I[:, None])
    order_IK = np.argsort(v_IK, axis=1, kind="stable")
    v_IK = np.take_along_axis(v_IK, order_IK, 1)
    m_IK = np.take_along_axis(prob_IK, order_IK, 1)
    gap_IK = v_IK - low_I[:, None]
    mass_IK = m_IK.cumsum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_IK = np.where(mass_IK > 0, (m_IK * gap_IK).cumsum(1) / mass_IK, 0.0)
    var_IK = (m_IK * gap_IK**2).cumsum(1) - mass_IK * mean_IK**2
    with np.errstate(divide="ignore", invalid="ignore"):
        var_IK = np.where(mass_IK > 0, var_IK.clip(min=0.0) / mass_IK, 0.0)
    return v_IK, m_IK, mass_IK, low_I[:, None] + mean_IK, var_IK


def _between(a_IK: Floats, v_IK: Floats) -> Floats:
    """Each a within its interval: from its value to the next one, the last without an end."""
    nexts_IK = np.concatenate([v_IK[:, 1:], np.full((len(v_IK), 1), inf)], 1)
    a_IK = np.clip(a_IK, v_IK, nexts_IK)
    return np.where(np.isfinite(a_IK), a_IK, v_IK)


def _lowest(values_IK: Floats, prob_IK: Floats) -> Floats:
    return np.where(prob_IK > 0, values_IK, inf).min(1)
