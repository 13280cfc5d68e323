"""Which prompts the models answer, and their answers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from holdfast.data.render import tokenized_prompts
from holdfast.evaluation.models import Loaded
from holdfast.evaluation.rows import Held, distinct_prompts
from holdfast.evaluation.samples import Samples
from holdfast.generation import Generation, HuggingFaceGenerator
from holdfast.generation.text import text_of


@dataclass
class Writer:
    """Draws up to `prompts` distinct prompts of the rows, once, and has any model answer them. What
    had to be left out is in `notes`.
    """

    held: Held
    prompts: int
    samples: int
    generation: Generation
    batch: int
    template: str
    accept_loss: Sequence[str]
    progress: bool
    window: int | None  # longest prompt and answer that every model takes, in tokens
    chosen: list[int] = field(init=False)  # a row of each prompt
    notes: list[str] = field(init=False)

    def __post_init__(self) -> None:
        asked = distinct_prompts(self.held)
        fits = [
            rows
            for ids, rows in asked.items()
            if self.window is None or len(ids) + self.generation.max_new_tokens <= self.window
        ]
        drawn = sorted(
            random.Random(f"prompts {self.generation.seed}").sample(
                range(len(fits)), min(self.prompts, len(fits))
            )
        )
        self._rows = [fits[i] for i in drawn]
        self.chosen = [rows[0] for rows in self._rows]
        self.notes = []
        if self.prompts and len(fits) < len(asked):
            room = f"{self.generation.max_new_tokens} tokens of answer in a window of {self.window}"
            self.notes.append(
                f"{len(asked) - len(fits):,} prompts leave no room for {room} and are not "
                "answered; hint: lower --max-new-tokens"
            )
        if self.prompts and len(self.chosen) < len(fits):
            self.notes.append(
                f"{len(self.chosen):,} of {len(fits):,} prompts are answered, drawn by "
                f"seed {self.generation.seed}; hint: --prompts for more"
            )

    def prompts_of(self, group: str) -> NDArray[np.int64]:
        """Positions in `chosen` of the prompts that some row of a group asks."""
        return np.array(
            [
                p
                for p, rows in enumerate(self._rows)
                if any(self.held.group_of[i] == group for i in rows)
            ],
            dtype=np.int64,
        )

    def write(
        self,
        loaded: Loaded,
        who: str,
        *,
        generation: Generation | None = None,
        stream: int = 0,
        own_tokens: bool = False,
        times: int = 1,
    ) -> Samples:
        """The model's answers, drawn as the writer's are unless told otherwise. `stream` keeps the
        random numbers of models apart; `own_tokens` renders prompts for its own tokenizer; `times`
        as many answers are drawn.
        """
        rows = [self.held.rows[i] for i in self.chosen]
        template = (loaded.template if own_tokens else None) or self.template
        accept = (*self.accept_loss, *loaded.accept_loss)
        ids = tokenized_prompts(rows, loaded.tokenizer, template=template, accept_loss=accept)
        how, bar = generation or self.generation, f"answers of the {who}" * self.progress
        generator = HuggingFaceGenerator(loaded.model, loaded.tokenizer, rows=self.batch, bar=bar)
        answers = generator(
            ids,
            samples=self.samples * times,
            seeds=how.seeds(len(ids), step=stream),
            generation=how,
        )
        texts = [[text_of(loaded.tokenizer, answer) for answer in row] for row in answers]
        return Samples([row.prompt for row in rows], answers, texts)
