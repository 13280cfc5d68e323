"""An ambiguity set: a divergence, ball or penalty, and how large it is at each step and factor."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from holdfast.card import check
from holdfast.errors import DataError
from holdfast.lookup import named
from holdfast.optimization.robust_mdp import divergences, from_data
from holdfast.optimization.robust_mdp.divergences import Dual, Worst
from holdfast.optimization.robust_mdp.from_data import Estimated
from holdfast.stats.arrays import Floats, floats

LISTS = "holdfast optimize robust-mdp solve --help"


@dataclass(frozen=True)
class Ambiguity:
    """Sets around the nominal laws, one a factor.

    Attributes:
        name: for tables
        size_TI: radii or prices; T is the horizon or 1, I the number of factors or 1
        dual: the worst case over exact laws
        estimated: the worst case over laws that a regression estimated
    """

    name: str
    size_TI: Floats
    dual: Dual
    estimated: Estimated

    def size_I(self, step: int, factors: int) -> Floats:
        """Sizes at one step.

        Raises:
            DataError: there are sizes for another number of factors or steps.
        """
        steps, given = self.size_TI.shape
        if (steps > 1 and step >= steps) or given not in (1, factors):
            raise DataError(
                f"the ambiguity set has sizes for {steps} steps and {given} factors; step {step} "
                f"has {factors} factors",
                hint="one number, or an array of (factors,) or (horizon, factors)",
            )
        return np.broadcast_to(self.size_TI[step if steps > 1 else 0], (factors,))

    def worst(self, step: int, values_IK: Floats, prob_IK: Floats, floor: float) -> Worst:
        rows = len(prob_IK)
        return self.dual(values_IK, prob_IK, self.size_I(step, rows), np.full(rows, floor))


NOMINAL = Ambiguity("nominal", np.zeros((1, 1)), divergences.nominal, from_data.nominal)


@dataclass(frozen=True)
class Divergence:
    """The two sets that a divergence makes, each solved over exact and over estimated laws."""

    ball: tuple[Dual, Estimated]
    penalty: tuple[Dual, Estimated]
    largest: float = inf  # of two laws


DIVERGENCES = {
    "total_variation": Divergence(
        (divergences.tv_ball, from_data.tv_ball),
        (divergences.tv_penalty, from_data.tv_penalty),
        largest=1.0,
    ),
    "kl": Divergence(
        (divergences.kl_ball, from_data.kl_ball), (divergences.kl_penalty, from_data.kl_penalty)
    ),
    "chi_square": Divergence(
        (divergences.chi_ball, from_data.chi_ball),
        (divergences.chi_penalty, from_data.chi_penalty),
    ),
}


def ball(divergence: str, radius: object) -> Ambiguity:
    """Every law within `radius` of the nominal one.

    Args:
        divergence: total_variation (half of the absolute differences; it may reach outcomes of
            probability 0), kl (nats) or chi_square
        radius: one number, an array (factors,), or (horizon, factors); 0 leaves a factor alone

    Raises:
        OptionError: there is no such divergence.
        DataError: a radius that is negative, not finite, or larger than the divergence can be.
    """
    size_TI = _sizes(radius, "radius", finite=True)
    kind = named(divergence, DIVERGENCES, "divergence", lists=LISTS)
    if size_TI.max() > kind.largest:
        raise DataError(
            f"radius is {size_TI.max():g}; {divergence} of two laws is at most {kind.largest:g}",
            hint=f"a radius of {kind.largest:g} allows every law",
        )
    duals = kind.ball
    return Ambiguity(f"{divergence} ball {_said(size_TI)}", size_TI, *duals)


def penalty(divergence: str, price: object) -> Ambiguity:
    """Every law, at `price` a unit of divergence.

    Args:
        divergence: as in `ball`
        price: one number, an array (factors,), or (horizon, factors), above 0; infinity leaves a
            factor alone

    Raises:
        OptionError: there is no such divergence.
        DataError: a price that is not above 0.
    """
    size_TI = _sizes(price, "price", finite=False)
    check("price", float(size_TI.min()), float(size_TI.min()) > 0, "be above 0")
    duals = named(divergence, DIVERGENCES, "divergence", lists=LISTS).penalty
    return Ambiguity(f"{divergence} penalty {_said(size_TI)}", size_TI, *duals)


def _sizes(given: object, what: str, *, finite: bool) -> Floats:
    size = floats(given, what, low=0.0, finite=finite)
    if np.isnan(size).any():
        raise DataError(f"{what} holds NaN", hint="numbers of at least 0")
    if size.ndim > 2:
        raise DataError(
            f"{what} has shape {size.shape}", hint="one number, (factors,), or (horizon, factors)"
        )
    return size.reshape((1, -1) if size.ndim < 2 else size.shape)


def _said(size_TI: Floats) -> str:
    low, high = float(size_TI.min()), float(size_TI[size_TI < inf].max(initial=-inf))
    return f"{high:g}" if low == high or high == -inf else f"{low:g} to {high:g}"
