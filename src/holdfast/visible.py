"""Text from data, made visible: on pages, in a terminal, in JSON, in Markdown, no character of it
acts instead of being read.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

CONTROL_PICTURES = 0x2400  # the block in which U+0000 to U+001F have pictures, in the same order
# scripts and pictures between which a joiner is part of the text
JOINS = "\u0600-\u109f\u1780-\u17ff\u2600-\u27bf\ufe0f\U0001f000-\U0001faff"
ACTS = re.compile(
    # controls but tab and line feed; halves of characters, which no file can hold
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of what follows
    # of no width
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f\u3164\uffa0\U000e0000-\U000e0fff"
    # separators, byte-order marks, annotations, no characters
    "\u2028\u2029\ufeff\ufff9-\ufffb\ufdd0-\ufdef\ufffe\uffff]"
    f"|(?<![{JOINS}])[\u200c\u200d]|[\u200c\u200d](?![{JOINS}])"  # joiners where nothing is joined
)
ACCENT = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
STACKED = re.compile(f"({ACCENT}{{4}}){ACCENT}+")
LINE = 80  # characters of a name: longer ones are shortened
NAMES = 30  # in one sentence
MARKS = re.compile(
    r"[\\`*{}\[\]#!|~$@]|(?<!\w)_|_(?!\w)|:(?=//)|(?<=www)\."
)  # what Markdown reads, links without brackets too


def visible(text: str) -> str:
    """The text as it can be read: a control character as its picture, one without width or that
    turns the direction of text as its code, a line of its own for each end of line, and at most
    four accents on one letter."""
    if text.isascii() and text.isprintable():
        return text
    return STACKED.sub(r"\1", ACTS.sub(_picture, text.replace("\r\n", "\n")))


def one_line(text: str, longest: int = LINE) -> str:
    """A name from data on one line: visible, line ends and tabs too; a longer one as its beginning,
    its end, and a mark that tells it from others that begin and end alike."""
    if len(text) > longest:
        mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]
        text = f"{text[: longest - 22]}...{text[-8:]} ({mark})"
    return visible(text).replace("\n", "\u240a").replace("\t", "\u2409")


def listed(texts: Iterable[str], most: int = NAMES) -> str:
    """Names from data in a sentence, with commas; of many, the first."""
    texts = list(texts)
    more = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return ", ".join(map(one_line, texts[:most])) + more


def lines_of(text: str, longest: int = 1000) -> str:
    """A message, visible, with lines that nobody would read to the end shortened in the middle."""
    text = visible(text)
    if len(text) <= longest:
        return text
    return "\n".join(
        line if len(line) <= longest else f"{line[: longest * 3 // 4]} ... {line[-longest // 4 :]}"
        for line in text.split("\n")
    )


def json_text(value: Any, *, indent: int | None = None, default: Any = None) -> str:
    """JSON of the same value, in which every character that acts is written as its escape."""
    return ACTS.sub(_escaped, json.dumps(value, indent=indent, default=default, ensure_ascii=False))


def markdown(text: str, longest: int = LINE) -> str:
    """A name from data within Markdown: one line that neither Markdown nor HTML reads as anything
    but text, no link either.
    """
    return MARKS.sub(
        lambda found: f"&#{ord(found[0])};",
        one_line(text, longest).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
    )


def code(text: str, longest: int = LINE) -> str:
    """A name from data as code within a table of Markdown; as text where something in it could be
    read as more.
    """
    plain = markdown(text, longest)
    return f"`{plain}`" if plain == one_line(text, longest) else plain


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(CONTROL_PICTURES + code)
    if code == 0x7F:
        return "\u2421"
    return "\ufffd" if unicodedata.category(found[0]) == "Cs" else f"\u27e8U+{code:04X}\u27e9"


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(
        f"\\u{units[place] << 8 | units[place + 1]:04x}" for place in range(0, len(units), 2)
    )
