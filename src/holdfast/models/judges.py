"""Load a reward model: a sequence classifier over a causal decoder, with a head of as many outputs
as its kind has.

What kind it is and at which settings stands in its config.json under `holdfast_reward`; everything
else is what any Hugging Face user expects, so
`AutoModelForSequenceClassification.from_pretrained(folder)` reads it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from holdfast.errors import ModelError
from holdfast.models.folder import (
    check_adapter,
    check_model,
    json_object,
    refuse_leftovers,
    shown_line,
)
from holdfast.models.load import (
    Source,
    check_policy,
    is_adapter_folder,
    load_policy,
    progress_bars_only_on_terminals,
    resolve,
    with_adapter_of,
)
from holdfast.scorers.padded import causal_model

# in config.json: {"kind": "bradley_terry", "settings": {}, "template": "auto", "accept_loss": []}
KEY = "holdfast_reward"
HEADS = ("score.weight", "classifier.weight", "classifier.bias")


def load_judge(
    source: Source | nn.Module,
    *,
    outputs: int | None = None,
    seed: int = 0,
    trust_remote_code: bool = False,
    trainable_adapter: bool = True,
) -> Any:
    """A reward model ready to be scored or trained. A language model gets a new head, drawn from
    `seed`.

    Args:
        source: a hub name, a folder (of a language model or of a reward model, or an adapter of
            either, or a finished run), or a model.
        outputs: how many numbers its head must put out; None takes the model as it is, and then a
            head must be there.
        seed: of a new head. The global random state is left alone.
        trust_remote_code: run code that comes with the model.
        trainable_adapter: whether the weights of a reward model's adapter will be trained further.

    Raises:
        ModelError: no model there, a head of another width, missing or non-finite weights.
    """
    if isinstance(source, nn.Module):
        _check_width(source, outputs, type(source).__name__)
        check_policy(source)
        return source
    place = resolve(source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if is_adapter_folder(place):
            return _with_adapter(place, outputs, seed, trust_remote_code, trainable_adapter)
        return _read(place, outputs, trust_remote_code)


def _read(place: str, outputs: int | None, trust_remote_code: bool) -> Any:
    from transformers import AutoModelForSequenceClassification

    check_model(place)
    how: dict[str, Any] = {
        "dtype": torch.float32,
        "use_safetensors": True,
        "trust_remote_code": trust_remote_code,
    }
    if outputs is not None:
        how["num_labels"] = outputs
    try:
        with progress_bars_only_on_terminals(), _without_the_load_report():
            model, info = AutoModelForSequenceClassification.from_pretrained(
                place, output_loading_info=True, **how
            )
    except Exception as error:  # a damaged config raises whatever it meets
        raise ModelError(
            f"{place} does not load as a reward model: {shown_line(error)}",
            hint=(
                "a causal language model that Hugging Face has a sequence classifier for, or "
                "a reward model with a head of the same width"
            ),
        ) from error
    missing = sorted(set(info.get("missing_keys") or ()))
    others = [name for name in missing if name not in HEADS]
    if others:
        raise ModelError(
            f"{place} lacks weights of {type(model).__name__}, which would be random: "
            f"{', '.join(others[:3])}"
        )
    if missing and outputs is None:
        raise ModelError(
            f"{place} is no reward model: it has no head",
            hint="`holdfast train-reward` makes one of it",
        )
    left = info.get("unexpected_keys") or ()
    if (
        left and outputs is not None
    ):  # the head of a language model has no place in a reward model that is made of it
        load_policy(
            place, trust_remote_code=trust_remote_code
        )  # which refuses what has no place in that either
    else:
        refuse_leftovers(left, model, place)
    _check_width(model, outputs, place)
    check_policy(model)
    return model


@contextlib.contextmanager
def _without_the_load_report() -> Iterator[None]:
    """transformers warns that the head is new and the LM head unread, which is what was asked for;
    what else is missing is refused here.
    """
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _with_adapter(
    place: str, outputs: int | None, seed: int, trust_remote_code: bool, trainable: bool
) -> Any:
    """A reward model's adapter goes onto its base; a policy's adapter is merged, and the whole gets
    a head.
    """
    from peft import PeftConfig
    from transformers import AutoConfig, AutoModelForSequenceClassification

    named = check_adapter(place)
    try:
        config = PeftConfig.from_pretrained(place)
    except Exception as error:  # a damaged config raises whatever it meets
        raise ModelError(f"the adapter in {place} does not load: {shown_line(error)}") from error
    if config.task_type != "SEQ_CLS":
        if outputs is None:
            raise ModelError(
                f"{place} is no reward model: it is an adapter of a policy",
                hint="`holdfast train-reward` makes one of it",
            )
        policy = load_policy(place, trust_remote_code=trust_remote_code).merge_and_unload()
        policy.config.num_labels = outputs
        judge = AutoModelForSequenceClassification.from_config(
            policy.config, trust_remote_code=trust_remote_code
        )
        getattr(judge, judge.base_model_prefix).load_state_dict(
            getattr(policy, policy.base_model_prefix).state_dict()
        )
        return judge.float()
    json_object(Path(place) / "config.json")
    own = AutoConfig.from_pretrained(
        place
    )  # saved beside the adapter: the base's own knows nothing of the head
    base = load_judge(named, outputs=own.num_labels, seed=seed, trust_remote_code=trust_remote_code)
    setattr(base.config, KEY, getattr(own, KEY, None))
    base.config.get_text_config().pad_token_id = own.get_text_config().pad_token_id
    model = with_adapter_of(place, base, trainable=trainable)
    _check_width(model, outputs, place)
    return model


def _check_width(model: Any, outputs: int | None, who: str) -> None:
    has = getattr(causal_model(model).config, "num_labels", None)
    if not hasattr(causal_model(model), "score"):
        raise ModelError(
            f"{who} is no reward model over a causal decoder: "
            f"{type(causal_model(model)).__name__} has no head `score`"
        )
    if outputs is not None and has != outputs:
        raise ModelError(
            f"{who} has {has} outputs; this kind of reward model at these settings has {outputs}"
        )


def mark(
    model: Any,
    *,
    kind: str,
    settings: Mapping[str, Any],
    template: str,
    accept_loss: Sequence[str],
    pad_token_id: int | None,
) -> None:
    """Write into the model's config what it is, and which token is padding: whoever loads it finds
    the last token by that.
    """
    config = causal_model(model).config
    setattr(
        config,
        KEY,
        {
            "kind": kind,
            "settings": dict(settings),
            "template": template,
            "accept_loss": list(accept_loss),
        },
    )
    if config.get_text_config().pad_token_id is None:
        config.get_text_config().pad_token_id = pad_token_id
        config.pad_token_id = pad_token_id


def remark(model: Any, more: Mapping[str, Any]) -> None:
    """Add to what the model's config says of it."""
    config = causal_model(model).config
    setattr(config, KEY, {**getattr(config, KEY), **more})


def kind_of(model: Any) -> tuple[str, dict[str, Any], str, tuple[str, ...]] | None:
    """(kind, settings, template, accept_loss) of a reward model that was trained here, None of any
    other.

    Raises:
        ModelError: what its config says of it is damaged.
    """
    found = getattr(causal_model(model).config, KEY, None)
    if not found:
        return None
    wanted = {"kind": str, "settings": dict, "template": str}
    wrong = (
        sorted(wanted)
        if not isinstance(found, dict)
        else [name for name, kind in wanted.items() if not isinstance(found.get(name), kind)]
    )
    if wrong:
        raise ModelError(
            f"the reward model's config.json is damaged: damaged or missing in its {KEY} "
            f"are {', '.join(wrong)}",
            hint="copy the model folder again, or train it again",
        )
    return (
        found["kind"],
        dict(found["settings"]),
        found["template"],
        tuple(found.get("accept_loss", ())),
    )
