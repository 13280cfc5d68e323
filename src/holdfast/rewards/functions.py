"""Where rewards come from: a Python function, a name of one, or a Hugging Face reward model.

    reward(prompts, answers) -> one score an answer, higher is better
    judge(prompts, first, second) -> one probability a pair that the first answer is better

Prompts come as the rows have them, text or messages. A name is "package.module:function" or
"path/to/file.py:function". A folder that `holdfast train-reward` left is read as it was trained,
and is a judge too; an ensemble's members are pooled as it says, or as FOLDER@worst_case does. Any
other folder or hub name is a sequence-classification model with one output; prompt and answer are
put through its own chat template if it has one.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from holdfast.data.conservation import Loss, listed, missing, pieces
from holdfast.data.render import accepted
from holdfast.errors import DataError, ModelError, OptionError
from holdfast.rewards.ensemble import RewardEnsemble, ensemble_named
from holdfast.rewards.model import RewardModel, is_reward_model
from holdfast.scorers.float32 import in_float32
from holdfast.scorers.rope import Sides, forget_lengths
from holdfast.types import Text

Reward = Callable[[Sequence[Text], Sequence[str]], Any]
Judge = Callable[[Sequence[Text], Sequence[str], Sequence[str]], Any]


def reward_from(
    source: str | Path | Reward,
    *,
    device: torch.device | str = "cpu",
    batch: int = 16,
    accept_loss: Sequence[str] = (),
) -> Reward:
    """A reward function from whatever the user named; `accept_loss` is what its chat template may
    drop of a prompt. Raises OptionError or ModelError that says what is missing."""
    if callable(source):
        return source
    if _names_function(str(source)):
        return _function(str(source))
    if (named := ensemble_named(source)) is not None:
        return RewardEnsemble.load(
            named[0], pool=named[1], device=device, accept_loss=accept_loss
        ).reward
    if is_reward_model(source):
        return RewardModel.load(source, device=device, accept_loss=accept_loss).reward
    return reward_model(source, device=device, batch=batch, accept_loss=accept_loss)


def judge_from(
    source: str | Path | Judge,
    *,
    device: torch.device | str = "cpu",
    accept_loss: Sequence[str] = (),
) -> Judge:
    """A pairwise judge: a function, the name of one, or the folder of a reward or preference model
    trained here.
    """
    if callable(source):
        return source
    if _names_function(str(source)):
        return _function(str(source))
    if (named := ensemble_named(source)) is not None:
        return RewardEnsemble.load(
            named[0], pool=named[1], device=device, accept_loss=accept_loss
        ).prefer
    if is_reward_model(source):
        return RewardModel.load(source, device=device, accept_loss=accept_loss).prefer
    raise OptionError(
        f"{str(source)!r} does not name a judge",
        hint=(
            '"package.module:function", "file.py:function", or a folder that `holdfast '
            "train-reward` left; other reward models: --reward"
        ),
    )


def name_of(source: object) -> str:
    """What to call a source in a record: "module:function" or the path."""
    if callable(source):
        name = getattr(source, "__qualname__", type(source).__name__)
        return f"{getattr(source, '__module__', '?')}:{name}"
    return str(source)


def checked(values: Any, n: int, who: str) -> NDArray[np.float64]:
    """What a reward or judge returned, as N finite numbers, or an error that says what is wrong
    with it.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().float().cpu().numpy()
    try:
        out = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"{who} did not return numbers: {error}", hint="return one number for each answer"
        ) from error
    if out.shape != (n,):
        raise OptionError(
            f"{who} was asked about {n} answers and returned an array of shape {out.shape}",
            hint="return one number for each answer",
        )
    bad = np.flatnonzero(~np.isfinite(out))
    if len(bad):
        raise OptionError(
            f"{who} returned {out[bad[0]]} for answer {int(bad[0]) + 1} of {n}",
            hint="every score must be finite",
        )
    return out


def _names_function(source: str) -> bool:
    module, colon, function = source.rpartition(":")
    return (
        bool(colon)
        and function.isidentifier()
        and (module.endswith(".py") or all(part.isidentifier() for part in module.split(".")))
    )


def _function(source: str) -> Callable[..., Any]:
    module_name, _, function = source.rpartition(":")
    module = (
        _file_module(Path(module_name))
        if module_name.endswith(".py")
        else _named_module(module_name)
    )
    found: Callable[..., Any] | None = getattr(module, function, None)
    if not callable(found):
        raise OptionError(
            f"{module_name} has no function {function!r}",
            hint=f"it has: {', '.join(_functions(module)) or 'none'}",
        )
    return found


def _functions(module: Any) -> list[str]:
    return sorted(
        name
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and not isinstance(value, type)
    )


def _named_module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise OptionError(
            f"there is no module {name!r} ({error})",
            hint="is it installed, or did you mean file.py:function?",
        ) from error


