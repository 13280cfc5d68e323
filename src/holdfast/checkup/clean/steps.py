"""The steps of a cleaning: each takes rows and returns those that are left, with what it did to
each of the others.

Texts are compared as they stand, spaces at their ends aside: two answers that differ in one
operator or one full stop are two answers. What counts as nearly the same is looked for in prompts
of a test set alone, where a row too many costs little.
"""

from __future__ import annotations

import json
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.data.write import record
from holdfast.inputs.swap import swapped_row
from holdfast.text.minhash import Index, bare
from holdfast.text.plain import plain_text
from holdfast.types import Row, Text, Where

REMOVED, TURNED, MERGED = "removed", "turned", "merged"


@dataclass(frozen=True)
class Change:
    """What was done to one row, and the row as it was before."""

    step: str
    done: str  # REMOVED, TURNED or MERGED
    row: Row
    why: str
    kept: Where | None = None  # the row that stands for it now

    def to_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "done": self.done,
            "where": str(self.row.where),
            "why": self.why,
            "kept": None if self.kept is None else str(self.kept),
            "row": record(self.row),
        }


Rows = tuple[Row, ...]
Step = Callable[[Rows], tuple[Rows, list[Change]]]


def comparison(row: Row) -> bool:
    """Whether a row says which of two answers is the better one."""
    return row.chosen is not None and row.rejected is not None and not row.tie


def turn(rows: Rows, who: str, names: Iterable[str]) -> tuple[Rows, list[Change]]:
    """Every comparison of these sources or raters with its answers swapped. What is known
    of either answer goes with it.
    """
    names = frozenset(names)
    changes = []
    out = []
    for row in rows:
        name = getattr(row, who)
        if comparison(row) and name in names:
            changes.append(Change("turn", TURNED, row, f"{who} {name} is turned, as asked"))
            row = swapped_row(row)
        out.append(row)
    return tuple(out), changes


def void(rows: Rows) -> tuple[Rows, list[Change]]:
    """Without comparisons of an answer with itself: nothing can be learned from them."""
    return _without(
        rows,
        "void",
        lambda row: (
            "both answers are the same text"
            if comparison(row) and same(row.chosen) == same(row.rejected)
            else ""
        ),
    )


def leaks(rows: Rows, tests: Sequence[str], *, seed: int = 0) -> tuple[Rows, list[Change]]:
    """Without rows whose prompt stands in a test set, word for word (case and punctuation aside)
    or nearly so.
    """
    prompts = list(dict.fromkeys(plain_text(row.prompt) for row in rows))
    wanted = [test for test in dict.fromkeys(tests) if test.strip()]
    exact = {bare(test) for test in wanted}
    why = {
        prompt: "its prompt is in the test set, word for word"
        for prompt in prompts
        if bare(prompt) in exact
    }
    others = [prompt for prompt in prompts if prompt not in why and prompt.strip()]
    # one sketch a test prompt, and each of our prompts looked up: all of them, not the nearest
    for i, _, alike in Index(wanted, seed=seed).like(others) if wanted else ():
        why[others[i]] = f"its prompt is nearly one of the test set (overlap {alike:.2f})"
    return _without(rows, "leak", lambda row: why.get(plain_text(row.prompt), ""))


def repeats(rows: Rows) -> tuple[Rows, list[Change]]:
    """One of each comparison that the same rater (or nobody who is named) made of the same two
    answers with the same verdict. The first one stays.

    Where a rater, or rows without one, say of one pair both that the one answer is better and that
    the other is, their rows are verdicts and no repeats: two against one is not one against one.
    """
    first: dict[Hashable, Row] = {}
    contested = _contested(rows)
    kept, changes = [], []
    for row in rows:
        judgement = (same(row.prompt), _pair(row), row.rater, row.group)
        key = (*judgement, same(row.chosen) if not row.tie else "", row.tie, row.desirable)
        before = row
        if judgement not in contested and not (row.rater is None and None in contested):
            before = first.setdefault(key, row)
        if before is row:
            kept.append(row)
        else:
            why = "repeats an earlier row: prompt, answers and label"
            changes.append(Change("repeat", REMOVED, row, why, before.where))
    return tuple(kept), changes


def _contested(rows: Rows) -> set[Hashable]:
    """What one rater said of one pair, where it goes both ways; and None where that is so of rows
    without a rater.
    """
    verdicts: dict[Hashable, str] = {}
    out: set[Hashable] = set()
    for row in filter(comparison, rows):
        key = (same(row.prompt), _pair(row), row.rater, row.group)
        chosen = same(row.chosen)
        if verdicts.setdefault(key, chosen) != chosen:
            out |= {key} if row.rater is not None else {key, None}
    return out


