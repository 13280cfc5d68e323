"""One process at a time works in a run's folder.

The lock is the operating system's (flock on Unix, a locked byte range on Windows), held on `.lock`
in the folder: it frees itself however the process ends, SIGKILL included, so there is never a stale
one to delete. Who holds it stands in `.lock.json`. On NFS a lock holds across machines where the
server keeps locks (version 4, or lockd); where a file system knows none, filelock says so and marks
the folder by a file instead, which a killed process leaves behind.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from holdfast.errors import RunError, shown
from holdfast.files import reason, write_json

LOCK, HOLDER = ".lock", ".lock.json"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, which must exist, while the block runs.

    Raises:
        RunError: another process holds it; the message says which, where and since when. Or the
            file system locks nothing.
    """
    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(
            f"another process is at work in {shown(str(folder))}: {_holder(folder)}",
            hint="wait for it, end it, or give another out folder",
        ) from None
    except OSError as error:
        raise RunError(
            f"{shown(str(folder))} cannot be locked: {reason(error)}",
            hint="give a folder on another disk",
        ) from error
    try:
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with contextlib.suppress(OSError):  # a full disk will be told of by what matters more
            write_json(
                folder / HOLDER, {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
            )
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


def _holder(folder: Path) -> str:
    try:
        held = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        return f"process {held['pid']} on {held['host']}, since {held['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "which one it does not say"
