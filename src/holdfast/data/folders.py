"""Folders of data files, and the splits in them.

A split is called what the files call it: `data/train_prefs-00000-of-00001.parquet` belongs to the
split `train_prefs`, which is not `train`. The folder's README decides where it has a `configs`
entry, as on the Hugging Face hub; else a file's name, or that of a folder above it, does.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from holdfast.data.files import ENDINGS, READERS, suffix
from holdfast.errors import DataError
from holdfast.visible import listed

ALSO_CALLED = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
}
DEFAULT_SPLIT = "train"
NOT_DATA = (
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
    "state.json",
    "config.json",
    "cache-*.arrow",
    "quarantine*.jsonl",
)
SHARD = re.compile(r"[-_.]?(\d+)[-_]of[-_](\d+)$")
NUMBER = re.compile(r"[-_. ]?(part)?[-_. ]?\d+$")
SPLIT_WORDS = "|".join(word for words in ALSO_CALLED.values() for word in words)
SPLIT = re.compile(rf"(?<![a-z])({SPLIT_WORDS})(?![a-z])\w*", re.IGNORECASE)


def folder_files(folder: Path, split: str | None) -> tuple[list[Path], str]:
    """The data files of a folder that belong to the split, and a sentence on how they were chosen.
    Where no file names a split, all are taken.

    Raises:
        DataError: no data files; no such split; several splits, none asked for, and none of them
            `train`; a download that is not whole.
    """
    found = _data_files(folder)
    described = _described(folder, found)
    if described:
        name = choose(list(described), split, str(folder))
        _whole(described[name])
        return described[
            name
        ], f"the split `{name}` of its README, {_files(len(described[name]))} of {len(found)}"
    splits: dict[str, list[Path]] = {}
    for path in found:
        splits.setdefault(split_of(path.relative_to(folder)) or "", []).append(path)
    unnamed = splits.pop("", [])
    if split is not None and split not in splits:
        called = [path for path in unnamed if stem(path) == split]
        if called:
            splits[split] = called
        elif not splits:
            hint = "name the files after their splits, or leave split out"
            raise DataError(f"{folder}: no file names the split `{split}`", hint=hint)
    if not splits:
        _whole(found)
        return found, f"all {len(found)} data files of the folder"
    name = choose(list(splits), split, str(folder))
    taken = splits[name]
    _whole(taken)
    left = [path.name for path in found if path not in taken]
    shown = (
        f"; not read: {listed(left[:20])}{f' and {len(left) - 20} more' if len(left) > 20 else ''}"
        if left
        else ""
    )
    return taken, f"{len(taken)} of {len(found)} data files, those of split `{name}`{shown}"


def choose(splits: list[str], asked: str | None, who: str) -> str:
    """The split that is meant: the one asked for, the only one, or `train`.

    Raises:
        DataError: there is no such split; or there are several, none was asked for, and none is
            `train`.
    """
    there = listed(splits)
    wanted = asked if asked is not None else splits[0] if len(splits) == 1 else DEFAULT_SPLIT
    if wanted in splits:
        return wanted
    words = next((words for words in ALSO_CALLED.values() if wanted.lower() in words), ())
    same = [name for name in splits if name.lower() in words]
    if len(same) == 1:
        return same[0]
    if asked is None:
        likely = min(splits, key=lambda name: ("pref" not in name, not name.startswith("train")))
        raise DataError(
            f"{who}: several splits, and none was asked for: {there}",
            hint=f'--split {likely}, or split="{likely}"',
        )
    raise DataError(
        f"{who}: there is no split `{asked}`; there are: {there}",
        hint=f'--split {splits[0]}, or split="{splits[0]}"',
    )


def split_of(path: Path) -> str | None:
    """The split that a file's name, or else a folder above it, names; None if neither does."""
    for part in (stem(path), *reversed(path.parent.parts)):
        found = SPLIT.search(part)
        if found is not None:
            return NUMBER.sub("", found[0]) or found[0]
    name = path.name.split(".")[0]
    return stem(path) if SHARD.search(name) and stem(path) != "data" else None


def stem(path: Path) -> str:
    """The name without endings and without the number of a shard."""
    name = path.name
    while Path(name).suffix.lower() in ENDINGS:
        name = Path(name).stem
    return SHARD.sub("", name) or name


