"""Leaks: prompts of public sets split into data and test set, and test prompts replaced by prompts
of the data, as they are or edited.

Real prompts repeat by themselves. Before the split, of any two that share more than half of their
words one is set aside, by holding each against every other: two prompts whose word pairs overlap by
0.7 share more than that, so nothing is left to be found but what is planted.
"""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from coverage.case import Case, Trial, judged
from coverage.public import here, rows
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.findings.leaks import leaks
from holdfast.checkup.request import CheckRequest
from holdfast.text.plain import plain_text

SETS = {
    "GSM8K solutions": "gsm8k_solutions/pairs.jsonl.gz",
    "UltraFeedback sample": "ultrafeedback_sample/pairs.jsonl.gz",
    "HH helpful": "hh_helpful_base/pairs.jsonl.gz",
}
PROMPTS, TESTS = 300, 150
EVERY = 25  # words, of which one is changed in a prompt that is edited


@lru_cache(maxsize=1)
def unlike(name: str) -> list[str]:
    """Prompts of a set, none of which shares more than half of its words with another."""
    prompts = list(dict.fromkeys(plain_text(row.prompt) for row in rows(name)))
    counts = (
        CountVectorizer(binary=True, token_pattern=r"\w+").fit_transform(prompts).astype(np.int64)
    )
    shared = (counts @ counts.T).toarray()
    sizes = shared.diagonal()
    likeness = shared / np.maximum(1, sizes[:, None] + sizes - shared)
    kept: list[int] = []
    for i in np.flatnonzero(sizes):
        if not kept or likeness[i, kept].max() <= 0.5:
            kept.append(int(i))
    return [prompts[i] for i in kept]


def edited(rng: np.random.Generator, prompt: str) -> str:
    """One word in every `EVERY`, begun or whole, replaced or left out."""
    words = prompt.split()
    for place in rng.choice(len(words), -(-len(words) // EVERY), replace=False):
        words[place] = str(rng.choice(["", "something", "Alex", "17"]))
    return " ".join(filter(None, words))


def leaked(seed: int, *, name: str, rate: float, edit: bool) -> Trial:
    rng = np.random.default_rng(seed)
    prompts = unlike(name)
    drawn = [prompts[i] for i in rng.choice(len(prompts), PROMPTS + TESTS, replace=False)]
    inside, tests = drawn[:PROMPTS], drawn[PROMPTS:]
    planted = rng.random(TESTS) < rate
    for test, source in zip(
        np.flatnonzero(planted), rng.choice(PROMPTS, planted.sum(), replace=False), strict=True
    ):
        tests[test] = edited(rng, inside[source]) if edit else inside[source]
    data = Comparisons.of(row for row in rows(name) if plain_text(row.prompt) in set(inside))
    return judged(leaks(data, CheckRequest(seed=seed, against=tests)), rate)


CASES = [
    Case(
        "leaks",
        f"{title}, {TESTS} test prompts against "
        f"{PROMPTS}{f', one word in {EVERY} changed' if edit else ''}",
        f"{rate:.0%}",
        partial(leaked, name=name, rate=rate, edit=edit),
    )
    for title, name in SETS.items()
    if here(name)
    for rate, edit in ((0.0, False), (0.1, False), (0.1, True), (0.3, False), (0.3, True))
]
