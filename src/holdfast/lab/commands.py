"""`holdfast lab claims` and `holdfast lab stress`."""

from __future__ import annotations

import json
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

lab_app = typer.Typer(no_args_is_help=True, help="Rerun the papers' claims small, or plant a flaw and compare methods.")
out = Console()
err = Console(stderr=True)

STYLES = {"supported": "green", "contradicted": "red", "undecided": "yellow"}


@lab_app.callback()
def _lab() -> None:
    """Rerun the papers' claims small, or plant a flaw and compare methods."""


@lab_app.command()
def claims(
    names: Annotated[list[str] | None, typer.Argument(help="files of claims; all of them unless given")] = None,
    folder: Annotated[Path, typer.Option("--out", help="where pages, pictures and results.json go")] = Path("claims"),
    quick: Annotated[bool, typer.Option("--quick", help="a few seeds: shows that claims run; verdicts are marked quick")] = False,
    workers: Annotated[int | None, typer.Option(help="processes; one a processor unless given")] = None,
    engine: Annotated[str, typer.Option(help="local, or ray for a Ray cluster")] = "local",
    address: Annotated[str | None, typer.Option(help="address of the Ray cluster; this machine unless given")] = None,
    docs: Annotated[Path | None, typer.Option(help="write Markdown and pictures into this folder too")] = None,
    cache: Annotated[Path | None, typer.Option(help="folder where results are kept; the user's cache unless given")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object for machines")] = False,
) -> None:
    """Run claims and say which are supported, contradicted or undecided."""
    from holdfast.lab.claim import papers
    from holdfast.lab.publish import facts_of, publish
    from holdfast.lab.runner import run

    started = monotonic()
    chosen = papers(names or ())
    results = run(chosen, quick=quick, workers=workers, engine=engine, address=address, folder=cache)  # type: ignore[arg-type]
    publish(results, chosen, folder, docs=docs)
    if as_json:
        print(json.dumps({name: [facts_of(r) for r in found] for name, found in results.items()}, indent=1, ensure_ascii=False))
        return
    table = Table("claim", "verdict", "seeds", show_lines=True)
    for paper in chosen:
        for result in results[paper.name]:
            style = STYLES[result.ruling.verdict]
            table.add_row(f"[dim]{paper.name}[/]\n{result.claim.says}", f"[{style}]{result.verdict}[/]", str(len(result.found.seeds)))
    out.print(table)
    err.print(f"{folder / 'index.html'}, in {monotonic() - started:.0f} s", highlight=False)
