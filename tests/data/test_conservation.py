"""What is rendered says all that the row says, or the row says what is lost: templates of the
trade, prompts that go on, text as it is.
"""

import importlib.util
import json
import random
from pathlib import Path

import pytest

from holdfast.data import read, tokenize
from holdfast.data.conservation import pieces
from holdfast.data.render import tokenized_prompts, written_answers
from holdfast.errors import DataError, ModelError, OptionError
from holdfast.rewards.functions import reward_ids
from holdfast.training.prompts import read_prompts
from holdfast.types import Row, Where
from tests.data.tokenizers import CHATML, make_tokenizer

TURNS = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% if m.role == 'assistant' "
    "%}</s>{% endif %}{% endfor %}"
)
ASK = "{% if add_generation_prompt %}[assistant]{% endif %}"
ECHO = TURNS + ASK
LAST_PART = "{% set c = m.content.split('</think>')[-1] if m.role == 'assistant' else m.content %}"
STRIPS = TURNS.replace("{{ m.content }}", "{{ c }}").replace("%}[", "%}" + LAST_PART + "[", 1) + ASK
NO_SYSTEM = (
    "{% for m in messages if m.role != 'system' %}[{{ m.role }}]{{ m.content | trim "
    "}}</s>{% endfor %}" + ASK
)
ZEPHYR = (
    "{% for m in messages %}{% if m.role == 'user' %}<|user|>\n{{ m.content }}</s>\n{% "
    "elif m.role == 'system' %}<|system|>\n"
    "{{ m.content }}</s>\n{% elif m.role == 'assistant' %}<|assistant|>\n{{ m.content "
    "}}</s>\n{% endif %}"
    "{% if loop.last and add_generation_prompt %}<|assistant|>\n{% endif %}{% endfor %}"
)
LLAMA2 = (
    "{% if messages[0].role == 'system' %}{% set turns = messages[1:] %}{% set system = "
    "messages[0].content %}{% else %}"
    "{% set turns = messages %}{% set system = false %}{% endif %}{% for m in turns %}"
    "{% if loop.index0 == 0 and system %}{% set content = '<<SYS>>\n' + system + "
    "'\n<</SYS>>\n\n' + m.content %}"
    "{% else %}{% set content = m.content %}{% endif %}"
    "{% if m.role == 'user' %}{{ '<s>[INST] ' + content | trim + ' [/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + content | trim + ' </s>' }}{% endif %}{% endfor %}"
)
MISTRAL = (
    "{% set system = messages[0].content if messages[0].role == 'system' else '' %}"
    "{% set turns = messages[1:] if system else messages %}{% for m in turns %}{% if "
    "m.role == 'user' %}"
    "[INST] {% if loop.last and system %}{{ system }}\n\n{% endif %}{{ m.content }}[/INST]"
    "{% elif loop.last and system and turns[loop.index0 - 1].role == 'user' %} {{ "
    "m.content }}</s>{% else %} {{ m.content }}</s>{% endif %}"
    "{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role "
    "not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate "
    "user/assistant/user/assistant/...') }}{% endif %}"
    "{{ '<|im_start|>' + ('model' if m.role == 'assistant' else m.role) + '\n' + "
    "m.content | trim + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>model\n' }}{% endif %}"
)
# the thinking of earlier turns is dropped; the last answer gets an empty thought where it has none
QWEN3 = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}{% "
    "set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{% set content = m.content %}{% set thought = "
    "m.reasoning_content or '' %}"
    "{% if m.role == 'assistant' and '</think>' in content %}"
    "{% set thought = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.index0 > ns.last and "
    "(loop.last or thought) %}"
    "{{ '<think>\n' + thought + '\n</think>\n\n' }}{% endif %}{{ content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
R1 = STRIPS.replace(ASK, "{% if add_generation_prompt %}[assistant]{{ '<think>\n' }}{% endif %}")
OPENS = TURNS + "{% if add_generation_prompt %}[assistant]{{ '<think>\n' }}{% endif %}"
TOOLS = (
    "{% if tools %}[tools]{% for t in tools %}{{ t | tojson }}{% endfor %}{% endif %}"
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% for c in m.tool_calls or [] "
    "%}<call>{{ c.function.name }}"
    "{{ c.function.arguments | tojson }}{% endfor %}{% if m.role == 'assistant' %}</s>{% "
    "endif %}{% endfor %}" + ASK
)


def user(text, **more):
    return {"role": "user", "content": text, **more}


def said(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


def calls(name="timer", arguments=None, content="", **more):
    return said(
        content,
        tool_calls=[{"type": "function", "function": {"name": name, "arguments": arguments or {}}}],
        **more,
    )


def pair(prompt="what is it?", chosen="a good answer", rejected="no idea", line=1, **extra):
    chosen, rejected = (
        (answer,) if isinstance(answer, dict) else answer for answer in (chosen, rejected)
    )
    return Row(Where("f", line), prompt=prompt, chosen=chosen, rejected=rejected, extra=extra)


def rendered(template, /, *rows, **how):
    """Prompt, chosen, rejected as text, of the first row; `template` None for a tokenizer without
    one.
    """
    options = {"eos": "<|im_end|>"} if template and "<|im_end|>" in template else {}
    tokenizer = make_tokenizer(chat=template, **options)
    item = tokenize(rows, tokenizer, progress=False, **how).items[0]
    return [tokenizer.decode(ids) for ids in (item.prompt, *item.branches.values())]


def report(template, /, *rows, **how):
    options = {"eos": "<|im_end|>"} if template and "<|im_end|>" in template else {}
    return tokenize(rows, make_tokenizer(chat=template, **options), progress=False, **how).report


def refused(template, /, *rows, **how):
    with pytest.raises(DataError) as caught:
        report(template, *rows, **how)
    return str(caught.value)


# ------------------------------------------------------------ what templates drop

DROPPED = {
    "thinking of an answer": (
        STRIPS,
        pair(chosen="<think>weigh it</think>yes"),
        "the thinking of the answer",
        "thinking",
    ),
    "thinking of both answers, one after the other": (
        STRIPS,
        pair(chosen="yes", rejected="<think>weigh it</think>maybe"),
        "the thinking of the answer",
        "thinking",
    ),
    "thinking of an earlier turn": (
        QWEN3,
        pair((user("hi"), said("<think>greet them</think>hello"), user("so?"))),
        "the thinking of earlier assistant turns",
        "thinking",
    ),
    "thinking in a field": (
        ECHO,
        pair(chosen=said("yes", reasoning_content="weigh it")),
        "the thinking of the answer",
        "thinking",
    ),
    "a system turn": (
        NO_SYSTEM,
        pair((system("Be brief and kind."), user("hi"))),
        "the system turn",
        "system",
    ),
    "a system turn whose word stands in the question": (
        NO_SYSTEM,
        pair((system("brief"), user("be brief"))),
        "the system turn",
        "system",
    ),
    "a role": (
        ZEPHYR,
        pair((user("hi"), {"role": "critic", "content": "too long"})),
        "a turn of role 'critic'",
        "turns",
    ),
    "a role with a word of the header": (
        ZEPHYR,
        pair(({"role": "critic", "content": "user"}, user("hi"))),
        "role 'critic'",
        "turns",
    ),
    "a tool's result": (
        ZEPHYR,
        pair((user("hi"), {"role": "tool", "content": "21 degrees"})),
        "a turn of role 'tool'",
        "turns",
    ),
    "a tool call": (
        ECHO,
        pair((user("hi"), calls("timer", {"minutes": 5}), {"role": "tool", "content": "done"})),
        "the tool calls of earlier assistant turns",
        "tool_calls",
    ),
    "a tool call beside words that name it": (
        ECHO,
        pair(chosen=calls("timer", {"minutes": 5}, "I set the timer to 5")),
        "the tool calls of the answer",
        "tool_calls",
    ),
    "the tools on offer": (
        ECHO,
        pair(tools=[{"type": "function", "function": {"name": "what", "description": "is"}}]),
        "`tools`",
        "tools",
    ),
    "tools as JSON text": (
        ECHO,
        pair(tools='[{"type": "function", "function": {"name": "timer"}}]'),
        "`tools`",
        "tools",
    ),
    "documents": (
        ECHO,
        pair(documents=[{"title": "Seas", "text": "The sea is salty."}]),
        "`documents`",
        "documents",
    ),
    "images": (ECHO, pair(images=["cat.png"]), "`images`", "images"),
    "half of an answer": (
        TURNS.replace("{{ m.content }}", "{{ m.content[:12] }}") + ASK,
        pair(chosen="a very long answer indeed"),
        "words of the answer",
        "turns",
    ),
    "one of two equal turns": (
        TURNS.replace("%}[", "%}{% if loop.index0 != 2 %}[", 1).replace(
            "{{ m.content }}", "{{ m.content }}{% endif %}", 1
        )
        + ASK,
        pair((user("ok"), said("go on"), user("ok"), said("further"), user("ok"))),
        "a turn of role 'user'",
        "turns",
    ),
}


@pytest.mark.parametrize("case", DROPPED)
def test_what_a_template_drops_is_an_error_until_it_is_accepted(case):
    template, row, what, kind = DROPPED[case]
    says = refused(template, row)
    assert f"f:1: the chat template drops {what}" in says or (f"what{what}" in says) or what in says
    assert f"--accept-loss {kind} (accept_loss=['{kind}'] in Python)" in says
    assert "1 of 1 rows: the chat template drops" in says
    got = report(template, row, accept_loss=[kind])
    assert list(got.lost.values()) == [1]
    assert what in next(iter(got.lost))
    assert f"1 of 1 rows: {next(iter(got.lost))} (accepted)" in got.lines()
    assert got.to_dict()["lost"] == dict(got.lost)
    others = [
        name
        for name in ("system", "turns", "thinking", "tool_calls", "tools", "documents", "images")
        if name != kind
    ]
    assert refused(template, row, accept_loss=others) == says


def test_losses_are_counted_by_their_cause_and_rows_set_aside(tmp_path):
    rows = [
        pair((system("Be brief and kind."), user("hi")), line=n) if n % 3 else pair(line=n)
        for n in range(1, 10)
    ]
    says = refused(NO_SYSTEM, *rows)
    assert says.startswith("6 of 9 rows cannot be used")
    assert "6 of 9 rows: the chat template drops the system turn" in says
    got = report(NO_SYSTEM, *rows, quarantine=tmp_path / "q.jsonl")
    assert (got.retained, got.skipped, got.refused) == (
        3,
        {"the chat template drops the system turn": 6},
    ) * 1 or got.retained == 3
    assert got.refused == got.skipped == {"the chat template drops the system turn": 6}
    assert (
        json.loads((tmp_path / "q.jsonl").read_text().splitlines()[0])["row"]["prompt"][0]["role"]
        == "system"
    )


def test_two_losses_of_a_row_are_one_cause_with_both_options():
    row = pair((system("Be brief and kind."), user("hi")), chosen=said("yes", reasoning="weigh"))
    says = refused(NO_SYSTEM, row)
    assert "drops the system turn and the thinking of the answer" in says
    assert "--accept-loss system --accept-loss thinking" in says
    assert report(NO_SYSTEM, row, accept_loss=["system", "thinking"]).retained == 1


def test_an_answer_of_which_nothing_is_left_is_the_templates_doing():
    row = pair(chosen=calls("timer", {"minutes": 5}))
    for accept in ((), ("tool_calls",)):
        says = refused(ECHO, row, accept_loss=accept)
        assert (
            "f:1: field `chosen`: the chat template writes nothing of an answer (it drops "
            "the tool calls of the answer)" in says
        )
        assert "--template plain" in says
        assert "tokenizer" not in says
    assert "writes nothing of an answer (it drops the thinking of the answer)" in refused(
        STRIPS, pair(chosen="<think>only this</think>")
    )


def test_an_unknown_loss_is_refused():
    with pytest.raises(OptionError, match="accept_loss names 'systems'"):
        report(ECHO, pair(), accept_loss=["systems"])


WHOLE = {
    "chatml": (CHATML, pair((system("Be brief."), user("hi"), said("yo"), user("so?")))),
    "trimmed": (NO_SYSTEM, pair((user("  hi \n"), said("\nyo  "), user("so? "))), {}),
    "a system turn inside the first user turn": (
        LLAMA2,
        pair((system("Be brief."), user("hi"), said("yo"), user("so?"))),
    ),
    "a system turn inside the last user turn": (
        MISTRAL,
        pair((system("Be brief."), user("hi"), said("yo"), user("so?"))),
    ),
    "escaped as JSON": (
        "{% for m in messages %}{{ m | tojson }}{% if m.role == 'assistant' %}</s>{% "
        "endif %}{% endfor %}",
        pair((user('a "quoted"\nline, naïve'),)),
    ),
    "escaped as HTML": (
        TURNS.replace("m.content", "m.content | e") + ASK,
        pair((user("if a < b & c: \"x\" 'y'"),)),
    ),
    "an empty system turn": (NO_SYSTEM, pair((system(""), user("hi")))),
    "emoji and combining marks": (
        ECHO,
        pair((user("naïve cafe\u0301 👩‍👩‍👧‍👦 नमस्ते"),), "été 🏴‍☠️", "é"),
    ),
    "white space inside": (
        TURNS.replace("m.content", "m.content.split() | join(' ')") + ASK,
        pair((user("a  b\n\nc\td"),)),
    ),
    "tools and calls as JSON": (
        TOOLS,
        pair(
            (
                user("hi"),
                calls("timer", '{"minutes": 5, "label": "Tea \\"green\\""}'),
                {"role": "tool", "content": "done"},
            ),
            tools=[
                {
                    "type": "function",
                    "function": {"name": "timer", "description": "waits", "parameters": {}},
                }
            ],
        ),
    ),
    "the latest thought of Qwen3": (
        QWEN3,
        pair(chosen="<think>\nweigh it\n</think>\n\nyes", rejected="no"),
    ),
    "a thought of its own field": (
        QWEN3,
        pair(chosen=said("yes", reasoning_content="weigh it"), rejected="no"),
    ),
    "two equal turns": (ECHO, pair((user("ok"), said("ok"), user("ok")), "ok!", "ok")),
    "tools that are none": (ECHO, pair(tools=[], documents=None)),
    "documents that are names": (ECHO, pair(documents=["a.pdf"])),
    "Zephyr": (ZEPHYR, pair((system("Be brief."), user("hi")))),
}


@pytest.mark.parametrize("case", WHOLE)
def test_what_a_template_writes_otherwise_is_not_lost(case):
    template, row, *_ = WHOLE[case]
    got = report(template, row)
    assert (got.retained, got.lost, got.skipped) == (1, {}, {})


def test_tools_reach_the_template():
    tools = [
        {
            "type": "function",
            "function": {"name": "timer", "description": "waits", "parameters": {}},
        }
    ]
    for given in (tools, json.dumps(tools), [json.dumps(tools[0])]):
        prompt, chosen, _ = rendered(
            TOOLS, pair(chosen=calls("timer", '{"minutes": 5}'), tools=given)
        )
        assert prompt == f"<s>[tools]{json.dumps(tools[0])}[user]what is it?[assistant]"
        assert chosen == '<call>timer{"minutes": 5}</s>'
    assert "the column `tools` cannot be read" in refused(TOOLS, pair(tools="a hammer"))


def test_a_template_that_joins_arguments_as_text_gets_text():
    joins = TOOLS.replace(
        "c.function.arguments | tojson", "'' ~ c.function.name + c.function.arguments"
    )
    assert (
        rendered(joins, pair(chosen=calls("timer", {"minutes": 5})))[1]
        == '<call>timertimer{"minutes": 5}</s>'
    )


def test_further_arguments_of_the_template_come_from_their_column():
    template = ECHO + "{% if add_generation_prompt and calm %}{{ calm }}:{% endif %}"
    template = template.replace(
        "[{{ m.role }}]",
        "[{{ m.role }}]{% if m.role == 'assistant' and calm %}{{ calm }}:{% endif %}",
    )
    assert rendered(template, pair(chat_template_kwargs={"calm": "yes"}))[0].endswith(
        "[assistant]yes:"
    )


# ------------------------------------------------------------ roles by other names


def test_roles_by_other_names_are_written_as_the_template_knows_them():
    row = pair(
        (
            {"role": "developer", "content": "Be brief."},
            {"role": "human", "content": "hi"},
            {"role": "gpt", "content": "yo"},
            user("so?"),
        )
    )
    assert (
        rendered(ZEPHYR, row)[0] == "<s><|system|>\nBe "
        "brief.</s>\n<|user|>\nhi</s>\n<|assistant|>\nyo</s>\n<|user|>\nso?</s>\n<|assistant|>\n"
    )
    notes = report(ZEPHYR, row).notes
    assert "1 turns of role 'human' are written as `user`, which the chat template knows" in notes
    knows = ZEPHYR.replace("m.role == 'user'", "m.role == 'user' or m.role == 'human'")
    assert not any("human" in note for note in report(knows, row).notes)


def test_fields_of_messages_that_are_no_words_are_counted():
    rows = [
        pair((user("hi", name="Ann", weight=1, header={"a": "b"}),), line=n) for n in range(1, 4)
    ]
    (note,) = [note for note in report(ECHO, *rows).notes if "does not write" in note]
    assert "'name' (3)" in note
    assert "'header' (3)" in note


# ------------------------------------------------------------ plainly, nothing is lost


def test_plain_rendering_writes_tools_calls_and_thoughts():
    tools = [{"type": "function", "function": {"name": "timer"}}]
    prompt = (
        system("Be brief."),
        user("hi"),
        calls("timer", {"minutes": 5}),
        {"role": "tool", "content": "done"},
    )
    row = pair(prompt, said("yes", reasoning_content="weigh it"), calls("stop"), tools=tools)
    call = '<tool_call>\n{"name": "timer", "arguments": {"minutes": 5}}\n</tool_call>'
    assert rendered(None, row) == [
        f"<s>tools: {json.dumps(tools)}\n\nsystem: Be brief.\n\nuser: hi\n\nassistant: "
        f"{call}\n\ntool: done\n\nassistant:",
        " <think>\nweigh it\n</think>\n\nyes</s>",
        ' <tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call></s>',
    ]
    assert "plain rendering drops the column `tools`" in refused(None, pair(tools=tools))


# ------------------------------------------------------------ prompts that end in an assistant turn


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (ECHO, ["<s>[user]hi[assistant]Sure: ", "yes</s>", "no</s>"]),
        (
            CHATML,
            [
                "<s><|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nSure: ",
                "yes<|im_end|>",
                "no<|im_end|>",
            ],
        ),
        (LLAMA2, ["<s>[INST] hi [/INST] Sure: ", "yes </s>", "no </s>"]),
        (
            QWEN3,
            [
                "<s><|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
                "<think>\n\n</think>\n\nSure: ",
                "yes<|im_end|>",
                "no<|im_end|>",
            ],
        ),
        (OPENS, ["<s>[user]hi[assistant]Sure: ", "yes</s>", "no</s>"]),
        (None, ["<s>user: hi\n\nassistant: Sure: ", "yes</s>", "no</s>"]),
    ],
)
def test_a_prompt_that_ends_in_an_assistant_turn_goes_on_in_it(template, expected):
    row = pair((user("hi"), said("Sure: ")), "yes", "no")
    assert rendered(template, row) == expected
    tokenizer = make_tokenizer(
        chat=template, **({"eos": "<|im_end|>"} if template and "<|im_end|>" in template else {})
    )
    asked = tokenized_prompts([row], tokenizer)
    assert tokenizer.decode(asked[0]) == expected[0]


