"""Methods that weigh the costs of `dpo`: dr_dpo by the batch, madpo by a reward model."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from torch import Tensor

from holdfast.inputs import reward_gap
from holdfast.preference import dpo, dr_dpo, madpo
from holdfast.preference.dr_dpo import METHOD as DR_DPO
from holdfast.preference.madpo import coefficient, pair_weight
from holdfast.reductions import kl_best_case
from holdfast.types import Pairs, Scored


def at_margins(*h: float, gaps: list[float] | None = None) -> Pairs:
    """Pairs of one token whose log-ratio margins are these."""
    h_N1 = torch.tensor(h, dtype=torch.float64).unsqueeze(-1)
    one, zero = torch.ones_like(h_N1), torch.zeros_like(h_N1)
    gap_N = None if gaps is None else torch.tensor(gaps, dtype=torch.float64)
    return Pairs(Scored(h_N1, one, zero), Scored(zero, one, zero), {reward_gap: gap_N})


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


# ------------------------------------------------------------------------------------------------
# dr_dpo


def test_dr_dpo_is_the_authors_expression():
    """-t log mean(exp(-losses / t)). At t = 1 exp(-cost) = sigma(beta h): margins log 3 and -log 3
    at beta 1 have 3/4 and 1/4, mean 1/2.
    """
    pairs = at_margins(log(3), -log(3))
    cost_N = dr_dpo(pairs, beta=1.0)
    assert DR_DPO.reduction.apply(cost_N, pairs, {})[0].item() == pytest.approx(log(2), abs=1e-12)
    for t in (0.3, 2.0):
        expected = -t * torch.log(torch.mean(torch.exp(-cost_N / t))).item()
        assert kl_best_case(temperature=t).apply(cost_N, pairs, {})[0].item() == pytest.approx(
            expected, abs=1e-12
        )


@pytest.mark.parametrize("t", [0.5, 1.0, 3.0])
def test_dr_dpo_weighs_a_row_by_how_much_the_policy_agrees(t: float):
    """q proportional to sigma(beta h)^(1/t)."""
    h = (-6.0, -1.0, 0.0, 0.5, 4.0)
    pairs = at_margins(*h)
    cost_N = dr_dpo(pairs, beta=1.0).requires_grad_()
    (q_N,) = torch.autograd.grad(kl_best_case(temperature=t).apply(cost_N, pairs, {})[0], cost_N)
    expected = torch.tensor([sigmoid(x) ** (1 / t) for x in h], dtype=torch.float64)
    torch.testing.assert_close(q_N, expected / expected.sum(), rtol=1e-12, atol=1e-12)


def test_dr_dpo_lets_go_of_what_the_policy_firmly_contradicts():
    """The pull on a margin: q sigma(-h). In dpo it grows to 1 as the label is contradicted; here it
    peaks where the policy is undecided.
    """
    h_N1 = torch.tensor([[-8.0], [0.0], [8.0]], dtype=torch.float64, requires_grad=True)
    one, zero = torch.ones_like(h_N1).detach(), torch.zeros_like(h_N1).detach()
    pairs = Pairs(Scored(h_N1, one, zero), Scored(zero, one, zero))
    plain = -torch.autograd.grad(dpo(pairs, beta=1.0).sum(), h_N1)[0].flatten()
    pull = -torch.autograd.grad(
        DR_DPO.reduction.apply(dr_dpo(pairs, beta=1.0), pairs, {})[0], h_N1
    )[0].flatten()
    assert plain[0] > plain[1] > plain[2] and pull[1] > 100 * pull[0] > 0


# ------------------------------------------------------------------------------------------------
# madpo

WIDE = {"c_min": 0.25, "c_max": 4.0, "tau": 7.0, "steepness": 1.0}
NARROW = {"c_min": 0.5, "c_max": 2.0, "tau": 2.0, "steepness": 1.0}


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_madpo_coefficients():
    """At m = 2 with tau 2 the odds are 1 / 0.5 = 2: 0.5 + 1.5 / (1 + 2) = 1. At 0: 0.5 + 1.5 / (1 +
    2 e^-2) = 1.680479.
    """
    wide = coefficient(tensor(0, 0.5, 1, 2, 4, 7, -7), **WIDE).tolist()
    assert wide == pytest.approx([3.986371, 3.977583, 3.963184, 3.901583, 3.377220, 1, 1], abs=1e-6)
    assert coefficient(tensor(0, 0.5, 1, 2, 4), **NARROW).tolist() == pytest.approx(
        [1.680479, 1.537158, 1.364175, 1, 0.595068], abs=1e-6
    )


def test_madpo_weights():
    """w(0) = 1/2 over 1/2. At m = -tau c is 1 and both branches give 1: no jump."""
    assert pair_weight(tensor(0, 0.5, 1, 2, 4), **WIDE).tolist() == pytest.approx(
        [1, 1.413129, 1.342371, 1.134872, 1.018314], abs=1e-6
    )
    assert pair_weight(tensor(-0.5, -1, -3, -8), **WIDE).tolist() == pytest.approx(
        [0.318866, 0.069339, 0.000279, 1], abs=1e-6
    )
    assert pair_weight(tensor(0.5, 1, 4, -0.5, -1, -3), **NARROW).tolist() == pytest.approx(
        [1.097603, 1.089430, 0.932075, 0.839079, 0.756903, 1], abs=1e-6
    )
    assert pair_weight(tensor(-2 + 1e-9, -2, -2 - 1e-9), **NARROW).tolist() == pytest.approx(
        [1, 1, 1], abs=1e-6
    )


def test_madpo_on_one_pair():
    """beta h = 0.3, m = 1: 1.089430 * softplus(-0.3) = 0.603931, slope -1.089430 sigma(-0.3) =
    -0.463615. The label turned round, both change sign: 0.756903 * softplus(0.3) = 0.646664."""
    assert madpo(at_margins(0.3, gaps=[1.0]), beta=1.0, **NARROW).item() == pytest.approx(
        0.603931, abs=1e-6
    )
    assert madpo(at_margins(-0.3, gaps=[-1.0]), beta=1.0, **NARROW).item() == pytest.approx(
        0.646664, abs=1e-6
    )


@pytest.mark.parametrize(
    ("h", "fitted"),
    [(0.3, 1.194488), (1, 3.963184), (3, 11.232058), (6, 10.603718), (8, 7.989577), (10, 9.949574)],
)
def test_madpo_amplifies_small_margins_and_hardly_damps_large_ones(h: float, fitted: float):
    """Labels of true margin h, seen both ways round: the cost sigma(h) w(h) softplus(-z) +
    sigma(-h) w(-h) softplus(z) is least at z = log[sigma(h) w(h) / (sigma(-h) w(-h))], which is
    c(h) h below tau."""
    agree, contradict = pair_weight(tensor(h, -h), **WIDE).tolist()
    z = h + log(agree / contradict)
    assert z == pytest.approx(fitted, abs=2e-6)

    def cost(at: float) -> float:
        pairs = at_margins(at, -at, gaps=[h, -h])
        return (tensor(sigmoid(h), sigmoid(-h)) * madpo(pairs, beta=1.0, **WIDE)).sum().item()

    assert cost(z) < cost(z - 0.01) and cost(z) < cost(z + 0.01)


def test_madpo_does_not_train_the_reward_model_nor_overflow():
    gap_N = tensor(0.5, -300.0, 300.0).requires_grad_()
    pairs = at_margins(0.2, 0.2, 0.2)
    cost_N = madpo(Pairs(pairs.chosen, pairs.rejected, {reward_gap: gap_N}))
    assert cost_N.isfinite().all() and not cost_N.requires_grad
