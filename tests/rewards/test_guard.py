"""A reward that fails on a row: the row is named, and the others keep their scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from holdfast.rewards.guard import Guarded

ANSWERS = [f"answer {i}" for i in range(7)]


def fails(prompts, answers):
    if any("3" in answer for answer in answers):
        raise KeyError("no key for 3")
    return [float(answer[-1]) for answer in answers]


@pytest.mark.parametrize(
    ("reward", "kind", "lost"),
    [
        (fails, "raises", [3]),
        (lambda p, a: [None if "2" in x else 1.0 for x in a], "none", [2]),
        (lambda p, a: [float("nan") if "5" in x else 1.0 for x in a], "not finite", [5]),
        (lambda p, a: [float("inf") if "5" in x else 1.0 for x in a], "not finite", [5]),
        (lambda p, a: ["good" if "1" in x else 1.0 for x in a], "no number", [1]),
        (lambda p, a: [[1.0, 2.0] if "4" in x else 1.0 for x in a], "shape", [4]),
        (lambda p, a: 1.0, "shape", list(range(7))),
        (lambda p, a: None, "shape", list(range(7))),
        (lambda p, a: torch.ones(len(a), 2), "shape", list(range(7))),
    ],
)
def test_one_bad_score_stays_where_it_is(reward, kind, lost):
    guarded = Guarded(reward, batch=4)
    scores = guarded(["why"] * 7, ANSWERS)
    assert np.flatnonzero(np.isnan(scores)).tolist() == lost
    assert guarded.faults[kind].rows[0] == lost[0] and guarded.faults[kind].cure


def test_a_wrong_count_is_asked_for_row_by_row():
    """It drops the shortest answer of a batch, and answers one rightly."""
    guarded = Guarded(lambda p, a: [1.0] * max(1, len(a) - 1))
    assert guarded(["why"] * 7, ANSWERS).tolist() == [1.0] * 7
    assert "6 scores for 7 answers" in guarded.faults["count"].says


def test_arrays_tensors_and_generators_are_numbers():
    for made in (np.arange(7), torch.arange(7.0), (float(i) for i in range(7))):
        guarded = Guarded(lambda p, a, made=made: made)
        assert guarded(["why"] * 7, ANSWERS).tolist() == list(range(7)) and not guarded.faults
