"""The log-linear world: its own optimum, its flaws' rates, and costs equal to the table's."""

from __future__ import annotations

import pytest
import torch

from holdfast.card import AnswerMethod
from holdfast.inputs import label
from holdfast.lab.fit import newton
from holdfast.lab.worlds.loglinear import (
    FLIPS,
    Labels,
    batch_of,
    compare,
    cost_of,
    flip_by_group,
    flip_by_length,
    flip_by_rater,
    flip_uniform,
    log_linear,
    pairs,
    trained,
)
from holdfast.methods import get
from holdfast.reductions import parse
from holdfast.scorers.table import Comparisons, Judgments, Table


def every_pair(world) -> Labels:
    """Both orders of every pair, for weights of one's own."""
    worlds, prompts, n = world.reward_WSA.shape
    s, a, b = torch.nonzero((~torch.eye(n, dtype=torch.bool)).expand(prompts, n, n), as_tuple=True)
    grid = [x.expand(worlds, -1) for x in (s, a, b)]
    return Labels(*grid, torch.zeros_like(grid[0], dtype=torch.bool))


def test_the_optimum_has_no_gap_and_any_other_policy_has_one():
    world = log_linear([0, 1, 2], prompts=5, answers=4, features=3, reference=1.0, beta=0.7)
    assert world.gap_W(world.optimum_WSA).abs().max() < 1e-12
    best_W = world.reward_W(world.optimum_WSA) - 0.7 * world.kl_W(world.optimum_WSA)
    other = world.policy_WSA(
        torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    )
    torch.testing.assert_close(
        world.gap_W(other), best_W - (world.reward_W(other) - 0.7 * world.kl_W(other))
    )
    assert world.gap_W(other).min() > 0.01


def test_a_world_is_the_same_whichever_others_are_beside_it():
    both, alone = log_linear([3, 8]), log_linear([8])
    torch.testing.assert_close(both.features_WSAD[1], alone.features_WSAD[0])
    one, two = compare(both, 50), compare(alone, 50)
    assert torch.equal(one.chosen_WN[1], two.chosen_WN[0])
    assert torch.equal(
        flip_uniform(both, one, 0.3).wrong_WN[1], flip_uniform(alone, two, 0.3).wrong_WN[0]
    )


def test_labels_follow_bradley_terry():
    world = log_linear([0], prompts=1, answers=2, features=2, norm=1.0)
    labels = compare(world, 20000)
    gap = world.reward_WSA[0, 0, 0] - world.reward_WSA[0, 0, 1]
    share = (labels.chosen_WN == 0).double().mean()
    assert abs(share - gap.sigmoid()) < 0.01


def test_dpo_on_many_labels_comes_near_the_optimum():
    world = log_linear(range(3), prompts=8, answers=5, features=3)
    fitted = newton(cost_of(world, compare(world, 20000), get("dpo"), beta=1.0), world.start_WD)
    assert world.gap_W(world.policy_WSA(fitted.theta_WD)).max() < 0.002
    assert fitted.slope_W.max() < 1e-8


@pytest.mark.parametrize("flaw", FLIPS)
def test_flaws_keep_their_mean_rate_and_can_be_undone(flaw):
    world = log_linear(range(2))
    clean = compare(world, 8000)
    flawed = FLIPS[flaw](world, clean, 0.25)
    assert abs(flawed.wrong_WN.double().mean() - 0.25) < 0.015
    again = flawed.turned(flawed.wrong_WN)
    assert torch.equal(again.chosen_WN, clean.chosen_WN)
    assert not again.wrong_WN.any()


def test_linked_flips_lean_where_they_should():
    world = log_linear([0])
    clean = compare(world, 8000)
    by_length = flip_by_length(world, clean, 0.25)
    length = world.features_WSAD[0, ..., 0]
    longer = (
        length[clean.prompt_WN[0], clean.rejected_WN[0]]
        > length[clean.prompt_WN[0], clean.chosen_WN[0]]
    )
    wrong = by_length.wrong_WN[0].double()
    assert wrong[longer].mean() > 3 * wrong[~longer].mean()
    by_group = flip_by_group(world, clean, 0.25)
    rates = [by_group.wrong_WN[by_group.group_WN == g].double().mean() for g in range(4)]
    assert rates[0] == 0
    assert abs(rates[3] - 0.5) < 0.03
    by_rater = flip_by_rater(world, clean, [0.05, 0.4])
    assert abs(by_rater.wrong_WN[by_rater.rater_WN == 1].double().mean() - 0.4) < 0.03


