"""Many independent pieces of work at once: on this machine's processors, or on a Ray cluster.

Each piece is a module-level function and its keywords; its result must pickle. Every worker
computes with one thread, so that numbers do not depend on how many workers there are. Worker
processes never outlive the one that started them: an error, Ctrl-C or SIGTERM there ends them at
once, and each of them watches for its end, which covers a death without a last word (SIGKILL).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from time import process_time
from typing import Any, Literal

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from holdfast.errors import OptionError
from holdfast.signals import unwinding
from holdfast.terminal import Terminal

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class Work:
    """`call(**keywords)`, and what to say of it."""

    name: str
    call: Callable[..., Any]
    keywords: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    result: Any
    seconds: float  # of processor time


def run_all(
    work: Sequence[Work],
    *,
    engine: Engine = "local",
    workers: int | None = None,
    address: str | None = None,
    quiet: bool = False,
    on_done: Callable[[int, Done], None] | None = None,
) -> list[Done]:
    """Do every piece, in any order; results in the order given.

    Args:
        work: the pieces.
        engine: "local" for processes here, "ray" for a Ray cluster.
        workers: processes here (default: one a processor), or pieces at a time on Ray (default: as
            many as it has room for).
        address: of the Ray cluster; a cluster of this machine alone unless given.
        quiet: show no progress.
        on_done: called with the place of each piece and its result as soon as it is there.

    Raises:
        OptionError: an unknown engine, an address for the local one, or Ray is not installed.
        whatever a piece raises; what has not begun is then dropped.
    """
    if engine not in ("local", "ray"):
        raise OptionError(f"there is no engine {engine!r}", hint="local or ray")
    if engine == "local" and address is not None:
        raise OptionError("--address is read by the ray engine alone", hint="add --engine ray")
    out: list[Done | None] = [None] * len(work)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with (
        unwinding(),
        Progress(
            *columns, console=Terminal(stderr=True), disable=quiet, transient=True
        ) as progress,
        closing(
            _local(work, workers) if engine == "local" else _ray(work, workers, address)
        ) as results,
    ):
        bar = progress.add_task("working", total=len(work))
        for i, done in results:
            out[i] = done
            progress.update(bar, advance=1, description=work[i].name)
            if on_done is not None:
                on_done(i, done)
    return [done for done in out if done is not None]


def _timed(call: Callable[..., Any], keywords: Mapping[str, Any]) -> Done:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        started = process_time()
        result = call(**keywords)
        return Done(result, process_time() - started)
    finally:
        torch.set_num_threads(threads)


def _local(work: Sequence[Work], workers: int | None) -> Generator[tuple[int, Done]]:
    workers = min(workers or len(os.sched_getaffinity(0)), max(len(work), 1))
    if workers == 1:
        for i, piece in enumerate(work):
            yield i, _timed(piece.call, piece.keywords)
        return
    with ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent
    ) as pool:
        places = {
            pool.submit(_timed, piece.call, piece.keywords): i for i, piece in enumerate(work)
        }
        try:
            for future in as_completed(places):
                yield places[future], future.result()
        except BaseException:
            begun = list(pool._processes.values())
            pool.shutdown(wait=False, cancel_futures=True)
            # would otherwise be waited for; a training that is asked politely writes a checkpoint
            # first
            for process in begun:
                process.kill()
            raise


def _end_with_parent() -> None:
    """In a worker: end when the parent has ended, however it did. Ctrl-C reaches all processes of a
    terminal; the parent answers it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _ray(
    work: Sequence[Work], workers: int | None, address: str | None
) -> Generator[tuple[int, Done]]:
    try:
        import ray  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise OptionError(
            "the ray engine needs Ray, which is not installed",
            hint="pip install 'holdfast[ray]', or --engine local",
        ) from None
    started_here = not ray.is_initialized()
    if started_here:
        ray.init(
            address=address,
            log_to_driver=False,
            **({} if address else {"num_cpus": workers, "include_dashboard": False}),
        )
    remote = ray.remote(num_cpus=1)(_timed)
    try:
        waiting = {
            remote.remote(piece.call, dict(piece.keywords)): i for i, piece in enumerate(work)
        }
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=1)
            for reference in ready:
                yield waiting.pop(reference), ray.get(reference)
    finally:
        if started_here:
            ray.shutdown()
