"""Worlds of the claims on tokens and degrees: what they say exactly agrees with what they draw."""

from __future__ import annotations

from math import log

import pytest
import torch

from holdfast.lab.worlds import bag_of_words as bags
from holdfast.lab.worlds import slots
from holdfast.methods import get


def test_slots_know_their_gold_and_their_divergence():
    world = slots.slots(range(2), 400)
    start_WPV = world.policy_WPV(world.start_WD)
    assert (
        world.gold_W(start_WPV).abs().max() < 1e-9
        and world.kl_outside_W(start_WPV).abs().max() < 1e-9
    )
    every = torch.cat([world.chosen_WNT, world.rejected_WNT], 1)
    polite_W = (every == slots.POLITE).double().sum(-1).mean(-1)
    said_WV = torch.einsum("wp,wpv->wv", world.visits_WP(start_WPV), start_WPV.exp())
    torch.testing.assert_close(polite_W, said_WV[:, slots.POLITE], rtol=0.1, atol=0.05)
    after = every[..., 1:][every[..., :-1] == slots.MARKER]
    assert bool(((after == slots.POLITE) | (after == slots.TOXIC)).all())
    polite_WD = (
        world.start_WD.view(2, 13, 12).index_fill(1, torch.tensor(slots.MARKER), 0.0).clone()
    )
    polite_WD[:, slots.MARKER, slots.POLITE] = 2.0
    logp_WPV = world.policy_WPV(polite_WD.view(2, -1))
    assert world.gold_W(logp_WPV).min() > 0.3 and world.kl_outside_W(logp_WPV).abs().max() < 1e-9


@pytest.mark.parametrize("method", ["tdpo", "sparsepo", "sparsepo_independent"])
def test_slots_serve_methods_of_tokens(method: str):
    world = slots.slots(range(2), 10)
    batch = world.pairs(world.start_WD, torch.zeros(2, 13, 2, dtype=torch.float64))
    assert get(method).objective(batch).tolist() == pytest.approx([log(2)] * 20)


def test_bags_lose_what_they_are_told_to_lose():
    data = bags.bags(range(2), 30, "train")
    assert (data.chosen_WNV.sum(-1) == bags.LENGTH).all()
    half, none = (
        bags.without(data.chosen_WNV, rate, keys=True, seeds=range(2)) for rate in (0.5, 1.0)
    )
    rest = bags.without(data.chosen_WNV, 1.0, keys=False, seeds=range(2))
    assert (
        not none[..., : bags.KEYS].any()
        and (none <= half).all()
        and (half <= data.chosen_WNV).all()
    )
    assert torch.equal(rest[..., : bags.KEYS], data.chosen_WNV[..., : bags.KEYS])
    kept_WN = none.sum(-1)  # as many go, or all others where there are fewer: length tells nothing
    assert torch.equal(rest.sum(-1), kept_WN.maximum(bags.LENGTH - kept_WN))
    assert torch.equal(
        bags.without(data.chosen_WNV, 0.0, keys=True, seeds=range(2)), data.chosen_WNV
    )
