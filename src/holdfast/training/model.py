"""The policy as it is trained: its adapter, its mode, its schedule, and the folder it ends in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from holdfast.errors import ModelError, RunError
from holdfast.models.protocols import Saved
from holdfast.training.optimizer import PREFIX
from holdfast.training.options import Options
from holdfast.training.run.checkpoint import FULL

SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def with_adapter(policy: nn.Module, options: Options, task: str) -> nn.Module:
    """A fresh LoRA adapter around the model, `task` in peft's words. It changes nothing until it is
    trained.
    """
    from peft import LoraConfig, PeftModel, get_peft_model

    if isinstance(policy, PeftModel):
        raise ModelError(
            "the model already has an adapter",
            hint="leave lora_rank out to train that one, or merge it first",
        )
    targets: str | list[str] = (
        "all-linear" if options.lora_targets == ("all-linear",) else list(options.lora_targets)
    )
    config = LoraConfig(
        r=options.lora_rank,
        lora_alpha=options.lora_alpha or 2 * options.lora_rank,
        lora_dropout=options.lora_dropout,
        target_modules=targets,
        task_type=task or None,
    )
    try:
        return get_peft_model(policy, config)
    except ValueError as error:
        raise ModelError(
            f"no adapter fits: {error}",
            hint="lora_targets names modules, such as q_proj v_proj; or all-linear",
        ) from error


def is_adapter(policy: nn.Module) -> bool:
    return hasattr(policy, "peft_config")


def set_mode(scorer: nn.Module, *, dropout: bool, checkpointing: bool) -> None:
    """Training mode where dropout is wanted, evaluation mode where it is not.

    Hugging Face layers recompute their activations only in training mode. Without dropout that flag
    is set on those layers alone, not on what is inside them, and a rate that such a layer holds
    itself is set to zero.
    """
    scorer.train(dropout)
    if checkpointing and not dropout:
        for module in scorer.modules():
            if getattr(module, "gradient_checkpointing", False):
                module.training = True
                for name, value in vars(module).items():
                    if "dropout" in name and isinstance(value, float):
                        setattr(module, name, 0.0)


def training_mode(scorer: nn.Module, options: Options) -> None:
    """Dropout only if asked for."""
    set_mode(scorer, dropout=options.dropout, checkpointing=options.gradient_checkpointing)


@contextlib.contextmanager
def evaluating(scorer: nn.Module, options: Options) -> Iterator[None]:
    """Without dropout for a while, then back in training mode."""
    set_mode(scorer, dropout=False, checkpointing=options.gradient_checkpointing)
    try:
        yield
    finally:
        training_mode(scorer, options)


def enable_checkpointing(policy: nn.Module) -> None:
    try:
        _pretrained(policy).gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": False}
        )
    except (ValueError, AttributeError) as error:
        raise ModelError(
            f"{type(policy).__name__} cannot recompute activations: {error}",
            hint="leave gradient_checkpointing out",
        ) from error


def build_scheduler(optimizer: torch.optim.Optimizer, options: Options, total: int) -> LRScheduler:
    warmup = (
        options.warmup_steps
        if options.warmup_steps is not None
        else round(options.warmup_ratio * total)
    )
    return get_scheduler(
        SCHEDULES[options.schedule],
        optimizer=optimizer,
        num_warmup_steps=warmup,
        num_training_steps=total,
    )


def final_weights(scorer: nn.Module) -> dict[str, Tensor]:
    """All weights of the policy under its own names, whole and on CPU; tied ones once. Every
    process must call this. A method's head is no part of the policy."""
    whole: dict[str, Any] = get_model_state_dict(scorer, options=FULL)
    names = {name for name, _ in scorer.named_parameters()}
    lost = names - whole.keys()
    if whole and lost:  # only the main process is given any
        raise RunError(f"{len(lost)} weights could not be gathered, such as {min(lost)}")
    names |= {name for name, _ in scorer.named_buffers()}
    return {
        name.removeprefix(PREFIX): tensor.contiguous()
        for name, tensor in whole.items()
        if name in names and name.startswith(PREFIX)
    }


def save_pretrained(
    policy: nn.Module, tokenizer: Saved, weights: dict[str, Tensor], folder: Path
) -> None:
    """What `from_pretrained` reads: the model, or the adapter with its base named, and the
    tokenizer with its chat template.
    """
    made = _pretrained(policy)
    if is_adapter(policy):
        for config in made.peft_config.values():
            base = str(config.base_model_name_or_path or "")
            config.base_model_name_or_path = (
                str(Path(base).resolve()) if base and Path(base).is_dir() else base
            )
        made.save_pretrained(
            folder, state_dict=weights, safe_serialization=True, save_embedding_layers=False
        )
        if any(config.task_type == "SEQ_CLS" for config in made.peft_config.values()):
            made.get_base_model().config.save_pretrained(
                folder
            )  # the base's own config knows nothing of the head
        (folder / "README.md").unlink(missing_ok=True)
    else:
        made.save_pretrained(folder, state_dict=weights, safe_serialization=True)
    tokenizer.save_pretrained(folder)


@contextlib.contextmanager
def adapter_off(policy: nn.Module) -> Iterator[None]:
    """The base model under the adapter."""
    if not is_adapter(policy):
        raise ModelError(
            "reference='adapter-off', but the model has no adapter",
            hint="set lora_rank, or leave reference out",
        )
    with _pretrained(policy).disable_adapter():
        yield


def _pretrained(model: nn.Module) -> Any:
    """The model with what transformers and peft add to a module."""
    return model
