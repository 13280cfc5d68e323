"""The page and the pictures of a race of solvers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair as alt

from holdfast.lab.games import EXACT, NEAR, NOISY, Race, curves
from holdfast.lab.publish import COLORS
from holdfast.lab.verdict import number
from holdfast.report import Chart, Page, Section, Table

WIDTH, HEIGHT = 330, 300


def write(found: Race, folder: Path) -> list[Path]:
    """games.html and its pictures. Returns what was written."""
    plain = Section("Without a KL term", _about(found, False), chart=picture(found, False), table=standings(found, False))
    with_kl = Section(f"With a KL term, beta {found.beta:g}", _about(found, True), chart=picture(found, True), table=standings(found, True))
    facts = Table(("", ""), [(name.replace("_", " "), number(v) if isinstance(v, float) else str(v)) for name, v in found.facts.items()])
    return Page(f"Solvers on {found.name}", lead(found), [plain, with_kl, Section("The game", table=facts)]).write(folder / "games.html")


def lead(found: Race) -> str:
    """Who is fastest, who circles, who stalls, in words."""
    parts = []
    for answers in (EXACT, NOISY):
        lines = [line for line in found.lines if line.answers == answers and not line.kl]
        near = next((n for n in reversed(NEAR) if any(line.reached(n) for line in lines)), None)
        if near is not None:
            best = min((line for line in lines if line.reached(near)), key=lambda line: line.reached(near) or 0)
            parts.append(f"With {answers} {best.name} is first at {near:g}, after {best.reached(near):.0f} calls.")
        for word in ("circles", "stalls"):
            names = [line.name for line in lines if line.word == word]
            if names:
                parts.append(f"{word.capitalize()}: {', '.join(names)}.")
    return " ".join(parts)


def _about(found: Race, kl: bool) -> str:
    what = "the duality gap of the game with its KL term to the uniform policy" if kl else "the exploitability, from 0 to 1"
    return (
        f"The certificate is {what}, exact whatever the oracle answered; a call is the win rates of all answers against one policy. Noisy "
        f"answers are estimated from {found.opponents} answers drawn from the policy. Each solver has the best of a few step sizes."
    )


def picture(found: Race, kl: bool) -> Chart:
    rows = [row for row in curves(found) if row["kl"] == kl]
    names = list(dict.fromkeys(row["name"] for row in rows))
    color = alt.Color("name:N", sort=names, scale=alt.Scale(domain=names, range=list(COLORS[: len(names)])), legend=alt.Legend(columns=4))
    title = "gap with KL term" if kl else "exploitability"
    x = alt.X("calls:Q", scale=alt.Scale(type="log"), title="oracle calls", axis=alt.Axis(values=[1, 10, 100, 1000, 10_000], format="d"))
    y = alt.Y("gap:Q", scale=alt.Scale(type="log"), title=title, axis=alt.Axis(format=".0e", tickCount=6))
    tip = ["name:N", alt.Tooltip("calls:Q", format=".0f"), alt.Tooltip("gap:Q", format=".2e")]
    line = alt.Chart(alt.Data(values=rows)).mark_line().encode(x=x, y=y, color=color, tooltip=tip)
    chart = line.properties(width=WIDTH, height=HEIGHT).facet(alt.Facet("answers:N", sort=[EXACT, NOISY]), columns=2)
    stem = "".join(letter if letter.isalnum() else "-" for letter in found.name.lower()).strip("-") or "game"
    words = f"{title} of {', '.join(names)} over oracle calls on {found.name}, with exact and with noisy answers"
    return Chart(chart, f"{stem}-{'kl' if kl else 'plain'}", "Both axes are logarithmic; certificates are cut at 1e-9.", words)


def standings(found: Race, kl: bool) -> Table:
    """A row a solver and kind of answers."""
    rows: list[list[Any]] = []
    for line in found.lines:
        if line.kl == kl:
            reached = [None if (c := line.reached(n)) is None else f"{c:.0f}" for n in NEAR]
            ends = f"{line.gap_E[-1]:.1e}", f"{line.average_gap_E[-1]:.1e}"
            rows.append([line.name, line.answers, line.setting, *reached, *ends, line.word])
    heads = ("solver", "oracle", "setting", *(f"calls to {n:g}" for n in NEAR), "at the end", "average's", "so it")
    return Table(heads, rows, "Calls until the certificate was first that small, and the certificates at the end.")
