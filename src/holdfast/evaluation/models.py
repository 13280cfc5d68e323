"""A model to be evaluated: loaded, named, and with what its run's record knows about it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from holdfast.errors import ModelError
from holdfast.evaluation.objective import Own, own_objective
from holdfast.models.load import context_length, load_policy, load_tokenizer, tokenizer_hash
from holdfast.models.run_record import NAME, read_record
from holdfast.scorers.reference import model_hash

ADAPTER_OFF = (
    "adapter-off"  # what a run calls the model under its adapter, which is the one it started from
)


@dataclass(frozen=True)
class Loaded:
    """A causal model with its tokenizer. `own_reference`, `template` and `accept_loss` are set
    where it came from a run that recorded them."""

    model: Any
    tokenizer: Any
    name: str
    hash: str
    own_reference: str | None = None
    template: str | None = None
    accept_loss: tuple[str, ...] = ()
    note: str = ""
    own: Own | None = None  # what its run was trained to do

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "hash": self.hash,
            "parameters": int(sum(p.numel() for p in self.model.parameters())),
        }


def load(
    source: Any,
    *,
    tokenizer: Any = None,
    device: torch.device,
    dtype: torch.dtype,
    trust_remote_code: bool = False,
) -> Loaded:
    """A run's folder, a model folder, a hub name or a model in memory. A model in memory stays in
    its precision and needs a tokenizer.
    """
    if isinstance(source, nn.Module):
        if tokenizer is None:
            raise ModelError(
                "a loaded model was given without a tokenizer", hint="pass tokenizer=..."
            )
        model = load_policy(source)
        name = str(getattr(source.config, "_name_or_path", "") or type(source).__name__)
        return Loaded(
            model.to(device).eval(), load_tokenizer(tokenizer, model=model), name, model_hash(model)
        )
    if hasattr(source, "out") and hasattr(source, "record"):
        source = source.out
    model = load_policy(
        source, trust_remote_code=trust_remote_code, dtype=dtype, trainable_adapter=False
    )
    tokens = load_tokenizer(
        _tokenizer_source(source, tokenizer), model=model, trust_remote_code=trust_remote_code
    )
    return Loaded(
        model.to(device).eval(),
        tokens,
        os.fspath(source),
        model_hash(model),
        **_from_record(Path(source)),
    )


def device_for(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def smallest_window(models: Sequence[Loaded]) -> int | None:
    """The longest prompt and answer that every one of the models takes, None where none says."""
    return min(
        (window for loaded in models if (window := context_length(loaded.model))), default=None
    )


def same_tokens(policy: Loaded, reference: Loaded) -> None:
    """Log-probabilities of one model can only be compared with another's if both read the same
    tokens. The reference of a folder is checked by its own tokenizer, if it brings one."""
    rows = [loaded.model.get_input_embeddings().weight.shape[0] for loaded in (policy, reference)]
    if (
        tokenizer_hash(policy.tokenizer) != tokenizer_hash(reference.tokenizer)
        or rows[0] != rows[1]
    ):
        raise ModelError(
            f"{policy.name} and its reference {reference.name} do not share a tokenizer, "
            "so their log-probabilities cannot be compared",
            hint=f"to compare only what they write: --against {reference.name}",
        )


def _tokenizer_source(source: Any, tokenizer: Any) -> Any:
    """A folder's own tokenizer if it has one, else the one at hand."""
    if tokenizer is None:
        return source
    folder = Path(source)
    if not folder.is_dir():
        return source
    folder = folder / "model" if (folder / "run.json").is_file() else folder
    return (
        source
        if any(
            (folder / name).is_file()
            for name in ("tokenizer.json", "tokenizer_config.json", "adapter_config.json")
        )
        else tokenizer
    )


def _from_record(folder: Path) -> dict[str, Any]:
    """What a run's record knows: the reference it was trained against (or the policy as it was
    before training), template, objective.

    Raises:
        RunError: the record is damaged.
    """
    record = read_record(folder)
    if record is None:
        return {}
    options = record.get("options", {})
    known = {
        "template": options.get("template"),
        "accept_loss": tuple(options.get("accept_loss") or ()),
        "own": own_objective(record),
    }
    call = record.get("call", {})
    # of self-play, the call names a role, and the start is what its KL is to
    given = call.get("reference") if record["source"] == "dataset" else None
    named = call.get("model") if given in (None, ADAPTER_OFF) else given
    if isinstance(named, str):
        return known | {"own_reference": named}
    return known | {
        "note": (
            f"{folder / NAME} cannot name the run's reference, which was given in memory; "
            "hint: --reference MODEL"
        )
    }
