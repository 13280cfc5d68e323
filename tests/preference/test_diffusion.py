"""The objectives of diffusion models by values worked by hand and plain transcriptions."""

from math import log, sqrt, tanh

import pytest
import torch
import torch.nn.functional as F

from holdfast.inputs import reward_gap
from holdfast.preference import diffusion_dpo, dpo, self_npo, smpo
from holdfast.types import Answers, Pairs, Scored


def scored(logp, ref=None):
    logp_NT = torch.tensor(logp, dtype=torch.float64)
    ref_NT = None if ref is None else torch.tensor(ref, dtype=torch.float64)
    return Scored(logp_NT, torch.ones_like(logp_NT), ref_NT)


def pairs_of(errors, gaps=None):
    """Rows of denoising errors (m_w, m_ref_w, m_l, m_ref_l)."""
    won, ref_won, lost, ref_lost = (
        [[-e / 2] for e in column] for column in zip(*errors, strict=True)
    )
    inputs = {} if gaps is None else {reward_gap: torch.tensor(gaps, dtype=torch.float64)}
    return Pairs(scored(won, ref_won), scored(lost, ref_lost), inputs=inputs)


def test_diffusion_dpo_by_hand():
    pairs = pairs_of([(0.10, 0.11, 0.20, 0.18), (0.3, 0.3, 0.3, 0.3)])
    # D = (0.10 - 0.11) - (0.20 - 0.18) = -0.03; softplus(100 / 2 * -0.03)
    cost_N = diffusion_dpo(pairs, beta=100.0)
    assert cost_N.tolist() == pytest.approx([log(1 + 2.718281828459045**-1.5), log(2)], rel=1e-9)
    assert torch.equal(cost_N, dpo(pairs, beta=100.0))


def test_smpo_reads_no_label_and_is_sure_as_the_reward_is():
    errors = [(0.10, 0.11, 0.20, 0.18)]
    turned = [(0.20, 0.18, 0.10, 0.11)]
    cost = smpo(pairs_of(errors, [0.4]), beta=100.0, gamma=10.0)
    weight = 10 * tanh(0.2)
    assert cost.item() == pytest.approx(F.softplus(torch.tensor(-1.5 * weight)).item(), rel=1e-6)
    assert smpo(pairs_of(turned, [-0.4]), beta=100.0, gamma=10.0).item() == cost.item()
    assert smpo(pairs_of(errors, [0.0])).item() == pytest.approx(log(2))
    # averages with weights gamma p and gamma (1 - p), p = sigma(gap): W is their difference
    p = torch.sigmoid(torch.tensor(0.4, dtype=torch.float64)).item()
    assert weight == pytest.approx(10 * (p - (1 - p)), rel=1e-9)


def test_smpo_at_gap_0_has_no_gradient():
    logp = torch.tensor([[-0.05]], dtype=torch.float64, requires_grad=True)
    part = Scored(logp, torch.ones_like(logp), torch.zeros_like(logp))
    pairs = Pairs(
        part,
        scored([[-0.1]], [[-0.2]]),
        inputs={reward_gap: torch.zeros(1, dtype=torch.float64)},
    )
    smpo(pairs).sum().backward()
    assert logp.grad.item() == 0


def test_self_npo_is_a_pseudo_huber_of_each_dimension():
    answers = Answers(scored([[-0.5 * 3.0**2, 0.0, -0.5 * 0.001**2]]))
    found = self_npo(answers, huber=0.001)
    by_hand = [sqrt(9 + 1e-6) - 0.001, 0.0, 0.001 * (sqrt(2) - 1)]
    assert found[0].tolist() == pytest.approx(by_hand, abs=1e-9)
    assert self_npo(answers, huber=0.0)[0].tolist() == pytest.approx([9.0, 0.0, 1e-6])
