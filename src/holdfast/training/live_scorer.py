"""The scorer of a run: plain for most methods; with the reference in memory, or with a head, for
those whose card asks for them.
"""

from __future__ import annotations

import copy
from typing import Any

from holdfast.card import Method
from holdfast.errors import ModelError, OptionError, RunError
from holdfast.inputs.base import TokenValue
from holdfast.inputs.prompts import COPY
from holdfast.models.load import load_policy
from holdfast.scorers.branches import BranchScorer, Path
from holdfast.scorers.live import LiveScorer, Standing
from holdfast.scorers.plain import causal_model
from holdfast.training.distributed import Distributed
from holdfast.training.model import is_adapter
from holdfast.training.reference import ADAPTER_OFF
from holdfast.training.task import Task
from holdfast.types import Tokenized


def scorer_for(
    method: Method,
    task: Task,
    context: Distributed,
    policy: Any,
    *,
    asked: Any,
    fresh_adapter: bool,
    path: Path,
    trust_remote_code: bool,
) -> BranchScorer:
    """To be called before the first step and before a checkpoint moves in.

    Args:
        method: whose needs and head are to be met.
        task: what is trained.
        context: the processes.
        policy: as it is before training.
        asked: `reference=` as it was given; None for the policy as it is now.
        fresh_adapter: whether the policy has an adapter that was made for this run: with it off,
            the policy is its own reference.
        path: "packed" or "plain".
        trust_remote_code: run code that comes with a reference model.

    Raises:
        RunError: the reference must stay in memory and the policy is sharded over processes.
        ModelError: the reference has another vocabulary than the policy.
        OptionError: the reference is the very model that is trained, or an adapter that is not
            there.
    """
    if not needs_live(method):
        return task.scorer(policy, path=path)
    reference = None
    if needs_reference(method):
        if context.sharded:
            raise RunError(
                f"{method.name} keeps its reference in memory, which FSDP does not allow here",
                hint="use DDP, or one process",
            )
        reference = _standing(policy, asked, fresh_adapter, trust_remote_code)
        reference.model.to(context.device)
        _refuse_other_words(method, policy, reference)
    return LiveScorer(
        policy, wants=method.card.needs, reference=reference, head=method.head, path=path
    ).to(context.device)


def needs_live(method: Method) -> bool:
    return method.head is not None or needs_reference(method)


def needs_reference(method: Method) -> bool:
    return bool(_in_memory(method)) or (method.head is not None and method.head.of == "reference")


def _in_memory(method: Method) -> list[TokenValue]:
    """Inputs that only a reference in memory can give."""
    return [need for need in method.card.needs if isinstance(need, TokenValue) and need.in_memory]


def kept_in_memory(method: Method) -> list[str]:
    """What the reader is told of it."""
    if not needs_reference(method):
        return []
    read = " and ".join(
        [*(need.name for need in _in_memory(method)), *(["a head"] if method.head else [])]
    )
    return [
        f"the reference stays in memory and is run at every step: {method.name} reads "
        f"{read} from it, which no cache could hold"
    ]


def compared(item: Tokenized) -> Tokenized:
    """The branches that a reference is asked about: all but copies made for a head, which no
    log-ratio reads.
    """
    return item.only([name for name in item.answers if COPY not in name])


def _standing(policy: Any, asked: Any, fresh_adapter: bool, trust_remote_code: bool) -> Standing:
    off = isinstance(asked, str) and asked == ADAPTER_OFF
    if off and not is_adapter(policy):
        raise ModelError(
            "reference='adapter-off', but the model has no adapter",
            hint="set lora_rank, or leave reference out",
        )
    if off or (asked is None and fresh_adapter):
        return Standing(policy, adapter_off=True)
    model = (
        copy.deepcopy(policy)
        if asked is None
        else load_policy(asked, trust_remote_code=trust_remote_code)
    )
    if model is policy:
        raise OptionError(
            "reference is the very model that is trained",
            hint="leave reference out: the policy before training is the default",
        )
    return Standing(model.requires_grad_(False).eval())


def _refuse_other_words(method: Method, policy: Any, reference: Standing) -> None:
    ours, theirs = (
        causal_model(model).config.get_text_config().vocab_size
        for model in (policy, reference.model)
    )
    if ours != theirs:
        raise ModelError(
            f"{method.name} compares policy and reference token by token; they have "
            f"{ours} and {theirs} tokens",
            hint=(
                "a reference of the same family, or none: the policy before training is the default"
            ),
        )
