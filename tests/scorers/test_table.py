"""Exact tables: closed forms of what they know, and the optimum of each objective where theory
names it.
"""

from __future__ import annotations

from math import exp, log, sqrt

import pytest
import torch
from torch import Tensor

from holdfast.errors import NeedError, OptionError, RunError
from holdfast.inputs import group, label, weight
from holdfast.preference import cdpo, cpo, dpo, ipo, kto, orpo, rdpo, sft, simpo, slic
from holdfast.reductions import cvar, kl
from holdfast.scorers.table import (
    Comparisons,
    Judgments,
    Table,
    bradley_terry,
    fit,
    flipped,
    population,
    tilted,
)

GENERATOR = torch.Generator().manual_seed(3)
REWARD_SA = torch.randn(4, 5, generator=GENERATOR, dtype=torch.float64)
REFERENCE_SA = torch.randn(4, 5, generator=GENERATOR, dtype=torch.float64)
UNIFORM_12 = torch.zeros(1, 2, dtype=torch.float64)


def two_answers(p: float) -> Comparisons:
    """One prompt, two answers, the first wins with probability p."""
    return population(torch.tensor([[[0.5, p], [1 - p, 0.5]]], dtype=torch.float64))


def logit(p: float) -> float:
    return log(p / (1 - p))


def margin(table: Table) -> float:
    """h of (answer 0, answer 1) in prompt 0."""
    ratio_A = (table.logp_SA - table.ref_logp_SA)[0]
    return (ratio_A[0] - ratio_A[1]).item()


def kl_to(table: Table, answer_SA: Tensor) -> float:
    return (table.logp_SA.exp() * (table.logp_SA - answer_SA.log_softmax(-1))).sum(-1).max().item()


# ------------------------------------------------------------------------------------------------
# what a table knows


def test_kl_and_reward_by_hand():
    """pi = (3/4, 1/4), reference (1/2, 1/2): KL = 3/4 log(3/2) + 1/4 log(1/2). Rewards 1 and 5: 3/4
    + 5/4 = 2.
    """
    table = Table(torch.tensor([[log(3.0), 0.0]]), UNIFORM_12)
    assert table.kl_S().item() == pytest.approx(0.75 * log(1.5) + 0.25 * log(0.5), abs=1e-6)
    assert table.expected_reward_S(torch.tensor([[1.0, 5.0]])).item() == pytest.approx(2, abs=1e-6)
    assert Table(REFERENCE_SA, REFERENCE_SA + 4).kl_S().abs().max().item() < 1e-12


def test_kl_to_uniform_is_log_a_minus_entropy():
    """p = (.5, .3, .2): log 3 - H(p) = 1.098612 - 1.029653 = 0.068959."""
    table = Table(
        torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64).log(),
        torch.zeros(1, 3, dtype=torch.float64),
    )
    assert table.kl_S().item() == pytest.approx(0.068959, abs=1e-6)


def test_pairs_and_answers_hold_the_right_cells():
    table = Table(torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True))
    data = Comparisons(
        torch.tensor([2, 0]),
        torch.tensor([1, 3]),
        torch.tensor([0, 2]),
        {weight: torch.tensor([0.5, 2.0]), group: torch.tensor([0, 1])},
    )
    pairs = table.pairs(data)
    assert pairs.chosen.logp_NT.shape == (2, 1) and torch.equal(
        pairs.chosen.logp_N, table.logp_SA[[2, 0], [1, 3]]
    )
    assert (
        torch.equal(pairs.rejected.ref_logp_N, table.ref_logp_SA[[2, 0], [0, 2]])
        and not pairs.rejected.ref_logp_N.requires_grad
    )
    assert pairs.inputs == data.inputs
    answers = table.answers(data.judgments())
    assert torch.equal(
        answers.answer.logp_N, torch.cat([pairs.chosen.logp_N, pairs.rejected.logp_N])
    )
    assert label.of(answers).tolist() == [True, True, False, False] and weight.of(
        answers
    ).tolist() == [0.5, 2, 0.5, 2]
    assert torch.equal(
        answers.extra["mismatched"].logp_N, torch.cat([pairs.rejected.logp_N, pairs.chosen.logp_N])
    )


