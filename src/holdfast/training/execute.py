"""A run from beginning to end: its folder held, set up or gone on with, its steps logged and
checkpointed, its model left, and a record however it ends.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeGuard

from holdfast.card import Reduction
from holdfast.errors import OptionError, RunError, shown
from holdfast.files import (
    TEMPORARY,
    folder_to_write,
    reason,
    sweep,
    whole_folder,
    write_text,
    writing,
)
from holdfast.models.load import progress_bars_only_on_terminals
from holdfast.models.run_record import read_record
from holdfast.signals import Interrupted, Interruption, unwinding
from holdfast.training.distributed import Distributed
from holdfast.training.loading import load
from holdfast.training.loop import Metrics, evaluate, steps
from holdfast.training.metrics import peak_memory_gib
from holdfast.training.model import final_weights, training_mode
from holdfast.training.objective import MethodState
from holdfast.training.options import Options
from holdfast.training.progress import Progress
from holdfast.training.request import RunRequest
from holdfast.training.run import checkpoint
from holdfast.training.run.folder import METRICS, REPORT, Run
from holdfast.training.run.lock import HOLDER, LOCK, locked
from holdfast.training.run.log import MetricsLog, cut_back
from holdfast.training.run.record import now, write_record
from holdfast.training.settings import try_settings
from holdfast.training.setup import begin
from holdfast.training.state import RunState
from holdfast.typed import typed

# what a run killed in its first moments leaves
BEFORE_THE_RECORD = {LOCK, HOLDER, "reference", "quarantine.jsonl", "quarantine-eval.jsonl"}


def carry_out(request: RunRequest, *, resume: bool) -> Run:
    """Do what was asked, or go on with it, and leave a record however it ends."""
    if request.reduction is not None and not isinstance(request.reduction, Reduction):
        typed("reduction", str, request.reduction)
    try_settings(request.method, request.settings)
    try:
        request = replace(request, out=folder_to_write(request.out))
    except OptionError:
        record = read_record(request.out) if typed("resume", bool, resume) else None
        if not is_finished(record, request.out):
            raise
        return read_only(request, record)
    with opened(request.out, request.options, resume) as (context, before):
        finished = Run(request.out)
        if is_finished(before, request.out):
            load(context, request, before)  # refuses another run
            if context.is_main and not (request.out / REPORT).is_file():
                report(request, finished)
            return finished
        if context.is_main:
            sweep(request.out)
        run = begin(context, request, before)
        with recorded(run.out, run.record, active=context.is_main):
            run_to_the_end(run, request)
        return finished


def is_finished(record: Mapping[str, Any] | None, out: Path) -> TypeGuard[Mapping[str, Any]]:
    """Whether a run has nothing left to do. One without its model takes its last steps again."""
    return record is not None and record["status"] == "finished" and Run(out).model_path.is_dir()


def read_only(request: RunRequest, record: Mapping[str, Any]) -> Run:
    """A finished run where nothing can be written is the run, if it is of what was asked."""
    context = Distributed(precision=request.options.precision)
    load(context, request, record)
    return Run(request.out)


def stage_is_done(request: RunRequest, records: Mapping[str, Any]) -> bool:
    """Whether a stage of a run has its model; that it is of what was asked for is for the run's
    record to say.
    """
    record = records.get(request.stage.name, {})
    return record.get("status") == "finished" and (request.place / "model").is_dir()


def train_stage(request: RunRequest, whole: dict[str, Any], records: dict[str, Any]) -> None:
    """Train a stage of a run of several, or go on with it.

    Args:
        request: what the stage is to do.
        whole: the run's record.
        records: the part of it that holds the stages' own, by name.
    """
    options, stage = request.options, request.stage
    before = records.get(stage.name)
    request.place.mkdir(parents=True, exist_ok=True)
    sweep(request.place)
    context = Distributed(precision=options.precision, track=options.track, folder=request.out)
    run = begin(context, request, before)
    run.record |= {"first_step": stage.first_step, "metrics_bytes": stage.metrics_bytes}
    run.whole, records[stage.name] = whole, run.record
    run_to_the_end(run, request)
    shutil.rmtree(run.checkpoints, ignore_errors=True)  # the model is there


# ------------------------------------------------------------ the folder


@contextmanager
def opened(
    out: Path, options: Options, resume: bool
) -> Iterator[tuple[Distributed, dict[str, Any] | None]]:
    """The run's folder, seen to and held while the block runs: its processes, and the record of the
    run to go on with.
    """
    resume = typed("resume", bool, resume)
    open_run(out, resume)
    context = Distributed(precision=options.precision, track=options.track, folder=out)
    with (
        unwinding(),
        alone(context, out),
        writing(f"the run in {out}", hint="make room, or give it a place that can be written"),
    ):
        before = open_run(out, resume)  # again: another process may have begun one meanwhile
        context.wait()
        yield context, before


def open_run(out: Path, resume: bool) -> dict[str, Any] | None:
    """The record of the run to go on with, None for a new one. Refuses a folder that holds
    something else.
    """
    record = read_record(out)
    if record is not None and not resume:
        raise RunError(
            f"{out} already holds a run ({record['status']})",
            hint="resume=True goes on with it; another out starts a new one",
        )
    if record is None and out.is_dir():
        others = {path.name for path in out.iterdir()} - BEFORE_THE_RECORD
        if any(not name.startswith(TEMPORARY) for name in others):
            raise RunError(
                f"{shown(str(out))} is not empty and holds no run", hint="give another out folder"
            )
    return record


@contextmanager
def alone(context: Distributed, out: Path) -> Iterator[None]:
    """The lock on the run's folder, which the main process holds for all processes of the run."""
    with ExitStack() as held:
        refused = None
        if context.is_main:
            try:
                held.enter_context(locked(out))
            except RunError as error:
                refused = error
        refused = context.gather(refused)[0]
        if refused is not None:
            raise refused
        yield


