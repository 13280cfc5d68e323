"""Self-play on text: a policy answers, a judge compares its answers with each other, and a step is
taken; again and again.

    run = selfplay("gpo", model="runs/sft", data="prompts.jsonl", judge="runs/judge",
        out="runs/selfplay", rounds=3, beta=1.0)

A round: draw answers from the current policy, ask the judge about all pairs of a prompt's answers,
write the comparisons down, and train on them with a method of the table: a solver's policy
objective (`gpo`), or any other method, as a control (`dpo` is iterated DPO).

It is one run of several stages, a training of a round each:

    out/run.json                          what was asked, and each round's record
    out/metrics.jsonl                     of all rounds; each line says of which
    out/rounds/001/                       the round's rows and its policy (`sources/rounds.py`)
    out/watched/001.json                  its answers to the prompts that are never trained on
    out/model/                            the policy of the last round
    out/report.html
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from holdfast.card import Method, check
from holdfast.data.reading import Reading
from holdfast.errors import OptionError, RunError, shown
from holdfast.files import folder_to_write, sweep, whole_folder
from holdfast.games import ROLES, Roles
from holdfast.generation import Backend, Generation, hugging_face_backend
from holdfast.methods import get
from holdfast.models.folder import content_of
from holdfast.models.load import load_tokenizer, resolve
from holdfast.rewards.functions import Judge, name_of
from holdfast.rewards.model import RewardModel
from holdfast.training.execute import opened, recorded
from holdfast.training.loading import written_average
from holdfast.training.options import Options, split_options
from holdfast.training.policy import POLICY
from holdfast.training.prompts import read_prompts, split_prompts
from holdfast.training.run.folder import REPORT, Run
from holdfast.training.run.record import (
    differences,
    new_record,
    now,
    recorded_call,
    refuse_another,
    write_record,
)
from holdfast.training.selfplay.pairs import Pairing, PairwiseJudge
from holdfast.training.selfplay.report import selfplay_page
from holdfast.training.selfplay.stages import train_round
from holdfast.training.selfplay.watch import Watch
from holdfast.training.settings import try_settings
from holdfast.training.sources.rounds import Rounds, Sizes, say
from holdfast.typed import typed_arguments
from holdfast.types import Text

OURS = ("save_every",)  # set for every round


@dataclass(frozen=True)
class SelfPlay(Run):
    """The folder of a run of self-play. `model_path` is the last round's policy."""

    def policy(self, number: int = -1) -> Path:
        """The folder of a round's policy: the last one's unless told otherwise; 0 is the start."""
        record = self.record
        number = range(record["selfplay"]["rounds"] + 1)[number]
        if number == 0:
            return Path(record["selfplay"]["start"])
        return self.out / "rounds" / f"{number:03d}" / "model"


