"""Key phrases by hand, and copies without them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from holdfast.data.producers import corrupted, without_equals
from holdfast.data.render import tokenize
from holdfast.inputs import copies, reference
from holdfast.text.keywords import key_phrases, without_key_phrases
from holdfast.types import Row, Where

TEXT = "theory of deep learning and learning"


def test_rake_by_hand():
    """deep: one phrase of two words, 2 / 1. learning: (2 + 1) / 2. theory: 1 / 1."""
    assert key_phrases(TEXT) == {"deep learning": 3.5, "learning": 1.5, "theory": 1.0}
    assert list(key_phrases(TEXT)) == ["deep learning", "learning", "theory"]


def test_punctuation_ends_a_phrase_and_case_does_not_matter():
    assert set(key_phrases("Green tea, black tea. Green tea!")) == {"green tea", "black tea"}
    assert key_phrases("I don't; you can't.") == {}
    assert key_phrases("") == {} == key_phrases("?!\n\t")


@pytest.mark.parametrize(
    ("rate", "left"),
    [(0.0, TEXT), (0.3, "theory of and learning"), (0.5, "theory of and "), (1.0, " of and ")],
)
def test_best_phrases_go_first_and_the_rest_keeps_its_order(rate: float, left: str):
    assert without_key_phrases(TEXT, rate) == left


def test_copies_are_nested():
    text = (
        "The silver train left Berlin at dawn, and the old conductor slept while the silver "
        "train crossed wide rivers."
    )
    kept = [
        without_key_phrases(text, rate).replace(",", " ,").replace(".", " .").split()
        for rate in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    for more, less in pairwise(kept):
        rest = iter(more)
        assert len(less) < len(more) and all(word in rest for word in less)  # a subsequence


@pytest.mark.parametrize(
    "text",
    ["", "   ", "the of and", "\x00\ud83d", "a" * 5000, "```\ncode();\n```", "日本語の文章です。"],
)
def test_any_text_is_taken(text: str):
    assert without_key_phrases(text, 0.0) == text
    assert isinstance(without_key_phrases(text, 1.0), str)


def row(chosen: object, rejected: object) -> Row:
    return Row(Where("rows", 1), prompt="q", chosen=chosen, rejected=rejected)


def test_copies_of_a_conversation_change_what_is_said():
    turns = [{"role": "assistant", "content": TEXT}]
    assert corrupted(row(turns, "no"))["chosen_copy_2"] == [
        {"role": "assistant", "content": " of and "}
    ]


def test_an_answer_that_would_be_empty_stays():
    assert corrupted(row("Paris", "no idea"))["chosen_copy_2"] == "Paris"


def test_copies_equal_to_a_fuller_one_are_left_empty():
    branches = {
        "chosen": [1, 2, 3],
        "rejected": [4],
        "chosen_copy_1": [1, 3],
        "chosen_copy_2": [1, 3],
        "rejected_copy_1": [4],
    }
    kept = without_equals(branches | {"rejected_copy_2": [5]})
    assert kept == branches | {"chosen_copy_2": [], "rejected_copy_1": [], "rejected_copy_2": [5]}


def test_the_data_room_makes_copies_where_they_are_asked_for(tiny_tokenizer):
    rows = [row(" the happy cat saw a red bird", " no")]
    item = tokenize(rows, tiny_tokenizer, needs=(reference, copies), progress=False).items[0]
    assert list(item.branches) == [
        "chosen",
        "rejected",
        *(f"{a}_copy_{k}" for a in ("chosen", "rejected") for k in (1, 2)),
    ]
    assert (
        tiny_tokenizer.decode(item.branches["chosen_copy_1"], skip_special_tokens=True)
        == " the a red bird"
    )  # "happy cat saw" scores 9, "red bird" 4
    assert item.branches["rejected_copy_1"] == [] == item.branches["rejected_copy_2"]
    assert list(
        tokenize(rows, tiny_tokenizer, needs=(reference,), progress=False).items[0].branches
    ) == ["chosen", "rejected"]
