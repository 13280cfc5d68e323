"""A bar over answers while they are made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.progress import Progress

from holdfast.terminal import Terminal


@contextlib.contextmanager
def answer_bar(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields what is told how many answers are done. Shown where there is a label and the error
    stream is a terminal.
    """
    console = Terminal(stderr=True)
    hidden = not (label and console.is_terminal)
    with Progress(console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(label, total=total)
        yield lambda answers: bar.advance(task, answers)
