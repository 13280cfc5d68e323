"""What rows are read from: a file, several, a pattern, a folder, a name on the hub, or a Python
object.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from holdfast.data import hub
from holdfast.data.files import READERS, records, suffix
from holdfast.data.folders import folder_files
from holdfast.data.lines import Record
from holdfast.data.objects import are_columns, from_columns, from_rows, from_table, is_table
from holdfast.errors import DataError
from holdfast.visible import listed


@dataclass(frozen=True)
class Opened:
    """Records that are about to be read."""

    records: Iterator[Record]
    files: tuple[str, ...]  # what they are read from, as errors and reports call it
    said: str = ""  # how these were chosen
    by_column: str | None = None  # the rows to keep, by the value of their `split` column


@runtime_checkable
class Opens(Protocol):
    """A source that makes its own records: rows with images, whose bytes are named on the way."""

    def opened(self, split: str | None) -> Opened: ...


def open_source(source: Any, split: str | None) -> Opened:
    """The records of a source. Raises DataError for one that cannot be read, or holds several
    splits where none was asked for.
    """
    if isinstance(source, Opens):
        return source.opened(split)
    if isinstance(source, str | os.PathLike):
        return _place(os.fspath(source), split)
    if (
        isinstance(source, Sequence)
        and source
        and all(isinstance(one, str | os.PathLike) for one in source)
    ):
        return _several([os.fspath(one) for one in source], split)
    if is_table(source):
        return Opened(from_table(source), ("data frame",), "a data frame", split)
    if hasattr(source, "remove_columns"):  # of the `datasets` library
        records, name = hub.of_split(source, "dataset", split)
        return Opened(
            records, (name,), "a datasets object", None if isinstance(source, Mapping) else split
        )
    if isinstance(source, Mapping):
        if are_columns(source):
            return Opened(from_columns(source, "columns"), ("columns",), "a dict of columns", split)
        raise DataError(
            "a dict is no list of rows",
            hint="pass a list of dicts, one a row; or a dict of columns, lists of one length",
        )
    if isinstance(source, bytes) or not isinstance(source, Iterable):
        hint = "pass a path, a datasets.Dataset, a data frame, or an iterable of dicts"
        raise DataError(f"rows cannot be read from a {type(source).__name__}", hint=hint)
    return Opened(from_rows(source, "rows"), ("rows",), "", split)


def _place(name: str, split: str | None) -> Opened:
    """What one string names."""
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            if hub.is_saved_dataset(path):
                records_of, called = hub.saved_dataset(path, split)
                return Opened(records_of, (called,), "saved by datasets")
            files, said = folder_files(path, split)
            return Opened(_chained(files), tuple(map(str, files)), said)
        there = path.exists()
    except (OSError, ValueError) as error:  # a name too long, or with a null character
        raise DataError(
            f"{name}: no name of a file ({getattr(error, 'strerror', None) or error})",
            hint="check the path",
        ) from error
    if there:
        return Opened(records(path, name), (name,), "", split)
    if glob.has_magic(name):
        return _several([name], split)
    return _not_here(name, path, split)


def _several(names: Sequence[str], split: str | None) -> Opened:
    """Files, one after another; patterns among them stand for what they match."""
    files: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            if hub.is_saved_dataset(path):
                raise DataError(
                    f"{path}: a folder of the datasets library is not read among several",
                    hint="pass it alone",
                )
            files += folder_files(path, split)[0]
        elif path.exists():
            files.append(path)
        elif glob.has_magic(name):
            matches = glob.glob(str(path), recursive=True)  # noqa: PTH207  Path.glob takes no absolute pattern
            matched = sorted(Path(found) for found in matches if Path(found).is_file())
            if not matched:
                raise DataError(
                    f"{name}: no file matches this pattern",
                    hint="check the pattern; it is matched from the current folder",
                )
            files += matched
        else:
            raise DataError(f"{name}: there is no such file or folder", hint=_neighbors(path))
    twice = sorted({str(path) for path in files if files.count(path) > 1})
    if twice:
        raise DataError(
            f"{listed(twice)}: named twice", hint="name each file once, or its rows count twice"
        )
    by_column = None if any(Path(name).expanduser().is_dir() for name in names) else split
    return Opened(
        _chained(files),
        tuple(map(str, files)),
        f"{len(files)} files" if len(files) > 1 else "",
        by_column,
    )


def _chained(paths: Iterable[Path]) -> Iterator[Record]:
    for path in paths:
        yield from records(path)


def _not_here(name: str, path: Path, split: str | None) -> Opened:
    looks_like_a_file = (
        suffix(path) in READERS
        or path.is_absolute()
        or name.startswith((".", "~"))
        or name.count("/") > 1
    )
    if looks_like_a_file or not hub.HUB_NAME.fullmatch(name):
        raise DataError(f"{name}: there is no such file or folder", hint=_neighbors(path))
    records_of, label = hub.hub_dataset(name, split)
    return Opened(records_of, (label,), "from the hub")


def _neighbors(path: Path) -> str:
    near = (
        sorted(p.name for p in path.parent.glob("*") if suffix(p) in READERS)[:5]
        if path.parent.is_dir()
        else []
    )
    return f"data files in that folder: {listed(near)}" if near else "check the path"
