"""Which rows a step takes and who scores them."""

from __future__ import annotations

import random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast.training.batching import epoch_order, rows_of_step, split, steps_in_epoch, total_steps


@given(
    rows=st.integers(1, 40),
    batch_size=st.integers(1, 12),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 3),
)
def test_an_epoch_takes_every_row_once(rows: int, batch_size: int, seed: int, epoch: int) -> None:
    steps = steps_in_epoch(rows, batch_size)
    taken = [
        rows_of_step(epoch * steps + s, rows=rows, batch_size=batch_size, seed=seed)
        for s in range(steps)
    ]
    assert sorted(row for batch in taken for row in batch) == list(range(rows))
    assert all(len(batch) == batch_size for batch in taken[:-1])
    assert len(taken[-1]) == rows - batch_size * (steps - 1)


def test_the_order_is_new_each_epoch_and_each_seed_and_nobody_else_can_change_it() -> None:
    first = epoch_order(50, 0, 0).tolist()
    assert first != epoch_order(50, 0, 1).tolist()
    assert first != epoch_order(50, 1, 0).tolist()
    epoch_order.cache_clear()
    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    assert epoch_order(50, 0, 0).tolist() == first
    assert torch.equal(before, torch.get_rng_state())


def test_total_steps() -> None:
    assert total_steps(10, 4, epochs=1, max_steps=None) == 3
    assert total_steps(10, 4, epochs=1.5, max_steps=None) == 5
    assert total_steps(10, 4, epochs=0.1, max_steps=None) == 1
    assert total_steps(10, 4, epochs=3, max_steps=7) == 7


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=30),
    processes=st.integers(1, 5),
    budget=st.integers(1, 120),
)
def test_a_split_scores_every_row_once_within_the_budget_and_in_equal_counts(
    lengths: list[int], processes: int, budget: int
) -> None:
    shards = split(lengths, processes=processes, budget=budget)
    assert len(shards) == processes
    assert len({len(shard) for shard in shards}) == 1
    real = [micro for shard in shards for micro in shard if not micro.padding]
    assert sorted(i for micro in real for i in micro.positions) == list(range(len(lengths)))
    for micro in real:
        assert len(micro.positions) == 1 or sum(lengths[i] for i in micro.positions) <= budget
    assert shards == split(lengths, processes=processes, budget=budget)


def test_padding_comes_only_when_a_process_has_too_few_rows() -> None:
    shards = split([5, 5, 5], processes=2, budget=5)
    assert [[micro.padding for micro in shard] for shard in shards] == [
        [False, False],
        [False, True],
    ]
    assert [micro.padding for shard in split([5], processes=2, budget=100) for micro in shard] == [
        False,
        True,
    ]
    # Two rows that fit one microbatch are split rather than padded beside.
    shards = split([10, 4, 4, 3], processes=2, budget=11)
    assert not any(micro.padding for shard in shards for micro in shard)


def test_processes_get_even_shares_of_tokens() -> None:
    lengths = [random.Random(0).randint(20, 400) for _ in range(64)]
    shards = split(lengths, processes=4, budget=10_000)
    loads = [sum(lengths[i] for micro in shard for i in micro.positions) for shard in shards]
    assert max(loads) - min(loads) <= max(lengths)
    assert max(loads) <= 1.02 * sum(lengths) / 4