def selfplay(
    method: str | Method = "gpo",
    *,
    model: str | os.PathLike[str],
    data: Any,
    judge: str | os.PathLike[str] | Judge | RewardModel,
    out: str | os.PathLike[str],
    rounds: int = 3,
    samples: int = 5,
    prompts: int = 256,
    watched: int = 64,
    pairing: Pairing | None = None,
    reference: Literal["current", "start"] | None = None,
    max_new_tokens: int = 128,
    temperature: float = 1.0,
    backend: Backend | None = None,
    resume: bool = False,
    progress: bool = True,
    **options_and_settings: Any,
) -> SelfPlay:
    """Improve a policy against its own answers by a judge's verdicts, round by round.

    Against a judge whose preferences are cyclic there is no best answer, only a best mixture
    (the minimax winner); single steps of self-play circle it, and the mixture of all rounds'
    policies ends nearer. The report shows both.

    Args:
        method: how a round trains, a name of `holdfast methods`: gpo steps on log-odds; sppo,
            mirror_descent, inpo, nash_md, egpo, ... are the policy objectives of the game solvers;
            dpo is iterated DPO.
        model: the policy to start from: hub name, folder, or run folder.
        data: the prompts: a file of texts, or rows of any format, of which only the prompts are
            read.
        judge: folder of a reward or preference model, or a function named
            package.module:function or file.py:function. In Python also the function itself,
            `judge(prompts, first, second) -> P(first is better)`.
        out: folder of the run, with a folder of each round.
        rounds: number of rounds.
        samples: answers drawn to each prompt.
        prompts: prompts answered in each round, drawn anew from the data.
        watched: prompts held out to measure every round's policy on; never trained on.
        pairing: best_worst trains on the best and the worst of the samples; independent on the
            first two, with the label drawn. As the method's proof asks unless given, and best_worst
            where it does not matter.
        reference: the reference model of a round: current, the policy that the round begins with,
            or start. As the method asks unless given.
        max_new_tokens: longest answer, in tokens.
        temperature: temperature of the answers trained on; watched prompts are answered at 1.
        backend: makes the generator of a round's policy from its folder; the model in this process
            unless given.
        resume: go on with the run in `out`, to the same numbers.
        progress: show bars, if the terminal can.
        **options_and_settings: of `train`, among them how rows are read (`holdfast.data.Reading`),
            and the method's own settings.

    Raises:
        OptionError, DataError, NeedError, ModelError: as `train`, before anything is drawn where
            possible.
        RunError: `out` holds something else, or another process is at work in it; self-play of
            something else is to be resumed; or a round in which no two answers differ.
    """
    given = {
        "model": model,
        "data": data,
        "judge": judge,
        "rounds": rounds,
        "samples": samples,
        "prompts": prompts,
        "watched": watched,
        "pairing": pairing,
        "reference": reference,
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
    }
    plain = typed_arguments(selfplay, {**given, "resume": resume})
    check("temperature", plain["temperature"], plain["temperature"] >= 0, "be at least 0")
    reading, of_training = sorted_options(options_and_settings)
    method = get(method) if isinstance(method, str) else method
    options, settings = split_options(method, of_training)
    try_settings(method, settings)
    roles = ROLES.get(method.name, Roles("current", opponent="current"))
    sizes = sizes_of(plain, roles)
    start = _start(model)
    tokenizer = load_tokenizer(start)
    folder = folder_to_write(out)
    with opened(folder, options, resume) as (context, before):
        if context.size > 1:
            raise RunError(
                "self-play draws its answers in one process",
                hint="run it without `accelerate launch`",
            )
        everything = _prompts(data, reading, folder, new=before is None)
        training, watching = split_prompts(everything, sizes.watched, options.seed)
        sizes = replace(sizes, watched=len(watching))
        judged_by = judge.name if isinstance(judge, RewardModel) else name_of(judge)
        call = recorded_call(method, given, options_and_settings)
        record = record_of(
            method, settings, options, sizes, str(start), judged_by, _hash(everything), call
        )
        if before is not None:
            refuse_other_play(before, record)
            if is_finished(before, folder, sizes.rounds):
                return SelfPlay(folder)
            record = gone_on_with(before, record)
        play = Rounds(
            out=folder,
            method=method,
            roles=roles,
            start=start,
            tokenizer=tokenizer,
            judge=PairwiseJudge.of(judge, accept_loss=options.accept_loss),
            training=training,
            backend=backend or hugging_face_backend(progress=progress),
            generation=Generation(
                max_new_tokens=sizes.max_new_tokens,
                temperature=sizes.temperature,
                seed=options.seed,
            ),
            sizes=sizes,
            settings=settings,
            seed=options.seed,
            rendering={"template": options.template, "accept_loss": options.accept_loss},
        )
        watch = Watch(play, watching)
        sweep(folder)
        if (folder / "rounds").is_dir():
            sweep(folder / "rounds")
        write_record(folder, record)
        with recorded(folder, record, active=True):
            watch.look(0)
            for number in range(1, sizes.rounds + 1):
                for part in play.trainings(number):
                    train_round(play, part, options, of_training, record)
                watch.look(number)
            finish(play, watch, record)
    return SelfPlay(folder)


def finish(play: Rounds, watch: Watch, record: dict[str, Any]) -> None:
    """How every round's policy fares against every other's, the last one's model, and the page."""
    last = play.policy(play.sizes.rounds)
    metrics = Run(play.out).metrics
    for number, entry in enumerate(record["rounds"], 1):
        losses = [
            line["loss"]
            for line in metrics
            if line["round"] == number and "loss" in line and not line.get("half_step")
        ]
        entry["losses"] = {"first": losses[0], "last": losses[-1]} if losses else {}
    record["results"] = {"standings": watch.standings()}
    record |= {"status": "finished", "finished": now()}
    record.pop("error", None)
    with whole_folder(play.out / "model", replace=True) as folder:
        shutil.copytree(last, folder, dirs_exist_ok=True, copy_function=_link)
    answers = [[seen["answers"][p] for seen in watch.seen()] for p in range(len(watch.prompts))]
    page = selfplay_page(record, metrics, list(watch.prompts), answers)
    page.write(play.out / REPORT)
    write_record(play.out, record)  # last: what is finished has its report
    say(f"the policy is in {play.out / 'model'}, the report in {play.out / REPORT}")


