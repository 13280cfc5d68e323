"""How a row becomes text: with the model's chat template, plainly, or as it is. One writer each,
chosen by `renderer`.

    chat    the chat template writes prompt and answers; a text prompt is one user message, or the
            turns of the transcript that it is
    plain   text as it is written; a message list as turns, "role: content", a blank line between
            them, and "assistant:" before the answer
    none    text that is in the template already, special tokens included

The answer is what the template adds to the rendered prompt, up to and with the end-of-sequence
token; what a template writes after that (a line break, mostly) is cut, and an end that it does not
write is added. A prompt that ends in an assistant turn goes on in that turn.

Where the generation prompt opens a thought (`<think>`) that the template does not write before an
answer, the boundary depends on the answers of the row. If each of them begins with a thought, the
prompt ends in the opened thought, as it does when the model is asked, and the answers go on in it.
Otherwise the prompt ends before `<think>`, where the template itself writes an answer, and an
answer with a thought opens it.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, cached_property
from typing import Any, Protocol

import jinja2

from holdfast.data import conservation
from holdfast.data.conservation import PICTURES, THINKING, THOUGHTS, Piece
from holdfast.data.fields import ASSISTANT, SPEAKERS
from holdfast.data.row_errors import RowError
from holdfast.data.transcript import turns_of_prompt
from holdfast.errors import ModelError, OptionError
from holdfast.types import Message, Row, Text

CLOCK = datetime(
    2025, 1, 1
)  # the date that templates write, in every run: rows must not change from one day to the next
ALIASES = {
    **SPEAKERS,
    "model": "assistant",
    "developer": "system",
    "function": "tool",
}  # roles, and what templates call them


@dataclass(frozen=True)
class Written:
    """A prompt and its answers as text, and which pieces of prompt and answers do not stand in
    it.
    """

    prompt: str
    answers: Mapping[str, str]
    lost: Sequence[Piece] = ()
    lost_answers: Sequence[Piece] = ()


class Rendered(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def who(self) -> str:
        """What to call it in a sentence."""

    def refuse(self, text: Text | None, name: str) -> None: ...

    def write(self, row: Row, answers: Mapping[str, Text]) -> Written: ...

    def notes(self) -> list[str]: ...


def special_tokens(tokenizer: Any) -> dict[int, str]:
    """Every token that marks something and is never part of a text: id -> what it is called."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    found = {number: token.content for number, token in added.items() if token.special}
    return found | dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))


@dataclass(frozen=True)
class Marks:
    """The tokenizer's own tokens: which begin and end a sequence, and whether it asks for the
    beginning.
    """

    tokenizer: Any
    eos: int
    bos: int | None  # only if the tokenizer puts one
    start: int  # what stands in for an empty prompt: BOS if there is one, or else EOS

    @classmethod
    def of(cls, tokenizer: Any) -> Marks:
        if tokenizer.eos_token_id is None:
            hint = 'set one, e.g. tokenizer.eos_token = "</s>"'
            raise ModelError(
                "the tokenizer has no end-of-sequence token, so no answer could end", hint=hint
            )
        bos = tokenizer.bos_token_id
        puts_one = bos is not None and list(
            tokenizer("a", add_special_tokens=True)["input_ids"][:1]
        ) == [bos]
        return cls(
            tokenizer,
            tokenizer.eos_token_id,
            bos if puts_one else None,
            tokenizer.eos_token_id if bos is None else bos,
        )

    @cached_property
    def literal(self) -> re.Pattern[str] | None:
        """Matches text that the tokenizer would read as one of its special tokens."""
        tokens = sorted(
            filter(None, special_tokens(self.tokenizer).values()), key=len, reverse=True
        )
        return re.compile("|".join(map(re.escape, tokens))) if tokens else None

    @cached_property
    def anchor(self) -> list[int] | None:
        """The ids of a line break, if the tokenizer takes the beginning of a text for the beginning
        of a word and puts a space there. An answer is then tokenized behind a line break, which is
        taken off again, so that no space comes between it and the prompt."""
        apart, alone, joined = (self.ids(text) for text in ("a", "\n", "\na"))
        return alone if joined[: len(alone)] == alone and joined != alone + apart else None

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def refuse_literal(self, text: Text | None, name: str) -> None:
        if self.literal is None:
            return
        for part in (
            (text,)
            if isinstance(text, str)
            else [part for message in text or () for part in _texts_of(message)]
        ):
            found = self.literal.search(part)
            if found:
                cure = (
                    "take it out: beginning and end are added for you, and a marker inside "
                    "the text would read as the real one; or, if "
                )
                cure += (
                    "the text is already in the model's chat template, take it as it is: "
                    "--template none"
                )
                raise RowError(
                    f"`{name}` holds a special token of the model",
                    field=name,
                    detail=repr(found[0]),
                    cure=cure,
                )


