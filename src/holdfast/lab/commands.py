"""`holdfast lab claims` and `holdfast lab stress`."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from holdfast.files import folder_to_write, write_text
from holdfast.flags import source, with_reading
from holdfast.terminal import Terminal
from holdfast.visible import json_text

lab_app = typer.Typer(
    no_args_is_help=True,
    help="Rerun the papers' claims small, or plant a flaw and compare methods.",
)
out = Terminal()
err = Terminal(stderr=True)

STYLES = {"supported": "green", "contradicted": "red", "undecided": "yellow"}


@lab_app.callback()
def _lab() -> None:
    """Rerun the papers' claims small, or plant a flaw and compare methods."""


@lab_app.command()
def claims(
    names: Annotated[
        list[str] | None, typer.Argument(help="files of claims; all of them unless given")
    ] = None,
    folder: Annotated[
        Path, typer.Option("--out", help="where pages, pictures and results.json go")
    ] = Path("claims"),
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="a few seeds: shows that claims run; verdicts are marked quick"
        ),
    ] = False,
    fresh: Annotated[
        int,
        typer.Option(
            help=(
                "add this to every seed, 1000 say: verdicts on seeds that nobody looked at; "
                "the first ones' stand beside"
            )
        ),
    ] = 0,
    workers: Annotated[
        int | None, typer.Option(help="processes; one a processor unless given")
    ] = None,
    engine: Annotated[str, typer.Option(help="local, or ray for a Ray cluster")] = "local",
    address: Annotated[
        str | None, typer.Option(help="address of the Ray cluster; this machine unless given")
    ] = None,
    docs: Annotated[
        Path | None, typer.Option(help="write Markdown and pictures into this folder too")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="folder where results are kept; the user's cache unless given"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print one JSON object for machines")
    ] = False,
) -> None:
    """Run claims and say which are supported, contradicted or undecided."""
    folder_to_write(folder)
    from holdfast.lab.claim import papers
    from holdfast.lab.publish import facts_of, publish
    from holdfast.lab.runner import run

    started = monotonic()
    chosen = papers(names or ())
    results = run(
        chosen,
        quick=quick,
        fresh=fresh,
        workers=workers,
        engine=engine,  # type: ignore[arg-type]
        address=address,
        folder=cache,
    )
    publish(results, chosen, folder, docs=docs)
    if as_json:
        print(
            json_text(
                {name: [facts_of(r) for r in found] for name, found in results.items()}, indent=1
            )
        )
        return
    table = Table("claim", "verdict", "seeds", show_lines=True)
    for paper in chosen:
        for result in results[paper.name]:
            style = STYLES[result.ruling.verdict]
            verdict = Text(result.verdict, style)
            if result.changed and result.first is not None:
                verdict.append(f"\nfirst seeds: {result.first.verdict}", "dim")
            table.add_row(
                Text.assemble((paper.name, "dim"), f"\n{result.claim.says}"),
                verdict,
                str(len(result.found.seeds)),
            )
    out.print(table)
    err.print(f"{folder / 'index.html'}, in {monotonic() - started:.0f} s", highlight=False)


@lab_app.command()
@with_reading
def stress(
    data: Annotated[
        list[str],
        typer.Option(
            help=(
                "a file or folder of comparisons, may be repeated; text-world; or world for "
                "exact tables"
            )
        ),
    ],
    flaw: Annotated[
        str, typer.Option(help="uniform, length, group, rater, cycle; several with commas")
    ] = "uniform",
    rates: Annotated[str, typer.Option(help="rates to plant, with commas")] = "0,0.1,0.2,0.3,0.4",
    methods: Annotated[
        str,
        typer.Option(
            help=(
                "methods with commas, with settings of their own, an average last: "
                "dpo,rdpo:flip_rate=0.2,dpo:reduction=groups"
            )
        ),
    ] = "dpo,rdpo",
    seeds: Annotated[int, typer.Option(help="repetitions")] = 3,
    folder: Annotated[
        Path, typer.Option("--out", help="where stress.html and stress.json go")
    ] = Path("stress"),
    model: Annotated[
        str | None,
        typer.Option(help="model to start from; a small one is made and taught unless given"),
    ] = None,
    rows: Annotated[int, typer.Option(help="training rows at most")] = 1000,
    held_out: Annotated[int, typer.Option(help="held-out rows at most")] = 200,
    epochs: Annotated[float, typer.Option(help="passes over the training rows")] = 1.0,
    learning_rate: Annotated[float, typer.Option(help="of the trainings")] = 3e-4,
    beta: Annotated[
        float | None,
        typer.Option(
            help=(
                "for every method whose beta multiplies sums; 0.1 on text, the world's own on "
                "tables"
            )
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="local, or ray for a Ray cluster")] = "local",
    address: Annotated[
        str | None, typer.Option(help="address of the Ray cluster; this machine unless given")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="processes; one a processor unless given")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print one JSON object for machines")
    ] = False,
    **reading: Any,
) -> None:
    """Plant a flaw at rising rates, train each method small, and see who survives."""
    folder_to_write(folder)
    from holdfast.errors import OptionError
    from holdfast.lab.stress.stress import stress as run

    try:
        wanted = [float(rate) for rate in rates.split(",")]
    except ValueError:
        raise OptionError(
            f"--rates is {rates!r}, not numbers with commas", hint="--rates 0,0.1,0.2"
        ) from None
    found = run(
        source(data),
        flaw=[name.strip() for name in flaw.split(",")],
        rates=wanted,
        methods=arms_of(methods),
        seeds=seeds,
        out=folder,
        model=model,
        rows=rows,
        held_out=held_out,
        epochs=epochs,
        learning_rate=learning_rate,
        beta=beta,
        **reading,
        engine=engine,  # type: ignore[arg-type]
        address=address,
        workers=workers,
    )
    if as_json:
        print(json_text(found.to_dict(), indent=1))
        return
    table = Table("flaw", "method", "rate", found.measure, "fall", "ruling")
    for row in found.survival():
        fall = (
            "n/a"
            if row["fall"] is None
            else f"{row['fall']['value']:.3f} [{row['fall']['low']:.3f}, {row['fall']['high']:.3f}]"
        )
        style = {"survives": "green", "falls": "red"}.get(row["ruling"], "yellow")
        table.add_row(
            row["flaw"],
            row["arm"],
            f"{row['rate']:g}",
            f"{row['score']:.3f}",
            fall,
            Text(row["ruling"], style),
        )
    out.print(table)
    for said in found.inconclusive:
        out.print(f"inconclusive: {said}", highlight=False, markup=False)
    err.print(str(folder / "stress.html"), highlight=False)


