"""Whom the raters stand for: their groups beside a stated population, how one reward serves each,
and how many labels would be enough.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import altair as alt
import numpy as np

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.features import preference_model
from holdfast.checkup.present.wording import count, percent
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Example, Finding, FindingSpec, Severity
from holdfast.evaluation.ranking import wins
from holdfast.pluralism import Representativeness, labels_for, radius, representativeness
from holdfast.pluralism.representativeness import GroupGap
from holdfast.report import Chart, Table
from holdfast.report.charts import PALETTE
from holdfast.stats.arrays import Floats, Ints
from holdfast.stats.intervals import NOTHING, Estimate, mean_interval

MANY_ABSENT = 0.2  # share of the population that no rater speaks for
ENOUGH_RATERS = 10  # from which on raters are what was drawn; prompts below
SHOWN = 30  # groups on a chart and in the table
LISTED = 200  # groups in check.json
TOO_WIDE = 0.5  # an interval of the gap that says nothing
TITLE, OF = (
    "Representation",
    "gap between what the data say and what the population would, in share of labels agreed with",
)


def representation(data: Comparisons, request: CheckRequest) -> Finding:
    """How far one reward, fitted to the rows as they came, lies from what a stated population would
    say.

        average gap = | sum_h w_h V_h - V |,    worst gap = max_h | V_h - V |
                (arXiv 2511.19504, its first property)

    V_h is the share of group h's labels that the check-up's own preference model, fitted on other
    prompts, predicts; V the same over all rows, which is what an average over the data serves; w_h
    the group's share of the population. A reward that serves the many can have an average gap of 0,
    so the worst is always given. Without a stated population the data's own shares stand in for it,
    and only the worst gap says anything.

    Intervals are of these fitted models: how all raters of group h, and not those alone who were
        asked, would agree with them. Where a pair
    of answers splits the raters evenly a model of other raters may decide it the other way, and its
    gap is another one: that is no error in the judgement of this one. A model that may rank no
    better than chance serves everybody alike, which says nothing: then no gap is named.
    """
    groups = data.group
    if len(groups.names) < 2:
        why = (
            "The rows do not say to which group their raters belong."
            if not groups.names
            else "All rows are of one group."
        )
        return Finding(
            TITLE,
            Severity.NOT_APPLICABLE,
            why,
            cannot="A column `group` would tell how one reward serves each of them.",
        )
    value_N = np.full(len(data), 0.5) if data.named else _agreed(data, request.seed)
    stated = request.population is not None
    population = request.population if request.population is not None else _shares(data)
    who = (
        data.rater.code_N if len(data.rater.names) >= ENOUGH_RATERS else data.cluster_N
    )  # one judge of everything is no sample of judges
    found = representativeness(
        value_N,
        [None if code < 0 else str(groups.names[code]) for code in groups.code_N.tolist()],
        {str(name): share for name, share in population.items()},
        rater_N=[None if code < 0 else code for code in who.tolist()],
        level=request.level,
    )
    why = _untold(data, value_N, who, request)
    told = not why
    needed = labels_for(request.epsilon, groups=len(found.groups), level=request.level)
    missing = sum(group.target for group in found.groups if group.group in found.absent)
    severity = _severity(found, missing, request.epsilon, stated, told)
    gap = found.average if stated else found.worst
    return Finding(
        TITLE,
        severity,
        _says(found, missing, needed, request, stated, told),
        NOTHING
        if not told
        else Estimate(
            gap.value, gap.low, gap.high, len(data), len(np.unique(who)), "Welch", request.level
        ),
        OF
        if stated
        else "gap between the group that one reward serves least like the rest, and all rows",
        remedy=_remedy(found, needed) if severity in (Severity.WARNING, Severity.PROBLEM) else "",
        cannot=_cannot(found, stated, why),
        numbers=_numbers(found)
        | {"stated": stated, "missing": missing, "needed": needed, "epsilon": request.epsilon},
        charts=[_gaps(found, request.epsilon), _composition(found)]
        if told
        else [_composition(found)],
        tables=[_table(found, needed, request)],
        examples=_examples(data, found, request.seed) if told else [],
    )


def _numbers(found: Representativeness) -> dict[str, Any]:
    """Everything, in JSON's own types; of very many groups those that weigh most, and how many
    there are.
    """
    kept = (
        found
        if len(found.groups) <= LISTED
        else replace(found, groups=tuple(_most(found, LISTED)), absent=found.absent[:LISTED])
    )
    return kept.to_dict() | {
        "number_of_groups": len(found.groups),
        "number_of_absent": len(found.absent),
    }


def _agreed(data: Comparisons, seed: int) -> Floats:
    """1 where the model of other prompts agrees with the label, 0 where it does not, 1/2 where it
    cannot tell.
    """
    logit_N = preference_model(data, seed=seed).logit_N
    return wins(logit_N, np.zeros(len(logit_N)))


def _untold(data: Comparisons, value_N: Floats, who_N: Ints, request: CheckRequest) -> str:
    """Why these rows do not tell how one reward serves each group; empty where they do."""
    if data.named:
        return "these are head-to-head results between names, of which no text is known."
    alone_N = np.where(who_N < 0, -1 - np.arange(len(who_N)), who_N)  # rows of nobody in particular
    right = mean_interval(value_N, alone_N.tolist(), level=request.level, seed=request.seed)
    if right.low is not None and right.low > 0.5:
        return ""
    return (
        f"the check-up's own ranks {percent(right.value)} of the labels right, which may be "
        "chance; with `--model M` it may know more."
    )


def _shares(data: Comparisons) -> dict[Any, float]:
    counts = np.bincount(data.group.code_N[data.group.code_N >= 0], minlength=len(data.group.names))
    return dict(zip(data.group.names, counts.astype(float).tolist(), strict=True))


def _severity(
    found: Representativeness, missing: float, epsilon: float, stated: bool, told: bool
) -> Severity:
    if missing > MANY_ABSENT or (told and stated and found.average.above(epsilon)):
        return Severity.PROBLEM
    if missing > epsilon or (told and found.worst.above(epsilon)):
        return Severity.WARNING
    known = (
        stated and told and found.average.ends[1] <= epsilon and found.worst.ends[1] <= 2 * epsilon
    )
    return Severity.OK if known else Severity.INCONCLUSIVE


def _says(
    found: Representativeness,
    missing: float,
    needed: int,
    request: CheckRequest,
    stated: bool,
    told: bool,
) -> str:
    groups = count(len(found.groups), "group")
    if not stated:
        big = max(found.groups, key=lambda group: group.share)
        says = (
            f"The labels come from {groups}, {percent(big.share)} of them from `{big.group}`; "
            "whom they should stand for was not stated."
        )
    else:
        says = (
            f"{percent(found.composition)} of the labels would have to come from other groups "
            "for the data to look like the population."
        )
        if found.absent:
            names = ", ".join(map(str, found.absent[:3]))
            says += (
                f" {count(len(found.absent), 'group')} ({names}; {percent(missing)} of the "
                "population) have no label at all."
            )
    if not told:
        return says
    between = f"{percent(found.worst.low)} to {percent(found.worst.high)}"
    if stated:
        says += (
            f" The reward fitted to these rows lies {_points(found.average)} from what the "
            "population would say"
        )
        says += f", and {_points(found.worst)} from {found.worst_group}."
    elif found.worst.width > TOO_WIDE:
        says += " How differently one reward serves them cannot be told from so few rows of each."
    else:
        says += (
            f" The reward fitted to these rows serves `{found.worst_group}` least like the "
            f"rest: {percent(found.worst.value)} apart"
        )
        says += f" ({100 * request.level:.0f}%: {between})."
    return (
        says
        + f" To know every group to {percent(request.epsilon, 0)} takes {needed:,} labels of each."
    )


def _points(gap: Any) -> str:
    return f"{percent(gap.value)} ({percent(gap.low)} to {percent(gap.high)})"


def _remedy(found: Representativeness, needed: int) -> str:
    if found.absent:
        return (
            f"Ask raters of {', '.join(map(str, found.absent[:3]))}: nothing that is trained "
            "on these rows can know what they prefer."
        )
    short = [
        str(group.group)
        for group in found.groups
        if group.rows < needed and group.target > group.share
    ]
    ask = f"Ask more raters of {', '.join(short[:3])}, or weigh" if short else "Weigh"
    return f"{ask} the groups by their share of the population when training."


def _cannot(found: Representativeness, stated: bool, why: str) -> str:
    parts = []
    if not stated:
        parts.append(
            "Whom the raters should stand for: state each group's share with `--population`."
        )
    if why:
        parts.append(f"How one reward serves each group: {why}")
    else:
        parts.append(
            "Whether a group that is served less well wants something else or is only "
            "less sure: see subgroups and raters."
        )
        parts.append(
            "How a reward fitted to other raters, or on other features, would serve them: "
            "the intervals are of this one."
        )
    if found.stray:
        parts.append(
            f"{count(found.stray, 'row')} are of groups that the population does not "
            "name, and were left out."
        )
    return " ".join(parts)


def _examples(data: Comparisons, found: Representativeness, seed: int) -> list[Example]:
    """Rows of the worst group that a reward for all would rank the other way."""
    logit_N = preference_model(data, seed=seed).logit_N
    codes = {str(name): code for code, name in enumerate(data.group.names)}
    places = np.flatnonzero(
        (data.group.code_N == codes.get(str(found.worst_group), -2)) & (logit_N < 0)
    )
    worst = places[np.argsort(logit_N[places])][:8].tolist()
    return [
        Example(
            i, float(-logit_N[i]), f"{found.worst_group} chose what the other rows speak against"
        )
        for i in worst
    ]


# ------------------------------------------------------------ shown


def _table(found: Representativeness, needed: int, request: CheckRequest) -> Table:
    rows = [
        [
            str(group.group),
            percent(group.target),
            percent(group.share),
            group.rows,
            group.raters,
            percent(group.mean),
            f"{100 * group.gap.point:+.1f} "
            f"({' to '.join(f'{100 * end:+.1f}' for end in group.gap.ends)})",
            "nothing"
            if not group.rows
            else percent(radius(group.rows, groups=len(found.groups), level=request.level)),
            max(0, needed - group.rows),
        ]
        for group in _shown(found)
    ]
    names = [
        "group",
        "population",
        "labels",
        "rows",
        "raters",
        "agreed with",
        "gap, points",
        "surely known to",
        "labels short",
    ]
    which = "Each group" if len(rows) == len(found.groups) else f"{_cut(found)}, each"
    caption = (
        f"{which}: its share of the population and of the labels, the share of its labels "
        "that one reward agrees with, and that minus "
        "all rows' (intervals hold together). To know each to "
        f"{percent(request.epsilon, 0)}, whatever the labels, takes {needed:,} of each."
    )
    return Table(names, rows, caption)


def _shown(found: Representativeness) -> list[GroupGap]:
    return _most(found, SHOWN)


def _cut(found: Representativeness) -> str:
    """Which groups are shown where not all are."""
    return (
        f"{SHOWN} of {count(len(found.groups), 'group')}: those with the most people or "
        "labels, and the one with the largest gap"
    )


def _most(found: Representativeness, number: int) -> list[GroupGap]:
    """The groups with the largest share of the population or of the labels, the one that is served
    least like the rest among them.
    """
    most = sorted(found.groups, key=lambda group: -max(group.target, group.share))
    worst = [group for group in most[number:] if group.group == found.worst_group]
    return most[: number - len(worst)] + worst


def _composition(found: Representativeness) -> Chart:
    shown = _shown(found)
    which = "" if len(shown) == len(found.groups) else f" {_cut(found)}."
    ends = [
        {"name": str(g.group), "low": min(g.target, g.share), "high": max(g.target, g.share)}
        for g in shown
    ]
    dots = [
        {"name": str(g.group), "of": of, "share": v}
        for g in shown
        for of, v in (("population", g.target), ("labels", g.share))
    ]
    y = alt.Y(
        "name:N",
        sort=[str(group.group) for group in shown],
        title=None,
        axis=alt.Axis(labelLimit=200),
    )
    title = "share of the population, and of the labels"
    x = alt.X("share:Q", title=title, axis=alt.Axis(format="%"), scale=alt.Scale(zero=True))
    color = alt.Color(
        "of:N", scale=alt.Scale(domain=["population", "labels"], range=[PALETTE[1], PALETTE[0]])
    )
    rule = (
        alt.Chart(alt.Data(values=ends))
        .mark_rule(strokeWidth=2, opacity=0.4)
        .encode(y=y, x=alt.X("low:Q", title=title), x2="high:Q")
    )
    tip = ["name:N", "of:N", alt.Tooltip("share:Q", format=".1%")]
    base = alt.Chart(alt.Data(values=dots)).encode(y=y, x=x, color=color, tooltip=tip)
    ring = base.transform_filter("datum.of == 'population'").mark_point(
        size=220, filled=False, strokeWidth=2.5
    )  # seen around a dot as well
    points = base.transform_filter("datum.of == 'labels'").mark_point(size=80)
    said = "; ".join(
        f"{g.group}: {percent(g.target, 0)} of the population, {percent(g.share, 0)} of the labels"
        for g in shown
    )
    chart = alt.layer(rule, ring, points).properties(height=30 * max(2, len(shown)))
    return Chart(chart, "representation-shares", f"Who should be heard, and who was.{which}", said)


def _gaps(found: Representativeness, epsilon: float) -> Chart:
    shown = [group for group in _shown(found) if group.rows]
    which = "" if len(found.groups) <= SHOWN else f" {_cut(found)}."
    rows: list[dict[str, Any]] = [
        {
            "name": str(g.group),
            "gap": g.gap.value,
            "low": g.gap.low,
            "high": g.gap.high,
            "rows": g.rows,
            "raters": g.raters,
        }
        for g in shown
    ]
    y = alt.Y(
        "name:N", sort=[row["name"] for row in rows], title=None, axis=alt.Axis(labelLimit=200)
    )
    title = "agreement with the group minus agreement with all rows"
    axis = alt.Axis(format="+%")
    tip = [
        "name:N",
        *(alt.Tooltip(f"{k}:Q", format="+.1%") for k in ("gap", "low", "high")),
        *(alt.Tooltip(f"{k}:Q") for k in ("rows", "raters")),
    ]
    band = alt.Chart(alt.Data(values=[{"from": -epsilon, "to": epsilon}])).mark_rect(
        color="#888888", opacity=0.12
    )
    band = band.encode(x=alt.X("from:Q", title=title, axis=axis), x2="to:Q")
    base = alt.Chart(alt.Data(values=rows)).encode(y=y, tooltip=tip)
    bars = base.mark_rule(strokeWidth=3, opacity=0.5, color=PALETTE[0]).encode(
        x=alt.X("low:Q", title=title, axis=axis), x2="high:Q"
    )
    dots = base.mark_point(size=110, color=PALETTE[0]).encode(
        x=alt.X("gap:Q", title=title, axis=axis)
    )
    said = "; ".join(f"{row['name']}: {100 * row['gap']:+.1f} points" for row in rows)
    chart = alt.layer(band, bars, dots).properties(height=32 * max(2, len(rows)))
    caption = (
        "How much better or worse one reward agrees with each group. The band is the "
        f"{percent(epsilon, 0)} that was asked for.{which}"
    )
    return Chart(chart, "representation-gaps", caption, said)


FINDING = FindingSpec("Whom do the raters stand for?", representation)