# ------------------------------------------------------------ parts


def sizes_of(plain: Mapping[str, Any], roles: Roles) -> Sizes:
    """Numbers as they were given; pairing and reference as the solver has them unless given."""
    names = [field.name for field in fields(Sizes)]
    given = {name: plain[name] for name in names if plain[name] is not None}
    pairing = "independent" if roles.pairing == "independent" else "best_worst"
    return Sizes(**{"pairing": pairing, "reference": roles.reference, **given})


def sorted_options(given: Mapping[str, Any]) -> tuple[Reading, dict[str, Any]]:
    """How prompts are read, and what the trainings of the rounds are given."""
    read_by = {field.name for field in fields(Reading)}
    reading = {name: value for name, value in given.items() if name in read_by}
    others = {name: x for name, x in given.items() if name not in read_by and name not in OURS}
    return Reading.of(reading, "selfplay"), others


def record_of(
    method: Method,
    settings: Mapping[str, Any],
    options: Options,
    sizes: Sizes,
    start: str,
    judge: str,
    prompts_hash: str,
    call: Mapping[str, Any],
) -> dict[str, Any]:
    """The record of the run before its first round."""
    return new_record(
        method=method.name,
        settings=settings,
        reduction=method.reduction.name,
        average=written_average(method),
        options=options,
        identity={
            "model": content_of(start) or start,
            "judge": content_of(judge) or judge,
            "data": prompts_hash,
        },
        call=call,
        facts={
            "task": POLICY.name,
            "source": "rounds",
            "selfplay": {"start": start, "judge": judge, **asdict(sizes)},
            "rounds": [],
        },
    )


def is_finished(record: Mapping[str, Any], out: Path, rounds: int) -> bool:
    """Whether nothing is left to do, the report included."""
    return (
        record["status"] == "finished"
        and record["selfplay"]["rounds"] == rounds
        and (out / "model").is_dir()
        and (out / REPORT).is_file()
    )


def refuse_other_play(before: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Refuse to go on with self-play of something else: everything that differs is named. More
    rounds may be added. Where a model lies may change, what it holds may not.
    """
    if before.get("source") != "rounds":
        raise RunError("the folder holds a run of another kind", hint="give another out folder")
    old, new = before["selfplay"], json.loads(json.dumps(record["selfplay"]))
    found = [
        f"{name} was {shown(old.get(name))} and is now {shown(value)}"
        for name, value in new.items()
        if name not in {"rounds", "start", "judge"} and old.get(name) != value
    ]
    compared = ("method", "average", "reduction", "settings", "options", "identity")
    found += differences(before, {name: record[name] for name in compared})
    if new["rounds"] < old["rounds"]:
        found.append(f"rounds was {old['rounds']} and is now {new['rounds']} (more may be added)")
    refuse_another(found, what="self-play")


def gone_on_with(before: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of self-play that goes on: its id, its rounds so far, and what is asked now."""
    kept = {name: before[name] for name in ("id", "started", "notes", "rounds")}
    return {**record, **kept, "resumed": [*before["resumed"], {"at": now()}]}


def _start(model: str | os.PathLike[str]) -> Path:
    if not isinstance(model, str | os.PathLike):
        raise OptionError(
            "self-play begins with a model that lies in a folder or on the hub, so that "
            "rounds can go back to it"
        )
    return Path(resolve(model))


def _prompts(data: Any, reading: Reading, folder: Path, *, new: bool) -> list[Text]:
    """All prompts. What a run that is gone on with has quarantined stays as it is."""
    if new:
        return read_prompts(data, reading, folder)
    with TemporaryDirectory() as scratch:
        reading = replace(reading, quarantine=bool(reading.quarantine))
        return read_prompts(data, reading, Path(scratch))


def _hash(prompts: Sequence[Text]) -> str:
    return hashlib.sha256(json.dumps(prompts, sort_keys=True, default=dict).encode()).hexdigest()


def _link(source: str, target: str) -> str:
    """Both names for one file, where the disk can; else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
