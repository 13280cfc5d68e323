"""The page docs/reference/data-formats.md, out of the table of formats: `python -m
holdfast.data.formats_page FILE`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.data import columns
from holdfast.data.formats import FORMATS, Format
from holdfast.types import Text

TOP = """# Data formats

*Written by `make docs` from `holdfast.data.formats`; every example row below is read by a test and
gives what stands beside it.*

Each verb that reads rows finds out the format of a file from its columns and says which it took and
why. `--format NAME` (`format=` in Python) takes one by name. A file that fits two formats alike is
refused with both named. Column names are matched without regard to case, spaces and hyphens.

| format | columns | an example row | gives |
| --- | --- | --- | --- |
"""

REST = """
## The prompt

The prompt stands in one of {texts}, or as messages in one of {talks}; {less} count where none of
these is there. Further columns belong to it and are read:

- `system` ({systems}) becomes the system turn in front.
- `history` ({histories}) becomes the turns before: messages, `[["question", "answer"], ...]`, texts
  in turn beginning with the user's, or a transcript with marked turns.
- `input` is joined to the prompt by a line break, unless the prompt holds it already.

## Verdicts

Who won may stand in a column called `winner`, `preference`, `choice`, `better`, `label` and the
like; in one column a side (`winner_a`, `winner_b`, `winner_tie`); in a column that speaks of one
side (`a_is_better`); or in two scores (`score_a`, `score_b`, high is good; `rank_a`, `rank_b`, 1 is
best). The values of a column are judged as a whole:

| values | read as | | --- | --- | | `A` `B`, `model_a` `model_b` `tie`, `response_1` `response_2`,
`A>B`, `[[A]]`, `left` `right` | what they say | | the names of the two models | the name of the
winner | | 1, 2, and 1.5 for a tie | counted from 1 | | 0, 1 beside `response_0`, `response_1` |
these two columns | | 0, 1 beside other columns; true, false; -1, 0, 1; 1 to 5; 0, 1, 2 | refused:
they can mean two things |

`--verdicts` says what is meant where a code can mean two things: `--verdicts 0=first,1=second` (in
Python `verdicts={{0: "first", 1: "second"}}`). A value means `first`, `second`, `tie` or `skip`,
and `good`, `bad` or `skip` as the label of a single answer. `--verdicts "<0=first,>0=second,0=tie"`
reads a scale, with the distance as the strength; `--verdicts names` says that the values are names.
A value that is no verdict is an error of its row; where many rows share it, or where every row of a
verdict would go to the quarantine, the file is refused.

Labels of single answers: true, 1, `good`, `thumbs_up` are good; false, 0, -1, `bad` are bad; 0
beside -1 is neutral.

## Columns that no format reads

Ids, dates, links, numbers, categories and remarks are carried along and reach methods and the
check-up under their names. A column that could carry part of the prompt (`question` beside
`prompt`, `context`, `messages`), an answer, or a verdict (`label` beside `chosen`, `score` beside a
single answer) is refused, unless its words stand in what was read. The message names the way to
read it, and the way to leave it out: `--columns NAME=` (`columns={{"NAME": None}}`). No prompt is
made of the words that two answers begin with while another column could be it.

## Chatbot Arena

Of conversations with several turns the verdict is about the whole, and the two share no more than
the first question: such rows are refused. `--quarantine` leaves them out, `--format
arena_first_turn` reads the first question and its two answers alone.
"""


def page() -> str:
    """The page as markdown."""
    rows = "".join(
        f"| `{known.name}` | {known.says} | `{_cell(known.example)}` | {_gives(known)} |\n"
        for known in FORMATS
    )
    return (
        TOP
        + rows
        + REST.format(
            texts=_names(columns.PROMPT_TEXTS),
            talks=_names(columns.CONVERSATIONS),
            less=_names(columns.LESS_SURE),
            systems=_names(columns.SYSTEM[1:]),
            histories=_names(columns.HISTORY[1:]),
        )
    )


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cell(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("|", "\\|")


def _gives(known: Format) -> str:
    gives: Mapping[str, Any] = known.gives
    said = [
        f"{name} {_shown(gives[name])}"
        for name in ("prompt", "chosen", "rejected", "answer")
        if gives.get(name)
    ]
    said += ["good" if gives["desirable"] else "bad"] if "desirable" in gives else []
    return ", ".join(
        [
            *said,
            *(f"{name} {gives[name]}" for name in ("strength", "rater", "source") if name in gives),
        ]
    )


def _shown(text: Text) -> str:
    if isinstance(text, str):
        return f"`{json.dumps(text, ensure_ascii=False)[1:-1]}`"
    return " ".join(f"`[{message['role']}] {message['content']}`" for message in text)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(), encoding="utf-8")
    print(path)
