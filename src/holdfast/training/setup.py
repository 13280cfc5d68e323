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
from holdfast.training import plan
from holdfast.training.live_scorer import compared, kept_in_memory, needs_reference, scorer_for
from holdfast.training.lock import HOLDER, LOCK
from holdfast.training.options import Options
from holdfast.training.policy import (
    build_optimizer,
    build_scheduler,
    enable_checkpointing,
    set_mode,
    with_adapter,
)
from holdfast.training.prepare import Prepared, prepare
from holdfast.training.record import differences, new_record, now, refuse_another, write_record
from holdfast.training.reference import (
    Asked,
    Reference,
    asked_reference,
    reference_log_probs,
    with_reference,
)
from holdfast.training.router import HINT, RouterLoss, router_loss
from holdfast.training.samples import Sampler, sampler_for
from holdfast.training.step import Memories, Outcome, Question, Rows
from holdfast.training.trainee import POLICY, Trainee
from holdfast.training.world import World
from holdfast.types import Scored, Tokenized

BEFORE_THE_RECORD = {
    LOCK,
    HOLDER,
    "reference",
    "quarantine.jsonl",
    "quarantine-eval.jsonl",
}  # what a run killed in its first moments leaves


@dataclass(frozen=True)
class Ask:
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
    trainee: Trainee = POLICY


@dataclass
class Job:
    """A run under way."""

    world: World
    options: Options
    out: Path
    question: Question
    train: Rows
    evaluation: Rows | None
    policy: Any
    tokenizer: Any
    scorer: nn.Module  # as DDP or FSDP want it
    optimizer: torch.optim.Optimizer
    scheduler: Any
    memories: Memories
    total: int
    record: dict[str, Any]
    said: list[str]
    checks_start: bool
    trainee: Trainee = POLICY
    sampler: Sampler | None = None
    router: RouterLoss | None = None
    last_look: Outcome | None = None  # at the held-out rows
    step: int = 0
    seconds: float = 0.0
    metrics_bytes: int = 0

    @property
    def checkpoints(self) -> Path:
        return self.out / "checkpoints"

    @property
    def robust(self) -> bool:
        return not self.question.reduction.linear

    def mode(self, *, training: bool) -> None:
        """Dropout only while training, and only if asked for."""
        options = self.options
        set_mode(
            self.scorer,
            dropout=options.dropout and training,
            checkpointing=options.gradient_checkpointing,
        )

    def with_samples(self, rows: Rows, step: int) -> Rows:
        """The rows, with new answers of the policy's own where the method asks for them."""
        if self.sampler is None:
            return rows
        self.mode(training=False)
        rows = self.sampler.draw(rows, step)
        self.mode(training=True)
        return rows

    def save_record(self) -> None:
        if self.world.is_main:
            write_record(self.out, self.record)


@dataclass
class Inputs:
    """What goes into a run: loaded, read and hashed, and not scored yet."""

    options: Options
    policy: Any
    tokenizer: Any
    prepared: Prepared
    question: Question
    start_hash: str
    reference: Asked | None
    identity: dict[str, str]
    notes: list[str]


def take_in(world: World, ask: Ask, before: Mapping[str, Any] | None) -> Inputs:
    """Load and read what was asked for, and refuse to go on with a run of something else before
    anything in its folder is touched.

    Args:
        world: the processes.
        ask: what was asked.
        before: the record of the run to go on with, None for a new one.

    Raises:
        RunError: `before` is of another method, model, data, settings or options; everything that
            differs is named.
    """
    if ask.options.reference_cache:
        folder_to_write(ask.options.reference_cache, "reference_cache")
    if before is None:
        return _inputs(world, ask, ask.out)
    plain: dict[str, Any] = {
        "method": ask.method.name,
        "average": _average(ask.method),
        "settings": ask.settings,
        "options": asdict(ask.options),
    }
    if ask.options.max_tokens is None:  # then the model will tell
        plain["options"].pop("max_tokens")
    if not isinstance(ask.reduction, Reduction):
        plain["reduction"] = _written(ask.reduction, ask.method.reduction)
    found = differences(before, plain)
    try:
        with TemporaryDirectory() as scratch:  # the run's own quarantine stays as it is
            inputs = _inputs(world, ask, Path(scratch))
    except HoldfastError:
        refuse_another(found)  # what went wrong may well follow from that
        raise
    whole = {**plain, "options": asdict(inputs.options), "identity": inputs.identity}
    whole["reduction"] = _written(ask.reduction, inputs.question.reduction)
    refuse_another(differences(before, whole))
    return inputs


