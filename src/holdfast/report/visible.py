"""Characters that would act on a page instead of being read, made visible."""

from __future__ import annotations

import re
import unicodedata

CONTROL_PICTURES = 0x2400  # the block in which U+0000 to U+001F have pictures, in the same order
ACTS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"  # controls but tab and line feed; halves of characters, which no file can hold
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of what follows
    "\u2028\u2029\ufeff\ufff9-\ufffb\ufdd0-\ufdef\ufffe\uffff]"  # separators, byte-order marks, annotations, no characters
)
ACCENT = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
STACKED = re.compile(f"({ACCENT}{{4}}){ACCENT}+")


def visible(text: str) -> str:
    """The text as it can be read: a control character as its picture, one that turns the direction of text as its code, a line of its own
    for each end of line, and at most four accents on one letter."""
    if text.isascii() and text.isprintable():
        return text
    return STACKED.sub(r"\1", ACTS.sub(_picture, text.replace("\r\n", "\n")))


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(CONTROL_PICTURES + code)
    if code == 0x7F:
        return "\u2421"
    return "\ufffd" if unicodedata.category(found[0]) == "Cs" else f"\u27e8U+{code:04X}\u27e9"