def test_no_reference_is_refused_by_name():
    table = Table(torch.zeros(1, 2))
    with pytest.raises(NeedError) as caught:
        dpo(table.pairs(two_answers(0.7)))
    assert caught.value.need == "reference"
    with pytest.raises(NeedError, match="this table has no reference"):
        table.kl_S()


def test_preferences_by_hand():
    """Rewards log 3 and 0: P = 3/4. Flipped with 0.2: 0.8 * 3/4 + 0.2 * 1/4 = 0.65."""
    pref_SAA = bradley_terry(torch.tensor([[log(3.0), 0.0]], dtype=torch.float64))
    assert pref_SAA[0].flatten().tolist() == pytest.approx([0.5, 0.75, 0.25, 0.5])
    assert flipped(pref_SAA, flip_rate=0.2)[0].flatten().tolist() == pytest.approx(
        [0.5, 0.65, 0.35, 0.5]
    )
    with pytest.raises(OptionError):
        flipped(pref_SAA, flip_rate=1.2)


def test_population_weights_by_hand():
    """Two answers sampled 3:1 give each order mu(a) mu(b) = 3/16, times P, normalized: P itself. Of
    three answers: 6 pairs.
    """
    mu = torch.tensor([[0.75, 0.25]], dtype=torch.float64)
    data = population(torch.tensor([[[0.5, 0.9], [0.1, 0.5]]], dtype=torch.float64), sampling_SA=mu)
    assert (data.chosen_N.tolist(), data.rejected_N.tolist()) == ([0, 1], [1, 0])
    assert data.inputs[weight].tolist() == pytest.approx([0.9, 0.1])
    data = population(bradley_terry(torch.zeros(2, 3)))
    assert (
        len(data.inputs[weight]) == 2 * 6
        and (data.chosen_N != data.rejected_N).all()
        and data.inputs[weight].tolist() == pytest.approx([1 / 12] * 12)
    )


def test_population_loss_is_the_average_over_many_draws():
    pref_SAA, table = bradley_terry(REWARD_SA), Table(REWARD_SA, REFERENCE_SA)
    data = population(pref_SAA)
    exact = (data.inputs[weight] * dpo(table.pairs(data), beta=0.5)).sum().item()
    drawn = torch.multinomial(
        data.inputs[weight], 200_000, replacement=True, generator=torch.Generator().manual_seed(0)
    )
    costs = dpo(
        table.pairs(
            Comparisons(data.prompt_N[drawn], data.chosen_N[drawn], data.rejected_N[drawn])
        ),
        beta=0.5,
    )
    assert abs(costs.mean().item() - exact) < 4 * costs.std().item() / sqrt(200_000)


def test_tilted_policy_beats_its_neighbors():
    """No random change of the closed-form policy raises E[r] - beta KL; its value is beta log Z."""
    best = Table(tilted(REFERENCE_SA, REWARD_SA, beta=0.3), REFERENCE_SA)
    value_S = best.expected_reward_S(REWARD_SA) - 0.3 * best.kl_S()
    log_z_S = (best.ref_logp_SA + REWARD_SA / 0.3).logsumexp(-1)
    torch.testing.assert_close(value_S, 0.3 * log_z_S, rtol=1e-12, atol=1e-12)
    for seed in range(20):
        near = Table(
            best.logits_SA + 0.1 * torch.randn(4, 5, generator=torch.Generator().manual_seed(seed)),
            REFERENCE_SA,
        )
        assert (near.expected_reward_S(REWARD_SA) - 0.3 * near.kl_S() <= value_S + 1e-12).all()


# ------------------------------------------------------------------------------------------------
# optima in closed form


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_dpo_ends_at_the_kl_regularized_optimum(beta: float):
    found = fit(dpo, population(bradley_terry(REWARD_SA)), reference_SA=REFERENCE_SA, beta=beta)
    assert (
        found.slope < 1e-10
        and abs(kl_to(found.table, tilted(REFERENCE_SA, REWARD_SA, beta=beta))) < 1e-12
    )


