"""The terminal: nothing that comes from data acts on it, and none of it is read as rich's
markup.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from holdfast.visible import visible


class Terminal(Console):
    """A console of rich's that shows every text visible, whatever it is part of: a table's cell, a
    bar's label, a panel's title. Strings are text and no markup; what is to have a style is a
    `Text`."""

    def __init__(self, **how: Any):
        super().__init__(**{"markup": False, "emoji": False, **how})

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        if isinstance(renderable, Text) and visible(renderable.plain) != renderable.plain:
            renderable = _seen(renderable)
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(visible(text), **how)


def _seen(text: Text) -> Text:
    """The same before it is laid out, so that its width is known. Its parts lose styles of their
    own.
    """
    return Text(
        visible(text.plain),
        style=text.style,
        justify=text.justify,
        overflow=text.overflow,
        no_wrap=text.no_wrap,
        end=text.end,
    )
