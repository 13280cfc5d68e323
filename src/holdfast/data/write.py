"""Rows as JSON lines that read back as the same rows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from holdfast.files import write_text
from holdfast.types import Row
from holdfast.visible import json_text

GIVEN = ("rater", "group", "source", "strength", "confidence", "weight")


def record(row: Row) -> dict[str, Any]:
    """A row under the standard names: `prompt`, `chosen`, `rejected` of a comparison; `prompt`,
    `completion` and, if it was judged, `label` of a single answer; then what is known of it, and
    every other column.
    """
    if row.answer is not None:
        texts: dict[str, Any] = {"prompt": row.prompt, "completion": row.answer}
        if row.desirable is not None:
            texts["label"] = row.desirable
    else:
        texts = {"prompt": row.prompt, "chosen": row.chosen, "rejected": row.rejected}
    known = {name: value for name in GIVEN if (value := getattr(row, name)) is not None}
    tie = {"tie": True} if row.tie else {}
    rest = {name: value for name, value in row.extra.items() if name not in texts}
    return {**texts, **known, **tie, **rest}


def write_records(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """JSON lines at `path`, whole or not there."""
    write_text(path, "".join(json_text(one, default=str) + "\n" for one in records))
