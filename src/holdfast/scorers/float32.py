"""Run a model in float32 without a second copy of its weights."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_running: ContextVar[_Float32 | None] = ContextVar("float32", default=None)
HALF = (torch.bfloat16, torch.float16)


@contextmanager
def in_float32(model: torch.nn.Module) -> Iterator[None]:
    """While it lasts, operations outside autocast and on float32 copies of half-precision weights,
    each made where it is read.

    Only the copy that an operation is reading exists: what autograd would keep of it until backward
    is made again there. No gradient reaches the weights themselves. Models in float32 or float64
    only lose their autocast, and matrix products their TF32.
    """
    device = next(model.parameters()).device.type
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device, enabled=False):
            if not any(weight.dtype in HALF for weight in model.parameters()):
                yield
                return
            mode = _Float32()
            token = _running.set(mode)
            try:
                with mode, torch.autograd.graph.saved_tensors_hooks(mode.pack, mode.unpack):
                    yield
            finally:
                _running.reset(token)
    finally:
        torch.set_float32_matmul_precision(precision)


def as_now() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """`context_fn` of `torch.utils.checkpoint`: what ran in float32 does so again in backward,
    which leaves the mode.
    """
    mode = _running.get()
    return nullcontext(), nullcontext() if mode is None else mode


class _Float32(TorchFunctionMode):
    """Every half-precision tensor and dtype that a torch function is given becomes float32."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: dict[
            int, tuple[weakref.ref[Tensor], Tensor]
        ] = {}  # address of a copy's storage -> the copy and its weight

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name == "__get__":  # an attribute such as .dtype, .shape or .T
            found = func(*args, **(kwargs or {}))
            return torch.float32 if found in HALF else found
        if name in ("bfloat16", "half") and isinstance(args[0], Tensor):
            return self._float32(args[0]).float()
        in_place = name in ("__setitem__", "__set__") or (
            name.endswith("_") and not name.endswith("__")
        )
        first = args[:1] if in_place else self._map(args[:1])
        return func(*first, *self._map(args[1:]), **self._map(kwargs or {}))

    def _map(self, tree: Any) -> Any:
        if isinstance(tree, Tensor):
            return self._float32(tree)
        if isinstance(tree, torch.dtype):
            return torch.float32 if tree in HALF else tree
        if type(tree) in (list, tuple):
            return type(tree)(self._map(value) for value in tree)
        if type(tree) is dict:
            return {key: self._map(value) for key, value in tree.items()}
        return tree

    def _float32(self, tensor: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():
            if tensor.dtype not in HALF:
                return tensor
            if not tensor.is_leaf:
                return tensor.float()
            copy = tensor.detach().float()
            self.copies[copy.untyped_storage().data_ptr()] = weakref.ref(copy), tensor
            return copy

    def pack(self, tensor: Tensor) -> Any:
        with torch._C.DisableTorchFunction():
            copy, weight = self.copies.get(tensor.untyped_storage().data_ptr(), (None, None))
            if copy is None or copy() is None:
                return tensor
            return weight, tensor.size(), tensor.stride(), tensor.storage_offset()

    def unpack(self, kept: Any) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        weight, size, stride, offset = kept
        with torch._C.DisableTorchFunction():
            made: Tensor = weight.detach().float().as_strided(size, stride, offset)
            return made
