"""The page of a stress test: degradation curves with intervals, and a table of who survives."""

from __future__ import annotations

from pathlib import Path

import altair as alt

from holdfast.lab.publish import COLORS
from holdfast.lab.stress.result import RULINGS, TOLERANCE, Stress
from holdfast.lab.verdict import number
from holdfast.report import Chart, Page, Section, Table


def write(found: Stress, folder: Path) -> list[Path]:
    """stress.html and its pictures. Returns what was written."""
    flaws = list(dict.fromkeys(score.flaw for score in found.scores))
    sections = [
        Section(f"Flaw: {flaw}", chart=curves(found, flaw), table=scores_of(found, flaw))
        for flaw in flaws
    ]
    sections.append(Section("Who survives", _rule(found), table=survivors(found)))
    facts = Table(("", ""), [(name, str(value)) for name, value in found.facts.items()])
    sections.append(Section("How it was done", table=facts))
    return Page("Stress test", lead(found), sections).write(folder / "stress.html")


def lead(found: Stress) -> str:
    """Who holds at the highest rate of each flaw, in words."""
    parts = []
    for flaw in dict.fromkeys(score.flaw for score in found.scores):
        last = [row for row in found.survival() if row["flaw"] == flaw]
        top = max((row["rate"] for row in last), default=0)
        named = {
            ruling: [row["arm"] for row in last if row["rate"] == top and row["ruling"] == ruling]
            for ruling in RULINGS
        }
        said = [f"{', '.join(arms)}: {ruling}" for ruling, arms in named.items() if arms]
        parts.append(f"{flaw} at {top:g}: {'; '.join(said)}.")
    return " ".join(parts)


def _rule(found: Stress) -> str:
    return (
        f"A method survives a rate if its fall in “{found.measure}” from its own score at "
        "the lowest rate is shown to be below "
        f"{TOLERANCE:g}, and falls if it is shown to be above; between the two the run "
        "cannot tell. Intervals are 95%, over "
        f"seeds and over held-out prompts, "
        "the wider at each end. Where the score at the lowest rate is not shown to be "
        "above chance, or so little above it that a fall to "
        "chance would count as surviving, the ruling is inconclusive."
        + "".join(f"\n\n{said}." for said in found.inconclusive)
    )


def curves(found: Stress, flaw: str) -> Chart:
    arms = list(dict.fromkeys(score.arm for score in found.scores))
    shown = [score for score in found.scores if score.flaw == flaw]
    rows = [
        {"rate": s.rate, "arm": s.arm, "score": s.mean, "low": s.interval[0], "high": s.interval[1]}
        for s in shown
    ]
    color = alt.Color(
        "arm:N",
        sort=arms,
        scale=alt.Scale(domain=arms, range=list(COLORS)),
        legend=alt.Legend(columns=4),
    )
    base = alt.Chart(alt.Data(values=rows))
    x = alt.X(
        "rate:Q", title=f"rate of {flaw}", axis=alt.Axis(values=sorted({s.rate for s in shown}))
    )
    y = alt.Y("score:Q", title=found.measure, scale=alt.Scale(zero=False))
    bar = base.mark_rule(strokeWidth=1.5).encode(
        x=x, y=alt.Y("low:Q", title=found.measure), y2="high:Q", color=color
    )
    line = base.mark_line(point=True).encode(
        x=x, y=y, color=color, tooltip=["arm:N", "rate:Q", "score:Q", "low:Q", "high:Q"]
    )
    words = f"{found.measure} of {', '.join(arms)} as the rate of {flaw} rises"
    return Chart(
        alt.layer(bar, line).properties(height=300),
        f"stress-{flaw}",
        "Mean over seeds and its 95% interval.",
        words,
    )


def scores_of(found: Stress, flaw: str) -> Table:
    rates = sorted({s.rate for s in found.scores if s.flaw == flaw})
    rows: list[list[str | None]] = []
    for arm in dict.fromkeys(s.arm for s in found.scores):
        held = found.of(flaw, arm)
        rows.append(
            [
                arm,
                *(
                    f"{number(s.mean)} [{number(s.interval[0])}, {number(s.interval[1])}]"
                    for s in held
                ),
            ]
        )
    realized = [
        next((s.realized for s in found.scores if s.flaw == flaw and s.rate == rate), None)
        for rate in rates
    ]
    rows.append(
        ["share of rows or prompts changed", *(None if r is None else number(r) for r in realized)]
    )
    return Table(("method", *(f"rate {rate:g}" for rate in rates)), rows, found.measure)


def survivors(found: Stress) -> Table:
    rows = []
    for row in found.survival():
        fall = row["fall"]
        shown = (
            "n/a"
            if fall is None
            else f"{number(fall['value'])} [{number(fall['low'])}, {number(fall['high'])}]"
        )
        rows.append(
            (
                row["flaw"],
                row["arm"],
                f"{row['rate']:g}",
                number(row["score"]),
                shown,
                row["ruling"],
            )
        )
    return Table(("flaw", "method", "rate", "score", "fall", "ruling"), rows)
