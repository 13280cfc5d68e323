"""A claim: a sentence that can be false, and everything needed to find out.

    CLAIMS = (
        Claim(
            says="With 10 to 30% of labels flipped, rDPO told the rate ends closer to the clean
            optimum than DPO at the same beta.", methods=("dpo", "rdpo"), world=loglinear,
            sweep={"flip": (0.1, 0.2, 0.3)}, seeds=range(40), measure=gaps, of="gap to the optimum",
            verdict=separated("rdpo", "dpo", "gap to the optimum", lower=True), paper_number="...",
        ),
    )

One file of `lab/claims` is one paper and holds one claim or several. `measure(seeds, **point)` runs
every arm on a batch of seeds at one point of the sweep and returns arm -> quantity -> one number a
seed. Claims that share `measure` and a point share its work. The verdict's rule is part of the
claim, so it is fixed before anything is run, and the page shows both.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import ModuleType
from typing import Any, Literal

from holdfast.errors import OptionError
from holdfast.lab.verdict import Point, Rule

Measured = Mapping[str, Mapping[str, Sequence[float]]]  # arm -> quantity -> one number a seed


@dataclass(frozen=True)
class Claim:
    """A falsifiable sentence.

    Attributes:
        says: the sentence
        methods: names of the table's methods that take part: a change of their code makes results
            stale
        world: the module of the world, for the same reason
        measure: `measure(seeds, **point) -> {arm: {quantity: numbers}}`, a function of the claim's
            own module
        of: the quantity that the figure shows
        verdict: the rule
        sweep: the axes; the claim is measured at every combination
        seeds: one repetition each
        chunk: how many seeds one piece of work takes
        paper_number: what the paper reports, in words
        scale: of the figure's vertical axis, "linear" or "log" (then intervals must stay above 0)
        notes: how to read it: controls, what was left out
    """

    says: str
    methods: tuple[str, ...]
    world: ModuleType
    measure: Callable[..., Measured]
    of: str
    verdict: Rule
    sweep: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    seeds: Sequence[int] = range(20)
    chunk: int = 20
    paper_number: str = "none: the control is ours"
    scale: Literal["linear", "log"] = "linear"
    notes: str = ""

    @property
    def points(self) -> list[Point]:
        """Every combination of the sweep."""
        return [
            dict(zip(self.sweep, values, strict=True))
            for values in itertools.product(*self.sweep.values())
        ]

    @property
    def module(self) -> str:
        return self.measure.__module__


@dataclass(frozen=True)
class Paper:
    """One file of claims."""

    name: str
    title: str  # first line of the file's docstring
    about: str  # the rest of it
    claims: tuple[Claim, ...]


def papers(names: Iterable[str] = ()) -> list[Paper]:
    """The files of `lab/claims`: all of them, or those named.

    Raises:
        OptionError: there is no such file.
    """
    from holdfast.lab import claims

    there = sorted(
        info.name for info in pkgutil.iter_modules(claims.__path__) if not info.name.startswith("_")
    )
    chosen = list(names) or there
    for name in chosen:
        if name not in there:
            near = get_close_matches(name, there, n=1)
            raise OptionError(
                f"there is no claim {name!r}",
                hint=f"did you mean {near[0]}?" if near else f"one of {', '.join(there)}",
            )
    return [load(importlib.import_module(f"holdfast.lab.claims.{name}")) for name in chosen]


def load(module: ModuleType) -> Paper:
    title, _, about = (inspect.getdoc(module) or "").partition("\n")
    return Paper(
        module.__name__.rpartition(".")[2],
        title.strip().rstrip("."),
        about.strip(),
        tuple(module.CLAIMS),
    )