@contextmanager
def recorded(out: Path, record: dict[str, Any], *, active: bool) -> Iterator[None]:
    """Whatever ends the run stands in its record, which the main process writes."""
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, Interrupted | KeyboardInterrupt | SystemExit)
        record |= {"status": "interrupted" if stopped else "failed", "stopped": now()}
        record["error"] = f"{type(error).__name__}: {error}"
        if active:
            with suppress(OSError):  # of a full disk: the error itself matters more
                write_record(out, record)
        raise


def restore(run: RunState) -> None:
    """Go on from the newest checkpoint if there is one, and cut the metrics back to it."""
    resumed = checkpoint.load(
        run.context,
        run.checkpoints,
        run.scorer,
        run.optimizer,
        asdict(run.state),
        run=run.record["id"],
    )
    if resumed is not None:
        position, state = resumed
        run.state = MethodState(**state)
        run.step, run.seconds = position.step, position.seconds
        run.metrics_bytes = position.metrics_bytes
        run.scheduler.load_state_dict(dict(position.scheduler))
        run.said.append(f"resuming after step {run.step}")
    if run.context.is_main:
        lost = cut_back(run.out / METRICS, run.metrics_bytes)
        if lost:
            text = (
                f"{run.out / METRICS} lacks {lost:,} of the {run.metrics_bytes:,} bytes "
                f"it held at step {run.step}: "
                "metrics of some earlier steps are lost; the weights are not affected"
            )
            run.said.append(f"warning: {text}")
            run.record["notes"].append(text)
    run.save_record()


# ------------------------------------------------------------ the steps


def run_to_the_end(run: RunState, request: RunRequest) -> None:
    """Go on from the newest checkpoint, take the steps that are left, with log, progress, trackers
    and checkpoints, and leave the model. A signal that was caught ends the steps, after a
    checkpoint.
    """
    restore(run)
    training_mode(run.scorer, run.options)
    with followed(run) as (log, progress), Interruption() as interruption:
        for text in run.said:
            progress.say(text)
        if run.step == 0:
            log_evaluation(run, log, progress)
        for metrics in steps(run):
            log_metrics(run, log, metrics)
            progress.step(run.step, metrics)
            every = run.options.eval_every
            if run.step == run.total or (every and run.step % every == 0):
                log_evaluation(run, log, progress)
            stop = run.context.any(bool(interruption.caught))
            due = run.options.save_every and run.step % run.options.save_every == 0
            if run.step < run.total and (due or stop):
                saved = save_checkpoint(run, log, progress)
                if stop:
                    raise stopped(run, interruption.caught, saved)
        run.record["results"] |= {
            "seconds": run.seconds,
            "peak_memory_gib": peak_memory_gib(run.context.device),
        }
        finish(run, request, progress)


@contextmanager
def followed(run: RunState) -> Iterator[tuple[MetricsLog, Progress]]:
    """The log and the view of the steps, and the trackers if there are any."""
    log = MetricsLog(run.out / METRICS, active=run.context.is_main)
    if run.options.track:
        run.context.accelerator.init_trackers("holdfast", config=tracked_config(run.record))
    try:
        with Progress(
            title=f"{run.objective.method.name} -> {run.out}",
            total=run.total,
            log_every=run.options.log_every,
            active=run.context.is_main,
        ) as progress:
            yield log, progress
    finally:
        log.close()
        if run.options.track:  # `end_training` would also end the process group
            for tracker in run.context.accelerator.trackers:
                tracker.finish()


