"""Methods by name, and the loop they share: evaluate, fit, propose a batch, evaluate.

A method proposes from the evaluations so far and a seed, and remembers nothing else, so a stopped
search goes on to the same numbers.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import qmc

from holdfast import lookup
from holdfast.card import check
from holdfast.errors import RunError
from holdfast.files import read_json, write_json
from holdfast.optimization.pareto import stein
from holdfast.optimization.pareto.hypervolume import (
    log_difference,
    nondominated,
    scaled_hypervolume,
)
from holdfast.optimization.pareto.problem import Floats, Problem
from holdfast.optimization.pareto.set_model import (
    PlainStep,
    SetLearning,
    SteinStep,
    check_whole,
    product,
    propose,
    quotient,
)
from holdfast.optimization.pareto.surrogate import fit
from holdfast.stats.arrays import floats

Propose = Callable[[Floats, Floats, int, int], Floats]  # u_ND, y_NM, batch, seed -> u_BD
SURVIVORS = 20  # of NSGA-II's population


def set_learning(method: SetLearning, u_ND: Floats, y_NM: Floats, batch: int, seed: int) -> Floats:
    generator = torch.Generator().manual_seed(seed)
    return propose(method, fit(u_ND, y_NM), batch, generator)[0]


def qnehvi(u_ND: Floats, y_NM: Floats, batch: int, seed: int) -> Floats:
    """Noisy expected hypervolume improvement of a batch (Daulton et al. 2021), in botorch's
    logarithmic form (Ament et al. 2023), which its authors advise: the same acquisition without
    vanishing gradients. The reference point is 0.1 of the front's range beyond its worst.
    """
    from botorch.acquisition.multi_objective.logei import (
        qLogNoisyExpectedHypervolumeImprovement,
    )
    from botorch.optim.optimize import optimize_acqf
    from botorch.sampling.normal import SobolQMCNormalSampler
    from botorch.utils.multi_objective.hypervolume import infer_reference_point

    torch.manual_seed(seed)
    surrogate = fit(u_ND, -y_NM)  # botorch maximizes
    acquisition = qLogNoisyExpectedHypervolumeImprovement(
        surrogate.model,
        ref_point=infer_reference_point(surrogate.y_NM[torch.as_tensor(nondominated(y_NM))]),
        X_baseline=surrogate.x_ND,
        sampler=SobolQMCNormalSampler(torch.Size([64]), seed=seed),
        prune_baseline=True,
    )
    bounds = torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, u_ND.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, _ = optimize_acqf(
            acquisition, bounds, q=batch, num_restarts=4, raw_samples=64, sequential=True
        )
    return found.numpy()


def nsga2(u_ND: Floats, y_NM: Floats, batch: int, seed: int) -> Floats:
    """pymoo's survival, tournaments, crossover and mutation (Deb et al. 2002). Departure: the
    survivors are chosen from all evaluations, not from the last population and its children.
    """
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.population import Population
    from pymoo.core.problem import Problem as Plain

    plain = Plain(n_var=u_ND.shape[1], n_obj=y_NM.shape[1], xl=0.0, xu=1.0)
    survivors = min(SURVIVORS, len(u_ND))
    algorithm = NSGA2(pop_size=survivors, n_offsprings=batch, seed=seed)
    algorithm.setup(plain, termination=("n_gen", 10**9), verbose=False)
    population = Population.new(X=u_ND, F=y_NM)
    for one in population:
        one.evaluated = {"F", "G", "H"}
    algorithm.ask()  # a first design, which the evaluations replace
    algorithm.tell(infills=algorithm.survival.do(plain, population, n_survive=survivors))
    return np.asarray(algorithm.ask().get("X"), dtype=float)[:batch]


def sobol(u_ND: Floats, y_NM: Floats, batch: int, seed: int) -> Floats:
    """No method: scrambled Sobol points."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # balance needs powers of two
        return qmc.Sobol(u_ND.shape[1], seed=seed).random(batch)


def svh_psl(**settings: Any) -> Propose:
    """SVH-PSL: product, local kernel, repulsion, best weights."""
    alpha = settings.pop("alpha", 1e-3)
    step = SteinStep(stein.local_kernel, alpha)
    chosen = {"best_weights": True, **settings}
    return partial(set_learning, SetLearning(product, step, **chosen))


def svh_psl_global(**settings: Any) -> Propose:
    """SVH-PSL with one kernel over all objectives."""
    alpha = settings.pop("alpha", 1e-3)
    step = SteinStep(stein.global_kernel, alpha)
    chosen = {"best_weights": True, **settings}
    return partial(set_learning, SetLearning(product, step, **chosen))


