"""Which rows a step takes and who scores them: pure functions of seed and lengths, so that every
process agrees without a word.

    rows of step s    depend on (seed, batch_size, number of rows) alone
    microbatches      depend on the lengths of those rows, on how many processes there are, and on
                      the token budget

so a run on eight processes, or with half the memory, takes the same steps.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Microbatch:
    """What one process scores at once: positions in the batch of the step. `padding` marks a repeat
    that counts for nothing.
    """

    positions: tuple[int, ...]
    padding: bool = False


def steps_in_epoch(rows: int, batch_size: int) -> int:
    """The last batch of an epoch may be short; it is kept."""
    return -(-rows // batch_size)


def total_steps(rows: int, batch_size: int, *, epochs: float, max_steps: int | None) -> int:
    return (
        max_steps if max_steps is not None else math.ceil(epochs * steps_in_epoch(rows, batch_size))
    )


@functools.lru_cache(maxsize=2)
def epoch_order(rows: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of the rows, from a generator of its own: nothing else that draws numbers can
    change it.
    """
    order = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(rows)
    order.setflags(write=False)
    return order


def rows_of_step(step: int, *, rows: int, batch_size: int, seed: int) -> list[int]:
    """Rows of step 0, 1, 2, ...: each epoch takes every row once."""
    epoch, within = divmod(step, steps_in_epoch(rows, batch_size))
    return epoch_order(rows, seed, epoch)[within * batch_size : (within + 1) * batch_size].tolist()


def split(lengths: Sequence[int], *, processes: int, budget: int) -> list[list[Microbatch]]:
    """Deal the rows of a step to processes, evenly by tokens, then cut each shard into microbatches
    of at most `budget` tokens.

    Every process gets the same number of microbatches, which sharded training needs: who has too
    few splits one, or repeats its shortest row with weight zero. A row longer than the budget is
    scored alone.
    """
    shards = _shard(lengths, processes)
    cut = [_fill(shard, lengths, budget) for shard in shards]
    wanted = max(1, max(map(len, cut)))
    shortest = min(range(len(lengths)), key=lambda i: (lengths[i], i))
    return [_stretch(bins, lengths, wanted, shortest) for bins in cut]


def _shard(lengths: Sequence[int], processes: int) -> list[list[int]]:
    """Longest first, each to the process that has the fewest tokens so far."""
    shards: list[list[int]] = [[] for _ in range(processes)]
    held = [0] * processes
    for row in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        least = min(range(processes), key=lambda p: (held[p], len(shards[p]), p))
        shards[least].append(row)
        held[least] += lengths[row]
    return shards


def _fill(shard: Sequence[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    """First fit, longest first (the order of the shard): at most about a fifth more microbatches
    than the best packing.
    """
    bins: list[list[int]] = []
    room: list[int] = []
    for row in shard:
        fitting = next((b for b, left in enumerate(room) if lengths[row] <= left), None)
        if fitting is None:
            bins.append([row])
            room.append(budget - lengths[row])
        else:
            bins[fitting].append(row)
            room[fitting] -= lengths[row]
    return bins


def _stretch(
    bins: list[list[int]], lengths: Sequence[int], wanted: int, shortest: int
) -> list[Microbatch]:
    bins = [list(rows) for rows in bins]
    while len(bins) < wanted:
        fullest = max(
            range(len(bins)),
            key=lambda b: (len(bins[b]) > 1, sum(lengths[i] for i in bins[b]), -b),
            default=None,
        )
        if fullest is None or len(bins[fullest]) < 2:
            break
        taken = bins.pop(fullest)
        bins += [[taken[i] for i in half] for half in _shard([lengths[i] for i in taken], 2)]
    made = [Microbatch(tuple(sorted(rows))) for rows in bins]
    spare = min((i for rows in bins for i in rows), key=lambda i: (lengths[i], i), default=shortest)
    return made + [Microbatch((spare,), padding=True)] * (wanted - len(made))