@pytest.mark.parametrize("flip", [0.1, 0.3, 0.45])
def test_rdpo_returns_the_clean_optimum_from_flipped_labels_and_dpo_does_not(flip: float):
    data, clean_SA = (
        population(flipped(bradley_terry(REWARD_SA), flip_rate=flip)),
        tilted(REFERENCE_SA, REWARD_SA, beta=0.5),
    )
    assert (
        abs(
            kl_to(
                fit(rdpo, data, reference_SA=REFERENCE_SA, beta=0.5, flip_rate=flip).table, clean_SA
            )
        )
        < 1e-10
    )
    assert kl_to(fit(dpo, data, reference_SA=REFERENCE_SA, beta=0.5).table, clean_SA) > 1e-2


@pytest.mark.parametrize(
    ("q", "flip", "z"), [(0.66, 0.2, 1.189584), (0.5, 0.1, 0.0), (0.34, 0.2, -1.189584)]
)
def test_rdpo_on_one_pair_seen_often(q: float, flip: float, z: float):
    """beta h = logit((q - flip) / (1 - 2 flip)): q 0.66, flip 0.2 gives logit(0.46 / 0.6) =
    1.189584.
    """
    found = fit(rdpo, two_answers(q), reference_SA=UNIFORM_12, beta=0.7, flip_rate=flip)
    assert 0.7 * margin(found.table) == pytest.approx(z, abs=1e-6)


def test_rdpo_has_no_optimum_where_labels_agree_more_than_flips_allow():
    """q = 0.95 with flip 0.2: far out the slope in z stays at (1 - q - flip) / (1 - 2 flip) =
    -0.25, so the cost falls forever.
    """
    data = two_answers(0.95)
    found = fit(rdpo, data, reference_SA=UNIFORM_12, beta=1.0, flip_rate=0.2, max_steps=10)
    assert found.cost < -100 and found.slope == pytest.approx(0.25, abs=1e-9)
    with pytest.raises(RunError, match="hint: lower max_steps"):
        fit(rdpo, data, reference_SA=UNIFORM_12, beta=1.0, flip_rate=0.2)


@pytest.mark.parametrize(("p", "flip"), [(1.0, 0.1), (1.0, 0.3), (0.66, 0.2)])
def test_cdpo_ends_at_smoothed_odds(p: float, flip: float):
    """sigma(beta h) = (1 - 2 flip) p + flip; where every label agrees that is 1 - flip. p 0.66,
    flip 0.2: beta h = 0.388826.
    """
    z = 0.6 * margin(
        fit(cdpo, two_answers(p), reference_SA=UNIFORM_12, beta=0.6, flip_rate=flip).table
    )
    assert z == pytest.approx(logit((1 - 2 * flip) * p + flip), abs=1e-9)
    if p < 1:
        assert z == pytest.approx(0.388826, abs=1e-6)


@pytest.mark.parametrize(("p", "tau"), [(1.0, 0.1), (1.0, 1.0), (0.8, 0.3), (0.5, 0.1)])
def test_ipo_ends_at_its_target_even_where_labels_agree(p: float, tau: float):
    """h = (2p - 1) / (2 tau). For p = 1 and a uniform reference pi(best) = sigma(1 / (2 tau)):
    0.993307 at tau 0.1, 0.622459 at 1.
    """
    found = fit(ipo, two_answers(p), reference_SA=UNIFORM_12, tau=tau)
    assert margin(found.table) == pytest.approx((2 * p - 1) / (2 * tau), abs=1e-9)
    if p == 1:
        assert found.table.logp_SA[0, 0].exp().item() == pytest.approx(
            {0.1: 0.993307, 1.0: 0.622459}[tau], abs=1e-6
        )


@pytest.mark.parametrize(("p", "gamma"), [(0.7, 0.0), (0.7, 0.5), (0.9, 2.0)])
def test_simpo_ends_at_the_root_of_its_quadratic(p: float, gamma: float):
    """With u = e^(beta d) and g = e^-gamma the slope vanishes where (1 - p) g u^2 - (2p - 1) u - p
    g = 0; at gamma 0, u = p / (1 - p).
    """
    g = exp(-gamma)
    u = ((2 * p - 1) + sqrt((2 * p - 1) ** 2 + 4 * p * (1 - p) * g * g)) / (2 * (1 - p) * g)
    found = fit(simpo, two_answers(p), reference_SA=UNIFORM_12, beta=2.0, gamma=gamma)
    d = (found.table.logp_SA[0, 0] - found.table.logp_SA[0, 1]).item()
    assert d == pytest.approx(log(u) / 2, abs=1e-9)
    if gamma == 0:
        assert d == pytest.approx(logit(p) / 2, abs=1e-9)


