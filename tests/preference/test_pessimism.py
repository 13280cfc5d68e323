"""rpo and vpo: two derivations of a likelihood term, each against its own."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import pytest
import torch
from torch import Tensor

from holdfast.inputs import weight
from holdfast.preference import dpo, rpo, vpo
from holdfast.scorers.table import Comparisons, Table, fit
from holdfast.types import Pairs, Scored

REF_1A = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64).log()


def chosen_over(table: Table, winners: list[int], losers: list[int]) -> Pairs:
    return table.pairs(
        Comparisons(
            torch.zeros(len(winners), dtype=torch.long), torch.tensor(winners), torch.tensor(losers)
        )
    )


def test_rpo_by_hand():
    """Log-ratios 2 and -1: h = 3, z = 0.3, softplus(-0.3) = 0.554355; 0.005 * 0.1 * 20 nats = 0.01
    more.
    """
    mask_NT = torch.ones(1, 10, dtype=torch.float64)
    chosen, rejected = (
        Scored(-2.0 * mask_NT, mask_NT, -2.2 * mask_NT),
        Scored(-2.5 * mask_NT, mask_NT, -2.4 * mask_NT),
    )
    assert rpo(Pairs(chosen, rejected), beta=0.1, eta=0.0).item() == pytest.approx(
        0.554355, abs=1e-6
    )
    assert rpo(Pairs(chosen, rejected), beta=0.1, eta=0.005).item() == pytest.approx(
        0.564355, abs=1e-6
    )


@pytest.mark.parametrize(
    ("cost", "slope_A"),
    [(rpo, [-0.059, 0.055, 0.004]), (dpo, [-0.049, 0.049, 0.0])],
    ids=["rpo", "dpo"],
)
def test_rpo_pushes_down_what_was_never_compared(cost: Callable[..., Tensor], slope_A: list[float]):
    """pi = (.5, .3, .2), answer 0 over answer 1, h = 0.4, beta = 0.1: dpo's slope on the logits is
    -/+ 0.1 sigma(-0.04) = 0.049 and 0. eta 0.2 adds -0.02 (e_0 - pi) = (-0.01, 0.006, 0.004)."""
    logits_1A = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64).log().requires_grad_()
    reference_1A = torch.tensor([[log(0.5) - 0.4, log(0.3), log(0.2)]], dtype=torch.float64)
    pairs = chosen_over(Table(logits_1A, reference_1A), [0], [1])
    assert pairs.margin_N.item() == pytest.approx(0.4)
    more = {"eta": 0.2} if cost is rpo else {}
    (slope_1A,) = torch.autograd.grad(cost(pairs, beta=0.1, **more).sum(), logits_1A)
    assert slope_1A[0].tolist() == pytest.approx(slope_A, abs=1e-6)


def test_rpo_is_its_adversary_in_the_open():
    """For any reward r the pessimist's objective, eta E[beta log Z - r(y_w)] + Bradley-Terry loss,
    is the mean of rpo at pi_r = pi_ref exp(r / beta) / Z, but for the constant eta beta E log
    pi_ref(y_w)."""
    beta, eta = 0.3, 0.7
    winners, losers = [0, 0, 2, 1], [1, 2, 1, 0]
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        r_A = torch.randn(3, generator=generator, dtype=torch.float64)
        log_z = (REF_1A[0] + r_A / beta).logsumexp(-1)
        bradley_terry = torch.nn.functional.softplus(r_A[losers] - r_A[winners]).mean()
        adversary = eta * (beta * log_z - r_A[winners].mean()) + bradley_terry
        ours = rpo(
            chosen_over(Table(REF_1A + r_A / beta, REF_1A), winners, losers), beta=beta, eta=eta
        ).mean()
        constant = eta * beta * REF_1A[0][winners].mean()
        assert (adversary - ours).item() == pytest.approx(constant.item(), abs=1e-12)


@pytest.mark.parametrize("cost", [rpo, vpo])
def test_answers_compared_only_among_themselves_keep_their_share_of_wins(
    cost: Callable[..., Tensor],
):
    """Answers 0 and 1 are compared, and 2 and 3, never across, and 4 not at all. Summed over {0, 1}
    the comparison has no slope, so the likelihood term alone decides: pi(0 or 1) is their share of
    the comparisons, 0.7, and answer 4 vanishes. dpo does not care."""
    chosen, rejected = torch.tensor([0, 1, 2, 3]), torch.tensor([1, 0, 3, 2])
    data = Comparisons(
        torch.zeros(4, dtype=torch.long),
        chosen,
        rejected,
        {weight: torch.tensor([0.5, 0.2, 0.2, 0.1], dtype=torch.float64)},
    )
    reference_1A = torch.tensor([[0.3, -1.0, 0.4, 0.0, 1.0]], dtype=torch.float64)
    strength = {"eta": 0.5} if cost is rpo else {"alpha": 0.5}
    p_A = (
        fit(cost, data, reference_SA=reference_1A, beta=1.0, max_steps=2000, **strength)
        .table.logp_SA[0]
        .exp()
    )
    assert (p_A[0] + p_A[1]).item() == pytest.approx(0.7, abs=1e-3) and p_A[4].item() < 1e-3
    plain_A = fit(dpo, data, reference_SA=reference_1A, beta=1.0).table.logp_SA[0].exp()
    assert plain_A[4].item() > 0.1


def test_vpo_and_rpo_are_one_gradient():
    logits_1A = torch.tensor([[0.2, -0.7, 0.4]], dtype=torch.float64, requires_grad=True)
    pairs = chosen_over(Table(logits_1A, REF_1A), [0, 2], [1, 1])
    value, pessimist = vpo(pairs, beta=0.3, alpha=0.6), rpo(pairs, beta=0.3, eta=0.6)
    torch.testing.assert_close(
        value - pessimist, 0.6 * 0.3 * pairs.chosen.ref_logp_N, rtol=1e-12, atol=1e-12
    )
    (a,), (b,) = (
        torch.autograd.grad(cost.sum(), logits_1A, retain_graph=True) for cost in (value, pessimist)
    )
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


CAL_A = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)


def value_term(table: Table, *, beta: float, alpha: float) -> float:
    """alpha J*, as vpo takes it from answers drawn from pi_cal: each as often as pi_cal says."""
    pairs = chosen_over(table, [0, 1, 2], [1, 2, 0])
    return (
        (CAL_A * (vpo(pairs, beta=beta, alpha=alpha) - vpo(pairs, beta=beta, alpha=0.0)))
        .sum()
        .item()
    )


def test_vpo_knows_the_value_of_its_reward():
    """r = (.85, .05, -.65) has mean 0 under pi_cal. pi_r = pi_ref exp(2 r) / Z = (.876384, .106163,
    .017453), and J* = 0.5 log E_ref exp(2 r) = 0.569402. A reward shifted by 0.7 has the same
    policy, and J* 0.7 higher: hence the calibration."""
    r_A = torch.tensor([0.85, 0.05, -0.65], dtype=torch.float64)
    assert (CAL_A * r_A).sum().item() == pytest.approx(0, abs=1e-12)
    table = Table(REF_1A + r_A / 0.5, REF_1A)
    assert table.logp_SA[0].exp().tolist() == pytest.approx(
        [0.876384, 0.106163, 0.017453], abs=1e-6
    )
    assert 0.5 * (REF_1A[0] + 2 * r_A).logsumexp(-1).item() == pytest.approx(0.569402, abs=1e-6)
    assert value_term(table, beta=0.5, alpha=1.0) == pytest.approx(0.569402, abs=1e-6)
    assert 0.5 * (REF_1A[0] + 2 * (r_A + 0.7)).logsumexp(-1).item() == pytest.approx(
        1.269402, abs=1e-6
    )


def test_vpo_by_hand():
    """pi = (.6, .25, .15) against (.5, .3, .2), answer 0 over answer 1, beta .5: h = log 1.2 -
    log(5/6) = 0.364643, dpo 0.606136. E_cal of the log-ratio = .2 log 1.2 + .5 log(5/6) + .3 log
    .75 = -0.141006; times -.2 * .5: 0.014101. In all 0.620236."""
    table = Table(torch.tensor([[0.6, 0.25, 0.15]], dtype=torch.float64).log(), REF_1A)
    plain = dpo(chosen_over(table, [0], [1]), beta=0.5).item()
    assert plain == pytest.approx(0.606136, abs=1e-6)
    assert value_term(table, beta=0.5, alpha=0.2) == pytest.approx(0.014101, abs=1e-6)
    assert plain + value_term(table, beta=0.5, alpha=0.2) == pytest.approx(0.620236, abs=1e-6)
