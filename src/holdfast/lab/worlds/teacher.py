"""Students that learn from a teacher, many at once: two layers of weights without biases, ReLU
between, one student a seed and learning rate, all in stacks (S, m, n).

Regression: fresh inputs at every step, the teacher's outputs as targets; entries of the gradient
are replaced by outliers with a chance. Labels: a fixed set of inputs, the teacher's argmax as
label, a share of labels drawn at random; counted on unseen inputs against the true labels. The rate
is the best of a sweep for each seed by error on validation inputs; reported is another test set's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi, sqrt

import torch
from torch import Tensor, nn

INPUTS, HIDDEN, OUTPUTS, CLASSES, BATCH = 32, 128, 32, 8, 64
RATES = (3e-3, 1e-2, 2e-2, 4e-2, 1e-1)  # of a regression
LABEL_RATES = (5e-4, 1e-3, 3e-3, 1e-2, 3e-2)
ROWS = 2048  # of the set with labels
Make = Callable[[list[nn.Parameter], float], torch.optim.Optimizer]


@dataclass(frozen=True)
class Arm:
    """An optimizer, made for the weights at one rate, and the norm at which each student's gradient
    is clipped (0: never)."""

    make: Make
    clip: float = 0.0


def weights(seeds: Sequence[int], outputs: int, salt: int) -> list[Tensor]:
    """(S, hidden, inputs) and (S, outputs, hidden), He's initialization."""
    first, second = [], []
    for seed in seeds:
        draw = torch.Generator().manual_seed(1000 * seed + salt)
        first.append(torch.randn(HIDDEN, INPUTS, generator=draw) * sqrt(2 / INPUTS))
        second.append(torch.randn(outputs, HIDDEN, generator=draw) * sqrt(1 / HIDDEN))
    return [torch.stack(first), torch.stack(second)]


def outputs_of(weight: Sequence[Tensor], x_SBI: Tensor) -> Tensor:
    return (x_SBI @ weight[0].mT).relu() @ weight[1].mT


def inputs(seeds: Sequence[int], rows: int, salt: int) -> Tensor:
    draws = [torch.Generator().manual_seed(1000 * seed + salt) for seed in seeds]
    return torch.stack([torch.randn(rows, INPUTS, generator=draw) for draw in draws])


def spoil(gradient: Tensor, draw: torch.Generator, chance: float, size: float) -> None:
    """Replaces entries by +-size standard deviations of the matrix, with that chance."""
    if not size:
        return
    hit = torch.rand(gradient.shape, generator=draw) < chance
    sign = torch.randint(0, 2, gradient.shape, generator=draw) * 2 - 1
    deviation = gradient.std(dim=(-2, -1), keepdim=True)
    gradient.copy_(torch.where(hit, sign * size * deviation, gradient))


def clip(gradients: Sequence[Tensor], norm: float) -> None:
    """Each student's whole gradient to at most that norm."""
    if not norm:
        return
    length_S = sum((g.square().sum(dim=(-2, -1)) for g in gradients), torch.tensor(0.0)).sqrt()
    for g in gradients:
        g.mul_((norm / length_S).clamp(max=1.0)[:, None, None])


