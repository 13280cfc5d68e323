"""Preferences that are cyclic: A over B, B over C, C over A, more often than noise alone would
have it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import altair as alt
import numpy as np
from scipy.special import expit, logit
from scipy.stats import t as student
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.tournament import (
    Tournament,
    Transitive,
    apart_from_rankings,
    clearest_cycle,
    cyclic_share,
    energies,
    fit,
    left_by_rankings,
    refit,
)
from holdfast.checkup.present.wording import count, percent, span
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Example, Finding, FindingSpec, Severity
from holdfast.report import Chart, Table
from holdfast.stats.arrays import Floats, Ints
from holdfast.stats.intervals import NOTHING, Estimate, mean_interval
from holdfast.text.codes import Coded

WORLDS = 100  # worlds with cycles, for the interval of their share
SEEN = 40  # worlds with cycles where they are seen
DRAWS = 199  # worlds drawn from the best transitive model
FEWER = 99  # a level, where there are many units
MANY = 30_000  # units
SURE = 0.02  # chance of a false alarm
BEYOND_DOUBT = 0.99  # level of the intervals of what a model that can hold cycles gains
WORTH_SAYING, LARGE_GAIN = (
    0.01,
    0.05,
)  # in accuracy on unseen matches, from which it is a WARNING, a PROBLEM
# share of the variance that worlds must be able to hold in cycles for it to be estimated: pairs
# may meet again outside every cycle
LEAST = 0.1
LARGE = 0.1  # a cyclic share of the variance from which it is a PROBLEM
REPEATED = 0.2  # share of pairs that must have met again for the variance to be split
SHOWN, SIDE = 10, 24
LEARNED = 30_000  # units up to which models that can hold cycles are tried on unseen matches


@dataclass(frozen=True)
class Level:
    """One kind of thing that meets more than once."""

    what: str  # "answer", "model", "name"
    winner_N: Ints
    loser_N: Ints
    unit_N: Ints
    row_N: Ints  # where they stand in the data
    names: Any  # code -> what to call it


class Chances(NamedTuple):
    """How likely worlds without cycles are to show as much: cycles among the triangles; variance of
    the win rates that one scale leaves over, which a link of another shape, or raters who are
    unlike, leave as well.
    """

    cycles: float
    scale: float


@dataclass(frozen=True)
class LevelResult:
    """What was found at one level."""

    level: Level
    t: Tournament
    model: Transitive
    share: Estimate  # of the variance that no ranking explains
    cyclic: float
    by_chance: Floats  # cyclic share of the triangles in worlds drawn from the model
    triangles: int
    cycles: int
    chances: Chances
    held_out: dict[str, Any]
    pooled: Pooled | None = (
        None  # where the finding would be flagged, and contestants met in several known strata
    )

    @property
    def p(self) -> float:
        return self.chances.cycles

    @property
    def excess(self) -> float:
        return self.cyclic - float(self.by_chance.mean())

    def to_dict(self) -> dict[str, Any]:
        return {
            "nodes": len(self.t.nodes),
            "pairs": len(self.t.edge_E2),
            "matches": len(self.t.at_U),
            "cycle_rank": self.t.cycle_rank,
            "triangles": self.triangles,
            "cycles": self.cycles,
            "cyclic_share_of_triangles": self.cyclic,
            "by_chance": float(self.by_chance.mean()),
            "share_of_variance": self.share.to_dict(),
            "p": self.p,
            "p_of_one_scale": self.chances.scale,
            "held_out": self.held_out,
            "pooled": None if self.pooled is None else self.pooled.to_dict(),
        }


@dataclass(frozen=True)
class Pooled:
    """What cycles come to when contestants of different strata are kept apart.

    Each stratum may have a ranking and the whole none: where A leads in one, B in another and C in
    a third, and not all met as often in each, the win rates of all may be cyclic where
    nobody's do (Condorcet, and Simpson).
    """

    column: str
    strata: int
    within: LevelResult  # each contestant another one in every stratum
    p: float  # that rankings of the strata's own, pooled, give cycles as large as those seen

    def explains(self, whole: LevelResult) -> bool:
        """Within strata chance explains the cycles, and rankings of their own that differ explain
        them in the whole.
        """
        if _beyond(self.within) or self.p <= SURE:
            return False
        if not _learned(whole):
            return True
        own, held = self.within.held_out, whole.held_out
        return (
            bool(own) and own["accuracy"]["bradley_terry"] >= held["accuracy"]["general_preference"]
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "column": self.column,
            "strata": self.strata,
            "p": self.p,
            "within": self.within.to_dict(),
        }


def cycles(data: Comparisons, request: CheckRequest) -> Finding:
    """Whether answers (within a prompt), models (across prompts) or named players beat each other
    in cycles.

    Cycles are beyond chance where their share of the triangles is larger than in worlds drawn from
    the best transitive model, or the clearest of them clearer (p is twice the smaller, times the
    number of levels), or where a model that can hold cycles
    predicts unseen matches better than a ranking. The share of the noise-corrected variance of the
    win rates that the transitive model leaves over (the split of Jiang et al. 2011, "HodgeRank",
    taken about a ranking with an increasing link and not about a linear one) says how large they
    are. Alone it says that the win rates do not fit one scale, which is another thing.
    Cycles beyond chance are looked for again within each group and source: they may come from
        pooling rankings that differ.
    """
    title, of = "Cycles", "share of the variance of win rates that no ranking explains"
    levels = [
        (level, t)
        for level in _levels(data)
        if (t := Tournament.of(level.winner_N, level.loser_N, level.unit_N)).cycle_rank > 0
    ]
    if not levels:
        kind = "names" if data.named else "answers or models"
        says = (
            f"No three {kind} all met each other (A with B, B with C, C with A), so no cycle can "
            "show."
        )
        return Finding(
            title,
            Severity.NOT_APPLICABLE,
            says,
            cannot="Cycles show only where each of three has met the other two.",
            numbers={"levels": {}},
        )
    with threadpool_limits(
        1, user_api="blas"
    ):  # thousands of small fits: threads that wait for each other cost more than they give
        results = [_measure(level, t, request, len(levels)) for level, t in levels]
        results = [
            replace(r, pooled=_pooled(data, r, request, len(levels))) if _beyond(r) else r
            for r in results
        ]
    worst = min(results, key=lambda r: (_severity(r) is Severity.OK, r.p))
    severity = _severity(worst)
    identified = worst.share.value is not None
    estimate = worst.share if identified else Estimate(worst.cyclic, n=worst.triangles)
    examples, table = _worst(worst)
    return Finding(
        title,
        severity,
        " ".join(_says(r) for r in results),
        estimate,
        of if identified else "share of the triangles that are cycles, weighed by their margins",
        remedy=_remedy(worst),
        cannot=(
            "Too few pairs on rings met again, so the variance cannot be split; the triangles "
            "can be counted."
        )
        if not identified
        else "",
        numbers={
            "p": worst.p,
            "level": worst.level.what,
            "levels": {r.level.what: r.to_dict() for r in results},
        },
        charts=[_chance_chart(worst), _matrix_chart(worst)],
        tables=[_table(results), *([table] if table.rows else [])],
        examples=examples,
    )


def _levels(data: Comparisons) -> list[Level]:
    levels = []
    if not data.named:
        winner, loser = data.answers_N2.T
        levels.append(
            Level("answer", winner, loser, _said_by(data), np.arange(len(data)), _texts(data))
        )
    if data.models_N2 is not None:
        models_N2, names = data.models_N2
        known = np.flatnonzero((models_N2 >= 0).all(axis=1) & (models_N2[:, 0] != models_N2[:, 1]))
        apart = (
            np.arange(len(data)) if data.named and len(data.prompt.names) == 1 else data.pair.code_N
        )
        if len(names) > 2 and len(known):
            winner, loser = models_N2[known].T
            levels.append(
                Level("name" if data.named else "model", winner, loser, apart[known], known, names)
            )
    return levels


def _said_by(data: Comparisons) -> Ints:
    """Codes of what one rater said of one pair: repeated rows are one verdict, and so are all of a
    pair whose raters are not given.
    """
    key_N2 = np.column_stack([data.pair.code_N, data.rater.code_N])
    return np.asarray(np.unique(key_N2, axis=0, return_inverse=True)[1]).ravel()


class _texts:  # noqa: N801
    """Code of an answer -> its text, looked up when it is shown."""

    def __init__(self, data: Comparisons):
        self.data = data

    def __getitem__(self, code: int) -> str:
        row, side = np.argwhere(self.data.answers_N2 == code)[0]
        text = (self.data.chosen, self.data.rejected)[side][row]
        return " ".join(text.split())[:60]


# ------------------------------------------------------------ the measures and their null


def _measure(level: Level, t: Tournament, request: CheckRequest, levels: int) -> LevelResult:
    rng = np.random.default_rng(request.seed)
    model = fit(t, rng)
    chances, null_B4 = _against(t, model, model.expected_E[t.at_U], levels, rng)
    total, left = energies(t, model.fitted_E)
    share = _split(t, model, total, left, rng, request) if _repeated(t) and total > 0 else NOTHING
    cyclic_T, weight_T = t.turns(t.triangle_T3)
    cyclic, decided, cycles = (
        cyclic_share(t, t.triangle_T3),
        int((weight_T > 0).sum()),
        int(cyclic_T.sum()),
    )
    return LevelResult(
        level, t, model, share, cyclic, null_B4[:, 0], decided, cycles, chances, _unseen(t, request)
    )


def _repeated(t: Tournament) -> bool:
    return float((t.n_E > 1).mean()) >= REPEATED


def _against(
    t: Tournament, model: Transitive, p_U: Floats, levels: int, rng: np.random.Generator
) -> tuple[Chances, Floats]:
    """p of either measure against worlds drawn with these chances, and those worlds: see
    `_drawn`. The first is 1 where no three contestants all met.
    """
    cyclic, (total, left) = cyclic_share(t, t.triangle_T3), energies(t, model.fitted_E)
    draws = FEWER * levels if len(t.at_U) > MANY else DRAWS
    null_B4 = _drawn(t, model, p_U, t.triangle_T3, draws, rng)

    def p_of(measured: Any) -> float:
        return float(min(1.0, levels * (1 + measured.sum()) / (draws + 1)))

    clearest = clearest_cycle(t, t.triangle_T3)
    turning = (
        2 * min(p_of(null_B4[:, 0] >= cyclic - 1e-12), p_of(null_B4[:, 3] >= clearest - 1e-12))
        if len(t.triangle_T3) and clearest > 0
        else 1.0
    )
    scaled = p_of(null_B4[:, 1] >= left) if _repeated(t) and total > 0 else 1.0
    return Chances(min(1.0, turning), scaled), null_B4


def _drawn(
    t: Tournament,
    model: Transitive,
    p_U: Floats,
    triangle_T3: Ints,
    draws: int,
    rng: np.random.Generator,
) -> Floats:
    """(cyclic share of the triangles, energy left over, total energy, clearest cycle) in worlds
    drawn from chances, models fitted anew: (draws, 4).
    """
    out = np.zeros((draws, 4))
    for b in range(draws):
        drawn = t.again(p_U, rng)
        _, fitted_E = refit(drawn, drawn.win_E, model.ridge, model.score_V)
        total, left = energies(drawn, fitted_E)
        turning, clearest = cyclic_share(drawn, triangle_T3), clearest_cycle(drawn, triangle_T3)
        out[b] = turning, left, total, clearest
    return out


def _split(
    t: Tournament,
    model: Transitive,
    total: float,
    left: float,
    rng: np.random.Generator,
    request: CheckRequest,
) -> Estimate:
    """The share of the energy that no ranking explains: those shares in whose worlds the model
    leaves about as much as it leaves here.

    A world's log-odds are the ranking's and a random cyclic component, sqrt(1 - e) and sqrt(e) of
    each, at a scale where their energy is that of these results. So each world's share is known,
    and the prior's pull and the noise of few matches are in what the model leaves of it.
    """
    least_E = (
        0.01 * np.diff(rng.normal(size=len(t.nodes))[t.edge_E2], axis=1).ravel()
    )  # a ranking, where the model is flat
    rank_E = logit(np.clip(model.fitted_E, 0.001, 0.999)) + least_E
    rank_E /= np.sqrt((t.n_E * rank_E**2).mean()) or 1.0
    truth_B, share_B = np.zeros((2, WORLDS))
    for b, e in enumerate(np.linspace(0, 1, WORLDS)):
        cyclic_E = apart_from_rankings(t, rng.normal(size=len(rank_E)))
        cyclic_E /= np.sqrt((t.n_E * cyclic_E**2).mean()) or 1.0
        p_E = _scaled(t, np.sqrt(1 - e) * rank_E + np.sqrt(e) * cyclic_E, total)
        world = _drawn(t, model, p_E[t.at_U], t.triangle_T3[:0], 1, rng)[0]
        truth_B[b], share_B[b] = left_by_rankings(t, p_E), world[1] / max(world[2], 1e-9)
    if np.ptp(truth_B) < LEAST:
        return NOTHING
    curve = np.polyfit(truth_B, share_B, 2)
    error_B = (share_B - np.polyval(curve, truth_B)) ** 2
    slope = np.polyfit(truth_B, error_B, 1)
    fine_F = np.linspace(0, 1, 501)
    spread_F = np.sqrt(np.maximum(np.polyval(slope, fine_F), error_B.mean() / 4)).clip(
        min=_spread_as_seen(t, model, left, rng)
    )
    off_F = np.abs(left / total - np.polyval(curve, fine_F))
    likely_F = off_F <= student.ppf((1 + request.level) / 2, WORLDS - 3) * spread_F
    likely_F |= off_F == off_F.min()
    return Estimate(
        float(fine_F[off_F.argmin()]),
        float(fine_F[likely_F].min()),
        float(fine_F[likely_F].max()),
        len(t.at_U),
        len(t.edge_E2),
        f"{WORLDS} drawn worlds",
        request.level,
    )


def _spread_as_seen(
    t: Tournament, model: Transitive, left: float, rng: np.random.Generator
) -> float:
    """How much the share varies where the cycles lie as they are seen: few that are large vary it
    more than a random cyclic component.
    """
    far_E = t.win_E - model.fitted_E
    raw = float((4 * t.n_E * far_E**2)[t.n_E > 1].sum())
    shrink = np.sqrt(np.clip(left / max(raw, 1e-12), 0, 1))
    p_E = np.clip(model.fitted_E + shrink * far_E, 0.001, 0.999)
    worlds = _drawn(t, model, p_E[t.at_U], t.triangle_T3[:0], SEEN, rng)
    return float((worlds[:, 1] / np.maximum(worlds[:, 2], 1e-9)).std(ddof=1))


def _scaled(t: Tournament, logit_E: Floats, total: float) -> Floats:
    """Chances of these log-odds, times the factor at which the energy of pairs that met again is
    `total`.
    """
    weight_E = np.where(t.n_E > 1, t.n_E, 0.0)
    low, high = 0.0, 50.0
    for _ in range(40):
        middle = (low + high) / 2
        small = (weight_E * np.tanh(middle * logit_E / 2) ** 2).sum() < total
        low, high = (middle, high) if small else (low, middle)
    return np.clip(expit(high * logit_E), 0.001, 0.999)


def _pooled(
    data: Comparisons, whole: LevelResult, request: CheckRequest, levels: int
) -> Pooled | None:
    """The cycles when strata of a known column are kept apart; of several columns, the first that
    explains them.
    """
    found = None
    for name, column in (("group", data.group), ("source", data.source)):
        found = _apart(name, column, whole.level, request, levels) or found
        if found is not None and found.explains(whole):
            return found
    return found


def _apart(
    name: str, column: Coded, level: Level, request: CheckRequest, levels: int
) -> Pooled | None:
    code_N = column.code_N[level.row_N]
    known = code_N >= 0
    units, unit_M = np.unique(
        np.column_stack([level.unit_N, code_N])[known], axis=0, return_inverse=True
    )
    t = Tournament.of(level.winner_N[known], level.loser_N[known], unit_M.ravel())
    stratum_U = units[t.unit_U, 1]
    apart = t.apart(stratum_U)
    if apart.cycle_rank == 0 or len(apart.nodes) == len(t.nodes):
        return None  # no one met in two strata, or no cycle lies within one
    rng = np.random.default_rng(request.seed)
    own = fit(apart, rng)
    chances, _ = _against(t, fit(t, rng), own.expected_E[apart.at_U], levels, rng)
    within = _measure(level, apart, request, levels)
    return Pooled(name, len(np.unique(stratum_U)), within, min(chances))


def _unseen(t: Tournament, request: CheckRequest) -> dict[str, Any]:
    """Whether a model that can hold cycles predicts unseen matches better than one that cannot;
    both are cross-validated.
    """
    from holdfast.rewards import cross_validate

    clear = np.flatnonzero(t.y_U != 0.5)
    if len(clear) > LEARNED:
        clear = np.sort(np.random.default_rng(request.seed).choice(clear, LEARNED, replace=False))
    if len(clear) < 5 * len(t.nodes):
        return {}
    first, second = t.edge_E2[t.at_U[clear]].T
    won = t.y_U[clear] > 0.5
    winners, losers = np.where(won, first, second).tolist(), np.where(won, second, first).tolist()
    found = {}
    for kind in ("bradley_terry", "general_preference"):
        found[kind] = cross_validate(
            winners, losers, kind=kind, folds=3, seed=request.seed, max_iterations=60, dim=4
        )
    logits = np.stack(list(found.values()))
    known = np.isfinite(logits).all(axis=0)
    if known.sum() < 50:
        return {}
    at, logits = t.at_U[clear][known].tolist(), logits[:, known]
    nats = np.logaddexp(0, -logits[0]) - np.logaddexp(0, -logits[1])
    right = np.where(logits == 0, 0.5, logits > 0)
    gained = {"nats": nats, "accuracy": right[1] - right[0]}
    by = {
        name: mean_interval(
            gain, at, level=BEYOND_DOUBT, seed=request.seed, resamples=400
        ).to_dict()
        for name, gain in gained.items()
    }
    return {"gained": by, "accuracy": dict(zip(found, right.mean(axis=1).tolist(), strict=True))}


def _learned(r: LevelResult) -> bool:
    """Cycles that generalize: unseen matches are predicted better, in nats and in who wins. A
    ranking cannot be beaten at the second by a better link alone. This needs no pair to have met
    twice, where cycles and noise are otherwise one thing."""
    if not r.held_out:
        return False
    gained = r.held_out["gained"]
    sure = all((gained[name]["low"] or 0.0) > 0 for name in ("nats", "accuracy"))
    return bool(sure and gained["accuracy"]["value"] > WORTH_SAYING)


def _beyond(r: LevelResult) -> bool:
    return r.p <= SURE or _learned(r)


def _explained(r: LevelResult) -> bool:
    return r.pooled is not None and r.pooled.explains(r)


def _severity(r: LevelResult) -> Severity:
    if not _beyond(r):
        return Severity.OK
    large = (r.share.low or 0.0) > LARGE or (r.share.value is None and r.excess > LARGE)
    large |= _learned(r) and r.held_out["gained"]["accuracy"]["value"] > LARGE_GAIN
    return Severity.PROBLEM if large and not _explained(r) else Severity.WARNING


# ------------------------------------------------------------ words and pictures


def _says(r: LevelResult) -> str:
    who = count(len(r.t.nodes), r.level.what)
    turning = (
        f"{r.cycles:,} of {count(r.triangles, 'triangle')} "
        f"{'is a cycle' if r.cycles == 1 else 'are cycles'}: {percent(r.cyclic)} by weight of "
        f"margins, by chance {percent(float(r.by_chance.mean()))}"
    )
    if not _beyond(r):
        none = (
            f"{who}: no cycles beyond chance "
            f"({turning if r.triangles else 'no three of them all met'})."
        )
        return f"{none} {_misfit(r)}".strip()
    said = f"Preferences among {who} run in cycles"
    if r.triangles:
        said += f" ({turning})"
    if r.p <= SURE and r.share.low is not None and r.share.low > 0:
        said += f"; {_leaves(r)} of the variance of their win rates{span(r.share)}"
    if _learned(r):
        circular, ranked = (
            percent(r.held_out["accuracy"][kind])
            for kind in ("general_preference", "bradley_terry")
        )
        said += (
            f"; they can be learned: {circular} of unseen matches are called right, {ranked} "
            "by a ranking"
        )
    return f"{said}.{_says_pooled(r)}"


def _off_scale(r: LevelResult) -> bool:
    return not _beyond(r) and r.chances.scale <= SURE and (r.share.low or 0.0) > 0


def _misfit(r: LevelResult) -> str:
    if not _off_scale(r):
        return ""
    return (
        f"Their win rates do not fit one scale, though: {_leaves(r)} of their variance"
        f"{span(r.share)}, without a cycle."
    )


def _leaves(r: LevelResult) -> str:
    return f"a ranking leaves {percent(r.share)}"


def _says_pooled(r: LevelResult) -> str:
    if r.pooled is None:
        return ""
    within, column = r.pooled.within, f"`{r.pooled.column}`"
    left = f"{_leaves(within)}{span(within.share)}" if within.share.value is not None else ""
    if _explained(r):
        return (
            f" They come from pooling: within each {column} "
            f"{left or 'there are none beyond chance'}."
        )
    if _beyond(within):
        return f" They are there within each {column}, too{left and ': ' + left}."
    return (
        f" Within each {column} they are not seen, but rankings that differ by {column} do "
        "not explain them."
    )


def _remedy(r: LevelResult) -> str:
    if _explained(r):
        assert r.pooled is not None
        return (
            f"Do not rank across `{r.pooled.column}`: give each its own ranking, or show the "
            "model which one a prompt is from."
        )
    if _severity(r) is Severity.PROBLEM:
        return (
            "Do not boil these preferences down to one score: use a preference model, and a "
            "method that seeks an equilibrium."
        )
    if _off_scale(r):
        return (
            "One ranking serves, and a score may be learned, but its differences are no win "
            "rates: raters who are not equally reliable, or close calls, make it so."
        )
    return ""


def _worst(r: LevelResult) -> tuple[list[Example], Table]:
    """The cycles whose weakest edge is surest."""
    t = r.t
    cyclic_T, _ = t.turns(t.triangle_T3)
    found_T3 = t.triangle_T3[cyclic_T]
    sure_T = (
        (np.abs(2 * t.win_E - 1) * np.sqrt(t.n_E))[found_T3].min(axis=1)
        if len(found_T3)
        else np.zeros(0)
    )
    pair_N2 = np.sort(np.column_stack([r.level.winner_N, r.level.loser_N]), axis=1)
    examples: list[Example] = []
    rows: list[list[Any]] = []
    seen: set[int] = set()
    for at in np.argsort(-sure_T, kind="stable"):
        if len(rows) == SHOWN:
            break
        edges = found_T3[at]
        if sum(int(edge) in seen for edge in edges) > 1:
            continue
        seen.update(edges.tolist())
        cycle = _around(t, edges)
        parts = [_said(t, r.level, a, b) for a, b in cycle]
        rows.append([*parts, float(sure_T[at])])
        one, two = sorted(int(t.nodes[node]) for node in cycle[0])
        place = np.flatnonzero((pair_N2 == (one, two)).all(axis=1))
        if len(place):
            examples.append(
                Example(
                    int(r.level.row_N[place[0]]),
                    float(sure_T[at]),
                    "in a cycle: " + "; ".join(parts),
                )
            )
    return examples, Table(["", "", "", "z of the weakest"], rows, "The surest cycles")


def _around(t: Tournament, edges: Ints) -> list[tuple[int, int]]:
    """The cycle's (winner, loser) pairs, in its order."""
    beats = {}
    for edge in edges.tolist():
        first, second = t.edge_E2[edge].tolist()
        won = t.win_E[edge] > 0.5
        beats[first if won else second] = second if won else first
    start = min(beats)
    return [
        (start, beats[start]),
        (beats[start], beats[beats[start]]),
        (beats[beats[start]], start),
    ]


