"""How reliable the raters are, whether they differ, and who contradicts the rest."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import Any

import altair as alt
import numpy as np

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.agreement import (
    SharedVerdicts,
    are_opinions,
    exchangeable,
    item,
)
from holdfast.checkup.estimators.copies import Copies, independent_verdicts
from holdfast.checkup.estimators.flip_rate import by_models, design_effect
from holdfast.checkup.estimators.rater_habits import Place, one_place, self_preferences
from holdfast.checkup.estimators.reliability import (
    Apart,
    Reliabilities,
    Scores,
    differ,
    reliabilities,
)
from holdfast.checkup.present.wording import count, percent, span
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Example, Finding, FindingSpec, Severity
from holdfast.report import Chart, Table
from holdfast.report.charts import PALETTE
from holdfast.report.marks import intervals
from holdfast.stats.arrays import Floats, Ints
from holdfast.stats.intervals import NOTHING, Estimate, mean_interval
from holdfast.text.codes import Coded

ENOUGH = 60  # verdicts, from which raters are compared
WORTH = 0.03  # a spread of reliabilities below this changes nothing that one would do
# p of two questions together (do raters differ, does one stand out) below which it is flagged
SURE = 0.04
# share of verdicts, by raters who are wrong more often than right, from which it is a PROBLEM
CONTRARY = 0.05
MANY_VOTES = 50_000
SHOWN, DRAWN = 30, 25
BY_VOTES, BY_MODEL = (
    "raters who judged the same pair",
    "a preference model that never saw the verdict",
)


def raters(data: Comparisons, request: CheckRequest) -> Finding:
    """Reliability a_r = P(rater r takes the right side), and a test by exchange of whether raters
    differ.

    The right side is what the pair's raters would settle on, or, where no pair was judged twice,
    what a cross-fitted preference model is calibrated to say, as long as its flip rate is
    identified.
    """
    if data.rater.given == 0:
        return Finding("Raters", Severity.NOT_APPLICABLE, "The rows do not say who judged them.")
    if len(data.rater.names) < 2:
        alone = Finding(
            "Raters",
            Severity.NOT_APPLICABLE,
            "All verdicts are by one rater.",
            numbers={"raters": 1, "differ": None},
        )
        return _with_habits(data, alone, [], [], request)
    found, copies = independent_verdicts(data, seed=request.seed)
    places = one_place(data)
    named = {place.rater for place in places}
    finding = (
        _by_votes(data, found, named, request)
        if len(found.row_V) >= ENOUGH
        else _by_model(data, request)
    )
    return _with_habits(data, finding, copies, places, request)


def _with_habits(
    data: Comparisons,
    finding: Finding,
    copies: Sequence[Copies],
    places: Sequence[Place],
    request: CheckRequest,
) -> Finding:
    """The finding, and before it what is sure of single raters whatever the others' reliability."""
    judges = self_preferences(data, level=request.level, seed=request.seed)
    partial = [judge for judge in judges if judge.partial]
    said, remedies = [], []
    for c in copies[:3]:
        if c.sure:
            said.append(
                f"{_short(c.one)} and {_short(c.other)} are one rater: they differ on {c.differ:,} "
                f"of the {count(c.shared, 'pair')} that both judged, where independent raters of "
                f"their error rates would on about {c.expected:,.0f}. They are counted once."
            )
        else:
            said.append(
                f"{_short(c.one)} and {_short(c.other)} may be one rater: they differ on "
                f"{c.differ:,} of the {count(c.shared, 'pair')} that both judged, and from the "
                "other raters far more often. They are counted once."
            )
    if copies:
        remedies.append("Count raters who are copies of each other once.")
    for place in places[:3]:
        side = "first" if place.first else "second"
        said.append(
            f"{_short(place.rater)} takes the answer shown {side} in {place.taken:,} of "
            f"{count(place.verdicts, 'verdict')}, whatever it says."
        )
    if places:
        few = ", ".join(_short(place.rater) for place in places[:3])
        remedies.append(f"Leave out the verdicts of {few}: they follow the place.")
    for judge in partial[:3]:
        measure = (
            "no other rater judged the same models, so a judge that writes better answers is not "
            "told from one that is partial"
            if judge.expected is None
            else f"raters who wrote neither take it in {percent(judge.expected)} of "
            f"{count(judge.others, 'verdict')}"
        )
        said.append(
            f"The judge {_short(judge.judge)} wrote one answer of {count(judge.own.n, 'pair')} and "
            f"takes its own in {percent(judge.own)} of them{span(judge.own)}; {measure}."
        )
    if partial:
        remedies.append("Have pairs that a judge wrote half of judged by another.")
    habits = {
        "copies": [c.to_dict() for c in copies],
        "one_place": [
            {"rater": p.rater, "first": p.first, "taken": p.taken, "verdicts": p.verdicts}
            for p in places
        ],
        "self_preference": [
            {"judge": j.judge, "own": j.own.to_dict(), "expected": j.expected, "partial": j.partial}
            for j in judges
        ],
    }
    numbers = {**finding.numbers, **habits}
    if not said:
        return replace(finding, numbers=numbers)
    sure = places or partial or any(c.sure for c in copies)
    severity = finding.severity
    if severity is not Severity.PROBLEM and (sure or severity is not Severity.WARNING):
        severity = Severity.WARNING if sure else Severity.INCONCLUSIVE
    keep = [finding.remedy] if finding.severity in (Severity.WARNING, Severity.PROBLEM) else []
    return replace(
        finding,
        severity=severity,
        says=" ".join([*said, finding.says]),
        remedy=" ".join([*remedies, *filter(None, keep)]),
        numbers=numbers,
    )


