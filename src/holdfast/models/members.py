"""Several reward models in one: members that share all of a trunk but their heads, or the lower
layers of it.

By heads, a member is a row of the head: one sequence classifier with M outputs. By LoRA, a member
is a LoRA adapter on the upper layers and a head. The lower layers carry no adapter, so they say the
same for every member and run once: exact, not an approximation. From the first adapted layer on,
the batch holds M copies of each row, and each linear map adds its member's own low rank.

    model = with_member_adapters(classifier, members=4, ...)
    model(...).logits                         # (N, M outputs)
    write_members(model, 4, folder)           # members/000 ...: each a plain Hugging Face model

What is left of either is the same folder: `ensemble.json`, and a plain model with a head of one
output for each member. Weights that members share lie in a file of their own, written once and
linked.
"""

from __future__ import annotations

import copy
import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from holdfast.errors import ModelError, OptionError
from holdfast.files import write_json
from holdfast.models.judges import KEY

ENSEMBLE = "ensemble.json"
HEAD = "score.weight"


class MemberLinear(nn.Module):
    """y = base(x) + scale B_m A_m x of member m, on rows that lie member by member: (M N, L, I) ->
    (M N, L, O). B starts at 0.
    """

    def __init__(self, base: nn.Linear, members: int, rank: int, scale: float):
        super().__init__()
        self.base, self.members, self.scale = base, members, scale
        like: Any = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.down = nn.Parameter(torch.empty(members, rank, base.in_features, **like))
        self.up = nn.Parameter(torch.zeros(members, base.out_features, rank, **like))
        for one in self.down.data:
            nn.init.kaiming_uniform_(one, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        low = x.reshape(self.members, -1, x.shape[-1]) @ self.down.transpose(1, 2)
        added = (low @ self.up.transpose(1, 2)) * self.scale
        out: Tensor = self.base(x)
        return out + added.reshape(out.shape)

    def merged(self, member: int, weight: Mapping[str, Tensor], name: str) -> Tensor:
        """The member's own weight, from the whole and gathered weights of the model."""
        down, up = weight[f"{name}.down"][member], weight[f"{name}.up"][member]
        return weight[f"{name}.base.weight"] + self.scale * (up @ down)


class MemberHeads(nn.Module):
    """Each member's head on its own hidden state: (..., M width) -> (..., M H)."""

    def __init__(self, weight_MHW: Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight_MHW)

    def forward(self, hidden: Tensor) -> Tensor:
        members, _, width = self.weight.shape
        own = hidden.reshape(*hidden.shape[:-1], members, width)
        return torch.einsum("...mw,mhw->...mh", own, self.weight).flatten(-2)


def with_member_adapters(
    model: Any,
    members: int,
    *,
    rank: int,
    alpha: float | None,
    shared_layers: int | None,
    seed: int,
) -> Any:
    """Put M adapters on the layers from `shared_layers` on (the upper third unless given) and
    freeze the rest; the classifier's head of M H outputs becomes M heads.

    Raises:
        ModelError: layers that are no list, or hold no `nn.Linear`.
        OptionError: shared_layers is not below the number of layers.
    """
    decoder = getattr(model, model.base_model_prefix)
    layers = next(
        (
            list(module)
            for module in decoder.children()
            if isinstance(module, nn.ModuleList)
            and len(module) == model.config.get_text_config().num_hidden_layers
        ),
        None,
    )
    if layers is None:
        raise ModelError(
            f"{type(model).__name__} does not show its layers as a list",
            hint="--members-by seed trains members one after the other, on any model",
        )
    shared = len(layers) - max(1, len(layers) // 3) if shared_layers is None else shared_layers
    if not 0 <= shared < len(layers):
        raise OptionError(
            f"shared_layers is {shared}, and the model has {len(layers)} layers",
            hint=f"0 to {len(layers) - 1}: how many lower layers members share",
        )
    model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = 0
        for layer in layers[shared:]:
            for parent in list(layer.modules()):
                for name, child in list(parent.named_children()):
                    if isinstance(child, nn.Linear):
                        own = MemberLinear(child, members, rank, (alpha or 2 * rank) / rank)
                        setattr(parent, name, own)
                        found += 1
    if not found:
        raise ModelError(
            f"the layers of {type(model).__name__} have no linear maps for adapters",
            hint="--members-by seed trains members one after the other, on any model",
        )
    head = model.score.weight.data
    model.score = MemberHeads(head.reshape(members, -1, head.shape[-1]).clone())
    layers[shared].register_forward_pre_hook(_copies(members), with_kwargs=True)
    decoder.register_forward_hook(_beside(members))
    return model


def _copies(members: int) -> Any:
    """Before the first adapted layer: each row M times, member by member, with its mask and
    positions where those are of rows.
    """

    def hook(layer: nn.Module, args: Any, kwargs: Any) -> Any:
        hidden = args[0] if args else kwargs["hidden_states"]
        rows = len(hidden)

        def copied(x: Any) -> Any:
            if isinstance(x, Tensor) and x.ndim >= 2 and len(x) == rows and rows > 1:
                return x.repeat(members, *[1] * (x.ndim - 1))
            return tuple(map(copied, x)) if isinstance(x, tuple) else x

        wide = hidden.repeat(members, *[1] * (hidden.ndim - 1))
        kwargs = {name: copied(value) for name, value in kwargs.items()}
        if args:
            return (wide, *map(copied, args[1:])), kwargs
        return args, kwargs | {"hidden_states": wide}

    return hook


def _beside(members: int) -> Any:
    """After the last layer: the members' hidden states beside each other, (N, L, M width)."""

    def hook(decoder: nn.Module, args: Any, out: Any) -> Any:
        hidden = out.last_hidden_state
        copies, length, width = hidden.shape
        rows = copies // members
        own = hidden.reshape(members, rows, length, width).permute(1, 2, 0, 3)
        out.last_hidden_state = own.reshape(rows, length, members * width)
        return out

    return hook


# ------------------------------------------------------------ the folder


def member_weights(
    model: Any, weights: Mapping[str, Tensor], members: int
) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """(shared, own of each member) under the plain model's names."""
    adapted = {name: m for name, m in model.named_modules() if isinstance(m, MemberLinear)}
    shared = {}
    own: list[dict[str, Tensor]] = [{} for _ in range(members)]
    head = weights[HEAD]
    for m in range(members):
        own[m][HEAD] = head.reshape(members, -1, head.shape[-1])[m].contiguous()
    for name, tensor in weights.items():
        place = next((a for a in adapted if name.startswith(f"{a}.")), None)
        if place is None:
            if name != HEAD:
                shared[name] = tensor
            continue
        part = name.removeprefix(f"{place}.")
        for m in range(members):
            if part == "base.weight":
                merged = adapted[place].merged(m, weights, place)
                own[m][f"{place}.weight"] = merged.contiguous()
            elif part == "base.bias":
                own[m][f"{place}.bias"] = tensor.clone()
    return shared, own


def write_members(
    model: Any,
    tokenizer: Any,
    weights: Mapping[str, Tensor],
    folder: Path,
    *,
    marks: list[dict[str, Any]],
    about: Mapping[str, Any],
) -> None:
    """Members as plain models, and `ensemble.json` with what is said `about` them. `marks` is what
    each member's config says of it.
    """
    members = len(marks)
    shared, own = member_weights(model, weights, members)
    files = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    first = folder / "members" / "000" / files[0]
    for m, mine in enumerate(own):
        place = folder / "members" / f"{m:03d}"
        place.mkdir(parents=True)
        config = copy.deepcopy(model.config)
        config.num_labels = len(mine[HEAD])
        config.architectures = [type(model).__name__]
        setattr(config, KEY, marks[m])
        config.save_pretrained(place)
        if m == 0:
            save_file(shared, first, metadata={"format": "pt"})
        else:
            linked(first, place / files[0])
        save_file(mine, place / files[1], metadata={"format": "pt"})
        size = sum(t.numel() * t.element_size() for t in (*shared.values(), *mine.values()))
        index = dict.fromkeys(shared, files[0]) | dict.fromkeys(mine, files[1])
        text = json.dumps({"metadata": {"total_size": size}, "weight_map": index}, indent=1)
        (place / "model.safetensors.index.json").write_text(text, encoding="utf-8")
        tokenizer.save_pretrained(place)
    write_json(folder / ENSEMBLE, {"members": members, **about})


def linked(source: Path, target: Path) -> None:
    """Both names for one file, where the disk can; else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def members_of(source: object) -> list[Path] | None:
    """The member folders of an ensemble's run or model folder; None where it is no ensemble.

    Raises:
        ModelError: a member that ensemble.json counts is not there.
    """
    folder = Path(str(source)).expanduser()
    folder = folder / "model" if (folder / "run.json").is_file() else folder
    about = about_ensemble(folder)
    if about is None:
        return None
    places = [folder / "members" / f"{m:03d}" for m in range(int(about["members"]))]
    for place in places:
        if not (place / "config.json").is_file():
            raise ModelError(
                f"{folder / ENSEMBLE} counts {len(places)} members, and {place} holds no model",
                hint="copy the folder again, or train it again",
            )
    return places


def about_ensemble(folder: Path) -> dict[str, Any] | None:
    """What `ensemble.json` says."""
    path = folder / ENSEMBLE
    if not path.is_file():
        return None
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
        int(found["members"])
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"{path} is damaged: {error}", hint="copy the folder again, or train it again"
        ) from None
    return found
