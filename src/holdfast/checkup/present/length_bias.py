"""Length, in a sentence, two pictures and the pairs that differ most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
from scipy.special import expit

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.findings.length_bias import LengthBias, lengths, log_ratio
from holdfast.checkup.present.wording import count, percent, span
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import FLAGGED, Example, Finding, Severity
from holdfast.report import Chart, Table
from holdfast.stats.arrays import Floats
from holdfast.stats.intervals import Estimate

ENDS = ("value", "low", "high")
SHOWN = 4000  # answers that a histogram is made of
MOST_APART, AGAINST = 7, 3  # pairs shown: that differ most, and of those that go the other way


def length_bias(
    found: LengthBias, severity: Severity, data: Comparisons, request: CheckRequest
) -> Finding:
    """What is said and shown of length."""
    longer, chosen_rejected = found.longer_wins, lengths(data)
    if longer.value is None or found.median_difference is None:
        return Finding("", severity, "All answers of a pair are equally long.")
    bins = [one.to_dict() for one in found.bins]
    differ = found.pairs - found.equal
    equal = f"; {found.equal:,} are equally long" if found.equal else ""
    flagged = severity in FLAGGED
    return Finding(
        "",
        severity,
        f"In {round(longer.value * differ):,} of the {count(differ, 'pair')} whose lengths differ, "
        f"the longer answer wins: {percent(longer)}{span(longer)}{equal}. Where they differ, the "
        f"median difference is {count(round(found.median_difference), 'character')}, and "
        f"{count(found.noticeable, 'pair differs', 'pairs differ')} by 5% or more. "
        f"{slope_says(found.slope)}",
        longer,
        "share of pairs of unequal length that the longer answer wins",
        remedy="Compare answers of similar length, or train with a length-normalized objective."
        if flagged
        else "",
        cannot=(
            "Whether longer answers are better or only longer: judge pairs of equal length to tell."
        )
        if flagged
        else "",
        charts=[_curve(bins, found.slope.value), _spread(*chosen_rejected, request.seed)],
        tables=[
            Table(
                ["", "10%", "median", "90%"],
                [
                    [side, *(round(value) for value in values)]
                    for side, values in found.quantiles.items()
                ],
                "Characters of an answer",
            ),
            Table(
                ["times as long", "longer wins", "low", "high", "pairs"],
                [
                    [
                        f"{_times(b['from'])} to {_times(b['to'])}",
                        *(percent(b[key]) for key in ENDS),
                        b["pairs"],
                    ]
                    for b in bins
                ],
                "By how much longer the longer answer is",
            ),
        ],
        examples=_examples(*chosen_rejected, longer_tends_to_win=longer.value > 0.5),
    )


def _examples(chosen_N: Floats, rejected_N: Floats, *, longer_tends_to_win: bool) -> list[Example]:
    x_N = log_ratio(chosen_N, rejected_N)
    order = np.argsort(-np.abs(x_N))
    against = [i for i in order if (x_N[i] > 0) != longer_tends_to_win][:AGAINST]
    return [
        Example(int(i), float(abs(x_N[i])), _why(chosen_N[i], rejected_N[i]))
        for i in (*order[:MOST_APART], *against)
    ]


def slope_says(slope: Estimate) -> str:
    """One sentence about the slope, its interval in the same brackets."""
    if slope.value is None:
        return "Length all but decides who wins, so no finite slope fits."
    interval = span(slope, as_percent=False, digits=2).strip(" ()")
    return (
        f"An answer twice as long has {_odds(2**slope.value)} (slope "
        f"{slope.value:.2f}{f', {interval}' if interval else ''})."
    )


def _why(chosen: float, rejected: float) -> str:
    longer = "longer" if chosen > rejected else "shorter"
    return f"the {longer} answer was chosen: {int(chosen):,} against {int(rejected):,} characters"


def _odds(factor: float) -> str:
    """In words, of the odds of an answer twice as long. Where length decides every row, the factor
    itself says nothing.
    """
    if abs(np.log2(factor)) < 0.05:
        return "the same odds"
    if not 0.01 <= factor <= 100:
        return (
            f"{'more than 100 times' if factor > 1 else 'less than a hundredth of'} the odds "
            "of winning"
        )
    return f"{factor:.2g} times the odds of winning"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"


def _curve(bins: Sequence[dict[str, Any]], slope: float | None) -> Chart:
    top = max((row["at"] for row in bins), default=2.0)
    at_A = [] if slope is None else np.geomspace(1, max(top, 1.01), 40).tolist()
    fitted = [{"at": at, "value": float(expit((slope or 0.0) * np.log(at)))} for at in at_A]
    x = alt.X(
        "at:Q",
        title="times as long as the other answer",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(format="~g"),
    )
    y = alt.Y(
        "value:Q",
        title="the longer answer wins",
        axis=alt.Axis(format="%"),
        scale=alt.Scale(zero=False),
    )
    half = (
        alt.Chart(alt.Data(values=[{"at": 0.5}]))
        .mark_rule(strokeDash=[5, 4], color="#888888")
        .encode(y=alt.Y("at:Q"))
    )
    line = alt.Chart(alt.Data(values=fitted)).mark_line(color="#d9722e").encode(x=x, y=y)
    seen = [
        {
            **row,
            "low": row["value"] if row["low"] is None else row["low"],
            "high": row["value"] if row["high"] is None else row["high"],
        }
        for row in bins
    ]
    base = alt.Chart(alt.Data(values=seen)).encode(
        x=x,
        tooltip=[
            alt.Tooltip("at:Q", title="times as long", format=".3~g"),
            alt.Tooltip("value:Q", title="longer wins", format=".1%"),
            *(alt.Tooltip(f"{end}:Q", format=".1%") for end in ("low", "high")),
            alt.Tooltip("pairs:Q", format=","),
        ],
    )
    bars = base.mark_rule(strokeWidth=3, opacity=0.5, color="#3b7dd0").encode(
        y=alt.Y("low:Q", title="the longer answer wins"), y2="high:Q"
    )
    dots = base.mark_point(size=90, color="#3b7dd0").encode(y=y)
    said = "; ".join(f"{row['at']:.2g} times as long: {row['value']:.0%}" for row in bins)
    chart = alt.layer(half, line, bars, dots).properties(height=260)
    caption = (
        "How often the longer answer wins, by how much longer it is (dots, with 95% intervals)"
        f"{', and the fitted slope (line)' if fitted else ''}. "
        "Dashed: an even chance."
    )
    return Chart(chart, "length_bias", caption, said)


def _spread(chosen_N: Floats, rejected_N: Floats, seed: int) -> Chart:
    rng = np.random.default_rng(seed)
    rows = []
    both = np.log10(1 + np.concatenate([chosen_N, rejected_N]))
    edges = np.linspace(both.min(), both.max() + 1e-9, 36)
    for side, values in (("chosen", chosen_N), ("rejected", rejected_N)):
        some = rng.choice(values, SHOWN, replace=False) if len(values) > SHOWN else values
        counts, _ = np.histogram(np.log10(1 + some), bins=edges)
        middle = 10 ** ((edges[:-1] + edges[1:]) / 2)
        rows += [
            {"name": side, "characters": float(at), "share": float(c / len(some))}
            for at, c in zip(middle, counts, strict=True)
        ]
    sides = ["chosen", "rejected"]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X(
            "characters:Q",
            scale=alt.Scale(type="log", nice=False),
            title="characters",
            axis=alt.Axis(format="~s"),
        ),
        y=alt.Y("share:Q", stack=None, title="share of answers", axis=alt.Axis(format="%")),
        color=alt.Color("name:N", scale=alt.Scale(domain=sides, range=["#3d8f5f", "#c2456b"])),
    )
    line = base.mark_line(
        interpolate="monotone", point=alt.OverlayMarkDef(opacity=0)
    ).encode(  # dashes for who sees red and green alike
        strokeDash=alt.StrokeDash("name:N", scale=alt.Scale(domain=sides, range=[[1, 0], [5, 3]])),
        tooltip=[
            "name:N",
            alt.Tooltip("characters:Q", title="characters, about", format=",.0f"),
            alt.Tooltip("share:Q", format=".1%"),
        ],
    )
    chart = alt.layer(base.mark_area(opacity=0.25, interpolate="monotone"), line).properties(
        height=200
    )
    medians = (
        f"median {int(np.median(chosen_N)):,} characters chosen, "
        f"{int(np.median(rejected_N)):,} rejected"
    )
    return Chart(chart, "lengths", f"How long the answers are: {medians}.", medians)
