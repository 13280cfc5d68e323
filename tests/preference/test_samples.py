"""hypo: the gradient on the policy's own samples is that of the exact KL, and dpo is blind where it
sees.
"""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor

from holdfast.errors import NeedError
from holdfast.preference import dpo, hypo
from holdfast.scorers.table import Comparisons, Table
from holdfast.types import Pairs

REF_A = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)


def table_of(p_A: Tensor) -> Table:
    return Table(p_A.log().unsqueeze(0), REF_A.log().unsqueeze(0))


def drawn(table: Table, samples: tuple[Tensor, ...], chosen: int = 0, rejected: int = 1) -> Pairs:
    """One pair a row, the same in all, and these answers as the policy's own."""
    zero_N = torch.zeros_like(samples[0])
    extra = {f"sample_{i}": (zero_N, answer_N) for i, answer_N in enumerate(samples, 1)}
    return table.pairs(Comparisons(zero_N, zero_N + chosen, zero_N + rejected, extra=extra))


def test_dpo_is_blind_to_what_it_never_compares():
    """pi = ((1 - q) 5/6, (1 - q) / 6, q): q wanders from 0.1 to 0.99 at the same cost of dpo,
    0.648382, while the KL grows.
    """
    kls = []
    for q in (0.1, 0.5, 0.9, 0.99):
        table = table_of(torch.tensor([(1 - q) * 5 / 6, (1 - q) / 6, q], dtype=torch.float64))
        pairs = drawn(table, (torch.tensor([0]), torch.tensor([0])))
        assert dpo(pairs, beta=0.1).item() == pytest.approx(0.648382, abs=1e-6)
        kls.append(table.kl_S().item())
    assert kls == pytest.approx([0.063386, 0.546040, 1.764823, 2.225316], abs=1e-6)


PI_A = torch.tensor([0.5, 0.1, 0.4], dtype=torch.float64)


@pytest.mark.parametrize("samples", [2, 3])
def test_over_all_samples_value_and_gradient_are_those_of_the_kl(samples: int):
    """pi = (.5, .1, .4): KL 0.353496, its slope in the logits (-0.267909, -0.145211, 0.413119).
    Every tuple of answers, as likely as the policy makes it."""
    logits_1A = PI_A.log().unsqueeze(0).requires_grad_()
    table = Table(logits_1A, REF_A.log().unsqueeze(0))
    tuples = torch.cartesian_prod(*[torch.arange(3)] * samples)
    pairs = drawn(table, tuples.unbind(-1))
    likely_N = PI_A[tuples].prod(-1)
    kl = (likely_N * (hypo(pairs, beta=0.1, weight=1.0) - dpo(pairs, beta=0.1))).sum()
    assert kl.item() == pytest.approx(0.353496, abs=1e-6)
    (slope_1A,) = torch.autograd.grad(kl, logits_1A, retain_graph=True)
    assert slope_1A[0].tolist() == pytest.approx([-0.267909, -0.145211, 0.413119], abs=1e-6)
    naive = (
        likely_N
        * sum(pairs.extra[f"sample_{i}"].log_ratio_N for i in range(1, samples + 1))
        / samples
    ).sum()
    assert torch.autograd.grad(naive, logits_1A)[0].abs().max().item() < 1e-12, (
        "differentiating the estimate itself holds nothing back"
    )


def test_two_samples_by_hand():
    """Answers 0 and 2: kl = (-0.182322, 1.386294), their mean 0.601986; the brackets are -1.568616
    and 1.568616, halved by the mean over the two."""
    pairs = drawn(table_of(PI_A), (torch.tensor([0]), torch.tensor([2])))
    leaves = {name: part.logp_NT.clone().requires_grad_() for name, part in pairs.extra.items()}
    extra = {
        name: type(part)(leaves[name], part.mask_NT, part.ref_logp_NT)
        for name, part in pairs.extra.items()
    }
    cost = hypo(Pairs(pairs.chosen, pairs.rejected, extra=extra), beta=0.1, weight=0.1)
    assert cost.item() == pytest.approx(dpo(pairs, beta=0.1).item() + 0.0601986, abs=1e-6)
    slopes = torch.autograd.grad(cost.sum(), list(leaves.values()))
    assert [s.item() for s in slopes] == pytest.approx([-0.0784308, 0.0784308], abs=1e-6)


@pytest.mark.parametrize(("weight", "worth_it"), [(1.0, True), (10.0, False)])
def test_the_penalty_saturates(weight: float, worth_it: bool):
    """One pair that always falls 0 over 1, beta 0.1. Losing answer 1 altogether, the rest in the
    reference's proportions, costs weight log(1 / 0.7) = weight * 0.356675 and takes dpo to 0: at
    weight 1 less than staying, where dpo is log 2; at weight 10 more."""
    lost = table_of(torch.tensor([0.6 / 0.7, 1e-300, 0.1 / 0.7], dtype=torch.float64))
    tuples = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    likely_N = lost.logp_SA[0].exp()[tuples].prod(-1)
    cost = (likely_N * hypo(drawn(lost, tuples.unbind(-1)), beta=0.1, weight=weight)).sum().item()
    assert cost == pytest.approx(weight * log(1 / 0.7), abs=1e-6) and (cost < log(2)) == worth_it


def test_one_sample_has_no_other_to_be_compared_with():
    pairs = drawn(table_of(PI_A), (torch.tensor([0]),))
    with pytest.raises(NeedError, match="needs samples"):
        hypo(pairs)
