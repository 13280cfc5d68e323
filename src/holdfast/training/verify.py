"""A scorer is verified before the first step, on the rows it will meet, by all processes alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from holdfast.card import Method
from holdfast.errors import RunError
from holdfast.inputs import samples
from holdfast.models.load import context_length
from holdfast.scorers.scorer import Scorer, Verification
from holdfast.training import batching
from holdfast.training.distributed import Distributed
from holdfast.training.options import Options
from holdfast.training.prepare import Prepared
from holdfast.types import Tokenized


def verify(context: Distributed, scorer: Scorer, items: Sequence[Tokenized]) -> Verification:
    """Packed against padded on the first items and the longest; all processes take the padded path
    where one of them must.
    """
    found = scorer.verify(items)
    worst = max(context.gather(found), key=lambda one: (one.one_by_one, one.fell_back))
    if worst != found and worst.fell_back:
        scorer.adopt(worst)
        found = worst
    return found


def refuse_uneven_forwards(
    context: Distributed, scorer: Scorer, items: Sequence[Tokenized], found: Verification
) -> None:
    """Sharded processes must run equally many forwards, so none of them can score rows apart from
    others. Raises RunError where one would have to.
    """
    if not context.sharded:
        return
    if found.one_by_one:
        raise RunError(
            f"FSDP scores answers in batches, which this model does not allow: {found.reason}",
            hint="use DDP, or one process",
        )
    if scorer.sides_of(items) > 1:
        raise RunError(
            "the model's rotary embedding changes with the longest row of a forward, and "
            "the rows are on both sides of the length where it "
            "does, which FSDP does not allow here",
            hint=(
                "set max_tokens to that length (original_max_position_embeddings in the "
                "model's config.json), or use DDP"
            ),
        )


def items_to_meet(
    rows: Prepared, options: Options, method: Method, model: nn.Module
) -> list[Tokenized]:
    """All items that the scorer will meet, those of the first batch first; with the longest answers
    that may be drawn, if any are.
    """
    first = batching.rows_of_step(
        0, rows=len(rows.train), batch_size=options.batch_size, seed=options.seed
    )
    train, known = rows.train.items, set(first)
    items = [*(train[i] for i in first), *(train[i] for i in range(len(train)) if i not in known)]
    items += rows.evaluation.items if rows.evaluation else ()
    if samples not in method.card.needs:
        return items
    answer = max((ids for item in items for ids in item.branches.values()), key=len)
    room = context_length(model) or 2**30
    drawn = [
        dict.fromkeys(samples.branches, answer[: max(1, room - len(item.prompt))]) for item in items
    ]
    return [
        replace(item, branches={**item.branches, **own})
        for item, own in zip(items, drawn, strict=True)
    ]
