"""The demo's story follows its numbers, whichever way they come out."""

from dataclasses import replace

import numpy as np
import pytest

from holdfast.lab import flip_words as words
from holdfast.lab.flip_story import ROBUST_PLAIN, compare, rows_of, story, table, verdicts
from holdfast.lab.flips import (
    PLAIN,
    ROBUST,
    YARDSTICK,
    Arm,
    Checked,
    Verdict,
    head_to_head,
    pooled,
    win_rate,
)
from holdfast.stats.intervals import NOTHING, Estimate

PROMPTS = 120


def arm(name, seed, gold, *, kept=0.5, accuracy=0.8):
    """An arm whose answers have a gold reward near `gold`; the model it started from has 6."""
    rng = np.random.default_rng([seed, *name.encode()])
    draws = lambda p, n: (rng.random(n) < p).astype(float)  # noqa: E731
    curves = [{"step": s, "loss": 0.7 - s / 100} for s in range(1, 25)]
    evaluated = {
        "eval/rewards/accuracies": 0.7,
        "eval/log_ratios/margin": 1.0,
        "eval/log_ratios/chosen": -1.0,
        "eval/log_ratios/rejected": -2.0,
    }
    curves += [{"step": s, **evaluated} for s in (0, 12, 24)]
    answers = [
        {
            "prompt": f"p{i}",
            "policy": ["<b>a</b>"],
            "policy_reward": [7.0],
            "opponent": ["b"],
            "opponent_reward": [6.0],
        }
        for i in range(9)
    ]
    start = 6 + np.random.default_rng(seed).normal(size=(PROMPTS, 2))
    return Arm(
        name,
        seed,
        gold + rng.normal(size=(PROMPTS, 2)),
        start,
        draws(accuracy, PROMPTS),
        draws(kept, 60),
        draws(0.7, 140),
        1.5,
        20.0,
        curves,
        answers,
    )


def arms(plain, robust, yardstick=8.0, seeds=(0, 1), **kept):
    return [
        arm(name, seed, gold[seed] if isinstance(gold, tuple) else gold, kept=kept.get(name, 0.5))
        for seed in seeds
        for name, gold in ((PLAIN, plain), (ROBUST, robust), (YARDSTICK, yardstick))
    ]


TOLD = Checked(
    "About 28% are flipped.",
    Estimate(0.28, 0.22, 0.34, 400, 100, "", 0.95),
    0.34,
    "train rdpo --flip-rate 0.28",
    7,
    ["Label noise"],
)
OPEN = Checked("It cannot be told.", NOTHING, None, "train dpo", 6, [])


@pytest.mark.parametrize(
    ("checked", "truth", "said"),
    [
        (
            TOLD,
            0.3,
            "28.0% (22.0 to 34.0) of the labels are flipped; 30.0% are: its interval "
            "holds the truth.",
        ),
        (TOLD, 0.4, "its interval misses the truth."),
        (
            replace(OPEN, limit=0.35),
            0.3,
            "at most 35%, it says. 30.0% are: the truth lies below that.",
        ),
        (replace(OPEN, limit=0.25), 0.3, "the truth lies above that, so its limit is wrong here."),
        (OPEN, 0.3, "the check-up cannot tell how many labels are flipped (30.0% are)."),
    ],
)
def test_what_the_check_up_said_stands_beside_the_truth(checked, truth, said):
    assert said in words.check_said(checked, truth)


def lead(some):
    facts = [
        {"seed": s, "pairs": 200, "flipped": 60, "right_before": 0.78, "right_after": 0.61}
        for s in sorted({a.seed for a in some})
    ]
    return story(
        some, facts, TOLD, OPEN, rate=0.3, size={"pairs": 200}, seconds=60.0, quick=False, best=10.0
    ).lead


@pytest.mark.parametrize(
    ("some", "said"),
    [
        (arms(7.0, 9.0), "rDPO beats DPO"),
        (arms(9.0, 7.0), "rDPO does worse than DPO"),
        (arms(8.0, 8.0), "decides nothing"),
        (arms((7.0, 9.0), (9.0, 7.0)), "the 2 seeds do not agree on the side"),
    ],
)
def test_the_lead_says_who_won_only_if_it_is_decided(some, said):
    assert said in lead(some)
    others = {"rDPO beats DPO", "rDPO does worse than DPO", "decides nothing"} - {said}
    assert not [other for other in others if other in lead(some)] or said.startswith("the 2 seeds")


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        (6.0, "The flips did harm"),
        (9.9, "The flips did no harm here"),
        (8.0, "Whether the flips cost DPO any gold reward is undecided"),
    ],
)
def test_the_price_of_the_flips(plain, said):
    assert said in lead(arms(plain, 8.0, 8.0))


