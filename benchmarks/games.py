"""Wall time and oracle calls to an exploitability of 1e-6 on random preference games of 10 to 3,000 answers.

    python benchmarks/games.py [--sizes 10,100,1000,3000] [--limit 10] [--lp-limit 300]

Games have P(a beats b) uniform on [0, 1]. Exploitability is what a best response wins with +1 a win and -1 a loss, checked by one product
with the matrix whoever solved. Beside our solvers: HiGHS through scipy (dual simplex and interior point), and OpenSpiel's solvers of matrix
games (regret matching, projected replicator dynamics, CFR+ in C++) if `open_spiel` is installed; the first two have no stopping rule, so
they are asked for ever more iterations until the time is up. A solver that needs more than `--limit` seconds (`--lp-limit` for HiGHS) is
shown with where it was. Last, one line of JSON; if no linear program ended in time its seconds are the limit, and `lp_finished` is false.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np

from holdfast.errors import RunError
from holdfast.games import Game, egpo, exploitability, halpern, interior, linear_program, optimistic, regret_matching, solve, sppo

UNTIL = 1e-6
CONTEXT = get_context("fork")
SPIEL_LARGEST = {"open_spiel CFR+": 300, "open_spiel regret matching": 1000, "open_spiel replicator": 1000}


@dataclass(frozen=True)
class Line:
    solver: str
    answers: int
    seconds: float
    calls: float | None
    exploitability: float
    lp: bool = False

    @property
    def reached(self) -> bool:
        return self.exploitability <= UNTIL


def random_game(answers: int) -> Game:
    below = np.tril(np.random.default_rng([answers, 0xBE]).uniform(size=(answers, answers)), -1)
    return Game(below + np.triu(1 - below.T, 1) + 0.5 * np.eye(answers))


def timed(solver: str, game: Game, run: Callable[[], tuple[np.ndarray, float | None]], lp: bool = False) -> Line:
    tick = time.perf_counter()
    pi, calls = run()
    return Line(solver, len(game), time.perf_counter() - tick, calls, exploitability(game, pi), lp)


def ours(game: Game, limit: float) -> list[Line]:
    def inner() -> tuple[np.ndarray, float | None]:
        found = interior.interior_point(game, until=UNTIL)
        return found.pi_A, None

    lines = [timed("interior", game, inner)]
    loops = {
        "regret matching+": (regret_matching.step, "quadratic"),
        "optimistic": (partial(optimistic.step, eta=1.0), "uniform"),
        "egpo (extragradient)": (partial(egpo.step, eta=1.0), "uniform"),
        "halpern": (partial(halpern.step, eta=1.0), "uniform"),
        "sppo": (partial(sppo.step, eta=0.5), "uniform"),
    }
    for name, (step, average) in loops.items():

        def loop(step=step, average=average) -> tuple[np.ndarray, float | None]:
            found = solve(game, step, until=UNTIL, max_calls=1e9, max_seconds=limit, average=average)
            return found.pi_A, found.end.calls

        lines.append(timed(name, game, loop))
    return lines


def programs(game: Game, limit: float) -> list[Line]:
    """Each in a process of its own, ended at the limit: HiGHS looks at its clock between iterations alone. Simplex up to 1,000 answers."""
    lines = []
    for method in ("highs-ipm", "highs-ds")[: 2 if len(game) <= 1000 else 1]:
        ours, theirs = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=_program, args=(game, method, theirs), daemon=True)
        tick = time.perf_counter()
        process.start()
        seconds, reached = ours.recv() if ours.poll(limit) else (time.perf_counter() - tick, float("inf"))
        process.terminate()
        process.join()
        lines.append(Line(f"HiGHS {method[6:]}", len(game), seconds, None, reached, True))
    return lines


def _program(game: Game, method: str, pipe: Connection) -> None:
    tick = time.perf_counter()
    try:
        pi = linear_program(game, method=method)
    except RunError:
        pi = np.eye(len(game))[0]
    pipe.send((time.perf_counter() - tick, exploitability(game, pi)))


def open_spiel(game: Game, limit: float) -> list[Line]:
    """Nothing if it is not installed."""
    try:
        import pyspiel
        from open_spiel.python.algorithms import projected_replicator_dynamics
        from open_spiel.python.algorithms import regret_matching as matching
    except ImportError:
        return []
    payoff = 2 * game.skew_AA
    tensors = [payoff, -payoff]

    def growing(run: Callable[[int], np.ndarray]) -> tuple[np.ndarray, float | None]:
        """Twice as many iterations each time; the last run alone is what a user who knew the number would wait for."""
        begun, iterations = time.perf_counter(), 100
        while True:
            tick = time.perf_counter()
            pi = run(iterations)
            took = time.perf_counter() - tick
            if exploitability(game, pi) <= UNTIL or time.perf_counter() - begun + 2 * took > limit:
                return pi, 2 * iterations
            iterations *= 2

    def cfr() -> tuple[np.ndarray, float | None]:
        names = [str(i) for i in range(len(game))]
        turns = pyspiel.convert_to_turn_based(pyspiel.create_matrix_game("g", "g", names, names, *tensors))
        solver, root = pyspiel.CFRPlusSolver(turns), turns.new_initial_state()
        begun, count, due = time.perf_counter(), 0, 100
        while True:
            while count < due and time.perf_counter() - begun <= limit:
                solver.evaluate_and_update_policy()
                count += 1
            due = 2 * due
            chances = solver.average_policy().action_probabilities(root)
            pi = np.array([chances[i] for i in range(len(game))])
            if exploitability(game, pi) <= UNTIL or time.perf_counter() - begun > limit:
                return pi, 2 * count

    runs = {
        "open_spiel CFR+": cfr,
        "open_spiel regret matching": lambda: growing(lambda n: matching.regret_matching(tensors, iterations=n)[0]),
        "open_spiel replicator": lambda: growing(
            lambda n: projected_replicator_dynamics.projected_replicator_dynamics(tensors, prd_iterations=n, prd_gamma=1e-9)[0]
        ),
    }
    return [timed(name, game, run) for name, run in runs.items() if len(game) <= SPIEL_LARGEST[name]]


def shown(line: Line) -> str:
    calls = "" if line.calls is None else f"{line.calls:.0f}"
    where = f"{line.exploitability:.1e}" if line.reached else f"{line.exploitability:.1e} (not there)"
    return f"{line.answers:>8} {line.solver:<28} {line.seconds:>10.3f} {calls:>10} {where:>22}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="10,100,1000,3000")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds of a solver that has not arrived")
    parser.add_argument("--lp-limit", type=float, default=300.0, help="seconds of each method of HiGHS")
    asked = parser.parse_args()
    print(f"{'answers':>8} {'solver':<28} {'seconds':>10} {'calls':>10} {'exploitability':>22}")
    lines: list[Line] = []
    for answers in map(int, asked.sizes.split(",")):
        game = random_game(answers)
        for group, limit in ((ours, asked.limit), (programs, asked.lp_limit), (open_spiel, asked.limit)):
            found = group(game, limit)
            for line in found:
                print(shown(line), flush=True)
            lines += found
    largest = [line for line in lines if line.answers == lines[-1].answers]
    arrived = [line for line in largest if line.reached and not line.lp and "open_spiel" not in line.solver]
    best = min(arrived, key=lambda line: line.seconds)
    done = [line.seconds for line in largest if line.lp and line.reached]
    seconds = min(done) if done else min(line.seconds for line in largest if line.lp)
    facts = {"n": best.answers, "best": best.solver, "seconds": round(best.seconds, 3), "lp_seconds": round(seconds, 3)}
    print(json.dumps({**facts, "lp_finished": bool(done)}))


if __name__ == "__main__":
    main()
