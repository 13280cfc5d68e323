"""Methods that weigh tokens, by hand: tdpo, mapo, sparsepo and sparsepo_independent; and spo's
degrees.
"""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest
import torch
from torch import Tensor

from holdfast.card import NeedError
from holdfast.preference import dpo, mapo, sparsepo, sparsepo_independent, spo, tdpo
from holdfast.preference._tokens import TokenMask
from holdfast.preference.mapo import active_NT
from holdfast.preference.spo import DegreeHead
from holdfast.types import Pairs, Scored

D = torch.float64


def scored(
    ratio: list[float],
    kl: list[float],
    mask: list[list[float]],
    *,
    activation: list[list[float]] | None = None,
) -> Scored:
    """One answer with these log-ratios over a reference of a nat a token."""
    reference = torch.full((1, len(ratio)), -1.0, dtype=D)
    live = None if activation is None else torch.tensor([activation], dtype=D)
    ratios, kls, masks = (torch.tensor([x], dtype=D) for x in (ratio, kl, mask))
    return Scored(reference + ratios, torch.ones_like(reference), reference, kls, live, masks)


def pairs(mask: list[list[float]]) -> Pairs:
    return Pairs(
        scored([0.2, -0.1, 0.5], [0.05, 0.02, 0.1], mask),
        scored([0.1, 0.3, -0.2], [0.03, 0.04, 0.06], mask),
    )


ONES, SLOT, NONE = [[1.0, 1.0]] * 3, [[0.0, 0.0], [0.0, 0.0], [2.0, 2.0]], [[0.0, 0.0]] * 3
FREE = {"ratio_sparsity": 0.0, "kl_sparsity": 0.0}


def test_values_worked_by_hand():
    """dpo: h = .6 - .2 = .4, logit .2. All ones: K = .17 - .13, logit .22. The mask (0, 0, 2): 2
    (.6) - 2 (-.14) = 1.48, logit .74.
    """
    assert dpo(pairs(ONES), beta=0.5).item() == pytest.approx(0.598139, abs=1e-6)
    assert tdpo(pairs(ONES), beta=0.5).item() == pytest.approx(0.589185, abs=1e-6)
    assert sparsepo(pairs(ONES), beta=0.5, sparsity=0.0).item() == pytest.approx(0.589185, abs=1e-6)
    assert sparsepo(pairs(SLOT), beta=0.5, sparsity=0.0).item() == pytest.approx(0.390090, abs=1e-6)
    assert sparsepo(pairs(NONE), beta=0.5, sparsity=0.0).item() == pytest.approx(log(2), abs=1e-12)
    separate = [[1.0, 0.0], [1.0, 0.0], [1.0, 2.0]]  # 0.4 + 2 (.1 - .06) = .48, logit .24
    assert sparsepo_independent(pairs(separate), beta=0.5, **FREE).item() == pytest.approx(
        0.580330, abs=1e-6
    )
    assert sparsepo_independent(pairs(SLOT), beta=0.5, **FREE).item() == pytest.approx(
        0.390090, abs=1e-6
    )


def test_the_price_of_a_mask_is_its_sum_over_both_answers():
    assert (
        sparsepo(pairs(SLOT), sparsity=0.25) - sparsepo(pairs(SLOT), sparsity=0.0)
    ).item() == pytest.approx(0.25 * 4)
    priced = sparsepo_independent(pairs([[1.0, 2.0]] * 3), ratio_sparsity=0.1, kl_sparsity=0.01)
    free = sparsepo_independent(pairs([[1.0, 2.0]] * 3), **FREE)
    assert (priced - free).item() == pytest.approx(0.1 * 6 + 0.01 * 12)


def test_a_mask_of_zeros_leaves_the_policy_where_it_is():
    batch = pairs(NONE)
    leaf = batch.chosen.logp_NT.clone().requires_grad_()
    sparsepo(
        replace(batch, chosen=replace(batch.chosen, logp_NT=leaf)), sparsity=0.0
    ).sum().backward()
    assert not leaf.grad.any()


@pytest.mark.parametrize("c", [0.25, 3.0])
def test_the_scale_of_a_mask_and_beta_are_one_thing(c: float):
    scaled = [[c * m for m in row] for row in [[0.3, 0.3], [1.2, 1.2], [0.0, 0.0]]]
    plain = sparsepo(pairs([[0.3, 0.3], [1.2, 1.2], [0.0, 0.0]]), beta=0.5, sparsity=0.0)
    torch.testing.assert_close(sparsepo(pairs(scaled), beta=0.5 / c, sparsity=0.0), plain)
    torch.testing.assert_close(
        sparsepo(pairs([[c, c]] * 3), beta=0.5, sparsity=0.0), tdpo(pairs(ONES), beta=0.5 * c)
    )


