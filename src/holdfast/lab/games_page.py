"""The page and the pictures of a race of solvers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt

from holdfast.lab.games import EXACT, NEAR, NOISY, Race, curves
from holdfast.lab.publish import COLORS
from holdfast.lab.verdict import number
from holdfast.report import Chart, Page, Section, Table

WIDTH, HEIGHT = 330, 300
CAPTION = "Both axes are logarithmic; certificates are cut at 1e-9."
ABOUT = (
    "Exploitability is what a best response wins, from 0 to 1, exact whatever the oracle "
    "answered. A call is the win rates of all answers "
    "against one policy; noisy ones are estimated from a few answers drawn from the "
    "policy. Each solver has the best of a few step sizes."
)


def write(found: Sequence[Race], folder: Path) -> list[Path]:
    """games.html and its pictures. Returns what was written."""
    sections = []
    if len(found) > 1:
        words = (
            "Exploitability over oracle calls: a row a game, exact answers on the left, "
            "noisy ones on the right. " + ABOUT
        )
        sections.append(Section("All games in one picture", words, chart=together(found)))
    for one in found:
        sections.append(
            Section(
                f"{one.name}: without a KL term",
                lead(one),
                chart=picture(one, False),
                table=standings(one, False),
            )
        )
        words = (
            f"beta {one.beta:g} to the uniform policy; the certificate is the duality gap of "
            "that game."
        )
        sections.append(
            Section(
                f"{one.name}: with a KL term",
                words,
                chart=picture(one, True),
                table=standings(one, True),
            )
        )
        rows = [
            (
                name.replace("_", " "),
                "not found" if v is None else number(v) if isinstance(v, float) else str(v),
            )
            for name, v in one.facts.items()
        ]
        sections.append(Section(f"{one.name}: the game", table=Table(("", ""), rows)))
    return Page("Game solvers", ABOUT, sections).write(folder / "games.html")


def lead(found: Race) -> str:
    """Who is fastest, who cycles, who stalls, in words."""
    parts = []
    for answers in (EXACT, NOISY):
        lines = [line for line in found.lines if line.answers == answers and not line.kl]
        near = next((n for n in reversed(NEAR) if any(line.reached(n) for line in lines)), None)
        if near is not None:
            best = min(
                (line for line in lines if line.reached(near)),
                key=lambda line: line.reached(near) or 0,
            )
            parts.append(
                f"With {answers} {best.name} is first at {near:g}, after "
                f"{best.reached(near):.0f} calls."
            )
        for word in ("cycles", "stalls"):
            names = [line.name for line in lines if line.word == word]
            if names:
                parts.append(f"{word.capitalize()}: {', '.join(names)}.")
    return " ".join(parts)


def picture(found: Race, kl: bool) -> Chart:
    rows = [row for row in curves(found) if row["kl"] == kl]
    title = "gap with KL term" if kl else "exploitability"
    names = list(dict.fromkeys(row["name"] for row in rows))
    chart = _lines(rows, names, title).properties(width=WIDTH, height=HEIGHT)
    chart = chart.facet(alt.Facet("answers:N", sort=[EXACT, NOISY]), columns=2)
    words = (
        f"{title} of {', '.join(names)} over oracle calls on {found.name}, with exact and "
        "with noisy answers"
    )
    return Chart(chart, f"{stem_of(found.name)}-{'kl' if kl else 'plain'}", CAPTION, words)


def together(found: Sequence[Race]) -> Chart:
    """Every game's curves without a KL term."""
    rows = [{**row, "game": one.name} for one in found for row in curves(one) if not row["kl"]]
    names = list(dict.fromkeys(row["name"] for row in rows))
    games = [one.name for one in found]
    chart = _lines(rows, names, "exploitability").properties(width=WIDTH, height=200)
    chart = chart.facet(
        row=alt.Row("game:N", sort=games), column=alt.Column("answers:N", sort=[EXACT, NOISY])
    )
    return Chart(
        chart,
        "games",
        CAPTION,
        f"exploitability of {', '.join(names)} over oracle calls on {', '.join(games)}",
    )


def _lines(rows: Sequence[dict[str, Any]], names: Sequence[str], title: str) -> alt.Chart:
    color = alt.Color(
        "name:N",
        sort=names,
        scale=alt.Scale(domain=names, range=list(COLORS[: len(names)])),
        legend=alt.Legend(columns=4),
    )
    x = alt.X(
        "calls:Q",
        scale=alt.Scale(type="log"),
        title="oracle calls",
        axis=alt.Axis(values=[1, 10, 100, 1000, 10_000], format="d"),
    )
    y = alt.Y(
        "gap:Q", scale=alt.Scale(type="log"), title=title, axis=alt.Axis(format=".0e", tickCount=6)
    )
    tip = ["name:N", alt.Tooltip("calls:Q", format=".0f"), alt.Tooltip("gap:Q", format=".2e")]
    return (
        alt.Chart(alt.Data(values=list(rows)))
        .mark_line()
        .encode(x=x, y=y, color=color, tooltip=tip)
    )


def stem_of(name: str) -> str:
    return (
        "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")[:60]
        or "game"
    )


def standings(found: Race, kl: bool) -> Table:
    """A row a solver and kind of answers."""
    rows: list[list[Any]] = []
    for line in found.lines:
        if line.kl == kl:
            reached = [None if (c := line.reached(n)) is None else f"{c:.0f}" for n in NEAR]
            ends = f"{line.gap_E[-1]:.1e}", f"{line.average_gap_E[-1]:.1e}"
            rows.append(
                [
                    line.name,
                    line.answers.removesuffix(" answers"),
                    line.setting,
                    *reached,
                    *ends,
                    line.word,
                ]
            )
    heads = (
        "solver",
        "answers",
        "setting",
        *(f"to {n:g}" for n in NEAR),
        "the end",
        "average",
        "so it",
    )
    words = (
        "Calls until the certificate was first that small; the certificate at the end, and "
        "that of the average of all iterates."
    )
    return Table(heads, rows, words)
