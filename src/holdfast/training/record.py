"""The run record, `run.json`: what was asked, what it was asked of, what came out, and enough to do it again.

Written when a run starts, at every change of status, and when it ends, each time in one move. Results depend on `identity`, `method`,
`settings`, `reduction` and most of `options`; a run is only continued if all of these are as they were.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from holdfast.errors import RunError
from holdfast.training.files import write_json
from holdfast.training.options import FREE_ON_RESUME, Options

NAME = "run.json"
PACKAGES = ("holdfast", "torch", "transformers", "accelerate", "peft", "tokenizers", "numpy")


def read_record(out: Path) -> dict[str, Any] | None:
    """The record of a run's folder, None if there is none. Raises RunError if it cannot be read."""
    path = out / NAME
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if "status" not in record or "identity" not in record:
            raise ValueError("it is not a run record")
    except ValueError as error:
        raise RunError(f"{path} cannot be read: {error}", hint="give another out folder") from error
    return record


def new_record(
    *,
    method: str,
    settings: Mapping[str, Any],
    reduction: str,
    options: Options,
    identity: Mapping[str, str],
    call: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """The record of a run that is about to start.

    Args:
        method: name of the method.
        settings: the method's settings, defaults filled in.
        reduction: the reduction as it would be written on the command line.
        options: the run's options.
        identity: content hashes of all that goes in: data, model, tokenizer, ...
        call: keywords of `train` as they were given, those that can be written down.
        facts: whatever else a reader wants: counts of rows, processes, the check of the scorer.
    """
    return {
        "status": "running",
        "started": now(),
        "method": method,
        "settings": dict(settings),
        "reduction": reduction,
        "options": dataclasses.asdict(options),
        "identity": dict(identity),
        "call": dict(call),
        **facts,
        "versions": {**versions(), "python": platform.python_version(), "platform": platform.platform()},
        "notes": [],
        "resumed": [],
        "results": {},
    }


def write_record(out: Path, record: Mapping[str, Any]) -> None:
    write_json(out / NAME, record)


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def check_same(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Refuse to continue one run as another. Raises RunError naming the first thing that differs."""
    plain = json.loads(json.dumps(after))
    for key in ("method", "reduction"):
        _compare(key, before[key], plain[key])
    for part in ("settings", "options", "identity"):
        free = FREE_ON_RESUME if part == "options" else frozenset()
        for key in [*before[part], *(key for key in plain[part] if key not in before[part])]:
            if key not in free:
                name = f"{key} (its content)" if part == "identity" else key
                _compare(name, before[part].get(key), plain[part].get(key))


def _compare(name: str, before: Any, after: Any) -> None:
    if before != after:
        raise RunError(
            f"this is not the run that is to be resumed: {name} was {_short(before)} and is now {_short(after)}",
            hint="resume with what the run was started with, or start a new run in another out folder",
        )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:20]}...{text[-8:]}"


def repeatable_call(record: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The keywords that start the run of this record again. Raises RunError if something was given that cannot be written down."""
    call = dict(record["call"])
    lost = sorted(name for name, value in call.items() if isinstance(value, Mapping) and "not_recorded" in value)
    if lost:
        raise RunError(
            f"{path} cannot be run again by itself: {', '.join(lost)} was given as a Python object ({call[lost[0]]['not_recorded']})",
            hint=f"rerun({str(path)!r}, out=..., {lost[0]}=...)",
        )
    return call


def recordable(value: Any) -> Any:
    """A keyword of `train` as it goes into the record: itself if it can be written down, else a note of what it was."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return {"not_recorded": f"{type(value).__module__}.{type(value).__qualname__}"}
    if isinstance(value, list):  # rows in memory: the record would hold the data
        return {"not_recorded": "a list in memory"}
    return value