def _file_module(path: Path) -> Any:
    if not path.exists():
        raise OptionError(
            f"{path}: no such file", hint="file.py:function, relative to where you are"
        )
    name = f"holdfast_reward_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def reward_model(
    source: str | Path,
    *,
    device: torch.device | str = "cpu",
    batch: int = 16,
    accept_loss: Sequence[str] = (),
) -> Reward:
    """The score of a sequence-classification model with one output for prompt and answer. Nothing
    is cut off: over-long is an error, and so is a prompt of which its chat template drops what
    `accept_loss` does not name."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        model = AutoModelForSequenceClassification.from_pretrained(source).to(device).eval()
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{source}: not a reward model that can be read ({error})",
            hint="a sequence-classification folder, or module:function",
        ) from error
    if model.config.num_labels != 1:
        raise ModelError(
            f"{source} has {model.config.num_labels} outputs",
            hint="a reward model has one; train it with num_labels=1",
        )
    if model.config.pad_token_id is None:
        if tokenizer.pad_token_id is None:
            raise ModelError(
                f"{source}: neither model nor tokenizer has a padding token",
                hint="set pad_token_id in its config.json",
            )
        model.config.pad_token_id = tokenizer.pad_token_id  # the model finds the last token by it
    longest = getattr(model.config, "max_position_embeddings", None)

    def score(prompts: Sequence[Text], answers: Sequence[str]) -> NDArray[np.float64]:
        accept = accepted(accept_loss)
        rows = [
            reward_ids(tokenizer, prompt, answer, accept)
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        for i, ids in enumerate(rows):
            if longest is not None and len(ids) > longest:
                raise ModelError(
                    f"prompt and answer {i + 1} are {len(ids)} tokens, the reward model "
                    f"takes {longest}",
                    hint="lower --max-new-tokens",
                )
        return padded.score(rows, batch)

    padded = _PaddedReward(model, tokenizer)
    return score


class _PaddedReward:
    """Outputs of a sequence classifier, in padded batches where padding does not change them, else
    row by row.
    """

    def __init__(self, model: Any, tokenizer: Any):
        self.model, self.tokenizer, self.sides = model, tokenizer, Sides.of_model(model)
        self.known: set[tuple[int, ...]] = set()  # sides that were tried in batches
        self.alone = False

    def score(self, rows: Sequence[Sequence[int]], batch: int) -> NDArray[np.float64]:
        out = np.zeros(len(rows))
        by_side: dict[tuple[int, ...], list[int]] = {}
        for i in sorted(range(len(rows)), key=lambda i: len(rows[i])):
            by_side.setdefault(self.sides.of(len(rows[i])), []).append(i)
        for side, index in by_side.items():
            if side not in self.known and len(rows[index[0]]) < len(rows[index[-1]]):
                self._check(rows[index[0]], rows[index[-1]])
                self.known.add(side)
            size = 1 if self.alone else batch
            for some in (index[at : at + size] for at in range(0, len(index), size)):
                out[some] = self._forward([rows[i] for i in some])
        return out

    def _check(self, short: Sequence[int], long: Sequence[int]) -> None:
        """The short row beside the long one, against the short one alone; in float32, where the
        difference is no rounding.
        """
        if self.alone:
            return
        with in_float32(self.model):
            off = abs(self._forward([short, long])[0] - self._forward([short])[0])
        if not off <= 1e-3:
            self.alone = True
            name = type(self.model).__name__
            logging.getLogger("holdfast").warning(
                f"scoring: {name} reads answers one by one, because padding changes its "
                f"output by {off:.3g}"
            )

    def _forward(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        made = self.tokenizer.pad(
            {"input_ids": [list(row) for row in rows]}, padding_side="right", return_tensors="pt"
        )
        device = next(self.model.parameters()).device
        forget_lengths(self.model)
        with torch.no_grad():
            logits = self.model(
                input_ids=made["input_ids"].to(device),
                attention_mask=made["attention_mask"].to(device),
            ).logits
        found: NDArray[np.float64] = logits[:, 0].double().cpu().numpy()
        return found


def reward_ids(tokenizer: Any, prompt: Text, answer: str, accept: frozenset[Loss]) -> list[int]:
    if tokenizer.chat_template:
        messages = (
            [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        )
        text = tokenizer.apply_chat_template(
            [*messages, {"role": "assistant", "content": answer}], tokenize=False
        )
        said = [piece for piece in pieces(messages) if piece.kind not in accept]
        if lost := [said[i] for i in missing(said, text)]:
            kinds = dict.fromkeys(piece.kind for piece in lost)
            raise DataError(
                f"the reward model's chat template drops {listed(lost)} of a prompt",
                hint="accept the loss: " + " ".join(f"--accept-loss {kind}" for kind in kinds),
            )
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    text = (
        prompt
        if isinstance(prompt, str)
        else "\n".join(str(message["content"]) for message in prompt)
    )
    separator = "" if not text or text[-1].isspace() else " "
    return list(tokenizer(text + separator + answer)["input_ids"])
