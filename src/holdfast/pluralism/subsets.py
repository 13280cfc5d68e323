"""Choosing k of m items from many rankings, when the rankings may be biased against a group of
items.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from holdfast.card import check
from holdfast.errors import DataError, OptionError
from holdfast.stats import arrays
from holdfast.stats.arrays import Floats

# ------------------------------------------------------------ score functions


@dataclass(frozen=True)
class Rule:
    """F(S) = sum over voters of (sum or maximum over the chosen items of) points: monotone and
    submodular.

    `points(position_VM, k)` gives each voter's points to each item; `additive` says whether they
    are summed or the best one counts.
    """

    name: str
    points: Callable[[Floats, int], Floats]
    additive: bool = True


def sntv_points(position_VM: Floats, k: int) -> Floats:
    """1 for a first place."""
    first_VM: Floats = (position_VM == 0).astype(float)
    return first_VM


def bloc_points(position_VM: Floats, k: int) -> Floats:
    """1 for a place among the first k."""
    return (position_VM < k).astype(float)


def borda_points(position_VM: Floats, k: int) -> Floats:
    """m - 1 for the first place, 0 for the last. Items that a voter left out share what the places
    left are worth.
    """
    m = position_VM.shape[1]
    ranked_V1 = np.isfinite(position_VM).sum(1, keepdims=True)
    ranked_VM = np.isfinite(position_VM)
    points_VM: Floats = np.where(ranked_VM, m - 1 - position_VM, (m - 1 - ranked_V1) / 2)
    return points_VM


SNTV = Rule("sntv", sntv_points)
BLOC = Rule("bloc", bloc_points)
BORDA = Rule("borda", borda_points)
CHAMBERLIN_COURANT = Rule("chamberlin_courant", borda_points, additive=False)
RULES = {rule.name: rule for rule in (SNTV, BLOC, BORDA, CHAMBERLIN_COURANT)}


# ------------------------------------------------------------ selection


@dataclass(frozen=True)
class Selected:
    """The chosen items, in the order chosen; `exact` is False where they come from the greedy
    algorithm.
    """

    items: tuple[int, ...]
    score: float
    exact: bool


def select(
    rule: Rule | str,
    position_VM: ArrayLike,
    k: int,
    *,
    group_M: Sequence[Hashable] | None = None,
    at_least: Mapping[Any, int] | None = None,
    weight_V: ArrayLike | None = None,
    seed: int = 0,
) -> Selected:
    """The k items of largest score, with at least so many of each group.

        maximize F(S),  |S| = k,  |S intersected with group g| >= at_least[g]
                (Boehmer et al. 2023; quotas that add to k are exact)

    A bias against a group moves its items down together: their order among themselves survives it
    better than their place among the others. A quota restores the places; the score function must
    still tell good items of the group from bad ones, and those that look at first places alone see
    too little of a group that seldom gets there.

    Additive scores are maximized exactly; Chamberlin and Courant's greedily (a factor of 1 - 1/e
    without quotas, 1/2 with them). Ties are broken at random: by index they would leak whatever
    order the items came in.

    Args:
        rule: a `Rule`, or a name: sntv, bloc, borda, chamberlin_courant.
        position_VM: each voter's place for each item, 0 the best, NaN for items left out: see
            `positions`.
        k: items to choose.
        group_M: the group of each item; needed for quotas.
        at_least: group -> least number of its items; see `proportional`.
        weight_V: how often each ranking was cast; 1 unless given.
        seed: of the ties.

    Raises:
        DataError: rankings, groups or weights that do not fit.
        OptionError: an unknown rule, or quotas that cannot be met.
    """
    rule = _rule(rule)
    position, weight = _rankings(position_VM, weight_V)
    m = position.shape[1]
    check(
        "k",
        k,
        lambda: arrays.whole(k, 1) and k <= m,
        f"be a whole number from 1 to the number of items, {m}",
    )
    groups = [None] * m if group_M is None else list(group_M)
    need = _quotas(groups, dict(at_least or {}), k, m)
    points_VM = rule.points(position, k)
    shuffle_M = np.random.default_rng([seed, 0x5E7]).permutation(m)
    if rule.additive:
        chosen = _top(weight @ points_VM, groups, need, k, shuffle_M)
    else:
        chosen = _greedy(points_VM, weight, groups, need, k, shuffle_M)
    return Selected(tuple(chosen), _value(rule, points_VM, weight, chosen), rule.additive)


def value(
    rule: Rule | str,
    position_VM: ArrayLike,
    items: Iterable[int],
    k: int,
    *,
    weight_V: ArrayLike | None = None,
) -> float:
    """F(S) of these items."""
    rule = _rule(rule)
    position, weight = _rankings(position_VM, weight_V)
    chosen, m = arrays.listed(items, "items"), position.shape[1]
    if not all(arrays.whole(item, 0) and item < m for item in chosen) or len(set(chosen)) < len(
        chosen
    ):
        raise DataError(f"items {chosen} are not different whole numbers from 0 to {m - 1}")
    return _value(rule, rule.points(position, k), weight, chosen)


def quality(
    rule: Rule | str,
    position_VM: ArrayLike,
    items: Sequence[int],
    *,
    weight_V: ArrayLike | None = None,
) -> float:
    """F(S) over the largest F of that size, on rankings without the bias: from 0 to 1 (a little
    above where the largest is greedy's).
    """
    items = arrays.listed(items, "items")
    best = select(rule, position_VM, len(items), weight_V=weight_V).score
    return (
        value(rule, position_VM, items, len(items), weight_V=weight_V) / best if best > 0 else 1.0
    )


def proportional(group_M: Sequence[Hashable], k: int) -> dict[Hashable, int]:
    """Quotas by the groups' shares of the items, adding to k: largest remainders, ties to the group
    that comes first.
    """
    groups = arrays.names(group_M, "group_M")
    if not groups:
        raise DataError("there is no item to share k among")
    check(
        "k",
        k,
        lambda: arrays.whole(k, 0) and k <= len(groups),
        f"be a whole number from 0 to the number of items, {len(groups)}",
    )
    names = list(dict.fromkeys(groups))
    exact = {
        name: Fraction(int(k) * sum(g == name for g in groups), len(groups)) for name in names
    }  # equal remainders are equal
    quota = {name: floor(share) for name, share in exact.items()}
    for name in sorted(names, key=lambda name: quota[name] - exact[name])[
        : k - sum(quota.values())
    ]:
        quota[name] += 1
    return quota


def positions(rankings: Iterable[Sequence[int]], m: int) -> Floats:
    """Rankings as lists of item numbers, best first, perhaps incomplete, as places: V x m, NaN for
    items left out.

    Raises:
        DataError: an item outside 0..m-1, or named twice.
    """
    out = []
    check("m", m, lambda: arrays.whole(m, 1), "be a whole number of at least 1")
    for n, ranking in enumerate(arrays.listed(rankings, "rankings")):
        row = np.full(m, np.nan)
        for place, item in enumerate(arrays.listed(ranking, f"ranking {n}")):
            if not arrays.whole(item, 0) or item >= m or np.isfinite(row[item]):
                raise DataError(
                    f"ranking {n} names item {item}, which is outside 0..{m - 1} or named before"
                )
            row[item] = place
        out.append(row)
    return np.array(out).reshape(-1, m)


def smoothness(
    score_M: ArrayLike, observed_M: ArrayLike, group_M: Sequence[Hashable], *, beta: float
) -> float:
    """gamma(beta): the largest ratio observed_j / observed_i over pairs of one group in which i is
    truly better: beta score_i >= score_j, beta below 1. Below 1 the bias leaves such pairs in
    order, which is what a quota needs. Scores are the expected ones, such as mean points without
    and with the bias; 0 where there is no such pair."""
    check("beta", beta, lambda: 0 < beta <= 1, "lie between 0 and 1")
    true = arrays.floats(score_M, "score_M", shape=(None,))
    seen = arrays.floats(observed_M, "observed_M", shape=true.shape)
    same = np.equal.outer(
        np.array(group_M, dtype=object), np.array(group_M, dtype=object)
    ) & ~np.eye(len(true), dtype=bool)
    pairs = same & (beta * true[:, None] >= true[None, :])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(seen[None, :] == 0, 0.0, seen[None, :] / seen[:, None])
    return float(ratio[pairs].max(initial=0.0))


# ------------------------------------------------------------ parts


def _rule(rule: Rule | str) -> Rule:
    if isinstance(rule, Rule):
        return rule
    if not isinstance(rule, str) or rule not in RULES:
        raise OptionError(f"there is no score function {rule!r}", hint=f"one of {', '.join(RULES)}")
    return RULES[rule]


def _rankings(position_VM: ArrayLike, weight_V: ArrayLike | None) -> tuple[Floats, Floats]:
    position = arrays.floats(position_VM, "places", finite=False)
    if position.ndim != 2 or not position.size:
        raise DataError(
            f"places are voters x items; these have shape {position.shape}",
            hint="positions(rankings, m)",
        )
    sorted_VM = np.sort(position, axis=1)  # NaN last
    bad = np.flatnonzero(
        ~((sorted_VM == np.arange(position.shape[1])) | np.isnan(sorted_VM)).all(axis=1)
    )
    if len(bad):
        hint = (
            "places are 0, 1, 2, ... without gaps or ties, NaN for items left out: "
            "positions(rankings, m)"
        )
        raise DataError(
            f"the places of voter {bad[0]} are no ranking: {position[bad[0]].tolist()}", hint=hint
        )
    weight = (
        np.ones(len(position))
        if weight_V is None
        else arrays.floats(weight_V, "weights", finite=False)
    )
    if weight.shape != (len(position),) or not np.isfinite(weight).all() or (weight < 0).any():
        raise DataError(f"weights must be {len(position)} finite numbers of at least 0")
    return position, weight


def _quotas(groups: list[Any], at_least: dict[Any, int], k: int, m: int) -> dict[Any, int]:
    if len(groups) != m:
        raise DataError(f"{m} items but {len(groups)} groups")
    for name, least in at_least.items():
        there = groups.count(name)
        if not arrays.whole(least, 0) or least > there:
            raise OptionError(
                f"at least {least} of group {name!r}, which has {there} items",
                hint="quotas are met by what is there",
            )
    if sum(at_least.values()) > k:
        raise OptionError(f"quotas add to {sum(at_least.values())}, more than k = {k}")
    return {name: least for name, least in at_least.items() if least}


def _top(
    score_M: Floats, groups: list[Any], need: dict[Any, int], k: int, shuffle_M: NDArray[np.int64]
) -> list[int]:
    """The best of each group up to its quota, then the best of the rest."""
    order = [int(shuffle_M[i]) for i in np.argsort(-_ties_equal(score_M)[shuffle_M], kind="stable")]
    left, first = dict(need), []
    for item in order:
        if left.get(groups[item], 0) > 0:
            left[groups[item]] -= 1
            first.append(item)
    taken = set(first)
    return first + [item for item in order if item not in taken][: k - len(first)]


def _ties_equal(score_M: Floats) -> Floats:
    """Scores that differ by rounding alone made equal, so that it is the seed that breaks ties."""
    scale = float(np.abs(score_M).max()) or 1.0
    return np.asarray(np.round(score_M / scale, 12) * scale)


def _greedy(
    points_VM: Floats,
    weight_V: Floats,
    groups: list[Any],
    need: dict[Any, int],
    k: int,
    shuffle_M: NDArray[np.int64],
) -> list[int]:
    """The item that adds most, among those that leave room for what the quotas still ask."""
    best_V, left = np.zeros(len(points_VM)), dict(need)
    chosen: list[int] = []
    for _ in range(k):
        gain_M = _ties_equal(weight_V @ np.maximum(points_VM - best_V[:, None], 0))
        gain_M[chosen] = -1
        room = k - len(chosen) > sum(left.values())
        open_M = np.array([room or left.get(group, 0) > 0 for group in groups])
        gain_M[~open_M] = -1
        item = int(shuffle_M[np.argmax(gain_M[shuffle_M])])
        chosen.append(item)
        if left.get(groups[item], 0) > 0:
            left[groups[item]] -= 1
        best_V = np.maximum(best_V, points_VM[:, item])
    return chosen


def _value(rule: Rule, points_VM: Floats, weight_V: Floats, items: list[int]) -> float:
    if not items:
        return 0.0
    own = points_VM[:, items]
    return float(weight_V @ (own.sum(1) if rule.additive else own.max(1)))
