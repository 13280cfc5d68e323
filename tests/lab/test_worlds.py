"""The smaller worlds against slow or closed-form versions of themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from holdfast.lab.worlds import coverage, preferences, unigram
from holdfast.lab.worlds import opposed_groups as tastes
from holdfast.lab.worlds.loglinear import compare
from holdfast.methods import get


def test_no_comparison_touches_the_hole():
    world = coverage.coverage_hole([0, 1])
    labels = compare(world, 200, sampling_WSA=coverage.covered_only(world))
    assert max(labels.chosen_WN.max(), labels.rejected_WN.max()) < coverage.COVERED
    torch.testing.assert_close(
        coverage.uncovered_W(world.reference_WSA), torch.full((2,), 0.5, dtype=torch.float64)
    )


def test_tastes_agree_on_one_direction_and_dispute_another():
    first, second = tastes.two_tastes([0], dispute=1.0, shared=1.0)
    both, apart = first.reward_WSA + second.reward_WSA, first.reward_WSA - second.reward_WSA
    phi = first.features_WSAD[0].flatten(0, 1)
    shared = torch.linalg.lstsq(phi, both[0].flatten()[:, None] / 2).solution[:, 0]
    disputed = torch.linalg.lstsq(phi, apart[0].flatten()[:, None] / 2).solution[:, 0]
    assert shared.norm() == pytest.approx(1)
    assert disputed.norm() == pytest.approx(1)
    assert abs(shared @ disputed) < 1e-10
    labels = tastes.polled((first, second), 100, 0.8)
    assert labels.group_WN.sum() == 20
    assert tastes.regrets_W((first, second), first.optimum_WSA)[0].item() == pytest.approx(
        0, abs=1e-12
    )


def walk(theta: torch.Tensor, cap: int) -> tuple[float, float, float]:
    """Mass, expected length and KL by walking through every length up to the cap."""
    p, h = theta[:6].softmax(-1), float(theta[6].sigmoid())
    q, g = unigram.START[:6].softmax(-1), float(unigram.START[6].sigmoid())
    types = float((p * (p / q).log()).sum())
    mass = length = kl = 0.0
    for n in range(1, cap + 1):
        end = n < cap
        chance = (1 - h) ** (n - 1) * (h if end else 1)
        ratio = n * types + (n - 1) * math.log((1 - h) / (1 - g)) + (math.log(h / g) if end else 0)
        mass, length, kl = mass + chance, length + chance * n, kl + chance * ratio
    return mass, length, kl


def test_unigram_length_and_kl_are_those_of_a_walk_through_all_lengths():
    theta = torch.tensor([0.3, -0.2, 0.8, 0.0, -0.5, 0.1, -1.5], dtype=torch.float64)
    mass, length, kl = walk(theta, unigram.CAP)
    assert mass == pytest.approx(1)
    assert unigram.length_W(theta[None])[0].item() == pytest.approx(length, rel=1e-10)
    assert unigram.kl_W(theta[None])[0].item() == pytest.approx(kl, rel=1e-10)
    assert unigram.kl_W(unigram.start_WD(1))[0].item() == pytest.approx(0, abs=1e-12)
    assert unigram.length_W(unigram.start_WD(1), cap=10**6)[0].item() == pytest.approx(10)
    assert unigram.gold_W(unigram.start_WD(1))[0].item() == pytest.approx(0, abs=1e-12)


def test_unigram_answers_are_scored_as_their_tokens_would_be():
    texts = unigram.Texts(
        torch.tensor([[[2.0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1]]], dtype=torch.float64)
    )
    theta = torch.tensor([[0.3, -0.2, 0.8, 0.0, -0.5, 0.1, -1.5]], dtype=torch.float64)
    scored = texts.scored(theta)
    logp, h = theta[0, :6].log_softmax(-1), theta[0, 6].sigmoid()
    expected = [2 * logp[0] + logp[2] + 2 * (1 - h).log() + h.log(), logp[5] + h.log()]
    torch.testing.assert_close(scored.logp_N, torch.stack(expected))
    assert scored.length_N.tolist() == [4, 2]
    assert scored.mean_logp_N[0] == pytest.approx(expected[0].item() / 4)


def test_a_rater_who_likes_length_chooses_longer_answers():
    for kappa, longer in ((0.0, False), (0.3, True)):
        chosen, rejected = unigram.comparisons([0], 4000, kappa=kappa)
        gap = (chosen.length_WN - rejected.length_WN).mean().item()
        assert (gap > 2) if longer else (abs(gap) < 0.5)


def test_tournaments_are_antisymmetric_and_only_the_free_ones_run_in_circles():
    for cyclic in (True, False):
        pref = preferences.tournaments([0, 1, 2], cyclic=cyclic)
        torch.testing.assert_close(pref + pref.mT, torch.ones_like(pref))
        logit = torch.logit(pref)
        around = logit[:, 0, 1] + logit[:, 1, 2] + logit[:, 2, 0]  # zero for any reward
        assert (around.abs().max() > 0.5) if cyclic else (around.abs().max() < 1e-10)


def test_counts_follow_behavior_and_preference():
    pref = preferences.tournaments([0], cyclic=True)
    behavior = preferences.two_behaviors()[0]
    chosen, rejected, weight = preferences.counted(pref, behavior, 10**7, [0], 0)
    expected = behavior[chosen] * behavior[rejected] * pref[0, chosen, rejected]
    torch.testing.assert_close(weight[0], expected / expected.sum(), atol=5e-4, rtol=0)


def test_revisions_are_conditioned_on_the_answer_that_was_shown():
    theta = torch.zeros(1, 8 + 64, dtype=torch.float64)
    theta[0, 8 + 2 * 8 + 5] = 3.0  # shown answer 2, write answer 5
    batch = preferences.pairs(theta, torch.tensor([5]), torch.tensor([2]))
    assert batch.extra["chosen_given_rejected"].logp_N[0] > -1
    assert batch.extra["chosen_given_chosen"].logp_N[0] == pytest.approx(-math.log(8))
    assert batch.extra["rejected_given_rejected"].logp_N[0] < -3
    assert get("srpo").objective(batch, beta=1.0, alpha=0.5).isfinite().all()


def test_the_length_temperature_optimum_is_stationary():
    from holdfast.lab.claims.simpo_is_maxent import optimum

    rng = np.random.default_rng(0)
    reward, length = rng.standard_normal(6), rng.integers(1, 9, 6)
    best = np.exp(optimum(reward, length, 2.0))
    assert best.sum() == pytest.approx(1, abs=1e-12)

    def value(pi: np.ndarray) -> float:
        return float((pi * (reward - 2.0 / length * np.log(pi))).sum())

    for _ in range(50):
        other = best * np.exp(0.05 * rng.standard_normal(6))
        assert value(other / other.sum()) < value(best)
