"""Training of the surrogate: Adam on the squared error of scaled labels, resumable to the bit.

A batch holds decisions of instances of one size, so nothing is padded, and a few points of Xi for
each, so what is read of x is shared. Order and batches of an epoch come from (seed, epoch) alone; a
checkpoint after each epoch holds the weights, the optimizer's state and the best weights so far.
The weights with the lowest mean absolute error on held-out instances are kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast.errors import OptionError, RunError
from holdfast.files import folder_to_write, read_json, sweep, write_bytes, write_json, writing
from holdfast.optimization.two_stage.labels import FEATURES, Asked, Labeled, read_labels
from holdfast.optimization.two_stage.network import Scales, SetNetwork, save_network
from holdfast.stats.arrays import whole
from holdfast.typed import typed

DECISIONS, FACTORS = 16, 16  # of a batch
NETWORK, CHECKPOINT, SETTINGS = "network.safetensors", "checkpoint.pt", "training.json"


@dataclass(frozen=True)
class Recipe:
    """How long and how fast.

    Attributes:
        epochs: passes over the decisions, each with a random share of its points
        lr: the first learning rate of a cosine that ends at 0
        held_out: share of instances, the last ones, for validation
        seed: of weights and batches

    Raises:
        OptionError: a number out of range.
    """

    epochs: int = 200
    lr: float = 3e-3
    held_out: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if not whole(self.epochs, 1) or not whole(self.seed, 0):
            raise OptionError("epochs must be a whole number of at least 1, and seed of at least 0")
        for name, most in (("lr", 1.0), ("held_out", 1.0)):
            value = typed(name, float, getattr(self, name))
            if not 0 < value < most:
                raise OptionError(f"{name} must be above 0 and below {most:g}, not {value:g}")


@dataclass(frozen=True)
class Progress:
    """After an epoch: errors are means over held-out instances, of labels scaled to [0, 1]."""

    epoch: int
    epochs: int
    loss: float
    error: float
    best: float


@dataclass(frozen=True)
class Group:
    """The instances of one size: D decisions, B points each, scaled."""

    size: int
    features_DNF: Tensor
    x_DN: Tensor
    xi_DBN: Tensor
    label_DB: Tensor


def train(data: Path, out: Path, recipe: Recipe | None = None) -> Iterator[Progress]:
    """Train, or go on where an earlier call was stopped; `out/network.safetensors` is the result.

    Raises:
        RunError: the data are not finished, or `out` holds a training of other settings.
        OptionError: `out` cannot be written, or no instance is left to train on.
    """
    recipe = recipe or Recipe()
    out = folder_to_write(out)
    sweep(out)
    asked, instances = read_labels(data)
    settings = {"data": asdict(asked), "recipe": asdict(recipe)}
    _same_settings(out / SETTINGS, settings)
    held = max(1, round(recipe.held_out * len(instances)))
    if held >= len(instances):
        raise OptionError(
            f"{len(instances)} instances leave none to train on when {held} are held out"
        )
    training, validation = instances[:-held], instances[-held:]
    scales = scales_of(training)
    torch.manual_seed(recipe.seed)
    network = SetNetwork(scales)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.lr)
    groups = grouped(training, scales)
    held_groups = grouped(validation, scales)
    epoch, best = 0, math.inf
    best_weights = {k: v.clone() for k, v in network.state_dict().items()}
    checkpoint = out / CHECKPOINT
    if checkpoint.exists():
        there = _read(checkpoint)
        network.load_state_dict(there["network"])
        optimizer.load_state_dict(there["optimizer"])
        epoch, best, best_weights = there["epoch"], there["best"], there["best_weights"]
    while epoch < recipe.epochs:
        loss = _epoch(network, optimizer, groups, recipe, epoch)
        epoch += 1
        error = mean_error(network, held_groups)
        if error < best:
            best = error
            best_weights = {k: v.clone() for k, v in network.state_dict().items()}
        state = {
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "epoch": epoch,
            "best": best,
            "best_weights": best_weights,
        }
        _write(checkpoint, state)
        yield Progress(epoch, recipe.epochs, loss, error, best)
    network.load_state_dict(best_weights)
    network.record = record_of(asked, recipe, training, validation, best)
    save_network(network, out / NETWORK)


def _epoch(
    network: SetNetwork,
    optimizer: torch.optim.Optimizer,
    groups: list[Group],
    recipe: Recipe,
    epoch: int,
) -> float:
    """The mean loss of one epoch."""
    rng = np.random.default_rng([recipe.seed, epoch])
    batches = [
        (group, chosen)
        for group in groups
        for chosen in np.array_split(
            rng.permutation(len(group.x_DN)), -(-len(group.x_DN) // DECISIONS)
        )
    ]
    total = 0.0
    network.train()
    for step, b in enumerate(rng.permutation(len(batches))):
        group, chosen = batches[b]
        done = (epoch + step / len(batches)) / recipe.epochs
        for setting in optimizer.param_groups:
            setting["lr"] = recipe.lr * (1 + math.cos(math.pi * done)) / 2
        at_D = torch.as_tensor(chosen)
        points = group.xi_DBN.shape[1]
        at_B = torch.as_tensor(rng.permutation(points)[: min(FACTORS, points)])
        predicted = network(group.features_DNF[at_D], group.x_DN[at_D], group.xi_DBN[at_D][:, at_B])
        loss = torch.mean((predicted - group.label_DB[at_D][:, at_B]) ** 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += float(loss.detach())
    if not math.isfinite(total):
        raise RunError("the loss is not finite", hint="a smaller lr")
    return total / len(batches)


def mean_error(network: SetNetwork, groups: list[Group]) -> float:
    """Mean absolute error of scaled labels."""
    total, count = 0.0, 0
    network.eval()
    with torch.no_grad():
        for group in groups:
            for at_D in torch.arange(len(group.x_DN)).split(DECISIONS):
                predicted = network(group.features_DNF[at_D], group.x_DN[at_D], group.xi_DBN[at_D])
                total += float((predicted - group.label_DB[at_D]).abs().sum())
                count += predicted.numel()
    return total / count


def scales_of(instances: list[Labeled]) -> Scales:
    features = np.concatenate([each.features_NF for each in instances])
    sizes = sorted({len(each.features_NF) for each in instances})
    of_size = {
        size: np.concatenate(
            [each.label_AB.ravel() for each in instances if len(each.features_NF) == size]
        )
        for size in sizes
    }
    return Scales(
        feature_low_F=features.min(0),
        feature_high_F=features.max(0),
        sizes_S=sizes,
        label_low_S=[of_size[size].min() for size in sizes],
        label_high_S=[of_size[size].max() for size in sizes],
    )


def grouped(instances: list[Labeled], scales: Scales) -> list[Group]:
    """Raises OptionError where a size was never trained on."""
    groups = []
    for size in sorted({len(each.features_NF) for each in instances}):
        of_size = [each for each in instances if len(each.features_NF) == size]
        features, labels = [], []
        for each in of_size:
            scaled = scales.features(each.features_NF).astype(np.float32)
            features.append(np.broadcast_to(scaled, (len(each.x_AN), *scaled.shape)))
            labels.append(scales.labels(each.label_AB.astype(float), size).astype(np.float32))
        groups.append(
            Group(
                size,
                torch.from_numpy(np.concatenate(features)),
                torch.from_numpy(np.concatenate([each.x_AN for each in of_size])),
                torch.from_numpy(np.concatenate([each.xi_ABN for each in of_size])),
                torch.from_numpy(np.concatenate(labels)),
            )
        )
    return groups


def record_of(
    asked: Asked, recipe: Recipe, training: list[Labeled], validation: list[Labeled], best: float
) -> dict[str, Any]:
    """How a network was made."""
    return {
        "problem": "knapsack",
        "features": list(FEATURES),
        "data": asdict(asked),
        "labels_trained_on": sum(each.label_AB.size for each in training),
        "labels_held_out": sum(each.label_AB.size for each in validation),
        "recipe": asdict(recipe),
        "mean_absolute_error_on_held_out_instances": best,
        "torch": torch.__version__,
    }


def _same_settings(path: Path, settings: dict[str, Any]) -> None:
    if not path.exists():
        with writing(str(path)):
            write_json(path, settings)
        return
    there = read_json(path)
    if there != json.loads(json.dumps(settings)):
        raise RunError(
            f"{path.parent} holds a training with other settings: {json.dumps(there)}",
            hint="name another folder, or ask for the same",
        )


def _write(path: Path, state: dict[str, Any]) -> None:
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    with writing(str(path)):
        write_bytes(path, buffer.getvalue())


def _read(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, weights_only=True)
    except Exception as error:
        raise RunError(
            f"{path} is damaged: {error}", hint="remove it, and training begins again"
        ) from error
