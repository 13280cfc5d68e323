"""Everything about a run that is not the method's own: sizes, rates, precision, adapters, what to
save and when.

`Options` feeds the command line, the run record and the model card; each field carries its one line
of help. What a method reads is its own signature. A name that is neither is refused, never ignored.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from holdfast.card import Method, settings_of
from holdfast.data.conservation import Loss
from holdfast.data.reading import Reading
from holdfast.errors import OptionError, shown
from holdfast.typed import kinds_of, typed

ADAMW = "adamw"  # the optimizer that takes every weight
Tracker = Literal["tensorboard", "wandb", "trackio"]


@dataclass(frozen=True)
class Options(Reading):
    """How a run is carried out. Every field is a keyword of `train` and a flag of `holdfast
    train`.
    """

    epochs: Annotated[
        float, "passes over the training rows; 1.5 stops half-way through the second"
    ] = 1.0
    max_steps: Annotated[int | None, "optimizer steps, instead of epochs"] = None
    batch_size: Annotated[int, "rows per optimizer step, over all processes together"] = 16
    tokens_per_microbatch: Annotated[
        int | None,
        "tokens scored at once; a memory knob, results change by rounding only; 384 on "
        "CPU, 16384 on GPU unless given",
    ] = None
    optimizer: Annotated[
        Literal["adamw", "muon", "root"],
        "adamw; or muon or root for the matrices of hidden layers and adamw for the rest",
    ] = "adamw"
    learning_rate: Annotated[float, "peak learning rate, of every optimizer"] = 5e-6
    schedule: Annotated[
        Literal["linear", "cosine", "constant"], "how the learning rate falls after warm-up"
    ] = "linear"
    head_learning_rate: Annotated[
        float, "highest learning rate of a method's own head, trained beside the policy"
    ] = 1e-3
    warmup_ratio: Annotated[
        float, "share of the steps over which the learning rate rises from zero"
    ] = 0.1
    warmup_steps: Annotated[int | None, "steps of warm-up, instead of warmup_ratio"] = None
    weight_decay: Annotated[float, "decoupled weight decay, on matrices only"] = 0.0
    adam_beta1: Annotated[float, "AdamW's decay of the mean gradient"] = 0.9
    adam_beta2: Annotated[float, "AdamW's decay of the squared gradient"] = 0.999
    adam_epsilon: Annotated[float, "AdamW's floor of the denominator"] = 1e-8
    muon_momentum: Annotated[float, "momentum of muon and root"] = 0.95
    root_quantile: Annotated[
        float, "root clamps each matrix's update at this quantile of its entries' size; 1 is off"
    ] = 0.9
    max_grad_norm: Annotated[
        float, "gradients are scaled down to this norm; 0 leaves them as they are"
    ] = 1.0
    seed: Annotated[
        int, "decides the order of rows, the held-out split, and adapter initialization"
    ] = 0
    precision: Annotated[
        Literal["fp32", "bf16"],
        "arithmetic of the forward pass; weights and optimizer stay float32",
    ] = "fp32"
    gradient_checkpointing: Annotated[
        bool, "recompute activations in the backward pass: less memory, about a third more time"
    ] = False
    dropout: Annotated[
        bool,
        "train with the model's dropout; off by default, so that losses are exact and "
        "step 0 can be checked",
    ] = False
    scoring: Annotated[
        Literal["packed", "padded"],
        "how answers are scored; packed is checked against padded before the first step",
    ] = "packed"
    router_aux_loss: Annotated[
        Literal["config", "off"],
        "the load-balancing loss of a mixture of experts: as the model's config asks, or off",
    ] = "config"
    lora_rank: Annotated[int, "rank of LoRA adapters; 0 trains all weights"] = 0
    lora_alpha: Annotated[float | None, "LoRA scale; twice the rank unless given"] = None
    lora_dropout: Annotated[float, "dropout on the adapters' input; needs dropout"] = 0.0
    lora_targets: Annotated[tuple[str, ...], "modules that get adapters"] = ("all-linear",)
    eval_split: Annotated[str | None, "which split of eval_data to evaluate on"] = None
    template: Annotated[
        Literal["auto", "chat", "plain", "none"],
        "how rows become text: auto is the chat template if there is one; none takes text "
        "that is in it already",
    ] = "auto"
    accept_loss: Annotated[
        tuple[Loss, ...],
        "what the chat template may drop of a row; losing anything else is an error; may "
        "be repeated",
    ] = ()
    max_tokens: Annotated[
        int | None,
        "longest prompt plus answer, the model's context unless given; a longer row is an "
        "error, or quarantined",
    ] = None
    max_prompt_tokens: Annotated[
        int | None, "longest prompt; a longer row is an error, or quarantined"
    ] = None
    eval_every: Annotated[
        int, "evaluate every so many steps; 0 evaluates before the first step and after the last"
    ] = 0
    eval_fraction: Annotated[
        float, "share of the prompts held out for evaluation when no eval_data is given"
    ] = 0.0
    save_every: Annotated[int, "checkpoint every so many steps; 0 only when interrupted"] = 100
    keep_checkpoints: Annotated[int, "how many checkpoints to keep"] = 2
    log_every: Annotated[
        int, "print a line every so many steps when the terminal is not interactive"
    ] = 10
    track: Annotated[tuple[Tracker, ...], "experiment trackers, through accelerate"] = ()
    reference_cache: Annotated[
        str | None, "folder of reference log-probabilities; inside the run's folder unless given"
    ] = None
    trust_remote_code: Annotated[bool, "run code that comes with the model"] = False
    resolution: Annotated[
        int | None,
        "of diffusion models: scale and crop images to so many pixels a side; else one size",
    ] = None
    latents: Annotated[
        Literal["auto", "noise", "inversion"],
        "of diffusion models: draw noise, or find it by inverting images; auto inverts for smpo",
    ] = "auto"
    inversion_steps: Annotated[
        int, "of diffusion models: timesteps that an image is inverted through"
    ] = 5
    solver_steps: Annotated[
        int, "of self_npo: solver steps, of 25 from noise, before the estimate"
    ] = 5
    solver_start: Annotated[
        Literal["noise", "data"], "of self_npo: start from noise, or from the row's noised image"
    ] = "noise"

    def budget(self, device: str) -> int:
        """Tokens scored at once by one process."""
        return self.tokens_per_microbatch or MICROBATCH.get(device, MICROBATCH["cuda"])

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, kind in kinds().items():
            object.__setattr__(self, name, typed(name, kind, getattr(self, name)))
        for name, (low, high, open_low) in RANGES.items():
            value = getattr(self, name)
            if (value is not None and not (low < value if open_low else low <= value)) or (
                value is not None and value > high
            ):
                bound = f"{'above' if open_low else 'at least'} {low:g}" + (
                    "" if high == math.inf else f" and at most {high:g}"
                )
                raise OptionError(f"{name} must be {bound}, not {shown(value)}")
        if self.adam_beta1 == 1 or self.adam_beta2 == 1:
            raise OptionError("adam_beta1 and adam_beta2 must be below 1")
        if self.muon_momentum == 1:
            raise OptionError("muon_momentum must be below 1")
        if self.eval_fraction == 1:
            raise OptionError("eval_fraction must be below 1: nothing would be left to train on")
        if self.lora_dropout and not self.dropout:
            raise OptionError(
                "lora_dropout is not read while dropout is off",
                hint="add dropout=True, or leave lora_dropout out",
            )


MICROBATCH = {
    "cpu": 384,
    "cuda": 16384,
}  # tokens: enough for full speed on a few cores, enough to keep a GPU busy

RANGES: Mapping[
    str, tuple[float, float, bool]
] = {  # name: lowest, highest, whether the lowest itself is excluded
    "epochs": (0, math.inf, True),
    "max_steps": (1, math.inf, False),
    "batch_size": (1, math.inf, False),
    "tokens_per_microbatch": (1, math.inf, False),
    "learning_rate": (0, math.inf, False),
    "head_learning_rate": (0, math.inf, False),
    "warmup_ratio": (0, 1, False),
    "warmup_steps": (0, math.inf, False),
    "weight_decay": (0, math.inf, False),
    "adam_beta1": (0, 1, False),
    "adam_beta2": (0, 1, False),
    "adam_epsilon": (0, math.inf, True),
    "muon_momentum": (0, 1, False),
    "root_quantile": (0, 1, True),
    "max_grad_norm": (0, math.inf, False),
    "seed": (0, 2**63 - 1, False),
    "lora_rank": (0, math.inf, False),
    "lora_alpha": (0, math.inf, True),
    "lora_dropout": (0, 1, False),
    "max_tokens": (1, math.inf, False),
    "max_prompt_tokens": (1, math.inf, False),
    "eval_every": (0, math.inf, False),
    "eval_fraction": (0, 1, False),
    "save_every": (0, math.inf, False),
    "keep_checkpoints": (1, math.inf, False),
    "log_every": (1, math.inf, False),
    "resolution": (1, math.inf, False),
    "inversion_steps": (1, 1000, False),
    "solver_steps": (1, 25, False),
}

# Read where a diffusion model is trained, and nowhere else.
OF_DIFFUSION = ("resolution", "latents", "inversion_steps", "solver_steps", "solver_start")


# These may differ between a run and its continuation: they change what is held, shown or kept, not
# what is computed.
FREE_ON_RESUME = frozenset(
    {
        "tokens_per_microbatch",
        "gradient_checkpointing",
        "log_every",
        "save_every",
        "keep_checkpoints",
        "track",
        "reference_cache",
    }
)

# Read only together with another option: name -> the option, and the words for its being off.
ONLY_WITH = {"lora_alpha": "lora_rank", "lora_dropout": "lora_rank", "lora_targets": "lora_rank"}
# Read by some values of another option: name -> the option, and those values.
ONLY_BY = {
    "muon_momentum": ("optimizer", ("muon", "root")),
    "root_quantile": ("optimizer", ("root",)),
}
INSTEAD_OF = {"max_steps": "epochs", "warmup_steps": "warmup_ratio"}


def kinds(*, own: bool = False) -> dict[str, Any]:
    """The type of each option, without its help; `own`: without those of `Reading`."""
    reading = {field.name for field in dataclasses.fields(Reading)} if own else set()
    return {
        name: typing.get_args(hint)[0] for name, hint in _hints().items() if name not in reading
    }


def helps() -> dict[str, str]:
    """The one line of help of each option."""
    return {name: typing.get_args(hint)[1] for name, hint in _hints().items()}


def _hints() -> dict[str, Any]:
    return typing.get_type_hints(Options, include_extras=True)


def split_options(method: Method, given: Mapping[str, Any]) -> tuple[Options, dict[str, Any]]:
    """Keywords of `train` -> the run's options, and the method's settings with its own defaults
    filled in.

    Raises OptionError for a name that neither reads, for two options that contradict each other,
    and for values of the wrong type or out of an option's range (a setting's range is the
    objective's own: `try_settings`).
    """
    from holdfast.methods import METHODS

    known = {field.name for field in dataclasses.fields(Options)}
    own = settings_of(method.objective)
    shared = known & own.keys()
    if shared:
        raise OptionError(
            f"{method.name} has settings named like options of training: "
            f"{', '.join(sorted(shared))}"
        )
    for name in given:
        if name not in known and name not in own:
            raise _unread(name, method, known, list(own))
    for name, other in ONLY_WITH.items():
        if name in given and not given.get(other):
            raise OptionError(
                f"{name} is not read without {other}", hint=f"add {other}, or leave {name} out"
            )
    for name, (other, values) in ONLY_BY.items():
        if name in given and given.get(other, getattr(Options, other)) not in values:
            raise OptionError(
                f"{name} is read by {other} {' and '.join(values)} alone",
                hint=f"add {other}={values[-1]}, or leave {name} out",
            )
    if "head_learning_rate" in given and method.head is None:
        heads = ", ".join(name for name, other in METHODS.items() if other.head is not None)
        raise OptionError(
            f"{method.name} has no head, so head_learning_rate is not read",
            hint=f"it is read by {heads}",
        )
    for name, other in INSTEAD_OF.items():
        if given.get(name) is not None and other in given:
            raise OptionError(
                f"{name} and {other} say the same thing twice",
                hint=f"give one of {name} and {other}",
            )
    picked: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if name in known
    }
    options = Options(**picked)
    settings = {
        name: parameter.default
        for name, parameter in own.items()
        if parameter.default is not inspect.Parameter.empty
    }
    settings |= {name: value for name, value in given.items() if name in own}
    missing = [name for name in own if name not in settings]
    if missing:
        raise OptionError(
            f"{method.name} must be told {', '.join(missing)}", hint=f"give {missing[0]}=..."
        )
    kinds_ = kinds_of(method.objective)
    settings = {name: typed(name, kinds_[name], value) for name, value in settings.items()}
    return options, settings


def _unread(name: str, method: Method, known: set[str], own: list[str]) -> OptionError:
    from holdfast.methods import METHODS

    readers = [
        other for other, candidate in METHODS.items() if name in settings_of(candidate.objective)
    ]
    near = difflib.get_close_matches(name, [*own, *sorted(known)], n=1)
    if readers:  # spelled rightly, for another method
        hint = f"{name} is read by {', '.join(readers)}"
    elif near:
        hint = f"did you mean {near[0]}?"
    else:
        hint = f"`holdfast methods {method.name}` shows what it reads"
    reads = f"its settings are {', '.join(own)}" if own else "it has no settings"
    return OptionError(
        f"{method.name} does not read {name}: {reads}; nor is {name} an option of training",
        hint=hint,
    )
