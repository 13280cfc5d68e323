"""Muon or ROOT for the hidden matrices of a model and AdamW for the rest, as one optimizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from holdfast.errors import OptionError
from holdfast.optimization.optimizers.root import ROOT
from holdfast.optimization.optimizers.routing import Orthogonal, left_to_adamw
from holdfast.optimization.optimizers.together import Together


def build(
    model: nn.Module,
    optimizer: Orthogonal = "root",
    *,
    lr: float = 1e-3,
    weight_decay: float = 0.1,
    momentum: float = 0.95,
    quantile: float = 0.9,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-8,
) -> Together:
    """An optimizer for the whole model: `optimizer` for its hidden matrices, AdamW at the same
    learning rate for the rest (`routing.left_to_adamw` says which and why).

    Args:
        model: frozen parameters are left out.
        optimizer: "root", or torch's "muon".
        lr, weight_decay: of both; vectors and scalars do not decay.
        momentum: of the matrices.
        quantile: where outliers begin; ROOT's alone.
        betas, eps: AdamW's.

    Raises:
        OptionError: no hidden matrix is trained, or a value is out of range.
    """
    why = left_to_adamw(model, optimizer)
    trained = {name: p for name, p in model.named_parameters() if name in why}
    matrices = [p for name, p in trained.items() if why[name] is None]
    others = [p for name, p in trained.items() if why[name] is not None]
    groups = [
        {"params": [p for p in others if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0},
    ]
    return together(
        optimizer,
        [{"params": matrices, "lr": lr, "weight_decay": weight_decay}],
        [{**group, "lr": lr, "betas": betas, "eps": eps} for group in groups],
        momentum=momentum,
        quantile=quantile,
    )


def together(
    optimizer: Orthogonal,
    matrices: Iterable[Mapping[str, Any]],
    others: Iterable[Mapping[str, Any]],
    *,
    momentum: float,
    quantile: float,
) -> Together:
    """`optimizer` on the groups of matrices, AdamW on the other groups; empty groups are left
    out.

    Raises:
        OptionError: no group of matrices holds any.
    """
    ours, theirs = _filled(matrices), _filled(others)
    if not ours:
        raise OptionError(
            f"{optimizer} orthogonalizes matrices of hidden layers, and none is trained here",
            hint="train with adamw, or unfreeze a hidden layer",
        )
    parts: list[torch.optim.Optimizer] = [
        ROOT(ours, momentum=momentum, quantile=quantile)
        if optimizer == "root"
        else torch.optim.Muon(ours, momentum=momentum, adjust_lr_fn="match_rms_adamw")
    ]
    if theirs:
        parts.append(torch.optim.AdamW(theirs, fused=True))
    return Together(parts)


def _filled(groups: Iterable[Mapping[str, Any]]) -> Sequence[dict[str, Any]]:
    return [dict(group) for group in groups if group["params"]]
