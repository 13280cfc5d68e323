"""Train an ensemble of reward models: one after the other, each a run of its own inside the run; or
together, on one trunk.

Departures:
    1. Members that are trained together share one clipping of the gradient's norm; trained apart
       each has its own. AdamW is of each weight, so nothing else ties them.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.errors import RunError
from holdfast.files import whole_folder, write_json
from holdfast.models.judges import KEY
from holdfast.models.members import (
    ENSEMBLE,
    linked,
    with_member_adapters,
    write_members,
)
from holdfast.models.protocols import Tokenizer
from holdfast.models.trained import REWARD_ENSEMBLE
from holdfast.rewards.kind import RewardMethod
from holdfast.scorers.padded import causal_model
from holdfast.training.examples import Examples
from holdfast.training.execute import carry_out, opened, recorded
from holdfast.training.loading import written_reduction
from holdfast.training.objective import BatchResult
from holdfast.training.options import Options
from holdfast.training.request import RunRequest
from holdfast.training.reward_held_out import HELD_OUT, HeldOut, spread_of
from holdfast.training.reward_plan import Plan
from holdfast.training.reward_report import reward_page
from holdfast.training.reward_task import RewardModel, scale_of
from holdfast.training.run.folder import REPORT, Run
from holdfast.training.run.record import differences, new_record, now, refuse_another, write_record
from holdfast.types import Pairs, Scored, Tokenized


def train(request: RunRequest, plan: Plan, *, resume: bool) -> Run:
    """An ensemble as `plan` has it."""
    if not plan.together:
        return train_apart(request, plan, resume=resume)
    kind = request.method
    assert isinstance(kind, RewardMethod)
    task = RewardMembers(kind, request.settings, plan)
    return carry_out(replace(request, task=task, method=task.joint), resume=resume)


# ------------------------------------------------------------ together


def joint(kind: RewardMethod, members: int) -> RewardMethod:
    """The kind whose head holds the outputs of M members side by side: the mean of their costs, and
    the mean of their log-odds. M times the gradient of each is that of the member alone.
    """

    def own(part: Scored, m: int) -> Scored:
        x_NT = part.logp_NT
        width = max(1, x_NT.shape[1] // members)
        # a dry run of the settings has one output in all
        own_NH = x_NT.narrow(1, min(m * width, x_NT.shape[1] - width), width)
        return Scored(own_NH, torch.ones_like(own_NH))

    @functools.wraps(kind.objective)
    def objective(pairs: Pairs, **settings: Any) -> Tensor:
        costs = [
            kind.objective(
                replace(
                    pairs,
                    chosen=own(pairs.chosen, m),
                    rejected=own(pairs.rejected, m),
                ),
                **settings,
            )
            for m in range(members)
        ]
        return torch.stack(costs).mean(0)

    def score(first: Tensor, second: Tensor, prompt: Tensor | None, **settings: Any) -> Tensor:
        return member_logits(kind, members, settings, first, second).mean(0)

    return replace(
        kind,
        objective=objective,
        width=lambda **settings: members * kind.width(**settings),
        score=score,
        items=None,
    )


def member_logits(
    kind: RewardMethod, members: int, settings: Mapping[str, Any], first: Tensor, second: Tensor
) -> Tensor:
    """(M, N): log-odds of each member."""
    sides = zip(first.chunk(members, dim=1), second.chunk(members, dim=1), strict=True)
    return torch.stack([kind.score(a, b, None, **settings) for a, b in sides])


class RewardMembers(RewardModel):
    """The members of an ensemble in one model."""

    name = REWARD_ENSEMBLE

    def __init__(self, kind: RewardMethod, settings: Mapping[str, Any], plan: Plan):
        self.kind, self.plan, self.joint = kind, plan, joint(kind, plan.members)
        super().__init__(self.joint, settings)

    def adapted(self, model: nn.Module, options: Options) -> nn.Module:
        made: nn.Module = with_member_adapters(
            model,
            self.plan.members,
            rank=options.lora_rank,
            alpha=options.lora_alpha,
            shared_layers=self.plan.shared_layers,
            seed=options.seed,
        )
        return made

    def identity(
        self, processor: Tokenizer, options: Options, items: Sequence[Tokenized]
    ) -> dict[str, str]:
        return {
            "members": self.plan.described(),
            **super().identity(processor, options, items),
        }

    def results(self, result: BatchResult, examples: Examples) -> dict[str, Any]:
        found = super().results(result, examples)
        assert isinstance(result.batch, Pairs) and self.held is not None
        pairs = result.batch
        self.scale = scale_of(pairs)
        both = pairs.chosen.logp_NT, pairs.rejected.logp_NT
        logit_MN = member_logits(self.kind, self.plan.members, self.settings, *both)
        found["members"] = spread_of(logit_MN.double().cpu().numpy(), self.held)
        return found

    def save(
        self, model: nn.Module, processor: Tokenizer, weights: dict[str, Tensor], folder: Path
    ) -> None:
        whole = getattr(causal_model(model).config, KEY)
        marks = [
            {**whole, **{name: [values[m]] for name, values in self.scale.items()}}
            for m in range(self.plan.members)
        ]
        about = {"by": self.plan.by, "pool": self.plan.pool}
        write_members(model, processor, weights, folder, marks=marks, about=about)


# ------------------------------------------------------------ one after the other


def train_apart(request: RunRequest, plan: Plan, *, resume: bool) -> Run:
    """A run for each member in members/, and the ensemble of what they leave in model/."""
    kind, out = request.method, request.out
    assert isinstance(kind, RewardMethod)
    with opened(out, request.options, resume) as (_, before):
        record = new_record(
            method=kind.name,
            settings=request.settings,
            reduction=written_reduction(request.reduction, kind.reduction),
            options=request.options,
            identity={"members": plan.described()},
            call=request.call,
            facts={"task": REWARD_ENSEMBLE, "source": "members", **plan.call()},
        )
        if before is not None:
            if before.get("source") != "members":
                raise RunError(f"{out} holds a run of another kind", hint="give another out folder")
            compared = {name: record[name] for name in ("method", "settings")}
            old = {**before, "identity": {"members": before["identity"]["members"]}}
            refuse_another(differences(old, {**compared, "identity": record["identity"]}))
            kept = {name: before[name] for name in ("id", "started", "notes", "results")}
            record |= kept | {"resumed": [*before["resumed"], {"at": now()}]}
        write_record(out, record)
        with recorded(out, record, active=True):
            runs = [
                carry_out(
                    replace(
                        request,
                        task=RewardModel(
                            kind, request.settings, m, bootstrap=plan.by == "bootstrap"
                        ),
                        out=out / "members" / f"{m:03d}",
                    ),
                    resume=True,
                )
                for m in range(plan.members)
            ]
            put_together(runs, plan, out, record)
    return Run(out)


def put_together(runs: Sequence[Run], plan: Plan, out: Path, record: dict[str, Any]) -> None:
    """The ensemble's folder, its held-out numbers and its page."""
    first = runs[0].record
    record["identity"] |= first["identity"]
    held = [HeldOut.read(run.model_path / HELD_OUT) for run in runs if _held(run).is_file()]
    if len(held) == len(runs):
        logit_MN = np.stack([one.logit_N for one in held])
        mean = held[0].at(logit_MN.mean(0))
        record["results"] |= {"held_out": mean.found(), "members": spread_of(logit_MN, held[0])}
    with whole_folder(out / "model", replace=True) as folder:
        for m, run in enumerate(runs):
            shutil.copytree(
                run.model_path,
                folder / "members" / f"{m:03d}",
                ignore=shutil.ignore_patterns(HELD_OUT),
                copy_function=_linked,
            )
        write_json(folder / ENSEMBLE, {"members": plan.members, "by": plan.by, "pool": plan.pool})
    record |= {"status": "finished", "finished": now()}
    record.pop("error", None)
    write_record(out, record)
    found = record["results"].get("held_out")
    kind = json.loads(json.dumps(record["method"]))
    if found is not None:
        from holdfast.rewards.table import get

        reward_page(get(kind), found, Run(out)).write(out / REPORT, pictures=True)


def _held(run: Run) -> Path:
    return run.model_path / HELD_OUT


def _linked(source: str, target: str) -> str:
    linked(Path(source), Path(target))
    return target
