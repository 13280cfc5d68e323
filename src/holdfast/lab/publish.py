"""What came out of claims, for readers: an HTML page a paper and an index, results.json, and the
same as Markdown with pictures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt

from holdfast.files import write_text
from holdfast.lab.claim import Claim, Paper
from holdfast.lab.claims_index import index_of_pages
from holdfast.lab.runner import Result
from holdfast.lab.verdict import Found, number, with_interval
from holdfast.report import Chart, Details, Page, Section, Table, Tile
from holdfast.report.charts import PALETTE
from holdfast.stats.seeds import over_seeds

TONES = {"supported": "ok", "contradicted": "problem", "undecided": "warning"}


def publish(
    results: Mapping[str, list[Result]],
    chosen: Sequence[Paper],
    out: Path,
    *,
    docs: Path | None = None,
) -> list[Path]:
    """Write pages to `out`; Markdown and pictures to `docs` too where it is given. Returns what was
    written.
    """
    written = []
    for paper in chosen:
        written += page_of(paper, results[paper.name]).write(out / f"{paper.name}.html")
    written += index_of(results, chosen).write(out / "index.html")
    facts = {paper.name: [facts_of(result) for result in results[paper.name]] for paper in chosen}
    write_text(out / "results.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    written.append(out / "results.json")
    if docs is not None:
        docs.mkdir(parents=True, exist_ok=True)
        for paper in chosen:
            written += [
                chart.save_picture(docs) for chart in charts_of(paper, results[paper.name]).values()
            ]
            (docs / f"{paper.name}.md").write_text(
                markdown(paper, results[paper.name]), encoding="utf-8"
            )
        (docs / "README.md").write_text(index_of_pages(docs), encoding="utf-8")
        written += [docs / "README.md", *(docs / f"{paper.name}.md" for paper in chosen)]
    return written


def facts_of(result: Result) -> dict[str, Any]:
    """One claim for machines."""
    claim, found = result.claim, result.found
    cells = [
        {"point": dict(cell.point), "arm": cell.arm, "quantity": of, **_interval(values)}
        for cell in found.cells
        for of, values in cell.values.items()
    ]
    return {
        "says": claim.says,
        "verdict": result.ruling.verdict,
        "quick": result.quick,
        "fresh": result.fresh,
        "verdict_on_first_seeds": None if result.first is None else result.first.verdict,
        "why": result.ruling.why,
        "tests": [dict(test) for test in result.ruling.tests],
        "paper": claim.paper_number,
        "methods": list(claim.methods),
        "seeds": len(found.seeds),
        "core_seconds": round(result.seconds, 1),
        "cells": cells,
    }


def _interval(values: Sequence[float]) -> dict[str, float]:
    found = over_seeds(values)
    low, high = found.ends
    return {"mean": found.point, "low": low, "high": high}


# ------------------------------------------------------------------------------------------------
# figures


def figure_key(claim: Claim) -> tuple[Any, ...]:
    """Claims that measure the same thing share a figure."""
    return claim.measure, claim.of, tuple(claim.sweep.items())


def charts_of(paper: Paper, results: Sequence[Result]) -> dict[tuple[Any, ...], Chart]:
    """One figure for each quantity that the paper's claims look at."""
    charts: dict[tuple[Any, ...], Chart] = {}
    for result in results:
        key = figure_key(result.claim)
        if key not in charts:
            charts[key] = figure(result, f"{paper.name}-{len(charts) + 1}")
    return charts


def figure(result: Result, name: str) -> Chart:
    """Lines over the longest numeric axis of the sweep, or a row of dots; intervals are 95% over
    seeds, other axes become panels.
    """
    claim, found = result.claim, result.found
    rows = [
        {**cell.point, "arm": cell.arm, **_interval(cell.values[claim.of])}
        for cell in found.cells
        if claim.of in cell.values
    ]
    numeric = [
        axis
        for axis, values in claim.sweep.items()
        if len(values) > 2 and all(isinstance(v, int | float) for v in values)
    ]
    axis = max(numeric, key=lambda a: len(claim.sweep[a]), default=None)
    panels = [a for a in claim.sweep if a != axis and len(claim.sweep[a]) > 1]
    for row in rows:
        row["panel"] = ", ".join(f"{a} {row[a]}" for a in panels)
    caption = f"{claim.of}: mean and 95% interval over {len(found.seeds)} seeds."
    arms = found.arms
    chart = (
        _lines(rows, axis, claim.of, arms, bool(panels), claim.scale)
        if axis
        else _dots(rows, claim.of, arms, bool(panels))
    )
    return Chart(
        chart, name, caption, f"{claim.of} of {', '.join(arms)}" + (f" over {axis}" if axis else "")
    )