def test_a_winner_needs_every_seed():
    """Seed 0 wins by far and seed 1 loses by a little: the pooled interval leaves out one half, and
    still nothing is decided.
    """
    some = arms((6.0, 8.1), (9.0, 7.9))
    found = compare(some)[ROBUST_PLAIN]
    assert found.estimate.low > 0.5 and not found.seeds_agree and found.side == 0


def test_head_to_head_by_hand():
    one, two = (
        Arm(
            name,
            0,
            np.array(gold),
            np.zeros((2, 2)),
            np.zeros(2),
            np.zeros(2),
            np.zeros(2),
            0.0,
            0.0,
        )
        for name, gold in (("a", [[1.0, 2], [3, 4]]), ("b", [[0.0, 2], [5, 1]]))
    )
    # prompt 1: 1 > 0, 1 < 2, 2 > 0, 2 = 2; prompt 2: 3 < 5, 3 > 1, 4 < 5, 4 > 1
    assert head_to_head([one], [two]).estimate.value == (2.5 / 4 + 2 / 4) / 2
    assert head_to_head([two], [one]).estimate.value == 1 - (2.5 / 4 + 2 / 4) / 2
    assert win_rate([one]).value == 1.0


def test_seeds_that_share_rows_are_not_counted_twice():
    values = np.random.default_rng(0).normal(size=100)
    shared, apart = pooled([values, values]), pooled([values, values], same_rows=False)
    assert (
        shared.clusters == 100
        and apart.clusters == 200
        and shared.value == pytest.approx(apart.value)
    )
    assert shared.high - shared.low > 1.2 * (apart.high - apart.low)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.55, 0.65, "training helped"),
        (0.3, 0.45, "made it worse"),
        (0.4, 0.6, "undecided"),
        (None, None, "too few"),
    ],
)
def test_whether_training_helped(low, high, said):
    assert said in words.against_start("DPO", Estimate(0.5, low, high))


@pytest.mark.parametrize(
    ("taught", "versus", "said", "then"),
    [
        (1, 1, "took over from wrong labels", "more than DPO"),
        (1, -1, "took over from wrong labels", "fewer than DPO"),
        (0, 0, "nothing shows that DPO took over", "not told apart from DPO"),
        (-1, 0, "did not make it follow them", "not told apart from DPO"),
    ],
)
def test_what_was_remembered(taught, versus, said, then):
    found = words.memory_of_flips(
        rows_of(arms(8.0, 8.0)),
        Verdict(Estimate(0.1, 0.05, 0.15), taught, True),
        Verdict(Estimate(0.1, 0.05, 0.15), versus, True),
    )
    assert said in found and then in found


def test_unequal_distances_are_a_caution_only_where_something_was_decided():
    assert words.distance(0.2, 0.7, 0) == words.distance(0.5, 0.7, 1) == ""
    assert "KL 0.70 nats for rDPO, 0.20 for DPO" in words.distance(0.2, 0.7, 1) and words.distance(
        0.7, 0.2, -1
    )


def test_the_accuracy_sentence():
    shown = Estimate(0.031, 0.012, 0.05)
    assert "ranks better than DPO: the difference is +3.1 points (+1.2 to +5.0)" in words.accuracy(
        Verdict(shown, 1, True)
    )
    assert "ranks worse" in words.accuracy(
        Verdict(shown, -1, True)
    ) and "not told apart" in words.accuracy(Verdict(shown, 0, True))


def test_page_table_and_record_come_of_one_seed_too():
    some = arms(7.0, 9.0, seeds=(0,))
    assert table(some).row_count == 3 and verdicts(some)[ROBUST_PLAIN]["side"] == 1
    facts = [{"seed": 0, "pairs": 9, "flipped": 3, "right_before": 0.8, "right_after": 0.6}]
    page = story(some, facts, OPEN, TOLD, rate=0.3, size={}, seconds=1, quick=True, best=10).html()
    assert (
        "cannot tell how many labels are flipped (33.3% are)" in page
        and 'href="check/report.html"' in page
    )
    assert "one seed says nothing" in page
    assert "<b>a</b>" not in page and "&lt;b&gt;a&lt;/b&gt;" in page
