"""From what was asked to a run that can start, in named steps. Each returns what it made; `begin`
is their order.

The order matters. The scorer is verified and the reference scored while the model is as it was
before training; a checkpoint's weights move in afterwards (`execute.restore`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from holdfast.errors import RunError
from holdfast.inputs import samples
from holdfast.inputs.prompts import COPY
from holdfast.scorers.branches import said_of
from holdfast.scorers.scorer import Scorer, Verification
from holdfast.training import batching
from holdfast.training.distributed import Distributed
from holdfast.training.examples import Examples
from holdfast.training.in_memory import in_memory_reference
from holdfast.training.loading import Loaded, load, written_average, written_reduction
from holdfast.training.model import (
    build_scheduler,
    enable_checkpointing,
    evaluating,
    set_mode,
)
from holdfast.training.optimizer import assigned, build_optimizer
from holdfast.training.reference import Reference, reference_log_probs
from holdfast.training.request import RunRequest
from holdfast.training.router import HINT, RouterLoss
from holdfast.training.run.record import new_record, now
from holdfast.training.sources.dataset import Dataset
from holdfast.training.sources.online import Online, Sampler, sampler_for
from holdfast.training.sources.source import Source
from holdfast.training.state import RunState
from holdfast.training.verify import items_to_meet, refuse_uneven_forwards, verify
from holdfast.types import Tokenized


def begin(context: Distributed, request: RunRequest, before: Mapping[str, Any] | None) -> RunState:
    """Set a run up. `before` is the record of the run to go on with, None for a new one.

    Raises:
        RunError: `before` is of something else; or what FSDP does not allow.
        OptionError, DataError, NeedError, ModelError: what was asked cannot be done.
    """
    loaded = load(context, request, before)
    request = replace(request, options=loaded.options)
    torch.manual_seed(loaded.options.seed)
    model = trainable(context, request, loaded.model)
    router, of_router = listened_router(context, request, model)
    scoring = verified_scorer(context, request, loaded, model)
    shares = assigned(scoring.scorer, loaded.options)
    scorer, optimizer = context.prepare(
        scoring.scorer, build_optimizer(scoring.scorer, loaded.options)
    )
    reference = scored_reference(context, request, scorer, loaded)
    source = source_of(request, loaded, reference, scoring.sampler, scorer)
    total = batching.total_steps(
        len(loaded.rows.train),
        loaded.options.batch_size,
        epochs=loaded.options.epochs,
        max_steps=loaded.options.max_steps,
    )
    facts = {
        "reference": None if loaded.reference is None else loaded.reference.who,
        **scoring.facts(reference),
        "router_aux_loss_coef": None if router is None else router.coefficient,
        "steps": total,
        "optimizer": shares.facts(),
        "weights": trained_weights(model),
    }
    record = record_of(context, request, loaded, facts, before)
    torch.manual_seed(loaded.options.seed + context.rank)
    return RunState(
        context=context,
        task=request.task,
        options=loaded.options,
        out=request.out,
        stage=request.stage,
        objective=loaded.objective,
        source=source,
        model=model,
        processor=loaded.processor,
        scorer=scorer,
        optimizer=optimizer,
        scheduler=build_scheduler(optimizer, loaded.options, total),
        total=total,
        record=record,
        whole=record,
        said=[
            *(loaded.rows.said if before is None else ()),
            *(f"note: {note}" for note in loaded.notes),
            *kept_in_memory(request),
            *of_router,
            *scoring.said(reference),
            *said_of_record(record),
            *shares.said(),
        ],
        starts_at_reference=loaded.reference is not None and loaded.reference.is_start,
        router=router,
        state=loaded.objective.first_state(),
        metrics_bytes=request.stage.metrics_bytes,
    )


# ------------------------------------------------------------ the model


def trainable(context: Distributed, request: RunRequest, model: nn.Module) -> nn.Module:
    """The model with its new adapter if one is asked for, on the device, unless it is sharded."""
    options = request.options
    if options.lora_rank:
        model = request.task.adapted(model, options)
    if options.gradient_checkpointing:
        enable_checkpointing(model)
    if not context.sharded:
        model.to(context.device)
    return model


def listened_router(
    context: Distributed, request: RunRequest, model: nn.Module
) -> tuple[RouterLoss | None, list[str]]:
    """The load-balancing loss of the model's routers, and what the reader is told of it.

    Raises:
        RunError: they cannot be listened to.
    """
    task, method = request.task, request.method
    router, said = task.router(model, request.options)
    if router is not None and context.sharded:
        raise RunError(
            "the load-balancing loss that the model's config asks for is not added under FSDP",
            hint=f"use DDP; {HINT}",
        )
    if router is not None and task.keeps_reference(method):
        raise RunError(
            f"{method.name} runs its reference at every step, where the load-balancing "
            "loss of the model's config is not added",
            hint=HINT,
        )
    return router, said


def trained_weights(model: nn.Module) -> dict[str, int]:
    """How many weights there are, and how many of them are trained."""
    return {
        "all": sum(parameter.numel() for parameter in model.parameters()),
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }


# ------------------------------------------------------------ the scorer


@dataclass(frozen=True)
class Scoring:
    """The scorer, and what the comparison of its packed and padded forwards found; the same of the
    reference where answers are drawn at every step.
    """

    scorer: Scorer
    verification: Verification
    sampler: Sampler | None = None
    of_reference: Verification | None = None

    def found(self, reference: Reference | None) -> dict[str, Verification]:
        other = (reference and reference.verification) or self.of_reference
        return {"scoring": self.verification} | ({"reference_scoring": other} if other else {})

    def facts(self, reference: Reference | None) -> dict[str, Any]:
        """For the record."""
        return {
            name: {**asdict(found), "fallbacks": int(found.fell_back)}
            for name, found in self.found(reference).items()
        }

    def said(self, reference: Reference | None) -> list[str]:
        words = {"scoring": "", "reference_scoring": "reference "}
        return [f"{words[name]}{said_of(found)}" for name, found in self.found(reference).items()]


def verified_scorer(
    context: Distributed, request: RunRequest, loaded: Loaded, model: nn.Module
) -> Scoring:
    """The model's scorer, verified on all the rows it will meet."""
    options, method = loaded.options, request.method
    fresh_adapter = bool(options.lora_rank)
    reference = in_memory_reference(context, request, model, fresh_adapter=fresh_adapter)
    scorer = request.task.scorer(model, method, reference, options)
    if not context.sharded or method.head is not None:
        scorer.to(context.device)
    set_mode(scorer, dropout=False, checkpointing=False)
    items = items_to_meet(loaded.rows, options, method, model)
    verification = verify(context, scorer, items)
    refuse_uneven_forwards(context, scorer, items, verification)
    sampler = sampler_for(
        method,
        context,
        model,
        asked=request.reference,
        tokenizer=loaded.processor,
        rows=loaded.rows.train,
        seed=options.seed,
        tokens=options.budget(context.device.type),
        scoring=options.scoring,
        trust_remote_code=options.trust_remote_code,
    )
    if sampler is None:
        return Scoring(scorer, verification)
    drawn = [item.select(samples.branches) for item in items]
    return Scoring(scorer, verification, sampler, verify(context, sampler.reference, drawn))


