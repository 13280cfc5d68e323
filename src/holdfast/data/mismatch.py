"""Another row's answer under this row's prompt: what KTO measures its reference point with.

The rows are laid out prompt by prompt and turned by a random number of places that no prompt's rows
can bridge: a derangement in which no row keeps its prompt. It exists unless one prompt has more
than half of the rows; then each row draws from the other prompts' rows, with replacement. An answer
that does not fit beside a prompt in `max_tokens` is drawn again.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from holdfast.inputs.prompts import mismatched
from holdfast.types import Tokenized


@dataclass(frozen=True)
class Across:
    """Items with a branch more, made of other rows."""

    items: list[Tokenized]
    unfit: list[int]  # places of items beside which nothing fits
    notes: list[str]


def partners(groups: Sequence[int], rng: random.Random) -> tuple[list[int], bool]:
    """For each place another place of another group, and whether they were drawn with replacement.
    Needs two groups.
    """
    order = list(range(len(groups)))
    rng.shuffle(order)
    first: dict[int, int] = {}
    for place, i in enumerate(order):
        first.setdefault(groups[i], place)
    order.sort(
        key=lambda i: first[groups[i]]
    )  # groups in random order, and the rows of a group too
    most, total = max(Counter(groups).values()), len(groups)
    partner = [0] * total
    if 2 * most <= total:
        turn = rng.randint(most, total - most)
        for place, i in enumerate(order):
            partner[i] = order[(place + turn) % total]
        return partner, False
    for i in order:
        other = i
        while groups[other] == groups[i]:
            other = rng.randrange(total)
        partner[i] = other
    return partner, True


def mismatch(items: Sequence[Tokenized], *, seed: int, max_tokens: int | None) -> Across:
    """The items, each with a branch "mismatched": another prompt's first answer. There must be two
    prompts at least.
    """
    numbers: dict[tuple[int, ...], int] = {}
    groups = [numbers.setdefault(tuple(item.prompt), len(numbers)) for item in items]
    if len(numbers) < 2:
        raise mismatched.missing(seen="every row has the same prompt")
    partner, replaced = partners(groups, random.Random(seed))
    answers = [next(iter(item.branches.values())) for item in items]
    by_length = sorted(range(len(items)), key=lambda i: len(answers[i]))
    rng = random.Random(seed + 1)
    out, unfit, drawn = [], [], 0
    for place, item in enumerate(items):
        other = partner[place]
        if max_tokens is not None and len(item.prompt) + len(answers[other]) > max_tokens:
            fits = [
                i
                for i in by_length
                if groups[i] != groups[place] and len(item.prompt) + len(answers[i]) <= max_tokens
            ]
            if not fits:
                unfit.append(place)
                continue
            other, drawn = rng.choice(fits), drawn + 1
        out.append(replace(item, branches={**item.branches, mismatched.name: answers[other]}))
    notes = [f"{drawn:,} mismatched answers were drawn again to fit max_tokens"] if drawn else []
    notes += (
        ["mismatched answers repeat: one prompt has more than half of the rows"] if replaced else []
    )
    return Across(out, unfit, notes)
