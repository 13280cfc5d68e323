"""Further prompts of a row: revisions and rationales, rendered, tokenized, refused by name."""

from dataclasses import replace

import pytest

from holdfast.card import Card, PairMethod, Paper
from holdfast.data import tokenize
from holdfast.data.examples import to_examples
from holdfast.data.producers import IMPROVE, WHICH, rationale_prompt, revise_prompt
from holdfast.errors import DataError, NeedError
from holdfast.inputs import rationale, reference, revision
from holdfast.reductions import mean
from holdfast.types import Row, Where
from tests.data.tokenizers import CHATML, make_tokenizer


def row(line=1, rationale="{chosen} says more than {rejected}", **parts):
    parts = {"prompt": "ab", "chosen": "cd", "rejected": "e", **parts}
    return Row(
        Where("f", line), **parts, extra={} if rationale is None else {"rationale": rationale}
    )


def decoded(tree, tokenizer):
    return tokenizer.decode(tree.prompt), {
        name: tokenizer.decode(ids) for name, ids in tree.branches.items()
    }


@pytest.fixture(scope="module")
def plain_tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def chat_tokenizer():
    return make_tokenizer(puts_bos=False, bos=None, eos="<|im_end|>", chat=CHATML)


def test_a_revision_in_plain_text_ends_in_the_prompt_itself(plain_tokenizer):
    (item,) = tokenize([row()], plain_tokenizer, needs=(reference, revision)).items
    shown_chosen, shown_rejected = item.others
    assert decoded(shown_chosen, plain_tokenizer) == (
        f"<s>abcd\n\n{IMPROVE}\n\nab",
        {"chosen_given_chosen": "cd</s>", "rejected_given_chosen": "e</s>"},
    )
    assert decoded(shown_rejected, plain_tokenizer) == (
        f"<s>abe\n\n{IMPROVE}\n\nab",
        {"chosen_given_rejected": "cd</s>", "rejected_given_rejected": "e</s>"},
    )
    assert decoded(item, plain_tokenizer) == ("<s>ab", {"chosen": "cd</s>", "rejected": "e</s>"})


def test_a_revision_in_a_chat_is_two_more_turns(chat_tokenizer):
    (item,) = tokenize([row()], chat_tokenizer, needs=(revision,)).items
    text, answers = decoded(item.others[1], chat_tokenizer)
    turns = ("user", "ab"), ("assistant", "e"), ("user", IMPROVE)
    assert (
        text
        == "".join(f"<|im_start|>{role}\n{words}<|im_end|>\n" for role, words in turns)
        + "<|im_start|>assistant\n"
    )
    assert answers == {
        "chosen_given_rejected": "cd<|im_end|>",
        "rejected_given_rejected": "e<|im_end|>",
    }


def test_a_conversation_goes_on(chat_tokenizer, plain_tokenizer):
    talk = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    answer = [{"role": "assistant", "content": "d"}]
    assert revise_prompt(talk, answer, chat=True) == [
        *talk,
        *answer,
        {"role": "user", "content": IMPROVE},
    ]
    assert revise_prompt(talk, "d", chat=False) == [
        *talk,
        *answer,
        {"role": "user", "content": IMPROVE},
    ]
    for tokenizer in (chat_tokenizer, plain_tokenizer):
        (item,) = tokenize([row(prompt=talk)], tokenizer, needs=(revision, rationale)).items
        assert list(item.answers) == [
            *("chosen", "rejected", "chosen_given_chosen", "rejected_given_chosen"),
            *("chosen_given_rejected", "rejected_given_rejected", "rationale"),
        ]
    assert "user: a\n\nassistant: b\n\nuser: c" in rationale_prompt(talk, answer, "e")


def test_a_rationale_quotes_both_answers_in_an_order_that_tells_nothing(plain_tokenizer):
    rows = [row(line=i) for i in range(400)]
    got = tokenize(rows, plain_tokenizer, needs=(rationale,), seed=3)
    chosen_first = 0
    for item in got.items:
        text, answers = decoded(item.others[0], plain_tokenizer)
        first = "The first answer:\ncd\n" in text
        chosen_first += first
        assert text == "<s>" + rationale_prompt(
            "ab", *(("cd", "e") if first else ("e", "cd"))
        ) and text.endswith(f"{WHICH}\n")
        better, worse = ("first", "second") if first else ("second", "first")
        assert answers == {
            "rationale": f"the {better} answer says more than the {worse} answer</s>"
        }
    assert 150 < chosen_first < 250
    again = tokenize(rows, plain_tokenizer, needs=(rationale,), seed=3)
    other = tokenize(rows, plain_tokenizer, needs=(rationale,), seed=4)
    assert again.items == got.items and other.items != got.items


def test_without_the_need_there_are_no_further_trees(plain_tokenizer):
    (item,) = tokenize([row()], plain_tokenizer, needs=(reference,)).items
    assert item.others == ()


def test_the_report_counts_every_tree(plain_tokenizer):
    """The row's own prompt has 3 tokens and its answers 3 and 2; each revision's prompt holds both
    prompts and what is shown.
    """
    report = tokenize([row()], plain_tokenizer, needs=(revision,)).report
    shown = [len(f"ab{answer}\n\n{IMPROVE}\n\nab") + 1 for answer in ("cd", "e")]
    assert report.prompt_tokens == 3 + sum(shown) and report.response_tokens == 3 * (3 + 2)
    assert report.longest == shown[0] + 3


def test_a_tree_that_is_too_long_is_refused_by_the_name_of_its_branch(plain_tokenizer):
    assert len(tokenize([row()], plain_tokenizer, max_tokens=6).items) == 1
    with pytest.raises(
        DataError, match="field `chosen_given_chosen`: prompt and answer are too long"
    ):
        tokenize([row()], plain_tokenizer, needs=(revision,), max_tokens=6)


def test_a_rationale_may_hold_no_special_token(plain_tokenizer):
    with pytest.raises(DataError, match="field `rationale`: `rationale` holds a special token"):
        tokenize([row(rationale="so</s>")], plain_tokenizer, needs=(rationale,))


@pytest.mark.parametrize("lacking", [None, "", "  ", 3])
def test_rows_without_a_rationale_are_refused_by_name(lacking):
    method = PairMethod(
        lambda pairs: None, mean(), Card("s", Paper("t", "a", 2024), "e", "sum", needs=(rationale,))
    )
    with pytest.raises(
        NeedError, match="1 of 2 rows have none, first f:2\nhint: add a `rationale` column"
    ) as caught:
        to_examples([row(), row(line=2, rationale=lacking)], method)
    assert caught.value.need == "rationale"
    revising = replace(method, card=replace(method.card, needs=(revision,)))
    assert len(to_examples([row(rationale=None)], revising)) == 1
