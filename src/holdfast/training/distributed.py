"""The processes of a run and the wrapping of the model: the one place that knows about DDP and
FSDP.

One process, `accelerate launch` with many (DDP), and sharded runs (FSDP2) look the same from
outside:

    context = Distributed(precision="fp32", track=(), folder=out)
    scorer, optimizer = context.prepare(scorer, optimizer)
    parts = context.gather(mine)          # a list, one entry a process
"""

from __future__ import annotations

import atexit
import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, gather_object
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.utils import _pytree

from holdfast.errors import OptionError, RunError
from holdfast.types import Scored

with contextlib.suppress(ValueError):  # already registered
    # FSDP finds the outputs to wait for in backward by walking them as a tree; a dataclass it does
    # not know is a dead end.
    _pytree.register_dataclass(Scored)

MIXED = {"fp32": "no", "bf16": "bf16"}


def leave_process_group() -> None:
    """End the process group while gloo's threads can still take Python's lock.

    Such a thread drops the last reference to a tensor of Python's a moment after the collective
    is over. If the interpreter is already ending, taking the lock ends the thread instead, the
    process aborts (SIGABRT) after a run that went well, and the launcher calls it failed: 7 of 12
    launches of a script with five `all_reduce` on a busy machine.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        time.sleep(0.1)  # gives up the lock: what waits for it is done when this returns


class Distributed:
    """An `Accelerator`, and what it leaves open."""

    def __init__(self, *, precision: str, track: Sequence[str] = (), folder: Path | None = None):
        earlier = AcceleratorState._shared_state
        if earlier and earlier.get("_mixed_precision") != MIXED[precision]:
            # of an earlier run in this process; accelerate keeps one precision for good
            AcceleratorState._reset_state()
        os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = (
            "false"  # else all processes but one would hash and score an empty model
        )
        try:
            self.accelerator = Accelerator(
                # else a launch of several processes without GPUs is taken for a single one
                cpu=not torch.accelerator.is_available(),
                mixed_precision=MIXED[precision],
                log_with=list(track) or None,
                project_dir=folder,
            )
        except (ValueError, ImportError) as error:
            raise OptionError(
                f"accelerate refuses these settings: {error}",
                hint="a tracker must be installed before it can track",
            ) from error
        if self.accelerator.distributed_type == DistributedType.DEEPSPEED:
            raise RunError(
                "DeepSpeed keeps gradients to itself",
                hint="launch with DDP or FSDP2: `accelerate launch --use_fsdp --fsdp_version 2`",
            )
        # Unregistered first, so that many runs in one process leave one entry.
        atexit.unregister(leave_process_group)
        atexit.register(leave_process_group)
        plugin = getattr(self.accelerator.state, "fsdp_plugin", None)
        if plugin is not None and plugin.fsdp_version != 2:
            raise RunError(
                "FSDP version 1 is not supported",
                hint="`accelerate launch --use_fsdp --fsdp_version 2`",
            )

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    @property
    def size(self) -> int:
        return self.accelerator.num_processes

    @property
    def rank(self) -> int:
        return self.accelerator.process_index

    @property
    def is_main(self) -> bool:
        return self.accelerator.is_main_process

    @property
    def sharded(self) -> bool:
        """Whether FSDP was asked for; `accelerate` itself takes no notice of that on CPU."""
        return self.accelerator.is_fsdp2 or (
            self.size > 1 and os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
        )

    @property
    def wrapping(self) -> str:
        return "fsdp2" if self.sharded else "ddp" if self.size > 1 else "single process"

    def prepare(
        self, scorer: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The scorer as DDP or FSDP want it, and the optimizer over its parameters."""
        if self.sharded:
            return self._shard(scorer, optimizer)
        wrapped, prepared = self.accelerator.prepare(scorer, optimizer)
        return wrapped, getattr(prepared, "optimizer", prepared)

    def _shard(
        self, scorer: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """FSDP2, a unit a decoder layer and one for the rest, the same on CPU and on accelerators.

        `accelerate` would have log-probabilities come out, and gradients summed, in bfloat16; here
        both stay float32.
        """
        from torch.distributed.device_mesh import init_device_mesh

        plugin = getattr(self.accelerator.state, "fsdp_plugin", None)
        how: dict[str, Any] = {"mesh": init_device_mesh(self.device.type, (self.size,))}
        if self.accelerator.mixed_precision == "bf16":
            how["mp_policy"] = MixedPrecisionPolicy(
                param_dtype=torch.bfloat16, reduce_dtype=torch.float32
            )
        if plugin is not None and plugin.cpu_offload:
            how["offload_policy"] = plugin.cpu_offload
        layers = set(getattr(scorer, "_no_split_modules", None) or ())
        before = dict(scorer.named_parameters())
        for module in scorer.modules():
            if type(module).__name__ in layers:
                fully_shard(
                    module,
                    **how,
                    reshard_after_forward=True if plugin is None else plugin.reshard_after_forward,
                )
        fully_shard(scorer, **how)
        after = dict(scorer.named_parameters())
        new = {old: after[name] for name, old in before.items()}
        for group in optimizer.param_groups:
            group["params"] = [new[parameter] for parameter in group["params"]]
        return scorer, optimizer

    def unwrap(self, scorer: nn.Module) -> Any:
        """The scorer itself, out of DDP (FSDP2 wraps in place)."""
        return scorer.module if isinstance(scorer, nn.parallel.DistributedDataParallel) else scorer

    @contextlib.contextmanager
    def gradients_stay_here(self, scorer: nn.Module) -> Iterator[None]:
        """Backward without talking to the other processes: for every microbatch but the last."""
        if isinstance(scorer, FSDPModule):
            scorer.set_requires_gradient_sync(False)
            try:
                yield
            finally:
                scorer.set_requires_gradient_sync(True)
        elif isinstance(scorer, nn.parallel.DistributedDataParallel):
            with scorer.no_sync():
                yield
        else:
            yield

    def gather(self, mine: Any) -> list[Any]:
        """What every process has, in the order of their ranks, at every process. Tensors travel on
        CPU.
        """
        return [mine] if self.size == 1 else gather_object([to_cpu(mine)])

    def any(self, flag: bool) -> bool:
        return any(self.gather(flag))

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()

    def clip(self, scorer: nn.Module, max_norm: float) -> float:
        """Scale gradients down to `max_norm` (0 leaves them) and return their norm before that,
        over all processes.
        """
        parameters = [p for p in scorer.parameters() if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(parameters, max_norm or float("inf"))
        return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)


def to_cpu(tree: Any) -> Any:
    """The same tree of lists, dicts and tensors with every tensor on CPU, free of its history."""
    if isinstance(tree, Tensor):
        return tree.detach().cpu()
    if isinstance(tree, Scored):
        return tree.map(to_cpu)
    if isinstance(tree, Mapping):
        return {key: to_cpu(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(to_cpu(value) for value in tree)
    return tree
