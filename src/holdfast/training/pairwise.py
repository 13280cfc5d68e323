"""Train a policy on comparisons or on single answers. Nothing here knows which method it trains.

    run = train("rdpo", model="folder", data="prefs.jsonl", out="runs/first", flip=0.2)
    # after a crash, or a Ctrl-C
    run = train("rdpo", model="folder", data="prefs.jsonl", out="runs/first", flip=0.2, resume=True)

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

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from holdfast.card import Average, Method, Reduction
from holdfast.errors import RunError
from holdfast.files import (
    folder_to_write,
    path_of,
    reason,
    sweep,
    whole_folder,
    write_text,
    writing,
)
from holdfast.methods import get
from holdfast.models.load import progress_bars_only_on_terminals
from holdfast.reductions import with_average
from holdfast.training import checkpoint, plan
from holdfast.training.guard import check_finite, check_gradient, check_start
from holdfast.training.live import View
from holdfast.training.lock import locked
from holdfast.training.log import MetricsLog, cut_back
from holdfast.training.metrics import memory_metrics, peak_memory_gib, prefixed
from holdfast.training.options import split_options
from holdfast.training.policy import final_weights, save_policy
from holdfast.training.record import now, read_record, recordable, repeatable_call
from holdfast.training.run import METRICS, REPORT, Run
from holdfast.training.setup import Ask, Job, begin, open_run, take_in, try_settings
from holdfast.training.signals import Interrupted, Interruption, unwinding
from holdfast.training.step import Memories, Outcome, Rows, judge, score_all, take_gradient
from holdfast.training.trainee import JUDGE
from holdfast.training.world import World
from holdfast.typed import typed


def train(
    method: str | Method,
    *,
    model: Any,
    data: Any,
    out: str | os.PathLike[str],
    reference: Any = None,
    eval_data: Any = None,
    tokenizer: Any = None,
    reduction: str | Reduction | None = None,
    average: str | Average | None = None,
    resume: bool = False,
    **options_and_settings: Any,
) -> Run:
    """Train a policy and leave a run in `out`: run.json, metrics.jsonl, checkpoints/, model/. Seeds
    torch's random numbers.

    Args:
        method: a name of the table (`holdfast methods`), or a method.
        model: hub name, folder, run folder, or a model (which is then trained in place).
        data: whatever `holdfast.read` takes.
        out: the run's folder.
        reference: hub name, folder or model; "adapter-off" for the model under an adapter; the
            policy before training unless given. Given to a method that needs none, it is scored for
            the metrics' sake.
        eval_data: rows to evaluate on, as `data`.
        tokenizer: where it is not with the model.
        reduction: how costs are averaged, such as "kl:temperature=0.5"; the method's own unless
            given.
        average: how the costs of an answer's tokens become one, for methods whose cost is a sum
            over tokens: "sum", "sequence_mean", "token_mean" of the whole batch, or
            "constant:length=512"; the method's own unless given.
        resume: go on with the run in `out` if there is one.
        **options_and_settings: fields of `Options`, and the method's own settings.

    Raises:
        OptionError: an option that nobody reads, or a value out of range.
        DataError, NeedError, ModelError: what the rows or the model lack.
        RunError: `out` holds a run and `resume` is off, or another run than this one, or another
            process is at work in it; a loss that is not finite; a full disk.
        Interrupted: SIGINT or SIGTERM; a checkpoint was written.
    """
    method = with_average(get(method) if isinstance(method, str) else method, average)
    options, settings = split_options(method, options_and_settings)
    given = {
        "model": model,
        "data": data,
        "eval_data": eval_data,
        "reference": reference,
        "tokenizer": tokenizer,
        "reduction": reduction,
        "average": average.name if isinstance(average, Average) else average,
    }
    call = written_call(method, given, options_and_settings)
    return carry_out(
        Ask(
            method,
            options,
            settings,
            model,
            data,
            path_of(out),
            reference,
            eval_data,
            tokenizer,
            reduction,
            call,
        ),
        resume=resume,
    )


def written_call(
    method: Method, given: Mapping[str, Any], more: Mapping[str, Any]
) -> dict[str, Any]:
    """The keywords of a call as the record holds them."""
    call = {
        "method": method.name,
        **{name: recordable(value) for name, value in given.items() if value is not None},
    }
    return call | {name: recordable(value) for name, value in more.items()}


def carry_out(ask: Ask, *, resume: bool) -> Run:
    """Do what was asked, or go on with it, and leave a record however it ends."""
    resume = typed("resume", bool, resume)
    if ask.reduction is not None and not isinstance(ask.reduction, Reduction):
        typed("reduction", str, ask.reduction)
    try_settings(ask.method, ask.settings)
    ask = replace(ask, out=folder_to_write(ask.out))
    open_run(ask.out, read_record(ask.out), resume)
    world = World(precision=ask.options.precision, track=ask.options.track, folder=ask.out)
    with (
        unwinding(),
        alone(world, ask.out),
        writing(f"the run in {ask.out}", hint="make room, or give it a place that can be written"),
    ):
        before = read_record(ask.out)  # again: another process may have begun one meanwhile
        open_run(ask.out, before, resume)
        world.wait()
        if (
            before is not None
            and before["status"] == "finished"
            and Run(ask.out).model_path.is_dir()
        ):  # else its last steps are taken again
            take_in(world, ask, before)
            if world.is_main and not (ask.out / REPORT).is_file():
                _report(ask, Run(ask.out))
            return Run(ask.out)
        if world.is_main:
            sweep(ask.out)
        job = begin(world, ask, before)
        try:
            run_to_the_end(job, ask)
        except BaseException as error:
            stopped = isinstance(error, Interrupted | KeyboardInterrupt | SystemExit)
            job.record |= {"status": "interrupted" if stopped else "failed", "stopped": now()}
            job.record["error"] = f"{type(error).__name__}: {error}"
            with suppress(OSError):  # of a full disk: the error itself matters more
                job.save_record()
            raise
        return Run(ask.out)


@contextmanager
def alone(world: World, out: Path) -> Iterator[None]:
    """The lock on the run's folder, which the main process holds for all processes of the run."""
    with ExitStack() as held:
        refused = None
        if world.is_main:
            try:
                held.enter_context(locked(out))
            except RunError as error:
                refused = error
        refused = world.gather(refused)[0]
        if refused is not None:
            raise refused
        yield


