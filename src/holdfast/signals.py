"""Interruption without loss: a first SIGINT or SIGTERM lets the step finish and a checkpoint be
written; a second one acts at once.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from holdfast.errors import RunError


class Interrupted(RunError):  # noqa: N818
    """The run was asked to stop, and did so after writing a checkpoint. `exit_code` is what a shell
    expects: 128 + signal.
    """

    def __init__(self, message: str, *, signum: int, hint: str):
        super().__init__(message, hint=hint)
        self.exit_code = 128 + signum


class Interruption:
    """While open, `caught` is the signal that asked the run to stop, 0 if none did. Outside the
    main thread signals are left alone.
    """

    WATCHED = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.caught = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in self.WATCHED}
        return self

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.caught = signum
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


@contextmanager
def unwinding() -> Iterator[None]:
    """While open, SIGTERM leaves as an exception does, with status 143, so that what was begun is
    put down in order: workers ended, scratch folders removed, a run's record closed. One who
    handles it himself keeps his handler, and outside the main thread nobody can set one."""
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if ours:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
