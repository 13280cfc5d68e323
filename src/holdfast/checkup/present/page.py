"""A check-up as a page: a summary in plain sentences, the advice, then every finding with its
picture, numbers and rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.present.wording import count, span
from holdfast.checkup.result import Example, Finding, Severity
from holdfast.checkup.table import FINDINGS
from holdfast.report import SEVERITIES, Details, Page, Pair, Section, Table, Tile
from holdfast.stats.intervals import Estimate
from holdfast.types import Row, Text

if TYPE_CHECKING:
    from holdfast.checkup.advice import Advice, Choice
    from holdfast.checkup.check import Checkup

SHOWN = 10  # rows of a finding
ASKS = {spec.name: spec.question for spec in FINDINGS}


FLAGGED = {
    Severity.PROBLEM: ("problem", "problems"),
    Severity.WARNING: ("thing to look at", "things to look at"),
}
QUIET = {
    Severity.OK: ("question came out fine", "questions came out fine"),
    Severity.INCONCLUSIVE: (
        "cannot be answered from these data",
        "cannot be answered from these data",
    ),
}


def page_of(checkup: Checkup) -> Page:
    """The whole page, worst finding first; within a severity in the order of the table."""
    names = sorted(
        (n for n, f in checkup.findings.items() if f.severity is not Severity.NOT_APPLICABLE),
        key=lambda n: _rank(checkup.findings[n]),
    )
    sections = [_advice(checkup.advice)]
    if checkup.confirmation is not None:
        sections.append(checkup.confirmation.section())
    sections += [
        _finding(checkup.findings[name], ASKS.get(name, ""), checkup.data) for name in names
    ]
    sections.append(_making(checkup))
    return Page(
        f"Check-up of {short(checkup.name)}", lead(checkup), _apart(sections), _tiles(checkup)
    )


def lead(checkup: Checkup) -> str:
    """What was looked at, how many severities of each kind, and the advice, in sentences."""
    data, severities = (
        checkup.data,
        Counter(finding.severity for finding in checkup.findings.values()),
    )
    looked = (
        count(data.total, "comparison")
        if len(data) == data.total
        else f"{len(data):,} of {count(data.total, 'comparison')}"
    )
    flagged = [
        count(severities[severity], *words)
        for severity, words in FLAGGED.items()
        if severities[severity]
    ]
    verdict = (
        f"{' and '.join(flagged)} in {looked}." if flagged else f"No fault was found in {looked}."
    )
    quiet = [
        count(severities[severity], *words)
        for severity, words in QUIET.items()
        if severities[severity]
    ]
    rest = f" {', but '.join(quiet) if not flagged else ' and '.join(quiet)}." if quiet else ""
    return (
        f"{verdict[:1].upper()}{verdict[1:]}{rest} The advice: {checkup.advice.best.verb} "
        f"{checkup.advice.best.label}." + (f"\n\nExamined: {data.note}." if data.note else "")
    )


def short(path: str) -> str:
    """The end of a path, with the folder that tells one "train.jsonl" from another."""
    return "/".join(Path(path).parts[-2:])


def _rank(finding: Finding) -> int:
    return list(SEVERITIES).index(finding.severity.value)


def _tiles(checkup: Checkup) -> list[Tile]:
    data, distinct = checkup.data, checkup.data.distinct
    said = [f"{len(data):,} examined"] if data.note else []
    said += [f"{count(data.ties, 'tie')} left out"] if data.ties else []
    tiles = [Tile("Comparisons", f"{data.total:,}", ", ".join(said))]
    if data.named and data.models_N2:
        tiles.append(
            Tile("Names", f"{len(data.models_N2[1]):,}", "in the sample" if data.note else "")
        )
    else:
        tiles.append(Tile("Prompts", f"{distinct['prompts']:,}"))
    tiles += [
        Tile(what.capitalize(), f"{distinct[what]:,}")
        for what in ("raters", "groups", "sources")
        if distinct[what] > 1
    ]
    return tiles


# ------------------------------------------------------------ advice


def _advice(advice: Advice) -> Section:
    """What to train and why, with the command."""
    best = advice.best
    aside = [("What that rests on", _rests(best))]
    if advice.first:
        aside.insert(0, ("Before training", "\n\n".join(advice.first)))
    if advice.open_questions:
        aside.append(("What stayed open", "\n\n".join(advice.open_questions)))
    tables = []
    if advice.choices[1:]:
        rows = [[choice.label, choice.reason, _rests(choice)] for choice in advice.choices[1:]]
        tables.append(
            Table(["otherwise", "because", "rests on"], rows, "What else applies, in order")
        )
    if advice.ruled_out:
        tables.append(
            Table(["not", "because"], [list(pair) for pair in advice.ruled_out], "Ruled out")
        )
    return Section(
        "What to do",
        f"{best.verb.capitalize()} {best.label}.\n\n{best.reason}",
        command=advice.command,
        aside=aside,
        table=tables,
    )


def _rests(choice: Choice) -> str:
    return f"{choice.rests_on} (claim {choice.claim})"


# ------------------------------------------------------------ findings


def _finding(finding: Finding, question: str, data: Comparisons) -> Section:
    aside = [("What to do about it", finding.remedy)] if finding.remedy else []
    if finding.cannot:
        aside.append(("What these data cannot tell", finding.cannot))
    return Section(
        finding.title,
        finding.says,
        chart=finding.charts,
        table=finding.tables,
        measure=_measure(finding.estimate, finding.of, finding.percent),
        severity=finding.severity.value,
        question=question,
        aside=aside,
        pairs=[
            pair_of(data.rows[example.place], example)
            for example in _distinct(finding.examples, data)[:SHOWN]
        ],
    )


def _distinct(examples: Sequence[Example], data: Comparisons) -> list[Example]:
    """Without those that read the same: repeated rows show a thing no better."""
    seen: dict[tuple[str, ...], Example] = {}
    for example in examples:
        i = example.place
        seen.setdefault((example.why, data.prompts[i], data.chosen[i], data.rejected[i]), example)
    return list(seen.values())


def _measure(estimate: Estimate, of: str, percent: bool) -> Tile | None:
    if estimate.value is None:
        return None
    value = f"{100 * estimate.value:.1f}%" if percent else f"{estimate.value:.3g}"
    interval = span(estimate, as_percent=percent, digits=1 if percent else 2).strip(" ()")
    return Tile(of, value, interval)


def pair_of(row: Row, example: Example) -> Pair:
    """A row as a reader wants to see it."""
    facts = {
        "rater": row.rater,
        "group": row.group,
        "source": row.source,
        "strength": row.strength,
        "confidence": row.confidence,
    }
    about = [(name, str(value)) for name, value in facts.items() if value is not None]
    return Pair(
        f"{Path(row.where.file).name}:{row.where.line}",
        example.why,
        turns(row.prompt),
        turns(row.chosen),
        turns(row.rejected),
        about=about,
    )


def turns(text: Text | None) -> str:
    """A text; a conversation with who speaks before each turn, an answer of one turn without."""
    if text is None or isinstance(text, str):
        return text or ""
    if len(text) == 1 and text[0].get("role") == "assistant":
        return str(text[0].get("content") or "")
    return "\n\n".join(
        f"{message.get('role', '')}: {message.get('content') or ''}" for message in text
    )


# ------------------------------------------------------------ the rest


def _making(checkup: Checkup) -> Section:
    absent = [
        (f.title, f.says + (f" {f.cannot}" if f.cannot else ""))
        for f in checkup.findings.values()
        if f.severity is Severity.NOT_APPLICABLE
    ]
    tables = (
        [Table(["not asked", "why"], absent, "Questions with nothing to look at")] if absent else []
    )
    slow = sorted(checkup.seconds.items(), key=lambda one: -one[1])
    seconds = Table(
        ["question", "seconds"], [[ASKS.get(name, name), round(taken, 2)] for name, taken in slow]
    )
    details = [Details("How long each question took", table=seconds)]
    tables.insert(
        0,
        Table(
            ["step by step"], [[line] for line in checkup.report.lines()], "How the rows were read"
        ),
    )
    return Section("How this was made", table=tables, details=details)


def _apart(sections: list[Section]) -> list[Section]:
    """Charts are also files: two of one name get a number."""
    seen: Counter[str] = Counter()
    out = []
    for section in sections:
        charts = []
        for chart in section.charts:
            seen[chart.name] += 1
            charts.append(
                chart
                if seen[chart.name] == 1
                else replace(chart, name=f"{chart.name}-{seen[chart.name]}")
            )
        out.append(replace(section, chart=charts))
    return out
