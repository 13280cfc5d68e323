"""What scorers share: the packed scoring, the padded one that defines it, and the check of one
against the other that nobody can leave out.

A scorer checks itself before it says its first number, and again whenever an answer comes that is
longer than all it was checked on. It takes the padded scoring from then on where the two differ, or
where the packed one raises anything at all.

    scorer = TextScorer(model)
    scorer(items)                    # checked on these items first
    # or beforehand, on all there will be: `found.reason` says why a padded forward is used, if so
    found = scorer.verify(items)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.errors import DataError, ModelError
from holdfast.scorers.attention import install, own_attention, packing, uninstall
from holdfast.scorers.float32 import in_float32
from holdfast.scorers.layout import Layout, pack
from holdfast.scorers.padded import causal_model
from holdfast.scorers.rope import Sides, forget_lengths
from holdfast.scorers.scorer import Scorer, Scoring, Verification
from holdfast.types import Scored, Tokenized

VERIFIED_ROWS, VERIFIED_ANSWERS = (
    4,
    8,
)  # first rows that are compared, and first answers of each, beside the longest
# Largest differences that rounding explains: of a token's log-probability in nats (of other
# outputs: of the largest one, where that is above 1), and of a gradient, relative to its norm.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}
GRADIENT_TOLERANCE = {torch.float32: 1e-2, torch.float64: 1e-5}

FAILURES = (
    TypeError,
    ValueError,
    RuntimeError,
    AttributeError,
    LookupError,
    NotImplementedError,
    AssertionError,
)  # of a model's forward

log = logging.getLogger("holdfast")


class BranchScorer(Scorer):
    """A model as the training loop sees it: items in, a `Scored` a branch out. Wrap this in DDP or
    FSDP, not the model inside.

    Final classes say what is scored: `packed`, all items in one row, and `padded`, a padded forward
    a branch. Both are called by `forward` alone, which sees to it that they are verified and that
    no forward holds sequences that would change each other's numbers.
    """

    scores = "scores"  # what to call them

    def __init__(self, model: Any, *, scoring: Scoring = "packed"):
        super().__init__()
        self.model = model
        self.scoring: Scoring = scoring
        self.fallbacks = 0
        self.verification: Verification | None = None
        self._reason = ""
        self._one_by_one = False  # padding changes the model's numbers
        inner = causal_model(model)
        self._no_split_modules = getattr(
            inner, "_no_split_modules", None
        )  # where accelerate looks for FSDP's units
        self.sides = Sides.of_model(inner)  # lengths that must not share a forward
        if scoring == "packed":
            self._try_install(inner)

    def _try_install(self, inner: Any) -> None:
        if getattr(inner, "_is_stateful", False):
            self.fall_back("the model keeps a recurrent state, which cannot branch")
            return
        try:
            install(inner)
        except ModelError as error:
            self.fall_back(str(error))
        except (ValueError, KeyError, AttributeError) as error:
            self.fall_back(f"the model does not take an attention function: {_one_line(error)}")

    def fall_back(self, reason: str) -> None:
        """Take the padded scoring from now on."""
        self.scoring, self._reason = "padded", reason
        self.fallbacks += 1
        uninstall(causal_model(self.model))

    def adopt(self, known: Verification) -> None:
        """Take over what another scorer of the same model found."""
        if known.used == "padded" and self.scoring == "packed":
            self.fall_back(known.reason)
        self._one_by_one, self.verification = known.one_by_one, known

    # ------------------------------------------------------------ scoring

    def forward(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        if not items:
            raise ValueError("nothing to score: items is empty")
        self.check(items)
        return self._scored(items)

    def packed(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        raise NotImplementedError

    def padded(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        raise NotImplementedError

    def sequences(self, item: Tokenized) -> dict[str, Tokenized]:
        """What is scored of an item, by name, each as an item of its own."""
        return {name: item.select([name]) for name in item.answers}

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def models(self) -> list[Any]:
        """The Hugging Face models that a forward runs."""
        return [causal_model(self.model)]

    def _scored(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        if self._one_by_one and self.scoring == "padded":
            return self._apart(items, self._once)
        if self.sides.boundaries and self.sides_of(items) > 1:
            return self._apart(items, self._once, side=self.sides.of)
        return self._once(items)

    def sides_of(self, items: Sequence[Tokenized]) -> int:
        """How many forwards at least it takes to score these items."""
        return len(
            {
                self.sides.of(_length(alone))
                for item in items
                for alone in self.sequences(item).values()
            }
        )

    def _once(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        """One forward. Models that remember the lengths of earlier forwards are made to forget
        them, before and after.
        """
        with ExitStack() as around:
            for model in self.models if self.sides.boundaries else ():
                forget_lengths(model)
                around.callback(forget_lengths, model)
            if self.scoring == "packed":
                return self.packed(items)
            for model in self.models:
                around.enter_context(own_attention(model))
            return self.padded(items)

    def _apart(
        self,
        items: Sequence[Tokenized],
        score: Callable[[Sequence[Tokenized]], dict[str, Scored]],
        side: Callable[[int], Any] | None = None,
    ) -> dict[str, Scored]:
        """Score items in as few forwards as `side` allows, or each sequence in one of its own, and
        put the parts together again.
        """
        groups: dict[
            Any, dict[int, list[str]]
        ] = {}  # a forward -> item -> names of what is scored of it there
        for n, item in enumerate(items):
            found: dict[Any, list[str]] = {}
            for name, alone in self.sequences(item).items():
                found.setdefault((n, name) if side is None else side(_length(alone)), []).append(
                    name
                )
            for key, names in found.items():
                groups.setdefault((key, tuple(names)), {})[n] = names
        made: dict[str, list[Scored]] = {}
        places: dict[str, list[int]] = {}
        for (_, names), members in groups.items():
            some = [self._only(items[n], names) for n in members]
            for name, part in score(some).items():
                if self.belongs(name, names):
                    made.setdefault(name, []).append(part)
                    places.setdefault(name, []).extend(members)
        order = [
            *(name for name in self.sequences(items[0]) if name in made),
            *made,
        ]  # as one forward of all would have it
        return {name: _joined(made[name], places[name]) for name in dict.fromkeys(order)}

    def _only(self, item: Tokenized, names: Sequence[str]) -> Tokenized:
        return self.sequences(item)[names[0]] if len(names) == 1 else item.select(names)

    def belongs(self, part: str, names: Sequence[str]) -> bool:
        """Whether a part that was made while these were scored is one of theirs."""
        return True

    def hidden_states(self, decoder: Any, items: Sequence[Tokenized]) -> tuple[Tensor, Layout]:
        """The decoder's hidden states of one packed row (L, width), and where everything stands in
        it.
        """
        out, layout = self.decoded(decoder, causal_model(self.model), items)
        return out.last_hidden_state[0], layout

    def decoded(
        self, decoder: Any, inner: Any, items: Sequence[Tokenized], **more: Any
    ) -> tuple[Any, Layout]:
        """All that the decoder of a causal model puts out for one packed row."""
        layout = pack(items).to(self.device)
        # A ready-made 4-D mask is passed on by every model as it is, which saves making one; the
        # attention reads the layout instead.
        unread = layout.ids_L.new_zeros(1, 1, 1, 1, dtype=torch.bool)
        given = {
            "input_ids": layout.ids_L[None],
            "position_ids": layout.position_L[None],
            "attention_mask": unread,
        }
        install(inner)  # where another scorer of the same model has just taken the padded scoring
        with packing(inner):
            return decoder(**given, use_cache=False, branches=layout, **more), layout

    # ------------------------------------------------------------ verification

    def check(self, items: Sequence[Tokenized]) -> Verification:
        """Verify on these items if they hold a sequence longer than all before; a fall back is
        logged.
        """
        known = self.verification
        if known is not None and _longest(items) <= known.longest:
            return known
        found = self.verify(items if known is None else [max(items, key=_length)])
        if found.fell_back and (known is None or not known.fell_back):
            log.warning(said_of(found))
        return found

    def verify(self, items: Sequence[Tokenized]) -> Verification:
        """Compare packed scores and a gradient of theirs with those of one unpadded forward an
        answer, on the first rows and the longest.

        In float32, outside autocast, without dropout and without touching random state or modes.
        Where they differ, or where the packed scoring raises, answers are scored in padded rows
        from now on; and one by one if padding changes the model's numbers.

        Raises:
            ModelError: the model cannot be scored at all, or is no causal one.
        """
        rows = _sample(items)
        dtype = (
            torch.float64 if next(self.model.parameters()).dtype == torch.float64 else torch.float32
        )
        tolerance, gradient_tolerance = TOLERANCE[dtype], GRADIENT_TOLERANCE[dtype]
        worst = slope = float("nan")
        if any(_attends_to_all(model) < _longest(items) for model in self.models):
            self._score_one_by_one(
                "it attends to a number of tokens that it ranks, and rounding breaks ties "
                "among them"
            )
        with _undisturbed(self), in_float32(self.model):
            right = self._alone(rows)
            if self.scoring == "packed":
                try:
                    with _nudged_embeddings(causal_model(self.model)) as nudge_H:
                        pieces = []
                        for at in range(
                            0,
                            len(rows),
                            2,
                            # two rows at once tell whether neighbors see each other; more take
                            # memory
                        ):
                            made = self._scored(rows[at : at + 2])
                            _backpropagate(made, nudge_H, row=at)
                            pieces.append(
                                {name: part.map(Tensor.detach) for name, part in made.items()}
                            )
                        parts = {
                            name: _joined([piece[name] for piece in pieces], range(len(rows)))
                            for name in pieces[0]
                        }
                except Exception as error:
                    if isinstance(error, DataError | torch.OutOfMemoryError):
                        raise
                    self.fall_back(
                        str(error)
                        if isinstance(error, ModelError)
                        else f"the packed forward failed: {_one_line(error)}"
                    )
                else:
                    worst, slope = (
                        self._difference(parts, right.parts),
                        _relative(_gradient(nudge_H), right.slope_H),
                    )
                    if not worst <= tolerance:  # NaN falls back too
                        self.fall_back(
                            f"packed and padded {self.scores} differ by {worst:.3g} "
                            f"(tolerance {tolerance:g})"
                        )
                    elif not slope <= gradient_tolerance:
                        self.fall_back(
                            f"gradients of packed and padded {self.scores} differ by {slope:.1%}"
                        )
            if self.scoring == "padded" and not self._one_by_one:
                self._check_padding(rows, right.parts, tolerance)
        before = self.verification
        self.verification = Verification(
            self.scoring,
            worst,
            tolerance,
            slope,
            len(rows) + (before.rows if before is not None else 0),
            max(_longest(items), before.longest if before is not None else 0),
            self._one_by_one,
            self._reason,
        )
        return self.verification

    def _alone(self, rows: Sequence[Tokenized]) -> _Found:
        """One forward a sequence, without padding or mask: what every number is held against."""
        scoring, self.scoring = self.scoring, "padded"
        made: dict[str, list[Scored]] = {}
        places: dict[str, list[int]] = {}
        try:
            with _nudged_embeddings(causal_model(self.model)) as nudge_H:
                for n, item in enumerate(rows):
                    for name, alone in self.sequences(item).items():
                        parts = {
                            part: scored
                            for part, scored in self._once([alone]).items()
                            if self.belongs(part, [name])
                        }
                        _backpropagate(parts, nudge_H, row=n)
                        for part, scored in parts.items():
                            made.setdefault(part, []).append(scored.map(Tensor.detach))
                            places.setdefault(part, []).append(n)
            found = _Found(
                {name: _joined(made[name], places[name]) for name in made}, _gradient(nudge_H)
            )
            self._check_causal(rows, found.parts)
        except FAILURES as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise ModelError(
                f"{type(causal_model(self.model)).__name__} cannot score an answer: its "
                "own forward of a prompt and an answer failed with "
                f"{_one_line(error)}",
                hint=(
                    "the model is given input_ids alone, and its logits are read; one that "
                    "needs more cannot be used here"
                ),
            ) from error
        finally:
            self.scoring = scoring
        return found

    def _check_causal(self, rows: Sequence[Tokenized], parts: Mapping[str, Scored]) -> None:
        """Refuse a model whose scores of a token depend on later tokens, where scores are of tokens
        at all.
        """

    def _check_padding(
        self, rows: Sequence[Tokenized], right: Mapping[str, Scored], tolerance: float
    ) -> None:
        """Score one by one from now on if scores change by being padded beside others."""
        with torch.no_grad():
            try:
                worst = self._difference(self._scored(rows), right)
                if worst <= tolerance:
                    return
                why = f"padding changes its {self.scores} by {worst:.3g}"
            except FAILURES as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                why = f"a padded forward failed: {_one_line(error)}"
        self._score_one_by_one(why)

    def _score_one_by_one(self, why: str) -> None:
        """Give each sequence a forward of its own from now on."""
        if self.scoring == "packed":
            self.fall_back("")
        if not self._one_by_one:
            self._one_by_one = True
            self._reason = "; ".join(
                filter(None, [self._reason, f"answers are scored one by one, because {why}"])
            )

    def _difference(self, ours: Mapping[str, Scored], right: Mapping[str, Scored]) -> float:
        worst = 0.0
        for name, part in right.items():
            for field, x in part.differentiable.items():
                off = float((getattr(ours[name], field).detach() - x).abs().max()) / self.unit(
                    name, field, x
                )
                worst = off if not off <= worst else worst  # NaN stays
        return worst

    def unit(self, name: str, field: str, x: Tensor) -> float:
        """What differences of this output are counted in."""
        return 1.0 if field == "logp_NT" else max(1.0, float(x.abs().max()))


@dataclass(frozen=True)
class _Found:
    parts: dict[str, Scored]
    slope_H: Tensor | None


def said_of(found: Verification) -> str:
    """One line for the reader."""
    if found.one_by_one:
        return f"scoring: one forward per answer, {found.reason}"
    if found.fell_back:
        return (
            f"scoring: one padded forward per answer instead of packed rows, because {found.reason}"
        )
    if found.used == "padded":
        return "scoring: one padded forward per answer, as asked"
    where = f"{found.rows} rows, the longest of {found.longest:,} tokens"
    return (
        f"scoring: packed, within {found.worst_nats:.2g} nats of one forward per answer on {where}"
    )


# ------------------------------------------------------------ parts


def _length(item: Tokenized) -> int:
    """Tokens of the longest prompt and answer of an item."""
    return max(
        len(tree.prompt) + max(map(len, tree.branches.values()), default=0) for tree in item.trees
    )


def ranks_past_tokens(model: Any) -> bool:
    """Whether an indexer ranks the tokens before each one and keeps the first, as in DeepSeek
    V3.2.
    """
    return any(
        getattr(model.config.get_text_config(), name, None) is not None
        for name in ("index_topk", "index_topk_blocks")
    )


def _attends_to_all(model: Any) -> float:
    """Tokens up to which a model whose sparse attention ranks tokens (by an indexer, or as Doge
    does) attends to all of them.
    """
    config = model.config.get_text_config()
    tokens = getattr(config, "index_topk", None) or getattr(config, "keep_window_size", None)
    blocks = getattr(config, "index_topk_blocks", None)
    if tokens is None and blocks is not None:
        tokens = blocks * config.index_block_size
    return float("inf") if tokens is None else tokens


def _sample(items: Sequence[Tokenized]) -> list[Tokenized]:
    """The first items and the longest; of items with many answers, the first answers and the
    longest.
    """
    longest = max(items, key=_length)
    first = items[:VERIFIED_ROWS]
    rows = [*first, *([longest] if all(longest is not item for item in first) else [])]
    names = list(longest.answers)
    if len(names) <= VERIFIED_ANSWERS:
        return rows
    kept = {*names[:VERIFIED_ANSWERS], max(names, key=lambda name: _length(longest.select([name])))}
    return [item.select(kept) for item in rows]


def _longest(items: Sequence[Tokenized]) -> int:
    return max(map(_length, items))


def _joined(parts: Sequence[Scored], places: Sequence[int]) -> Scored:
    """Parts of a batch as the whole: row k of all parts, one after the other, belongs at
    `places[k]`.
    """
    order = torch.tensor(places).argsort()
    made = {}
    for field in parts[0].tensors:
        columns = [getattr(part, field) for part in parts]
        width = max(x.shape[1] for x in columns)
        padded = [
            torch.cat([x, x.new_zeros(len(x), width - x.shape[1], *x.shape[2:])], 1)
            if x.shape[1] < width
            else x
            for x in columns
        ]
        made[field] = torch.cat(padded)[order.to(padded[0].device)]
    return Scored(**made)


def _backpropagate(parts: Mapping[str, Scored], nudge_H: Tensor | None, *, row: int = 0) -> None:
    """Add to the nudge's gradient that of a sum of all that a gradient flows through, each entry
    under a weight of its own that padding does not change. `row` is the place of the first row in
    the batch."""
    if nudge_H is None:
        return
    total = torch.zeros((), device=nudge_H.device)
    for name, part in parts.items():
        for field, x in part.differentiable.items():
            entry = torch.arange(x[0].numel(), device=x.device).reshape(x.shape[1:])
            at = torch.arange(row, row + len(x), device=x.device).reshape(-1, *[1] * (x.ndim - 1))
            total = (
                total + (x * torch.cos(1.3 * entry + 0.7 * at + sum(map(ord, name + field)))).sum()
            )
    if total.requires_grad:
        torch.autograd.backward(total, inputs=[nudge_H])


def _gradient(nudge_H: Tensor | None) -> Tensor | None:
    return None if nudge_H is None else nudge_H.grad


def _relative(ours: Tensor | None, right: Tensor | None) -> float:
    if ours is None or right is None:
        return 0.0 if ours is right else float("inf")
    return float((ours - right).norm() / right.norm().clamp(min=1e-30))


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


@contextmanager
def _undisturbed(scorer: nn.Module) -> Iterator[None]:
    """Evaluation mode with gradients on; every module's mode and the random state are as before
    afterwards.
    """
    modes = [(module, module.training) for module in scorer.modules()]
    device = next(scorer.parameters()).device
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        scorer.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training


@contextmanager
def _nudged_embeddings(inner: Any) -> Iterator[Tensor | None]:
    """A vector of zeros that is added to the embedding of every token while it lasts; None where
    the model does not show its embeddings.
    """
    try:
        embeddings = inner.get_input_embeddings()
    except NotImplementedError:
        embeddings = None
    if not isinstance(embeddings, nn.Module) or getattr(embeddings, "weight", None) is None:
        yield None
        return
    weight: Any = embeddings.weight
    dtype = torch.float32 if weight.dtype in (torch.bfloat16, torch.float16) else weight.dtype
    nudge_H = torch.zeros(weight.shape[1], dtype=dtype, device=weight.device, requires_grad=True)
    handle = embeddings.register_forward_hook(lambda module, args, out: out + nudge_H)
    try:
        yield nudge_H
    finally:
        handle.remove()