@pytest.mark.parametrize("name", ["dpo", "rdpo", "ipo", "simpo", "kto", "sft"])
def test_costs_are_those_of_the_exact_tables(name):
    world = log_linear([5], prompts=3, answers=4, features=2, reference=0.5)
    labels, theta = compare(world, 40), torch.tensor([[0.3, -0.8]], dtype=torch.float64)
    table = Table(world.policy_WSA(theta)[0], world.reference_WSA[0])
    data = Comparisons(labels.prompt_WN[0], labels.chosen_WN[0], labels.rejected_WN[0])
    method = get(name)
    if isinstance(method, AnswerMethod):
        expected = method.objective(batch_of(method, world, world.policy_WSA(theta), labels))
        every = data.judgments()
        chosen = (
            every
            if label in method.card.needs
            else Judgments(every.prompt_N[:40], every.answer_N[:40])
        )  # sft reads these alone
        reference = method.objective(table.answers(chosen))
        if not method.card.batch_dependent:  # the mismatched answers differ
            torch.testing.assert_close(expected, reference)
    else:
        expected = method.objective(table.pairs(data))
        torch.testing.assert_close(
            method.objective(pairs(world, world.policy_WSA(theta), labels)), expected
        )
    torch.testing.assert_close(cost_of(world, labels, method)(theta)[0], expected.mean())


def test_worlds_do_not_meet_in_a_coupled_cost_or_a_worst_case():
    both = log_linear([0, 1], prompts=3, answers=4, features=2)
    labels = compare(both, 30)
    theta = torch.tensor([[0.3, -0.8], [0.1, 0.6]], dtype=torch.float64)
    for method, reduction in (
        (get("kto"), None),
        (get("dpo"), parse("cvar:alpha=0.3")),
        (get("dr_dpo"), None),
    ):
        together = cost_of(both, labels, method, reduction=reduction)(theta)
        for w in range(2):
            alone = cost_of(both.only(w), labels.only(w), method, reduction=reduction)(
                theta[w : w + 1]
            )
            torch.testing.assert_close(alone[0], together[w])


def test_rdpo_meets_the_clean_optimum_on_the_population_of_flipped_labels():
    world = log_linear([0], prompts=4, answers=4, features=3)
    labels = every_pair(world)
    z = (
        world.reward_WSA[0][labels.prompt_WN[0], labels.chosen_WN[0]]
        - world.reward_WSA[0][labels.prompt_WN[0], labels.rejected_WN[0]]
    ).sigmoid()
    weight = 0.7 * z + 0.3 * (1 - z)

    def cost(name, **settings):
        return lambda theta: (
            weight
            * get(name).objective(
                pairs(world, world.policy_WSA(theta), labels), beta=1.0, **settings
            )
        ).mean()[None]

    robust, plain = (
        newton(cost("rdpo", flip_rate=0.3), world.start_WD),
        newton(cost("dpo"), world.start_WD),
    )
    assert world.gap_W(world.policy_WSA(robust.theta_WD))[0] < 1e-12
    assert world.gap_W(world.policy_WSA(plain.theta_WD))[0] > 0.05


def test_training_carries_what_a_method_remembers():
    world = log_linear([0, 1], prompts=16, answers=6, features=4, norm=2.5)
    data = flip_by_rater(world, compare(world, 3000), [0.02, 0.45])
    _, states = trained(world, data, get("lcpo_dpo"), steps=120, rate=0.1, raters=2, beta=1.0)
    for state in states:
        good, bad = state["reliability_R"].tolist()
        assert good > 0.9
        assert abs(bad - 0.55) < 0.12
