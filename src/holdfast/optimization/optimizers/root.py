"""ROOT: Muon with coefficients that fit the shape, and without the outliers of the gradient
(arXiv:2511.20626).

Muon turns a momentum matrix into (nearly) its polar factor, so every direction of the matrix moves
by the same length. Two things go wrong: five Newton-Schulz rounds with one set of coefficients end
near 1 only for some shapes, and a few outlying entries of a gradient are spread over all
directions. For a weight W (m x n) with gradient g:

    M <- mu M + (1 - mu) g,   u = mu M + (1 - mu) g           Nesterov; else u = M
    B = u - sign(u) max(|u| - t, 0) = clamp(u, -t, t)         soft threshold: outliers are dropped
    W <- (1 - lr wd) W - lr 0.2 sqrt(max(m, n)) NS(B)         NS: `newton_schulz.orthogonalize`

The threshold t is the 0.9-quantile of |u| in this matrix at this step, so the step does not depend
on the scale of the gradient. The factor gives the update the root mean square of AdamW's (0.2), so
that AdamW's learning rates serve.

Departures from the paper's code:

1. coefficients come from a table for all shapes (`coefficients`), not for four;
2. products are computed in bfloat16 as in torch's Muon (`dtype=None`: in the parameter's own);
3. of a matrix with more than 4,096 entries the quantile is taken over about 4,096, evenly spaced:
   the share that is clamped is 10% to within 0.5 points (one standard deviation);
4. where the quantile is 0 (nine in ten entries are 0) nothing is clamped; there the code puts the
   sign of the momentum in the momentum's place;
5. a Frobenius norm below 1e-7 counts as 1e-7, as in Muon, where the code adds 1e-7;
6. the momentum is a mean, as in Muon, where the code sums: its scale drops out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import gcd, isfinite, sqrt
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from holdfast.errors import OptionError, shown
from holdfast.optimization.optimizers.coefficients import coefficients_for
from holdfast.optimization.optimizers.newton_schulz import EPS, STEPS, orthogonalize

SAMPLE = 4096  # entries that a quantile is taken over
# entries of matrices of one shape that are orthogonalized together: on CPU what stays in its cache
BATCH = {"cpu": 2**18}
BATCH_ELSEWHERE = 2**24


class ROOT(torch.optim.Optimizer):
    """ROOT for the matrices of hidden layers; everything else needs another optimizer (see
    `optimizers.build`).

    Args:
        params: matrices, or stacks of them (..., m, n), each matrix of a stack on its own.
        lr: learning rate, AdamW's.
        weight_decay: decoupled; multiplies `lr` alone, not the factor of the shape.
        momentum: mu.
        nesterov: look one step ahead.
        quantile: where outliers begin; 1 drops none.
        ns_coefficients: a, b, c for every shape instead of the table's; Muon's are
            `newton_schulz.MUON`.
        ns_steps: rounds of Newton-Schulz.
        eps: lower bound of the Frobenius norm that is divided by.
        dtype: of the Newton-Schulz products; None for the parameter's own.

    Raises:
        OptionError: a value out of range, a parameter that is no matrix or is complex; at `step`, a
            sparse gradient.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        *,
        nesterov: bool = True,
        quantile: float = 0.9,
        ns_coefficients: Sequence[float] | None = None,
        ns_steps: int = STEPS,
        eps: float = EPS,
        dtype: torch.dtype | None = torch.bfloat16,
    ) -> None:
        self.dtype = dtype
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "quantile": quantile,
            "ns_coefficients": None if ns_coefficients is None else list(ns_coefficients),
            "ns_steps": ns_steps,
            "eps": eps,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refuses what cannot be optimized before it is taken in."""
        group = {**self.defaults, **param_group}
        for name, (says, holds) in RANGES.items():
            value = group[name]
            if not holds(value):
                raise OptionError(f"ROOT: {name} must be {says}, not {shown(value)}")
        listed = param_group["params"]
        listed = [listed] if isinstance(listed, Tensor) else list(listed)
        for each in listed:
            name, parameter = each if isinstance(each, tuple) else ("a parameter", each)
            if not isinstance(parameter, Tensor):
                continue  # torch says what it is
            if parameter.ndim < 2 or not parameter.is_floating_point():
                raise OptionError(
                    f"ROOT orthogonalizes real matrices, and {name} has shape "
                    f"{tuple(parameter.shape)} and type {parameter.dtype}",
                    hint="give it to AdamW; `holdfast.optimization.optimizers.build` does so",
                )
        super().add_param_group({**param_group, "params": listed})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step. Returns what `closure` returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if moved:
                self._step(group, moved)
        return loss

    def _step(self, group: dict[str, Any], moved: list[Tensor]) -> None:
        gradients: list[Tensor] = []
        for parameter in moved:
            gradient = parameter.grad
            assert gradient is not None
            if gradient.layout != torch.strided:
                raise OptionError(
                    f"ROOT cannot use a sparse gradient (of a parameter of shape "
                    f"{tuple(parameter.shape)})",
                    hint="sparse=False on the embedding, and embeddings to AdamW",
                )
            gradients.append(gradient)
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(
                    parameter, memory_format=torch.preserve_format
                )
        momentum = [self.state[parameter]["momentum_buffer"] for parameter in moved]
        torch._foreach_lerp_(momentum, gradients, 1 - group["momentum"])
        update = momentum
        if group["nesterov"]:
            update = list(torch._foreach_lerp(gradients, momentum, group["momentum"]))
        rate = float(group["lr"])
        if group["weight_decay"]:
            torch._foreach_mul_(moved, 1 - rate * group["weight_decay"])
        self._move(update, moved, group, rate)

    def _move(
        self, update: Sequence[Tensor], moved: Sequence[Tensor], group: dict[str, Any], rate: float
    ) -> None:
        """Matrices of one shape, either way round, are clamped and orthogonalized together."""
        whole = [u.full_tensor() if isinstance(u, DTensor) else u for u in update]
        for (m, n, *_), members in _alike(whole).items():
            abc = group["ns_coefficients"] or coefficients_for(m, n)
            factor = -rate * 0.2 * sqrt(max(m, n))
            for some in _batches(members, whole):
                stacks = [whole[i].reshape(-1, *whole[i].shape[-2:]) for i in some]
                wide = [x if x.shape[-2:] == (m, n) else x.mT for x in stacks]
                counts = [len(x) for x in wide]
                first = wide[0]
                together = first.new_empty(sum(counts), m, n, dtype=self.dtype or first.dtype)
                torch._foreach_copy_(list(together.split(counts)), wide)
                clamp_outliers_(together, group["quantile"])
                moves = orthogonalize(together, abc, steps=group["ns_steps"], eps=group["eps"])
                for i, x in zip(some, moves.split(counts), strict=True):
                    x = x if whole[i].shape[-2:] == (m, n) else x.mT
                    moved[i].add_(_placed(x.reshape(whole[i].shape), moved[i]), alpha=factor)


def clamp_outliers_(update: Tensor, quantile: float) -> Tensor:
    """Takes the outliers of each (m, n) of (N, m, n), in place: clamps it at that quantile of its
    absolute entries, linearly interpolated.
    """
    if quantile == 1:
        return update
    size_N = update.flatten(1)
    size_N = size_N[:, :: _stride(size_N.shape[1], update.shape[-1])].abs()
    place = quantile * (size_N.shape[1] - 1)
    below = int(place)  # in ascending order; the two values about the place are the least of
    largest = size_N.topk(size_N.shape[1] - below, dim=1, sorted=False).values
    least = largest.topk(min(2, largest.shape[1]), dim=1, largest=False).values
    threshold = least[:, 0].lerp(least[:, -1], place - below)
    threshold = threshold.where(threshold > 0, torch.inf)[:, None, None]
    return update.clamp_(-threshold, threshold)


def _stride(entries: int, columns: int) -> int:
    """The step through a matrix that leaves about SAMPLE entries and meets every column."""
    step = max(1, entries // SAMPLE)
    while gcd(step, columns) != 1:
        step += 1
    return step


def _alike(matrices: Sequence[Tensor]) -> dict[tuple[Any, ...], list[int]]:
    """(rows, columns, device, type) -> which, the fewer rows whichever way round."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for i, x in enumerate(matrices):
        found.setdefault((*sorted(x.shape[-2:]), x.device, x.dtype), []).append(i)
    return found


