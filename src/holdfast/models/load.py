"""Load a policy and its tokenizer, or say what is wrong with them.

Only safetensors are read and no code that comes with a model runs unless asked for. Weights are
float32 whatever they were stored in: precision is a matter of the forward pass. What would go wrong
later and silently is refused here: weights that are missing (and would be random), an encoder, a
tokenizer that knows more tokens than the model, no end-of-sequence token, NaN.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from holdfast.errors import ModelError, shown
from holdfast.models.folder import (
    ADAPTER,
    ADAPTER_JSON,
    check_adapter,
    check_model,
    check_tokenizer,
    refuse_leftovers,
    shown_line,
    tensor_names,
)
from holdfast.scorers.text import causal_model

Source = str | os.PathLike[str]
UNLIKE_A_POLICY = (
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForPreTraining",
)


def load_policy(
    source: Source | nn.Module,
    *,
    trust_remote_code: bool = False,
    dtype: torch.dtype = torch.float32,
    trainable_adapter: bool = True,
) -> Any:
    """A causal language model ready to be scored and trained.

    Args:
        source: a model hub name, a folder (of a model, of a peft adapter, or of a finished Holdfast
            run), or a model, which is checked and handed back.
        trust_remote_code: run code that comes with the model.
        dtype: type of the weights in memory.
        trainable_adapter: whether the weights of an adapter folder will be trained further.

    Raises:
        ModelError: no model there, not a causal model, only pickled weights, missing or non-finite
            weights.
    """
    if isinstance(source, nn.Module):
        check_policy(source)
        return source
    place = resolve(source)
    base_dtype: dict[str, Any] = {
        "dtype": dtype,
        "use_safetensors": True,
        "trust_remote_code": trust_remote_code,
    }
    if is_adapter_folder(place):
        inner = load_policy(check_adapter(place), trust_remote_code=trust_remote_code, dtype=dtype)
        model = with_adapter_of(place, inner, trainable=trainable_adapter)
        check_policy(model)
        return model
    check_model(place)
    return _load_causal(place, base_dtype)


def with_adapter_of(place: str, inner: Any, *, trainable: bool) -> Any:
    """The model under the adapter that lies in the folder `place`. Raises ModelError where the two
    do not fit.
    """
    from peft import PeftModel, get_peft_model_state_dict

    try:
        model = PeftModel.from_pretrained(
            inner, place, is_trainable=trainable, use_safetensors=True
        )
        has = set(get_peft_model_state_dict(model))
    except Exception as error:  # a damaged config raises whatever it meets
        raise ModelError(f"the adapter in {place} does not load: {shown_line(error)}") from error
    saved = tensor_names(Path(place) / ADAPTER)
    lost = sorted(has - saved - {name for name in has if "embed" in name or "lm_head" in name})
    if lost:
        raise ModelError(
            f"the adapter in {place} lacks weights, which would be random: {', '.join(lost[:3])}"
        )
    refuse_leftovers(saved - has, model, place)
    return model


def load_tokenizer(
    source: Source | Any,
    *,
    model: nn.Module | None = None,
    trust_remote_code: bool = False,
    notes: list[str] | None = None,
) -> Any:
    """The tokenizer that belongs to a policy.

    Args:
        source: as for `load_policy`, or a tokenizer, which is checked and handed back.
        model: the policy; its embedding must have a row for every token.
        trust_remote_code: run code that comes with the tokenizer.
        notes: a list that takes a sentence for everything that had to be put right.

    Raises:
        ModelError: no tokenizer there, no end-of-sequence token, or more tokens than the model has
            embeddings.
    """
    tokenizer: Any = source
    if not hasattr(source, "convert_ids_to_tokens"):
        tokenizer = _read_tokenizer(source, trust_remote_code)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            "the tokenizer has no end-of-sequence token, so answers would have no end",
            hint="set tokenizer.eos_token and save it",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
        if notes is not None:
            notes.append(
                f"the tokenizer had no padding token; {tokenizer.eos_token!r} stands in for it"
            )
    if model is not None:
        rows = embedding_rows(model)
        if len(tokenizer) > rows:
            raise ModelError(
                f"the tokenizer knows {len(tokenizer)} tokens, the model has embeddings for {rows}",
                hint=(
                    "use the model's own tokenizer, or model.resize_token_embeddings and save both"
                ),
            )
    return tokenizer


def resolve(source: Source) -> str:
    """A hub name as it is; a folder as its path, and a finished run's folder as the model
    inside it.
    """
    if not isinstance(source, str | os.PathLike) or not str(source).strip():
        raise ModelError(f"model must be a hub name, a folder or a model, not {shown(source)}")
    path = Path(source).expanduser()
    try:
        there = path.exists()
    except (OSError, ValueError):  # longer than any path, or a null byte
        raise ModelError(f"{shown(str(source))} is no name of a model") from None
    if not there:
        if str(source).count("/") > 1 or str(source).startswith((".", "~", "/")):
            raise ModelError(
                f"there is no folder {source}",
                hint="give a folder with config.json and safetensors, or a model hub name",
            )
        return str(source)
    if path.is_file():
        raise ModelError(
            f"{source} is a file, not a model folder", hint="give the folder that holds config.json"
        )
    if (path / "run.json").is_file():
        if not (path / "model").is_dir():
            raise ModelError(
                f"{source} is a run that has no model yet",
                hint="finish it with resume=True, or give one of its checkpoints' base models",
            )
        return str(path / "model")
    return str(path)


def check_policy(model: nn.Module) -> None:
    """Refuse encoders and weights that are not finite."""
    config = getattr(model, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"{type(model).__name__} is an encoder-decoder; Holdfast trains causal language models"
        )
    for name, weight in model.named_parameters():
        if weight.device.type == "meta":
            raise ModelError(f"weight {name} was never loaded (it is on the meta device)")
        if (
            weight.is_floating_point()
            and not bool(torch.isfinite(weight.detach().sum()))
            and not bool(torch.isfinite(weight.detach()).all())
        ):
            raise ModelError(
                f"weight {name} holds NaN or infinity",
                hint="the model is damaged; load an earlier one",
            )


def embedding_rows(model: Any) -> int:
    return int(model.get_input_embeddings().weight.shape[0])


def tokenizer_hash(tokenizer: Any) -> str:
    """sha256 over what a tokenizer does: its whole pipeline if it is a fast one, else its
    vocabulary; and its special tokens.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:  # padding and truncation are how it was last called, not what it is
        pipeline = {
            name: part
            for name, part in json.loads(backend.to_str()).items()
            if name not in ("padding", "truncation")
        }
    else:
        pipeline = tokenizer.get_vocab()
    what = json.dumps(pipeline, sort_keys=True)
    special = json.dumps(
        {
            name: str(token)
            for name, token in tokenizer.special_tokens_map.items()
            if name != "pad_token"
        },
        sort_keys=True,
    )
    return hashlib.sha256(f"{what}|{special}".encode()).hexdigest()