WIDE = 100  # an axis over two orders of magnitude is drawn by its logarithm
COLORS = (*PALETTE, "#b59b2e", "#2f9aa0", "#8c564b", "#222831")


def _lines(
    rows: list[dict[str, Any]], axis: str, of: str, arms: list[str], panels: bool, scale: str
) -> alt.TopLevelMixin:
    color = alt.Color(
        "arm:N",
        sort=arms,
        scale=alt.Scale(domain=arms, range=list(COLORS)),
        legend=alt.Legend(columns=3, symbolType="circle"),
    )
    ticks = sorted({row[axis] for row in rows})
    wide = ticks[0] > 0 and ticks[-1] >= WIDE * ticks[0]
    x = alt.X(
        f"{axis}:Q",
        scale=alt.Scale(zero=False, nice=False, type="log" if wide else "linear"),
        axis=alt.Axis(values=ticks),
    )
    y = alt.Y("mean:Q", title=of, scale=alt.Scale(type=scale, zero=False))
    base = alt.Chart(alt.Data(values=rows))
    bar = base.mark_rule(strokeWidth=1.5).encode(
        x=x, y=alt.Y("low:Q", title=of), y2="high:Q", color=color
    )
    line = base.mark_line(point=True).encode(
        x=x, y=y, color=color, tooltip=["arm:N", f"{axis}:Q", "mean:Q", "low:Q", "high:Q"]
    )
    layers = alt.layer(bar, line)
    return (
        layers.properties(width=290, height=240).facet(alt.Facet("panel:N", sort=None), columns=2)
        if panels
        else layers.properties(height=300)
    )


def _dots(rows: list[dict[str, Any]], of: str, arms: list[str], panels: bool) -> alt.TopLevelMixin:
    y = alt.Y("arm:N", sort=arms, title=None, axis=alt.Axis(labelLimit=320))
    base = alt.Chart(alt.Data(values=rows))
    bar = base.mark_rule(strokeWidth=2, color="#3b7dd0").encode(
        y=y, x=alt.X("low:Q", title=of), x2="high:Q"
    )
    dot = base.mark_point(color="#3b7dd0").encode(
        y=y,
        x=alt.X("mean:Q", title=of, scale=alt.Scale(zero=False)),
        tooltip=["arm:N", "mean:Q", "low:Q", "high:Q"],
    )
    layers = alt.layer(bar, dot)
    return (
        layers.properties(width=290, height=26 * len(arms)).facet(
            alt.Facet("panel:N", sort=None), columns=2
        )
        if panels
        else layers.properties(height=34 * len(arms))
    )


# ------------------------------------------------------------------------------------------------
# pages


def page_of(paper: Paper, results: Sequence[Result]) -> Page:
    charts = charts_of(paper, results)
    sections = []
    for i, result in enumerate(results, 1):
        claim = result.claim
        shown = charts.pop(figure_key(claim), None)
        text = f"{claim.says}\n\nThe paper: {claim.paper_number}." + (
            f"\n\n{claim.notes}" if claim.notes else ""
        )
        tile = Tile(
            "Verdict",
            result.verdict,
            f"{result.ruling.why}{seeds_said(result)}",
            TONES[result.ruling.verdict],
        )
        tests = Table(
            ("prediction", "predicted", "found", "ruling"),
            [_test_row(test) for test in result.ruling.tests],
            "Means over seeds with 95% intervals.",
        )
        details = (
            []
            if shown is None
            else [Details("All numbers of the figure", table=numbers(result.found, claim.of))]
        )
        sections.append(
            Section(f"Claim {i}", text, chart=shown, table=tests, tiles=(tile,), details=details)
        )
    return Page(
        paper.title,
        " ".join(paper.about.split("\n\n")[0].split()),
        [*sections, Section("How it was measured", paper.about)],
    )


def _test_row(test: Mapping[str, Any]) -> tuple[str, str, str, str]:
    low, high = number(test["low"]), number(test["high"])
    found = (
        f"{low} to {high} over all runs"
        if test["every"]
        else f"{number(test['mean'])} [{low}, {high}]"
    )
    return test["label"], test["predicted"], found, test["ruling"]


