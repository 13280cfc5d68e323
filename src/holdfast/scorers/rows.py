"""From rows to `Pairs` in one call: for a loop of your own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from holdfast.errors import DataError
from holdfast.scorers.assemble import assemble
from holdfast.scorers.reference import attach
from holdfast.scorers.text import TextScorer, score_in_chunks
from holdfast.types import Answers, Batch, Pairs, Row


def score(
    policy: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    *,
    reference: Any = None,
    template: str = "auto",
    accept_loss: Sequence[str] = (),
    path: str = "packed",
) -> Batch:
    """Log-probabilities of the answers of some rows under a policy, and under a reference if one is given.

        rows = holdfast.read("prefs.jsonl")
        pairs = holdfast.score(policy, tokenizer, rows[:8], reference=reference)
        holdfast.preference.dpo(pairs).mean().backward()

    Gradients flow through the policy (wrap in `torch.no_grad()` to do without) and never through the reference.

    Args:
        policy: a Hugging Face causal model, with or without a peft adapter, or a `TextScorer` made from one.
        tokenizer: its tokenizer.
        rows: comparisons, or single answers; not a mixture.
        reference: another causal model; the same policy with its adapter switched off is `policy.disable_adapter()` around a call.
        template: "auto", "chat", "plain" or "none", as in `holdfast.data.tokenize`.
        accept_loss: what the chat template may drop of a row, likewise.
        path: "packed", or "plain" for one padded forward per answer.

    Returns:
        Pairs for comparisons, Answers for single answers.

    Raises:
        DataError: no rows, a mixture of both kinds, or a row that cannot be rendered.
    """
    from holdfast.data import tokenize

    kinds = {row.answer is None for row in rows}
    if len(kinds) != 1:
        raise DataError("there are no rows to score" if not kinds else "rows to score must be all comparisons or all single answers")
    tokenized = tokenize(rows, tokenizer, template=template, accept_loss=accept_loss)
    scorer = policy if isinstance(policy, TextScorer) else TextScorer(policy, path=path)  # type: ignore[arg-type]
    parts = scorer(tokenized.items)
    if reference is not None:
        other = reference if isinstance(reference, TextScorer) else TextScorer(reference, path=path)  # type: ignore[arg-type]
        was_training = other.model.training
        other.model.eval()
        with torch.no_grad():
            parts = attach(parts, score_in_chunks(other, tokenized.items))
        other.model.train(was_training)
    groups = sorted({row.group for row in rows if row.group is not None})
    return assemble(Pairs if kinds == {True} else Answers, parts, tokenized.rows, groups)
