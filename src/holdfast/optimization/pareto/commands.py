"""`holdfast optimize pareto run | problems | methods`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from holdfast.card import check
from holdfast.files import folder_to_write
from holdfast.optimization.pareto import NAMES, log_difference, named
from holdfast.optimization.pareto.search import METHODS, Search, optimize
from holdfast.stats.intervals import mean_interval
from holdfast.terminal import Terminal
from holdfast.visible import json_text

HELP = "Pareto sets from few expensive evaluations (SVH-PSL)."
app = typer.Typer(no_args_is_help=True, help=HELP)
out_console = Terminal()
err_console = Terminal(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="print one JSON object for machines")]
POINTS = 6  # of hypervolume over evaluations in the table
LEARNED = ("svh-psl", "svh-psl-global", "hypernetwork", "psl")


@app.callback()
def _pareto() -> None:
    """Pareto sets from few expensive evaluations (SVH-PSL)."""


@app.command()
def run(
    problem: Annotated[str, typer.Argument(help="a name of `problems`")],
    method: Annotated[str, typer.Option(help="a name of `methods`")] = "svh-psl",
    variables: Annotated[
        int | None, typer.Option(help="of the problem; its usual number unless given")
    ] = None,
    first: Annotated[int, typer.Option(help="evaluations of the first design")] = 20,
    evaluations: Annotated[int, typer.Option(help="in all")] = 120,
    batch: Annotated[int, typer.Option(help="evaluations a proposal")] = 5,
    steps: Annotated[
        int | None, typer.Option(help="of the network a proposal; 1000 unless given")
    ] = None,
    seeds: Annotated[int, typer.Option(help="searches")] = 5,
    out: Annotated[
        Path | None, typer.Option(help="folder of the searches; a stopped call goes on with it")
    ] = None,
    as_json: Json = False,
) -> None:
    """Search, and the hypervolume over evaluations with its interval over seeds."""
    check("seeds", seeds, seeds >= 1, "be at least 1")
    if steps is not None:
        must = f"be left out: {method} has no network"
        check("steps", steps, method in LEARNED or method not in METHODS, must)
    settings: dict[str, Any] = {} if steps is None else {"steps": steps}
    place = named(problem, variables)
    searches = [Search(method, settings, first, evaluations, batch, seed) for seed in range(seeds)]
    folder = None if out is None else folder_to_write(out)
    at = sorted({int(n) for n in np.linspace(first, evaluations, POINTS)})
    volumes_SN = []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} evaluations"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err_console,
    ) as progress:
        task = progress.add_task(f"{method} on {place.name}", total=seeds * evaluations)
        for search in searches:
            path = None if folder is None else folder / f"{place.name}-{method}-{search.seed}.json"
            for found in optimize(place, search, path):
                done = search.seed * evaluations + min(len(found.y_NM), evaluations)
                progress.update(task, completed=done)
            volumes_SN.append(found.hypervolumes(place, at))
    ends = [log_difference(place, volumes[-1]) for volumes in volumes_SN]
    known = [end for end in ends if end is not None]
    rows = [
        {"evaluations": n, "hypervolume": mean_interval(column).to_dict()}
        for n, column in zip(at, zip(*volumes_SN, strict=True), strict=True)
    ]
    log_gap = mean_interval(known).to_dict() if known else None
    result = {
        "problem": place.name,
        "variables": place.variables,
        "method": method,
        "seeds": seeds,
        "true_hypervolume": place.hypervolume,
        "true_is_exact": place.exact,
        "curve": rows,
        "log_difference": log_gap,
        "seeds_beyond_the_published_front": len(ends) - len(known),
    }
    if as_json:
        print(json_text(result, indent=1))
        return
    table = Table("evaluations", f"hypervolume, mean of {seeds} seeds", "95% interval")
    for row in rows:
        each: Any = row["hypervolume"]
        low, high = each["low"], each["high"]
        between = "" if low is None else f"{low:.4f} to {high:.4f}"
        table.add_row(str(row["evaluations"]), f"{each['value']:.4f}", between)
    out_console.print(table)
    kind = "exact" if place.exact else "of a published approximation"
    said = f"true front: {place.hypervolume:.4f} ({kind})"
    if log_gap is not None:
        said += f"; log difference {log_gap['value']:.3f}, mean of {len(known)} seeds"
    out_console.print(said, highlight=False)


@app.command()
def problems(as_json: Json = False) -> None:
    """The problems that have a name, and the hypervolume of each true front."""
    rows = [named(name) for name in NAMES]
    if as_json:
        found = [
            {
                "name": each.name,
                "variables": each.variables,
                "objectives": each.objectives,
                "hypervolume": each.hypervolume,
                "exact": each.exact,
            }
            for each in rows
        ]
        print(json_text(found, indent=1))
        return
    table = Table("problem", "variables", "objectives", "hypervolume of the front", "which is")
    for each in rows:
        kind = "exact" if each.exact else "published"
        numbers = (str(each.variables), str(each.objectives), f"{each.hypervolume:.6f}")
        table.add_row(each.name, *numbers, kind)
    out_console.print(table)


@app.command()
def methods(as_json: Json = False) -> None:
    """The methods that have a name."""
    if as_json:
        print(json_text(list(METHODS), indent=1))
        return
    for name in METHODS:
        out_console.print(name)
