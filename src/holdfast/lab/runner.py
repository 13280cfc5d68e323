"""Runs claims: every point of every sweep, in parallel, each piece of work once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.errors import RunError
from holdfast.lab import cache
from holdfast.lab.claim import Claim, Measured, Paper
from holdfast.lab.engine import Done, Engine, Work, run_all
from holdfast.lab.verdict import Cell, Found, Ruling, decide

QUICK_SEEDS = 6


@dataclass(frozen=True)
class Result:
    """One claim, decided."""

    claim: Claim
    found: Found
    ruling: Ruling
    seconds: float  # of computing, on one core, whenever that was
    quick: bool = False

    @property
    def verdict(self) -> str:
        return f"{self.ruling.verdict} (quick: {len(self.found.seeds)} seeds)" if self.quick else self.ruling.verdict


def run(
    chosen: Sequence[Paper],
    *,
    quick: bool = False,
    workers: int | None = None,
    engine: Engine = "local",
    address: str | None = None,
    folder: Path | None = None,
    quiet: bool = False,
) -> dict[str, list[Result]]:
    """Run papers' claims; results by the paper's name.

    Args:
        chosen: the papers.
        quick: the first few seeds only. A quick verdict says that the claim runs; it proves little.
        workers: processes, one a processor unless given.
        engine: "local" or "ray".
        address: of a Ray cluster.
        folder: of the cache.
        quiet: no progress.

    Raises:
        RunError: a measure gave a number that is not finite, or not one number a seed.
    """
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

    run_all([pieces[name] for name in missing], engine=engine, workers=workers, address=address, quiet=quiet, on_done=keep)
    return {paper.name: [result_of(claim, wanted[id(claim)], kept, quick) for claim in paper.claims] for paper in chosen}


def seeds_of(claim: Claim, quick: bool) -> tuple[int, ...]:
    return tuple(claim.seeds)[: QUICK_SEEDS if quick else None]


def chunks(seeds: tuple[int, ...], size: int) -> list[tuple[int, ...]]:
    return [seeds[i : i + size] for i in range(0, len(seeds), size)]


def plain(measured: Measured) -> dict[str, dict[str, list[float]]]:
    """JSON's own types."""
    return {arm: {of: [float(x) for x in np.asarray(values)] for of, values in quantities.items()} for arm, quantities in measured.items()}


def result_of(claim: Claim, wanted: Sequence[tuple[str, Mapping[str, Any]]], kept: Mapping[str, Mapping[str, Any]], quick: bool) -> Result:
    """Put a claim's pieces together and apply its rule."""
    joined: dict[tuple[Any, ...], dict[str, dict[str, list[float]]]] = {}
    points = {tuple(point.items()): point for _, point in wanted}
    for name, point in wanted:
        at_point = joined.setdefault(tuple(point.items()), {})
        for arm, quantities in kept[name]["result"].items():
            for of, values in quantities.items():
                at_point.setdefault(arm, {}).setdefault(of, []).extend(values)
    seeds = seeds_of(claim, quick)
    cells = [Cell(points[place], arm, values) for place, arms in joined.items() for arm, values in arms.items()]
    for cell in cells:
        for of, values in cell.values.items():
            if len(values) != len(seeds) or not np.isfinite(values).all():
                raise RunError(
                    f"{claim.module}: {of} of {cell.arm} at {dict(cell.point)} has {len(values)} values for {len(seeds)} seeds, or one not "
                    f"finite"
                )
    found = Found(tuple(cells), seeds)
    return Result(claim, found, decide(claim.verdict(found)), sum(kept[name]["seconds"] for name, _ in wanted), quick)
