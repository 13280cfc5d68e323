"""`clean`: a better file out of a file of preferences, with a list of what was done to it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.progress import track
from rich.table import Table

from holdfast.checkup.check import prompts_of
from holdfast.checkup.clean.relabel import Relabeling, relabel_rows
from holdfast.checkup.clean.steps import (
    Change,
    Rows,
    Step,
    collapse,
    leaks,
    repeats,
    turn,
    void,
)
from holdfast.checkup.present.wording import count
from holdfast.data import ReadReport
from holdfast.data.reading import Reading
from holdfast.data.write import record, write_records
from holdfast.errors import DataError, OptionError
from holdfast.files import file_to_write, writing
from holdfast.terminal import Terminal
from holdfast.types import Row

CHANGES = "changes.jsonl"
STEPS = {
    "turn": "labels turned, as asked",
    "void": "an answer against itself",
    "leak": "prompt stands in the test set",
    "repeat": "repeats an earlier row",
    "collapse": "verdicts on one pair, collapsed",
}


@dataclass(frozen=True)
class Cleaning:
    """What came of a cleaning.

    Attributes:
        out: the file that was written
        rows: the rows in it
        changes: what was done, in the order of the steps; `changes.jsonl` holds the same
        before: how many rows were read
        report: how they were read
        relabeling: the rows to judge again, where they were asked for
    """

    out: Path
    rows: Rows
    changes: tuple[Change, ...]
    before: int
    report: ReadReport
    relabeling: Relabeling | None = None

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Step -> what was done -> to how many rows."""
        done = Counter((change.step, change.done) for change in self.changes)
        return {
            step: {what: n for (name, what), n in done.items() if name == step}
            for step in STEPS
            if any(name == step for name, _ in done)
        }

    @property
    def says(self) -> str:
        text = (
            f"{count(self.before, 'row')} read, {len(self.rows):,} written to {self.out}; "
            f"{count(len(self.changes), 'change')} listed in {self.out.parent / CHANGES}."
        )
        left = self.report.read - self.report.retained
        aside = f", in {self.report.quarantine}" if self.report.quarantine else ""
        return f"{text} {count(left, 'record')} could not be used{aside}." if left else text

    def to_dict(self) -> dict[str, Any]:
        """JSON's own types."""
        return {
            "out": str(self.out),
            "changes": str(self.out.parent / CHANGES),
            "rows_before": self.before,
            "rows_after": len(self.rows),
            "steps": self.counts,
            "read": self.report.to_dict(),
            "relabel": None if self.relabeling is None else self.relabeling.to_dict(),
        }

    def table(self) -> Table:
        """What was done, for a terminal."""
        shown = Table(title=f"{self.before:,} rows, {len(self.rows):,} after cleaning")
        shown.add_column("step")
        for name in ("removed", "turned", "merged"):
            shown.add_column(name, justify="right")
        for step, done in self.counts.items():
            shown.add_row(
                STEPS[step], *(f"{done.get(n, 0):,}" for n in ("removed", "turned", "merged"))
            )
        if not self.changes:
            shown.add_row("nothing to change", "0", "0", "0")
        return shown


