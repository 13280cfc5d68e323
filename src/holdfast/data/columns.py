"""What columns are called, what kind of thing they hold, and which belong to the first and to the
second of two sides.

Names are matched without regard to case, spaces and hyphens. A kind is read off one value: "text",
"number", "bool", "messages" (a list of messages), "message", "texts" (a list of strings),
"objects", "scored" (objects with a score or rank each), "list" or "object". An empty cell and null
have none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from holdfast.data import fields
from holdfast.data.conservation import PICTURES

PROMPT_TEXTS = (
    "prompt",
    "instruction",
    "question",
    "query",
    "user_input",
    "user_prompt",
    "user_message",
    "user_query",
)
CONVERSATIONS = (
    "messages",
    "conversations",
    "conversation",
    "dialogue",
    "dialog",
    "chat",
    "turns",
    "trajectory",
)
LESS_SURE = (
    "context",
    "history",
    "input",
    "post",
    "problem",
    "request",
)  # the prompt only where nothing above is there
SYSTEM = ("system", "system_prompt", "system_message", "system_instruction", "sys_prompt")
HISTORY = (
    "history",
    "chat_history",
    "conversation_history",
    "dialogue_history",
    "dialog_history",
    "previous_turns",
)
INPUT = "input"

ANSWER = (
    "completion",
    "answer",
    "response",
    "output",
    "reply",
    "generation",
    "solution",
)  # a single answer
ANSWERS = (
    "answers",
    "completions",
    "responses",
    "generations",
    "outputs",
    "candidates",
    "replies",
)  # a list of them
SCORE_LISTS = ("scores", "ratings", "rewards")  # a number for each answer of the list, high is good
ORDERS = (*SCORE_LISTS, "ranks", "ranking")
ENTRY_TEXT = ("text", "answer", "response", "completion", "content", "generation", "output")
ENTRY_SCORE = ("score", "overall_score", "rating", "reward", "pm_score")
RENDERED = (
    "tools",
    "documents",
    "chat_template_kwargs",
    *PICTURES,
)  # what a chat template takes beside the messages
PAIRS = (
    ("chosen", "rejected"),
    ("chosen_response", "rejected_response"),
    ("response_chosen", "response_rejected"),
    ("chosen_answer", "rejected_answer"),
    ("chosen_output", "rejected_output"),
    ("preferred_output", "non_preferred_output"),
    ("preferred_response", "dispreferred_response"),
    ("preferred", "dispreferred"),
    ("preferred", "rejected"),
    ("accepted", "rejected"),
    ("accepted_response", "rejected_response"),
    ("better_response", "worse_response"),
    ("better", "worse"),
    ("response", "rejected_response"),
    ("answer", "rejected_answer"),
    ("completion", "rejected_completion"),
    ("output", "rejected_output"),
    ("response_j", "response_k"),  # Stack Exchange, paired: j is the better one
)
LABELS = (
    "label",
    "kto_tag",
    "is_desirable",
    "desirable",
    "thumbs_up",
    "thumb_up",
    "is_good",
    "good",
    "correct",
    "is_correct",
    "feedback_label",
)
OPTIONAL = ("rater", "group", "source", "strength", "confidence", "weight", "tie")

VERDICTS = (
    "winner",
    "preference",
    "preferred",
    "choice",
    "chosen",
    "better",
    "best",
    "better_response_id",
    "safer_response_id",
    "better_response",
    "better_answer",
    "best_response",
    "best_answer",
    "preferred_response",
    "preferred_answer",
    "chosen_response",
    "chosen_index",
    "chosen_idx",
    "chosen_id",
    "winner_id",
    "winner_index",
    "selected",
    "selection",
    "verdict",
    "judgment",
    "judgement",
    "vote",
    "decision",
    "outcome",
    "result",
    "pick",
    "human_preference",
    "user_preference",
    "overall_preference",
    "preference_strength",
    "human_label",
    "gold_label",
    "label",
    "labels",
)
BY_INDEX = frozenset(VERDICTS) - {
    "label",
    "labels",
    "human_label",
    "gold_label",
    "preference",
    "result",
    "outcome",
}  # name one of the two
KNOWN = frozenset(
    {
        *PROMPT_TEXTS,
        *CONVERSATIONS,
        *LESS_SURE,
        *SYSTEM,
        *HISTORY,
        INPUT,
        *ANSWER,
        *ANSWERS,
        *ORDERS,
        *LABELS,
        *OPTIONAL,
        *VERDICTS,
        *(name for pair in PAIRS for name in pair),
        "text",
        "tools",
        "loser",
    }
)

TEXT, NUMBER, BOOL, MESSAGES, MESSAGE, TEXTS = (
    "text",
    "number",
    "bool",
    "messages",
    "message",
    "texts",
)
OBJECTS, SCORED, LIST, OBJECT = "objects", "scored", "list", "object"
SAID = (TEXT, MESSAGES, MESSAGE)  # what an answer may be
CODED = (TEXT, NUMBER, BOOL)  # what a verdict may be

Kinds = Mapping[str, str]
Roles = Mapping[str, str]  # what a format reads: role -> column


def canonical(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row with columns such as `Prompt` or `Chosen-Response` under the names that formats
    know.
    """
    moved = _moved(tuple(value))
    return {moved.get(name, name): item for name, item in value.items()} if moved else value


