"""Rendering and tokenizing: boundaries exactly once, prompts shared exactly, nothing dropped."""

import json

import pytest

from holdfast.data import read, tokenize
from holdfast.errors import DataError, ModelError, NeedError, OptionError
from holdfast.inputs import label, mismatched
from holdfast.types import Row, Where
from tests.data.tokenizers import CHATML, WITH_BOS, make_tokenizer

BOS, EOS = 0, 1


@pytest.fixture(scope="module")
def plain_tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def chat_tokenizer():
    return make_tokenizer(puts_bos=False, bos=None, eos="<|im_end|>", chat=CHATML)


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


def row(line=1, **parts):
    return Row(Where("f", line), **parts)


def pair(prompt="ab", chosen="cd", rejected="e", line=1):
    return row(line, prompt=prompt, chosen=chosen, rejected=rejected)


def texts(item, tokenizer):
    return [tokenizer.decode(ids) for ids in (item.prompt, *item.branches.values())]


# ------------------------------------------------------------------------------------------------
# plainly


def test_plain_text_stands_as_written_with_each_boundary_once(plain_tokenizer):
    got = tokenize([pair()], plain_tokenizer)
    (item,) = got.items
    assert texts(item, plain_tokenizer) == ["<s>ab", "cd</s>", "e</s>"]
    assert (len(item.prompt), len(item.branches["chosen"]), len(item.branches["rejected"])) == (
        3,
        3,
        2,
    )
    report = got.report
    assert (report.template, report.read, report.retained, report.items) == ("plain", 1, 1, 1)
    assert (report.prompt_tokens, report.response_tokens, report.longest) == (3, 5, 6)


def test_a_tokenizer_that_puts_no_beginning_gets_none():
    for tokenizer in (make_tokenizer(puts_bos=False), make_tokenizer(puts_bos=False, bos=None)):
        assert texts(tokenize([pair()], tokenizer).items[0], tokenizer) == ["ab", "cd</s>", "e</s>"]


def test_messages_without_a_chat_template_are_written_as_turns(plain_tokenizer):
    (item,) = tokenize([pair(prompt=(user("hi"), said("yo"), user("so?")))], plain_tokenizer).items
    assert texts(item, plain_tokenizer) == [
        "<s>user: hi\n\nassistant: yo\n\nuser: so?\n\nassistant:",
        " cd</s>",
        " e</s>",
    ]


def test_single_answers_have_one_branch(plain_tokenizer):
    (item,) = tokenize([row(prompt="ab", answer="c", desirable=False)], plain_tokenizer).items
    assert list(item.branches) == ["answer"]
    assert texts(item, plain_tokenizer) == ["<s>ab", "c</s>"]


# ------------------------------------------------------------------------------------------------
# chat templates


def test_the_chat_template_is_cut_after_the_end_of_sequence(chat_tokenizer):
    got = tokenize([pair()], chat_tokenizer)
    prompt = "<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n"
    assert texts(got.items[0], chat_tokenizer) == [prompt, "cd<|im_end|>", "e<|im_end|>"]
    assert (got.report.template, got.report.cut_after_end) == ("chat template", 2)


def test_a_string_prompt_is_one_user_message(chat_tokenizer):
    as_text, as_messages = tokenize([pair(), pair(prompt=(user("ab"),))], chat_tokenizer).items
    assert (as_text.prompt, as_text.branches) == (as_messages.prompt, as_messages.branches)


def test_a_template_that_writes_no_end_gets_one_and_its_beginning_is_not_doubled():
    tokenizer = make_tokenizer(chat=WITH_BOS)
    (item,) = tokenize([pair()], tokenizer).items
    assert texts(item, tokenizer) == ["<s>[user]ab[assistant]", "cd</s>", "e</s>"]
    without = make_tokenizer(chat=WITH_BOS.replace("{{ bos_token }}", ""))
    assert texts(tokenize([pair()], without).items[0], without)[0] == "<s>[user]ab[assistant]"


