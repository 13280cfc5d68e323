"""What every reader of a text file shares: numbered lines, and complaints about one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from holdfast.data.row_errors import RowError
from holdfast.types import Where

LONGEST = 64 * 2**20  # bytes of one line; anything longer is no row but a broken file
BLOCK = 2**20
WRITE_JSONL = 'one JSON object a line, as in {"prompt": ..., "chosen": ..., "rejected": ...}'


@dataclass(frozen=True, slots=True)
class Record:
    """One row before anyone knows its format. `cells` is True where every value arrives as text
    (CSV).
    """

    where: Where
    value: Mapping[str, Any] | None
    error: RowError | None = None
    raw: str | bytes | None = None
    cells: bool = False


def lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines, from 1; None for one longer than `LONGEST`. A byte-order mark at the start is
    taken off.
    """
    number = 0
    while line := stream.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = stream.readline(BLOCK)
            yield number, None
            continue
        yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line


def too_long(where: Where) -> Record:
    error = RowError(
        "the line is too long",
        detail=f"more than {LONGEST >> 20} MiB",
        cure="check that the file has line breaks, or split the row",
    )
    return Record(where, None, error, raw="")


def bad_utf8(where: Where, raw: bytes, error: UnicodeDecodeError | None = None) -> Record:
    detail = f"byte {error.start + 1} of the line" if error else ""
    return Record(
        where,
        None,
        RowError("invalid UTF-8", detail=detail, cure="save the file as UTF-8"),
        raw=raw,
    )
