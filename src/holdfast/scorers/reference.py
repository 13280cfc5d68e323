"""The reference's log-probabilities, scored once and kept on disk.

The reference never changes, so neither do its numbers: they are named by a hash of everything they
depend on (the model's weights and config, the token ids, the precision) and read back on any later
run. Scoring it draws no random number.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from holdfast.scorers.text import TextScorer, chunks_by_tokens, score_in_chunks
from holdfast.types import Scored, Tokenized


def model_hash(model: nn.Module) -> str:
    """sha256 over a model's config and the bytes of its weights, by name: equal models hash equal
    wherever they are stored.
    """
    digest = hashlib.sha256()
    config = getattr(model, "config", None)
    if config is not None:
        volatile = {"_name_or_path", "transformers_version", "use_cache", "architectures", "dtype"}
        volatile |= {"_diffusers_version"}
        settings = {k: v for k, v in _settings(config).items() if k not in volatile}
        digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _settings(config: Any) -> dict[str, Any]:
    """Of `transformers`, or of `diffusers`, whose configs are mappings."""
    return dict(config) if isinstance(config, Mapping) else config.to_dict()


def items_hash(items: Sequence[Tokenized]) -> str:
    """sha256 over prompts and branches, in order: rows, template and tokenizer all show in the
    token ids.
    """
    digest = hashlib.sha256()
    for item in items:
        for tree in item.trees:
            digest.update(b"p" + np.asarray(tree.prompt, dtype=np.int32).tobytes())
            for name, ids in tree.branches.items():
                digest.update(f"b{name}:".encode() + np.asarray(ids, dtype=np.int32).tobytes())
    return digest.hexdigest()


def score_reference(
    scorer: TextScorer,
    items: Sequence[Tokenized],
    *,
    key: str,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
    tokens: int = 8192,
) -> list[dict[str, Tensor]]:
    """For each item and branch the reference's log-probabilities as a float32 CPU vector, from the
    cache if it holds them.

    Args:
        scorer: the reference, as a scorer.
        items: what to score.
        key: identity of the reference and of how it runs, such as `model_hash(model)` with the
            precision.
        cache_dir: folder of the cache; None scores without one.
        progress: show a bar while scoring.
        tokens: packed tokens scored at once.
    """
    path = None
    if cache_dir is not None:
        name = hashlib.sha256(f"2|{key}|{scorer.scoring}|{items_hash(items)}".encode()).hexdigest()[
            :32
        ]
        path = Path(cache_dir) / f"reference-{name}.safetensors"
        found = _read(path, items)
        if found is not None:
            return found
    was_training = scorer.model.training
    scorer.model.eval()
    try:
        scored = _score(scorer, items, progress, tokens)
    finally:
        scorer.model.train(was_training)
    if path is not None:
        _write(path, scored)
    return scored


def _score(
    scorer: TextScorer, items: Sequence[Tokenized], progress: bool, tokens: int
) -> list[dict[str, Tensor]]:
    from rich.progress import Progress

    from holdfast.terminal import Terminal

    console = Terminal(stderr=True)
    if not progress or not console.is_terminal:
        return score_in_chunks(scorer, items, tokens=tokens)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(
            "scoring the reference", total=len(chunks_by_tokens(items, tokens=tokens))
        )

        def watched(batch: Sequence[Tokenized]) -> dict[str, Scored]:
            parts = scorer(batch)
            bar.advance(task)
            return parts

        return score_in_chunks(watched, items, tokens=tokens)


def attach(
    parts: Mapping[str, Scored], reference_items: Sequence[Mapping[str, Tensor]]
) -> dict[str, Scored]:
    """The same parts with `ref_logp_NT` filled in from one mapping of vectors per item, aligned
    with the parts' rows. Parts that the reference was not asked about stay as they are."""
    out = dict(parts)
    for name, scored in parts.items():
        if any(name not in item for item in reference_items):
            continue
        ref_NT = torch.zeros(scored.logp_NT.shape, dtype=torch.float32)
        for n, item in enumerate(reference_items):
            ref_NT[n, : len(item[name])] = item[name]
        out[name] = replace(scored, ref_logp_NT=ref_NT.to(scored.logp_NT.device))
    return out


# One flat vector per branch and the answers' lengths beside it: a file of a few tensors whatever
# the number of rows.


def _write(path: Path, scored: list[dict[str, Tensor]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for name in scored[0] if scored else ():
        vectors = [item[name] for item in scored]
        tensors[f"{name}.logp"] = torch.cat(vectors)
        tensors[f"{name}.lengths"] = torch.tensor([len(v) for v in vectors])
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    try:
        save_file(tensors, temporary)
        with open(temporary, "rb") as file:  # noqa: PTH123
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read(path: Path, items: Sequence[Tokenized]) -> list[dict[str, Tensor]] | None:
    """What the cache holds for these items, or None if it has nothing or a damaged file (which is
    scored again and replaced).
    """
    if not path.exists() or not items:
        return None
    try:
        tensors: dict[str, Any] = load_file(path)
    except (SafetensorError, OSError):
        return None
    columns = {}
    for name in items[0].answers:
        lengths = [len(item.answers[name]) for item in items]
        if f"{name}.logp" not in tensors or tensors[f"{name}.lengths"].tolist() != lengths:
            return None
        columns[name] = tensors[f"{name}.logp"].split(lengths)
    return [{name: column[n] for name, column in columns.items()} for n in range(len(items))]