def numbers(found: Found, of: str) -> Table:
    """Arms down, points across."""
    points = found.points
    heads = [", ".join(f"{k} {v}" for k, v in p.items()) or of for p in points]
    rows = []
    for arm in found.arms:
        held = {tuple(c.point.items()): c for c in found.cells if c.arm == arm}
        cells = [held.get(tuple(p.items())) for p in points]
        rows.append(
            [
                arm,
                *(
                    with_interval(over_seeds(c.values[of]))
                    if c is not None and of in c.values
                    else None
                    for c in cells
                ),
            ]
        )
    return Table(("arm", *heads), rows, of)


def index_of(results: Mapping[str, list[Result]], chosen: Sequence[Paper]) -> Page:
    every = [result for paper in chosen for result in results[paper.name]]
    count = {verdict: sum(r.ruling.verdict == verdict for r in every) for verdict in TONES}
    tiles = [
        Tile(verdict.capitalize(), str(n), tone=TONES[verdict]) for verdict, n in count.items()
    ]
    rows = [
        (f"{paper.name}.html", i, r.claim.says, r.verdict, r.first and r.first.verdict)
        for paper in chosen
        for i, r in enumerate(results[paper.name], 1)
    ]
    lead = (
        "Sentences that could be false, each measured in a world that knows its own answer. A "
        "contradicted one stays on the list."
    )
    section = Section(
        "Verdicts",
        _how_fresh(every),
        table=Table(("page", "claim", "says", "verdict", "on the first seeds"), rows),
    )
    return Page("Claims", lead, [section], tiles)


def seeds_said(result: Result) -> str:
    """What is to be said of the seeds, for the end of a sentence."""
    seeds = f"; {len(result.found.seeds)} seeds"
    if result.first is None:
        return seeds
    same = "likewise" if not result.changed else f"{result.first.verdict} ({result.first.why})"
    return f"{seeds} that nobody looked at before; on the first {len(result.found.seeds)}, {same}"


def _how_fresh(every: Sequence[Result]) -> str:
    """What the verdicts are worth, by the seeds they rest on."""
    if not every or any(r.first is None for r in every):
        return (
            "Thresholds were chosen while these seeds, or some of them, were looked at: "
            "read the verdicts as descriptions. Verdicts on "
            "seeds that nobody looked at: `holdfast lab claims --fresh 1000`."
        )
    changed = [r for r in every if r.changed]
    return (
        f"Some thresholds were chosen after a look at a claim's first seeds, so each "
        "claim was run again, unchanged, on as many seeds that "
        f"nobody had looked at ({every[0].fresh:,} and up). The verdict is theirs; that "
        "of the first seeds stands beside it. They "
        f"differ in {len(changed)} of {len(every)}."
    )


# ------------------------------------------------------------------------------------------------
# Markdown


def markdown(paper: Paper, results: Sequence[Result]) -> str:
    charts = charts_of(paper, results)
    parts = [f"# {paper.title}", paper.about]
    for i, result in enumerate(results, 1):
        claim = result.claim
        parts.append(f"## {i}. {claim.says}")
        parts.append(
            f"**{result.verdict.capitalize()}.** "
            f"{result.ruling.why.capitalize()}{seeds_said(result)}. The paper: "
            f"{claim.paper_number}."
        )
        if claim.notes:
            parts.append(claim.notes)
        chart = charts.pop(figure_key(claim), None)
        if chart is not None:
            parts.append(f"![{chart.alt}]({chart.name}.png)")
            parts.append(chart.caption)
            parts.append(_markdown_table(numbers(result.found, claim.of)))
        parts.append(
            _markdown_table(
                Table(
                    ("prediction", "predicted", "found", "ruling"),
                    [_test_row(t) for t in result.ruling.tests],
                )
            )
        )
    parts.append(
        f"Made by `holdfast lab claims {paper.name}{_option(results)}` in "
        f"{_time(results)} of one core."
    )
    return "\n\n".join(parts) + "\n"


def _option(results: Sequence[Result]) -> str:
    """What to type to get the same seeds again."""
    return f" --fresh {results[0].fresh}" if results and results[0].fresh else ""


def _seconds(results: Sequence[Result]) -> float:
    """Claims that share their work count once."""
    return sum(
        {(r.claim.measure, tuple(r.claim.sweep.items())): r.seconds for r in results}.values()
    )


def _time(results: Sequence[Result]) -> str:
    seconds = _seconds(results)
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _markdown_table(table: Table) -> str:
    def line(cells: Sequence[Any]) -> str:
        return (
            "| "
            + " | ".join("n/a" if cell is None else str(cell).replace("|", "\\|") for cell in cells)
            + " |"
        )

    return "\n".join(
        [
            line(table.columns),
            "|" + " --- |" * len(table.columns),
            *(line(row) for row in table.rows),
        ]
    )
