"""DR-RPO: learning online a stochastic policy that is robust to a shift of the kernel.

"Policy regularized distributionally robust Markov decision processes with linear function
approximation" (2025, arXiv 2510.14246), on the linear model of "Distributionally robust
off-dynamics reinforcement learning" (arXiv 2403.09621). Each episode rolls out the policy in the
nominal process, then goes backward:

    Lambda_h = ridge I + sum phi phi'        w_h = Lambda_h^-1 sum phi (e_outcome)'
    nu_{h,i} = the worst case of factor i's estimated law w_{h,i} on gain + V_{h+1}
    Q_h      = clip(r_h + phi' (nu_h + beta sqrt(diag Lambda_h^-1)), 0, most left to be earned)

and updates the policy in one of two readings of the paper's abstract:

    fixed reference    pi_h proportional to ref exp(Q_h / eta),
                       V_h = eta log sum_a ref exp(Q_h / eta)
    mirror             pi_h proportional to the last episode's pi_h exp(Q_h / eta),
                       V_h = E_pi Q_h

Departures: 1. The paper's text and code could not be read; which reading is its own is unknown.
2. Values are regressed above the least that can still be earned, so that ridge is pessimistic for
negative rewards too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

import numpy as np
from rich.progress import track
from scipy.special import log_softmax

from holdfast.card import check
from holdfast.errors import DataError
from holdfast.optimization.robust_mdp.ambiguity import NOMINAL, Ambiguity
from holdfast.optimization.robust_mdp.mdp import MDP
from holdfast.optimization.robust_mdp.planning import evaluate, optimum, policy_of, soft_step
from holdfast.stats.arrays import Floats, floats, whole
from holdfast.terminal import Terminal

LARGEST = 800  # features: a step keeps a matrix of their square
# Q_SA, log reference_SA, the last episode's log policy_SA -> log policy_SA, V_S
PolicyStep = Callable[[Floats, Floats, Floats], tuple[Floats, Floats]]


def fixed_reference(eta: float) -> PolicyStep:
    """Reading A. At eta 0 it is greedy: DR-LSVI-UCB, or LSVI-UCB without an ambiguity set."""
    check("eta", eta, lambda: 0 <= eta < inf, "be at least 0 and finite")

    def step(q: Floats, log_ref_SA: Floats, last_SA: Floats) -> tuple[Floats, Floats]:
        policy_SA, value_S = soft_step(q, log_ref_SA, eta)
        with np.errstate(divide="ignore"):
            return np.log(policy_SA), value_S

    return step


def mirror(eta: float) -> PolicyStep:
    """Reading B: a step of mirror descent from the last episode's policy."""
    check("eta", eta, lambda: 0 < eta < inf, "be above 0 and finite")

    def step(q: Floats, log_ref_SA: Floats, last_SA: Floats) -> tuple[Floats, Floats]:
        log_pi_SA = log_softmax(last_SA + q / eta, axis=1)
        return log_pi_SA, (np.exp(log_pi_SA) * q).sum(1)

    return step


