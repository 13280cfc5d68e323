"""Training data of the surrogate: second-stage optima of random instances, first decisions and
factors.

Each instance has a random stream of its own and each ten instances a file of their own, so a killed
run goes on with the file it was at and ends with the same numbers.

Departures from Neur2RO, whose x_i is 0 with a probability that is uniform on (0, 1), and whose xi
is a budget uniform on (1 / Gamma, Gamma) spread over all items in uniform shares:

1. Half of the first decisions are the linear relaxation's, rounded, with a share of the items (up
   to a quarter) redrawn: that is where the solver searches.
2. Half of the factors are in Xi with the budget spent: on few items, drawn by what degrading them
   costs, as the adversary spends it. The paper's have no entry near 1.
3. Instances, not samples, are held out for validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import OptionError, RunError
from holdfast.files import folder_to_write, read_json, sweep, write_bytes, write_json, writing
from holdfast.optimization.two_stage.generate import random_kind, random_knapsack
from holdfast.optimization.two_stage.knapsack import Knapsack, best_gain
from holdfast.optimization.two_stage.problem import Floats
from holdfast.optimization.two_stage.relaxation import fractional
from holdfast.stats.arrays import whole

FEATURES = ("weight", "profit", "repair", "degradation", "outsourcing", "capacity")
A_FILE = 10  # instances
SETTINGS = "labels.json"


@dataclass(frozen=True)
class Asked:
    """How much is drawn.

    Raises:
        OptionError: a number below 1, or a seed below 0.
    """

    instances: int = 500
    decisions: int = 10
    factors: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("instances", 1), ("decisions", 1), ("factors", 1), ("seed", 0)):
            value = getattr(self, name)
            if not whole(value, least):
                raise OptionError(f"{name} must be a whole number of at least {least}, not {value}")

    @property
    def files(self) -> int:
        return -(-self.instances // A_FILE)


@dataclass(frozen=True)
class Labeled:
    """One instance: A decisions, B factors each.

    Attributes:
        features_NF: `FEATURES` of each item
        x_AN: first decisions
        xi_ABN: factors
        label_AB: the second stage's optimum, a cost, without the first stage's
    """

    features_NF: NDArray[np.float32]
    x_AN: NDArray[np.float32]
    xi_ABN: NDArray[np.float32]
    label_AB: NDArray[np.float32]


def features_of(problem: Knapsack) -> Floats:
    """One row an item, in the order of `FEATURES`."""
    return np.stack(
        [
            problem.weight_N,
            problem.profit_N,
            problem.repair_N,
            problem.degradation_N,
            problem.outsourcing_N,
            np.full(len(problem), problem.capacity),
        ],
        axis=1,
    )


def label(asked: Asked, index: int) -> Labeled:
    """Instance number `index`, with its decisions, its factors and their labels."""
    rng = np.random.default_rng([asked.seed, index])
    problem = random_knapsack(random_kind(rng), rng)
    n = len(problem)
    near_N = fractional(problem)
    x_AN = np.empty((asked.decisions, n))
    xi_ABN = np.empty((asked.decisions, asked.factors, n))
    label_AB = np.empty((asked.decisions, asked.factors))
    for a in range(asked.decisions):
        zeros = rng.uniform()
        x_AN[a] = rng.uniform(size=n) >= zeros
        if a % 2:
            x_AN[a] = np.where(
                rng.uniform(size=n) < zeros / 4, x_AN[a], near_N > rng.uniform(0.05, 0.95)
            )
        for b in range(asked.factors):
            xi_ABN[a, b] = spent(problem, x_AN[a], rng) if b % 2 else spread(problem, rng)
        xi_ABN[a] = xi_ABN[a].astype(np.float32)
        label_AB[a] = second_stage(problem, x_AN[a], xi_ABN[a])
    return Labeled(
        *(array.astype(np.float32) for array in (features_of(problem), x_AN, xi_ABN, label_AB))
    )


def second_stage(problem: Knapsack, x_N: Floats, xi_BN: Floats) -> Floats:
    """The second stage's cost at each xi, by dynamic programming; weights must be whole."""
    taken = np.flatnonzero(x_N > 0.5)
    weight = problem.weight_N[taken].astype(np.int64)
    repaired = weight + problem.repair_N[taken].astype(np.int64)
    outsourced, loss = problem.outsourcing_N[taken], problem.degradation_N[taken]
    return np.array(
        [
            -best_gain(
                weight, repaired, outsourced - loss * xi_N[taken], outsourced, int(problem.capacity)
            )
            for xi_N in xi_BN
        ]
    )


