"""The same two answers, judged more than once: how often the verdicts go both ways."""

from __future__ import annotations

from itertools import pairwise

import altair as alt
import numpy as np

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.agreement import are_opinions
from holdfast.checkup.present.wording import count, percent, span
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Example, Finding, FindingSpec, Severity
from holdfast.report import Chart, Table
from holdfast.stats.intervals import mean_interval

OPINIONS = " Many people answered few prompts: these are opinions, which may differ."
SOME, MANY = 0.02, 0.25  # shares of pairs of answers judged more than once


def contradictions(data: Comparisons, request: CheckRequest) -> Finding:
    """Of the unordered pairs of answers that were judged at least twice, the share with verdicts
    both ways.

    Also the chance that two verdicts on one pair disagree, which does not grow with the number of
    verdicts, and the same for verdicts of one rater: those cannot be a difference of preference.
    """
    title, of = "Contradictions", "share of pairs judged more than once that are labeled both ways"
    code_N, forward_N = data.pair.code_N, data.forward_N
    judged_P, forward_P = np.bincount(code_N), np.bincount(code_N, weights=forward_N)
    again_P = np.flatnonzero(judged_P > 1)
    what = "pair of names" if data.named else "pair of answers"
    many = "pairs of names" if data.named else "pairs of answers"
    if not len(again_P):
        says = f"No {what} was judged twice, so no label can contradict another."
        return Finding(
            title, Severity.NOT_APPLICABLE, says, numbers={"judged_again": 0, "both_ways": 0}
        )
    n_P, k_P = judged_P[again_P], forward_P[again_P]
    both_P = (k_P > 0) & (k_P < n_P)
    first_row_P = np.full(len(judged_P), -1)
    first_row_P[code_N[::-1]] = np.arange(len(data))[::-1]
    cluster_P = data.cluster_N[first_row_P[again_P]]
    share = mean_interval(both_P, cluster_P.tolist(), level=request.level, seed=request.seed)
    disagree_P = 2 * k_P * (n_P - k_P) / (n_P * (n_P - 1))
    disagree = mean_interval(disagree_P, cluster_P.tolist(), level=request.level, seed=request.seed)
    own = _own(data)
    low = share.low if share.low is not None else 0.0
    severity = Severity.PROBLEM if low > MANY else Severity.WARNING if low > SOME else Severity.OK
    opinions = are_opinions(data)
    if opinions:
        severity = Severity.OK  # people of different tastes, none of them wrong
    if data.named and severity is Severity.PROBLEM:
        severity = Severity.WARNING  # games end both ways without anyone being wrong
    worst = again_P[np.argsort(-np.minimum(k_P, n_P - k_P) - 0.5 * disagree_P)][:10]
    examples = [
        Example(
            int(first_row_P[p]),
            float(min(forward_P[p], judged_P[p] - forward_P[p])),
            _why(forward_P[p], judged_P[p]),
        )
        for p in worst
        if 0 < forward_P[p] < judged_P[p]
    ]
    said_own = (
        " Raters who judged the same pair again contradicted themselves in "
        f"{percent(own['share'])} of {own['pairs']:,} cases."
        if own["pairs"]
        else ""
    )
    whole = data.whole
    said_whole = (
        f" Over the whole file, {count(whole['both_ways'], what + ' is', many + ' are')} "
        "labeled both ways."
        if whole
        else ""
    )
    return Finding(
        title,
        severity,
        f"{count(len(again_P), what, many)} {'was' if len(again_P) == 1 else 'were'} "
        f"judged more than once; {percent(share)} of them are "
        f"labeled both ways{span(share)}. Two verdicts on one pair disagree in "
        f"{percent(disagree)} of cases.{said_own}{said_whole}"
        f"{OPINIONS if opinions else ''}",
        share,
        of,
        remedy=(
            "Collapse repeated verdicts into one row with `confidence`, the share of verdicts "
            "on its side."
        )
        if severity is not Severity.OK
        else "",
        cannot="In head-to-head results a win each way may be chance and no mistake."
        if data.named
        else "",
        numbers={
            "judged_again": len(again_P),
            "both_ways": int(both_P.sum()),
            "share": share.to_dict(),
            "two_disagree": disagree.to_dict(),
            "own": own,
        },
        charts=[_chart(n_P, k_P)],
        tables=[_table(n_P, both_P)],
        examples=examples,
    )


def _why(forward: float, judged: int) -> str:
    return f"labeled {int(max(forward, judged - forward))} to {int(min(forward, judged - forward))}"


def _own(data: Comparisons) -> dict[str, float | int | None]:
    """Pairs that one rater judged more than once, and the share of them that the rater judged both
    ways.
    """
    known_N = data.rater.code_N >= 0
    if not known_N.any():
        return {"pairs": 0, "share": None}
    both_N2 = np.column_stack([data.rater.code_N[known_N], data.pair.code_N[known_N]])
    _, code_N = np.unique(both_N2, axis=0, return_inverse=True)
    n, k = np.bincount(code_N), np.bincount(code_N, weights=data.forward_N[known_N])
    again = n > 1
    return {
        "pairs": int(again.sum()),
        "share": float(((k > 0) & (k < n))[again].mean()) if again.any() else None,
    }


def _table(n_P: np.ndarray, both_P: np.ndarray) -> Table:
    edges = [(2, 2, "2"), (3, 3, "3"), (4, 5, "4 to 5"), (6, 10, "6 to 10"), (11, 10**9, "more")]
    rows = [
        [name, int(inside.sum()), int(both_P[inside].sum()), float(both_P[inside].mean())]
        for low, high, name in edges
        if (inside := (n_P >= low) & (n_P <= high)).any()
    ]
    return Table(
        ["verdicts", "pairs", "labeled both ways", "share"],
        rows,
        "Pairs by how often they were judged",
    )


def _chart(n_P: np.ndarray, k_P: np.ndarray) -> Chart:
    """How one-sided the verdicts are, beside what random labels would give."""
    most_P = np.maximum(k_P, n_P - k_P) / n_P
    counts, edges = np.histogram(most_P[most_P < 1], bins=np.linspace(0.5, 1.0, 11))
    names = [f"{edge:.0%}" for edge in edges[:-1]]
    kinds = [
        *zip(
            names,
            [f"{low} to {high}" for low, high in pairwise([*names, "100%"])],
            counts,
            strict=True,
        )
    ]
    kinds.append(("all agree", "all agree", (most_P == 1).sum()))
    rows = [
        {"from": name, "side": side, "pairs": int(c), "share": float(c / len(n_P))}
        for name, side, c in kinds
    ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(cornerRadiusEnd=2)
        .encode(
            x=alt.X(
                "from:O",
                title="share of a pair's verdicts on its more popular side, from",
                sort=None,
                axis=alt.Axis(labelAngle=0),
            ),
            y=alt.Y("share:Q", title="share of pairs", axis=alt.Axis(format="%")),
            tooltip=[
                alt.Tooltip("side:N", title="on one side"),
                alt.Tooltip("pairs:Q", format=","),
                alt.Tooltip("share:Q", format=".1%"),
            ],
        )
        .properties(height=220)
    )
    unanimous = float((most_P == 1).mean())
    alt_text = f"{unanimous:.0%} of the pairs judged more than once are unanimous."
    return Chart(
        chart,
        "contradictions",
        "Pairs judged more than once: how one-sided their verdicts are.",
        alt_text,
    )


FINDING = FindingSpec("Is the same comparison labeled both ways?", contradictions)