@lru_cache(maxsize=4096)
def _moved(columns: tuple[str, ...]) -> Mapping[str, str]:
    moved = {
        name: plain
        for name in columns
        if name not in KNOWN and (plain := _plain_name(name)) in KNOWN and plain not in columns
    }
    return moved if len(set(moved.values())) == len(moved) else {}


def _plain_name(name: str) -> str:
    return re.sub(r"[\s-]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())).lower()


def kind_of(value: Any) -> str | None:
    if not fields.present(value):
        return None
    if isinstance(value, str):
        return TEXT
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int | float):
        return NUMBER
    if isinstance(value, Mapping):
        return MESSAGE if _is_message(value) else OBJECT
    if fields.is_messages(value):
        if all(isinstance(item, str) for item in value):
            return TEXTS if value else LIST
        if all(isinstance(item, Mapping) for item in value):
            if any(map(_is_message, value)):
                return MESSAGES
            return (
                SCORED if any({"rank", *ENTRY_SCORE} & item.keys() for item in value) else OBJECTS
            )
        return LIST
    return OBJECT


def _is_message(value: Mapping[str, Any]) -> bool:
    return "role" in value or {"from", "value"} <= value.keys()


def kinds_of(value: Mapping[str, Any]) -> dict[str, str]:
    return {name: kind for name, item in value.items() if (kind := kind_of(item)) is not None}


# ----------------------------------------------------------------------------- the prompt's columns


def prompted(kinds: Kinds) -> dict[str, str] | None:
    """The roles that make up a prompt ("prompt", and "system", "history", "input" where they are
    there), or None without one.
    """
    asked = ((*PROMPT_TEXTS, *CONVERSATIONS, *LESS_SURE), (*PROMPT_TEXTS, *LESS_SURE))
    base = next(
        (
            name
            for name in asked[0]
            if kinds.get(name) == MESSAGES or (name in asked[1] and kinds.get(name) == TEXT)
        ),
        None,
    )
    if base is None:
        return None
    return {"prompt": base, **prompt_extras(kinds, base)}


def prompt_extras(kinds: Kinds, base: str) -> dict[str, str]:
    """Further columns that belong to a prompt in column `base`."""
    found = {"prompt": base}
    if system := next((name for name in SYSTEM if kinds.get(name) == TEXT), None):
        found["system"] = system
    earlier = next(
        (
            name
            for name in HISTORY
            if name != base and name in kinds and kinds[name] not in (NUMBER, BOOL)
        ),
        None,
    )
    if earlier is None and base != "context" and kinds.get("context") == MESSAGES:
        earlier = "context"
    if earlier:
        found["history"] = earlier
    if base != INPUT and kinds.get(INPUT) == TEXT:
        found["input"] = INPUT
    return found


# --------------------------------------------------------------------------------- first and second


