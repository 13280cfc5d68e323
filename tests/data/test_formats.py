"""Which format a file has, what each format gives, and what a row of another format is told."""

from pathlib import Path

import pytest

from holdfast.data import read
from holdfast.data.formats import FORMATS
from holdfast.data.formats_page import page
from holdfast.errors import DataError, OptionError


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


TEXT = {"prompt": "hi", "chosen": "yes", "rejected": "no"}


def only(row, **options):
    (got,) = read([row], **options)
    return got


@pytest.mark.parametrize("known", FORMATS, ids=lambda known: known.name)
def test_each_format_reads_its_example(known):
    got = read([known.example], format=known.name if known.asked else None)
    assert got.report.format == known.name
    assert {name: getattr(got[0], name) for name in known.gives} == known.gives
    if not known.asked:
        assert got.report.why.startswith("1 of the first 1 rows have ")


def test_text_and_messages_give_the_same_row():
    plain = {"prompt": [user("hi")], "chosen": "yes", "rejected": "no"}
    variants = [
        plain,
        {**plain, "chosen": [said("yes")], "rejected": [said("no")]},
        {**plain, "chosen": [user("hi"), said("yes")], "rejected": [user("hi"), said("no")]},
        {"prompt": "hi", "chosen": [said("yes")], "rejected": [said("no")]},
        {"prompt": "hi", "chosen": [user("hi"), said("yes")], "rejected": [user("hi"), said("no")]},
        {"chosen": [user("hi"), said("yes")], "rejected": [user("hi"), said("no")]},
        {
            **plain,
            "prompt": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}],
                }
            ],
        },
    ]
    for row in variants:
        got = only(row)
        assert (got.prompt, got.chosen, got.rejected) == ((user("hi"),), "yes", "no")


def test_a_system_turn_in_front_of_a_repeated_prompt_is_kept():
    front = [{"role": "system", "content": "be brief"}, user("hi")]
    got = only({"prompt": "hi", "chosen": [*front, said("yes")], "rejected": [*front, said("no")]})
    assert got.prompt == tuple(front)


def test_messages_keep_what_a_template_may_want():
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]}
    got = only({"prompt": [user("hi")], "chosen": [call], "rejected": [said("no")]})
    assert got.chosen == (
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]},
    )


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ([user("yes")], "not one assistant message"),
        ([said("a"), user("b"), said("c")], "not one assistant message"),
        ([], "`chosen` is empty"),
        ([said("  ")], "`chosen` is empty"),
        ([{"content": "x"}], "holds something that is no message"),
        ([{"role": "assistant", "content": 3}], "the content of message 1 is a number"),
        ([{"role": "assistant", "content": [{"type": "image"}]}], "images are not read"),
        (["x"], "message 1 has no role"),
    ],
)
def test_messages_that_are_none(answer, says):
    with pytest.raises(DataError, match=says):
        read([{"prompt": [user("hi")], "chosen": answer, "rejected": [said("no")]}])


# ------------------------------------------------------------------------------------------------
# answers in an order


@pytest.mark.parametrize(
    "order",
    [{"scores": [1.0, 4.0, 2.5]}, {"ranks": [3, 1, 2]}, {"ranking": [1, 2, 0]}],
)
def test_k_answers_give_every_pair(order):
    got = read([{"prompt": "hi", "answers": ["a", "b", "c"], "weight": 2, **order}])
    assert [(r.chosen, r.rejected) for r in got] == [("b", "a"), ("c", "a"), ("b", "c")]
    assert [r.strength for r in got] == ([3.0, 1.5, 1.5] if "scores" in order else [2, 1, 1])
    assert {(r.where.line, r.weight) for r in got} == {(1, 2.0)}
    assert (got.report.read, got.report.retained, got.report.rows) == (1, 1, 3)


