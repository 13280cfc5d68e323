"""How a token is chosen: the distribution by counting, truncation against transformers' warpers,
noise that has no state.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy import stats
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from holdfast.errors import OptionError
from holdfast.generation import Generation
from holdfast.generation.choose import BLOCK, CANDIDATES, Chooser, block_sums, truncated
from holdfast.generation.noise import exponentials, key, mixed, streams

WARPED = [
    {"temperature": 0.7},
    {"top_k": 5},
    {"top_p": 0.8},
    {"top_p": 0.05},
    {"min_p": 0.1},
    {"min_p": 1.0},
    {"temperature": 1.5, "top_k": 40, "top_p": 0.9, "min_p": 0.02},
]


def warped(logits_NV: torch.Tensor, how: Generation) -> torch.Tensor:
    """Probabilities by transformers' own warpers, in the order in which `generate` puts them."""
    warpers: Any = LogitsProcessorList([TemperatureLogitsWarper(how.temperature)])
    warpers += [TopKLogitsWarper(how.top_k)] if how.top_k else []
    warpers += [TopPLogitsWarper(how.top_p)] if how.top_p < 1 else []
    warpers += [MinPLogitsWarper(how.min_p)] if how.min_p else []
    return warpers(torch.zeros(len(logits_NV), 1, dtype=torch.long), logits_NV.clone()).softmax(-1)


@pytest.mark.parametrize("settings", WARPED)
@pytest.mark.parametrize(
    ("vocabulary", "spread"), [(30, 2.0), (1000, 3.0), (1000, 0.1)]
)  # the last one: top_p needs more than CANDIDATES
def test_truncation_is_that_of_transformers(
    settings: dict[str, Any], vocabulary: int, spread: float
) -> None:
    how = Generation(1, **settings)
    logits_NV = torch.randn(20, vocabulary, generator=torch.Generator().manual_seed(0)) * spread
    scaled_NV = logits_NV / how.temperature
    weight_NV = truncated((scaled_NV - scaled_NV.amax(1, keepdim=True)).exp(), how)
    right_NV = warped(logits_NV, how)
    assert torch.equal(weight_NV > 0, right_NV > 0)
    torch.testing.assert_close(
        weight_NV / weight_NV.sum(1, keepdim=True), right_NV, atol=1e-6, rtol=1e-5
    )
    chosen = Chooser(how, torch.arange(20))(logits_NV, 3)
    torch.testing.assert_close(
        chosen.sampler_logp_N,
        right_NV.gather(1, chosen.ids_N[:, None])[:, 0].log(),
        atol=1e-5,
        rtol=0,
    )
    torch.testing.assert_close(
        chosen.logp_N,
        logits_NV.log_softmax(1).gather(1, chosen.ids_N[:, None])[:, 0],
        atol=1e-5,
        rtol=0,
    )  # of the model itself


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.5}, {"top_k": 4, "temperature": 2.0}])
@pytest.mark.parametrize("vocabulary", [7, BLOCK, 2 * BLOCK + 5])
def test_tokens_come_as_often_as_their_probability_says(
    settings: dict[str, Any], vocabulary: int
) -> None:
    how, draws = Generation(1, **settings), 20_000
    logits_V = torch.randn(vocabulary, generator=torch.Generator().manual_seed(1)) * 2
    probability_V = warped(logits_V[None], how)[0].double()
    keys = torch.tensor([key(9, sample) for sample in range(draws // 20)])
    chooser, counts_V = Chooser(how, keys), torch.zeros(vocabulary, dtype=torch.long)
    for position in range(20):
        counts_V += torch.bincount(
            chooser(logits_V.expand(len(keys), -1), position).ids_N, minlength=vocabulary
        )
    assert not counts_V[probability_V == 0].any()
    common = probability_V * draws >= 5
    observed = torch.cat([counts_V[common], counts_V[~common].sum()[None]]).numpy()
    expected = (
        torch.cat([probability_V[common], probability_V[~common].sum()[None]]).numpy() * draws
    )
    kept = expected > 0
    assert (
        stats.chisquare(observed[kept], expected[kept] * draws / expected[kept].sum()).pvalue > 1e-3
    )


def test_the_most_probable_token_and_the_first_of_equals_at_temperature_0() -> None:
    logits_NV = torch.tensor([[0.0, 3.0, 3.0, 1.0], [-1.0, -2.0, -3.0, -0.5]])
    assert Chooser(Generation(1, temperature=0.0), torch.tensor([1, 2]))(
        logits_NV, 0
    ).ids_N.tolist() == [1, 3]


def test_a_change_in_the_last_bits_of_the_logits_changes_hardly_a_token() -> None:
    generator = torch.Generator().manual_seed(0)
    logits_NV = torch.randn(2000, 5000, generator=generator)
    nudged_NV = logits_NV * (1 + 2e-7 * torch.randn(logits_NV.shape, generator=generator))
    one, other = (
        Chooser(Generation(1), torch.arange(2000))(x, 0).ids_N for x in (logits_NV, nudged_NV)
    )
    assert torch.equal(one, other)


def test_sums_of_blocks() -> None:
    x = torch.arange(2.0 * (2 * BLOCK + 3)).view(2, -1)
    torch.testing.assert_close(
        block_sums(x),
        torch.stack([x[:, :BLOCK].sum(1), x[:, BLOCK : 2 * BLOCK].sum(1), x[:, -3:].sum(1)], 1),
    )
    assert CANDIDATES < 1000  # so that the test above sorts everything once


def test_splitmix64_is_the_published_one_and_tensors_are_as_numbers() -> None:
    assert mixed(0) == 0xE220A8397B1DCDAF  # first output of the reference implementation at seed 0
    stream = streams(torch.tensor([0]), 0)
    assert stream.item() & ((1 << 64) - 1) == mixed(0)
    assert len({mixed(a, b) for a in range(30) for b in range(30)}) == 900
    assert mixed(-1) == mixed((1 << 64) - 1)


def test_noise_is_exponential_and_depends_on_its_place_alone() -> None:
    keys = torch.tensor([key(seed, sample) for seed in range(20) for sample in range(10)])
    draws_NL = exponentials(streams(keys, 5), 300)
    assert stats.kstest(draws_NL.flatten().double().numpy(), "expon").pvalue > 1e-3
    assert torch.equal(exponentials(streams(keys[17:18], 5), 40), draws_NL[17:18, :40])
    correlation = torch.corrcoef(torch.cat([draws_NL, exponentials(streams(keys, 6), 300)]))
    assert (
        correlation.fill_diagonal_(0).abs().max() < 0.35
    )  # of 300 numbers: six standard deviations


def test_noise_of_many_positions_is_made_at_once_and_forgotten_with_its_rows() -> None:
    chooser = Chooser(Generation(1), torch.arange(6))
    before = [chooser.noise(position, 200) for position in (0, 15, 16, 40)]
    chooser.keep(torch.tensor([1, 4]))
    for position, noise_NL in zip((0, 15, 16, 40), before, strict=True):
        assert torch.equal(chooser.noise(position, 200), noise_NL[[1, 4]])
        assert torch.equal(noise_NL, exponentials(streams(torch.arange(6), position), 200))


@pytest.mark.parametrize(
    "settings",
    [
        {"max_new_tokens": 0},
        {"temperature": -1.0},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": 2.0},
    ],
)
def test_settings_outside_their_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(settings))):
        Generation(**{"max_new_tokens": 4, **settings})
