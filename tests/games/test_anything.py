"""Whatever the public face of games and pluralism is called with, it answers, or raises a
HoldfastError: never another library's error.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast import games, pluralism
from holdfast.errors import HoldfastError
from holdfast.games import interior
from holdfast.rewards.items import fit_items

SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-3, 9)
    | st.floats(-2, 2)
    | st.sampled_from([float("nan"), float("inf"), -1.0, 1e300, "a", ""])
)
LIST = st.lists(SCALAR, max_size=4)
TABLE = st.lists(LIST, max_size=4) | st.sampled_from(
    [np.full((2, 2), 0.5), np.eye(3), np.zeros((2, 2, 2)), np.full((3, 3), 0.5 + 0j)]
)
ANY = SCALAR | LIST | TABLE
P = np.array([[0.5, 0.8, 0.3], [0.2, 0.5, 0.9], [0.7, 0.1, 0.5]])
GAME = games.Game(P, beta=0.1)
REWARD, REF = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]]), np.log(np.full(3, 1 / 3))
PLACES = pluralism.positions([[0, 1, 2], [2, 1, 0]], 3)

ETA = (
    games.egpo,
    games.mirror_descent,
    games.optimistic,
    games.nash_md,
    games.sppo,
    games.spo_win_rate,
    games.halpern,
    games.inpo,
)

CALLS: dict[str, Any] = {
    "Game": games.Game,
    "Game, reference": lambda x: games.Game(P, log_ref_A=x),
    "Game, beta": lambda x: games.Game(P, beta=x),
    "exploitability": partial(games.exploitability, GAME),
    "gap": partial(games.gap, GAME),
    "from_votes": lambda x: games.from_votes(x, x),
    "from_votes, losers": lambda x: games.from_votes(["a", "b"], x),
    "from_votes, weight": lambda x: games.from_votes(["a", "b"], ["b", "a"], weight=x),
    "from_votes, prior": lambda x: games.from_votes(["a", "b"], ["b", "a"], prior=x),
    "from_judge": lambda x: games.from_judge(lambda *_: x, "p", ["a", "b"]),
    "from_judge, answers": lambda x: games.from_judge(lambda *_: 0.5, "p", x),
    "solve": lambda x: games.solve(x, games.sppo.step, max_calls=3),
    "solve, start": lambda x: games.solve(GAME, games.egpo.step, start_A=x, max_calls=3),
    "solve, until": lambda x: games.solve(GAME, games.egpo.step, until=x, max_calls=3),
    "solve, spacing": lambda x: games.solve(GAME, games.egpo.step, spacing=x, max_calls=3),
    "solve, average": lambda x: games.solve(GAME, games.egpo.step, average=x, max_calls=3),
    **{
        f"{module.__name__}, eta": lambda x, module=module: games.solve(
            GAME, partial(module.step, eta=x), max_calls=3
        )
        for module in (
            games.egpo,
            games.mirror_descent,
            games.optimistic,
            games.nash_md,
            games.sppo,
            games.spo_win_rate,
            games.halpern,
            games.inpo,
        )
    },
    "apo, alpha": lambda x: games.solve(GAME, partial(games.apo.step, alpha=x), max_calls=3),
    "online_ipo, rate": lambda x: games.solve(
        GAME, partial(games.online_ipo.step, rate=x), max_calls=3
    ),
    "Oracle, opponents": lambda x: games.Oracle(GAME, opponents=x),
    "Oracle, seed": lambda x: games.Oracle(GAME, seed=x),
    "linear_program, method": lambda x: games.linear_program(GAME, method=x),
    "interior_point, until": lambda x: interior.interior_point(GAME, until=x),
    "regularized, tolerance": lambda x: games.regularized(GAME, tolerance=x),
    "maxmin": lambda x: pluralism.maxmin(x, REF, beta=0.1),
    "maxmin, reference": lambda x: pluralism.maxmin(REWARD, x, beta=0.1),
    "maxmin, beta": lambda x: pluralism.maxmin(REWARD, REF, beta=x),
    "maxmin, weights": lambda x: pluralism.maxmin(REWARD, REF, beta=0.1, prompt_weight_S=x),
    "policy_for": lambda x: pluralism.policy_for(REWARD, REF, x, beta=0.1),
    "gains": lambda x: pluralism.gains(x, REF),
    "regrets, beta": lambda x: pluralism.regrets(REWARD, REF, beta=x),
    "groupwise": lambda x: pluralism.groupwise(x, [0.5, 0.5], [[1], [0]]),
    "groupwise, labels": lambda x: pluralism.groupwise([[1.0], [2.0]], x, [[1], [0]]),
    "groupwise, active": lambda x: pluralism.groupwise([[1.0], [2.0]], [0.5, 0.5], x),
    "mixture": lambda x: pluralism.mixture(x, k=1, restarts=1, rounds=2),
    "mixture, raters": lambda x: pluralism.mixture([[1.0], [2.0]], x, k=1, restarts=1, rounds=2),
    "mixture, k": lambda x: pluralism.mixture([[1.0], [-2.0]], k=x, restarts=1, rounds=2),
    "mixture, ridge": lambda x: pluralism.mixture(
        [[1.0], [-2.0]], k=1, ridge=x, restarts=1, rounds=2
    ),
    "representativeness": lambda x: pluralism.representativeness(
        x, ["a", "b"], {"a": 0.5, "b": 0.5}
    ),
    "representativeness, groups": lambda x: pluralism.representativeness(
        [0.5, 1.0], x, {"a": 0.5, "b": 0.5}
    ),
    "representativeness, population": lambda x: pluralism.representativeness(
        [0.5, 1.0], ["a", "b"], x
    ),
    "representativeness, raters": lambda x: pluralism.representativeness(
        [0.5, 1.0], ["a", "b"], {"a": 0.5, "b": 0.5}, rater_N=x
    ),
    "representativeness, seen": lambda x: pluralism.representativeness(
        [0.5, 1.0], ["a", "b"], {"a": 1.0}, seen=x
    ),
    "labels_for": pluralism.labels_for,
    "labels_for, groups": lambda x: pluralism.labels_for(0.1, groups=x),
    "radius": pluralism.radius,
    "select": lambda x: pluralism.select("borda", x, 1),
    "select, rule": lambda x: pluralism.select(x, PLACES, 1),
    "select, k": lambda x: pluralism.select("borda", PLACES, x),
    "select, quotas": lambda x: pluralism.select(
        "borda", PLACES, 2, group_M=["a", "a", "b"], at_least={"a": x}
    ),
    "select, weights": lambda x: pluralism.select("borda", PLACES, 1, weight_V=x),
    "quality": lambda x: pluralism.quality("borda", PLACES, x),
    "proportional": lambda x: pluralism.proportional(x, 1),
    "proportional, k": lambda x: pluralism.proportional(["a", "b"], x),
    "positions": lambda x: pluralism.positions(x, 3),
    "robustness": lambda x: pluralism.robustness(x, floor=0.5),
    "robustness, floor": lambda x: pluralism.robustness([0.5], floor=x),
    "trials_for": pluralism.trials_for,
    "growth": lambda x: pluralism.growth(x, x),
    "typos": pluralism.typos,
    "fit_items": lambda x: fit_items(x, x),
    "fit_items, ridge": lambda x: fit_items(["a", "b"], ["b", "a"], ridge=x, max_iterations=5),
    "fit_items, dim": lambda x: fit_items(["a", "b"], ["b", "a"], dim=x, max_iterations=5),
    "fit_items, kind": lambda x: fit_items(["a", "b"], ["b", "a"], kind=x, max_iterations=5),
    "fit_items, weight": lambda x: fit_items(["a", "b"], ["b", "a"], weight=x, max_iterations=5),
    "fit_items, confidence": lambda x: fit_items(
        ["a", "b"], ["b", "a"], confidence=x, max_iterations=5
    ),
    "fit_items, features": lambda x: fit_items(
        ["a", "b"], ["b", "a"], features={"a": x, "b": x}, max_iterations=5
    ),
}


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(thing=ANY)
def test_an_answer_or_a_named_error(name: str, thing: Any):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            CALLS[name](thing)
        except HoldfastError as error:
            assert str(error)
