"""A network from preferences to solutions, trained on a surrogate, and the batch it proposes.

One loop for plain Pareto set learning and for SVH-PSL: they differ in how a preference scalarizes
the objectives and in the direction that is descended, a value each.

Departures of SVH-PSL from its released code, which differs between methods in more than the method:

1. The confidence bound subtracts kappa times the deviation, in every method (the code of SVH-PSL
   subtracts kappa times the variance).
2. Objectives are standardized on every problem.
3. The Gaussian processes are botorch's, fitted by L-BFGS under its priors.
4. The gradient with respect to parameters is taken as the product of the network's and the
   surrogate's, one pass of the surrogate a step instead of one a preference: the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from holdfast.card import check
from holdfast.optimization.pareto.hypervolume import nondominated
from holdfast.optimization.pareto.problem import Floats
from holdfast.optimization.pareto.stein import Kernel, attraction, unit_columns
from holdfast.optimization.pareto.surrogate import Surrogate

LEAST_PREFERENCE = 1e-4  # added to draws: the quotient divides by them
WIDTH = 256
Scalarization = Callable[[Tensor, Tensor, Tensor], Tensor]  # r_NM, v_NM, z_M -> s_N


def check_whole(name: str, value: Any, least: int) -> None:
    """Refuse a count that is none."""
    must = f"be a whole number, at least {least}"
    check(name, value, lambda: int(value) == value >= least, must)


def network(objectives: int, variables: int, width: int = WIDTH) -> nn.Sequential:
    """h(r): preferences to points of [0, 1]^D."""
    return nn.Sequential(
        nn.Linear(objectives, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, variables),
        nn.Sigmoid(),
    ).double()


def product(r_NM: Tensor, v_NM: Tensor, z_M: Tensor) -> Tensor:
    """max_j r_j (v_j - z_j): SVH-PSL."""
    return (r_NM * (v_NM - z_M)).max(1).values


def quotient(r_NM: Tensor, v_NM: Tensor, z_M: Tensor) -> Tensor:
    """max_j (v_j - z_j) / r_j + 0.01 sum_j v_j: PSL-MOBO."""
    return ((v_NM - z_M) / r_NM).max(1).values + 0.01 * v_NM.sum(1)


def preferences(count: int, objectives: int, generator: torch.Generator) -> Tensor:
    """Uniform on the simplex, moved off its edges."""
    drawn = torch.empty(count, objectives, dtype=torch.float64)
    drawn = drawn.exponential_(generator=generator)
    return drawn / drawn.sum(1, keepdim=True) + LEAST_PREFERENCE


@dataclass(frozen=True)
class PlainStep:
    """PSL-MOBO: each preference's gradient with respect to x at unit length, then through the
    network.
    """

    def set_gradients(self, net: nn.Module, r_NM: Tensor, slope_ND: Tensor, v: VOf) -> None:
        unit_ND = slope_ND / slope_ND.norm(dim=1, keepdim=True).clamp_min(1e-12)
        net(r_NM).backward(unit_ND)


@dataclass(frozen=True)
class SteinStep:
    """SVH-PSL: kernel-weighted gradients, normalized over preferences, and repulsion."""

    kernel: Kernel
    alpha: float = 1e-3

    def __post_init__(self) -> None:
        check("alpha", self.alpha, lambda: 0 <= self.alpha < np.inf, "be at least 0")

    def set_gradients(self, net: nn.Module, r_NM: Tensor, slope_ND: Tensor, v: VOf) -> None:
        names = [name for name, _ in net.named_parameters()]
        values = {name: value.detach() for name, value in net.named_parameters()}

        def along(weights: dict[str, Tensor], r_M: Tensor, slope_D: Tensor) -> Tensor:
            return functional_call(net, weights, (r_M,)) @ slope_D

        each = vmap(grad(along), in_dims=(None, 0, 0))(values, r_NM, slope_ND)
        g_NP = torch.cat([each[name].flatten(1) for name in names], dim=1)
        x_ND = net(r_NM)
        kernel_NN = self.kernel(v(x_ND))
        if self.alpha:
            (self.alpha / len(r_NM) * kernel_NN.sum()).backward()
        step_P = attraction(kernel_NN, unit_columns(g_NP))
        at = 0
        for parameter in net.parameters():
            part = step_P[at : at + parameter.numel()].view_as(parameter)
            parameter.grad = part.clone() if parameter.grad is None else parameter.grad + part
            at += parameter.numel()


VOf = Callable[[Tensor], Tensor]  # x_ND -> v_NM
Step = PlainStep | SteinStep


@dataclass(frozen=True)
class SetLearning:
    """What a set-learning method is.

    Attributes:
        scalarization: of objectives by a preference
        step: the direction descended
        steps: of the network, each time it proposes
        drawn: preferences a step
        lr: Adam's rate
        kappa: of the lower confidence bound
        best_weights: keep the weights whose predicted hypervolume was highest, looked at after
            every `look` steps
        polish: length of one more descent step of each candidate; 0 for none
        candidates: that a batch is selected from
        look: see `best_weights`
    """

    scalarization: Scalarization
    step: Step
    steps: int = 1000
    drawn: int = 10
    lr: float = 1e-3
    kappa: float = 0.1
    best_weights: bool = False
    polish: float = 0.0
    candidates: int = 1000
    look: int = 10

    def __post_init__(self) -> None:
        for name in ("steps", "drawn", "candidates", "look"):
            check_whole(name, getattr(self, name), 1)
        check("drawn", self.drawn, self.drawn >= 2, "be at least 2: kernels compare preferences")
        check("lr", self.lr, lambda: 0 < self.lr < np.inf, "be above 0")
        check("kappa", self.kappa, lambda: 0 <= self.kappa < np.inf, "be at least 0")
        check("polish", self.polish, lambda: 0 <= self.polish < np.inf, "be at least 0")


def utopia(surrogate: Surrogate) -> Tensor:
    """z_M: the least of 0 and 0.1 below each objective's best."""
    return (surrogate.y_NM.min(0).values - 0.1).clamp_max(0.0)


