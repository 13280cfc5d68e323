"""The record of a run, `run.json`, for whoever meets a run's folder: what every record holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.errors import RunError

NAME = "run.json"
KINDS: Mapping[str, type] = {  # what every record holds
    **dict.fromkeys(("id", "status", "started", "task", "source", "method", "reduction"), str),
    **dict.fromkeys(("settings", "options", "identity", "call", "results"), dict),
    **dict.fromkeys(("notes", "resumed"), list),
}


def read_record(out: Path) -> dict[str, Any] | None:
    """The record of a run's folder, None if there is none. Raises RunError if it cannot be read."""
    path = out / NAME
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}", hint="give another out folder") from error
    if not isinstance(record, dict):
        raise RunError(f"{path} is not a run record", hint="give another out folder")
    wrong = [name for name, kind in KINDS.items() if not isinstance(record.get(name), kind)]
    if wrong:
        raise RunError(
            f"{path} is not a run record: damaged or missing in it are {', '.join(wrong)}",
            hint="give another out folder",
        )
    return record
