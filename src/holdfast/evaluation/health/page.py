"""The health card as a page with charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.evaluation.health.finding import Finding
from holdfast.report import Chart, Page, Section
from holdfast.report.marks import intervals, lines


def page_of(reward: str, data: Mapping[str, Any], findings: Sequence[Finding]) -> Page:
    bad = [one for one in findings if one.severity in ("problem", "warning")]
    told = f"{len(bad)} of {len(findings)} findings need a look." if bad else "nothing is wrong."
    lead = (
        f"{reward} on {data['pairs']:,} pairs of {data['source']}: {told} Scores are in standard "
        "deviations of the reward over the data's answers."
    )
    return Page("Health of a reward", lead, [_section(one) for one in findings])


def _section(one: Finding) -> Section:
    return Section(
        one.name[:1].upper() + one.name[1:],
        one.says[:1].upper() + one.says[1:] + ".",
        severity="" if one.severity == "not_applicable" else one.severity,
        aside=[("What to do", one.cure)] if one.cure else (),
        chart=_chart(one),
    )


def _chart(one: Finding) -> Chart | None:
    numbers = one.numbers
    name = one.name.replace(" ", "-").replace(":", "")
    if one.name == "best of n" and numbers:
        rows = [{"name": "reward", "x": int(n), "y": y} for n, y in numbers["curve"].items()]
        chart = lines(rows, names=["reward"], x="n", y="expected score of the best", points=True)
        return Chart(chart, name, "Unbiased, from the samples at hand.", "Score against n.")
    if one.name == "edits" and numbers:
        rows = [{"name": edit, **_ends(found["shift_sd"])} for edit, found in numbers.items()]
        chart = intervals(rows, names=list(numbers), title="shift of the score, sd", mark_at=0.0)
        return Chart(chart, name, "Edits that change no meaning; 95% intervals.", "Shift by edit.")
    if one.name.startswith(("agreement by", "monotonicity")) and numbers:
        rows = [{"name": part, **_ends(found)} for part, found in numbers.items()]
        chart = intervals(rows, names=list(numbers), title="share right", percent=True, mark_at=0.5)
        return Chart(chart, name, "95% intervals; dashed: chance.", "Share right by part.")
    if one.name == "length" and numbers:
        rows = [{"name": who, **_ends(numbers[who])} for who in ("model", "labels")]
        chart = intervals(
            rows, names=["model", "labels"], title="longer wins", percent=True, mark_at=0.5
        )
        return Chart(chart, name, "How often the longer answer wins.", "Share of longer winners.")
    return None


def _ends(found: dict[str, Any]) -> dict[str, Any]:
    return {key: found[key] for key in ("value", "low", "high")}
