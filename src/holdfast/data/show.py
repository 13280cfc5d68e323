"""Rendered examples on the terminal, the response mask visible: what the model reads, and which
tokens the objective sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

from holdfast.data.template import special_tokens
from holdfast.terminal import Terminal
from holdfast.types import Row, Tokenized
from holdfast.visible import visible

PROMPT, RESPONSE, SPECIAL = "dim", "bold green", "reverse"


def show(
    items: Sequence[Tokenized],
    rows: Sequence[Row],
    tokenizer: Any,
    n: int = 3,
    *,
    console: Console | None = None,
) -> None:
    """Print the first `n` items: the prompt dim, response tokens bold, special tokens in reverse,
    with token counts.

    Only response tokens are scored. `rows` is aligned with `items` (`TokenizedSet.rows`); each item
    is headed by the place its row came from."""
    console = console or Terminal()
    for place, (item, row) in enumerate(zip(items[:n], rows, strict=False), 1):
        parts = []
        for tree in item.trees:
            parts.append(_part("prompt, not scored", tree.prompt, tokenizer, PROMPT))
            parts += [
                _part(f"{name}, scored", ids, tokenizer, RESPONSE)
                for name, ids in tree.branches.items()
            ]
        head = Text(f"example {place} of {len(items)}, {row.where}", style="bold")
        console.print(Panel(Group(*parts), title=head, title_align="left"))


def _part(name: str, ids: Sequence[int], tokenizer: Any, style: str) -> Text:
    head = f"{name} ({len(ids)} token{'' if len(ids) == 1 else 's'})\n"
    return Text.assemble((head, "italic"), _tokens(ids, tokenizer, style), "\n")


def _tokens(ids: Sequence[int], tokenizer: Any, style: str) -> Text:
    """Runs of ordinary tokens decoded together (a character may span several), each special token
    by its name.
    """
    text = Text(style=style)
    special = special_tokens(tokenizer)
    for marked, run in groupby(ids, special.__contains__):
        if marked:
            for token in run:
                text.append(visible(special[token]), style=SPECIAL)
        else:
            text.append(visible(tokenizer.decode(list(run), clean_up_tokenization_spaces=False)))
    return text
