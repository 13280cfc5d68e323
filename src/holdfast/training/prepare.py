"""From data, as they were given, to the rows of a run: read, held out, made examples, tokenized,
hashed and counted all along.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.card import Method, Reduction
from holdfast.data.read import Dataset
from holdfast.errors import DataError, OptionError
from holdfast.models.protocols import Saved
from holdfast.training.examples import Examples
from holdfast.training.options import Options
from holdfast.training.task import Task
from holdfast.types import Row


@dataclass(frozen=True)
class Prepared:
    """What a run trains on and is evaluated on. `facts` and `identity` go into the record, `said`
    is for the reader's eyes.
    """

    train: Examples
    evaluation: Examples | None
    groups: tuple[str, ...]
    raters: tuple[str | None, ...]
    facts: Mapping[str, Any]
    identity: Mapping[str, str]
    said: Sequence[str]


def prepare(
    task: Task[Any],
    method: Method,
    reduction: Reduction,
    processor: Saved,
    options: Options,
    *,
    data: Any,
    eval_data: Any,
    out: Path,
) -> Prepared:
    """Everything that happens to data before the model sees them. Of `reduction` only its needs are
    read.

    Raises:
        DataError: bad rows (unless quarantined), or none left.
        NeedError: the method or the reduction needs what the rows do not have.
        OptionError: options that contradict each other.
    """
    if eval_data is None and options.eval_every and not options.eval_fraction:
        raise OptionError(
            "eval_every is not read without rows to evaluate on",
            hint="give eval_data or eval_fraction",
        )
    if eval_data is None and options.eval_split:
        raise OptionError("eval_split is not read without eval_data", hint="give eval_data")
    if eval_data is not None and options.eval_fraction:
        raise OptionError(
            "eval_data and eval_fraction both say what to evaluate on", hint="give one of them"
        )
    method = replace(method, reduction=reduction)
    quarantine, eval_quarantine = (
        options.quarantine_file(out),
        options.quarantine_file(out, "quarantine-eval.jsonl"),
    )
    given = options.rows(data, quarantine)
    said = list(given.report.lines())
    facts: dict[str, Any] = {"data": given.report.to_dict()}
    held_out: Dataset | None = None
    if eval_data is not None:
        held_out = _held_out(eval_data, options, eval_quarantine)
        facts["eval_data"] = held_out.report.to_dict()
        said += [f"evaluation: {line}" for line in held_out.report.lines()]
        overlap = len(_prompts(given) & _prompts(held_out))
        if overlap:
            said.append(f"note: {overlap:,} prompts of the evaluation rows are also trained on")
        facts["prompts_in_both"] = overlap
    elif options.eval_fraction:
        kept, away = hold_out(given, fraction=options.eval_fraction, seed=options.seed)
        given, held_out = given.select(kept), given.select(away)
        facts["held_out"] = {
            "fraction": options.eval_fraction,
            "rows": [str(row.where) for row in held_out],
        }
        said.append(
            f"held out {len(held_out):,} rows for evaluation, {len(given):,} are left to train on"
        )
    train = task.encode(given, method, processor, options, quarantine)
    facts["train_rows"], said = train.counts, [*said, *train.said]
    evaluation = None
    if held_out is not None:
        held = task.encode(held_out, method, processor, options, eval_quarantine)
        facts["eval_rows"], evaluation = held.counts, held.examples
        said += [f"evaluation: {line}" for line in held.said]
    identity = {"data": given.report.content_hash}
    if held_out is not None:
        identity["eval_data"] = held_out.report.content_hash
    examples = train.examples
    items = [*examples.items, *(evaluation.items if evaluation else ())]
    identity |= task.identity(processor, options, items)
    everyone = [*examples.rows, *(evaluation.rows if evaluation else ())]
    groups = tuple(sorted({row.group for row in everyone if row.group is not None}))
    return Prepared(examples, evaluation, groups, raters_of(everyone), facts, identity, said)


def raters_of(rows: Sequence[Row]) -> tuple[str | None, ...]:
    """All raters by name, then None if some rows name none; nobody if none does."""
    found = {row.rater for row in rows}
    named = tuple(sorted(name for name in found if name is not None))
    return (*named, None) if named and None in found else named


def hold_out(rows: Sequence[Row], *, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """(rows to train on, rows to evaluate on), as indices. Rows that share a prompt stay on one
    side, so that none is half known.
    """
    by_prompt: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        by_prompt.setdefault(prompt_key(row), []).append(index)
    wanted = max(1, round(fraction * len(rows)))
    away: list[int] = []
    clusters = list(by_prompt.values())
    for place in (
        np.random.Generator(np.random.PCG64([seed, 0xE7A1])).permutation(len(clusters)).tolist()
    ):
        if len(away) >= wanted:
            break
        away += clusters[place]
    if len(away) == len(rows):
        raise DataError(
            "nothing is left to train on: all rows share one prompt, or too few are left",
            hint="lower eval_fraction, or give eval_data",
        )
    out = set(away)
    return [index for index in range(len(rows)) if index not in out], sorted(away)


def _held_out(source: Any, options: Options, quarantine: Path | None) -> Dataset:
    return (
        source
        if isinstance(source, Dataset)
        else replace(options, split=options.eval_split).rows(source, quarantine)
    )


def _prompts(rows: Sequence[Row]) -> set[str]:
    return {prompt_key(row) for row in rows}


def prompt_key(row: Row) -> str:
    return json.dumps(row.prompt, default=dict)
