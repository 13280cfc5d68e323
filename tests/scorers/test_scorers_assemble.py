"""From scored branches and their rows to a batch: the columns of the rows arrive in order, as numbers."""

from __future__ import annotations

import torch

from holdfast.scorers.assemble import assemble
from holdfast.types import Pairs, Row, Scored, Where

ROWS = [
    Row(Where("rows", 1), chosen="a", rejected="b", rater="zoe", group="x", confidence=0.5, extra={"reward_gap": 2}),
    Row(Where("rows", 2), chosen="a", rejected="b", rater=None, group="y", confidence=0.25, extra={"reward_gap": -1.5}),
    Row(Where("rows", 3), chosen="a", rejected="b", rater="ann", group="x", confidence=1.0, extra={"reward_gap": 0}),
]
PARTS = {
    name: Scored(torch.full((3, 2), value), torch.ones(3, 2)) for name, value in (("chosen", -1.0), ("rejected", -2.0), ("other", -3.0))
}


def test_a_batch_of_pairs():
    pairs = assemble(Pairs, PARTS, ROWS, groups=["x", "y"], raters=[None, "ann", "zoe"])
    assert pairs.chosen is PARTS["chosen"] and pairs.rejected is PARTS["rejected"] and set(pairs.also) == {"other"}
    assert pairs.group_N.tolist() == [0, 1, 0] and pairs.rater_N.tolist() == [2, 0, 1]
    assert pairs.reward_gap_N.tolist() == [2.0, -1.5, 0.0] and pairs.confidence_N.tolist() == [0.5, 0.25, 1.0]
    assert pairs.weight_N is None


def test_raters_and_groups_that_nobody_named_are_not_there():
    pairs = assemble(Pairs, PARTS, ROWS)
    assert pairs.rater_N is None and pairs.group_N is None
