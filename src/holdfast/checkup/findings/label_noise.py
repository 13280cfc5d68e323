"""How many labels are flipped, by every route that these data offer, and which rows they may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
from scipy.special import expit

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.agreement import shared_verdicts
from holdfast.checkup.estimators.flip_rate import (
    FlipRate,
    by_models,
    flips_from_agreement,
    posterior_wrong,
)
from holdfast.checkup.present.wording import percent, span
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Example, Finding, FindingSpec, Severity
from holdfast.report import Chart, Table
from holdfast.report.charts import PALETTE
from holdfast.report.marks import intervals
from holdfast.stats.intervals import NOTHING, Estimate, mean_interval

SOME, MANY = 0.02, 0.15  # lower ends of the interval from which it is a WARNING, a PROBLEM
FEW = 0.1  # an interval from below SOME to beyond this says too little for OK
ENOUGH_REPEATED = (
    60  # verdicts on pairs that several raters judged, from which their agreement is an estimate
)
ENOUGH_ROWS = 50  # rows from which a preference model is asked
SHOWN = 25
CURVE = 16  # points of the picture

RATERS, MODEL, COUNT = (
    "raters who judged the same pair",
    "a preference model, where it is sure",
    "confident learning",
)
WHAT = {
    RATERS: (
        "A flip is a verdict against what its raters would settle on. Pairs on which people "
        "truly differ count as flips, too."
    ),
    MODEL: (
        "A flip is disagreement that is left where the case is clear. Pairs that are close, "
        "and preferences that differ, are not flips as "
        "long as the model's clear cases are clear to everybody."
    ),
    COUNT: (
        "A count of labels that a calibrated model finds unlikely. Chance verdicts on close "
        "pairs count, too: read it as a ceiling."
    ),
}
CANNOT = (
    "These answers do not let a model of cheap features be sure of any pair, and nobody "
    "judged a pair twice, so flipped labels and close "
    "calls look the same. What would tell: a second rater on some 200 pairs, or a model's "
    "own features (`--model M`)."
)


def label_noise(data: Comparisons, request: CheckRequest) -> Finding:
    """The flip rate f with its interval, by repeated raters, by the profile likelihood of held-out
    log-odds, and by confident learning.

    Repeated raters decide where there are enough, except where a preference model that is sure of
    many pairs finds less: then what the raters differ on are close pairs, and those are no flips.
    Without raters the model decides where its interval is narrow; else f is not identified, and
    only an upper bound is said.
    """
    routes: dict[str, Estimate] = {}
    by_raters = agreement(data, request)
    if by_raters.value is not None:
        routes[RATERS] = by_raters
    found = None
    if len(data) >= ENOUGH_ROWS:
        found = by_models(data, level=request.level, seed=request.seed)
        routes[MODEL] = found.rate
        routes[COUNT] = confident(data, found, request)
    best = _best(routes, found)
    return Finding(
        "Label noise",
        _severity(best),
        _says(best, routes, found),
        best,
        "share of labels that are flipped",
        remedy="Have the rows listed under label noise judged again, most suspicious first."
        if best.value
        else "",
        cannot=CANNOT
        if best.value is None
        else " ".join(WHAT[name] for name in (RATERS, MODEL) if name in routes),
        numbers={
            "flip_rate": None if best.value is None else best.to_dict(),
            "identified": best.value is not None,
            "routes": {name: estimate.to_dict() for name, estimate in routes.items()},
            "agree": _agree(routes),
            "model": None if found is None else found.to_dict(),
        },
        charts=_charts(routes, found),
        tables=[_table(routes)] if routes else [],
        examples=_suspects(data, found, best),
    )


# ------------------------------------------------------------ routes


def agreement(data: Comparisons, request: CheckRequest) -> Estimate:
    """f from pairs that several raters judged; nothing where there are fewer than `ENOUGH_REPEATED`
    such verdicts.
    """
    said = shared_verdicts(data)
    if len(said.row_V) < ENOUGH_REPEATED:
        return NOTHING
    draws = (
        (said.item_V, said.rater_V) if np.ptp(said.agreement_V) > 0 else (said.item_V,)
    )  # raters who never disagree do not vary
    by = [
        mean_interval(said.agreement_V, code_V.tolist(), level=request.level, seed=request.seed)
        for code_V in draws
    ]
    ends = [(e.low, e.high) for e in by if e.low is not None and e.high is not None]
    if by[0].value is None or not ends:
        return NOTHING
    low, high = (
        flips_from_agreement(max(e[1] for e in ends)),
        flips_from_agreement(min(e[0] for e in ends)),
    )
    how = "agreement within pairs; the wider of two bootstraps, over prompts and over raters"
    return Estimate(
        flips_from_agreement(by[0].value), low, high, by[0].n, by[0].clusters, how, request.level
    )


def confident(data: Comparisons, found: FlipRate, request: CheckRequest) -> Estimate:
    """The share of labels off the diagonal of the confident joint (Northcutt et al. 2021), from
    calibrated held-out probabilities.
    """
    from cleanlab.count import compute_confident_joint

    agree_N = found.agreeing(found.z_N)
    side_N = np.random.default_rng(request.seed).integers(
        0, 2, len(agree_N)
    )  # the order in which a pair is shown says nothing
    first_N = np.where(side_N == 0, agree_N, 1 - agree_N)
    joint = compute_confident_joint(side_N, np.stack([first_N, 1 - first_N], 1))
    share = float(1 - np.trace(joint) / joint.sum())
    half = 1.96 * np.sqrt(share * (1 - share) / max(data.prompt.given, 1))
    return Estimate(
        share,
        max(0.0, share - half),
        min(1.0, share + half),
        len(agree_N),
        data.prompt.given,
        "confident joint",
        request.level,
    )


def _agree(routes: Mapping[str, Estimate]) -> bool | None:
    """Whether the two routes that estimate the same thing overlap; None where there is one
    alone.
    """
    return routes[RATERS].overlaps(routes[MODEL]) if RATERS in routes and MODEL in routes else None


def _best(routes: Mapping[str, Estimate], found: FlipRate | None) -> Estimate:
    sure = found is not None and found.identified
    if RATERS not in routes:
        return routes[MODEL] if sure else NOTHING
    return routes[MODEL] if sure and _below(routes[MODEL], routes[RATERS]) else routes[RATERS]


def _below(one: Estimate, other: Estimate) -> bool:
    return one.high is not None and other.low is not None and one.high < other.low


# ------------------------------------------------------------ what is said and shown


def _severity(best: Estimate) -> Severity:
    if best.low is None or best.high is None:
        return Severity.INCONCLUSIVE
    if best.low > SOME:
        return Severity.PROBLEM if best.low > MANY else Severity.WARNING
    return Severity.OK if best.high <= FEW else Severity.INCONCLUSIVE


def _says(best: Estimate, routes: Mapping[str, Estimate], found: FlipRate | None) -> str:
    if best.low is not None and best.high is not None:
        differ = (
            ""
            if RATERS not in routes
            else "Raters of one pair go against what they would settle on in "
            f"{percent(routes[RATERS])} of verdicts{span(routes[RATERS])}"
        )
        if RATERS in routes and best is routes[MODEL]:
            return (
                f"{differ}, mostly on close pairs: where the case is clear, "
                f"{percent(best.low, 0)} to {percent(best.high, 0)} are wrong."
            )
        if best.low <= SOME and best.high > FEW:
            return (
                f"Whether labels are flipped is open: between {percent(best.low, 0)} and "
                f"{percent(best.high, 0)} of them may be."
            )
        if RATERS in routes:
            return f"{differ}."
        rate = (
            f"About {percent(best)} of the labels{span(best)}"
            if best.low
            else f"At most {percent(best.high)} of the labels, perhaps none,"
        )
        return f"{rate} are flipped, judged by the disagreement left in clear cases."
    if found is None:
        return "There are too few comparisons to say how many labels are flipped."
    ceiling = (
        f": at most {percent(min(found.rate.ends[1], found.bound), 0)}, and perhaps none"
        if min(found.rate.ends[1], found.bound) < 0.45
        else ""
    )
    return f"How many labels are flipped cannot be told from these rows{ceiling}."


def _table(routes: Mapping[str, Estimate]) -> Table:
    rows = [
        [name, percent(e), percent(e.low), percent(e.high), WHAT[name]]
        for name, e in routes.items()
    ]
    return Table(
        ["route", "flipped", "low", "high", "what it counts"],
        rows,
        "Every route, with 95% intervals",
    )


def _charts(routes: Mapping[str, Estimate], found: FlipRate | None) -> Sequence[Chart]:
    charts = []
    if found is not None:
        charts.append(
            Chart(
                _curve(found),
                "label-noise-curve",
                "How often the label agrees with a model that never saw it, against how "
                "sure the model is, with 95% intervals. The line is "
                "the fit, and the dashed line where it levels off as the model gets "
                f"surer: at {percent(1 - found.rate.point)} here, 100% less "
                "the flip rate. Below 100%, labels are wrong even in clear cases.",
                "A rising curve of agreement against the model's certainty.",
            )
        )
    if len(routes) > 1:
        rows = [
            {"name": name, "value": e.value, "low": e.low, "high": e.high}
            for name, e in routes.items()
        ]
        chart = intervals(rows, names=list(routes), title="share of labels flipped", percent=True)
        charts.append(
            Chart(
                chart,
                "label-noise-routes",
                "The same question, asked in different ways, with 95% intervals.",
            )
        )
    return charts


def _curve(found: FlipRate) -> alt.LayerChart:
    """How often the label takes the model's side, in bins of |z|, with the fitted curve."""
    size_N, right_N = np.abs(found.z_N), found.z_N > 0
    points = []
    for part in np.array_split(np.argsort(size_N), min(CURVE, max(1, len(size_N) // 20))):
        share = mean_interval(right_N[part].astype(float), resamples=0)
        half = 1.96 * np.sqrt(
            max(right_N[part].mean() * (1 - right_N[part].mean()), 1e-9) / len(part)
        )
        value = float(share.value or 0.0)
        points.append(
            {
                "sure": float(size_N[part].mean()),
                "agree": value,
                "low": max(0.0, value - half),
                "high": min(1.0, value + half),
            }
        )
    grid = np.linspace(0, float(np.quantile(size_N, 0.995)) or 1.0, 60)
    fitted = found.agreeing(grid)
    line = [{"sure": float(t), "agree": float(p)} for t, p in zip(grid, fitted, strict=True)]
    x = alt.X("sure:Q", title="how sure the model is, log-odds")
    scale = alt.Scale(
        domain=[min(0.4, np.floor(10 * min(point["low"] for point in points)) / 10), 1.0]
    )
    y = alt.Y("agree:Q", title="labels that agree", axis=alt.Axis(format="%"), scale=scale)
    tips = [
        alt.Tooltip("sure:Q", title="log-odds", format=".2f"),
        alt.Tooltip("agree:Q", title="labels that agree", format=".1%"),
        *(alt.Tooltip(f"{end}:Q", format=".1%") for end in ("low", "high")),
    ]
    base = alt.Chart(alt.Data(values=points)).encode(x=x, tooltip=tips)
    top = (
        alt.Chart(alt.Data(values=[{"agree": 1 - found.rate.point}]))
        .mark_rule(strokeDash=[5, 4], color="#888888")
        .encode(y=y)
    )
    return alt.layer(
        top,
        alt.Chart(alt.Data(values=line)).mark_line(color=PALETTE[1]).encode(x=x, y=y),
        base.mark_rule(color=PALETTE[0], opacity=0.5, strokeWidth=3).encode(
            y=alt.Y("low:Q", scale=scale), y2="high:Q"
        ),
        base.mark_point(color=PALETTE[0], size=60).encode(y=y),
    ).properties(height=260)


def _suspects(data: Comparisons, found: FlipRate | None, best: Estimate) -> list[Example]:
    """Rows by the log-odds that their label is wrong: what the model says, and what other raters of
    the same pair say.
    """
    rate = float(np.clip(best.value or 0.1, 0.01, 0.45))
    z_N = np.zeros(len(data)) if found is None else found.z_N
    if found is None:
        right_N = z_N
    else:
        chance_N = np.clip(
            posterior_wrong(found) if found.rate.point > 0 else expit(-z_N), 1e-6, 1 - 1e-6
        )
        right_N = np.log1p(-chance_N) - np.log(chance_N)
    sign_N = np.where(data.forward_N, 1.0, -1.0)
    votes_P = np.bincount(data.pair.code_N, weights=sign_N, minlength=len(data.pair.names))
    others_N = sign_N * (
        votes_P[data.pair.code_N] - sign_N
    )  # net votes of the other rows for this row's side
    odds_N = right_N + others_N * np.log((1 - rate) / rate)
    order = [int(i) for i in np.argsort(odds_N)[:SHOWN] if odds_N[i] < 0]
    return [Example(i, float(-odds_N[i]), _why(float(others_N[i]), float(z_N[i]))) for i in order]


def _why(others: float, side: float) -> str:
    said = (
        [f"{-others:.0f} more of the pair's other verdicts go the other way"] if others < 0 else []
    )
    said += ["a model that never saw it prefers the rejected answer"] if side < 0 else []
    return "; ".join(said)


FINDING = FindingSpec("How many labels are flipped?", label_noise)
