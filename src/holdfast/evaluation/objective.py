"""What a run was trained to do to one pair, read from its record: how far its cost would carry the
pair if nothing else held it back.

A cost that reads a pair through h alone, its log-ratio to the reference, has a minimizer for a pair
that a share alpha of raters label as given: h* = argmin over h of alpha cost(h) + (1 - alpha)
cost(-h). DPO's is logit(alpha) / beta, IPO's (2 alpha - 1) / (2 tau). A policy free enough to meet
every pair ranks it rightly if and only if h* is above c, the nats by which the reference prefers
the rejected answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast.card import Method, PairMethod
from holdfast.errors import OptionError
from holdfast.evaluation.difficulty import log_odds
from holdfast.inputs import reference
from holdfast.methods import get
from holdfast.reductions.mean import mean
from holdfast.stats.arrays import Floats
from holdfast.types import Pairs, Scored

FARTHEST = 1e6  # nats; a minimizer beyond is infinite


@dataclass(frozen=True)
class Own:
    """The objective of a run. `why_not` says why its cost sets no target for a single pair, ""
    where it does.
    """

    name: str
    settings: Mapping[str, Any]
    beta: float | None
    why_not: str

    def target_N(self, share_N: Floats) -> Floats | None:
        """h* of each pair, nats; infinite where the cost falls without end, None where it is not
        defined.
        """
        return None if self.why_not else target(get(self.name), self.settings, share_N)

    def describe(self) -> dict[str, Any]:
        return {
            "method": self.name,
            "settings": dict(self.settings),
            "beta": self.beta,
            "no_target": self.why_not,
        }


def own_objective(record: Mapping[str, Any]) -> Own | None:
    """From the record of a run; None where the record names no method that there is."""
    settings = record.get("settings", {})
    try:
        method = get(str(record.get("method")))
    except OptionError:
        return None
    why_not = obstacle(method, settings)
    if not why_not and record.get("reduction", mean().name) != mean().name:
        why_not = f"its rows are not averaged alike ({record['reduction']})"
    return Own(
        method.name,
        settings,
        settings["beta"] if "beta" in settings and sums_ratios(method) else None,
        why_not,
    )


def sums_ratios(method: Method) -> bool:
    """Whether its beta, if it reads one, is the strength of a KL penalty: reward per nat of a whole
    answer's log-ratio.
    """
    return method.card.tokens == "sum" and reference in method.card.needs


def obstacle(method: Method, settings: Mapping[str, Any]) -> str:
    """Why the cost of a pair is no function of its log-ratio to the reference alone; "" where it
    is, as tried on made-up numbers.
    """
    if not isinstance(method, PairMethod):
        return "it reads single answers"
    if reference not in method.card.needs:
        return "its cost knows no reference"
    further = [need.name for need in method.card.needs if need is not reference]
    if further:
        return f"its cost also reads {', '.join(further)}"
    if method.state is not None or method.card.batch_dependent or not method.reduction.linear:
        return "the cost of a pair depends on other pairs"
    h_N = torch.linspace(-3, 3, 7, dtype=torch.float64)
    plain_N = method.objective(_pairs(h_N), **settings)
    moved = [_pairs(h_N, likelier=2.0), _pairs(h_N, reference=-5.0), _pairs(h_N, tokens=4)]
    same = all(
        torch.allclose(method.objective(pairs, **settings), plain_N, atol=1e-9) for pairs in moved
    )
    return "" if same else "its cost reads more of a pair than its log-ratio"


def target(method: PairMethod | Method, settings: Mapping[str, Any], share_N: Floats) -> Floats:
    """argmin over h of alpha cost(h) + (1 - alpha) cost(-h), by bisection of its slope; a share of
    1 counts as odds of 1000.
    """
    known, place_N = np.unique(share_N, return_inverse=True)
    alpha_U = torch.from_numpy(1 / (1 + np.exp(-log_odds(known))))
    low_U, high_U = torch.full_like(alpha_U, -FARTHEST), torch.full_like(alpha_U, FARTHEST)

    def slope_U(h_U: Tensor) -> Tensor:
        leaf = torch.cat([h_U, -h_U]).requires_grad_()
        (grad,) = torch.autograd.grad(method.objective(_pairs(leaf), **settings).sum(), leaf)
        with_label_U, against_U = grad.chunk(2)
        return alpha_U * with_label_U - (1 - alpha_U) * against_U

    endless_U = torch.where(
        slope_U(high_U) < 0, torch.inf, torch.where(slope_U(low_U) > 0, -torch.inf, 0.0)
    )
    for _ in range(90):
        middle_U = (low_U + high_U) / 2
        rises_U = slope_U(middle_U) > 0
        low_U, high_U = (
            torch.where(rises_U, low_U, middle_U),
            torch.where(rises_U, middle_U, high_U),
        )
    return (low_U + endless_U).numpy()[place_N.reshape(np.shape(share_N))]


def _pairs(h_N: Tensor, *, likelier: float = 0.0, reference: float = 0.0, tokens: int = 1) -> Pairs:
    """Pairs of log-ratio h: both answers `likelier` by so many nats, the reference's own ratio, the
    chosen answer's length.
    """
    zero_N1 = torch.zeros_like(h_N).detach()[:, None]
    ref_NT = torch.cat([zero_N1 + reference, *[zero_N1] * (tokens - 1)], 1)
    logp_NT = torch.cat([h_N[:, None] + likelier + reference, *[zero_N1] * (tokens - 1)], 1)
    chosen = Scored(logp_NT, torch.ones_like(ref_NT), ref_NT)
    return Pairs(chosen, Scored(zero_N1 + likelier, torch.ones_like(zero_N1), zero_N1))
