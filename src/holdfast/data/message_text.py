"""Message lists that were stored as text: JSON, Python's repr, or numpy's repr, as `pandas.to_csv`
leaves them. Read, never evaluated.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from holdfast.data.row_errors import RowError

LONGEST = 4 * 2**20  # characters of one list
BEGINS = re.compile(r"""\s*"?\s*\[?\s*\{\s*\\?['"](role|from|content|value)\\?['"]\s*:""")
OUTSIDE = re.compile(
    r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|\}\s*\{|\barray\(|,\s*dtype=object\)""", re.DOTALL
)


def messages_in(text: str, name: str) -> list[Any] | None:
    """The messages that a text holds, None if it is text. Raises RowError for what begins and ends
    as a message list and cannot be read.
    """
    if BEGINS.match(text) is None or text.rstrip()[-1:] not in ("]", "}", '"'):
        return None
    found = _read(text) if len(text) <= LONGEST else None
    if isinstance(found, Mapping):
        found = [found]
    if (
        isinstance(found, list | tuple)
        and found
        and all(isinstance(m, Mapping) and {"role", "from"} & m.keys() for m in found)
    ):
        return list(found)
    if found is not None:
        return None  # some other list of objects
    cure = (
        "store conversations as JSON Lines or Parquet; CSV holds their text only, and numpy "
        "cuts long arrays (...) in it"
    )
    raise RowError(
        f"`{name}` looks like a message list stored as text, and cannot be read",
        field=name,
        detail=repr(text[:40]),
        cure=cure,
    )


def _read(text: str) -> Any:
    """The value of JSON, of Python's repr or of numpy's, None if it is none of them."""
    try:
        value = json.loads(text)
        return _read(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        pass
    for written in (text, OUTSIDE.sub(_as_python, text)):
        try:
            value = ast.literal_eval(written.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
        return value if isinstance(value, list | tuple | Mapping) and not _has_gap(value) else None
    return None


def _as_python(found: re.Match[str]) -> str:
    """numpy writes an array without commas; what stands in a string stays."""
    if found[1] is not None:
        return found[1]
    return "}, {" if found[0].startswith("}") else ""


def _has_gap(value: Any) -> bool:
    """Whether a long array was cut: numpy writes "..." for what is left out."""
    if isinstance(value, Mapping):
        return any(map(_has_gap, value.values()))
    return any(map(_has_gap, value)) if isinstance(value, list | tuple) else value is Ellipsis
