"""Cases on public sets. `--sets DIR` says where they lie; cases of a set that is not there are left
out.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from holdfast.data import read
from holdfast.types import Row

FOLDER = "HOLDFAST_PUBLIC_SETS"  # of the environment, so that it reaches other processes


def here(name: str) -> Path | None:
    """The file `name` ("pandalm/pairs.jsonl.gz") in the folder of public sets, if it is there."""
    path = Path(os.environ.get(FOLDER, "")) / name
    return path if os.environ.get(FOLDER) and path.exists() else None


@lru_cache(maxsize=4)
def rows(name: str) -> tuple[Row, ...]:
    """Its rows, read once a process; bad ones skipped."""
    path = here(name)
    if path is None:
        raise FileNotFoundError(
            f"{name} is not in the folder of public sets: --sets DIR says where they lie"
        )
    with TemporaryDirectory() as aside:
        return tuple(read(path, quarantine=Path(aside) / "quarantine.jsonl").rows)
