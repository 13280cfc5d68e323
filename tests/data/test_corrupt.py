"""Planted flaws: known rates, seeds that repeat, and nothing else changed."""

import math
from collections import Counter, defaultdict

import pytest

from holdfast.data.corrupt import (
    FLAWS,
    contradict,
    cycles,
    duplicate,
    flip,
    flip_by_group,
    flip_by_length,
    flip_by_rater,
    triples,
)
from holdfast.errors import DataError, OptionError
from holdfast.types import Row, Where

N = 4000
PAIRS = tuple(
    Row(
        Where("f", i),
        f"p{i % 1000}",
        "c" * (1 + i * 7 % 40) + str(i % 7),
        "r" * (1 + i * 11 % 40) + str(i % 11),
        group="gh"[i % 2],
        rater=f"r{i % 5}",
        strength=float(i),
        extra={"k": i},
    )
    for i in range(N)
)


def swapped(before, after):
    return {
        i
        for i, (a, b) in enumerate(zip(before, after, strict=True))
        if (a.chosen, a.rejected) == (b.rejected, b.chosen)
    }


def near(count, expected, of):
    """Within five standard deviations of a binomial count (or of a sum of unequal coins, which
    scatters less).
    """
    p = expected / of
    return abs(count - expected) <= 5 * math.sqrt(of * p * (1 - p))


@pytest.mark.parametrize("name", FLAWS)
def test_seeds_repeat_rate_zero_is_the_identity_and_places_are_right(name):
    flaw = FLAWS[name]
    assert flaw(PAIRS, rate=0.0)[0] == PAIRS
    assert flaw(PAIRS, rate=0.0)[1].changed == ()
    rows, planted = flaw(PAIRS, rate=0.3, seed=5)
    assert flaw(PAIRS, rate=0.3, seed=5) == (rows, planted)
    assert flaw(PAIRS, rate=0.3, seed=6)[0] != rows
    assert planted.hit == round(planted.realized * planted.eligible)
    assert near(planted.hit, 0.3 * planted.eligible, planted.eligible)
    untouched = [row for i, row in enumerate(rows) if i not in set(planted.changed)]
    assert not set(map(id, untouched)) - set(map(id, PAIRS))
    assert planted.to_dict()["realized"] == planted.realized
    assert planted.flaw == name


@pytest.mark.parametrize("name", FLAWS)
@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_rates_that_are_no_probability(name, rate):
    with pytest.raises(OptionError, match="is no probability"):
        FLAWS[name](PAIRS, rate=rate)


@pytest.mark.parametrize("rate", [0.1, 0.3, 1.0])
def test_uniform_flips(rate):
    rows, planted = flip(PAIRS, rate=rate, seed=1)
    assert swapped(PAIRS, rows) == set(planted.changed)
    assert near(planted.hit, rate * N, N)
    i = planted.changed[0]
    assert (rows[i].strength, rows[i].extra, rows[i].where) == (
        PAIRS[i].strength,
        PAIRS[i].extra,
        PAIRS[i].where,
    )


def test_ties_and_single_answers_are_passed_through():
    others = (Row(Where("f", 1), "p", "a", "b", tie=True), Row(Where("f", 2), "p", answer="a"))
    rows, planted = flip((*others, PAIRS[0]), rate=1.0)
    assert rows[:2] == others
    assert (planted.eligible, planted.changed) == (1, (2,))
    with pytest.raises(DataError, match="no row is a comparison"):
        flip(others, rate=0.5)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.6])