# ------------------------------------------------------------ two routes


def _by_votes(
    data: Comparisons, found: SharedVerdicts, named: Set[str], request: CheckRequest
) -> Finding:
    agreement_V = found.agreement_V
    agree = mean_interval(
        agreement_V, found.item_V.tolist(), level=request.level, seed=request.seed
    )
    parts = _parts(data, found, agreement_V, request)
    said = f"Two raters of the same pair agree in {percent(agree)} of cases{span(agree)}."
    numbers: dict[str, Any] = {
        "raters": len(found.raters),
        "by": BY_VOTES,
        "differ": None,
        "parts": parts,
    }
    numbers |= {"agreement": agree.to_dict(), "alpha": _alpha(agree).to_dict()}
    if len(found.raters) < 3:
        severity = (
            Severity.OK if agree.low is not None and agree.low > 0.9 else Severity.INCONCLUSIVE
        )
        cannot = (
            "With two raters, their agreement says how reliable they are together, not which "
            "of them errs. A third rater would."
        )
        return Finding(
            "Raters",
            severity,
            said,
            agree,
            "agreement of raters",
            cannot=cannot,
            numbers=numbers | {"differ": None, "by": BY_VOTES},
        )
    effect = design_effect(
        _centered(agreement_V, found.rater_V),
        found.rater_V * (int(found.block_V.max()) + 1) + found.block_V,
    )
    scores = reliabilities(
        found.forward_V,
        found.pair_V,
        found.rater_V,
        len(found.raters),
        effect=effect,
        level=request.level,
        seed=request.seed,
    )
    apart = differ(
        exchangeable(found, data.source),
        len(found.raters),
        resamples=_resamples(len(found.row_V)),
        seed=request.seed,
    )
    finding = _finding(
        data,
        found.row_V,
        found.rater_V,
        found.raters,
        scores,
        apart,
        request,
        said,
        agree,
        numbers,
        named,
    )
    if are_opinions(data) and finding.severity in (Severity.WARNING, Severity.PROBLEM):
        return replace(
            finding,
            severity=Severity.INCONCLUSIVE,
            says=f"{said} The {count(len(found.raters), 'person', 'people')} differ beyond chance "
            "in how often they share the others' opinion. On "
            f"{count(len(data.prompt.names), 'prompt')} that may be taste: nobody is unreliable "
            "for it.",
            remedy="",
            numbers={**finding.numbers, "differ": None, "stand_out": []},
        )
    blocks = np.unique(np.stack([found.rater_V, found.block_V]), axis=1).shape[1]
    if finding.severity is Severity.OK and blocks == len(found.raters):
        return replace(
            finding,
            severity=Severity.INCONCLUSIVE,
            says=f"{said} Each of the {count(len(found.raters), 'rater')} judged answers to one "
            "prompt, so one who errs is not told from one of another opinion.",
            remedy="",
        )
    return finding