HEADERS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}<|im_end|>{{ m.content | trim "
    "}}</s>{% endfor %}"
)
FAMILIES = {
    "bos, headers, end of turn is the end": (
        "{{ bos_token }}"
        + HEADERS
        + "{% if add_generation_prompt %}<|im_start|>assistant<|im_end|>{% endif %}",
        ["<s><|im_start|>user<|im_end|>ab</s><|im_start|>assistant<|im_end|>", "cd</s>", "e</s>"],
    ),
    "end of turn is another token, and a line break": (
        "{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}",
        ["<s>user:ab<|im_end|>\nassistant:", "cd<|im_end|>\n</s>", "e<|im_end|>\n</s>"],
    ),
    "no generation prompt": (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ "
        "m.content }} [/INST]{% else %} "
        "{{ m.content }}{{ eos_token }}"
        "{% endif %}{% endfor %}",
        ["<s>[INST] ab [/INST]", " cd</s>", " e</s>"],
    ),
    "beginning on every turn": (
        "{% for m in messages %}<s>{{ m.role }}:{{ m.content }}</s>{% endfor %}{% if "
        "add_generation_prompt %}<s>assistant:{% endif %}",
        ["<s>user:ab</s><s>assistant:", "cd</s>", "e</s>"],
    ),
    "an empty thought before the answer": (
        "{{ bos_token }}{% for m in messages %}{{ m.role }}:{% if loop.last and m.role == "
        "'assistant' %}<think></think>{% endif %}"
        "{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}",
        ["<s>user:ab</s>assistant:", "<think></think>cd</s>", "<think></think>e</s>"],
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_families_of_chat_templates(family):
    template, expected = FAMILIES[family]
    tokenizer = make_tokenizer(chat=template)
    assert texts(tokenize([pair()], tokenizer).items[0], tokenizer) == expected


def test_a_template_that_doubles_the_beginning_is_refused():
    with pytest.raises(
        DataError,
        match="f:1: field `prompt`: the prompt holds a second beginning-of-sequence token",
    ):
        tokenize([pair()], make_tokenizer(chat="{{ bos_token }}" + WITH_BOS))


def test_pairs_messages_and_transcripts_give_the_same_tokens(chat_tokenizer, plain_tokenizer):
    turns = [user("a?"), said("b"), user("c?")]
    written = "\n\nHuman: a?\n\nAssistant: b\n\nHuman: c?\n\nAssistant: "
    sources = [
        {"prompt": turns, "chosen": "yes", "rejected": "no"},
        {"prompt": turns, "chosen": [said("yes")], "rejected": [said("no")]},
        {"chosen": [*turns, said("yes")], "rejected": [*turns, said("no")]},
        {"chosen": written + "yes", "rejected": written + "no"},
    ]
    for tokenizer in (chat_tokenizer, plain_tokenizer):
        items = [tokenize(read([source]), tokenizer).items[0] for source in sources]
        assert all(
            (item.prompt, item.branches) == (items[0].prompt, items[0].branches) for item in items
        )


def test_a_template_whose_prompt_is_no_beginning_of_the_whole():
    fickle = (
        "{% if add_generation_prompt %}ask {{ messages[-1].content }}{% else %}{{ messages | "
        "map(attribute='role') | join }}{% endif %}"
    )
    with pytest.raises(
        ModelError, match="f:1: the chat template does not write the prompt alike"
    ) as caught:
        tokenize([pair()], make_tokenizer(chat=fickle))
    assert 'hint: template="plain"' in str(caught.value)
    assert (
        tokenize([pair()], make_tokenizer(chat=fickle), template="plain").report.template == "plain"
    )


def test_a_conversation_that_the_template_refuses_is_a_bad_row(tmp_path):
    refuse = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system turns') }}{% endif %}"
    )
    strict = refuse + "{{ messages | map(attribute='content') | join }}"
    rows = [pair(), pair(prompt=({"role": "system", "content": "s"}, user("u")), line=2)]
    with pytest.raises(
        DataError,
        match=(
            r"f:2: field `prompt`: the chat template refuses the conversation \(no system "
            r"turns\)"
        ),
    ):
        tokenize(rows, make_tokenizer(chat=strict))
    assert (
        len(tokenize(rows, make_tokenizer(chat=strict), quarantine=tmp_path / "q.jsonl").items) == 1
    )


def test_a_template_may_be_named(plain_tokenizer, chat_tokenizer):
    assert texts(tokenize([pair()], chat_tokenizer, template="plain").items[0], chat_tokenizer) == [
        "ab",
        "cd<|im_end|>",
        "e<|im_end|>",
    ]
    with pytest.raises(ModelError, match="no chat template"):
        tokenize([pair()], plain_tokenizer, template="chat")
    with pytest.raises(
        OptionError, match="no template `chatml`\nhint: known are auto, chat, plain"
    ):
        tokenize([pair()], plain_tokenizer, template="chatml")


# ------------------------------------------------------------------------------------------------
# bad rows


def test_a_tokenizer_without_an_end():
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        tokenize([pair()], make_tokenizer(eos=None))


@pytest.mark.parametrize("field", ["prompt", "chosen", "rejected"])
@pytest.mark.parametrize("marker", ["<s>", "</s>", "<|im_end|>"])
def test_special_tokens_in_the_text_are_refused(plain_tokenizer, field, marker):
    with pytest.raises(
        DataError, match=rf"f:1: field `{field}`: `{field}` holds a special token of the model"
    ) as caught:
        tokenize([pair(**{field: f"x{marker}y"})], plain_tokenizer)
    assert repr(marker) in str(caught.value)


def test_over_long_rows_are_refused_not_cut(plain_tokenizer, tmp_path):
    fits, long_prompt, long_answer = (
        pair(line=1),
        pair(prompt="x" * 9, line=2),
        pair(rejected="x" * 9, line=3),
    )
    options = {"max_tokens": 6, "max_prompt_tokens": 5}
    with pytest.raises(DataError) as caught:
        tokenize([fits, long_prompt, long_answer], plain_tokenizer, **options)
    assert "f:2: field `prompt`: the prompt is too long (10 tokens, max_prompt_tokens 5)" in str(
        caught.value
    )
    assert (
        "f:3: field `rejected`: prompt and answer are too long (3 tokens of prompt and 10 "
        "of answer, max_tokens 6)" in str(caught.value)
    )
    got = tokenize(
        [fits, long_prompt, long_answer],
        plain_tokenizer,
        **options,
        quarantine=tmp_path / "q.jsonl",
    )
    assert (got.rows, [item.row for item in got.items]) == ([fits], [0])
    assert got.report.skipped == {
        "the prompt is too long": 1,
        "prompt and answer are too long": 1,
    }
    assert got.report.read == got.report.retained + 2
    entry = json.loads((tmp_path / "q.jsonl").read_text().splitlines()[1])
    assert (entry["line"], entry["stage"], entry["row"]["rejected"]) == (3, "tokenize", "x" * 9)
    assert len(tokenize([fits], plain_tokenizer, max_tokens=6)) == 1
    with pytest.raises(DataError, match="no row is left"):
        tokenize([fits], plain_tokenizer, max_tokens=5, quarantine=tmp_path / "q.jsonl")


def test_parts_tokenized_apart_share_a_quarantine(plain_tokenizer, tmp_path):
    rows = [pair(line=i, prompt="x" * (1 + 9 * (i % 2))) for i in range(6)]
    for part in (rows[:3], rows[3:], rows[:3]):
        tokenize(part, plain_tokenizer, max_tokens=6, quarantine=tmp_path / "q.jsonl")
    assert [
        json.loads(line)["line"] for line in (tmp_path / "q.jsonl").read_text().splitlines()
    ] == [3, 5, 1]


def test_answers_that_the_tokenizer_cannot_tell_apart():
    from tokenizers.normalizers import Lowercase

    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.normalizer = Lowercase()
    with pytest.raises(DataError, match="`chosen` and `rejected` are the same tokens"):
        tokenize([pair(chosen="A", rejected="a")], tokenizer)


def test_an_answer_of_no_tokens():
    from tokenizers.normalizers import Replace

    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.normalizer = Replace("x", "")
    with pytest.raises(DataError, match="f:1: field `rejected`: an answer has no tokens"):
        tokenize([pair(rejected="xx")], tokenizer)


def test_an_empty_prompt_holds_the_beginning_or_the_end():
    for options, start in (
        ({}, BOS),
        ({"puts_bos": False}, BOS),
        ({"puts_bos": False, "bos": None}, EOS),
    ):
        (item,) = tokenize([pair(prompt="")], make_tokenizer(**options)).items
        assert item.prompt == [start]


def test_options_that_contradict(plain_tokenizer, tmp_path):
    for options, says in (
        ({"on_bad": "quarantine"}, "names no file"),
        ({"on_bad": "error", "quarantine": tmp_path / "q.jsonl"}, "does not read quarantine"),
        ({"on_bad": "ignore"}, "on_bad is 'ignore'"),
        ({"max_tokens": 1}, "max_tokens is 1"),
    ):
        with pytest.raises(OptionError, match=says):
            tokenize([pair()], plain_tokenizer, **options)
    with pytest.raises(DataError, match="no rows to tokenize"):
        tokenize([], plain_tokenizer)
    with pytest.raises(DataError, match="mixed"):
        tokenize([pair(), row(prompt="a", answer="b")], plain_tokenizer)


# ------------------------------------------------------------------------------------------------
# documents


def test_a_long_document_is_cut_into_windows_that_leave_nothing_out(
    plain_tokenizer, chat_tokenizer
):
    book, note = row(line=1, answer="abcdefghij"), row(line=2, answer="xy")
    got = tokenize([book, note], plain_tokenizer, max_tokens=5)
    assert [texts(item, plain_tokenizer) for item in got.items] == [
        ["<s>", "abcd"],
        ["<s>", "efgh"],
        ["<s>", "ij</s>"],
        ["<s>", "xy</s>"],
    ]
    assert got.rows == [book, book, book, note]
    assert [item.row for item in got.items] == [0, 0, 0, 1]
    assert (
        got.report.documents_cut,
        got.report.windows,
        got.report.retained,
        got.report.items,
    ) == (
        1,
        3,
        2,
        4,
    )
    assert "1 documents were cut into 3 windows; nothing was left out" in got.report.lines()
    # with a chat template a document stays a document; and a tokenizer without BOS begins it with
    # EOS
    assert texts(tokenize([note], chat_tokenizer).items[0], chat_tokenizer) == [
        "<|im_end|>",
        "xy<|im_end|>",
    ]


@pytest.mark.parametrize("length", range(1, 9))
def test_windows_put_together_are_the_document(plain_tokenizer, length):
    text = "abcdefgh"[:length]
    items = tokenize([row(answer=text)], plain_tokenizer, max_tokens=3).items
    ids = [token for item in items for token in item.branches["answer"]]
    assert plain_tokenizer.decode(ids) == text + "</s>"
    assert ids.count(EOS) == 1
    assert all(
        len(item.prompt) + len(item.branches["answer"]) <= 3 and item.branches["answer"]
        for item in items
    )


# ------------------------------------------------------------------------------------------------
# at scale, and as batch


def test_batches_give_what_single_rows_give(plain_tokenizer):
    rows = [
        pair(prompt=f"p{i}", chosen="c" * (i % 7 + 1), rejected="r" * (i % 5 + 1), line=i + 1)
        for i in range(1500)
    ]
    together = tokenize(rows, plain_tokenizer, progress=False)
    for i in (0, 1023, 1024, 1499):
        alone = tokenize([rows[i]], plain_tokenizer).items[0]
        assert (together.items[i].prompt, together.items[i].branches) == (
            alone.prompt,
            alone.branches,
        )
        assert together.rows[i] is rows[i]
    assert [item.row for item in together.items] == list(range(1500))


def test_unknown_tokens_are_counted():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"</s>": 0, "<unk>": 1, "a": 2, "b": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>", unk_token="<unk>")
    report = tokenize([pair(prompt="a what b", chosen="a", rejected="b b who")], tokenizer).report
    assert report.unknown_tokens == 2
    assert "2 tokens are unknown to the tokenizer" in report.lines()


def test_mismatched_answers_come_from_other_prompts(plain_tokenizer, tmp_path):
    rows = [row(line=i, prompt=f"p{i % 3}", answer=f"a{i}", desirable=True) for i in range(9)]
    got = tokenize(rows, plain_tokenizer, needs=(label, mismatched), seed=3)
    own = {tuple(item.branches["answer"]): tuple(item.prompt) for item in got.items}
    for item in got.items:
        assert list(item.branches) == ["answer", "mismatched"]
        assert own[tuple(item.branches["mismatched"])] != tuple(item.prompt)
    assert sorted(item.branches["mismatched"] for item in got.items) == sorted(
        item.branches["answer"] for item in got.items
    )
    again = tokenize(rows, plain_tokenizer, needs=(mismatched,), seed=3)
    assert (
        got.items
        == again.items
        != tokenize(rows, plain_tokenizer, needs=(mismatched,), seed=4).items
    )
    with pytest.raises(NeedError, match="every row has the same prompt"):
        tokenize(rows[::3], plain_tokenizer, needs=(mismatched,))


def test_mismatched_answers_that_do_not_fit_are_drawn_again_or_refused(plain_tokenizer):
    rows = [
        row(1, prompt="pppp", answer="a"),
        row(2, prompt="q", answer="bbbb"),
        row(3, prompt="r", answer="c"),
    ]
    rows = [Row(r.where, r.prompt, answer=r.answer, desirable=True) for r in rows]
    for seed in range(10):
        first = tokenize(rows, plain_tokenizer, needs=(mismatched,), max_tokens=7, seed=seed).items[
            0
        ]
        assert plain_tokenizer.decode(first.branches["mismatched"]) == "c</s>"
    with pytest.raises(
        DataError, match="f:1: field `prompt`: no other row's answer fits beside the prompt"
    ):
        tokenize(rows[:2], plain_tokenizer, needs=(mismatched,), max_tokens=7)
