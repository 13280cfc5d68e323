"""Datasets of the `datasets` library: objects, folders that it saved, and names on the Hugging Face
hub.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from holdfast.data.folders import choose
from holdfast.data.lines import Record
from holdfast.data.objects import from_rows
from holdfast.errors import DataError

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def is_saved_dataset(folder: Path) -> bool:
    """True for a folder written by `save_to_disk`."""
    return (folder / "dataset_dict.json").exists() or (
        (folder / "state.json").exists() and (folder / "dataset_info.json").exists()
    )


def saved_dataset(folder: Path, split: str | None) -> tuple[Iterator[Record], str]:
    """The records of a `save_to_disk` folder, and the name errors give them."""
    import datasets

    try:
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:
        raise DataError(
            f"{folder}: the saved dataset cannot be loaded ({error})",
            hint="save it again with save_to_disk",
        ) from error
    return of_split(loaded, str(folder), split)


def hub_dataset(name: str, split: str | None) -> tuple[Iterator[Record], str]:
    """The records of a dataset on the hub."""
    import datasets

    try:
        loaded = datasets.load_dataset(name)
    except Exception as error:
        if "Config name is missing" in str(error):
            hint = (
                "load the configuration yourself and pass it: "
                "holdfast.read(datasets.load_dataset(name, configuration))"
            )
            raise DataError(
                f"{name}: the dataset has several configurations ({error})", hint=hint
            ) from error
        hint = "check the spelling of the path, or of the name on the hub (owner/name)"
        raise DataError(
            f"{name}: no such file or folder here, and the hub gave no dataset of this "
            f"name ({error})",
            hint=hint,
        ) from error
    return of_split(loaded, name, split)


def of_split(loaded: Any, name: str, split: str | None) -> tuple[Iterator[Record], str]:
    """One split of a dictionary of datasets; a single dataset has no splits to choose from."""
    if not isinstance(loaded, Mapping):
        return from_rows(loaded, name), name
    if not loaded:
        raise DataError(f"{name}: there are no splits", hint="check the source")
    chosen = choose([str(key) for key in loaded], split, name)
    return from_rows(loaded[chosen], f"{name}[{chosen}]"), f"{name}[{chosen}]"
