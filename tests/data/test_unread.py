"""Columns that belong to the prompt are read, and those that nobody reads are sorted."""

import pytest

from holdfast.data import read
from holdfast.errors import DataError


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


PAIR = {"chosen": "Sure, here is how: rinse them.", "rejected": "Sure, here is how: no idea."}
TEXT = {"prompt": "How do I boil apples?", **PAIR}


def rows(n=4, **columns):
    """Rows of `TEXT` with further columns; a function of the row's number makes one that varies."""
    return [
        {
            **TEXT,
            **{name: value(i) if callable(value) else value for name, value in columns.items()},
        }
        for i in range(n)
    ]


def prompt(row, **options):
    (got,) = read([row], **options)
    return got.prompt


# ----------------------------------------------------------------------- what belongs to the prompt

SYSTEM = {"role": "system", "content": "Talk like a pirate."}


@pytest.mark.parametrize("name", ["system", "system_prompt", "System Prompt", "system_message"])
def test_a_system_column_is_the_first_turn(name):
    for asked in (TEXT["prompt"], [user(TEXT["prompt"])], [SYSTEM, user(TEXT["prompt"])]):
        assert prompt({**TEXT, "prompt": asked, name: SYSTEM["content"]}) == (
            SYSTEM,
            user(TEXT["prompt"]),
        )


def test_an_empty_system_column_changes_nothing_in_its_row():
    got = read(rows(4, system=lambda i: SYSTEM["content"] if i % 2 else ""))
    assert [len(row.prompt) if not isinstance(row.prompt, str) else "text" for row in got] == [
        "text",
        2,
        "text",
        2,
    ]


def test_two_system_prompts_in_one_row_are_refused():
    with pytest.raises(
        DataError, match=r"`system` and the prompt's own system turn differ(.|\n)*--columns system="
    ):
        read(
            [
                {
                    **TEXT,
                    "prompt": [{"role": "system", "content": "Be brief."}, user("hi")],
                    "system": SYSTEM["content"],
                }
            ]
        )


def test_system_is_read_with_transcripts_conversations_and_answers_with_labels():
    talk = "\n\nHuman: hi\n\nAssistant: "
    assert (
        prompt({"system": "Be brief.", "chosen": talk + "yes", "rejected": talk + "no"})[0][
            "content"
        ]
        == "Be brief."
    )
    assert (
        prompt({"system": "Be brief.", "messages": [user("hi"), said("yes")]})[0]["content"]
        == "Be brief."
    )
    assert (
        prompt({"system": "Be brief.", "messages": [user("hi"), said("yes")], "label": True})[0][
            "content"
        ]
        == "Be brief."
    )
    assert (
        prompt({"system": "Be brief.", "instruction": "hi", "output": "yes"})[0]["content"]
        == "Be brief."
    )


def test_single_words_are_names_of_systems_and_no_system_prompt():
    with pytest.raises(DataError, match=r"single words such as 'ONLINE-B'(.|\n)*--columns system="):
        read(rows(system=lambda i: ("ONLINE-B", "GPT4")[i % 2]))
    got = read(rows(system="ONLINE-B"), columns={"system": None})
    assert (got[0].prompt, got[0].extra["system"]) == (TEXT["prompt"], "ONLINE-B")


EARLIER = (user("Hi there"), said("Hello"))


@pytest.mark.parametrize(
    "history",
    [
        [["Hi there", "Hello"]],
        ["Hi there", "Hello"],
        [user("Hi there"), said("Hello")],
        [{"from": "human", "value": "Hi there"}, {"from": "gpt", "value": "Hello"}],
        [{"user": "Hi there", "assistant": "Hello"}],
        [{"question": "Hi there", "answer": "Hello"}],
        "\n\nHuman: Hi there\n\nAssistant: Hello",
    ],
)
def test_history_is_the_turns_before(history):
    assert prompt({**TEXT, "history": history}) == (*EARLIER, user(TEXT["prompt"]))
    assert prompt({**TEXT, "history": history, "system": SYSTEM["content"]}) == (
        SYSTEM,
        *EARLIER,
        user(TEXT["prompt"]),
    )


