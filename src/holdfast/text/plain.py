"""A text as a reader sees it."""

from __future__ import annotations

from holdfast.types import Text


def plain_text(text: Text | None) -> str:
    """What a reader sees of a text: the contents of its messages, a blank line between them."""
    if text is None or isinstance(text, str):
        return text or ""
    return "\n\n".join(str(message.get("content") or "") for message in text)
