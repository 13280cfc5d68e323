"""Preference learning algorithms do not learn preference rankings.

World: log-ratios linear in R^200, 1,000 training and 1,000 held-out pairs, gold margins of standard
deviation 1.5, Bradley-Terry labels, DPO at beta 0.1 by gradient descent, the checkpoint of least
held-out cost. The reference's own log-ratios are N(0, s^2), independent of the reward, as when
answers differ in length: s is the axis.

Reward accuracy compares log-ratios to the reference; ranking accuracy compares the policy's
likelihoods. A pair that the reference ranks wrongly by c nats is ranked rightly only once its cost
is below -log sigma(beta c).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from holdfast.lab import fit
from holdfast.lab.claim import Claim, Measured
from holdfast.lab.verdict import all_of, bounded, moves, separated, steady
from holdfast.methods import get
from holdfast.types import Pairs, Scored

BETA, STEPS = 0.1, 300
FLIPPED, REWARDED, RANKED, GAP = (
    "share of wrong pairs flipped",
    "reward accuracy",
    "ranking accuracy",
    "alignment gap",
)


def checkpoints(seeds: Sequence[int], *, s: float) -> Measured:
    found: dict[str, dict[str, list[float]]] = {"dpo": {}, "dpo, no reference": {}}
    for seed in seeds:
        rng = np.random.default_rng([seed, 17])
        theta_D = rng.standard_normal(200)
        theta_D *= 1.5 / np.linalg.norm(theta_D)
        x_ND = torch.from_numpy(
            rng.standard_normal((2000, 200))
        )  # the better answer's features minus the other's, once labeled
        margin_N = x_ND @ torch.from_numpy(theta_D)
        sign_N = torch.where(
            torch.from_numpy(rng.random(2000)) < margin_N.sigmoid(), 1.0, -1.0
        ).double()
        x_ND, margin_N = x_ND * sign_N[:, None], margin_N * sign_N
        c_N = torch.from_numpy(
            s * rng.standard_normal(2000)
        )  # how much the reference prefers the rejected answer, nats
        for arm, gamma in (("dpo", 1.0), ("dpo, no reference", 0.0)):
            for name, value in _judged(x_ND, c_N, margin_N, gamma).items():
                found[arm].setdefault(name, []).append(value)
    return found


def _pairs(h_N: torch.Tensor, c_N: torch.Tensor, gamma: float) -> Pairs:
    """Chosen against rejected with log-ratio h; the reference's own ratio -c counts gamma times in
    the cost.
    """
    zero = torch.zeros_like(c_N)[:, None]
    mask = torch.ones_like(zero)
    return Pairs(
        Scored((h_N - c_N)[:, None], mask, (-gamma * c_N)[:, None]), Scored(zero, mask, zero)
    )


def _judged(
    x_ND: torch.Tensor, c_N: torch.Tensor, gold_N: torch.Tensor, gamma: float
) -> dict[str, float]:
    dpo, train, held = get("dpo").objective, slice(0, 1000), slice(1000, None)
    best, least = torch.zeros(200, dtype=torch.float64), float("inf")

    def watch(step: int, theta_1D: torch.Tensor) -> None:
        nonlocal best, least
        loss = (
            float(dpo(_pairs(x_ND[held] @ theta_1D[0], c_N[held], gamma), beta=BETA).mean())
            if step % 5 == 0
            else float("inf")
        )
        if loss < least:
            best, least = theta_1D[0], loss

    def cost(theta_1D: torch.Tensor) -> torch.Tensor:
        return dpo(_pairs(x_ND[train] @ theta_1D[0], c_N[train], gamma), beta=BETA).mean()[None]

    fit.adam(
        cost,
        torch.zeros(1, 200, dtype=torch.float64),
        steps=STEPS,
        rate=0.1,
        fade=False,
        watch=watch,
    )
    h_N, c_N, gold_N = x_ND[train] @ best, c_N[train], gold_N[train]
    ranked_N, wrong_N = h_N > c_N, c_N > 0
    ideal = float((gold_N > BETA * c_N).double().mean())  # logit(alpha) > beta c
    return {
        FLIPPED: float(ranked_N[wrong_N].double().mean()),
        REWARDED: float((h_N > 0).double().mean()),
        RANKED: float(ranked_N.double().mean()),
        GAP: ideal - float(ranked_N.double().mean()),
    }


SHARED: dict[str, Any] = {
    "methods": ("dpo",),
    "world": fit,
    "measure": checkpoints,
    "sweep": {"s": (10.0, 30.0, 100.0)},
    "seeds": range(12),
    "chunk": 6,
}

CLAIMS = (
    Claim(
        says=(
            "The share of the reference's wrong pairs that DPO ranks rightly falls as the "
            "reference's log-ratios grow."
        ),
        of=FLIPPED,
        verdict=moves("dpo", FLIPPED, along="s", up=False),
        paper_number="fewer than 10% of wrong pairs are flipped, on pairs of real models",
        **SHARED,
    ),
    Claim(
        says=(
            "Where the reference's log-ratios are ten times what DPO learns (s = 100), DPO "
            "turns fewer than 10% of its wrong pairs."
        ),
        of=FLIPPED,
        verdict=bounded("dpo", FLIPPED, high=0.10, at={"s": 100.0}),
        paper_number="fewer than 10%",
        **SHARED,
    ),
    Claim(
        says=(
            "Reward accuracy says nothing of ranking: it stays within 0.01 while ranking "
            "accuracy falls by more than 0.05 at each "
            "step of s."
        ),
        of=REWARDED,
        verdict=all_of(
            steady("dpo", REWARDED, along="s", within=0.01),
            moves("dpo", RANKED, along="s", up=False, by=0.05),
        ),
        paper_number="reward accuracy improves while ranking accuracy stays below 60%",
        **SHARED,
    ),
    Claim(
        says="Without the reference in its cost, DPO flips more of the wrong pairs than with it.",
        of=FLIPPED,
        verdict=separated("dpo, no reference", "dpo", FLIPPED),
        **SHARED,
    ),
)
