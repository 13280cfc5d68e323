"""Where robust and nominal plans part, and what each is worth under shifted kernels.

    python benchmarks/robust_mdp.py [--rounds 10] [--docs docs/pictures]

For each world and divergence: the radius at which the nominal policy stops being optimal against
the ball, then, with a ball of radius 0.1, or 5% beyond the parting where that is larger, the exact
returns of the nominal, the robust and the best policy at every shifted kernel of the world.
Everything is exact;
nothing is drawn. --docs takes the picture. Last, one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
from rich.progress import track
from rich.table import Table

from holdfast.optimization.robust_mdp import DIVERGENCES, optimum, world
from holdfast.optimization.robust_mdp.shift import Shift, around, parting_radius, shifts
from holdfast.optimization.robust_mdp.worlds import World
from holdfast.report import Chart
from holdfast.report.marks import colors
from holdfast.terminal import Terminal

# steps that each world is planned for; the last also bounds the work
HORIZONS = {
    "linear": 3,
    "put": 10,
    "FrozenLake-v1": 100,
    "CliffWalking-v1": 100,
    "Taxi-v4": 12,
}
RADIUS = 0.1
SHOWN = ("linear", "put", "FrozenLake-v1", "CliffWalking-v1")
NAMES = ("nominal policy", "robust policy", "best policy there")


@dataclass(frozen=True)
class Measured:
    place: World
    divergence: str
    parts: float | None
    radius: float
    rows: list[Shift]

    def facts(self) -> dict[str, Any]:
        """The shift where the robust policy's lead is largest, and the nominal kernel."""
        home, far = self.rows[0], max(self.rows, key=lambda row: row.robust - row.nominal)
        return {
            "world": self.place.name,
            "divergence": self.divergence,
            "parting_radius": self.parts,
            "radius": self.radius,
            "at_home": vars(home),
            "where_robust_leads_most": vars(far),
        }


def measured(name: str, divergence: str, rounds: int, most: float) -> Measured:
    place = world(name, horizon=HORIZONS[name])
    nominal = optimum(place.mdp)
    parts = parting_radius(place, divergence, most=most, nominal=nominal, rounds=rounds)
    radius = RADIUS if parts is None else min(most, max(RADIUS, 1.05 * parts))
    robust = optimum(place.mdp, around(place, divergence, radius))
    return Measured(place, divergence, parts, radius, shifts(place, nominal, robust))


def picture(found: list[Measured]) -> Chart:
    """Suboptimality over the shift, a panel a world."""
    panels = []
    for each in found:
        values = [
            {"name": name, "x": row.amount, "y": row.best - mine}
            for row in each.rows
            for name, mine in zip(NAMES, (row.nominal, row.robust), strict=False)
        ]
        chart = alt.Chart(alt.Data(values=values)).encode(
            x=alt.X("x:Q", title=each.place.shift),
            y=alt.Y("y:Q", title="return below the best policy there"),
            color=colors(NAMES[:2]),
        )
        title = f"{each.place.name}, {each.divergence} ball of radius {each.radius:.3g}"
        drawn = chart.mark_line() + chart.mark_point(filled=True, size=50)
        panels.append(drawn.properties(title=title, width=340, height=220))
    rows = [alt.hconcat(*panels[i : i + 2]) for i in range(0, len(panels), 2)]
    words = "Exact suboptimality of the nominal and the robust policy over the shift of the kernel"
    return Chart(alt.vconcat(*rows), "robust-mdp", words, words)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="halvings of the parting radius")
    parser.add_argument("--most", type=float, default=1.0, help="largest radius")
    parser.add_argument("--docs", type=Path, help="folder for the picture")
    given = parser.parse_args()
    screen = Terminal(stderr=True)
    pairs = [(name, divergence) for name in HORIZONS for divergence in DIVERGENCES]
    found = [
        measured(name, divergence, given.rounds, given.most)
        for name, divergence in track(pairs, "worlds", console=screen, transient=True)
    ]
    table = Table("world", "set", "part at", "radius", "at home", "most shifted for the robust")
    for each in found:
        facts = each.facts()
        cells = [
            f"{row['nominal']:.3f} {row['robust']:.3f} {row['best']:.3f}"
            for row in (facts["at_home"], facts["where_robust_leads_most"])
        ]
        parts = "never" if each.parts is None else f"{each.parts:.4g}"
        table.add_row(each.place.name, each.divergence, parts, f"{each.radius:.3g}", *cells)
    screen.print(table)
    if given.docs:
        shown = [x for x in found if x.place.name in SHOWN and x.divergence == "total_variation"]
        picture(shown).save_picture(given.docs)
    print(json.dumps([each.facts() for each in found]))


if __name__ == "__main__":
    sys.exit(main())