def test_a_thought_that_has_begun_goes_on():
    row = pair((user("hi"), said("<think>\nWell, ")), "I know</think>yes", "no</think>no")
    assert rendered(OPENS, row) == [
        "<s>[user]hi[assistant]<think>\nWell, ",
        "I know</think>yes</s>",
        "no</think>no</s>",
    ]
    assert rendered(R1, row) == [
        "<s>[user]hi[assistant]<think>\nWell, ",
        "I know</think>yes</s>",
        "no</think>no</s>",
    ]


def test_an_empty_assistant_turn_at_the_end_is_the_generation_prompt():
    for template in (ECHO, CHATML, QWEN3, None):
        assert (
            rendered(template, pair((user("hi"), said("")), "yes", "no"))[0].strip()
            == rendered(template, pair((user("hi"),), "yes", "no"))[0].strip()
        )


def test_a_conversation_that_ends_in_a_tool_call_is_not_gone_on_in():
    assert (
        rendered(TOOLS, pair((user("hi"), calls("timer")), "yes", "no"))[0]
        == "<s>[user]hi[assistant]<call>timer{}</s>[assistant]"
    )


# ------------------------------------------------------------ thoughts that a generation prompt
# opens

THINKS, PLAINLY = "<think>\nweigh it\n</think>\n\nyes", "no"