def scored_reference(
    context: Distributed, request: RunRequest, scorer: nn.Module, loaded: Loaded
) -> Reference | None:
    """The reference's log-probabilities of all rows; None where there is no reference, or where the
    scorer gives them itself.
    """
    if loaded.reference is None or not request.task.caches_reference(request.method):
        return None
    options, rows = loaded.options, loaded.rows
    items = [*rows.train.items, *(rows.evaluation.items if rows.evaluation else ())]
    return reference_log_probs(
        context,
        scorer,
        loaded.reference,
        [compared(item) for item in items],
        precision=options.precision,
        cache=Path(options.reference_cache or request.out / "reference"),
        tokens=options.budget(context.device.type),
        scoring=options.scoring,
    )


def compared(item: Tokenized) -> Tokenized:
    """The branches that a reference is asked about: all but copies made for a head, which no
    log-ratio reads.
    """
    return item.select([name for name in item.answers if COPY not in name])


# ------------------------------------------------------------ the examples


def source_of(
    request: RunRequest,
    loaded: Loaded,
    reference: Reference | None,
    sampler: Sampler | None,
    scorer: nn.Module,
) -> Source:
    """Where the examples of a step come from."""
    options = loaded.options
    train, evaluation = with_reference(loaded.rows.train, loaded.rows.evaluation, reference)
    dataset = Dataset(train, evaluation, options.batch_size, options.seed)
    source = request.task.source(dataset, options)
    if sampler is None:
        return source
    quiet: Callable[[], AbstractContextManager[None]] = partial(evaluating, scorer, options)
    return Online(source, sampler, quiet)


def with_reference(
    train: Examples, evaluation: Examples | None, reference: Reference | None
) -> tuple[Examples, Examples | None]:
    """The examples with the reference's log-probabilities, which stand in one list."""
    if reference is None:
        return train, evaluation
    of_train, of_evaluation = reference.items[: len(train)], reference.items[len(train) :]
    held_out = evaluation and replace(evaluation, reference=of_evaluation)
    return replace(train, reference=of_train), held_out


# ------------------------------------------------------------ the record


def record_of(
    context: Distributed,
    request: RunRequest,
    loaded: Loaded,
    facts: Mapping[str, Any],
    before: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The record of the run. One that goes on keeps its id and what it noted."""
    record = new_record(
        method=request.method.name,
        settings=request.settings,
        reduction=written_reduction(request.reduction, loaded.objective.reduction),
        average=written_average(request.method),
        options=loaded.options,
        identity=loaded.identity,
        call=request.call,
        facts={
            **loaded.rows.facts,
            "task": request.task.name,
            "source": "dataset",
            "groups": list(loaded.rows.groups),
            "rows": len(loaded.rows.train),
            **facts,
            "distributed": {
                "processes": context.size,
                "wrapping": context.wrapping,
                "device": str(context.device),
            },
        },
    )
    record["notes"] += loaded.notes
    record["id"] = context.gather(record["id"])[0]
    if before is not None:
        record |= {
            name: before[name]
            for name in ("id", "started", "notes", *loaded.rows.facts)
            if name in before
        }
        record["resumed"] = [*before["resumed"], {"at": now()}]
    return record


def kept_in_memory(request: RunRequest) -> list[str]:
    """What the reader is told of a reference that stays in memory."""
    why = request.task.keeps_reference(request.method)
    return [f"the reference stays in memory and is run at every step: {why}"] if why else []


def said_of_record(record: Mapping[str, Any]) -> list[str]:
    weights = record["weights"]
    return [
        *([f"reference: {record['reference']}"] if record["reference"] else []),
        f"training {weights['trained']:,} of {weights['all']:,} weights, "
        f"{record['steps']:,} steps, {record['distributed']['wrapping']}",
    ]
