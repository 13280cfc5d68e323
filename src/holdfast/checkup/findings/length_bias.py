"""Whether the longer answer wins, how steeply, and how long the answers are."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import altair as alt
import numpy as np
from scipy.special import expit
from scipy.stats import t as student

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.present.wording import count, percent, span
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Example, Finding, FindingSpec, Severity
from holdfast.report import Chart, Table
from holdfast.stats.arrays import Floats, Ints
from holdfast.stats.intervals import Estimate, mean_interval

FAR, TOO_FAR = 0.1, 0.25  # how far from one half the longer answer's share of wins may lie
# Lengths that a reader would call different, and what a finding must rest on: pairs that differ so,
# their share of all, and prompts.
NOTICEABLE = float(np.log(1.05))
FEWEST, LEAST, FEWEST_PROMPTS = 30, 0.05, 5
BINS = 8
ENDS = ("value", "low", "high")
# slope at which an answer a tenth longer has 17 times the odds: a fit that runs past it has no
# maximum to be told
STEEPEST = 30.0
SHOWN = 4000  # answers that a histogram is made of


def length_bias(data: Comparisons, request: CheckRequest) -> Finding:
    """The slope b of logit P(win) = b log(length / other's length), and the share of comparisons
    that the longer answer wins.

    b = 1 says that an answer twice as long has twice the odds. Lengths are characters, plus one.
    The slope's interval is the cluster-robust one (Liang and Zeger 1986), a cluster a prompt. A
    slope is not proof of bias: longer answers may be better.
    """
    title, of = "Length", "share of pairs of unequal length that the longer answer wins"
    if data.named:
        return Finding(
            title,
            Severity.NOT_APPLICABLE,
            "These are head-to-head results between names; there are no answers to measure.",
        )
    chosen_N, rejected_N = (
        np.array([len(text) for text in side], float) for side in (data.chosen, data.rejected)
    )
    x_N = np.log1p(chosen_N) - np.log1p(rejected_N)
    clusters = data.cluster_N
    longer = mean_interval(
        np.where(x_N == 0, np.nan, x_N > 0),
        clusters.tolist(),
        level=request.level,
        seed=request.seed,
    )
    slope = slope_of(x_N, clusters, level=request.level)
    if longer.value is None:
        return Finding(
            title,
            Severity.INCONCLUSIVE,
            "All answers of a pair are equally long.",
            numbers={"longer_wins": longer.to_dict()},
        )
    noticeable_N = np.abs(x_N) >= NOTICEABLE
    clear = mean_interval(
        np.where(noticeable_N, x_N > 0, np.nan),
        clusters.tolist(),
        level=request.level,
        seed=request.seed,
    )
    prompts = len(np.unique(clusters[noticeable_N]))
    rests = (
        noticeable_N.sum() >= max(FEWEST, LEAST * len(x_N))
        and prompts >= FEWEST_PROMPTS
        and not _holds_zero(slope)
    )
    away = min(_away(longer), _away(clear)) if rests else 0.0
    severity = (
        Severity.PROBLEM if away > TOO_FAR else Severity.WARNING if away > FAR else Severity.OK
    )
    bins = _bins(x_N, clusters, request)
    numbers: dict[str, Any] = {
        "longer_wins": longer.to_dict(),
        "slope": slope.to_dict(),
        "bins": bins,
        "quantiles": {
            side: np.quantile(values, [0.1, 0.5, 0.9]).tolist()
            for side, values in (("chosen", chosen_N), ("rejected", rejected_N))
        },
        "equal": int((x_N == 0).sum()),
        "noticeable": int(noticeable_N.sum()),
        "noticeable_longer_wins": clear.to_dict(),
        "median_difference_characters": float(np.median(np.abs(chosen_N - rejected_N)[x_N != 0])),
    }
    differ, won = int((x_N != 0).sum()), round(longer.value * int((x_N != 0).sum()))
    equal = f"; {len(x_N) - differ:,} are equally long" if differ < len(x_N) else ""
    order = np.argsort(-np.abs(x_N))
    against = [i for i in order if (x_N[i] > 0) != (longer.value > 0.5)][:3]
    examples = [
        Example(int(i), float(abs(x_N[i])), _why(chosen_N[i], rejected_N[i]))
        for i in (*order[:7], *against)
    ]
    return Finding(
        title,
        severity,
        f"In {won:,} of the {count(differ, 'pair')} whose lengths differ, the longer answer wins: "
        f"{percent(longer)}{span(longer)}{equal}. Where they differ, the median difference is "
        f"{count(round(numbers['median_difference_characters']), 'character')}, and "
        f"{count(numbers['noticeable'], 'pair differs', 'pairs differ')} by 5% or more. "
        f"{slope_says(slope)}",
        longer,
        of,
        remedy="Compare answers of similar length, or train with a length-normalized objective."
        if severity is not Severity.OK
        else "",
        cannot=(
            "Whether longer answers are better or only longer: judge pairs of equal length to tell."
        )
        if severity is not Severity.OK
        else "",
        numbers=numbers,
        charts=[_curve(bins, slope.value), _spread(chosen_N, rejected_N, request.seed)],
        tables=[
            Table(
                ["", "10%", "median", "90%"],
                [
                    [side, *(round(value) for value in values)]
                    for side, values in numbers["quantiles"].items()
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
        examples=examples,
    )


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


def _away(share: Estimate) -> float:
    """How far from one half a share surely lies."""
    return (
        0.0 if share.low is None or share.high is None else max(share.low - 0.5, 0.5 - share.high)
    )


def _holds_zero(slope: Estimate) -> bool:
    return slope.low is not None and slope.high is not None and slope.low <= 0 <= slope.high


def slope_of(x_N: Floats, cluster_N: Ints, *, level: float) -> Estimate:
    """The maximum-likelihood b of P(chosen wins) = sigma(b x), with a cluster-robust interval (none
    with a single cluster).

    There is no maximum where x decides every row, and none to be told where the fit runs past
    `STEEPEST`: then there is no estimate.
    """
    used = x_N != 0
    x_N, cluster_N = x_N[used], cluster_N[used]
    clusters = len(np.unique(cluster_N))
    if not len(x_N):
        return Estimate(None)
    b = 0.0
    for _ in range(50):
        p_N = expit(-b * x_N)
        bend = float((x_N**2 * p_N * (1 - p_N)).sum())
        step = float((x_N * p_N).sum()) / max(bend, 1e-9)
        b += float(np.clip(step, -1, 1))
        if abs(step) < 1e-9 or abs(b) > STEEPEST:
            break
    if (x_N > 0).all() or (x_N < 0).all() or abs(b) > STEEPEST:
        return Estimate(None, n=len(x_N), clusters=clusters, level=level)
    if clusters < 2:
        return Estimate(b, n=len(x_N), clusters=clusters, level=level)
    p_N = expit(-b * x_N)
    _, code_N = np.unique(cluster_N, return_inverse=True)
    score_C = np.bincount(code_N, weights=x_N * p_N)
    bend = float((x_N**2 * p_N * (1 - p_N)).sum())
    error = np.sqrt(clusters / (clusters - 1) * (score_C**2).sum()) / bend
    half = float(student.ppf((1 + level) / 2, clusters - 1) * error)
    return Estimate(b, b - half, b + half, len(x_N), clusters, "cluster-robust", level)


def _bins(x_N: Floats, cluster_N: Ints, request: CheckRequest) -> list[dict[str, Any]]:
    """Share of wins of the longer answer, by how many times as long it is: bins of equally many
    comparisons.
    """
    size_N = np.abs(x_N)
    edges = np.unique(np.quantile(size_N[size_N > 0], np.linspace(0, 1, BINS + 1)))
    bins = []
    for k, (low, high) in enumerate(pairwise(edges)):
        inside = (
            (size_N >= low)
            & (size_N <= high if k == len(edges) - 2 else size_N < high)
            & (size_N > 0)
        )
        if inside.any():
            won = mean_interval(
                x_N[inside] > 0,
                cluster_N[inside].tolist(),
                level=request.level,
                seed=request.seed,
                resamples=300,
            )
            row: dict[str, Any] = {
                "from": float(np.exp(low)),
                "to": float(np.exp(high)),
                "at": float(np.exp(np.median(size_N[inside]))),
            }
            bins.append(
                row
                | {"value": won.value, "low": won.low, "high": won.high, "pairs": int(inside.sum())}
            )
    return bins


def _curve(bins: list[dict[str, Any]], slope: float | None) -> Chart:
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


FINDING = FindingSpec("Does the longer answer win?", length_bias)
