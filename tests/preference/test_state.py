"""Methods that remember: beta_dpo by hand, and lcpo by hand, as expectation-maximization, and where
raters are known.
"""

from __future__ import annotations

from itertools import pairwise
from math import log

import pytest
import torch
from torch import Tensor

from holdfast.card import costs, initial_state
from holdfast.inputs import rater
from holdfast.methods import METHODS
from holdfast.preference import beta_dpo, dpo, lcpo_cpo, lcpo_dpo, lcpo_ipo, lcpo_simpo
from holdfast.types import Pairs, Scored


def at_margins(h_N: Tensor, rater_N: Tensor | None = None) -> Pairs:
    """Pairs of one token whose log-ratio margins are these."""
    one, zero = (
        torch.ones_like(h_N).unsqueeze(-1).detach(),
        torch.zeros_like(h_N).unsqueeze(-1).detach(),
    )
    return Pairs(Scored(h_N.unsqueeze(-1), one, zero), Scored(zero, one, zero), {rater: rater_N})


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def reliability(*values: float) -> dict[str, Tensor]:
    return {"reliability_R": tensor(*values)}


# ------------------------------------------------------------------------------------------------
# beta_dpo


def test_beta_dpo_by_hand():
    """Margins 0.5, 2, -1, 3 have mean 1.125; against the average 1 beta_b = 0.1 (1 + 0.6 * 0.125) =
    0.1075. The average becomes 0.9 * 1 + 0.1 * 1.125 = 1.0125."""
    pairs = at_margins(tensor(0.5, 2, -1, 3))
    cost_N, state = beta_dpo(pairs, {"margin": tensor(1.0)[0]}, beta=0.1, alpha=0.6, momentum=0.9)
    torch.testing.assert_close(cost_N, dpo(pairs, beta=0.1075), rtol=1e-12, atol=1e-12)
    assert state["margin"].item() == pytest.approx(1.0125, abs=1e-12)


def test_beta_dpo_holds_its_temperature_fixed_and_above_zero():
    """The slope is that of dpo at beta_b. Margins of mean -100 would give 0.1 (1 - 60): held at
    0.001.
    """
    h_N = tensor(0.5, 2, -1, 3).requires_grad_()
    cost_N, _ = beta_dpo(at_margins(h_N), {"margin": tensor(1.0)[0]})
    (slope_N,) = torch.autograd.grad(cost_N.sum(), h_N)
    torch.testing.assert_close(
        slope_N, -0.1075 * torch.sigmoid(-0.1075 * h_N.detach()), rtol=1e-12, atol=1e-12
    )
    far = at_margins(tensor(-100.0, -100.0))
    torch.testing.assert_close(
        beta_dpo(far, {"margin": tensor(0.0)[0]})[0], dpo(far, beta=0.001), rtol=1e-12, atol=1e-12
    )


# ------------------------------------------------------------------------------------------------
# lcpo by hand


def test_lcpo_by_hand():
    """Log-odds 0.8, eta 0.9: p = 0.689974, w = 0.9 p / (0.9 p + 0.1 (1 - p)) = 0.952449, cost -w
    log p - (1 - w) log(1 - p) = 0.409142, slope p - w = -0.262474, which is that of the likelihood
    -log(0.9 p + 0.1 (1 - p)) = 0.427742. eta -> 0.9 * 0.9 + 0.1 w."""
    l_N = tensor(0.8).requires_grad_()
    cost_N, state = lcpo_dpo(at_margins(l_N), reliability(0.9), beta=1.0, rate=0.1)
    assert cost_N.item() == pytest.approx(0.409142, abs=1e-6)
    (slope_N,) = torch.autograd.grad(cost_N.sum(), l_N)
    assert slope_N.item() == pytest.approx(-0.262474, abs=1e-6)
    p_N = torch.sigmoid(l_N)
    likelihood = -torch.log(0.9 * p_N + 0.1 * (1 - p_N))
    assert likelihood.item() == pytest.approx(0.427742, abs=1e-6)
    assert torch.autograd.grad(likelihood, l_N)[0].item() == pytest.approx(
        slope_N.item(), abs=1e-12
    )
    assert state["reliability_R"].item() == pytest.approx(0.81 + 0.0952449, abs=1e-7)


