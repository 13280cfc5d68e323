"""The loop: what is trained (a `Task`) and on which objective is none of its business.

    for n in range(done, total):
        examples = source.step(n)
        result = gradient(context, scorer, objective, examples, state)
        optimizer.step()
        state = result.state

Around it stand a record, checkpoints, metrics and signals (`run/`), so that a run that was stopped
anywhere goes on to the same numbers.

Departures from the usual trainer:
    1. A batch is a batch: its gradient is exact however it is cut into microbatches and processes,
       for averages and for worst cases.
    2. Dropout is off unless asked for, so that the first loss can be checked against its known
       value.
    3. The last, short batch of an epoch is kept.
    4. The reference is the policy before its first step, scored once; there is no second model in
       memory.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from holdfast.card import Reduction
from holdfast.errors import RunError
from holdfast.files import (
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
from holdfast.training import batching
from holdfast.training.distributed import Distributed
from holdfast.training.gradient import (
    BatchResult,
    Examples,
    MethodState,
    evaluate_batch,
    gradient,
    score_batch,
)
from holdfast.training.guard import check_finite, check_gradient, check_start
from holdfast.training.metrics import memory_metrics, peak_memory_gib, prefixed
from holdfast.training.model import final_weights, save_policy
from holdfast.training.progress import Progress
from holdfast.training.run import checkpoint
from holdfast.training.run.folder import METRICS, REPORT, Run
from holdfast.training.run.lock import locked
from holdfast.training.run.log import MetricsLog, cut_back
from holdfast.training.run.record import now
from holdfast.training.setup import RunRequest, RunState, begin, open_run, take_in, try_settings
from holdfast.typed import typed


def carry_out(request: RunRequest, *, resume: bool) -> Run:
    """Do what was asked, or go on with it, and leave a record however it ends."""
    resume = typed("resume", bool, resume)
    if request.reduction is not None and not isinstance(request.reduction, Reduction):
        typed("reduction", str, request.reduction)
    try_settings(request.method, request.settings)
    request = replace(request, out=folder_to_write(request.out))
    open_run(request.out, read_record(request.out), resume)
    context = Distributed(
        precision=request.options.precision, track=request.options.track, folder=request.out
    )
    with (
        unwinding(),
        alone(context, request.out),
        writing(
            f"the run in {request.out}", hint="make room, or give it a place that can be written"
        ),
    ):
        before = read_record(request.out)  # again: another process may have begun one meanwhile
        open_run(request.out, before, resume)
        context.wait()
        if (
            before is not None
            and before["status"] == "finished"
            and Run(request.out).model_path.is_dir()
        ):  # else its last steps are taken again
            take_in(context, request, before)
            if context.is_main and not (request.out / REPORT).is_file():
                _report(request, Run(request.out))
            return Run(request.out)
        if context.is_main:
            sweep(request.out)
        run = begin(context, request, before)
        try:
            run_to_the_end(run, request)
        except BaseException as error:
            stopped = isinstance(error, Interrupted | KeyboardInterrupt | SystemExit)
            run.record |= {"status": "interrupted" if stopped else "failed", "stopped": now()}
            run.record["error"] = f"{type(error).__name__}: {error}"
            with suppress(OSError):  # of a full disk: the error itself matters more
                run.save_record()
            raise
        return Run(request.out)


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


def run_to_the_end(run: RunState, request: RunRequest) -> None:
    """Resume if there is something to resume from, take the steps, save the model."""
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
        run.step, run.seconds, run.metrics_bytes = (
            position.step,
            position.seconds,
            position.metrics_bytes,
        )
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
    run.mode(training=True)
    log = MetricsLog(run.out / METRICS, active=run.context.is_main)
    title = f"{run.objective.method.name} -> {run.out}"
    if run.options.track:
        run.context.accelerator.init_trackers("holdfast", config=_flat(run.record))
    try:
        with Progress(
            title=title,
            total=run.total,
            log_every=run.options.log_every,
            active=run.context.is_main,
        ) as progress:
            for text in run.said:
                progress.say(text)
            with Interruption() as interruption:
                steps(run, log, progress, interruption)
                run.record["results"] |= {
                    "seconds": run.seconds,
                    "peak_memory_gib": peak_memory_gib(run.context.device),
                }
                finish(run, request, progress)
    finally:
        log.close()
        if run.options.track:
            for (
                tracker
            ) in run.context.accelerator.trackers:  # end_training would also end the process group
                tracker.finish()


def steps(run: RunState, log: MetricsLog, progress: Progress, interruption: Interruption) -> None:
    """The loop. A signal that was caught ends it after the step and its checkpoint."""
    options, context = run.options, run.context
    if run.step == 0:
        evaluate(run, log, progress)
    while run.step < run.total:
        started = time.monotonic()
        rows = run.train.take(
            batching.rows_of_step(
                run.step, rows=len(run.train), batch_size=options.batch_size, seed=options.seed
            )
        )
        rows = run.with_samples(rows, run.step + 1)
        shards = batching.split(
            [item.tokens for item in rows.items],
            processes=context.size,
            budget=options.budget(context.device.type),
        )

        result = gradient(context, run.scorer, run.objective, rows, run.state, shards, run.router)
        check_finite(result, rows.rows, run.step + 1)
        gradient_norm = context.clip(run.scorer, options.max_grad_norm)
        check_gradient(gradient_norm, result, rows.rows, run.step + 1)
        if run.step == 0 and run.checks_start:
            run.record["departure_at_start"] = check_start(
                without_dropout(run, rows, shards, result),
                run.objective,
                precision=options.precision,
            )

        learning_rate = run.scheduler.get_last_lr()[0]
        run.optimizer.step()
        run.scheduler.step()
        run.optimizer.zero_grad(set_to_none=True)
        run.state = result.state
        run.step += 1

        seconds = time.monotonic() - started
        run.seconds += seconds
        tokens = sum(item.tokens for item in rows.items)
        metrics = {
            "step": run.step,
            "epoch": run.step / batching.steps_in_epoch(len(run.train), options.batch_size),
            **run.task.metrics(result, groups=run.objective.groups, robust=run.robust),
            **memory_metrics(run.state.method, run.objective.raters),
            **(run.router.metrics() if run.router is not None else {}),
            "gradient_norm": gradient_norm,
            "learning_rate": learning_rate,
            "tokens": tokens,
            "tokens_per_second": tokens / max(seconds, 1e-9),
            "seconds": run.seconds,
            "memory/peak_gib": peak_memory_gib(context.device),
        }
        note(run, log, metrics)
        progress.step(run.step, metrics)
        if run.step == run.total or (options.eval_every and run.step % options.eval_every == 0):
            evaluate(run, log, progress)

        asked_to_stop = (context.size > 1 and context.any(bool(interruption.caught))) or bool(
            interruption.caught
        )
        due = options.save_every and run.step % options.save_every == 0
        if run.step < run.total and (due or asked_to_stop):
            saved = save_checkpoint(run, log, progress)
            if asked_to_stop:
                raise _stopped(run, interruption.caught, saved)


def without_dropout(
    run: RunState, rows: Examples, shards: list[list[batching.Microbatch]], result: BatchResult
) -> BatchResult:
    """The result of a batch as the reference saw it: without dropout."""
    if not run.options.dropout:
        return result
    run.mode(training=False)
    parts = score_batch(run.context, run.scorer, rows.items, shards)
    run.mode(training=True)
    return evaluate_batch(run.objective, parts, rows, run.state)


def evaluate(run: RunState, log: MetricsLog, progress: Progress) -> None:
    """The same metrics on held-out rows, taken together as one batch, without gradient and without
    moving any state.
    """
    if run.evaluation is None:
        return
    rows = run.with_samples(run.evaluation, -run.step - 1)
    lengths = [item.tokens for item in rows.items]
    shards = batching.split(
        lengths, processes=run.context.size, budget=run.options.budget(run.context.device.type)
    )
    run.mode(training=False)
    result = evaluate_batch(
        run.objective, score_batch(run.context, run.scorer, rows.items, shards), rows, run.state
    )
    run.mode(training=True)
    run.last_look = result
    metrics = {
        "step": run.step,
        **prefixed(
            "eval", run.task.metrics(result, groups=run.objective.groups, robust=run.robust)
        ),
    }
    note(run, log, metrics)
    progress.evaluation(run.step, metrics)


def note(run: RunState, log: MetricsLog, metrics: dict[str, Any]) -> None:
    with writing("metrics.jsonl", hint="make room, then resume=True"):
        log.write(metrics)
    if run.options.track:
        run.context.accelerator.log(
            {name: value for name, value in metrics.items() if name != "step"}, step=run.step
        )


def save_checkpoint(run: RunState, log: MetricsLog, progress: Progress) -> bool:
    """Write a checkpoint. A full disk is said and noted, and the run goes on with the checkpoints
    it has.
    """
    trouble = ""
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
        trouble = reason(error)
        text = (
            f"no checkpoint was written at step {run.step}: {trouble}; earlier ones are untouched"
        )
        run.record["notes"].append(text)
        progress.say(text)
        with suppress(OSError):
            run.save_record()
    return not run.context.any(bool(trouble))


def finish(run: RunState, request: RunRequest, progress: Progress) -> None:
    """Leave the model, its card and the finished record."""
    finished = Run(run.out)
    weights = final_weights(run.context.unwrap(run.scorer))
    broken = sorted(name for name, tensor in weights.items() if not bool(tensor.isfinite().all()))
    if run.context.any(bool(broken)):  # no loss is read after the last step, which would tell
        named = f": {', '.join(broken[:3])}" if broken else ""
        raise RunError(
            f"the last step left weights that are not finite{named}",
            hint="try a lower learning_rate, or a smaller max_grad_norm",
        )
    if run.context.is_main:
        evaluations = [
            line for line in finished.metrics if any(name.startswith("eval/") for name in line)
        ]
        last = [line for line in finished.metrics if "loss" in line][-1:]
        if evaluations:
            first = (
                {"eval_before": evaluations[0]} if evaluations[0]["step"] == 0 else {}
            )  # metrics of its start may have been lost
            run.record["results"] |= {**first, "eval_after": evaluations[-1]}
        run.record["results"] |= {"last_step": last[0]} if last else {}
        if run.last_look is not None and run.evaluation is not None:
            run.record["results"] |= run.task.results(run.last_look, run.evaluation)
        run.record |= {"status": "finished", "finished": now()}
        run.record.pop("error", None)
        with writing("the model", hint="make room, then resume=True"):
            # replaced where the run was killed between its model and its record
            with (
                whole_folder(finished.model_path, replace=True) as folder,
                progress_bars_only_on_terminals(),
            ):
                save_policy(run.policy, run.tokenizer, weights, folder)
                write_text(folder / "README.md", run.task.card(run.record, run.objective.method))
            run.save_record()
        progress.say(f"the model is in {finished.model_path}" + _report(request, finished))
    run.context.wait()


def _report(request: RunRequest, finished: Run) -> str:
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


def _stopped(run: RunState, signum: int, saved: bool) -> Interrupted:
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
        hint="resume=True (--resume) goes on from there",
    )


def _flat(record: dict[str, Any]) -> dict[str, Any]:
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
