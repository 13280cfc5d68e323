"""From scored branches and their rows to a batch: the columns of the rows arrive in order, as
numbers.
"""

from __future__ import annotations

import torch

from holdfast.inputs import confidence, group, rater, reward_gap, weight
from holdfast.scorers.assemble import assemble
from holdfast.types import Pairs, Row, Scored, Where

ROWS = [
    Row(
        Where("rows", 1),
        chosen="a",
        rejected="b",
        rater="zoe",
        group="x",
        confidence=0.5,
        extra={"reward_gap": 2},
    ),
    Row(
        Where("rows", 2),
        chosen="a",
        rejected="b",
        rater=None,
        group="y",
        confidence=0.25,
        extra={"reward_gap": -1.5},
    ),
    Row(
        Where("rows", 3),
        chosen="a",
        rejected="b",
        rater="ann",
        group="x",
        confidence=1.0,
        extra={"reward_gap": 0},
    ),
]
PARTS = {
    name: Scored(torch.full((3, 2), value), torch.ones(3, 2))
    for name, value in (("chosen", -1.0), ("rejected", -2.0), ("other", -3.0))
}


def test_a_batch_of_pairs():
    pairs = assemble(Pairs, PARTS, ROWS, groups=["x", "y"], raters=[None, "ann", "zoe"])
    assert (
        pairs.chosen is PARTS["chosen"]
        and pairs.rejected is PARTS["rejected"]
        and set(pairs.extra) == {"other"}
    )
    assert group.of(pairs).tolist() == [0, 1, 0] and rater.of(pairs).tolist() == [2, 0, 1]
    assert reward_gap.of(pairs).tolist() == [2.0, -1.5, 0.0] and confidence.of(pairs).tolist() == [
        0.5,
        0.25,
        1.0,
    ]
    assert weight.of(pairs) is None


def test_raters_and_groups_that_nobody_named_are_not_there():
    pairs = assemble(Pairs, PARTS, ROWS)
    assert rater.of(pairs) is None and group.of(pairs) is None
