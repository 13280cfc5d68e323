"""Answers that say nothing, and pairs of answers that say the same."""

from __future__ import annotations

import re

import altair as alt
import numpy as np

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.present.wording import count, percent
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Example, Finding, FindingSpec, Severity
from holdfast.data.columns import is_answer
from holdfast.data.row_errors import SAME, empty
from holdfast.report import Chart, Table
from holdfast.stats.intervals import mean_interval
from holdfast.text.minhash import similar, words_of

SOME, MANY = 0.005, 0.05
NEARLY = 0.9  # overlap of word pairs from which two answers of one row say the same
EMPTY = re.compile(empty("(.+)"))
NOTHING = frozenset(
    {
        "nooutput",
        "no output",
        "none",
        "null",
        "nan",
        "n a",
        "na",
        "empty",
        "deleted",
        "removed",
        "error",
        "no response",
        "no answer",
        "undefined",
    }
)
READING = ("skipped", "same")  # kinds that are counted while the file is read, over all of it
KINDS = {
    "skipped": "empty, skipped while reading",
    "same": "both the same, skipped while reading",
    "letterless": "without a letter or digit",
    "placeholder": "a placeholder (none, n/a, nooutput, ...)",
    "marks": "different in case, spacing or punctuation alone",
    "nearly": "both nearly the same",
}
CLOSE = ("marks", "nearly")  # kinds that differ in something a judge may have meant: no flaw


def empty_answers(data: Comparisons, request: CheckRequest) -> Finding:
    """Rows with an empty answer, an answer without a letter or one that is a placeholder, and rows
    whose two answers are (nearly) the same.

    Truly empty and identical answers are skipped while the file is read; they are counted here
    all the same. Names are not looked into.
    """
    skipped = dict(data.report.skipped) if data.report else {}
    found = {kind: np.zeros(len(data), bool) for kind in ("letterless", "placeholder", *CLOSE)}
    for i in range(0 if data.named else len(data)):
        kind = _kind(data.chosen[i], data.rejected[i])
        if kind:
            found[kind][i] = True
    numbers: dict[str, int] = {
        "skipped": sum(
            n
            for reason, n in skipped.items()
            if (named := EMPTY.fullmatch(reason)) and is_answer(named[1])
        ),
        "same": skipped.get(SAME, 0),
        **{kind: int(at_N.sum()) for kind, at_N in found.items()},
    }
    any_N = np.any([at_N for kind, at_N in found.items() if kind not in CLOSE], axis=0)
    read_skipped = numbers["skipped"] + numbers["same"]
    share = mean_interval(any_N, data.cluster_N.tolist(), level=request.level, seed=request.seed)
    whole = (
        (int(any_N.sum()) + read_skipped) / (len(data) + read_skipped)
        if not data.note
        else float(any_N.mean())
    )
    severity = (
        Severity.PROBLEM if whole > MANY else Severity.WARNING if whole > SOME else Severity.OK
    )
    examples = [
        Example(int(i), 1.0, KINDS[kind])
        for kind, at_N in found.items()
        for i in np.flatnonzero(at_N)[:5]
    ]
    counted = {
        kind: number for kind, number in numbers.items() if not (data.note and kind in READING)
    }  # of the same rows
    total = sum(number for kind, number in counted.items() if kind not in CLOSE)
    parts = "; ".join(
        f"{number:,} {KINDS[kind]}"
        for kind, number in counted.items()
        if number and kind not in CLOSE
    )
    says = (
        f"{count(total, 'comparison')} {'has' if total == 1 else 'have'} an answer that says "
        f"nothing, or two that say the same: {parts}."
    )
    fine = (
        "In every match both sides have a name, and no name met itself."
        if data.named
        else "Every answer says something, and no two answers of a row are the same."
    )
    says = says if total else fine
    if numbers["marks"]:
        says += (
            f" In {count(numbers['marks'], 'comparison')} the two differ in case, spacing or "
            "punctuation alone."
        )
    if numbers["nearly"]:
        says += f" In {count(numbers['nearly'], 'comparison')} the two are nearly the same."
    if data.note and read_skipped:
        parts = "; ".join(f"{numbers[kind]:,} {KINDS[kind]}" for kind in READING if numbers[kind])
        says += f" Over the whole file, {count(read_skipped, 'row')} had such answers: {parts}."
    return Finding(
        "Empty and identical answers",
        severity,
        says,
        share,
        "share of the examined comparisons with an answer that says nothing, or two that "
        "say the same",
        remedy=(
            "Remove these rows: a label between equal answers says nothing, and an empty answer "
            "teaches silence."
        )
        if severity is not Severity.OK
        else "",
        cannot=(
            "Whether answers that are nearly the same were judged by what differs: one operator, "
            "one full stop or one word may be what the label is about. They stay."
        )
        if any(numbers[kind] for kind in CLOSE)
        else "",
        numbers={
            **numbers,
            "share": share.to_dict(),
            "share_with_skipped_rows": whole,
            "of_the_whole": list(READING) if data.note else [],
        },
        charts=[_chart(counted)] if any(counted.values()) else [],
        tables=[
            Table(
                ["kind", "comparisons"],
                [
                    [KINDS[kind] + (", of the whole file" if kind not in counted else ""), number]
                    for kind, number in numbers.items()
                ],
                f"All kinds together: {percent(whole)} of the "
                f"{'comparisons examined' if data.note else 'rows'}",
            )
        ],
        examples=examples,
    )


def _kind(chosen: str, rejected: str) -> str | None:
    one, two = chosen.strip(), rejected.strip()
    if not all(any(map(str.isalnum, text)) for text in (one, two)):
        return "letterless"
    if len(one) == len(two) or abs(len(one) - len(two)) < 0.2 * max(len(one), len(two)):
        if words_of(one) == words_of(two):
            return "marks"
        if similar(one, two) >= NEARLY:
            return "nearly"
    return (
        "placeholder"
        if any(len(text) < 20 and " ".join(words_of(text)) in NOTHING for text in (one, two))
        else None
    )


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


FINDING = FindingSpec("Do answers say nothing, or both the same?", empty_answers)
