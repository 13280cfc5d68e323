"""The table of formats: what each is called, its columns, how a row of it is read, and an example.

A new format is one entry of `FORMATS`: its name, its columns in words, `fits` (which columns play
which role, or None), the parser, and an example row with what it gives. Examples are tested and
printed in docs/reference/data-formats.md. Verdict columns whose code is documented by whoever
published the format have it in `code`; all others are judged by their values
(`holdfast.data.verdicts`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.data import layouts, matches, parsers
from holdfast.data.columns import (
    ANSWER,
    ANSWERS,
    CODED,
    CONVERSATIONS,
    LABELS,
    LIST,
    MESSAGES,
    OBJECT,
    OBJECTS,
    ORDERS,
    PAIRS,
    SAID,
    SCORED,
    TEXT,
    TEXTS,
    Kinds,
    Roles,
    name_sides,
    prompt_extras,
    prompted,
    text_sides,
    verdict_roles,
)  # fmt: skip
from holdfast.data.parsers import Form, Parsed
from holdfast.data.verdicts import Code, Tally, graded, signed, spelled

Fits = Callable[[Kinds], dict[str, str] | None]
PAIR, MATCH, SINGLE, DOCUMENT = range(
    4
)  # tiers: of two formats that fit, the one that says more about the row is taken


@dataclass(frozen=True, eq=False)
class Format:
    """One way of writing rows. `fits` gives the columns by their role in a row, or None; `notes`
    what is worth saying of such columns.
    """

    name: str
    tier: int
    says: str
    fits: Fits
    parse: Callable[[Mapping[str, Any], Roles, Form], Parsed]
    example: Mapping[str, Any]
    gives: Mapping[str, Any] = field(default_factory=dict)  # fields of the example's first row
    code: Callable[[str, Tally], Code | None] | None = (
        None  # where what a verdict means is documented
    )
    needs: tuple[str, ...] = (
        "prompt",
        "chosen",
        "rejected",
    )  # what a row must have, for complaints
    notes: Callable[[Kinds], str | None] = lambda kinds: None
    plain: bool = (
        False  # `needs` are columns by their own names, so that others can be mapped onto them
    )
    asked: bool = False  # read only where it is asked for by name


# -------------------------------------------------------------------- which columns play which role


def _without(kinds: Kinds, *names: str) -> Kinds:
    return {name: kind for name, kind in kinds.items() if name not in names}


def _pair(kinds: Kinds, of: tuple[str, ...] = SAID) -> dict[str, str] | None:
    pair = next(
        (pair for pair in PAIRS if kinds.get(pair[0]) in of and kinds.get(pair[1]) in of), None
    )
    return {"chosen": pair[0], "rejected": pair[1]} if pair else None


def preference(kinds: Kinds) -> dict[str, str] | None:
    pair = _pair(kinds)
    asked = prompted(_without(kinds, *pair.values())) if pair else None
    return {**asked, **pair} if pair and asked else None


def implicit(kinds: Kinds) -> dict[str, str] | None:
    pair = _pair(kinds) if "prompt" not in kinds else None
    extras = prompt_extras(kinds, "") if pair else {}
    return (
        {**pair, **({"system": extras["system"]} if "system" in extras else {})} if pair else None
    )


def several(kinds: Kinds) -> dict[str, str] | None:
    pair, asked = _pair(kinds, (TEXTS,)), prompted(kinds)
    return {**asked, **pair} if pair and asked else None


def last_turn(kinds: Kinds) -> dict[str, str] | None:
    talk = conversation(kinds)
    rejected = next(
        (name for name in ("rejected_response", "rejected_messages") if kinds.get(name) in SAID),
        None,
    )
    return {**talk, "rejected": rejected} if talk and rejected and not _pair(kinds) else None


def two_answers(kinds: Kinds) -> dict[str, str] | None:
    asked = prompted(kinds)
    sides = text_sides(_without(kinds, *asked.values())) if asked else None
    return (
        {**asked, **_compared(kinds, sides.first, sides.second, asked.values())}
        if asked and sides
        else None
    )


def _compared(kinds: Kinds, first: str, second: str, asked: Any = ()) -> dict[str, str]:
    names = name_sides(_without(kinds, first, second))
    met = {"first_name": names.first, "second_name": names.second} if names else {}
    verdict = verdict_roles(kinds, {first, second, *asked, *met.values()})
    return {"first": first, "second": second, **met, **(verdict or {})}


def decided(fits: Fits) -> Fits:
    """Only where some column says who won."""

    def roles(kinds: Kinds) -> dict[str, str] | None:
        found = fits(kinds)
        return (
            found
            if found and {"verdict", "first_won", "directed", "first_score"} & found.keys()
            else None
        )

    return roles


def conversations(kinds: Kinds) -> dict[str, str] | None:
    talks = {name: kind for name, kind in kinds.items() if kind == MESSAGES}
    sides = text_sides(talks)
    return _compared(kinds, sides.first, sides.second) if sides else None


def ranked(kinds: Kinds) -> dict[str, str] | None:
    asked = prompted(kinds)
    if asked is None:
        return None
    for name in ANSWERS:
        order = next((order for order in ORDERS if kinds.get(order) in (LIST, TEXTS)), None)
        if kinds.get(name) == SCORED:
            return {**asked, "answers": name}
        if order and kinds.get(name) in (TEXTS, LIST, MESSAGES, OBJECTS):
            return {**asked, "answers": name, "order": order}
    return None


def conversation(kinds: Kinds) -> dict[str, str] | None:
    name = next((name for name in CONVERSATIONS if kinds.get(name) == MESSAGES), None)
    if name is None:
        return None
    extras = prompt_extras(kinds, name)
    return {"messages": name, **({"system": extras["system"]} if "system" in extras else {})}


def supervised(kinds: Kinds) -> dict[str, str] | None:
    asked = prompted(kinds)
    answer = next((name for name in ANSWER if kinds.get(name) in SAID), None)
    return {**asked, "answer": answer} if asked and answer else None


def unpaired(kinds: Kinds) -> dict[str, str] | None:
    label = next((name for name in LABELS if kinds.get(name) in CODED), None)
    found = supervised(kinds) or conversation(kinds)
    return {**found, "label": label} if found and label else None


def document(kinds: Kinds) -> dict[str, str] | None:
    return {"text": "text"} if kinds.get("text") == TEXT else None


def having(fits: Fits, *columns: str, **roles: str | tuple[str, ...]) -> Fits:
    """The same roles, only where these columns are there too and these roles are played by these
    columns.
    """

    def narrower(kinds: Kinds) -> dict[str, str] | None:
        if not all(name in kinds for name in columns):
            return None
        found = fits(kinds)
        if found is None or any(
            found.get(role) not in ((name,) if isinstance(name, str) else name)
            for role, name in roles.items()
        ):
            return None
        return found

    return narrower


def of_kind(fits: Fits, **kinds_of_roles: str) -> Fits:
    """The same roles, only where the columns that play them hold these kinds."""

    def narrower(kinds: Kinds) -> dict[str, str] | None:
        found = fits(kinds)
        return (
            found
            if found and all(kinds[found[role]] == kind for role, kind in kinds_of_roles.items())
            else None
        )

    return narrower


def exactly(**kinds_of_columns: str) -> Fits:
    """Columns by their own names, of these kinds."""

    def roles(kinds: Kinds) -> dict[str, str] | None:
        there = all(kinds.get(name) == kind for name, kind in kinds_of_columns.items())
        return {name: name for name in kinds_of_columns} if there else None

    return roles


# ---------------------------------------------------------------------------------------- the table


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


ASKED = ({"role": "user", "content": "Why?"},)
YES_NO = {"prompt": "Why?", "chosen": "Since.", "rejected": "No."}
TALK = {**YES_NO, "prompt": ASKED}
CHOOSE = ("a column that says who won",)


def _pku_notes(kinds: Kinds) -> str | None:
    if "safer_response_id" not in kinds:
        return None
    return (
        "`better_response_id` (helpfulness) says who won; --columns "
        "better_response_id=safer_response_id reads which answer is "
        "safer instead. Rows whose answers are both unsafe are read too: "
        "is_response_0_safe and is_response_1_safe are carried along"
    )


FORMATS: tuple[Format, ...] = (
    # ------------------------------------------------------------ a prompt, the chosen and the
    # rejected answer
    Format(
        "orca",
        PAIR,
        "system, question, chosen, rejected",
        having(preference, prompt="question", system=("system", "system_prompt")),
        parsers.preference,
        {"system": "Be brief.", "question": "Why?", "chosen": "Since.", "rejected": "No."},
        {**YES_NO, "prompt": ({"role": "system", "content": "Be brief."}, *ASKED)},
    ),
    Format(
        "alpaca_preference",
        PAIR,
        "instruction, input, chosen, rejected (LLaMA-Factory); system and history where "
        "they are there",
        having(preference, prompt="instruction"),
        parsers.preference,
        {"instruction": "Answer.", "input": "Why?", "chosen": "Since.", "rejected": "No."},
        {**YES_NO, "prompt": "Answer.\nWhy?"},
    ),
    Format(
        "llama_factory",
        PAIR,
        "conversations (from, value) up to the user's turn, chosen and rejected as one "
        "such turn each",
        having(preference, prompt="conversations"),
        parsers.preference,
        {
            "conversations": [{"from": "human", "value": "Why?"}],
            "chosen": {"from": "gpt", "value": "Since."},
            "rejected": {"from": "gpt", "value": "No."},
        },
        TALK,
    ),
    Format(
        "oumi",
        PAIR,
        "messages up to the user's turn, chosen and rejected",
        having(preference, prompt="messages"),
        parsers.preference,
        {"messages": [_user("Why?")], "chosen": [_said("Since.")], "rejected": [_said("No.")]},
        TALK,
    ),
    Format(
        "rewardbench",
        PAIR,
        "prompt, chosen, rejected, chosen_model, rejected_model, subset",
        having(preference, "chosen_model", "rejected_model", "subset"),
        parsers.preference,
        {
            "prompt": "Why?",
            "chosen": "Since.",
            "chosen_model": "m",
            "rejected": "No.",
            "rejected_model": "n",
            "subset": "alpacaeval-easy",
            "id": 3,
        },
        YES_NO,
    ),
    Format(
        "ultrafeedback_binarized",
        PAIR,
        "prompt, and chosen and rejected as whole conversations",
        having(
            of_kind(preference, prompt=TEXT, chosen=MESSAGES, rejected=MESSAGES),
            "score_chosen",
            "score_rejected",
        ),
        parsers.preference,
        {
            "prompt": "Why?",
            "prompt_id": "1",
            "chosen": [_user("Why?"), _said("Since.")],
            "rejected": [_user("Why?"), _said("No.")],
            "messages": [_user("Why?"), _said("Since.")],
            "score_chosen": 8.5,
            "score_rejected": 3.0,
        },
        TALK,
    ),
    Format(
        "preference",
        PAIR,
        "prompt, chosen, rejected (text or message lists)",
        preference,
        parsers.preference,
        {"prompt": "Why?", "chosen": "Since.", "rejected": "No."},
        YES_NO,
        plain=True,
    ),
    Format(
        "rewardbench2",
        PAIR,
        "prompt, and lists of texts as chosen and rejected: each chosen one against each "
        "rejected one",
        several,
        parsers.several,
        {
            "id": "1",
            "prompt": "Why?",
            "chosen": ["Since."],
            "rejected": ["No.", "Never.", "Not."],
            "num_correct": 1,
            "subset": "Focus",
        },
        YES_NO,
    ),
    Format(
        "ms_swift",
        PAIR,
        "messages that end in the chosen answer, rejected_response or rejected_messages",
        last_turn,
        parsers.against_last_turn,
        {"messages": [_user("Why?"), _said("Since.")], "rejected_response": "No."},
        TALK,
        needs=("messages", "rejected_response"),
    ),
    Format(
        "openai_preference",
        PAIR,
        "input (an object with messages), preferred_output, non_preferred_output",
        exactly(input=OBJECT, preferred_output=MESSAGES, non_preferred_output=MESSAGES),
        layouts.openai_preference,
        {
            "input": {"messages": [_user("Why?")]},
            "preferred_output": [_said("Since.")],
            "non_preferred_output": [_said("No.")],
        },
        TALK,
        needs=("input", "preferred_output", "non_preferred_output"),
    ),
    Format(
        "implicit",
        PAIR,
        "chosen, rejected: two transcripts that share a beginning",
        implicit,
        parsers.implicit,
        {
            "chosen": "\n\nHuman: Why?\n\nAssistant: Since.",
            "rejected": "\n\nHuman: Why?\n\nAssistant: No.",
        },
        TALK,
        needs=("chosen", "rejected"),
        plain=True,
    ),
    # ------------------------------------------------------------ two answers and a verdict
    Format(
        "pku_saferlhf",
        PAIR,
        "prompt, response_0, response_1, better_response_id (0 or 1)",
        having(
            two_answers,
            first="response_0",
            second="response_1",
            verdict=("better_response_id", "safer_response_id"),
        ),
        parsers.two_answers,
        {
            "prompt": "Why?",
            "response_0": "No.",
            "response_1": "Since.",
            "is_response_0_safe": True,
            "is_response_1_safe": True,
            "better_response_id": 1,
            "safer_response_id": 0,
        },
        YES_NO,
        code=spelled("as published", {0.0: "first", 1.0: "second"}),
        notes=_pku_notes,
    ),
    Format(
        "helpsteer2",
        PAIR,
        "prompt, response_1, response_2, preference_strength (-3: the first is much better, to 3)",
        having(two_answers, first="response_1", verdict="preference_strength"),
        parsers.two_answers,
        {"prompt": "Why?", "response_1": "Since.", "response_2": "No.", "preference_strength": -2},
        {**YES_NO, "strength": 2.0},
        code=signed,
    ),
    Format(
        "helpsteer3",
        PAIR,
        "context (messages), response1, response2, overall_preference (-3: the first is "
        "much better, to 3)",
        having(two_answers, first="response1", verdict="overall_preference"),
        parsers.two_answers,
        {
            "domain": "general",
            "language": "english",
            "context": [_user("Why?")],
            "response1": "Since.",
            "response2": "No.",
            "overall_preference": -1,
        },
        {**TALK, "strength": 1.0},
        code=signed,
    ),
    Format(
        "shp",
        PAIR,
        "history, human_ref_A, human_ref_B, labels (1: A is preferred, 0: B); score_ratio "
        "is the strength",
        having(two_answers, first="human_ref_A", second="human_ref_B", verdict="labels"),
        layouts.shp,
        {
            "history": "Why?",
            "human_ref_A": "Since.",
            "human_ref_B": "No.",
            "labels": 1,
            "score_A": 8,
            "score_B": 2,
            "score_ratio": 4.0,
        },
        {**YES_NO, "strength": 4.0},
        code=spelled("as published", {1.0: "first", 0.0: "second"}),
    ),
    Format(
        "webgpt",
        PAIR,
        "question (an object with full_text), answer_0, answer_1, score_0, score_1",
        exactly(question=OBJECT, answer_0=TEXT, answer_1=TEXT, score_0="number", score_1="number"),
        layouts.webgpt,
        {
            "question": {"full_text": "Why?", "dataset": "eli5"},
            "answer_0": "Since.",
            "answer_1": "No.",
            "score_0": 1.0,
            "score_1": -1.0,
        },
        {**YES_NO, "strength": 2.0},
        needs=("question", "answer_0", "answer_1", "score_0", "score_1"),
    ),
    Format(
        "tldr",
        PAIR,
        "info (an object with post or article), summaries (two objects with text), choice (0 or 1)",
        layouts.tldr_columns,
        layouts.tldr,
        {
            "info": {"post": "Why?", "title": "Help", "subreddit": "AskReddit"},
            "summaries": [{"text": "No.", "policy": "sup1"}, {"text": "Since.", "policy": "ref"}],
            "choice": 1,
            "worker": "w1",
        },
        {
            "prompt": "SUBREDDIT: r/AskReddit\nTITLE: Help\nPOST: Why?\nTL;DR:",
            "chosen": "Since.",
            "rejected": "No.",
            "rater": "w1",
        },
        code=spelled("as published", {0.0: "first", 1.0: "second"}),
        needs=("info", "summaries", "choice"),
    ),
    Format(
        "arena_55k",
        PAIR,
        "prompt, response_a, response_b (lists of turns as JSON text), winner_model_a, "
        "winner_model_b, winner_tie (0 or 1)",
        having(
            two_answers,
            "model_a",
            "model_b",
            first_won="winner_model_a",
            second_won="winner_model_b",
        ),
        layouts.arena_55k,
        {
            "id": 1,
            "model_a": "m",
            "model_b": "n",
            "prompt": '["Why?"]',
            "response_a": '["No."]',
            "response_b": '["Since."]',
            "winner_model_a": 0,
            "winner_model_b": 1,
            "winner_tie": 0,
        },
        TALK,
    ),
    Format(
        "arena_33k",
        PAIR,
        "model_a, model_b, winner (model_a, model_b, tie, tie (bothbad)), conversation_a, "
        "conversation_b, judge",
        having(decided(conversations), "judge", first="conversation_a"),
        layouts.arena,
        {
            "question_id": "q",
            "model_a": "m",
            "model_b": "n",
            "winner": "model_b",
            "judge": "arena_user_1",
            "turn": 1,
            "conversation_a": [_user("Why?"), _said("No.")],
            "conversation_b": [_user("Why?"), _said("Since.")],
        },
        {**TALK, "rater": "arena_user_1"},
        needs=("conversation_a", "conversation_b", *CHOOSE),
    ),
    Format(
        "arena_140k",
        PAIR,
        "model_a, model_b, winner (model_a, model_b, tie, both_bad), conversation_a, "
        "conversation_b",
        decided(conversations),
        layouts.arena,
        {
            "id": "1",
            "model_a": "m",
            "model_b": "n",
            "winner": "model_a",
            "conversation_a": [
                {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "Since."}]},
            ],
            "conversation_b": [
                {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "No."}]},
            ],
        },
        TALK,
        needs=("conversation_a", "conversation_b", *CHOOSE),
    ),
    Format(
        "arena_first_turn",
        PAIR,
        "the three arena formats, of conversations with several turns the first question "
        "and its two answers alone",
        layouts.first_turn_columns(decided(conversations), two_answers),
        layouts.first_turn,
        {
            "model_a": "m",
            "model_b": "n",
            "prompt": '["Why?", "So?"]',
            "response_a": '["No.", "Yes."]',
            "response_b": '["Since.", "No."]',
            "winner_model_a": 0,
            "winner_model_b": 1,
            "winner_tie": 0,
        },
        TALK,
        asked=True,
    ),
    Format(
        "alpaca_eval",
        PAIR,
        "instruction, generator_1, generator_2, output_1, output_2, preference (1: the "
        "first, to 2: the second)",
        having(two_answers, "generator_1", "generator_2", first="output_1", verdict="preference"),
        parsers.two_answers,
        {
            "instruction": "Why?",
            "generator_1": "m",
            "output_1": "No.",
            "generator_2": "n",
            "output_2": "Since.",
            "preference": 1.75,
        },
        {**YES_NO, "strength": 0.5},
        code=graded,
    ),
    Format(
        "pairwise",
        PAIR,
        "prompt, two answers (response_a, response_b; answer_1, answer_2; ...) and who "
        "won (winner, preference, choice, scores, ...)",
        decided(two_answers),
        parsers.two_answers,
        {"prompt": "Why?", "response_a": "No.", "response_b": "Since.", "winner": "b"},
        YES_NO,
        needs=("prompt", "response_a", "response_b", "winner"),
        plain=True,
    ),
    # ------------------------------------------------------------ several answers in an order
    Format(
        "nectar",
        PAIR,
        "prompt, answers (objects with answer, model and rank, 1 is best)",
        having(of_kind(ranked, answers=SCORED), answers="answers", prompt="prompt"),
        parsers.ranked,
        {
            "prompt": "Why?",
            "answers": [
                {"answer": "No.", "model": "m", "rank": 2.0},
                {"answer": "Since.", "model": "n", "rank": 1.0},
            ],
            "source": ["web"],
        },
        {**YES_NO, "strength": 1.0},
    ),
    Format(
        "ultrafeedback",
        PAIR,
        "instruction, completions (objects with response, model and overall_score)",
        having(of_kind(ranked, answers=SCORED), answers="completions", prompt="instruction"),
        parsers.ranked,
        {
            "source": "evol_instruct",
            "instruction": "Why?",
            "models": ["m", "n"],
            "completions": [
                {"model": "m", "response": "Since.", "overall_score": 8.0},
                {"model": "n", "response": "No.", "overall_score": 3.0},
            ],
        },
        {**YES_NO, "strength": 5.0, "source": "evol_instruct"},
    ),
    Format(
        "distilabel",
        PAIR,
        "instruction, generations (texts), ratings (numbers)",
        having(ranked, answers="generations", order="ratings"),
        parsers.ranked,
        {"instruction": "Why?", "generations": ["Since.", "No."], "ratings": [5, 2]},
        {**YES_NO, "strength": 3.0},
    ),
    Format(
        "ranked",
        PAIR,
        "prompt, answers, and scores, ranks or ranking",
        ranked,
        parsers.ranked,
        {"prompt": "Why?", "answers": ["No.", "Since."], "scores": [1, 3]},
        {**YES_NO, "strength": 2.0},
        needs=("prompt", "answers", "scores"),
        plain=True,
    ),
    # ------------------------------------------------------------ names that met
    Format(
        "matches",
        MATCH,
        "two sides and a verdict (model_a, model_b, winner; or winner, loser)",
        matches.columns,
        matches.match,
        {"model_a": "m", "model_b": "n", "winner": "model_b"},
        {"chosen": "n", "rejected": "m", "named": True},
        code=matches.documented,
        needs=("model_a", "model_b", "winner"),
    ),
    # ------------------------------------------------------------ single answers
    Format(
        "kto_messages",
        SINGLE,
        "messages or conversations that end in the answer, label or kto_tag (true is good)",
        having(unpaired, messages=CONVERSATIONS),
        parsers.unpaired,
        {"messages": [_user("Why?"), _said("Since.")], "label": True},
        {"prompt": ASKED, "answer": "Since.", "desirable": True},
        needs=("messages", "label"),
    ),
    Format(
        "unpaired",
        SINGLE,
        "prompt, completion (or answer, response, output), label or kto_tag (true is good)",
        unpaired,
        parsers.unpaired,
        {"prompt": "Why?", "completion": "Since.", "label": True},
        {"prompt": "Why?", "answer": "Since.", "desirable": True},
        needs=("prompt", "completion", "label"),
        plain=True,
    ),
    Format(
        "alpaca",
        SINGLE,
        "instruction, input, output; system and history where they are there",
        having(supervised, prompt="instruction", answer="output"),
        parsers.supervised,
        {"instruction": "Answer.", "input": "Why?", "output": "Since."},
        {"prompt": "Answer.\nWhy?", "answer": "Since."},
    ),
    Format(
        "supervised",
        SINGLE,
        "prompt, completion (or answer, response, output)",
        supervised,
        parsers.supervised,
        {"prompt": "Why?", "completion": "Since."},
        {"prompt": "Why?", "answer": "Since."},
        needs=("prompt", "completion"),
        plain=True,
    ),
    Format(
        "sharegpt",
        SINGLE,
        "conversations (from, value), of which the last turn is the answer",
        having(conversation, messages="conversations"),
        parsers.conversation,
        {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Since."}]},
        {"prompt": ASKED, "answer": "Since."},
        needs=("conversations",),
    ),
    Format(
        "messages",
        SINGLE,
        "messages: conversations, of which the last turn is the answer",
        conversation,
        parsers.conversation,
        {"messages": [_user("Why?"), _said("Since.")]},
        {"prompt": ASKED, "answer": "Since."},
        needs=("messages",),
        plain=True,
    ),
    Format(
        "text",
        DOCUMENT,
        "text: documents",
        document,
        parsers.document,
        {"text": "Once."},
        {"prompt": "", "answer": "Once."},
        needs=("text",),
        plain=True,
    ),
)
