"""Whether people with opposed preferences are mixed in these rows: hidden subgroups, and groups
that are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import altair as alt
import numpy as np
from numpy.typing import NDArray

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.latent_groups import (
    Features,
    KnownGroups,
    LatentGroups,
    Units,
    drawn,
    features,
    known_groups,
    largest,
    latent_groups_of,
    units_of,
)
from holdfast.checkup.estimators.propensity import matched
from holdfast.checkup.present.wording import percent, span
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Example, Finding, FindingSpec, Severity
from holdfast.report import Chart, Table
from holdfast.report.marks import colors, intervals
from holdfast.stats.arrays import Floats
from holdfast.stats.intervals import NOTHING, Estimate, mean_interval
from holdfast.text.codes import Coded

MOST_GROUPS_SOUGHT = 4
ENOUGH = 60  # rows of a known group
MOST_GROUPS = 8
MOST_RATERS = 12  # so few raters are groups of their own
WORTH = 0.003  # nats a comparison, below which a preference of one's own changes nothing
LEAST = 2  # raters, of whom a subgroup is made
HEAVY = 0.05  # accuracy lost by one reward, from which it is a PROBLEM
SEEN_OFTEN = 5  # comparisons of a rater, from which "no subgroups" means something
SHOWN = 20

NO_RATERS = (
    "Without raters, people with opposed preferences look exactly like flipped labels: a "
    "mixture of a preference and its opposite is a preference with "
    "flips. What would tell: a `rater` column with some 10 comparisons each, or a `group` column."
)
BLIND = (
    "Cheap features do not tell which answer wins here, so preferences cannot be compared by them."
)
SHORT = "Raters have few comparisons each: a small subgroup would not be seen."
TOO_FEW = (
    "Too few raters have at least 3 comparisons that share no answer for hidden subgroups to "
    "be looked for; 10 comparisons each would do."
)
CONFOUNDED = (
    "Groups that judged different prompts may differ because their prompts do: the same "
    "pairs, judged by all, would tell."
)
LABELS = "A subgroup that wants the opposite may be people who mixed up the two sides."


class Column(NamedTuple):
    """What a known column came to."""

    found: KnownGroups
    everywhere: Estimate  # nats a comparison by a preference of the group's own
    # the same, on rows whose prompts are alike in all groups; so is `lost`, and `cross` where they
    # are alike in the two
    gain: Estimate
    lost: Mapping[str, Estimate]  # accuracy lost on each group by everybody's preference
    cross: Mapping[tuple[str, str], Estimate]  # accuracy of (whose preference, on whose rows)
    matched: float = 1.0  # share of rows that are left for that

    @property
    def differs(self) -> bool:
        return _clear(self.everywhere) and _clear(self.gain)

    @property
    def apart(self) -> bool:
        """Whether other answers win in each group, and nothing is clear where prompts are alike: as
        where kinds of prompts differ.
        """
        return _clear(self.everywhere) and not _clear(self.gain)

    @property
    def sees(self) -> bool:
        """Whether some group's own preference predicts its rows better than chance, without which
        nothing can be compared.
        """
        return any(e.low is not None and e.low > 0.5 for (a, b), e in self.cross.items() if a == b)

    @property
    def against(self) -> tuple[str, str] | None:
        """The two groups of which one's preference ranks the other's rows worst, where that is
        worse than chance.
        """
        below = {
            key: e
            for key, e in self.cross.items()
            if key[0] != key[1] and e.high is not None and e.high < 0.5
        }
        return min(below, key=lambda key: below[key].value or 0.0) if below else None

    @property
    def opposed(self) -> bool:
        lost = any(
            e.low is not None and e.low > 0 and (e.value or 0.0) > HEAVY / 2
            for e in self.lost.values()
        )
        return self.differs and (lost or self.against is not None)


def subgroups(data: Comparisons, request: CheckRequest) -> Finding:
    """The number of preferences by held-out likelihood, over raters; what one reward for all loses;
    whether known groups differ.

    A further preference is believed where it makes raters held out more likely, by its interval
    over raters, with raters' care free in both. A known column's groups differ where a preference
    of their own predicts held-out prompts better than everybody's at a strength of theirs, and do
    so on rows whose prompts are alike (`checkup/estimators/propensity.py`): a difference of
    preferences and one of prompts are the same elsewhere.
    """
    if len(data) < ENOUGH:
        return Finding(
            "Preference subgroups",
            Severity.INCONCLUSIVE,
            "There are too few comparisons to tell preferences apart.",
            numbers=_nothing(),
        )
    have = features(data, request.seed)
    columns = {name: column for name, column in _columns(data).items() if have.x_ND.shape[1]}
    units = units_of(data, request.seed) if have.x_ND.shape[1] else None
    level = 1 - (1 - request.level) / max(
        1, len(columns) + (units is not None)
    )  # that of each question, of several
    known = {name: _column(data, have, column, request, level) for name, column in columns.items()}
    sides = {name: side for name, side in known.items() if side is not None}
    hidden, gains = (None, []) if units is None else _hidden(have, units, request, level)
    return _finding(data, request, have, hidden, gains, sides)


def _hidden(
    have: Features, units: Units, request: CheckRequest, level: float
) -> tuple[LatentGroups | None, list[Estimate]]:
    """One more preference at a time, as long as it is believed; and the gain of each that was
    tried, the last one's too.
    """
    hidden: LatentGroups | None = None
    gains: list[Estimate] = []
    for k in range(2, min(MOST_GROUPS_SOUGHT, (int(units.unit_S.max()) + 1) // 5) + 1):
        tried = latent_groups_of(have.x_ND, units, k, seed=request.seed, before=hidden)
        gains.append(mean_interval(tried.gains[-1], level=level, seed=request.seed))
        if not _believed(tried, gains[-1]):
            return hidden or tried, gains
        hidden = tried
    return hidden, gains


def _believed(tried: LatentGroups, gain: Estimate) -> bool:
    """The gain is clear of 0 and not tiny, and no subgroup is empty."""
    each = float(tried.gains[-1].sum()) / len(tried.row_S)
    units = tried.model.share_K.min() * len(tried.gains[-1])
    return gain.low is not None and gain.low > 0 and each >= WORTH and units >= LEAST


def _clear(gain: Estimate) -> bool:
    return gain.low is not None and gain.low > 0 and (gain.value or 0.0) >= WORTH


def _nothing() -> dict[str, Any]:
    return {"subgroups": 1, "opposed_column": None}


def _columns(data: Comparisons) -> dict[str, Coded]:
    columns = {"group": data.group, "source": data.source}
    if 2 <= len(data.rater.names) <= MOST_RATERS:
        columns["rater"] = data.rater
    return {name: column for name, column in columns.items() if len(column.names) > 1}


def _column(
    data: Comparisons, have: Features, column: Coded, request: CheckRequest, level: float
) -> Column | None:
    """Groups as they came; where a preference of their own tells, again on rows thinned until
    prompts are alike, as if there were no others.
    """
    clusters = drawn(data)
    found = known_groups(
        have.x_ND, column, clusters, seed=request.seed, least=ENOUGH, most=MOST_GROUPS
    )
    if found is None:
        return None
    everywhere = _over(found, found.gain_S, request, level)
    alike_GS = np.ones((len(found.names), len(found.row_S)), bool)
    if not _clear(everywhere):
        return Column(found, everywhere, everywhere, *_compared(found, alike_GS, request))
    alike_GS = matched([data.prompts[i] for i in found.row_S], found.group_S, seed=request.seed)
    kept_M = np.flatnonzero(alike_GS[found.group_S, np.arange(len(found.row_S))])
    share, row_M = len(kept_M) / len(found.row_S), found.row_S[kept_M]
    thinned = Coded(column.code_N[row_M], column.names)
    again = known_groups(
        have.x_ND[row_M],
        thinned,
        clusters[row_M],
        seed=request.seed,
        least=ENOUGH,
        most=MOST_GROUPS,
    )
    if again is None:
        return Column(
            found, everywhere, NOTHING, *_compared(found, np.ones_like(alike_GS), request), share
        )
    alike_GM = alike_GS[[found.names.index(name) for name in again.names]][:, kept_M[again.row_S]]
    again = replace(again, row_S=row_M[again.row_S])
    return Column(
        again,
        everywhere,
        _over(again, again.gain_S, request, level),
        *_compared(again, alike_GM, request),
        share,
    )


def _over(found: KnownGroups, value_S: Floats, request: CheckRequest, level: float) -> Estimate:
    return mean_interval(
        value_S, found.cluster_S.tolist(), level=level, seed=request.seed, resamples=400
    )


def _compared(
    found: KnownGroups, alike_GS: NDArray[np.bool_], request: CheckRequest
) -> tuple[dict[str, Estimate], dict[tuple[str, str], Estimate]]:
    """`lost` and `cross` of a column; the preference of group g on those rows of another that
    `alike_GS` keeps for it.
    """
    lost_S = (found.own_S > 0).astype(float) - (found.shared_S > 0)
    lost = {
        name: _over(found, np.where(found.group_S == g, lost_S, np.nan), request, request.level)
        for g, name in enumerate(found.names)
    }
    level = 1 - (1 - request.level) / (len(found.names) * (len(found.names) - 1))
    cross = {}
    for g, a in enumerate(found.names):
        for h, b in enumerate(found.names):
            there = (found.group_S == h) & (alike_GS[g] | (g == h))
            right_S = np.where(there, (found.by_GS[g] > 0).astype(float), np.nan)
            cross[a, b] = (
                _over(found, right_S, request, level) if there.sum() >= ENOUGH else NOTHING
            )
    return lost, cross


# ------------------------------------------------------------ what is said and shown


def _finding(
    data: Comparisons,
    request: CheckRequest,
    have: Features,
    hidden: LatentGroups | None,
    gains: list[Estimate],
    sides: Mapping[str, Column],
) -> Finding:
    by_raters = hidden is not None and hidden.units == "raters"
    number = (
        1
        if hidden is None or not _believed(hidden, gains[len(hidden.gains) - 1])
        else hidden.model.k
    )
    lost, nats = _losses(hidden, number, request)
    differ = [name for name, side in sides.items() if side.differs]
    opposed = next((name for name in differ if sides[name].opposed), None)
    flagged = (number > 1 and by_raters and (nats.value or 0.0) >= WORTH) or bool(differ)
    heavy = opposed is not None or (
        number > 1
        and by_raters
        and lost.low is not None
        and lost.low > 0
        and (lost.value or 0.0) > HEAVY
    )
    short = hidden is not None and np.median(np.bincount(hidden.unit_S)) < SEEN_OFTEN
    apart, sees = (
        any(side.apart for side in sides.values()),
        any(side.sees for side in sides.values()),
    )
    looked = (by_raters and not short and _sees(hidden, request)) or (sees and not apart)
    severity = (
        Severity.PROBLEM
        if flagged and heavy
        else Severity.WARNING
        if flagged
        else Severity.OK
        if looked
        else Severity.INCONCLUSIVE
    )
    cannot = [NO_RATERS] if data.rater.given == 0 else [] if by_raters else [TOO_FEW]
    cannot += [BLIND] if not looked and not sees and not flagged and (by_raters or sides) else []
    cannot += [SHORT] if short and number == 1 else []
    cannot += [CONFOUNDED] if apart else []
    cannot += [LABELS] if number > 1 and by_raters else []
    charts = [*_hidden_charts(have, hidden, number), *_known_charts(sides)]
    if gains:
        charts.append(_number_chart(hidden, gains))
    return Finding(
        "Preference subgroups",
        severity,
        " ".join(
            [
                *_says_hidden(hidden, number, lost, gains, have),
                *(_says_known(name, side) for name, side in sides.items()),
            ]
        )
        or "Whether people of opposed preferences are mixed here cannot be told from these rows.",
        lost if lost.value is not None else next((side.gain for side in sides.values()), NOTHING),
        "accuracy that one reward for all loses"
        if lost.value is not None
        else "nats a comparison that a group's own preference gains",
        percent=lost.value is not None,
        remedy=_remedy(number if by_raters else 1, opposed, differ),
        cannot=" ".join(cannot),
        numbers={
            "subgroups": number if by_raters else 1,
            "opposed_column": opposed,
            "units": None if hidden is None else hidden.units,
            "preferences_among_units": number,
            "gains": [gain.to_dict() for gain in gains],
            "accuracy_lost": lost.to_dict(),
            "nats_lost": nats.to_dict(),
            "shares": None if hidden is None or number == 1 else hidden.model.share_K.tolist(),
            "share_of_smallest": _smallest(hidden, number, request),
            "disagreement": None
            if hidden is None or number == 1
            else hidden.model.disagreement(have.x_ND[hidden.row_S]).tolist(),
            "columns": {name: _column_numbers(side) for name, side in sides.items()},
        },
        charts=charts,
        tables=_tables(sides),
        examples=_examples(have, hidden if number > 1 and by_raters else None, sides, differ),
    )


def _losses(
    hidden: LatentGroups | None, number: int, request: CheckRequest
) -> tuple[Estimate, Estimate]:
    """Accuracy and nats a comparison that one preference loses on units held out."""
    if hidden is None:
        return NOTHING, NOTHING
    single_S, several_S, whose = hidden.single_S, hidden.several_S, hidden.unit_S.tolist()
    right_S = (several_S > 0.5).astype(float) - (single_S > 0.5)
    nats_S = np.log(np.maximum(several_S, 1e-12)) - np.log(np.maximum(single_S, 1e-12))
    lost, nats = (
        mean_interval(v, whose, level=request.level, seed=request.seed) for v in (right_S, nats_S)
    )
    return lost, nats


def _sees(hidden: LatentGroups | None, request: CheckRequest) -> bool:
    """Whether rows of units held out are predicted better than chance."""
    if hidden is None:
        return False
    right = mean_interval(
        (hidden.several_S > 0.5).astype(float),
        hidden.unit_S.tolist(),
        level=request.level,
        seed=request.seed,
        resamples=400,
    )
    return right.low is not None and right.low > 0.5


def _smallest(
    hidden: LatentGroups | None, number: int, request: CheckRequest
) -> dict[str, Any] | None:
    """The share of the smallest subgroup, by responsibilities."""
    if hidden is None or number == 1:
        return None
    return mean_interval(
        hidden.model.responsibility_RK[:, -1], level=request.level, seed=request.seed
    ).to_dict()


def _says_hidden(
    hidden: LatentGroups | None, number: int, lost: Estimate, gains: list[Estimate], have: Features
) -> list[str]:
    if hidden is None:
        return []
    of = "Raters" if hidden.units == "raters" else "Prompts"
    if number == 1:
        return [
            f"{of} held out are predicted no better by two preferences than by one: no hidden "
            "subgroups were found."
        ]
    shares = " and ".join(percent(float(share), 0) for share in hidden.model.share_K)
    apart = float(hidden.model.disagreement(have.x_ND[hidden.row_S])[0, 1])
    loses = f"One reward for all loses {percent(lost)} of accuracy{span(lost)}."
    if hidden.units == "prompts":
        return [f"Prompts fall into {number} kinds ({shares}) in which other answers win. {loses}"]
    return [
        f"Raters fall into {number} subgroups ({shares}); the two largest favor different "
        f"answers in {percent(apart, 0)} of pairs. {loses}"
    ]


def _says_known(name: str, side: Column) -> str:
    if side.apart:
        return (
            f"By `{name}` other answers win, but to other prompts: "
            f"{percent(side.matched, 0)} of the rows are left where prompts are made "
            "alike, and these do not tell whether preferences differ."
        )
    if not side.differs and not side.sees:
        return (
            f"Whether preferences differ by `{name}` cannot be told: cheap features predict "
            "nobody's verdicts."
        )
    if not side.differs:
        return f"By `{name}`, a preference of each one's own predicts no better than everybody's."
    names, against = list(side.found.names), side.against
    if against is not None:
        own = side.cross[against[1], against[1]]
        return (
            f"A model fitted to `{against[0]}` ranks only "
            f"{percent(side.cross[against], 0)} of the pairs of `{against[1]}` right, "
            f"its own {percent(own, 0)} ({name})."
        )
    worst = max(names, key=lambda group: side.lost[group].value or 0.0)
    return (
        f"Preferences differ by `{name}`: everybody's reward loses {percent(side.lost[worst])} of "
        f"accuracy on `{worst}`{span(side.lost[worst])}."
    )


def _remedy(number: int, opposed: str | None, differ: list[str]) -> str:
    column = opposed or (differ[0] if differ else None)
    if column is not None:
        return f"Decide whose preference counts before training: preferences differ by `{column}`."
    return (
        "Decide whose preference counts before training, and add a `group` column that says "
        "which subgroup a rater is in."
        if number > 1
        else ""
    )


def _column_numbers(side: Column) -> dict[str, Any]:
    return {
        "gain": side.gain.to_dict(),
        "differs": side.differs,
        "matched": side.matched,
        "opposed": side.opposed,
        "accuracy_lost": {name: e.to_dict() for name, e in side.lost.items()},
        "accuracy_of_on": {
            a: {b: e.to_dict() for (c, b), e in side.cross.items() if c == a}
            for a in side.found.names
        },
    }


def _tables(sides: Mapping[str, Column]) -> list[Table]:
    return [
        Table(
            [f"fitted to {name}", *(group[:30] for group in side.found.names)],
            [
                [a[:30], *(percent(side.cross[a, b]) for b in side.found.names)]
                for a in side.found.names
            ],
            "Share of each one's held-out pairs that a model fitted to one of them ranks right",
        )
        for name, side in sides.items()
    ]


def _hidden_charts(have: Features, hidden: LatentGroups | None, number: int) -> list[Chart]:
    if hidden is None or number == 1:
        return []
    names = [
        f"{chr(65 + k)} ({percent(float(share), 0)})"
        for k, share in enumerate(hidden.model.share_K)
    ]
    shown = largest(have.names, hidden.model.theta_KD, 12)
    rows = [
        {
            "name": names[k],
            "feature": have.names[d][:40],
            "weight": float(hidden.model.theta_KD[k, d]),
        }
        for d in shown
        for k in range(len(names))
    ]
    chart = alt.Chart(alt.Data(values=rows)).mark_bar()
    chart = chart.encode(
        x=alt.X("weight:Q", title="weight: right of 0, the subgroup likes more of it"),
        y=alt.Y(
            "feature:N",
            title=None,
            sort=[have.names[d][:40] for d in shown],
            axis=alt.Axis(labelLimit=220),
        ),
        yOffset=alt.YOffset("name:N", sort=names),
        color=colors(names),
        tooltip=["name:N", "feature:N", alt.Tooltip("weight:Q", format=".2f")],
    )
    about = (
        f"What {hidden.units} of each subgroup reward, by features that have a name; the ones on "
        "which subgroups differ most."
    )
    return [
        Chart(
            chart.properties(height=34 * max(2, len(shown))),
            "subgroups-preferences",
            about,
            "Bars of feature weights by subgroup.",
        )
    ]


def _number_chart(hidden: LatentGroups | None, gains: list[Estimate]) -> Chart:
    names = [f"{k + 2} instead of {k + 1}" for k in range(len(gains))]
    rows = [
        {"name": n, "value": g.value, "low": g.low, "high": g.high}
        for n, g in zip(names, gains, strict=True)
    ]
    units = "raters" if hidden is None else hidden.units
    chart = intervals(
        rows, names=names, title=f"nats gained on each of the {units} held out", mark_at=0.0
    )
    return Chart(
        chart,
        "subgroups-number",
        "A further preference is believed where its interval lies right of the line.",
    )


def _known_charts(sides: Mapping[str, Column]) -> list[Chart]:
    charts = []
    for name, side in sides.items():
        rows = [
            {"fitted": a[:30], "on": b[:30], "right": e.value}
            for (a, b), e in side.cross.items()
            if e.value is not None
        ]
        order = [group[:30] for group in side.found.names]
        base = alt.Chart(alt.Data(values=rows)).encode(
            x=alt.X(
                "on:N",
                title=f"pairs judged by this {name}",
                sort=order,
                axis=alt.Axis(labelAngle=-30 if len(order) > 4 else 0),
            ),
            y=alt.Y("fitted:N", title="model fitted to", sort=order, axis=alt.Axis(labelLimit=180)),
            tooltip=[
                alt.Tooltip("fitted:N", title="model fitted to"),
                alt.Tooltip("on:N", title="pairs of"),
                alt.Tooltip("right:Q", title="ranked right", format=".1%"),
            ],
        )
        scale = alt.Scale(
            domain=[0.25, 0.5, 0.75], range=["#c2456b", "#e9eaec", "#3b7dd0"], clamp=True
        )
        cells = base.mark_rect().encode(color=alt.Color("right:Q", scale=scale, legend=None))
        text = base.mark_text(fontSize=12, color="#22262b").encode(
            text=alt.Text("right:Q", format=".0%")
        )
        height = 40 * max(2, len(order))
        about = (
            f"Whether a model fitted to one {name} ranks another's held-out pairs right; red "
            "is worse than chance."
        )
        charts.append(
            Chart(
                alt.layer(cells, text).properties(height=height),
                f"subgroups-by-{name}",
                about,
                "A matrix of accuracies.",
            )
        )
    return charts


def _examples(
    have: Features, hidden: LatentGroups | None, sides: Mapping[str, Column], differ: list[str]
) -> list[Example]:
    if hidden is not None:
        logit_SK = have.x_ND[hidden.row_S] @ hidden.model.theta_KD[:2].T
        chance_SK = 1 / (1 + np.exp(-logit_SK))
        gap_S = np.abs(chance_SK[:, 0] - chance_SK[:, 1])
        return [
            Example(
                int(hidden.row_S[s]),
                float(gap_S[s]),
                "subgroup A would say so with {:.0%}, subgroup B with {:.0%}".format(*chance_SK[s]),
            )
            for s in np.argsort(-gap_S)[:SHOWN]
        ]
    if not differ:
        return []
    found = sides[differ[0]].found
    apart_S = found.own_S - found.shared_S
    return [
        Example(
            int(found.row_S[s]),
            float(abs(apart_S[s])),
            f"{found.names[found.group_S[s]]} and everybody would judge this differently",
        )
        for s in np.argsort(-np.abs(apart_S))[:SHOWN]
        if found.own_S[s] * found.shared_S[s] < 0
    ]


FINDING = FindingSpec("Do people with opposed preferences judge together?", subgroups)
