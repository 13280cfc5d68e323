"""The whole check-up: read, sample if there is much, ask every question, advise."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Protocol

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from holdfast.card import check as require
from holdfast.checkup.advice import Advice, advise
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.present.wording import count
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import AnyFinding, Finding, Severity
from holdfast.checkup.table import FINDINGS
from holdfast.data import ReadReport, Sample
from holdfast.data.conservation import Loss
from holdfast.data.reading import Reading
from holdfast.errors import DataError, HoldfastError, OptionError
from holdfast.files import folder_to_write, write_text
from holdfast.report import Section
from holdfast.terminal import Terminal
from holdfast.text.plain import plain_text
from holdfast.visible import json_text, listed

COLUMNS = (
    SpinnerColumn(),
    TextColumn("{task.description}"),
    BarColumn(),
    TextColumn("{task.completed}/{task.total}"),
    TimeElapsedColumn(),
)
LARGEST = 100_000  # comparisons that are examined; of more, a sample


class Trial(Protocol):
    """What came of trying the advice: a sentence, a section of the page, JSON's own types."""

    @property
    def says(self) -> str: ...

    def section(self) -> Section: ...

    def to_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Checkup:
    """Every finding, by the name of its probe, in the order of the report."""

    name: str
    data: Comparisons
    report: ReadReport
    findings: Mapping[str, Finding]
    advice: Advice
    seconds: Mapping[str, float]
    confirmation: Trial | None = None  # of the advice, where it was tried: `holdfast.confirm`

    def write(self, folder: Path) -> None:
        """report.html with its pictures, and check.json, in that folder."""
        from holdfast.checkup.present.page import page_of

        page_of(self).write(folder / "report.html")
        text = json_text(self.to_dict(), indent=2, default=str)
        write_text(folder / "check.json", text + "\n")

    def to_dict(self) -> dict[str, Any]:
        """JSON's own types: the same content as the page."""
        return {
            "data": self.name,
            "comparisons": {
                "total": self.data.total,
                "examined": len(self.data),
                "ties": self.data.ties,
                "others": self.data.others,
            },
            "sample": self.data.note,
            "read": self.report.to_dict(),
            "findings": {
                name: plain(finding, self.data) for name, finding in self.findings.items()
            },
            "advice": self.advice.to_dict(),
            "confirmation": None if self.confirmation is None else self.confirmation.to_dict(),
            "seconds": dict(self.seconds),
        }


def plain(finding: Finding, data: Comparisons) -> dict[str, Any]:
    kept = ("title", "severity", "says", "of", "percent", "remedy", "cannot", "numbers")
    examples = [
        asdict(example) | {"where": str(data.rows[example.place].where)}
        for example in finding.examples
    ]
    return {name: getattr(finding, name) for name in kept} | {
        "estimate": finding.estimate.to_dict(),
        "examples": examples,
    }


def run_findings(
    data: Comparisons, request: CheckRequest, specs: Iterable[AnyFinding] = FINDINGS
) -> tuple[dict[str, Finding], dict[str, float]]:
    """Every finding and its seconds. A finding that fails says so in its own place, and the others
    go on.
    """
    specs = tuple(specs)
    findings, seconds = {}, {}
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=Terminal(stderr=True), disable=request.quiet, transient=True
    ) as progress:
        task = progress.add_task("", total=len(specs))
        for spec in specs:
            progress.update(task, description=spec.question)
            start = time.perf_counter()
            findings[spec.name] = run_safely(spec, data, request)
            seconds[spec.name] = time.perf_counter() - start
            progress.advance(task)
    return findings, seconds


def run_safely(spec: AnyFinding, data: Comparisons, request: CheckRequest) -> Finding:
    try:
        finding = spec.run(data, request)
        return finding if spec.whole else of_sample(finding, data)
    except HoldfastError as error:
        return Finding(
            spec.name.replace("_", " ").capitalize(),
            Severity.INCONCLUSIVE,
            f"Not answered: {error}",
        )


def of_sample(finding: Finding, data: Comparisons) -> Finding:
    """The finding with the sample named in its sentence and over its tables and charts, where a
    sample was examined.
    """
    if not data.note or (finding.severity is Severity.NOT_APPLICABLE and not finding.numbers):
        return finding
    sample = f"a sample of {len(data):,} of {count(data.total, 'comparison')}"

    def named(caption: str) -> str:
        return f"{caption}{'' if not caption or caption[-1] in '.!?' else '.'} Of {sample}.".strip()

    return replace(
        finding,
        says=f"In {sample}: {finding.says}",
        numbers={**finding.numbers, "sample": data.note},
        charts=[replace(chart, caption=named(chart.caption)) for chart in finding.charts],
        tables=[replace(table, caption=named(table.caption)) for table in finding.tables],
    )


