"""Neur2RO (Dumouchelle et al., 2024): column-and-constraint generation with a surrogate.

The main program holds one copy of the recourse, whatever the number of scenarios. A network that
estimates the second stage's optimum at (x, xi^k) chooses the scenario, and the recourse is then
optimized against that one exactly ("argmax"):

    min over x, w, u   z
    a >= NN(x, xi^k),   a <= NN(x, xi^k) + M (1 - u_k),   sum of u = 1,   u in {0, 1}^K
    z >= F1(x, xi^k) + F2(w, xi^k) - M' (1 - u_k),   w in W(x)

The next scenario is the point of Xi at which the network's value is largest for the main program's
x. The first x is the nominal one.

Departures from the paper:
1. Every x of the main program is given its exact worst case (until some point makes it worse than
   the best so far), and the best one is returned, with it as certificate. The paper returns the
   last x, which is `iterates[-1].x_N`.
2. Where the network's adversary comes to a point again, the next scenario is the worst point that
   was met while x was certified, and the loop ends when that comes again too. The paper's rule, to
   stop when the main program and the adversary agree, ended 446 of its 504 stored runs after one
   scenario.
3. The product of u and the recourse's cost is a row with a big M; the released program multiplies
   variables, and adds the repair's saving where it must be subtracted.
4. No bound: a surrogate proves nothing. The bound returned is the nominal one.
"""

from __future__ import annotations

from importlib.resources import files
from math import inf
from pathlib import Path
from time import monotonic
from typing import Literal

import numpy as np

from holdfast.errors import OptionError
from holdfast.optimization.two_stage.adversary import by_sampling
from holdfast.optimization.two_stage.embedding import Embedding, worst_of_network
from holdfast.optimization.two_stage.exact import solution
from holdfast.optimization.two_stage.knapsack import Knapsack
from holdfast.optimization.two_stage.labels import features_of
from holdfast.optimization.two_stage.network import SetNetwork, load_network
from holdfast.optimization.two_stage.nominal import nominal_x
from holdfast.optimization.two_stage.problem import Floats, Iterate, Problem, Solution
from holdfast.optimization.two_stage.programs import Index, Program
from holdfast.optimization.two_stage.relaxation import first_stage
from holdfast.optimization.two_stage.worst_case import worst_case

SAME = 1e-3  # L1 distance below which two points of Xi are one
SHIPPED = "knapsack.safetensors"


def neur2ro(
    problem: Problem,
    *,
    seconds: float = 60.0,
    network: str | None = None,
    adversary: Literal["sampling", "milp", "exact"] = "sampling",
    scenarios: int = 20,
    gap: float = 1e-3,
    seed: int = 0,
) -> Solution:
    """Solve with a surrogate; for problems a network was trained on, which are knapsacks.

    Args:
        problem: a `Knapsack`
        seconds: of wall time, after which no new scenario is added
        network: a file of `holdfast optimize two-stage train`; the one that comes with the package
            unless given
        adversary: of the network, by sampling and swaps or by mixed-integer programming; or exact,
            the exact worst case of the last x
        scenarios: at most
        gap: relative gap at which a main program counts as solved
        seed: of the adversary's draws
    """
    if not isinstance(problem, Knapsack):
        raise OptionError(
            f"neur2ro has a network for knapsacks, and {problem.name} is a "
            f"{type(problem).__name__}",
            hint="method='exact', or 'relaxation' where constraints do not move with xi",
        )
    surrogate = shipped() if network is None else load_network(Path(network))
    surrogate.scales.label_range(len(problem))  # refuses a size it was not trained on
    surrogate = surrogate.double()
    features_NF, started = features_of(problem), monotonic()
    x_N, lower = nominal_x(problem, seconds=seconds, gap=gap)
    certificate = worst_case(problem, x_N)
    best = (x_N, certificate)
    spent = monotonic() - started
    iterates = [Iterate(x_N, lower, certificate.value, spent, None)]
    points: list[Floats] = []
    status = f"{scenarios} scenarios"
    for _ in range(scenarios):
        left = seconds - (monotonic() - started)
        if left <= 0:
            status = "out of time"
            break
        offered = [certificate.xi_J]
        if adversary != "exact":
            xi_N, _ = by_sampling(surrogate, features_NF, x_N, problem.model.uncertainty, seed=seed)
            if adversary == "milp":
                xi_N = _by_program(surrogate, features_NF, x_N, problem, xi_N, left)
            offered.insert(0, xi_N)
        new = [xi_N for xi_N in offered if not _among(xi_N, points)]
        if not new:
            status = "the worst points came again"
            break
        xi_N = new[0]
        points.append(xi_N)
        program, x = main_program(problem, surrogate, features_NF, points, lower)
        left = max(seconds - (monotonic() - started), 0.1)
        found = program.minimize(f"{problem.name}: the main program", seconds=left, gap=gap)
        if found.values is None:
            status = "out of time"
            break
        x_N = np.abs(np.round(found.values[x]))
        # an x that some point makes worse than the best so far needs no bound of its own
        known = (xi_N, best[1].xi_J)
        enough = inf if adversary == "exact" else best[1].value
        certificate = worst_case(problem, x_N, stop_above=enough, known=known)
        closed = certificate.value if certificate.proven else None
        iterates.append(Iterate(x_N, found.value, closed, monotonic() - started, xi_N))
        if certificate.bound < best[1].bound:
            best = (x_N, certificate)
    return solution(
        best,
        lower,
        points or [problem.model.nominal_J],
        "neur2ro",
        monotonic() - started,
        status,
        iterates,
    )