def run_to_the_end(job: Job, ask: Ask) -> None:
    """Resume if there is something to resume from, take the steps, save the model."""
    resumed = checkpoint.load(
        job.world,
        job.checkpoints,
        job.scorer,
        job.optimizer,
        asdict(job.memories),
        run=job.record["id"],
    )
    if resumed is not None:
        progress, memories = resumed
        job.memories = Memories(**memories)
        job.step, job.seconds, job.metrics_bytes = (
            progress.step,
            progress.seconds,
            progress.metrics_bytes,
        )
        job.scheduler.load_state_dict(dict(progress.scheduler))
        job.said.append(f"resuming after step {job.step}")
    if job.world.is_main:
        lost = cut_back(job.out / METRICS, job.metrics_bytes)
        if lost:
            text = (
                f"{job.out / METRICS} lacks {lost:,} of the {job.metrics_bytes:,} bytes "
                f"it held at step {job.step}: "
                "metrics of some earlier steps are lost; the weights are not affected"
            )
            job.said.append(f"warning: {text}")
            job.record["notes"].append(text)
    job.save_record()
    job.mode(training=True)
    log = MetricsLog(job.out / METRICS, active=job.world.is_main)
    title = f"{job.question.method.name} -> {job.out}"
    if job.options.track:
        job.world.accelerator.init_trackers("holdfast", config=_flat(job.record))
    try:
        with View(
            title=title, total=job.total, log_every=job.options.log_every, active=job.world.is_main
        ) as view:
            for text in job.said:
                view.say(text)
            with Interruption() as interruption:
                steps(job, log, view, interruption)
                job.record["results"] |= {
                    "seconds": job.seconds,
                    "peak_memory_gib": peak_memory_gib(job.world.device),
                }
                finish(job, ask, view)
    finally:
        log.close()
        if job.options.track:
            for (
                tracker
            ) in job.world.accelerator.trackers:  # end_training would also end the process group
                tracker.finish()


