"""Stretches of the file, sources, raters, groups or scores whose labels run against the rest: labels that were turned around."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import norm

from holdfast.checkup.comparisons import Coded, Comparisons, Floats, Ints, coded
from holdfast.checkup.features import Fit, cross_fit, dense_ND, preference_model
from holdfast.checkup.finding import Asked, Example, Finding, Probe, Status
from holdfast.checkup.words import count, percent, span
from holdfast.evaluation.intervals import Estimate, mean_interval
from holdfast.report import Chart, Table

FEWEST = 40  # comparisons in all
SHORTEST = 16  # of a stretch, in comparisons
FLIPS = 299  # random signs that a scan is compared with
SURE = 0.005  # chance of a false alarm of the scan, and of all named places together
MOST = 5  # stretches
POINTS = 60  # of the picture
FEWEST_BOTH, NEARLY_ALL = 10, 0.9  # pairs labeled both ways, and the share of them, that tell a vote share from other strengths
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
    """Somewhere the labels run against the rest. `turned` is the share of labels that would have to be turned around to explain it."""

    what: str
    rows: int
    agree: float
    elsewhere: float
    p: float
    first: int = -1  # of a stretch: places among the comparisons
    last: int = -1

    @property
    def turned(self) -> float:
        gap = 2 * self.elsewhere - 1
        return float(np.clip((self.elsewhere - self.agree) / gap, 0, 1)) if gap > 0 else 1.0


def inverted(data: Comparisons, asked: Asked) -> Finding:
    """Where a model fitted to other prompts is surely wrong more often than right.

    Each label gets the log-odds s that a cross-fitted preference model gives it. Where labels are sound or mere noise, E[s] >= 0. Along the
    file, T = max over stretches of -sum s / sqrt(sum s^2) is compared with its values under random signs, one sign a prompt: the worst
    case of "nowhere against the rest", so that a stretch that is only noisier raises no alarm. Sources, raters, groups and values of scores
    are tested likewise, and corrected for their number (Holm). Labels are also compared with the rows' own scores.
    """
    title, of = "Inverted labels", "share of labels that a preference model of other prompts agrees with"
    scores = _against_scores(data)
    if len(data) < FEWEST:
        status, said = _scores_say(scores)
        few = f"{count(len(data), 'comparison')} {'is' if len(data) == 1 else 'are'} too few to tell whether labels were turned around."
        says = " ".join(filter(None, (few, said)))
        return Finding(title, status or Status.UNKNOWN, says, cannot=f"{FEWEST} comparisons at least would do.", numbers={"scores": scores})
    s_N = scored(data, asked.seed)
    agree_N = np.where(s_N == 0, 0.5, s_N > 0)
    agree = mean_interval(agree_N, data.cluster_N.tolist(), level=asked.level, seed=asked.seed)
    clipped_N = np.clip(s_N, *np.quantile(s_N, [0.02, 0.98]))
    stretches, p = scan(clipped_N, _clusters(data), seed=asked.seed)
    found = [_place(f"rows {_line(data, a)} to {_line(data, b - 1)}", slice(a, b), agree_N, p_of, a, b - 1) for a, b, p_of in stretches]
    named = _by_columns(data, clipped_N, agree_N)
    found += [place for place in named if place.p < SURE]
    halves = _halves(data, asked) if not found else None
    if halves is not None and halves.p < SURE:
        found.append(halves)
    known = agree.low is not None and agree.low > 0.5
    loud, said_scores = _scores_say(scores)
    against = np.zeros(len(data), bool)
    for place in found:
        if place.first >= 0:
            against[place.first : place.last + 1] = True
    status = Status.BAD if found else loud or (Status.GOOD if known else Status.UNKNOWN)
    worst = np.flatnonzero(against)[np.argsort(s_N[against])][:10] if against.any() else np.argsort(s_N)[:3]
    return Finding(
        title,
        status,
        " ".join(filter(None, [_says(found, agree, known), said_scores])),
        agree,
        of,
        remedy="Look at these rows: turn their labels around if they were read wrongly, or set them aside."
        if status in (Status.BAD, Status.WARN)
        else "",
        cannot=_cannot(found, known),
        numbers={
            "agree": agree.to_dict(),
            "places": [asdict(place) | {"turned": place.turned} for place in found],
            "scan_p": p,
            "rows_against": int(against.sum()),
            "scores": scores,
        },
        charts=[_along(data, agree_N, found), *([_columns_chart(named)] if named else [])],
        tables=_tables(found, named),
        examples=[
            Example(int(i), float(-s_N[i]), "its label runs against the model of the rest" + (", in such a stretch" if against[i] else ""))
            for i in worst
        ],
    )


def scored(data: Comparisons, seed: int) -> Floats:
    """Log-odds of each label: of the check-up's preference model; of a Bradley-Terry model of the names where there is no text."""
    if not data.named:
        return preference_model(data, seed=seed).logit_N

    def make() -> Floats:
        assert data.models_N2 is not None
        models_N2, names = data.models_N2
        rows, ones = np.arange(len(data)), np.ones(len(data))
        x_NK = sparse.csr_matrix((np.r_[ones, -ones], (np.r_[rows, rows], models_N2.T.ravel())), shape=(len(data), len(names)))
        return cross_fit(x_NK, _clusters(data), seed=seed, fit=Fit(c=1.0)).logit_N

    found: Floats = data.once(("name scores", seed), make)
    return found


