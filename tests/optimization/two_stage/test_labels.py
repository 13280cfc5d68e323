"""Random knapsacks, their labels, and a data run that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from holdfast.errors import OptionError, RunError
from holdfast.optimization.two_stage.generate import BUDGETS, CORRELATIONS, SIZES, random_kind
from holdfast.optimization.two_stage.generate import random_knapsack as random_instance
from holdfast.optimization.two_stage.labels import (
    Asked,
    features_of,
    label,
    read_labels,
    spent,
    spread,
    write_labels,
)
from tests.optimization.two_stage.instances import small_knapsack

SMALL = Asked(instances=12, decisions=2, factors=3, seed=5)


def test_random_instances_are_of_the_published_kinds():
    rng = np.random.default_rng(0)
    for _ in range(30):
        kind = random_kind(rng)
        problem = random_instance(kind, rng)
        assert len(problem) == kind.n_items and kind.n_items in SIZES
        assert kind.correlation in CORRELATIONS
        assert any(problem.budget == pytest.approx(b * len(problem)) for b in BUDGETS)
        assert np.all(problem.outsourcing_N >= problem.profit_N)
        assert np.all(np.round(problem.weight_N) == problem.weight_N)
        share = problem.capacity / problem.weight_N.sum()
        assert share == pytest.approx(kind.capacity / 101, abs=1e-3)
        if kind.correlation == "SC":
            assert np.allclose(problem.profit_N - problem.weight_N, 100, atol=1)


def test_labels_are_second_stage_optima():
    found = label(SMALL, 3)
    rng = np.random.default_rng([5, 3])
    problem = random_instance(random_kind(rng), rng)
    assert np.allclose(found.features_NF, features_of(problem))
    for a in range(2):
        x_N = found.x_AN[a].astype(float)
        for b in range(3):
            xi_N = found.xi_ABN[a, b].astype(float)
            second = problem.recourse(x_N, xi_N).value - float(problem.model.first_N @ x_N)
            assert found.label_AB[a, b] == pytest.approx(second, rel=1e-6)


def test_points_spend_the_budget():
    problem, rng = small_knapsack(0, n=20), np.random.default_rng(0)
    for _ in range(20):
        xi_N = spent(problem, np.ones(20), rng)
        assert problem.model.uncertainty.holds(xi_N)
        assert xi_N.sum() == pytest.approx(problem.budget) or xi_N.max() == 1
        total = spread(problem, rng).sum()
        assert min(1 / problem.budget, problem.budget) <= total <= problem.budget + 1e-9


def test_data_go_on_after_a_kill_with_the_same_numbers(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert list(write_labels(whole, SMALL))[-1] == 12
    code = (
        "from pathlib import Path\n"
        "from holdfast.optimization.two_stage.labels import Asked, write_labels\n"
        f"for n in write_labels(Path({str(killed)!r}), Asked(12, 2, 3, 5)): print(n, flush=True)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    while run.stdout is not None and run.stdout.readline().strip() not in ("10", "11", ""):
        time.sleep(0.001)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    with pytest.raises(RunError, match="is not finished"):
        (killed / "00001.safetensors").unlink(missing_ok=True)
        read_labels(killed)
    list(write_labels(killed, SMALL))
    (asked, ours), (_, theirs) = read_labels(killed), read_labels(whole)
    assert asked == SMALL and len(ours) == 12
    for one, other in zip(ours, theirs, strict=True):
        for name in vars(one):
            assert np.array_equal(getattr(one, name), getattr(other, name))


def test_other_data_in_the_folder_are_refused(tmp_path):
    list(write_labels(tmp_path, Asked(1, 1, 1)))
    with pytest.raises(RunError, match="instances 1 there, 2 asked for"):
        next(write_labels(tmp_path, Asked(2, 1, 1)))
    with pytest.raises(RunError, match="none holds no training data"):
        read_labels(tmp_path / "none")
    (tmp_path / "00000.safetensors").write_bytes(b"not one")
    with pytest.raises(RunError, match=r"00000.safetensors is damaged"):
        read_labels(tmp_path)
    with pytest.raises(OptionError, match="factors must be a whole number of at least 1, not 0"):
        Asked(factors=0)