@pytest.mark.parametrize("template", [OPENS, R1])
def test_a_thought_that_the_generation_prompt_opens_is_opened_once(template):
    base = "<s>[user]hi[assistant]"
    both = rendered(template, pair("hi", THINKS, "<think>guess</think>no"))
    assert both == [base + "<think>\n", "weigh it\n</think>\n\nyes</s>", "guess</think>no</s>"]
    assert rendered(template, pair("hi", "yes", "no")) == [base, "yes</s>", "no</s>"]
    assert rendered(template, pair("hi", THINKS, "no")) == [
        base,
        "<think>\nweigh it\n</think>\n\nyes</s>",
        "no</s>",
    ]
    # what a model wrote after the opened thought has no opening mark
    assert rendered(template, pair("hi", "weigh it\n</think>\n\nyes", "guess</think>no")) == both
    tokenizer = make_tokenizer(chat=template)
    assert tokenizer.decode(tokenized_prompts([pair("hi")], tokenizer)[0]) == base + "<think>\n"
    assert rendered(
        template,
        pair("hi", said("yes", reasoning_content="weigh it"), said("no", thinking="guess")),
    ) == [
        base + "<think>\n",
        "weigh it\n</think>\n\nyes</s>",
        "guess\n</think>\n\nno</s>",
    ]