def _said(t: Tournament, level: Level, winner: int, loser: int) -> str:
    low, high = sorted((winner, loser))
    edge = int(np.flatnonzero((t.edge_E2 == (low, high)).all(axis=1))[0])
    wins = t.win_E[edge] if winner == low else 1 - t.win_E[edge]
    n = t.n_E[edge]
    return (
        f"{level.names[t.nodes[winner]]} beats {level.names[t.nodes[loser]]} {wins * n:.3g} "
        f"to {(1 - wins) * n:.3g}"
    )


def _table(results: list[LevelResult]) -> Table:
    columns = [
        "level",
        "nodes",
        "pairs",
        "matches",
        "triangles",
        "cycles",
        "cyclic",
        "by chance",
        "variance left",
        "p",
    ]
    rows = [
        [
            r.level.what,
            len(r.t.nodes),
            len(r.t.edge_E2),
            len(r.t.at_U),
            r.triangles,
            r.cycles,
            percent(r.cyclic),
            percent(float(r.by_chance.mean())),
            percent(r.share),
            r.p,
        ]
        for r in results
    ]
    return Table(columns, rows, "Cyclic: share of the triangles, weighed by their margins")


def _chance_chart(r: LevelResult) -> Chart:
    counts, edges = np.histogram(r.by_chance, bins=min(20, len(np.unique(r.by_chance))))
    rows = [
        {"from": float(a), "to": float(b), "worlds": int(c)}
        for a, b, c in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    x = alt.X(
        "from:Q",
        bin=alt.Bin(binned=True),
        title="cyclic share of the triangles",
        axis=alt.Axis(format=".1%"),
        scale=alt.Scale(zero=False),
    )
    bars = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(color="#7a7f87", opacity=0.7)
        .encode(
            x=x,
            x2="to:Q",
            y=alt.Y("worlds:Q", title="drawn worlds"),
            tooltip=[
                *(alt.Tooltip(f"{end}:Q", format=".2%") for end in ("from", "to")),
                "worlds:Q",
            ],
        )
    )
    line = alt.Chart(alt.Data(values=[{"at": r.cyclic, "name": "these data"}])).mark_rule(
        color="#c2456b", strokeWidth=3
    )
    said = f"These data: {percent(r.cyclic)}; by chance {percent(float(r.by_chance.mean()))}."
    caption = (
        "The line: these data. The bars: worlds drawn from the best ranking, where cycles "
        "are chance alone."
    )
    chart = alt.layer(
        bars, line.encode(x="at:Q", tooltip=[alt.Tooltip("at:Q", format=".2%", title="these data")])
    ).properties(height=200)
    return Chart(chart, "cycles", caption, said)