@pytest.mark.parametrize(
    "history", ["we talked before", ["one", "two", "three"], [["a"]], [1, 2], [{"a": 1}]]
)
def test_a_history_that_cannot_be_read_refuses_the_row_with_the_way_out(history):
    with pytest.raises(DataError, match="--columns history="):
        read([{**TEXT, "history": history}])
    assert prompt({**TEXT, "history": history}, columns=["history="]) == TEXT["prompt"]


def test_input_is_joined_to_the_instruction_once():
    row = {"instruction": "Translate.", "output": "oui"}
    assert prompt({**row, "input": "yes"}) == "Translate.\nyes"
    assert prompt({**row, "input": ""}) == prompt(row) == "Translate."
    assert (
        prompt({"prompt": "Translate: yes", "input": "yes", **PAIR}) == "Translate: yes"
    )  # it stands there already
    assert prompt({"question": "Translate.", "input": "yes", **PAIR}) == "Translate.\nyes"


@pytest.mark.parametrize("name", ["messages", "conversations", "dialogue", "history", "context"])
def test_a_conversation_may_be_the_prompt(name):
    assert prompt({name: [user("a"), said("b"), user("c")], **PAIR}) == (
        user("a"),
        said("b"),
        user("c"),
    )
    assert prompt({name: [{"from": "human", "value": "a"}], **PAIR}) == (user("a"),)


def test_a_conversation_that_ends_in_the_chosen_answer_is_the_prompt_up_to_it():
    assert prompt({"messages": [user("a"), said("yes")], "chosen": "yes", "rejected": "no"}) == (
        user("a"),
    )


# ----------------------------------------------------------------------- a prompt that nobody wrote


@pytest.mark.parametrize("name", ["ask", "frage", "request_text", "what"])
def test_no_prompt_is_made_of_a_shared_opening_while_another_column_could_be_it(name):
    asked = [
        {name: f"How do I boil {fruit} at home?", **PAIR} for fruit in ("apples", "pears", "plums")
    ]
    with pytest.raises(
        DataError,
        match=(
            f"column `{name}` is not read, though it could be the prompt(.|\n)*--columns "
            f"prompt={name}"
        ),
    ):
        read(asked)
    assert read(asked, columns={"prompt": name})[0].prompt == "How do I boil apples at home?"
    assert read(asked, columns={name: None})[0].prompt.strip() == "Sure, here is how:"


def test_messages_under_any_name_could_be_the_prompt():
    with pytest.raises(
        DataError, match="column `thread` is not read, though it could be the prompt"
    ):
        read([{"thread": [user("How?")], **PAIR}] * 2)


@pytest.mark.parametrize(
    "column",
    [7, "a1b2", "2024-01-01T00:00:00", "https://example.org/a", True, 0.5, ["x"], None, {"a": 1}],
)
def test_ids_dates_links_and_numbers_are_harmless(column):
    for row in ({**TEXT, "extra_column": column}, {**PAIR, "extra_column": column}):
        assert read([row] * 3).report.notes == ()


def test_categories_and_remarks_are_harmless_beside_a_shared_opening():
    got = read(
        [
            {
                **PAIR,
                "topic": "food and drink at home",
                "kind": "a b c",
                "critique": f"the first is better {i}",
            }
            for i in range(20)
        ]
    )
    assert got.report.format == "implicit"


# --------------------------------------------------------------- what could carry prompt or verdict


