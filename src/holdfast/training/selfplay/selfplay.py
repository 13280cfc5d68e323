"""Self-play on text: a policy answers, a judge compares its answers with each other, and a step is
taken; again and again.

    run = selfplay("gpo", model="runs/sft", data="prompts.jsonl", judge="runs/judge",
    out="runs/selfplay", rounds=3, beta=1.0)

A round: draw answers from the current policy, ask the judge about all pairs of a prompt's answers,
write the comparisons down, and train on them with a method of the table: a solver's learned twin
(`gpo`), or any other method, as a control (`dpo` is iterated DPO).

    out/selfplay.json                     what was asked, and each round's numbers
    out/rounds/001/pairs.jsonl            the comparisons (after a half-step, pairs_midpoint.jsonl)
    out/rounds/001/run/                   a run of `train`, with its model: the policy of round 1
    out/watched/001.json                  its answers to the prompts that are set aside to watch it
    out/report.html

Each part is written whole or not at all, so a run that is stopped anywhere goes on to the same
numbers.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from holdfast.card import Method, check
from holdfast.data.reading import QUARANTINE, Reading
from holdfast.data.render import tokenized_prompts
from holdfast.errors import OptionError, RunError, shown
from holdfast.evaluation.generate import Generated, text_of
from holdfast.evaluation.judge import RewardModel
from holdfast.evaluation.kl import sample_kl
from holdfast.evaluation.reward_source import Judge, name_of
from holdfast.files import (
    TEMPORARY,
    folder_to_write,
    read_json,
    sweep,
    whole_folder,
    write_json,
    write_text,
    writing,
)
from holdfast.games import ROLES, Roles
from holdfast.inputs import earlier_win_rate
from holdfast.methods import get
from holdfast.models.folder import content_of
from holdfast.models.load import load_policy, load_tokenizer, resolve
from holdfast.models.run_record import read_record
from holdfast.signals import Interrupted, unwinding
from holdfast.terminal import Terminal
from holdfast.training.options import FREE_ON_RESUME, split_options
from holdfast.training.policy import train
from holdfast.training.prompts import read_prompts, split_prompts
from holdfast.training.run.folder import REPORT, Run
from holdfast.training.run.lock import HOLDER, LOCK, locked
from holdfast.training.run.record import now, recordable, refuse_another, versions
from holdfast.training.sampler import HFSampler, Sampler
from holdfast.training.selfplay.columns import fill, gaps, mixture_weights, win_rates
from holdfast.training.selfplay.pairs import Pairing, Verdicts, comparisons
from holdfast.training.selfplay.report import selfplay_page, standings
from holdfast.training.settings import try_settings
from holdfast.typed import typed_arguments
from holdfast.types import Row, Text, Where
from holdfast.visible import json_text

RECORD = "selfplay.json"
OURS = ("save_every",)  # set for every round


@dataclass(frozen=True)
class SelfPlay:
    """A folder of self-play."""

    out: Path

    @property
    def record(self) -> dict[str, Any]:
        """What was asked, and the numbers of each round."""
        return read_json(self.out / RECORD)

    def policy(self, number: int = -1) -> Path:
        """The folder of a round's policy: the last one's unless told otherwise; 0 is the start."""
        record = self.record
        number = range(record["rounds"] + 1)[number]
        return (
            Path(record["start"])
            if number == 0
            else round_folder(self.out, number) / "run" / "model"
        )


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
    sampler: Sampler | None = None,
    resume: bool = False,
    progress: bool = True,
    **options_and_settings: Any,
) -> SelfPlay:
    """Improve a policy against its own answers by a judge's verdicts, round by round.

    Against a judge whose preferences run in circles there is no best answer, only a best mixture
    (the minimax winner); single steps of self-play go around it, and the mixture of all rounds'
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
        sampler: where answers come from; Hugging Face generate unless given.
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
    numbers = {
        "rounds": rounds,
        "samples": samples,
        "prompts": prompts,
        "watched": watched,
        "max_new_tokens": max_new_tokens,
    }
    plain = typed_arguments(
        selfplay,
        {
            **numbers,
            "temperature": temperature,
            "resume": resume,
            "reference": reference,
            "pairing": pairing,
        },
    )
    rounds, samples, prompts, watched, max_new_tokens = (plain[name] for name in numbers)
    temperature = plain["temperature"]
    check("temperature", temperature, temperature >= 0, "be at least 0")
    method = get(method) if isinstance(method, str) else method
    read_by = {field.name for field in fields(Reading)}
    reading = Reading.of(
        {name: value for name, value in options_and_settings.items() if name in read_by}, "selfplay"
    )
    given = {
        name: value
        for name, value in options_and_settings.items()
        if name not in OURS and name not in read_by
    }
    options, settings = split_options(method, given)
    try_settings(method, settings)
    roles = ROLES.get(method.name, Roles("current", opponent="current"))
    pairing = pairing or ("independent" if roles.pairing == "independent" else "best_worst")
    reference = reference or roles.reference
    check_sizes(
        rounds=rounds,
        samples=samples,
        prompts=prompts,
        watched=watched,
        max_new_tokens=max_new_tokens,
    )
    start = _start(model)
    tokenizer = load_tokenizer(start)
    folder = folder_to_write(out)
    open_folder(folder, resume)
    with (
        unwinding(),
        locked(folder),
        writing(f"the self-play in {folder}", hint="make room, then resume=True"),
    ):
        before = open_folder(folder, resume)  # again: another process may have begun one meanwhile
        with (
            TemporaryDirectory() as scratch
        ):  # what a run that is gone on with has set aside stays as it is
            aside = (
                reading if before is None else replace(reading, quarantine=bool(reading.quarantine))
            )
            everything = read_prompts(data, aside, folder if before is None else Path(scratch))
        training, watching = split_prompts(everything, watched, options.seed)
        named = judge.name if isinstance(judge, RewardModel) else name_of(judge)
        asked = {
            "method": method.name,
            "settings": settings,
            "start": str(start),
            "start_content": content_of(str(start)),
            "judge": named,
            "judge_content": content_of(named),
            "rounds": rounds,
            "samples": samples,
            "prompts": prompts,
            "watched": len(watching),
            "pairing": pairing,
            "reference": reference,
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "given": {name: recordable(value) for name, value in given.items()},
            "data": hashlib.sha256(
                json.dumps(everything, sort_keys=True, default=dict).encode()
            ).hexdigest(),
        }
        if before is not None:
            refuse_other_play(before, asked)
            done = before["status"] == "finished" and before["rounds"] == rounds
            if done and (folder / REPORT).is_file():
                return SelfPlay(folder)
        play = _Play(
            out=folder,
            method=method,
            roles=roles,
            start=start,
            tokenizer=tokenizer,
            verdicts=Verdicts.of(judge, accept_loss=options.accept_loss),
            training=training,
            watching=watching,
            sampler=sampler or HFSampler(max_new_tokens, temperature, progress=progress),
            watcher=sampler or HFSampler(max_new_tokens, 1.0, progress=progress),
            asked=asked,
            given=given,
            seed=options.seed,
            rendering={"template": options.template, "accept_loss": options.accept_loss},
            record=begin_record(folder, asked, before),
        )
        try:
            play.watch(0, start)
            for number in range(1, rounds + 1):
                play.round(number)
            play.finish()
        except BaseException as error:
            stopped = isinstance(error, Interrupted | KeyboardInterrupt | SystemExit)
            play.record |= {
                "status": "interrupted" if stopped else "failed",
                "error": f"{type(error).__name__}: {error}",
            }
            with suppress(OSError):  # of a full disk: the error itself matters more
                write_json(folder / RECORD, play.record)
            raise
    return SelfPlay(folder)