def _texts_of(value: Any) -> Iterator[str]:
    """Every text in a message: content, thinking, tool calls."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts_of(item)


# ------------------------------------------------------------------------------------------------
# what a row gives


def _column(row: Row, name: str, wanted: str) -> list[Any]:
    """A column that holds a list of objects, as such or as JSON text, each of them or the whole.
    Empty where there is none.
    """
    value = row.extra.get(name)
    try:
        value = json.loads(value) if isinstance(value, str) and value.strip() else value
        value = [value] if isinstance(value, Mapping) else value
        if isinstance(value, list | tuple):
            value = [json.loads(item) if isinstance(item, str) else item for item in value]
    except (ValueError, RecursionError):
        value = ""
    if not value:
        if value == "" and row.extra.get(name):
            raise _unreadable(name, wanted)
        return []
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise _unreadable(name, wanted)
    return value


def _unreadable(name: str, wanted: str) -> RowError:
    cure = f"write {wanted}, or give the column another name if it is something else"
    return RowError(f"the column `{name}` cannot be read", field=name, cure=cure)


def _tools(row: Row) -> list[Any]:
    if row.extra.get("tools") is None:
        return []
    return _column(
        row,
        "tools",
        'a list of descriptions, [{"type": "function", "function": {"name": ..., '
        '"parameters": ...}}]',
    )


def _documents(row: Row) -> list[Any]:
    """Texts to answer by. A column of that name that holds anything else is no such list."""
    documents = row.extra.get("documents")
    texts = (
        isinstance(documents, list | tuple)
        and documents
        and all(isinstance(d, Mapping) and "text" in d for d in documents)
    )
    return list(documents) if texts else []  # type: ignore[arg-type]


def _switches(row: Row) -> dict[str, Any]:
    """The column `chat_template_kwargs`: further arguments of the template, such as
    {"enable_thinking": false}.
    """
    if not row.extra.get("chat_template_kwargs"):
        return {}
    found = _column(row, "chat_template_kwargs", 'an object, {"enable_thinking": false}')
    return {
        key: value
        for one in found
        for key, value in one.items()
        if key not in ("messages", "tools", "documents", "tokenize")
    }


def _pictures(row: Row) -> list[Piece]:
    return [
        Piece("images", f"the column `{name}`: only text is read", ())
        for name in PICTURES
        if row.extra.get(name)
    ]


# ------------------------------------------------------------------------------------------------
# plainly, and as it is


@dataclass(frozen=True)
class Plain:
    """Text as it is written; messages with all that they hold."""

    marks: Marks
    name: str = "plain"
    who: str = "plain rendering"

    def refuse(self, text: Text | None, name: str) -> None:
        self.marks.refuse_literal(text, name)

    def write(self, row: Row, answers: Mapping[str, Text]) -> Written:
        lost, tools, documents = _pictures(row), _tools(row), _documents(row)
        if isinstance(row.prompt, str):
            lost += [*conservation.tool_pieces(tools), *conservation.document_pieces(documents)]
            return Written(
                row.prompt, {name: _plain_words(answer) for name, answer in answers.items()}, lost
            )
        *turns, last = row.prompt
        goes_on = last["role"] in ASSISTANT and not last.get("tool_calls")
        blocks = [
            f"{name}: {_json(given)}"
            for name, given in (("tools", tools), ("documents", documents))
            if given
        ]
        blocks += [
            f"{turn['role']}: {plain_turn(turn)}" for turn in (turns if goes_on else row.prompt)
        ]
        blocks.append(f"assistant: {plain_turn(last)}" if goes_on else "assistant:")
        lost += [
            piece
            for turn in row.prompt
            for piece in conservation.pieces([turn])
            if piece.kind == "images"
        ]
        space = "" if goes_on else " "
        return Written(
            "\n\n".join(blocks),
            {name: f"{space}{_plain_words(answer)}" for name, answer in answers.items()},
            lost,
        )

    def notes(self) -> list[str]:
        return []


def _plain_words(answer: Text) -> str:
    return answer if isinstance(answer, str) else "\n\n".join(map(plain_turn, answer))


def plain_turn(message: Message) -> str:
    """What a message says: a thought of its own field in front, tool calls behind, both marked as
    most templates mark them.
    """
    thinking = next((str(message[key]) for key in THINKING if message.get(key)), "")
    made = (
        call.get("function", call) if isinstance(call, Mapping) else call
        for call in _calls(message)
    )
    calls = [f"<tool_call>\n{_json(call)}\n</tool_call>" for call in made]
    words = "\n".join(filter(None, (message["content"], *calls)))
    return f"<think>\n{thinking}\n</think>\n\n{words}" if thinking else words


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class AsIs:
    """Text that is in the model's template already. White space behind the end of sequence is
    cut.
    """

    marks: Marks
    name: str = "none, text as it is"
    who: str = "--template none"

    def refuse(self, text: Text | None, name: str) -> None:
        """Special tokens are read as such."""

    def write(self, row: Row, answers: Mapping[str, Text]) -> Written:
        for name, text in (("prompt", row.prompt), *answers.items()):
            if not isinstance(text, str):
                cure = "give text that is in the template already, or leave --template none out"
                raise RowError(
                    f"`{name}` is messages where --template none takes text as it is",
                    field=name,
                    cure=cure,
                )
        return Written(
            str(row.prompt),
            {name: self._ended(str(text)) for name, text in answers.items()},
            _pictures(row),
        )

    def _ended(self, text: str) -> str:
        words, end, rest = text.partition(self.marks.tokenizer.eos_token)
        return words + end if end and not rest.strip() else text

    def notes(self) -> list[str]:
        return []


# ------------------------------------------------------------------------------------------------
# chat templates


@dataclass(eq=False)
class Chat:
    """Text as the model's chat template writes it, held against what the row says."""

    marks: Marks
    name: str = "chat template"
    who: str = "the chat template"
    cut: int = 0  # answers whose rendering went on after the end of sequence
    renamed: Counter[tuple[str, str]] = field(
        default_factory=Counter
    )  # turns, by the role they had and the role they got
    unwritten: Counter[str] = field(
        default_factory=Counter
    )  # fields of messages that are not in the text, and no words
    otherwise: int = 0  # prompts that the template writes otherwise once there is an answer
    transcripts: int = 0  # prompts that were text with marked turns
    _structures: dict[Any, frozenset[tuple[int, int]]] = field(default_factory=dict)
    _probing: bool = False

    def refuse(self, text: Text | None, name: str) -> None:
        self.marks.refuse_literal(text, name)

    @cached_property
    def source(self) -> str:
        templates = self.marks.tokenizer.chat_template
        return (
            "\n".join(map(str, templates.values()))
            if isinstance(templates, Mapping)
            else str(templates)
        )

    # ---- a row

    def write(self, row: Row, answers: Mapping[str, Text]) -> Written:
        turns, stripped = self._turns(row.prompt)
        replies = {name: self._reply(answer, stripped) for name, answer in answers.items()}
        tools, documents = _tools(row), _documents(row)
        given = {"tools": tools or None, "documents": documents or None, **_switches(row)}
        written = self._texts(turns, replies, given, str(row.where))
        if self._probing:
            return written
        self._count_unwritten([*turns, *replies.values()], written)
        lost, *lost_answers = self._lost(turns, replies, given, written)
        return replace(
            written,
            lost=[*_pictures(row), *lost],
            lost_answers=[piece for side in lost_answers for piece in side],
        )

    def _turns(self, prompt: Text) -> tuple[list[Message], bool]:
        """The prompt as messages, and whether it was a transcript that ends in an empty assistant
        turn: there white space is layout.
        """
        if not isinstance(prompt, str):
            messages = [self._canonical(message) for message in prompt]
            return (
                messages[:-1] if len(messages) > 1 and _is_empty(messages[-1]) else messages
            ), False
        turns = turns_of_prompt(prompt)
        if turns is None:
            return [{"role": "user", "content": prompt}], False
        self.transcripts += 1
        return list(turns), turns[-1]["role"] != "assistant"

    def _reply(self, answer: Text, stripped: bool) -> Message:
        if isinstance(answer, str):
            return {"role": "assistant", "content": answer.strip() if stripped else answer}
        if len(answer) != 1:
            raise RowError(
                "an answer is more than one message",
                field="prompt",
                cure="an answer is the assistant's last turn, alone",
            )
        return {**self._canonical(answer[0]), "role": "assistant"}

    def _canonical(self, message: Message) -> Message:
        """The message with its role and its tool calls as templates know them."""
        role: str = message["role"]
        known = ALIASES.get(role.lower(), role)
        if known != role and (known == "assistant" or not self._knows(role)):
            if not self._probing:
                self.renamed[role, known] += 1
            message = {**message, "role": known}
        if message.get("function_call") and not message.get("tool_calls"):
            call = {"type": "function", "function": message["function_call"]}
            message = {
                **{key: value for key, value in message.items() if key != "function_call"},
                "tool_calls": [call],
            }
        if message.get("tool_calls"):
            message = {
                **message,
                "tool_calls": [_with_arguments(call, _parsed) for call in _calls(message)],
            }
        return message

    def _knows(self, role: str) -> bool:
        return re.search(rf"""['"]{re.escape(role)}['"]""", self.source) is not None

    # ---- texts

    def _texts(
        self,
        turns: Sequence[Message],
        replies: Mapping[str, Message],
        given: Mapping[str, Any],
        where: str,
    ) -> Written:
        asked, begun = list(turns), None
        if prefilled(turns[-1]):
            *asked, begun = turns
            if not asked:
                raise RowError(
                    "the prompt is an assistant turn alone",
                    field="prompt",
                    cure="put the user's turn before it",
                )
            answers = replies or {
                "": {"role": "assistant", "content": "."}
            }  # an answer shows where the turn goes on
            full = {
                name: {**begun, **reply, "content": begun["content"] + reply["content"]}
                for name, reply in answers.items()
            }
        else:
            full = {name: dict(reply) for name, reply in replies.items()}
        head = self._render(asked, given, add_generation_prompt=True)
        wholes = {
            name: self._render([*asked, reply], given, add_generation_prompt=False)
            for name, reply in full.items()
        }
        opening = opening_of(head)
        shut = head[: opening.at] if opening else head
        if not all(whole.startswith(shut) for whole in wholes.values()):
            shut = head.rstrip()  # white space alone may stand otherwise before an answer
        rests = {}
        for name, whole in wholes.items():
            rest = self._rest(asked, full[name], given, head, shut, opening, whole)
            if rest is None:
                break
            rests[name] = rest
        if len(rests) < len(wholes):
            shut, found = (
                head,
                {
                    name: _behind_last_turn(head, whole, asked[-1], full[name])
                    for name, whole in wholes.items()
                },
            )
            rests = {name: rest for name, rest in found.items() if rest is not None}
            if opening or len(rests) < len(wholes):
                raise self._parted(
                    head,
                    next(whole for name, whole in wholes.items() if name not in rests or opening),
                    where,
                )
            self.otherwise += not self._probing
        front = _front(list(rests.values()), begun["content"] if begun else "", opening)
        if front is None:
            raise self._parted(
                shut + str(begun and begun["content"]), next(iter(wholes.values())), where
            )
        return Written(
            shut + front, {name: self._ended(rests[name][len(front) :]) for name in replies}
        )

    def _rest(
        self,
        asked: Sequence[Message],
        reply: Message,
        given: Mapping[str, Any],
        head: str,
        shut: str,
        opening: Opening | None,
        whole: str,
    ) -> str | None:
        """The answer as it follows `shut`: as the template writes it; or with its thought in a
        field of its own, where the template would open a second one; or, where the generation
        prompt opens a thought and the template does not write the answer's, the thought that was
        opened, and then what the template writes. None if none of these fits."""
        marks = (
            opening.marks
            if opening
            else next((m for m in THOUGHTS if reply["content"].lstrip().startswith(m[0])), None)
        )
        thought = (
            thought_of(reply, marks, opening)
            if marks is not None and not (opening and opening.closed)
            else None
        )
        if thought is None or marks is None:
            return whole[len(shut) :] if whole.startswith(shut) else None
        bare = {key: value for key, value in reply.items() if key not in THINKING}
        if whole.startswith(head):
            rest = whole[len(shut) :]
            lost = conservation.missing(conservation.pieces([reply], answer=True), rest)
            if not lost and rest.count(marks[0]) <= max(1, reply["content"].count(marks[0])):
                return rest
            words = (
                thought.words.removesuffix(marks[1]) if not any(map(reply.get, THINKING)) else None
            )
            apart = (
                {**bare, "reasoning_content": words.strip(), "content": thought.rest.lstrip()}
                if words and words.strip()
                else reply
            )
            other = self._render([*asked, apart], given, add_generation_prompt=False)[len(shut) :]
            if (
                not conservation.missing(conservation.pieces([apart], answer=True), other)
                and other.count(marks[0]) == 1
            ):
                return other
        if opening is None:
            return whole[len(shut) :] if whole.startswith(shut) else None
        end = self._render(
            [*asked, {**bare, "content": thought.rest}], given, add_generation_prompt=False
        )
        if end.startswith(head) or not end.startswith(shut):
            return None
        end = end[len(shut) :]
        gap = thought.rest[: len(thought.rest) - len(thought.rest.lstrip())]
        return opening.text + thought.words + (end if end.startswith(gap) else gap + end)

    def _ended(self, rest: str) -> str:
        end = self.marks.tokenizer.eos_token
        at = rest.find(end)
        if at < 0:
            return rest
        at += len(end)
        self.cut += at < len(rest) and not self._probing
        return rest[:at]

    def _parted(self, prompt: str, whole: str, where: str) -> ModelError:
        at = next(
            (i for i, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b),
            min(len(prompt), len(whole)),
        )
        message = (
            f"{where}: the chat template does not write the prompt alike with and without "
            f"an answer: they part at character {at}, "
            f"{prompt[at : at + 30]!r} against {whole[at : at + 30]!r}, so prompt and "
            "answer cannot be told apart"
        )
        return ModelError(message, hint='template="plain" renders without the template')

    def _render(self, messages: Sequence[Message], given: Mapping[str, Any], **options: Any) -> str:
        how = {key: value for key, value in given.items() if value is not None} | options
        conversation = [dict(m) for m in messages]
        try:
            return self._applied(conversation, how)
        except (jinja2.TemplateError, TypeError, ValueError, KeyError) as error:
            if any(
                _calls(m) for m in messages
            ):  # some templates join the arguments of a call as text, others take them apart
                try:
                    return self._applied(
                        [
                            {**m, "tool_calls": [_with_arguments(c, _json) for c in _calls(m)]}
                            if _calls(m)
                            else m
                            for m in messages
                        ],
                        how,
                    )
                except (jinja2.TemplateError, TypeError, ValueError, KeyError):
                    pass
            cure = "change the conversation, or render without the template (--template plain)"
            if messages and messages[0]["role"] == "system":
                cure = (
                    "put the system turn's words at the head of the first user turn, if it "
                    f"is that; or {cure}"
                )
            raise RowError(
                "the chat template refuses the conversation",
                field="prompt",
                detail=str(error),
                cure=cure,
            ) from error

    @cached_property
    def _in_parts(self) -> bool:
        """Whether the template reads content in parts alone, as those of models with images do."""

        def writes(content: Any) -> bool:
            try:
                messages = [{"role": "user", "content": content}]
                return "qzxwvkjqh" in self.marks.tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True
                )
            except (jinja2.TemplateError, TypeError, ValueError, KeyError):
                return False

        with _seeded(""):
            return not writes("qzxwvkjqh") and writes([{"type": "text", "text": "qzxwvkjqh"}])

    def _applied(self, conversation: Sequence[Message], how: Mapping[str, Any]) -> str:
        tokenizer = self.marks.tokenizer
        if self._in_parts:
            conversation = [
                {**message, "content": [{"type": "text", "text": message["content"]}]}
                for message in conversation
            ]
        if "strftime_now" in self.source:
            how = {
                **how,
                "chat_template": _stopped(tokenizer.get_chat_template(None, how.get("tools"))),
            }
        if "random" not in self.source:
            return str(tokenizer.apply_chat_template(conversation, tokenize=False, **how))
        with _seeded(str(conversation[:1])):
            return str(tokenizer.apply_chat_template(conversation, tokenize=False, **how))

    # ---- what is lost

    def _lost(
        self,
        turns: Sequence[Message],
        replies: Mapping[str, Message],
        given: Mapping[str, Any],
        written: Written,
    ) -> list[list[Piece]]:
        """What is lost of the prompt, then of each answer."""
        sides = self._sides(turns, replies, given, written)
        missing = [conservation.missing(said, text) for said, text in sides]
        if any(conservation.by_chance(said) for said, _ in sides):
            structure = self._structure(turns, replies, given)
            for place, ((said, _), lost) in enumerate(zip(sides, missing, strict=True)):
                lost += [
                    i
                    for side, i in structure
                    if side == place and i not in lost and conservation.by_chance(said[i : i + 1])
                ]
        return [
            [said[i] for i in sorted(lost)] for (said, _), lost in zip(sides, missing, strict=True)
        ]

    def _sides(
        self,
        turns: Sequence[Message],
        replies: Mapping[str, Message],
        given: Mapping[str, Any],
        written: Written,
    ) -> list[tuple[list[Piece], str]]:
        """What is said and the text in which it must stand: of the prompt, then of each answer."""
        said = conservation.pieces(turns)
        said += [
            *conservation.tool_pieces(given["tools"] or ()),
            *conservation.document_pieces(given["documents"] or ()),
        ]
        answers = [
            (conservation.pieces([reply], answer=True), written.answers[name])
            for name, reply in replies.items()
        ]
        return [(said, written.prompt), *answers]

    def _structure(
        self, turns: Sequence[Message], replies: Mapping[str, Message], given: Mapping[str, Any]
    ) -> frozenset[tuple[int, int]]:
        """(side, piece) of what the template drops of any conversation with this structure, found
        out once.
        """
        flags = tuple(
            (key, str(value)) for key, value in given.items() if key not in ("tools", "documents")
        )
        key = (
            conservation.structure(turns),
            tuple(conservation.structure([reply]) for reply in replies.values()),
            len(given["tools"] or ()),
            len(given["documents"] or ()),
            flags,
        )
        if key not in self._structures:
            probe = conservation.Probe()
            asked = probe.messages(turns)
            answered = {name: probe.messages([reply])[0] for name, reply in replies.items()}
            given = {**given, "tools": probe.tools(given["tools"]) if given["tools"] else None}
            self._probing = True
            found: set[tuple[int, int]] = set()
            try:
                written = self._texts(asked, answered, given, "a probe")
                for side, (said, text) in enumerate(self._sides(asked, answered, given, written)):
                    found |= {(side, i) for i in conservation.missing(said, text)}
            except (RowError, ModelError):
                pass  # a template that goes by the words: the row's own text must do
            finally:
                self._probing = False
            self._structures[key] = frozenset(found)
        return self._structures[key]

    def _count_unwritten(self, messages: Sequence[Message], written: Written) -> None:
        for message in messages:
            for key in message.keys() - conservation.READ:
                value = message[key]
                if value and not any(
                    str(value) in text for text in (written.prompt, *written.answers.values())
                ):
                    self.unwritten[key] += 1

    def notes(self) -> list[str]:
        said = [
            f"{n:,} turns of role {a[:40]!r} are written as `{b}`, which the chat template knows"
            for (a, b), n in self.renamed.items()
        ]
        if self.transcripts:
            said.append(
                f"{self.transcripts:,} prompts are transcripts with marked turns, and are "
                "rendered as conversations"
            )
        if self.otherwise:
            said.append(
                f"the chat template writes {self.otherwise:,} prompts otherwise once "
                "there is an answer; they stand as the model is asked"
            )
        if self.unwritten:
            fields = ", ".join(f"{key[:40]!r} ({n:,})" for key, n in self.unwritten.most_common(8))
            said.append(f"fields of messages that the chat template does not write: {fields}")
        if "strftime_now" in self.source:
            said.append(
                f"the chat template writes the date; it is {CLOCK:%Y-%m-%d} in every run, "
                "so that runs can be repeated"
            )
        return said


