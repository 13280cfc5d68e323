"""Every solver on one game, its certificate over oracle calls, with noise too: who is fastest, who
cycles, who stalls.

Two groups. Without a KL term the certificate is the exploitability; with one (`beta`) it is the gap
of that game, and the solvers made for it run there. Step sizes are each solver's best of `STEPS` by
the certificate at the end, chosen anew under noise: nobody loses for a bad step. Everybody starts
from the same random policy, for the uniform one may be the solution. Under noise every answer of
the oracle is estimated from `opponents` answers drawn from the policy, each meeting decided at
random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Literal

import numpy as np
from rich.progress import track

from holdfast.card import check
from holdfast.errors import RunError
from holdfast.games import (
    Game,
    Oracle,
    Solution,
    apo,
    egpo,
    exploitability,
    halpern,
    inpo,
    interior,
    mirror_descent,
    nash_md,
    online_ipo,
    optimistic,
    regret_matching,
    regularized,
    solve,
    spo_win_rate,
    sppo,
)
from holdfast.lab.worlds.random_games import slope
from holdfast.stats.arrays import whole
from holdfast.terminal import Terminal

STEPS = (0.1, 0.3, 1.0, 3.0)
NEAR = (1e-1, 1e-2, 1e-3)
EXACT, NOISY = "exact answers", "noisy answers"
Delivers = Literal["last", "average"]


@dataclass(frozen=True)
class Entrant:
    """A solver in the race: `steps(game)` are the settings it may choose from."""

    name: str
    steps: Callable[[Game], list[Callable[..., Any]]]
    delivers: Delivers = "last"
    average: Literal["uniform", "linear", "quadratic"] = "uniform"


def _etas(step: Callable[..., Any]) -> Callable[[Game], list[Callable[..., Any]]]:
    """Of `STEPS`, those that the KL term allows, and the longest that it does."""
    return lambda game: [
        partial(step, eta=eta) for eta in _at_most(STEPS, 1 / game.beta if game.beta else inf)
    ]


def _rates(game: Game) -> list[float]:
    """1/4 is the longest rate at which a gradient step on logits cannot overshoot, whatever the
    policy.
    """
    return _at_most([eta * game.beta for eta in STEPS], 0.25)


def _at_most(steps: Sequence[float], longest: float) -> list[float]:
    return sorted({min(step, longest) for step in steps})


PLAIN = (
    Entrant("sppo", _etas(sppo.step)),
    Entrant("spo_win_rate, average", _etas(spo_win_rate.step), "average"),
    Entrant("apo", lambda game: [partial(apo.step, beta=1 / eta) for eta in STEPS]),
    Entrant("optimistic", _etas(optimistic.step)),
    Entrant("egpo (extragradient)", _etas(egpo.step)),
    Entrant("halpern", _etas(halpern.step)),
    Entrant("halpern, reduced", lambda game: [halpern.reduced_step]),
    Entrant(
        "regret matching+, average", lambda game: [regret_matching.step], "average", "quadratic"
    ),
)
WITH_KL = (
    Entrant("mirror_descent", _etas(mirror_descent.step)),
    Entrant("nash_md", _etas(nash_md.step)),
    Entrant("inpo, schedule", lambda game: [partial(inpo.step, fade=True)]),
    Entrant(
        "online_ipo", lambda game: [partial(online_ipo.step, rate=rate) for rate in _rates(game)]
    ),
    Entrant("optimistic, KL", _etas(optimistic.step)),
    Entrant("egpo", _etas(egpo.step)),
)


@dataclass(frozen=True)
class Line:
    """One entrant under one kind of answers."""

    name: str
    kl: bool  # whether it played the game with the KL term, and its gap is that game's
    answers: str
    setting: str
    calls_E: tuple[float, ...]
    gap_E: tuple[float, ...]
    average_gap_E: tuple[float, ...]
    word: str

    def reached(self, near: float) -> float | None:
        """Calls until the certificate was first that small."""
        return next((c for c, g in zip(self.calls_E, self.gap_E, strict=True) if g <= near), None)


@dataclass(frozen=True)
class Race:
    """All lines of a game, and what the exact answers are."""

    game: Game
    name: str
    beta: float
    opponents: int
    calls: int
    lines: tuple[Line, ...]
    facts: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {
            "game": self.name,
            **self.facts,
            "beta": self.beta,
            "opponents": self.opponents,
            "calls": self.calls,
            "solvers": [
                {
                    "solver": line.name,
                    "kl_term": line.kl,
                    "answers": line.answers,
                    "setting": line.setting,
                    "word": line.word,
                    "calls_to": {f"{near:g}": line.reached(near) for near in NEAR},
                    "gap": line.gap_E[-1],
                    "average_gap": line.average_gap_E[-1],
                }
                for line in self.lines
            ],
        }


def race(
    game: Game,
    *,
    name: str = "game",
    beta: float = 0.01,
    opponents: int = 20,
    calls: int = 3000,
    seed: int = 0,
    progress: bool = True,
) -> Race:
    """Run everybody.

    Args:
        game: without a KL term
        name: what to call it
        beta: of the KL term for the group that plays with one, to the uniform policy
        opponents: answers drawn for each estimate, under noise
        calls: oracle calls of each run
        seed: of the noise
        progress: show a bar, if the terminal can
    """
    check("calls", calls, calls >= 1, "be at least 1")
    check(
        "beta",
        beta,
        0 < beta < inf,
        "be above 0 and finite",
        hint="0.01 is usual; the first group plays without it",
    )
    check("seed", seed, whole(seed, 0), "be a whole number of at least 0")
    games = {False: game, True: Game(game.pref_AA, beta=beta, names=game.names)}
    todo = [
        (entrant, kl, noisy)
        for kl, group in ((False, PLAIN), (True, WITH_KL))
        for entrant in group
        for noisy in (False, True)
    ]
    todo = [
        (entrant, kl, noisy)
        for entrant, kl, noisy in todo
        if not (noisy and "reduced" in entrant.name)
    ]  # columns are never noisy
    console = Terminal(stderr=True)
    bar = track(
        todo,
        description=f"solvers on {name}",
        console=console,
        transient=True,
        disable=not (progress and console.is_terminal),
    )
    lines = tuple(
        _line(entrant, games[kl], kl, opponents if noisy else None, calls, seed)
        for entrant, kl, noisy in bar
    )
    winner = interior.interior_point(game)
    pure = int(np.argmax(game.win_A(np.full(len(game), 1 / len(game)))))
    facts = {
        "answers": len(game),
        "unbeaten": bool((game.pref_AA.min(axis=1) >= 0.5).any()),
        "three_cycles": three_cycles(game),
        "exploitability_of_uniform": exploitability(game, np.full(len(game), 1 / len(game))),
        "exploitability_of_best_average": exploitability(game, np.eye(len(game))[pure]),
        "exploitability_of_kl_equilibrium": _of_equilibrium(game, games[True]),
        "support_of_the_winner": int((winner.pi_A > 1e-6).sum()),
        "exploitability_of_the_winner": winner.exploitability,
    }
    return Race(game, name, beta, opponents, calls, lines, facts)


def _of_equilibrium(game: Game, with_kl: Game) -> float | None:
    """None where beta is so small that Newton's method does not find it."""
    try:
        return exploitability(game, np.exp(regularized(with_kl)))
    except RunError:
        return None


