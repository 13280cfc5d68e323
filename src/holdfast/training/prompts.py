"""Prompts to answer, out of whatever holds some."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.data import read
from holdfast.errors import DataError
from holdfast.types import Text


def read_prompts(data: Any) -> list[Text]:
    """The distinct prompts of texts (a list, or a .txt file with one a line), or of rows, in their order.

    Raises:
        DataError: there are none.
    """
    if isinstance(data, Sequence) and not isinstance(data, str) and all(isinstance(one, str) for one in data):
        found: list[Any] = list(data)
    elif str(data).endswith(".txt"):
        found = Path(data).read_text(encoding="utf-8").splitlines()
    else:
        try:
            rows = read(data)
        except DataError:
            rows = read(data, format="text", columns={"text": "prompt"})  # a file of prompts alone
        found = [row.prompt or row.answer or "" for row in rows]
    unique = {json.dumps(prompt, sort_keys=True, default=dict): prompt for prompt in found if prompt}
    if not unique:
        raise DataError("there is no prompt to answer", hint="give texts, or rows with a `prompt`")
    return [prompt if isinstance(prompt, str) else [dict(message) for message in prompt] for prompt in unique.values()]


def split_prompts(prompts: Sequence[Text], watched: int, seed: int) -> tuple[list[Text], list[Text]]:
    """(prompts to train on, prompts to watch by); at most half are watched."""
    if len(prompts) < 2:
        raise DataError("self-play needs two prompts at least: one to train on, one to watch it by")
    order = np.random.default_rng([seed, 0x5E1F]).permutation(len(prompts)).tolist()
    count = min(watched, len(prompts) // 2)
    return [prompts[i] for i in order[count:]], [prompts[i] for i in order[:count]]