def _clusters(data: Comparisons) -> Ints:
    """Rows whose labels may be wrong together: those of a prompt; contests that name no match stand alone."""
    return np.arange(len(data)) if data.named and len(data.prompt.names) == 1 else data.cluster_N


# ------------------------------------------------------------ the scan


def scan(s_N: Floats, cluster_N: Ints, *, seed: int) -> tuple[list[tuple[int, int, float]], float]:
    """Stretches [from, to) whose sum is surely below zero, with their p-values, and the p-value of the largest."""
    n = len(s_N)
    starts, ends = _windows(n)
    power = np.r_[0.0, np.cumsum(s_N**2)]
    size_W = np.sqrt(np.maximum(power[ends] - power[starts], 1e-12))
    rng = np.random.default_rng(seed)
    null = np.empty(FLIPS)
    for b in range(FLIPS):
        sign_C = rng.integers(0, 2, int(cluster_N.max()) + 1) * 2 - 1
        total = np.r_[0.0, np.cumsum(s_N * sign_C[cluster_N])]
        null[b] = np.max((total[starts] - total[ends]) / size_W)
    left_N, found, p_first = s_N.copy(), [], 1.0
    for turn in range(MOST):
        total = np.r_[0.0, np.cumsum(left_N)]
        t_W = (total[starts] - total[ends]) / size_W
        best = int(np.argmax(t_W))
        p = float((1 + (null >= t_W[best]).sum()) / (FLIPS + 1))
        p_first = p if turn == 0 else p_first
        if p > SURE:
            break
        a, b = _edges(left_N, int(starts[best]), int(ends[best]))
        found.append((a, b, p))
        left_N[a:b] = 0.0
    return sorted(found), p_first