@pytest.mark.parametrize(
    ("columns", "says", "hint"),
    [
        (
            {"question": lambda i: f"Another question number {i}"},
            "part of the prompt",
            "--columns input=question",
        ),
        (
            {"context": lambda i: f"The passage {i} says so"},
            "part of the prompt",
            "--columns input=context",
        ),
        (
            {"messages": [user("something else"), said("well")]},
            "part of the prompt",
            "--columns history=messages",
        ),
        (
            {"thread": [user("something else"), said("well")]},
            "it holds messages",
            "--columns history=thread",
        ),
        ({"label": lambda i: i % 2}, "which answer is better", "--columns label="),
        ({"winner": lambda i: "ab"[i % 2]}, "which answer is better", "--columns winner="),
        ({"preference": lambda i: i % 3}, "which answer is better", "--columns preference="),
        (
            {"response": lambda i: f"A third answer, {i}"},
            "could be an answer",
            "--columns response=",
        ),
    ],
)
def test_what_nobody_reads_is_refused_by_its_name(columns, says, hint):
    with pytest.raises(DataError, match=says) as caught:
        read(rows(**columns))
    assert hint in str(caught.value)
    (name,) = columns
    got = read(rows(**columns), columns={name: None})
    assert name in got[0].extra
    got = read(rows(**columns), format="preference")
    assert any(f"column `{name}` is not read" in note for note in got.report.notes)


def test_a_way_out_that_reads_loses_nothing():
    got = read(rows(context="The passage says so"), columns={"input": "context"})
    assert got[0].prompt == f"{TEXT['prompt']}\nThe passage says so"
    got = read(rows(thread=[user("a"), said("b")]), columns={"history": "thread"})
    assert got[0].prompt == (user("a"), said("b"), user(TEXT["prompt"]))


def test_what_stands_in_the_texts_already_is_harmless():
    row = {
        **TEXT,
        "messages": [user(TEXT["prompt"]), said(TEXT["chosen"])],
        "question": TEXT["prompt"],
        "instruction": TEXT["prompt"] + " ",
    }
    assert read([row] * 3).report.notes == ()
    whole = {
        "instruction": "Say hi.",
        "output": "hi",
        "text": "Below is an instruction.\nSay hi.\nResponse: hi",
    }
    assert read([whole] * 3).report.notes == ()


def test_a_column_of_one_value_says_nothing_of_rows():
    assert read(rows(label=1, winner="a")).report.notes == ()


def test_columns_that_fill_late_are_judged_too():
    late = rows(300, context=lambda i: f"The passage {i} says so" if i >= 250 else None)
    with pytest.raises(DataError, match="column `context` is not read"):
        read(late)
    with pytest.raises(DataError, match="column `context` is not read"):
        read(iter(late))


@pytest.mark.parametrize("name", ["score", "rating", "reward", "helpfulness", "overall_rating"])
def test_a_score_beside_a_single_answer_could_be_its_verdict(name):
    single = [{"prompt": "q", "response": f"answer {i}", name: i % 5} for i in range(10)]
    with pytest.raises(DataError, match="how good each answer is"):
        read(single)
    assert len(read(single, columns=[f"{name}="])) == 10
    assert len(read([{"messages": [user("q"), said("a")], name: 5}] * 3)) == 3  # the same for all
    assert len(read(rows(**{name: lambda i: i}))) == 4  # a comparison has its verdict


@pytest.mark.parametrize("name", ["is_safe", "toxic", "passed", "accepted"])
def test_truth_about_a_single_answer_could_be_its_verdict(name):
    with pytest.raises(DataError, match=f"which answers are good(.|\n)*--columns label={name}"):
        read([{"prompt": "q", "response": f"answer {i}", name: bool(i % 2)} for i in range(6)])


def test_names_that_met_do_not_hide_the_texts_that_met():
    met = {
        "model_a": "m",
        "model_b": "n",
        "winner": "m",
        "response_a": "It scatters light in air.",
        "response_b": "Nobody can know it.",
    }
    with pytest.raises(DataError, match="could hold the texts that were compared"):
        read([met] * 3)


def test_a_second_answer_in_a_row_is_not_passed_over():
    row = {"question": "How?", "answer": "it is seventy two", "solution": "one and then two"}
    with pytest.raises(
        DataError,
        match=(
            r"`solution` is not read, though it could be an answer(.|\n)*--columns "
            r"completion=solution"
        ),
    ):
        read([row] * 3)
    with pytest.raises(DataError, match="`rejected` is not read, though it could be an answer"):
        read([{"prompt": "How?", "response": "like this", "rejected": "in no way at all"}] * 3)
    (got,) = read(
        [
            {
                "system": "Be brief.",
                "history": [["a", "b"]],
                "query": "How?",
                "response": "so",
                "rejected_response": "no",
            }
        ]
    )
    assert (len(got.prompt), got.chosen, got.rejected) == (4, "so", "no")


