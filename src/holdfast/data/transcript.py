"""Where a prompt is only implied: two transcripts that share a beginning, and where that beginning
ends.

A transcript is a list of messages, or a string of turns under markers such as "\\n\\nHuman:" and
"\\n\\nAssistant:". The prompt is every turn the two share; each answer is the one turn that
follows. White space around a marked turn is layout and is taken off. Two strings without turns are
split at their last shared line break, or else at the last shared space, so never inside a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from holdfast.data.fields import ASSISTANT
from holdfast.data.row_errors import SAME, RowError
from holdfast.types import Message, Text

Split = Callable[
    [Text, Text], tuple[Text, Text, Text]
]  # (chosen, rejected) -> (prompt, chosen, rejected)

FAMILIES = (
    ("Human", "Assistant"),
    ("User", "Assistant"),
    ("Human", "AI"),
    ("Question", "Answer"),
    ("Instruction", "Response"),
    ("Q", "A"),
)
SYSTEM = "System"
# markers of transcripts within a prompt; others, such as Q and A, mark questions as often as turns
CHATS = (
    ("Human", "Assistant"),
    ("User", "Assistant"),
    ("USER", "ASSISTANT"),
    ("Human", "AI"),
    ("### Human", "### Assistant"),
    ("### User", "### Assistant"),
    ("### Instruction", "### Response"),
)
ON_ONE_LINE = re.compile(r"(?:\A|\s|</s>)\s*(USER|ASSISTANT):")  # Vicuna's turns
BEGINS = re.compile(r"(?:\A|\n)(?:System|Human|User|USER|### (?:Human|User|Instruction)):")


def split_messages(chosen: Text, rejected: Text) -> tuple[Text, Text, Text]:
    """The shared messages, then the one message of each side that follows them."""
    if isinstance(chosen, str) or isinstance(rejected, str):
        raise RowError(
            "`chosen` and `rejected` are not both message lists",
            field="chosen",
            cure="write both sides alike",
        )
    shared = 0
    for left, right in zip(chosen, rejected, strict=False):
        if left != right:
            break
        shared += 1
    if shared == len(chosen) == len(rejected):
        raise RowError(SAME, field="rejected", cure="remove the row: it says nothing")
    if len(chosen) - shared != 1 or len(rejected) - shared != 1:
        detail = (
            f"{len(chosen) - shared} and {len(rejected) - shared} turns after the {shared} "
            "that they share"
        )
        raise RowError(
            "the transcripts differ in more than the last turn",
            field="rejected",
            detail=detail,
            cure="cut both after their first difference",
        )
    if not shared:
        raise RowError(
            "the transcripts share no beginning", field="chosen", cure="give the row a `prompt`"
        )
    return chosen[:shared], chosen[shared:], rejected[shared:]


@dataclass(frozen=True)
class Markers:
    """How turns are marked in a string, read off its beginning."""

    user: str
    assistant: str

    def turns(self, transcript: str, *, begun: bool = False) -> tuple[Message, ...] | None:
        """The messages of a transcript, or None if it does not begin with a marker or holds no
        assistant turn. Where the last turn has only `begun`, the white space at its end is a part
        of it."""
        names = {self.user: "user", self.assistant: "assistant", SYSTEM: "system"}
        marker = "|".join(map(re.escape, names))
        begin = re.match(rf"(\n*)({marker}):", transcript)
        if begin is None:
            return None
        gap = begin[1] or ("\n\n" if re.search(rf"\n\n({marker}):", transcript) else "\n")
        parts = re.split(rf"(?:\A\n*|{gap})({marker}): ?", transcript)
        turns = tuple(
            {"role": names[name], "content": content.strip()}
            for name, content in zip(parts[1::2], parts[2::2], strict=True)
        )
        if begun:
            turns = (*turns[:-1], {**turns[-1], "content": parts[-1].lstrip()})
        return turns if any(turn["role"] in ASSISTANT for turn in turns) else None

    def split(self, chosen: Text, rejected: Text) -> tuple[Text, Text, Text]:
        sides = []
        for name, side in (("chosen", chosen), ("rejected", rejected)):
            turns = self.turns(side) if isinstance(side, str) else None
            if turns is None:
                cure = (
                    f'begin with "{self.user}:" and mark every turn, as in '
                    f'"\\n\\n{self.user}: ...\\n\\n{self.assistant}: ..."'
                )
                raise RowError(f"`{name}` is no transcript like the others", field=name, cure=cure)
            sides.append(turns)
        return split_messages(*sides)


def split_text(chosen: Text, rejected: Text) -> tuple[Text, Text, Text]:
    """Split two strings at the last line break they share, or else at the last space. A space stays
    with the answers.
    """
    if not isinstance(chosen, str) or not isinstance(rejected, str):
        raise RowError(
            "`chosen` and `rejected` are not both text",
            field="chosen",
            cure="write both sides alike",
        )
    if chosen.strip() == rejected.strip():
        raise RowError(SAME, field="rejected", cure="remove the row: it says nothing")
    shared = _shared_beginning(chosen, rejected)
    at = shared.rfind("\n") + 1
    if not shared[:at].strip():
        spaces = [match.start() for match in re.finditer(r"\s+", shared)]
        at = spaces[-1] if spaces else 0
    if not shared[:at].strip():
        raise RowError(
            "the transcripts share no beginning", field="chosen", cure="give the row a `prompt`"
        )
    return shared[:at], chosen[at:], rejected[at:]


def _shared_beginning(left: str, right: str) -> str:
    for at, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return left[:at]
    return min(left, right, key=len)


def choose_split(samples: Sequence[tuple[Text, Text]]) -> tuple[Split, str]:
    """The way to split most of these samples, and why."""
    if sum(not isinstance(chosen, str) for chosen, _ in samples) * 2 > len(samples):
        return split_messages, "message lists that share their first messages"
    strings = [(c, r) for c, r in samples if isinstance(c, str) and isinstance(r, str)]
    for family in FAMILIES:
        markers = Markers(*family)
        if sum(
            markers.turns(c) is not None and markers.turns(r) is not None for c, r in strings
        ) * 2 > len(strings):
            return (
                markers.split,
                f'transcripts with turns marked "{family[0]}:" and "{family[1]}:", split '
                "at the last turn they share",
            )
    return (
        split_text,
        "text without marked turns, split at the last line break or space that is shared",
    )


def turns_of_prompt(prompt: str) -> tuple[Message, ...] | None:
    """The turns of a prompt that is a transcript up to the assistant's marker; None of any other
    text.

    An assistant turn that has begun stands last. Words before a first "###" marker (as Alpaca has
    them) go to the head of its turn.
    """
    return _turns_on_lines(prompt) or _turns_on_one_line(prompt)


def _turns_on_lines(prompt: str) -> tuple[Message, ...] | None:
    begin = BEGINS.search(prompt)
    if begin is None:
        return None
    before, transcript = prompt[: begin.start()].strip(), prompt[begin.start() :]
    if before and "###" not in begin[0]:
        return None
    for family in CHATS:
        turns = Markers(*family).turns(transcript, begun=True)
        if (
            turns is None
            or turns[-1]["role"] not in ASSISTANT
            or all(turn["role"] != "user" for turn in turns)
        ):
            continue
        if before:
            first = next(n for n, turn in enumerate(turns) if turn["role"] == "user")
            joined = {**turns[first], "content": f"{before}\n\n{turns[first]['content']}".rstrip()}
            turns = (*turns[:first], joined, *turns[first + 1 :])
        return turns if turns[-1]["content"].strip() else turns[:-1]
    return None


def _turns_on_one_line(prompt: str) -> tuple[Message, ...] | None:
    """The turns of "... USER: Why? ASSISTANT:", in which a space or an end mark stands between
    turns. The two must take turns and the assistant's last must be empty: within a line the two
    words could be anything. Words before the first go to its head."""
    before, *parts = ON_ONE_LINE.split(prompt)
    roles, texts = parts[::2], [text.strip() for text in parts[1::2]]
    if (
        len(roles) < 2
        or len(roles) % 2
        or roles != ["USER", "ASSISTANT"] * (len(roles) // 2)
        or texts[-1]
        or not all(texts[:-1])
    ):
        return None
    texts[0] = f"{before.strip()}\n\n{texts[0]}".strip()
    return tuple(
        {"role": role.lower(), "content": text}
        for role, text in zip(roles[:-1], texts, strict=False)
    )
