"""The files of a model, an adapter or a tokenizer, held against what they must be before a library
opens them.

A damaged file is named here, where the libraries would end in any exception. And only safetensors
are read: an index or a config that sends the reader to another kind of file, or out of the folder,
is refused, since pickled weights can run code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from holdfast.errors import ModelError, shown

INDEX = "model.safetensors.index.json"
MODEL_JSON = ("config.json", "generation_config.json", INDEX)
ADAPTER, ADAPTER_JSON = "adapter_model.safetensors", "adapter_config.json"
TOKENIZER_JSON = (
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
)
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def check_model(place: str) -> None:
    """Refuse a model whose files are damaged, missing, or no safetensors. Of a hub name only what
    is known of its index can be checked.

    Raises:
        ModelError: it names the file.
    """
    folder = Path(place)
    if not folder.is_dir():
        _check_index(_of_hub(place, INDEX), None)
        return
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder} has no config.json, so it is not a model folder",
            hint="give the folder that save_pretrained wrote",
        )
    read = {name: json_object(folder / name) for name in MODEL_JSON if (folder / name).is_file()}
    named = read["config.json"].get("transformers_weights")
    if named is not None:
        _check_name(folder / "config.json", named, (".safetensors", ".safetensors.index.json"))
    _check_index(folder / INDEX if (folder / INDEX).is_file() else None, folder)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickled = sorted(file.name for kind in PICKLED for file in folder.glob(kind))
        if pickled:
            raise ModelError(
                f"{folder} has only pickled weights ({', '.join(pickled[:3])}), which can "
                "run code when read",
                hint=(
                    "convert them where you trust them: load with torch, then "
                    "save_pretrained, which writes safetensors"
                ),
            )
        raise ModelError(f"{folder} has no safetensors weights")
    for file in files:
        tensor_names(file)


def check_adapter(place: str) -> str:
    """The base model that an adapter folder names, after its files were checked.

    Raises:
        ModelError: a damaged file, no base named, or weights that are no safetensors.
    """
    folder = Path(place)
    named = json_object(folder / ADAPTER_JSON).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise ModelError(
            f"the adapter in {place} does not name its base model",
            hint="set base_model_name_or_path in adapter_config.json",
        )
    if not (folder / ADAPTER).is_file():
        raise ModelError(
            f"the adapter in {place} has no {ADAPTER}",
            hint="only safetensors are read: save it again with save_pretrained",
        )
    tensor_names(folder / ADAPTER)
    return named


def check_tokenizer(folder: Path) -> None:
    """Refuse a tokenizer whose JSON is damaged. Raises ModelError, which names the file."""
    for name in TOKENIZER_JSON:
        if (folder / name).is_file():
            json_object(folder / name)


def json_object(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object. Raises ModelError, which names the file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} is damaged: {shown_line(error)}", hint="copy or download it again"
        ) from error
    if not isinstance(found, dict):
        raise ModelError(
            f"{path} is damaged: it holds {type(found).__name__}, not a JSON object",
            hint="copy or download it again",
        )
    return found


def tensor_names(path: Path) -> set[str]:
    """The names of a safetensors file's tensors, by its header. Raises ModelError, which names the
    file.
    """
    try:
        with safe_open(path, "pt") as file:
            return set(file.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path} is damaged: {shown_line(error)}", hint="copy or download it again"
        ) from error


def content_of(place: str) -> str | None:
    """sha256 over config and weights of a model folder, so that it is known wherever it lies; None
    of a name that is no folder.
    """
    folder = Path(place)
    if (folder / "model").is_dir():  # of a run
        folder = folder / "model"
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*config.json"), *folder.glob("*.safetensors")]):
        with file.open("rb") as handle:
            digest.update(
                f"{file.name}:{hashlib.file_digest(handle, 'sha256').hexdigest()};".encode()
            )
    return digest.hexdigest()


def refuse_leftovers(names: Iterable[str], model: nn.Module, place: str) -> None:
    """Refuse weights that the model has no place for: what is left out without a word would be
    another model.

    What the model computes itself and does not save (a non-persistent buffer, such as rotary
    frequencies) may be in files of older versions, also under the name of another layer.

    Args:
        names: the weights that found no place.
        model: the model.
        place: where they come from, for the error.

    Raises:
        ModelError: it names the first of them.
    """
    computed = {name.rpartition(".")[2] for name, _ in model.named_buffers()} - {
        name.rpartition(".")[2] for name in model.state_dict()
    }
    left = sorted(name for name in set(names) if name.rpartition(".")[2] not in computed)
    if left:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        raise ModelError(
            f"{place} holds weights that {type(model).__name__} with its config has no "
            f"place for: {', '.join(left[:3])}{more}",
            hint=(
                "config.json and weights belong to different models, or the config was "
                "edited: copy both again"
            ),
        )


def _check_index(path: Path | None, folder: Path | None) -> None:
    """Every file that an index names lies beside it, and is safetensors."""
    if path is None:
        return
    weights = json_object(path).get("weight_map")
    if not isinstance(weights, Mapping) or not weights:
        raise ModelError(
            f"{path} is damaged: it has no weight_map", hint="copy or download it again"
        )
    for name in sorted(set(map(str, weights.values()))):
        _check_name(path, name, (".safetensors",))
        if folder is not None and not (folder / name).is_file():
            raise ModelError(f"{path} names {name}, which is not there", hint="copy or download it")


def _check_name(path: Path, name: Any, endings: tuple[str, ...]) -> None:
    if not isinstance(name, str) or not name.endswith(endings) or "/" in name or "\\" in name:
        raise ModelError(
            f"{path} sends the reader to {shown(name)}: only safetensors files in the "
            "model's own folder are read",
            hint=(
                "pickled weights can run code: convert them where you trust them, with "
                "save_pretrained"
            ),
        )


def _of_hub(name: str, file: str) -> Path | None:
    """A file of a hub model, as it lies in the cache or can be fetched; None where there is
    none.
    """
    from transformers.utils import cached_file

    try:
        found = cached_file(
            name,
            file,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    except (OSError, ValueError):  # whoever loads the model says what is wrong with the name
        return None
    return None if found is None else Path(found)


def shown_line(error: BaseException) -> str:
    """The first line of what a library says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