def follow(
    arm: Arm,
    start: Sequence[Tensor],
    rate: float,
    steps: int,
    loss_at: Callable[[list[nn.Parameter], int], Tensor],
    *,
    chance: float = 0.0,
    size: float = 0.0,
) -> list[Tensor]:
    """The weights after so many steps: warm-up over a tenth, then a cosine. `loss_at` gives the sum
    of the students' losses, so that each has its own gradient."""
    student = [nn.Parameter(weight.clone()) for weight in start]
    optimizer = arm.make(student, rate)
    draw = torch.Generator().manual_seed(7)
    warm = max(1, steps // 10)
    for step in range(steps):
        done = (step - warm) / max(1, steps - warm)
        scale = (step + 1) / warm if step < warm else 0.5 * (1 + cos(pi * done))
        for group in optimizer.param_groups:
            group["lr"] = rate * scale
        optimizer.zero_grad()
        loss_at(student, step).backward()
        gradients = [weight.grad for weight in student if weight.grad is not None]
        for gradient in gradients:
            spoil(gradient, draw, chance, size)
        clip(gradients, arm.clip)
        optimizer.step()
    return [weight.detach() for weight in student]


def regression(
    arm: Arm, seeds: Sequence[int], *, size: float, chance: float = 0.001, steps: int = 300
) -> list[float]:
    """Relative test error (mean square by the targets' variance) at each seed's best rate."""
    teacher, start = weights(seeds, OUTPUTS, 1), weights(seeds, OUTPUTS, 2)
    batches = inputs(seeds, BATCH * steps, 3).split(BATCH, dim=1)
    variance_S = outputs_of(teacher, inputs(seeds, 2048, 4)).var(dim=(-2, -1))

    def loss_at(student: list[nn.Parameter], step: int) -> Tensor:
        x = batches[step]
        error = (outputs_of(student, x) - outputs_of(teacher, x)).square().mean(dim=(-2, -1))
        return (error / variance_S).sum()

    def error_of(student: Sequence[Tensor], x: Tensor) -> Tensor:
        gap = outputs_of(student, x) - outputs_of(teacher, x)
        return gap.square().mean(dim=(-2, -1)) / variance_S

    return _at_best(
        lambda rate: follow(arm, start, rate, steps, loss_at, chance=chance, size=size),
        error_of,
        seeds,
        RATES,
    )


def labeled(arm: Arm, seeds: Sequence[int], *, noise: float, steps: int = 400) -> list[float]:
    """Share of wrong labels on unseen inputs at each seed's best rate."""
    teacher, start = weights(seeds, CLASSES, 1), weights(seeds, CLASSES, 2)
    x_SNI = inputs(seeds, ROWS, 3)
    label_SN = outputs_of(teacher, x_SNI).argmax(-1)
    draw = torch.Generator().manual_seed(11)
    random_SN = torch.randint(0, CLASSES, label_SN.shape, generator=draw)
    label_SN = label_SN.where(torch.rand(label_SN.shape, generator=draw) >= noise, random_SN)
    order = torch.cat(
        [torch.randperm(ROWS, generator=draw) for _ in range(-(-steps * BATCH // ROWS))]
    )

    def loss_at(student: list[nn.Parameter], step: int) -> Tensor:
        at = order[step * BATCH : (step + 1) * BATCH]
        logits = outputs_of(student, x_SNI[:, at])
        one_S = nn.functional.cross_entropy(logits.mT, label_SN[:, at], reduction="none").mean(-1)
        return one_S.sum()

    def error_of(student: Sequence[Tensor], x: Tensor) -> Tensor:
        wrong = outputs_of(student, x).argmax(-1) != outputs_of(teacher, x).argmax(-1)
        return wrong.float().mean(-1)

    return _at_best(
        lambda rate: follow(arm, start, rate, steps, loss_at), error_of, seeds, LABEL_RATES
    )


@torch.no_grad()
def _at_best(
    run: Callable[[float], list[Tensor]],
    error_of: Callable[[Sequence[Tensor], Tensor], Tensor],
    seeds: Sequence[int],
    rates: Sequence[float],
) -> list[float]:
    validation, test = inputs(seeds, 2048, 5), inputs(seeds, 4096, 6)
    valid_RS, test_RS = [], []
    for rate in rates:
        with torch.enable_grad():
            student = run(rate)
        valid_RS.append(error_of(student, validation).nan_to_num(torch.inf))
        test_RS.append(error_of(student, test).nan_to_num(1e3).clamp(max=1e3))
    best_S = torch.stack(valid_RS).argmin(0)
    found: list[float] = torch.stack(test_RS).gather(0, best_S[None])[0].tolist()
    return found
