"""The list of all claims, read off the pages that are there: a run of a few papers renews their
pages and leaves the others on the list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

CLAIM = re.compile(
    r"^## \d+\. "
    r"(?P<says>.+)\n\n\*\*(?P<verdict>Supported|Contradicted|Undecided)(?P<quick> "
    r"\(quick[^)]*\))?\.\*\* (?P<said>.*)$",
    re.M,
)
FIRST = re.compile(
    r"that nobody looked at before; on the first \d+, (likewise|supported|contradicted|undecided)"
)
SPENT = re.compile(r"in (\d+) (seconds|minutes) of one core")


@dataclass(frozen=True)
class Line:
    """One claim as its page has it. `first` is the verdict on the seeds that were looked at while
    its thresholds were chosen, "" where the verdict itself is of these."""

    title: str
    page: str
    says: str
    verdict: str
    quick: bool
    first: str


def lines_of(page: Path) -> list[Line]:
    """The claims of a page, in order; none where it is no page of claims."""
    text = page.read_text(encoding="utf-8")
    title = text.partition("\n")[0].removeprefix("# ").strip()
    out = []
    for found in CLAIM.finditer(text):
        verdict, first = found["verdict"].lower(), FIRST.search(found["said"])
        before = "" if first is None else verdict if first[1] == "likewise" else first[1]
        out.append(
            Line(title, page.name, found["says"], verdict, found["quick"] is not None, before)
        )
    return out


def index_of_pages(docs: Path) -> str:
    """README.md of a folder of pages of claims."""
    pages = [page for page in sorted(docs.glob("*.md")) if page.name != "README.md"]
    lines = [line for page in pages for line in lines_of(page)]
    changed, looked_at = (
        [x for x in lines if x.first and x.first != x.verdict],
        [x for x in lines if not x.first],
    )
    lead = (
        "Sentences that could be false, each measured in a world that knows its own "
        "answer, by a rule that is part of the claim "
        "(`holdfast.lab.verdict`). Contradicted ones are published as such. Whoever "
        "writes a claim looks at its seeds while its thresholds "
        "are chosen, so these cannot test it: each claim was run again, unchanged, on as "
        "many seeds that nobody had looked at "
        "(`holdfast lab claims --fresh 1000`), and the verdict is theirs. That of the "
        "first seeds stands beside it; it differs in "
        f"{len(changed)} of {len(lines) - len(looked_at)}. How often the rule errs was "
        "simulated: a claim that is just false, its border "
        "being the true mean, is found supported in 2% to 3% of runs where the numbers of "
        "the seeds are normal, in 3% to 5% where they "
        "are as skewed as an exponential, and in 5% to 8% where they are lognormal "
        "(skewness 6), with 50 to 8 seeds "
        "(`python benchmarks/verdict_errors.py`; 2.5% is nominal)."
    )
    if looked_at:
        lead += (
            f" Where the last column is empty ({len(looked_at)} claims) the seeds are the "
            "first ones: read those as descriptions."
        )
    table = [
        "| paper | claim | verdict | on the first seeds |",
        "| --- | --- | --- | --- |",
        *map(_row, lines),
    ]
    counts = ", ".join(
        f"{sum(x.verdict == verdict for x in lines)} {verdict}"
        for verdict in ("supported", "contradicted", "undecided")
    )
    return (
        f"# Claims\n\n{lead}\n\n"
        + "\n".join(table)
        + f"\n\n{len(lines)} claims: {counts}; {_minutes(pages):.0f} minutes of one core.\n"
    )


def _row(line: Line) -> str:
    says = line.says.replace("|", r"\|")
    return (
        f"| [{line.title}]({line.page}) | {says} | "
        f"**{line.verdict}**{' (quick)' if line.quick else ''} | {line.first} |"
    )


def _minutes(pages: list[Path]) -> float:
    spent = [found for page in pages if (found := SPENT.search(page.read_text(encoding="utf-8")))]
    return sum(int(found[1]) * (1 if found[2] == "minutes" else 1 / 60) for found in spent)