@dataclass
class _Play:
    """Self-play under way."""

    out: Path
    method: Method
    roles: Roles
    start: Path
    tokenizer: Any
    verdicts: Verdicts
    training: Sequence[Text]
    watching: Sequence[Text]
    sampler: Sampler
    watcher: Sampler
    asked: Mapping[str, Any]
    given: Mapping[str, Any]
    seed: int
    rendering: Mapping[str, Any]
    record: dict[str, Any]

    def round(self, number: int) -> None:
        """Draw, compare, train, watch: whatever of it is not done yet."""
        folder = round_folder(self.out, number)
        current = self._policy(number - 1)
        if not (folder / "pairs.jsonl").is_file():
            self._draw(number, current, folder)
        data = folder / "pairs.jsonl"
        if self.roles.opponent == "midpoint":
            data = self._after_half_a_step(number, current, folder)
        self._train(number, current, data, folder / "run", "training")
        self.watch(number, folder / "run" / "model")

    def _policy(self, number: int) -> Path:
        return self.start if number < 1 else round_folder(self.out, number) / "run" / "model"

    def _train(self, number: int, current: Path, data: Path, out: Path, what: str) -> None:
        if (read_record(out) or {}).get("status") == "finished" and (
            out / "model"
        ).is_dir():  # of what was asked for: that was compared
            return
        if not (out / "model").is_dir():
            say(
                f"round {number} of {self.asked['rounds']}: {what} on "
                f"{sum(1 for _ in data.open())} comparisons"
            )
        train(
            self.method,
            model=str(current),
            data=data,
            out=out,
            reference=None if self.asked["reference"] == "current" else str(self.start),
            resume=True,
            quarantine=True,
            save_every=50,
            **{**self.given, **self.roles.by_round(number), "seed": self.seed + 1000 * number},
        )

    def _draw(self, number: int, current: Path, folder: Path) -> None:
        chosen = self._prompts_of(number)
        say(
            f"round {number} of {self.asked['rounds']}: {len(chosen)} prompts, "
            f"{self.asked['samples']} answers each"
        )
        drawn = self._drawn(current, chosen, number, 0)
        texts = self._texts(drawn)
        weight_PG = None
        if self.roles.opponent == "mixture":
            settings = self.asked["settings"]
            weight_PG = mixture_weights(
                current, self.start, drawn, settings["eta"] * settings["beta"]
            )
        pref_PGG = self.verdicts.tables(chosen, texts)
        how: dict[str, Any] = {
            "pairing": self.asked["pairing"],
            "seed": self.seed * 7919 + number,
            "weight_PG": weight_PG,
        }
        rows, places, aside = comparisons(chosen, texts, pref_PGG, **how)
        if not rows:
            raise RunError(
                f"round {number}: no prompt has two answers that differ",
                hint="more samples, or a higher temperature",
            )
        before = self._policy(number - 2)
        if earlier_win_rate in self.method.card.needs:
            others = (
                texts if before == current else self._texts(self._drawn(before, chosen, number, 2))
            )
            fill(rows, places, "earlier_win_rate", win_rates(self.verdicts, chosen, texts, others))
        shutil.rmtree(folder, ignore_errors=True)
        with whole_folder(folder) as half:
            if self.roles.earlier is not None:
                earlier = current if self.roles.earlier == "current" else before
                found = gaps(
                    earlier, self.tokenizer, rows, self.rendering, half / "set_aside.jsonl"
                )
                for row, gap in zip(rows, found, strict=True):
                    row |= {} if gap is None else {"earlier_gap": gap}
                readable = [n for n, gap in enumerate(found) if gap is not None]
                rows, places = [rows[n] for n in readable], [places[n] for n in readable]
            write_rows(half / "pairs.jsonl", rows)
            cut = float(np.mean([not one.ended for row in drawn for one in row]))
            facts = {
                "prompts": len(chosen),
                "comparisons": len(rows),
                "set_aside": aside,
                "cut_off": cut,
            }
            write_json(half / "drawn.json", facts)
            write_json(half / "answers.json", {"answers": texts, "places": places})

    def _after_half_a_step(self, number: int, current: Path, folder: Path) -> Path:
        """Extragradient: train on win rates against the current policy, then measure the same
        answers against where that leads.
        """
        data = folder / "pairs_midpoint.jsonl"
        self._train(number, current, folder / "pairs.jsonl", folder / "half", "half a step")
        if not data.is_file():
            held = read_json(folder / "answers.json")
            chosen = self._prompts_of(number)
            others = self._texts(self._drawn(folder / "half" / "model", chosen, number, 4))
            rows = [
                json.loads(line)
                for line in (folder / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
            ]
            fill(
                rows,
                held["places"],
                "win_rate",
                win_rates(self.verdicts, chosen, held["answers"], others),
            )
            write_rows(data, rows)
        return data

    def _prompts_of(self, number: int) -> list[Text]:
        some = (
            np.random.default_rng([self.seed, number])
            .permutation(len(self.training))[: self.asked["prompts"]]
            .tolist()
        )
        return [self.training[i] for i in some]

    def _drawn(
        self, policy: Path, prompts: Sequence[Text], number: int, stream: int
    ) -> list[list[Generated]]:
        seed = self.seed * 7919 + 2 * number + 100_003 * stream
        return self.sampler(policy, self._ids(prompts), samples=self.asked["samples"], seed=seed)

    def _texts(self, drawn: Sequence[Sequence[Generated]]) -> list[list[str]]:
        return [[text_of(self.tokenizer, one) for one in row] for row in drawn]

    def watch(self, number: int, policy: Path) -> None:
        """A policy's answers to the watched prompts, and how far it is from the start."""
        folder = self.out / "watched"
        path = folder / f"{number:03d}.json"
        if path.is_file():
            return
        drawn = self.watcher(
            policy,
            self._ids(self.watching),
            samples=self.asked["samples"],
            seed=self.seed * 7919 + 2 * number + 1,
        )
        held = {
            "answers": [[text_of(self.tokenizer, one) for one in row] for row in drawn],
            "kl_N": self._kl(policy, drawn),
        }
        held["cut_off"] = float(np.mean([not one.ended for row in drawn for one in row]))
        held["length"] = float(np.mean([one.length for row in drawn for one in row]))
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, held)

    def _kl(self, policy: Path, drawn: Sequence[Sequence[Generated]]) -> list[float]:
        """KL to the start along each answer, nats."""
        flat = [one for row in drawn for one in row]
        if policy == self.start:
            return [0.0] * len(flat)
        models = [load_policy(place, trainable_adapter=False) for place in (policy, self.start)]
        return [float(x) for x in sample_kl(models[0], models[1], flat).exact_N]

    def _ids(self, prompts: Sequence[Text]) -> list[Sequence[int]]:
        rows = [Row(Where("prompts", n), prompt) for n, prompt in enumerate(prompts, 1)]
        return tokenized_prompts(rows, self.tokenizer, **self.rendering)

    def finish(self) -> None:
        """How every round's policy fares against every other's, the record, and the page."""
        rounds = range(1, self.asked["rounds"] + 1)
        watched = [read_json(self.out / "watched" / f"{n:03d}.json") for n in (0, *rounds)]
        answers = [
            [text for held in watched for text in held["answers"][p]]
            for p in range(len(self.watching))
        ]
        pref_PGG = self.verdicts.tables(self.watching, answers)
        found = standings(
            pref_PGG,
            rounds=self.asked["rounds"],
            samples=self.asked["samples"],
            watched=watched,
            seed=self.seed,
        )
        draws = [read_json(round_folder(self.out, n) / "drawn.json") for n in rounds]
        losses = [_last_loss(Run(round_folder(self.out, n) / "run")) for n in rounds]
        self.record |= {
            "status": "finished",
            "finished": now(),
            "standings": found,
            "draws": draws,
            "losses": losses,
        }
        texts = [[held["answers"][p] for held in watched] for p in range(len(self.watching))]
        selfplay_page(self.record, list(self.watching), texts).write(self.out / REPORT)
        write_json(self.out / RECORD, self.record)  # last: what is finished has its report
        say(
            "the policy is in "
            f"{round_folder(self.out, self.asked['rounds']) / 'run' / 'model'}, the "
            f"report in {self.out / REPORT}"
        )


