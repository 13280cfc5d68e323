"""Averages over tokens, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from holdfast.card import costs
from holdfast.errors import OptionError
from holdfast.inputs import weight
from holdfast.inputs.row_weights import mean_length
from holdfast.methods import METHODS
from holdfast.reductions import AVERAGES, mean, parse_average, with_average
from holdfast.types import Answers, Pairs, Scored

MASK_NT = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]])
COST_NT = torch.tensor([[1.0, 2, 3, 4], [5, 6, torch.nan, torch.inf], [torch.nan, 0, 0, 0]])


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("sum", [10.0, 11.0, 0.0]),
        ("sequence_mean", [2.5, 5.5, 0.0]),
        ("token_mean", [5.0, 5.5, 0.0]),  # two tokens a row
        ("constant:length=8", [1.25, 1.375, 0.0]),
    ],
)
def test_averages_by_hand(name: str, by_hand: list[float]) -> None:
    average = parse_average(name)
    assert average.name == name and name.partition(":")[0] in AVERAGES
    assert average(COST_NT, MASK_NT, torch.tensor(2.0)).tolist() == by_hand
    groups_PGT = COST_NT[:2].view(1, 2, 4)  # samples of a prompt
    found_PG = average(groups_PGT, MASK_NT[:2].view(1, 2, 4), torch.tensor(2.0))
    assert found_PG.tolist() == [by_hand[:2]]


def answers(mask_NT: Tensor, weight_N: Tensor | None = None) -> Answers:
    return Answers(Scored(-COST_NT, mask_NT), {weight: weight_N} if weight_N is not None else {})


def test_the_mean_of_token_means_is_the_mean_over_all_tokens() -> None:
    """(1 + 2 + 3 + 4 + 5 + 6) / 6 tokens; with weights 3, 1, 1: (30 + 11) / (12 + 2)."""
    method = with_average(METHODS["sft"], "token_mean")
    for batch, expected in (
        (answers(MASK_NT), 21 / 6),
        (answers(MASK_NT, torch.tensor([3.0, 1.0, 1.0])), 41 / 14),
    ):
        cost_N, _ = costs(method, batch, {}, {})
        assert float(mean().apply(cost_N, batch, {})[0]) == pytest.approx(expected)


def test_a_microbatch_is_divided_by_the_length_of_the_whole() -> None:
    method = with_average(METHODS["sft"], "token_mean")
    whole = answers(MASK_NT)
    cost_N, _ = costs(method, whole, {}, {})
    length = mean_length(whole)
    assert float(length) == 2.0
    for n in range(3):
        part = Answers(Scored(-COST_NT[n : n + 1], MASK_NT[n : n + 1]))
        alone_N, _ = costs(method, part, {}, {}, length)
        assert alone_N.item() == pytest.approx(cost_N[n].item())
    other_N, _ = costs(method, part, {}, {})
    assert other_N.item() == 0.0  # a batch without a single token costs nothing, and is finite


def test_of_comparisons_the_tokens_of_both_answers_count() -> None:
    part, other = Scored(-COST_NT[:2], MASK_NT[:2]), Scored(-COST_NT[:2], MASK_NT[:2, :2])
    pairs = Pairs(part, Scored(other.logp_NT[:, :2], other.mask_NT))
    assert pairs.mask_NT.tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 1, 1]]
    assert float(mean_length(pairs)) == 5.0


def test_what_cannot_be_averaged_so_is_refused() -> None:
    with pytest.raises(OptionError, match="dpo has no average over tokens"):
        with_average(METHODS["dpo"], "token_mean")
    with pytest.raises(OptionError, match="did you mean token_mean"):
        parse_average("token_men")
    with pytest.raises(OptionError, match="the average constant wants length"):
        parse_average("constant")
    with pytest.raises(OptionError, match=r"length is 0.0; it must be above 0"):
        parse_average("constant:length=0")
