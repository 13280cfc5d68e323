"""Flaws planted at known rates, seeded: what a robust method is measured against.

Every flaw is a function `flaw(rows, *, rate, seed) -> (rows, Planted)`. Rows are never changed in
place, and nothing in a row tells that it was planted: `Planted` keeps the places. A rate is a
probability for each row (or prompt) of its own, so the realized rate scatters around it like a
binomial; a rate of 0 changes nothing. A flip is a mistaken label: the other answer is taken for the
better one, and what is known of either answer goes with it (its model, its score, whether it was
shown first; see `holdfast.inputs.swap`), while what the rater said of the label stays. Ties and
single answers have nothing to flip: they are passed through and not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from holdfast.errors import DataError, OptionError
from holdfast.inputs.columns import SHOWN_FIRST
from holdfast.inputs.swap import other_side, swapped_row
from holdfast.types import Row, Text

SLOPE = 1.5  # of a linked flip: log-odds for each standard deviation of what it is linked to
OF_ONE_PAIR = (
    "reward_gap",
    "earlier_gap",
    "rationale",
    *SHOWN_FIRST,
)  # columns that speak of one comparison and of no other
PATIENCE = 100  # draws for a borrowed answer before the list is searched


@dataclass(frozen=True)
class Planted:
    """What was done to the rows."""

    flaw: str
    rate: float  # asked for
    eligible: int  # rows (or prompts) that could have been changed
    hit: int  # of these, how many were
    changed: tuple[int, ...]  # places of the changed or added rows, among the rows returned
    by: Mapping[str, float] = field(
        default_factory=dict
    )  # realized rate of each group or rater, where the flaw is linked to them

    @property
    def realized(self) -> float:
        """The share of eligible rows (or prompts) that were changed."""
        return self.hit / self.eligible if self.eligible else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "changed": list(self.changed), "realized": self.realized}


Planting = tuple[tuple[Row, ...], Planted]


def flip(rows: Iterable[Row], *, rate: float, seed: int = 0) -> Planting:
    """Each comparison flipped with probability `rate`, whatever it says."""
    rows = _checked(rows, rate)
    return _flipped("flip", rows, rate, np.full(len(rows), float(rate)), seed)


def flip_by_length(rows: Iterable[Row], *, rate: float, seed: int = 0) -> Planting:
    """Flips by a judge who likes length: the more the rejected answer is longer, the likelier it is
    taken for the better one.

    p_i = sigmoid(a + 1.5 z_i), z the standardized difference of characters len(rejected) -
    len(chosen), and a such that the mean of p over the comparisons is `rate`. Lengths that are all
    equal give a uniform flip.
    """
    rows = _checked(rows, rate)
    longer = np.array([_length(row.rejected) - _length(row.chosen) for row in rows], float)
    return _flipped("flip_by_length", rows, rate, _tilted(rows, longer, rate), seed)


def flip_by_group(
    rows: Iterable[Row], *, rate: float | Mapping[str, float], seed: int = 0
) -> Planting:
    """Flips at a rate of its own in each group. A mapping gives the rates (a group it does not name
    gets 0).

    With one number the groups are put in a seeded order, and the log-odds of a flip rise along it
    so that the mean over rows is `rate`.
    """
    return _flip_by("flip_by_group", "group", rows, rate, seed)


def flip_by_rater(
    rows: Iterable[Row], *, rate: float | Mapping[str, float], seed: int = 0
) -> Planting:
    """Flips at a rate of its own for each rater; rates as in `flip_by_group`."""
    return _flip_by("flip_by_rater", "rater", rows, rate, seed)


def cycles(rows: Iterable[Row], *, rate: float, seed: int = 0) -> Planting:
    """Each prompt with three answers or more made intransitive with probability `rate`: three of
    its answers prefer A > B > C > A. Where raters are named and some judge three answers to a
    prompt themselves, each rater's own verdicts on a prompt may run in a circle.

    Comparisons among the three are turned to follow the cycle, in whichever of its two directions
    turns fewer of them, and missing ones are added behind the prompt's last row. Raises `DataError`
    when no prompt has three answers (`triples` makes them).
    """
    rows = _checked(rows, rate)
    for prompts in (_by_prompt(rows, rater=True), _by_prompt(rows, rater=False)):
        answers = {
            prompt: list(dict.fromkeys(_key(a) for i in places for a in _sides(rows[i])))
            for prompt, places in prompts.items()
        }
        eligible = [prompt for prompt in prompts if len(answers[prompt]) >= 3]
        if eligible:
            break
    if not eligible:
        raise DataError(
            "no prompt has three answers, so no cycle can be planted",
            hint="use triples, which borrows a third answer",
        )
    rng = np.random.default_rng(seed)
    turned: set[int] = set()
    added: dict[int, list[Row]] = {}
    hit = 0
    for prompt in eligible:
        if rng.random() >= rate:
            continue
        hit += 1
        three = [answers[prompt][i] for i in rng.choice(len(answers[prompt]), 3, replace=False)]
        flips, missing = min(
            (_toward(rows, prompts[prompt], order) for order in (three, three[::-1])),
            key=lambda found: len(found[0]),
        )
        turned |= flips
        texts = {_key(a): a for i in prompts[prompt] for a in _sides(rows[i])}
        last = prompts[prompt][-1]
        added[last] = [
            _judged_by_nobody(rows[last], texts[win], texts[lose]) for win, lose in missing
        ]
    return _rebuilt("cycles", rows, rate, len(eligible), hit, turned, added)


def triples(rows: Iterable[Row], *, rate: float, seed: int = 0) -> Planting:
    """Each comparison A > B made part of a cycle with probability `rate`: B > C and C > A are
    added, C an answer to another prompt.
    """
    rows = _checked(rows, rate)
    places = _comparisons(rows)
    rng = np.random.default_rng(seed + 1)
    owned: dict[Hashable, set[Hashable]] = {}
    for i in places:
        owned.setdefault(_key(rows[i].prompt), set()).update(map(_key, _sides(rows[i])))
    texts = {_key(answer): answer for i in places for answer in _sides(rows[i])}
    keys = list(texts)
    added = {}
    for i in _drawn(places, rate, seed):
        here = owned[_key(rows[i].prompt)]
        draws = (keys[rng.integers(len(keys))] for _ in range(PATIENCE))
        third = next((key for key in draws if key not in here), None) or next(
            (key for key in keys if key not in here), None
        )
        if third is None:
            hint = "use cycles, or give prompts with other answers"
            raise DataError(
                f"{rows[i].where}: no other prompt has an answer that this one lacks, so "
                "no third can be borrowed",
                hint=hint,
            )
        chosen, rejected = _sides(rows[i])
        added[i] = [
            _judged_by_nobody(rows[i], rejected, texts[third]),
            _judged_by_nobody(rows[i], texts[third], chosen),
        ]
    return _rebuilt("triples", rows, rate, len(places), len(added), set(), added)


def duplicate(rows: Iterable[Row], *, rate: float, seed: int = 0) -> Planting:
    """Each row repeated, right behind itself, with probability `rate`."""
    rows = _checked(rows, rate)
    hit = _drawn(range(len(rows)), rate, seed)
    return _rebuilt(
        "duplicate", rows, rate, len(rows), len(hit), set(), {i: [rows[i]] for i in hit}
    )


def contradict(rows: Iterable[Row], *, rate: float, seed: int = 0) -> Planting:
    """Each comparison followed by its own opposite with probability `rate`."""
    rows = _checked(rows, rate)
    places = _comparisons(rows)
    hit = _drawn(places, rate, seed)
    return _rebuilt(
        "contradict",
        rows,
        rate,
        len(places),
        len(hit),
        set(),
        {i: [swapped_row(rows[i])] for i in hit},
    )


FLAWS: Mapping[str, Callable[..., Planting]] = {
    flaw.__name__: flaw
    for flaw in (
        flip,
        flip_by_length,
        flip_by_group,
        flip_by_rater,
        cycles,
        triples,
        duplicate,
        contradict,
    )
}


# ------------------------------------------------------------------------------------------------
# workings


def _checked(rows: Iterable[Row], rate: float) -> tuple[Row, ...]:
    if not 0 <= rate <= 1:
        raise OptionError(f"a rate of {rate} is no probability", hint="give a rate from 0 to 1")
    return tuple(rows)


def _comparisons(rows: Sequence[Row]) -> list[int]:
    places = [
        i
        for i, row in enumerate(rows)
        if row.chosen is not None and row.rejected is not None and not row.tie
    ]
    if not places:
        raise DataError(
            "no row is a comparison, so nothing can be flipped",
            hint="give rows with `chosen` and `rejected`",
        )
    return places


def _drawn(places: Iterable[int], rate: float, seed: int) -> list[int]:
    rng = np.random.default_rng(seed)
    return [i for i in places if rng.random() < rate]


def _judged_by_nobody(row: Row, chosen: Text, rejected: Text) -> Row:
    """A comparison that was not there: what was said of another one or of its answers, a gap, a
    reason, a score, does not hold for it.
    """
    extra = {
        name: value
        for name, value in row.extra.items()
        if name not in OF_ONE_PAIR and other_side(name) == name
    }
    return replace(row, chosen=chosen, rejected=rejected, extra=extra)


def _flipped(
    flaw: str,
    rows: Sequence[Row],
    rate: float,
    chance_N: np.ndarray,
    seed: int,
    by: Sequence[str | None] = (),
) -> Planting:
    places = _comparisons(rows)
    rng = np.random.default_rng(seed)
    hit = {i for i in places if rng.random() < chance_N[i]}
    total = Counter(by[i] for i in places) if by else Counter()
    struck = Counter(by[i] for i in hit) if by else Counter()
    realized = {
        str(name): struck[name] / total[name] for name in sorted(total, key=str) if name is not None
    }
    changed = tuple(sorted(hit))
    return tuple(swapped_row(row) if i in hit else row for i, row in enumerate(rows)), Planted(
        flaw, rate, len(places), len(hit), changed, realized
    )


def _tilted(rows: Sequence[Row], linked_N: np.ndarray, rate: float) -> np.ndarray:
    """sigmoid(a + SLOPE z), with a such that the mean over comparisons is the rate."""
    places = _comparisons(rows)
    spread = linked_N[places].std()
    tilt_N = (
        SLOPE * (linked_N - linked_N[places].mean()) / spread if spread > 0 else np.zeros(len(rows))
    )
    if rate in (0, 1):
        return np.full(len(rows), float(rate))
    bound = 50 + np.abs(tilt_N[places]).max()
    shift = brentq(lambda a: expit(a + tilt_N[places]).mean() - rate, -bound, bound)
    return expit(shift + tilt_N)


def _flip_by(
    flaw: str, column: str, rows: Iterable[Row], rate: float | Mapping[str, float], seed: int
) -> Planting:
    rates = rate if isinstance(rate, Mapping) else {"all": rate}
    for each in rates.values():
        rows = _checked(rows, each)
    rows = tuple(rows)
    names: list[str | None] = [getattr(row, column) for row in rows]
    places = _comparisons(rows)
    known = sorted({name for i in places if (name := names[i]) is not None})
    if not known:
        raise DataError(
            f"no row has a `{column}`, so no flip can be linked to one",
            hint=f"add a `{column}` column, or use flip",
        )
    if isinstance(rate, Mapping):
        strange = sorted(set(rate) - set(known))
        if strange:
            raise OptionError(
                f"no row has the {column} `{strange[0]}`", hint=f"known are {', '.join(known[:10])}"
            )
        chance_N = np.array([rate.get(name, 0.0) if name is not None else 0.0 for name in names])
        return _flipped(flaw, rows, float(chance_N[places].mean()), chance_N, seed, names)
    order = np.random.default_rng(seed).permutation(len(known))
    rank = dict(zip(known, order, strict=True))
    linked_N = np.array(
        [rank[name] if name is not None else (len(known) - 1) / 2 for name in names], float
    )
    return _flipped(flaw, rows, rate, _tilted(rows, linked_N, rate), seed + 1, names)


def _rebuilt(
    flaw: str,
    rows: Sequence[Row],
    rate: float,
    eligible: int,
    hit: int,
    turned: set[int],
    added: Mapping[int, Sequence[Row]],
) -> Planting:
    """The rows with some inverted and some added behind others."""
    out: list[Row] = []
    changed: list[int] = []
    for i, row in enumerate(rows):
        if i in turned:
            changed.append(len(out))
        out.append(swapped_row(row) if i in turned else row)
        for extra in added.get(i, ()):
            changed.append(len(out))
            out.append(extra)
    return tuple(out), Planted(flaw, rate, eligible, hit, tuple(changed))


def _by_prompt(rows: Sequence[Row], *, rater: bool) -> dict[Hashable, list[int]]:
    """Places of the comparisons of each prompt, or of each rater's to a prompt."""
    prompts: dict[Hashable, list[int]] = {}
    for i in _comparisons(rows):
        prompts.setdefault((_key(rows[i].prompt), rows[i].rater if rater else None), []).append(i)
    return prompts


