"""From what was asked to a job that can start: model, rows, reference, optimizer, record, all
checked.

The order matters. The model is loaded as it was before training and hashed, also when a run is
resumed: so the reference's numbers are the same, the scorer takes the same path, and only then do
the checkpoint's weights move in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.card import Method, Reduction, costs, initial_memory, settings_of
from holdfast.errors import HoldfastError, NeedError, OptionError, RunError, shown
from holdfast.files import TEMPORARY, folder_to_write
from holdfast.inputs import reference as reference_input
from holdfast.inputs import samples
from holdfast.inputs.base import Input
from holdfast.models.load import context_length, load_tokenizer
from holdfast.reductions import REDUCTIONS, parse
from holdfast.scorers.branches import BranchScorer, Verification, said_of
from holdfast.scorers.reference import model_hash
from holdfast.training import batching
from holdfast.training.distributed import Distributed
from holdfast.training.gradient import BatchResult, BoundObjective, Examples, MethodState
from holdfast.training.live_scorer import compared, kept_in_memory, needs_reference, scorer_for
from holdfast.training.model import (
    build_optimizer,
    build_scheduler,
    enable_checkpointing,
    set_mode,
    with_adapter,
)
from holdfast.training.options import Options
from holdfast.training.prepare import Prepared, prepare
from holdfast.training.reference import (
    Asked,
    Reference,
    asked_reference,
    reference_log_probs,
    with_reference,
)
from holdfast.training.router import HINT, RouterLoss, router_loss
from holdfast.training.run.lock import HOLDER, LOCK
from holdfast.training.run.record import differences, new_record, now, refuse_another, write_record
from holdfast.training.sources.online import Sampler, sampler_for
from holdfast.training.task import Task
from holdfast.types import Scored, Tokenized

BEFORE_THE_RECORD = {
    LOCK,
    HOLDER,
    "reference",
    "quarantine.jsonl",
    "quarantine-eval.jsonl",
}  # what a run killed in its first moments leaves


@dataclass(frozen=True)
class RunRequest:
    """What `train` was given, options and settings sorted."""

    method: Method
    options: Options
    settings: dict[str, Any]
    model: Any
    data: Any
    out: Path  # as it was given, until `carry_out` has seen to it
    reference: Any
    eval_data: Any
    tokenizer: Any
    reduction: str | Reduction | None
    call: Mapping[str, Any]
    task: Task


@dataclass
class RunState:
    """A run under way."""

    context: Distributed
    options: Options
    out: Path
    objective: BoundObjective
    train: Examples
    evaluation: Examples | None
    policy: Any
    tokenizer: Any
    scorer: nn.Module  # as DDP or FSDP want it
    optimizer: torch.optim.Optimizer
    scheduler: Any
    state: MethodState
    total: int
    record: dict[str, Any]
    said: list[str]
    checks_start: bool
    task: Task
    sampler: Sampler | None = None
    router: RouterLoss | None = None
    last_look: BatchResult | None = None  # at the held-out rows
    step: int = 0
    seconds: float = 0.0
    metrics_bytes: int = 0

    @property
    def checkpoints(self) -> Path:
        return self.out / "checkpoints"

    @property
    def robust(self) -> bool:
        return not self.objective.reduction.linear

    def mode(self, *, training: bool) -> None:
        """Dropout only while training, and only if asked for."""
        options = self.options
        set_mode(
            self.scorer,
            dropout=options.dropout and training,
            checkpointing=options.gradient_checkpointing,
        )

    def with_samples(self, rows: Examples, step: int) -> Examples:
        """The rows, with new answers of the policy's own where the method asks for them."""
        if self.sampler is None:
            return rows
        self.mode(training=False)
        rows = self.sampler.draw(rows, step)
        self.mode(training=True)
        return rows

    def save_record(self) -> None:
        if self.context.is_main:
            write_record(self.out, self.record)


@dataclass
class Inputs:
    """What goes into a run: loaded, read and hashed, and not scored yet."""

    options: Options
    policy: Any
    tokenizer: Any
    prepared: Prepared
    objective: BoundObjective
    start_hash: str
    reference: Asked | None
    identity: dict[str, str]
    notes: list[str]


