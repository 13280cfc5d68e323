"""The prompts that are never trained on: what each round's policy answers to them, and how the
policies fare against each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.evaluation.kl import sample_kl
from holdfast.files import read_json, write_json
from holdfast.generation import Answer
from holdfast.models.load import load_policy
from holdfast.training.selfplay.report import standings
from holdfast.training.sources.rounds import Rounds, cut_off
from holdfast.types import Text


@dataclass(frozen=True)
class Watch:
    """Draws answers at temperature 1 to the watched prompts and keeps them in `watched/001.json`.

    Attributes:
        rounds: whose policies are watched.
        prompts: never trained on.
    """

    rounds: Rounds
    prompts: Sequence[Text]

    def look(self, number: int) -> None:
        """A policy's answers, and how far it is from the start, unless they are there already."""
        path, policy = self._path(number), self.rounds.policy(number)
        if path.is_file():
            return
        play = self.rounds
        plain = replace(play.generation, temperature=1.0)
        drawn = play.answers(policy, self.prompts, number, "watched", generation=plain)
        held = {
            "answers": play.texts(drawn),
            "kl_N": self._kl(policy, drawn),
            "cut_off": cut_off(drawn),
            "length": float(np.mean([len(one.ids_T) for row in drawn for one in row])),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, held)

    def seen(self) -> list[Mapping[str, Any]]:
        """What `look` kept of the start and of each round."""
        return [read_json(self._path(n)) for n in range(self.rounds.sizes.rounds + 1)]

    def standings(self) -> dict[str, Any]:
        """How every round's policy fares against every other's."""
        seen, sizes = self.seen(), self.rounds.sizes
        answers = [
            [text for held in seen for text in held["answers"][p]] for p in range(len(self.prompts))
        ]
        return standings(
            self.rounds.judge.preferences(self.prompts, answers),
            rounds=sizes.rounds,
            samples=sizes.samples,
            watched=seen,
            seed=self.rounds.seed,
        )

    def _path(self, number: int) -> Path:
        return self.rounds.out / "watched" / f"{number:03d}.json"

    def _kl(self, policy: Path, drawn: Sequence[Sequence[Answer]]) -> list[float]:
        """KL to the start along each answer, nats."""
        flat = [one for row in drawn for one in row]
        start = self.rounds.start
        if policy == start:
            return [0.0] * len(flat)
        models = [load_policy(place, trainable_adapter=False) for place in (policy, start)]
        return [float(x) for x in sample_kl(models[0], models[1], flat).exact_N]
