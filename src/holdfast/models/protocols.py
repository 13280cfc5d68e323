"""What a model and what is saved beside it must be able to do. Every `transformers` model and
tokenizer can; a task of another library may bring its own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol

from torch import nn

Place = str | os.PathLike[str]  # a hub name, a folder of a model, or a folder of a run
ModelSource = Place | nn.Module  # or a model in memory


class Saved(Protocol):
    """What `save_pretrained` writes and `from_pretrained` reads."""

    def save_pretrained(self, save_directory: Place, /, **options: Any) -> Any: ...


class Tokenizer(Saved, Protocol):
    """A tokenizer, as far as training and self-play know it; rendering reads more of it."""

    eos_token_id: int | None
    pad_token_id: int | None
    chat_template: str | None

    def decode(self, token_ids: Sequence[int], /, **options: Any) -> str: ...


TokenizerSource = Place | Tokenizer
