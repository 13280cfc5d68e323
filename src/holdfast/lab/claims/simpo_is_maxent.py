"""SimPO read as maximum-entropy RL with a temperature that falls with length.

First, an identity on exact optima: 12 outcomes with random rewards; the policy that maximizes sum
of pi(y) [r(y) - (beta / |y|) log pi(y)] is solved for to machine precision; reported is the largest
error, over pairs, of the reward difference that a method's own score would infer from that policy
(beta 2). Lengths are all 7, or drawn from 1 to 20. `maxent_length` carries the term beta (1 / |y_w|
- 1 / |y_l|) that the usual derivation drops.

Second, training: the world of ln_dpo_lengths without a taste for length, over grids of
temperatures, 400 steps of Adam at 0.05. The expected length of answers, if they were not cut, tells
whether a method's answers still end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq

from holdfast.lab.claim import Claim, Measured
from holdfast.lab.fit import adam
from holdfast.lab.verdict import all_of, bounded, equivalent
from holdfast.lab.worlds import unigram
from holdfast.lab.worlds.unigram import comparisons, gold_W, length_W, pairs, start_WD
from holdfast.methods import get
from holdfast.types import Pairs, Scored

ERROR, LENGTH, GOLD = (
    "largest error of inferred reward differences",
    "expected length, tokens",
    "gold",
)
ARMS: dict[str, dict[str, float]] = {
    "simpo": {"beta": 2.0, "gamma": 0.0},
    "maxent_length": {"beta": 2.0},
}


def optimum(reward_A: np.ndarray, length_A: np.ndarray, beta: float) -> np.ndarray:
    """log pi of the maximizer: r = (beta / |y|) (log pi + 1) + mu, with mu such that probabilities
    sum to one.
    """

    def logp(mu: float) -> np.ndarray:
        return (reward_A - mu) * length_A / beta - 1

    def excess(mu: float) -> float:
        top = logp(mu).max()
        return float(top + np.log(np.exp(logp(mu) - top).sum()))

    low = float(reward_A.min()) - 10 * beta
    return logp(brentq(excess, low, float(reward_A.max()) + 10 * beta, xtol=1e-14, rtol=1e-14))


def identity(seeds: Sequence[int], *, lengths: str) -> Measured:
    errors: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for seed in seeds:
        rng = np.random.default_rng([seed, 5])
        reward_A = rng.standard_normal(12)
        length_A = np.full(12, 7) if lengths == "equal" else rng.integers(1, 21, 12)
        logp_A = optimum(reward_A, length_A, 2.0)
        w_N, l_N = np.nonzero(~np.eye(12, dtype=bool))
        batch = Pairs(_scored(logp_A[w_N], length_A[w_N]), _scored(logp_A[l_N], length_A[l_N]))
        for arm, settings in ARMS.items():
            cost_N = get(arm).objective(batch, **settings)
            inferred_N = -torch.log(torch.expm1(cost_N)).numpy()  # softplus(-z) back to z
            errors[arm].append(float(np.abs(inferred_N - (reward_A[w_N] - reward_A[l_N])).max()))
    return {arm: {ERROR: values} for arm, values in errors.items()}


def _scored(logp_N: np.ndarray, length_N: np.ndarray) -> Scored:
    """One column a sequence: its sum, with its length in the mask."""
    return Scored(
        torch.from_numpy(logp_N)[:, None], torch.from_numpy(length_N.astype(float))[:, None]
    )


def training(seeds: Sequence[int]) -> Measured:
    chosen, rejected = comparisons(seeds, 1500, kappa=0.0)
    arms = {f"maxent, temperature {t:g}": ("maxent", {"temperature": t}) for t in (0.05, 0.2, 1.0)}
    arms |= {
        f"simpo, beta {b:g}, gamma {g:g}": ("simpo", {"beta": b, "gamma": g})
        for b, g in ((2.0, 0.0), (5.0, 0.0), (5.0, 2.5), (10.0, 0.0))
    }
    found = {}
    for arm, (name, settings) in arms.items():

        def cost(
            theta_WD: torch.Tensor, name: str = name, settings: dict[str, float] = settings
        ) -> torch.Tensor:
            cost_N = get(name).objective(pairs(chosen, rejected, theta_WD), **settings)
            return cost_N.view(len(theta_WD), -1).mean(-1)

        theta_WD = adam(cost, start_WD(len(seeds)), steps=400, rate=0.05, fade=False).theta_WD
        found[arm] = {
            LENGTH: length_W(theta_WD, cap=10**6).tolist(),
            GOLD: gold_W(theta_WD).tolist(),
        }
    return found


SHARED: dict[str, Any] = {"methods": ("simpo", "maxent", "maxent_length"), "world": unigram}
IDENTITY: dict[str, Any] = {
    **SHARED,
    "measure": identity,
    "of": ERROR,
    "sweep": {"lengths": ("equal", "unequal")},
    "seeds": range(50),
    "chunk": 50,
}
TRAINING: dict[str, Any] = {**SHARED, "measure": training, "seeds": range(6), "chunk": 3}

CLAIMS = (
    Claim(
        says=(
            "At equal lengths SimPO without a margin infers the rewards of the "
            "maximum-entropy problem exactly (error below 1e-6)."
        ),
        verdict=bounded("simpo", ERROR, high=1e-6, at={"lengths": "equal"}, every=True),
        paper_number="derived there for any lengths",
        **IDENTITY,
    ),
    Claim(
        says=(
            "SimPO without a margin infers the rewards of the maximum-entropy problem at "
            "unequal lengths too."
        ),
        verdict=bounded("simpo", ERROR, high=1e-6, at={"lengths": "unequal"}, every=True),
        paper_number="derived there for any lengths",
        notes=(
            "The slope of pi log pi leaves a term beta (1 / |y_w| - 1 / |y_l|), which cancels "
            "only at equal lengths."
        ),
        **IDENTITY,
    ),
    Claim(
        says="With the missing term put back (maxent_length) the rewards are exact at any lengths.",
        verdict=bounded("maxent_length", ERROR, high=1e-6, every=True),
        **IDENTITY,
    ),
    Claim(
        says=(
            "Maximum entropy at a constant temperature forgets to end: answers of over 100 "
            "tokens on average, ten times the reference's."
        ),
        of=LENGTH,
        verdict=all_of(
            *(bounded(f"maxent, temperature {t:g}", LENGTH, low=100.0) for t in (0.05, 0.2, 1.0))
        ),
        paper_number="online maximum-entropy RLHF is unstable and over-optimizes",
        **TRAINING,
    ),
    Claim(
        says="SimPO without a margin keeps answers below 30 tokens in the same training.",
        of=LENGTH,
        verdict=all_of(
            *(bounded(f"simpo, beta {b:g}, gamma 0", LENGTH, high=30.0) for b in (2.0, 5.0, 10.0))
        ),
        **TRAINING,
    ),
    Claim(
        says=(
            "A margin acts as a smaller beta: SimPO at beta 5, gamma 2.5 has the gold of beta "
            "2, gamma 0, within 0.05."
        ),
        of=GOLD,
        verdict=equivalent("simpo, beta 5, gamma 2.5", "simpo, beta 2, gamma 0", GOLD, within=0.05),
        **TRAINING,
    ),
)
