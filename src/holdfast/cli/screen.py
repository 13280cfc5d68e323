"""What every verb prints with."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from holdfast.flags import P
from holdfast.terminal import Terminal
from holdfast.visible import json_text

out = Terminal()
err = Terminal(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="print one JSON object for machines")]
CTX = P("ctx", P.KEYWORD_ONLY, annotation=typer.Context)
AS_JSON = P("as_json", P.KEYWORD_ONLY, default=False, annotation=Json)


def say(label: str, text: str, style: str = "") -> None:
    """A line on standard error. It is not wrapped: a path that is broken in two cannot be
    copied.
    """
    err.print(Text(label, style, end=""), end="")
    err.print(text, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    print(json_text(value, indent=2, default=str))