def _pair(row: Row) -> frozenset[str]:
    """The answers of a row, in no order."""
    return frozenset(
        same(text) for text in (row.chosen, row.rejected, row.answer) if text is not None
    )


def collapse(rows: Rows) -> tuple[Rows, list[Change]]:
    """One row for each pair of answers that was judged more than once within a group of people: the
    majority's verdict, with `confidence`, its share of the verdicts, and `verdicts`, how many there
    were.

    A verdict counts by its own `confidence` where it has one, and half for either side where it is
    a tie. A pair whose verdicts are even has no majority: all its rows are removed. Once a pair is
    collapsed every comparison has both columns, 1 where there was one verdict and it says nothing
    else.
    """
    places: dict[Hashable, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if row.chosen is not None and row.rejected is not None:
            places[(same(row.prompt), _pair(row), row.group)].append(i)
    out: dict[int, Row] = dict(enumerate(rows))
    changes: list[Change] = []
    for judged in places.values():
        if len(judged) < 2 or all(rows[i].tie for i in judged):
            continue
        kept = _majority([rows[i] for i in judged])
        for i in judged:
            row = out.pop(i)
            if kept is None:
                why = f"its {len(judged)} verdicts are even, so there is no majority"
                changes.append(Change("collapse", REMOVED, row, why))
            else:
                why = f"one of {len(judged)} verdicts on these two answers"
                changes.append(Change("collapse", MERGED, row, why, kept.where))
        if kept is not None:
            out[next(i for i in judged if rows[i].where == kept.where)] = kept
    left = [out[i] for i in sorted(out)]
    if changes:
        left = [_counted(row) for row in left]
    return tuple(left), changes


def _majority(judged: Sequence[Row]) -> Row | None:
    """The first row of the side with more of the verdicts, as the verdict of all; None if they are
    even.
    """
    one = same(judged[0].chosen)
    for_one = 0.0
    for row in judged:
        own = 0.5 if row.tie else 1.0 if row.confidence is None else row.confidence
        for_one += own if same(row.chosen) == one else 1 - own
    share = for_one / len(judged)
    if abs(share - 0.5) < 1e-9:
        return None
    wins = [not row.tie and (same(row.chosen) == one) == (share > 0.5) for row in judged]
    if not any(wins):  # unsure verdicts alone tip the balance, all of them given to the other side
        first = next(row for row in judged if not row.tie)
        kept, wins = swapped_row(first), [True]
    else:
        kept = judged[wins.index(True)]
    signed = [
        None
        if row.strength is None
        else row.strength * (1 if same(row.chosen) == same(kept.chosen) else -1)
        for row in judged
    ]
    weights = [row.weight for row in judged if row.weight is not None]
    return replace(
        kept,
        confidence=max(share, 1 - share),
        rater=_common([row.rater for row in judged]),
        source=_common([row.source for row in judged]),
        strength=_mean_strength(signed),
        weight=sum(weights) if len(weights) == len(judged) else kept.weight,
        extra={**kept.extra, "verdicts": len(judged)},
    )


def _mean_strength(signed: Sequence[float | None]) -> float | None:
    """How much better the majority's answer is, on the average; None where the file does not say of
    each verdict, or the minority's strength outweighs it.
    """
    given = [value for value in signed if value is not None]
    mean = sum(given) / len(given) if given else 0.0
    return mean if len(given) == len(signed) and mean > 0 else None


def _common(values: Sequence[str | None]) -> str | None:
    return values[0] if len(set(values)) == 1 else None


def _counted(row: Row) -> Row:
    if not comparison(row) or "verdicts" in row.extra:
        return row
    own = 1.0 if row.confidence is None else row.confidence
    return replace(row, confidence=own, extra={**row.extra, "verdicts": 1})


def same(text: Text | None) -> str:
    """What makes two texts one: all they say, whatever Unicode form it has; spaces at the ends
    aside.
    """
    if text is None or isinstance(text, str):
        return unicodedata.normalize("NFC", text or "").strip()
    return json.dumps(
        [{**m, "content": same(m.get("content"))} for m in text], sort_keys=True, default=str
    )


def _without(rows: Rows, step: str, why: Callable[[Row], str]) -> tuple[Rows, list[Change]]:
    """Rows without those that there is a reason to remove."""
    reasons = [why(row) for row in rows]
    changes = [
        Change(step, REMOVED, row, reason)
        for row, reason in zip(rows, reasons, strict=True)
        if reason
    ]
    return tuple(r for r, reason in zip(rows, reasons, strict=True) if not reason), changes
