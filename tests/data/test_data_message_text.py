"""Message lists stored as text are messages again; other text stays text."""

import json

import numpy as np
import pytest

from holdfast.data.message_text import LONGEST, messages_in
from holdfast.data.trouble import RowError

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
        repr(TURNS).replace("[{", "array([{").replace("}]", "}], dtype=object)")[len("array(") : -len(", dtype=object)")],
    ],
)
def test_json_and_both_reprs_are_read(text):
    found = messages_in(text, "prompt")
    assert found == TURNS
    assert found.text == text


def test_parts_of_content_in_a_numpy_array():
    parts = np.empty(1, object)
    parts[:] = [{"type": "text", "text": "hi"}]
    assert messages_in(numpy_text([{"role": "user", "content": parts}]), "prompt") == [
        {"role": "user", "content": [{"type": "text", "text": "hi"}]}
    ]


def test_one_message_is_a_list_of_one():
    assert messages_in('{"role": "user", "content": "hi"}', "prompt") == [{"role": "user", "content": "hi"}]
    assert messages_in("[{'from': 'human', 'value': 'hi'}]", "prompt") == [{"from": "human", "value": "hi"}]


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
    with pytest.raises(RowError, match="`prompt` looks like a message list stored as text, and cannot be read"):
        messages_in(text, "prompt")
