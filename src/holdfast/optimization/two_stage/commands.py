"""`holdfast optimize two-stage data | train | solve`."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from holdfast.files import file_to_write, path_of
from holdfast.terminal import Terminal
from holdfast.visible import json_text

app = typer.Typer(
    no_args_is_help=True,
    help="Two-stage robust problems: decide, let an adversary choose, decide again.",
)
out_console = Terminal()
err_console = Terminal(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="print one JSON object for machines")]


@app.callback()
def _two_stage() -> None:
    """Two-stage robust problems: decide, let an adversary choose, decide again."""


def bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err_console,
    )


@app.command()
def data(
    out: Annotated[Path, typer.Option(help="folder of the data; a stopped call goes on")],
    instances: Annotated[int, typer.Option(help="random knapsacks of 20 to 80 items")] = 500,
    decisions: Annotated[int, typer.Option(help="first decisions an instance")] = 10,
    factors: Annotated[int, typer.Option(help="points of the uncertainty set a decision")] = 50,
    seed: Annotated[int, typer.Option(help="of every draw")] = 0,
    as_json: Json = False,
) -> None:
    """Draw knapsacks and label them with second-stage optima, for training."""
    from holdfast.optimization.two_stage.labels import Asked, write_labels

    asked = Asked(instances, decisions, factors, seed)
    with bar() as progress:
        task = progress.add_task("instances", total=instances)
        for done in write_labels(path_of(out), asked):
            progress.update(task, completed=done)
    labels = instances * decisions * factors
    if as_json:
        print(json_text({"out": str(out), "labels": labels}, indent=2))
    else:
        out_console.print(f"{labels:,} labels in {out}")


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="folder of `data`")],
    out: Annotated[Path, typer.Option(help="folder of the network; a stopped call goes on")],
    epochs: Annotated[int, typer.Option(help="passes over the decisions")] = 400,
    lr: Annotated[
        float, typer.Option(help="first learning rate of a cosine that ends at 0")
    ] = 2e-3,
    held_out: Annotated[float, typer.Option(help="share of instances for validation")] = 0.2,
    seed: Annotated[int, typer.Option(help="of weights and batches")] = 0,
    as_json: Json = False,
) -> None:
    """Train the network that stands for the second stage."""
    from holdfast.optimization.two_stage.training import NETWORK, Recipe, train

    recipe = Recipe(epochs, lr, held_out, seed)
    last = None
    with bar() as progress:
        task = progress.add_task("epochs", total=epochs)
        for last in train(path_of(data), path_of(out), recipe):
            words = f"epochs, mean absolute error on held-out instances {last.best:.4f}"
            progress.update(task, completed=last.epoch, description=words)
    network = path_of(out) / NETWORK
    if as_json:
        print(
            json_text(
                {"network": str(network), "error": None if last is None else last.best}, indent=2
            )
        )
    else:
        out_console.print(f"{network}")


@app.command()
def solve(
    files: Annotated[list[str], typer.Argument(help="files or folders of instances")],
    method: Annotated[
        str, typer.Option(help="nominal, relaxation, exact or neur2ro")
    ] = "relaxation",
    seconds: Annotated[float, typer.Option(help="of wall time an instance")] = 60.0,
    network: Annotated[
        str | None, typer.Option(help="neur2ro: a network of `train`; the package's unless given")
    ] = None,
    adversary: Annotated[
        str | None, typer.Option(help="neur2ro: sampling, milp or exact; sampling unless given")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="file of results, JSON lines; a stopped call goes on with it"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Solve instances, each with its exact worst case."""
    from holdfast.optimization.two_stage.read import read_instances
    from holdfast.optimization.two_stage.results import solve_all

    settings: dict[str, Any] = {"seconds": seconds}
    for name, value in (("network", network), ("adversary", adversary)):
        if value is not None:
            settings[name] = value
    instances = [instance for file in files for instance in read_instances(file)]
    target = None if out is None else file_to_write(out, "out")
    rows = []
    with bar() as progress:
        task = progress.add_task(method, total=len(instances))
        for row in solve_all(instances, method, settings, target):
            rows.append(row)
            progress.update(task, advance=1)
    if as_json:
        print(json_text(rows, indent=1))
        return
    table = Table()
    table.add_column("instance", overflow="fold")
    for name in ("items", "worst-case cost", "no x below", "gap %", "to best known %", "seconds"):
        table.add_column(name)
    for row in rows:
        lower, error = row["lower"], row["relative_error_percent"]
        gap = None if lower is None else 100 * (row["value"] - lower) / max(abs(row["value"]), 1e-9)
        table.add_row(
            row["instance"],
            str(row["n"]),
            f"{row['value']:.2f}",
            "" if lower is None else f"{lower:.2f}",
            "" if gap is None else f"{gap:.3f}",
            "" if error is None else f"{error:.3f}",
            f"{row['seconds']:.1f}",
        )
    out_console.print(table)
    errors = [r["relative_error_percent"] for r in rows if r["relative_error_percent"] is not None]
    if errors:
        out_console.print(
            f"median relative error to the best known value: {median(errors):.3f}% "
            f"of {len(errors)} instances"
        )