def take_in(context: Distributed, request: RunRequest, before: Mapping[str, Any] | None) -> Inputs:
    """Load and read what was asked for, and refuse to go on with a run of something else before
    anything in its folder is touched.

    Args:
        context: the processes.
        request: what was asked.
        before: the record of the run to go on with, None for a new one.

    Raises:
        RunError: `before` is of another method, model, data, settings or options; everything that
            differs is named.
    """
    if request.options.reference_cache:
        folder_to_write(request.options.reference_cache, "reference_cache")
    if before is None:
        return _inputs(context, request, request.out)
    plain: dict[str, Any] = {
        "method": request.method.name,
        "average": _average(request.method),
        "settings": request.settings,
        "options": asdict(request.options),
    }
    if request.options.max_tokens is None:  # then the model will tell
        plain["options"].pop("max_tokens")
    if not isinstance(request.reduction, Reduction):
        plain["reduction"] = _written(request.reduction, request.method.reduction)
    found = differences(before, plain)
    try:
        with TemporaryDirectory() as scratch:  # the run's own quarantine stays as it is
            inputs = _inputs(context, request, Path(scratch))
    except HoldfastError:
        refuse_another(found)  # what went wrong may well follow from that
        raise
    whole = {**plain, "options": asdict(inputs.options), "identity": inputs.identity}
    whole["reduction"] = _written(request.reduction, inputs.objective.reduction)
    refuse_another(differences(before, whole))
    return inputs


def _inputs(context: Distributed, request: RunRequest, quarantine: Path) -> Inputs:
    options = request.options
    notes: list[str] = []
    policy = request.task.load(request.model, options)
    if (
        options.max_tokens is None
    ):  # what the model has positions for: beyond it the numbers mean nothing
        options = replace(options, max_tokens=context_length(policy))
    request = replace(request, options=options)
    tokenizer = _tokenizer_for(request, policy, notes)
    request.task.ready(policy, tokenizer, options)
    prepared, objective = _rows_and_question(context, request, tokenizer, quarantine)
    start_hash = model_hash(policy)
    reference = None
    if (
        reference_input in request.method.card.needs or request.reference is not None
    ):  # where it was only named: for the metrics' sake
        trusted = options.trust_remote_code
        fresh = bool(options.lora_rank)
        reference = asked_reference(
            request.reference,
            policy,
            start_hash=start_hash,
            fresh_adapter=fresh,
            trust_remote_code=trusted,
        )
    identity = {"model": start_hash, **prepared.identity}
    if reference is not None:
        identity["reference"] = reference.identity
    return Inputs(
        options, policy, tokenizer, prepared, objective, start_hash, reference, identity, notes
    )


def begin(context: Distributed, request: RunRequest, before: Mapping[str, Any] | None) -> RunState:
    """Make the run. `before` is the record of the run to go on with, None for a new one."""
    inputs = take_in(context, request, before)
    options, out, policy, prepared, objective = (
        inputs.options,
        request.out,
        inputs.policy,
        inputs.prepared,
        inputs.objective,
    )
    request = replace(request, options=options)
    torch.manual_seed(options.seed)
    fresh_adapter = bool(options.lora_rank)
    if fresh_adapter:
        policy = with_adapter(policy, options, request.task.adapter_task)
    if options.gradient_checkpointing:
        enable_checkpointing(policy)
    if not context.sharded:
        policy.to(context.device)
    router, of_router = router_loss(
        policy, options.router_aux_loss, language_model=request.task.router_loss
    )
    _refuse_router(context, request.method, router)
    inner = scorer_for(
        request.method,
        request.task,
        context,
        policy,
        asked=request.reference,
        fresh_adapter=fresh_adapter,
        path=options.path,
        trust_remote_code=options.trust_remote_code,
    )
    set_mode(inner, dropout=False, checkpointing=False)
    everything = _in_order(prepared, options, request.method, policy)
    verification = verify(context, inner, everything)
    _refuse_apart(context, inner, everything, verification)
    sampler = sampler_for(
        request.method,
        context,
        policy,
        asked=request.reference,
        tokenizer=inputs.tokenizer,
        rows=prepared.train,
        seed=options.seed,
        tokens=options.budget(context.device.type),
        path=options.path,
        trust_remote_code=options.trust_remote_code,
    )
    scored_by = {"scoring": verification}
    if sampler is not None:
        scored_by["reference_scoring"] = verify(
            context, sampler.reference, [item.only(samples.branches) for item in everything]
        )
    scorer, optimizer = context.prepare(inner, build_optimizer(inner, options))
    reference = _reference(context, request, scorer, prepared, inputs.reference)
    train, evaluation = _with_reference(prepared, reference)
    total = batching.total_steps(
        len(train), options.batch_size, epochs=options.epochs, max_steps=options.max_steps
    )
    if reference is not None and reference.verification is not None:
        scored_by["reference_scoring"] = reference.verification
    record = new_record(
        method=request.method.name,
        settings=request.settings,
        reduction=_written(request.reduction, objective.reduction),
        average=_average(request.method),
        options=options,
        identity=inputs.identity,
        call=request.call,
        facts={
            **prepared.facts,
            "task": request.task.name,
            "groups": list(prepared.groups),
            "reference": None if reference is None else reference.who,
            **{
                name: {**asdict(found), "fallbacks": int(found.fell_back)}
                for name, found in scored_by.items()
            },
            "router_aux_loss_coef": None if router is None else router.coefficient,
            "steps": total,
            "rows": len(train),
            "weights": {
                "all": sum(parameter.numel() for parameter in policy.parameters()),
                "trained": sum(
                    parameter.numel()
                    for parameter in policy.parameters()
                    if parameter.requires_grad
                ),
            },
            "world": {
                "processes": context.size,
                "wrapping": context.wrapping,
                "device": str(context.device),
            },
        },
    )
    record["notes"] += inputs.notes
    record["id"] = context.gather(record["id"])[0]
    if before is not None:
        record |= {
            name: before[name]
            for name in ("id", "started", "notes", *prepared.facts)
            if name in before
        }
        record["resumed"] = [*before["resumed"], {"at": now()}]
    torch.manual_seed(options.seed + context.rank)
    return RunState(
        context=context,
        options=options,
        out=out,
        objective=objective,
        train=train,
        evaluation=evaluation,
        policy=policy,
        tokenizer=inputs.tokenizer,
        scorer=scorer,
        optimizer=optimizer,
        scheduler=build_scheduler(optimizer, options, total),
        state=objective.first_state(),
        total=total,
        record=record,
        said=[
            *(prepared.said if before is None else ()),
            *(f"note: {note}" for note in inputs.notes),
            *kept_in_memory(request.method),
            *of_router,
            *_said(context, scored_by, reference, record),
        ],
        checks_start=reference is not None and reference.is_start,
        task=request.task,
        sampler=sampler,
        router=router,
    )


