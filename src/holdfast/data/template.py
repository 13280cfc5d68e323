"""How a row becomes text, and text becomes token ids with their boundaries: with the model's chat template, or plainly.

Plainly: a string prompt and a string answer stand as they are written. A message list is written out as turns, "role: content", a blank
line between them, and ends in "assistant:"; the answer follows after a space.

With a chat template: a string prompt is one user message. The answer is what the template adds to the rendered prompt, up to and with the
end-of-sequence token; what a template writes after that (a line break, mostly) is cut, and an end that it does not write is added.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import jinja2

from holdfast.data.trouble import RowError
from holdfast.errors import ModelError, OptionError
from holdfast.types import Message, Row, Text


class Rendered(Protocol):
    def prompt(self, row: Row) -> str: ...
    def answer(self, row: Row, prompt: str, answer: Text) -> str: ...


def special_tokens(tokenizer: Any) -> dict[int, str]:
    """Every token that marks something and is never part of a text: id -> what it is called."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    found = {number: token.content for number, token in added.items() if token.special}
    return found | dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))


@dataclass(frozen=True)
class Marks:
    """The tokenizer's own tokens: which begin and end a sequence, and whether it asks for the beginning."""

    tokenizer: Any
    eos: int
    bos: int | None  # only if the tokenizer puts one
    start: int  # what stands in for an empty prompt: BOS if there is one, or else EOS

    @classmethod
    def of(cls, tokenizer: Any) -> Marks:
        if tokenizer.eos_token_id is None:
            hint = 'set one, e.g. tokenizer.eos_token = "</s>"'
            raise ModelError("the tokenizer has no end-of-sequence token, so no answer could end", hint=hint)
        bos = tokenizer.bos_token_id
        puts_one = bos is not None and list(tokenizer("a", add_special_tokens=True)["input_ids"][:1]) == [bos]
        return cls(tokenizer, tokenizer.eos_token_id, bos if puts_one else None, tokenizer.eos_token_id if bos is None else bos)

    @cached_property
    def literal(self) -> re.Pattern[str] | None:
        """Matches text that the tokenizer would read as one of its special tokens."""
        tokens = sorted(filter(None, special_tokens(self.tokenizer).values()), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, tokens))) if tokens else None

    def refuse_literal(self, text: Text | None, name: str) -> None:
        for part in (text,) if isinstance(text, str) else [message["content"] for message in text or ()]:
            found = self.literal.search(part) if self.literal else None
            if found:
                cure = "take it out: beginning and end are added for you, and a marker inside the text would read as the real one"
                raise RowError(f"`{name}` holds a special token of the model", field=name, detail=repr(found[0]), cure=cure)


@dataclass(frozen=True)
class Plain:
    """Text as it is written."""

    marks: Marks

    def prompt(self, row: Row) -> str:
        if isinstance(row.prompt, str):
            return row.prompt
        return "".join(f"{message['role']}: {message['content']}\n\n" for message in row.prompt) + "assistant:"

    def answer(self, row: Row, prompt: str, answer: Text) -> str:
        words = answer if isinstance(answer, str) else "\n\n".join(message["content"] for message in answer)
        return words if isinstance(row.prompt, str) else f" {words}"


@dataclass(frozen=True)
class Chat:
    """Text as the model's chat template writes it."""

    marks: Marks
    cut: list[int] = field(default_factory=lambda: [0])  # answers whose rendering went on after the end of sequence

    def _render(self, messages: Sequence[Message], **options: Any) -> str:
        try:
            return self.marks.tokenizer.apply_chat_template([dict(m) for m in messages], tokenize=False, **options)
        except (jinja2.TemplateError, TypeError, ValueError, KeyError) as error:
            cure = 'change the conversation, or render without the template (template="plain")'
            raise RowError("the chat template refuses the conversation", field="prompt", detail=str(error), cure=cure) from error

    def prompt(self, row: Row) -> str:
        return self._render(_messages(row.prompt, "user"), add_generation_prompt=True)

    def answer(self, row: Row, prompt: str, answer: Text) -> str:
        whole = self._render([*_messages(row.prompt, "user"), *_messages(answer, "assistant")], add_generation_prompt=False)
        if not whole.startswith(prompt):
            at = next((i for i, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), min(len(prompt), len(whole)))
            message = (
                f"{row.where}: the chat template does not write the prompt alike with and without an answer: they part at character {at}, "
                f"{prompt[at : at + 30]!r} against {whole[at : at + 30]!r}, so prompt and answer cannot be told apart"
            )
            raise ModelError(message, hint='template="plain" renders without the template')
        rest = whole[len(prompt) :]
        end = self.marks.tokenizer.eos_token
        at = rest.find(end)
        if at < 0:
            return rest
        at += len(end)
        self.cut[0] += at < len(rest)
        return rest[:at]


def _messages(text: Text, role: str) -> Sequence[Message]:
    return [{"role": role, "content": text}] if isinstance(text, str) else text


def _plain(marks: Marks) -> Rendered:
    return Plain(marks)


def _chat(marks: Marks) -> Rendered:
    if not getattr(marks.tokenizer, "chat_template", None):
        raise ModelError("the tokenizer has no chat template", hint='template="plain", or set tokenizer.chat_template')
    return Chat(marks)


def _auto(marks: Marks) -> Rendered:
    return Chat(marks) if getattr(marks.tokenizer, "chat_template", None) else Plain(marks)


TEMPLATES: Mapping[str, Callable[[Marks], Rendered]] = {"auto": _auto, "chat": _chat, "plain": _plain}


def renderer(template: str, marks: Marks) -> Rendered:
    """The way to render that `template` names: "chat", "plain", or "auto" (chat if the tokenizer has a template)."""
    if template not in TEMPLATES:
        raise OptionError(f"there is no template `{template}`", hint=f"known are {', '.join(TEMPLATES)}")
    return TEMPLATES[template](marks)
