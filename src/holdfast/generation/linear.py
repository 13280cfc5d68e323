"""Linear layers through oneDNN with weights laid out for it, while answers are generated on CPU in
float32.

PyTorch sends float32 products on CPU to MKL, which runs at less than half the speed of oneDNN on
processors that are not Intel's. A row of a oneDNN product is also the same, bit for bit, whatever
the number of rows (from two on), which MKL's is not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

ROWS = 64  # the number of rows that the layout is made for; any number works


@contextlib.contextmanager
def packed_linears(model: nn.Module) -> Iterator[None]:
    """Within, linear layers of float32 on CPU use a copy of their weights, made now: weights that
    change meanwhile are not seen.
    """
    packed: list[Any] = (
        [module for module in model.modules() if _packable(module)]
        if torch.backends.mkldnn.is_available()
        else []
    )
    for module in packed:
        weight = module.weight if isinstance(module, nn.Linear) else module.weight.T
        module.forward = _product(weight.detach().contiguous(), module.bias)
    try:
        yield
    finally:
        for module in packed:
            del module.forward


def _packable(module: Any) -> bool:
    if type(module) not in (nn.Linear, Conv1D) or "forward" in module.__dict__:
        return False
    return (
        type(module.weight) is nn.Parameter
        and module.weight.device.type == "cpu"
        and module.weight.dtype == torch.float32
    )


def _product(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    linear = torch.ops.mkldnn._linear_pointwise.default
    laid_out = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
    bias = None if bias is None else bias.detach()

    def forward(x: Tensor) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            return nn.functional.linear(x, weight, bias)
        out: Tensor = linear(x, laid_out, bias, "none", [], "")
        return out

    return forward