@dataclass(frozen=True)
class Opening:
    """A thought that a generation prompt opens at its end: where, how it is written, and whether it
    is closed again at once.
    """

    at: int
    text: str
    marks: tuple[str, str]
    closed: bool


MARKS = tuple(mark for marks in THOUGHTS for mark in marks)


def opening_of(head: str) -> Opening | None:
    if not head.rstrip().endswith(MARKS):
        return None
    for marks in THOUGHTS:
        opening, closing = (re.escape(mark) for mark in marks)
        found = re.search(rf"{opening}\s*({closing}\s*)?\Z", head)
        if found:
            return Opening(found.start(), found[0], marks, found[1] is not None)
    return None


@dataclass(frozen=True)
class Thought:
    """An answer in two: the thought behind its opening mark, up to and with the closing one; and
    what follows.
    """

    words: str
    rest: str


def thought_of(reply: Message, marks: tuple[str, str], opening: Opening | None) -> Thought | None:
    """The thought that an answer begins with, in a field of its own or in its words; None if it
    begins with none. One that is closed and not opened was opened by the prompt."""
    first, last = marks
    content = reply["content"]
    field_ = next((str(reply[key]) for key in THINKING if reply.get(key)), None)
    if field_ is not None:
        return Thought(f"{field_.strip()}\n{last}\n\n", content)
    words = content.lstrip()
    opened = words.startswith(first)
    inside, shut, rest = words.removeprefix(first).partition(last)
    if not opened and (not shut or first in inside):
        return None
    return Thought(
        (inside.lstrip() if opening and opening.text.endswith("\n") else inside) + shut, rest
    )