def _data_files(folder: Path) -> list[Path]:
    found, half = [], []
    for path in sorted(folder.rglob("*")):
        if _hidden(path.relative_to(folder)):
            continue
        if path.name.endswith((".incomplete", ".part", ".crdownload", ".download")):
            half.append(path.name)
        elif suffix(path) in READERS and not any(
            fnmatch.fnmatch(path.name, one) for one in NOT_DATA
        ):
            if path.is_symlink() and not path.exists():
                raise DataError(
                    f"{path}: points to a file that is not there",
                    hint="the download was cut short: fetch it again",
                )
            if path.is_file():
                found.append(path)
    if not found and half:
        raise DataError(
            f"{folder}: a download that was cut short: {listed(half, 5)}", hint="fetch it again"
        )
    if not found:
        hint = (
            f"put {', '.join(READERS)} files there (each also .gz or .zst), or a folder "
            "written by save_to_disk"
        )
        raise DataError(f"{folder}: the folder holds no data files", hint=hint)
    return found


def _whole(paths: Iterable[Path]) -> None:
    """Refuse files that are numbered as parts of a whole (00001-of-00004) where one of the parts is
    missing.
    """
    parts: dict[tuple[Path, str, int], set[int]] = {}
    for path in paths:
        found = SHARD.search(path.name.split(".")[0])
        if found is not None:
            parts.setdefault((path.parent, path.name[: found.start()], int(found[2])), set()).add(
                int(found[1])
            )
    for (folder, name, whole), there in parts.items():
        missing = [
            number
            for number in range(min(min(there), 1), whole + min(min(there), 1))
            if number not in there
        ]
        if missing and whole <= 100_000:
            shown = ", ".join(f"{number:05d}" for number in missing[:5])
            raise DataError(
                f"{folder / name}: {len(there)} of {whole} parts are here; missing: "
                f"{shown}{', ...' if len(missing) > 5 else ''}",
                hint=(
                    "the download was cut short: fetch it again; or name the files that are "
                    "to be read"
                ),
            )


def _described(folder: Path, found: list[Path]) -> dict[str, list[Path]]:
    """Split -> files, as the README's front matter says; none where it says nothing. Several
    configurations without a default give splits named configuration/split."""
    configs = [
        config
        for config in _front_matter(folder / "README.md").get("configs") or ()
        if isinstance(config, Mapping)
    ]
    configs = [config for config in configs if config.get("data_files")]
    usual = [
        config
        for config in configs
        if config.get("default") or config.get("config_name") == "default"
    ]
    splits: dict[str, list[Path]] = {}
    for config in usual[:1] or configs:
        before = "" if usual or len(configs) == 1 else f"{config.get('config_name')}/"
        for name, patterns in _patterns(config["data_files"]):
            taken = [
                path
                for path in found
                if any(_matches(path.relative_to(folder), pattern) for pattern in patterns)
            ]
            if not taken:
                hint = "fetch the folder again, or name the files that are to be read"
                raise DataError(
                    f"{folder}: the README says that split `{name}` is in "
                    f"{listed(patterns)}, which is not here",
                    hint=hint,
                )
            splits[before + name] = taken
    return splits


def _matches(path: Path, pattern: str) -> bool:
    pattern = pattern.removeprefix("./")
    return fnmatch.fnmatch(path.as_posix(), pattern) or fnmatch.fnmatch(
        path.as_posix(), pattern.replace("**/", "")
    )


def _patterns(given: Any) -> list[tuple[str, list[str]]]:
    if isinstance(given, str):
        return [(DEFAULT_SPLIT, [given])]
    if all(isinstance(one, str) for one in given):
        return [(DEFAULT_SPLIT, list(given))]
    return [
        (
            str(one.get("split", DEFAULT_SPLIT)),
            [one["path"]]
            if isinstance(one.get("path"), str)
            else [str(p) for p in one.get("path") or ()],
        )
        for one in given
        if isinstance(one, Mapping)
    ]


def _front_matter(readme: Path) -> Mapping[str, Any]:
    import yaml  # type: ignore[import-untyped]

    try:
        found = re.match(
            r"---\s*\n(.*?)\n---\s*(\n|$)", readme.read_text(encoding="utf-8-sig"), re.DOTALL
        )
        said = yaml.safe_load(found[1]) if found else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return said if isinstance(said, Mapping) else {}


def _files(number: int) -> str:
    return f"{number} data file{'' if number == 1 else 's'}"


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)