def test_cpo_without_likelihood_is_dpo_with_a_uniform_reference():
    data = population(bradley_terry(REWARD_SA))
    uniform_SA = torch.zeros_like(REFERENCE_SA)
    found = fit(cpo, data, reference_SA=REFERENCE_SA, start_SA=uniform_SA, beta=0.4, alpha=0.0)
    assert abs(kl_to(found.table, tilted(uniform_SA, REWARD_SA, beta=0.4))) < 1e-12


def test_orpo_without_penalty_is_supervised_and_with_a_large_one_halves_the_logit():
    """Cost without penalty: -P log p, so p = P. Penalty alone: softplus(-(2 logit p)) for P, so
    logit p = logit(P) / 2.
    """
    found = fit(orpo, two_answers(0.8), reference_SA=UNIFORM_12, weight=0.0)
    assert found.table.logp_SA[0, 0].exp().item() == pytest.approx(0.8, abs=1e-9)
    found = fit(orpo, two_answers(0.8), reference_SA=UNIFORM_12, weight=1e7)
    assert (found.table.logp_SA[0, 0] - found.table.logp_SA[0, 1]).item() == pytest.approx(
        logit(0.8) / 2, abs=1e-6
    )


def test_slic_stops_at_its_margin_without_likelihood():
    """p = 1: any difference of at least delta costs nothing."""
    found = fit(slic, two_answers(1.0), reference_SA=UNIFORM_12, delta=1.5, weight=0.0)
    assert found.cost == 0 and (found.table.logp_SA[0, 0] - found.table.logp_SA[0, 1]).item() >= 1.5


def test_sft_ends_at_the_share_of_each_answer():
    share_SA = torch.tensor([[0.1, 0.6, 0.3], [0.25, 0.25, 0.5]], dtype=torch.float64)
    data = Judgments(
        torch.arange(2).repeat_interleave(3),
        torch.arange(3).repeat(2),
        inputs={weight: share_SA.flatten()},
    )
    found = fit(sft, data, reference_SA=torch.zeros(2, 3, dtype=torch.float64))
    torch.testing.assert_close(found.table.logp_SA.exp(), share_SA, rtol=1e-9, atol=1e-9)


def test_kto_gives_everything_to_the_answer_that_wins_more_often():
    """Two answers, the first wins with 0.8, beta 1/2. Its share decides, so pi ends at (1, 0),
    where rho is log 2 for the first answer and minus infinity for the second and z0 is 0.
    sigma(-(log 2) / 2) = sqrt 2 - 1. Half of the rows are chosen, half rejected: cost = (0.8 (sqrt
    2 - 1) + 0.2 * 1 + 0.2 (2 - sqrt 2) + 0.8 * 0) / 2."""
    found = fit(kto, two_answers(0.8).judgments(), reference_SA=UNIFORM_12, beta=0.5, max_steps=50)
    assert found.cost == pytest.approx(
        (0.8 * (sqrt(2) - 1) + 0.2 + 0.2 * (2 - sqrt(2))) / 2, abs=1e-9
    )
    assert found.table.logp_SA[0, 0].item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("reduction", [kl(temperature=0.3), cvar(alpha=0.6)])
def test_a_robust_reduction_ends_elsewhere_at_a_smaller_worst_case(reduction):
    data = population(bradley_terry(REWARD_SA))
    plain = fit(dpo, data, reference_SA=REFERENCE_SA, beta=0.5).table
    robust = fit(dpo, data, reference_SA=REFERENCE_SA, beta=0.5, reduction=reduction)
    batch = plain.pairs(data)
    assert robust.cost < reduction.apply(dpo(batch, beta=0.5), batch, {})[0].item() - 1e-3


def test_dpo_runs_away_where_every_label_agrees():
    """p = 1: the infimum 0 is reached only at an infinite margin. Five steps are already beyond h =
    10.
    """
    found = fit(dpo, two_answers(1.0), reference_SA=UNIFORM_12, beta=1.0, max_steps=5)
    assert margin(found.table) > 10 and 0 < found.cost < 1e-4
