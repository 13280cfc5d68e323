"""Random and degenerate games against slow, independent answers.

    python benchmarks/fuzz_games.py --games 300 --seconds 600

Every solver plays every game; each certificate it reports is computed again with plain Python sums
from the definition, and the exact solvers are held against a linear program that is written the
other way round (the second player's). The last line is JSON: {"games": n, "checks": m, "refused":
r, "wrong": 0}.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from math import exp, fsum, inf, log
from time import monotonic
from typing import Any

import numpy as np
from scipy.optimize import linprog

from holdfast.errors import HoldfastError
from holdfast.games import (
    Game,
    Oracle,
    apo,
    exploitability,
    gap,
    halpern,
    interior,
    linear_program,
    regularized,
    solve,
)
from holdfast.lab.games import PLAIN, WITH_KL

BETAS = (1e-9, 1e-4, 0.01, 0.1, 1.0, 7.0, 100.0, 1e6)


def ties(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.full((n, n), 0.5)


def uniform(rng: np.random.Generator, n: int) -> np.ndarray:
    return skew(rng.uniform(-0.5, 0.5, (n, n)))


def tournament(rng: np.random.Generator, n: int) -> np.ndarray:
    return skew(rng.choice([-0.5, 0.5], (n, n)))


def with_ties(rng: np.random.Generator, n: int) -> np.ndarray:
    return skew(rng.choice([-0.5, 0.0, 0.5], (n, n)))


def extreme(rng: np.random.Generator, n: int) -> np.ndarray:
    return skew(rng.choice([-0.5, 0.5], (n, n)) * (1 - 10.0 ** rng.uniform(-16, -1, (n, n))))


def faint(rng: np.random.Generator, n: int) -> np.ndarray:
    return skew(rng.choice([-1, 1], (n, n)) * 10.0 ** rng.uniform(-15, -3, (n, n)))


def duplicates(rng: np.random.Generator, n: int) -> np.ndarray:
    few = uniform(rng, max(1, n // 2))
    at = rng.integers(len(few), size=n)
    return few[np.ix_(at, at)]


def ranked(rng: np.random.Generator, n: int) -> np.ndarray:
    r = rng.normal(scale=10.0 ** rng.uniform(-1, 2), size=n)
    return skew(0.5 * np.tanh((r[:, None] - r[None]) / 2))


def cyclic(rng: np.random.Generator, n: int) -> np.ndarray:
    turn = (np.arange(n)[:, None] - np.arange(n)[None]) % n
    return skew(
        np.where(turn == 0, 0.0, np.where(2 * turn < n, 0.5, np.where(2 * turn > n, -0.5, 0.0)))
    )


def counted(rng: np.random.Generator, n: int) -> np.ndarray:
    wins = rng.integers(0, 4, (n, n)).astype(float)
    np.fill_diagonal(wins, 0)
    return (wins + 0.5) / (wins + wins.T + 1)


def skew(half: np.ndarray) -> np.ndarray:
    below = np.tril(half, -1)
    return 0.5 + below - below.T


KINDS: tuple[Callable[[np.random.Generator, int], np.ndarray], ...] = (
    ties,
    uniform,
    tournament,
    with_ties,
    extreme,
    faint,
    duplicates,
    ranked,
    cyclic,
    counted,
)


# ------------------------------------------------------------------------------------------------
# slow answers, by definition


def slow_exploitability(p: list[list[float]], pi: list[float]) -> float:
    """The best pure answer's payoff against the policy, +1 a win and -1 a loss."""
    return max(fsum((2 * row[b] - 1) * pi[b] for b in range(len(pi))) for row in p)


def slow_gap(p: list[list[float]], beta: float, ref: list[float], pi: list[float]) -> float:
    """max_q J(q, pi) - min_q J(pi, q), each side's best response put into J itself."""
    n = len(pi)

    def divergence(q: list[float]) -> float:
        return fsum(x * (log(x) - r) for x, r in zip(q, ref, strict=True) if x > 0)

    def j(first: list[float], second: list[float]) -> float:
        pay = fsum(
            first[a] * p[a][b] * second[b]
            for a in range(n)
            for b in range(n)
            if first[a] and second[b]
        )
        return pay - beta * divergence(first) + beta * divergence(second)

    logits = [ref[a] + fsum(p[a][b] * pi[b] for b in range(n)) / beta for a in range(n)]
    top = max(logits)
    odds = [exp(x - top) for x in logits]
    total = fsum(odds)
    best = [x / total for x in odds]
    return j(best, pi) - j(pi, best)


def slow_value(p: np.ndarray) -> tuple[float, np.ndarray]:
    """The second player's linear program: the least t with q^T A <= t for every pure answer of the
    first; (t, q).
    """
    n = len(p)
    pay = 2 * p - 1  # what an answer of the second player wins against one of the first
    found = linprog(
        [0.0] * n + [-1.0],
        A_ub=np.column_stack([-pay.T, np.ones(n)]),
        b_ub=np.zeros(n),
        A_eq=[[1.0] * n + [0.0]],
        b_eq=[1.0],
        bounds=[(0, 1)] * n + [(-1, 1)],
        method="highs-ds",
    )
    return float(-found.fun), found.x[:-1]


# ------------------------------------------------------------------------------------------------
# one game