def _batches(members: Sequence[int], whole: Sequence[Tensor]) -> list[list[int]]:
    """Up to BATCH entries together; one larger matrix alone."""
    most = BATCH.get(whole[members[0]].device.type, BATCH_ELSEWHERE)
    batches: list[list[int]] = []
    size = 0
    for i in members:
        size += whole[i].numel()
        if not batches or size > most:
            batches.append([])
            size = whole[i].numel()
        batches[-1].append(i)
    return batches


def _placed(move: Tensor, like: Tensor) -> Tensor:
    """A move as its parameter lies: each process of a sharded one takes its own part."""
    if not isinstance(like, DTensor):
        return move
    return distribute_tensor(move, like.device_mesh, like.placements, src_data_rank=None)


def _real(value: Any) -> bool:
    return isinstance(value, int | float | Tensor) and isfinite(float(value))


RANGES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "lr": ("a number of at least 0", lambda x: _real(x) and float(x) >= 0),
    "weight_decay": ("a number of at least 0", lambda x: _real(x) and x >= 0),
    "momentum": ("at least 0 and below 1", lambda x: _real(x) and 0 <= x < 1),
    "quantile": ("above 0 and at most 1", lambda x: _real(x) and 0 < x <= 1),
    "ns_steps": ("a whole number of at least 1", lambda x: isinstance(x, int) and x >= 1),
    "eps": ("a number above 0", lambda x: _real(x) and x > 0),
    "ns_coefficients": (
        "three finite numbers",
        lambda x: x is None or (len(x) == 3 and all(_real(each) for each in x)),
    ),
}