def _inputs(world: World, ask: Ask, quarantine: Path) -> Inputs:
    options = ask.options
    notes: list[str] = []
    policy = ask.trainee.load(ask.model, options)
    if (
        options.max_tokens is None
    ):  # what the model has positions for: beyond it the numbers mean nothing
        options = replace(options, max_tokens=context_length(policy))
    ask = replace(ask, options=options)
    tokenizer = _tokenizer_for(ask, policy, notes)
    ask.trainee.ready(policy, tokenizer, options)
    prepared, question = _rows_and_question(world, ask, tokenizer, quarantine)
    start_hash = model_hash(policy)
    reference = None
    if (
        reference_input in ask.method.card.needs or ask.reference is not None
    ):  # where it was only named: for the metrics' sake
        trusted = options.trust_remote_code
        fresh = bool(options.lora_rank)
        reference = asked_reference(
            ask.reference,
            policy,
            start_hash=start_hash,
            fresh_adapter=fresh,
            trust_remote_code=trusted,
        )
    identity = {"model": start_hash, **prepared.identity}
    if reference is not None:
        identity["reference"] = reference.identity
    return Inputs(
        options, policy, tokenizer, prepared, question, start_hash, reference, identity, notes
    )


def begin(world: World, ask: Ask, before: Mapping[str, Any] | None) -> Job:
    """Make the job. `before` is the record of the run to go on with, None for a new one."""
    inputs = take_in(world, ask, before)
    options, out, policy, prepared, question = (
        inputs.options,
        ask.out,
        inputs.policy,
        inputs.prepared,
        inputs.question,
    )
    ask = replace(ask, options=options)
    torch.manual_seed(options.seed)
    fresh_adapter = bool(options.lora_rank)
    if fresh_adapter:
        policy = with_adapter(policy, options, ask.trainee.adapter_task)
    if options.gradient_checkpointing:
        enable_checkpointing(policy)
    if not world.sharded:
        policy.to(world.device)
    router, of_router = router_loss(
        policy, options.router_aux_loss, language_model=ask.trainee.what == POLICY.what
    )
    _refuse_router(world, ask.method, router)
    inner = scorer_for(
        ask.method,
        ask.trainee,
        world,
        policy,
        asked=ask.reference,
        fresh_adapter=fresh_adapter,
        path=options.path,
        trust_remote_code=options.trust_remote_code,
    )
    set_mode(inner, dropout=False, checkpointing=False)
    everything = _in_order(prepared, options, ask.method, policy)
    verification = verify(world, inner, everything)
    _refuse_apart(world, inner, everything, verification)
    sampler = sampler_for(
        ask.method,
        world,
        policy,
        asked=ask.reference,
        tokenizer=inputs.tokenizer,
        rows=prepared.train,
        seed=options.seed,
        tokens=options.budget(world.device.type),
        path=options.path,
        trust_remote_code=options.trust_remote_code,
    )
    scored_by = {"scoring": verification}
    if sampler is not None:
        scored_by["reference_scoring"] = verify(
            world, sampler.reference, [item.only(samples.branches) for item in everything]
        )
    scorer, optimizer = world.prepare(inner, build_optimizer(inner, options))
    reference = _reference(world, ask, scorer, prepared, inputs.reference)
    train, evaluation = _with_reference(prepared, reference)
    total = plan.total_steps(
        len(train), options.batch_size, epochs=options.epochs, max_steps=options.max_steps
    )
    if reference is not None and reference.verification is not None:
        scored_by["reference_scoring"] = reference.verification
    record = new_record(
        method=ask.method.name,
        settings=ask.settings,
        reduction=_written(ask.reduction, question.reduction),
        average=_average(ask.method),
        options=options,
        identity=inputs.identity,
        call=ask.call,
        facts={
            **prepared.facts,
            "trains": ask.trainee.what,
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
                "processes": world.size,
                "wrapping": world.wrapping,
                "device": str(world.device),
            },
        },
    )
    record["notes"] += inputs.notes
    record["id"] = world.gather(record["id"])[0]
    if before is not None:
        record |= {
            name: before[name]
            for name in ("id", "started", "notes", *prepared.facts)
            if name in before
        }
        record["resumed"] = [*before["resumed"], {"at": now()}]
    torch.manual_seed(options.seed + world.rank)
    return Job(
        world=world,
        options=options,
        out=out,
        question=question,
        train=train,
        evaluation=evaluation,
        policy=policy,
        tokenizer=inputs.tokenizer,
        scorer=scorer,
        optimizer=optimizer,
        scheduler=build_scheduler(optimizer, options, total),
        memories=question.first_memories(),
        total=total,
        record=record,
        said=[
            *(prepared.said if before is None else ()),
            *(f"note: {note}" for note in inputs.notes),
            *kept_in_memory(ask.method),
            *of_router,
            *_said(world, scored_by, reference, record),
        ],
        checks_start=reference is not None and reference.is_start,
        trainee=ask.trainee,
        sampler=sampler,
        router=router,
    )


