"""The text world: its reward against hand-counted answers, its best answer, its labels against
Bradley-Terry.
"""

import math
import random

import pytest

from holdfast.lab.worlds import text as world

PROMPT = "Describe the sea for a friend in a stern tone."


def test_a_prompt_says_what_it_asks():
    assert world.asked(PROMPT) == ("sea", "stern")
    assert world.asked(
        [{"role": "system", "content": "x"}, {"role": "user", "content": PROMPT}]
    ) == ("sea", "stern")
    assert len(set(world.all_prompts())) == len(world.all_prompts()) == 5 * 8 * 8 * 4
    for prompt in world.all_prompts():
        topic, tone = world.asked(prompt)
        assert f"the {topic} " in prompt and f"a {tone} tone" in prompt
    with pytest.raises(ValueError, match="not a prompt of this world"):
        world.asked("Describe the moon base in a stern tone.")


def test_gold_by_hand():
    # nouns wave (sea), oak (forest): topic 1/2. Tone words grim, gentle: tone 1/2. Nothing twice:
    # fresh 1. Ends: 1. 12 words: length 1.
    answer = "the grim wave waits by the road. the gentle oak sings today."
    assert world.parts(PROMPT, answer) == {
        "topic": 0.5,
        "tone": 0.5,
        "fresh": 1.0,
        "finish": 1.0,
        "length": 1.0,
    }
    assert world.gold([PROMPT], [answer]) == [3 * 0.5 + 3 * 0.5 + 2 + 1 + 1]
    # wave and grim said twice: 2 of 4 are new. 6 words of 12: length 1/2. No period: finish 0.
    assert world.gold([PROMPT], ["the grim wave the grim wave"]) == [3 + 3 + 2 * 0.5 + 0 + 0.5]
    # 45 words: half-way from 30 to 60. No noun or tone word at all: topic, tone and fresh 0.
    assert world.gold([PROMPT], [" ".join(["well"] * 45)]) == [0.5]
    assert world.gold([PROMPT], [""]) == [0.0]


def test_the_best_is_reached_and_not_passed():
    prompts = world.all_prompts()
    assert sum(world.WEIGHTS.values()) == world.BEST
    assert set(world.gold(prompts, [world.best_answer(prompt) for prompt in prompts])) == {
        world.BEST
    }
    rng = random.Random(0)
    drawn = [world.sample_answer(prompt, rng) for prompt in prompts]
    values = world.gold(prompts, drawn)
    assert max(values) <= world.BEST and min(values) >= 0
    assert sum(values) / len(values) < 0.8 * world.BEST  # there is something to learn


def test_the_words_of_topics_and_tones_do_not_overlap():
    words = [word for group in (*world.TOPICS.values(), *world.TONES.values()) for word in group]
    neutral = {
        word for phrase in (*world.VERBS, *world.PLACES, world.PET) for word in phrase.split()
    }
    assert len(words) == len(set(words)) and not neutral & set(words)


def test_the_proxy_agrees_with_gold_until_it_is_gamed():
    rng = random.Random(1)
    prompts = world.all_prompts()
    answers = [world.sample_answer(prompt, rng) for prompt in prompts]
    gold, proxy = world.gold(prompts, answers), world.proxy(prompts, answers)
    mean_g, mean_p = sum(gold) / len(gold), sum(proxy) / len(proxy)
    cov = sum((g - mean_g) * (p - mean_p) for g, p in zip(gold, proxy, strict=True))
    spread = math.sqrt(sum((g - mean_g) ** 2 for g in gold) * sum((p - mean_p) ** 2 for p in proxy))
    assert cov / spread > 0.6
    gamed = " ".join(["of course"] * 100)
    best = world.best_answer(PROMPT)
    assert world.proxy([PROMPT], [gamed])[0] > world.proxy([PROMPT], [best])[0]
    assert world.gold([PROMPT], [gamed])[0] < world.gold([PROMPT], [best])[0]
    assert world.proxy([PROMPT], ["the grim wave rests of course."]) == [3 + 3 + 0.05 * 6 + 0.5]


def test_prompts_are_split_without_overlap_and_by_seed():
    train, held = world.split_prompts(200, seed=0)
    assert (
        len(held) == 200
        and not set(train) & set(held)
        and set(train) | set(held) == set(world.all_prompts())
    )
    assert world.split_prompts(200, seed=0) == (train, held) != world.split_prompts(200, seed=1)


def test_labels_follow_bradley_terry():
    rows = world.preferences(world.all_prompts(), 4000, seed=5, sharpness=1.0)
    for row in rows[:50]:
        gold = world.gold([row.prompt] * 2, [row.chosen, row.rejected])
        assert row.strength == pytest.approx(gold[0] - gold[1])
        assert row.group == world.asked(row.prompt)[1]
    expected = [1 / (1 + math.exp(-abs(row.strength))) for row in rows if row.strength]
    seen = [row.strength > 0 for row in rows if row.strength]
    deviation = math.sqrt(sum(p * (1 - p) for p in expected))
    assert abs(sum(seen) - sum(expected)) < 4 * deviation


def test_endless_sharpness_always_chooses_the_better():
    rows = world.preferences(world.all_prompts(), 300, seed=5, sharpness=math.inf)
    assert min(row.strength for row in rows) > 0


def test_everything_comes_from_the_seed_and_touches_no_global_state():
    prompts = world.all_prompts()
    random.seed(1)
    before = random.getstate()
    assert (
        world.preferences(prompts, 20, seed=1)
        == world.preferences(prompts, 20, seed=1)
        != world.preferences(prompts, 20, seed=2)
    )
    assert (
        world.corpus(prompts, 20, seed=1)
        == world.corpus(prompts, 20, seed=1)
        != world.corpus(prompts, 20, seed=2)
    )
    assert random.getstate() == before
    assert all(
        row.answer and row.desirable and row.group for row in world.corpus(prompts, 20, seed=1)
    )
