"""The run record, `run.json`: what was asked, what it was asked of, what came out, and enough to do
it again.

Written when a run starts, at every change of status, and when it ends, each time in one move.
Results depend on `identity`, `method`, `settings`, `reduction` and most of `options`; a run is only
continued if all of these are as they were. `id` is in every checkpoint too, and none is loaded into
a run that it did not come from.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

from holdfast.card import Method
from holdfast.errors import RunError, shown
from holdfast.files import write_json
from holdfast.models.run_record import NAME
from holdfast.training.options import FREE_ON_RESUME, Options

PACKAGES = ("holdfast", "torch", "transformers", "accelerate", "peft", "tokenizers", "numpy")


def new_record(
    *,
    method: str,
    settings: Mapping[str, Any],
    reduction: str,
    average: str = "",
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
        average: the average over tokens in the same way; "" for a method of whole answers.
        options: the run's options.
        identity: content hashes of all that goes in: data, model, tokenizer, ...
        call: keywords of `train` as they were given, those that can be written down.
        facts: whatever else a reader wants: counts of rows, processes, the check of the scorer.
    """
    return {
        "id": uuid4().hex,
        "status": "running",
        "started": now(),
        "method": method,
        "settings": dict(settings),
        "reduction": reduction,
        "average": average,
        "options": dataclasses.asdict(options),
        "identity": dict(identity),
        "call": dict(call),
        **facts,
        "versions": {
            **versions(),
            "python": platform.python_version(),
            "platform": platform.platform(),
        },
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


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What `after` asks for otherwise than the record `before` has it, one phrase each. A part that
    `after` lacks is not compared.
    """
    plain = json.loads(json.dumps(after))
    found = [
        _phrase(key, before.get(key), plain[key])
        for key in ("method", "reduction", "average")
        if plain.get(key, before.get(key)) != before.get(key)
    ]
    for part, free in (
        ("settings", frozenset()),
        ("options", FREE_ON_RESUME),
        ("identity", frozenset()),
    ):
        if part not in plain:
            continue
        keys = plain[part] if part == "options" else {**before[part], **plain[part]}
        for key in keys:
            old, new = before[part].get(key), plain[part].get(key)
            if (
                key not in free and old != new and not (key == "tokens" and found)
            ):  # the tokens are made of all that was compared before
                found.append(
                    _phrase(f"{key} (its content)" if part == "identity" else key, old, new)
                )
    return found


def refuse_another(found: Sequence[str], what: str = "run") -> None:
    """Refuse to continue one run as another. Raises RunError naming everything that differs."""
    if found:
        raise RunError(
            f"this is not the {what} that is to be resumed: {'; '.join(found)}",
            hint=(
                "resume with what the run was started with, or start a new run in another out "
                "folder"
            ),
        )


def _phrase(name: str, before: Any, after: Any) -> str:
    return f"{name} was {_short(before)} and is now {_short(after)}"


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:  # a hash
        return f"{value[:12]}..."
    return shown(value) if not isinstance(value, str) else json.dumps(value)[:100]


def repeatable_call(record: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The keywords that start the run of this record again. Raises RunError if something was given
    that cannot be written down.
    """
    call = dict(record["call"])
    lost = sorted(
        name
        for name, value in call.items()
        if isinstance(value, Mapping) and "not_recorded" in value
    )
    if lost:
        raise RunError(
            f"{path} cannot be run again by itself: {', '.join(lost)} was given as a "
            f"Python object ({call[lost[0]]['not_recorded']})",
            hint=f"rerun({str(path)!r}, out=..., {lost[0]}=...)",
        )
    return call


def recorded_call(
    method: Method, given: Mapping[str, Any], more: Mapping[str, Any]
) -> dict[str, Any]:
    """The keywords of a call as the record holds them."""
    call = {
        "method": method.name,
        **{name: recordable(value) for name, value in given.items() if value is not None},
    }
    return call | {name: recordable(value) for name, value in more.items()}


def recordable(value: Any) -> Any:
    """A keyword of `train` as it goes into the record: itself if it can be written down, else a
    note of what it was.
    """
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list) and all(
        isinstance(one, str | Path) for one in value
    ):  # files, or names
        return [str(one) for one in value]
    if isinstance(value, tuple):
        return list(value)
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return {"not_recorded": f"{type(value).__module__}.{type(value).__qualname__}"}
    if isinstance(value, list):  # rows in memory: the record would hold the data
        return {"not_recorded": "a list in memory"}
    return value
