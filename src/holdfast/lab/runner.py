"""Runs claims: every point of every sweep, in parallel, each piece of work once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.errors import OptionError, RunError
from holdfast.lab import cache
from holdfast.lab.claim import Claim, Measured, Paper
from holdfast.lab.verdict import Cell, Found, Ruling, decide
from holdfast.parallel import Done, Engine, Work, run_all

QUICK_SEEDS = 6


@dataclass(frozen=True)
class Result:
    """One claim, decided."""

    claim: Claim
    found: Found
    ruling: Ruling
    seconds: float  # of computing, on one core, whenever that was
    quick: bool = False
    fresh: int = 0  # what was added to every seed that the claim names
    first: Ruling | None = None  # the ruling on the seeds that it names, where these are others

    @property
    def verdict(self) -> str:
        return (
            f"{self.ruling.verdict} (quick: {len(self.found.seeds)} seeds)"
            if self.quick
            else self.ruling.verdict
        )

    @property
    def changed(self) -> bool:
        """Whether fresh seeds say something else than the first ones."""
        return self.first is not None and self.first.verdict != self.ruling.verdict


def run(
    chosen: Sequence[Paper],
    *,
    quick: bool = False,
    fresh: int = 0,
    workers: int | None = None,
    engine: Engine = "local",
    address: str | None = None,
    folder: Path | None = None,
    quiet: bool = False,
) -> dict[str, list[Result]]:
    """Run papers' claims; results by the paper's name.

    Whoever writes a claim looks at its seeds while its thresholds are chosen, so these seeds cannot
    test it. With `fresh` the verdict is that of as many other seeds, and the first ones' stands
    beside it.

    Args:
        chosen: the papers.
        quick: the first few seeds only. A quick verdict says that the claim runs; it proves little.
        fresh: added to every seed; 0 for the seeds that the claims name.
        workers: processes, one a processor unless given.
        engine: "local" or "ray".
        address: of a Ray cluster.
        folder: of the cache.
        quiet: no progress.

    Raises:
        OptionError: `fresh` is negative, or gives some claim seeds that it has already.
        RunError: a measure gave a number that is not finite, or not one number a seed.
    """
    if fresh:
        refuse_known(chosen, fresh)
        how: dict[str, Any] = {
            "quick": quick,
            "workers": workers,
            "engine": engine,
            "address": address,
            "folder": folder,
            "quiet": quiet,
        }
        before = run(chosen, **how)
        after = run([shifted(paper, fresh) for paper in chosen], **how)
        return {
            name: [
                replace(new, fresh=fresh, first=old.ruling)
                for old, new in zip(before[name], found, strict=True)
            ]
            for name, found in after.items()
        }
    folder = folder or cache.default_folder()
    pieces: dict[str, Work] = {}
    wanted: dict[int, list[tuple[str, Mapping[str, Any]]]] = {}
    for paper in chosen:
        for claim in paper.claims:
            wanted[id(claim)] = []
            for point in claim.points:
                for seeds in chunks(seeds_of(claim, quick), claim.chunk):
                    name = cache.key(claim, point, seeds)
                    wanted[id(claim)].append((name, point))
                    pieces[name] = Work(paper.name, claim.measure, {"seeds": seeds, **point})
    kept = {name: found for name in pieces if (found := cache.load(folder, name)) is not None}
    missing = [name for name in pieces if name not in kept]

    def keep(i: int, done: Done) -> None:
        result = plain(done.result)
        cache.save(folder, missing[i], result, done.seconds)
        kept[missing[i]] = {"result": result, "seconds": done.seconds}

    run_all(
        [pieces[name] for name in missing],
        engine=engine,
        workers=workers,
        address=address,
        quiet=quiet,
        on_done=keep,
    )
    return {
        paper.name: [result_of(claim, wanted[id(claim)], kept, quick) for claim in paper.claims]
        for paper in chosen
    }


def shifted(paper: Paper, fresh: int) -> Paper:
    """The same claims on other seeds."""
    return replace(
        paper,
        claims=tuple(
            replace(claim, seeds=tuple(seed + fresh for seed in claim.seeds))
            for claim in paper.claims
        ),
    )


def refuse_known(chosen: Sequence[Paper], fresh: int) -> None:
    for paper in chosen:
        for claim in paper.claims:
            if fresh < 0 or set(claim.seeds) & {seed + fresh for seed in claim.seeds}:
                raise OptionError(
                    f"adding {fresh} to the seeds of {paper.name} does not give fresh ones",
                    hint="--fresh 1000",
                )


def seeds_of(claim: Claim, quick: bool) -> tuple[int, ...]:
    return tuple(claim.seeds)[: QUICK_SEEDS if quick else None]


def chunks(seeds: tuple[int, ...], size: int) -> list[tuple[int, ...]]:
    return [seeds[i : i + size] for i in range(0, len(seeds), size)]


def plain(measured: Measured) -> dict[str, dict[str, list[float]]]:
    """JSON's own types."""
    return {
        arm: {of: [float(x) for x in np.asarray(values)] for of, values in quantities.items()}
        for arm, quantities in measured.items()
    }


def result_of(
    claim: Claim,
    wanted: Sequence[tuple[str, Mapping[str, Any]]],
    kept: Mapping[str, Mapping[str, Any]],
    quick: bool,
) -> Result:
    """Put a claim's pieces together and apply its rule."""
    joined: dict[tuple[Any, ...], dict[str, dict[str, list[float]]]] = {}
    points = {tuple(point.items()): point for _, point in wanted}
    for name, point in wanted:
        at_point = joined.setdefault(tuple(point.items()), {})
        for arm, quantities in kept[name]["result"].items():
            for of, values in quantities.items():
                at_point.setdefault(arm, {}).setdefault(of, []).extend(values)
    seeds = seeds_of(claim, quick)
    cells = [
        Cell(points[place], arm, values)
        for place, arms in joined.items()
        for arm, values in arms.items()
    ]
    for cell in cells:
        for of, values in cell.values.items():
            if len(values) != len(seeds) or not np.isfinite(values).all():
                raise RunError(
                    f"{claim.module}: {of} of {cell.arm} at {dict(cell.point)} has "
                    f"{len(values)} values for {len(seeds)} seeds, or one not "
                    f"finite"
                )
    found = Found(tuple(cells), seeds)
    return Result(
        claim,
        found,
        decide(claim.verdict(found)),
        sum(kept[name]["seconds"] for name, _ in wanted),
        quick,
    )
