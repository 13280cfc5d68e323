"""Whom the raters stand for: the gap between what a system was fitted to and what a stated
population would say.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, inf, isfinite, log, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from holdfast.card import check
from holdfast.errors import DataError
from holdfast.stats.arrays import Floats, floats, listed, whole
from holdfast.stats.intervals import Estimate


@dataclass(frozen=True)
class GroupGap:
    """One group: its share of the population and of the data, its mean value, and how far that lies
    from what the system sees.
    """

    group: Hashable
    target: float
    share: float
    rows: int
    raters: int
    mean: float | None  # None where no row speaks for the group
    gap: Estimate  # mean - seen, with an interval that holds for all groups at once


@dataclass(frozen=True)
class Representativeness:
    """What `representativeness` found.

    Attributes:
        seen: the value that the system was fitted to.
        population: the value of the stated population, as far as the data know it: groups without
            rows are left out.
        average: |population - seen|, the epsilon of the definition.
        worst: the largest |group - seen|. An average can be 0 while it is not.
        worst_group: whose that is.
        composition: half the sum of |target - share|: how much of the data would have to change
            hands.
        groups: each group, in the order of the population.
        absent: groups of the population that have no row. Their value may be anything, and the
            intervals allow for it.
        stray: rows whose group the population does not name, left out.
        unknown: rows without a group or without a value, left out.
        level: of the intervals.
    """

    seen: float
    population: float
    average: Estimate
    worst: Estimate
    worst_group: Hashable
    composition: float
    groups: tuple[GroupGap, ...]
    absent: tuple[Hashable, ...]
    stray: int
    unknown: int
    level: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "average": self.average.to_dict(),
            "worst": self.worst.to_dict(),
            "groups": [asdict(group) for group in self.groups],
        }


def representativeness(
    value_N: ArrayLike,
    group_N: Sequence[Hashable | None],
    population: Mapping[Any, float],
    *,
    rater_N: Sequence[Hashable | None] | None = None,
    seen: float | None = None,
    level: float = 0.95,
) -> Representativeness:
    """How far a system's idea of what people value lies from what a stated population values.

        epsilon = | sum_h w_h V_h - seen |,    worst = max_h | V_h - seen |
                (the paper's definition of epsilon-representative)

    w_h is a group's share of the population, V_h the mean of its rows' values: does the policy rank
    this row as its rater did, does its answer beat another in the rater's eyes. `seen`, unless
    given, is the mean over the rows as they came, which is what an average over the data optimizes:
    sum_h (share_h of the data) V_h. Then equal shares give epsilon 0, whatever people value.

    Intervals are Student's, from the spread between raters within each group (rows of one rater are
    not independent); data shares are taken as they are, not as a draw. The groups' intervals hold
    together (Bonferroni), and so does that of the worst. Where the data know nothing of a group (no
    row, or all rows from one rater) its V_h may be anything from 0 to 1, and the intervals say so.

    Args:
        value_N: a number from 0 to 1 for each row; NaN where there is none.
        group_N: the group of each row; None where not known.
        population: group -> share; divided by their sum. Rows of groups that it does not name are
            left out and counted.
        rater_N: who gave each row; a row of None stands alone. Without it every row counts as its
            own rater.
        seen: what the system was fitted to, if it is not the mean over these rows.
        level: of the intervals.

    Raises:
        DataError: no usable row, values outside 0 to 1, lists of different length, or shares that
            are negative, not finite or all 0.
        OptionError: level or seen out of range.
    """
    check("level", level, lambda: 0 < level < 1, "lie between 0 and 1")
    check("seen", seen, lambda: seen is None or 0 <= seen <= 1, "lie between 0 and 1")
    names, target_K = _population(population)
    value, place, rater = _rows(value_N, group_N, rater_N, names)
    kept = place >= 0
    if not kept.any():
        raise DataError(
            "no row has a value and a group that the population names",
            hint=f"the population names {', '.join(map(str, names))}",
        )
    known = _groups(value[kept], place[kept], rater[kept], len(names))
    share_K = known.rows_K / known.rows_K.sum()
    given = share_K @ np.nan_to_num(known.mean_K) if seen is None else seen
    there_K = known.rows_K > 0
    told = (
        float(target_K[there_K] @ known.mean_K[there_K] / target_K[there_K].sum())
        if target_K[there_K].sum() > 0
        else float(given)
    )
    own_K = share_K if seen is None else np.zeros(len(names))  # how the groups' means enter `seen`
    constant = 0.0 if seen is None else seen
    low, high = known.span(target_K - own_K, constant, 1 - level)
    average = _absolute(told - given, float(low), float(high))
    low_K, high_K = known.spans_from_sum(own_K, constant, (1 - level) / len(names))
    gap_K = np.where(there_K, np.clip(known.mean_K - given, low_K, high_K), (low_K + high_K) / 2)
    ends = zip(gap_K.tolist(), low_K.tolist(), high_K.tolist(), known.rows_K.tolist(), strict=True)
    gaps = [Estimate(gap, low, high, int(rows), level=level) for gap, low, high, rows in ends]
    sizes = [_absolute(gap.point, *gap.ends) for gap in gaps]
    worst = max(range(len(names)), key=lambda k: (there_K[k], sizes[k].point))
    return Representativeness(
        seen=float(given),
        population=told,
        average=average,
        worst=Estimate(
            sizes[worst].value,
            max(size.ends[0] for size in sizes),
            max(size.ends[1] for size in sizes),
            level=level,
        ),
        worst_group=names[worst],
        composition=float(abs(target_K - share_K).sum() / 2),
        groups=tuple(
            GroupGap(
                names[k],
                float(target_K[k]),
                float(share_K[k]),
                int(known.rows_K[k]),
                int(known.raters_K[k]),
                float(known.mean_K[k]) if there_K[k] else None,
                gaps[k],
            )
            for k in range(len(names))
        ),
        absent=tuple(name for name, there in zip(names, there_K, strict=True) if not there),
        stray=int((place == STRAY).sum()),
        unknown=int((place == UNKNOWN).sum()),
        level=level,
    )


def labels_for(epsilon: float, *, groups: int = 1, level: float = 0.95) -> int:
    """Labels that each group must give before its mean (of values from 0 to 1) is known to epsilon,
    all groups at once.

        n = ceil( ln(2 groups / (1 - level)) / (2 epsilon^2) )
                (Hoeffding, and a union over groups)

    One mean to 0.01 at level 0.999 takes 38,005; each of 200 groups 64,497, together 12.9 million:
    the paper's "10^7" is the number of groups at work, not an exponential.
    """
    check(
        "epsilon",
        epsilon,
        lambda: 1e-9 <= epsilon <= 1,
        "be from 1e-9 to 1",
        hint="values lie between 0 and 1",
    )
    check("groups", groups, lambda: whole(groups, 1), "be a whole number of at least 1")
    check("level", level, lambda: 0 < level < 1, "lie between 0 and 1")
    return ceil(log(2 * groups / (1 - level)) / (2 * epsilon**2))


def radius(n: int, *, groups: int = 1, level: float = 0.95) -> float:
    """How well n labels a group know the mean of each of them, whatever its distribution on 0 to 1:
    Hoeffding, all groups at once.
    """
    check("n", n, lambda: 1 <= n < inf, "be at least 1 and finite")
    check("groups", groups, lambda: whole(groups, 1), "be a whole number of at least 1")
    check("level", level, lambda: 0 < level < 1, "lie between 0 and 1")
    return sqrt(log(2 * groups / (1 - level)) / (2 * n))


# ------------------------------------------------------------ parts

STRAY, UNKNOWN = -2, -1
DIGITS = 40  # binary digits to which two groups are the same
AT_ONCE = 2**18  # numbers of an array


class _Known(NamedTuple):
    """What the data know of K groups: rows, raters, mean, the variance of that mean, its degrees of
    freedom, and as many independent yes-or-no answers as would know as much."""

    rows_K: Floats
    raters_K: Floats
    mean_K: Floats
    variance_K: Floats
    free_K: Floats
    size_K: Floats

    def span(
        self, weight_RK: Floats, constant: float, alpha: float, times_RK: Floats | float = 1.0
    ) -> tuple[Floats, Floats]:
        """Intervals of sum_k times_k weight_k V_k - constant, a sum for each place of the leading
        axes, which weights may have or not.

        A V_k of which nothing is known lies anywhere from 0 to 1; `times_k` groups, each with a V_k
        of its own, have this weight. Each group's own interval is not symmetric; of a sum, the
        distances to the ends that count add as squares (Zou and Donner 2008).
        """
        told = self.raters_K >= 2
        open_RK = np.where(told, 0.0, times_RK * weight_RK)
        times_RK = np.where(told, times_RK, 0.0)
        mean_K = np.where(told, np.nan_to_num(self.mean_K), 0.0)
        part_RK = np.where(told, weight_RK**2 * np.nan_to_num(self.variance_K), 0.0)
        total_R = (times_RK * part_RK).sum(-1)
        doubt_R = (times_RK * part_RK**2 / np.where(told, self.free_K, 1.0)).sum(-1)
        free_R = np.where(
            total_R > 0, total_R**2 / np.where(total_R > 0, doubt_R, 1.0), inf
        )  # Welch and Satterthwaite
        reach_R = np.asarray(stats.t.ppf(1 - alpha / 2, free_R))
        low_RK, high_RK = wilson(mean_K, np.where(told, self.size_K, 1.0), reach_R[..., None])
        below_RK = np.where(weight_RK > 0, mean_K - low_RK, high_RK - mean_K)
        above_RK = np.where(weight_RK > 0, high_RK - mean_K, mean_K - low_RK)
        center_R = (times_RK * weight_RK * mean_K).sum(-1) - constant
        down_R, up_R = (
            np.sqrt((times_RK * (weight_RK * side_RK) ** 2).sum(-1))
            for side_RK in (below_RK, above_RK)
        )
        low_R, high_R = (
            center_R - down_R + open_RK.clip(max=0).sum(-1),
            center_R + up_R + open_RK.clip(min=0).sum(-1),
        )
        return np.maximum(-1.0, low_R), np.minimum(1.0, high_R)

    def spans_from_sum(self, own_K: Floats, constant: float, alpha: float) -> tuple[Floats, Floats]:
        """Intervals of V_k - (sum_j own_j V_j + constant), one for each group k.

        Groups that are known equally well, and weigh the same, have the same interval: one is found
        for each kind of group, and the sums run over kinds. 25,000 groups of two rows are six
        kinds.
        """
        kind_KF = np.stack([own_K, *(np.nan_to_num(field_K) for field_K in self)], axis=1)
        mantissa_KF, exponent_KF = np.frexp(kind_KF)
        kind_KF = np.ldexp(
            np.rint(np.ldexp(mantissa_KF, DIGITS)), exponent_KF
        )  # equal but for the order in which rows were added up
        _, first_U, kind_K, groups_U = np.unique(
            kind_KF, axis=0, return_index=True, return_inverse=True, return_counts=True
        )
        kinds = len(first_U)
        low_U, high_U = np.empty(kinds), np.empty(kinds)
        for start in range(0, kinds, max(1, AT_ONCE // (kinds + 1))):
            k_R = np.arange(kinds)[start : start + max(1, AT_ONCE // (kinds + 1))]
            column_RK = np.column_stack(
                [np.tile(first_U, (len(k_R), 1)), first_U[k_R]]
            )  # all kinds, and the group itself last
            times_RK = np.ones(column_RK.shape)
            times_RK[:, :-1] = groups_U - (
                np.arange(kinds) == k_R[:, None]
            )  # it is not among the others
            weight_RK = -own_K[column_RK]
            weight_RK[:, -1] += 1
            known = _Known(*(field_K[column_RK] for field_K in self))
            low_U[k_R], high_U[k_R] = known.span(weight_RK, constant, alpha, times_RK)
        return low_U[kind_K.ravel()], high_U[kind_K.ravel()]


def wilson(mean_K: Floats, size_K: Floats, reach: Floats | float) -> tuple[Floats, Floats]:
    """Wilson's interval of shares of so many yes-or-no answers."""
    pull_K = reach**2 / size_K
    half_K = np.sqrt(pull_K * (mean_K * (1 - mean_K) + pull_K / 4))
    center_K = mean_K + pull_K / 2
    return (center_K - half_K) / (1 + pull_K), (center_K + half_K) / (1 + pull_K)