@pytest.mark.parametrize(("logit", "pull"), [(-5.0, 0.050482), (-10.0, 0.000363)])
def test_lcpo_lets_go_of_what_the_policy_firmly_contradicts(logit: float, pull: float):
    """w - p, where dpo pulls with 1 - p, close to 1. The likelihood ends at -log(1 - eta),
    2.302585.
    """
    l_N = tensor(logit).requires_grad_()
    cost_N, state = lcpo_dpo(at_margins(l_N), reliability(0.9), beta=1.0, rate=1.0)
    assert -torch.autograd.grad(cost_N.sum(), l_N)[0].item() == pytest.approx(pull, abs=1e-6)
    if logit == -5.0:
        assert state["reliability_R"].item() == pytest.approx(
            0.057174, abs=1e-6
        )  # at rate 1 the new eta is w itself


def test_a_coin_teaches_nothing():
    """eta = 1/2: w = p and the slope is 0 for every pair."""
    l_N = tensor(-3.0, 0.2, 7.0).requires_grad_()
    cost_N, _ = lcpo_dpo(at_margins(l_N), reliability(0.5), beta=1.0)
    assert torch.autograd.grad(cost_N.sum(), l_N)[0].abs().max().item() < 1e-15


def test_swapped_labels_of_a_swapped_rater_are_the_same_likelihood():
    """eta -> 1 - eta with chosen and rejected exchanged: the slopes are opposite in l, equal in the
    policy.
    """
    l_N, other_N = tensor(0.7, -1.2).requires_grad_(), tensor(-0.7, 1.2).requires_grad_()
    (one,) = torch.autograd.grad(
        lcpo_dpo(at_margins(l_N), reliability(0.8), beta=1.0)[0].sum(), l_N
    )
    (two,) = torch.autograd.grad(
        lcpo_dpo(at_margins(other_N), reliability(0.2), beta=1.0)[0].sum(), other_N
    )
    torch.testing.assert_close(one, -two, rtol=1e-12, atol=1e-12)


def test_at_the_reference_nothing_is_learned_and_the_first_step_is_that_of_cdpo():
    """p = 1/2, so w = eta = 0.9: eta stays, and the slope is beta (1/2 - 0.9), as of cdpo at flip
    0.1.
    """
    h_N = tensor(0.0, 0.0).requires_grad_()
    cost_N, state = lcpo_dpo(
        at_margins(h_N), initial_state(METHODS["lcpo_dpo"]), beta=0.1, reliability=0.9
    )
    assert state["reliability_R"].item() == pytest.approx(0.9, abs=1e-12)
    assert torch.autograd.grad(cost_N.sum(), h_N)[0].tolist() == pytest.approx(
        [-0.04, -0.04], abs=1e-12
    )


def answer(logp: float, ref: float, tokens: int) -> Scored:
    mask_NT = torch.ones(1, tokens, dtype=torch.float64)
    return Scored(logp / tokens * mask_NT, mask_NT, ref / tokens * mask_NT)


def belief(cost_and_memory: tuple[Tensor, dict[str, Tensor]]) -> float:
    """l, read from the new reliability at rate 1 with eta near one half: w = sigma(l) there."""
    w = cost_and_memory[1]["reliability_R"].item()
    return log(w / (1 - w))