def _refuse_router(world: World, method: Method, router: RouterLoss | None) -> None:
    """Where the routers of a policy cannot be listened to."""
    if router is None:
        return
    if world.sharded:
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
    """Ask the objective for the cost of two answers of one token, so that a setting out of range is
    refused before anything is loaded.
    """
    one = Scored(torch.zeros(2, 1), torch.ones(2, 1), torch.zeros(2, 1))
    inputs: dict[Input, Tensor] = {}
    extra: dict[str, Scored] = {}
    for need in (*method.card.needs, *method.reduction.needs):
        need.fill(inputs, extra, one)
    batch = method.takes.of({**dict.fromkeys(method.takes.MAIN, one), **extra}, inputs)
    with suppress(NeedError):  # of something that only real rows have
        costs(method, batch, settings, initial_memory(method))


def verify(world: World, scorer: BranchScorer, items: Sequence[Tokenized]) -> Verification:
    """Packed against padded on the first items and the longest; all processes take the padded path
    where one of them must.
    """
    found = scorer.verify(items)
    worst = max(world.gather(found), key=lambda one: (one.one_by_one, one.fell_back))
    if worst != found and worst.fell_back:
        scorer.adopt(worst)
        found = worst
    return found


def _refuse_apart(
    world: World, scorer: BranchScorer, items: Sequence[Tokenized], found: Verification
) -> None:
    """Sharded processes must run equally many forwards, so none of them can score rows apart from
    others.
    """
    if not world.sharded:
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
    first = plan.rows_of_step(
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


def _tokenizer_for(ask: Ask, policy: Any, notes: list[str]) -> Any:
    source = ask.tokenizer
    if source is None:
        source = (
            ask.model
            if not isinstance(ask.model, nn.Module)
            else getattr(ask.model, "name_or_path", "")
        )
    if not source:
        raise OptionError(
            "the model does not say where it came from, so its tokenizer cannot be found",
            hint="give tokenizer=",
        )
    return load_tokenizer(
        source, model=policy, trust_remote_code=ask.options.trust_remote_code, notes=notes
    )


def _rows_and_question(
    world: World, ask: Ask, tokenizer: Any, quarantine: Path
) -> tuple[Prepared, Question]:
    probe = read_reduction(ask.reduction, ask.method, groups=1)
    with (
        TemporaryDirectory() as scratch
    ):  # all processes read all rows, one of them keeps what it quarantines
        folder, options = quarantine if world.is_main else Path(scratch), ask.options
        if folder != ask.out:  # a quarantine of the user's own name stays as it is, too
            options = replace(options, quarantine=bool(options.quarantine))
        prepared = prepare(
            ask.method,
            probe,
            tokenizer,
            options,
            data=ask.data,
            eval_data=ask.eval_data,
            out=folder,
        )
    reduction = read_reduction(ask.reduction, ask.method, groups=len(prepared.groups))
    return prepared, Question(ask.method, ask.settings, reduction, prepared.groups, prepared.raters)


def _reference(
    world: World, ask: Ask, scorer: nn.Module, prepared: Prepared, asked: Asked | None
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
    options = ask.options
    return reference_log_probs(
        world,
        scorer,
        asked,
        items,
        precision=options.precision,
        cache=Path(options.reference_cache) if options.reference_cache else ask.out / "reference",
        tokens=options.budget(world.device.type),
        path=options.path,
        verify=verify,
    )


def _with_reference(prepared: Prepared, reference: Reference | None) -> tuple[Rows, Rows | None]:
    if reference is None:
        return prepared.train, prepared.evaluation
    cut = len(prepared.train)
    evaluation = prepared.evaluation and with_reference(prepared.evaluation, reference.items[cut:])
    return with_reference(prepared.train, reference.items[:cut]), evaluation


def _written(given: str | Reduction | None, made: Reduction) -> str:
    return given if isinstance(given, str) else made.name


def _said(
    world: World,
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
        f"{record['steps']:,} steps, {world.wrapping}"
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