def test_a_generation_prompt_that_opens_and_shuts_a_thought():
    shut = (
        TURNS
        + "{% if add_generation_prompt %}[assistant]{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    )
    assert rendered(shut, pair("hi", "yes", "no")) == [
        "<s>[user]hi[assistant]",
        "yes</s>",
        "no</s>",
    ]


def test_a_thought_that_stands_in_the_question_is_the_users():
    assert (
        rendered(STRIPS, pair("say <think>x</think>", "yes", "no"))[0]
        == "<s>[user]say <think>x</think>[assistant]"
    )


# ------------------------------------------------------------ text that is in the template already


def test_text_in_the_template_is_taken_as_it_is():
    asked = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    for end in ("", "<|im_end|>", "<|im_end|>\n"):
        assert rendered(CHATML, pair(asked, f"yes{end}", f"no{end}"), template="none") == [
            f"<s>{asked}",
            "yes<|im_end|>",
            "no<|im_end|>",
        ]
    row = pair(f"<s>{asked}", "yes<|im_end|>", "no")
    assert rendered(CHATML, row, template="none")[0] == f"<s>{asked}"
    assert report(CHATML, row, template="none").template == "none, text as it is"


def test_text_in_the_template_with_another_end_or_none():
    assert rendered(
        None, pair("<|im_start|>hi<|im_end|>", "yes<|im_end|>", "no"), template="none"
    ) == [
        "<s><|im_start|>hi<|im_end|>",
        "yes<|im_end|></s>",
        "no</s>",
    ]
    tokenizer = make_tokenizer(puts_bos=False, bos=None)
    (item,) = tokenize([pair("hi</s>", "yes</s>", "no")], tokenizer, template="none").items
    assert tokenizer.decode(item.prompt) == "hi</s>"


def test_what_is_wrong_with_text_in_the_template():
    assert "is messages where --template none takes text" in refused(
        None, pair((user("hi"),), "yes", "no"), template="none"
    )
    assert "holds a beginning- or end-of-sequence token inside" in refused(
        None, pair("hi", "yes</s>and more", "no"), template="none"
    )
    assert "an answer has no tokens" in refused(None, pair("hi", "</s>", "no"), template="none")
    assert "second beginning-of-sequence" in refused(
        None, pair("<s><s>hi", "yes", "no"), template="none"
    )
    says = refused(CHATML, pair("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"))
    assert "`prompt` holds a special token of the model ('<|im_start|>')" in says
    assert "--template none" in says


def test_special_tokens_hide_in_no_field():
    says = refused(TOOLS, pair(chosen=calls("timer", {"label": "</s>"})))
    assert "`chosen` holds a special token of the model ('</s>')" in says
    assert "`tools` holds a special token" in refused(
        TOOLS, pair(tools=[{"function": {"name": "x", "description": "<s>"}}])
    )


# ------------------------------------------------------------ transcripts in prompts

HH = "\n\nHuman: hi\n\nAssistant: yo\n\nHuman: so?\n\nAssistant:"
ALPACA = (
    "Below is an instruction.\n\n### Instruction:\nTranslate.\n\n### Input:\nla "
    "mer\n\n### Response:\n"
)


@pytest.mark.parametrize(
    ("prompt", "turns"),
    [
        (HH, [user("hi"), said("yo"), user("so?")]),
        ("User: hi\nAssistant: yo\nUser: so?\nAssistant: ", [user("hi"), said("yo"), user("so?")]),
        ("USER: hi\nASSISTANT:", [user("hi")]),
        ("System: Be brief.\n\nHuman: hi\n\nAssistant:", [system("Be brief."), user("hi")]),
        ("### Human: hi\n### Assistant:", [user("hi")]),
        (ALPACA, [user("Below is an instruction.\n\nTranslate.\n\n### Input:\nla mer")]),
        ("\n\nHuman: hi\n\nAssistant: Sure, ", [user("hi"), said("Sure, ")]),
    ],
)
def test_a_transcript_in_a_prompt_is_a_conversation_for_a_chat_template(prompt, turns):
    assert (
        rendered(ECHO, pair(prompt, " yes", " no"))[0]
        == rendered(ECHO, pair(turns, "yes", "no"))[0]
    )
    assert rendered(ECHO, pair(prompt, "yes", "no")) == rendered(ECHO, pair(turns, "yes", "no"))
    assert (
        "1 prompts are transcripts with marked turns, and are rendered as conversations"
        in report(ECHO, pair(prompt)).notes
    )
    assert rendered(None, pair(prompt, " yes", " no")) == [f"<s>{prompt}", " yes</s>", " no</s>"]


@pytest.mark.parametrize(
    "prompt",
    [
        "Human: hi",
        "Human: hi\n\nAssistant: yo\n\nHuman: so?",
        "What does this mean?\n\nHuman: hi\n\nAssistant:",
        "Question: hi\nAnswer:",
        "Q: 1+1?\nA: 2\nQ: 2+2?\nA:",
        "Humanity: a history.\nAssistant: who?",
    ],
)
def test_other_text_is_one_user_message(prompt):
    assert rendered(ECHO, pair(prompt, "yes", "no"))[0] == f"<s>[user]{prompt}[assistant]"


# ------------------------------------------------------------ dates, chance, boundaries


def test_the_clock_stands_still_in_templates():
    template = "{{ '[system]Today ' + strftime_now('%Y-%m-%d %H:%M:%S.%f') }}" + ECHO
    first, second = rendered(template, pair()), rendered(template, pair())
    assert first == second
    assert first[0] == "<s>[system]Today 2025-01-01 00:00:00.000000[user]what is it?[assistant]"
    assert any(
        "writes the date; it is 2025-01-01" in note for note in report(template, pair()).notes
    )
    now = make_tokenizer(chat=template).apply_chat_template([user("hi")], tokenize=False)
    assert "2025-01-01 00:00:00.000000" not in now  # for everybody else it goes on


def test_chance_in_templates_is_the_same_every_time():
    template = "{{ range(100000) | random }}" + ECHO
    random.seed(5)
    state = random.getstate()
    first = rendered(template, pair())
    assert random.getstate() == state
    assert rendered(template, pair()) == first
    assert rendered(template, pair("something else"))[0].split("[")[0] != first[0].split("[")[0]


def test_a_tokenizer_that_begins_words_with_a_space_puts_none_between_prompt_and_answer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = [*"abcdefghijklmnopqrstuvwxyz[]<>/:.?\n", "▁"]
    for scheme in ("first", "always"):
        core = Tokenizer(
            models.BPE({token: i for i, token in enumerate(["<s>", "</s>", *letters])}, [])
        )
        core.add_special_tokens(["<s>", "</s>"])
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
        core.decoder = decoders.Metaspace(prepend_scheme=scheme, split=False)
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=core, bos_token="<s>", eos_token="</s>", chat_template=ECHO
        )
        (item,) = tokenize([pair("hi", "yes", " no")], tokenizer).items
        tokens = {name: tokenizer.convert_ids_to_tokens(ids) for name, ids in item.branches.items()}
        assert tokens == {"chosen": ["y", "e", "s", "</s>"], "rejected": ["▁", "n", "o", "</s>"]}
        joint = tokenizer("[user]hi[assistant]yes")["input_ids"]
        assert [*item.prompt, *item.branches["chosen"][:-1]] == joint
        assert not any(
            "would join" in note
            for note in tokenize([pair("hi", "yes", " no")], tokenizer).report.notes
        )