def spread(problem: Knapsack, rng: np.random.Generator) -> Floats:
    """The paper's draw."""
    gamma = problem.budget
    share_N = rng.uniform(size=len(problem))
    return rng.uniform(min(1 / gamma, gamma), gamma) * share_N / share_N.sum()


def spent(problem: Knapsack, x_N: Floats, rng: np.random.Generator) -> Floats:
    """All of the budget on a few of the taken items, those that cost more when degraded first."""
    worth_N = problem.degradation_N * (0.05 + x_N)
    temper = rng.uniform(0.0, 2.0)
    scores_N = temper * np.log(worth_N) + rng.gumbel(size=len(problem))
    width = rng.uniform(1.0, 3.0) * problem.budget  # items that share the budget
    rank_N = np.argsort(np.argsort(-scores_N))
    share_N = np.where(rank_N < width, rng.uniform(0.2, 1.0, len(problem)), 0.0)
    return filled(share_N, problem.budget)


def filled(share_N: Floats, budget: float) -> Floats:
    """Shares scaled until the budget is spent, none above 1: what overflows goes to the others."""
    xi_N = np.zeros_like(share_N)
    open_N = share_N > 0
    left = min(budget, float(open_N.sum()))
    while left > 1e-12 and open_N.any():
        scaled = share_N * open_N
        step_N = left * scaled / scaled.sum()
        new_N = np.minimum(xi_N + step_N, 1.0)
        left -= float((new_N - xi_N).sum())
        xi_N = new_N
        open_N &= xi_N < 1.0
    return xi_N


def write_labels(folder: Path, asked: Asked) -> Iterator[int]:
    """Write the data into `folder`, going on where an earlier call stopped. Yields how many
    instances are there.

    Raises:
        RunError: the folder holds data that was drawn otherwise.
        OptionError: it cannot be written.
    """
    folder = folder_to_write(folder)
    sweep(folder)
    settings = folder / SETTINGS
    if settings.exists():
        there = read_json(settings)
        wanted = asdict(asked)
        differ = [k for k in wanted if there.get(k) != wanted[k]]
        if differ:
            raise RunError(
                f"{folder} holds other data: "
                + ", ".join(f"{k} {there.get(k)} there, {wanted[k]} asked for" for k in differ),
                hint="name another folder, or ask for the same",
            )
    else:
        with writing(str(settings)):
            write_json(settings, asdict(asked))
    for f in range(asked.files):
        path = folder / f"{f:05d}.safetensors"
        upto = min((f + 1) * A_FILE, asked.instances)
        if not path.exists():
            arrays = {}
            for index in range(f * A_FILE, upto):
                for field, value in vars(label(asked, index)).items():
                    arrays[f"{index}/{field}"] = value
                if index + 1 < upto:
                    yield index + 1
            with writing(str(path)):
                write_bytes(path, _packed(arrays))
        yield upto


def _packed(arrays: dict[str, NDArray[np.float32]]) -> bytes:
    from safetensors.numpy import save

    return save(arrays)


def read_labels(folder: Path) -> tuple[Asked, list[Labeled]]:
    """What `write_labels` wrote.

    Raises:
        RunError: there is none, it is not finished, or a file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not (folder / SETTINGS).exists():
        raise RunError(
            f"{folder} holds no training data",
            hint=f"holdfast optimize two-stage data --out {folder} makes them",
        )
    try:
        asked = Asked(**read_json(folder / SETTINGS))
    except TypeError as error:
        raise RunError(
            f"{folder / SETTINGS} is not the record of training data: {error}"
        ) from error
    found = []
    for f in range(asked.files):
        path = folder / f"{f:05d}.safetensors"
        if not path.exists():
            raise RunError(
                f"{folder} is not finished: {path.name} is missing",
                hint=f"holdfast optimize two-stage data --out {folder} goes on with it",
            )
        try:
            arrays = load(path.read_bytes())
            for index in range(f * A_FILE, min((f + 1) * A_FILE, asked.instances)):
                found.append(
                    Labeled(*(arrays[f"{index}/{name}"] for name in Labeled.__annotations__))
                )
        except (SafetensorError, KeyError) as error:
            raise RunError(
                f"{path} is damaged: {error}",
                hint="remove the file and ask for the data again",
            ) from error
    return asked, found