def test_equal_scores_give_no_pair_and_are_counted(tmp_path):
    rows = [
        {"prompt": "hi", "answers": ["a", "b", "c"], "scores": [1, 1, 0]},
        {"prompt": "ho", "answers": ["a", "b"], "scores": [5, 5]},
    ]
    got = read(rows)
    assert [(r.chosen, r.rejected) for r in got] == [("a", "c"), ("b", "c")]
    assert (got.report.equal_scores, got.report.retained, got.report.skipped) == (
        2,
        1,
        {"every answer has the same score": 1},
    )
    assert got.report.read == got.report.retained + sum(got.report.skipped.values())


def test_answers_may_carry_their_own_scores_or_ranks():
    scored = only(
        {
            "prompt": "hi",
            "completions": [{"response": "a", "score": 1}, {"response": "b", "score": 3}],
        }
    )
    ranked = only(
        {"prompt": "hi", "answers": [{"answer": "a", "rank": 2.0}, {"answer": "b", "rank": 1.0}]}
    )
    assert (scored.chosen, scored.strength) == ("b", 2.0)
    assert (ranked.chosen, ranked.strength) == ("b", 1.0)
    assert scored.extra == {"score_chosen": 3.0, "score_rejected": 1.0}


def test_an_answer_without_a_score_and_equal_texts_void_their_pairs_alone():
    got = read([{"prompt": "hi", "answers": ["a", "b", "c", "b "], "scores": [1, 3, None, 2]}])
    assert [(r.chosen, r.rejected) for r in got] == [("b", "a"), ("b ", "a")]
    assert (got.report.unscored, got.report.same_texts, got.report.skipped) == (1, 1, {})
    assert {
        "no pair with 1 answers that have no score",
        "no pair from 1 pairs of answers with the same text",
    } <= set(got.report.lines())
    none = read(
        [
            {"prompt": "hi", "answers": ["a", "b"], "scores": [1, 2]},
            {"prompt": "hi", "answers": ["a", "b"], "scores": [None, 2]},
        ]
    )
    assert none.report.skipped == {"fewer than two answers have a score": 1}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"answers": ["a"]}, "not a list of two or more answers"),
        ({"scores": [1, 2, 3]}, "`scores` does not match `answers`"),
        ({"scores": [1, float("nan")]}, "`scores` is not finite"),
        ({"scores": None, "ranks": [1, None]}, "`ranks` has a gap"),
        ({"scores": None, "ranking": [1, 2]}, "`ranking` is no ordering"),
        ({"answers": ["a", "a"]}, "`chosen` and `rejected` are the same"),
        ({"answers": ["a", ""]}, "`answers` is empty"),
    ],
)
def test_answers_that_are_in_no_order(change, says):
    row = {"prompt": "hi", "answers": ["a", "b"], "scores": [1, 2]}
    with pytest.raises(DataError, match=says):
        read([row, {**row, **change}])


# ------------------------------------------------------------------------------------------------
# labels, text, conversations


@pytest.mark.parametrize(
    ("label", "desirable"),
    [
        (True, True),
        (False, False),
        (1, True),
        (0, False),
        (1.0, True),
        ("true", True),
        ("False", False),
        ("0", False),
    ],
)
def test_labels(label, desirable):
    assert only({"prompt": "hi", "completion": "a", "label": label}).desirable is desirable


@pytest.mark.parametrize("label", [None, 2, "maybe", [], ""])
def test_labels_that_are_none(label):
    row = {"prompt": "hi", "completion": "a", "label": True}
    with pytest.raises(DataError, match="rows:2: field `label`"):
        read([row, {**row, "label": label}, row])


def test_documents_and_conversations():
    book = only({"text": "Once.", "title": "A"})
    assert (book.prompt, book.answer, book.desirable, book.extra) == (
        "",
        "Once.",
        None,
        {"title": "A"},
    )
    talk = only({"messages": [user("a"), said("b"), user("c"), said("d")]})
    assert (talk.prompt, talk.answer) == ((user("a"), said("b"), user("c")), "d")
    with pytest.raises(DataError, match="not one assistant message"):
        read([{"messages": [user("a"), user("b")]}])