def _windows(n: int) -> tuple[Ints, Ints]:
    """Starts and ends of stretches of doubling length, four starts a length: the work is linear in the number of rows."""
    starts, ends = [], []
    size = SHORTEST
    while size <= max(SHORTEST, n // 2):
        first = np.arange(0, max(1, n - size + 1), max(1, size // 4))
        starts.append(first)
        ends.append(np.minimum(first + size, n))
        size = int(size * 1.5)
    return np.concatenate(starts), np.concatenate(ends)


def _edges(s_N: Floats, a: int, b: int) -> tuple[int, int]:
    """The stretch around [a, b) with the lowest sum (Kadane), so that its ends fall on rows and not on a grid."""
    low, high = max(0, a - (b - a) // 2), min(len(s_N), b + (b - a) // 2)
    total = np.r_[0.0, np.cumsum(s_N[low:high])]
    peak = np.maximum.accumulate(total)
    end = int(np.argmin(total - peak))
    return low + int(np.argmax(total[: end + 1])), low + end


def _place(what: str, rows: Any, agree_N: Floats, p: float, first: int = -1, last: int = -1) -> Place:
    inside = np.zeros(len(agree_N), bool)
    inside[rows] = True
    elsewhere = float(agree_N[~inside].mean()) if (~inside).any() else 0.5
    return Place(what, int(inside.sum()), float(agree_N[inside].mean()), elsewhere, p, first, last)


def _halves(data: Comparisons, asked: Asked) -> Place | None:
    """Where half of the file is turned around, models of the whole know nothing: then the second half against a model of the first.

    Not also the first against a model of the second: both are the same inner product of the halves, and would count it twice.
    """
    if data.named:
        return None
    half_N = (np.arange(len(data)) * 2 >= len(data)).astype(np.int64)
    s_N = cross_fit(dense_ND(data, seed=asked.seed), half_N, seed=asked.seed, folds=2).logit_N
    second = np.flatnonzero(half_N)
    sums_C = np.bincount(data.cluster_N[second], weights=np.clip(s_N, *np.quantile(s_N, [0.02, 0.98]))[second])
    p = float(norm.sf(-sums_C.sum() / max(1e-12, np.sqrt((sums_C**2).sum()))))
    agree = float(np.where(s_N == 0, 0.5, s_N > 0)[second].mean())
    return Place("one half of the file, by a model of the other half,", len(data), agree, 1 - agree, p)


# ------------------------------------------------------------ named places


def _columns(data: Comparisons) -> Mapping[str, Coded]:
    columns = {"rater": data.rater, "group": data.group, "source": data.source}
    for name, values in _score_columns(data).items():
        columns[name] = _binned(values)
    return {name: column for name, column in columns.items() if len(column.names) > 1}


def _score_columns(data: Comparisons) -> dict[str, Floats]:
    pair = _score_pair(data)
    values = {name: _numbers([row.extra.get(name) for row in data.rows]) for name in (pair or ())}
    strength = _numbers([row.strength for row in data.rows])
    if not np.isfinite(strength).any() or _vote_shares(data, strength):
        return values
    return {**values, "strength": np.abs(strength)}


def _vote_shares(data: Comparisons, strength_N: Floats) -> bool:
    """Whether `strength` says how large a share of its pair's votes a row's side got: the rows with the least are then the minority.

    They run against the majority by definition and are not turned around. Told by the pairs that are labeled both ways: nearly always both
    sides' strengths are at most one in sum (less where votes were ties), and the side with more rows has the larger one.
    """
    known = (strength_N >= 0) & (strength_N <= 1)
    if not known.all():
        return False
    sides = 2 * data.pair.code_N + data.forward_N
    rows_P2 = np.bincount(sides, minlength=2 * len(data.pair.names)).reshape(-1, 2)
    share_P2 = np.bincount(sides, weights=strength_N, minlength=2 * len(data.pair.names)).reshape(-1, 2) / np.maximum(1, rows_P2)
    both = (rows_P2 > 0).all(axis=1)
    more_P, larger_P = np.diff(rows_P2[both])[:, 0], np.diff(share_P2[both])[:, 0]
    as_votes = (share_P2[both].sum(axis=1) <= 1 + 1e-6) & ((more_P == 0) | (more_P * larger_P > 0))
    return len(as_votes) >= FEWEST_BOTH and float(as_votes.mean()) >= NEARLY_ALL


def _score_pair(data: Comparisons) -> tuple[str, str] | None:
    return next((pair for pair in SCORES if any(pair[0] in row.extra and pair[1] in row.extra for row in data.rows)), None)


def _numbers(values: list[Any]) -> Floats:
    def one(value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            return np.nan

    out = np.array([one(value) for value in values])
    return np.where(np.isfinite(out), out, np.nan)


def _binned(values_N: Floats) -> Coded:
    """Values as they are where there are few, else bins of equally many."""
    known = np.unique(values_N[np.isfinite(values_N)])
    if len(known) <= LEVELS:
        return coded([None if np.isnan(v) else f"{v:g}" for v in values_N])
    edges = np.unique(np.quantile(values_N[np.isfinite(values_N)], np.linspace(0, 1, LEVELS + 1)))
    at_N = np.clip(np.searchsorted(edges, values_N, side="right") - 1, 0, len(edges) - 2)
    return coded([None if np.isnan(v) else f"{edges[k]:.3g} to {edges[k + 1]:.3g}" for v, k in zip(values_N, at_N, strict=True)])


def _by_columns(data: Comparisons, s_N: Floats, agree_N: Floats) -> list[Place]:
    """Every rater, group, source and value of a score with enough rows, lowest agreement first; p-values are Holm's."""
    tried: list[tuple[float, str, NDArray[Any]]] = []
    for column, (code_N, names) in _columns(data).items():
        sizes = np.bincount(code_N[code_N >= 0], minlength=len(names))
        for code in np.flatnonzero((sizes >= SHORTEST) & (sizes < len(data))):
            inside = np.flatnonzero(code_N == code)
            sums_C = np.bincount(_clusters(data)[inside], weights=s_N[inside])
            tried.append(
                (float(norm.sf(-sums_C.sum() / max(1e-12, np.sqrt((sums_C**2).sum())))), f"{column} {str(names[code])[:60]}", inside)
            )
    tried.sort(key=lambda entry: entry[0])
    places, p_so_far = [], 0.0
    for rank, (p, what, inside) in enumerate(tried):
        p_so_far = min(1.0, max(p_so_far, p * (len(tried) - rank)))
        places.append(_place(what, inside, agree_N, p_so_far))
    return sorted(places, key=lambda place: (place.p, place.agree))


def _against_scores(data: Comparisons) -> dict[str, Any] | None:
    """How the labels go with the scores of the rows themselves."""
    pair = _score_pair(data)
    strength_N = _numbers([row.strength for row in data.rows])
    if pair is not None:
        gap_N = np.subtract(*(_numbers([row.extra.get(name) for row in data.rows]) for name in pair))
        what = f"{pair[0]} - {pair[1]}"
    elif np.isfinite(strength_N).any():
        gap_N, what = strength_N, "strength"
    else:
        return None
    known = np.isfinite(gap_N)
    return {"what": what, "rows": int(known.sum()), "against": int((gap_N < 0).sum()), "equal": int((gap_N == 0).sum())}


# ------------------------------------------------------------ words and pictures


def _scores_say(scores: dict[str, Any] | None) -> tuple[Status | None, str]:
    if scores is None or not scores["rows"]:
        return None, ""
    against, equal, rows = scores["against"], scores["equal"], scores["rows"]
    said = []
    if against:
        said.append(f"{count(against, 'label')} of {rows:,} run against the rows' own scores ({scores['what']} is below 0).")
    if equal:
        said.append(f"In {count(equal, 'row')} of {rows:,} both scores are equal: such a label is a coin.")
    status = Status.BAD if against > 0.2 * rows else Status.WARN if against > 0.01 * rows or equal > 0.05 * rows else None
    return status, " ".join(said)


def _says(found: list[Place], agree: Estimate, known: bool) -> str:
    agrees = f"{percent(agree)} of the labels{span(agree)}"
    if not found and known:
        return (
            f"No stretch of the file, and no source, rater or group, runs against the rest; a model of other prompts agrees with {agrees}."
        )
    if not found:
        return f"A model of other prompts agrees with only {agrees}: too little to see labels that were turned around."
    parts = [
        f"{place.what} ({count(place.rows, 'comparison')}) {percent(place.agree, 0)}, elsewhere {percent(place.elsewhere, 0)}, "
        f"as if {percent(place.turned, 0)} were turned around"
        for place in found[:3]
    ]
    more = f"; and {len(found) - 3:,} more" if len(found) > 3 else ""
    return f"Labels run against the rest. A model of the other prompts agrees in {'; in '.join(parts)}{more}."


def _cannot(found: list[Place], known: bool) -> str:
    if found:
        return "Whether these labels were turned around, or come from people with the opposite taste: the rows themselves will tell."
    return (
        ""
        if known
        else "Labels that were turned around can only be seen where something predicts the labels: more rows, or --model, would help."
    )


def _line(data: Comparisons, place: int) -> str:
    return f"{data.rows[place].where.line:,}"


def _along(data: Comparisons, agree_N: Floats, found: list[Place]) -> Chart:
    parts = np.array_split(np.arange(len(agree_N)), min(POINTS, max(1, len(agree_N) // 8)))
    rows = []
    for part in parts:
        share, error = float(agree_N[part].mean()), float(np.sqrt(0.25 / len(part)))
        rows.append({"row": data.rows[int(part[len(part) // 2])].where.line, "agree": share, "low": share - error, "high": share + error})
    x = alt.X("row:Q", title="row of the file", axis=alt.Axis(format=",d"))
    y = alt.Y("agree:Q", title="labels the model agrees with", axis=alt.Axis(format="%"), scale=alt.Scale(zero=False))
    base = alt.Chart(alt.Data(values=rows)).encode(x=x)
    tooltip = [alt.Tooltip("row:Q", format=","), alt.Tooltip("agree:Q", format=".1%")]
    layers: list[alt.Chart] = [
        base.mark_area(opacity=0.18, color="#3b7dd0").encode(y=alt.Y("low:Q", title="labels the model agrees with"), y2="high:Q"),
        base.mark_line(color="#3b7dd0", point=True).encode(y=y, tooltip=tooltip),
        alt.Chart(alt.Data(values=[{"at": 0.5}])).mark_rule(strokeDash=[5, 4], color="#888888").encode(y="at:Q"),
    ]
    blocks = [{"from": data.rows[p.first].where.line, "to": data.rows[p.last].where.line} for p in found if p.first >= 0]
    if blocks:
        layers.insert(0, alt.Chart(alt.Data(values=blocks)).mark_rect(color="#c2456b", opacity=0.22).encode(x=alt.X("from:Q"), x2="to:Q"))
    caption = (
        "How often a model of other prompts agrees with the labels, along the file. Below the dashed line labels run against the rest."
    )
    said = "; ".join(f"{place.what}: {place.agree:.0%}" for place in found) or "No stretch lies surely below one half."
    return Chart(alt.layer(*layers).properties(height=240), "inverted", caption, said)


def _columns_chart(named: list[Place]) -> Chart:
    shown = sorted(named, key=lambda place: place.agree)[:15]
    rows = [
        {"name": p.what, "value": p.agree, "rows": p.rows, "sure": "runs against the rest" if p.p < SURE else "within chance"}
        for p in shown
    ]
    half = alt.Chart(alt.Data(values=[{"at": 0.5}])).mark_rule(strokeDash=[5, 4], color="#888888").encode(x="at:Q")
    dots = (
        alt.Chart(alt.Data(values=rows))
        .mark_point(filled=True, opacity=1)
        .encode(
            y=alt.Y("name:N", sort=[row["name"] for row in rows], title=None, axis=alt.Axis(labelLimit=260)),
            x=alt.X("value:Q", title="labels the model agrees with", axis=alt.Axis(format="%"), scale=alt.Scale(zero=False)),
            size=alt.Size("rows:Q", legend=None, scale=alt.Scale(range=[50, 300])),
            color=alt.Color("sure:N", scale=alt.Scale(domain=["runs against the rest", "within chance"], range=["#c2456b", "#7a7f87"])),
            tooltip=["name:N", alt.Tooltip("value:Q", format=".1%"), alt.Tooltip("rows:Q", format=",")],
        )
    )
    said = "; ".join(f"{row['name']} {row['value']:.0%}" for row in rows[:5])
    caption = (
        "Raters, groups, sources and values of scores with the lowest agreement. Larger dots: more comparisons; dashed: an even chance."
    )
    return Chart(alt.layer(half, dots).properties(height=24 * max(3, len(rows))), "inverted_places", caption, said)


def _tables(found: list[Place], named: list[Place]) -> list[Table]:
    rows = [
        [p.what, p.rows, percent(p.agree), percent(p.elsewhere), percent(p.turned, 0), p.p]
        for p in [*found, *(n for n in named if n not in found)][:20]
    ]
    return [Table(["where", "comparisons", "agree", "elsewhere", "as if turned around", "p"], rows)] if rows else []


PROBE = Probe("Are stretches or sources labeled the wrong way around?", inverted)