def test_the_log_odds_of_each_base():
    """ipo: (h + 1)^2 - (h - 1)^2 = 4 h = 2 h / tau at tau 0.5: 1.2 at h = 0.3. simpo: log sigma(u -
    gamma) - log sigma(-u - gamma) at u 0.7, gamma 0.5: 0.865144. cpo: beta D and, since the
    likelihood term turns round too, alpha times the averages' difference; with answers of one
    token, (0.1 + 1) D = 1.1 at D = 1. Forgetting to turn it round would give 0.1."""
    half = reliability(0.5)
    ratio = Pairs(answer(-1.0, -1.3, 1), answer(-2.0, -2.0, 1))
    assert belief(lcpo_ipo(ratio, half, tau=0.5, rate=1.0)) == pytest.approx(1.2, abs=1e-9)
    averages = Pairs(
        answer(-6.5, 0, 10), answer(-6.0, 0, 6)
    )  # -0.65 and -1 a token: u = 2 * 0.35 = 0.7
    assert belief(lcpo_simpo(averages, half, beta=2.0, gamma=0.5, rate=1.0)) == pytest.approx(
        0.865144, abs=1e-6
    )
    single = Pairs(answer(-1.0, 0, 1), answer(-2.0, 0, 1))
    assert belief(lcpo_cpo(single, half, beta=0.1, alpha=1.0, rate=1.0)) == pytest.approx(
        1.1, abs=1e-9
    )


def test_each_rater_has_a_reliability_and_the_absent_keep_theirs():
    """Rater 0: beliefs sigma(0 + logit .9) = .9 and sigma(log 3 + logit .9) = 27/28, their mean
    .932143; 0.5 * 0.9 + 0.5 * that. Rater 1 is absent; rater 2 is new, starts at 0.8 and is
    contradicted: w = sigma(-log 4 + log 4) = 1/2, so 0.65."""
    pairs = at_margins(tensor(0, log(3), -log(4)), torch.tensor([0, 0, 2]))
    _, state = lcpo_dpo(
        pairs, reliability(0.9, 0.7, float("nan")), beta=1.0, reliability=0.8, rate=0.5
    )
    assert state["reliability_R"].tolist() == pytest.approx(
        [0.45 + 0.5 * (0.9 + 27 / 28) / 2, 0.7, 0.65], abs=1e-12
    )


# ------------------------------------------------------------------------------------------------
# lcpo at work


@pytest.mark.parametrize(
    ("truth", "seen"), [(0.8, {1: 0.883, 2: 0.8677, 5: 0.8341, 20: 0.8007}), (0.3, {20: 0.3011})]
)
def test_a_policy_that_knows_the_odds_finds_the_reliability(truth: float, seen: dict[int, float]):
    """True log-odds N(0, 1.5^2), 100,000 labels of which `truth` are right, the policy fixed at the
    true odds: eta <- mean of w goes from 0.9 to the truth, at the pace worked out by quadrature."""
    generator = torch.Generator().manual_seed(0)
    odds_N = 1.5 * torch.randn(100_000, generator=generator, dtype=torch.float64)
    better_N = torch.rand(100_000, generator=generator, dtype=torch.float64) < torch.sigmoid(odds_N)
    right_N = torch.rand(100_000, generator=generator) < truth
    pairs, state = at_margins(torch.where(better_N == right_N, odds_N, -odds_N)), reliability(0.9)
    for step in range(1, 21):
        _, state = costs(METHODS["lcpo_dpo"], pairs, {"beta": 1.0, "rate": 1.0}, state)
        if step in seen:
            assert state["reliability_R"].item() == pytest.approx(seen[step], abs=0.006)


