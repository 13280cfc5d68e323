"""Relative error to the best known value on published two-stage robust knapsacks.

    python benchmarks/two_stage.py FOLDER [--seconds 15] [--per-cell 0] [--relaxed-per-cell 0]
                                          [--exact-per-cell 2] [--out two-stage-results]
                                          [--docs docs/pictures]

FOLDER holds instances as JSON lines with `correlation`, `best_known` and, where known, the paper's
`neur2ro_objective`. Every method has the same limit of wall time on one thread, its exact worst
case included; an error is the exact worst-case profit's distance to the best known, in percent, so
below 0 is better than anything published. `--per-cell` takes so many instances a class and size
(0: all), `--relaxed-per-cell` and `--exact-per-cell` those of them that the relaxation and, from
40 items on, column-and-constraint generation are given. Results stand in --out, and a stopped run
goes on with them; --docs takes the picture. Without FOLDER, or without instances in it, nothing is
measured. Last, one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import altair as alt
from rich.progress import track

from holdfast.errors import DataError
from holdfast.optimization.two_stage.knapsack import Knapsack
from holdfast.optimization.two_stage.read import Instance, read_instances
from holdfast.optimization.two_stage.results import best_known_cost, relative_error, solve_all
from holdfast.report import Chart
from holdfast.report.charts import PALETTE
from holdfast.terminal import Terminal

ORDER = ("UN", "WC", "ASC", "SC")
EXACT_FROM = 40  # items
Cell = tuple[int, str]


def cells_of(instances: Iterable[Instance]) -> dict[Cell, list[Instance]]:
    found: dict[Cell, list[Instance]] = defaultdict(list)
    for instance in instances:
        kind = instance.published.get("correlation")
        if (
            isinstance(instance.problem, Knapsack)
            and kind in ORDER
            and best_known_cost(instance) is not None
        ):
            found[len(instance.problem), kind].append(instance)
    return {
        cell: sorted(found[cell], key=lambda each: each.name)
        for cell in sorted(found, key=lambda cell: (cell[0], ORDER.index(cell[1])))
    }


def errors_of_paper(instances: Sequence[Instance]) -> dict[str, float]:
    found = {}
    for instance in instances:
        theirs, best = instance.published.get("neur2ro_objective"), best_known_cost(instance)
        if isinstance(theirs, int | float) and best is not None:
            found[instance.name] = relative_error(-theirs, best)
    return found


def middle(values: Iterable[float]) -> float | None:
    listed = list(values)
    return median(listed) if listed else None


def spread(instances: Sequence[Instance], count: int) -> list[Instance]:
    """`count` of them, evenly over the names, so over budgets and spreads of degradation."""
    if not count or count >= len(instances):
        return list(instances)
    return [instances[round(k * (len(instances) - 1) / max(count - 1, 1))] for k in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--per-cell", type=int, default=0)
    parser.add_argument("--relaxed-per-cell", type=int, default=0)
    parser.add_argument("--exact-per-cell", type=int, default=2)
    parser.add_argument("--docs", type=Path)
    parser.add_argument("--out", type=Path, default=Path("two-stage-results"))
    asked = parser.parse_args()
    try:
        cells = cells_of(read_instances(asked.folder)) if asked.folder else {}
        why = "no folder of instances was named" if not asked.folder else ""
    except DataError as error:
        cells, why = {}, str(error)
    if not cells:
        print(f"nothing measured: {why or 'no knapsack with a best known value is there'}")
        print(json.dumps({"benchmark": "two-stage", "skipped": True}))
        return
    chosen = {cell: spread(found, asked.per_cell) for cell, found in cells.items()}
    every = [instance for found in chosen.values() for instance in found]
    for_relaxed = [i for found in chosen.values() for i in spread(found, asked.relaxed_per_cell)]
    for_exact = [
        instance
        for (size, _), found in chosen.items()
        if size >= EXACT_FROM
        for instance in spread(found, asked.exact_per_cell)
    ]
    asked.out.mkdir(parents=True, exist_ok=True)
    settings = {"seconds": asked.seconds}
    rows: dict[str, dict[str, Any]] = {}
    for method, instances in (
        ("neur2ro", every),
        ("relaxation", for_relaxed),
        ("exact", for_exact),
    ):
        solving = solve_all(instances, method, settings, asked.out / f"{method}.jsonl")
        rows[method] = {
            row["instance"]: row
            for row in track(
                solving,
                method,
                total=len(instances),
                console=Terminal(stderr=True),
                disable=not sys.stderr.isatty(),
            )
        }
    table = report(chosen, rows, errors_of_paper(every))
    if asked.docs:
        picture(table).save_picture(asked.docs)


def report(
    chosen: dict[Cell, list[Instance]], rows: dict[str, dict[str, Any]], paper: dict[str, float]
) -> list[dict[str, Any]]:
    """The table, what was to reach, and the line of JSON."""
    print(
        "median relative error to the best known, %: nominal, the paper's Neur2RO, ours | on the "
        "files given to the relaxation: relaxation, ours | to exact: exact, ours | seconds: ours, "
        "relaxation"
    )
    table, by_size = [], defaultdict(list)
    for (size, kind), instances in chosen.items():
        names = [instance.name for instance in instances]
        by_size[size] += names
        line = {"n": size, "class": kind, **line_of(names, rows, paper)}
        table.append(line)
        print(words(f"{size:3d} {kind:4s}", line))
    sizes = []
    for size, names in by_size.items():
        line = {"n": size, **line_of(names, rows, paper)}
        sizes.append(line)
        print(words(f"{size:3d} all ", line))
    compared = [line for line in table if line["paper"] is not None]
    reached = [line for line in compared if line["neur2ro"] <= line["paper"] + 5e-4]
    print(
        f"at most the paper's median in {len(reached)} of {len(compared)} cells; missed: "
        + (
            ", ".join(
                f"{line['class']} {line['n']} by {line['neur2ro'] - line['paper']:.3f}"
                for line in compared
                if line not in reached
            )
            or "none"
        )
    )
    summary = {
        "benchmark": "two-stage",
        "skipped": False,
        "instances": sum(line["instances"] for line in table),
        "cells_at_most_paper": len(reached),
        "cells": len(compared),
        "sizes": sizes,
        "table": table,
    }
    print(json.dumps(summary))
    return table


def picture(table: Sequence[dict[str, Any]]) -> Chart:
    """Median errors over sizes, a panel a class."""
    names = {
        "nominal": "nominal",
        "paper": "Neur2RO, the paper's decisions",
        "neur2ro": "Neur2RO, ours",
        "relaxation": "relaxation",
    }
    values = [
        {"items": line["n"], "class": line["class"], "method": name, "error": line[key]}
        for line in table
        for key, name in names.items()
        if line[key] is not None
    ]
    chart = (
        alt.Chart(alt.Data(values=values), width=300, height=190)
        .mark_line(point=True)
        .encode(
            alt.X("items:Q", title="items", scale=alt.Scale(zero=False)),
            alt.Y("error:Q", title="median error to the best known, %"),
            alt.Color(
                "method:N",
                scale=alt.Scale(
                    domain=list(names.values()), range=[PALETTE[k] for k in (5, 1, 0, 2)]
                ),
                sort=list(names.values()),
                legend=alt.Legend(columns=4),
            ),
        )
        .facet(alt.Facet("class:N", sort=list(ORDER)), columns=2)
    )
    words = "Four panels, one a class of knapsacks: median errors of the methods over the sizes."
    return Chart(chart, "two-stage", "", words)


def line_of(
    names: Sequence[str], rows: dict[str, dict[str, Any]], paper: dict[str, float]
) -> dict[str, Any]:
    ours, relaxed, exact = rows["neur2ro"], rows["relaxation"], rows["exact"]
    best = {name: ours[name]["best_known"] for name in names}
    beside_relaxed = [name for name in names if name in relaxed]
    beside_exact = [name for name in names if name in exact]
    error = "relative_error_percent"
    return {
        "instances": len(names),
        "nominal": middle(
            relative_error(ours[name]["iterates"][0]["value"], best[name]) for name in names
        ),
        "paper": middle(paper[name] for name in names if name in paper),
        "neur2ro": middle(ours[name][error] for name in names),
        "seconds": middle(ours[name]["seconds"] for name in names),
        "beyond_best_known": sum(ours[name][error] < -1e-3 for name in names),
        "beside_relaxation": len(beside_relaxed),
        "relaxation": middle(relaxed[name][error] for name in beside_relaxed),
        "neur2ro_beside_relaxation": middle(ours[name][error] for name in beside_relaxed),
        "relaxation_seconds": middle(relaxed[name]["seconds"] for name in beside_relaxed),
        "relaxation_gap": middle(
            100 * (relaxed[n]["value"] - relaxed[n]["lower"]) / abs(relaxed[n]["value"])
            for n in beside_relaxed
        ),
        "beside_exact": len(beside_exact),
        "exact": middle(exact[name][error] for name in beside_exact),
        "neur2ro_beside_exact": middle(ours[name][error] for name in beside_exact),
        "better_than_exact": sum(ours[n]["value"] < exact[n]["value"] - 1e-6 for n in beside_exact),
    }


def words(head: str, line: dict[str, Any]) -> str:
    def number(value: float | None, places: int = 3) -> str:
        return "     -" if value is None else f"{value:6.{places}f}"

    columns = (
        ("nominal", "paper", "neur2ro"),
        ("relaxation", "neur2ro_beside_relaxation"),
        ("exact", "neur2ro_beside_exact"),
    )
    shown = " | ".join(" ".join(number(line[k]) for k in group) for group in columns)
    times = " ".join(number(line[k], 1) for k in ("seconds", "relaxation_seconds"))
    return f"{head} ({line['instances']:3d})  {shown} | {times}"


if __name__ == "__main__":
    main()
