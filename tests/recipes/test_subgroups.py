"""Subgroups written into rows, and a run that trains on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from holdfast.errors import DataError
from holdfast.pluralism import held_out
from holdfast.recipes.subgroups import features_of, with_subgroups
from holdfast.training.policy import train
from holdfast.types import Row, Where

FILMS = ["a cat", "a dog", "a bird", "the hill"]


def votes(seed: int, raters: int = 40) -> tuple[list[Row], list[int]]:
    """Raters of two subgroups who rank four answers in opposite orders, with some noise; a third
    are in the second.
    """
    rng = np.random.default_rng(seed)
    rows, subgroup = [], [int(r % 3 == 0) for r in range(raters)]
    for r in range(raters):
        for i in range(4):
            for j in range(i):
                first = (rng.random() < 0.85) ^ bool(subgroup[r])
                better, worse = (FILMS[i], FILMS[j]) if first else (FILMS[j], FILMS[i])
                rows.append(
                    Row(Where("votes", len(rows) + 1), "the best", better, worse, rater=f"r{r}")
                )
    return rows, subgroup


def test_raters_are_placed_and_labels_stay():
    rows, subgroup = votes(0)
    filled, found = with_subgroups(rows)
    assert [(row.chosen, row.rejected, row.rater) for row in filled] == [
        (row.chosen, row.rejected, row.rater) for row in rows
    ]
    right = [
        row.group == f"subgroup {subgroup[int(row.rater[1:])] + 1}" for row in filled if row.rater
    ]
    assert np.mean(right) > 0.9
    assert found.share_K == pytest.approx([0.65, 0.35], abs=0.1)


def test_features_are_differences_of_answers():
    from holdfast.checkup.comparisons import Comparisons

    rows, _ = votes(1, raters=12)
    data = Comparisons.of(rows)
    x_ND = features_of(data)
    assert x_ND.shape == (len(rows), 4)
    assert (x_ND.sum(1) == 0).all()
    assert (np.abs(x_ND).sum(1) == 2).all()
    gain = held_out(x_ND, data.rater.code_N, k=2) - held_out(x_ND, data.rater.code_N, k=1)
    assert gain.mean() > 0


def test_a_run_trains_on_camps(tiny_model_dir: Any, tmp_path: Any):
    filled, _ = with_subgroups(votes(2, raters=12)[0])
    run = train(
        "dpo",
        model=tiny_model_dir,
        data=filled,
        out=tmp_path / "run",
        reduction="groups:k=2",
        max_steps=2,
        batch_size=8,
    )
    assert run.record["reduction"] == "groups:k=2"


def test_rows_without_raters_are_refused():
    rows, _ = votes(3, raters=2)
    with pytest.raises(DataError, match="rater"):
        with_subgroups([Row(row.where, row.prompt, row.chosen, row.rejected) for row in rows])
    with pytest.raises(DataError, match="none has one"):
        with_subgroups([])