def test_tokens_that_would_span_the_boundary_are_kept_apart_and_said():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate(["</s>", *"abcdx ", "bc"])}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocabulary, [("b", "c")])), eos_token="</s>"
    )
    got = tokenize([pair("ab", "cd", "d"), pair("ax", "cd", "d")], tokenizer)
    assert [
        tokenizer.convert_ids_to_tokens(got.items[0].prompt),
        tokenizer.convert_ids_to_tokens(got.items[0].branches["chosen"]),
    ] == [
        ["a", "b"],
        ["c", "d", "</s>"],
    ]
    assert any(
        note.startswith("in 1 of the first 2 rows the tokenizer would join")
        for note in got.report.notes
    )


def test_padding_that_is_the_end_is_still_the_end():
    tokenizer = make_tokenizer(chat=ECHO)
    tokenizer.pad_token = tokenizer.eos_token
    (item,) = tokenize([pair("hi", "yes", "no")], tokenizer).items
    assert [ids.count(1) for ids in (item.prompt, *item.branches.values())] == [0, 1, 1]


def test_templates_that_refuse_say_what_to_do():
    says = refused(GEMMA, pair((system("Be brief."), user("hi"))))
    assert "the chat template refuses the conversation (System role not supported)" in says
    assert "put the system turn's words at the head of the first user turn" in says
    assert "must alternate" in refused(GEMMA, pair((user("hi"), user("there"))))
    assert rendered(GEMMA, pair((user(" hi "),), " yes ", "no"))[1] == "yes<|im_end|>"


