"""Labels that were inverted: a stretch, a source, half of the file; and worlds where nothing
was, however noisy, or of two minds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from coverage._made import coins, rows_of, tastes, turn
from coverage.case import Case, Trial, judged
from holdfast.checkup.findings.inverted import inverted
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Finding

Turned = Callable[[int, int, np.random.Generator], bool]


def world(seed: int, *, turned: Turned, strength: float = 1.0, n: int = 800) -> Trial:
    rng = np.random.default_rng(seed)
    rows = tastes(rng, n, strength) if strength else coins(rng, n)
    for i, row in enumerate(rows):
        row["source"] = f"site {i % 6}"
        if turned(i, n, rng):
            turn(row)
    return inverted_only(inverted(rows_of(rows), CheckRequest(seed=seed)))


def inverted_only(found: Finding) -> Trial:
    """Flagged where a place is called inverted; places that are only noisier are another row."""
    return replace(judged(found, None), flagged=bool(found.numbers.get("places")))


def uneven(seed: int, *, noisy: Turned | None, n: int = 1200) -> Trial:
    """Labels at random in a place, wrong in 10% elsewhere. Covered: whether the place that is said
    to be noisier is that place, within a tenth of the file; flagged: whether one is.
    """
    rng = np.random.default_rng(seed)
    rows = tastes(rng, n, 3.0)
    for i, row in enumerate(rows):
        row["source"] = f"site {i % 6}"
        if rng.random() < (0.5 if noisy is not None and noisy(i, n, rng) else 0.1):
            turn(row)
    found = inverted(rows_of(rows), CheckRequest(seed=seed))
    places = found.numbers.get("noisier", [])
    covered = None
    if noisy is not None:
        inside = np.array([noisy(i, n, rng) for i in range(n)])
        named = np.zeros(n, bool)
        for place in places:
            if place["first"] >= 0:
                named[place["first"] : place["last"] + 1] = True
            else:
                named |= np.array([place["what"] == f"source {row['source']}" for row in rows])
        covered = bool((named != inside).sum() <= n / 10)
    return replace(judged(found, None), covered=covered, flagged=bool(places))


def last(i: int, n: int, rng: np.random.Generator) -> bool:
    return i >= 0.85 * n


def strangers(seed: int, *, strength: float, n: int = 800) -> Trial:
    """A stretch of a fifth with a taste of its own, among rows of another taste that has nothing to
    do with it, or at random.
    """
    rng = np.random.default_rng(seed)
    rows = tastes(rng, n * 4 // 5, strength) if strength else coins(rng, n * 4 // 5)
    among = [{**row, "prompt": f"another {row['prompt']}"} for row in tastes(rng, n // 5, 2.0)]
    rows[n // 2 : n // 2] = among
    for i, row in enumerate(rows):
        row["source"] = f"site {i % 6}"
    return inverted_only(inverted(rows_of(rows), CheckRequest(seed=seed)))


def shared_verdicts(seed: int, *, pairs: int = 200, times: int = 4) -> Trial:
    """Each pair is judged several times, at random, the judgments spread over the file."""
    rng = np.random.default_rng(seed)
    rows = [dict(row) for row in coins(rng, pairs) for _ in range(times)]
    for i in range(len(rows)):
        rows[i]["source"] = f"site {i % 6}"
        if rng.random() < 0.5:
            turn(rows[i])
    return inverted_only(
        inverted(rows_of(rows[i] for i in rng.permutation(len(rows))), CheckRequest(seed=seed))
    )


def never(i: int, n: int, rng: np.random.Generator) -> bool:
    return False


def noisy_fifth(i: int, n: int, rng: np.random.Generator) -> bool:
    """A stretch whose labels are coins is noise, and not inverted."""
    return n // 2 <= i < n * 7 // 10 and bool(rng.random() < 0.5)


def fifth(i: int, n: int, rng: np.random.Generator) -> bool:
    return n // 2 <= i < n * 7 // 10


def site(i: int, n: int, rng: np.random.Generator) -> bool:
    return i % 6 == 2


def half(i: int, n: int, rng: np.random.Generator) -> bool:
    return i < n // 2


CASES = [
    *(
        Case(
            "inverted",
            f"1,200 rows, 10% wrong, {where} at random",
            truth,
            partial(uneven, noisy=of),
        )
        for where, truth, of in (
            ("none", "none noisier", None),
            ("the last 15%", "the place", last),
            ("one source of six", "the place", site),
        )
    ),
    Case("inverted", "800 rows, a taste, nothing turned", "none", partial(world, turned=never)),
    Case(
        "inverted", "800 rows, labels at random", "none", partial(world, turned=never, strength=0.0)
    ),
    Case(
        "inverted",
        "800 rows, a fifth of them at random",
        "none",
        partial(world, turned=noisy_fifth),
    ),
    Case(
        "inverted",
        "800 rows, a fifth of them of an unrelated taste",
        "none",
        partial(strangers, strength=1.0),
    ),
    Case(
        "inverted",
        "800 rows at random, a fifth of them of a taste",
        "none",
        partial(strangers, strength=0.0),
    ),
    Case("inverted", "200 pairs, each judged four times at random", "none", shared_verdicts),
    Case(
        "inverted",
        "800 rows, a stretch of a fifth turned",
        "one stretch",
        partial(world, turned=fifth),
    ),
    Case(
        "inverted", "800 rows, one of six sources turned", "one source", partial(world, turned=site)
    ),
    Case("inverted", "800 rows, the first half turned", "one half", partial(world, turned=half)),
]
