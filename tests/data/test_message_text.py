"""Message lists stored as text are messages again, and answers that repeat their prompt are answers
again; other text stays text.
"""

import csv
import json

import numpy as np
import pytest

from holdfast.data import read
from holdfast.data.message_text import LONGEST, messages_in
from holdfast.data.row_errors import RowError
from holdfast.errors import DataError

TURNS = [
    {"role": "user", "content": "It's \"so\"?\n }{ , array( 'x' \\ é 👍"},
    {"role": "assistant", "content": "yes}\n {'role': no", "name": None},
]


def numpy_text(turns):
    array = np.empty(len(turns), object)
    array[:] = turns
    return str(array)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(TURNS),
        json.dumps(TURNS, indent=2),
        json.dumps(TURNS, ensure_ascii=False),
        json.dumps(json.dumps(TURNS)),
        repr(TURNS),
        "  " + repr(tuple(TURNS))[1:-1].join("[]") + "\n",
        numpy_text(TURNS),
        repr(TURNS)
        .replace("[{", "array([{")
        .replace("}]", "}], dtype=object)")[len("array(") : -len(", dtype=object)")],
    ],
)
def test_json_and_both_reprs_are_read(text):
    assert messages_in(text, "prompt") == TURNS


def test_parts_of_content_in_a_numpy_array():
    parts = np.empty(1, object)
    parts[:] = [{"type": "text", "text": "hi"}]
    assert messages_in(numpy_text([{"role": "user", "content": parts}]), "prompt") == [
        {"role": "user", "content": [{"type": "text", "text": "hi"}]}
    ]


def test_one_message_is_a_list_of_one():
    assert messages_in('{"role": "user", "content": "hi"}', "prompt") == [
        {"role": "user", "content": "hi"}
    ]
    assert messages_in("[{'from': 'human', 'value': 'hi'}]", "prompt") == [
        {"from": "human", "value": "hi"}
    ]


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "[1, 2]",
        "[see below]",
        '[{"role": "user", "content": "hi"}] What does this mean?',
        '{"name": "x", "role": "admin"}',
        '[{"content": "no role"}]',
        '{"content": "no role"}',
        "",
        "{",
    ],
)
def test_text_stays_text(text):
    assert messages_in(text, "prompt") is None


@pytest.mark.parametrize(
    "text",
    [
        "[{'role': 'user', 'content': 'hi'}, ..., {'role': 'user', 'content': 'ho'}]",
        "[{'role': 'user', 'content': 'hi'}\n ...\n {'role': 'user', 'content': 'ho'}]",
        "[{'role': 'user', 'content': __import__('os').getcwd()}]",
        "[{'role': 'user', 'content': 'hi']",
        "[{'role': 'user', 'content': nan}]",
        "[{'role': 'user', 'content': " + "[" * 300 + "]" * 300 + "}]",
        "[{'role': 'user', 'content': '" + "x" * LONGEST + "'}]",
    ],
)
def test_what_looks_like_messages_and_is_none_is_refused(text):
    with pytest.raises(
        RowError, match="`prompt` looks like a message list stored as text, and cannot be read"
    ):
        messages_in(text, "prompt")


# ------------------------------------------------------------ in files

ASKED = [{"role": "user", "content": "what is it?"}]
YES, NO = ([{"role": "assistant", "content": text}] for text in ("a cat", "a dog"))


@pytest.mark.parametrize("written", [json.dumps, repr, numpy_text])
@pytest.mark.parametrize("repeats", [False, True])
def test_rows_are_the_same_whether_messages_came_as_lists_or_as_text(written, repeats, tmp_path):
    front = ASKED if repeats else []
    rows = [
        {"prompt": ASKED, "chosen": [*front, *YES], "rejected": [*front, *NO]} for _ in range(3)
    ]
    expected = read(rows)
    texts = [{key: written(value) for key, value in row.items()} for row in rows]
    assert [(row.prompt, row.chosen, row.rejected) for row in read(texts)] == [
        (r.prompt, r.chosen, r.rejected) for r in expected
    ]
    table = tmp_path / "rows.csv"
    with table.open("w", newline="") as out:
        writer = csv.DictWriter(out, ["prompt", "chosen", "rejected"])
        writer.writeheader()
        writer.writerows(texts)
    assert [(row.prompt, row.chosen, row.rejected) for row in read(table)] == [
        (r.prompt, r.chosen, r.rejected) for r in expected
    ]