def psl(**settings: Any) -> Propose:
    """Pareto set learning as PSL-MOBO (Lin et al. 2022): quotient, unit gradients, polish."""
    return partial(set_learning, SetLearning(quotient, PlainStep(), **{"polish": 0.01, **settings}))


def hypernetwork(**settings: Any) -> Propose:
    """Everything of SVH-PSL but Stein: identity kernel, no repulsion. The control."""
    step = SteinStep(stein.identity_kernel, 0.0)
    chosen = {"best_weights": True, **settings}
    return partial(set_learning, SetLearning(product, step, **chosen))


METHODS: dict[str, Callable[..., Propose]] = {
    "svh-psl": svh_psl,
    "svh-psl-global": svh_psl_global,
    "hypernetwork": hypernetwork,
    "psl": psl,
    "qnehvi": lambda: qnehvi,
    "nsga2": lambda: nsga2,
    "sobol": lambda: sobol,
}


@dataclass(frozen=True)
class Search:
    """What a search is, beside its problem.

    Attributes:
        method: a name of `METHODS`
        settings: of the method
        first: evaluations of a Latin hypercube before any proposal
        evaluations: in all
        batch: evaluations a proposal
        seed: of every draw
    """

    method: str = "svh-psl"
    settings: Mapping[str, Any] | None = None
    first: int = 20
    evaluations: int = 120
    batch: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        lookup.named(self.method, METHODS, "method", lists="holdfast optimize pareto methods")
        for name in ("first", "evaluations", "batch"):
            check_whole(name, getattr(self, name), 2 if name == "first" else 1)
        enough = f"be at least first, {self.first}"
        check("evaluations", self.evaluations, self.evaluations >= self.first, enough)
        check("seed", self.seed, lambda: int(self.seed) == self.seed >= 0, "be 0 or more")

    def propose(self) -> Propose:
        try:
            return METHODS[self.method](**(self.settings or {}))
        except TypeError as error:
            raise RunError(f"{self.method} does not take these settings: {error}") from None


@dataclass(frozen=True)
class Evaluated:
    """Evaluations so far, in order; x in the units of the box."""

    x_ND: Floats
    y_NM: Floats

    def hypervolumes(self, problem: Problem, at: list[int]) -> list[float]:
        """Scaled, after each number of evaluations."""
        return [scaled_hypervolume(problem, self.y_NM[:n]) for n in at]

    def log_difference(self, problem: Problem) -> float | None:
        return log_difference(problem, scaled_hypervolume(problem, self.y_NM))


def optimize(problem: Problem, search: Search, out: Path | None = None) -> Iterator[Evaluated]:
    """The evaluations after the first design and after each batch. With `out` each is written
    there, and a call that was stopped goes on with it.

    Raises:
        RunError: an objective failed, or `out` is of another search.
        DataError: `out` holds evaluations that are not of this problem.
    """
    propose_batch = search.propose()
    head = {
        "problem": problem.name,
        "variables": problem.variables,
        "method": search.method,
        "settings": dict(search.settings or {}),
        "first": search.first,
        "batch": search.batch,
        "seed": search.seed,
    }
    units = np.empty((0, problem.variables))
    values = np.empty((0, problem.objectives))
    if out is not None and out.exists():
        units, values = _read(out, head, problem)
        if len(units):
            yield Evaluated(problem.from_unit(units), values)
    while len(units) < search.evaluations:
        count = min(search.batch, search.evaluations - len(units))
        if not len(units):
            design = qmc.LatinHypercube(problem.variables, rng=np.random.default_rng(search.seed))
            more = design.random(search.first)
        else:
            seed = int(np.random.SeedSequence([search.seed, len(units)]).generate_state(1)[0])
            more = propose_batch(units, values, count, seed % 2**31)
        x_BD = problem.from_unit(more)
        values = np.vstack([values, problem.evaluate(x_BD)])
        units = np.vstack([units, more])
        if out is not None:
            write_json(out, {**head, "unit_x": units.tolist(), "y": values.tolist()})
        yield Evaluated(problem.from_unit(units), values)


def _read(path: Path, head: Mapping[str, Any], problem: Problem) -> tuple[Floats, Floats]:
    there = read_json(path)
    for name, value in json.loads(json.dumps(head)).items():
        if there.get(name) != value:
            raise RunError(
                f"{path} holds a search with {name} {there.get(name)!r}, not {value!r}",
                hint="name another file, or ask for the same",
            )
    units = floats(there.get("unit_x"), f"{path}: unit_x", shape=(None, problem.variables))
    shape = (len(units), problem.objectives)
    return units, floats(there.get("y"), f"{path}: y", shape=shape)
