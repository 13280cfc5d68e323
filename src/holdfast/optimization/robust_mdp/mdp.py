"""Markov decision processes of finite horizon whose kernels are mixtures of factors.

At step h = 0..H-1 in state s the action a, together x = s * actions + a, pays reward_h(x) and draws
an outcome o from

    P_h(o | x) = sum_i features(x, i) law_{h,i}(o)

An outcome pays gain(o) and leads to the state next(o). A tabular process has one factor for each
(s, a), so an adversary that picks each factor's law freely is (s, a)-rectangular; a linear one has
d factors that all pairs share (d-rectangular).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from holdfast.card import check
from holdfast.errors import DataError
from holdfast.stats.arrays import SUM_TOLERANCE, Bools, Floats, Ints, distribution, floats, whole


@dataclass(frozen=True)
class MDP:
    """A process. Make one with `tabular` or `linear`, which check everything.

    Attributes:
        horizon: steps H
        actions: A
        start_S: the law of the first state
        reward_TX: reward of a state and action, X = S * A; T is H, or 1 where steps are alike
        features_XI: weights of the factors, at least 0; rows sum to 1
        outcome_TIK: the outcomes that each factor's law can draw
        prob_TIK: their probabilities; unused places hold 0
        next_O: the state that an outcome leads to
        gain_O: what it pays
        ended_S: states that pay nothing and are never left
    """

    horizon: int
    actions: int
    start_S: Floats
    reward_TX: Floats
    features_XI: sparse.csr_array
    outcome_TIK: Ints
    prob_TIK: Floats
    next_O: Ints
    gain_O: Floats
    ended_S: Bools

    @property
    def states(self) -> int:
        return len(self.start_S)

    @property
    def factors(self) -> int:
        return int(self.features_XI.shape[1])

    def reward_X(self, step: int) -> Floats:
        return self.reward_TX[min(step, len(self.reward_TX) - 1)]

    def outcome_IK(self, step: int) -> Ints:
        return self.outcome_TIK[min(step, len(self.outcome_TIK) - 1)]

    def prob_IK(self, step: int) -> Floats:
        return self.prob_TIK[min(step, len(self.prob_TIK) - 1)]

    def laws_IO(self, step: int) -> Floats:
        """Every factor's law over all outcomes."""
        out = np.zeros((self.factors, len(self.next_O)))
        rows_I1 = np.arange(self.factors)[:, None]
        np.add.at(out, (rows_I1, self.outcome_IK(step)), self.prob_IK(step))
        return out

    def values_O(self, value_S: Floats) -> Floats:
        """What an outcome is worth, when the state that it leads to is worth value_S."""
        return self.gain_O + value_S[self.next_O]


def tabular(
    transition: Any,
    reward: Any,
    *,
    horizon: int,
    start: Any = None,
    next_state: Any = None,
    gain: Any = None,
) -> MDP:
    """A process given as tables.

    Args:
        transition: probabilities of outcomes, (S, A, O), or (H, S, A, O) where steps differ; an
            outcome is a next state unless `next_state` says otherwise
        reward: of a state and action, (S, A) or (H, S, A)
        horizon: number of steps
        start: law of the first state, or its number; the first state unless given
        next_state: the state that each outcome leads to, (O,)
        gain: what each outcome pays, (O,), beside the reward; 0 unless given

    Raises:
        DataError: sizes that do not match, rows that do not sum to 1, numbers that are negative or
            not finite; the entry is named.
        OptionError: a horizon that is no whole number of at least 1.
    """
    check("horizon", horizon, whole(horizon, 1), "be a whole number of at least 1")
    p = floats(transition, "transition", low=0.0, hint="probabilities (S, A, next state)")
    p = p[None] if p.ndim == 3 else p
    if p.ndim != 4 or len(p) not in (1, horizon) or 0 in p.shape:
        raise DataError(
            f"transition has shape {np.shape(transition)}",
            hint=f"(S, A, outcomes), or (horizon = {horizon}, S, A, outcomes)",
        )
    steps, states, actions, outcomes = p.shape
    if next_state is None and outcomes != states:
        raise DataError(
            f"transition has shape {np.shape(transition)}: {states} states, but {outcomes} next "
            "states",
            hint="(S, A, S), or next_state= for outcomes that are not states",
        )
    _refuse_sums(p, "transition")
    r = floats(reward, "reward", hint="one number for each state and action")
    r = r[None] if r.ndim == 2 else r
    if r.shape[1:] != (states, actions) or len(r) not in (1, horizon):
        raise DataError(
            f"reward has shape {np.shape(reward)}, transition is of {states} states and "
            f"{actions} actions",
            hint=f"({states}, {actions}), or ({horizon}, {states}, {actions})",
        )
    return _made(
        horizon=int(horizon),
        actions=actions,
        start=start,
        reward_TX=r.reshape(len(r), -1),
        features_XI=sparse.csr_array(sparse.eye_array(states * actions, format="csr")),
        laws_TIO=p.reshape(steps, states * actions, outcomes),
        next_state=np.arange(states) if next_state is None else next_state,
        gain=gain,
        states=states,
    )


