"""Two texts side by side: what is marked, what is cut, what is made visible."""

import pytest

from holdfast.report.pair import HEAD, TAIL, Pair, cut, differences
from holdfast.visible import visible


def test_differences_by_hand():
    left, right = differences("the cat sat down", "the dog sat down")
    assert left == [("the ", False), ("cat ", True), ("sat down", False)]
    assert right == [("the ", False), ("dog ", True), ("sat down", False)]


def test_what_only_one_has_is_marked_there_alone():
    left, right = differences("yes of course", "yes of course not")
    assert left == [("yes of course", False)]
    assert right == [("yes of course ", False), ("not", True)] or right == [
        ("yes of course", False),
        (" not", True),
    ]


@pytest.mark.parametrize(
    "texts",
    [
        ("", ""),
        ("a b", "a b"),
        ("one two three", "quite other words"),
        ("", "something"),
        (" \n ", "x"),
    ],
)
def test_nothing_is_marked_in_equals_or_strangers(texts):
    for side, text in zip(differences(*texts), texts, strict=True):
        assert side == [(text, False)]


def test_no_letter_is_lost():
    texts = "  two\tspaces \n and a line\n\nmore ", "two spaces \n and another line\n\nmore  "
    for side, text in zip(differences(*texts), texts, strict=True):
        assert "".join(piece for piece, _ in side) == text


def test_strangers_are_called_unlike():
    assert Pair("f:1", "", "p", "one two three", "quite other words").unlike
    assert not Pair("f:1", "", "p", "the cat sat", "the dog sat").unlike
    assert not Pair("f:1", "", "p", "same", "same").unlike


def test_long_texts_are_cut_and_say_so():
    text = "a" * HEAD + "b" * 5000 + "c" * TAIL
    assert cut(text) == "a" * HEAD + "\n[… 5,000 characters …]\n" + "c" * TAIL
    assert cut("a" * (HEAD + TAIL)) == "a" * (HEAD + TAIL)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab\r\n", "two\nlines\tand a tab\n"),
        ("bell\x07 nul\x00 del\x7f", "bell\u2407 nul\u2400 del\u2421"),
        ("left \u202eright\u202c", "left \u27e8U+202E\u27e9right\u27e8U+202C\u27e9"),
        ("half \ud800 a character", "half \ufffd a character"),
        ("e" + "\u0301" * 50, "e" + "\u0301" * 4),
        ("Ελληνικά, עברית, 日本語, 👩‍🚀", "Ελληνικά, עברית, 日本語, 👩‍🚀"),
    ],
)
def test_visible_by_hand(text, seen):
    assert visible(text) == seen
    assert visible(seen) == seen