def _front(rests: Sequence[str], begun: str, opening: Opening | None) -> str | None:
    """What all answers begin with that belongs to the prompt: the thought that it opens, or the
    turn that it begins.
    """
    if not begun:
        front = (
            opening.text
            if opening and rests and all(rest.startswith(opening.text) for rest in rests)
            else ""
        )
        return opening.text if opening and not rests else front
    tail = begun[len(begun.rstrip()) :]
    words = [re.escape(word) for word in re.split(r"\s+|(?<=[>\]])", begun.strip()) if word]
    found = re.search(r"\s*".join(words) + re.escape(tail), rests[0])
    return (
        rests[0][: found.end()]
        if found and all(rest.startswith(rests[0][: found.end()]) for rest in rests)
        else None
    )


def _behind_last_turn(head: str, whole: str, last: Message, reply: Message) -> str | None:
    """The answer where a template writes earlier turns otherwise once there is one (Mistral's,
    which put the system turn into the last turn only if a user speaks last): what follows the last
    turn, if that is written alike. None if it is not."""
    words = last["content"].strip()
    begin = head.rfind(words) if words else -1
    at = whole.rfind(head[begin:]) if begin >= 0 else -1
    rest = whole[at + len(head) - begin :]
    return (
        None
        if at < 0 or conservation.missing(conservation.pieces([reply], answer=True), rest)
        else rest
    )