def linear(features: Any, factors: Any, reward: Any, *, horizon: int, start: Any = None) -> MDP:
    """A linear process: P_h(.|s, a) = sum_i features(s, a, i) factor_{h,i}(.).

    Args:
        features: (S, A, d), at least 0, summing to 1 over d
        factors: laws of the next state, (d, S), or (H, d, S) where steps differ
        reward: coefficients of the reward on the features, (d,) or (H, d)
        horizon: number of steps
        start: law of the first state, or its number; the first state unless given

    Raises:
        DataError: sizes that do not match, rows that do not sum to 1, numbers that are negative or
            not finite; the entry is named.
        OptionError: a horizon that is no whole number of at least 1.
    """
    check("horizon", horizon, whole(horizon, 1), "be a whole number of at least 1")
    phi = floats(features, "features", shape=(None, None, None), low=0.0)
    states, actions, d = phi.shape
    _refuse_sums(phi, "features")
    mu = floats(factors, "factors", low=0.0)
    mu = mu[None] if mu.ndim == 2 else mu
    if mu.shape[1:] != (d, states) or len(mu) not in (1, horizon):
        raise DataError(
            f"factors has shape {np.shape(factors)}; features is of {states} states and {d} "
            "factors",
            hint=f"({d}, {states}), or ({horizon}, {d}, {states})",
        )
    _refuse_sums(mu, "factors")
    theta = floats(reward, "reward")
    theta = theta[None] if theta.ndim == 1 else theta
    if theta.shape[1:] != (d,) or len(theta) not in (1, horizon):
        raise DataError(
            f"reward has shape {np.shape(reward)}, features has {d} factors",
            hint=f"({d},), or ({horizon}, {d})",
        )
    flat_XI = phi.reshape(states * actions, d)
    return _made(
        horizon=int(horizon),
        actions=actions,
        start=start,
        reward_TX=theta @ flat_XI.T,
        features_XI=sparse.csr_array(flat_XI),
        laws_TIO=mu,
        next_state=np.arange(states),
        gain=None,
        states=states,
    )


def _made(
    *,
    horizon: int,
    actions: int,
    start: Any,
    reward_TX: Floats,
    features_XI: sparse.csr_array,
    laws_TIO: Floats,
    next_state: Any,
    gain: Any,
    states: int,
) -> MDP:
    outcomes = laws_TIO.shape[2]
    next_O = floats(next_state, "next_state", shape=(outcomes,), low=0, high=states - 1)
    if (next_O != np.round(next_O)).any():
        raise DataError("next_state must hold whole numbers", hint=f"0 to {states - 1}")
    gain_O = np.zeros(outcomes) if gain is None else floats(gain, "gain", shape=(outcomes,))
    start_S = np.zeros(states)
    if start is None or whole(start, 0):
        first = int(start or 0)
        check("start", first, first < states, f"be a state, 0 to {states - 1}")
        start_S[first] = 1.0
    else:
        start_S = distribution(start, states, "start")
    laws_TIO = laws_TIO / laws_TIO.sum(2, keepdims=True)
    most = max(1, int((laws_TIO > 0).sum(2).max()))
    outcome_TIK = np.argsort(-laws_TIO, axis=2, kind="stable")[:, :, :most]
    prob_TIK = np.take_along_axis(laws_TIO, outcome_TIK, 2)
    mdp = MDP(
        horizon,
        actions,
        start_S,
        reward_TX,
        features_XI,
        outcome_TIK.astype(np.int64),
        prob_TIK,
        next_O.astype(np.int64),
        gain_O,
        np.zeros(states, dtype=bool),
    )
    return replace(mdp, ended_S=_ended(mdp))


def _ended(mdp: MDP) -> Bools:
    """States that pay nothing and lead to themselves alone, whatever the action and step."""
    stays = np.ones(mdp.states * mdp.actions, dtype=bool)
    state_X = np.repeat(np.arange(mdp.states), mdp.actions)
    for step in range(max(len(mdp.prob_TIK), len(mdp.reward_TX))):
        kernel_XO = mdp.features_XI @ mdp.laws_IO(step)
        home_XO = (mdp.next_O == state_X[:, None]) & (mdp.gain_O == 0)
        stays &= ((kernel_XO > 0) <= home_XO).all(1) & (mdp.reward_X(step) == 0)
    return np.asarray(stays.reshape(mdp.states, mdp.actions).all(1))


def _refuse_sums(rows: Floats, what: str) -> None:
    sums = rows.sum(-1)
    wrong = np.argwhere(np.abs(sums - 1) > SUM_TOLERANCE)
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        shown = at[1:] if len(rows) == 1 and rows.ndim == 4 else at
        raise DataError(
            f"{what}[{', '.join(map(str, shown))}] sums to {sums[at]:g}, not to 1; so do "
            f"{len(wrong) - 1} more of {sums.size} rows"
            if len(wrong) > 1
            else f"{what}[{', '.join(map(str, shown))}] sums to {sums[at]:g}, not to 1",
            hint="each row is a probability law over what may come next",
        )
