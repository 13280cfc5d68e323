"""One policy for several groups: the one whose worst-served group is served best."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import logsumexp
from torch import Tensor

from holdfast.card import check
from holdfast.errors import DataError
from holdfast.reductions.groups import toward_worst
from holdfast.stats import arrays
from holdfast.stats.arrays import Floats


@dataclass(frozen=True)
class MaxMin:
    """A policy with its certificate: no policy has an objective above `value + gap`.

    Attributes:
        logp_SA: the policy, log-probabilities of answers A under prompts S.
        weight_K: how much each group's reward counts in it; groups with weight are served equally
            well, the others better.
        served_K: each group's mean reward under it.
        kl: KL(policy || reference), nats, mean over prompts.
        value: min_k served_k - beta kl.
        gap: dual minus primal.
    """

    logp_SA: Floats
    weight_K: Floats
    served_K: Floats
    kl: float
    value: float
    gap: float


def maxmin(
    reward_KSA: ArrayLike,
    log_ref_SA: ArrayLike,
    *,
    beta: float,
    prompt_weight_S: ArrayLike | None = None,
) -> MaxMin:
    """The max-min policy on exact tables.

        max over pi of  min_k F_k(pi) - beta KL(pi || pi_ref),
        F_k(pi) = mean over prompts of E_{y ~ pi} r_k(x, y)
                                                                          (Chakraborty et al. 2024,
                                                                          MaxMin-RLHF)
        dual    D(lambda) = beta mean over prompts of
                            log sum_y pi_ref exp(sum_k lambda_k r_k / beta), convex on the simplex
        policy  pi_lambda proportional to pi_ref exp(sum_k lambda_k r_k / beta) at the least D;
                dD/dlambda_k = F_k(pi_lambda)

    The minimum is over the means of groups, not answer by answer: paying each answer the least of
    its rewards is another problem, with a smaller value. Serving the worst group costs the others,
    unless an answer is good for all.

    Rewards must be comparable across groups. Learned rewards are known up to a constant a prompt
    and have scales of their own: see `gains` and `regrets` before taking a minimum over them.

    Args:
        reward_KSA: r_k(x, y); groups x answers is read as one prompt.
        log_ref_SA: the reference's log-probabilities; -inf excludes an answer.
        beta: price of a nat of KL, in the unit of the rewards.
        prompt_weight_S: how often each prompt is asked; equal unless given.

    Raises:
        DataError: shapes that do not fit, numbers that are not finite, a reference that does not
            sum to 1.
        OptionError: beta is not above 0.

    Departures:
        1. Solved whole, by its dual, with a duality gap; the paper runs PPO on the reward of the
           group that is worst in the batch, whose exact best response alternates for ever between
           opposed groups. `pool_toward_worst` is the smooth version of that step.
    """
    check("beta", beta, lambda: 0 < beta < inf, "be above 0 and finite")
    reward, log_ref, weight_S = _tables(reward_KSA, log_ref_SA, prompt_weight_S)
    groups = len(reward)
    # Beside a constant a group, only differences in units of beta matter to the search.
    scale = beta * max(1.0, float(np.ptp(reward)) / beta)

    def dual(weight_K: Floats) -> tuple[float, Floats]:
        logit = log_ref + np.einsum("k,ksa->sa", weight_K, reward) / beta
        each_S = logsumexp(logit, axis=1)
        served_K = np.einsum("s,sa,ksa->k", weight_S, np.exp(logit - each_S[:, None]), reward)
        return beta * float(weight_S @ each_S) / scale, served_K / scale

    weight_K = np.full(groups, 1 / groups)
    if groups > 1:
        found = minimize(
            dual,
            weight_K,
            jac=True,
            method="SLSQP",
            bounds=[(0, 1)] * groups,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
            options={"ftol": 1e-15, "maxiter": 1000},
        )
        weight_K = np.clip(found.x, 0, None) / np.clip(found.x, 0, None).sum()
    best = policy_for(reward, log_ref, weight_K, beta=beta, prompt_weight_S=weight_S)
    return MaxMin(
        best.logp_SA,
        weight_K,
        best.served_K,
        best.kl,
        best.value,
        float(np.maximum(0.0, dual(weight_K)[0] * scale - best.value)),
    )


def policy_for(
    reward_KSA: ArrayLike,
    log_ref_SA: ArrayLike,
    weight_K: ArrayLike,
    *,
    beta: float,
    prompt_weight_S: ArrayLike | None = None,
) -> MaxMin:
    """The optimum for a weighted sum of the groups' rewards: with their shares as weights, what one
    pooled reward asks for.

    Its `gap` is how far it may fall short of the max-min value: infinite, since these weights
    certify nothing.
    """
    check("beta", beta, lambda: 0 < beta < inf, "be above 0 and finite")
    reward, log_ref, weight_S = _tables(reward_KSA, log_ref_SA, prompt_weight_S)
    weight_K = arrays.floats(weight_K, "weight_K", shape=(len(reward),), hint="one number a group")
    logit = log_ref + np.einsum("k,ksa->sa", weight_K, reward) / beta
    logp = logit - logsumexp(logit, axis=1, keepdims=True)
    p = np.exp(logp)
    served_K = np.einsum("s,sa,ksa->k", weight_S, p, reward)
    log_ratio = np.subtract(logp, log_ref, where=p > 0, out=np.zeros_like(p))
    kl = float(weight_S @ (p * log_ratio).sum(1))
    return MaxMin(logp, weight_K, served_K, kl, float(served_K.min()) - beta * kl, inf)


def gains(reward_KSA: ArrayLike, log_ref_SA: ArrayLike, *, unit: bool = True) -> Floats:
    """Rewards as gains over the reference: minus the reference's mean under each prompt, and
    (`unit`) in units of the group's standard deviation under the reference, over all prompts.
    Constants that a learned reward leaves open are gone."""
    reward, log_ref, _ = _tables(reward_KSA, log_ref_SA, None)
    p = np.exp(log_ref)
    centered = reward - np.einsum("sa,ksa->ks", p, reward)[..., None]
    spread_K = np.sqrt(np.einsum("sa,ksa->k", p, centered**2) / len(p))
    unit_K = np.where(spread_K > 0, spread_K, 1.0) if unit else np.ones_like(spread_K)
    out: Floats = centered / unit_K[:, None, None]
    return out


def regrets(reward_KSA: ArrayLike, log_ref_SA: ArrayLike, *, beta: float) -> Floats:
    """Rewards minus what the group could get, E r_k - beta KL at its own best policy: max-min on
    these is least worst regret. A group whose labels are noisy has little to get, and does not hold
    the others back for it."""
    check("beta", beta, lambda: 0 < beta < inf, "be above 0 and finite")
    reward, log_ref, weight_S = _tables(reward_KSA, log_ref_SA, None)
    best_K: Floats = beta * logsumexp(log_ref + reward / beta, axis=2) @ weight_S
    return reward - best_K[:, None, None]


def pool_toward_worst(
    rewards_PGM: Tensor, log_weight_M: Tensor, *, step: float = 0.1
) -> tuple[Tensor, Tensor]:
    """One reward for each of a batch of sampled answers, from those of M groups: the groups that
    are served worst count more.

        F_m = batch mean of r_m,   weight_m proportional to weight_m exp(-step F_m),
        reward = sum_m weight_m r_m

    Exponentiated gradient on the dual of `maxmin`, for any policy-gradient loop: averaged over its
    steps the policy approaches the max-min policy. The reduction `groups` is the same adversary for
    the costs of pairs. Weights move only by what F says of a whole batch, so small batches want a
    small step.

    Args:
        rewards_PGM: rewards of G answers to each of P prompts, by M reward models that are
            comparable (see `gains`).
        log_weight_M: weights so far, logarithms; uniform zeros to begin with.
        step: per unit of reward.

    Returns:
        (rewards_PG, log_weight_M): the pooled rewards, and the weights to hand to the next batch.
    """
    check("step", step, lambda: 0 <= step < inf, "be at least 0 and finite")
    log_weight_M = toward_worst(
        log_weight_M, -rewards_PGM.detach().to(log_weight_M).mean((0, 1)), step
    )
    return torch.einsum("pgm,m->pg", rewards_PGM, log_weight_M.exp().to(rewards_PGM)), log_weight_M


def _tables(
    reward: ArrayLike, log_ref: ArrayLike, prompt_weight: ArrayLike | None
) -> tuple[Floats, Floats, Floats]:
    r, ref = (
        arrays.floats(reward, "reward_KSA", finite=False),
        arrays.floats(log_ref, "log_ref_SA", finite=False),
    )
    if r.ndim == 2 and ref.ndim == 1:
        r, ref = r[:, None], ref[None]
    if r.ndim != 3 or ref.ndim != 2 or r.shape[1:] != ref.shape or not r.size:
        raise DataError(
            "rewards are groups x prompts x answers, the reference prompts x answers; "
            f"these are {r.shape} and {ref.shape}"
        )
    if not np.isfinite(r).all() or np.isnan(ref).any() or (ref == inf).any():
        raise DataError(
            "a reward is not finite, or a log-probability is not a number",
            hint="-inf in the reference excludes an answer",
        )
    off = abs(logsumexp(ref, axis=1)).max()
    if not off < 1e-6:
        raise DataError(
            f"the reference's probabilities sum to {np.exp(logsumexp(ref, axis=1)).tolist()}",
            hint="give log_softmax of it",
        )
    weight = (
        np.ones(len(ref))
        if prompt_weight is None
        else arrays.floats(prompt_weight, "prompt weights", finite=False)
    )
    if (
        weight.shape != (len(ref),)
        or not np.isfinite(weight).all()
        or (weight < 0).any()
        or weight.sum() <= 0
    ):
        raise DataError(
            f"prompt weights must be {len(ref)} finite numbers of at least 0, not all 0; "
            f"these are {weight.tolist()}"
        )
    return r, ref, weight / weight.sum()
