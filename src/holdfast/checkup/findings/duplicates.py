"""Comparisons that stand in the file more than once, word for word or nearly so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence

import altair as alt
import numpy as np

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.present.wording import count, percent
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Example, Finding, FindingSpec, Severity
from holdfast.report import Chart, Table
from holdfast.stats.arrays import Ints
from holdfast.stats.intervals import mean_interval
from holdfast.text.codes import coded
from holdfast.text.minhash import ALIKE, MOST, Index, bare, similar

MANY, FAR_TOO_MANY = 0.01, 0.2
SMALL = 8  # comparisons of one prompt by one rater, all of which are compared with each other
# Measured on prompts of UltraFeedback and Anthropic's harmless set and on Chinese ones, 140 to
# 1,500 copies of each kind.
RECALL = (
    "Near repeats that were planted in other files were found so: one letter wrong in 80 to 95% of "
    "prompts of 5 to 13 words and 99% of longer ones; one word replaced in 26% of prompts of 5 to "
    "13 words, 94% of 13 to 23 and all longer ones; one word in twenty replaced in 95%; one "
    "character of a Chinese prompt replaced in all. Paraphrases are not found."
)
SAID = {"once": "stands once", "exact": "repeats one, word for word", "near": "repeats one, nearly"}


def duplicates(data: Comparisons, request: CheckRequest) -> Finding:
    """The share of comparisons that repeat an earlier one: prompt, both answers and the verdict the
    same, or nearly the same.

    The same comparison judged by another known rater, or for another group, is no repeat: it says
        something new. Prompts that stand more
    than once with other answers are counted too, and are no flaw: they belong on one side of a
        split.
    """
    if data.named:
        return Finding(
            "Duplicates",
            Severity.NOT_APPLICABLE,
            "These are head-to-head results between names; there are no texts to compare.",
        )
    exact_N, near_N = repeats(data, request.seed)
    share = mean_interval(exact_N | near_N, level=request.level, seed=request.seed)
    prompts = len(data.prompt.names)
    near_prompts = prompts - len(np.unique(near_prompts_of(data, request.seed)))
    n, exact, near = len(data), int(exact_N.sum()), int(near_N.sum())
    bad = exact + near > FAR_TOO_MANY * n
    severity = (
        Severity.PROBLEM if bad else Severity.WARNING if exact + near > MANY * n else Severity.OK
    )
    kinds = {"once": n - exact - near, "exact": exact, "near": near}
    places = [*np.flatnonzero(exact_N)[:5], *np.flatnonzero(near_N)[:5]]
    whole = data.report.counts if data.report and data.note else None
    said_whole = ""
    if whole:
        said_whole = (
            f" Over the whole file, {whole['repeated']:,} of {whole['comparisons']:,} "
            "comparisons repeat another word for word"
        )
        said_whole += ", whoever judged them."
    numbers = {
        "repeated": share.to_dict(),
        "exact": exact,
        "near": near,
        "prompts": prompts,
        "near_prompts": near_prompts,
        "whole": dict(whole) if whole else None,
    }
    return Finding(
        "Duplicates",
        severity,
        f"{_says(n, exact, near, percent(share))} "
        f"There are {count(prompts, 'distinct prompt')}, {near_prompts:,} of them nearly "
        "the same as another." + said_whole,
        share,
        "share of comparisons that repeat an earlier one",
        remedy=(
            "Keep one of each repeated comparison, and put rows with the same or nearly the "
            "same prompt on one side of a split."
        )
        if severity is not Severity.OK
        else "",
        cannot=RECALL
        + (
            " A sample was examined: repeats of rows outside it were counted only word for word."
            if data.note
            else ""
        ),
        numbers=numbers,
        charts=[_chart(data, kinds)],
        tables=[
            Table(
                ["prompts", "how often they stand"],
                _how_often(data),
                "How many prompts stand once, twice, ...",
            )
        ],
        examples=[
            Example(int(i), 1.0, SAID["exact"] if exact_N[i] else SAID["near"]) for i in places
        ],
    )


def _says(n: int, exact: int, near: int, share: str) -> str:
    if not exact + near:
        return f"None of {count(n, 'comparison')} repeats an earlier one."
    verb = "repeats" if exact == 1 else "repeat"
    return (
        f"{count(exact, 'comparison')} of {n:,} {verb} an earlier one word for word, and "
        f"{near:,} nearly ({share})."
    )


def repeats(data: Comparisons, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that repeat an earlier one word for word, and those that nearly do. Case, spacing and
    punctuation are not words; a verdict the other way contradicts, and is no repeat.
    """
    bare_of = {text: bare(text) for text in {*data.prompts, *data.chosen, *data.rejected}}
    text = coded(
        [bare_of[answer] for answer in (*data.chosen, *data.rejected)]
    )  # each text once, however many rows hold it
    answer_N2 = text.code_N.reshape(2, -1).T
    who = [(row.rater, row.group) for row in data.rows]
    prompt = [bare_of[prompt] for prompt in data.prompts]
    first_N = _first(zip(prompt, who, map(tuple, answer_N2.tolist()), strict=True))
    exact_N = first_N != np.arange(len(data))
    near_prompt_N = near_prompts_of(data, seed)[data.prompt.code_N].tolist()
    block_N = _first(zip(near_prompt_N, who, strict=True))
    near_N = np.zeros(len(data), bool)
    repeat = _Repeat(data, answer_N2, text.names)
    for places in _may_repeat(np.flatnonzero(~exact_N), block_N, answer_N2, text.names, seed):
        for at, j in enumerate(places):
            near_N[j] = any(repeat(i, j) for i in places[max(0, at - MOST) : at])
    return exact_N, near_N