def steps(job: Job, log: MetricsLog, view: View, interruption: Interruption) -> None:
    """The loop. A signal that was caught ends it after the step and its checkpoint."""
    options, world = job.options, job.world
    if job.step == 0:
        evaluate(job, log, view)
    while job.step < job.total:
        started = time.monotonic()
        rows = job.train.take(
            plan.rows_of_step(
                job.step, rows=len(job.train), batch_size=options.batch_size, seed=options.seed
            )
        )
        rows = job.with_samples(rows, job.step + 1)
        hands = plan.split(
            [item.tokens for item in rows.items],
            processes=world.size,
            budget=options.budget(world.device.type),
        )

        outcome = take_gradient(
            world, job.scorer, job.question, rows, job.memories, hands, job.router
        )
        check_finite(outcome, rows.rows, job.step + 1)
        gradient_norm = world.clip(job.scorer, options.max_grad_norm)
        check_gradient(gradient_norm, outcome, rows.rows, job.step + 1)
        if job.step == 0 and job.checks_start:
            job.record["departure_at_start"] = check_start(
                without_dropout(job, rows, hands, outcome),
                job.question,
                precision=options.precision,
            )

        learning_rate = job.scheduler.get_last_lr()[0]
        job.optimizer.step()
        job.scheduler.step()
        job.optimizer.zero_grad(set_to_none=True)
        job.memories = outcome.memories
        job.step += 1

        seconds = time.monotonic() - started
        job.seconds += seconds
        tokens = sum(item.tokens for item in rows.items)
        metrics = {
            "step": job.step,
            "epoch": job.step / plan.steps_in_epoch(len(job.train), options.batch_size),
            **job.trainee.metrics(outcome, groups=job.question.groups, robust=job.robust),
            **memory_metrics(job.memories.method, job.question.raters),
            **(job.router.metrics() if job.router is not None else {}),
            "gradient_norm": gradient_norm,
            "learning_rate": learning_rate,
            "tokens": tokens,
            "tokens_per_second": tokens / max(seconds, 1e-9),
            "seconds": job.seconds,
            "memory/peak_gib": peak_memory_gib(world.device),
        }
        note(job, log, metrics)
        view.step(job.step, metrics)
        if job.step == job.total or (options.eval_every and job.step % options.eval_every == 0):
            evaluate(job, log, view)

        asked_to_stop = (world.size > 1 and world.any(bool(interruption.caught))) or bool(
            interruption.caught
        )
        due = options.save_every and job.step % options.save_every == 0
        if job.step < job.total and (due or asked_to_stop):
            saved = save_checkpoint(job, log, view)
            if asked_to_stop:
                raise _stopped(job, interruption.caught, saved)


def without_dropout(
    job: Job, rows: Rows, hands: list[list[plan.Microbatch]], outcome: Outcome
) -> Outcome:
    """The outcome of a batch as the reference saw it: without dropout."""
    if not job.options.dropout:
        return outcome
    job.mode(training=False)
    parts = score_all(job.world, job.scorer, rows.items, hands)
    job.mode(training=True)
    return judge(job.question, parts, rows, job.memories)


def evaluate(job: Job, log: MetricsLog, view: View) -> None:
    """The same metrics on held-out rows, taken together as one batch, without gradient and without
    moving any state.
    """
    if job.evaluation is None:
        return
    rows = job.with_samples(job.evaluation, -job.step - 1)
    lengths = [item.tokens for item in rows.items]
    hands = plan.split(
        lengths, processes=job.world.size, budget=job.options.budget(job.world.device.type)
    )
    job.mode(training=False)
    outcome = judge(
        job.question, score_all(job.world, job.scorer, rows.items, hands), rows, job.memories
    )
    job.mode(training=True)
    job.last_look = outcome
    metrics = {
        "step": job.step,
        **prefixed(
            "eval", job.trainee.metrics(outcome, groups=job.question.groups, robust=job.robust)
        ),
    }
    note(job, log, metrics)
    view.evaluation(job.step, metrics)


def note(job: Job, log: MetricsLog, metrics: dict[str, Any]) -> None:
    with writing("metrics.jsonl", hint="make room, then resume=True"):
        log.write(metrics)
    if job.options.track:
        job.world.accelerator.log(
            {name: value for name, value in metrics.items() if name != "step"}, step=job.step
        )


