"""Methods that ask for further prompts of a row: srpo by hand and at its saddle point, rationales
by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log

import pytest
import torch
from torch import Tensor

from holdfast.errors import NeedError
from holdfast.preference import dpo, ipo, rationale_dpo, rationale_logistic, srpo
from holdfast.scorers.table import Comparisons, Table, fit, population
from holdfast.types import Pairs, Scored


def ratio(value: float) -> Scored:
    one = torch.ones(1, 1, dtype=torch.float64)
    return Scored(value * one, one, 0 * one)


# ------------------------------------------------------------------------------------------------
# srpo


def six(w: float, l: float, w_l: float, l_l: float, w_w: float, l_w: float) -> Pairs:  # noqa: E741
    names = (
        "chosen_given_rejected",
        "rejected_given_rejected",
        "chosen_given_chosen",
        "rejected_given_chosen",
    )
    return Pairs(
        ratio(w),
        ratio(l),
        extra={name: ratio(value) for name, value in zip(names, (w_l, l_l, w_w, l_w), strict=True)},
    )


@pytest.mark.parametrize(("alpha", "cost"), [(0.0, 0.476100), (1.0, 0.320200), (0.5, 0.398150)])
def test_srpo_by_hand(alpha: float, cost: float):
    """beta 0.1; r(w) 1.2, r(l) -0.4, r(w|l) 0.9, r(l|l) -0.2, r(w|w) 0.3, r(l|w) -0.6. Answering:
    0.9 + 1.2 + 0.6 + 0.4 = 3.1 and (1 - 0.31)^2 = 0.4761. Improving: (0.5 - 0.11)^2 + (0.5 -
    0.09)^2 = 0.1521 + 0.1681."""
    assert srpo(
        six(1.2, -0.4, 0.9, -0.2, 0.3, -0.6), beta=0.1, alpha=alpha
    ).item() == pytest.approx(cost, abs=1e-12)


def test_a_revision_that_is_missing_is_refused():
    pairs = six(1.2, -0.4, 0.9, -0.2, 0.3, -0.6)
    for name in pairs.extra:
        with pytest.raises(NeedError, match="needs revision"):
            srpo(
                Pairs(
                    pairs.chosen,
                    pairs.rejected,
                    extra={k: v for k, v in pairs.extra.items() if k != name},
                )
            )


BEATS_AA = torch.tensor(
    [[0.5, 0.7, 0.4], [0.3, 0.5, 0.9], [0.6, 0.1, 0.5]], dtype=torch.float64
)  # in cycles
REF_A = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


def with_revisions(sampling_A: Tensor) -> Comparisons:
    """Every comparison of the three answers. Prompt 0 of the table is the plain one; prompt 1 + a
    shows answer a.
    """
    data = population(BEATS_AA.unsqueeze(0), sampling_SA=sampling_A.unsqueeze(0))
    w_N, l_N = data.chosen_N, data.rejected_N
    extra = {
        "chosen_given_rejected": (1 + l_N, w_N),
        "rejected_given_rejected": (1 + l_N, l_N),
        "chosen_given_chosen": (1 + w_N, w_N),
        "rejected_given_chosen": (1 + w_N, l_N),
    }
    return Comparisons(data.prompt_N, w_N, l_N, data.inputs, extra=extra)


SAMPLINGS = ([1 / 3, 1 / 3, 1 / 3], [0.7, 0.2, 0.1], [0.1, 0.1, 0.8])


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("alpha", [0.3, 0.8])
def test_srpo_meets_its_saddle_point_whatever_pairs_were_collected(
    sampling: list[float], alpha: float
):
    """Three answers that beat each other in cycles, beta 1: Z(a) = sum_b ref(b) exp(P(b beats a))
    = (1.593742, 1.722527, 1.813538), pi = ref / Z normalized = (0.524477, 0.291159, 0.184365), and
    after answer 0 the reviser is (0.517248, 0.254092, 0.228659)."""
    z_A = (REF_A.unsqueeze(-1) * BEATS_AA.exp()).sum(0)
    assert z_A.tolist() == pytest.approx([1.593742, 1.722527, 1.813538], abs=1e-6)
    reference_SA = REF_A.log().expand(4, -1)
    p_SA = fit(
        srpo,
        with_revisions(torch.tensor(sampling)),
        reference_SA=reference_SA,
        beta=1.0,
        alpha=alpha,
    ).table.logp_SA.exp()
    assert p_SA[0].tolist() == pytest.approx([0.524477, 0.291159, 0.184365], abs=1e-6)
    assert p_SA[1].tolist() == pytest.approx([0.517248, 0.254092, 0.228659], abs=1e-6)
    expected_AA = REF_A * BEATS_AA.T.exp() / z_A.unsqueeze(-1)
    torch.testing.assert_close(p_SA[1:], expected_AA, rtol=0, atol=1e-6)


def test_ipo_moves_with_the_pairs_where_srpo_does_not():
    """The same cycles and the same three samplings: ipo ends at three policies."""
    expected = [(0.508, 0.315, 0.178), (0.523, 0.276, 0.201), (0.440, 0.378, 0.181)]
    for sampling, policy in zip(SAMPLINGS, expected, strict=True):
        data = population(BEATS_AA.unsqueeze(0), sampling_SA=torch.tensor([sampling]))
        p_A = fit(ipo, data, reference_SA=REF_A.log().unsqueeze(0), tau=1.0).table.logp_SA[0].exp()
        assert p_A.tolist() == pytest.approx(policy, abs=1e-3)


def test_both_identities_and_the_saddle():
    """At (pi, pi') every ordered pair satisfies both regressions; the value is 0.513878; each side
    can only hurt itself by moving.
    """
    z_A = (REF_A.unsqueeze(-1) * BEATS_AA.exp()).sum(0)
    pi_A = (REF_A / z_A) / (REF_A / z_A).sum()
    reviser_AA = REF_A * BEATS_AA.T.exp() / z_A.unsqueeze(-1)  # [shown, written]
    r_A, r_AA = (pi_A / REF_A).log(), (reviser_AA / REF_A).log()
    for a in range(3):
        for b in range(3):
            p = BEATS_AA[b, a].item()
            assert (r_AA[a, b] - r_AA[a, a]).item() == pytest.approx(p - 0.5, abs=1e-12)
            assert (r_AA[a, b] + r_A[b] - r_AA[b, a] - r_A[a]).item() == pytest.approx(
                2 * p - 1, abs=1e-12
            )

    def value(p_A: Tensor, q_AA: Tensor) -> float:
        inner_A = (q_AA * (BEATS_AA.T - (q_AA / REF_A).log())).sum(-1)
        return (p_A * (inner_A + (p_A / REF_A).log())).sum().item()

    assert value(pi_A, reviser_AA) == pytest.approx(0.513878, abs=1e-6)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        near_A = (pi_A.log() + 0.3 * torch.randn(3, generator=generator)).softmax(-1)
        near_AA = (reviser_AA.log() + 0.3 * torch.randn(3, 3, generator=generator)).softmax(-1)
        assert value(near_A, reviser_AA) > value(pi_A, reviser_AA) > value(pi_A, near_AA)


# ------------------------------------------------------------------------------------------------
# rationales


def with_rationale(h: float, rationale: float) -> Pairs:
    return Pairs(ratio(h), ratio(0.0), extra={"rationale": ratio(rationale)})


@pytest.mark.parametrize(
    ("gamma", "logp", "logistic", "linear", "slope"),
    [
        (0.001, -150, 0.770957, 0.15, -0.000537),
        (0.1, -150, 15.000000, 15, -0.1),
        (0.1, -5, 0.974077, 0.5, -0.062246),
        (1, -3, 3.048587, 3, -0.952574),
    ],
)
def test_the_two_forms_of_the_rationale(
    gamma: float, logp: float, logistic: float, linear: float, slope: float
):
    """softplus(0.15) = 0.770957, softplus(15) = 15.0000003, softplus(0.5) = 0.974077, softplus(3) =
    3.048587.
    """
    for cost, term, pull in (
        (rationale_dpo, linear, -gamma),
        (rationale_logistic, logistic, slope),
    ):
        leaf = torch.full((1, 1), float(logp), dtype=torch.float64, requires_grad=True)
        one = torch.ones(1, 1, dtype=torch.float64)
        pairs = Pairs(ratio(0.5), ratio(0.0), extra={"rationale": Scored(leaf, one)})
        found = cost(pairs, beta=0.1, gamma=gamma)
        assert found.item() == pytest.approx(0.668460 + term, abs=1e-6)
        assert torch.autograd.grad(found.sum(), leaf)[0].item() == pytest.approx(pull, abs=1e-6)


def test_rationale_in_full():
    """beta 0.1, h 0.5, gamma 1, log pi(r) = -3: 0.668460 + 3 and 0.668460 + 3.048587."""
    assert rationale_dpo(with_rationale(0.5, -3), beta=0.1, gamma=1.0).item() == pytest.approx(
        3.668460, abs=1e-6
    )
    assert rationale_logistic(with_rationale(0.5, -3), beta=0.1, gamma=1.0).item() == pytest.approx(
        3.717047, abs=1e-6
    )


def test_a_certain_rationale_says_nothing():
    assert rationale_dpo(with_rationale(0.5, 0.0)).item() == pytest.approx(
        dpo(with_rationale(0.5, 0.0)).item(), abs=1e-12
    )
    assert rationale_logistic(with_rationale(0.5, 0.0)).item() == pytest.approx(
        dpo(with_rationale(0.5, 0.0)).item() + log(2), abs=1e-12
    )


@pytest.mark.parametrize("cost", [rationale_dpo, rationale_logistic])
def test_without_shared_weights_a_rationale_teaches_the_answers_nothing(
    cost: Callable[..., Tensor],
):
    """A table has weights of its own for each prompt. Prompt 1 is the rationale's: whatever its
    weight, prompt 0 ends where dpo does.
    """
    beats_1AA = torch.tensor(
        [[[0.5, 0.8, 0.6], [0.2, 0.5, 0.3], [0.4, 0.7, 0.5]]], dtype=torch.float64
    )
    data = population(beats_1AA)
    said_N = torch.where(data.chosen_N < data.rejected_N, 0, 1)
    asked = Comparisons(
        data.prompt_N,
        data.chosen_N,
        data.rejected_N,
        data.inputs,
        extra={"rationale": (1 + 0 * said_N, said_N)},
    )
    reference_SA = torch.tensor([[0.2, 0.0, -0.3], [0.0, 0.5, 0.1]], dtype=torch.float64)
    plain_A = fit(dpo, data, reference_SA=reference_SA, beta=1.0).table.logp_SA[0]
    rationale_A = fit(
        cost, asked, reference_SA=reference_SA, beta=1.0, gamma=0.7, max_steps=200
    ).table.logp_SA
    torch.testing.assert_close(rationale_A[0], plain_A, rtol=0, atol=1e-6)
    assert rationale_A[1, 2].exp().item() < 1e-3, "the rationale itself was learned"
    assert isinstance(Table(reference_SA).pairs(asked).extra["rationale"], Scored)