def test_turns_under_another_name_are_not_passed_over():
    with pytest.raises(
        DataError,
        match=r"`before` is not read, though it holds messages(.|\n)*--columns history=before",
    ):
        read(rows(before=[["one two", "three four"]]))


def test_two_formats_that_fit_alike_are_named():
    row = {**TEXT, "response_a": "one two", "response_b": "three four", "winner": "a"}
    with pytest.raises(
        DataError,
        match=r"can be read as two formats(.|\n)*--format preference or --format pairwise",
    ):
        read([row])
    assert read([row], format="pairwise")[0].chosen == "one two"


def test_optional_columns_of_another_type_are_carried_along():
    got = read(rows(source=["a", "b"], strength="much better", rater="ann"))
    assert (got[0].source, got[0].strength, got[0].rater) == (None, None, "ann")
    assert (got[0].extra["source"], got[0].extra["strength"]) == (["a", "b"], "much better")
    assert any("`source` is carried along in 4 rows" in note for note in got.report.notes)


@pytest.mark.parametrize(
    ("columns", "flags"),
    [
        ({"thumbs": ["up", "down"]}, ["label=thumbs"]),
        ({"is_bad": [False, True]}, ["label=is_bad", "false=good,true=bad"]),
        ({"toxic": [0, 1]}, ["label=toxic", "0=good,1=bad"]),
        ({"response_flagged": ["no", "yes"]}, ["label=response_flagged", "no=good,yes=bad"]),
    ],
)
def test_a_hint_that_reads_a_column_as_the_label_never_inverts_it(columns, flags):
    ((name, (good, bad)),) = columns.items()
    single = [
        {"prompt": "q", "response": f"answer {i}", name: (good, bad)[i % 2]} for i in range(6)
    ]
    with pytest.raises(DataError, match="which answers are good") as caught:
        read(single)
    assert "--columns " + " --verdicts ".join(flags) + "," in str(caught.value)
    got = read(single, columns=flags[0], verdicts=flags[1] if flags[1:] else None)
    assert [row.desirable for row in got] == [True, False] * 3


def test_a_rejected_answer_beside_a_single_one_is_not_carried_along():
    single = [
        {"prompt": "q", "completion": f"answer {i}", "rejected": ("no idea", "none")[i % 2]}
        for i in range(12)
    ]
    with pytest.raises(DataError, match="`rejected` is not read, though it could be an answer"):
        read(single)
    assert read(single, columns="chosen=completion")[0].rejected == "no idea"
    assert read(single, columns="rejected=")[0].answer == "answer 0"


@pytest.mark.parametrize("name", ["persona", "passage", "background", "options"])
def test_further_columns_that_could_be_part_of_the_prompt(name):
    with pytest.raises(
        DataError, match=f"column `{name}` is not read, though it could be part of the prompt"
    ):
        read(rows(12, **{name: "You are a pirate."}))


@pytest.mark.parametrize("name", ["tools", "documents", "image", "chat_template_kwargs"])
def test_a_column_left_out_is_not_given_to_the_chat_template(name):
    held = [{"text": "what this holds"}]
    assert read(rows(**{name: held}))[0].extra == {name: held}
    assert read(rows(**{name: held}), columns=f"{name}=")[0].extra == {f"[{name}]": held}


def test_a_name_of_any_length_is_said_shortly():
    name = "c" * 100_000
    (note,) = read(rows(**{name: lambda i: f"some words of row {i}"})).report.notes
    assert len(note) < 200
    with pytest.raises(DataError, match="it holds messages") as caught:
        read(rows(**{name: [user("something else"), said("well")]}))
    assert len(str(caught.value)) < 600


def test_an_empty_prompt_column_is_called_empty():
    with pytest.raises(DataError, match="the column `prompt` is empty in the first 4 rows"):
        read(rows(prompt=""))