SIDES = (("a", "b"), ("0", "1"), ("1", "2"), ("first", "second"), ("left", "right"))
TOKENS = (
    frozenset(token for pair in SIDES for token in pair) | set("23456789") | {"c", "d", "third"}
)
TEXT_STEMS = (
    "response",
    "answer",
    "completion",
    "output",
    "text",
    "summary",
    "reply",
    "generation",
    "candidate",
    "message",
    "assistant",
    "human_ref",
    "response_text",
    "answer_text",
    "model_response",
    "model_output",
    "translation",
    "option",
    "choice",
    "",
)
NAME_STEMS = (
    "model",
    "generator",
    "player",
    "team",
    "name",
    "model_name",
    "system",
    "generator_name",
    "",
)
WON_STEMS = frozenset(
    {
        "winner",
        "winner_model",
        "win",
        "wins",
        "won",
        "is_winner",
        "is_better",
        "better",
        "preferred",
        "is_preferred",
    }
)
WON_WORDS = frozenset(
    {"better", "win", "wins", "won", "prefer", "prefers", "preferred", "winner", "best"}
)
FILLER = frozenset(
    {
        "is",
        "the",
        "was",
        "response",
        "answer",
        "model",
        "output",
        "completion",
        "chosen",
        "than",
        "over",
    }
)
SCORE_WORDS = frozenset(
    (
        "score",
        "scores",
        "rating",
        "ratings",
        "reward",
        "rewards",
        "points",
        "goals",
        "votes",
        "upvotes",
        "grade",
        "quality",
        "rank",
    )
)
SCORED_WHAT = frozenset(  # words beside these that leave it at that: high is good
    {
        "overall",
        "human",
        "gpt",
        "judge",
        "avg",
        "average",
        "mean",
        "total",
        "final",
        "helpfulness",
        "correctness",
        "preference",
        "rm",
        "response",
        "answer",
        "completion",
        "output",
        "text",
        "summary",
        "conv",
        "conversation",
        "assistant",
        "annotator",
    }
)


class Sides(NamedTuple):
    """Two columns that differ in the side they speak of alone: `response_a` and `response_b`."""

    stem: str
    first: str
    second: str
    tokens: tuple[str, str]


def words_of(column: str) -> list[str]:
    """The words of a column's name, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", column)]


def sides_of(columns: Iterable[str]) -> list[Sides]:
    """Every pair of such columns. Where there are three or more sides (`response_1` to
    `response_4`) there is none.
    """
    stems: dict[str, dict[str, str]] = {}
    for column in columns:
        words = words_of(column)
        for at in [at for at, word in enumerate(words) if word in TOKENS]:
            stems.setdefault("_".join(words[:at] + words[at + 1 :]), {}).setdefault(
                words[at], column
            )
    found = []
    for stem, by_token in stems.items():
        pair = next((pair for pair in SIDES if set(pair) == set(by_token)), None)
        if pair is not None and by_token[pair[0]] != by_token[pair[1]]:
            found.append(Sides(stem, by_token[pair[0]], by_token[pair[1]], pair))
    for first, second in (("home", "away"),):
        if first in columns and second in columns:
            found.append(Sides("player", first, second, ("first", "second")))
        for word in ("goals", "score"):
            if f"{first}_{word}" in columns and f"{second}_{word}" in columns:
                found.append(
                    Sides(f"{word}", f"{first}_{word}", f"{second}_{word}", ("first", "second"))
                )
    return found


def text_sides(kinds: Kinds) -> Sides | None:
    """The two columns that hold the answers: by the order of `TEXT_STEMS`, then any other pair of
    texts.
    """
    pairs = [
        pair for pair in sides_of(kinds) if kinds[pair.first] in SAID and kinds[pair.second] in SAID
    ]
    known = sorted(
        (pair for pair in pairs if pair.stem in TEXT_STEMS),
        key=lambda pair: TEXT_STEMS.index(pair.stem),
    )
    other = [
        pair
        for pair in pairs
        if pair.stem not in (*TEXT_STEMS, *NAME_STEMS, *WON_STEMS) and not is_remark(pair.stem)
    ]
    other = [pair for pair in other if not _is_score(pair.stem)]
    return known[0] if known else other[0] if len(other) == 1 else None


def is_answer(column: str) -> bool:
    """Whether a column's name says that it holds an answer or several."""
    words = words_of(column)
    stems = {
        "_".join(words[:at] + words[at + 1 :]) for at, word in enumerate(words) if word in TOKENS
    }
    return column in {*ANSWER, *ANSWERS, *(name for pair in PAIRS for name in pair)} or bool(
        stems & set(TEXT_STEMS)
    )


def name_sides(kinds: Kinds) -> Sides | None:
    """The two columns that hold the names of who met."""
    pairs = [
        pair
        for pair in sides_of(kinds)
        if pair.stem in NAME_STEMS and {kinds[pair.first], kinds[pair.second]} <= {TEXT, NUMBER}
    ]
    return min(pairs, key=lambda pair: NAME_STEMS.index(pair.stem), default=None)


def _is_score(stem: str) -> bool:
    words = set(stem.split("_"))
    return bool(words & SCORE_WORDS) and words <= SCORE_WORDS | SCORED_WHAT