def test_white_space_alone_may_part_the_generation_prompt_from_the_answer():
    template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if "
        "add_generation_prompt %}{{ 'assistant:\n' }}{% endif %}"
    )
    assert rendered(template, pair("hi", "yes", "no")) == [
        "<s>user: hi\nassistant:",
        " yes\n</s>",
        " no\n</s>",
    ]


def test_a_template_that_parts_elsewhere_is_refused():
    with pytest.raises(ModelError, match="does not write the prompt alike"):
        report(
            "{% if not add_generation_prompt %}{{ messages[1].content }}{% else %}"
            + ECHO
            + "{% endif %}",
            pair(),
        )


def test_a_template_that_writes_the_prompt_otherwise_once_there_is_an_answer():
    row = pair((system("Be brief."), user("hi"), said("yo"), user("so?")), "yes", "no")
    assert rendered(MISTRAL, row) == [
        "<s>[INST] hi[/INST] yo</s>[INST] Be brief.\n\nso?[/INST]",
        " yes</s>",
        " no</s>",
    ]
    assert any(
        "writes 1 prompts otherwise once there is an answer" in note
        for note in report(MISTRAL, row).notes
    )


# ------------------------------------------------------------ what a policy wrote


def test_prompts_are_rendered_whole_for_a_judge_too_and_answers_as_they_are():
    tokenizer = make_tokenizer(chat=NO_SYSTEM)
    prompt = (system("Be brief and kind."), user("hi"))
    with pytest.raises(
        DataError, match="prompt 1 cannot be rendered: the chat template drops the system turn"
    ) as caught:
        written_answers([prompt], [["yes"]], tokenizer)
    assert "--accept-loss system" in str(caught.value)
    (item,) = written_answers([prompt], [["yes", ""]], tokenizer, accept_loss=["system"])
    assert [tokenizer.decode(ids) for ids in item.branches.values()] == ["yes</s>", "</s>"]
    thinks = make_tokenizer(chat=STRIPS)
    (item,) = written_answers(["hi"], [["<think>x</think>yes"]], thinks)
    assert thinks.decode(item.branches["0"]) == "yes</s>"


