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
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from holdfast.inputs.row_weights import mean_length
from holdfast.scorers.assemble import assemble
from holdfast.training.batching import Microbatch
from holdfast.training.distributed import Distributed
from holdfast.training.examples import Examples
from holdfast.training.objective import (
    BatchResult,
    BoundObjective,
    MethodState,
    evaluate_batch,
    reduced,
)
from holdfast.training.randomness import random_state, set_random_state
from holdfast.training.router import RouterLoss
from holdfast.types import Scored, Tokenized

Shards = Sequence[Sequence[Microbatch]]  # the microbatches of each process: `batching.split`
Parts = Mapping[str, Scored]  # branch -> its sequences


def gradient(
    context: Distributed,
    scorer: nn.Module,
    objective: BoundObjective,
    examples: Examples,
    state: MethodState,
    shards: Shards,
    router: RouterLoss | None = None,
) -> BatchResult:
    """Leave d total / d weights in `.grad`, and say what came of the batch. `router` adds a loss of
    its own to the gradient, and not to the total.
    """
    batch = _Batch(context, scorer, objective, examples, state, shards, router)
    with nullcontext() if router is None else router.listening():
        if len(batch.mine) == 1 and context.size == 1:
            return batch.at_once()
        return batch.in_one_pass() if objective.adds_up else batch.in_two_passes()


def score_batch(
    context: Distributed, scorer: nn.Module, items: Sequence[Tokenized], shards: Shards
) -> dict[str, Scored]:
    """Score a batch without gradient, each process its own microbatches, and put the parts of all
    together.
    """
    with torch.no_grad():
        mine = [scorer([items[i] for i in micro.positions]) for micro in shards[context.rank]]
    return _together(context, mine, shards)


@dataclass(frozen=True)
class _Batch:
    """One batch on its way to a gradient."""

    context: Distributed
    scorer: nn.Module
    objective: BoundObjective
    examples: Examples
    state: MethodState
    shards: Shards
    router: RouterLoss | None

    @property
    def mine(self) -> Sequence[Microbatch]:
        return self.shards[self.context.rank]

    def at_once(self) -> BatchResult:
        parts = self.scorer(self.examples.items)
        total, result = reduced(
            self.objective, self.objective.batch(parts, self.examples), self.state
        )
        (total if self.router is None else total + self.router.alone()).backward()
        return replace(result, batch=self.objective.batch(_detached(parts), self.examples))

    def in_one_pass(self) -> BatchResult:
        states = [] if self.router is None else self._first_pass()[1]
        weight_N, length = self._known_before()

        def loss_of(parts: Parts, micro: Microbatch) -> Tensor:
            batch = self.objective.batch(parts, self.examples.take(micro.positions))
            # what the method remembers is of the whole batch, and read from that
            cost_n, _ = self.objective.costs(batch, self.state, length)
            weight_n = weight_N[list(micro.positions)]
            return torch.where(weight_n > 0, weight_n * cost_n, 0.0).sum()

        parts = self._backward(loss_of, states)
        return self._evaluated(_together(self.context, parts, self.shards))

    def in_two_passes(self) -> BatchResult:
        scored, states = self._first_pass()
        parts = _together(self.context, scored, self.shards)
        slopes = self._slopes(parts)

        def loss_of(parts: Parts, micro: Microbatch) -> Tensor:
            at = list(micro.positions)
            terms = []
            for (name, field), slope in slopes.items():
                scored = parts[name].differentiable[field]
                terms.append((scored * slope[at, : scored.shape[1]]).sum())
            return torch.stack(terms).sum()

        # Branches that no gradient reaches (a detached baseline) are not scored twice; all are
        # where dropout must fall as it did, and where the router's loss is of all of them.
        everything = self.scorer.training or self.router is not None
        reached = {name for name, _ in slopes}
        self._backward(loss_of, states, [name for name in parts if everything or name in reached])
        return self._evaluated(_detached(parts))

    # ------------------------------------------------------------ parts

    def _evaluated(self, parts: Parts) -> BatchResult:
        return evaluate_batch(self.objective, parts, self.examples, self.state)

    def _known_before(self) -> tuple[Tensor, Tensor]:
        """What is known of a batch before it is scored: dR/dc of a linear reduction, (N,), asked of
        the reduction itself since it is the same at every cost, and the mean length of a row, in
        tokens.
        """
        examples, objective, device = self.examples, self.objective, self.context.device
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
        total, _ = objective.reduction.apply(cost_N, batch, self.state.reduction)
        return torch.autograd.grad(total, cost_N)[0], mean_length(batch)

    def _slopes(self, parts: Parts) -> dict[tuple[str, str], Tensor]:
        """d total / d x of the whole batch, for each tensor x of a branch that carries a
        gradient.
        """
        leaves = {
            (name, field): x.requires_grad_()
            for name, part in parts.items()
            for field, x in part.differentiable.items()
        }
        batch = self.objective.batch(parts, self.examples)
        cost_N, _ = self.objective.costs(batch, self.state)
        total, _ = self.objective.reduction.apply(cost_N, batch, self.state.reduction)
        slopes = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        return {
            place: slope for place, slope in zip(leaves, slopes, strict=True) if slope is not None
        }

    def _first_pass(self) -> tuple[list[dict[str, Scored]], list[dict[str, Tensor]]]:
        """My microbatches scored without gradient, and the random state before each; the router
        hears the whole batch.
        """
        random_states, scored, counts = [], [], []
        with torch.no_grad():
            for micro in self.mine:
                random_states.append(random_state(self.context.device))
                scored.append(self.scorer(self.examples.take(micro.positions).items))
                if self.router is not None:
                    heard = self.router.counts()
                    counts += [] if micro.padding else [heard]
        if self.router is not None:
            self.router.gather(self.context, counts)
        return scored, random_states

    def _backward(
        self,
        loss_of: Callable[[Parts, Microbatch], Tensor],
        random_states: Sequence[dict[str, Tensor]],
        branches: Sequence[str] | None = None,
    ) -> list[dict[str, Scored]]:
        """Backpropagate the sum of `loss_of` over my microbatches, and give what was scored;
        gradients are averaged over processes, hence the factor. Where there was a first pass,
        dropout falls as it did there.
        """
        kept, states = [], iter(random_states)
        for number, micro in enumerate(self.mine):
            items = self.examples.take(micro.positions).items
            if branches is not None:
                items = [item.select(branches) for item in items]
            last = number == len(self.mine) - 1
            with nullcontext() if last else self.context.gradients_stay_here(self.scorer):
                _restore(states)
                parts = self.scorer(items)
                loss = loss_of(parts, micro)
                if self.router is not None:
                    loss = loss + self.router.term()
                counts = 0.0 if micro.padding else 1.0
                (loss * (counts * self.context.size)).backward()
            kept.append(_detached(parts))
        return kept


def _restore(states: Iterator[dict[str, Tensor]]) -> None:
    state = next(states, None)
    if state is not None:
        set_random_state(state)


def _detached(parts: Parts) -> dict[str, Scored]:
    return {name: part.map(Tensor.detach) for name, part in parts.items()}


def _together(
    context: Distributed, mine: Sequence[dict[str, Scored]], shards: Shards
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