def learn(method: SetLearning, surrogate: Surrogate, generator: torch.Generator) -> nn.Sequential:
    """The network, trained from new weights on a frozen surrogate."""
    objectives, variables = surrogate.y_NM.shape[1], surrogate.x_ND.shape[1]
    net = network(objectives, variables)
    _initialize(net, generator)
    z_M = utopia(surrogate)
    optimizer = torch.optim.Adam(net.parameters(), lr=method.lr)
    fixed = preferences(100 * objectives, objectives, generator)
    best, best_volume = None, -np.inf

    def v(x_ND: Tensor) -> Tensor:
        return surrogate.lower_bound(x_ND, method.kappa)

    for n in range(method.steps):
        r_NM = preferences(method.drawn, objectives, generator)
        x_ND = net(r_NM).detach().requires_grad_()
        cost = method.scalarization(r_NM, v(x_ND), z_M).sum()
        slope_ND = torch.autograd.grad(cost, x_ND)[0]
        optimizer.zero_grad()
        method.step.set_gradients(net, r_NM, slope_ND, v)
        optimizer.step()
        if method.best_weights and ((n + 1) % method.look == 0 or n + 1 == method.steps):
            with torch.no_grad():
                volume = _predicted_volume(surrogate, v(net(fixed)))
            if volume > best_volume:
                best = {name: value.clone() for name, value in net.state_dict().items()}
                best_volume = volume
    if best is not None:
        net.load_state_dict(best)
    return net


def _initialize(net: nn.Sequential, generator: torch.Generator) -> None:
    """torch's own for Linear, from this generator alone."""
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, nn.Linear):
                bound = layer.in_features**-0.5
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)


def _predicted_volume(surrogate: Surrogate, v_CM: Tensor) -> float:
    """Hypervolume of candidates' bounds, at the worst value among the evaluations."""
    from botorch.utils.multi_objective.hypervolume import Hypervolume

    reference_M = surrogate.y_NM.max(0).values
    kept = v_CM[torch.as_tensor(nondominated(v_CM.numpy()))]
    return float(Hypervolume(-reference_M).compute(-kept))


def propose(
    method: SetLearning, surrogate: Surrogate, batch: int, generator: torch.Generator
) -> tuple[Floats, nn.Sequential]:
    """A batch x_BD of [0, 1]^D, chosen greedily by predicted hypervolume, and the network."""
    net = learn(method, surrogate, generator)
    r_CM = preferences(method.candidates, surrogate.y_NM.shape[1], generator)
    x_CD = net(r_CM).detach()
    if method.polish:
        x_CD.requires_grad_()
        v_CM = surrogate.lower_bound(x_CD, method.kappa)
        cost = method.scalarization(r_CM, v_CM, utopia(surrogate)).sum()
        slope_CD = torch.autograd.grad(cost, x_CD)[0]
        unit_CD = slope_CD / slope_CD.norm(dim=1, keepdim=True).clamp_min(1e-12)
        x_CD = (x_CD.detach() - method.polish * unit_CD).clamp(0.0, 1.0)
    with torch.no_grad():
        v_CM = surrogate.lower_bound(x_CD, method.kappa)
    chosen = greedy(v_CM.numpy(), surrogate.y_NM.numpy(), batch)
    return x_CD.numpy()[chosen], net


def greedy(v_CM: Floats, y_NM: Floats, batch: int) -> list[int]:
    """Candidates, one at a time, that add most to the hypervolume of what was evaluated and chosen
    so far, below the worst of both sets. Those chosen already come last, so a batch repeats no
    candidate unless it is larger than their number.
    """
    from botorch.utils.multi_objective.box_decompositions import FastNondominatedPartitioning

    reference = torch.as_tensor(-np.maximum(v_CM.max(0), y_NM.max(0)))
    have, value = torch.as_tensor(-y_NM), torch.as_tensor(-v_CM)
    chosen: list[int] = []
    for _ in range(batch):
        cells = FastNondominatedPartitioning(reference, have).get_hypercell_bounds()
        low_KM, high_KM = cells[0], cells[1]
        sides = (torch.minimum(value[:, None], high_KM) - low_KM).clamp_min(0.0)
        gain_C = sides.prod(-1).sum(-1)
        gain_C[[c for c in chosen if len(chosen) < len(value)]] = -1.0
        chosen.append(int(gain_C.argmax()))
        have = torch.cat([have, value[chosen[-1:]]])
    return chosen
