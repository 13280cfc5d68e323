"""How well chosen and rejected answers can be told apart by surface alone, and by which part of
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
from scipy import sparse
from scipy.stats import rankdata
from scipy.stats import t as student

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.features import COUNTED, SURFACE, surface_2ND, words_2NV
from holdfast.checkup.present.wording import percent, span
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Example, Finding, FindingSpec, Severity
from holdfast.report import Chart, Table
from holdfast.report.marks import intervals
from holdfast.stats.arrays import Floats, Ints
from holdfast.stats.cross_fitting import FOLDS, one_way_folds
from holdfast.stats.intervals import NOTHING, Estimate, mean_interval

TELLING, ALL_BUT = 0.75, 0.9  # shares of pairs that surface alone puts in order
PROBED = 20_000  # comparisons that probes are fitted to
FEWEST = 20
MATCHED = 0.1  # log length ratio up to which two answers count as equally long
SIZE = ("length", "words")  # the features that are length under other names
STYLE = 50  # pairs of one writer from which a control is made
PROBES = {
    "length": "length alone",
    "format": "format without length",
    "surface": "length and format",
    "words": "words (linear)",
    "writer": "writer's name",
}


@dataclass(frozen=True)
class Probed:
    """What a linear probe says of answers of prompts it has not seen."""

    score_2N: Floats  # of chosen and rejected
    paired: Estimate  # share of pairs in which the chosen answer scores higher
    auc: Estimate  # the chance that a chosen answer scores higher than a rejected one of any prompt

    def to_dict(self) -> dict[str, Any]:
        return {"paired": self.paired.to_dict(), "auc": self.auc.to_dict()}


def separability(data: Comparisons, request: CheckRequest) -> Finding:
    """Logistic probes that see one answer and say whether it was chosen, fitted on other prompts
    (Pan et al. 2025, "More is Less").

    Chance is one half, for the share of pairs put in order (paired accuracy) and for the AUC over
    single answers. Answers that differ in quality can be told apart too, and should: so what counts
    is what a probe of form alone can do, without words, and whether answers of one and the same
    writer can still be told apart.

    Shares and areas are those of such a probe fitted to two fifths of the examined rows (see
    `one_way`, which says why their intervals hold): more rows would teach it more, and the best
    that any probe could do is higher still.
    """
    title, of = "Told apart by surface", "share of pairs that length and format alone put in order"
    if data.named:
        return Finding(
            title,
            Severity.NOT_APPLICABLE,
            "These are head-to-head results between names; there are no answers to look at.",
        )
    places = sampled_places(data.cluster_N, PROBED, request.seed)
    cluster_M = data.cluster_N[places]
    if len(places) < FEWEST or len(np.unique(cluster_M)) < 2 * FOLDS:
        return Finding(
            title,
            Severity.INCONCLUSIVE,
            f"{len(places)} comparisons are too few to fit a probe to.",
            cannot=f"{FEWEST} at least would do.",
        )
    found = {name: probe(x, cluster_M, request) for name, x in _inputs(data, places).items()}
    control = _controls(data, places, found, request)
    features = _features(data, places, request)
    surface, words = found["surface"].paired, found["words"].paired if "words" in found else NOTHING
    low = surface.low or 0.0
    severity = (
        Severity.PROBLEM
        if low > ALL_BUT
        else Severity.WARNING
        if low > TELLING or (words.low or 0.0) > ALL_BUT
        else Severity.OK
    )
    often = [f for f in features if f["pairs"] >= 0.1 * len(places)]
    top = sorted(often, key=lambda f: -abs(f["value"] - 0.5))[:2]
    says = f"Length and format alone put {percent(surface)} of the pairs in order{span(surface)}"
    says += f", their words {percent(words)}{span(words)}." if words.value is not None else "."
    told = [f for f in top if f["low"] is not None and (f["low"] > 0.5 or f["high"] < 0.5)]
    if told:
        says += (
            " What tells most: "
            + "; ".join(
                f"{f['name']} (the chosen answer has more in {percent(f['value'], 0)})"
                for f in told
            )
            + "."
        )
    if control["one_writer"]["value"] is not None:
        says += (
            " Between answers of one writer words manage "
            f"{percent(control['one_writer']['value'])}."
        )
    margin_M = found["surface"].score_2N[0] - found["surface"].score_2N[1]
    examples = [
        Example(int(places[m]), float(margin_M[m]), _why(data, int(places[m])))
        for m in np.argsort(-margin_M)[:6]
    ]
    return Finding(
        title,
        severity,
        says,
        surface,
        of,
        remedy=(
            "Balance the surface: draw both answers from one model with the same settings, or "
            "match their length and format."
        )
        if severity is not Severity.OK
        else "",
        cannot=(
            "A probe cannot say whether surface is what people liked or only goes with it: "
            "judge pairs that are matched in it."
        )
        if severity is not Severity.OK
        else "",
        numbers={name: p.to_dict() for name, p in found.items()}
        | {"features": features, "controls": control, "probed": len(places)},
        charts=[_chart(found), _feature_chart(features)],
        tables=[_table(found, control), *_telling_words(data, places, request)],
        examples=examples,
    )


# ------------------------------------------------------------ probes


def sampled_places(cluster_N: Ints, most: int, seed: int) -> Ints:
    """Places of whole clusters drawn at random, about `most` of them."""
    if len(cluster_N) <= most:
        return np.arange(len(cluster_N))
    order = np.random.default_rng(seed).permutation(int(cluster_N.max()) + 1)
    sizes = np.bincount(cluster_N, minlength=len(order))[order]
    kept = order[: max(2 * FOLDS, int(np.searchsorted(np.cumsum(sizes), most)))]
    return np.flatnonzero(np.isin(cluster_N, kept))


def probe(x_2ND: tuple[Any, Any], cluster_N: Ints, request: CheckRequest) -> Probed:
    """A logistic probe of single answers, fitted and judged one way: `x_2ND` are the features of
    the chosen and of the rejected ones.
    """
    from sklearn.linear_model import LogisticRegression

    stack = sparse.vstack if sparse.issparse(x_2ND[0]) else np.concatenate
    score_2N = np.zeros((2, len(cluster_N)))
    for fitted, judged in one_way_folds(cluster_N, seed=request.seed):
        side_M = np.repeat([1, 0], len(fitted))
        model = LogisticRegression(C=0.3, max_iter=200, tol=1e-3).fit(
            stack([x[fitted] for x in x_2ND]), side_M
        )
        for side, x in enumerate(x_2ND):
            score_2N[side, judged] = model.decision_function(x[judged])
    right_N = np.where(score_2N[0] == score_2N[1], 0.5, score_2N[0] > score_2N[1])
    paired = mean_interval(right_N, cluster_N.tolist(), level=request.level, seed=request.seed)
    return Probed(score_2N, paired, auc_of(score_2N, cluster_N, level=request.level))


def auc_of(score_2N: Floats, cluster_N: Ints, *, level: float) -> Estimate:
    """The area under the ROC curve of chosen against rejected, with a cluster-robust interval
    (DeLong et al. 1988; Obuchowski 1997).
    """
    n = score_2N.shape[1]
    ranks = rankdata(score_2N.ravel())
    above_N = (
        ranks[:n] - rankdata(score_2N[0])
    ) / n  # share of rejected answers below each chosen one
    below_N = 1 - (ranks[n:] - rankdata(score_2N[1])) / n
    auc = float(above_N.mean())
    _, code_N = np.unique(cluster_N, return_inverse=True)
    clusters = int(code_N.max()) + 1
    if clusters < 2:
        return Estimate(auc, n=n, clusters=clusters, level=level)
    pull_C = np.bincount(code_N, weights=above_N + below_N - 2 * auc) / n
    half = float(
        student.ppf((1 + level) / 2, clusters - 1)
        * np.sqrt(clusters / (clusters - 1) * (pull_C**2).sum())
    )
    return Estimate(
        auc, max(0.0, auc - half), min(1.0, auc + half), n, clusters, "cluster-robust", level
    )


def _inputs(data: Comparisons, places: Ints) -> dict[str, tuple[Any, Any]]:
    surface_2MD = surface_2ND(data)[:, places]
    scale_D = surface_2MD.reshape(-1, len(SURFACE)).std(axis=0)
    scaled = (surface_2MD - surface_2MD.reshape(-1, len(SURFACE)).mean(axis=0)) / np.where(
        scale_D > 1e-9, scale_D, 1.0
    )
    size = [i for i, name in enumerate(SURFACE) if name in SIZE]
    form = [i for i, name in enumerate(SURFACE) if name not in SIZE]
    inputs: dict[str, tuple[Any, Any]] = {
        "length": (scaled[0][:, size], scaled[1][:, size]),
        "format": (_by_length(surface_2MD[0], form, size), _by_length(surface_2MD[1], form, size)),
        "surface": (scaled[0], scaled[1]),
    }
    both_NV, words = words_2NV(data)
    if words:
        inputs["words"] = (
            both_NV[places] * 4,
            both_NV[places + len(data)] * 4,
        )  # unit length is small beside the ridge
    if data.models_N2 is not None:
        models_M2, names = data.models_N2[0][places], data.models_N2[1]
        inputs["writer"] = (
            _one_hot(models_M2[:, 0], len(names)),
            _one_hot(models_M2[:, 1], len(names)),
        )
    return inputs


def _by_length(surface_MD: Floats, form: list[int], size: list[int]) -> Floats:
    """Format per length: counts as log(1 + count) less the log of the length, 0 where there is
    none; shares as they are.
    """
    out = surface_MD[:, form].copy()
    counted = [k for k, i in enumerate(form) if SURFACE[i] in COUNTED]
    rate = np.expm1(out[:, counted]) / np.maximum(1.0, np.expm1(surface_MD[:, [size[0]]]))
    out[:, counted] = np.log1p(100 * rate)
    return out


def _one_hot(code_M: Ints, width: int) -> sparse.csr_matrix:
    known = np.flatnonzero(code_M >= 0)
    return sparse.csr_matrix(
        (np.ones(len(known)), (known, code_M[known])), shape=(len(code_M), width)
    )


# ------------------------------------------------------------ controls, and what tells


def _controls(
    data: Comparisons, places: Ints, found: Mapping[str, Probed], request: CheckRequest
) -> dict[str, dict[str, Any]]:
    """What is left where a shortcut is closed: pairs of equal length; pairs of one writer (all that
    differs is what was said, and luck).
    """
    cluster_M = data.cluster_N[places]

    def among(kind: str, inside_M: Any) -> dict[str, Any]:
        if kind not in found or inside_M.sum() < STYLE:
            return NOTHING.to_dict()
        score_2M = found[kind].score_2N[:, inside_M]
        right = np.where(score_2M[0] == score_2M[1], 0.5, score_2M[0] > score_2M[1])
        return mean_interval(
            right, cluster_M[inside_M].tolist(), level=request.level, seed=request.seed
        ).to_dict()

    ratio_M = np.diff(surface_2ND(data)[:, places, 0], axis=0)[0]
    control = {
        "equal_length": among("surface", np.abs(ratio_M) <= MATCHED),
        "one_writer": NOTHING.to_dict(),
        "two_writers": NOTHING.to_dict(),
    }
    if data.models_N2 is not None:
        models_M2 = data.models_N2[0][places]
        known, same = (models_M2 >= 0).all(axis=1), models_M2[:, 0] == models_M2[:, 1]
        control |= {
            "one_writer": among("words", known & same),
            "two_writers": among("words", known & ~same),
        }
    return control


def _features(data: Comparisons, places: Ints, request: CheckRequest) -> list[dict[str, Any]]:
    """Of the pairs that differ in a surface feature, the share in which the chosen answer has more
    of it.
    """
    chosen_MD, rejected_MD = surface_2ND(data)[:, places]
    cluster = data.cluster_N[places].tolist()
    found = []
    for d, name in enumerate(SURFACE):
        more_M = np.where(
            chosen_MD[:, d] == rejected_MD[:, d], np.nan, chosen_MD[:, d] > rejected_MD[:, d]
        )
        differ = int(np.isfinite(more_M).sum())
        if differ >= FEWEST:
            share = mean_interval(
                more_M, cluster, level=request.level, seed=request.seed, resamples=200
            )
            found.append(
                {
                    "name": name,
                    "value": share.value,
                    "low": share.low,
                    "high": share.high,
                    "pairs": differ,
                }
            )
    return found


def _telling_words(data: Comparisons, places: Ints, request: CheckRequest) -> list[Table]:
    """The words with the largest weights of a probe fitted to all examined rows: what it looks at,
    in sample.
    """
    from sklearn.linear_model import LogisticRegression

    both_NV, words = words_2NV(data)
    if not words:
        return []
    x = sparse.vstack([both_NV[places], both_NV[places + len(data)]]) * 4
    weight_V = (
        LogisticRegression(C=0.1, max_iter=100, tol=1e-3)
        .fit(x, np.repeat([1, 0], len(places)))
        .coef_[0]
    )
    order = np.argsort(weight_V)
    rows = [
        [words[a], float(weight_V[a]), words[b], float(weight_V[b])]
        for a, b in zip(order[::-1][:10], order[:10], strict=True)
    ]
    return [
        Table(
            ["speaks for chosen", "weight", "speaks for rejected", "weight "],
            rows,
            "Words that tell most, in the sample",
        )
    ]


def _why(data: Comparisons, place: int) -> str:
    gap_D = surface_2ND(data)[0, place] - surface_2ND(data)[1, place]
    scale_D = surface_2ND(data).reshape(-1, len(SURFACE)).std(axis=0) + 1e-9
    top = np.argsort(-np.abs(gap_D / scale_D))[:2]
    sides = [
        (side, ", ".join(SURFACE[d] for d in top if (gap_D[d] > 0) == (side == "more")))
        for side in ("more", "less")
    ]
    return (
        "surface alone says so "
        f"({'; '.join(f'{side} of: {names}' for side, names in sides if names)})"
    )


# ------------------------------------------------------------ pictures


def _table(found: Mapping[str, Probed], control: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        [PROBES[k], *(percent(v) for e in (p.paired, p.auc) for v in (e.value, e.low, e.high))]
        for k, p in found.items()
    ]
    said = {
        "equal_length": "length and format, equal lengths",
        "one_writer": "words, one writer",
        "two_writers": "words, two writers",
    }
    rows += [
        [said[k], *(percent(c[end]) for end in ("value", "low", "high")), *["n/a"] * 3]
        for k, c in control.items()
        if c["value"] is not None
    ]
    return Table(
        ["told by", "pairs in order", "low", "high", "AUC", "low ", "high "],
        rows,
        "On prompts that the probe has not seen; chance is 50%",
    )


def _chart(found: Mapping[str, Probed]) -> Chart:
    rows: list[dict[str, Any]] = []
    for kind, p in found.items():
        for by, e in (("pairs in order", p.paired), ("AUC of single answers", p.auc)):
            low, high = (e.value if v is None else v for v in (e.low, e.high))
            rows.append(
                {"name": PROBES[kind], "by": by, "value": e.value, "low": low, "high": high}
            )
    names = list(dict.fromkeys(row["name"] for row in rows))
    chart = intervals(
        rows, names=names, title="told apart (chance is 50%)", percent=True, mark_at=0.5, by="by"
    )
    said = "; ".join(
        f"{PROBES[kind]}: {percent(p.paired, 0)} of pairs" for kind, p in found.items()
    )
    caption = (
        "How well chosen and rejected answers can be told apart, by what is looked at, with "
        "95% intervals. Dashed: chance."
    )
    return Chart(chart, "separability", caption, said)


def _feature_chart(features: list[dict[str, Any]]) -> Chart:
    shown = sorted(features, key=lambda f: -f["value"])
    rows = [
        {
            **f,
            "low": f["value"] if f["low"] is None else f["low"],
            "high": f["value"] if f["high"] is None else f["high"],
        }
        for f in shown
    ]
    y = alt.Y(
        "name:N", sort=[row["name"] for row in rows], title=None, axis=alt.Axis(labelLimit=200)
    )
    tooltip = [
        "name:N",
        *(alt.Tooltip(f"{key}:Q", format=".1%") for key in ("value", "low", "high")),
        alt.Tooltip("pairs:Q", format=","),
    ]
    base = (
        alt.Chart(alt.Data(values=rows))
        .transform_calculate(half="0.5")
        .encode(y=y, tooltip=tooltip)
    )
    axis = alt.Axis(format="%")
    color = alt.condition("datum.value > 0.5", alt.value("#3d8f5f"), alt.value("#c2456b"))
    bars = base.mark_bar(height=12, opacity=0.75).encode(
        x=alt.X("half:Q", title="the chosen answer has more of it", axis=axis),
        x2="value:Q",
        color=color,
    )
    whiskers = base.mark_rule(strokeWidth=2, color="#7a7f87").encode(x="low:Q", x2="high:Q")
    chart = alt.layer(bars, whiskers).properties(height=22 * max(3, len(rows)))
    said = "; ".join(f"{row['name']} {row['value']:.0%}" for row in shown[:3] + shown[-3:])
    caption = (
        "Of the pairs that differ in a feature, how often the chosen answer has more of it, "
        "with 95% intervals."
    )
    return Chart(chart, "surface_features", caption, said)


FINDING = FindingSpec("Can chosen and rejected be told apart by surface?", separability)
