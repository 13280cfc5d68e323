"""Robust value iteration: exact values and policies for a known process.

    Q_h(s, a) = r_h(s, a) + sum_i features(s, a, i) nu_{h,i}
    nu_{h,i}  = inf over the laws q in factor i's set of E_q[gain + V_{h+1}]   (+ penalty)
    optimum   V_h(s) = max_a Q_h(s, a), or with a temperature eta and a reference policy
              V_h(s) = eta log sum_a ref(a|s) exp(Q_h(s, a) / eta)
                     = max over pi of E_pi Q - eta KL(pi || ref)
    a policy  V_h(s) = E_pi Q_h - eta KL(pi || ref)

Iyengar 2005, "Robust dynamic programming"; for the regularized form, "Policy regularized
distributionally robust Markov decision processes with linear function approximation" (arXiv
2510.14246).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from scipy.special import log_softmax, logsumexp

from holdfast.card import check
from holdfast.errors import DataError
from holdfast.optimization.robust_mdp.ambiguity import NOMINAL, Ambiguity
from holdfast.optimization.robust_mdp.mdp import MDP
from holdfast.stats.arrays import SUM_TOLERANCE, Floats, floats


@dataclass(frozen=True)
class Solution:
    """An optimum, or the value of a policy.

    Attributes:
        value: of the law of the first state
        value_HS: of each state, and of the end (zeros): (H + 1, S)
        policy_HSA: probabilities
    """

    value: float
    value_HS: Floats
    policy_HSA: Floats


def q_SA(mdp: MDP, ambiguity: Ambiguity, step: int, value_S: Floats) -> Floats:
    """One robust backup: what an action is worth if its successor states are worth value_S."""
    values_O = mdp.values_O(value_S)
    worst = ambiguity.worst(
        step, values_O[mdp.outcome_IK(step)], mdp.prob_IK(step), float(values_O.min())
    )
    q_X = mdp.reward_X(step) + mdp.features_XI @ worst.value_I
    return q_X.reshape(mdp.states, mdp.actions)


def optimum(
    mdp: MDP, ambiguity: Ambiguity = NOMINAL, *, eta: float = 0.0, reference: Any = None
) -> Solution:
    """The best policy against the worst kernel.

    Args:
        mdp: the process
        ambiguity: the set of kernels; the nominal one alone unless given
        eta: temperature of the KL term; 0 for none, and a greedy policy (the first of equals)
        reference: policy (A,), (S, A) or (H, S, A), positive everywhere; uniform unless given

    Raises:
        OptionError: eta is negative or not finite.
        DataError: the reference is no policy of this process.
    """
    check("eta", eta, lambda: 0 <= eta < inf, "be at least 0 and finite")
    log_ref_HSA = np.log(policy_of(mdp, reference, "reference", positive=True))
    value_HS = np.zeros((mdp.horizon + 1, mdp.states))
    policy_HSA = np.zeros((mdp.horizon, mdp.states, mdp.actions))
    for step in reversed(range(mdp.horizon)):
        q = q_SA(mdp, ambiguity, step, value_HS[step + 1])
        policy_HSA[step], value_HS[step] = soft_step(q, log_ref_HSA[step], eta)
    return Solution(float(mdp.start_S @ value_HS[0]), value_HS, policy_HSA)


def evaluate(
    mdp: MDP,
    policy: Any,
    ambiguity: Ambiguity = NOMINAL,
    *,
    eta: float = 0.0,
    reference: Any = None,
) -> Solution:
    """The value of a policy against the worst kernel, minus eta KL from the reference where there
    is a temperature. Arguments and errors as in `optimum`; `policy` is shaped as `reference` is.
    """
    check("eta", eta, lambda: 0 <= eta < inf, "be at least 0 and finite")
    policy_HSA = policy_of(mdp, policy, "policy")
    cost_HS = np.zeros((mdp.horizon, mdp.states))
    if eta:
        ref_HSA = policy_of(mdp, reference, "reference", positive=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(policy_HSA > 0, np.log(policy_HSA / ref_HSA), 0.0)
        cost_HS = eta * (policy_HSA * ratio).sum(2)
    value_HS = np.zeros((mdp.horizon + 1, mdp.states))
    for step in reversed(range(mdp.horizon)):
        q = q_SA(mdp, ambiguity, step, value_HS[step + 1])
        value_HS[step] = (policy_HSA[step] * q).sum(1) - cost_HS[step]
    return Solution(float(mdp.start_S @ value_HS[0]), value_HS, policy_HSA)


def soft_step(q: Floats, log_ref_SA: Floats, eta: float) -> tuple[Floats, Floats]:
    """The policy that maximizes E_pi Q - eta KL(pi || ref) in each state, and that maximum. At eta
    0 the greedy one.
    """
    if eta == 0:
        policy_SA = np.zeros_like(q)
        policy_SA[np.arange(len(q)), q.argmax(1)] = 1.0
        return policy_SA, q.max(1)
    logits_SA = log_ref_SA + q / eta
    return np.exp(log_softmax(logits_SA, axis=1)), eta * logsumexp(logits_SA, axis=1)


def policy_of(mdp: MDP, given: Any, what: str, *, positive: bool = False) -> Floats:
    """A policy of every step, from one of (A,), (S, A) or (H, S, A); uniform if there is none.

    Raises:
        DataError: another shape, rows that do not sum to 1, or a 0 where `positive` is asked for.
    """
    shape = (mdp.horizon, mdp.states, mdp.actions)
    if given is None:
        return np.broadcast_to(np.full(mdp.actions, 1 / mdp.actions), shape)
    policy = floats(given, what, low=0.0)
    if policy.ndim not in (1, 2, 3) or policy.shape != shape[3 - policy.ndim :]:
        raise DataError(
            f"{what} has shape {policy.shape}; the process has {mdp.horizon} steps, {mdp.states} "
            f"states and {mdp.actions} actions",
            hint="(A,), (S, A) or (H, S, A)",
        )
    wrong = np.argwhere(np.abs(policy.sum(-1) - 1) > SUM_TOLERANCE)
    if len(wrong):
        raise DataError(
            f"{what}{wrong[0].tolist() or ''} sums to {policy.sum(-1)[tuple(wrong[0])]:g}, not to 1"
        )
    if positive and (policy == 0).any():
        raise DataError(
            f"{what}{np.argwhere(policy == 0)[0].tolist()} is 0: KL divergence from it is infinite",
            hint="mix in a little of the uniform policy",
        )
    return np.broadcast_to(policy, shape)