@lab_app.command()
@with_reading
def games(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="CSV matrices of who beats whom, or votes: winner, loser; or first, second, winner"
        ),
    ],
    folder: Annotated[
        Path, typer.Option("--out", help="where games.html, its pictures and games.json go")
    ] = Path("games"),
    names: Annotated[
        str | None,
        typer.Option(help="what to call the games, with commas; the files' names unless given"),
    ] = None,
    answers: Annotated[
        int, typer.Option(help="of votes, the answers kept: those that met most often")
    ] = 300,
    fill: Annotated[
        str,
        typer.Option(
            help=(
                "of votes: none judges a pair by its own votes; bradley_terry or "
                "general_preference by a model of all"
            )
        ),
    ] = "none",
    beta: Annotated[float, typer.Option(help="of the KL term of the second group")] = 0.01,
    opponents: Annotated[int, typer.Option(help="answers drawn for each noisy estimate")] = 20,
    calls: Annotated[int, typer.Option(help="oracle calls of each run")] = 3000,
    seed: Annotated[int, typer.Option(help="of the noise")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="print one JSON object for machines")
    ] = False,
    **reading: Any,
) -> None:
    """Run every game solver on games, and show its certificate over oracle calls: who is fastest,
    who cycles, who stalls.
    """
    folder_to_write(folder)
    from holdfast.errors import OptionError
    from holdfast.lab.game_files import read_game
    from holdfast.lab.games import race
    from holdfast.lab.games_page import lead, stem_of, write

    called = (
        [part.strip() for part in names.split(",")]
        if names
        else [file.name.split(".")[0] for file in files]
    )
    if len(called) != len(files):
        raise OptionError(
            f"there are {len(called)} names for {len(files)} files",
            hint="--names 'first game,second game'",
        )
    if len({stem_of(name) for name in called}) < len(called):
        raise OptionError(
            f"two games have one name: {', '.join(called)}", hint="--names 'first game,second game'"
        )
    read = [read_game(file, answers=answers, fill=fill, folder=folder, **reading) for file in files]
    found = [
        race(game, name=one, beta=beta, opponents=opponents, calls=calls, seed=seed)
        for game, one in zip(read, called, strict=True)
    ]
    write(found, folder)
    text = json_text([one.to_dict() for one in found], indent=1)
    write_text(folder / "games.json", text + "\n")
    if as_json:
        print(text)
        return
    for one in found:
        table = Table(
            "solver",
            "oracle",
            "calls to 0.01",
            "at the end",
            "so it",
            title=one.name,
            title_justify="left",
        )
        for line in one.lines:
            reached = line.reached(0.01)
            table.add_row(
                line.name,
                line.answers,
                "" if reached is None else f"{reached:.0f}",
                f"{line.gap_E[-1]:.1e}",
                line.word,
            )
        out.print(table)
        out.print(lead(one), highlight=False)
    err.print(str(folder / "games.html"), highlight=False)


def arms_of(text: str) -> list[str]:
    """Split at commas, except that "setting=value" belongs to the method before it:
    "dpo,rdpo:flip_rate=0.2,beta=1,ipo" is three methods.
    """
    arms: list[str] = []
    for part in text.split(","):
        head, equals, _ = part.partition("=")
        if arms and equals and ":" not in head:
            arms[-1] += f",{part.strip()}"
        else:
            arms.append(part.strip())
    return arms
