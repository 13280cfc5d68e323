"""The examples of self-play: in each round the policy answers anew, a judge compares its answers,
and what it says is written down as rows to train on.

    rounds/001/pairs.jsonl            the comparisons (after a half-step, pairs_midpoint.jsonl)
    rounds/001/answers.json           all answers, and which of them stand in which row
    rounds/001/model/                 the policy of round 1
    rounds/001/half/model/            the policy of its half-step, where the solver takes one

Each part is written whole or not at all, so a run that is stopped anywhere goes on to the same
numbers.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from holdfast.card import Method
from holdfast.errors import OptionError, RunError
from holdfast.files import read_json, whole_folder, write_json, write_text
from holdfast.games import Roles
from holdfast.generation import Answer, Backend, Generation
from holdfast.generation.text import prompt_ids, text_of
from holdfast.inputs import earlier_win_rate
from holdfast.models.protocols import Tokenizer
from holdfast.terminal import Terminal
from holdfast.training.selfplay.columns import fill, gaps, mixture_weights, win_rates
from holdfast.training.selfplay.pairs import Pairing, PairwiseJudge, comparisons
from holdfast.types import Text
from holdfast.visible import json_text

HALF = "half"  # the folder of a half-step
DRAWS = ("current", "watched", "earlier", "midpoint")  # whose answers a round draws


@dataclass(frozen=True)
class Sizes:
    """How self-play is played: what `selfplay` was told, defaults filled in."""

    rounds: int
    samples: int
    prompts: int
    watched: int
    pairing: Pairing
    reference: Literal["current", "start"]
    max_new_tokens: int
    temperature: float

    def __post_init__(self) -> None:
        least = {"samples": 2}
        for name in ("rounds", "samples", "prompts", "watched", "max_new_tokens"):
            value, low = getattr(self, name), least.get(name, 1)
            if value < low:
                raise OptionError(f"{name} is {value}; it must be at least {low}")


@dataclass(frozen=True)
class Training:
    """One training of a round: what is trained from where on what."""

    number: int
    model: Path
    data: Path
    folder: Path  # inside the run's
    half_step: bool = False


@dataclass
class Rounds:
    """Rounds of self-play, each drawn when the one before is trained.

    Attributes:
        out: the run's folder.
        method: how a round trains.
        roles: whom its columns and its reference stand for.
        start: the policy before the first round.
        tokenizer: its tokenizer.
        judge: compares a prompt's answers.
        training: prompts to draw a round's from.
        backend: makes the generator of a policy from its folder.
        generation: how the answers trained on are drawn.
        sizes: how many of everything.
        settings: the method's.
        seed: of prompts and labels.
        rendering: how a prompt becomes token ids.
    """

    out: Path
    method: Method
    roles: Roles
    start: Path
    tokenizer: Tokenizer
    judge: PairwiseJudge
    training: Sequence[Text]
    backend: Backend
    generation: Generation
    sizes: Sizes
    settings: Mapping[str, Any]
    seed: int
    rendering: Mapping[str, Any]

    def policy(self, number: int) -> Path:
        """The folder of a round's policy; 0 is the start."""
        return self.start if number < 1 else self.folder(number) / "model"

    def folder(self, number: int) -> Path:
        return self.out / round_folder(number)

    def trainings(self, number: int) -> Iterator[Training]:
        """What a round trains: after the first of two the policy that it led to must be there."""
        folder, current = self.folder(number), self.policy(number - 1)
        pairs = folder / "pairs.jsonl"
        if not pairs.is_file():
            self.draw(number)
        if self.roles.opponent == "midpoint":
            half = Path(round_folder(number)) / HALF
            yield Training(number, current, pairs, half, half_step=True)
            pairs = folder / "pairs_midpoint.jsonl"
            if not pairs.is_file():
                self.draw_midpoint(number, pairs)
        yield Training(number, current, pairs, Path(round_folder(number)))

    def drawn(self, number: int) -> dict[str, Any]:
        """For the record: how many prompts gave how many comparisons, and what was skipped."""
        found: dict[str, Any] = read_json(self.folder(number) / "drawn.json")
        return found

    # ------------------------------------------------------------ drawing

    def draw(self, number: int) -> None:
        """Draw answers of the current policy, have them compared, and write the round's rows."""
        folder, current, before = (
            self.folder(number),
            self.policy(number - 1),
            self.policy(number - 2),
        )
        prompts = self.prompts_of(number)
        say(
            f"round {number} of {self.sizes.rounds}: {len(prompts)} prompts, "
            f"{self.sizes.samples} answers each"
        )
        drawn = self.answers(current, prompts, number, "current")
        texts = self.texts(drawn)
        weight_PG = None
        if self.roles.opponent == "mixture":
            share = self.settings["eta"] * self.settings["beta"]
            weight_PG = mixture_weights(current, self.start, drawn, share)
        rows, places, skipped = comparisons(
            prompts,
            texts,
            self.judge.preferences(prompts, texts),
            pairing=self.sizes.pairing,
            seed=self.seed * 7919 + number,
            weight_PG=weight_PG,
        )
        if not rows:
            raise RunError(
                f"round {number}: no prompt has two answers that differ",
                hint="more samples, or a higher temperature",
            )
        if earlier_win_rate in self.method.card.needs:
            others = (
                texts
                if before == current
                else self.texts(self.answers(before, prompts, number, "earlier"))
            )
            fill(rows, places, "earlier_win_rate", win_rates(self.judge, prompts, texts, others))
        shutil.rmtree(folder, ignore_errors=True)
        with whole_folder(folder) as half:
            if self.roles.earlier is not None:
                earlier = current if self.roles.earlier == "current" else before
                unread = half / "quarantine_gaps.jsonl"
                found = gaps(earlier, self.tokenizer, rows, self.rendering, unread)
                for row, gap in zip(rows, found, strict=True):
                    row |= {} if gap is None else {"earlier_gap": gap}
                readable = [n for n, gap in enumerate(found) if gap is not None]
                rows, places = [rows[n] for n in readable], [places[n] for n in readable]
            write_rows(half / "pairs.jsonl", rows)
            facts = {
                "prompts": len(prompts),
                "comparisons": len(rows),
                "skipped": skipped,
                "cut_off": cut_off(drawn),
            }
            write_json(half / "drawn.json", facts)
            write_json(half / "answers.json", {"answers": texts, "places": places})

    def draw_midpoint(self, number: int, path: Path) -> None:
        """Extragradient: measure the same answers against where a half-step led."""
        folder = self.folder(number)
        held = read_json(folder / "answers.json")
        prompts = self.prompts_of(number)
        others = self.texts(self.answers(folder / HALF / "model", prompts, number, "midpoint"))
        lines = (folder / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        rates = win_rates(self.judge, prompts, held["answers"], others)
        fill(rows, held["places"], "win_rate", rates)
        write_rows(path, rows)

    def prompts_of(self, number: int) -> list[Text]:
        order = np.random.default_rng([self.seed, number]).permutation(len(self.training))
        return [self.training[i] for i in order[: self.sizes.prompts].tolist()]

    def answers(
        self,
        policy: Path,
        prompts: Sequence[Text],
        number: int,
        draws: str,
        *,
        generation: Generation | None = None,
    ) -> list[list[Answer]]:
        """A policy's answers, drawn as those trained on unless told otherwise; each of a round's
        DRAWS has random numbers of its own.
        """
        how = generation or self.generation
        ids = prompt_ids(prompts, self.tokenizer, **self.rendering)
        seeds = how.seeds(len(ids), step=len(DRAWS) * number + DRAWS.index(draws))
        generator = self.backend(policy)
        return generator(ids, samples=self.sizes.samples, seeds=seeds, generation=how)

    def texts(self, drawn: Sequence[Sequence[Answer]]) -> list[list[str]]:
        return [[text_of(self.tokenizer, one) for one in row] for row in drawn]


def round_folder(number: int) -> str:
    return f"rounds/{number:03d}"


def cut_off(drawn: Sequence[Sequence[Answer]]) -> float:
    """Share of answers that the limit of tokens cut off."""
    return float(np.mean([one.finish_reason == "length" for row in drawn for one in row]))


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """JSON lines at `path`, replaced in one move."""
    write_text(path, "".join(json_text(row) + "\n" for row in rows))


def say(text: str) -> None:
    Terminal(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
