"""How many labels are flipped, by every route that these data offer, and which rows they may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
from scipy.special import expit

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.agreement import (
    SharedVerdicts,
    are_opinions,
    repeated_verdicts,
)
from holdfast.checkup.estimators.copies import independent_verdicts
from holdfast.checkup.estimators.flip_rate import (
    NEARLY_COINS,
    FlipRate,
    by_models,
    flips_from_agreement,
    posterior_wrong,
)
from holdfast.checkup.estimators.strengths import strength_of, vote_shares
from holdfast.checkup.present.wording import count, percent, span
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

CLEAR = 0.2  # share of the verdicts of several raters, those of the largest `strength`
SAME = 0.45  # agreement below which two verdicts on a pair differ more than random ones would

RATERS, REPEATED, CLEAREST, MODEL, COUNT = (
    "raters who judged the same pair",
    "rows that repeat a pair",
    "raters of the same pair, where `strength` is largest",
    "a preference model, where it is sure",
    "confident learning",
)
WHAT = {
    RATERS: (
        "A flip is a verdict against what its raters would settle on. Pairs on which people "
        "truly differ count as flips, too."
    ),
    REPEATED: (
        "A flip is a row against what the rows of its pair would settle on. Rows that are copies "
        "of each other hide flips: read it as a floor."
    ),
    CLEAREST: (
        "A flip is a verdict against what its raters would settle on, in the fifth of verdicts "
        "whose `strength` is largest: close calls are no flips."
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
    if are_opinions(data):
        return _opinions(data, request)
    routes: dict[str, Estimate] = {}
    said, _ = independent_verdicts(data, seed=request.seed)
    by_rater = len(said.row_V) >= ENOUGH_REPEATED
    if not by_rater and not data.named:
        said = repeated_verdicts(data)
    by_raters = agreement(said, request)
    # rows that never contradict each other may be copies
    if by_raters.value is not None and (by_rater or by_raters.value > 0):
        routes[RATERS if by_rater else REPEATED] = by_raters
    if by_rater and (clearest := in_clear_cases(data, said, request)).value is not None:
        routes[CLEAREST] = clearest
    found = None
    if len(data) >= ENOUGH_ROWS:
        found = by_models(data, level=request.level, seed=request.seed)
        routes[MODEL] = found.rate
        routes[COUNT] = confident(data, found, request)
    if _opposed(said):
        return _both_ways(data, said, routes, request)
    best = _best(routes, found)
    only_a_bound = data.named and best is routes.get(MODEL)
    return Finding(
        "Label noise",
        _severity_of(best, routes),
        _says(best, routes, found),
        best,
        "share of labels that are flipped",
        remedy="Have the rows listed under label noise judged again, most suspicious first."
        if _severity_of(best, routes) in (Severity.WARNING, Severity.PROBLEM)
        else "",
        cannot=CANNOT
        if best.value is None
        else " ".join(WHAT[name] for name in (RATERS, REPEATED, CLEAREST, MODEL) if name in routes),
        numbers={
            "flip_rate": None if best.value is None or only_a_bound else best.to_dict(),
            "identified": best.value is not None and not only_a_bound,
            "routes": {name: estimate.to_dict() for name, estimate in routes.items()},
            "agree": _agree(routes),
            "model": None if found is None else found.to_dict(),
        },
        charts=_charts(routes, found),
        tables=[_table(routes)] if routes else [],
        examples=_suspects(data, found, best),
    )


# ------------------------------------------------------------ routes


def agreement(said: SharedVerdicts, request: CheckRequest) -> Estimate:
    """f from pairs that were judged several times; nothing where there are fewer than
    `ENOUGH_REPEATED` such verdicts.
    """
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


def in_clear_cases(data: Comparisons, said: SharedVerdicts, request: CheckRequest) -> Estimate:
    """f where `strength` says that the call was not close; nothing unless agreement surely grows
    with it, or where it is a share of the same votes.
    """
    strength_N = np.abs(strength_of(data))
    if not np.isfinite(strength_N[said.row_V]).all() or vote_shares(data, strength_N):
        return NOTHING
    size_V = np.bincount(said.pair_V)[said.pair_V]
    strength_V = np.bincount(said.pair_V, weights=strength_N[said.row_V])[said.pair_V] / size_V
    large_V = strength_V > np.median(strength_V)
    if min(large_V.sum(), (~large_V).sum()) < ENOUGH_REPEATED:
        return NOTHING
    clusters = said.item_V.tolist()
    sign_V = np.where(large_V, 1 / large_V.mean(), -1 / (~large_V).mean())
    grows = mean_interval(
        sign_V * said.agreement_V, clusters, level=0.99, seed=request.seed, resamples=400
    )
    if grows.low is None or grows.low <= 0:
        return NOTHING
    clear = np.flatnonzero(strength_V >= np.quantile(strength_V, 1 - CLEAR))
    return agreement(said.at(clear), request)


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


def _opposed(said: SharedVerdicts) -> bool:
    """Whether verdicts on one pair differ more often than random labels would."""
    if len(said.row_V) < ENOUGH_REPEATED:
        return False
    clusters = said.item_V.tolist()
    agree = mean_interval(said.agreement_V, clusters, seed=0, resamples=400)
    return bool((agree.high if agree.high is not None else agree.value or 0.0) < SAME)


def _both_ways(
    data: Comparisons, said: SharedVerdicts, routes: Mapping[str, Estimate], request: CheckRequest
) -> Finding:
    """Where verdicts on a pair oppose each other more than chance would: no rate of flips says
    this, and no method takes one of a half.
    """
    agree = mean_interval(
        said.agreement_V, said.item_V.tolist(), level=request.level, seed=request.seed
    )
    pairs = int(said.pair_V.max()) + 1
    return Finding(
        "Label noise",
        Severity.PROBLEM,
        f"Two labels of one pair agree in {percent(agree)} of cases{span(agree)}, where random "
        f"ones would in 50%: {count(pairs, 'pair is', 'pairs are')} labeled against itself. Which "
        "side is right these rows do not say."
        if pairs == 1
        else f"Two labels of one pair agree in {percent(agree)} of cases{span(agree)}, where "
        f"random ones would in 50%: {pairs:,} pairs are labeled against themselves, and which "
        "side is right these rows do not say.",
        agree,
        "agreement of two labels of one pair",
        remedy="Find out how both labels of a pair came into the file, and keep the right one.",
        numbers={
            "flip_rate": None,
            "identified": False,
            "routes": {name: estimate.to_dict() for name, estimate in routes.items()},
            "agree": None,
            "model": None,
        },
    )


def _opinions(data: Comparisons, request: CheckRequest) -> Finding:
    """Many people on few prompts: what they differ on may be taste, which is no noise."""
    said, _ = independent_verdicts(data, seed=request.seed)
    agree = (
        mean_interval(
            said.agreement_V, said.rater_V.tolist(), level=request.level, seed=request.seed
        )
        if len(said.row_V) >= ENOUGH_REPEATED
        else NOTHING
    )
    agrees = (
        ""
        if agree.value is None
        else f" Two of them agree on a pair in {percent(agree)} of cases{span(agree)}."
    )
    return Finding(
        "Label noise",
        Severity.NOT_APPLICABLE,
        f"{count(len(data.rater.names), 'person', 'people')} answered "
        f"{count(len(data.prompt.names), 'prompt')}: these are opinions, which may differ without "
        f"a label being wrong, so no share of flipped labels is given.{agrees}",
        agree,
        "agreement of two people on one pair",
        numbers={
            "flip_rate": None,
            "identified": False,
            "opinions": True,
            "routes": {},
            "agree": None,
            "model": None,
        },
    )


def _best(routes: Mapping[str, Estimate], found: FlipRate | None) -> Estimate:
    sure = found is not None and found.identified
    told = next((routes[name] for name in (CLEAREST, RATERS, REPEATED) if name in routes), None)
    if told is None:
        return routes[MODEL] if sure else NOTHING
    return routes[MODEL] if sure and _below(routes[MODEL], told) else told


def _below(one: Estimate, other: Estimate) -> bool:
    return one.high is not None and other.low is not None and one.high < other.low


# ------------------------------------------------------------ what is said and shown


def _severity_of(best: Estimate, routes: Mapping[str, Estimate]) -> Severity:
    """Of rows that repeat a pair some may be copies, so few contradictions clear nothing."""
    severity = _severity(best)
    floor = severity is Severity.OK and best is routes.get(REPEATED)
    return Severity.INCONCLUSIVE if floor else severity


def _severity(best: Estimate) -> Severity:
    if best.low is None or best.high is None:
        return Severity.INCONCLUSIVE
    if best.low > SOME:
        return Severity.PROBLEM if best.low > MANY else Severity.WARNING
    return Severity.OK if best.high <= FEW else Severity.INCONCLUSIVE


def _says(best: Estimate, routes: Mapping[str, Estimate], found: FlipRate | None) -> str:
    if best.low is not None and best.high is not None:
        differ = _differ(routes)
        if differ and best is routes.get(MODEL):
            return (
                f"{differ}, mostly on close pairs: where the case is clear, "
                f"{percent(best.low, 0)} to {percent(best.high, 0)} are wrong."
            )
        if best is routes.get(CLEAREST):
            return (
                f"{differ}, mostly on close calls: of the {best.n:,} verdicts whose `strength` is "
                f"largest, {percent(best)}{span(best)}."
            )
        if best.low <= SOME and best.high > FEW:
            return (
                f"Whether labels are flipped is open: between {percent(best.low, 0)} and "
                f"{percent(best.high, 0)} of them may be."
            )
        if differ:
            return f"{differ}."
        rate = (
            f"About {percent(best)} of the labels{span(best)}"
            if best.low
            else f"At most {percent(best.high)} of the labels, perhaps none,"
        )
        return f"{rate} are flipped, judged by the disagreement left in clear cases."
    if found is None:
        return "There are too few comparisons to say how many labels are flipped."
    most = min(found.rate.ends[1], found.bound)
    return (
        "How many labels are flipped cannot be told from these rows"
        f"{f': at most {percent(most, 0)}' if most < NEARLY_COINS else ''}"
        f"{', perhaps none' if most < NEARLY_COINS and found.rate.ends[0] == 0 else ''}."
    )


def _differ(routes: Mapping[str, Estimate]) -> str:
    if RATERS in routes:
        return (
            "Raters of one pair go against what they would settle on in "
            f"{percent(routes[RATERS])} of verdicts{span(routes[RATERS])}"
        )
    if REPEATED in routes:
        return (
            "Rows that repeat a pair go against what they would settle on in "
            f"{percent(routes[REPEATED])} of cases{span(routes[REPEATED])}"
        )
    return ""


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