# ------------------------------------------------------------ parts


def say(text: str) -> None:
    Terminal(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """JSON lines at `path`, replaced in one move."""
    write_text(path, "".join(json_text(row) + "\n" for row in rows))


def round_folder(out: Path, number: int) -> Path:
    return out / "rounds" / f"{number:03d}"


def check_sizes(**sizes: int) -> None:
    least = {"samples": 2}
    for name, value in sizes.items():
        if value < least.get(name, 1):
            raise OptionError(f"{name} is {value}; it must be at least {least.get(name, 1)}")


def _start(model: str | os.PathLike[str]) -> Path:
    if not isinstance(model, str | os.PathLike):
        raise OptionError(
            "self-play begins with a model that lies in a folder or on the hub, so that "
            "rounds can go back to it"
        )
    return Path(resolve(model))


def open_folder(out: Path, resume: bool) -> dict[str, Any] | None:
    """The record of self-play to go on with; None where none has begun. Raises RunError for a
    folder that holds something else.
    """
    path = out / RECORD
    if path.is_file():
        record = read_json(path)
        if not all(
            isinstance(record.get(name), kind)
            for name, kind in (("status", str), ("rounds", int), ("given", dict))
        ):
            raise RunError(f"{path} is no record of self-play", hint="give another out folder")
        if not resume:
            raise RunError(
                f"{out} already holds self-play ({record['status']})",
                hint="resume=True goes on with it",
            )
        return record
    if any(
        entry.name not in (QUARANTINE, LOCK, HOLDER) and not entry.name.startswith(TEMPORARY)
        for entry in out.iterdir()
    ):
        raise RunError(f"{out} is not empty and holds no self-play", hint="give another out folder")
    return None


def refuse_other_play(before: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to go on with self-play of something else: everything that differs is named. More
    rounds may be added. Where a model lies may change, what it holds may not."""
    plain = json.loads(json.dumps(asked))
    moved = {name for name in ("start", "judge") if plain[f"{name}_content"]}
    found = [
        f"{name} was {shown(before.get(name))} and is now {shown(value)}"
        for name, value in plain.items()
        if name not in {"rounds", "given", *moved} and before.get(name) != value
    ]
    given = {**before["given"], **plain["given"]}
    found += [
        f"{name} was {shown(before['given'].get(name))} and is now "
        f"{shown(plain['given'].get(name))}"
        for name in given
        if name not in FREE_ON_RESUME
        and name not in plain["settings"]
        and before["given"].get(name) != plain["given"].get(name)
    ]
    if plain["rounds"] < before["rounds"]:
        found.append(
            f"rounds was {before['rounds']} and is now {plain['rounds']} (more may be added)"
        )
    refuse_another(found, what="self-play")


def begin_record(
    out: Path, asked: Mapping[str, Any], before: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The record, written as running. What a killed process left half-written is removed."""
    if before is None:
        record = {"status": "running", "started": now(), **asked, "versions": versions()}
    else:
        record = {
            **before,
            "rounds": asked["rounds"],
            "given": dict(asked["given"]),
            "status": "running",
        }
        record.pop("error", None)
    sweep(out)
    if (out / "rounds").is_dir():
        sweep(out / "rounds")
    write_json(out / RECORD, record)
    return record


def _last_loss(run: Run) -> dict[str, float]:
    lines = [line for line in run.metrics if "loss" in line]
    return {"first": lines[0]["loss"], "last": lines[-1]["loss"]}