def _refuse_router(context: Distributed, method: Method, router: RouterLoss | None) -> None:
    """Where the routers of a policy cannot be listened to."""
    if router is None:
        return
    if context.sharded:
        raise RunError(
            "the load-balancing loss that the model's config asks for is not added under FSDP",
            hint=f"use DDP; {HINT}",
        )
    if needs_reference(method):
        raise RunError(
            f"{method.name} runs its reference at every step, where the load-balancing "
            "loss of the model's config is not added",
            hint=HINT,
        )


def try_settings(method: Method, settings: Mapping[str, Any]) -> None:
    """Compute the cost of two answers of one token, so that a setting out of range is refused
    before anything is loaded.
    """
    one = Scored(torch.zeros(2, 1), torch.ones(2, 1), torch.zeros(2, 1))
    inputs: dict[Input, Tensor] = {}
    extra: dict[str, Scored] = {}
    for need in (*method.card.needs, *method.reduction.needs):
        need.fill(inputs, extra, one)
    batch = method.takes.of({**dict.fromkeys(method.takes.MAIN, one), **extra}, inputs)
    with suppress(NeedError):  # of something that only real rows have
        costs(method, batch, settings, initial_memory(method))


def verify(context: Distributed, scorer: BranchScorer, items: Sequence[Tokenized]) -> Verification:
    """Packed against padded on the first items and the longest; all processes take the padded path
    where one of them must.
    """
    found = scorer.verify(items)
    worst = max(context.gather(found), key=lambda one: (one.one_by_one, one.fell_back))
    if worst != found and worst.fell_back:
        scorer.adopt(worst)
        found = worst
    return found


def _refuse_apart(
    context: Distributed, scorer: BranchScorer, items: Sequence[Tokenized], found: Verification
) -> None:
    """Sharded processes must run equally many forwards, so none of them can score rows apart from
    others.
    """
    if not context.sharded:
        return
    if found.one_by_one:
        raise RunError(
            f"FSDP scores answers in batches, which this model does not allow: {found.reason}",
            hint="use DDP, or one process",
        )
    if scorer.sides_of(items) > 1:
        raise RunError(
            "the model's rotary embedding changes with the longest row of a forward, and "
            "the rows are on both sides of the length where it "
            "does, which FSDP does not allow here",
            hint=(
                "set max_tokens to that length (original_max_position_embeddings in the "
                "model's config.json), or use DDP"
            ),
        )


def _in_order(prepared: Prepared, options: Options, method: Method, policy: Any) -> list[Tokenized]:
    """All items that the scorer will meet, those of the first batch first; with the longest answers
    that may be drawn, if any are.
    """
    first = batching.rows_of_step(
        0, rows=len(prepared.train), batch_size=options.batch_size, seed=options.seed
    )
    rows = prepared.train.items
    known = set(first)
    items = [*(rows[i] for i in first), *(rows[i] for i in range(len(rows)) if i not in known)]
    items += prepared.evaluation.items if prepared.evaluation else ()
    if samples not in method.card.needs:
        return items
    answer = max((ids for item in items for ids in item.branches.values()), key=len)
    room = context_length(policy) or 2**30
    drawn = [
        dict.fromkeys(samples.branches, answer[: max(1, room - len(item.prompt))]) for item in items
    ]
    return [
        replace(item, branches={**item.branches, **own})
        for item, own in zip(items, drawn, strict=True)
    ]


