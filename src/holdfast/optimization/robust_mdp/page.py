"""Pictures and pages of shifted kernels and of regret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from holdfast.optimization.robust_mdp.ambiguity import Ambiguity
from holdfast.optimization.robust_mdp.learner import Learned
from holdfast.optimization.robust_mdp.shift import Shift
from holdfast.optimization.robust_mdp.worlds import World
from holdfast.report import Chart, Page, Section, Table
from holdfast.report.marks import lines

POINTS = 60  # of a curve


def shift_chart(place: World, against: Ambiguity, rows: Sequence[Shift]) -> Chart:
    names = {"nominal policy": "nominal", "robust policy": "robust", "best policy there": "best"}
    ordered = sorted(rows, key=lambda row: row.amount)
    values = [
        {"name": name, "x": row.amount, "y": getattr(row, field)}
        for name, field in names.items()
        for row in ordered
    ]
    chart = lines(values, names=list(names), x=place.shift, y="exact return", points=True)
    words = (
        f"Return of the nominal policy, of the policy robust against a {against.name}, and of the "
        f"best policy there, over the {place.shift}, on {place.name}"
    )
    return Chart(chart, "shift", words, words)


def shift_page(
    place: World, against: Ambiguity, rows: Sequence[Shift], parts: float | None, most: float
) -> Page:
    table = Table(
        (place.shift, "nominal policy", "robust policy", "best policy there"),
        [
            [f"{row.amount:g}", f"{row.nominal:.4f}", f"{row.robust:.4f}", f"{row.best:.4f}"]
            for row in rows
        ],
    )
    said = (
        f"The nominal policy stays optimal against balls up to radius {most:g}."
        if parts is None
        else f"The robust and nominal policies part at radius {parts:.6g}."
    )
    about = f"{place.name}, {place.mdp.horizon} steps; {against.name}. {said}"
    sections = [Section("Under shifted kernels", chart=shift_chart(place, against, rows))]
    return Page("Robust and nominal policies", about, [*sections, Section("Numbers", table=table)])


def regret_chart(place: World, runs: Mapping[str, Sequence[Learned]]) -> Chart:
    """Mean regret over runs by episode."""
    values = []
    for name, found in runs.items():
        mean_E = np.mean([run.regret_E for run in found], axis=0)
        shown = np.unique(np.geomspace(1, len(mean_E), POINTS).astype(int))
        values += [{"name": name, "x": int(e), "y": float(mean_E[e - 1])} for e in shown]
    chart = lines(values, names=list(runs), x="episodes", y="regret")
    words = f"Exact cumulative regret over episodes on {place.name}: {', '.join(runs)}"
    return Chart(chart, "regret", words, words)


def regret_page(place: World, against: Ambiguity, runs: Mapping[str, Sequence[Learned]]) -> Page:
    rows = [
        [name, n, f"{run.best:.4f}", f"{run.value_E[-1]:.4f}", f"{run.slope():.3f}"]
        for name, found in runs.items()
        for n, run in enumerate(found)
    ]
    table = Table(("policy step", "run", "best value", "last policy's", "slope of regret"), rows)
    about = f"{place.name}, {place.mdp.horizon} steps; {against.name}."
    sections = [Section("Regret", chart=regret_chart(place, runs))]
    return Page("DR-RPO", about, [*sections, Section("Runs", table=table)])
