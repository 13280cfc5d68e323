"""Whether the words of a conversation stand in the text that was made of it: nothing may be lost in
rendering without being said.

A conversation is taken apart into pieces: the words of each turn, the thinking of an assistant
turn, its tool calls, the tools on offer. A piece is lost where its words are not in the text. White
space does not count, nor order, nor whether words were escaped as JSON or HTML: templates strip,
move a system turn into the first user turn, and write tool calls as JSON. Every piece needs a place
of its own, so two equal turns must be written twice. Short words can stand in a text by chance;
`probe` makes a conversation of the same structure out of words that cannot.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from holdfast.types import Message

Loss = Literal["system", "turns", "thinking", "tool_calls", "tools", "documents", "images"]
LOSSES: tuple[Loss, ...] = get_args(Loss)
SHORT = 24  # characters without white space: a shorter piece may stand in a text by chance

THINKING = (
    "reasoning_content",
    "reasoning",
    "thinking",
)  # fields of a message, in the order in which they are read
THOUGHTS = (  # how a thought is marked within an answer
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("<thought>", "</thought>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
)
SYSTEM = ("system", "developer")
PICTURES = (
    "image",
    "images",
    "audio",
    "audios",
    "video",
    "videos",
)  # fields and columns that are no text
READ = {"role", "content", "tool_calls", "tool_call_id", *THINKING, *PICTURES}


@dataclass(frozen=True)
class Piece:
    """Something that a conversation says: its kind, what to call it, and the words that must stand
    in the text.
    """

    kind: Loss
    what: str
    words: tuple[str, ...]
    # False of names and numbers, which may stand in a text by chance however long they are
    exact: bool = True


def listed(lost: Sequence[Piece]) -> str:
    """What was lost, in words, each once."""
    *most, last = dict.fromkeys(piece.what for piece in lost)
    return f"{', '.join(most)} and {last}" if most else last


def thoughts(content: str) -> tuple[list[str], list[str]]:
    """(thinking, the rest) of an assistant's words, each as the stretches of text that the marks
    leave. A thought that was opened before the text begins runs up to the first closing mark."""
    if "<" not in content and "[" not in content:
        return [], [content]
    for opening, closing in THOUGHTS:
        if opening not in content and closing not in content:
            continue
        if closing in content and opening not in content[: content.index(closing)]:
            content = opening + content
        inside = re.compile(f"{re.escape(opening)}(.*?)(?:{re.escape(closing)}|\\Z)", re.DOTALL)
        return inside.findall(content), [
            part for part in inside.sub("\0", content).split("\0") if part.strip()
        ]
    return [], [content]


def pieces(messages: Sequence[Message], *, answer: bool = False) -> list[Piece]:
    """What these messages say, in their order. `answer` says that they are the answer, not the
    conversation before it.
    """
    return [
        piece
        for message in messages
        for piece in _of_message(message, answer)
        if any(map(str.strip, piece.words))
    ]


def _of_message(message: Message, answer: bool) -> Iterator[Piece]:
    role, content = message["role"], message["content"]
    thinking = next((str(message[key]) for key in THINKING if message.get(key)), "")
    if role == "assistant":
        inside, content = thoughts(content)
        of = "of the answer" if answer else "of earlier assistant turns"
        yield Piece("thinking", f"the thinking {of}", (thinking, *inside))
        yield Piece(
            "turns", "words of the answer" if answer else "an assistant turn", tuple(content)
        )
        for call in message.get("tool_calls") or ():
            yield Piece("tool_calls", f"the tool calls {of}", tuple(_call_words(call)), exact=False)
    else:
        yield Piece("thinking", f"the thinking of a turn of role {role[:40]!r}", (thinking,))
        kind: Loss = "system" if role in SYSTEM else "turns"
        yield Piece(
            kind,
            f"the {role} turn" if role in SYSTEM else f"a turn of role {role[:40]!r}",
            (content,),
        )
    for name in PICTURES:
        if message.get(name):
            yield Piece("images", f"`{name}` of a message", ("\ufffe",))  # no text can hold it


def _call_words(call: Any) -> Iterator[str]:
    function = call.get("function", call) if isinstance(call, Mapping) else {"name": str(call)}
    yield str(function.get("name") or "")
    yield from _leaves(function.get("arguments"))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield value if isinstance(value, str) else json.dumps(value)


def tool_pieces(tools: Sequence[Any]) -> list[Piece]:
    """What the tools on offer say: the name and the description of each, and the names of its
    parameters.
    """
    words: list[str] = []
    for tool in tools:
        function = tool.get("function", tool) if isinstance(tool, Mapping) else {"name": str(tool)}
        parameters = function.get("parameters")
        properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
        words += [str(function.get("name") or ""), str(function.get("description") or "")]
        words += list(properties) if isinstance(properties, Mapping) else []
    return [Piece("tools", "the column `tools`", tuple(words), exact=False)] if words else []


def document_pieces(documents: Sequence[Mapping[str, Any]]) -> list[Piece]:
    words = tuple(
        str(document[key])
        for document in documents
        for key in ("title", "text")
        if document.get(key)
    )
    return [Piece("documents", "the column `documents`", words)] if words else []


def missing(said: Sequence[Piece], text: str) -> list[int]:
    """The places of the pieces that do not stand in the text."""
    if _in_order(said, text):
        return []
    text = _bare(text)
    taken: list[tuple[int, int]] = []
    lost = set()
    words = [
        (word, place) for place, piece in enumerate(said) for word in piece.words if word.strip()
    ]
    for word, place in sorted(words, key=lambda pair: -len(pair[0])):
        if said[place].exact:
            span = next(filter(None, (_free(text, form, taken) for form in _forms(word))), None)
            if span is not None:
                taken.append(span)
                continue
        elif any(form in text for form in _forms(word)):
            continue
        lost.add(place)
    return sorted(lost)


def _in_order(said: Iterable[Piece], text: str) -> bool:
    """Whether all words stand in the text, one after another: the quick answer for most
    conversations.
    """
    at = 0
    for piece in said:
        for word in map(str.strip, piece.words):
            found = text.find(word, at)
            if found < 0:
                return False
            at = found + len(word)
    return True


def _bare(text: str) -> str:
    return "".join(text.split())


def _forms(word: str) -> Iterator[str]:
    """The word as a template may write it: as it is, or escaped."""
    yield _bare(word)
    for ascii_only in (False, True):
        escaped = json.dumps(word, ensure_ascii=ascii_only)[1:-1]
        yield _bare(escaped)
        yield _bare(json.dumps(word.strip(), ensure_ascii=ascii_only)[1:-1])
        yield _bare(json.dumps(escaped, ensure_ascii=ascii_only)[1:-1])
    yield _bare(html.escape(word))
    yield _bare(html.escape(word).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"))


def _free(text: str, word: str, taken: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """A place of the word that no other word has taken."""
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        if all(end <= low or high <= at for low, high in taken):
            return at, end
        at = text.find(word, at + 1)
    return None


# ------------------------------------------------------------------------------------------------
# probes


def by_chance(said: Sequence[Piece]) -> bool:
    """Whether some piece could stand in a text by chance, so that its structure must be probed."""
    return any(_short(piece) for piece in said)


def _short(piece: Piece) -> bool:
    return not piece.exact or any(0 < len(_bare(word)) < SHORT for word in piece.words)


def structure(messages: Sequence[Message]) -> tuple[Any, ...]:
    """What a template may go by besides the words: roles, which fields hold something, where a
    thought stands.
    """
    return tuple(
        (
            message["role"],
            tuple(bool(part) for part in thoughts(message["content"]))
            if message["role"] == "assistant"
            else (),
            bool(message["content"].strip()),
            tuple(sorted(key for key, value in message.items() if value)),
            len(message.get("tool_calls") or ()),
        )
        for message in messages
    )


class Probe:
    """Conversations of the same structure, with every word replaced by one of its own."""

    def __init__(self) -> None:
        self.drawn = 0

    def word(self) -> str:
        self.drawn += 1
        return f"qz{self.drawn:04d}xwvkjqh"

    def messages(self, messages: Sequence[Message]) -> list[Message]:
        return [self._message(message) for message in messages]

    def _message(self, message: Message) -> Message:
        out = dict(message)
        out["content"] = self._content(message)
        for key in THINKING:
            if message.get(key):
                out[key] = self.word()
        if message.get("tool_calls"):
            out["tool_calls"] = [self._call(call) for call in message["tool_calls"]]
        return out

    def _content(self, message: Message) -> str:
        content: str = message["content"]
        if not content.strip():
            return content
        if message["role"] != "assistant":
            return self.word()
        inside, outside = thoughts(content)
        for part in (*inside, *outside):
            if part.strip():
                content = content.replace(part.strip(), self.word(), 1)
        return content

    def _call(self, call: Any) -> Any:
        if not isinstance(call, Mapping):
            return call
        if isinstance(call.get("function"), Mapping):
            return {**call, "function": self._call(call["function"])}
        out = {**call, "name": self.word()}
        if "arguments" in call:
            out["arguments"] = self._value(call["arguments"])
        return out

    def _value(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: self._value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(item) for item in value]
        return self.word() if isinstance(value, str) and value.strip() else value

    def tools(self, tools: Sequence[Any]) -> list[Any]:
        return [self._tool(tool) for tool in tools]

    def _tool(self, tool: Any) -> Any:
        if not isinstance(tool, Mapping):
            return tool
        if isinstance(tool.get("function"), Mapping):
            return {**tool, "function": self._tool(tool["function"])}
        return {
            **tool,
            "name": self.word(),
            **({"description": self.word()} if tool.get("description") else {}),
        }
