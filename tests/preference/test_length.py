"""What a method makes of length: ln_dpo, and the two maximum-entropy readings of simpo.

The common pair: log pi(y_w) = -12 over 10 tokens, log pi(y_l) = -9 over 6 tokens, reference -13 and
-9.5.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log

import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor

from holdfast.preference import dpo, ln_dpo, maxent, maxent_length, simpo
from holdfast.scorers.table import Table, bradley_terry, fit, population
from holdfast.types import Pairs, Scored


def answer(logp: float, ref: float, tokens: int, width: int = 10) -> Scored:
    mask_NT = (torch.arange(width) < tokens).double().unsqueeze(0)
    return Scored(logp / tokens * mask_NT, mask_NT, ref / tokens * mask_NT)


PAIR = Pairs(answer(-12, -13, 10), answer(-9, -9.5, 6))


def slopes(cost: Callable[..., Tensor], **settings: float) -> tuple[float, float]:
    """d cost / d log pi(y_w) and d cost / d log pi(y_l)."""
    leaves = [part.logp_NT.clone().requires_grad_() for part in (PAIR.chosen, PAIR.rejected)]
    parts = (PAIR.chosen, PAIR.rejected)
    moved = Pairs(
        *(
            Scored(leaf, part.mask_NT, part.ref_logp_NT)
            for leaf, part in zip(leaves, parts, strict=True)
        )
    )
    found = torch.autograd.grad(cost(moved, **settings).sum(), leaves)
    return found[0][0, 0].item(), found[1][0, 0].item()


def test_ln_dpo_by_hand():
    """Log-ratios a token: 1 / 10 and 0.5 / 6. z = 5 (0.1 - 0.083333) = 0.083333, softplus(-z) =
    0.652348. Slopes -5 sigma(-z) / 10 and 5 sigma(-z) / 6: the shorter answer is pushed 10 / 6
    times as hard."""
    assert ln_dpo(PAIR, beta=5.0).item() == pytest.approx(0.652348, abs=1e-6)
    assert slopes(ln_dpo, beta=5.0) == pytest.approx((-0.239589, 0.399316), abs=1e-6)


def test_ln_dpo_at_equal_lengths_is_dpo():
    """Ten tokens each: beta 5 is dpo's 0.5. z = 0.5 * 0.5 = 0.25, cost 0.575939 both ways."""
    pairs = Pairs(answer(-12, -13, 10), answer(-9, -9.5, 10))
    assert ln_dpo(pairs, beta=5.0).item() == pytest.approx(dpo(pairs, beta=0.5).item(), abs=1e-12)
    assert ln_dpo(pairs, beta=5.0).item() == pytest.approx(0.575939, abs=1e-6)


def test_ln_dpo_under_a_constant_reference_is_simpo_without_a_margin():
    """A reference of -1.3 nats on every token cancels: z = 5 (-1.2 + 1.5) = 1.5, cost 0.201413."""
    flat = Pairs(answer(-12, -13, 10), answer(-9, -7.8, 6))
    assert ln_dpo(flat, beta=5.0).item() == pytest.approx(
        simpo(flat, beta=5.0, gamma=0.0).item(), abs=1e-12
    )
    assert ln_dpo(flat, beta=5.0).item() == pytest.approx(0.201413, abs=1e-6)


def test_maxent_by_hand():
    """softplus(-0.1 (-12 + 9)) = softplus(0.3) = 0.854355."""
    assert maxent(PAIR, temperature=0.1).item() == pytest.approx(0.854355, abs=1e-6)
    assert slopes(maxent, temperature=0.1) == pytest.approx(
        (-0.1 / (1 + 2.718281828**-0.3), 0.1 / (1 + 2.718281828**-0.3)), abs=1e-6
    )


def test_maxent_is_dpo_with_a_uniform_reference():
    """Every answer has the same probability under it, whatever its length."""
    flat = Pairs(answer(-12, -7.7, 10), answer(-9, -7.7, 6))
    assert maxent(PAIR, temperature=0.1).item() == pytest.approx(
        dpo(flat, beta=0.1).item(), abs=1e-14
    )


def test_maxent_recovers_the_policy_that_entropy_alone_would_choose():
    """Bradley-Terry labels of a reward r: the minimum is pi* = exp(r / t) / Z, whatever the
    reference was.
    """
    r_1A = torch.tensor([[0.3, -0.4, 1.1, 0.2]], dtype=torch.float64)
    found = fit(
        maxent,
        population(bradley_terry(r_1A)),
        reference_SA=torch.tensor([[2.0, 0, -1, 0.5]]),
        temperature=0.5,
    )
    torch.testing.assert_close(found.table.logp_SA, (r_1A / 0.5).log_softmax(-1), rtol=0, atol=1e-9)


