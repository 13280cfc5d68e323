"""gpo against numbers worked by hand, and against the step that it regresses on."""

from __future__ import annotations

import math

import pytest
import torch

from holdfast.inputs import log_odds
from holdfast.preference import gpo
from holdfast.types import Pairs, Scored


def scored(log_ratio: list[float]) -> Scored:
    ratio = torch.tensor(log_ratio, dtype=torch.float64)[:, None]
    return Scored(ratio - 1, torch.ones_like(ratio), torch.full_like(ratio, -1.0))


def test_by_hand():
    """Log-ratios 0.2 and -0.1, log-odds 0.6 and -0.8 at beta 2: (0.2 - 0.3)^2 + (-0.1 + 0.4)^2 =
    0.10.
    """
    pairs = Pairs(scored([0.2]), scored([-0.1]), {log_odds: torch.tensor([[0.6, -0.8]])})
    assert gpo(pairs, beta=2.0).item() == pytest.approx(0.10)


def test_the_minimizer_is_the_tabular_step():
    """pi_t = (.5, .3, .2), P(A>B) = .8, P(B>C) = .9, P(C>A) = .7: s = (0.246429, -0.253702,
    -0.235518); at beta 1 the step is (0.620770, 0.225880, 0.153350) and log Z 0.030076. Free
    log-probabilities meet log pi_t + s, which is the step before log Z."""
    p_AA = torch.tensor([[0.5, 0.8, 0.3], [0.2, 0.5, 0.9], [0.7, 0.1, 0.5]], dtype=torch.float64)
    pi_A = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    score_A = torch.logit(p_AA) @ pi_A
    assert score_A.tolist() == pytest.approx([0.246429, -0.253702, -0.235518], abs=1e-6)
    theta_A = pi_A.log().clone().requires_grad_()
    first, second = torch.triu_indices(3, 3, 1)
    column = lambda x: x[:, None]  # noqa: E731
    for _ in range(200):
        parts = [
            Scored(column(theta_A[i]), torch.ones(3, 1), column(pi_A.log()[i]))
            for i in (first, second)
        ]
        cost = gpo(
            Pairs(*parts, {log_odds: torch.stack([score_A[first], score_A[second]], dim=1)}),
            beta=1.0,
        ).sum()
        (slope,) = torch.autograd.grad(cost, theta_A)
        theta_A = (theta_A - 0.1 * slope).detach().requires_grad_()
    assert theta_A.softmax(-1).tolist() == pytest.approx([0.620770, 0.225880, 0.153350], abs=1e-6)
    assert theta_A.logsumexp(-1).item() == pytest.approx(0.030076, abs=1e-6)
    step_A = (pi_A.log() + score_A).softmax(-1)
    assert theta_A.softmax(-1).tolist() == pytest.approx(step_A.tolist(), abs=1e-6)


def test_three_steps_on_rewards_add_up():
    """With s(i, j) = r_i - r_j, T steps are softmax(log pi_0 + T r / beta): r = (.5, -.2, .1), beta
    2, T 3.
    """
    r_A = torch.tensor([0.5, -0.2, 0.1], dtype=torch.float64)
    log_pi_A = torch.full((3,), -math.log(3), dtype=torch.float64)
    for _ in range(3):
        log_pi_A = (log_pi_A + (r_A - log_pi_A.exp() @ r_A) / 2).log_softmax(-1)
    assert log_pi_A.exp().tolist() == pytest.approx([0.526662, 0.184299, 0.289038], abs=1e-6)
