"""A trained reward or preference model at work: what it says of answers, of pairs, and of all pairs
of a prompt's answers at once.

model = RewardModel.load("runs/rewards")
model.reward(prompts, answers)                  # one number an answer, where the kind has one
model.prefer(prompts, first, second)            # P(first is better): a judge
model.logits(prompts, answers_PG)               # (P, G, G) log-odds of every pair, in G passes a
                                                prompt
model.games(prompts, answers_PG)                # a preference game for each prompt
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast.data.render import written_answers
from holdfast.errors import ModelError, OptionError
from holdfast.games.game import Game
from holdfast.models.judges import kind_of, load_judge
from holdfast.models.load import context_length, load_tokenizer
from holdfast.rewards.kind import PROMPT, RewardMethod
from holdfast.rewards.table import get
from holdfast.scorers.judge import JudgeScorer
from holdfast.scorers.text import chunks_by_tokens
from holdfast.stats.arrays import Floats
from holdfast.types import Text, Tokenized


@dataclass
class RewardModel:
    """A loaded model with its tokenizer, its kind and the kind's settings."""

    name: str
    kind: RewardMethod
    settings: dict[str, Any]
    template: str
    accept_loss: tuple[str, ...]
    scorer: JudgeScorer
    tokenizer: Any
    tokens: int = 4096  # packed tokens read at once

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str],
        *,
        device: torch.device | str = "cpu",
        trust_remote_code: bool = False,
        accept_loss: Sequence[str] = (),
    ) -> RewardModel:
        """From a run's folder, or the model folder in it. `accept_loss` adds to what its training
        accepted that the chat template drops of a prompt. Raises ModelError for a model that was
        not trained by Holdfast."""
        model = (
            load_judge(source, trust_remote_code=trust_remote_code, trainable_adapter=False)
            .to(device)
            .eval()
        )
        known = kind_of(model)
        if known is None:
            raise ModelError(
                f"{source} does not say what kind of reward model it is",
                hint="train one with `holdfast train-reward`",
            )
        name, settings, template, accept = known
        kind = get(name)
        tokenizer = load_tokenizer(source, model=model, trust_remote_code=trust_remote_code)
        scorer = JudgeScorer(model, prompt=PROMPT if kind.reads_prompt else None)
        return cls(
            str(source), kind, settings, template, (*accept, *accept_loss), scorer, tokenizer
        )

    def outputs(
        self, prompts: Sequence[Text], answers: Sequence[Sequence[str]]
    ) -> tuple[Tensor, Tensor | None]:
        """(out_PGH, prompt_PH or None): the head's outputs for G answers to each of P prompts.
        Every prompt has as many answers.

        Raises:
            OptionError: prompts with different numbers of answers.
            ModelError: a prompt with an answer that is longer than the model takes. Nothing is cut
                off.
        """
        counts = {len(row) for row in answers}
        if len(counts) != 1 or 0 in counts:
            raise OptionError(
                f"prompts must have as many answers, one or more; here they have {sorted(counts)}"
            )
        items = written_answers(
            prompts, answers, self.tokenizer, template=self.template, accept_loss=self.accept_loss
        )
        self._check_lengths(items)
        names = [str(g) for g in range(counts.pop())]
        out: list[Tensor | None] = [None] * len(items)
        gates: list[Tensor | None] = [None] * len(items)
        self.scorer.check(items)
        with torch.no_grad():
            for batch in chunks_by_tokens(items, tokens=self.tokens):
                parts = self.scorer([items[i] for i in batch])
                for n, i in enumerate(batch):
                    out[i] = torch.stack([parts[name].logp_NT[n] for name in names]).double().cpu()
                    gates[i] = parts[PROMPT].logp_NT[n].double().cpu() if PROMPT in parts else None
        made = [gate for gate in gates if gate is not None]
        return torch.stack([row for row in out if row is not None]), torch.stack(
            made
        ) if made else None

    def logits(self, prompts: Sequence[Text], answers: Sequence[Sequence[str]]) -> Floats:
        """(P, G, G): log-odds that the row's answer beats the column's."""
        out_PGH, prompt_PH = self.outputs(prompts, answers)
        p, g, h = out_PGH.shape
        first = out_PGH[:, :, None].expand(p, g, g, h).reshape(-1, h)
        second = out_PGH[:, None].expand(p, g, g, h).reshape(-1, h)
        gate = (
            None
            if prompt_PH is None
            else prompt_PH[:, None, None].expand(p, g, g, h).reshape(-1, h)
        )
        made: Floats = (
            self.kind.score(first, second, gate, **self.settings).reshape(p, g, g).numpy()
        )
        return made

    def games(
        self, prompts: Sequence[Text], answers: Sequence[Sequence[str]], *, beta: float = 0.0
    ) -> list[Game]:
        """A preference game over each prompt's answers, for `holdfast.games.solve`. `beta` is the
        strength of its KL term.
        """
        tables = 1 / (1 + np.exp(-self.logits(prompts, answers)))
        return [
            Game(table, beta=beta, names=tuple(row))
            for table, row in zip(tables, answers, strict=True)
        ]

    def reward(self, prompts: Sequence[Text], answers: Sequence[str]) -> Floats:
        """One number an answer (N,). Raises OptionError where the kind has none."""
        if not self.kind.scalar:
            raise OptionError(
                f"{self.name} is a {self.kind.name} model: it compares answers and has no "
                "reward for one",
                hint="give it as the judge (--judge) instead of the reward",
            )
        out_PGH, _ = self.outputs(prompts, [[answer] for answer in answers])
        return out_PGH[:, 0, 0].numpy()

    def prefer(
        self, prompts: Sequence[Text], first: Sequence[str], second: Sequence[str]
    ) -> Floats:
        """P(first is better), shape (N,)."""
        logit_NGG = self.logits(prompts, list(zip(first, second, strict=True)))
        return 1 / (1 + np.exp(-logit_NGG[:, 0, 1]))

    def _check_lengths(self, items: Sequence[Tokenized]) -> None:
        longest = context_length(self.scorer.model)
        for number, item in enumerate(items, start=1):
            tokens = len(item.prompt) + max(map(len, item.branches.values()))
            if longest is not None and tokens > longest:
                raise ModelError(
                    f"prompt {number} with an answer is {tokens} tokens, the reward model "
                    f"takes {longest}",
                    hint="shorter answers",
                )


def is_reward_model(source: object) -> bool:
    """Whether a folder holds a model that `RewardModel.load` reads."""
    import json

    from holdfast.models.judges import KEY

    folder = Path(str(source)).expanduser()
    config = (folder / "model" if (folder / "run.json").is_file() else folder) / "config.json"
    try:
        return config.is_file() and KEY in json.loads(config.read_text(encoding="utf-8"))
    except ValueError:
        return False
