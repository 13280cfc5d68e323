"""Each training of a round as a stage of the run of self-play, set up as `train` would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.training.execute import stage_is_done, train_stage
from holdfast.training.options import Options, split_options
from holdfast.training.policy import POLICY
from holdfast.training.request import RunRequest, Stage
from holdfast.training.run.folder import METRICS
from holdfast.training.sources.rounds import Rounds, Training, say

IN_A_ROUND = {"quarantine": True, "save_every": 50}


def train_round(
    play: Rounds,
    training: Training,
    options: Options,
    given: Mapping[str, Any],
    record: dict[str, Any],
) -> None:
    """Train a part of a round, or go on with it, unless it is done.

    Args:
        play: the rounds.
        training: the part.
        options: of self-play; its seed gives each round its own.
        given: options and settings as they were given.
        record: of the run; the stage's own goes into it.
    """
    rounds, number = record["rounds"], training.number
    if len(rounds) < number:
        rounds.append({"round": number, "drawn": play.drawn(number), "stages": {}})
    own = {**given, **play.roles.by_round(number), **IN_A_ROUND}
    if number > 1 and options.lora_rank:  # the adapter is there, and is trained further
        own = {name: value for name, value in own.items() if not name.startswith("lora_")}
    stage_options, settings = split_options(
        play.method, {**own, "seed": options.seed + 1000 * number}
    )
    request = RunRequest(
        POLICY,
        play.method,
        settings,
        stage_options,
        str(training.model),
        training.data,
        play.out,
        {"method": play.method.name, "model": str(training.model), "data": str(training.data)},
        reference=None if play.sizes.reference == "current" else str(play.start),
        stage=stage_of(play, training, record),
    )
    stages = rounds[number - 1]["stages"]
    if stage_is_done(request, stages):
        return
    # what came after it, if anything did, began with what is trained now
    del rounds[number:]
    for later in list(stages)[_place(request.stage.name, stages) + 1 :]:
        del stages[later]
    what = "half a step" if training.half_step else "training"
    count = sum(1 for _ in training.data.open())
    say(f"round {number} of {play.sizes.rounds}: {what} on {count} comparisons")
    train_stage(request, record, stages)


def _place(name: str, stages: Mapping[str, Any]) -> int:
    return list(stages).index(name) if name in stages else len(stages)


def stage_of(play: Rounds, training: Training, record: Mapping[str, Any]) -> Stage:
    """Where the metrics of this training stand among those of the whole run."""
    name = "half_step" if training.half_step else "training"
    tags: dict[str, Any] = {"round": training.number}
    if play.roles.opponent == "midpoint":
        tags["half_step"] = training.half_step
    known = record["rounds"][training.number - 1]["stages"].get(name)
    if known is not None:
        first, length = known["first_step"], known["metrics_bytes"]
    else:
        before = [stage for entry in record["rounds"] for stage in entry["stages"].values()]
        metrics = play.out / METRICS
        first = sum(stage["steps"] for stage in before)
        length = metrics.stat().st_size if metrics.is_file() else 0
    return Stage(name, str(training.folder), first, length, tags)