def prefilled(message: Message) -> bool:
    """Whether a prompt's last message is an assistant turn to go on from. One that calls tools is
    complete.
    """
    return (
        message["role"] in ASSISTANT
        and bool(message["content"].strip())
        and not message.get("tool_calls")
    )


def _is_empty(message: Message) -> bool:
    """An assistant turn that has begun and says nothing yet: the generation prompt begins it as
    well.
    """
    return (
        message["role"] == "assistant"
        and not any(value for key, value in message.items() if key not in ("role", "content"))
        and not message["content"].strip()
    )


def _calls(message: Message) -> list[Any]:
    calls = message.get("tool_calls") or []
    return list(calls) if isinstance(calls, list | tuple) else [calls]


def _with_arguments(call: Any, change: Callable[[Any], Any]) -> Any:
    """A tool call with its arguments changed."""
    if not isinstance(call, Mapping):
        return call
    if isinstance(call.get("function"), Mapping):
        return {**call, "function": _with_arguments(call["function"], change)}
    return {**call, "arguments": change(call["arguments"])} if "arguments" in call else call


def _parsed(arguments: Any) -> Any:
    """Arguments as the object that their JSON text says: templates write them as JSON
    themselves.
    """
    if not isinstance(arguments, str):
        return arguments
    try:
        found = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return found if isinstance(found, dict) else arguments