def _groups(
    value_N: Floats, place_N: NDArray[np.int64], rater_N: NDArray[np.int64], groups: int
) -> _Known:
    """Variances are the jackknife's over raters, which does not fall short where some gave many
    rows; nor do the degrees of freedom, of as many raters of equal weight as would know as much."""
    rows_K = np.bincount(place_N, minlength=groups).astype(float)
    with np.errstate(invalid="ignore"):
        mean_K = np.bincount(place_N, value_N, minlength=groups) / rows_K
    both, cell_N = np.unique(np.stack([place_N, rater_N]), axis=1, return_inverse=True)
    cell_N = cell_N.ravel()
    own_C = both[0]
    raters_K = np.bincount(own_C, minlength=groups).astype(float)
    rows_C = np.bincount(cell_N).astype(float)
    spread_C = np.bincount(cell_N, value_N - mean_K[place_N])  # a rater's sum of deviations
    with np.errstate(invalid="ignore", divide="ignore"):
        moved_C = spread_C / (rows_K[own_C] - rows_C)  # of the mean, without that rater
        variance_K = (
            np.bincount(own_C, np.where(np.isfinite(moved_C), moved_C, 0.0) ** 2, minlength=groups)
            * (raters_K - 1)
            / raters_K
        )
        free_K = np.maximum(rows_K**2 / np.bincount(own_C, rows_C**2, minlength=groups) - 1, 0.5)
        most_K = mean_K * (1 - mean_K)
        seen_K = (
            variance_K > 1e-15
        )  # where all raters agree there is no spread to see: then one answer a rater,
        size_K = np.where(seen_K, most_K / np.where(seen_K, variance_K, 1.0), raters_K)
        padded_K = (mean_K * raters_K + 2) / (
            raters_K + 4
        )  # and two of each kind for the spread (Agresti and Coull)
        variance_K = np.where(seen_K, variance_K, padded_K * (1 - padded_K) / (raters_K + 4))
    return _Known(rows_K, raters_K, mean_K, variance_K, free_K, size_K)


