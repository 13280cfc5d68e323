"""Swapped pairs, as rows and as batches: one meaning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from holdfast.card import costs, initial_state
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.findings.position_bias import position_bias
from holdfast.checkup.request import CheckRequest
from holdfast.data.corrupt import flip
from holdfast.games.apo import METHOD as APO
from holdfast.inputs import (
    INPUTS,
    Column,
    ExtraPrompt,
    Input,
    Online,
    TokenValue,
    earlier_gap,
    label,
    swapped,
    swapped_row,
)
from holdfast.inputs.columns import PAIR_COLUMNS
from holdfast.inputs.swap import other_side
from holdfast.methods import METHODS
from holdfast.preference.lcpo import lcpo
from holdfast.scorers.assemble import assemble
from holdfast.types import Pairs, Row, Scored, Where

PAIRWISE = pytest.mark.parametrize(
    "method", [m for m in METHODS.values() if m.takes is Pairs], ids=lambda m: m.name
)
BRANCHES = (
    "chosen",
    "rejected",
    *(b for need in INPUTS if isinstance(need, ExtraPrompt | Online) for b in need.branches),
)
N, T = 4, 3


def row(i: int) -> Row:
    sides = {
        f"{side}_{name}": 0.1 * i + at
        for side, at in (("chosen", 0.6), ("rejected", 0.3))
        for name in ("win_rate", "earlier_win_rate")
    }
    odds = {"chosen_log_odds": 1.0 + i, "rejected_log_odds": -0.5 * i}
    known: dict[str, Any] = {
        "reward_gap": 0.5 * i - 1,
        "margin": 0.25 * i,
        "earlier_gap": 1.5 - i,
        "chosen_first": i % 2 == 0,
        "score_chosen": 3,
        "score_rejected": i,
    }
    named = {"chosen_model": f"m{i}", "rejected_model": "n", "rationale": "so", "topic": "t"}
    return Row(
        Where("f", i + 1),
        "p",
        "good",
        "bad",
        rater="ann",
        group="ab"[i % 2],
        strength=2.0,
        confidence=0.6 + 0.1 * i,
        weight=1.0 + i,
        extra={**sides, **odds, **known, **named},
    )


ROWS = [row(i) for i in range(N)]


def parts() -> dict[str, Scored]:
    def one(seed: int) -> Scored:
        made = torch.Generator().manual_seed(seed)
        mask_NT = (torch.arange(T) < torch.tensor([[3], [2], [1], [3]])).double()
        a, b, c = (
            torch.rand(N, T, generator=made, dtype=torch.float64) * mask_NT for _ in range(3)
        )
        return Scored(
            -a,
            mask_NT,
            -b,
            c,
            torch.rand(N, T, 2, generator=made).double(),
            torch.rand(N, T, 3, generator=made).double(),
        )

    return {name: one(seed) for seed, name in enumerate(BRANCHES)}


def batch() -> Pairs:
    made = assemble(Pairs, parts(), ROWS, groups=("a", "b"), raters=("ann",))
    assert isinstance(made, Pairs)
    return made


def cost_of(method: Any, pairs: Pairs) -> Tensor:
    return costs(method, pairs, {}, initial_state(method))[0]


def test_a_row_swapped_twice_is_the_row():
    for one in ROWS:
        assert swapped_row(swapped_row(one)) == one and swapped_row(one) != one


def test_what_is_of_the_answers_goes_with_them_and_what_is_of_the_label_stays():
    one = swapped_row(ROWS[1])
    assert (one.chosen, one.rejected, one.strength, one.confidence, one.weight) == (
        "bad",
        "good",
        2.0,
        0.7,
        2.0,
    )
    assert (one.extra["chosen_model"], one.extra["rejected_model"]) == ("n", "m1")
    assert (one.extra["score_chosen"], one.extra["score_rejected"]) == (1, 3)
    assert (one.extra["reward_gap"], one.extra["earlier_gap"], one.extra["chosen_first"]) == (
        0.5,
        -0.5,
        True,
    )
    assert (one.extra["rationale"], one.extra["topic"]) == ("so", "t")


def test_names_of_sides():
    assert other_side("rejected_given_chosen") == "chosen_given_rejected"
    assert (
        other_side("chosen_copy_1") == "rejected_copy_1"
        and other_side("score_chosen") == "score_rejected"
    )
    assert other_side("unchosen_ones") == "unchosen_ones" and other_side("sample_1") == "sample_1"


@pytest.mark.parametrize(
    ("given", "turned"),
    [
        (True, False),
        (1, 0),
        (0.0, 1.0),
        ("true", "false"),
        ("B", "A"),
        ("1", "0"),
        ("who knows", "who knows"),
    ],
)
def test_who_was_shown_first_is_turned_as_it_is_written(given: Any, turned: Any):
    assert (
        swapped_row(replace(ROWS[0], extra={"first_shown": given})).extra["first_shown"] == turned
    )


def test_a_batch_swapped_twice_is_the_batch():
    once = swapped(batch())
    twice = swapped(once)
    for of, x in batch().inputs.items():
        assert torch.equal(twice.inputs[of], x)
    assert all(
        torch.equal(twice.parts[name].logp_NT, part.logp_NT) for name, part in batch().parts.items()
    )
    assert not torch.equal(once.inputs[earlier_gap], batch().inputs[earlier_gap])


def test_swapped_rows_make_the_swapped_batch():
    given = parts()
    made = assemble(
        Pairs,
        {other_side(name): part for name, part in given.items()},
        [swapped_row(r) for r in ROWS],
        ("a", "b"),
        ("ann",),
    )
    want = swapped(batch())
    assert made.inputs.keys() == want.inputs.keys() and len(made.inputs) == len(PAIR_COLUMNS) + 2
    for of, x in want.inputs.items():
        torch.testing.assert_close(made.inputs[of], x, msg=of.name)


@PAIRWISE
def test_a_method_costs_the_same_of_swapped_rows_and_of_the_swapped_batch(method: Any):
    turned = assemble(
        Pairs,
        {other_side(name): part for name, part in parts().items()},
        [swapped_row(r) for r in ROWS],
        ("a", "b"),
        ("ann",),
    )
    assert isinstance(turned, Pairs)
    torch.testing.assert_close(cost_of(method, turned), cost_of(method, swapped(batch())))


class Watched(dict[Any, Any]):
    """A mapping that remembers what was read from it."""

    def __init__(self, values: dict[Any, Any]):
        super().__init__(values)
        self.read: set[Any] = set()

    def __getitem__(self, key: Any) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)


@PAIRWISE
def test_an_undeclared_input_is_never_read(method: Any):
    inputs = Watched(dict(batch().inputs))
    cost_of(method, replace(batch(), inputs=inputs))
    optional = (
        {"rater"} if method.state is not None else set()
    )  # whose labels are one rater's where it is missing
    assert {of.name for of in inputs.read} <= {need.name for need in method.card.needs} | optional


def test_flipped_rows_say_that_the_other_place_wins():
    """600 comparisons of which the first place wins 472 (78.7%): with every label flipped it wins
    128 (21.3%).
    """
    rows = [
        replace(ROWS[0], where=Where("f", i), prompt=f"p{i}", extra={"chosen_first": i < 472})
        for i in range(600)
    ]
    turned, planted = flip(rows, rate=1.0)
    assert planted.hit == 600 and sum(row.extra["chosen_first"] for row in turned) == 128

    def share(rows):
        found = position_bias(Comparisons.of(rows), CheckRequest())
        return found.numbers["first_wins"]["value"]

    assert share(rows) == pytest.approx(472 / 600, abs=0.01) and share(turned) == pytest.approx(
        128 / 600, abs=0.01
    )


def test_lcpo_turns_the_inputs_of_its_base():
    """apo is softplus(-[h - alpha m]), h = 0.6 and m = 0 - (-0.5): softplus(-0.35). Turned, h and m
    change their signs: softplus(0.35). So the log-odds l are 0.35, the belief w is sigma(0.35 + log
    9) = 0.927387, and w softplus(-l) + (1 - w) softplus(l) = 0.558797."""
    one, zero = torch.ones(1, 1).double(), torch.zeros(1, 1).double()
    pairs = Pairs(
        Scored(0.4 * one, one, zero),
        Scored(-0.2 * one, one, zero),
        {earlier_gap: torch.tensor([-0.5])},
    )
    method = lcpo(APO)
    cost_N, _ = method.objective(pairs, method.state(1), reliability=0.9, beta=1.0, alpha=0.5)
    assert cost_N.item() == pytest.approx(0.558797, abs=1e-6)


def test_every_input_says_what_it_is_and_is_one_of_four_kinds():
    assert len({need.name for need in INPUTS}) == len(INPUTS)
    for need in INPUTS:
        assert (
            isinstance(need, Input)
            and isinstance(need, Column | ExtraPrompt | TokenValue | Online)
            and need.says
        )
    assert label in INPUTS
