"""Comparisons as a model sees them: how likely it finds each answer, and its hidden states, read
once for every finding that asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from holdfast.checkup.request import CheckRequest
from holdfast.data.render import tokenize, tokenized_prompts
from holdfast.errors import DataError
from holdfast.evaluation.models import Loaded, device_for, load, same_tokens
from holdfast.evaluation.ranking import PairScores
from holdfast.generation import Generation, HuggingFaceGenerator
from holdfast.models.load import context_length
from holdfast.scorers.branches import said_of
from holdfast.scorers.states import StateScorer
from holdfast.scorers.text import TextScorer, chunks_by_tokens, score_in_chunks
from holdfast.stats.arrays import Floats
from holdfast.terminal import Terminal
from holdfast.types import Row, Tokenized

TOKENS = 8192  # of one batch
PROMPTS, LONGEST = (
    32,
    64,
)  # prompts that the model answers itself, and the longest of these answers in tokens
SIDES = ("chosen", "rejected")


@dataclass(frozen=True)
class ModelScores:
    """What a model says of N comparisons. Rows that it cannot take (too long for it, say) are NaN,
    with states of 0.

    Attributes:
        scores: sums of log-probabilities in nats under the model and its reference (itself unless
            one was given), lengths in tokens
        state_ND: chosen minus rejected mean hidden state
        own: mean log-probability a token of each answer that the model wrote itself, to some of the
            prompts
        place: of each row, by the row's own identity
        name: of the model
        reference: its name
        scoring: how the answers were scored, one line
    """

    scores: PairScores
    state_ND: np.ndarray
    own: Floats
    place: dict[int, int]
    name: str
    reference: str
    scoring: str

    def states(self, rows: Sequence[Row]) -> np.ndarray:
        """`state_ND` of these rows."""
        return self.state_ND[[self.place[id(row)] for row in rows]]

    def known(self) -> np.ndarray:
        return np.isfinite(self.scores.chosen_N)

    @classmethod
    def read(cls, rows: Sequence[Row], request: CheckRequest) -> ModelScores:
        """Load what was asked for and read the rows, with progress."""
        how: dict[str, Any] = {
            "device": device_for("auto"),
            "dtype": torch.float32,
            "trust_remote_code": request.trust_remote_code,
        }
        policy = load(request.model, tokenizer=request.tokenizer, **how)
        reference = (
            policy
            if request.reference is None
            else load(request.reference, tokenizer=policy.tokenizer, **how)
        )
        same_tokens(policy, reference)
        rendering = {
            "template": request.template or policy.template or "auto",
            "accept_loss": (*request.accept_loss, *policy.accept_loss),
        }
        items, kept = _tokenized(rows, policy, rendering)
        found, scoring = _pass(policy, items, quiet=request.quiet)
        sums = _spread({side: found[side] for side in SIDES}, kept, len(rows))
        ref = sums
        if reference is not policy:
            ref = _spread(_sums(reference, items), kept, len(rows))
        lengths = _spread(
            {side: np.array([len(item.branches[side]) for item in items], float) for side in SIDES},
            kept,
            len(rows),
        )
        state_ND = np.zeros((len(rows), found["state"].shape[1]), np.float32)
        state_ND[kept] = found["state"]
        scores = PairScores(*(columns[side] for columns in (sums, lengths, ref) for side in SIDES))
        place = {id(row): i for i, row in enumerate(rows)}
        own = _own(policy, items, [rows[i] for i in kept], rendering, request.seed)
        return cls(scores, state_ND, own, place, policy.name, reference.name, scoring)


def _tokenized(
    rows: Sequence[Row], policy: Loaded, rendering: Mapping[str, Any]
) -> tuple[list[Tokenized], np.ndarray]:
    """Items, and the place of each among the rows. A row that is too long is left out. Raises
    DataError for one that loses words.
    """
    place = {id(row): i for i, row in enumerate(rows)}
    with TemporaryDirectory() as scratch:
        aside = Path(scratch) / "aside.jsonl"
        window = context_length(policy.model)
        hint = (
            "the rows must be rendered whole: accept the loss (--accept-loss), or render them "
            "otherwise (--template)"
        )
        try:
            made = tokenize(
                rows,
                policy.tokenizer,
                max_tokens=window,
                quarantine=aside,
                progress=False,
                **rendering,
            )
        except DataError as error:
            raise DataError(str(error).partition("\nhint: ")[0], hint=hint) from error
    if made.report.refused:
        said = "; ".join(
            f"{n:,} of {len(rows):,} comparisons: {reason}"
            for reason, n in made.report.refused.items()
        )
        raise DataError(f"{policy.name}: {said}", hint=hint)
    return made.items, np.array([place[id(row)] for row in made.rows], np.int64)


def _pass(
    policy: Loaded, items: Sequence[Tokenized], *, quiet: bool
) -> tuple[dict[str, np.ndarray], str]:
    scorer = StateScorer(policy.model)
    scoring = said_of(scorer.check(items)) if items else ""
    sums = {side: np.zeros(len(items)) for side in SIDES}
    state_ND = np.zeros((len(items), 0), np.float32)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,} rows"),
        TimeElapsedColumn(),
    )
    with (
        Progress(
            *columns, console=Terminal(stderr=True), disable=quiet, transient=True
        ) as progress,
        torch.no_grad(),
    ):
        task = progress.add_task(f"reading under {policy.name}", total=len(items))
        for batch in chunks_by_tokens(items, tokens=TOKENS):
            parts = scorer([items[i] for i in batch])
            for side in SIDES:
                sums[side][batch] = parts[side].logp_NT.double().sum(1).cpu().numpy()
            states = [parts[f"{side} state"].logp_NT for side in SIDES]
            if not state_ND.shape[1]:
                state_ND = np.zeros((len(items), states[0].shape[1]), np.float32)
            state_ND[batch] = (states[0] - states[1]).float().cpu().numpy()
            progress.advance(task, len(batch))
    return sums | {"state": state_ND}, scoring


def _sums(loaded: Loaded, items: Sequence[Tokenized]) -> dict[str, np.ndarray]:
    logp = score_in_chunks(TextScorer(loaded.model), items, tokens=TOKENS)
    return {side: np.array([float(row[side].double().sum()) for row in logp]) for side in SIDES}


def _spread(columns: dict[str, np.ndarray], kept: np.ndarray, rows: int) -> dict[str, np.ndarray]:
    """Each column at the places of its rows, NaN elsewhere."""
    out = {}
    for side, values in columns.items():
        out[side] = np.full(rows, np.nan)
        out[side][kept] = values
    return out


def _own(
    policy: Loaded,
    items: Sequence[Tokenized],
    rows: Sequence[Row],
    rendering: Mapping[str, Any],
    seed: int,
) -> Floats:
    """What the model writes itself, and how likely it finds that: log-probability a token, of each
    answer that is not empty.
    """
    window = context_length(policy.model) or 2**30
    prompts = {
        tuple(item.prompt): row
        for item, row in zip(items, rows, strict=True)
        if len(item.prompt) + LONGEST <= window
    }
    drawn = [
        list(prompts.values())[i]
        for i in np.random.default_rng(seed).permutation(len(prompts))[:PROMPTS]
    ]
    if not drawn:
        return np.zeros(0)
    some = tokenized_prompts(drawn, policy.tokenizer, **rendering)
    how = Generation(max_new_tokens=LONGEST, seed=seed)
    generator = HuggingFaceGenerator(policy.model, policy.tokenizer)
    answers = generator(some, samples=1, seeds=how.seeds(len(some)), generation=how)
    written = [
        Tokenized(prompt, {"answer": list(row[0].ids_T)})
        for prompt, row in zip(some, answers, strict=True)
        if row[0].ids_T
    ]
    logp = score_in_chunks(TextScorer(policy.model), written, tokens=TOKENS)
    return np.array([float(row["answer"].double().mean()) for row in logp])
