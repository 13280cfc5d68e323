"""What can honestly be measured of a system's alignment with people: whom it represents, what
shakes it, and what it costs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, inf, log, log1p
from time import monotonic
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from rich.progress import track
from rich.table import Table
from scipy import stats

from holdfast.card import check
from holdfast.errors import DataError
from holdfast.pluralism.representativeness import Representativeness, labels_for, representativeness
from holdfast.stats import arrays
from holdfast.stats.arrays import Floats
from holdfast.stats.intervals import Estimate
from holdfast.terminal import Terminal

Item = TypeVar("Item")
Value = Callable[[Sequence[Item]], ArrayLike]  # one number from 0 to 1 for each item
Perturb = Callable[
    [Sequence[Item], np.random.Generator], Sequence[Item]
]  # one draw from a declared class of perturbations


@dataclass(frozen=True)
class Robustness:
    """How often a perturbation drawn from a declared class takes a value below a floor that was set
    beforehand.

    Attributes:
        floor: the least value that counts as holding.
        trials: perturbations drawn.
        failures: how many ended below the floor.
        share: failures / trials, the estimate of the paper's delta.
        upper: the one-sided limit that delta stays below (Clopper and Pearson).
        clean: the value without perturbation.
        mean: the mean value over perturbations.
        worst: the lowest value among them; not a probability, and not what an adversary could
            reach.
        level: of `upper`.
    """

    floor: float
    trials: int
    failures: int
    share: float
    upper: float
    clean: float | None
    mean: float
    worst: float
    level: float


def robustness(
    value_A: ArrayLike, *, floor: float, clean: float | None = None, level: float = 0.95
) -> Robustness:
    """delta-robustness, P over perturbations (value >= floor) >= 1 - delta, from A perturbations
    drawn at random.

    A list of attacks picked by hand gives no delta: delta is a probability over a distribution, and
    that must be drawn from. A floor chosen after the values were seen gives whatever delta one
    likes.

    Args:
        value_A: the value under each perturbation.
        floor: set before looking.
        clean: the value without perturbation, to keep beside them.
        level: of the upper limit.

    Raises:
        DataError: no value, or one that is not finite.
        OptionError: a floor or a clean value that is not finite, or a level outside 0 to 1.
    """
    values = arrays.floats(value_A, "the value under a perturbation", shape=(None,))
    if not len(values):
        raise DataError("robustness needs one finite value for each perturbation; there is none")
    check(
        "floor",
        floor,
        lambda: -inf < floor < inf,
        "be finite",
        hint="the least value that counts as holding, set before looking",
    )
    check("clean", clean, lambda: clean is None or -inf < clean < inf, "be finite, or None")
    check("level", level, lambda: 0 < level < 1, "lie between 0 and 1")
    n, failures = len(values), int((values < floor).sum())
    upper = 1.0 if failures == n else float(stats.beta.ppf(level, failures + 1, n - failures))
    return Robustness(
        floor,
        n,
        failures,
        failures / n,
        upper,
        clean,
        float(values.mean()),
        float(values.min()),
        level,
    )


def trials_for(delta: float, *, level: float = 0.95) -> int:
    """Perturbations without a single failure that it takes to know that delta is at most this:
    ceil(ln(1 - level) / ln(1 - delta)); 0.001 at 0.95 takes 2,995."""
    check("delta", delta, lambda: 0 < delta < 1, "lie between 0 and 1")
    check("level", level, lambda: 0 < level < 1, "lie between 0 and 1")
    return ceil(log(1 - level) / log1p(-delta) - 1e-12)


# ------------------------------------------------------------ cost


class Line(NamedTuple):
    """A straight line through logarithms of costs: its slope, and its mean squared error on points
    left out.
    """

    slope: Estimate
    error: float


@dataclass(frozen=True)
class Growth:
    """How a cost grows with a size: cost ~ size^slope (polynomial), or cost ~ 2^(slope x size)
    (exponential).
    """

    polynomial: Line
    exponential: Line

    @property
    def better(self) -> str:
        """Which predicts the points left out with less error."""
        return "polynomial" if self.polynomial.error <= self.exponential.error else "exponential"


def growth(size_N: ArrayLike, cost_N: ArrayLike) -> Growth:
    """Fit both, and leave each point out in turn to see which one predicts it. A statement about
    these sizes and this learner, no bound.

    Raises:
        DataError: fewer than four points, or a size or cost that is not above 0.
    """
    size, cost = (
        arrays.floats(size_N, "size_N", finite=False),
        arrays.floats(cost_N, "cost_N", finite=False),
    )
    if (
        size.shape != cost.shape
        or size.ndim != 1
        or len(size) < 4
        or not (size > 0).all()
        or not (cost > 0).all()
    ):
        raise DataError("growth needs four or more sizes, each with its cost, all above 0")
    if not np.isfinite(size).all() or not np.isfinite(cost).all() or np.ptp(size) == 0:
        raise DataError("growth needs sizes that differ and costs that are finite")
    return Growth(_line(np.log2(size), np.log2(cost)), _line(size, np.log2(cost)))


def _line(x_N: Floats, y_N: Floats) -> Line:
    found = stats.linregress(x_N, y_N)
    half = float(stats.t.ppf(0.975, len(x_N) - 2)) * float(found.stderr)
    design = np.column_stack([np.ones_like(x_N), x_N])
    leverage_N = np.einsum("nd,nd->n", design @ np.linalg.pinv(design.T @ design), design)
    left_out_N = (y_N - found.intercept - found.slope * x_N) / np.maximum(1 - leverage_N, 1e-12)
    slope = float(found.slope)
    return Line(
        Estimate(slope, slope - half, slope + half, len(x_N), len(x_N), "least squares"),
        float((left_out_N**2).mean()),
    )


# ------------------------------------------------------------ the card


@dataclass(frozen=True)
class Trilemma(Generic[Item]):
    """One data set and one policy, measured: representativeness, robustness, cost, and what the
    user's targets would take.

    Attributes:
        representativeness: see there; of the clean values.
        robustness: see there; of the population's mean value. None where no perturbation was given.
        items: labels used.
        evaluations: times that an item was judged.
        seconds: of judging.
        epsilon: the target; `labels_needed` is how many labels all groups together must give to
            know every group's mean to it.
        delta: the target; `trials_needed` is how many perturbations must pass without a failure.
    """

    representativeness: Representativeness
    robustness: Robustness | None
    items: int
    evaluations: int
    seconds: float
    epsilon: float
    labels_needed: int
    delta: float
    trials_needed: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"representativeness": self.representativeness.to_dict()}

    def table(self) -> Table:
        """For `rich.print`."""
        rep, rob = self.representativeness, self.robustness
        table = Table("what", "found", "interval", "asked", "it would take")
        met = "met" if rep.worst.ends[1] <= self.epsilon else "not shown"
        labels = (
            f"{self.labels_needed:,} labels, equally from {len(rep.groups)} groups (here "
            f"{self.items:,})"
        )
        table.add_row(
            "average gap",
            f"{rep.average.value:.3f}",
            f"{rep.average.low:.3f} to {rep.average.high:.3f}",
            "",
            "",
        )
        worst = f"worst gap ({rep.worst_group})"
        table.add_row(
            worst,
            f"{rep.worst.value:.3f}",
            f"{rep.worst.low:.3f} to {rep.worst.high:.3f}",
            f"{self.epsilon:g}: {met}",
            labels,
        )
        if rob is not None:
            met = "met" if rob.upper <= self.delta else "not shown"
            what = f"share of perturbations below {rob.floor:g}"
            trials = f"{self.trials_needed:,} trials without a failure (here {rob.trials:,})"
            table.add_row(
                what,
                f"{rob.share:.3f}",
                f"at most {rob.upper:.3f}",
                f"{self.delta:g}: {met}",
                trials,
            )
            table.add_row("worst perturbation", f"{rob.worst:.3f}", "", "", "")
        table.add_row("cost", f"{self.evaluations:,} judgments, {self.seconds:.1f} s", "", "", "")
        return table


def trilemma(
    items: Sequence[Item],
    value: Value[Item],
    population: Mapping[Any, float],
    *,
    floor: float,
    perturb: Perturb[Item] | None = None,
    trials: int = 100,
    epsilon: float = 0.1,
    delta: float = 0.05,
    group: Callable[[Item], Hashable | None] = lambda item: getattr(item, "group", None),
    rater: Callable[[Item], Hashable | None] = lambda item: getattr(item, "rater", None),
    seen: float | None = None,
    level: float = 0.95,
    seed: int = 0,
    progress: bool = False,
) -> Trilemma[Item]:
    """Measure a data set and a policy against the three demands of "The Complexity of Perfect AI
    Alignment" (Sahoo et al. 2025).

    The paper states that no system can be representative, tractable and robust at once, and gives
    definitions, not an experiment. These are the definitions as measurements; what a value is
    (human, learned, judged) is the user's to say. For text:

        # does the policy rank as they did?
        value = lambda rows: holdfast.evaluate(run, data=rows, prompts=0).per_row["implicit_reward"]
        trilemma(rows, value, {"women": 0.5, "men": 0.5}, floor=0.6, perturb=typos(0.05)).table()

    Args:
        items: the data; rows, or anything that `value` judges.
        value: one number from 0 to 1 for each item: how well the policy does by the person who gave
            it.
        population: group -> share, as the population is, not as the data are.
        floor: the population's mean value that must survive a perturbation; set it before looking.
        perturb: one draw of perturbed items; None leaves robustness out.
        trials: draws.
        epsilon: target of the worst gap.
        delta: target of the share of perturbations below the floor.
        group: of an item; a row's `group` unless given.
        rater: of an item; a row's `rater` unless given.
        seen: the value the system was fitted to; the mean over the items unless given.
        level: of all intervals.
        seed: of the draws.
        progress: a bar over the trials.

    Raises:
        DataError: values outside 0 to 1, no usable item, shares that are none.

    Departures:
        1. No absolute number from the stated lower bound: its constant and its "context dimension"
           have no operational definition.
        2. The worst group is reported beside the average, which can be 0 while a group is
           abandoned.
    """
    check("trials", trials, lambda: arrays.whole(trials, 1), "be a whole number of at least 1")
    check(
        "epsilon", epsilon, lambda: 0 < epsilon < inf, "be above 0 and finite"
    )  # before anything is judged
    check("delta", delta, lambda: 0 < delta < 1, "lie between 0 and 1")
    check(
        "floor",
        floor,
        lambda: -inf < floor < inf,
        "be finite",
        hint="the least value that counts as holding, set before looking",
    )
    groups, raters = [group(item) for item in items], [rater(item) for item in items]
    started, judged = monotonic(), len(items)
    clean = representativeness(
        value(items), groups, population, rater_N=raters, seen=seen, level=level
    )
    shaken = None
    if perturb is not None:
        rng, values = np.random.default_rng([seed, 0xDE17A]), []
        shown = (
            track(range(trials), "perturbations", console=Terminal(stderr=True), transient=True)
            if progress
            else range(trials)
        )
        for _ in shown:
            drawn = perturb(items, rng)
            values.append(
                representativeness(value(drawn), groups, population, level=level).population
            )
            judged += len(drawn)
        shaken = robustness(values, floor=floor, clean=clean.population, level=level)
    each = labels_for(epsilon, groups=len(clean.groups), level=level)
    needed = each * len(clean.groups)
    return Trilemma(
        clean,
        shaken,
        len(items),
        judged,
        monotonic() - started,
        epsilon,
        needed,
        delta,
        trials_for(delta, level=level),
    )


def typos(rate: float) -> Perturb[Any]:
    """Perturbed rows: within the words of each prompt (of a conversation, its last message) this
    share of neighbors trade places. Answers and labels stay."""
    from dataclasses import replace

    check("rate", rate, lambda: 0 <= rate <= 1 and rate < inf, "lie between 0 and 1")

    def slip(text: str, rng: np.random.Generator) -> str:
        letters = list(text)
        for i in np.flatnonzero(rng.random(max(0, len(letters) - 1)) < rate):
            if letters[i].isalpha() and letters[i + 1].isalpha():
                letters[i], letters[i + 1] = letters[i + 1], letters[i]
        return "".join(letters)

    def perturb(rows: Sequence[Any], rng: np.random.Generator) -> Sequence[Any]:
        out = []
        for row in rows:
            if isinstance(row.prompt, str):
                prompt: Any = slip(row.prompt, rng)
            else:
                last = dict(row.prompt[-1]) if row.prompt else {}
                last |= {"content": slip(str(last.get("content", "")), rng)}
                prompt = [*row.prompt[:-1], last]
            out.append(replace(row, prompt=prompt))
        return out

    return perturb
