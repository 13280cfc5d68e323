"""Records out of one file, streamed: JSONL, JSON, CSV, Parquet, each also gzipped.

A file that cannot be read at all is a `DataError`; a place in it that cannot is a `Record` with its trouble. Gzip is known by its first
bytes, so a gzipped file may keep its plain name.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from holdfast.data.json_files import read_json, read_jsonl
from holdfast.data.lines import WRITE_JSONL, Record
from holdfast.data.table_files import read_csv, read_parquet
from holdfast.errors import DataError

READERS: Mapping[str, Callable[[IO[bytes], str], Iterator[Record]]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".parquet": read_parquet,
}


def records(path: Path, name: str | None = None) -> Iterator[Record]:
    """Every record of a file. `name` is what complaints call the file."""
    name = name or str(path)
    reader = READERS.get(suffix(path))
    if reader is None:
        known = ", ".join(READERS)
        raise DataError(f"{name}: the ending {suffix(path) or '(none)'} is not known", hint=f"known are {known}, each also with .gz")
    with _opened(path, name) as stream:
        empty = True
        for record in reader(stream, name):
            empty = False
            yield record
        if empty:
            hint = f"write {WRITE_JSONL}" if suffix(path) == ".jsonl" else "put rows with `prompt`, `chosen` and `rejected` into it"
            raise DataError(f"{name}: the file holds no rows", hint=hint)


def suffix(path: Path) -> str:
    """The ending that tells the format: `prefs.jsonl.gz` -> `.jsonl`."""
    return Path(path.name.removesuffix(".gz")).suffix.lower()


@contextmanager
def _opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as raw:
            head = raw.read(4)
            raw.seek(0)
            if head.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise DataError(f"{name}: this looks like UTF-16", hint="save the file as UTF-8")
            if head.startswith(b"\x1f\x8b"):
                with gzip.open(raw) as stream:
                    yield stream  # type: ignore[misc]
            elif path.name.endswith(".gz") and head:
                raise DataError(f"{name}: ends in .gz but is not gzip", hint="rename the file, or fetch it again")
            else:
                yield raw
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{name}: the gzip stream is cut short or broken ({error})", hint="the file is incomplete: fetch it again"
        ) from error
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror or error})", hint="check the path and its permissions") from error
