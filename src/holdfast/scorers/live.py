"""A policy beside its reference in memory, and beside a method's own head: what no cache of
log-probabilities can hold.

    kl_NT                 KL(reference || policy) over the whole vocabulary at each response token
    ref_activation_NTL    mean activation of each layer of the reference before the token is read
    head_NTK              what the head says of the token; it is a part of this module, so it is
                          wrapped, trained and saved with the policy

The reference runs over the same packed row, without gradient, and its logits are made and thrown
away by the chunk, like the policy's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from holdfast.card import Head
from holdfast.errors import ModelError
from holdfast.inputs import activation, token_kl
from holdfast.inputs.base import Input
from holdfast.scorers.head import divergence, token_logp, token_logp_and_kl
from holdfast.scorers.padded import Padded, causal_model, sequences_of
from holdfast.scorers.rope import Sides
from holdfast.scorers.scorer import Scoring
from holdfast.scorers.text import TextScorer, by_branch, split
from holdfast.types import Scored, Tokenized


@dataclass(frozen=True)
class InMemoryReference:
    """The reference in memory: a frozen model, or the policy itself with its adapter switched
    off.
    """

    model: Any
    adapter_off: bool = False

    @contextlib.contextmanager
    def running(self) -> Iterator[Any]:
        """The model, without gradient and without dropout."""
        model = self.model
        was_training = model.training
        if was_training:
            model.eval()
        try:
            with (
                torch.no_grad(),
                model.disable_adapter() if self.adapter_off else contextlib.nullcontext(),
            ):
                yield model
        finally:
            if was_training:
                model.train()


class LiveScorer(TextScorer):
    """The policy as methods see it that ask for more than log-probabilities.

    Args:
        model: the policy.
        wants: the method's inputs; `token_kl` and `activation` are made.
        reference: in memory; needed for those, and for a head that reads it.
        head: the method's own, if it has one.
        scoring: as for `TextScorer`.
    """

    scores = "log-probabilities, divergences or outputs of the head"

    def __init__(
        self,
        model: Any,
        *,
        wants: Collection[Input],
        reference: InMemoryReference | None = None,
        head: Head | None = None,
        scoring: Scoring = "packed",
    ):
        super().__init__(model, scoring=scoring)
        self.wants = wants
        self._reference = (
            reference  # no module of this one: it is neither trained nor wrapped nor saved
        )
        self._head_of = head.of if head is not None else None
        config = causal_model(
            reference.model if self._head_of == "reference" and reference else model
        ).config.get_text_config()
        self.head: nn.Module | None = (
            None if head is None else head.build(config.hidden_size, config.num_hidden_layers)
        )
        self._log_probs_alone = False
        if reference is not None:
            self.sides |= Sides.of_model(causal_model(reference.model))

    @property
    def models(self) -> list[Any]:
        return (
            super().models
            if self._reference is None
            else [*super().models, causal_model(self._reference.model)]
        )

    @contextlib.contextmanager
    def log_probs_alone(self) -> Iterator[None]:
        self._log_probs_alone = True
        try:
            yield
        finally:
            self._log_probs_alone = False

    def packed(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        if self._log_probs_alone:
            return super().packed(items)
        theirs = self._reference_states(
            items
        )  # before the policy runs: an adapter must not be switched within its graph
        decoder, output, vocabulary = split(causal_model(self.model))
        hidden_LH, layout = self.hidden_states(decoder, items)
        before_RH = hidden_LH[layout.predictor_R]
        made: dict[str, Tensor] = {}
        if token_kl in self.wants:
            last_RH, _, reference_output = _there(theirs)
            made["logp_NT"], made["kl_NT"] = token_logp_and_kl(
                before_RH, last_RH, layout.target_R, output, reference_output, vocabulary=vocabulary
            )
        else:
            made["logp_NT"] = token_logp(before_RH, layout.target_R, output, vocabulary=vocabulary)
        states_RLH = (
            _there(theirs)[1]
            if self._head_of == "reference"
            else hidden_LH[layout.own_R].unsqueeze(1)
        )
        return by_branch(
            layout, made | self._further(states_RLH, None if theirs is None else theirs[1])
        )

    def padded(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        if self._log_probs_alone:
            return super().padded(items)
        return {
            name: self._plain_branch(sequences) for name, sequences in sequences_of(items).items()
        }

    def _plain_branch(self, sequences: list[tuple[Sequence[int], Sequence[int]]]) -> Scored:
        padded = Padded.of(sequences, self.device)
        theirs = None
        if self._reference is not None:
            with self._reference.running() as model:
                theirs = padded.forward(model, states=True)
        ours = padded.forward(self.model, states=self._head_of == "policy")
        logp_NTV = ours.logits_NTV.log_softmax(-1)
        inside_NT = padded.mask_NT.bool()
        made = {"logp_NT": padded.chosen(logp_NTV)}
        if token_kl in self.wants:
            made["kl_NT"] = torch.where(
                inside_NT, divergence(_there(theirs).logits_NTV.log_softmax(-1), logp_NTV), 0.0
            )
        theirs_NTLH = None if theirs is None else _there(theirs.before_NTLH)
        states_NTLH = (
            theirs_NTLH
            if self._head_of == "reference"
            else None
            if ours.after_NTLH is None
            else ours.after_NTLH[:, :, -1:]
        )
        flat = [None if x is None else x.flatten(0, 1) for x in (states_NTLH, theirs_NTLH)]
        further = {
            field: x.unflatten(0, inside_NT.shape) for field, x in self._further(*flat).items()
        }
        return Scored(
            mask_NT=padded.mask_NT,
            **made,
            **{field: torch.where(inside_NT[..., None], x, 0.0) for field, x in further.items()},
        )

    def _further(
        self, states_RLH: Tensor | None, reference_RLH: Tensor | None
    ) -> dict[str, Tensor]:
        """Head and activations, from the states that they read."""
        made = {}
        if self.head is not None:
            made["head_NTK"] = self.head(_there(states_RLH)).float()
        if activation in self.wants:
            made["ref_activation_NTL"] = _there(reference_RLH).float().mean(-1)
        return made

    def _reference_states(self, items: Sequence[Tokenized]) -> tuple[Tensor, Tensor, Any] | None:
        """Last states (R, H) and all layers' (R, L, H) where response tokens are predicted, and
        what makes logits of the former.
        """
        if self._reference is None:
            return None
        with self._reference.running() as model:
            decoder, output, _ = split(causal_model(model))
            out, layout = self.decoded(
                decoder, causal_model(model), items, output_hidden_states=True
            )
            layers = [layer[0][layout.predictor_R] for layer in out.hidden_states[1:]]
            return out.last_hidden_state[0][layout.predictor_R], torch.stack(layers, 1), output


T = TypeVar("T")


def _there(x: T | None) -> T:
    if x is None:
        raise ModelError(
            "this scorer was given no reference",
            hint="LiveScorer(..., reference=InMemoryReference(reference))",
        )
    return x
