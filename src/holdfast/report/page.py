"""A report is a page of sections. Everything on it is plain text until the template escapes it.

    Page("Title", "What came out, in a sentence.", [Section("Part", "Some words.",
    chart=Chart(...))]).write("report.html")

The written file holds its style, its charts, their data and the one copy of the JavaScript that
draws them. A content security policy in its head lets no other script run and nothing be loaded, so
that text from data can do no harm even if an escape were forgotten.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from holdfast.errors import OptionError
from holdfast.files import write_text
from holdfast.report.charts import Chart, inert_json, javascript
from holdfast.report.pair import Pair
from holdfast.version import __version__
from holdfast.visible import visible

MISSING = "n/a"
NOTHING_ELSE = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; "
    "form-action 'none'"
)
AMONG_WORDS = re.compile(
    r"\d\s+(?!to\b|of\b)[^\W\d]{2,}.*\d"
)  # "479 beats 54": a sentence with numbers in it, and no number
CODE = re.compile(r"`([^`\n]{1,120})`")
SEVERITIES = {
    "problem": "Problem",
    "warning": "Warning",
    "inconclusive": "Inconclusive",
    "ok": "OK",
}  # worst first, and the words beside the color


@dataclass(frozen=True)
class Tile:
    """One number to see first: `Tile("Win rate", "61.3%", "58.0% to 64.5%")`. `tone` is "", "ok",
    "warning" or "problem".
    """

    label: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under named columns. Cells may be strings, numbers or None (n/a). Columns of numbers are
    set flush right.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise OptionError(
                    f"a table of {len(self.columns)} columns has a row of {len(row)} cells: {row!r}"
                )

    @property
    def numeric(self) -> list[bool]:
        columns = [[row[i] for row in self.rows if row[i] != ""] for i in range(len(self.columns))]
        return [bool(cells) and all(looks_numeric(cell) for cell in cells) for cells in columns]

    @property
    def small(self) -> bool:
        """A name and a number a row, which an eye must not lose on the way across the page."""
        return len(self.columns) == 2 and self.numeric[1]


@dataclass(frozen=True)
class Details:
    """Something that unfolds: a line to click, then text, pairs of label and text, or a table."""

    summary: str
    text: str = ""
    fields: Sequence[tuple[str, str]] = ()
    table: Table | None = None


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs (blank lines part them), and whatever shows what they say.

    Attributes:
        severity: one of `SEVERITIES`: the section is a finding, and its `text` up to the first
            blank line stands in the page's summary
        question: the question that a finding answers
        aside: paragraphs with a name, set apart: ("What these data cannot tell", "...")
        command: something to paste into a shell, with a button that copies it
        measure: the one number of a finding, with its interval
        pairs: rows that show it, best first
        link: words, and the page that they lead to: a file in this folder or below
    """

    title: str
    text: str = ""
    chart: Chart | Sequence[Chart] | None = None
    table: Table | Sequence[Table] | None = None
    details: Sequence[Details] = ()
    tiles: Sequence[Tile] = ()
    measure: Tile | None = None
    severity: str = ""
    question: str = ""
    aside: Sequence[tuple[str, str]] = ()
    command: str = ""
    pairs: Sequence[Pair] = ()
    link: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if self.link and (":" in self.link[1] or self.link[1].startswith(("/", "\\"))):
            raise OptionError(
                f"{self.link[1]!r} is no file beside the page",
                hint='a relative path: "check/report.html"',
            )
        if self.severity and self.severity not in SEVERITIES:
            raise OptionError(
                f"{self.severity!r} is no severity",
                hint=f"one of {', '.join(SEVERITIES)}, or nothing",
            )

    @property
    def subtitle(self) -> str:
        """What it answers, where the heading does not say so already."""
        return "" if self.question.rstrip("?") == self.title else self.question

    @property
    def charts(self) -> list[Chart]:
        return [self.chart] if isinstance(self.chart, Chart) else list(self.chart or ())

    @property
    def tables(self) -> list[Table]:
        return [self.table] if isinstance(self.table, Table) else list(self.table or ())


@dataclass(frozen=True)
class Page:
    """A whole report. `lead` says in plain sentences what came out; `tiles` are the few numbers
    that matter most.
    """

    title: str
    lead: str
    sections: Sequence[Section] = ()
    tiles: Sequence[Tile] = ()
    footer: str = field(
        default_factory=lambda: (
            f"Made by Holdfast {__version__} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
        )
    )

    def charts(self) -> list[Chart]:
        return [chart for section in self.sections for chart in section.charts]

    @property
    def findings(self) -> list[tuple[int, Section]]:
        """The sections that are findings, with their numbers, worst first: the summary."""
        numbered = [(i, section) for i, section in enumerate(self.sections, 1) if section.severity]
        return sorted(numbered, key=lambda one: list(SEVERITIES).index(one[1].severity))

    @property
    def filter_before(self) -> int:
        """The number of the first section that a filter of rows is about; 0 where no section shows
        rows.
        """
        if not any(section.pairs for section in self.sections):
            return 0
        return next(
            i for i, section in enumerate(self.sections, 1) if section.severity or section.pairs
        )

    def html(self, *, pictures: bool = True) -> str:
        """The page. `pictures` says whether each chart lies beside it as a picture, to be
        linked to.
        """
        charts = self.charts()
        names = [chart.name for chart in charts]
        if len(set(names)) != len(names):
            raise OptionError(f"two charts of one page share a name: {sorted(names)}")
        style, starter = _resource("page.css"), _resource("page.js")
        scripts = [javascript(), starter] if charts else [starter]
        policy = f"{NOTHING_ELSE}; script-src {_allowed(scripts)}"
        specs = {chart.name: inert_json(chart.page_spec()) for chart in charts}
        return _template().render(
            page=self,
            severities=SEVERITIES,
            pictures=pictures,
            style=style,
            scripts=scripts,
            policy=policy,
            specs=specs,
        )

    def write(self, path: str | Path, *, pictures: bool = True) -> list[Path]:
        """Write the page in one move, and each chart as a picture beside it if wanted. Returns
        every path written, the page first.
        """
        path = Path(path)
        beside = [chart.save_picture(path.parent) for chart in self.charts() if pictures]
        write_text(
            path, self.html(pictures=pictures)
        )  # last: where there is a page, there is all of it
        return [path, *beside]


def looks_numeric(cell: object) -> bool:
    text = cell_text(cell)
    return text == MISSING or (
        bool(text) and text.lstrip("+-−<≈ ")[:1].isdigit() and not AMONG_WORDS.search(text)
    )


def cell_text(cell: object) -> str:
    """A cell as a reader sees it: numbers to four significant digits, None and NaN as n/a."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return MISSING
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _resource(name: str) -> str:
    return (files("holdfast.report") / name).read_text(encoding="utf-8")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["cell"] = cell_text
    environment.filters["prose"] = prose
    environment.filters["paragraphs"] = lambda text: [
        part.strip() for part in text.split("\n\n") if part.strip()
    ]
    return environment.from_string(_resource("page.html"))


def prose(text: str) -> Markup:
    """A sentence with `words` between backticks set as code. Everything is escaped, what is between
    backticks too.
    """
    parts = [escape(visible(part)) for part in CODE.split(text)]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts)
    )


def _shown(value: object) -> object:
    """Every text on its way into the template; what is marked as safe is ours."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _allowed(scripts: Sequence[str]) -> str:
    """The scripts of this page by their hashes, as a content security policy names them."""
    hashes = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts
    ]
    return " ".join(f"'sha256-{value}'" for value in hashes) or "'none'"