@cache
def _stopped(source: str) -> str:
    """The template with its clock stopped. Set in a copy that differs by an empty expression, so
    that nobody else's clock stops.
    """
    from transformers.utils.chat_template_utils import _compile_jinja_template

    copy = "{{ '' }}" + source
    _compile_jinja_template(copy).globals["strftime_now"] = CLOCK.strftime
    return copy


@contextmanager
def _seeded(key: str) -> Iterator[None]:
    """The same draws whenever a conversation is rendered: prompt and answer must be written alike,
    today and in a run begun again.
    """
    state = random.getstate()
    random.seed(key)
    try:
        yield
    finally:
        random.setstate(state)


def _plain(marks: Marks) -> Rendered:
    return Plain(marks)


def _chat(marks: Marks) -> Rendered:
    if not getattr(marks.tokenizer, "chat_template", None):
        raise ModelError(
            "the tokenizer has no chat template",
            hint='template="plain", or set tokenizer.chat_template',
        )
    return Chat(marks)


def _auto(marks: Marks) -> Rendered:
    return Chat(marks) if getattr(marks.tokenizer, "chat_template", None) else Plain(marks)


TEMPLATES: Mapping[str, Callable[[Marks], Rendered]] = {
    "auto": _auto,
    "chat": _chat,
    "plain": _plain,
    "none": AsIs,
}


def renderer(template: str, marks: Marks) -> Rendered:
    """The way to render that `template` names: "chat", "plain", "none", or "auto" (chat if the
    tokenizer has a template).
    """
    if template not in TEMPLATES:
        raise OptionError(
            f"there is no template `{template}`", hint=f"known are {', '.join(TEMPLATES)}"
        )
    return TEMPLATES[template](marks)
