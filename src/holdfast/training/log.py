"""metrics.jsonl: one JSON object a line, on disk as soon as it is written, cut back to a checkpoint when a run goes on from there."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class MetricsLog:
    """Appends lines; `bytes` is how long the file is now. Only the main process's log has a file."""

    def __init__(self, path: Path, *, keep_bytes: int = 0, active: bool = True):
        self.active = active
        if active:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
            self._file.truncate(keep_bytes)

    @property
    def bytes(self) -> int:
        return self._file.tell() if self.active else 0

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Numbers that JSON has no word for become null."""
        if self.active:
            plain = {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in metrics.items()}
            self._file.write(json.dumps(plain).encode() + b"\n")
            self._file.flush()

    def close(self) -> None:
        if self.active:
            self._file.close()