def games(seed: int, largest: int) -> Iterator[tuple[str, np.ndarray, np.random.Generator]]:
    number = 0
    while True:
        rng = np.random.default_rng([seed, number])
        kind = KINDS[number % len(KINDS)]
        sizes = (1, 2, 3, 3, 5, 8, largest)
        yield kind.__name__, kind(rng, int(sizes[(number // len(KINDS)) % len(sizes)])), rng
        number += 1


def close(found: float, truth: float, scale: float = 1.0) -> bool:
    return abs(found - truth) <= 1e-12 * scale + 1e-9 * abs(truth) and found >= 0


def played(p: np.ndarray, rng: np.random.Generator, calls: int) -> tuple[int, int, list[str]]:
    """(checks, refusals by name, what is wrong) of one game."""
    wrong: list[str] = []
    checks = refused = 0
    rows = p.tolist()
    n = len(p)

    def check(ok: bool, said: str) -> None:
        nonlocal checks
        checks += 1
        if not ok:
            wrong.append(said)

    plain = Game(p)
    rows = plain.pref_AA.tolist()  # as the game understands it: made exactly antisymmetric
    value, theirs = slow_value(plain.pref_AA)
    check(
        abs(value) < 1e-6 and slow_exploitability(rows, np.clip(theirs, 0, None).tolist()) < 1e-6,
        f"the game's value is {value}",
    )
    exact = {
        f"linear_program {m}": partial(linear_program, plain, method=m)
        for m in ("highs", "highs-ds", "highs-ipm")
    }
    for name, solver in exact.items():
        pi = solver()
        check(
            close(exploitability(plain, pi), max(0.0, slow_exploitability(rows, pi.tolist()))),
            f"{name}: certificate",
        )
        check(
            exploitability(plain, pi) < 1e-6, f"{name}: exploitability {exploitability(plain, pi)}"
        )
    inner = interior.interior_point(plain)
    check(
        close(inner.exploitability, max(0.0, slow_exploitability(rows, inner.pi_A.tolist()))),
        "interior_point: certificate",
    )
    check(inner.exploitability < 1e-6, f"interior_point: exploitability {inner.exploitability}")
    beta = float(rng.choice(BETAS))
    ref = rng.normal(scale=float(rng.choice([0.0, 1.0, 20.0])), size=n)
    with_kl = Game(p, beta=beta, log_ref_A=ref)
    try:
        pi = np.exp(regularized(with_kl))
        check(
            gap(with_kl, pi) < 1e-9 * max(1.0, beta),
            f"regularized at beta {beta:g}: gap {gap(with_kl, pi)}",
        )
    except HoldfastError:
        refused += 1
    start = rng.normal(scale=float(rng.choice([0.1, 1.0, 30.0])), size=n)
    runs: list[tuple[str, Game, Any, str]] = []
    for game, group in ((plain, PLAIN), (with_kl, WITH_KL)):
        for entrant in group:
            settings = entrant.steps(game)
            runs.append(
                (entrant.name, game, settings[int(rng.integers(len(settings)))], entrant.average)
            )
    runs.append(("halpern, far", plain, partial(halpern.step, eta=1e3), "uniform"))
    runs.append(("apo, momentum", plain, partial(apo.step, beta=0.05, alpha=0.9), "uniform"))
    for name, game, step, average in runs:
        for opponents in (None, 2):
            until = float(10.0 ** rng.uniform(-6, -1))
            try:
                found = solve(
                    Oracle(game, opponents, int(rng.integers(2**31))),
                    step,
                    start_A=start,
                    until=until,
                    max_calls=calls,
                    average=average,
                )
            except HoldfastError:
                refused += 1
                continue
            end = found.end
            for pi_A, won, near in (
                (found.last_A, end.exploitability, end.gap),
                (found.average_A, end.average_exploitability, end.average_gap),
            ):
                pi = (pi_A / pi_A.sum()).tolist()
                truth = slow_exploitability(rows, pi)
                check(
                    close(won, max(0.0, truth)),
                    f"{name}: exploitability {won}, by definition {truth}",
                )
                if game.beta:
                    truth, scale = (
                        slow_gap(rows, beta, game.log_ref_A.tolist(), pi),
                        100 * max(1.0, beta),
                    )
                check(
                    close(near, max(0.0, truth), scale if game.beta else 1.0),
                    f"{name}: gap {near}, by definition {truth}, beta {game.beta}",
                )
            check(
                found.converged == (min(end.gap, end.average_gap) <= until),
                f"{name}: converged is {found.converged}",
            )
            check(
                found.gap == min(end.gap, end.average_gap),
                f"{name}: the delivered policy is not the better one",
            )
    return checks, refused, wrong


def fuzz(
    count: int = 100, *, seed: int = 0, seconds: float = inf, calls: int = 40, largest: int = 14
) -> dict[str, Any]:
    """Play `count` games, or as many as the seconds allow."""
    began, checks, refused, number = monotonic(), 0, 0, 0
    wrong: list[str] = []
    kinds: Counter[str] = Counter()
    for kind, p, rng in games(seed, largest):
        if number >= count or monotonic() - began >= seconds:
            break
        new, no, bad = played(p, rng, calls)
        checks, refused, number = checks + new, refused + no, number + 1
        kinds[kind] += 1
        wrong += [f"game {number - 1} ({kind}, {len(p)} answers): {what}" for what in bad]
    return {
        "games": number,
        "checks": checks,
        "refused": refused,
        "wrong": len(wrong),
        "kinds": dict(kinds),
        "examples": wrong[:20],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--games", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    found = fuzz(asked.games, seed=asked.seed, seconds=asked.seconds)
    print("\n".join(found["examples"]))
    print(json.dumps({key: found[key] for key in ("games", "checks", "refused", "wrong")}))
    return int(found["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
