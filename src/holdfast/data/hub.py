"""Hugging Face dataset folders, folders of data files, and names on the hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from holdfast.data.files import READERS, records, suffix
from holdfast.data.lines import Record
from holdfast.data.trouble import RowError
from holdfast.errors import DataError
from holdfast.types import Where

SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
}
DEFAULT_SPLIT = "train"
NOT_DATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def from_mapping_rows(rows: Any, name: str) -> Iterator[Record]:
    """Records of anything that gives mappings: a datasets.Dataset, a list, a generator."""
    for number, value in enumerate(rows, 1):
        where = Where(name, number)
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            yield Record(where, value)
        else:
            detail = "a column name is no text" if isinstance(value, Mapping) else f"a {type(value).__name__}"
            trouble = RowError("not a row", detail=detail, cure='give rows as dicts, as in {"prompt": ..., "chosen": ..., "rejected": ...}')
            yield Record(where, None, trouble, raw=repr(value))


def is_saved_dataset(folder: Path) -> bool:
    """True for a folder written by `save_to_disk`."""
    return (folder / "dataset_dict.json").exists() or ((folder / "state.json").exists() and (folder / "dataset_info.json").exists())


def saved_dataset(folder: Path, split: str | None) -> tuple[Iterator[Record], str]:
    """The records of a `save_to_disk` folder, and the name complaints give them."""
    import datasets

    try:
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:
        raise DataError(f"{folder}: the saved dataset cannot be loaded ({error})", hint="save it again with save_to_disk") from error
    return of_split(loaded, str(folder), split)


def hub_dataset(name: str, split: str | None) -> tuple[Iterator[Record], str]:
    """The records of a dataset on the hub."""
    import datasets

    try:
        loaded = datasets.load_dataset(name)
    except Exception as error:
        hint = "check the spelling of the path, or of the name on the hub (owner/name)"
        raise DataError(f"{name}: no such file or folder here, and the hub gave no dataset of this name ({error})", hint=hint) from error
    return of_split(loaded, name, split)


def of_split(loaded: Any, name: str, split: str | None) -> tuple[Iterator[Record], str]:
    """One split of a datasets.DatasetDict; a datasets.Dataset has no splits to choose from."""
    if not hasattr(loaded, "keys"):
        return from_mapping_rows(loaded, name), name
    names = list(loaded.keys())
    chosen = split or (names[0] if len(names) == 1 else DEFAULT_SPLIT)
    if chosen not in names:
        raise DataError(f"{name}: there is no split `{chosen}`; there are: {', '.join(names)}", hint=f'pass split="{names[0]}"')
    return from_mapping_rows(loaded[chosen], f"{name}[{chosen}]"), f"{name}[{chosen}]"


def folder_files(folder: Path, split: str | None) -> tuple[list[Path], str]:
    """The data files of a folder that belong to the split, and a sentence on how they were chosen.

    A file belongs to a split when its name, or a folder above it, says so (`train-00000.parquet`, `test/a.jsonl`). Where no file names a
    split, all are taken.
    """
    found = sorted(
        p
        for p in folder.rglob("*")
        if p.is_file() and suffix(p) in READERS and p.name not in NOT_DATA and not _hidden(p.relative_to(folder))
    )
    if not found:
        hint = f"put {', '.join(READERS)} files there (each also .gz), or a folder written by save_to_disk"
        raise DataError(f"{folder}: the folder holds no data files", hint=hint)
    named = {path: _split_of(path.relative_to(folder)) for path in found}
    if not any(named.values()):
        if split is not None:
            raise DataError(f"{folder}: no file names the split `{split}`", hint="name the files after their splits, or leave split out")
        return found, f"all {len(found)} data files of the folder"
    chosen = next((name for name, words in SPLITS.items() if split in words), split) or DEFAULT_SPLIT
    if len(set(named.values())) == 1 and split is None:
        chosen = str(named[found[0]])
    taken = [path for path, name in named.items() if name == chosen]
    if not taken:
        there = sorted({str(name) for name in named.values() if name})
        raise DataError(f"{folder}: no file of the split `{chosen}`; there are: {', '.join(there)}", hint=f'pass split="{there[0]}"')
    left = [path.name for path in found if path not in taken]
    return taken, f"{len(taken)} of {len(found)} data files, those of split `{chosen}`" + (f"; not read: {', '.join(left)}" if left else "")


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _split_of(path: Path) -> str | None:
    words = [word for part in reversed(path.parts) for word in re.split(r"[^a-z]+", part.lower())]
    return next((name for word in words for name, known in SPLITS.items() if word in known), None)


def folder_records(paths: list[Path]) -> Iterator[Record]:
    for path in paths:
        yield from records(path)