def three_cycles(game: Game) -> float:
    """Share of triples of answers whose majorities are cyclic."""
    beats_AA = (game.pref_AA > 0.5).astype(float)
    answers = len(game)
    triples = answers * (answers - 1) * (answers - 2) / 6
    return float(np.trace(beats_AA @ beats_AA @ beats_AA) / 3 / triples) if triples else 0.0


def _line(
    entrant: Entrant, game: Game, kl: bool, opponents: int | None, calls: int, seed: int
) -> Line:
    start_A = np.random.default_rng([seed, 0x57A7]).normal(size=len(game))
    best: tuple[float, Solution, str] | None = None
    for step in entrant.steps(game):
        found = solve(
            Oracle(game, opponents, seed),
            step,
            until=-1.0,
            max_calls=calls,
            start_A=start_A,
            average=entrant.average,
            spacing=1.08,
        )
        end = float(
            np.median([_of(entrant, m) for m in found.history[-5:]])
        )  # one lucky moment is not a certificate kept
        if best is None or end < best[0]:
            best = (
                end,
                found,
                ", ".join(f"{k} {v:g}" for k, v in getattr(step, "keywords", {}).items()),
            )
    assert best is not None
    _, found, setting = best
    gaps = tuple(_of(entrant, m) for m in found.history)
    averages = tuple(m.average_gap for m in found.history)
    calls_E = tuple(m.calls for m in found.history)
    word = verdict(np.array(calls_E), np.array(gaps), np.array(averages))
    return Line(
        entrant.name, kl, NOISY if opponents else EXACT, setting, calls_E, gaps, averages, word
    )


def _of(entrant: Entrant, moment: Any) -> float:
    return float(moment.gap if entrant.delivers == "last" else moment.average_gap)


def verdict(calls_E: np.ndarray, gap_E: np.ndarray, average_E: np.ndarray) -> str:
    """What became of it, in a word.

    converged: below 1e-6. converges: over the last tenfold of calls the certificate falls with a
    slope below -0.4 in log-log. cycles: it does not, while the average's does, or ends ten times
    lower. stalls: neither falls.
    """
    if gap_E[-1] <= 1e-6:
        return "converged"
    late = calls_E >= calls_E[-1] / 10
    falls, average_falls = (
        slope(np.log(calls_E[late]), np.log(np.maximum(x[late], 1e-16))) < -0.4
        for x in (gap_E, average_E)
    )
    if falls:
        return "converges"
    return "cycles" if average_falls or average_E[-1] < gap_E[-1] / 10 else "stalls"


def curves(found: Race) -> Iterator[dict[str, Any]]:
    """Rows of the picture."""
    for line in found.lines:
        for calls, gap in zip(line.calls_E, line.gap_E, strict=True):
            yield {
                "name": line.name,
                "kl": line.kl,
                "answers": line.answers,
                "calls": calls,
                "gap": max(gap, 1e-9),
            }
