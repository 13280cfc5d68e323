"""Checkpoints: all that a run needs to go on as if it had never stopped, in safetensors and JSON.

    checkpoints/step-00000100/
        weights.safetensors      what is trained (all weights, or the adapter's)
        optimizer.safetensors    the optimizer's state by parameter name
        state.safetensors        what reduction and method remember, and every process's random
                                 state
        checkpoint.json          the run it belongs to, step, schedule, place in metrics.jsonl,
                                 seconds so far
        manifest.json            size and sha256 of each file above

One code path for a single process, DDP and FSDP: PyTorch's full state dict, gathered on the main
process, which writes. A folder appears under its name only when it is whole; one that does not
match its manifest is skipped with a warning, and the one before is used. One that another run wrote
is an error: its weights belong to other data or settings.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from holdfast.card import State
from holdfast.errors import RunError
from holdfast.files import disk_errors, sweep, whole_folder, write_json
from holdfast.training.distributed import Distributed
from holdfast.training.randomness import random_state, set_random_state

CHECKPOINT, MANIFEST = "checkpoint.json", "manifest.json"
FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)
LENIENT = replace(FULL, strict=False)  # tied weights are written once, frozen ones not at all


@dataclass(frozen=True)
class Position:
    """Where a run stands, besides its tensors."""

    run: str  # id of the run, as its record has it
    step: int
    metrics_bytes: int  # length of metrics.jsonl when the checkpoint was taken
    seconds: float
    scheduler: Mapping[str, Any]


def save(
    context: Distributed,
    folder: Path,
    scorer: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: State,
    position: Position,
    *,
    keep: int,
) -> None:
    """Write `folder/step-N`; every process must call this. Raises OSError (a full disk, say) and
    then leaves earlier checkpoints alone.
    """
    inner = context.unwrap(scorer)
    weights = trained_weights(inner)
    whole: dict[str, Any] = get_optimizer_state_dict(inner, optimizer, options=FULL)
    randoms = context.gather(random_state(context.device))
    if not context.is_main:
        return
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    path = folder / f"step-{position.step:08d}"
    with (
        disk_errors(),
        whole_folder(path, replace=True) as half,
    ):  # a run that went back past a damaged one makes it again
        save_file(weights, half / "weights.safetensors")
        moments = {
            f"{kind}:{name}": value.contiguous()
            for name, kinds in whole["state"].items()
            for kind, value in kinds.items()
        }
        save_file(moments, half / "optimizer.safetensors")
        rng = {
            f"random.{rank}.{name}": value
            for rank, each in enumerate(randoms)
            for name, value in each.items()
        }
        save_file(
            {**rng, **{f"state.{name}": value for name, value in flatten(state).items()}},
            half / "state.safetensors",
        )
        write_json(
            half / CHECKPOINT,
            {
                **vars(position),
                "scheduler": dict(position.scheduler),
                "optimizer": whole["param_groups"],
            },
        )
        write_json(
            half / MANIFEST, {file.name: _fingerprint(file) for file in sorted(half.iterdir())}
        )
    for old in _found(folder)[keep:]:
        shutil.rmtree(old)


def load(
    context: Distributed,
    folder: Path,
    scorer: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: State,
    *,
    run: str,
) -> tuple[Position, State] | None:
    """Put the newest whole checkpoint into model and optimizer; None if there is none. `state`
    gives the structure of what is remembered.

    Raises:
        RunError: the newest whole checkpoint was written by another run than `run`, or for another
            model.
    """
    saved = newest(folder)
    if saved is None:
        return None
    if saved.position.run != run:
        raise RunError(
            f"checkpoint {saved.path} belongs to another run ({saved.position.run}, not "
            f"{run}), so it is not loaded",
            hint="move it out of this folder, or resume in the folder where it was written",
        )
    inner = context.unwrap(scorer)
    state_of: dict[str, Any] = {}
    for key, value in saved.optimizer.items():
        kind, _, name = key.partition(":")
        state_of.setdefault(name, {})[kind] = value
    # The optimizer first: filling an empty one takes a step of size zero.
    set_optimizer_state_dict(
        inner, optimizer, {"state": state_of, "param_groups": saved.groups}, options=LENIENT
    )
    left = set_model_state_dict(inner, {**saved.weights}, options=LENIENT)
    if left.unexpected_keys:
        raise RunError(
            f"{saved.path} holds weights that the model has no place for: "
            f"{', '.join(left.unexpected_keys[:3])}"
        )
    prefix = f"random.{context.rank}."
    randoms = {
        name.removeprefix(prefix): value
        for name, value in saved.state.items()
        if name.startswith(prefix)
    }
    if randoms.keys() == random_state(context.device).keys():
        set_random_state(randoms)
    else:
        warnings.warn(
            "the checkpoint was taken on other devices; random draws (dropout) will not "
            "be the same",
            stacklevel=2,
        )
    kept = {
        name.removeprefix("state."): value
        for name, value in saved.state.items()
        if name.startswith("state.")
    }
    return saved.position, unflatten(state, kept)


@dataclass(frozen=True)
class Saved:
    """A checkpoint as it was read, before any of it goes into a model."""

    path: Path
    position: Position
    groups: list[dict[str, Any]]  # the optimizer's
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Tensor]


def newest(folder: Path) -> Saved | None:
    """The latest checkpoint that matches its manifest and can be read. A damaged one is skipped
    with a warning that names it.
    """
    for path in _found(folder):
        problem = damage(path)
        if problem is None:
            try:
                return _read(path)
            except (
                OSError,
                ValueError,
                KeyError,
                TypeError,
                AttributeError,
                SafetensorError,
            ) as error:
                problem = f"it cannot be read: {type(error).__name__}: {error}"
        warnings.warn(
            f"checkpoint {path} is not whole ({problem}); using the one before it", stacklevel=3
        )
    return None


def _read(path: Path) -> Saved:
    held = json.loads((path / CHECKPOINT).read_text(encoding="utf-8"))
    groups = [dict(group) for group in held.pop("optimizer")]
    position = Position(**held)
    if not all(
        isinstance(value, kind)
        for value, kind in (
            (position.run, str),
            (position.step, int),
            (position.metrics_bytes, int),
        )
    ):
        raise ValueError(f"{CHECKPOINT} holds values of the wrong kind")
    weights, optimizer, state = (
        load_file(path / f"{name}.safetensors") for name in ("weights", "optimizer", "state")
    )
    return Saved(path, position, groups, weights, optimizer, state)


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint's files, None if nothing is."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        missing = {
            CHECKPOINT,
            "weights.safetensors",
            "optimizer.safetensors",
            "state.safetensors",
        } - manifest.keys()
        if missing:
            return f"{MANIFEST} does not name {', '.join(sorted(missing))}"
        for name, fingerprint in manifest.items():
            file = path / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != fingerprint["bytes"]:
                return f"{name} has {file.stat().st_size} bytes, not {fingerprint['bytes']}"
            if _fingerprint(file) != fingerprint:
                return f"{name} does not match its checksum"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be read"
    return None


def trained_weights(scorer: nn.Module) -> dict[str, Tensor]:
    """The tensors that training changes, by name, whole and on CPU; every process must call this.
    Weights that are tied appear once.
    """
    whole: dict[str, Any] = get_model_state_dict(scorer, options=FULL)
    names = {name for name, parameter in scorer.named_parameters() if parameter.requires_grad}
    names |= {name for name, _ in scorer.named_buffers()}
    return {name: tensor.contiguous() for name, tensor in whole.items() if name in names}


def flatten(state: State, prefix: str = "") -> dict[str, Tensor]:
    """A tree of dicts and tensors as one dict of tensors with dotted names."""
    if isinstance(state, Tensor):
        return {prefix: state.detach().cpu().clone()}
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        out |= flatten(value, f"{prefix}.{name}" if prefix else name)
    return out


def unflatten(like: State, flat: Mapping[str, Tensor], prefix: str = "") -> State:
    """The inverse, in the shape of `like`."""
    if isinstance(like, Tensor):
        return flat[prefix].to(like)
    return {
        name: unflatten(value, flat, f"{prefix}.{name}" if prefix else name)
        for name, value in like.items()
    }


def _found(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _fingerprint(file: Path) -> dict[str, Any]:
    with file.open("rb") as handle:
        return {
            "bytes": file.stat().st_size,
            "sha256": hashlib.file_digest(handle, "sha256").hexdigest(),
        }
