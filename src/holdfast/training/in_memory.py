"""A reference that stays in memory, because it must be run at every step."""

from __future__ import annotations

import copy

from torch import nn

from holdfast.errors import ModelError, OptionError, RunError
from holdfast.scorers.live import InMemoryReference
from holdfast.training.distributed import Distributed
from holdfast.training.model import is_adapter
from holdfast.training.reference import ADAPTER_OFF
from holdfast.training.request import RunRequest


def in_memory_reference(
    context: Distributed, request: RunRequest, model: nn.Module, *, fresh_adapter: bool
) -> InMemoryReference | None:
    """The reference, on the device, if the task keeps it in memory for this method. To be called
    before the first step and before a checkpoint moves in.

    Args:
        context: the processes.
        request: names the reference; None is the model as it is now.
        model: what is trained, as it is before training.
        fresh_adapter: whether it has an adapter that was made for this run: with it off, the model
            is its own reference.

    Raises:
        RunError: the model is sharded over processes.
        ModelError: the reference is an adapter that is not there.
        OptionError: the reference is the very model that is trained.
    """
    method = request.method
    if not request.task.keeps_reference(method):
        return None
    if context.sharded:
        raise RunError(
            f"{method.name} keeps its reference in memory, which FSDP does not allow here",
            hint="use DDP, or one process",
        )
    reference = _frozen(request, model, fresh_adapter)
    reference.model.to(context.device)
    return reference


def _frozen(request: RunRequest, model: nn.Module, fresh_adapter: bool) -> InMemoryReference:
    asked = request.reference
    off = isinstance(asked, str) and asked == ADAPTER_OFF
    if off and not is_adapter(model):
        raise ModelError(
            "reference='adapter-off', but the model has no adapter",
            hint="set lora_rank, or leave reference out",
        )
    if off or (asked is None and fresh_adapter):
        return InMemoryReference(model, adapter_off=True)
    made = copy.deepcopy(model) if asked is None else request.task.load(asked, request.options)
    if made is model:
        raise OptionError(
            "reference is the very model that is trained",
            hint="leave reference out: the policy before training is the default",
        )
    return InMemoryReference(made.requires_grad_(False).eval())
