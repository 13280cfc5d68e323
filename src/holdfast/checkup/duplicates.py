"""Comparisons that stand in the file more than once, word for word or nearly so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations

import altair as alt
import numpy as np

from holdfast.checkup.comparisons import Comparisons, Ints
from holdfast.checkup.finding import Asked, Example, Finding, Probe, Status
from holdfast.checkup.near import Index, alike, bare, grouped
from holdfast.checkup.words import count, percent
from holdfast.evaluation.intervals import mean_interval
from holdfast.report import Chart, Table

MANY, FAR_TOO_MANY = 0.01, 0.2
SMALL = 8  # comparisons of one prompt, all of which are compared with each other
SAID = {"once": "stands once", "exact": "repeats one, word for word", "near": "repeats one, nearly"}


def duplicates(data: Comparisons, asked: Asked) -> Finding:
    """The share of comparisons that repeat an earlier one: prompt and both answers the same, or nearly the same, in either order.

    The same comparison judged by another known rater, or for another group, is no repeat: it says something new. Prompts that stand more
    than once with other answers are counted too, and are no flaw: they belong on one side of a split.
    """
    if data.named:
        return Finding("Duplicates", Status.ABSENT, "These are contests between names; there are no texts to compare.")
    exact_N, near_N = repeats(data, asked.seed)
    share = mean_interval(exact_N | near_N, level=asked.level, seed=asked.seed)
    prompts = len(data.prompt.names)
    near_prompts = prompts - len(np.unique(near_prompts_of(data, asked.seed)))
    n, exact, near = len(data), int(exact_N.sum()), int(near_N.sum())
    bad = exact + near > FAR_TOO_MANY * n
    status = Status.BAD if bad else Status.WARN if exact + near > MANY * n else Status.GOOD
    kinds = {"once": n - exact - near, "exact": exact, "near": near}
    places = [*np.flatnonzero(exact_N)[:5], *np.flatnonzero(near_N)[:5]]
    whole = data.report.counts if data.report and data.note else None
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
        status,
        f"{count(exact, 'comparison')} of {n:,} repeat an earlier one word for word, and {near:,} nearly ({percent(share)}). "
        f"There are {count(prompts, 'distinct prompt')}, {near_prompts:,} of them nearly the same as another."
        + (f" Over the whole file, {count(whole['repeated'], 'comparison')} of {whole['comparisons']:,} repeat another." if whole else ""),
        share,
        "share of comparisons that repeat an earlier one",
        remedy="Keep one of each repeated comparison, and put rows with the same or nearly the same prompt on one side of a split."
        if status is not Status.GOOD
        else "",
        cannot="A sample was examined: repeats of rows outside it were counted only word for word." if data.note else "",
        numbers=numbers,
        charts=[_chart(data, kinds)],
        tables=[Table(["prompts", "how often they stand"], _how_often(data), "How many prompts stand once, twice, ...")],
        examples=[Example(int(i), 1.0, SAID["exact"] if exact_N[i] else SAID["near"]) for i in places],
    )


def repeats(data: Comparisons, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that repeat an earlier one word for word, and those that nearly do. Case, spacing and punctuation are not words."""
    rows: dict[tuple[object, ...], int] = {}
    first_N = np.empty(len(data), np.int64)
    bare_of = {text: bare(text) for text in {*data.prompts, *data.chosen, *data.rejected}}
    for i, row in enumerate(data.rows):
        sides = sorted((bare_of[data.chosen[i]], bare_of[data.rejected[i]]))
        first_N[i] = rows.setdefault((bare_of[data.prompts[i]], *sides, row.rater, row.group), i)
    exact_N = first_N != np.arange(len(data))
    group_N = near_prompts_of(data, seed)[data.prompt.code_N]
    together = np.bincount(group_N[~exact_N], minlength=len(data) + 1)
    places = np.flatnonzero(~exact_N & (together[group_N] > 1))  # a near repeat has a prompt that stands twice
    near_N = np.zeros(len(data), bool)
    rater_N, who_N = data.rater.code_N, data.group.code_N
    for i, j in _candidates(data, places, group_N, seed):
        near_N[j] |= group_N[i] == group_N[j] and rater_N[i] == rater_N[j] and who_N[i] == who_N[j] and _both_alike(data, i, j)
    return exact_N, near_N


def _candidates(data: Comparisons, places: Ints, group_N: Ints, seed: int) -> Iterator[tuple[int, int]]:
    """Pairs of comparisons, i before j, that may be repeats: all of a small group; those with like answers of a large one."""
    sizes = np.bincount(group_N[places], minlength=1)
    small = places[sizes[group_N[places]] <= SMALL]
    order = small[np.argsort(group_N[small], kind="stable")]
    for group in np.split(order, np.flatnonzero(np.diff(group_N[order])) + 1):
        yield from combinations(group.tolist(), 2)
    large = places[sizes[group_N[places]] > SMALL]
    index = Index([f"{data.chosen[i]}\n{data.rejected[i]}" for i in large], seed=seed)
    yield from ((int(large[i]), int(large[j])) for i, j, _ in index.pairs())


def _both_alike(data: Comparisons, i: int, j: int) -> bool:
    """Whether both answers have their like: two comparisons that share one long answer and no more are no repeats."""
    one, two = ((data.chosen[k], data.rejected[k]) for k in (i, j))
    if not 0.6 < (9 + sum(map(len, one))) / (9 + sum(map(len, two))) < 1.6:
        return False
    return any(all(alike(left, right) for left, right in zip(one, sides, strict=True)) for sides in (two, two[::-1]))


def near_prompts_of(data: Comparisons, seed: int) -> Ints:
    """A code for each distinct prompt, the same for prompts that are nearly the same."""

    def make() -> Ints:
        names = [bare(name) for name in data.prompt.names]
        first: dict[str, int] = {}
        same = [(first.setdefault(name, i), i, 1.0) for i, name in enumerate(names)]
        return grouped(len(names), [*(pair for pair in same if pair[0] != pair[1]), *Index(data.prompt.names, seed=seed).pairs()])

    found: Ints = data.once(("near prompts", seed), make)
    return found


def _how_often(data: Comparisons) -> list[list[object]]:
    times = Counter(np.bincount(data.prompt.code_N).tolist())
    shown = sorted(times.items())
    return [[number, often] for often, number in shown[:8]] + ([[sum(n for _, n in shown[8:]), "more often"]] if shown[8:] else [])


def _chart(data: Comparisons, kinds: dict[str, int]) -> Chart:
    rows = [{"kind": SAID[kind], "comparisons": number, "share": number / max(1, len(data))} for kind, number in kinds.items()]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(height=22, cornerRadiusEnd=3)
        .encode(
            y=alt.Y("kind:N", sort=list(SAID.values()), title=None, axis=alt.Axis(labelLimit=240)),
            x=alt.X("share:Q", title="share of comparisons", axis=alt.Axis(format="%")),
            color=alt.Color("kind:N", sort=list(SAID.values()), legend=None),
            tooltip=["kind:N", alt.Tooltip("comparisons:Q", format=","), alt.Tooltip("share:Q", format=".2%")],
        )
        .properties(height=110)
    )
    said = "; ".join(f"{row['kind']}: {row['comparisons']:,}" for row in rows)
    return Chart(chart, "duplicates", "Comparisons that stand once, and those that repeat another.", said)


PROBE = Probe("Do comparisons stand in the file more than once?", duplicates)