# ------------------------------------------------------------------------------------------------
# other columns


def test_optional_columns_and_a_methods_own():
    got = only(
        {
            **TEXT,
            "rater": 7,
            "group": "g",
            "source": "web",
            "strength": 2,
            "confidence": 0.75,
            "weight": 0,
            "tie": 1,
            "reward_gap": -3,
        }
    )
    assert (
        got.rater,
        got.group,
        got.source,
        got.strength,
        got.confidence,
        got.weight,
        got.tie,
    ) == ("7", "g", "web", 2.0, 0.75, 0.0, True)
    assert got.extra == {"reward_gap": -3}


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("weight", float("nan"), "`weight` is not finite"),
        ("weight", float("inf"), "`weight` is not finite"),
        ("weight", 10**400, "`weight` is not finite"),
        ("weight", -0.1, "`weight` is out of range"),
        ("weight", "1", "`weight` has the wrong type"),
        ("weight", True, "`weight` has the wrong type"),
        ("confidence", 1.01, "`confidence` is out of range"),
        ("confidence", -0.01, "`confidence` is out of range"),
        ("strength", float("nan"), "`strength` is not finite"),
        ("tie", "perhaps", "`tie` is neither true nor false"),
        ("prompt", None, "`prompt` is null"),
        ("prompt", " \n", "`prompt` is empty"),
        ("chosen", 3, "`chosen` has the wrong type"),
        ("rejected", "", "`rejected` is empty"),
        ("rejected", " yes ", "`chosen` and `rejected` are the same"),
    ],
)
def test_bad_values_name_place_field_and_cure(column, value, says):
    with pytest.raises(DataError) as caught:
        read([TEXT, {**TEXT, column: value}, TEXT])
    assert f"rows:2: field `{column}`: {says}" in str(caught.value)
    assert "; cure: " in str(caught.value)
    assert "\nhint: " in str(caught.value)


def test_a_missing_field_says_what_the_row_looks_like():
    with pytest.raises(
        DataError,
        match=(
            r"rows:3: field `chosen`: `chosen` is missing \(the row looks like `unpaired`, "
            r"the file like `pref"
        ),
    ):
        read([TEXT, TEXT, {"prompt": "hi", "completion": "a", "label": True}])
    with pytest.raises(
        DataError,
        match=(
            r"rows:3: another format than the file's \(the row looks like `unpaired`, the "
            r"file like `supervised`"
        ),
    ):
        read(
            [{"prompt": "hi", "completion": "a"}] * 2
            + [{"prompt": "hi", "completion": "a", "label": True}]
        )
    with pytest.raises(DataError, match="`prompt` is message lists where the file has text"):
        read([TEXT, TEXT, {**TEXT, "prompt": [user("hi")]}])


def test_most_rows_decide_not_the_first():
    with pytest.raises(DataError) as got:
        read([{"text": "x"}, TEXT, TEXT])
    assert (
        "rows:1: field `prompt`: `prompt` is missing (the row looks like `text`, the file "
        "like `preference`)" in str(got.value)
    )


# ------------------------------------------------------------------------------------------------
# columns misnamed


@pytest.mark.parametrize(
    ("columns", "nearest", "hint"),
    [
        (("prompt", "choosen", "rejected"), "preference", '{"chosen": "choosen"}'),
        (("prompt", "chosen", "rejectd"), "preference", '{"rejected": "rejectd"}'),
        (("prompt", "outptu"), "supervised", '{"completion": "my_completion"}'),
    ],
)
def test_columns_that_no_format_has(columns, nearest, hint):
    with pytest.raises(DataError) as caught:
        read([dict.fromkeys(columns, "x")])
    text = str(caught.value)
    assert f"columns found: {', '.join(columns)}" in text
    assert f"nearest: {nearest}" in text
    assert f"columns={hint}" in text
    assert all(known.name in text for known in FORMATS)