@dataclass(frozen=True)
class Learned:
    """What an episode's policy was worth, exactly, by episode.

    Attributes:
        policy_HSA: after the last episode
        value_E: robust value (minus the KL term, under `eta`) of the policy that episode E ran
        best: the optimum of the same objective
    """

    policy_HSA: Floats
    value_E: Floats
    best: float

    @property
    def regret_E(self) -> Floats:
        """The sum of best - value up to each episode."""
        return np.cumsum(self.best - self.value_E)

    def slope(self) -> float:
        """The exponent p of regret ~ episodes^p, by least squares of logarithms over the last three
        quarters of the episodes. Below 1 is sublinear.
        """
        total_E = self.regret_E
        kept = np.arange(len(total_E) // 4, len(total_E))
        if len(kept) < 2 or not (total_E[kept] > 0).all():
            return float("nan")
        return float(np.polyfit(np.log(kept + 1), np.log(total_E[kept]), 1)[0])


def dr_rpo(
    mdp: MDP,
    ambiguity: Ambiguity = NOMINAL,
    *,
    step: PolicyStep,
    eta: float = 0.0,
    reference: Any = None,
    features: Any = None,
    episodes: int = 100,
    beta: float = 1.0,
    ridge: float = 0.1,
    bonus: Literal["sum", "root"] = "root",
    most: float = inf,
    seed: int = 0,
    measure: bool = True,
    quiet: bool = True,
) -> Learned:
    """Learn from episodes in the nominal process.

    Args:
        mdp: the nominal process; its kernel is drawn from and never read
        ambiguity: the set around the estimated laws
        step: `fixed_reference(eta)` or `mirror(eta)`
        eta: temperature of the objective that is measured; 0 measures the robust value alone
        reference: policy (A,), (S, A) or (H, S, A), the start too; uniform unless given
        features: (S * A, d) of a learner's own, which need not sum to 1; the process's unless given
        episodes: 100 to 1,000
        beta: scale of the exploration bonus, 0.1 to 2
        ridge: 0.1 to 1
        bonus: "sum" is beta sum_i phi_i sqrt(Lambda^-1_ii), the theory's; "root" is beta sqrt(sum_i
            phi_i^2 Lambda^-1_ii), the authors' code's, never larger
        most: the largest reward of an episode; steps left times the largest reward of a step if
            that is less
        seed: of the episodes
        measure: compute the exact value of every episode's policy
        quiet: no progress bar

    Raises:
        OptionError: a setting outside its range.
        DataError: features of another size, or more than 800; a reference that is no policy.
    """
    check("episodes", episodes, whole(episodes, 1), "be a whole number of at least 1")
    check("beta", beta, lambda: 0 <= beta < inf, "be at least 0 and finite")
    check("ridge", ridge, lambda: 0 < ridge < inf, "be above 0 and finite")
    check("bonus", bonus, bonus in BONUSES, f"be one of {', '.join(BONUSES)}")
    phi_XI = features_of(mdp, features)
    widths_X = BONUSES[bonus]
    log_ref_HSA = np.log(policy_of(mdp, reference, "reference", positive=True))
    log_pi_HSA = log_ref_HSA.copy()
    horizon, (_, d) = mdp.horizon, phi_XI.shape
    inverse_HII = np.stack([np.eye(d) / ridge] * horizon)
    seen_HIO = np.zeros((horizon, d, len(mdp.next_O)))
    best = optimum(mdp, ambiguity, eta=eta, reference=reference).value if measure else 0.0
    low_H, high_H = bounds(mdp, most)
    rng = np.random.default_rng(seed)
    value_E = np.zeros(episodes)
    laws = [np.asarray(mdp.features_XI @ mdp.laws_IO(h)) for h in range(len(mdp.prob_TIK))]
    rounds = track(
        range(episodes), "episodes", console=Terminal(stderr=True), transient=True, disable=quiet
    )
    for episode in rounds:
        if measure:
            value_E[episode] = evaluate(
                mdp, np.exp(log_pi_HSA), ambiguity, eta=eta, reference=reference
            ).value
        state = rng.choice(mdp.states, p=mdp.start_S)
        for h in range(horizon):
            action = rng.choice(mdp.actions, p=np.exp(log_pi_HSA[h, state]))
            x = state * mdp.actions + action
            law_O = laws[min(h, len(laws) - 1)][x]
            outcome = rng.choice(len(law_O), p=law_O / law_O.sum())
            grown_I = inverse_HII[h] @ phi_XI[x]
            inverse_HII[h] -= np.outer(grown_I, grown_I) / (1 + phi_XI[x] @ grown_I)
            seen_HIO[h, :, outcome] += phi_XI[x]
            state = mdp.next_O[outcome]
        value_S = np.zeros(mdp.states)
        for h in reversed(range(horizon)):
            nu_I = np.zeros(d)
            if h + 1 < horizon or mdp.gain_O.any():
                low = low_H[h + 1] + min(0.0, float(mdp.gain_O.min()))
                above_O = mdp.values_O(value_S) - low
                nu_I = low + ambiguity.estimated(
                    inverse_HII[h] @ seen_HIO[h],
                    above_O,
                    ambiguity.size_I(h, d),
                    float(above_O.min()),
                )
            q_X = mdp.reward_X(h) + phi_XI @ nu_I + beta * widths_X(phi_XI, inverse_HII[h])
            q_SA = np.clip(q_X, low_H[h], high_H[h]).reshape(mdp.states, mdp.actions)
            q_SA[mdp.ended_S] = 0.0
            log_pi_HSA[h], value_S = step(q_SA, log_ref_HSA[h], log_pi_HSA[h])
            value_S = np.where(mdp.ended_S, 0.0, value_S)
    return Learned(np.exp(log_pi_HSA), value_E, best)


def features_of(mdp: MDP, given: Any) -> Floats:
    """A learner's features, (S * A, d).

    Raises:
        DataError: another number of rows, negative entries, or too many of them.
    """
    pairs = mdp.states * mdp.actions
    d = mdp.factors if given is None else np.shape(given)[-1]
    if d > LARGEST:
        raise DataError(
            f"a learner of {d} features would keep {mdp.horizon} matrices of {d} x {d}",
            hint=f"at most {LARGEST} features; solve larger processes exactly (`optimum`)",
        )
    if given is None:
        return np.asarray(mdp.features_XI.toarray(), dtype=float)
    return floats(given, "features", shape=(pairs, None), low=0.0)


def bonus_sum(phi_XI: Floats, inverse_II: Floats) -> Floats:
    return phi_XI @ np.sqrt(np.diag(inverse_II).clip(min=0.0))


def bonus_root(phi_XI: Floats, inverse_II: Floats) -> Floats:
    return np.sqrt(phi_XI**2 @ np.diag(inverse_II).clip(min=0.0))


BONUSES = {"sum": bonus_sum, "root": bonus_root}


def bounds(mdp: MDP, most: float) -> tuple[Floats, Floats]:
    """The least and most that can be earned from each step on, from the rewards of single steps."""
    least = np.zeros(mdp.horizon + 1)
    largest = np.zeros(mdp.horizon + 1)
    for h in reversed(range(mdp.horizon)):
        reward_X = mdp.reward_X(h)
        least[h] = least[h + 1] + min(0.0, float(reward_X.min() + mdp.gain_O.min()))
        largest[h] = largest[h + 1] + max(0.0, float(reward_X.max() + mdp.gain_O.max()))
    return least, np.minimum(largest, most)