def save_checkpoint(job: Job, log: MetricsLog, view: View) -> bool:
    """Write a checkpoint. A full disk is said and noted, and the run goes on with the checkpoints
    it has.
    """
    trouble = ""
    try:
        log.sync()
        progress = checkpoint.Progress(
            job.record["id"], job.step, log.bytes, job.seconds, job.scheduler.state_dict()
        )
        checkpoint.save(
            job.world,
            job.checkpoints,
            job.scorer,
            job.optimizer,
            asdict(job.memories),
            progress,
            keep=job.options.keep_checkpoints,
        )
    except OSError as error:
        trouble = reason(error)
        text = (
            f"no checkpoint was written at step {job.step}: {trouble}; earlier ones are untouched"
        )
        job.record["notes"].append(text)
        view.say(text)
        with suppress(OSError):
            job.save_record()
    return not job.world.any(bool(trouble))


def finish(job: Job, ask: Ask, view: View) -> None:
    """Leave the model, its card and the finished record."""
    run = Run(job.out)
    weights = final_weights(job.world.unwrap(job.scorer))
    broken = sorted(name for name, tensor in weights.items() if not bool(tensor.isfinite().all()))
    if job.world.any(bool(broken)):  # no loss is read after the last step, which would tell
        named = f": {', '.join(broken[:3])}" if broken else ""
        raise RunError(
            f"the last step left weights that are not finite{named}",
            hint="try a lower learning_rate, or a smaller max_grad_norm",
        )
    if job.world.is_main:
        evaluations = [
            line for line in run.metrics if any(name.startswith("eval/") for name in line)
        ]
        last = [line for line in run.metrics if "loss" in line][-1:]
        if evaluations:
            first = (
                {"eval_before": evaluations[0]} if evaluations[0]["step"] == 0 else {}
            )  # metrics of its start may have been lost
            job.record["results"] |= {**first, "eval_after": evaluations[-1]}
        job.record["results"] |= {"last_step": last[0]} if last else {}
        if job.last_look is not None and job.evaluation is not None:
            job.record["results"] |= job.trainee.results(job.last_look, job.evaluation)
        job.record |= {"status": "finished", "finished": now()}
        job.record.pop("error", None)
        with writing("the model", hint="make room, then resume=True"):
            # replaced where the run was killed between its model and its record
            with (
                whole_folder(run.model_path, replace=True) as folder,
                progress_bars_only_on_terminals(),
            ):
                save_policy(job.policy, job.tokenizer, weights, folder)
                write_text(folder / "README.md", job.trainee.card(job.record, job.question.method))
            job.save_record()
        view.say(f"the model is in {run.model_path}" + _report(ask, run))
    job.world.wait()


def _report(ask: Ask, run: Run) -> str:
    """Leave the run's page. A run is finished without it, too, and resuming it writes the page that
    is missing.
    """
    page = ask.trainee.page(ask.method, run)
    if page is None:
        return ""
    try:
        path = page.write(run.out / REPORT, pictures=ask.trainee.pictures)[0]
    except OSError as error:
        return f"; no report was written ({reason(error)}); resume=True writes it"
    return f", its report is {path}"


def _stopped(job: Job, signum: int, saved: bool) -> Interrupted:
    where = f"after step {job.step} of {job.total}"
    if not saved:
        return Interrupted(
            f"stopped {where}; no checkpoint could be written",
            signum=signum,
            hint="resume=True goes on from the one before",
        )
    return Interrupted(
        f"stopped {where}; a checkpoint was written to {job.checkpoints}",
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


def rerun(record: str | os.PathLike[str], *, out: str | os.PathLike[str], **changes: Any) -> Run:
    """Do a recorded run again, in another folder. `changes` replaces keywords, and stands in for
    what a record cannot hold.
    """
    path = Path(record)
    path = path / "run.json" if path.is_dir() else path
    before = read_record(path.parent)
    if before is None:
        raise RunError(f"{path} is not a run record")
    before["call"] |= changes
    call = repeatable_call(before, path)
    if before.get("trains") == JUDGE:
        from holdfast.training.reward import train_reward

        return train_reward(call.pop("method"), out=out, **call)
    return train(call.pop("method"), out=out, **call)


__all__ = ["Interrupted", "Run", "rerun", "train"]
