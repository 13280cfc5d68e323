"""Worlds for robust decisions, each with kernels shifted by a known amount.

linear    the simulated linear process of Liu and Xu 2024 (arXiv 2403.09621), five states
put       an American put on a binomial tree, exercise allowed at every step
FrozenLake-v1, CliffWalking-v1, Taxi-v4: gymnasium's tabular environments, read from their
          tables `P`; FrozenLake and CliffWalking slippery, Taxi rainy, so that laws are not
          certain
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.card import check
from holdfast.errors import DataError
from holdfast.lookup import named
from holdfast.optimization.robust_mdp.mdp import MDP, linear, tabular
from holdfast.stats.arrays import Floats


@dataclass(frozen=True)
class World:
    """A process and its shifted copies.

    Attributes:
        name: for tables
        mdp: the nominal process
        uncertain_TI: 1 for factors that the adversary may touch and 0 for others, (1 or H, 1 or d)
        shift: what is shifted, in words
        shifts: amounts worth looking at; the first is the nominal one
        shifted: the process at an amount
        features_XI: a learner's features; the process's own where None
        most: the largest total reward of an episode that a learner need allow for
    """

    name: str
    mdp: MDP
    uncertain_TI: Floats
    shift: str
    shifts: tuple[float, ...]
    shifted: Callable[[float], MDP]
    features_XI: Floats | None = None
    most: float = inf


EVERYWHERE = np.ones((1, 1))


def linear_world(*, delta: float = 0.3, xi: float = 0.3, horizon: int = 3) -> World:
    """Five states, 16 actions {-1, 1}^4 and d = 4. An action with a larger u = delta + xi sum(a)/4
    pays more at once and leans on factor 4 of the first step, which a shift sends to the failure
    state.

    Args:
        delta: the middle of u
        xi: how far actions move u; delta - xi and delta + xi must stay in [0, 1]
        horizon: 3 in the paper
    """
    check("delta", delta, lambda: 0 <= delta <= 1, "be from 0 to 1")
    check("xi", xi, lambda: 0 <= xi <= min(delta, 1 - delta), "keep u between 0 and 1")
    actions = np.array(list(itertools.product((-1, 1), repeat=4)))
    u_A = delta + xi / 4 * actions.sum(1)
    phi = np.zeros((5, len(u_A), 4))
    for state in range(3):
        phi[state, :, state], phi[state, :, 3] = 1 - u_A, u_A
    phi[3, :, 2], phi[4, :, 3] = 1.0, 1.0
    good, fail, paid = (1, 2), 3, 4
    mu = np.zeros((horizon, 4, 5))
    mu[:, 2, fail], mu[:, 3, paid] = 1.0, 1.0
    for i in range(2):
        mu[:, i, good[i]], mu[:, i, fail] = 0.999, 0.001
    reward = np.zeros((horizon, 4))
    reward[1:, 3] = 1.0
    uncertain = np.zeros((horizon, 4))
    uncertain[0, 3] = 1.0

    def shifted(q: float) -> MDP:
        moved = mu.copy()
        if q:
            moved[0, 3] = 0.0
            moved[0, 3, fail], moved[0, 3, paid] = q, 1 - q
            moved[0, 0] = 0.0
            moved[0, 0, good[0]] = 1.0
        return linear(phi, moved, reward, horizon=horizon)

    return World(
        "linear",
        shifted(0.0),
        uncertain,
        "chance that the paid state fails at step 1",
        tuple(np.linspace(0, 1, 11).round(2).tolist()),
        shifted,
        most=horizon - 1.0,
    )


def put_world(*, horizon: int = 10, strike: float = 100.0, price: float = 100.0) -> World:
    """An American put: a price goes up by 2% or down by 2% a step, each with probability 1/2.
    Action 0 holds, action 1 is paid max(0, strike - price) and ends. Exercise is allowed at each of
    the `horizon` steps. A learner has 20 hat functions of the price for features of holding, from
    80 to 100 in steps of 5, as the authors' code has them; exercising pays what is known.
    """
    up, down, ended = 1.02, 0.98, horizon * (horizon + 1) // 2
    nodes = [(t, ups) for t in range(horizon) for ups in range(t + 1)]
    index = {node: n for n, node in enumerate(nodes)}
    price_N = np.array([price * up**ups * down ** (t - ups) for t, ups in nodes])
    reward = np.zeros((ended + 1, 2))
    reward[:ended, 1] = np.maximum(0.0, strike - price_N)

    def shifted(p_up: float) -> MDP:
        kernel = np.zeros((ended + 1, 2, ended + 1))
        kernel[:, 1, ended] = 1.0
        kernel[ended, 0, ended] = 1.0
        for (t, ups), n in index.items():
            if t + 1 == horizon:
                kernel[n, 0, ended] = 1.0
            else:
                kernel[n, 0, index[t + 1, ups + 1]] += p_up
                kernel[n, 0, index[t + 1, ups]] += 1 - p_up
        return tabular(kernel, reward, horizon=horizon)

    width, d = 100 / 20, 20
    features = np.zeros((ended + 1, 2, d))
    features[:ended, 0] = hat(price_N, 80 + width * np.arange(d, dtype=np.float64), width)
    return World(
        "put",
        shifted(0.5),
        EVERYWHERE,
        "probability that the price goes up",
        (0.5, *(k / 40 for k in range(6, 36, 4))),
        shifted,
        features.reshape(2 * (ended + 1), d),
        most=float(reward.max()),
    )


def hat(price_N: Floats, at_I: Floats, width: float) -> Floats:
    """max(0, 1 - |price - at_i| / width)."""
    return np.maximum(0.0, 1 - np.abs(price_N[:, None] - at_I) / width)


GYM: dict[str, dict[str, Any]] = {
    "FrozenLake-v1": {},
    "CliffWalking-v1": {"is_slippery": True},
    "Taxi-v4": {"is_rainy": True},
}


def gymnasium_world(name: str, *, horizon: int = 100, **settings: Any) -> World:
    """A tabular environment of gymnasium: one with a table `P`, state -> action -> [(probability,
    next state, reward, terminated)]. An outcome is a (next state, reward, terminated), so an
    adversary moves rewards that depend on the next state with it; terminated episodes go to a
    state that pays nothing. Shifted kernels replace the action by one drawn at random with
    probability epsilon.

    Raises:
        DataError: gymnasium does not know the environment, or it has no table.
    """
    import gymnasium

    try:
        env = gymnasium.make(name, **{**GYM.get(name, {}), **settings}).unwrapped
        table: Any = env.P  # type: ignore[attr-defined]
    except (gymnasium.error.Error, AttributeError, TypeError) as error:
        raise DataError(
            f"{name} is no tabular environment of gymnasium: {error}",
            hint=f"one with a table P: {', '.join(GYM)}",
        ) from None
    states, actions = len(table), len(table[0])
    outcomes: dict[tuple[int, float, bool], int] = {}
    for s, a in itertools.product(range(states), range(actions)):
        for _, after, reward, done in table[s][a]:
            outcomes.setdefault((int(after), float(reward), bool(done)), len(outcomes))
    outcomes[(states, 0.0, True)] = len(outcomes)
    p = np.zeros((states + 1, actions, len(outcomes)))
    p[states, :, -1] = 1.0
    for s, a in itertools.product(range(states), range(actions)):
        for chance, after, reward, done in table[s][a]:
            p[s, a, outcomes[int(after), float(reward), bool(done)]] += chance
    next_O = np.array([states if done else after for after, _, done in outcomes])
    gain_O = np.array([reward for _, reward, _ in outcomes])
    start = getattr(env, "initial_state_distrib", None)
    start_S = np.eye(states + 1)[0] if start is None else np.append(np.asarray(start, float), 0.0)

    def shifted(epsilon: float) -> MDP:
        mixed = (1 - epsilon) * p + epsilon * p.mean(1, keepdims=True)
        return tabular(
            mixed,
            np.zeros((states + 1, actions)),
            horizon=horizon,
            start=start_S,
            next_state=next_O,
            gain=gain_O,
        )

    return World(
        name,
        shifted(0.0),
        EVERYWHERE,
        "probability of a random action",
        (0.0, 0.05, 0.1, 0.2, 0.3, 0.5),
        shifted,
        most=1.0 if name.startswith("FrozenLake") else inf,
    )


def file_world(path: str, *, horizon: int) -> World:
    """A process of your own: an .npz file with `transition` (S, A, S) and `reward` (S, A), and
    perhaps `start` (S,). Shifted kernels replace the action as `gymnasium_world` does.

    Raises:
        DataError: no such file, arrays are missing, or what `tabular` refuses.
    """
    try:
        with np.load(Path(path), allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: {error}", hint="np.savez(path, transition=..., reward=...)"
        ) from None
    for name in ("transition", "reward"):
        if name not in arrays:
            raise DataError(
                f"{path} holds {', '.join(arrays) or 'nothing'}, but no {name}",
                hint="np.savez(path, transition=..., reward=...)",
            )
    start = arrays.get("start")
    nominal = tabular(arrays["transition"], arrays["reward"], horizon=horizon, start=start)

    def shifted(epsilon: float) -> MDP:
        p = arrays["transition"]
        mixed = (1 - epsilon) * p + epsilon * p.mean(-2, keepdims=True)
        return tabular(mixed, arrays["reward"], horizon=horizon, start=start)

    shifts = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
    return World(
        Path(path).stem, nominal, EVERYWHERE, "probability of a random action", shifts, shifted
    )


WORLDS: dict[str, Callable[..., World]] = {
    "linear": linear_world,
    "put": put_world,
    **{name: lambda name=name, **given: gymnasium_world(name, **given) for name in GYM},
}


def world(name: str, *, horizon: int | None = None) -> World:
    """A world by its name, or an .npz file. `horizon` in steps; each world's own unless given."""
    if horizon is not None:
        check("horizon", horizon, lambda: horizon >= 1, "be at least 1")
    given = {} if horizon is None else {"horizon": horizon}
    if name.endswith(".npz"):
        return file_world(name, horizon=horizon or 100)
    made = named(name, WORLDS, "world", lists="holdfast optimize robust-mdp worlds")(**given)
    return replace(made, name=name)