def _average(method: Method) -> str:
    """The average over tokens as it is written on the command line; "" where there is none."""
    return "" if method.average is None else method.average.name


def read_reduction(given: str | Reduction | None, method: Method, groups: int) -> Reduction:
    """The reduction to train with. A setting `k` that was left open is the number of groups in the
    data.
    """
    if given is None:
        return method.reduction
    if isinstance(given, Reduction):
        return given
    name, _, rest = given.partition(":")
    factory = REDUCTIONS.get(name.strip())
    if factory is not None and "k" in settings_of(factory) and "k=" not in rest.replace(" ", ""):
        if not groups:
            raise OptionError(
                f"the reduction {given!r} needs groups, and the rows have none",
                hint="add a `group` column",
            )
        given = f"{name}:" + ",".join(filter(None, [rest, f"k={groups}"]))
    return parse(given)


def _tokenizer_for(request: RunRequest, policy: Any, notes: list[str]) -> Any:
    source = request.tokenizer
    if source is None:
        source = (
            request.model
            if not isinstance(request.model, nn.Module)
            else getattr(request.model, "name_or_path", "")
        )
    if not source:
        raise OptionError(
            "the model does not say where it came from, so its tokenizer cannot be found",
            hint="give tokenizer=",
        )
    return load_tokenizer(
        source, model=policy, trust_remote_code=request.options.trust_remote_code, notes=notes
    )


def _rows_and_question(
    context: Distributed, request: RunRequest, tokenizer: Any, quarantine: Path
) -> tuple[Prepared, BoundObjective]:
    probe = read_reduction(request.reduction, request.method, groups=1)
    with (
        TemporaryDirectory() as scratch
    ):  # all processes read all rows, one of them keeps what it quarantines
        folder, options = quarantine if context.is_main else Path(scratch), request.options
        if folder != request.out:  # a quarantine of the user's own name stays as it is, too
            options = replace(options, quarantine=bool(options.quarantine))
        prepared = prepare(
            request.method,
            probe,
            tokenizer,
            options,
            data=request.data,
            eval_data=request.eval_data,
            out=folder,
        )
    reduction = read_reduction(request.reduction, request.method, groups=len(prepared.groups))
    return prepared, BoundObjective(
        request.method, request.settings, reduction, prepared.groups, prepared.raters
    )


def _reference(
    context: Distributed,
    request: RunRequest,
    scorer: nn.Module,
    prepared: Prepared,
    asked: Asked | None,
) -> Reference | None:
    if asked is None:
        return None
    items = [
        compared(item)
        for item in (
            *prepared.train.items,
            *(prepared.evaluation.items if prepared.evaluation else ()),
        )
    ]
    options = request.options
    return reference_log_probs(
        context,
        scorer,
        asked,
        items,
        precision=options.precision,
        cache=Path(options.reference_cache)
        if options.reference_cache
        else request.out / "reference",
        tokens=options.budget(context.device.type),
        path=options.path,
        verify=verify,
    )


def _with_reference(
    prepared: Prepared, reference: Reference | None
) -> tuple[Examples, Examples | None]:
    if reference is None:
        return prepared.train, prepared.evaluation
    cut = len(prepared.train)
    evaluation = prepared.evaluation and with_reference(prepared.evaluation, reference.items[cut:])
    return with_reference(prepared.train, reference.items[:cut]), evaluation


def _written(given: str | Reduction | None, made: Reduction) -> str:
    return given if isinstance(given, str) else made.name


def _said(
    context: Distributed,
    scored_by: Mapping[str, Verification],
    reference: Reference | None,
    record: Mapping[str, Any],
) -> list[str]:
    said = [said_of(scored_by["scoring"])]
    if "reference_scoring" in scored_by:
        said.append(f"reference {said_of(scored_by['reference_scoring'])}")
    if reference is not None:
        said.append(f"reference: {reference.who}")
    weights = record["weights"]
    said.append(
        f"training {weights['trained']:,} of {weights['all']:,} weights, "
        f"{record['steps']:,} steps, {context.wrapping}"
    )
    return said


def open_run(out: Path, record: Mapping[str, Any] | None, resume: bool) -> None:
    """Refuse a folder that holds something else than a run to go on with."""
    if record is not None and not resume:
        raise RunError(
            f"{out} already holds a run ({record['status']})",
            hint="resume=True goes on with it; another out starts a new one",
        )
    if (
        record is None
        and out.is_dir()
        and any(
            path.name not in BEFORE_THE_RECORD and not path.name.startswith(TEMPORARY)
            for path in out.iterdir()
        )
    ):
        raise RunError(
            f"{shown(str(out))} is not empty and holds no run", hint="give another out folder"
        )
