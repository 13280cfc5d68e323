"""The rows of an evaluation: comparisons to score, prompts to answer, and the groups that both
belong to.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.data.examples import NAMES, refuse_names
from holdfast.data.reading import Reading
from holdfast.data.render import tokenize
from holdfast.errors import ModelError, OptionError
from holdfast.evaluation.difficulty import CERTAIN
from holdfast.evaluation.models import Loaded
from holdfast.evaluation.ranking import PairScores
from holdfast.scorers.branches import said_of
from holdfast.scorers.text import TextScorer, score_in_chunks
from holdfast.types import Row, Tokenized
from holdfast.visible import listed, one_line

NO_GROUP = "(none)"


@dataclass(frozen=True)
class Held:
    """Held-out rows, tokenized for the policy. `pairs` are the comparisons that are no ties;
    prompts are told apart by their tokens.
    """

    rows: Sequence[Row]
    items: Sequence[Tokenized]
    group_of: Sequence[str]  # of each row
    pairs: Sequence[int]  # indices into rows
    notes: Sequence[str]
    source: Mapping[str, Any]

    @property
    def groups(self) -> list[str]:
        """Names of the groups in order; none where no row has one."""
        found = sorted(set(self.group_of))
        return [] if found == [NO_GROUP] else found

    @property
    def clusters(self) -> list[Hashable]:
        """The prompt of each comparison."""
        return [tuple(self.items[i].prompt) for i in self.pairs]

    def rows_of(self, group: str) -> NDArray[np.int64]:
        """Positions in `pairs` of the comparisons of a group."""
        return np.array(
            [n for n, i in enumerate(self.pairs) if self.group_of[i] == group], dtype=np.int64
        )

    @property
    def share_N(self) -> NDArray[np.float64]:
        """How sure each comparison's label is, by its own `confidence`; 1 where it has none."""
        known = (self.rows[i].confidence for i in self.pairs)
        return np.array([1.0 if share is None else share for share in known], dtype=float)

    def describe(self) -> dict[str, Any]:
        prompts = len({tuple(item.prompt) for item in self.items})
        return {
            **self.source,
            "rows": len(self.rows),
            "comparisons": len(self.pairs),
            "prompts": prompts,
        }

    def scores(self, policy: Loaded, reference: Loaded | None) -> tuple[PairScores, list[str]]:
        """Every comparison under both models, and what is to be said of how they were scored."""
        items = [self.items[i] for i in self.pairs]
        notes = []

        def sums(loaded: Loaded) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            scorer = TextScorer(loaded.model)
            found = scorer.verify(items) if items else None
            if found is not None and found.fell_back:
                notes.append(f"{loaded.name}: {said_of(found)}")
            logp = score_in_chunks(scorer, items)
            both = tuple(
                np.array([float(row[name].double().sum()) for row in logp])
                for name in ("chosen", "rejected")
            )
            bad = np.flatnonzero(~np.isfinite(np.sum(both, axis=0)))
            if len(bad):  # as NaN they would be left out of every mean
                where = self.rows[self.pairs[bad[0]]].where
                said = (
                    f"{len(bad)} of {len(items)} comparisons have no finite log-probability "
                    f"under {loaded.name}, the first at {where}"
                )
                raise ModelError(
                    said,
                    hint=(
                        "float32, if the model overflows in a smaller type; else its weights "
                        "are damaged"
                    ),
                )
            return both  # type: ignore[return-value]

        lengths = (
            np.array([float(len(item.branches[name])) for item in items])
            for name in ("chosen", "rejected")
        )
        scores = PairScores(
            *sums(policy), *lengths, *(sums(reference) if reference is not None else (None, None))
        )
        return scores, notes


def held_rows(
    data: Any,
    tokenizer: Any,
    *,
    by: str,
    template: str,
    accept_loss: Sequence[str],
    max_tokens: int | None,
    reading: Reading,
    seed: int,
) -> Held:
    """Read and tokenize. Raises DataError for a row that cannot be used (unless it can be
    quarantined), OptionError for an unknown `by`, NeedError for matches between names, of which no
    text is known."""
    quarantine = reading.quarantine_file()
    known = reading.rows(data, quarantine)
    refuse_names(known.rows, "an evaluation reads")
    texts = [row for row in known.rows if not row.named]
    rows, items = _tokenized(
        texts,
        tokenizer,
        template=template,
        accept_loss=accept_loss,
        max_tokens=max_tokens,
        quarantine=quarantine,
        seed=seed,
    )
    pairs = [
        i
        for i, item in enumerate(items)
        if set(item.branches) >= {"chosen", "rejected"} and not rows[i].tie
    ]
    notes = []
    ties = sum(row.tie for row in rows)
    if ties:
        notes.append(
            f"{ties:,} ties have no better answer and are not ranked; their prompts are "
            "still answered"
        )
    if len(pairs) + ties < len(rows):
        notes.append(
            f"{len(rows) - ties - len(pairs):,} rows are single answers and are not "
            "ranked; their prompts are still answered"
        )
    sure = sum(rows[i].confidence is not None for i in pairs)
    if pairs:
        notes.append(
            f"idealized ranking: {sure:,} of {len(pairs):,} comparisons say how sure "
            "their label is (column `confidence`); one that does "
            f"not counts as certain, which is odds of {1 / CERTAIN:,.0f} to 1"
        )
    names = {NAMES: len(known.rows) - len(texts)} if len(texts) < len(known.rows) else {}
    notes += [
        f"skipped {count:,}: {reason}"
        for reason, count in {**known.report.skipped, **names}.items()
    ]
    if len(rows) < len(texts):
        notes.append(
            f"skipped {len(texts) - len(rows):,}: too long or not to be rendered; see {quarantine}"
        )
    source = {
        "source": str(data) if isinstance(data, str | Path) else "rows in memory",
        "content_hash": known.report.content_hash,
    }
    return Held(
        rows,
        items,
        [group_name(row, by) for row in rows] if _has(rows, by) else [NO_GROUP] * len(rows),
        pairs,
        notes,
        source,
    )


def _tokenized(
    rows: Sequence[Row], tokenizer: Any, **how: Any
) -> tuple[list[Row], list[Tokenized]]:
    """Comparisons first, then single answers: they are tokenized apart, since no method takes
    both.
    """
    kept: list[Row] = []
    items: list[Tokenized] = []
    for kind in (True, False):
        some = [row for row in rows if (row.chosen is not None) == kind]
        if some:
            made = tokenize(some, tokenizer, progress=False, **how)
            kept += made.rows
            items += made.items
    return kept, items


def group_name(row: Row, by: str) -> str:
    value = getattr(row, by) if by in ("group", "rater", "source") else row.extra.get(by)
    return NO_GROUP if value is None else one_line(str(value))


def _has(rows: Sequence[Row], by: str) -> bool:
    if by in ("group", "rater", "source") or any(by in row.extra for row in rows):
        return True
    extra = sorted({name for row in rows for name in row.extra})
    raise OptionError(
        f"the rows have no column {by!r} to tell groups apart by",
        hint=f"one of {listed(['group', 'rater', 'source', *extra])}",
    )


def distinct_prompts(held: Held) -> dict[tuple[int, ...], list[int]]:
    """Each prompt's tokens, in order of first appearance, with the rows that ask it."""
    out: dict[tuple[int, ...], list[int]] = {}
    for i, item in enumerate(held.items):
        out.setdefault(tuple(item.prompt), []).append(i)
    return out