def _by_model(data: Comparisons, request: CheckRequest) -> Finding:
    """Each verdict is held against p(right) of the calibrated model: the expectation-maximization
    of per-rater reliabilities, sampled.
    """
    row_V = np.flatnonzero(data.rater.code_N >= 0)
    rater_V, names = data.rater.code_N[row_V], tuple(map(str, data.rater.names))
    cannot = (
        "No pair was judged by two raters, and these answers do not let a model of cheap "
        "features be sure of many pairs. "
        "What would tell: some 20 pairs that every rater judges."
    )
    numbers: dict[str, Any] = {
        "raters": len(names),
        "by": BY_MODEL,
        "agreement": None,
        "alpha": None,
        "differ": None,
    }
    nothing = (
        f"{count(len(names), 'rater')}, and no pair that two of them judged: how reliable "
        "each is cannot be told."
    )
    if len(row_V) < ENOUGH:
        return Finding("Raters", Severity.INCONCLUSIVE, nothing, cannot=cannot, numbers=numbers)
    noise = by_models(data, level=request.level, seed=request.seed)
    right_N = np.clip(noise.sided(noise.z_N), 1e-6, 1 - 1e-6)
    apart = differ(
        _by_sureness(data, row_V, rater_V, noise.z_N),
        len(names),
        resamples=_resamples(len(row_V)),
        seed=request.seed,
    )
    numbers["p"] = apart.p
    if not noise.identified:
        return Finding("Raters", Severity.INCONCLUSIVE, nothing, cannot=cannot, numbers=numbers)
    side_V = np.log(right_N[row_V]) - np.log1p(-right_N[row_V])
    scores = reliabilities(
        np.ones(len(row_V)),
        np.arange(len(row_V)),
        rater_V,
        len(names),
        side_P=side_V,
        level=request.level,
        seed=request.seed,
    )
    low, high = noise.rate.ends
    scores = _widened(scores, high - noise.rate.point, noise.rate.point - low)
    said = "No pair was judged twice, so verdicts are held against a model of the others'."
    return _finding(data, row_V, rater_V, names, scores, apart, request, said, NOTHING, numbers)


def _widened(scores: Reliabilities, down: float, up: float) -> Reliabilities:
    """With the doubt about the model's own scale, which all raters share, added in squares: how far
    its flip rate may lie off.
    """

    def wide(value: Any, low: Any, high: Any) -> tuple[Any, Any]:
        return np.maximum(value - np.hypot(value - low, down), 0.0), np.minimum(
            value + np.hypot(high - value, up), 1.0
        )

    low_R, high_R = wide(scores.value_R, scores.low_R, scores.high_R)
    low, high = map(float, wide(*scores.mean))
    return scores._replace(low_R=low_R, high_R=high_R, mean=(scores.mean[0], low, high))