def test_a_hint_never_maps_a_verdict_onto_a_text():
    for row in (
        {"prompt": "hi", "winner": "model_a", "rejectd": "b"},
        {"prompt": "p", "winner": 1},
        {"item": 1, "preference": "a"},
    ):
        with pytest.raises(DataError) as caught:
            read([row] * 3)
        assert ': "winner"' not in str(caught.value)
        assert ': "preference"' not in str(caught.value)


def test_columns_of_something_else_altogether():
    with pytest.raises(DataError, match=r'none is near(.|\n)*columns=\{"prompt": "my_prompt"'):
        read([{"item": 1, "ironic": 0}])


def test_a_misnamed_prompt_is_not_taken_for_an_implicit_one():
    row = {"promt": "hi", "chosen": "hi yes", "rejected": "hi no"}
    with pytest.raises(
        DataError,
        match=r'no column `prompt`, but there is `promt`(.|\n)*columns={"prompt": "promt"}',
    ):
        read([row])
    assert only(row, columns={"prompt": "promt"}).prompt == "hi"
    assert only(row, format="implicit").prompt == "hi"
    messages = {"chosen": [user("hi"), said("yes")], "rejected": [user("hi"), said("no")]}
    assert only({**messages, "prompt_id": "a1"}).prompt == (user("hi"),)
    for name in ("question", "Instruction", "User Input", "query"):
        assert only({name: "hi", "chosen": "hi yes", "rejected": "hi no"}).prompt == "hi"


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (5, "a number, not text"),
        (None, "the column `prompt` is empty"),
        ([["x"]], "no message"),
        ([], "a list of no messages"),
    ],
)
def test_a_prompt_that_is_no_text_is_not_said_to_be_missing(prompt: object, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        read([{"prompt": prompt, "chosen": "hi yes", "rejected": "hi no"}] * 3)
    assert "no column" not in str(caught.value) and 'columns={"prompt"' not in str(caught.value)


def test_columns_renames_ours_first():
    row = {"q": "hi", "good": "a", "bad": "b", "chosen": "mine"}
    got = only(row, columns={"prompt": "q", "chosen": "good", "rejected": "bad"})
    assert (got.prompt, got.chosen, got.rejected, got.extra) == (
        "hi",
        "a",
        "b",
        {"[chosen]": "mine"},
    )
    with pytest.raises(
        DataError, match="names `nope`, which is not there; columns found: q, good, bad, chosen"
    ):
        read([row], columns={"prompt": "nope"})
    with pytest.raises(
        DataError,
        match=r'write ours first: --columns prompt=q \(in Python: columns=\{"prompt": "q"\}',
    ):
        read([row], columns={"q": "prompt"})


def test_a_format_may_be_asked_for():
    row = {**TEXT, "answer": "a", "label": True}
    assert read([row]).report.format == "preference"
    assert read([row], format="unpaired")[0].desirable is True
    with pytest.raises(
        OptionError, match="no format `preferences`\nhint: did you mean `preference`"
    ):
        read([row], format="preferences")
    with pytest.raises(DataError, match="no format fits"):
        read([TEXT], format="text")


def test_a_misspelled_optional_column_is_carried_along_and_said():
    report = read([{**TEXT, "wieght": 1.0}]).report
    assert "column `wieght` is carried along, not read as `weight`" in report.lines()[-1]


def test_the_page_of_formats_is_up_to_date():
    """If this fails: make docs"""
    written = Path(__file__).parents[2] / "docs" / "reference" / "data-formats.md"
    assert written.read_text(encoding="utf-8") == page()
    assert page().count("\n| `") >= len(FORMATS)


def test_the_nearest_format_knows_a_prompt_by_its_other_names_and_both_ways_to_say_columns():
    with pytest.raises(DataError) as caught:
        read([{"question": "hi", "answers": ["a", "b"], "best": 1}])
    assert "nearest: ranked, for want of `scores`" in str(caught.value)
    assert '--columns scores=my_scores (in Python: columns={"scores": "my_scores"})' in str(
        caught.value
    )