def test_activations_are_rescaled_layer_by_layer_within_the_answer():
    """Layer 1: (1, 3, 2) -> (0, 1, .5). Layer 2: (4, 4, 4) -> 1. Their mean; standardizing first
    changes nothing.
    """
    activation = [[1.0, 4.0], [3.0, 4.0], [2.0, 4.0]]
    part = scored([0.2, -0.1, 0.5], [0.05, 0.02, 0.1], ONES, activation=activation)
    assert active_NT(part).tolist() == [[0.5, 1.0, 0.75]]
    standardized = replace(part, ref_activation_NTL=(part.ref_activation_NTL - 2.0) / 0.816)
    torch.testing.assert_close(active_NT(standardized)[..., :2], active_NT(part)[..., :2])
    other = scored(
        [0.1, 0.3, -0.2], [0.03, 0.04, 0.06], ONES, activation=[[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]]
    )
    # (1, 1, 1) and (0, .5, 1) -> (.5, .75, 1)
    # w: .5 .25 + 1 (-.08) + .75 .6 = .495;  l: .5 .13 + .75 .34 + 1 (-.14) = .18
    assert mapo(Pairs(part, other), beta=0.5).item() == pytest.approx(
        torch.nn.functional.softplus(torch.tensor(-0.1575)).item(), abs=1e-6
    )


def test_an_answer_of_one_token_counts_it():
    part = scored([0.2], [0.05], [[1.0, 1.0]], activation=[[7.0, -3.0]])
    assert active_NT(part).tolist() == [[1.0]]


def test_a_new_mask_is_one_and_can_move():
    mask = TokenMask(width=6, layers=3, masks=2)
    states = torch.randn(5, 3, 6)
    said = mask(states)
    torch.testing.assert_close(said, torch.ones(5, 2))
    said[:, 0].sum().backward()
    assert mask.inner_KLH.grad[0].any() and not mask.inner_KLH.grad[1].any()
    assert (TokenMask(6, 3, 1)(states * 100) >= 0).all()


# ------------------------------------------------------------------------------------------------
# degrees


def degrees_of(logits: Tensor, *, empty: tuple[str, ...] = (), tokens: int = 2) -> Pairs:
    """Every sequence says `logits` at its last token and something else before."""
    said = torch.stack([logits + 5.0 * torch.arange(3.0, dtype=D), logits]).expand(1, -1, -1)[
        :, -tokens:
    ]
    one = torch.ones(1, tokens, dtype=D)
    whole = Scored(-one, one, -one, head_NTK=said)
    names = [f"{answer}_copy_{k}" for answer in ("chosen", "rejected") for k in (1, 2)]
    extra = {name: replace(whole, mask_NT=0 * one) if name in empty else whole for name in names}
    return Pairs(replace(whole, logp_NT=-one + 0.25), replace(whole, logp_NT=-one), extra=extra)


def test_degrees_worked_by_hand():
    """Logits (1, 0, -1): .407606, 1.407606, 2.407606 for degrees 0, 1, 2, mean 1.407606; with dpo
    at .05 and gamma .1: .809220.
    """
    batch = degrees_of(torch.tensor([1.0, 0.0, -1.0], dtype=D))
    assert spo(batch, beta=0.1, gamma=0.0).item() == pytest.approx(0.668460, abs=1e-6)
    assert spo(batch, beta=0.1, gamma=0.1).item() == pytest.approx(0.809220, abs=1e-6)


def test_copies_that_are_not_there_cost_what_a_guess_costs_and_teach_nothing():
    logits = torch.tensor([1.0, 0.0, -1.0], dtype=D, requires_grad=True)
    nothing = degrees_of(
        logits, empty=("chosen_copy_1", "chosen_copy_2", "rejected_copy_1", "rejected_copy_2")
    )
    cost = spo(nothing, beta=0.1, gamma=1.0)
    assert cost.item() == pytest.approx(0.668460 + log(3), abs=1e-6)
    assert not torch.autograd.grad(cost.sum(), logits)[0].any()
    half = degrees_of(logits.detach(), empty=("chosen_copy_1",))
    expected = (0.407606 + log(3) + 2.407606) / 6 + 1.407606 / 2
    assert spo(half, beta=0.1, gamma=1.0).item() == pytest.approx(0.668460 + expected, abs=1e-6)


def test_a_new_head_guesses_and_leaves_the_body_alone():
    head, states = DegreeHead(width=4, layers=2), torch.randn(3, 1, 4, requires_grad=True)
    said = head(states)
    cost = (said.logsumexp(-1) - said[:, 1]).sum()
    assert cost.item() == pytest.approx(3 * log(3))
    assert not torch.autograd.grad(cost, states)[0].any()


def test_an_altered_copy_never_enters_the_comparison():
    batch = degrees_of(torch.zeros(3, dtype=D))
    moved = replace(
        batch,
        extra={name: replace(part, logp_NT=part.logp_NT * 9) for name, part in batch.extra.items()},
    )
    assert torch.equal(spo(batch), spo(moved))


def test_what_is_missing_is_named():
    batch = degrees_of(torch.zeros(3, dtype=D))
    with pytest.raises(NeedError, match="needs copies"):
        spo(replace(batch, extra={}))
    with pytest.raises(NeedError, match=r"needs token_kl.*`train` keeps the reference in memory"):
        tdpo(batch)