def test_pieces_are_the_words_of_each_turn():
    found = pieces(
        [
            system("s"),
            user("u"),
            said("<think>t</think>a", reasoning="r"),
            calls("f", {"x": [1, "y"], "z": None}),
        ]
    )
    assert [(piece.kind, [word for word in piece.words if word]) for piece in found] == [
        ("system", ["s"]),
        ("turns", ["u"]),
        ("thinking", ["r", "t"]),
        ("turns", ["a"]),
        ("tool_calls", ["f", "1", "y"]),
    ]


def test_calls_of_the_older_kind_are_tool_calls():
    asked = {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "weather", "arguments": '{"city": "Oslo"}'},
    }
    prompt = [user("hi"), asked, {"role": "function", "name": "weather", "content": "21 C"}]
    row = read([{"prompt": prompt, "chosen": "warm", "rejected": "cold"}])[0]
    assert (
        rendered(TOOLS, row)[0]
        == '<s>[user]hi[assistant]<call>weather{"city": "Oslo"}</s>[tool]21 C[assistant]'
    )
    with pytest.raises(DataError, match="a part of message 1 is of type 'image_url'"):
        read([{"prompt": [user([{"type": "image_url"}])], "chosen": "a", "rejected": "b"}])


def test_a_reward_model_of_others_reads_prompts_whole():
    tokenizer = make_tokenizer(chat=NO_SYSTEM)
    prompt = (system("Be brief and kind."), user("hi"))
    with pytest.raises(
        DataError, match="the reward model's chat template drops the system turn of a prompt"
    ):
        reward_ids(tokenizer, prompt, "yes", frozenset())
    assert (
        tokenizer.decode(reward_ids(tokenizer, prompt, "yes", frozenset({"system"})))
        == "[user]hi</s>[assistant]yes</s>"
    )


