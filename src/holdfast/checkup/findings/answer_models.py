"""Who wrote the answers, and whether that alone tells which was chosen."""

from __future__ import annotations

import altair as alt
import numpy as np
from scipy import sparse

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.features import fit_logistic
from holdfast.checkup.present.wording import percent, span
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Example, Finding, FindingSpec, Severity
from holdfast.report import Chart, Table
from holdfast.stats.arrays import Floats, Ints
from holdfast.stats.cross_fitting import one_way_folds
from holdfast.stats.intervals import NOTHING, Estimate, mean_interval

TELLING, ALL_BUT = 0.75, 0.9  # shares of labels that the names alone may predict
SHOWN = 20


def answer_models(data: Comparisons, request: CheckRequest) -> Finding:
    """How often the writers' names alone predict the label, by a Bradley-Terry model of the names
    fitted to other prompts.

    If they nearly always do, a model trained on these pairs may learn whose style to copy, and not
    what made the answer better. The share is that of a model fitted to two fifths of the rows (see
    `one_way`, which says why its interval holds).
    """
    title, of = "Who wrote the answers", "share of labels that the writers' names alone predict"
    if data.named or data.models_N2 is None:
        why = (
            "These are head-to-head results between the models themselves."
            if data.named
            else "The rows do not say which model wrote which answer."
        )
        cannot = (
            ""
            if data.named
            else "Columns `chosen_model` and `rejected_model` would tell whether the writer "
            "predicts the label."
        )
        return Finding(title, Severity.NOT_APPLICABLE, why, cannot=cannot)
    models_N2, names = data.models_N2
    known_N = (models_N2 >= 0).all(axis=1)
    differ_N = known_N & (models_N2[:, 0] != models_N2[:, 1])
    share_same = float((known_N & ~differ_N).sum() / max(1, known_N.sum()))
    right_N, places = predicted(data, request.seed)
    guess = (
        mean_interval(
            right_N, data.cluster_N[places].tolist(), level=request.level, seed=request.seed
        )
        if len(places)
        else NOTHING
    )
    low = guess.low if guess.low is not None else 0.0
    severity = (
        Severity.PROBLEM if low > ALL_BUT else Severity.WARNING if low > TELLING else Severity.OK
    )
    wins = _wins(data, models_N2[differ_N], np.flatnonzero(differ_N), names, request)
    best, worst = (wins[0], wins[-1]) if len(wins) > 1 else (None, None)
    says = (
        f"{len(names):,} models wrote the answers; both answers of a pair are one model's in "
        f"{percent(share_same)} of the pairs."
    )
    if len(places):
        says += (
            f" Of the others, the names alone predict {percent(guess)} of the labels{span(guess)}."
        )
    if best and worst:
        says += (
            f" {best[0]} wins most often ({percent(best[1])}), {worst[0]} least "
            f"({percent(worst[1])})."
        )
    wrong = places[np.argsort(right_N, kind="stable")[:5]].tolist()
    return Finding(
        title,
        severity,
        says,
        guess,
        of,
        remedy="Compare answers of one model with each other, or balance who stands on which side."
        if severity is not Severity.OK
        else "",
        cannot=(
            "A better model is chosen more often for good reasons too: this says how much the "
            "name alone gives away, not that the "
            "labels are wrong."
        )
        if severity is not Severity.OK
        else "",
        numbers={
            "models": len(names),
            "same_model": share_same,
            "predicted": guess.to_dict(),
            "wins": {str(name): value for name, value, *_ in wins},
        },
        charts=[_chart(wins)] if wins else [],
        tables=[
            Table(
                ["model", "wins", "low", "high", "pairs"],
                [list(row) for row in wins],
                "Share of pairs won against other models",
            )
        ],
        examples=[Example(int(i), 1.0, "the model that usually loses was chosen") for i in wrong],
    )


def predicted(data: Comparisons, seed: int) -> tuple[Floats, Ints]:
    """Whether names predict each label between two models (one half where they do not know), and
    the places of these rows.
    """
    assert data.models_N2 is not None
    models_N2, names = data.models_N2
    places = np.flatnonzero((models_N2 >= 0).all(axis=1) & (models_N2[:, 0] != models_N2[:, 1]))
    if len(places) < 2:
        return np.zeros(0), places[:0]
    rows = np.arange(len(places))
    x_NK = sparse.csr_matrix(
        (np.repeat([1.0, -1.0], len(places)), (np.tile(rows, 2), models_N2[places].T.ravel())),
        shape=(len(places), len(names)),
    )
    logit_N = np.zeros(len(places))
    for fitted, judged in one_way_folds(data.cluster_N[places], seed=seed):
        logit_N[judged] = x_NK[judged] @ fit_logistic(x_NK[fitted], c=1.0, seed=seed)
    return np.where(np.abs(logit_N) < 1e-12, 0.5, logit_N > 0), places


def _wins(
    data: Comparisons, models_M2: Ints, places: Ints, names: tuple[str, ...], request: CheckRequest
) -> list[tuple[str, float, float | None, float | None, int]]:
    """(name, share won, low, high, pairs) of each model, best first."""
    rows = []
    counts = np.bincount(models_M2.ravel(), minlength=len(names))
    for code in np.argsort(-counts)[:SHOWN]:
        met = (models_M2 == code).any(axis=1)
        if met.any():
            clusters = data.cluster_N[places[met]].tolist()
            share: Estimate = mean_interval(
                models_M2[met, 0] == code,
                clusters,
                level=request.level,
                seed=request.seed,
                resamples=200,
            )
            rows.append(
                (names[code], float(share.value or 0.0), share.low, share.high, int(met.sum()))
            )
    return sorted(rows, key=lambda row: -row[1])


def _chart(wins: list[tuple[str, float, float | None, float | None, int]]) -> Chart:
    rows = [
        {
            "name": n,
            "value": v,
            "low": v if lo is None else lo,
            "high": v if hi is None else hi,
            "pairs": p,
        }
        for n, v, lo, hi, p in wins
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y(
            "name:N", sort=[row["name"] for row in rows], title=None, axis=alt.Axis(labelLimit=240)
        ),
        tooltip=[
            "name:N",
            alt.Tooltip("value:Q", format=".1%"),
            alt.Tooltip("pairs:Q", format=","),
        ],
    )
    axis = alt.X(
        "low:Q",
        title="share of its pairs that the model won",
        axis=alt.Axis(format="%"),
        scale=alt.Scale(domain=[0, 1]),
    )
    half = (
        alt.Chart(alt.Data(values=[{"at": 0.5}]))
        .mark_rule(strokeDash=[5, 4], color="#888888")
        .encode(x="at:Q")
    )
    bars = base.mark_rule(strokeWidth=3, opacity=0.5).encode(x=axis, x2="high:Q")
    dots = base.mark_point(filled=True, opacity=1).encode(
        x="value:Q", size=alt.Size("pairs:Q", legend=None, scale=alt.Scale(range=[50, 300]))
    )
    said = "; ".join(f"{row['name']} {row['value']:.0%}" for row in rows)
    chart = alt.layer(half, bars, dots).properties(height=24 * max(3, len(rows)))
    return Chart(
        chart,
        "answer_models",
        "How often each model's answer was chosen over another model's. A larger dot "
        "stands for more pairs.",
        said,
    )


FINDING = FindingSpec("Does the name of the writer give the label away?", answer_models)