TIES = (
    "tie_won",
    "second_tie_won",
    "third_tie_won",
)  # columns that say so: a tie, both bad, both good
TIE_WORDS = frozenset({"tie", "tied", "draw", "both", "bothbad", "bothgood", "neither", "none"})


def verdict_roles(
    kinds: Kinds, taken: Iterable[str], texts: Sides | None = None
) -> dict[str, str] | None:
    """Which columns say who won: a coded one ("verdict"), one a side ("first_won", "second_won",
    "tie_won"), one that speaks of one side ("directed"), or two scores ("first_score",
    "second_score"). Scores beside another verdict are read too."""
    free = {name: kind for name, kind in kinds.items() if name not in set(taken)}
    pairs = sides_of(free)
    roles: dict[str, str] = {}
    scores = [
        p for p in pairs if _is_score(p.stem) and {free[p.first], free[p.second]} <= {TEXT, NUMBER}
    ]
    whole = [
        p
        for p in scores
        if p.stem.split("_")[-1].removesuffix("s") in ("score", "goal", "rating", "overall")
    ] or scores
    if len(whole) == 1 or (whole and whole[0].stem == "score"):
        roles = {"first_score": whole[0].first, "second_score": whole[0].second}
    coded = next((name for name in VERDICTS if free.get(name) in CODED), None)
    if coded is not None:
        return {"verdict": coded, **roles}
    hot = next(
        (p for p in pairs if _says_won(p.stem) and {free[p.first], free[p.second]} <= set(CODED)),
        None,
    )
    if hot is not None:
        ties = [
            name
            for name, kind in free.items()
            if kind in CODED and name not in (hot.first, hot.second) and _says_tie(name, hot.stem)
        ]
        return {
            "first_won": hot.first,
            "second_won": hot.second,
            **dict(zip(TIES, ties, strict=False)),
            **roles,
        }
    directed = [
        name for name, kind in free.items() if kind in CODED and side_spoken_of(name) is not None
    ]
    if len(directed) == 1:
        return {"directed": directed[0], **roles}
    return roles or None


def _says_tie(column: str, stem: str) -> bool:
    """`winner_tie`, `is_draw`, `winner_both_bad`: a column beside those of the two sides that says
    that neither won.
    """
    words = set(words_of(column))
    return bool(words & TIE_WORDS) and words <= TIE_WORDS | set(stem.split("_")) | {
        "is",
        "winner",
        "good",
        "bad",
    }


def _says_won(stem: str) -> bool:
    words = set(stem.split("_"))
    return stem in WON_STEMS or (bool(words & WON_WORDS) and words <= WON_WORDS | FILLER)


def side_spoken_of(column: str) -> int | None:
    """0 for `a_is_better` or `first_wins`, 1 for `prefers_b`; None for a column that speaks of no
    side.
    """
    words = words_of(column)
    tokens = [word for word in words if word in TOKENS]
    rest = {word for word in words if word not in TOKENS}
    if len(tokens) != 1 or not rest & WON_WORDS or not rest <= WON_WORDS | FILLER:
        return None
    return next(
        (pair.index(tokens[0]) for pair in (SIDES[0], SIDES[3], SIDES[4]) if tokens[0] in pair),
        None,
    )


# ----------------------------------------------------------------------------- columns that explain

REMARKS = frozenset(
    {
        "rationale",
        "reason",
        "reasons",
        "reasoning",
        "explanation",
        "explanations",
        "justification",
        "critique",
        "feedback",
        "comment",
        "comments",
        "note",
        "notes",
        "remark",
        "annotation",
        "annotations",
        "principle",
        "principles",
        "statement",
        "elaboration",
        "metadata",
        "meta",
        "category",
        "categories",
        "domain",
        "topic",
        "tag",
        "tags",
        "subset",
        "language",
        "task",
        "dataset",
        "url",
        "link",
        "title",
        "author",
        "id",
        "hash",
        "time",
        "date",
        "timestamp",
        "source",
        "split",
        "reference",
        "references",
        "gold",
        "labelling",
        "labeling",
        "raw",
        "judge",
        "grading",
        "evaluator",
        "revision",
        "edited",
        "quotes",
    }
)


def is_remark(column: str) -> bool:
    """Whether a column's name says that it comments on the row or files it, so that its text is
    neither prompt nor answer.
    """
    return bool(
        REMARKS & {word for part in words_of(column) for word in (part, part.removesuffix("s"))}
    )
