"""A small world of text with a gold reward: short descriptions, asked for by topic and by tone.

A prompt asks for a topic and a tone ("Describe the sea for a friend in a stern tone."). An answer
is a few sentences such as "the grim wave waits by the road." The gold reward of an answer is a
known function of prompt and answer, from 0 to 10:

    gold = 3 topic + 3 tone + 2 fresh + 1 finish + 1 length

- topic: share of its nouns that belong to the topic asked for (0 without nouns);
- tone: share of its tone words that keep the tone asked for (0 without tone words);
- fresh: share of its nouns and tone words that are not said a second time (0 without either);
- finish: 1 if it ends with a period;
- length: 1 from 12 to 30 words, falling in a straight line to 0 at 0 and at 60 words.

`BEST` = 10 is attained by `best_answer`. Labels follow Bradley-Terry: P(a beats b) =
sigmoid(sharpness (gold_a - gold_b)). `proxy` is a reward that can be gamed: it reads topic and tone
as gold does, and pays for length and for a pet phrase. Everything is drawn from a seed and leaves
the global random state alone.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from holdfast.types import Row, Text, Where

TOPICS: dict[str, tuple[str, ...]] = {
    "sea": ("wave", "harbor", "gull", "anchor", "tide", "sailor"),
    "forest": ("oak", "fern", "owl", "moss", "trail", "fox"),
    "city": ("tram", "tower", "market", "bridge", "corner", "crowd"),
    "kitchen": ("kettle", "spoon", "oven", "recipe", "apron", "stew"),
    "night": ("moon", "lantern", "shadow", "star", "dream", "bat"),
    "farm": ("barn", "tractor", "hen", "field", "fence", "plow"),
    "school": ("pencil", "teacher", "lesson", "desk", "bell", "pupil"),
    "mountain": ("peak", "goat", "cliff", "glacier", "climber", "valley"),
}
TONES: dict[str, tuple[str, ...]] = {
    "warm": ("gentle", "kind", "tender", "cozy", "loving", "mild"),
    "stern": ("grim", "harsh", "strict", "cold", "severe", "bleak"),
    "playful": ("silly", "bouncy", "giggly", "merry", "zany", "cheeky"),
    "formal": ("esteemed", "notable", "precise", "orderly", "proper", "refined"),
}
OPENINGS = ("Describe", "Write about", "Tell me about", "Say something on", "Sketch")
LISTENERS = (
    "a friend",
    "a child",
    "my class",
    "the paper",
    "a visitor",
    "the club",
    "my letter",
    "our guide",
)
VERBS = ("waits", "rests", "turns", "stays", "moves", "sings", "stands", "returns")
PLACES = (
    "by the road",
    "near the door",
    "in the rain",
    "at dawn",
    "for a while",
    "under the sky",
    "once more",
    "all day",
)
PET = "of course"

BEST = 10.0
WEIGHTS = {"topic": 3.0, "tone": 3.0, "fresh": 2.0, "finish": 1.0, "length": 1.0}
SHORTEST, LONGEST, ENDLESS = (
    12,
    30,
    60,
)  # words: full marks between the first two, none at 0 or from the third on

_TOPIC_OF = {noun: topic for topic, nouns in TOPICS.items() for noun in nouns}
_TONE_OF = {word: tone for tone, words in TONES.items() for word in words}
_PROMPT = re.compile(r"\bthe (\w+) for .* in an? (\w+) tone\b")


# ------------------------------------------------------------------------------------------------
# prompts


def all_prompts() -> list[str]:
    """Every prompt of the world: openings x topics x listeners x tones, 1,280 of them."""
    return [
        f"{opening} the {topic} for {listener} in a {tone} tone."
        for opening, topic, listener, tone in itertools.product(OPENINGS, TOPICS, LISTENERS, TONES)
    ]


def split_prompts(held_out: int, *, seed: int) -> tuple[list[str], list[str]]:
    """All prompts in a random order, cut into (those to train on, `held_out` others)."""
    prompts = all_prompts()
    random.Random(f"prompts {seed}").shuffle(prompts)
    return prompts[held_out:], prompts[:held_out]


def asked(prompt: Text) -> tuple[str, str]:
    """The topic and tone that a prompt asks for. Raises ValueError on a prompt that is not of this
    world.
    """
    text = prompt if isinstance(prompt, str) else str(prompt[-1]["content"])
    found = _PROMPT.search(text)
    if found is None or found[1] not in TOPICS or found[2] not in TONES:
        raise ValueError(f"not a prompt of this world: {text!r}")
    return found[1], found[2]


# ------------------------------------------------------------------------------------------------
# rewards


def parts(prompt: Text, answer: str) -> dict[str, float]:
    """The five parts of the gold reward, each from 0 to 1."""
    topic, tone = asked(prompt)
    words = re.findall(r"[a-z]+", answer.lower())
    nouns = [word for word in words if word in _TOPIC_OF]
    tones = [word for word in words if word in _TONE_OF]
    content = nouns + tones
    return {
        "topic": _share(_TOPIC_OF[noun] == topic for noun in nouns),
        "tone": _share(_TONE_OF[word] == tone for word in tones),
        "fresh": len(set(content)) / len(content) if content else 0.0,
        "finish": float(answer.rstrip().endswith(".")),
        "length": max(
            0.0, min(1.0, len(words) / SHORTEST, (ENDLESS - len(words)) / (ENDLESS - LONGEST))
        ),
    }


def gold(prompts: Sequence[Text], answers: Sequence[str]) -> list[float]:
    """The gold reward of each answer, 0 to `BEST`."""
    return [
        sum(WEIGHTS[name] * value for name, value in parts(p, a).items())
        for p, a in zip(prompts, answers, strict=True)
    ]


def proxy(prompts: Sequence[Text], answers: Sequence[str]) -> list[float]:
    """A reward that can be gamed: right about topic and tone, but it pays for every word and for
    the pet phrase, without end.

    proxy = 3 topic + 3 tone + 0.05 words + 0.5 (times the pet phrase is said)
    """
    scores = []
    for prompt, answer in zip(prompts, answers, strict=True):
        part = parts(prompt, answer)
        scores.append(
            3 * part["topic"]
            + 3 * part["tone"]
            + 0.05 * len(answer.split())
            + 0.5 * answer.lower().count(PET)
        )
    return scores


REASONS = {
    "topic": "{chosen} keeps to what was asked about.",
    "tone": "{chosen} keeps the tone that was asked for.",
    "fresh": "{chosen} says less of it twice.",
    "finish": "{chosen} comes to an end.",
    "length": "{chosen} has a better length.",
}


def reason(prompt: Text, chosen: str, rejected: str) -> str:
    """Why the chosen answer is the better one: the part of the gold reward in which it leads most.
    As for who labels wrongly: whoever gives the worse answer the better mark finds a reason too,
    unless it leads in nothing."""
    first, second = parts(prompt, chosen), parts(prompt, rejected)
    lead = {name: WEIGHTS[name] * (first[name] - second[name]) for name in WEIGHTS}
    best = max(lead, key=lambda name: lead[name])
    return REASONS[best] if lead[best] > 0 else "{chosen} is as good in every way."


def judged(rows: Iterable[Row]) -> list[Row]:
    """The comparisons with what this world knows of each as it is labeled: `reward_gap` =
    gold(chosen) - gold(rejected), a `rationale`.
    """
    out = []
    for row in rows:
        chosen, rejected = str(row.chosen), str(row.rejected)
        worth = gold([row.prompt] * 2, [chosen, rejected])
        more = {
            "reward_gap": worth[0] - worth[1],
            "rationale": reason(row.prompt, chosen, rejected),
        }
        out.append(replace(row, extra={**row.extra, **more}))
    return out


# ------------------------------------------------------------------------------------------------
# answers


def best_answer(prompt: Text, *, seed: int = 0) -> str:
    """An answer whose gold reward is `BEST`."""
    topic, tone = asked(prompt)
    rng = random.Random(f"best {seed} {topic} {tone}")
    nouns, words = rng.sample(TOPICS[topic], 3), rng.sample(TONES[tone], 3)
    return " ".join(_sentence(word, noun, rng) for word, noun in zip(words, nouns, strict=True))


def sample_answer(prompt: Text, rng: random.Random) -> str:
    """One answer of mixed quality. How well it keeps to topic and to tone, how much it repeats
    itself, how long it is and whether it is cut short are drawn apart for each answer, so that
    answers differ in several ways at once."""
    topic, tone = asked(prompt)
    on_topic, on_tone = rng.random(), rng.random()
    echo = rng.choice((0.0, 0.0, 0.15, 0.4))
    sentences: list[str] = []
    said: list[tuple[str, str]] = []
    for _ in range(rng.choices((1, 2, 3, 4, 5, 6), weights=(2, 4, 6, 4, 2, 2))[0]):
        if said and rng.random() < echo:
            noun, word = rng.choice(said)
        else:
            noun = rng.choice(
                TOPICS[topic if rng.random() < on_topic else rng.choice(list(TOPICS))]
            )
            word = rng.choice(TONES[tone if rng.random() < on_tone else rng.choice(list(TONES))])
        said.append((noun, word))
        sentences.append(_sentence(word, noun, rng, pet=rng.random() < 0.1))
    text = " ".join(sentences)
    return text[:-1].rsplit(" ", rng.randint(1, 3))[0] if rng.random() < 0.2 else text


def _sentence(word: str, noun: str, rng: random.Random, *, pet: bool = False) -> str:
    return f"the {word} {noun} {rng.choice(VERBS)} {rng.choice(PLACES)}{' ' + PET if pet else ''}."


def _share(hits: Iterable[bool]) -> float:
    values = list(hits)
    return sum(values) / len(values) if values else 0.0


# ------------------------------------------------------------------------------------------------
# data


def corpus(prompts: Sequence[str], n: int, *, seed: int) -> list[Row]:
    """`n` answers of mixed quality to prompts drawn from `prompts`: what a first model learns the
    language from.
    """
    rng = random.Random(f"corpus {seed}")
    rows = []
    for i in range(n):
        prompt = rng.choice(prompts)
        rows.append(
            Row(
                where=Where("text world corpus", i + 1),
                prompt=prompt,
                answer=sample_answer(prompt, rng),
                desirable=True,
                group=asked(prompt)[1],
            )
        )
    return rows


def preferences(prompts: Sequence[str], n: int, *, seed: int, sharpness: float = 1.0) -> list[Row]:
    """`n` comparisons with honest labels: two answers of mixed quality to one prompt, the winner
    drawn by Bradley-Terry on the gold reward.

    P(a beats b) = sigmoid(sharpness (gold_a - gold_b)). With `sharpness = math.inf` the better
    answer always wins, and pairs of equal gold are drawn again. Each row carries the tone asked for
    as its `group`, and `strength` = gold(chosen) - gold(rejected), which is negative where chance
    chose the worse one.
    """
    rng = random.Random(f"preferences {seed}")
    rows: list[Row] = []
    while len(rows) < n:
        prompt = rng.choice(prompts)
        a, b = sample_answer(prompt, rng), sample_answer(prompt, rng)
        gap = gold([prompt], [a])[0] - gold([prompt], [b])[0]
        if a == b or (math.isinf(sharpness) and gap == 0):
            continue
        a_wins = (
            gap > 0
            if math.isinf(sharpness)
            else rng.random() < 1 / (1 + math.exp(-sharpness * gap))
        )
        chosen, rejected, strength = (a, b, gap) if a_wins else (b, a, -gap)
        where = Where("text world preferences", len(rows) + 1)
        rows.append(
            Row(
                where=where,
                prompt=prompt,
                chosen=chosen,
                rejected=rejected,
                group=asked(prompt)[1],
                strength=strength,
            )
        )
    return rows
