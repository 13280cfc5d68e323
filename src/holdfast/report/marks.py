"""The few kinds of chart that reports are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from holdfast.report.charts import PALETTE

ROW_HEIGHT = 34


def colors(names: Sequence[str], title: str | None = None, *, legend: bool = True) -> alt.Color:
    """The same color for the same name in every chart of a page. Names beyond the palette begin it
    again.
    """
    order = list(names)
    scale = alt.Scale(domain=order, range=[PALETTE[i % len(PALETTE)] for i in range(len(order))])
    shown = alt.Legend(title=title) if legend else None
    return alt.Color("name:N", scale=scale, legend=shown)


def intervals(
    rows: Sequence[Mapping[str, Any]],
    *,
    names: Sequence[str],
    title: str,
    percent: bool = False,
    mark_at: float | None = None,
    by: str = "",
) -> alt.LayerChart:
    """A point and its interval for each row {"name", "value", "low", "high"}, a row of the chart
    for each name (or name and `by`).

    `mark_at` draws a dashed line. Rows without an interval show their point alone; rows without a
    value are left out.
    """
    frame = alt.Data(values=[dict(row) for row in rows if row["value"] is not None])
    style = alt.Axis(format="%" if percent else "~g", tickCount=6)
    scale = alt.Scale(zero=False, nice=True)
    order = list(names)
    told = (
        colors(order, legend=False) if len(order) <= len(PALETTE) else alt.value(PALETTE[0])
    )  # colors that repeat would say "the same"
    y: dict[str, Any] = {
        "y": alt.Y("name:N", title=None, sort=order, axis=alt.Axis(labelLimit=220))
    }
    if by:
        y["yOffset"] = alt.YOffset(f"{by}:N", sort=list(dict.fromkeys(row[by] for row in rows)))
    tooltip = [
        "name:N",
        *([f"{by}:N"] if by else []),
        *(
            alt.Tooltip(f"{key}:Q", format=".1%" if percent else ".3f")
            for key in ("value", "low", "high")
        ),
    ]
    base = alt.Chart(frame).encode(color=told, tooltip=tooltip, **y)
    bars = base.mark_rule(strokeWidth=3, opacity=0.55).encode(
        x=alt.X("low:Q", title=title, scale=scale, axis=style), x2="high:Q"
    )
    dots = base.mark_point(size=110, filled=True, opacity=1).encode(
        x=alt.X("value:Q", title=title, scale=scale, axis=style)
    )
    if by:
        shapes = alt.Scale(range=["circle", "diamond", "square", "triangle-up"])
        dots = dots.encode(
            shape=alt.Shape(
                f"{by}:N",
                scale=shapes,
                sort=list(dict.fromkeys(row[by] for row in rows)),
                legend=alt.Legend(title=None),
            )
        )
    layers: list[alt.Chart] = [bars, dots]
    if mark_at is not None:
        layers.insert(
            0,
            alt.Chart(alt.Data(values=[{"at": mark_at}]))
            .mark_rule(strokeDash=[5, 4], color="#888888")
            .encode(x="at:Q"),
        )
    return alt.layer(*layers).properties(
        height=ROW_HEIGHT * max(2, len(order)) * (1.6 if by else 1)
    )


def lines(
    rows: Sequence[Mapping[str, Any]],
    *,
    names: Sequence[str],
    x: str,
    y: str,
    percent: bool = False,
    dash: str = "",
    detail: str = "",
    height: int = 260,
    points: bool = False,
) -> alt.Chart:
    """A line for each name (and `dash`, and `detail`) of rows {"name", "x", "y", ...}; `x` and `y`
    are the titles.
    """
    chart = alt.Chart(alt.Data(values=[dict(row) for row in rows]))
    encoding: dict[str, Any] = {
        "x": alt.X("x:Q", title=x, axis=alt.Axis(tickMinStep=1, tickCount=8)),
        "y": alt.Y(
            "y:Q",
            title=y,
            scale=alt.Scale(zero=False),
            axis=alt.Axis(format="%" if percent else "~g", tickCount=6),
        ),
        "color": colors(names),
        "tooltip": [
            "name:N",
            *(f"{key}:N" for key in (dash, detail) if key),
            alt.Tooltip("x:Q", title=x, format=",.6~g"),
            alt.Tooltip("y:Q", title=y, format=".1%" if percent else ".4~g"),
        ],
    }
    if dash:
        order = list(dict.fromkeys(row[dash] for row in rows))
        encoding["strokeDash"] = alt.StrokeDash(
            f"{dash}:N", sort=order, scale=alt.Scale(domain=order, range=[[1, 0], [6, 4], [2, 3]])
        )
    if detail:
        encoding["detail"] = alt.Detail(f"{detail}:N")
    seen = points or alt.OverlayMarkDef(
        opacity=0
    )  # points that nobody sees until a pointer comes near: the page shows the nearest
    return chart.mark_line(point=seen).encode(**encoding).properties(height=height)
