"""Stretches of the file, sources, raters, groups or scores whose labels run against the rest:
labels that were inverted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import altair as alt
import numpy as np
from scipy import sparse
from scipy.stats import norm

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.features import (
    leading_ND,
    preference_model,
    standardized,
    surface_ND,
)
from holdfast.checkup.estimators.inversion import Labels, Places, agreeing, right, whitened
from holdfast.checkup.estimators.relevance import relevance_ND
from holdfast.checkup.estimators.scan_statistic import scan
from holdfast.checkup.estimators.strengths import numbers_of, strength_of, vote_shares
from holdfast.checkup.estimators.uneven import (
    DROP,
    Noisier,
    noisier_stretch,
    noisier_values,
)
from holdfast.checkup.present.wording import count, percent, span
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Example, Finding, FindingSpec, Severity
from holdfast.report import Chart, Table
from holdfast.stats.arrays import Floats, Ints
from holdfast.stats.intervals import Estimate
from holdfast.text.codes import Coded, coded

FEWEST = 40  # comparisons in all
FEWEST_NAMED = 16  # comparisons of a rater, group, source or score
DIRECTIONS = 256  # of words, or of names
SURE = 0.005  # chance of a false alarm of the scan, and of all named places together
SHOWN = 20  # named places
POINTS = 60  # of the picture
COVERED = 0.8  # share of the smaller party that was found, from which the larger is cleared
LEVELS = 12  # values of a score; of more, this many bins
SCORES = (
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen_rating", "rejected_rating"),
    ("rating_chosen", "rating_rejected"),
    ("chosen_avg_rating", "rejected_avg_rating"),
    ("chosen_overall_score", "rejected_overall_score"),
)


@dataclass(frozen=True)
class Place:
    """Somewhere the labels run against the rest. `turned` is the share of labels that would have to
    be inverted to explain it.
    """

    what: str
    rows: int
    agree: float
    elsewhere: float
    p: float
    first: int = -1  # of a stretch: places among the comparisons
    last: int = -1
    row_E: Ints = field(default_factory=lambda: np.zeros(0, np.int64), repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        named = ("what", "rows", "agree", "elsewhere", "p", "first", "last", "turned")
        return {name: getattr(self, name) for name in named}

    @property
    def turned(self) -> float:
        gap = 2 * self.elsewhere - 1
        return float(np.clip((self.elsewhere - self.agree) / gap, 0, 1)) if gap > 0 else 1.0


def inverted(data: Comparisons, request: CheckRequest) -> Finding:
    """Where labels surely run against those of the rest.

    A place is scored by how its labels agree with a model of the other rows, T / sqrt(V) (`against`
    has the equation, and why no place that is merely noisier, or of a preference of its own, is
    called inverted more often than promised). Stretches of the file are scanned against the maximum
    of random walks (`stretches`); sources, raters, groups and values of scores are each tested
    against the normal curve, and corrected for their number (Holm). Labels are also compared with
    the rows' own scores.

    A stretch that is inverted has the negative of the score that it would have. So where
    nothing is found the scores tell how long a stretch must be to be seen; where not even half the
    file would be, the finding cannot tell.
    """
    runs = "its label runs against the model of the rest"
    title, of = (
        "Inverted labels",
        "share of labels that a preference model of other prompts, fitted to two fifths "
        "of the rows, agrees with",
    )
    scores = _against_scores(data)
    if len(data) < FEWEST:
        severity, said = _scores_say(scores)
        few = (
            f"{count(len(data), 'comparison')} {'is' if len(data) == 1 else 'are'} too few to "
            "tell whether labels were inverted."
        )
        says = " ".join(filter(None, (few, said)))
        return Finding(
            title,
            severity or Severity.INCONCLUSIVE,
            says,
            cannot=f"{FEWEST} comparisons at least would do.",
            numbers={"scores": scores},
        )
    labels = Labels(whitened(features_ND(data, seed=request.seed)), _clusters(data))
    agree_N, agree = labels.agreement(level=request.level, seed=request.seed)
    stretches = scan(labels, sure=SURE, seed=request.seed)
    found = [
        _place(
            f"rows {_line(data, a)} to {_line(data, b - 1)}", np.arange(a, b), labels, p, a, b - 1
        )
        for a, b, p in stretches.found
    ]
    named = _by_columns(data, labels)
    found += [place for place in named if place.p < SURE]
    found = _smaller_party(data, found, labels)
    noisier = _noisier(data, found, request)
    would = stretches.would
    flagged, said_scores = _scores_say(scores)
    against_N = np.zeros(len(data), bool)
    for place in found:
        if place.first >= 0:
            against_N[place.first : place.last + 1] = True
    severity = (
        Severity.PROBLEM
        if found
        else flagged
        or (
            Severity.WARNING if noisier else Severity.INCONCLUSIVE if would is None else Severity.OK
        )
    )
    s_N = labels.judged(against_N)
    worst = (
        np.flatnonzero(against_N)[np.argsort(s_N[against_N])][:10]
        if against_N.any()
        else np.argsort(s_N)[:3]
    )
    return Finding(
        title,
        severity,
        " ".join(
            filter(
                None,
                [
                    _says(
                        found,
                        agree,
                        would,
                        "prompt" if len(data.prompt.names) > 1 else "comparison",
                    ),
                    _says_noisier(noisier),
                    said_scores,
                ],
            )
        ),
        agree,
        of,
        remedy=(
            "Look at these rows: swap their labels if they were read wrongly, or leave them out."
        )
        if found or flagged
        else "Have rows of the noisier places judged again, or leave those places out."
        if noisier
        else "",
        cannot=_cannot(found, would),
        numbers={
            "agree": agree.to_dict(),
            "places": [place.to_dict() for place in found],
            "scan_p": stretches.p,
            "would_be_seen": would,
            "noisier": [asdict(place) | {"random": place.random} for place in noisier],
            "rows_against": int(against_N.sum()),
            "scores": scores,
        },
        charts=[_along(data, agree_N, found), *([_columns_chart(named)] if named else [])],
        tables=_tables(found, named),
        examples=[
            Example(int(i), float(-s_N[i]), runs + (", in such a stretch" if against_N[i] else ""))
            for i in worst
        ],
    )


def features_ND(data: Comparisons, *, seed: int) -> Floats:
    """Half surface and fit with the prompt, half words: rows have a mean squared length of 1, so
    that the normal prior of `whitened` expects log-odds of spread 1. Head-to-head results between
    names have the names themselves, one of them 1 and the other -1."""
    if not data.named:
        halves = (
            standardized(np.hstack([surface_ND(data), relevance_ND(data, seed=seed)])),
            leading_ND(data, DIRECTIONS, seed=seed),
        )
        return np.hstack(
            [half / np.sqrt(max(2 * float((half**2).sum()) / len(data), 1e-12)) for half in halves]
        )
    from sklearn.decomposition import TruncatedSVD

    assert data.models_N2 is not None
    models_N2, names = data.models_N2
    ones, rows = np.ones(len(data)), np.arange(len(data))
    x_NK = sparse.csr_matrix(
        (np.concatenate([ones, -ones]), (np.tile(rows, 2), models_N2.T.ravel())),
        shape=(len(data), len(names)),
    )
    return (
        x_NK.toarray()
        if len(names) <= DIRECTIONS
        else TruncatedSVD(DIRECTIONS, random_state=seed).fit_transform(x_NK)
    )


def _clusters(data: Comparisons) -> Ints:
    """Rows whose labels may be wrong together: those of a prompt; matches that name no match stand
    alone.
    """
    return np.arange(len(data)) if data.named and len(data.prompt.names) == 1 else data.cluster_N


def _place(
    what: str, row_E: Ints, labels: Labels, p: float, first: int = -1, last: int = -1
) -> Place:
    """How often a model of the rows outside agrees with labels in it, and with labels elsewhere."""
    inside_N = np.zeros(len(labels.z_ND), bool)
    inside_N[row_E] = True
    right_N = right(labels.judged(inside_N))
    elsewhere = float(right_N[~inside_N].mean()) if (~inside_N).any() else 0.5
    return Place(
        what, len(row_E), float(right_N[inside_N].mean()), elsewhere, p, first, last, row_E
    )


def _smaller_party(data: Comparisons, found: list[Place], labels: Labels) -> list[Place]:
    """Of two parties that contradict each other the smaller is the suspect, unless the rows' own
    scores say that the larger is wrong.

    A place of more than half the rows is dropped where places that were found hold most of the
    others, and gives way to the others where they do not.
    """
    n = len(data)
    gap_N = _score_gap(data)
    kept: list[Place] = []
    for place in sorted(found, key=lambda place: place.rows):
        accused = gap_N is not None and np.nanmean(gap_N[place.row_E] < 0) > 0.5
        if 2 * place.rows <= n or accused:
            kept.append(place)
            continue
        others = np.setdiff1d(np.arange(n), place.row_E)
        named = np.unique(np.concatenate([other.row_E for other in kept])) if kept else others[:0]
        if len(np.intersect1d(named, others)) < COVERED * len(others) and len(others):
            kept.append(_place(f"all but {place.what}", others, labels, place.p))
    order = {id(place): k for k, place in enumerate(found)}
    return sorted(kept, key=lambda place: order.get(id(place), len(found)))


def _noisier(data: Comparisons, found: list[Place], request: CheckRequest) -> list[Noisier]:
    """Places that are noisier than the rest, and are not among those that run against it."""
    if data.named:
        return []
    t_N = preference_model(data, seed=request.seed).logit_N
    cluster_N = _clusters(data)
    columns = {"rater": data.rater, "group": data.group, "source": data.source}
    several = {name: column for name, column in columns.items() if len(column.names) > 1}
    places = noisier_values(t_N, cluster_N, several)
    stretch = noisier_stretch(t_N, cluster_N, seed=request.seed)
    if stretch is not None:
        first, last, p = stretch
        inside = np.zeros(len(data), bool)
        inside[first : last + 1] = True
        right_N = t_N > 0
        agree, elsewhere = float(right_N[inside].mean()), float(right_N[~inside].mean())
        if elsewhere - agree >= DROP:
            what = f"rows {_line(data, first)} to {_line(data, last)}"
            rows = int(inside.sum())
            places.insert(0, Noisier(what, rows, agree, elsewhere, p, first, last))
    against = {place.what for place in found}
    overlaps = [
        place
        for place in places
        if place.first >= 0
        and any(
            len(np.intersect1d(other.row_E, np.arange(place.first, place.last + 1)))
            > 0.5 * min(other.rows, place.rows)
            for other in found
        )
    ]
    return [place for place in places if place.what not in against and place not in overlaps]


# ------------------------------------------------------------ named places


def _columns(data: Comparisons) -> Mapping[str, Coded]:
    columns = {"rater": data.rater, "group": data.group, "source": data.source}
    for name, values in _score_columns(data).items():
        columns[name] = _binned(values)
    return {name: column for name, column in columns.items() if len(column.names) > 1}


def _score_columns(data: Comparisons) -> dict[str, Floats]:
    pair = _score_pair(data)
    values = {name: numbers_of([row.extra.get(name) for row in data.rows]) for name in (pair or ())}
    strength = strength_of(data)
    if not np.isfinite(strength).any() or vote_shares(data, strength):
        return values
    return {**values, "strength": np.abs(strength)}


def _score_pair(data: Comparisons) -> tuple[str, str] | None:
    return next(
        (
            pair
            for pair in SCORES
            if any(pair[0] in row.extra and pair[1] in row.extra for row in data.rows)
        ),
        None,
    )


def _binned(values_N: Floats) -> Coded:
    """Values as they are where there are few, else bins of equally many."""
    known = np.unique(values_N[np.isfinite(values_N)])
    if len(known) <= LEVELS:
        return coded([None if np.isnan(v) else f"{v:g}" for v in values_N])
    edges = np.unique(np.quantile(values_N[np.isfinite(values_N)], np.linspace(0, 1, LEVELS + 1)))
    at_N = np.clip(np.searchsorted(edges, values_N, side="right") - 1, 0, len(edges) - 2)
    return coded(
        [
            None if np.isnan(v) else f"{edges[k]:.3g} to {edges[k + 1]:.3g}"
            for v, k in zip(values_N, at_N, strict=True)
        ]
    )


def _by_columns(data: Comparisons, labels: Labels) -> list[Place]:
    """The raters, groups, sources and values of scores that go least with the rest, surest first;
    p-values are Holm's, over all of them.
    """
    tried: list[tuple[float, str, Ints]] = []
    for column, (code_N, names) in _columns(data).items():
        score_P = agreeing(labels, Places.codes(code_N, len(names)))
        sizes = np.bincount(code_N[code_N >= 0], minlength=len(names))
        for code in np.flatnonzero((sizes >= FEWEST_NAMED) & (sizes < len(data))):
            tried.append(
                (
                    float(norm.cdf(score_P[code])),
                    f"{column} {str(names[code])[:60]}",
                    np.flatnonzero(code_N == code),
                )
            )
    tried.sort(key=lambda entry: entry[0])
    p_R = np.minimum(
        1, np.maximum.accumulate([p * (len(tried) - rank) for rank, (p, *_) in enumerate(tried)])
    )
    return [
        _place(what, row_E, labels, float(p))
        for p, (_, what, row_E) in zip(p_R[:SHOWN], tried, strict=False)
    ]


def _score_gap(data: Comparisons) -> Floats | None:
    """Score of the chosen answer less that of the rejected one, where the rows have both."""
    pair = _score_pair(data)
    if pair is None:
        return None
    chosen, rejected = (numbers_of([row.extra.get(name) for row in data.rows]) for name in pair)
    return np.asarray(chosen - rejected)


def _against_scores(data: Comparisons) -> dict[str, Any] | None:
    """How the labels go with the scores of the rows themselves."""
    pair = _score_pair(data)
    strength_N = strength_of(data)
    if pair is not None:
        gap_N = np.subtract(
            *(numbers_of([row.extra.get(name) for row in data.rows]) for name in pair)
        )
        what = f"{pair[0]} - {pair[1]}"
    elif np.isfinite(strength_N).any():
        gap_N, what = strength_N, "strength"
    else:
        return None
    known = np.isfinite(gap_N)
    return {
        "what": what,
        "rows": int(known.sum()),
        "against": int((gap_N < 0).sum()),
        "equal": int((gap_N == 0).sum()),
    }


# ------------------------------------------------------------ words and pictures


def _scores_say(scores: dict[str, Any] | None) -> tuple[Severity | None, str]:
    if scores is None or not scores["rows"]:
        return None, ""
    against, equal, rows = scores["against"], scores["equal"], scores["rows"]
    said = []
    if against:
        said.append(
            f"{count(against, 'label')} of {rows:,} run against the rows' own scores "
            f"({scores['what']} is below 0)."
        )
    if equal:
        said.append(
            f"In {count(equal, 'row')} of {rows:,} both scores are equal: such a label is random."
        )
    severity = (
        Severity.PROBLEM
        if against > 0.2 * rows
        else Severity.WARNING
        if against > 0.01 * rows or equal > 0.05 * rows
        else None
    )
    return severity, " ".join(said)


def _says(found: list[Place], agree: Estimate, would: int | None, one: str) -> str:
    agrees = f"a cross-fitted model agrees with {percent(agree)} of labels{span(agree)}"
    if not found and would is not None:
        return (
            "No stretch of the file, and no source, rater or group, is seen to be inverted (labels "
            "wrong here and there are another finding, label noise). "
            f"Had a stretch of {count(would, 'comparison')} been inverted, it would have been "
            f"found in at least four cases of five; {agrees}."
        )
    if not found:
        return (
            f"With {count(agree.clusters, one)} even a half-inverted file could go undetected "
            f"({agrees})."
        )
    parts = [
        f"{place.what} ({count(place.rows, 'comparison')}) {percent(place.agree, 0)}, "
        f"elsewhere {percent(place.elsewhere, 0)}, "
        f"as if {percent(place.turned, 0)} were inverted"
        for place in found[:3]
    ]
    more = f"; and {len(found) - 3:,} more" if len(found) > 3 else ""
    return (
        "Labels contradict the rest of the file. A model fitted to the rows outside agrees in "
        f"{'; in '.join(parts)}{more}."
    )


def _says_noisier(noisier: list[Noisier]) -> str:
    if not noisier:
        return ""
    parts = [
        f"{place.what} ({count(place.rows, 'comparison')}): {percent(place.agree, 0)} there and "
        f"{percent(place.elsewhere, 0)} elsewhere, as if {percent(place.random, 0)} were labeled "
        "at random"
        for place in noisier[:3]
    ]
    more = f"; and {len(noisier) - 3:,} more" if len(noisier) > 3 else ""
    return (
        f"Labels are noisier in some places than a model expects of them: {'; '.join(parts)}{more}."
    )


def _cannot(found: list[Place], would: int | None) -> str:
    if found:
        return (
            "Whether these labels were inverted or come from people with the opposite "
            "preference, and which of two halves is the inverted one: read the rows to tell."
        )
    return (
        "Labels that were inverted can only be seen where something predicts the "
        "labels, over many prompts: "
        "more of them, or --model, would help."
        if would is None
        else ""
    )


def _line(data: Comparisons, place: int) -> str:
    return f"{data.rows[place].where.line:,}"


def _along(data: Comparisons, agree_N: Floats, found: list[Place]) -> Chart:
    parts = np.array_split(np.arange(len(agree_N)), min(POINTS, max(1, len(agree_N) // 8)))
    rows = []
    for part in parts:
        share, error = float(agree_N[part].mean()), float(np.sqrt(0.25 / len(part)))
        rows.append(
            {
                "row": data.rows[int(part[len(part) // 2])].where.line,
                "agree": share,
                "low": share - error,
                "high": share + error,
            }
        )
    x = alt.X("row:Q", title="row of the file", axis=alt.Axis(format=",d"))
    y = alt.Y(
        "agree:Q",
        title="labels the model agrees with",
        axis=alt.Axis(format="%"),
        scale=alt.Scale(zero=False),
    )
    base = alt.Chart(alt.Data(values=rows)).encode(x=x)
    tooltip = [alt.Tooltip("row:Q", format=","), alt.Tooltip("agree:Q", format=".1%")]
    layers: list[alt.Chart] = [
        base.mark_area(opacity=0.18, color="#3b7dd0").encode(
            y=alt.Y("low:Q", title="labels the model agrees with"), y2="high:Q"
        ),
        base.mark_line(color="#3b7dd0", point=True).encode(y=y, tooltip=tooltip),
        alt.Chart(alt.Data(values=[{"at": 0.5}]))
        .mark_rule(strokeDash=[5, 4], color="#888888")
        .encode(y="at:Q"),
    ]
    blocks = [
        {"from": data.rows[p.first].where.line, "to": data.rows[p.last].where.line}
        for p in found
        if p.first >= 0
    ]
    if blocks:
        layers.insert(
            0,
            alt.Chart(alt.Data(values=blocks))
            .mark_rect(color="#c2456b", opacity=0.22)
            .encode(x=alt.X("from:Q"), x2="to:Q"),
        )
    caption = (
        "How often a model of other prompts agrees with the labels, along the file. Below the "
        "dashed line labels run against the rest."
    )
    said = (
        "; ".join(f"{place.what}: {place.agree:.0%}" for place in found)
        or "No stretch lies surely below one half."
    )
    return Chart(alt.layer(*layers).properties(height=240), "inverted", caption, said)


def _columns_chart(named: list[Place]) -> Chart:
    rows = [
        {
            "name": p.what,
            "value": p.agree,
            "rows": p.rows,
            "sure": "runs against the rest" if p.p < SURE else "within chance",
        }
        for p in sorted(named[:15], key=lambda place: place.agree)
    ]
    half = (
        alt.Chart(alt.Data(values=[{"at": 0.5}]))
        .mark_rule(strokeDash=[5, 4], color="#888888")
        .encode(x="at:Q")
    )
    dots = (
        alt.Chart(alt.Data(values=rows))
        .mark_point(filled=True, opacity=1)
        .encode(
            y=alt.Y(
                "name:N",
                sort=[row["name"] for row in rows],
                title=None,
                axis=alt.Axis(labelLimit=260),
            ),
            x=alt.X(
                "value:Q",
                title="labels the model agrees with",
                axis=alt.Axis(format="%"),
                scale=alt.Scale(zero=False),
            ),
            size=alt.Size("rows:Q", legend=None, scale=alt.Scale(range=[50, 300])),
            color=alt.Color(
                "sure:N",
                scale=alt.Scale(
                    domain=["runs against the rest", "within chance"], range=["#c2456b", "#7a7f87"]
                ),
            ),
            tooltip=[
                "name:N",
                alt.Tooltip("value:Q", format=".1%"),
                alt.Tooltip("rows:Q", format=","),
            ],
        )
    )
    said = "; ".join(f"{row['name']} {row['value']:.0%}" for row in rows[:5])
    caption = (
        "Raters, groups, sources and values of scores that go least with the rest, each "
        "judged by a model without it. "
        "Larger dots: more comparisons; dashed: an even chance."
    )
    return Chart(
        alt.layer(half, dots).properties(height=24 * max(3, len(rows))),
        "inverted_places",
        caption,
        said,
    )


def _tables(found: list[Place], named: list[Place]) -> list[Table]:
    rows = [
        [p.what, p.rows, percent(p.agree), percent(p.elsewhere), percent(p.turned, 0), p.p]
        for p in [*found, *(n for n in named if n not in found)][:SHOWN]
    ]
    return (
        [Table(["where", "comparisons", "agree", "elsewhere", "as if inverted", "p"], rows)]
        if rows
        else []
    )


FINDING = FindingSpec("Are stretches or sources labeled the wrong way around?", inverted)
