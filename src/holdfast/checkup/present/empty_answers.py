"""Empty and identical answers, in a sentence, a picture and a few rows of each kind."""

from __future__ import annotations

import altair as alt

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.findings.empty_answers import CLOSE, READING, EmptyAnswers
from holdfast.checkup.present.wording import count, percent
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import FLAGGED, Example, Finding, Severity
from holdfast.report import Chart, Table

KINDS = {
    "skipped": "empty, skipped while reading",
    "same": "both the same, skipped while reading",
    "letterless": "without a letter or digit",
    "placeholder": "a placeholder (none, n/a, nooutput, ...)",
    "marks": "different in case, spacing or punctuation alone",
    "nearly": "both nearly the same",
}


def empty_answers(
    found: EmptyAnswers, severity: Severity, data: Comparisons, request: CheckRequest
) -> Finding:
    """What is said and shown of answers that say nothing, or the same."""
    counted = found.comparable
    return Finding(
        "",
        severity,
        _says(found, named=data.named),
        found.share,
        "share of the examined comparisons with an answer that says nothing, or two that "
        "say the same",
        remedy=(
            "Remove these rows: a label between equal answers says nothing, and an empty answer "
            "teaches silence."
        )
        if severity in FLAGGED
        else "",
        cannot=(
            "Whether answers that are nearly the same were judged by what differs: one operator, "
            "one full stop or one word may be what the label is about. They stay."
        )
        if any(found.counts[kind] for kind in CLOSE)
        else "",
        charts=[_chart(counted)] if any(counted.values()) else [],
        tables=[
            Table(
                ["kind", "comparisons"],
                [
                    [KINDS[kind] + (", of the whole file" if kind not in counted else ""), number]
                    for kind, number in found.counts.items()
                ],
                f"All kinds together: {percent(found.share_with_skipped)} of the "
                f"{'comparisons examined' if found.sampled else 'rows'}",
            )
        ],
        examples=[
            Example(i, 1.0, KINDS[kind]) for kind, places in found.places.items() for i in places
        ],
    )


def _says(found: EmptyAnswers, *, named: bool) -> str:
    total, counts = found.flawed, found.counts
    if total:
        parts = _parts({k: n for k, n in found.comparable.items() if k not in CLOSE})
        says = (
            f"{count(total, 'comparison')} {'has' if total == 1 else 'have'} an answer that says "
            f"nothing, or two that say the same: {parts}."
        )
    elif named:
        says = "In every match both sides have a name, and no name met itself."
    else:
        says = "Every answer says something, and no two answers of a row are the same."
    if counts["marks"]:
        says += (
            f" In {count(counts['marks'], 'comparison')} the two differ in case, spacing or "
            "punctuation alone."
        )
    if counts["nearly"]:
        says += f" In {count(counts['nearly'], 'comparison')} the two are nearly the same."
    if found.sampled and found.skipped:
        parts = _parts({kind: counts[kind] for kind in READING})
        says += f" Over the whole file, {count(found.skipped, 'row')} had such answers: {parts}."
    return says


def _parts(counts: dict[str, int]) -> str:
    return "; ".join(f"{number:,} {KINDS[kind]}" for kind, number in counts.items() if number)


def _chart(numbers: dict[str, int]) -> Chart:
    rows = [
        {"kind": KINDS[kind], "comparisons": number} for kind, number in numbers.items() if number
    ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(height=18, cornerRadiusEnd=3)
        .encode(
            y=alt.Y("kind:N", sort="-x", title=None, axis=alt.Axis(labelLimit=300)),
            x=alt.X("comparisons:Q", title="comparisons", axis=alt.Axis(tickMinStep=1)),
            tooltip=["kind:N", alt.Tooltip("comparisons:Q", format=",")],
        )
        .properties(height=30 * max(2, len(rows)))
    )
    return Chart(
        chart,
        "empty_answers",
        "Answers that say nothing, by kind.",
        "; ".join(f"{r['comparisons']:,} {r['kind']}" for r in rows),
    )