def _matrix_chart(r: LevelResult) -> Chart:
    """Who beats whom, best first: a ranking is blue above the diagonal; a cycle is orange
    there.
    """
    t = r.t
    degree = np.bincount(t.edge_E2.ravel(), weights=np.repeat(t.n_E, 2), minlength=len(t.nodes))
    shown = np.argsort(-degree, kind="stable")[:SIDE]
    shown = shown[np.argsort(-r.model.score_V[shown])]
    place = {int(node): k for k, node in enumerate(shown)}
    names = [f"{k + 1}. {str(r.level.names[t.nodes[node]])[:24]}" for k, node in enumerate(shown)]
    rows = []
    for edge in np.flatnonzero(np.isin(t.edge_E2, shown).all(axis=1)):
        first, second = (place[int(node)] for node in t.edge_E2[edge])
        win, n = float(t.win_E[edge]), int(t.n_E[edge])
        rows += [
            {"row": names[first], "column": names[second], "wins": win, "met": n},
            {"row": names[second], "column": names[first], "wins": 1 - win, "met": n},
        ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_rect()
        .encode(
            x=alt.X(
                "column:N",
                sort=names,
                title="against, by rank",
                axis=alt.Axis(labelAngle=0, labelExpr="split(datum.label, '.')[0]"),
            ),
            y=alt.Y(
                "row:N", sort=names, title=None, axis=alt.Axis(labelLimit=170, labelOverlap=False)
            ),
            color=alt.Color(
                "wins:Q",
                title="row wins",
                scale=alt.Scale(scheme="blueorange", domain=[0, 1], reverse=True),
                legend=alt.Legend(format="%"),
            ),
            tooltip=[
                "row:N",
                alt.Tooltip("column:N", title="against"),
                alt.Tooltip("wins:Q", title="row wins", format=".0%"),
                alt.Tooltip("met:Q", title="matches", format=","),
            ],
        )
        .properties(height=22 * max(4, len(names)))
    )
    caption = "Who beats whom, best first. In a ranking everything above the diagonal is blue."
    return Chart(
        chart, "cycles_matrix", caption, f"The win rates of the {len(names)} that met most."
    )


FINDING = FindingSpec("Are preferences cyclic?", cycles)