def _among(xi_N: Floats, points: list[Floats]) -> bool:
    return any(float(np.abs(xi_N - other_N).sum()) < SAME for other_N in points)


def shipped() -> SetNetwork:
    """The network that comes with the package."""
    place = files("holdfast.optimization.two_stage") / "networks" / SHIPPED
    return load_network(Path(str(place)))


def _by_program(
    network: SetNetwork,
    features_NF: Floats,
    x_N: Floats,
    problem: Knapsack,
    sampled_N: Floats,
    seconds: float,
) -> Floats:
    """The better of the sampled point and the program's."""
    point_N, _, _ = worst_of_network(
        network, features_NF, x_N, problem.model.uncertainty, seconds=min(seconds, 20.0)
    )
    both = np.array([sampled_N, point_N])
    return both[int(np.argmax(network.predict(features_NF, x_N, both)))]


def main_program(
    problem: Knapsack,
    network: SetNetwork,
    features_NF: Floats,
    points: list[Floats],
    lower: float,
) -> tuple[Program, Index]:
    """The main program with these scenarios, and x's places in it.

    Args:
        problem: the knapsack
        network: the surrogate
        features_NF: of the items
        points: the scenarios
        lower: no x costs less than this at any of them
    """
    model, program = problem.model, Program()
    x = first_stage(program, model)
    program.price(x, np.zeros(model.n_first))
    w = program.add(len(model.second_M), high=1.0, whole=True)
    x_RN, w_RM = model.rows.at(model.nominal_J)
    for x_N, w_M, most in zip(x_RN, w_RM, model.rows.most_R, strict=True):
        program.row((x, x_N), (w, w_M), most=float(most))
    z = program.add(1, low=lower, cost=1.0)
    u = program.add(len(points), high=1.0, whole=True)
    program.row((u, 1.0), least=1.0, most=1.0)
    embedding = Embedding(program, network, features_NF, x)
    values = [embedding.value(xi_N) for xi_N in points]
    highest = max(value.high for value in values)
    a = program.add(1, low=max(value.low for value in values), high=highest)
    # at no scenario a recourse costs less than at the least of them all, entry by entry
    costs = [_costs(problem, xi_N) for xi_N in (np.min(points, axis=0), *points)]
    program.row((x, costs[0][0]), (w, costs[0][1]), (z, -1.0), most=0.0)
    for k, (value, (first_N, second_M)) in enumerate(zip(values, costs[1:], strict=True)):
        inside = (value.places, -value.slopes)
        program.row((a, 1.0), inside, least=value.bias)
        slack = highest - value.low
        program.row((a, 1.0), inside, (u[k], slack), most=value.bias + slack)
        most = float(np.maximum(first_N, 0).sum() + np.maximum(second_M, 0).sum()) - lower
        program.row((x, first_N), (w, second_M), (z, -1.0), (u[k], most), most=most)
    return program, x


def _costs(problem: Knapsack, xi_N: Floats) -> tuple[Floats, Floats]:
    """Of x and of w at one point."""
    model = problem.model
    return model.first_N + xi_N @ model.first_JN, model.second_M + xi_N @ model.second_JM
