"""From rows to `Pairs` in one call: for a loop of your own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from holdfast.errors import DataError
from holdfast.scorers.assemble import assemble
from holdfast.scorers.reference import attach
from holdfast.scorers.scorer import Verification
from holdfast.scorers.text import TextScorer, score_in_chunks
from holdfast.types import Answers, Batch, Pairs, Row, Tokenized

_verified: WeakKeyDictionary[nn.Module, dict[str, Verification]] = (
    WeakKeyDictionary()
)  # so that a loop's model is verified once


def score(
    policy: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    *,
    reference: Any = None,
    template: str = "auto",
    accept_loss: Sequence[str] = (),
    scoring: str = "packed",
) -> Batch:
    """Log-probabilities of the answers of some rows under a policy, and under a reference if one is
    given.

        rows = holdfast.read("prefs.jsonl")
        pairs = holdfast.score(policy, tokenizer, rows[:8], reference=reference)
        holdfast.preference.dpo(pairs).mean().backward()

    Gradients flow through the policy (wrap in `torch.no_grad()` to do without) and never through
    the reference. Both models are verified on the first call, and again on rows longer than any
    before: packed scores must equal one forward per answer, or are not used, which is logged
    (`logging.getLogger("holdfast")`).

    Args:
        policy: a Hugging Face causal model, with or without a peft adapter, or a `TextScorer` made
            from one.
        tokenizer: its tokenizer.
        rows: comparisons, or single answers; not a mixture.
        reference: another causal model; the same policy with its adapter switched off is
            `policy.disable_adapter()` around a call.
        template: "auto", "chat", "plain" or "none", as in `holdfast.data.tokenize`.
        accept_loss: what the chat template may drop of a row, likewise.
        scoring: "packed", or "padded" for one padded forward per answer.

    Returns:
        Pairs for comparisons, Answers for single answers.

    Raises:
        DataError: no rows, a mixture of both kinds, or a row that cannot be rendered.
        ModelError: a model that is not causal, or whose own forward fails.
    """
    from holdfast.data import tokenize

    kinds = {row.answer is None for row in rows}
    if len(kinds) != 1:
        raise DataError(
            "there are no rows to score"
            if not kinds
            else "rows to score must be all comparisons or all single answers"
        )
    tokenized = tokenize(rows, tokenizer, template=template, accept_loss=accept_loss)
    scorer = _scorer(policy, scoring, tokenized.items)
    parts = scorer(tokenized.items)
    if reference is not None:
        other = _scorer(reference, scoring, tokenized.items)
        was_training = other.model.training
        other.model.eval()
        with torch.no_grad():
            parts = attach(parts, score_in_chunks(other, tokenized.items))
        other.model.train(was_training)
    groups = sorted({row.group for row in rows if row.group is not None})
    return assemble(Pairs if kinds == {True} else Answers, parts, tokenized.rows, groups)


def _scorer(model: Any, scoring: str, items: Sequence[Tokenized]) -> TextScorer:
    """A scorer of the model that is verified on these items."""
    if isinstance(model, TextScorer):
        return model
    scorer = TextScorer(model, scoring=scoring)  # type: ignore[arg-type]
    known = _verified.setdefault(model, {})
    if scoring in known:
        scorer.adopt(known[scoring])
    known[scoring] = scorer.check(items)
    return scorer