def _by_sureness(data: Comparisons, row_V: Ints, rater_V: Ints, logit_N: Floats) -> Scores:
    """Whether a label takes the model's side could as well be another rater's, among rows of one
    source of which the model is as sure.
    """
    sure_V = np.abs(logit_N[row_V])
    bins = max(1, min(20, len(row_V) // 50))
    bin_V = np.argsort(np.argsort(sure_V)) * bins // len(row_V)
    item_V = item(data, rater_V, row_V, np.arange(len(row_V)))
    one = np.unique(np.stack([rater_V, item_V]), axis=1, return_index=True)[
        1
    ]  # rows of one prompt by one rater are not independent
    pool_V = (data.source.code_N[row_V] + 1) * bins + bin_V
    return Scores(
        (logit_N[row_V] > 0).astype(float)[one], pool_V[one], np.arange(len(one)), rater_V[one]
    )


def _resamples(n: int) -> int:
    return 400 if n <= MANY_VOTES else 100


def _centered(agreement_V: Floats, rater_V: Ints) -> Floats:
    return np.asarray(
        agreement_V
        - (np.bincount(rater_V, weights=agreement_V) / np.maximum(np.bincount(rater_V), 1))[rater_V]
    )


def _alpha(agree: Estimate) -> Estimate:
    """Krippendorff's alpha, 1 - D_o / D_e; which side of a pair is named first says nothing, so
    chance agreement is one half.
    """
    value, low, high = (
        None if x is None else 2 * x - 1 for x in (agree.value, agree.low, agree.high)
    )
    return Estimate(value, low, high, agree.n, agree.clusters, agree.method, agree.level)


def _parts(
    data: Comparisons, found: SharedVerdicts, agreement_V: Floats, request: CheckRequest
) -> dict[str, Any]:
    """Agreement by known group and source, and within and across groups."""

    def over(value_V: Floats) -> Estimate:
        return mean_interval(
            value_V, found.item_V.tolist(), level=request.level, seed=request.seed, resamples=400
        )

    parts: dict[str, Any] = {}
    columns: dict[str, Coded] = {"group": data.group, "source": data.source}
    for name, column in columns.items():
        code_V = column.code_N[found.row_V]
        sizes = np.bincount(code_V[code_V >= 0], minlength=len(column.names))
        if (sizes >= ENOUGH).sum() < 2:
            continue
        largest = [int(k) for k in np.argsort(-sizes)[:12] if sizes[k] >= ENOUGH]
        parts[name] = {
            str(column.names[k]): over(np.where(code_V == k, agreement_V, np.nan)).to_dict()
            for k in largest
        }
        within_V, across_V = (
            found.agreement_within(code_V + 1, outside=outside) for outside in (False, True)
        )
        gap = over(np.where(code_V >= 0, within_V - across_V, np.nan))
        if gap.n >= ENOUGH:
            parts[f"{name}: within less across"] = gap.to_dict()
    return parts


# ------------------------------------------------------------ what is said and shown


def _finding(
    data: Comparisons,
    row_V: Ints,
    rater_V: Ints,
    names: Sequence[str],
    scores: Reliabilities,
    apart: Apart,
    request: CheckRequest,
    said: str,
    agree: Estimate,
    numbers: dict[str, Any],
    named: Set[str] = frozenset(),
) -> Finding:
    """`named` are raters of whom it is said already why they stand out."""
    n_R = np.bincount(rater_V, minlength=len(names))
    told = apart.p_either < SURE
    apart_at_all = told and apart.p < SURE and scores.spread[0] >= WORTH
    stand_out = np.flatnonzero((apart.p_low_R < SURE) & (n_R > 0) & told)
    contrary = (
        np.flatnonzero((scores.high_R < 0.5) & (n_R > 0))
        if apart_at_all or len(stand_out)
        else np.zeros(0, np.int64)
    )
    low = [int(r) for r in np.unique(np.concatenate([stand_out, contrary])) if n_R[r]]
    low.sort(key=lambda r: float(scores.value_R[r]))
    told_R = [r for r in low if names[r] not in named]
    share = float(n_R[told_R].sum() / len(row_V))
    against = float(n_R[contrary].sum() / len(row_V))
    severity = Severity.OK
    if apart_at_all or low:
        severity = Severity.PROBLEM if against > CONTRARY else Severity.WARNING
    mean = Estimate(*scores.mean, len(row_V), len(names), "one-coin model, sampled", request.level)
    shown = [
        {
            "rater": names[r],
            "verdicts": int(n_R[r]),
            "value": v,
            "low": lo,
            "high": hi,
            "p": float(apart.p_low_R[r]),
        }
        for r, v, lo, hi in zip(
            range(len(names)),
            scores.value_R.tolist(),
            scores.low_R.tolist(),
            scores.high_R.tolist(),
            strict=True,
        )
        if n_R[r]
    ]
    shown.sort(key=lambda row: row["value"])
    numbers |= {
        "differ": bool(apart_at_all or low),
        "p": apart.p,
        "reliability": mean.to_dict(),
        "spread": dict(zip(("value", "low", "high"), scores.spread, strict=True)),
        "stand_out": [names[r] for r in low],
        "contrary_share": against,
        "by_rater": shown if len(shown) <= 200 else shown[:100] + shown[-100:],
    }
    return Finding(
        "Raters",
        severity,
        f"{said} {_sentence(names, told_R, share, scores, bool(apart_at_all), n_R)}",
        mean if agree.value is None else agree,
        "reliability of a rater"
        if agree.value is None
        else "agreement of two raters of the same pair",
        remedy=_remedy(names, told_R, bool(apart_at_all or low)),
        cannot=(
            "A rater who contradicts the rest may be careless or may have a preference of his own: "
            "agreement alone cannot tell. See preference subgroups."
        ),
        numbers=numbers,
        charts=_charts(shown, scores),
        tables=_tables(shown, numbers),
        examples=_examples(data, row_V, rater_V, names, scores),
    )


def _sentence(
    names: Sequence[str],
    low: Sequence[int],
    share: float,
    scores: Reliabilities,
    apart: bool,
    n_R: Ints,
) -> str:
    seen = scores.value_R[n_R > 0]
    if not apart and not low:
        there = count(int((n_R > 0).sum()), "rater")
        mean, least, most = (percent(end, 0) for end in scores.mean)
        return (
            f"The {there} do not differ in reliability beyond chance: they are right in "
            f"{mean} of cases ({least} to {most})."
        )
    ends = (percent(float(np.quantile(seen, q)), 0) for q in (0.05, 0.95))
    spread = "Raters differ in reliability, from {} to {}.".format(*ends)
    if not low:
        return spread
    verb = "agrees" if len(low) == 1 else "agree"
    few = ", ".join(_short(names[r]) for r in low[:3]) + (
        f" and {len(low) - 3} more" if len(low) > 3 else ""
    )
    return (
        f"{spread} {few}, with {percent(share)} of verdicts, {verb} with the rest less than "
        f"chance allows.{_reversed(names, low, scores)}"
    )


def _reversed(names: Sequence[str], low: Sequence[int], scores: Reliabilities) -> str:
    """Raters who are wrong about as often as the others are right."""
    turned = [r for r in low if scores.high_R[r] < 0.5 and 1 - scores.low_R[r] >= scores.mean[1]]
    if not turned:
        return ""
    few = ", ".join(_short(names[r]) for r in turned[:3])
    wrong = ", ".join(percent(1 - float(scores.value_R[r]), 0) for r in turned[:3])
    return (
        f" {few} {'takes' if len(turned) == 1 else 'take'} the other side in {wrong} of cases, as "
        "if the scale were reversed."
    )


def _short(name: str) -> str:
    return name if len(name) <= 30 else name[:29] + "\u2026"


def _remedy(names: Sequence[str], low: Sequence[int], differ: bool) -> str:
    if not differ:
        return ""
    if not low:
        return "Weigh verdicts by who gave them, or have the least reliable raters' judged again."
    few = ", ".join(_short(names[r]) for r in low[:3]) + (", ..." if len(low) > 3 else "")
    return (
        f"Look at what {few} said, and have it judged again, or leave it out, unless it is a "
        "preference that counts."
    )


def _charts(shown: Sequence[dict[str, Any]], scores: Reliabilities) -> list[Chart]:
    busy = sorted(shown, key=lambda row: -row["verdicts"])
    few = sorted(
        {id(row): row for row in [*shown[: DRAWN // 2], *busy[: DRAWN - DRAWN // 2]]}.values(),
        key=lambda row: row["value"],
    )
    names = [_short(row["rater"]) for row in few]
    points = [
        {"name": name, **{key: row[key] for key in ("value", "low", "high")}}
        for name, row in zip(names, few, strict=True)
    ]
    which = (
        ""
        if len(few) == len(shown)
        else f" The least reliable, and those with most verdicts, of {len(shown):,}."
    )
    caption = (
        "How often a rater takes the right side, with 95% intervals; the dashed line is the "
        f"average.{which}"
    )
    chart = intervals(
        points, names=names, title="reliability", percent=True, mark_at=scores.mean[0]
    )
    charts = [
        Chart(chart, "raters-reliability", caption, "A point and an interval for each rater.")
    ]
    if len(shown) > DRAWN:
        bars = alt.Chart(alt.Data(values=_histogram(shown))).mark_bar(color=PALETTE[0])
        bars = bars.encode(
            x=alt.X("from:Q", bin="binned", title="reliability", axis=alt.Axis(format="%")),
            x2="to:Q",
            y=alt.Y("raters:Q", title="raters"),
        )
        charts.append(
            Chart(
                bars.properties(height=200),
                "raters-spread",
                f"The reliabilities of all {len(shown):,} raters.",
            )
        )
    return charts


def _histogram(shown: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    heights, edges = np.histogram([row["value"] for row in shown], bins=np.linspace(0, 1, 41))
    return [
        {"from": float(a), "to": float(b), "raters": int(n)}
        for a, b, n in zip(edges[:-1], edges[1:], heights, strict=True)
        if n
    ]


def _tables(shown: Sequence[dict[str, Any]], numbers: dict[str, Any]) -> list[Table]:
    rows = [
        [
            _short(row["rater"]),
            row["verdicts"],
            *(percent(row[key]) for key in ("value", "low", "high")),
        ]
        for row in shown[:SHOWN]
    ]
    tables = [
        Table(["rater", "verdicts", "reliability", "low", "high"], rows, "The least reliable first")
    ]
    parts = [
        [column, name, percent(e["value"]), percent(e["low"]), percent(e["high"]), e["n"]]
        for column, by in numbers.get("parts", {}).items()
        if "value" not in by
        for name, e in by.items()
    ]
    parts += [
        [column, "", percent(e["value"]), percent(e["low"]), percent(e["high"]), e["n"]]
        for column, e in numbers.get("parts", {}).items()
        if "value" in e
    ]
    if parts:
        tables.append(
            Table(
                ["column", "value", "agreement", "low", "high", "verdicts"],
                parts,
                "Agreement with the pair's other raters",
            )
        )
    return tables


def _examples(
    data: Comparisons, row_V: Ints, rater_V: Ints, names: Sequence[str], scores: Reliabilities
) -> list[Example]:
    order = [int(v) for v in np.argsort(scores.right_N)[:20] if scores.right_N[v] < 0.5]
    return [
        Example(
            int(row_V[v]),
            float(1 - scores.right_N[v]),
            f"{_short(names[rater_V[v]])}'s verdict is right with a chance of "
            f"{percent(float(scores.right_N[v]), 0)}",
        )
        for v in order
    ]


FINDING = FindingSpec("How reliable are the raters?", raters)