def test_whole_conversations_and_single_answers_as_text():
    (row,) = read([{"messages": repr([*ASKED, *YES])}])
    assert (row.prompt, row.answer) == (tuple(ASKED), "a cat")
    (row,) = read([{"chosen": numpy_text([*ASKED, *YES]), "rejected": numpy_text([*ASKED, *NO])}])
    assert (row.prompt, row.chosen, row.rejected) == (tuple(ASKED), "a cat", "a dog")


def test_messages_as_text_among_text_are_refused():
    rows = [{"prompt": "p", "chosen": "a", "rejected": "b"} for _ in range(5)]
    with pytest.raises(
        DataError, match="rows:6: field `chosen`: `chosen` is message lists where the file has text"
    ):
        read([*rows, {"prompt": "p", "chosen": json.dumps(YES), "rejected": "b"}])


def test_a_list_that_numpy_cut_is_refused_with_its_place():
    cut = "[{'role': 'user', 'content': 'hi'}\n ...\n {'role': 'user', 'content': 'ho'}]"
    with pytest.raises(
        DataError,
        match=(
            "rows:2: field `prompt`: `prompt` looks like a message list stored as text, and "
            "cannot be read"
        ),
    ):
        read(
            [
                {"prompt": repr(ASKED), "chosen": "a", "rejected": "b"},
                {"prompt": cut, "chosen": "a", "rejected": "b"},
            ]
        )


# ------------------------------------------------------------ answers that repeat the prompt


@pytest.mark.parametrize("between", [" ", "\n\n", "\n"])
def test_a_prompt_in_front_of_both_answers_is_taken_off_and_counted(between):
    plain = [
        {"prompt": f"What is {n}?", "chosen": f"{n}, yes", "rejected": "no"} for n in range(10)
    ]
    rows = [
        {
            "prompt": r["prompt"],
            **{k: f"{r['prompt']}{between}{r[k]}" for k in ("chosen", "rejected")},
        }
        for r in plain
    ]
    found, expected = read(rows), read(plain)
    assert [(r.prompt, r.chosen, r.rejected) for r in found] == [
        (r.prompt, r.chosen, r.rejected) for r in expected
    ]
    assert (
        "in 10 rows every answer repeated the prompt in front; it was taken off"
        in found.report.notes
    )
    assert not any("repeated the prompt" in note for note in expected.report.notes)


def test_it_is_taken_off_both_answers_or_neither():
    rows = [
        {"prompt": f"What is {n}?", "chosen": f"What is {n}? yes", "rejected": f"What is {n}? no"}
        for n in range(9)
    ]
    found = read([*rows, {"prompt": "Hi", "chosen": "Hi there", "rejected": "go away"}])
    assert (found[8].chosen, found[9].chosen) == ("yes", "Hi there")
    assert (
        "in 9 rows every answer repeated the prompt in front; it was taken off"
        in found.report.notes
    )


def test_one_row_in_a_file_says_nothing():
    rows = [{"prompt": f"What is {n}?", "chosen": "yes", "rejected": "no"} for n in range(9)]
    found = read([*rows, {"prompt": "Hi", "chosen": "Hi there", "rejected": "Hi yourself"}])
    assert (found[9].chosen, found[9].rejected) == ("Hi there", "Hi yourself")


def test_a_prompt_within_a_word_or_alone_is_not_taken_off():
    rows = [{"prompt": "cat", "chosen": "cats are nice", "rejected": "category"} for _ in range(4)]
    assert read(rows)[0].chosen == "cats are nice"
    rows = [
        {"prompt": "say cat", "chosen": "say cat", "rejected": "say cat twice"} for _ in range(4)
    ]
    assert read(rows)[0].rejected == "say cat twice"


def test_transcripts_conversations_and_single_answers_that_repeat_the_prompt():
    asked = "\n\nHuman: hi\n\nAssistant:"
    assert (
        read([{"prompt": asked, "chosen": asked + " yes", "rejected": asked + " no"}])[0].chosen
        == "yes"
    )
    assert (
        read([{"prompt": "Say hi.", "completion": "Say hi. hi", "label": True}])[0].answer == "hi"
    )
    assert read([{"prompt": "Say hi.", "completion": "Say hi.\nhi"}])[0].answer == "hi"
    (row,) = read(
        [
            {
                "system": "Be brief and kind.",
                "prompt": "Say hi.",
                "chosen": "Say hi. hi",
                "rejected": "Say hi. ho",
            }
        ]
    )
    assert (row.chosen, row.rejected) == ("hi", "ho")
