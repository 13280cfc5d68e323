"""Every objective on one pair, with the sum worked where a reader can check it with a pencil.

The common pair: log pi(y_w) = -12 over 10 tokens, log pi(y_l) = -9 over 6 tokens, reference -13 and
-9.5. So the log-ratios are 1 and 0.5, their difference is h = 0.5, and the averages are a_w = -1.2
and a_l = -1.5. softplus(u) = log(1 + e^u).
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log

import pytest
import torch
from torch import Tensor

from holdfast.card import costs
from holdfast.inputs import label
from holdfast.methods import METHODS
from holdfast.preference import cdpo, cpo, dpo, ipo, kto, orpo, rdpo, sft, simpo, slic
from holdfast.preference.orpo import log_odds
from holdfast.types import Answers, Pairs, Scored


def answer(logp: float, ref: float, tokens: int, width: int = 10) -> Scored:
    """One answer whose log-probability is spread evenly over its tokens."""
    mask_NT = (torch.arange(width) < tokens).double().unsqueeze(0)
    return Scored(logp / tokens * mask_NT, mask_NT, ref / tokens * mask_NT)


PAIR = Pairs(answer(-12, -13, 10), answer(-9, -9.5, 6))


def at_margin(z: float) -> Pairs:
    """A pair whose h is z exactly: at beta 1 the logit is z."""
    return Pairs(answer(z, 0, 1), answer(0, 0, 1))


def slopes(cost: Callable[..., Tensor], **settings: float) -> tuple[float, float]:
    """d cost / d log pi(y_w) and d cost / d log pi(y_l)."""
    nudges = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    chosen, rejected = PAIR.chosen, PAIR.rejected
    first = torch.zeros(1, 10, dtype=torch.float64)
    first[0, 0] = 1
    moved = Pairs(
        Scored(chosen.logp_NT + nudges[0] * first, chosen.mask_NT, chosen.ref_logp_NT),
        Scored(rejected.logp_NT + nudges[1] * first, rejected.mask_NT, rejected.ref_logp_NT),
    )
    return tuple(torch.autograd.grad(cost(moved, **settings).sum(), nudges)[0].tolist())


def test_the_common_pair():
    assert PAIR.margin_N.item() == pytest.approx(
        0.5
    ) and PAIR.chosen.mean_logp_N.item() == pytest.approx(-1.2)
    assert (
        PAIR.rejected.mean_logp_N.item() == pytest.approx(-1.5)
        and PAIR.rejected.length_N.item() == 6
    )


def test_dpo():
    """softplus(-0.1 * 0.5) = log(1 + e^-0.05) = 0.668460. Slope in h: -0.1 sigma(-0.05) = -0.1 *
    0.487503 = -0.048750.
    """
    assert dpo(PAIR, beta=0.1).item() == pytest.approx(0.668460, abs=1e-6)
    assert slopes(dpo, beta=0.1) == pytest.approx((-0.048750, 0.048750), abs=1e-6)


def test_cdpo():
    """DPO plus flip beta h: 0.668460 + 0.1 * 0.05 = 0.673460. Slope: -0.1 (0.487503 - 0.1) =
    -0.038750.
    """
    assert cdpo(PAIR, beta=0.1, flip_rate=0.1).item() == pytest.approx(0.673460, abs=1e-6)
    assert slopes(cdpo, beta=0.1, flip_rate=0.1) == pytest.approx((-0.038750, 0.038750), abs=1e-6)


def test_rdpo():
    """DPO minus flip / (1 - 2 flip) beta h: 0.668460 - 0.125 * 0.05 = 0.662210. Slope: -0.1
    (0.487503 + 0.125) = -0.061250.
    """
    assert rdpo(PAIR, beta=0.1, flip_rate=0.1).item() == pytest.approx(0.662210, abs=1e-6)
    assert slopes(rdpo, beta=0.1, flip_rate=0.1) == pytest.approx((-0.061250, 0.061250), abs=1e-6)


@pytest.mark.parametrize(
    ("z", "flip", "plain", "robust", "conservative"),
    [
        (0.5, 0.1, 0.474077, 0.411577, 0.524077),
        (0.5, 0.3, 0.474077, 0.099077, 0.624077),
        (-1.2, 0.2, 1.463282, 1.863282, 1.223282),
        (2.0, 0.4, 0.126928, -3.873072, 0.926928),
    ],
)
def test_the_three_logistic_costs(
    z: float, flip: float, plain: float, robust: float, conservative: float
):
    """At beta h = z: s = softplus(-z), then s - flip / (1 - 2 flip) z, then s + flip z. Row 1:
    log(1 + e^-0.5) = 0.474077; 0.125 * 0.5 = 0.0625 less; 0.1 * 0.5 = 0.05 more. Row 4: 0.126928 -
    2 * 2 = -3.873072; 0.126928 + 0.4 * 2 = 0.926928."""
    pairs = at_margin(z)
    assert dpo(pairs, beta=1.0).item() == pytest.approx(plain, abs=1e-6)
    assert rdpo(pairs, beta=1.0, flip_rate=flip).item() == pytest.approx(robust, abs=1e-6)
    assert cdpo(pairs, beta=1.0, flip_rate=flip).item() == pytest.approx(conservative, abs=1e-6)


@pytest.mark.parametrize(
    ("flip", "robust", "conservative"), [(0.1, -0.502541, -0.277541), (0.3, -1.127541, -0.077541)]
)
def test_their_slopes_at_half(flip: float, robust: float, conservative: float):
    """-(sigma(-0.5) + flip / (1 - 2 flip)) and -(sigma(-0.5) - flip), sigma(-0.5) = 0.377541."""
    for cost, slope in ((rdpo, robust), (cdpo, conservative)):
        z = torch.tensor([[0.5]], dtype=torch.float64, requires_grad=True)
        one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
        found = cost(Pairs(Scored(z, one, zero), Scored(zero, one, zero)), beta=1.0, flip_rate=flip)
        assert torch.autograd.grad(found.sum(), z)[0].item() == pytest.approx(slope, abs=1e-6)


def swapped(pairs: Pairs) -> Pairs:
    return Pairs(pairs.rejected, pairs.chosen)


Z = (-3.0, -0.4, 0.0, 0.5, 7.0)


@pytest.mark.parametrize("z", Z)
@pytest.mark.parametrize("flip", [0.05, 0.3, 0.45])
def test_rdpo_is_unbiased_and_cdpo_is_not(z: float, flip: float):
    """(1 - flip) cost(pair) + flip cost(pair with its label flipped) is the clean cost. For cdpo at
    z 0.5, flip 0.3 it is 0.474077 + (2 * 0.7 * 0.3) * 0.5 = 0.684077."""
    pairs = at_margin(z)
    noisy = (1 - flip) * rdpo(pairs, beta=1.0, flip_rate=flip) + flip * rdpo(
        swapped(pairs), beta=1.0, flip_rate=flip
    )
    assert noisy.item() == pytest.approx(dpo(pairs, beta=1.0).item(), abs=1e-12)
    if (z, flip) == (0.5, 0.3):
        biased = 0.7 * cdpo(pairs, beta=1.0, flip_rate=0.3) + 0.3 * cdpo(
            swapped(pairs), beta=1.0, flip_rate=0.3
        )
        assert biased.item() == pytest.approx(0.684077, abs=1e-6)


@pytest.mark.parametrize("z", Z)
@pytest.mark.parametrize("flip", [0.05, 0.3, 0.45])
def test_rdpo_is_the_definition_and_the_smoothing_of_a_negative_rate(z: float, flip: float):
    """Its two-term definition, written out; and cdpo's (1 - e) softplus(-z) + e softplus(z) at e =
    -flip / (1 - 2 flip), which cdpo refuses as an option."""
    cost = rdpo(at_margin(z), beta=1.0, flip_rate=flip).item()
    right, wrong = log(1 + exp(-z)), log(1 + exp(z))
    assert cost == pytest.approx(((1 - flip) * right - flip * wrong) / (1 - 2 * flip), abs=1e-12)
    e = -flip / (1 - 2 * flip)
    assert cost == pytest.approx((1 - e) * right + e * wrong, abs=1e-12)


def test_rdpo_spread_under_flips():
    """At z = 2, flip 0.3 the cost is c or d with probabilities 0.7 and 0.3; its variance 0.21 (c -
    d)^2 is 0.21 * 4 / 0.16 = 5.25.
    """
    c = rdpo(at_margin(2.0), beta=1.0, flip_rate=0.3).item()
    d = rdpo(swapped(at_margin(2.0)), beta=1.0, flip_rate=0.3).item()
    assert 0.21 * (c - d) ** 2 == pytest.approx(5.25, abs=1e-9)


@pytest.mark.parametrize(("z", "value"), [(5.0, -0.618285), (20.0, -2.5), (80.0, -10.0)])
def test_rdpo_is_unbounded_below(z: float, value: float):
    """At flip 0.1 it falls along -z / 8."""
    assert rdpo(at_margin(z), beta=1.0, flip_rate=0.1).item() == pytest.approx(value, abs=1e-6)


def test_cdpo_never_falls_below_the_entropy_of_its_rate():
    """Least at sigma(z) = 1 - flip, where it is H(flip): for 0.1 at z = log 9, 0.325083. Beyond,
    the slope is positive.
    """
    assert cdpo(at_margin(log(9)), beta=1.0, flip_rate=0.1).item() == pytest.approx(
        -0.1 * log(0.1) - 0.9 * log(0.9), abs=1e-12
    )
    assert (
        cdpo(at_margin(log(9) + 0.1), beta=1.0, flip_rate=0.1).item()
        > cdpo(at_margin(log(9)), beta=1.0, flip_rate=0.1).item()
    )


def test_ipo():
    """(0.5 - 1 / 0.2)^2 = 4.5^2 = 20.25, slope 2 * (-4.5) = -9. On means it would be (0.1 -
    0.083333 - 5)^2 = 24.833611.
    """
    assert ipo(PAIR, tau=0.1).item() == pytest.approx(20.25, abs=1e-9)
    assert slopes(ipo, tau=0.1) == pytest.approx((-9, 9), abs=1e-9)


def test_slic():
    """max(0, 1 + 12 - 9) = 4; plus 0.1 * 12 = 5.2. With the answers exchanged: max(0, 1 - 3) = 0,
    plus 0.1 * 9.
    """
    assert slic(PAIR, delta=1.0, weight=0.0).item() == pytest.approx(4.0, abs=1e-9)
    assert slic(PAIR, delta=1.0, weight=0.1).item() == pytest.approx(5.2, abs=1e-9)
    assert slic(swapped(PAIR), delta=1.0, weight=0.1).item() == pytest.approx(0.9, abs=1e-9)
    assert slopes(slic, delta=1.0, weight=0.1) == pytest.approx((-1.1, 1.0), abs=1e-9)


def test_simpo():
    """z = 2 * (-1.2 + 1.5) - gamma = 0.6 - gamma. gamma 0: softplus(-0.6) = 0.437488; gamma 1:
    softplus(0.4) = 0.913015, slopes -2 sigma(0.4) / 10 = -0.119738 and 2 sigma(0.4) / 6 = 0.199563.
    beta 2.5, ratio 0.55, so gamma 1.375: z = -0.625, 1.053701."""
    assert simpo(PAIR, beta=2.0, gamma=0.0).item() == pytest.approx(0.437488, abs=1e-6)
    assert simpo(PAIR, beta=2.0, gamma=1.0).item() == pytest.approx(0.913015, abs=1e-6)
    assert slopes(simpo, beta=2.0, gamma=1.0) == pytest.approx((-0.119738, 0.199563), abs=1e-6)
    assert simpo(PAIR, beta=2.5, gamma=0.55 * 2.5).item() == pytest.approx(1.053701, abs=1e-6)


def test_simpo_at_equal_lengths_is_cpo_without_likelihood():
    """Six tokens each: beta a = (beta / 6) log pi."""
    pairs = Pairs(answer(-12, -13, 6), answer(-9, -9.5, 6))
    assert simpo(pairs, beta=3.0, gamma=0.0).item() == pytest.approx(
        cpo(pairs, beta=0.5, alpha=0.0).item(), abs=1e-12
    )


def test_cpo():
    """softplus(-0.1 * (-12 + 9)) = softplus(0.3) = 0.854355; plus 1.2, the mean over tokens. (A sum
    would add 12.)
    """
    assert cpo(PAIR, beta=0.1, alpha=0.0).item() == pytest.approx(0.854355, abs=1e-6)
    assert cpo(PAIR, beta=0.1, alpha=1.0).item() == pytest.approx(2.054355, abs=1e-6)


def test_cpo_without_likelihood_is_dpo_whose_reference_is_uniform():
    """Any reference that gives both answers the same log-probability cancels."""
    flat = Pairs(answer(-12, -7.7, 10), answer(-9, -7.7, 6))
    assert cpo(PAIR, beta=0.1, alpha=0.0).item() == pytest.approx(
        dpo(flat, beta=0.1).item(), abs=1e-12
    )


def test_orpo():
    """lo(-1.2) = -1.2 - log(1 - e^-1.2) = -1.2 + 0.358382 = -0.841618; lo(-1.5) = -1.5 + 0.252482 =
    -1.247518; their difference 0.405900; its penalty softplus(-0.405900) = 0.510652; in all 1.2 +
    0.1 * 0.510652 = 1.251065."""
    a_2 = torch.tensor([-1.2, -1.5], dtype=torch.float64)
    assert (log_odds(a_2)[0] - log_odds(a_2)[1]).item() == pytest.approx(0.405900, abs=1e-6)
    assert orpo(PAIR, weight=0.1).item() == pytest.approx(1.251065, abs=1e-6)
    assert (orpo(PAIR, weight=1.0) - orpo(PAIR, weight=0.0)).item() == pytest.approx(
        0.510652, abs=1e-6
    )


def test_log_odds_and_their_slope():
    """lo(log p) = logit p; d lo / d a = 1 / (1 - e^a): 1.431013 at a = -1.2; lo(a) -> a far
    below 0.
    """
    p = torch.tensor([1e-9, 0.01, 0.3, 0.5, 0.9, 1 - 1e-9], dtype=torch.float64)
    torch.testing.assert_close(log_odds(p.log()), torch.logit(p), rtol=1e-6, atol=1e-9)
    a = torch.tensor([-1.2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(log_odds(a).sum(), a)[0].item() == pytest.approx(1.431013, abs=1e-6)
    assert log_odds(torch.tensor([-50.0])).item() == -50.0


def test_log_odds_keep_their_digits_in_float32():
    """Near a = 0 the naive log(1 - exp(a)) has lost every digit: a = -1e-6 gives a - log(1e-6 -
    5e-13).
    """
    a = torch.tensor([-1e-6, -0.1, -0.6931472, -5.0, -20.0])
    torch.testing.assert_close(log_odds(a).double(), log_odds(a.double()), rtol=1e-6, atol=1e-7)
    near = torch.tensor([-1e-6, 0.0], requires_grad=True)
    assert log_odds(near)[0].item() == pytest.approx(-log(1e-6), rel=1e-6)
    assert torch.autograd.grad(log_odds(near).sum(), near)[0].isfinite().all()


def test_orpo_without_penalty_is_sft_of_the_chosen_answer():
    assert orpo(PAIR, weight=0.0).item() == pytest.approx(
        costs(METHODS["sft"], Answers(PAIR.chosen), {}, {})[0].item(), abs=1e-12
    )


def test_sft():
    """12 nats over 10 tokens. Two answers of 10 and 6 tokens average to (1.2 + 1.5) / 2 = 1.35, not
    to 21 / 16 = 1.3125.
    """
    both = Scored(
        torch.cat([PAIR.chosen.logp_NT, PAIR.rejected.logp_NT]),
        torch.cat([PAIR.chosen.mask_NT, PAIR.rejected.mask_NT]),
    )
    cost_NT = sft(Answers(both))
    assert cost_NT[:, 0].tolist() == pytest.approx([1.2, 1.5], abs=1e-12)
    assert cost_NT[1, 6:].tolist() == [0, 0, 0, 0]  # tokens that are not of the answer
    cost_N, _ = costs(METHODS["sft"], Answers(both), {}, {})
    assert cost_N.tolist() == pytest.approx([1.2, 1.5], abs=1e-12)


def two_answers(mismatched: list[tuple[float, float]], good: list[bool] | None = None) -> Answers:
    """The chosen answer judged desirable (rho = 1) and the rejected one undesirable (rho = 0.5)."""
    a, b = PAIR.chosen, PAIR.rejected
    both = Scored(
        *(torch.cat([getattr(a, f), getattr(b, f)]) for f in ("logp_NT", "mask_NT", "ref_logp_NT"))
    )
    logp, ref = (
        torch.tensor([[pair[i]] for pair in mismatched], dtype=torch.float64) for i in (0, 1)
    )
    other = Scored(logp, torch.ones_like(logp), ref)
    return Answers(both, {label: torch.tensor(good or [True, False])}, extra={"mismatched": other})


def test_kto():
    """Mismatched log-ratios 0.5 and -0.1: z0 = 0.2. Desirable: 1 - sigma(0.1 * (1 - 0.2)) = 1 -
    sigma(0.08) = 0.480011. Undesirable: 1 - sigma(0.1 * (0.2 - 0.5)) = 1 - sigma(-0.03) = 0.507499.
    Mean 0.493755."""
    cost_N = kto(two_answers([(-5.0, -5.5), (-7.1, -7.0)]), beta=0.1)
    assert cost_N.tolist() == pytest.approx(
        [0.480011, 0.507499], abs=1e-6
    ) and cost_N.mean().item() == pytest.approx(0.493755, abs=1e-6)
    weighted_N = kto(
        two_answers([(-5.0, -5.5), (-7.1, -7.0)]), beta=0.1, desirable=2.0, undesirable=3.0
    )
    assert weighted_N.tolist() == pytest.approx([2 * 0.480011, 3 * 0.507499], abs=3e-6)


def test_kto_counts_from_zero_when_the_estimate_is_negative():
    """Mismatched log-ratios -1 and -3: their mean -2 is held at 0, so the costs are 1 - sigma(0.1)
    and 1 - sigma(-0.05).
    """
    cost_N = kto(two_answers([(-5.0, -4.0), (-7.0, -4.0)]), beta=0.1)
    assert cost_N.tolist() == pytest.approx([1 / (1 + exp(0.1)), 1 / (1 + exp(-0.05))], abs=1e-12)


def test_kto_at_the_reference_is_half_of_each_weight():
    answers = two_answers([(-5.0, -5.0), (-7.0, -7.0)])
    still = Scored(answers.answer.ref_logp_NT, answers.answer.mask_NT, answers.answer.ref_logp_NT)
    start = Answers(still, {label: label.of(answers)}, extra=answers.extra)
    assert kto(start, desirable=1.5, undesirable=0.8).tolist() == pytest.approx(
        [0.75, 0.4], abs=1e-12
    )


def test_kto_never_trains_through_the_mismatched_answers():
    answers = two_answers([(-5.0, -5.5), (-7.1, -7.0)])
    part = answers.extra["mismatched"]
    logp_NT = part.logp_NT.clone().requires_grad_()
    main = answers.answer.logp_NT.clone().requires_grad_()
    moved = Answers(
        Scored(main, answers.answer.mask_NT, answers.answer.ref_logp_NT),
        {label: label.of(answers)},
        extra={"mismatched": Scored(logp_NT, part.mask_NT, part.ref_logp_NT)},
    )
    into_other, into_main = torch.autograd.grad(
        kto(moved).sum(), (logp_NT, main), allow_unused=True
    )
    assert into_other is None and (into_main != 0).any()