def check(
    data: Any,
    *,
    out: str | os.PathLike[str] | None = None,
    rows: int = LARGEST,
    against: Any = None,
    model: Any = None,
    reference: Any = None,
    tokenizer: Any = None,
    template: Literal["auto", "chat", "plain", "none"] | None = None,
    accept_loss: tuple[Loss, ...] = (),
    beta: float = 0.1,
    population: Mapping[str, float] | str | os.PathLike[str] | None = None,
    epsilon: float = 0.05,
    level: float = 0.95,
    seed: int = 0,
    trust_remote_code: bool = False,
    quiet: bool = False,
    **reading: Any,
) -> Checkup:
    """What is wrong with these preferences, before anything is trained.

    Args:
        data: the comparisons: a file, a folder, or the name of a dataset on the hub; several are
            read as one. In Python also a `datasets.Dataset`, or an iterable of rows
        out: a folder for report.html, its pictures, check.json, and the rows that could not be
            read; nothing is written unless given
        rows: comparisons to examine; of a larger set, a seeded sample of this size
        against: a file of rows (a test set) whose prompts must not occur here
        model: a policy, for the findings that need one: how it ranks the pairs, how hard they are
        reference: the reference of that policy; itself unless given
        tokenizer: of that policy; found beside it unless given
        template: how rows become text for that policy, as for `train`; as it was trained unless
            given
        accept_loss: what its chat template may drop of a row; a row that loses anything else is an
            error
        beta: strength of the KL penalty of the training to come; how hard a pair is depends on it
        population: shares of the raters' groups in the population they should stand for: a JSON
            file, or text such as {"women": 0.5, "men": 0.5}
        epsilon: how closely each of these groups is to be known; the report says how many labels
            that takes
        level: confidence level of all intervals
        seed: seed of samples, folds and resamples
        trust_remote_code: run code that comes with the model
        quiet: show no progress
        **reading: how rows are read, as for `holdfast.read`: fields of `holdfast.data.Reading`;
            rows that cannot be used go to the quarantine unless quarantine is False

    Raises:
        DataError: the data cannot be read at all, or hold no comparison.
    """
    if out is not None:
        folder_to_write(out)
    require("epsilon", epsilon, 0 < epsilon < 1, "lie between 0 and 1")
    require("level", level, 0 < level < 1, "lie between 0 and 1")
    how_read = Reading.of({"quarantine": True} | reading, "check")
    request = CheckRequest(
        seed=seed,
        against=None if against is None else prompts_of(against, how_read),
        model=model,
        reference=reference,
        tokenizer=tokenizer,
        template=template,
        accept_loss=accept_loss,
        beta=beta,
        population=shares_of(population),
        epsilon=epsilon,
        level=level,
        trust_remote_code=trust_remote_code,
        quiet=quiet,
    )
    with TemporaryDirectory() as scratch:
        folder = Path(scratch if out is None else out)
        folder.mkdir(parents=True, exist_ok=True)
        found = how_read.rows(data, how_read.quarantine_file(folder), sample=Sample(rows, seed))
    comparisons = Comparisons.read(found)
    if not len(comparisons):
        if comparisons.ties:
            raise DataError(
                f"{count(comparisons.ties, 'comparison')}, and every one a tie: no "
                "verdict to examine",
                hint="give rows with a winner",
            )
        read_as = found.report
        raise DataError(
            f"{listed(read_as.files, 10)}: no row is a comparison: "
            f"{count(read_as.retained, 'row')} read as {read_as.format} ({read_as.why})",
            hint=(
                "the check-up needs two answers and which is better: `chosen` and `rejected`, "
                "or `answers` and `scores`; "
                "if columns of other names hold them, say so: --columns chosen=mine"
            ),
        )
    name = str(data) if isinstance(data, str | os.PathLike) else ", ".join(found.report.files)
    given = (
        isinstance(data, Sequence)
        and not isinstance(data, str)
        and all(isinstance(one, str | os.PathLike) for one in data)
    )
    several = [str(one) for one in data] if given else name
    if model is not None and not comparisons.named:
        from holdfast.checkup.estimators.model_scores import ModelScores

        comparisons = replace(comparisons, model_scores=ModelScores.read(comparisons.rows, request))
    findings, seconds = run_findings(comparisons, request)
    advice = advise(
        findings,
        data=several,
        reading=replace(how_read, quarantine=bool(found.report.skipped)).flags(),
        named=comparisons.named,
    )
    checkup = Checkup(name, comparisons, found.report, findings, advice, seconds)
    if out is not None:
        checkup.write(Path(out))
    return checkup


def prompts_of(source: Any, reading: Reading) -> list[str]:
    """The prompts of other rows, read as ours are where they have the columns that were named, else
    as they stand.
    """
    with TemporaryDirectory() as scratch:
        aside = reading.quarantine_file(scratch)
        try:
            found = replace(reading, split=None).rows(source, aside)
        except DataError:
            if not reading.columns:
                raise
            found = replace(reading, split=None, columns=()).rows(source, aside)
    return [plain_text(row.prompt) for row in found.rows]


def shares_of(
    population: Mapping[str, float] | str | os.PathLike[str] | None,
) -> dict[str, float] | None:
    """Group -> share, from a mapping, JSON text, or a JSON file."""
    if population is None or isinstance(population, Mapping):
        return None if population is None else dict(population)
    hint = 'a JSON object such as {"women": 0.5, "men": 0.5}, or a file that holds one'
    try:
        text = str(population)
        shares = json.loads(
            text if text.lstrip().startswith("{") else Path(population).read_text(encoding="utf-8")
        )
    except (OSError, ValueError) as error:
        raise OptionError(
            f"the population {str(population)[:80]!r} cannot be read: {error}", hint=hint
        ) from None
    if not isinstance(shares, dict) or not all(
        isinstance(share, int | float) and share >= 0 for share in shares.values()
    ):
        raise OptionError(
            f"the population {str(population)[:80]!r} is no object of shares", hint=hint
        )
    return shares


__all__ = ["Checkup", "check", "run_findings"]