def test_flips_linked_to_length_keep_the_mean_and_rise_with_the_difference(rate):
    rows, planted = flip_by_length(PAIRS, rate=rate, seed=2)
    assert near(planted.hit, rate * N, N)
    hit = set(planted.changed)
    order = sorted(range(N), key=lambda i: len(PAIRS[i].rejected) - len(PAIRS[i].chosen))
    thirds = [sum(i in hit for i in order[k * N // 3 : (k + 1) * N // 3]) for k in range(3)]
    assert thirds[0] * 2 < thirds[1] < thirds[2] / 1.2
    longer = sum(len(r.chosen) > len(r.rejected) for r in rows)
    assert longer > sum(len(r.chosen) > len(r.rejected) for r in PAIRS)


def test_lengths_all_alike_give_a_uniform_flip():
    rows = tuple(Row(Where("f", i), "p", "aa", "bb") for i in range(1000))
    assert near(flip_by_length(rows, rate=0.2)[1].hit, 200, 1000)


def test_flips_linked_to_a_group_at_rates_of_their_own():
    rows, planted = flip_by_group(PAIRS, rate={"h": 0.4}, seed=3)
    assert planted.rate == pytest.approx(0.2)
    assert planted.by["g"] == 0.0
    assert near(planted.by["h"] * N / 2, 0.4 * N / 2, N / 2)
    assert all(PAIRS[i].group == "h" for i in swapped(PAIRS, rows))


def test_flips_linked_to_a_rater_with_one_mean_rate():
    rows, planted = flip_by_rater(PAIRS, rate=0.25, seed=4)
    assert near(planted.hit, 0.25 * N, N)
    assert sorted(planted.by) == ["r0", "r1", "r2", "r3", "r4"]
    assert max(planted.by.values()) > 4 * min(planted.by.values())
    assert sum(planted.by.values()) / 5 == pytest.approx(planted.realized)
    assert flip_by_rater(PAIRS, rate=0.25, seed=5)[1].by.keys() == planted.by.keys()
    assert {f"r{i % 5}": 0.0 for i in swapped(PAIRS, rows)}.keys() == {
        name for name, rate in planted.by.items() if rate
    }


def test_groups_that_are_not_there():
    bare = tuple(Row(row.where, row.prompt, row.chosen, row.rejected) for row in PAIRS[:10])
    for flaw, column in ((flip_by_group, "group"), (flip_by_rater, "rater")):
        with pytest.raises(
            DataError, match=f"no row has a `{column}`(.|\n)*hint: add a `{column}` column"
        ):
            flaw(bare, rate=0.1)
        with pytest.raises(OptionError, match=f"no row has the {column} `z`"):
            flaw(PAIRS, rate={"z": 0.1})
        with pytest.raises(OptionError, match="no probability"):
            flaw(PAIRS, rate={"g": 2.0})


def beats(rows):
    """For each prompt the set of (better, worse)."""
    edges = defaultdict(set)
    for row in rows:
        edges[row.prompt].add((row.chosen, row.rejected))
    return edges


def has_cycle(edges):
    return any(
        (b, c) in edges and (c, a) in edges for a, b in edges for _, c in edges if c not in (a, b)
    )


def ranked_prompts(n, answers="abc"):
    """Each prompt with every comparison of its answers, in alphabetical order of preference."""
    return tuple(
        Row(Where("f", p), f"p{p}", better, worse)
        for p in range(n)
        for k, better in enumerate(answers)
        for worse in answers[k + 1 :]
    )


@pytest.mark.parametrize("answers", ["abc", "abcde"])
def test_cycles_among_three_answers(answers):
    clean = ranked_prompts(600, answers)
    assert not any(map(has_cycle, beats(clean).values()))
    rows, planted = cycles(clean, rate=0.25, seed=1)
    assert sum(map(has_cycle, beats(rows).values())) == planted.hit
    assert planted.eligible == 600
    assert near(planted.hit, 150, 600)
    # a ranking of three needs one turn to run in a circle, and all three comparisons are there
    assert len(rows) == len(clean)
    assert len(planted.changed) == planted.hit


def test_cycles_add_the_comparison_that_is_missing_and_turn_every_vote():
    chain = (
        Row(Where("f", 1), "p", "a", "b"),
        Row(Where("f", 2), "p", "a", "b"),
        Row(Where("f", 3), "p", "b", "c"),
    )
    rows, planted = cycles((*chain, Row(Where("f", 4), "q", "a", "b")), rate=1.0)
    assert [(r.chosen, r.rejected) for r in rows[:4]] == [
        ("a", "b"),
        ("a", "b"),
        ("b", "c"),
        ("c", "a"),
    ]
    assert (planted.eligible, planted.hit, planted.changed) == (1, 1, (3,))
    split = (Row(Where("f", 1), "p", "a", "b"), Row(Where("f", 2), "p", "b", "a"), *chain)
    for seed in range(5):
        assert len(beats(cycles(split, rate=1.0, seed=seed)[0])["p"]) == 3
    with pytest.raises(DataError, match="no prompt has three answers"):
        cycles(ranked_prompts(5, "ab"), rate=0.5)


def test_triples_borrow_a_third_answer():
    clean = tuple(Row(Where("f", i), f"p{i}", f"a{i}", f"b{i}") for i in range(500))
    rows, planted = triples(clean, rate=0.2, seed=1)
    assert len(rows) == 500 + 2 * planted.hit
    assert len(planted.changed) == 2 * planted.hit
    assert sum(map(has_cycle, beats(rows).values())) == planted.hit
    same = tuple(Row(Where("f", i), f"p{i}", "Yes", "No") for i in range(5))
    with pytest.raises(DataError, match="no third can be borrowed"):
        triples(same, rate=1.0)


def test_duplicates_and_contradictions():
    rows, planted = duplicate(PAIRS, rate=0.1, seed=1)
    assert Counter(row.where for row in rows).most_common(1)[0][1] == 2
    assert all(rows[i] == rows[i - 1] for i in planted.changed)
    assert len(rows) == N + planted.hit
    assert near(planted.hit, 0.1 * N, N)
    rows, planted = contradict(PAIRS, rate=0.1, seed=1)
    assert all(
        (rows[i].chosen, rows[i].rejected) == (rows[i - 1].rejected, rows[i - 1].chosen)
        for i in planted.changed
    )
    assert len(rows) == N + planted.hit
    answer = Row(Where("f", 1), "p", answer="a")
    assert duplicate((answer,), rate=1.0)[0] == (answer, answer)


def test_where_raters_rank_several_answers_each_rater_may_run_in_a_circle():
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    rows = [
        Row(Where("f", 3 * r + i + 1), prompt="p", chosen=w, rejected=x, rater=f"r{r}")
        for r in range(200)
        for i, (w, x) in enumerate(pairs)
    ]
    out, planted = cycles(rows, rate=0.4, seed=0)
    assert planted.eligible == 200 and abs(planted.realized - 0.4) < 0.1
    for r in range(200):
        beats = {(row.chosen, row.rejected) for row in out if row.rater == f"r{r}"}
        circles = beats in (
            {("a", "b"), ("b", "c"), ("c", "a")},
            {("b", "a"), ("c", "b"), ("a", "c")},
        )
        assert circles or beats == set(pairs)
