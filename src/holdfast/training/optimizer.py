"""The optimizer of a run, and what each part of it is given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from holdfast.errors import ModelError
from holdfast.optimization.optimizers import Orthogonal, left_to_adamw, together
from holdfast.training.options import ADAMW, Options

PREFIX = "model."  # of the policy inside its scorer
HEAD = "the method's own head"


@dataclass(frozen=True)
class Assigned:
    """Who takes which trained weight of a scorer.

    Attributes:
        name: the option's value.
        matrices: names of the policy's weights that it orthogonalizes; none for AdamW.
        policy: names of the policy's other trained weights.
        head: names of those of the method's head.
        why: of `policy` and `head`, why AdamW takes a weight; empty for AdamW alone.
        sizes: entries of each weight.
    """

    name: str
    matrices: tuple[str, ...]
    policy: tuple[str, ...]
    head: tuple[str, ...]
    why: dict[str, str]
    sizes: dict[str, int]

    def facts(self) -> dict[str, Any]:
        """For the record."""
        if self.name == ADAMW:
            return {"name": self.name}
        return {
            "name": self.name,
            "matrices": self._counted(self.matrices),
            "adamw": {
                why: self._counted(name for name in self.why if self.why[name] == why)
                for why in sorted(set(self.why.values()))
            },
        }

    def said(self) -> list[str]:
        """For the reader, once."""
        if self.name == ADAMW:
            return []
        facts = self.facts()
        rest = ", ".join(f"{why} ({_words(found)})" for why, found in facts["adamw"].items())
        return [
            f"optimizer: {self.name} for hidden matrices ({_words(facts['matrices'])}); "
            f"adamw for {rest or 'nothing'}"
        ]

    def _counted(self, names: Iterable[str]) -> dict[str, int]:
        sizes = [self.sizes[name] for name in names]
        return {"tensors": len(sizes), "weights": sum(sizes)}


def _words(counted: dict[str, int]) -> str:
    plural = "" if counted["tensors"] == 1 else "s"
    return f"{counted['tensors']:,} tensor{plural}, {counted['weights']:,} weights"


def assigned(scorer: nn.Module, options: Options) -> Assigned:
    """What the optimizer of a run does with each trained weight. Raises ModelError: all of the
    model's are frozen.
    """
    trained = {name: p for name, p in scorer.named_parameters() if p.requires_grad}
    policy = [name for name in trained if name.startswith(PREFIX)]
    head = tuple(name for name in trained if not name.startswith(PREFIX))
    if not policy:
        raise ModelError("no weight of the model is to be trained: all are frozen")
    why: dict[str, str] = {}
    matrices: list[str] = []
    if options.optimizer != ADAMW:
        kind = cast(Orthogonal, options.optimizer)
        found = left_to_adamw(scorer.get_submodule(PREFIX.rstrip(".")), kind)
        of_policy = {PREFIX + name: reason for name, reason in found.items()}
        matrices = [name for name in policy if of_policy[name] is None]
        why = {name: reason for name in policy if (reason := of_policy[name]) is not None}
        why |= dict.fromkeys(head, HEAD)
    rest = tuple(name for name in policy if name not in set(matrices))
    sizes = {name: parameter.numel() for name, parameter in trained.items()}
    return Assigned(options.optimizer, tuple(matrices), rest, head, why, sizes)


def build_optimizer(scorer: nn.Module, options: Options) -> torch.optim.Optimizer:
    """Over what is trained, the policy first, then the method's head at its own rate; weight decay
    on matrices only.

    Raises:
        ModelError: all weights of the model are frozen.
        OptionError: muon or root, and no hidden matrix is trained.
    """
    found = assigned(scorer, options)
    weights = dict(scorer.named_parameters())
    others = [
        group
        for names, rate in (
            (found.policy, options.learning_rate),
            (found.head, options.head_learning_rate),
        )
        for group in _decayed([weights[name] for name in names], options, rate)
    ]
    if options.optimizer == ADAMW:
        return torch.optim.AdamW([group for group in others if group["params"]], fused=True)
    return together(
        cast(Orthogonal, options.optimizer),
        [
            {
                "params": [weights[name] for name in found.matrices],
                "lr": options.learning_rate,
                "weight_decay": options.weight_decay,
            }
        ],
        others,
        momentum=options.muon_momentum,
        quantile=options.root_quantile,
    )


def _decayed(parameters: list[nn.Parameter], options: Options, rate: float) -> list[dict[str, Any]]:
    matrices, others = ([p for p in parameters if (p.ndim >= 2) == wide] for wide in (True, False))
    how = {
        "lr": rate,
        "betas": (options.adam_beta1, options.adam_beta2),
        "eps": options.adam_epsilon,
    }
    return [
        {"params": matrices, "weight_decay": options.weight_decay, **how},
        {"params": others, "weight_decay": 0.0, **how},
    ]
