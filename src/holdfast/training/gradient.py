"""The gradient of one whole batch, however many microbatches and processes it is spread over.

The total of a batch is R(c_1, ..., c_N): a reduction of costs, each a function of
log-probabilities. Two routes lead to its gradient, and what the method and the reduction declare
decides which:

    one pass     the weights p_i = dR/dc_i are known before the costs are, and c_i depends on row i
                 alone: each microbatch backpropagates
                 sum_i p_i c_i, and the sum over microbatches is the gradient.
    two passes   otherwise: score everything without gradient, take g = dR/d logp_NT on the whole
                 batch, score again, microbatch by microbatch, and backpropagate sum(g * logp_NT).
                 The chain rule: still the gradient, whatever R is. Likewise for whatever else of a
                 `Scored` carries a gradient: divergences, and what a head says.

A batch that fits one microbatch of one process needs neither. The exact gradient costs a second
forward only where it must. The load-balancing loss of a mixture of experts, where there is one, is
of the whole batch too, and always needs two passes (`router.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from holdfast.card import Method, Reduction, State, costs, initial_memory
from holdfast.inputs.row_weights import mean_length
from holdfast.scorers.assemble import assemble
from holdfast.scorers.reference import attach
from holdfast.training.batching import Microbatch
from holdfast.training.distributed import Distributed
from holdfast.training.examples import Examples
from holdfast.training.router import RouterLoss
from holdfast.types import Batch, Scored, Tokenized


@dataclass(frozen=True)
class MethodState:
    """What is carried from batch to batch: the reduction's state and the method's own memory, trees
    of tensors.
    """

    reduction: State
    method: State


@dataclass(frozen=True)
class BoundObjective:
    """What is asked of every batch: the method at its settings, the reduction, and the names of
    groups and raters.
    """

    method: Method
    settings: Mapping[str, Any]
    reduction: Reduction
    groups: Sequence[str] = ()
    raters: Sequence[str | None] = ()

    def first_state(self) -> MethodState:
        return MethodState(
            self.reduction.init(), initial_memory(self.method, max(1, len(self.raters)))
        )

    def batch(self, parts: Mapping[str, Scored], examples: Examples) -> Batch:
        parts = parts if examples.reference is None else attach(parts, examples.reference)
        needs = self.method.card.needs
        return assemble(self.method.takes, parts, examples.rows, self.groups, self.raters, needs)

    def costs(
        self, batch: Batch, state: MethodState, mean_length: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """cost_N, and what the method remembers after a whole batch. Of a microbatch, `mean_length`
        is the whole batch's.
        """
        return costs(self.method, batch, self.settings, state.method, mean_length)

    @property
    def adds_up(self) -> bool:
        """Whether microbatches can be judged alone."""
        return self.reduction.linear and not self.method.card.coupled


@dataclass(frozen=True)
class BatchResult:
    """The whole batch, scored and judged, without gradient. `adversary_N` is d total / d cost_N."""

    batch: Batch
    cost_N: Tensor
    total: Tensor
    adversary_N: Tensor
    state: MethodState


def gradient(
    context: Distributed,
    scorer: nn.Module,
    objective: BoundObjective,
    examples: Examples,
    state: MethodState,
    shards: Sequence[Sequence[Microbatch]],
    router: RouterLoss | None = None,
) -> BatchResult:
    """Leave d total / d weights in `.grad`, and say what the batch was. `shards` is
    `batching.split` of these examples; `router` adds a loss of its own to the gradient, and not to
    the total.
    """
    mine = shards[context.rank]
    with nullcontext() if router is None else router.listening():
        if len(mine) == 1 and context.size == 1:
            return _direct(scorer, objective, examples, state, router)
        route = _one_pass if objective.adds_up else _two_passes
        return route(context, scorer, objective, examples, state, shards, router)


def score_batch(
    context: Distributed,
    scorer: nn.Module,
    items: Sequence[Tokenized],
    shards: Sequence[Sequence[Microbatch]],
) -> dict[str, Scored]:
    """Score a batch without gradient, each process its own microbatches, and put the parts of all
    together.
    """
    with torch.no_grad():
        mine = [scorer([items[i] for i in micro.positions]) for micro in shards[context.rank]]
    return _together(context, mine, shards)


def evaluate_batch(
    objective: BoundObjective, parts: Mapping[str, Scored], examples: Examples, state: MethodState
) -> BatchResult:
    """Cost and total of a batch that is already scored."""
    batch = objective.batch(parts, examples)
    cost_N, method_state = objective.costs(batch, state)
    cost_N = cost_N.detach().requires_grad_()
    total, reduction_state = objective.reduction.apply(cost_N, batch, state.reduction)
    (adversary_N,) = torch.autograd.grad(total, cost_N)
    return BatchResult(
        batch,
        cost_N.detach(),
        total.detach(),
        adversary_N,
        MethodState(_detached(reduction_state), _detached(method_state)),
    )


def _direct(
    scorer: nn.Module,
    objective: BoundObjective,
    examples: Examples,
    state: MethodState,
    router: RouterLoss | None,
) -> BatchResult:
    parts = scorer(examples.items)
    batch = objective.batch(parts, examples)
    cost_N, method_state = objective.costs(batch, state)
    total, reduction_state = objective.reduction.apply(cost_N, batch, state.reduction)
    (adversary_N,) = torch.autograd.grad(total, cost_N, retain_graph=True)
    (total if router is None else total + router.alone()).backward()
    kept = objective.batch(
        {name: part.each(Tensor.detach) for name, part in parts.items()}, examples
    )
    return BatchResult(
        kept,
        cost_N.detach(),
        total.detach(),
        adversary_N,
        MethodState(_detached(reduction_state), _detached(method_state)),
    )


def _one_pass(
    context: Distributed,
    scorer: nn.Module,
    objective: BoundObjective,
    examples: Examples,
    state: MethodState,
    shards: Sequence[Sequence[Microbatch]],
    router: RouterLoss | None,
) -> BatchResult:
    rng = iter(
        ()
        if router is None
        else _first_pass(context, scorer, examples, shards[context.rank], router)[1]
    )
    weight_N, length = _known_before(objective, examples, state.reduction, context.device)

    def loss_of(parts: dict[str, Scored], micro: Microbatch) -> Tensor:
        part_examples = examples.take(micro.positions)
        cost_n, _ = objective.costs(
            objective.batch(parts, part_examples), state, length
        )  # remembered once, of the whole batch
        weight_n = weight_N[list(micro.positions)]
        return torch.where(weight_n > 0, weight_n * cost_n, 0.0).sum()

    parts = _backward(
        context,
        scorer,
        examples,
        shards[context.rank],
        loss_of,
        router,
        before_each=lambda: _restore(rng),
    )
    return evaluate_batch(objective, _together(context, parts, shards), examples, state)


def _known_before(
    objective: BoundObjective, examples: Examples, reduction_state: State, device: torch.device
) -> tuple[Tensor, Tensor]:
    """What is known of a batch before it is scored: dR/dc of a linear reduction, (N,), asked of the
    reduction itself since it is the same at every cost, and the mean length of a row, in tokens.
    """
    masks = {
        name: pad_sequence(
            [torch.ones(len(item.answers[name]), device=device) for item in examples.items],
            batch_first=True,
        )
        for name in examples.items[0].answers
    }
    batch = assemble(
        objective.method.takes,
        {name: Scored(torch.zeros_like(mask_NT), mask_NT) for name, mask_NT in masks.items()},
        examples.rows,
        objective.groups,
    )
    cost_N = torch.zeros(len(examples), device=device, requires_grad=True)
    total, _ = objective.reduction.apply(cost_N, batch, reduction_state)
    return torch.autograd.grad(total, cost_N)[0], mean_length(batch)


def _first_pass(
    context: Distributed,
    scorer: nn.Module,
    examples: Examples,
    mine: Sequence[Microbatch],
    router: RouterLoss | None,
) -> tuple[list[dict[str, Scored]], list[dict[str, Tensor]]]:
    """My microbatches scored without gradient, and the random state before each; the router hears
    the whole batch.
    """
    random_states, scored, counts = [], [], []
    with torch.no_grad():
        for micro in mine:
            random_states.append(random_state(context.device))
            scored.append(scorer(examples.take(micro.positions).items))
            if router is not None:
                heard = router.counts()
                counts += [] if micro.padding else [heard]
    if router is not None:
        router.gather(context, counts)
    return scored, random_states


def _restore(states: Iterator[dict[str, Tensor]]) -> None:
    """Let dropout fall as it did in the first pass, if there was one."""
    state = next(states, None)
    if state is not None:
        set_random_state(state)


def _two_passes(
    context: Distributed,
    scorer: nn.Module,
    objective: BoundObjective,
    examples: Examples,
    state: MethodState,
    shards: Sequence[Sequence[Microbatch]],
    router: RouterLoss | None,
) -> BatchResult:
    mine = shards[context.rank]
    scored, random_states = _first_pass(context, scorer, examples, mine, router)
    parts = _together(context, scored, shards)
    leaves = {
        (name, field): x.requires_grad_()
        for name, part in parts.items()
        for field, x in part.learned.items()
    }
    batch = objective.batch(parts, examples)
    cost_N, _ = objective.costs(batch, state)
    total, _ = objective.reduction.apply(cost_N, batch, state.reduction)
    slopes = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    slope_NT = {
        place: slope for place, slope in zip(leaves, slopes, strict=True) if slope is not None
    }
    rng = iter(random_states)

    def loss_of(parts: dict[str, Scored], micro: Microbatch) -> Tensor:
        at = list(micro.positions)
        scored = {(name, field): parts[name].learned[field] for name, field in slope_NT}
        terms = [
            (scored[place] * slope[at, : scored[place].shape[1]]).sum()
            for place, slope in slope_NT.items()
        ]
        return torch.stack(terms).sum()

    # Branches that no gradient reaches (a detached baseline) are not scored twice; all are where
    # dropout must fall as it did, and where the router's loss is of all of them.
    reached = {name for name, _ in slope_NT}
    names_again = [
        name for name in parts if scorer.training or router is not None or name in reached
    ]
    _backward(context, scorer, examples, mine, loss_of, router, names_again, lambda: _restore(rng))
    return evaluate_batch(
        objective, {name: part.each(Tensor.detach) for name, part in parts.items()}, examples, state
    )


def _backward(
    context: Distributed,
    scorer: nn.Module,
    examples: Examples,
    mine: Sequence[Microbatch],
    loss_of: Callable[[dict[str, Scored], Microbatch], Tensor],
    router: RouterLoss | None,
    branches: Sequence[str] | None = None,
    before_each: Callable[[], None] = lambda: None,
) -> list[dict[str, Scored]]:
    """Backpropagate the sum of `objective` over my microbatches; gradients are averaged over
    processes, hence the factor.
    """
    kept = []
    for number, micro in enumerate(mine):
        items = examples.take(micro.positions).items
        if branches is not None:
            items = [item.only(branches) for item in items]
        with nullcontext() if number == len(mine) - 1 else context.gradients_stay_here(scorer):
            before_each()
            parts = scorer(items)
            counts = 0.0 if micro.padding else 1.0
            loss = (
                loss_of(parts, micro) if router is None else loss_of(parts, micro) + router.term()
            )
            (loss * (counts * context.size)).backward()
        kept.append({name: part.each(Tensor.detach) for name, part in parts.items()})
    return kept


def _together(
    context: Distributed, mine: Sequence[dict[str, Scored]], shards: Sequence[Sequence[Microbatch]]
) -> dict[str, Scored]:
    """Microbatches of all processes -> the batch in its own order, padded to its longest answer, on
    this process's device.
    """
    everyone = context.gather(list(mine))
    made = [
        (micro, parts)
        for shard, scored in zip(shards, everyone, strict=True)
        for micro, parts in zip(shard, scored, strict=True)
    ]
    real = [(micro, parts) for micro, parts in made if not micro.padding]
    count = sum(len(micro.positions) for micro, _ in real)
    out = {}
    for name in real[0][1]:
        width = max(parts[name].logp_NT.shape[1] for _, parts in real)
        joined = {
            field: torch.zeros(count, width, *x.shape[2:], device=context.device)
            for field, x in real[0][1][name].tensors.items()
        }
        for micro, parts in real:
            for field, x in parts[name].tensors.items():
                joined[field][list(micro.positions), : x.shape[1]] = x.to(joined[field])
        out[name] = Scored(**joined)
    return out


def _detached(state: State) -> State:
    if isinstance(state, Tensor):
        return state.detach()
    if isinstance(state, Mapping):
        return {key: _detached(value) for key, value in state.items()}
    return state


def random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])
