"""The load-balancing loss of a mixture of experts, of a whole batch, however it is cut into
microbatches.

    aux = E sum_e f_e P_e        f_e: the share of expert e in the top-k choices of tokens
                                 P_e: mean probability of expert e in the router

of E experts, over all layers and over the tokens of all rows of the batch, a row being a prompt and
one of its answers (Switch Transformer, https://huggingface.co/papers/2101.03961; the same number as
Hugging Face's `aux_loss` of the padded batch). The loss that is minimized is the method's plus
`router_aux_loss_coef` times aux.

aux is a product of two means, so it does not add up over microbatches. But f_e counts choices and
has no gradient: with f_e of the whole batch known from a pass without gradient, each microbatch
adds E sum_e f_e (sum of its own probabilities of e) / (tokens of the batch), and the sum over
microbatches and processes is the gradient of the whole batch. In packed rows a prompt stands once
and counts for each of its answers.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from holdfast.errors import ModelError
from holdfast.scorers.layout import Layout
from holdfast.scorers.padded import causal_model
from holdfast.training.distributed import Distributed

AGREES = 1e-3  # relative, in float32
HINT = "router_aux_loss=off (--router-aux-loss off) trains without it"


@dataclass(frozen=True)
class Counts:
    """What a batch, or a part of it, did in the routers: sums over layers and tokens."""

    choices_E: Tensor  # how often each expert was among the top k
    probability_E: Tensor  # sum of its probabilities
    tokens: float  # tokens times layers

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.choices_E + other.choices_E,
            self.probability_E + other.probability_E,
            self.tokens + other.tokens,
        )

    def aux(self) -> Tensor:
        return len(self.choices_E) * (self.choices_E * self.probability_E).sum() / self.tokens**2


@dataclass
class RouterLoss:
    """Listens to the routers of a policy while it is scored. `coefficient` is that of the policy's
    config.
    """

    model: Any
    coefficient: float
    top_k: int
    whole: Counts | None = None  # of the batch at hand
    _heard: list[tuple[tuple[Tensor, ...], Tensor]] = field(default_factory=list)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """While it lasts, forwards of the decoder keep their router logits. The rest of the time
        nothing is changed.
        """

        def ask(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
            return args, kwargs | {"output_router_logits": True}

        def hear(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            self._heard.append((tuple(out.router_logits), _weights(kwargs, out.router_logits[0])))

        decoder = causal_model(self.model).base_model
        handles = [
            decoder.register_forward_pre_hook(ask, with_kwargs=True),
            decoder.register_forward_hook(hear, with_kwargs=True),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._heard.clear()

    def counts(self) -> Counts:
        """Of all that was heard since this was last asked."""
        found = [self._counts(*forward) for forward in self._heard]
        self._heard.clear()
        return functools.reduce(operator.add, found)

    def _counts(self, layers: tuple[Tensor, ...], weight_L: Tensor) -> Counts:
        experts = layers[0].shape[-1]
        choices_E, probability_E = (torch.zeros(experts, device=weight_L.device) for _ in range(2))
        for logits_LE in layers:
            p_LE = logits_LE.reshape(-1, experts).float().softmax(-1)
            chosen_LK = p_LE.topk(self.top_k, dim=-1).indices
            choices_E = choices_E.index_add(
                0, chosen_LK.flatten(), weight_L.repeat_interleave(self.top_k)
            )
            probability_E = probability_E + weight_L @ p_LE
        return Counts(choices_E, probability_E, float(weight_L.sum()) * len(layers))

    def alone(self) -> Tensor:
        """Coefficient times aux of a batch that was just scored in one piece."""
        whole = self.counts()
        self.whole = Counts(whole.choices_E.detach(), whole.probability_E.detach(), whole.tokens)
        return self.coefficient * whole.aux()

    def term(self) -> Tensor:
        """What a microbatch that was just scored adds to the loss: these terms add up to
        coefficient times aux of the whole batch.
        """
        assert self.whole is not None
        mine = self.counts()
        share_E = self.whole.choices_E / self.whole.tokens
        return (
            self.coefficient
            * len(share_E)
            * (share_E * mine.probability_E).sum()
            / self.whole.tokens
        )

    def metrics(self) -> dict[str, float]:
        """aux of the last batch, before the coefficient."""
        return {} if self.whole is None else {"aux_loss": float(self.whole.aux())}

    def gather(self, context: Distributed, parts: Sequence[Counts]) -> None:
        """Make the whole batch of the parts of all processes."""
        moved = [
            Counts(part.choices_E.detach().cpu(), part.probability_E.detach().cpu(), part.tokens)
            for part in parts
        ]
        total = functools.reduce(
            operator.add, [part for theirs in context.gather(moved) for part in theirs]
        )
        self.whole = Counts(
            total.choices_E.to(context.device), total.probability_E.to(context.device), total.tokens
        )


def router_loss(
    policy: Any, asked: str, *, language_model: bool = True
) -> tuple[RouterLoss | None, list[str]]:
    """The loss that the policy's config asks for (output_router_logits, with a coefficient above
    zero), and what the reader is told.

    Args:
        policy: the model, with or without an adapter.
        asked: "config" or "off".
        language_model: False for a reward model, to which Hugging Face adds no such loss either.

    Raises:
        ModelError: the config asks for a loss that is not the usual one.
    """
    inner = causal_model(policy)
    config = inner.config.get_text_config()
    names = ("router_aux_loss_coef", "aux_loss_coef")
    coefficient = next(
        (
            float(found)
            for place in (inner, config)
            for name in names
            if (found := getattr(place, name, None))
        ),
        0.0,
    )
    if not coefficient or not hasattr(config, "output_router_logits"):
        return None, []
    if asked == "off" or not config.output_router_logits or not language_model:
        why = (
            "it is a reward model"
            if config.output_router_logits
            else "output_router_logits is off in its config"
        )
        why = "router_aux_loss is off" if asked == "off" else why
        return None, [f"the load-balancing loss of the model's routers is not added: {why}"]
    made = RouterLoss(policy, coefficient, int(getattr(inner, "num_experts_per_tok", 0) or 0))
    problem = _disagrees(made, inner)
    if problem is None:  # the family has no such loss, whatever its config says
        return None, []
    if problem:
        raise ModelError(
            f"{type(inner).__name__} asks for a load-balancing loss that cannot be added: "
            f"{problem}",
            hint=HINT,
        )
    return made, [
        f"router: its load-balancing loss is added with coefficient {coefficient:g} "
        "(router_aux_loss_coef)"
    ]


@torch.no_grad()
def _disagrees(made: RouterLoss, inner: Any) -> str | None:
    """What is wrong with our number on a few tokens beside the model's own; empty where they agree,
    None where it has none.
    """
    ids_NL = torch.arange(24, device=next(inner.parameters()).device).reshape(2, 12) % int(
        inner.config.get_text_config().vocab_size
    )
    was_training = inner.training
    inner.eval()
    try:
        with made.listening():
            theirs = inner(
                input_ids=ids_NL,
                attention_mask=torch.ones_like(ids_NL),
                use_cache=False,
                output_router_logits=True,
            ).aux_loss
            if theirs is None:
                return None
            ours = float(made.counts().aux())
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        inner.train(was_training)
    return (
        ""
        if abs(ours - float(theirs)) <= AGREES * abs(float(theirs))
        else f"{ours:.4g} where the model says {float(theirs):.4g}"
    )


def _weights(kwargs: Mapping[str, Any], logits_LE: Tensor) -> Tensor:
    """How often each token of a forward counts: in a packed row a prompt for each of its answers,
    in padded rows as the mask says.
    """
    layout, mask = kwargs.get("branches"), kwargs.get("attention_mask")
    if isinstance(layout, Layout):
        answers_S = torch.zeros(len(layout.bounds), dtype=torch.long, device=logits_LE.device)
        answers_S.scatter_reduce_(0, layout.segment_L, layout.branch_L, "amax")
        return torch.where(layout.branch_L == 0, answers_S[layout.segment_L], 1).float()
    if torch.is_tensor(mask) and mask.ndim == 2:
        return mask.reshape(-1).float()
    return torch.ones(logits_LE.reshape(-1, logits_LE.shape[-1]).shape[0], device=logits_LE.device)