def _load_causal(place: str, how: dict[str, Any]) -> Any:
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=how["trust_remote_code"])
    except Exception as error:  # a damaged config raises whatever it meets
        raise ModelError(
            f"no model could be read from {place}: {shown_line(error)}", hint=_REMOTE_HINT
        ) from error
    listed = config.architectures if isinstance(config.architectures, list) else None
    named = str((listed or [""])[0])
    if config.is_encoder_decoder:
        raise ModelError(
            f"{place} is an encoder-decoder ({named or type(config).__name__}); Holdfast "
            "trains causal language models"
        )
    if named.endswith(UNLIKE_A_POLICY) or (
        type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and not how["trust_remote_code"]
    ):
        raise ModelError(
            f"{place} is not a causal language model: it says it is "
            f"{named or type(config).__name__}"
        )
    try:
        with progress_bars_only_on_terminals():
            model, info = AutoModelForCausalLM.from_pretrained(
                place, output_loading_info=True, ignore_mismatched_sizes=True, **how
            )
    except Exception as error:
        raise ModelError(
            f"the weights of {place} do not load: {shown_line(error)}", hint=_REMOTE_HINT
        ) from error
    other_shapes = sorted(info.get("mismatched_keys") or ())
    if other_shapes:  # an error of ours, since the library's own names no weight
        name, stored, wanted = other_shapes[0]
        more = f" and {len(other_shapes) - 1} more" if len(other_shapes) > 1 else ""
        raise ModelError(
            f"weights of {place} have another shape than its config says: {name} is "
            f"{tuple(stored)}, not {tuple(wanted)}{more}",
            hint="config.json or the weights are of another model",
        )
    missing = sorted(info.get("missing_keys") or ())
    if missing:
        listed_ = ", ".join(missing[:3]) + (
            f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        )
        raise ModelError(
            f"{place} lacks weights of {type(model).__name__}, which would be random: {listed_}"
        )
    refuse_leftovers(info.get("unexpected_keys") or (), model, place)
    check_policy(model)
    return model


_REMOTE_HINT = (
    "only safetensors are read; a model that brings its own code also needs trust_remote_code"
)


def is_adapter_folder(place: str) -> bool:
    return (Path(place) / ADAPTER_JSON).is_file()


def _read_tokenizer(source: Source, trust_remote_code: bool) -> Any:
    from transformers import AutoTokenizer

    place = resolve(source)
    folder = Path(place)
    if folder.is_dir() and not any(
        (folder / name).is_file()
        for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
    ):
        if is_adapter_folder(place):
            return _read_tokenizer(check_adapter(place), trust_remote_code)
        raise ModelError(
            f"{folder} has no tokenizer",
            hint="save the tokenizer there too, or give one with tokenizer=",
        )
    check_tokenizer(folder)
    try:
        return AutoTokenizer.from_pretrained(place, trust_remote_code=trust_remote_code)
    except Exception as error:  # a damaged tokenizer raises whatever it meets
        raise ModelError(f"no tokenizer could be read from {place}: {shown_line(error)}") from error


@contextlib.contextmanager
def progress_bars_only_on_terminals() -> Iterator[None]:
    """transformers draws its bars into log files too."""
    from transformers.utils import logging

    quiet = logging.is_progress_bar_enabled() and not sys.stderr.isatty()
    if quiet:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if quiet:
            logging.enable_progress_bar()


def context_length(model: Any) -> int | None:
    """The longest sequence the model has positions for, in tokens; None where its config does not
    say.
    """
    config = causal_model(model).config.get_text_config()
    length = getattr(config, "max_position_embeddings", None)
    return int(length) if isinstance(length, int) and length > 0 else None