def test_simpo_without_a_margin_is_maxent_at_equal_lengths_alone():
    """Ten tokens each: beta 2 is the temperature 0.2. At 10 and 6 tokens no temperature gives both
    of its slopes.
    """
    pairs = Pairs(answer(-12, -13, 10), answer(-9, -9.5, 10))
    assert simpo(pairs, beta=2.0, gamma=0.0).item() == pytest.approx(
        maxent(pairs, temperature=0.2).item(), abs=1e-14
    )
    assert maxent_length(pairs, beta=2.0).item() == pytest.approx(
        maxent(pairs, temperature=0.2).item(), abs=1e-14
    )
    chosen, rejected = slopes(simpo, beta=2.0, gamma=0.0)
    assert rejected / -chosen == pytest.approx(10 / 6)


def test_maxent_length_by_hand():
    """simpo's z at beta 2 is 0.6; the term it leaves out is 2 (1/10 - 1/6) = -0.133333: z =
    0.466667, softplus(-z) = 0.486831.
    """
    z = 2 * ((-12 + 1) / 10 - (-9 + 1) / 6)
    assert z == pytest.approx(0.466667, abs=1e-6)
    assert maxent_length(PAIR, beta=2.0).item() == pytest.approx(
        torch.nn.functional.softplus(torch.tensor(-z)).item(), abs=1e-7
    )
    margin = 2.0 * (1 / 6 - 1 / 10)  # the same as simpo with a margin of this pair's own
    assert maxent_length(PAIR, beta=2.0).item() == pytest.approx(
        simpo(PAIR, beta=2.0, gamma=margin).item(), abs=1e-12
    )


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_maxent_length_is_what_the_derivation_gives_and_simpo_is_not(beta: float):
    """Six answers of different lengths, any reward. The problem max sum pi (r - (beta / |y|) log
    pi) is solved by its stationary point, log pi = (r - mu) |y| / beta - 1 with mu such that pi
    sums to one. The logit of maxent_length at that policy is r_w - r_l exactly; that of simpo is
    off by beta (1 / |y_w| - 1 / |y_l|)."""
    generator = torch.Generator().manual_seed(2)
    r_A = torch.randn(6, generator=generator, dtype=torch.float64)
    length_A = torch.tensor([1.0, 2, 3, 5, 8, 13], dtype=torch.float64)

    def log_pi_A(mu: float) -> Tensor:
        return (r_A - mu) * length_A / beta - 1

    mu = brentq(
        lambda m: log_pi_A(m).exp().sum().item() - 1,
        r_A.min().item() - 20 * beta,
        r_A.max().item() + 20 * beta,
        xtol=1e-15,
    )
    logp_A = log_pi_A(mu)
    assert logp_A.exp().sum().item() == pytest.approx(1, abs=1e-10)

    def value(p_A: Tensor) -> float:
        return (p_A * (r_A - beta / length_A * p_A.log())).sum().item()

    for _ in range(50):  # nothing near it is better
        near_A = (logp_A + 0.1 * torch.randn(6, generator=generator, dtype=torch.float64)).softmax(
            -1
        )
        assert value(near_A) < value(logp_A.exp())

    def logit(cost: Callable[..., Tensor], w: int, lo: int, **settings: float) -> float:
        pairs = Pairs(
            answer(logp_A[w].item(), 0, int(length_A[w]), 13),
            answer(logp_A[lo].item(), 0, int(length_A[lo]), 13),
        )
        return -torch.log(torch.expm1(cost(pairs, beta=beta, **settings))).item()

    off = []
    for w in range(6):
        for lo in set(range(6)) - {w}:
            gap = (r_A[w] - r_A[lo]).item()
            assert logit(maxent_length, w, lo) == pytest.approx(gap, abs=1e-8)
            off.append(abs(logit(simpo, w, lo, gamma=0.0) - gap))
            assert off[-1] == pytest.approx(
                beta * abs(1 / length_A[w] - 1 / length_A[lo]).item(), abs=1e-8
            )
    assert max(off) == pytest.approx(beta * (1 - 1 / 13), abs=1e-8)


def test_kl_to_uniform_is_what_entropy_lacks():
    """p = (.5, .3, .2): KL 0.068959 = log 3 - 1.029653, so the entropy bonus is the KL penalty of a
    uniform reference.
    """
    table = Table(
        torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64).log(),
        torch.zeros(1, 3, dtype=torch.float64),
    )
    entropy = -(table.logp_SA.exp() * table.logp_SA).sum().item()
    assert table.kl_S().item() == pytest.approx(
        log(3) - entropy, abs=1e-12
    ) and entropy == pytest.approx(1.029653, abs=1e-6)