def _first(keys: Iterable[Hashable]) -> Ints:
    """For each row, the first row of the same key."""
    rows: dict[Hashable, int] = {}
    return np.array([rows.setdefault(key, i) for i, key in enumerate(keys)], np.int64)


def _may_repeat(
    places: Ints, block_N: Ints, answer_N2: Ints, texts: Sequence[str], seed: int
) -> Iterator[list[int]]:
    """Sets of comparisons that may be near repeats of each other, in order: small blocks whole;
    large ones cut where answers are unlike.

    A block is what one rater said of one prompt. Its answers are told apart by the groups of near
    texts: those of two repeats are the same.
    """
    size_N = np.bincount(block_N[places], minlength=len(block_N))[block_N]
    large = places[size_N[places] > SMALL]
    group_N2 = np.full(answer_N2.shape, -1)
    here, code = np.unique(answer_N2[large], return_inverse=True)
    group_N2[large] = np.sort(
        Index([texts[k] for k in here], seed=seed).groups()[code.reshape(-1, 2)], axis=1
    )
    sets: dict[tuple[int, ...], list[int]] = {}
    for i in places:
        sets.setdefault((int(block_N[i]), *group_N2[i].tolist()), []).append(int(i))
    return (rows for rows in sets.values() if len(rows) > 1)


class _Repeat:
    """Whether both answers of two comparisons have their like: two that share one long answer and
    no more are no repeats.
    """

    def __init__(self, data: Comparisons, answer_N2: Ints, texts: Sequence[str]):
        self._answers, self._texts = answer_N2.tolist(), texts
        self._size = [
            9 + len(chosen) + len(rejected)
            for chosen, rejected in zip(data.chosen, data.rejected, strict=True)
        ]
        self._like: dict[tuple[int, int], bool] = {}  # no two texts are compared again

    def __call__(self, i: int, j: int) -> bool:
        if not 0.6 < self._size[i] / self._size[j] < 1.6:
            return False
        (a, b), (c, d) = self._answers[i], self._answers[j]
        return self._alike(a, c) and self._alike(b, d)

    def _alike(self, one: int, two: int) -> bool:
        pair = (min(one, two), max(one, two))
        if pair not in self._like:
            self._like[pair] = one == two or similar(self._texts[one], self._texts[two]) >= ALIKE
        return self._like[pair]


def near_prompts_of(data: Comparisons, seed: int) -> Ints:
    """A code for each distinct prompt, the same for prompts that are nearly the same."""

    def make() -> Ints:
        text = coded([bare(name) for name in data.prompt.names])
        return Index(text.names, seed=seed).groups()[text.code_N]

    found: Ints = data.once(("near prompts", seed), make)
    return found


def _how_often(data: Comparisons) -> list[list[object]]:
    times = Counter(np.bincount(data.prompt.code_N).tolist())
    shown = sorted(times.items())
    return [[number, often] for often, number in shown[:8]] + (
        [[sum(n for _, n in shown[8:]), "more often"]] if shown[8:] else []
    )


def _chart(data: Comparisons, kinds: dict[str, int]) -> Chart:
    rows = [
        {"kind": SAID[kind], "comparisons": number, "share": number / max(1, len(data))}
        for kind, number in kinds.items()
    ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(height=22, cornerRadiusEnd=3)
        .encode(
            y=alt.Y("kind:N", sort=list(SAID.values()), title=None, axis=alt.Axis(labelLimit=240)),
            x=alt.X("share:Q", title="share of comparisons", axis=alt.Axis(format="%")),
            color=alt.Color("kind:N", sort=list(SAID.values()), legend=None),
            tooltip=[
                "kind:N",
                alt.Tooltip("comparisons:Q", format=","),
                alt.Tooltip("share:Q", format=".2%"),
            ],
        )
        .properties(height=110)
    )
    said = "; ".join(f"{row['kind']}: {row['comparisons']:,}" for row in rows)
    return Chart(
        chart, "duplicates", "Comparisons that stand once, and those that repeat another.", said
    )


FINDING = FindingSpec("Do comparisons stand in the file more than once?", duplicates)