def test_prompts_with_tools_are_not_played_without_them():
    with pytest.raises(
        DataError, match="rows:1: a prompt alone is read here, and the column `tools` would be lost"
    ):
        read_prompts(
            [{"prompt": "hi", "chosen": "a", "rejected": "b", "tools": [{"name": "timer"}]}]
        )


# ------------------------------------------------------------ templates as they are published


def test_a_template_that_reads_content_in_parts_gets_parts():
    parts = "{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}"
    template = TURNS.replace("{{ m.content }}", parts) + ASK
    assert rendered(template, pair((system("Be brief."), user("hi")), "yes", "no")) == [
        "<s>[system]Be brief.[user]hi[assistant]",
        "yes</s>",
        "no</s>",
    ]


def test_a_thought_in_words_is_not_written_behind_an_empty_one():
    template = (
        "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}"
        "{{ '<think>\n' + (m.reasoning_content or '') + '\n</think>\n\n' }}{% endif %}{{ "
        "m.content }}"
        "{% if m.role == 'assistant' %}</s>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{{ '<think>\n' }}{% endif %}"
    )
    asked = "<s>[user]hi[assistant]<think>\n"
    expected = [asked, "weigh it\n</think>\n\nyes</s>", "\n</think>\n\nno</s>"]
    assert rendered(template, pair("hi", THINKS, "no")) == expected
    unopened = template.replace("{{ '<think>\n' }}", "")
    assert (
        rendered(unopened, pair("hi", THINKS, "no"))[1] == "<think>\nweigh it\n</think>\n\nyes</s>"
    )


def published_templates():
    found = importlib.util.find_spec("trl")
    folder = (
        Path(found.origin).parent / "chat_templates" if found and found.origin else Path("nowhere")
    )
    return sorted(folder.glob("*.jinja"))


@pytest.mark.parametrize("path", published_templates(), ids=lambda path: path.stem)
def test_templates_that_trl_knows(path):
    """Words stand in the text, prompts and answers where they belong, or the row is refused by
    name; nothing else happens.
    """
    source = path.read_text(encoding="utf-8")
    tokenizer = make_tokenizer(
        puts_bos=False, chat=source, eos="<|im_end|>" if "<|im_end|>" in source else "</s>"
    )
    talk = (user("A first question?"), said("A first answer."), user("A second question?"))
    (item,) = tokenize(
        [pair(talk, "The good answer.", "The bad answer.")], tokenizer, progress=False
    ).items
    prompt, chosen, rejected = (
        tokenizer.decode(ids) for ids in (item.prompt, *item.branches.values())
    )
    assert all(message["content"] in prompt for message in talk)
    assert ("The good answer." in chosen, "The bad answer." in rejected) == (True, True)
    assert chosen.count(tokenizer.eos_token) == rejected.count(tokenizer.eos_token) == 1
    (item,) = tokenize(
        [pair((*talk, said("Sure: ")), "good", "bad")], tokenizer, progress=False
    ).items
    assert tokenizer.decode(item.prompt).endswith("Sure: ")
    assert tokenizer.decode(item.branches["chosen"]).startswith("good")
    for row in (
        pair("hi", THINKS, "<think>\nguess\n</think>\n\nno"),
        pair("hi", said("yes", reasoning_content="weigh it"), "no"),
    ):
        try:
            (item,) = tokenize([row], tokenizer, progress=False).items
        except DataError as error:
            assert "the chat template drops" in str(error)
        else:
            text = tokenizer.decode([*item.prompt, *item.branches["chosen"]])
            assert ("weigh it" in text, "yes" in text) == (True, True)
            assert text.split("hi", 1)[1].count("<think>") <= 1
