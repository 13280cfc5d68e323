"""What a method reads of the rows, what it leaves, and what it refuses by name."""

import pytest

from holdfast.card import AnswerMethod, Card, PairMethod, Paper, Reduction
from holdfast.data import to_examples
from holdfast.errors import NeedError
from holdfast.inputs import INPUTS
from holdfast.types import Row, Where

NAMED = {need.name: need for need in INPUTS}


def method(kind, needs=(), reduction_needs=()):
    def dummy(batch):
        return batch

    card = Card("s", Paper("t", "a", 2024), "", "sum", tuple(NAMED[name] for name in needs))
    return kind(
        dummy,
        Reduction(
            "mean",
            dict,
            lambda c, b, s: (c.mean(), s),
            needs=tuple(NAMED[name] for name in reduction_needs),
        ),
        card,
    )


def row(line, **parts):
    return Row(Where("f", line), **{"prompt": "p", **parts})


PAIR = row(1, chosen="a", rejected="b", strength=2.0, extra={"k": 1})
TIE = row(2, chosen="a", rejected="b", tie=True)
GOOD = row(3, prompt="q", answer="c", desirable=True)
BAD = row(4, prompt="q", answer="d", desirable=False)
DEMO = row(5, prompt="q", answer="e")
ALL = (PAIR, TIE, GOOD, BAD, DEMO)


def test_pair_methods_read_comparisons():
    got = to_examples(ALL, method(PairMethod))
    assert got.rows == (PAIR,)
    assert got.counts == {
        "read": 5,
        "examples": 1,
        "ties": 1,
        "single answers, where comparisons are read": 3,
    }


def test_label_methods_make_two_answers_of_a_comparison():
    got = to_examples(ALL, method(AnswerMethod, ("label",)))
    assert [(r.where.line, r.answer, r.desirable, r.chosen, r.rejected) for r in got] == [
        (1, "a", True, None, None),
        (1, "b", False, None, None),
        (3, "c", True, None, None),
        (4, "d", False, None, None),
    ]
    assert (got[1].strength, got[1].extra) == (2.0, {"k": 1})
    assert got.skipped == {"ties": 1, "answers without a label": 1}


def test_other_answer_methods_read_what_is_worth_imitating():
    got = to_examples(ALL, method(AnswerMethod))
    assert [(r.where.line, r.answer) for r in got] == [(1, "a"), (3, "c"), (5, "e")]
    assert got.skipped == {"ties": 1, "undesirable answers": 1}
    assert got.lines() == [
        "5 rows make 3 examples",
        "skipped 1: ties",
        "skipped 1: undesirable answers",
    ]


@pytest.mark.parametrize(
    ("kind", "needs", "rows", "need", "says"),
    [
        (
            PairMethod,
            (),
            (GOOD, BAD),
            "pairs",
            "dummy reads comparisons(.|\n)*kto reads answers with a label",
        ),
        (PairMethod, (), (DEMO,), "pairs", "sft reads single answers"),
        (PairMethod, (), (TIE,), "pairs", "1 ties"),
        (PairMethod, (), (), "pairs", "there are no rows"),
        (AnswerMethod, ("label",), (DEMO,), "label", "unpaired answers with a boolean label"),
        (AnswerMethod, (), (BAD,), "answers", "1 undesirable answers"),
        (
            PairMethod,
            ("group",),
            (PAIR,),
            "group",
            "whose label it is; the data have none\nhint: add a `group` column",
        ),
        (
            PairMethod,
            ("confidence",),
            (PAIR,),
            "confidence",
            "how sure each label is(.|\n)*hint: add a `confidence`",
        ),
        (PairMethod, ("reward_gap",), (PAIR,), "reward_gap", "a reward model's opinion"),
        (
            AnswerMethod,
            ("label", "mismatched"),
            (GOOD, BAD),
            "mismatched",
            "every row has the same prompt",
        ),
    ],
)
def test_needs_are_refused_by_name(kind, needs, rows, need, says):
    with pytest.raises(NeedError, match=says) as caught:
        to_examples(rows, method(kind, needs))
    assert caught.value.need == need
    assert "hint: " in str(caught.value)


def test_needs_of_the_reduction_and_of_the_call_count_too():
    with pytest.raises(NeedError, match="whose label it is"):
        to_examples([PAIR], method(PairMethod, (), ("group",)))
    with pytest.raises(NeedError, match="how sure"):
        to_examples([PAIR], method(PairMethod), needs=[NAMED["confidence"]])


def test_a_need_that_only_some_rows_meet_names_the_first_that_does_not():
    rows = [
        row(1, chosen="a", rejected="b", group="g"),
        row(2, chosen="a", rejected="b"),
        row(3, chosen="a", rejected="b"),
    ]
    with pytest.raises(NeedError, match="2 of 3 rows have none, first f:2"):
        to_examples(rows, method(PairMethod, ("group",)))
    with pytest.raises(NeedError, match="1 of 2 rows have none, first f:2"):
        pairs = [
            row(1, chosen="a", rejected="b", extra={"reward_gap": 0.5}),
            row(2, chosen="a", rejected="b", extra={"reward_gap": "x"}),
        ]
        to_examples(pairs, method(PairMethod, ("reward_gap",)))


def test_needs_that_are_met():
    rows = [
        row(
            i,
            prompt=str(i),
            chosen="a",
            rejected="b",
            group="g",
            confidence=0.9,
            extra={"reward_gap": 1},
        )
        for i in range(2)
    ]
    assert (
        len(
            to_examples(
                rows,
                method(
                    PairMethod, ("reference", "group", "confidence", "reward_gap", "mismatched")
                ),
            )
        )
        == 2
    )
