"""Rows that cannot be used: what is wrong, counted, shown by example, or quarantined in a file.

Every complaint is a `RowError`: a reason that can be counted ("`chosen` is empty"), the field, and
a cure. `RowErrors` collects them for one pass over the data, so that one error shows every kind at
once.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from holdfast.errors import DataError, OptionError
from holdfast.types import Where
from holdfast.visible import json_text

EXAMPLES = 5  # shown in one error; every reason is counted


SAME = "`chosen` and `rejected` are the same"  # a reason that the check-up counts, as `empty` is


def empty(name: str) -> str:
    """The reason of a row whose field holds nothing."""
    return f"`{name}` is empty"


class RowError(Exception):
    """One row cannot be used. `reason` is the same for every row with the same fault; `detail` is
    about this one.
    """

    def __init__(self, reason: str, *, field: str | None = None, detail: str = "", cure: str):
        super().__init__(reason)
        self.reason, self.field, self.detail, self.cure = reason, field, detail, cure

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used: where it was, why, and what it held (the parsed row, the raw line,
    or the raw bytes).
    """

    where: Where
    error: RowError
    row: Any = None
    raw: str | bytes | None = None

    def entry(self, stage: str) -> dict[str, Any]:
        """What the quarantine file keeps. Bytes that are no UTF-8 are kept as base64."""
        entry: dict[str, Any] = {"file": self.where.file, "line": self.where.line, "stage": stage}
        entry |= {
            "reason": self.error.reason,
            "detail": self.error.detail,
            "field": self.error.field,
            "cure": self.error.cure,
        }
        if isinstance(self.raw, bytes):
            entry["raw_base64"] = base64.b64encode(self.raw).decode("ascii")
        elif self.raw is not None:
            entry["raw"] = self.raw
        else:
            entry["row"] = self.row
        return entry


@dataclass
class RowErrors:
    """The bad rows of one pass over a `stage`. Examples and counts are held, so that memory stays
    small; with a quarantine every row is written down as it comes, into a file without a name that
    is gone with the process, and from there into the quarantine at the end."""

    stage: str
    quarantine: Path | None = None
    counts: Counter[str] = field(default_factory=Counter)
    shown: list[BadRow] = field(default_factory=list)
    _written: IO[str] | None = None

    def add(self, bad: BadRow) -> None:
        self.counts[bad.error.reason] += 1
        if self.counts[bad.error.reason] <= EXAMPLES:
            self.shown.append(bad)
        if self.quarantine is not None:
            with _writable(self.quarantine):
                self._written = self._written or _unnamed(self.quarantine.parent)
                self._written.write(_line(bad.entry(self.stage)) + "\n")

    @property
    def total(self) -> int:
        return self.counts.total()

    def examples(self) -> list[BadRow]:
        """The first row of each kind, then further rows in order, up to `EXAMPLES` (or one of each
        kind, if there are more kinds).
        """
        first: dict[str, BadRow] = {}
        for bad in self.shown:
            first.setdefault(bad.error.reason, bad)
        chosen = list(first.values())
        taken = {id(bad) for bad in chosen}
        chosen += [bad for bad in self.shown if id(bad) not in taken][
            : max(0, EXAMPLES - len(chosen))
        ]
        return chosen

    def text(self, read: int) -> str:
        lines = [f"{self.total} of {read} rows cannot be used"]
        for bad in self.examples():
            place = f"field `{bad.error.field}`: " if bad.error.field else ""
            lines.append(f"  {bad.where}: {place}{bad.error}; cure: {bad.error.cure}")
        lines += [f"  {n} of {read} rows: {reason}" for reason, n in self.counts.most_common()]
        return "\n".join(lines)

    def settle(self, read: int, *, seen: Callable[[Where], bool]) -> None:
        """End the pass over the places that were `seen`: write the quarantine if one was asked for.

        Raises `DataError` if there are bad rows and no quarantine, or if no row is left.
        """
        if self.quarantine is not None:
            write_quarantine(self.quarantine, self._entries(), stage=self.stage, seen=seen)
        if not self.total:
            return
        if self.quarantine is None:
            hint = (
                "correct these rows, or skip and record them: --quarantine, or "
                'quarantine="quarantine.jsonl" in Python'
            )
            raise DataError(self.text(read), hint=hint)
        if self.total >= read:
            raise DataError(
                f"no row is left: {self.text(read)}",
                hint=(
                    f"every row is in {self.quarantine} with its reason; correct the rows at their "
                    "source"
                ),
            )

    def _entries(self) -> Iterator[dict[str, Any]]:
        if self._written is not None:
            with self._written as written:
                written.seek(0)
                yield from map(json.loads, written)


def _unnamed(folder: Path) -> IO[str]:
    """A file beside the quarantine, where there is room for it: a machine's folder for temporary
    files may be memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n", dir=folder)


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OptionError(
            f"the quarantine {path} cannot be written ({error.strerror or error})",
            hint="name another file",
        ) from error


def write_quarantine(
    path: Path, entries: Iterable[Mapping[str, Any]], *, stage: str, seen: Callable[[Where], bool]
) -> None:
    """Put `entries` in the quarantine, atomically, one after another. What an earlier pass of this
    `stage` said about places `seen` again is replaced; the rest stays.

    So a second run does not double the file, and training and evaluation data can share one
    quarantine. A device is refused: the file is renamed into place, and would stand where /dev/null
    was.
    """
    if path.exists() and not path.is_file():
        raise OptionError(f"the quarantine {path} is no regular file", hint="name another file")
    old = (
        e
        for e in _read_quarantine(path)
        if not (e["stage"] == stage and seen(Where(e["file"], e["line"])))
    )
    with _writable(path):
        _write(path, itertools.chain(old, entries))


def _write(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=path.name, suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as out:
            out.writelines(_line(entry) + "\n" for entry in entries)
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _line(entry: Mapping[str, Any]) -> str:
    return json_text(
        entry, default=repr
    )  # half a surrogate pair, which no file can hold, as its escape


def _read_quarantine(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a quarantine, none where there is no file. Raises OptionError at the first
    line that is none.
    """
    if not path.exists():
        return
    try:
        with path.open(encoding="utf-8") as file:
            for line in filter(str.strip, file):
                entry = json.loads(line)
                if not {"file", "line", "stage", "reason"} <= entry.keys():
                    raise ValueError("no entry of a quarantine")
                yield entry
    except (ValueError, AttributeError, OSError):
        raise OptionError(
            f"{path} exists and is no quarantine file of ours, so it is not overwritten",
            hint="name another file for quarantine=...",
        ) from None