def _absolute(value: float, low: float, high: float) -> Estimate:
    """The interval of |d| from that of d."""
    least = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return Estimate(abs(value), min(least, abs(value)), max(abs(low), abs(high), abs(value)))


def _population(population: Mapping[Any, float]) -> tuple[list[Any], Floats]:
    if not isinstance(population, Mapping):
        raise DataError(
            f"a population is a mapping of groups to shares; this is {type(population).__name__}",
            hint='{"a": 0.6, "b": 0.4}',
        )
    names, share_K = (
        list(population),
        floats(list(population.values()), "a population's shares", finite=False),
    )
    if (
        not len(names)
        or not np.isfinite(share_K).all()
        or (share_K < 0).any()
        or share_K.sum() <= 0
    ):
        raise DataError(
            "a population's shares are finite, at least 0 and not all 0; these are "
            f"{dict(population)}",
            hint="group=share",
        )
    return names, share_K / share_K.sum()


def _rows(
    value_N: ArrayLike,
    group_N: Sequence[Hashable | None],
    rater_N: Sequence[Hashable | None] | None,
    names: list[Any],
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    value = floats(value_N, "value_N", finite=False)
    group_N = listed(group_N, "group_N")
    rater_N = None if rater_N is None else listed(rater_N, "rater_N")
    for who in (*group_N, *(rater_N or ())):
        if not isinstance(who, Hashable):
            raise DataError(
                f"{who!r} cannot name a group or a rater",
                hint="text or numbers; None where not known",
            )
    sizes = {"values": value.shape, "groups": (len(group_N),)} | (
        {} if rater_N is None else {"raters": (len(rater_N),)}
    )
    if len(set(sizes.values())) > 1 or value.ndim != 1:
        raise DataError(
            "one value, one group and one rater a row, but "
            f"{', '.join(f'{what} {n}' for what, n in sizes.items())}"
        )
    bad = np.flatnonzero((value < 0) | (value > 1))
    if len(bad):
        raise DataError(
            f"the value of row {bad[0]} is {value[bad[0]]}, outside 0 to 1",
            hint="put values on a scale from 0 to 1 first",
        )
    number = {name: k for k, name in enumerate(names)}
    missing = [
        group is None or not isfinite(v) for group, v in zip(group_N, value.tolist(), strict=True)
    ]
    place = [
        UNKNOWN if gone else number.get(group, STRAY)
        for gone, group in zip(missing, group_N, strict=True)
    ]
    codes: dict[Hashable, int] = {}
    given = [None] * len(value) if rater_N is None else rater_N
    rater = [
        codes.setdefault(("row", i) if who is None else ("rater", who), len(codes))
        for i, who in enumerate(given)
    ]
    return value, np.array(place, np.int64), np.array(rater, np.int64)