def clean(
    data: Any,
    *,
    out: str | os.PathLike[str],
    against: Any = None,
    turn_source: tuple[str, ...] = (),
    turn_rater: tuple[str, ...] = (),
    keep_repeats: bool = False,
    keep_verdicts: bool = False,
    relabel: tuple[int, str | os.PathLike[str]] | None = None,
    seed: int = 0,
    quiet: bool = False,
    **reading: Any,
) -> Cleaning:
    """A file of preferences after the remedies that need no judgement; the input is not touched.

    In this order: the labels of named sources and raters are turned; comparisons of an answer with
    itself are removed; rows whose prompt stands in a test set are removed; of rows that repeat each
    other one is kept; what several verdicts say of one pair becomes one row, the majority's, with
    its share as `confidence`. Each row that was removed, turned or merged stands in `changes.jsonl`
    beside the file, whole, with the reason.

    Args:
        data: the comparisons: a file, a folder, or the name of a dataset on the hub; several are
            read as one. In Python also a `datasets.Dataset`, or an iterable of rows
        out: the file to write, JSON lines: prompt, chosen, rejected, and every other column
        against: a file of rows (a test set); rows with one of its prompts are removed
        turn_source: a source whose labels are reversed; may be repeated
        turn_rater: a rater whose labels are reversed; may be repeated
        keep_repeats: leave rows that repeat an earlier one where they are
        keep_verdicts: leave several verdicts on one pair as they are, for methods that learn from
            each of them
        relabel: how many rows to judge again, and the file to write them to
        seed: seed of samples and folds
        quiet: show no progress
        **reading: how rows are read, as for `holdfast.read`: fields of `holdfast.data.Reading`;
            rows that cannot be used go to the quarantine unless quarantine is False

    Raises:
        DataError: the data cannot be read at all, hold no comparison, or would not read back as
            what was written.
        OptionError: a file to write is one of those that are read; a source or rater to turn does
            not occur.
    """
    path = file_to_write(out, "out")
    judge_again = None if relabel is None else file_to_write(relabel[1], "relabel")
    if path.suffix not in (".jsonl", ".ndjson"):
        raise OptionError(f"out {str(path)!r} is no JSON lines", hint="name it cleaned.jsonl, say")
    if relabel is not None and relabel[0] < 1:
        raise OptionError(f"relabel asks for {relabel[0]} rows", hint="ask for 100, say")
    how_read = Reading.of({"quarantine": True} | reading, "clean")
    aside = how_read.quarantine_file(path.parent)
    found = how_read.rows(data, aside)
    _not_one_of([path, path.parent / CHANGES, judge_again, aside], found.report)
    rows = found.rows
    if any(row.named for row in rows):
        raise DataError(
            f"{found.report.files[0]}: these are results between names, without texts",
            hint="nothing in them can be cleaned without a judgement",
        )
    _known(rows, "source", turn_source)
    _known(rows, "rater", turn_rater)
    tests = None if against is None else prompts_of(against, how_read)
    steps: list[Step] = [
        *(
            partial(turn, who=who, names=names)
            for who, names in (("source", turn_source), ("rater", turn_rater))
            if names
        ),
        void,
        *([] if tests is None else [partial(leaks, tests=tests, seed=seed)]),
        *([] if keep_repeats else [repeats]),
        *([] if keep_verdicts else [collapse]),
    ]
    before, changes = len(rows), []
    for step in track(
        steps, "cleaning", console=Terminal(stderr=True), disable=quiet, transient=True
    ):
        rows, done = step(rows)
        changes += done
    if not rows:
        raise DataError(
            f"of {count(before, 'row')} none is left",
            hint="; ".join(
                f"{STEPS[step]}: {n:,}"
                for step, n in Counter(change.step for change in changes).items()
            )
            + ". --keep-verdicts leaves several verdicts on one pair as they are",
        )
    relabeling = None
    if relabel is not None:
        relabeling = relabel_rows(rows, relabel[0], seed=seed)
    with writing(str(path), hint="make room, or name another place with --out"):
        _write(path, rows, changes)
        if relabeling is not None and judge_again is not None:
            relabeling = relabeling.write(judge_again)
    return Cleaning(path, rows, tuple(changes), before, found.report, relabeling)


def _not_one_of(written: Sequence[Path | None], report: ReadReport) -> None:
    read = {os.path.realpath(name) for name in report.files}
    for path in written:
        if path is not None and os.path.realpath(path) in read:
            raise OptionError(
                f"{path} is read, and would be written", hint="write to another file: --out"
            )


def _known(rows: Rows, who: str, names: Sequence[str]) -> None:
    there = {name for row in rows if (name := getattr(row, who)) is not None}
    for name in names:
        if name not in there:
            some = ", ".join(sorted(there)[:8]) or f"no row has a {who}"
            raise OptionError(f"no row's {who} is {name!r}", hint=f"there are: {some}")


def _write(path: Path, rows: Rows, changes: Sequence[Change]) -> None:
    """Both files, after it was seen that the rows read back as they are."""
    records = [record(row) for row in rows]
    with TemporaryDirectory(dir=path.parent, prefix=".part-") as scratch:
        trial = Path(scratch) / "cleaned.jsonl"
        write_records(trial, records)
        again = Reading().rows(trial).rows
        _equal(rows, again)
        write_records(path.parent / CHANGES, (change.to_dict() for change in changes))
        trial.replace(path)


def _equal(rows: Rows, again: Rows) -> None:
    def bare(row: Row) -> Row:
        return replace(row, where=rows[0].where, extra={})

    if len(again) != len(rows):
        raise DataError(
            f"{len(rows):,} cleaned rows would read back as {len(again):,}",
            hint="leave the columns out that make them look otherwise: --columns name=",
        )
    for mine, theirs in zip(rows, again, strict=True):
        if bare(mine) != bare(theirs):
            raise DataError(
                f"{mine.where}: the cleaned row would read back as another one",
                hint="leave the columns out that make it look otherwise: --columns name=",
            )
