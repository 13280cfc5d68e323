"""Whether the answer that was shown first wins (or the side that plays at home), strength aside."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import t as student

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.present.wording import count, percent, span
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Example, Finding, FindingSpec, Severity
from holdfast.report import Chart, Table
from holdfast.stats.arrays import Floats, Ints
from holdfast.stats.intervals import NOTHING, Estimate, mean_interval

FAR, TOO_FAR = 0.02, 0.1  # how far from one half the first side's chance may lie
# share of the first place that strengths do not explain; below, it cannot be told from them
APART = 1e-3
RIDGE = 1e-4  # so small that it decides nothing but what no result does
# clusters that tell the bonus from strength, effectively; of fewer, the spread cannot be told
FEW = 5
ROUNDS = 6  # of the correction for many strengths
LARGEST = 20_000  # players


def position_bias(data: Comparisons, request: CheckRequest) -> Finding:
    """How often the first side wins; and, where the sides have names, how often it would win
    against its equal.

    The second is sigma(b) of a Bradley-Terry model with a bonus for being first, logit P(first
    wins) = b + s(first) - s(second) (Davidson and Beaver 1977), whose interval is cluster-robust.
    It needs sides that stand first now and second then; where they never change places the bonus
    cannot be told from strength.
    """
    title, of = "Position", "share of comparisons won by the side shown first"
    place_N = np.flatnonzero(data.first_N >= 0)
    if not len(place_N):
        says = "The rows do not say which answer was shown first."
        cannot = (
            "A column `chosen_first` (true or false), or rows with both sides in their order "
            "and a verdict, would tell."
        )
        return Finding(title, Severity.NOT_APPLICABLE, says, cannot=cannot)
    won_N = data.first_N[place_N] == 1
    clusters = data.cluster_N[place_N]
    share = mean_interval(won_N, clusters.tolist(), level=request.level, seed=request.seed)
    equals, identified = _against_equals(data, place_N, won_N, clusters, request.level)
    both = _turned(data, place_N, won_N, request)
    best = equals if equals.value is not None else share
    numbers: dict[str, Any] = {
        "first_wins": share.to_dict(),
        "against_equals": equals.to_dict(),
        "identified": identified,
        "rows": len(place_N),
        "both_orders": both,
    }
    if not identified:
        return Finding(
            title,
            Severity.INCONCLUSIVE,
            f"The side shown first wins {percent(share)} of "
            f"{count(len(place_N), 'comparison')}{span(share)}, but too few sides "
            "change places to tell this from strength.",
            share,
            of,
            cannot="Whether the place matters: judge the same sides in both orders.",
            numbers=numbers,
            charts=[_chart(share, equals, both)],
        )
    away = 0.0 if best.low is None or best.high is None else max(best.low - 0.5, 0.5 - best.high)
    severity = (
        Severity.PROBLEM if away > TOO_FAR else Severity.WARNING if away > FAR else Severity.OK
    )
    if data.named and severity is Severity.PROBLEM:
        severity = Severity.WARNING  # playing at home is an advantage, not a mistake of the judge
    says = (
        f"The side shown first wins {percent(share)} of "
        f"{count(len(place_N), 'comparison')}{span(share)}."
    )
    if equals.value is not None:
        says += f" Against its equal it would win {percent(equals)}{span(equals)}."
    if both["pairs"]:
        says += (
            f" Of {both['pairs']:,} pairs judged in both orders, {percent(both['stay'])} got "
            "a verdict that stayed with the place."
        )
    wrong = place_N[won_N][:5] if (best.value or 0) > 0.5 else place_N[~won_N][:5]
    return Finding(
        title,
        severity,
        says,
        best,
        "chance that the side shown first wins against its equal"
        if equals.value is not None
        else of,
        remedy="Show each pair in both orders, or draw the order at random, and average."
        if severity is not Severity.OK
        else "",
        cannot="Ties were left out: among them the place may matter less." if data.ties else "",
        numbers=numbers,
        charts=[_chart(share, equals, both)],
        tables=[_table(share, equals)],
        examples=[Example(int(i), 1.0, "the verdict went with the place") for i in wrong]
        if severity is not Severity.OK
        else [],
    )


class Bonus(NamedTuple):
    estimate: Estimate  # of b, in nats
    apart: float  # share of the first place that strengths do not explain


def first_bonus(
    first_M: Ints, second_M: Ints, won_M: Any, players: int, cluster_M: Ints, *, level: float
) -> Bonus:
    """b of logit P(first wins) = b + s(first) - s(second), with a cluster-robust interval.

    With few results a strength, plain maximum likelihood makes every log-odds too large, b among
    them (Neyman and Scott 1948). So each row counts 1 + h times and is half a win and half a loss
    in h of them, h being its leverage (Firth 1993): h sums to the number of strengths, and is taken
    as w/W(first) + w/W(second), w = p(1 - p) and W a side's sum of it.
    """
    rows = np.arange(len(first_M))
    ones = np.ones(len(rows))
    x_MK = sparse.csr_matrix(
        (np.r_[ones, -ones], (np.r_[rows, rows], np.r_[first_M, second_M])),
        shape=(len(rows), players),
    )
    apart_M = ones - x_MK @ sparse.linalg.lsqr(x_MK, ones, atol=1e-7, btol=1e-7, iter_lim=500)[0]
    apart = float((apart_M**2).mean())
    if apart < APART:
        return Bonus(NOTHING, apart)
    won_M = np.asarray(won_M, float)
    found, lever_M = np.zeros(players + 1), np.zeros(len(rows))
    for _ in range(ROUNDS):
        found = _fitted(x_MK, (won_M + lever_M / 2) / (1 + lever_M), 1 + lever_M, found)
        p_M = expit(found[0] + x_MK @ found[1:])
        w_M = p_M * (1 - p_M)
        side_K = np.bincount(first_M, w_M, players) + np.bincount(second_M, w_M, players)
        lever_M = np.minimum(w_M / side_K[first_M] + w_M / side_K[second_M], 1.0)
    root_M = np.sqrt(w_M) + 1e-12
    scaled = sparse.diags(root_M) @ x_MK
    left_M = (
        root_M
        - scaled
        @ sparse.linalg.lsqr(
            scaled, root_M, damp=np.sqrt(RIDGE), atol=1e-7, btol=1e-7, iter_lim=500
        )[0]
    ) / root_M
    _, code_M = np.unique(cluster_M, return_inverse=True)
    clusters = int(code_M.max()) + 1
    told_C = np.bincount(code_M, weights=root_M**2 * left_M**2)
    b, bend = float(found[0]), float(told_C.sum())
    if (
        bend <= 0 or bend**2 < FEW * (told_C**2).sum()
    ):  # (sum)^2 / sum of squares: the effective number (Carter et al. 2017)
        return Bonus(NOTHING, apart)
    score_C = np.bincount(code_M, weights=left_M * (won_M - p_M))
    spent = clusters / (clusters - 1) * len(rows) / max(1, len(rows) - players)
    half = float(
        student.ppf((1 + level) / 2, clusters - 1) * np.sqrt(spent * (score_C**2).sum()) / bend
    )
    return Bonus(
        Estimate(b, b - half, b + half, len(rows), clusters, "cluster-robust", level), apart
    )


def _fitted(x_MK: Any, y_M: Floats, n_M: Floats, start: Floats) -> Floats:
    """(b, s) that make shares of wins y in n matches likeliest."""

    def objective(free: Floats) -> tuple[float, Floats]:
        gap_M = free[0] + x_MK @ free[1:]
        pull_M = n_M * (expit(gap_M) - y_M)
        cost = (n_M * (np.logaddexp(0, gap_M) - y_M * gap_M)).sum() + RIDGE / 2 * (
            free[1:] ** 2
        ).sum()
        return float(cost), np.r_[pull_M.sum(), x_MK.T @ pull_M + RIDGE * free[1:]]

    tight = {"maxiter": 500, "gtol": 1e-6 * len(y_M)}
    return np.asarray(minimize(objective, start, jac=True, method="L-BFGS-B", options=tight).x)


def _against_equals(
    data: Comparisons, place_N: Ints, won_N: Any, clusters: Ints, level: float
) -> tuple[Estimate, bool]:
    """sigma(b) with its interval, NOTHING where sides have no names; and whether place and strength
    can be told apart.
    """
    if data.models_N2 is None:
        return NOTHING, True
    models_N2, names = data.models_N2
    known = (models_N2[place_N] >= 0).all(axis=1) & (models_N2[place_N, 0] != models_N2[place_N, 1])
    places = place_N[known]
    if len(places) < 2 or len(names) > min(LARGEST, len(places) / 4):
        return NOTHING, True
    won = won_N[known]
    chosen, rejected = models_N2[places].T
    first, second = np.where(won, chosen, rejected), np.where(won, rejected, chosen)
    bonus, _ = first_bonus(first, second, won, len(names), clusters[known], level=level)
    if bonus.value is None:
        return NOTHING, False
    value, low, high = (
        None if v is None else float(expit(v)) for v in (bonus.value, bonus.low, bonus.high)
    )
    return Estimate(value, low, high, bonus.n, bonus.clusters, bonus.method, level), True


def _turned(data: Comparisons, place_N: Ints, won_N: Any, request: CheckRequest) -> dict[str, Any]:
    """Pairs of answers judged in both orders: the share of such pairs of verdicts that stayed with
    the place, and not with the answer.
    """
    code_N, forward_N = data.pair.code_N[place_N], data.forward_N[place_N]
    first_is_low_N = forward_N == won_N  # which answer of the pair stood first
    size = int(code_N.max()) + 1
    seen_P2 = np.array(
        [np.bincount(code_N[first_is_low_N == side], minlength=size) for side in (True, False)]
    ).T
    won_P2 = np.array(
        [
            np.bincount(code_N[(first_is_low_N == side) & won_N], minlength=size)
            for side in (True, False)
        ]
    ).T
    both = (seen_P2 > 0).all(axis=1)
    if not both.any():
        return {"pairs": 0, "stay": None}
    p_P2 = won_P2[both] / seen_P2[both]
    stay = mean_interval(
        p_P2.prod(axis=1) + (1 - p_P2).prod(axis=1), level=request.level, seed=request.seed
    )
    return {"pairs": int(both.sum()), "stay": stay.value, "low": stay.low, "high": stay.high}


def _rows(
    share: Estimate, equals: Estimate, both: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    rows = [{"name": "first side wins", "value": share.value, "low": share.low, "high": share.high}]
    if equals.value is not None:
        rows.append(
            {
                "name": "against its equal",
                "value": equals.value,
                "low": equals.low,
                "high": equals.high,
            }
        )
    if both and both["pairs"]:
        rows.append(
            {
                "name": "verdict stays with the place",
                "value": both["stay"],
                "low": both["low"],
                "high": both["high"],
            }
        )
    return rows


def _table(share: Estimate, equals: Estimate) -> Table:
    rows = [
        [r["name"], *(percent(r[end]) for end in ("value", "low", "high"))]
        for r in _rows(share, equals)
    ]
    if equals.value is not None:
        rows.append(
            [
                "bonus of the first place, in log-odds",
                *(
                    None if v is None else f"{logit(v):+.2f}"
                    for v in (equals.value, equals.low, equals.high)
                ),
            ]
        )
    return Table(["", "value", "low", "high"], rows)


def _chart(share: Estimate, equals: Estimate, both: dict[str, Any]) -> Chart:
    from holdfast.report.marks import intervals

    rows = _rows(share, equals, both)
    for row in rows:
        row["low"], row["high"] = (
            row["value"] if row["low"] is None else row["low"],
            row["value"] if row["high"] is None else row["high"],
        )
    chart = intervals(
        rows, names=[row["name"] for row in rows], title="share", percent=True, mark_at=0.5
    )
    said = "; ".join(f"{row['name']} {row['value']:.0%}" for row in rows)
    return Chart(
        chart,
        "position_bias",
        "How often the side shown first wins, with 95% intervals. Dashed: a place that "
        "makes no difference.",
        said,
    )


FINDING = FindingSpec("Does the answer shown first win?", position_bias)
