"""Prompts to answer, out of whatever holds some."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.data import Dataset, Reading
from holdfast.data.read import column_pairs
from holdfast.errors import DataError, HoldfastError
from holdfast.types import Text


def read_prompts(data: Any, reading: Reading = Reading(), folder: Path = Path()) -> list[Text]:
    """The distinct prompts of texts (a list, or a .txt file with one a line), or of rows, in their
    order. What cannot be used is quarantined in `folder`, if `reading` says so.

    Raises:
        DataError: there are none, or they come with tools or documents.
    """
    if (
        isinstance(data, Sequence)
        and not isinstance(data, str)
        and all(isinstance(one, str) for one in data)
    ):
        found: list[Any] = list(data)
    elif str(data).endswith(".txt"):
        found = Path(data).read_text(encoding="utf-8").splitlines()
    else:
        rows = _rows(data, reading, reading.quarantine_file(folder))
        for row in rows:
            if lost := [name for name in ("tools", "documents") if row.extra.get(name)]:
                hint = "take the column out, or write what it says into the prompts"
                raise DataError(
                    f"{row.where}: a prompt alone is read here, and the column "
                    f"`{lost[0]}` would be lost",
                    hint=hint,
                )
        found = [row.prompt or row.answer or "" for row in rows]
    unique = {
        json.dumps(prompt, sort_keys=True, default=dict): prompt for prompt in found if prompt
    }
    if not unique:
        raise DataError("there is no prompt to answer", hint="give texts, or rows with a `prompt`")
    return [
        prompt if isinstance(prompt, str) else [dict(message) for message in prompt]
        for prompt in unique.values()
    ]


def _rows(data: Any, reading: Reading, quarantine: Path | None) -> Dataset:
    try:
        return reading.rows(data, quarantine)
    except DataError as error:
        if reading.format is not None:
            raise
        prompt = column_pairs(reading.columns).get("prompt", "prompt")
        try:  # a file of prompts alone
            return replace(reading, format="text", columns=(f"text={prompt}",)).rows(
                data, quarantine
            )
        except HoldfastError:
            raise error from None


def split_prompts(
    prompts: Sequence[Text], watched: int, seed: int
) -> tuple[list[Text], list[Text]]:
    """(prompts to train on, prompts to watch by); at most half are watched."""
    if len(prompts) < 2:
        raise DataError("self-play needs two prompts at least: one to train on, one to watch it by")
    order = np.random.default_rng([seed, 0x5E1F]).permutation(len(prompts)).tolist()
    count = min(watched, len(prompts) // 2)
    return [prompts[i] for i in order[count:]], [prompts[i] for i in order[:count]]
