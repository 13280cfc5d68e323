"""PEARL's robust reward by hand, and labels carried between tasks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from holdfast.errors import DataError
from holdfast.rewards import get
from holdfast.rewards.gaussian_reward import entropy, expected_loss, gaussian_reward, moments
from holdfast.rewards.transfer import carried, transfer
from holdfast.types import Pairs, Scored


def test_the_expected_loss_and_the_entropy_by_hand():
    """E softplus(-(m + sqrt(v) z)) at m = 1: 0.313262 (v = 0), 0.406856 (1), 0.642495 (4); at -1
    1.313262 and 1.642495. Entropy of s = 0.1, 1, 2.
    """
    m = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    s = torch.tensor([0.0, 1.0, 2.0, 0.0, 2.0], dtype=torch.float64)
    want = [0.313262, 0.406856, 0.642495, 1.313262, 1.642495]
    assert expected_loss(m, s).tolist() == pytest.approx(want, abs=2e-5)
    found = entropy(torch.tensor([0.1, 1.0, 2.0], dtype=torch.float64)).tolist()
    assert found == pytest.approx([-0.883647, 1.418939, 2.112086], abs=1e-6)


def pairs(rows: torch.Tensor) -> Pairs:
    ones = torch.ones_like(rows)
    return Pairs(Scored(rows, ones), Scored(rows.flip(0), ones))


def test_without_variance_it_is_bradley_terry_and_the_floor_lifts_the_variance():
    rows = torch.tensor([[1.0, -30.0], [0.0, -30.0]], dtype=torch.float64)
    cost_N = gaussian_reward(pairs(rows), uncertainty_weight=0.0)
    assert cost_N.tolist() == pytest.approx([0.313262, 1.313262], abs=1e-5)
    rows.requires_grad_()
    gaussian_reward(pairs(rows), uncertainty_weight=0.05).sum().backward()
    assert (rows.grad[:, 1] < 0).all()  # a step down the gradient raises s
    wide = torch.tensor([[1.0, 2.0], [0.0, 2.0]], dtype=torch.float64, requires_grad=True)
    gaussian_reward(pairs(wide)).sum().backward()
    assert (wide.grad[:, 1] > 0).all()  # above the floor, variance costs


def test_log_odds_are_damped_by_the_variance():
    """sigma(m / sqrt(1 + pi v / 8)) at m = 1: 0.700014 at v = 1."""
    first = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    (_, s) = moments(first)
    raw = torch.log(torch.expm1(torch.tensor(0.5**0.5 - 1e-4, dtype=torch.float64)))
    one, two = (torch.stack([torch.tensor(x, dtype=torch.float64), raw])[None] for x in (1.0, 0.0))
    logit = get("gaussian_reward").score(one, two, None)
    assert float(torch.sigmoid(logit)) == pytest.approx(0.700014, abs=1e-5) and float(s) > 0


def test_labels_follow_the_matching_of_a_shifted_and_permuted_task():
    """X = (0, 1, 3); Y = 10 - X in the order (2, 0, 1): cost 0, and every label right."""
    x = np.array([0.0, 1.0, 3.0])
    order = [2, 0, 1]
    y = (10 - x)[order]
    label = (x[:, None] > x[None]) + 0.5 * (x[:, None] == x[None])
    found = transfer(abs(x[:, None] - x), abs(y[:, None] - y), label)
    assert found.cost == pytest.approx(0.0, abs=1e-9) and not found.ambiguous
    assert found.label_NN == pytest.approx(label[np.ix_(order, order)])
    assert found.label_NN + found.label_NN.T == pytest.approx(np.ones((3, 3)))


def test_weights_are_normalized():
    """Identity coupling reproduces the labels; a half-and-half one by hand: z(1, 2) = 1/2."""
    z = np.array([[0.5, 0, 0], [1, 0.5, 1], [1, 0, 0.5]])
    assert carried(np.eye(3) / 3, z) == pytest.approx(z)
    half = np.array([[1 / 6, 1 / 6, 0], [1 / 6, 1 / 6, 0], [0, 0, 1 / 3]])
    made = carried(half, np.array([[0.5, 1, 0], [0, 0.5, 0], [1, 1, 0.5]]))
    assert (made[0, 1], made[0, 2], made[2, 0], made[1, 2]) == pytest.approx((0.5, 0, 1, 0))


def test_symmetric_tasks_are_said_to_be_ambiguous():
    """Equally spaced points match as well in reverse, which turns every label."""
    x = np.array([0.0, 1.0, 2.0])
    label = (x[:, None] > x[None]) + 0.5 * (x[:, None] == x[None])
    assert transfer(abs(x[:, None] - x), abs(x[:, None] - x), label).ambiguous


def test_refusals():
    with pytest.raises(DataError, match="sum to 1"):
        transfer(np.eye(2), np.eye(2), np.ones((2, 2)))
    with pytest.raises(DataError, match="symmetric"):
        transfer([[0, 1], [2, 0]], np.eye(2), [[0.5, 1], [0, 0.5]])
