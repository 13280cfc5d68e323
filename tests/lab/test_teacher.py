"""The students of ROOT's claim: outliers as planted, clipping, and that they learn."""

from __future__ import annotations

import pytest
import torch

from holdfast.lab.claims.root_outliers import ADAMW, ARMS, CLIPPED, OURS
from holdfast.lab.worlds import teacher


def test_outliers_come_as_often_and_as_large_as_planted():
    draw = torch.Generator().manual_seed(0)
    gradient = torch.randn(4, 300, 300, generator=draw)
    before, deviation = gradient.clone(), gradient.std(dim=(-2, -1))
    teacher.spoil(gradient, draw, 0.001, 30.0)
    hit = gradient != before
    assert float(hit.float().mean()) == pytest.approx(0.001, abs=0.0002)
    for each, where, one in zip(gradient, hit, deviation, strict=True):
        assert torch.allclose(each[where].abs(), 30 * one)
    teacher.spoil(before, draw, 0.001, 0.0)
    assert torch.equal(before[~hit], gradient[~hit])


def test_each_student_is_clipped_by_its_own_norm():
    gradients = [torch.tensor([[[3.0]], [[0.3]]]), torch.tensor([[[4.0]], [[0.4]]])]
    teacher.clip(gradients, 1.0)
    norms = sum(g.square() for g in gradients).sqrt().flatten()
    assert norms.tolist() == pytest.approx([1.0, 0.5])


def test_the_teacher_has_no_error_and_students_are_their_own():
    """A seed's numbers do not depend on the seeds beside it."""
    arm = ARMS[ADAMW]
    together = teacher.regression(arm, [3, 4], size=0.0, steps=20)
    alone = teacher.regression(arm, [4], size=0.0, steps=20)
    assert together[1] == pytest.approx(alone[0], rel=1e-3)
    assert 0 < together[0] < 1.5


@pytest.mark.parametrize("name", [OURS, CLIPPED])
def test_students_learn_and_outliers_hurt(name):
    clean = teacher.regression(ARMS[name], [1, 2], size=0.0, steps=60)
    spoiled = teacher.regression(ARMS[name], [1, 2], size=300.0, steps=60)
    assert all(a < 0.6 and b > a for a, b in zip(clean, spoiled, strict=True))


def test_labels_at_random_hurt():
    clean = teacher.labeled(ARMS[ADAMW], [1, 2], noise=0.0, steps=60)
    noisy = teacher.labeled(ARMS[ADAMW], [1, 2], noise=0.6, steps=60)
    assert all(a < b < 1 for a, b in zip(clean, noisy, strict=True))
    assert max(clean) < 0.6  # of eight classes