def _toward(
    rows: Sequence[Row], places: Sequence[int], order: Sequence[Hashable]
) -> tuple[set[int], list[tuple[Hashable, Hashable]]]:
    """Which of these rows must be turned so that each answer of `order` beats the next, in a
    circle, and which edges no row holds.
    """
    edges = {(order[k], order[(k + 1) % 3]) for k in range(3)}
    flips, there = set(), set()
    for i in places:
        edge = (_key(rows[i].chosen), _key(rows[i].rejected))
        if edge in edges or edge[::-1] in edges:
            there.add(edge if edge in edges else edge[::-1])
            if edge not in edges:
                flips.add(i)
    return flips, [
        (order[k], order[(k + 1) % 3])
        for k in range(3)
        if (order[k], order[(k + 1) % 3]) not in there
    ]


def _sides(row: Row) -> tuple[Text, Text]:
    assert row.chosen is not None and row.rejected is not None
    return row.chosen, row.rejected


def _key(text: Text | None) -> Hashable:
    """Equal for equal texts, and hashable for message lists too."""
    return (
        text
        if isinstance(text, str) or text is None
        else tuple((m["role"], m["content"]) for m in text)
    )


def _length(text: Text | None) -> int:
    return (
        len(text or "")
        if isinstance(text, str) or text is None
        else sum(len(m["content"]) for m in text)
    )
