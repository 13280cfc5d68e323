"""Work in processes and in order, with one thread each; Ray asked for and missing."""

from __future__ import annotations

import sys

import pytest
import torch

from holdfast.errors import OptionError
from holdfast.lab.engine import Work, run_all


def square(x: int) -> tuple[int, int]:
    if x < 0:
        raise ValueError("negative")
    return x * x, torch.get_num_threads()


def test_results_come_in_the_order_of_the_work(tmp_path):
    seen = []
    done = run_all([Work(str(x), square, {"x": x}) for x in range(4)], workers=1, quiet=True, on_done=lambda i, d: seen.append(i))
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
