"""The loop: what is trained (a `Task`) and on which objective is none of its business.

    for n in range(done, total):
        examples = source.step(n)
        result = gradient(context, scorer, objective, examples, state)
        optimizer.step()
        state = result.state

Departures from the usual trainer:
    1. A batch is a batch: its gradient is exact however it is cut into microbatches and processes,
       for averages and for worst cases.
    2. Dropout is off unless asked for, so that the first loss can be checked against its known
       value.
    3. The last, short batch of an epoch is kept.
    4. The reference is the policy before its first step, scored once; there is no second model in
       memory, unless the method reads more of it than log-probabilities.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from holdfast.training.batching import Microbatch
from holdfast.training.examples import Examples
from holdfast.training.gradient import gradient, score_batch
from holdfast.training.guard import check_finite, check_gradient, check_start
from holdfast.training.metrics import peak_memory_gib, prefixed, state_metrics
from holdfast.training.model import evaluating
from holdfast.training.objective import BatchResult, evaluate_batch
from holdfast.training.state import RunState

Metrics = dict[str, Any]


def steps(run: RunState) -> Iterator[Metrics]:
    """Take the steps that are left, one each time the next metrics are asked for."""
    options, context = run.options, run.context
    for n in range(run.step, run.total):
        started = time.monotonic()
        examples = run.source.step(n)
        shards = run.shards(examples)
        result = gradient(
            context, run.scorer, run.objective, examples, run.state, shards, run.router
        )
        check_finite(result, examples.rows, n + 1)
        norm = context.clip(run.scorer, options.max_grad_norm)
        check_gradient(norm, result, examples.rows, n + 1)
        if n == 0 and run.starts_at_reference:
            run.record["departure_at_start"] = check_start(
                without_dropout(run, examples, shards, result),
                run.objective,
                precision=options.precision,
            )
        learning_rate = float(run.scheduler.get_last_lr()[0])
        run.optimizer.step()
        run.scheduler.step()
        run.optimizer.zero_grad(set_to_none=True)
        run.state = result.state
        run.step = n + 1
        seconds = time.monotonic() - started
        run.seconds += seconds
        yield step_metrics(run, examples, result, norm, learning_rate, seconds)


def step_metrics(
    run: RunState,
    examples: Examples,
    result: BatchResult,
    norm: float,
    learning_rate: float,
    seconds: float,
) -> Metrics:
    """What is logged of the step that was just taken."""
    tokens = sum(examples.tokens)
    return {
        "step": run.step,
        "epoch": run.step / run.source.steps_in_epoch,
        **run.task.metrics(result, groups=run.objective.groups, robust=run.robust),
        **state_metrics(run.state.method, run.objective.raters),
        **(run.router.metrics() if run.router is not None else {}),
        "grad_norm": norm,
        "learning_rate": learning_rate,
        "tokens": tokens,
        "tokens_per_second": tokens / max(seconds, 1e-9),
        "seconds": run.seconds,
        "memory/peak_gib": peak_memory_gib(run.context.device),
    }


def without_dropout(
    run: RunState, examples: Examples, shards: list[list[Microbatch]], result: BatchResult
) -> BatchResult:
    """The result of a batch as the reference saw it: without dropout."""
    if not run.options.dropout:
        return result
    with evaluating(run.scorer, run.options):
        parts = score_batch(run.context, run.scorer, examples.items, shards)
    return evaluate_batch(run.objective, parts, examples, run.state)


def evaluate(run: RunState) -> Metrics | None:
    """The same metrics on held-out examples, taken together as one batch, without gradient and
    without moving any state; None where none are held out.
    """
    examples = run.source.held_out(run.step)
    if examples is None:
        return None
    with evaluating(run.scorer, run.options):
        parts = score_batch(run.context, run.scorer, examples.items, run.shards(examples))
        result = evaluate_batch(run.objective, parts, examples, run.state)
    run.last_evaluation = result, examples
    found = run.task.metrics(result, groups=run.objective.groups, robust=run.robust)
    return {"step": run.step, **prefixed("eval", found)}