def log_metrics(run: RunState, log: MetricsLog, metrics: Metrics) -> None:
    step = run.stage.first_step + metrics["step"]
    with writing("metrics.jsonl", hint="make room, then resume=True"):
        log.write({"step": step, **run.stage.tags} | metrics | {"step": step})
    if run.options.track:
        values = {name: value for name, value in metrics.items() if name != "step"}
        run.context.accelerator.log(values, step=step)


def log_evaluation(run: RunState, log: MetricsLog, progress: Progress) -> None:
    metrics = evaluate(run)
    if metrics is not None:
        log_metrics(run, log, metrics)
        progress.evaluation(run.step, metrics)


def tracked_config(record: dict[str, Any]) -> dict[str, Any]:
    """What a tracker shows as a run's configuration."""
    flat = {
        **record["settings"],
        **record["options"],
        "method": record["method"],
        "reduction": record["reduction"],
    }
    return {
        name: value if isinstance(value, int | float | str | bool) else str(value)
        for name, value in flat.items()
    }


def save_checkpoint(run: RunState, log: MetricsLog, progress: Progress) -> bool:
    """Write a checkpoint. A full disk is said and noted, and the run goes on with the checkpoints
    it has.
    """
    problem = ""
    try:
        log.sync()
        position = checkpoint.Position(
            run.record["id"], run.step, log.bytes, run.seconds, run.scheduler.state_dict()
        )
        checkpoint.save(
            run.context,
            run.checkpoints,
            run.scorer,
            run.optimizer,
            asdict(run.state),
            position,
            keep=run.options.keep_checkpoints,
        )
    except OSError as error:
        problem = reason(error)
        text = (
            f"no checkpoint was written at step {run.step}: {problem}; earlier ones are untouched"
        )
        run.record["notes"].append(text)
        progress.say(text)
        with suppress(OSError):
            run.save_record()
    return not run.context.any(bool(problem))


def stopped(run: RunState, signum: int, saved: bool) -> Interrupted:
    where = f"after step {run.step} of {run.total}"
    if not saved:
        return Interrupted(
            f"stopped {where}; no checkpoint could be written",
            signum=signum,
            hint="resume=True goes on from the one before",
        )
    return Interrupted(
        f"stopped {where}; a checkpoint was written to {run.checkpoints}",
        signum=signum,
        hint="resume=True goes on from there",
    )


# ------------------------------------------------------------ the end


def finish(run: RunState, request: RunRequest, progress: Progress) -> None:
    """Leave the model, its card and the finished record."""
    weights = final_weights(run.context.unwrap(run.scorer))
    broken = sorted(name for name, tensor in weights.items() if not bool(tensor.isfinite().all()))
    if run.context.any(bool(broken)):  # no loss is read after the last step, which would tell
        named = f": {', '.join(broken[:3])}" if broken else ""
        raise RunError(
            f"the last step left weights that are not finite{named}",
            hint="try a lower learning_rate, or a smaller max_grad_norm",
        )
    if run.context.is_main:
        run.record["results"] |= results(run, Run(run.out).metrics)
        run.record |= {"status": "finished", "finished": now()}
        run.record.pop("error", None)
        with writing("the model", hint="make room, then resume=True"):
            # replaced where the run was killed between its model and its record
            with (
                whole_folder(run.model_path, replace=True) as folder,
                progress_bars_only_on_terminals(),
            ):
                run.task.save(run.model, run.processor, weights, folder)
                write_text(folder / "README.md", run.task.card(run.record, run.objective.method))
            run.save_record()
        page = "" if run.stage.folder else report(request, Run(run.out))
        progress.say(f"the model is in {run.model_path}{page}")
    run.context.wait()


def results(run: RunState, metrics: list[Metrics]) -> dict[str, Any]:
    """What came out, from the stage's own metrics."""
    tags = run.stage.tags.items()
    metrics = [line for line in metrics if all(line.get(name) == tag for name, tag in tags)]
    evaluations = [line for line in metrics if any(name.startswith("eval/") for name in line)]
    found: dict[str, Any] = {}
    if evaluations:
        if evaluations[0]["step"] == run.stage.first_step:
            found["eval_before"] = evaluations[0]
        found["eval_after"] = evaluations[-1]
    taken = [line for line in metrics if "loss" in line]
    if taken:
        found["last_step"] = taken[-1]
    if run.last_evaluation is not None:
        found |= run.task.results(*run.last_evaluation)
    return found


def report(request: RunRequest, finished: Run) -> str:
    """Leave the run's page. A run is finished without it, too, and resuming it writes the page that
    is missing.
    """
    page = request.task.page(request.method, finished)
    if page is None:
        return ""
    try:
        path = page.write(finished.out / REPORT, pictures=request.task.pictures)[0]
    except OSError as error:
        return f"; no report was written ({reason(error)}); resume=True writes it"
    return f", its report is {path}"
