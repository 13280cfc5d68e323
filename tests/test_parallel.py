"""Work in processes and in order, with one thread each; Ray asked for and missing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from holdfast.errors import OptionError
from holdfast.parallel import Work, run_all


def square(x: int) -> tuple[int, int]:
    if x < 0:
        raise ValueError("negative")
    return x * x, torch.get_num_threads()


def test_results_come_in_the_order_of_the_work(tmp_path):
    seen = []
    done = run_all(
        [Work(str(x), square, {"x": x}) for x in range(4)],
        workers=1,
        quiet=True,
        on_done=lambda i, d: seen.append(i),
    )
    assert [d.result for d in done] == [(x * x, 1) for x in range(4)]
    assert sorted(seen) == [0, 1, 2, 3]
    assert all(d.seconds >= 0 for d in done)


def test_what_a_piece_raises_reaches_the_caller():
    with pytest.raises(ValueError, match="negative"):
        run_all([Work("x", square, {"x": -1})], workers=1, quiet=True)


def test_engines_and_addresses_are_checked(monkeypatch):
    with pytest.raises(OptionError, match="no engine"):
        run_all([], engine="dask", quiet=True)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="ray engine alone"):
        run_all([], address="ray://x", quiet=True)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OptionError, match="not installed") as caught:
        run_all([Work("x", square, {"x": 1})], engine="ray", quiet=True)
    assert "pip install" in str(caught.value)


PARENT = """
import os, signal, sys, time
from pathlib import Path

from holdfast.parallel import Work, run_all

# a shell's background jobs are born deaf to it
signal.signal(signal.SIGINT, signal.default_int_handler)


def piece(folder, name):
    (Path(folder) / name).write_text(str(os.getpid()))
    time.sleep(600)


if __name__ == "__main__":
    work = [Work(name, piece, {"folder": sys.argv[1], "name": name}) for name in ("a", "b", "c")]
    run_all(work, workers=2, quiet=True)
"""


def alive(pid: int) -> bool:
    """Whether that process runs; one that is dead and not yet buried does not."""
    return (
        Path(f"/proc/{pid}").exists()
        and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    )


def until(true, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(true())


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads processes from /proc")
@pytest.mark.parametrize(
    "number, code",
    [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_workers_end_with_their_parent_however_it_ends(tmp_path, number, code):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], stderr=subprocess.DEVNULL
    )
    try:
        pids = [tmp_path / name for name in ("a", "b")]
        assert until(lambda: all(path.exists() and path.read_text() for path in pids))
        workers = [int(path.read_text()) for path in pids]
        assert all(map(alive, workers)) and parent.pid not in workers
        parent.send_signal(number)
        assert parent.wait(60) == code
        assert until(lambda: not any(map(alive, workers)), 10)
        assert not (tmp_path / "c").exists()  # what had not begun never does
    finally:
        parent.kill()
