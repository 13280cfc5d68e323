"""Records out of one file, streamed: JSONL, JSON, CSV, TSV, Parquet, Arrow, each also compressed.

A file that cannot be read at all is a `DataError`; a place in it that cannot is a `Record` with its
trouble. Compression is known by the first bytes, so a compressed file may keep its plain name.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any, cast

from holdfast.data.json_files import read_json, read_jsonl
from holdfast.data.lines import WRITE_JSONL, Record
from holdfast.data.table_files import read_arrow, read_csv, read_parquet, read_tsv
from holdfast.errors import DataError

READERS: Mapping[str, Callable[[IO[bytes], str], Iterator[Record]]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
}
BINARY = (".parquet", ".arrow")
PACKED = (".gz", ".zst", ".bz2", ".xz")  # known by their first bytes
ENDINGS = (*READERS, *PACKED)
HEAD = 64 * 2**10  # bytes that are looked at before a file is read


def records(path: Path, name: str | None = None) -> Iterator[Record]:
    """Every record of a file. `name` is what errors call the file."""
    name = name or str(path)
    ending = suffix(path)
    reader = READERS.get(ending)
    if reader is None:
        known = ", ".join(READERS)
        hint = f"known are {known}, each also with {', '.join(PACKED)}"
        raise DataError(f"{name}: the ending {ending or '(none)'} is not known", hint=hint)
    with _opened(path, name) as stream:
        empty = True
        for record in reader(stream if ending in BINARY else _text(stream, name), name):
            empty = False
            yield record
        if empty:
            hint = (
                f"write {WRITE_JSONL}"
                if ending == ".jsonl"
                else "put rows with `prompt`, `chosen` and `rejected` into it"
            )
            raise DataError(f"{name}: the file holds no rows", hint=hint)


def suffix(path: Path) -> str:
    """The ending that tells the format: `prefs.jsonl.gz` -> `.jsonl`."""
    return Path(path.stem if path.suffix.lower() in PACKED else path.name).suffix.lower()


@contextmanager
def _opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """The bytes of a file, decompressed."""
    try:
        with path.open("rb") as raw:
            head = raw.peek(8)[:8]
            if path.suffix.lower() in PACKED and head and _packing(head) is None:
                hint = "rename the file, or fetch it again"
                raise DataError(
                    f"{name}: ends in {path.suffix} but is not {_packing_of(path.suffix.lower())}",
                    hint=hint,
                )
            yield _unpacked(raw, _packing(head), name)
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise _cut_short(name, error) from error
    except OSError as error:
        if error.errno is None:  # not of the system: of a decompressor
            raise _cut_short(name, error) from error
        raise DataError(
            f"{name}: cannot be read ({error.strerror or error})",
            hint="check the path and its permissions",
        ) from error
    except Exception as error:
        if type(error).__name__ != "ZstdError":  # of a module that may not be there
            raise
        raise _cut_short(name, error) from error


def _cut_short(name: str, error: Exception) -> DataError:
    return DataError(
        f"{name}: the compressed stream is cut short or broken ({error})",
        hint="the file is incomplete: fetch it again",
    )


MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


def _packing(head: bytes) -> str | None:
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), None)


def _packing_of(ending: str) -> str:
    return dict(zip(PACKED, ("gzip", "zstd", "bzip2", "xz"), strict=True))[ending]


def _unpacked(raw: IO[bytes], kind: str | None, name: str) -> IO[bytes]:
    if kind == "gzip":
        return gzip.open(raw)  # type: ignore[return-value]
    if kind == "bzip2":
        return bz2.open(raw)
    if kind == "xz":
        return lzma.open(raw)
    if kind == "zstd":
        return cast(IO[bytes], _zstd(name).open(raw))
    return raw


def _zstd(name: str) -> Any:
    """The module that says so where a stream was cut short: of Python from 3.14 on, and of a
    package before.
    """
    for module in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(module)
        except ImportError:
            continue
    raise DataError(
        f"{name}: to read .zst, a package is needed that is not installed",
        hint="pip install backports.zstd",
    )


def _text(stream: IO[bytes], name: str) -> IO[bytes]:
    """A stream of lines of UTF-8. Refuses what is no text, or text in another encoding; CR alone
    ends a line where no LF does.
    """
    buffered = (
        stream
        if isinstance(stream, io.BufferedReader)
        else io.BufferedReader(cast(io.RawIOBase, stream), HEAD)
    )
    head = buffered.peek(HEAD)[:HEAD]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or (
        b"\x00" in head[:4] and head[:4].strip(b"\x00")
    ):
        raise DataError(f"{name}: this looks like UTF-16 or UTF-32", hint="save the file as UTF-8")
    if head.startswith(b"version https://git-lfs"):
        raise DataError(f"{name}: a pointer of Git LFS, not the file itself", hint="git lfs pull")
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        raise DataError(
            f"{name}: a web page, not data",
            hint="fetch the file itself (on the hub: resolve/ instead of blob/ in its address)",
        )
    if head and not head.strip(b"\x00"):
        raise DataError(
            f"{name}: begins with null bytes", hint="the download was cut short: fetch it again"
        )
    if b"\r" in head and b"\n" not in head:
        return io.BufferedReader(_CarriageReturns(buffered), HEAD)
    return buffered


class _CarriageReturns(io.RawIOBase):
    """A text whose lines end in CR alone, as with LF."""

    def __init__(self, stream: IO[bytes]):
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer)).replace(b"\r", b"\n")
        buffer[: len(data)] = data
        return len(data)
