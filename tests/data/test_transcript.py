"""Prompts that are only implied: where the shared beginning of two transcripts ends."""

import pytest

from holdfast.data import read
from holdfast.data.transcript import turns_of_prompt
from holdfast.errors import DataError

START = "\n\nHuman: What is it?\n\nAssistant: A cat.\n\nHuman: Sure?"


def only(chosen, rejected, **more):
    (row,) = read([{"chosen": chosen, "rejected": rejected, **more}])
    return row


def test_marked_turns_are_split_at_the_last_shared_turn_not_in_mid_word():
    row = only(START + "\n\nAssistant: Yes, it is.", START + "\n\nAssistant: Yesterday it was.")
    assert row.prompt == (
        {"role": "user", "content": "What is it?"},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "Sure?"},
    )
    assert (row.chosen, row.rejected) == ("Yes, it is.", "Yesterday it was.")


def test_a_marker_inside_a_line_is_no_turn():
    row = only(
        "\n\nHuman: Say\nHuman: x\n\nAssistant: a", "\n\nHuman: Say\nHuman: x\n\nAssistant: b"
    )
    assert row.prompt == ({"role": "user", "content": "Say\nHuman: x"},)


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("User: hi\nAssistant: ", ""),
        ("Q: hi\nA: ", ""),
        ("Question: hi\n\nAnswer: ", ""),
        ("\nHuman: hi\nAI: ", ""),
    ],
)
def test_other_markers(begin, end):
    row = only(begin + "yes", begin + "no")
    assert (row.prompt, row.chosen, row.rejected) == (
        ({"role": "user", "content": "hi"},),
        "yes",
        "no",
    )


def test_a_system_turn():
    row = only(
        "System: s\n\nHuman: hi\n\nAssistant: a",
        "System: s\n\nHuman: hi\n\nAssistant: b",
    )
    assert [m["role"] for m in row.prompt] == ["system", "user"]


def test_transcripts_that_differ_in_more_than_the_last_turn(tmp_path):
    good = {"chosen": START + "\n\nAssistant: a", "rejected": START + "\n\nAssistant: b"}
    bad = {
        "chosen": START + "\n\nAssistant: a\n\nHuman: ok\n\nAssistant: c",
        "rejected": START + "\n\nAssistant: b",
    }
    reason = "the transcripts differ in more than the last turn"
    with pytest.raises(
        DataError,
        match=rf"rows:2: field `rejected`: {reason} \(3 and 1 turns after the 3 that they share\)",
    ):
        read([good, bad, good])
    assert read([good, bad, good], quarantine=tmp_path / "q.jsonl").report.skipped == {reason: 1}


def test_message_lists_that_differ_early_share_nothing_or_end_in_the_user():
    def talk(*turns):
        return [
            {"role": "user" if i % 2 == 0 else "assistant", "content": t}
            for i, t in enumerate(turns)
        ]

    good = {"chosen": talk("a", "b"), "rejected": talk("a", "c")}
    assert read([good])[0].prompt == ({"role": "user", "content": "a"},)
    for bad, says in (
        (
            {"chosen": talk("a", "b", "c", "d"), "rejected": talk("a", "x", "c", "e")},
            "differ in more than the last turn",
        ),
        (
            {"chosen": talk("a", "b", "c"), "rejected": talk("a", "b", "d")},
            "not one assistant message",
        ),
        ({"chosen": talk("a", "b"), "rejected": talk("a", "b")}, "are the same"),
        ({"chosen": talk("a"), "rejected": talk("b")}, "share no beginning"),
        ({"chosen": talk("a", "b"), "rejected": talk("a", " ")}, "`rejected` is empty"),
    ):
        with pytest.raises(DataError, match=says):
            read([good, bad, good])


def test_an_empty_reply_in_a_transcript_is_empty():
    good = {"chosen": START + "\n\nAssistant: a", "rejected": START + "\n\nAssistant: b"}
    with pytest.raises(DataError, match="rows:2: field `rejected`: `rejected` is empty"):
        read([good, {**good, "rejected": START + "\n\nAssistant:"}, good])


def test_text_without_turns_is_split_at_a_line_break_or_a_space():
    row = only("The sky is blue.", "The sky is blueish.")
    assert (row.prompt, row.chosen, row.rejected) == ("The sky is", " blue.", " blueish.")
    row = only("Name a color:\nbright red", "Name a color:\nbright rose")
    assert (row.prompt, row.chosen, row.rejected) == (
        "Name a color:\n",
        "bright red",
        "bright rose",
    )
    row = only("one two", "one two three")
    assert (row.prompt, row.chosen, row.rejected) == ("one", " two", " two three")


def test_text_that_shares_no_beginning_has_no_implied_prompt():
    with pytest.raises(
        DataError,
        match="`chosen` and `rejected` share no beginning; columns found: chosen, rejected",
    ):
        read([{"chosen": "Paris", "rejected": "London"}])
    shared = {"chosen": "I say yes", "rejected": "I say no"}
    with pytest.raises(
        DataError, match="rows:3: field `chosen`: the transcripts share no beginning"
    ):
        read([shared, shared, {"chosen": "Paris", "rejected": "London"}])


@pytest.mark.parametrize(
    ("prompt", "turns"),
    [
        ("USER: Why? ASSISTANT:", ["Why?"]),
        ("A chat. USER: Why? ASSISTANT: ", ["A chat.\n\nWhy?"]),
        (
            "A chat.\nUSER: Why? ASSISTANT: So.</s>USER: And? ASSISTANT:",
            ["A chat.\n\nWhy?", "So.", "And?"],
        ),
        ("What is a USER: tag? ASSISTANT: x", None),
        ("USER: a USER: b ASSISTANT:", None),
        ("ASSISTANT: a USER: b ASSISTANT:", None),
        ("Say why ASSISTANT:", None),
    ],
)
def test_turns_within_one_line(prompt, turns):
    got = turns_of_prompt(prompt)
    assert got == (
        turns
        and tuple(
            {"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(turns)
        )
    )
