"""Wall time and oracle calls to an exploitability of 1e-6 on random preference games of 10 to 3,000
answers.

    python benchmarks/games.py [--sizes 10,100,1000,3000] [--limit 10] [--lp-limit 300]

Games have P(a beats b) uniform on [0, 1]. Exploitability is what a best response wins with +1 a win
and -1 a loss, checked by one product with the matrix whoever solved. Beside our solvers: HiGHS
through scipy (dual simplex and interior point), and OpenSpiel's solvers that apply to matrix games,
if it is installed (`pip install '.[bench]'`): its linear program (through cvxpy, solved for both
players), CFR+ in C++, regret matching, projected replicator dynamics and fictitious play. Regret
matching and replicator dynamics have no stopping rule, so they are asked for ever more iterations
until the time is up. A solver that needs more than `--limit` seconds (`--lp-limit` for HiGHS) is
shown with where it was. Last, one line of JSON; if no linear program of HiGHS ended in time its
seconds are the limit, and the line before says so.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np

from holdfast.errors import RunError
from holdfast.games import (
    Game,
    egpo,
    exploitability,
    halpern,
    interior,
    linear_program,
    optimistic,
    regret_matching,
    solve,
    sppo,
)

UNTIL = 1e-6
CONTEXT = get_context("fork")
NO_SPIEL = "OpenSpiel is left out ({why}); to compare with it: pip install '.[bench]'"
NO_CVXPY = "OpenSpiel's linear program is left out, it needs cvxpy and ecos: pip install '.[bench]'"


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


def timed(
    solver: str, game: Game, run: Callable[[], tuple[np.ndarray, float | None]], lp: bool = False
) -> Line:
    tick = time.perf_counter()
    pi, calls = run()
    return Line(solver, len(game), time.perf_counter() - tick, calls, exploitability(game, pi), lp)


def ours(game: Game, limit: float) -> Iterator[Line]:
    yield timed("interior", game, lambda: (interior.interior_point(game, until=UNTIL).pi_A, None))
    loops = {
        "regret matching+": (regret_matching.step, "quadratic"),
        "optimistic": (partial(optimistic.step, eta=1.0), "uniform"),
        "egpo (extragradient)": (partial(egpo.step, eta=1.0), "uniform"),
        "halpern": (partial(halpern.step, eta=1.0), "uniform"),
        "sppo": (partial(sppo.step, eta=0.5), "uniform"),
    }
    for name, (step, average) in loops.items():

        def loop(step=step, average=average) -> tuple[np.ndarray, float | None]:
            found = solve(
                game, step, until=UNTIL, max_calls=1e9, max_seconds=limit, average=average
            )
            return found.pi_A, found.end.calls

        yield timed(name, game, loop)


def highs(game: Game, limit: float) -> Iterator[Line]:
    """Simplex up to 1,000 answers."""
    for method in ("highs-ipm", "highs-ds")[: 2 if len(game) <= 1000 else 1]:
        yield within(
            f"HiGHS {method[6:]}",
            game,
            partial(linear_program, game, method=method),
            limit,
            lp=True,
        )


def within(
    solver: str, game: Game, run: Callable[[], np.ndarray], limit: float, *, lp: bool = False
) -> Line:
    """In a process of its own, ended at the limit: linear programs look at their clock between
    iterations alone, or never.
    """
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_within, args=(game, run, theirs), daemon=True)
    tick = time.perf_counter()
    process.start()
    seconds, reached = (
        ours.recv() if ours.poll(limit) else (time.perf_counter() - tick, float("inf"))
    )
    process.terminate()
    process.join()
    return Line(solver, len(game), seconds, None, reached, lp)


def _within(game: Game, run: Callable[[], np.ndarray], pipe: Connection) -> None:
    tick = time.perf_counter()
    try:
        pi = run()
    except RunError:
        pi = np.eye(len(game))[0]
    pipe.send((time.perf_counter() - tick, exploitability(game, pi)))


def spiel(game: Game, limit: float) -> Iterator[Line]:
    """Each up to the size at which it is still worth a look."""
    import pyspiel
    from open_spiel.python.algorithms import fictitious_play, projected_replicator_dynamics
    from open_spiel.python.algorithms import regret_matching as matching

    payoff = 2 * game.skew_AA
    tensors = [payoff, -payoff]

    def of(policy: object, root: object) -> np.ndarray:
        chances = policy.action_probabilities(root)  # type: ignore[attr-defined]
        return np.array([chances[i] for i in range(len(game))])

    def turns() -> object:
        names = [str(i) for i in range(len(game))]
        return pyspiel.convert_to_turn_based(
            pyspiel.create_matrix_game("g", "g", names, names, *tensors)
        )

    def growing(run: Callable[[int], np.ndarray]) -> tuple[np.ndarray, float | None]:
        """Twice as many iterations each time; the last run alone is what a user who knew the number
        would wait for.
        """
        begun, iterations = time.perf_counter(), 100
        while True:
            tick = time.perf_counter()
            pi = run(iterations)
            took = time.perf_counter() - tick
            if exploitability(game, pi) <= UNTIL or time.perf_counter() - begun + 2 * took > limit:
                return pi, 2 * iterations
            iterations *= 2

    def stepping(
        solver: object, step: Callable[[], None], root: object
    ) -> tuple[np.ndarray, float | None]:
        """Looked at after 10, 20, 40, ... iterations: reading the policy costs as much as some of
        them.
        """
        begun, count, due = time.perf_counter(), 0, 10
        while True:
            while count < due and time.perf_counter() - begun <= limit:
                step()
                count += 1
            due = 2 * due
            pi = of(solver.average_policy(), root)  # type: ignore[attr-defined]
            if exploitability(game, pi) <= UNTIL or time.perf_counter() - begun > limit:
                return pi, 2 * count

    def cfr() -> tuple[np.ndarray, float | None]:
        tree = turns()
        solver = pyspiel.CFRPlusSolver(tree)
        return stepping(solver, solver.evaluate_and_update_policy, tree.new_initial_state())  # type: ignore[attr-defined]

    def fictitious() -> tuple[np.ndarray, float | None]:
        tree = turns()
        solver = fictitious_play.XFPSolver(tree)
        return stepping(solver, solver.iteration, tree.new_initial_state())  # type: ignore[attr-defined]

    def replicator(n: int) -> np.ndarray:
        return np.asarray(
            projected_replicator_dynamics.projected_replicator_dynamics(
                tensors, prd_iterations=n, prd_gamma=1e-9
            )[0]
        )

    if len(game) <= 1000:
        try:
            from open_spiel.python.algorithms import lp_solver
        except ImportError:
            print(NO_CVXPY, file=sys.stderr)
        else:
            yield within(
                "open_spiel linear program",
                game,
                partial(_spiel_program, lp_solver, pyspiel, tensors),
                limit,
            )
    if len(game) <= 300:
        yield timed("open_spiel CFR+", game, cfr)
    if len(game) <= 1000:
        yield timed(
            "open_spiel regret matching",
            game,
            lambda: growing(lambda n: matching.regret_matching(tensors, iterations=n)[0]),
        )
        yield timed("open_spiel replicator", game, lambda: growing(replicator))
    if len(game) <= 100:
        yield timed("open_spiel fictitious play", game, fictitious)


def _spiel_program(lp_solver: object, pyspiel: object, tensors: list[np.ndarray]) -> np.ndarray:
    names = [str(i) for i in range(len(tensors[0]))]
    game = pyspiel.create_matrix_game("g", "g", names, names, *tensors)  # type: ignore[attr-defined]
    pi = np.maximum(np.ravel(lp_solver.solve_zero_sum_matrix_game(game)[0]), 0)  # type: ignore[attr-defined]
    return pi / pi.sum()


def shown(line: Line) -> str:
    calls = "" if line.calls is None else f"{line.calls:.0f}"
    far = (
        "ended at the limit"
        if line.exploitability == float("inf")
        else f"{line.exploitability:.1e} (not there)"
    )
    return (
        f"{line.answers:>8} {line.solver:<28} {line.seconds:>10.3f} {calls:>10} "
        f"{f'{line.exploitability:.1e}' if line.reached else far:>22}"
    )


def facts(lines: list[Line]) -> dict[str, object]:
    """Of games of one size: the fastest of our solvers that arrived, beside the fastest linear
    program, or its limit if none arrived.
    """
    own = [
        line for line in lines if line.reached and not line.lp and "open_spiel" not in line.solver
    ]
    if not own:
        raise SystemExit(
            f"none of our solvers reached {UNTIL:g} at {lines[0].answers} answers in "
            "time; hint: a longer --limit"
        )
    best = min(own, key=lambda line: line.seconds)
    programs = [line for line in lines if line.lp]
    seconds = min(line.seconds for line in [x for x in programs if x.reached] or programs)
    return {
        "n": best.answers,
        "best": best.solver,
        "seconds": round(best.seconds, 3),
        "lp_seconds": round(seconds, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--sizes",
        default="10,100,1000,3000",
        help="answers of the games, with commas; the last one is in the line of JSON",
    )
    parser.add_argument(
        "--limit", type=float, default=10.0, help="seconds of a solver that has not arrived"
    )
    parser.add_argument(
        "--lp-limit", type=float, default=300.0, help="seconds of each method of HiGHS"
    )
    asked = parser.parse_args()
    begun = time.perf_counter()
    groups: list[tuple[Callable[[Game, float], Iterator[Line]], float]] = [
        (ours, asked.limit),
        (highs, asked.lp_limit),
    ]
    try:
        import open_spiel.python.algorithms.fictitious_play  # noqa: F401
        import pyspiel  # noqa: F401
    except ImportError as why:
        print(NO_SPIEL.format(why=why), file=sys.stderr)
    else:
        groups.append((spiel, asked.limit))
    print(
        f"{'answers':>8} {'solver':<28} {'seconds':>10} {'calls':>10} {'exploitability':>22}",
        flush=True,
    )
    lines: list[Line] = []
    for answers in map(int, asked.sizes.split(",")):
        game, lines = random_game(answers), []
        for group, limit in groups:
            for line in group(game, limit):
                print(shown(line), flush=True)
                lines.append(line)
        print(
            f"{answers:,} answers done, {(time.perf_counter() - begun) / 60:.1f} minutes "
            "since the start",
            file=sys.stderr,
            flush=True,
        )
    found = facts(lines)
    if not any(line.lp and line.reached for line in lines):
        print(
            f"no linear program of HiGHS ended within {asked.lp_limit:g} s; lp_seconds is "
            "that limit"
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
