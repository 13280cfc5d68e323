"""metrics.jsonl: one JSON object a line, cut back to a checkpoint when a run goes on from there.

A checkpoint names the length of the file, so the file is on the disk itself before the checkpoint
is (`sync`). If it is shorter all the same when the run goes on, or damaged, only lines for the
reader are lost: `cut_back` says how many bytes.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.files import write_bytes


class MetricsLog:
    """Appends lines; `bytes` is how long the file is now. Only the main process's log has a
    file.
    """

    def __init__(self, path: Path, *, active: bool = True):
        self.active = active
        if active:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")

    @property
    def bytes(self) -> int:
        return self._file.tell() if self.active else 0

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Numbers that JSON has no word for become null."""
        if self.active:
            plain = {
                name: None if isinstance(value, float) and not math.isfinite(value) else value
                for name, value in metrics.items()
            }
            self._file.write(json.dumps(plain).encode() + b"\n")
            self._file.flush()

    def sync(self) -> None:
        """Have the disk itself hold what was written."""
        if self.active:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if self.active:
            self._file.close()


def cut_back(path: Path, length: int) -> int:
    """Cut the file back to `length` bytes, and to its lines that can be read. Returns how many of
    these bytes are lost; 0 if none is.
    """
    data = path.read_bytes() if path.is_file() else b""
    lines = [line + b"\n" for line in data[:length].split(b"\n")[:-1] if _is_object(line)]
    kept = b"".join(lines)
    if kept != data:
        write_bytes(path, kept)
    return length - len(kept)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
