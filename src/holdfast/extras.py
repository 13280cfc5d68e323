"""What each verb needs beside torch, numpy and safetensors, and a clear sentence where it is not
installed.

The lists of packages stand in pyproject.toml alone: `pip install 'holdfast[check]'` installs one,
and this reads the same list from the metadata of the installed package.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import metadata

from holdfast.errors import HoldfastError

# verb or module -> the extra that it needs
EXTRA_OF = {
    "check": "check",
    "clean": "check",
    "confirm": "all",
    "read": "data",
    "data": "data",
    "train": "train",
    "train-reward": "train",
    "train_reward": "train",
    "rerun": "train",
    "selfplay": "train",
    "evaluate": "train",
    "score": "train",
    "generation": "train",
    "new-model": "train",
    "recipes": "all",
    "optimize": "optimization",
    "lab": "all",
    "demo": "all",
    "methods": "games",
    "games": "games",
    "pluralism": "games",
    "rewards": "games",
    "diffusion": "diffusion",
}


class MissingPackagesError(HoldfastError):
    """Packages of an extra that are not installed."""


def require(verb: str) -> None:
    """Refuse a verb whose extra is not installed.

    Raises:
        MissingPackagesError: it names the packages and the command that installs them.
    """
    extra = EXTRA_OF.get(verb)
    missing = [] if extra is None else [name for name in packages(extra) if not installed(name)]
    if missing:
        raise MissingPackagesError(
            f"{verb} needs "
            f"{'a package that is' if len(missing) == 1 else 'packages that are'} not "
            f"installed: {', '.join(missing)}",
            hint=f"pip install 'holdfast[{extra}]'"
            + ("" if extra == "all" else ", or 'holdfast[all]' for every verb"),
        )


def packages(extra: str) -> list[str]:
    """The packages of an extra, those of the extras it names included; none where Holdfast runs
    without being installed.
    """
    try:
        listed = metadata.requires("holdfast") or []
    except metadata.PackageNotFoundError:
        return []
    return list(dict.fromkeys(_named(extra, listed)))


def _named(extra: str, listed: Iterable[str]) -> Iterator[str]:
    for line in listed:
        found = re.fullmatch(
            r"([\w.-]+)(?:\[([\w, .-]+)\])?[^;]*; *extra *== *['\"]([\w.-]+)['\"]", line
        )
        if found is None or found[3] != extra:
            continue
        if found[1] == "holdfast":
            for inner in found[2].split(","):
                yield from _named(inner.strip(), listed)
        else:
            yield found[1]


def installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
