"""What is there: how many rows became comparisons, which were skipped and why, how much was asked,
in which languages.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import altair as alt
import numpy as np

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.present.wording import count, percent
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Finding, FindingSpec, Severity
from holdfast.report import Chart, Table
from holdfast.stats.intervals import Estimate

SOME, MANY = 0.01, 0.2  # shares of rows that are skipped
LOOKED_AT = 2000  # answers whose language is guessed
FEW_WORDS = 5  # fewer tell no language
SCRIPTS = (
    ("Chinese or Japanese", 0x4E00, 0x9FFF),
    ("Japanese", 0x3040, 0x30FF),
    ("Korean", 0xAC00, 0xD7AF),
    ("Cyrillic script", 0x0400, 0x04FF),
    ("Arabic script", 0x0600, 0x06FF),
    ("Hebrew", 0x0590, 0x05FF),
    ("Greek", 0x0370, 0x03FF),
    ("Devanagari script", 0x0900, 0x097F),
    ("Thai", 0x0E00, 0x0E7F),
)
COMMON = {
    "English": "the and of to is that it for with you this be are not have",
    "German": "der die und das ist nicht ein eine zu den mit sich auf für ich",
    "French": "le la les et est des une que pour dans vous pas qui sur avec",
    "Spanish": "el los las que es por una con para del se más como pero su",
    "Italian": "il che di è per una con sono non della gli più come anche questo",
    "Portuguese": "que não uma para com os como mas por ele são mais você isso em",
    "Dutch": "het een van en is dat niet op te voor met zijn aan ook je",
}
WORDS = {name: frozenset(words.split()) for name, words in COMMON.items()}


def overview(data: Comparisons, request: CheckRequest) -> Finding:
    """Rows read, skipped by reason, ties, comparisons; prompts, answers, raters, groups, sources;
    languages, by common words.
    """
    report = data.report
    read = report.read if report else data.total + data.ties + data.others
    skipped = dict(report.skipped) if report else {}
    lost = sum(skipped.values())
    share = lost / max(1, read)
    examined = len(data)
    distinct = data.distinct
    prompts = distinct["prompts"]
    answers = (
        len(data.models_N2[1]) if data.named and data.models_N2 else len(np.unique(data.answers_N2))
    )
    languages = {} if data.named else _languages(data, request.seed)
    numbers: dict[str, Any] = {
        "read": read,
        "skipped": skipped,
        "comparisons": data.total,
        "examined": examined,
        "ties": data.ties,
        "others": data.others,
        "names" if data.named else "prompts": answers if data.named else prompts,
        "answers": answers,
        "raters": distinct["raters"],
        "groups": distinct["groups"],
        "sources": distinct["sources"],
        "models": len(data.models_N2[1]) if data.models_N2 else 0,
        "languages": languages,
        "columns": list(report.columns) if report else [],
        "whole": dict(report.counts) if report else {},
        "of_the_sample": [*(["names"] if data.named else []), "answers", "models", "languages"]
        if data.note
        else [],
    }
    severity = (
        Severity.PROBLEM if share > MANY else Severity.WARNING if share > SOME else Severity.OK
    )
    about = (
        f"between {count(answers, 'name')}{' (in the sample)' if data.note else ''}"
        if data.named
        else f"about {count(prompts, 'prompt')}"
    )
    says = f"{count(read, 'row')} hold {count(data.total, 'comparison')} {about}"
    says += f", and {count(data.ties, 'tie')}" if data.ties else ""
    says += (
        f"; {count(lost, 'row')} ({percent(share)}) {'was' if lost == 1 else 'were'} skipped."
        if lost
        else "; none was skipped."
    )
    says += f" Examined: {data.note}." if data.note else ""
    main = next(iter(languages), None)
    says += (
        f" Most answers{' of the sample' if data.note else ''} are {main} "
        f"({percent(languages[main], 0)})."
        if main and languages[main] < 0.98
        else ""
    )
    return Finding(
        "What is there",
        severity,
        says,
        Estimate(share, n=read),
        "share of rows that were skipped",
        remedy="Look at the skipped rows, and correct them at the source."
        if severity is not Severity.OK
        else "",
        cannot="Findings are about the sample; what they say of the whole carries its intervals."
        if data.note
        else "",
        numbers=numbers,
        charts=[_chart(data, skipped)]
        + ([_language_chart(languages)] if len(languages) > 1 else []),
        tables=[_table(numbers, data)]
        + (
            [Table(["skipped because", "rows"], [[why, n] for why, n in skipped.items()])]
            if skipped
            else []
        ),
    )


def _table(numbers: dict[str, Any], data: Comparisons) -> Table:
    rows: list[list[Any]] = [
        ["rows read", numbers["read"]],
        ["skipped", sum(numbers["skipped"].values())],
    ]
    rows += [["ties, which have no winner", data.ties]] if data.ties else []
    rows += [["rows that compare nothing", data.others]] if data.others else []
    rows += [["comparisons", data.total], ["examined", len(data)]]
    kinds = ("names",) if data.named else ("prompts", "answers", "models")
    sampled = numbers["of_the_sample"]
    rows += [
        [f"distinct {kind}{', in the sample' if kind in sampled else ''}", numbers[kind]]
        for kind in (*kinds, "raters", "groups", "sources")
        if numbers[kind]
    ]
    if not data.named and numbers["prompts"]:
        rows.append(["comparisons a prompt", data.total / numbers["prompts"]])
    return Table(["", "count"], rows)


def _languages(data: Comparisons, seed: int) -> dict[str, float]:
    """Share of answers in each language, most common first, of a sample of those long enough to
    tell.
    """
    places = np.random.default_rng(seed).permutation(len(data))[:LOOKED_AT]
    told = Counter(filter(None, (language_of(data.chosen[i][:2000]) for i in places.tolist())))
    return {name: n / told.total() for name, n in told.most_common(8)}


def language_of(text: str) -> str | None:
    """By script, or by the most common words of the large languages in Latin script; None where
    there is too little to tell.
    """
    letters = [ord(letter) for letter in text if letter.isalpha()]
    foreign = [code for code in letters if code > 0x24F]
    if len(foreign) * 2 > len(letters):
        found = Counter(
            name for code in foreign for name, low, high in SCRIPTS if low <= code <= high
        )
        if found["Japanese"] > 0.1 * len(foreign):
            return "Japanese"
        return found.most_common(1)[0][0].replace(" or Japanese", "") if found else "another script"
    words = text.casefold().split()
    if len(words) < FEW_WORDS:
        return None
    hits = {name: sum(word in common for word in words) for name, common in WORDS.items()}
    best = max(hits, key=lambda name: hits[name])
    return best if hits[best] >= max(1, 0.04 * len(words)) else "unknown"


def _chart(data: Comparisons, skipped: dict[str, int]) -> Chart:
    parts = [
        ("comparisons", data.total),
        ("ties", data.ties),
        ("compare nothing", data.others),
        *skipped.items(),
    ]
    shown = [(name, number) for name, number in parts if number]
    rows = [{"kind": name.replace("`", ""), "rows": number} for name, number in shown]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(height=18, cornerRadiusEnd=3)
        .encode(
            y=alt.Y("kind:N", sort=None, title=None, axis=alt.Axis(labelLimit=320)),
            x=alt.X("rows:Q", title="rows", axis=alt.Axis(format=",d", tickMinStep=1)),
            color=alt.condition(
                "datum.kind == 'comparisons'", alt.value("#3d8f5f"), alt.value("#7a7f87")
            ),
            tooltip=["kind:N", alt.Tooltip("rows:Q", format=",")],
        )
        .properties(height=28 * max(2, len(rows)))
    )
    return Chart(
        chart,
        "overview",
        "What became of the rows.",
        "; ".join(f"{number:,} {name}" for name, number in shown),
    )


def _language_chart(languages: dict[str, float]) -> Chart:
    rows = [{"language": name, "share": share} for name, share in languages.items()]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(height=16, cornerRadiusEnd=3, color="#8a63b5")
        .encode(
            y=alt.Y("language:N", sort=None, title=None),
            x=alt.X("share:Q", title="share of answers", axis=alt.Axis(format="%")),
            tooltip=["language:N", alt.Tooltip("share:Q", format=".1%")],
        )
        .properties(height=24 * max(2, len(rows)))
    )
    said = "; ".join(f"{name} {share:.0%}" for name, share in languages.items())
    return Chart(
        chart,
        "languages",
        "Languages of a sample of the chosen answers, guessed by script and common words.",
        said,
    )


FINDING = FindingSpec("What is there?", overview, whole=True)
