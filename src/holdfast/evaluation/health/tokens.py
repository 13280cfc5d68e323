"""What the health card looks at in a sequence classifier's tokens: end of sequence, padding, and
the chat template.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from holdfast.data.render import accepted, written_answers
from holdfast.evaluation.health.finding import Finding, skipped
from holdfast.evaluation.health.measures import INVARIANT, Scored
from holdfast.rewards.functions import reward_ids
from holdfast.rewards.model import RewardModel
from holdfast.scorers.padded import causal_model
from holdfast.stats.arrays import Floats
from holdfast.types import Text


@dataclass(frozen=True)
class Classifier:
    """A sequence classifier with one output, and how a prompt and an answer become its token
    ids.
    """

    model: Any
    tokenizer: Any
    trained_here: RewardModel | None = None

    def ids(self, prompt: Text, answer: str) -> list[int]:
        if self.trained_here is None:
            return reward_ids(self.tokenizer, prompt, answer, accepted(()))
        own = self.trained_here
        how: dict[str, Any] = {"template": own.template, "accept_loss": own.accept_loss}
        (item,) = written_answers([prompt], [[answer]], own.tokenizer, **how)
        return [*item.prompt, *item.branches["0"]]

    def score(self, ids: Sequence[int], *, right: int = 0, left: int = 0) -> float:
        pad = causal_model(self.model).config.get_text_config().pad_token_id or 0
        row = [*[pad] * left, *ids, *[pad] * right]
        mask = [*[0] * left, *[1] * len(ids), *[0] * right]
        device = next(self.model.parameters()).device
        with torch.no_grad():
            out = self.model(
                input_ids=torch.tensor([row], device=device),
                attention_mask=torch.tensor([mask], device=device),
            )
        return float(out.logits[0, 0])


def token_findings(data: Scored, classifier: Classifier, rows: int = 8) -> list[Finding]:
    """On the first few answers: these findings are about mechanics, and one row shows them."""
    some = range(min(rows, len(data.rows)))
    ids = [classifier.ids(data.prompts[i], data.chosen[i]) for i in some]
    base = np.array([classifier.score(row) for row in ids])
    sd = data.sd or 1.0
    return [
        _padding(classifier, ids, base, sd),
        _end(classifier, ids, base, sd),
        _template(classifier, data, base, sd),
    ]


def _padding(classifier: Classifier, ids: list[list[int]], base: Floats, sd: float) -> Finding:
    off = {
        side: float(
            np.abs(
                [classifier.score(row, **{side: 7}) - x for row, x in zip(ids, base, strict=True)]
            ).max()
            / sd
        )
        for side in ("right", "left")
    }
    says = (
        f"7 tokens of padding move scores by at most {off['right']:.2g} sd on the right, "
        f"{off['left']:.2g} sd on the left"
    )
    numbers = {f"{side}_sd": x for side, x in off.items()}
    if off["right"] > INVARIANT:
        cure = "score answers one by one: this model reads its padding"
        return Finding("padding", "problem", says, cure, numbers)
    if off["left"] > INVARIANT:
        cure = 'set tokenizer.padding_side = "right" wherever this model is read'
        return Finding("padding", "warning", says, cure, numbers)
    return Finding("padding", "ok", says, "", numbers)


def _end(classifier: Classifier, ids: list[list[int]], base: Floats, sd: float) -> Finding:
    eos = classifier.tokenizer.eos_token_id
    if eos is None:
        return skipped("end of sequence", "the tokenizer has no end-of-sequence token")
    pad = causal_model(classifier.model).config.get_text_config().pad_token_id
    ends = sum(row[-1] == eos for row in ids)
    other = [row[:-1] if row[-1] == eos else [*row, eos] for row in ids]
    moved = float(np.abs([classifier.score(row) for row in other] - base).mean() / sd)
    which = "taking it away" if ends else "adding it"
    says = (
        f"{ends} of {len(ids)} answers end in {classifier.tokenizer.eos_token!r}; {which} moves "
        f"scores by {moved:.2g} sd on average"
    )
    numbers: dict[str, Any] = {"moved_sd": moved, "ends": ends, "pad_is_eos": pad == eos}
    if pad == eos:
        says += "; it is the padding token too, so the score is read at the token before it"
    if moved > 0.25:
        cure = (
            "render answers exactly as in training, end-of-sequence token included"
            if ends
            else "find out whether it was trained with an end-of-sequence token, and add it"
        )
        return Finding("end of sequence", "warning", says, cure, numbers)
    return Finding("end of sequence", "ok", says, "", numbers)


def _template(classifier: Classifier, data: Scored, base: Floats, sd: float) -> Finding:
    if not getattr(classifier.tokenizer, "chat_template", None):
        return skipped("template", "the tokenizer has no chat template; text is read as it is")
    plain = [
        classifier.tokenizer(f"{_text(data.prompts[i])}\n{data.chosen[i]}")["input_ids"]
        for i in range(len(base))
    ]
    scores = np.array([classifier.score(list(row)) for row in plain])
    moved = float(np.abs(scores - base).mean() / sd)
    says = f"without the chat template scores move by {moved:.2g} sd on average"
    numbers = {"moved_sd": moved}
    if moved > 0.5:
        cure = "always apply its chat template; a caller that joins strings gets other rewards"
        return Finding("template", "warning", says, cure, numbers)
    return Finding("template", "ok", says, "", numbers)


def _text(prompt: Text) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(str(m["content"]) for m in prompt)