class World:
    """64 prompts, 10 answers each, 8 features; the true reward has norm 2.5; raters who are right
    at known rates label 4000 pairs. The policy is log-linear in the features over a uniform
    reference: at beta 1 its log-odds are theta . (features of chosen less rejected)."""

    def __init__(self, seed: int, rates: tuple[float, ...], labels: int = 4000):
        generator = torch.Generator().manual_seed(seed)
        features_SAF = torch.randn(64, 10, 8, generator=generator, dtype=torch.float64)
        theta_F = torch.randn(8, generator=generator, dtype=torch.float64)
        self.theta_F = 2.5 * theta_F / theta_F.norm()
        prompt_N = torch.randint(64, (labels,), generator=generator)
        first_N = torch.randint(10, (labels,), generator=generator)
        second_N = (first_N + torch.randint(1, 10, (labels,), generator=generator)) % 10
        gap_NF = features_SAF[prompt_N, first_N] - features_SAF[prompt_N, second_N]
        better_N = torch.rand(labels, generator=generator) < torch.sigmoid(gap_NF @ self.theta_F)
        self.rater_N = torch.randint(len(rates), (labels,), generator=generator)
        right_N = torch.rand(labels, generator=generator) < torch.tensor(rates)[self.rater_N]
        self.gap_NF = torch.where((better_N == right_N).unsqueeze(-1), gap_NF, -gap_NF)

    def learn(
        self, method: str, *, raters: int, steps: int = 120
    ) -> tuple[float, list[dict[str, Tensor]], list[Tensor]]:
        """Full batches. Each step minimizes a quadratic that bounds the cost, so that with rate 1
        it is a round of (generalized) expectation-maximization. Returns the relative error of
        theta, and every state and theta on the way."""
        bound_FF = self.gap_NF.T @ self.gap_NF / 4
        theta_F, state = (
            torch.zeros(8, dtype=torch.float64),
            initial_state(METHODS[method], raters),
        )
        settings = {"beta": 1.0, **({"rate": 1.0} if state else {})}
        states, thetas = [], []
        for _ in range(steps):
            theta_F.requires_grad_()
            pairs = at_margins(self.gap_NF @ theta_F, self.rater_N if raters > 1 else None)
            cost_N, state = costs(METHODS[method], pairs, settings, state)
            (slope_F,) = torch.autograd.grad(cost_N.sum(), theta_F)
            theta_F = (theta_F - torch.linalg.solve(bound_FF, slope_F)).detach()
            states.append(state)
            thetas.append(theta_F)
        return ((theta_F - self.theta_F).norm() / self.theta_F.norm()).item(), states, thetas

    def log_likelihood(self, theta_F: Tensor, eta_R: Tensor) -> float:
        p_N, eta_N = torch.sigmoid(self.gap_NF @ theta_F), eta_R[self.rater_N]
        return torch.log(eta_N * p_N + (1 - eta_N) * (1 - p_N)).sum().item()


def test_the_likelihood_never_falls():
    world = World(0, (0.95, 0.60))
    _, states, thetas = world.learn("lcpo_dpo", raters=2, steps=60)
    values = [
        world.log_likelihood(theta, state["reliability_R"])
        for state, theta in zip(states, thetas, strict=True)
    ]
    assert (
        all(after >= before - 1e-9 for before, after in pairwise(values))
        and values[-1] > values[0] + 50
    )


def test_planted_reliabilities_are_recovered_and_knowing_the_rater_helps():
    """Two raters, right in 95% and 60% of their labels, three seeds: each found within 0.03; theta
    is nearer the truth than with one reliability for both, and that nearer than with none."""
    found, errors = [], []
    for seed in range(3):
        world = World(seed, (0.95, 0.60))
        apart, states, _ = world.learn("lcpo_dpo", raters=2)
        together, single, _ = world.learn("lcpo_dpo", raters=1)
        plain, _, _ = world.learn("dpo", raters=1, steps=40)
        found.append([*states[-1]["reliability_R"].tolist(), single[-1]["reliability_R"].item()])
        errors.append([apart, together, plain])
    assert torch.tensor(found).mean(0).tolist() == pytest.approx([0.95, 0.60, 0.775], abs=0.03)
    apart, together, plain = torch.tensor(errors).mean(0).tolist()
    assert apart < together < plain / 2


def test_memorizing_confirms_itself():
    """One free log-odds for each pair, so that no pair teaches another: eta rises to 1, and would
    whatever share of the labels were wrong, for nothing in the cost can tell."""
    l_N, state = torch.zeros(500, dtype=torch.float64), initial_state(METHODS["lcpo_dpo"])
    for _ in range(50):
        l_N.requires_grad_()
        cost_N, state = costs(
            METHODS["lcpo_dpo"], at_margins(l_N), {"beta": 1.0, "rate": 1.0}, state
        )
        l_N = (l_N - 4 * torch.autograd.grad(cost_N.sum(), l_N)[0]).detach()
    assert state["reliability_R"].item() > 0.99
