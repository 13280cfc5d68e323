"""Score functions by hand, selections against enumeration, and the models of biased rankings."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from holdfast.errors import DataError, OptionError
from holdfast.lab.worlds.rankings import by_utility, impartial, mallows, swapped, urn
from holdfast.pluralism.subsets import (
    BLOC,
    BORDA,
    CHAMBERLIN_COURANT,
    RULES,
    SNTV,
    positions,
    proportional,
    quality,
    select,
    smoothness,
    value,
)

BALLOTS = positions([[0, 2, 1, 3], [2, 0, 3, 1], [0, 1, 2, 3]], 4)
GROUPS = ["first", "first", "second", "second"]


def test_score_functions_by_hand():
    def each(rule, k):
        return [value(rule, BALLOTS, [c], k) / 3 for c in range(4)]

    assert each(SNTV, 2) == pytest.approx([2 / 3, 0, 1 / 3, 0])
    assert each(BLOC, 2) == pytest.approx([1, 1 / 3, 2 / 3, 0])
    assert each(BORDA, 2) == pytest.approx(
        [3 * p for p in (0.888889, 0.333333, 0.666667, 0.111111)], abs=1e-5
    )
    pairs = {(0, 2): 1.0, (0, 1): 0.888889, (1, 2): 0.777778, (2, 3): 0.666667, (1, 3): 0.444444}
    for pair, expected in pairs.items():
        assert value(CHAMBERLIN_COURANT, BALLOTS, pair, 2) / 9 == pytest.approx(expected, abs=1e-6)
    assert each(BLOC, 1) == each(SNTV, 1)
    assert value(BORDA, BALLOTS, [0], 1) > value(
        BORDA, BALLOTS, [3], 1
    )  # the first place is worth most


def test_selection_is_the_best_that_keeps_its_quotas():
    rng = np.random.default_rng(0)
    for seed in range(10):
        position = impartial(15, 8, rng)
        groups = ["a", "b", "b", "a", "a", "b", "a", "a"]
        weight = rng.integers(1, 5, 15)
        for rule in RULES.values():
            for quotas in ({}, {"b": 2}, {"a": 1, "b": 3}):
                chosen = select(
                    rule, position, 4, group_M=groups, at_least=quotas, weight_V=weight, seed=seed
                )
                allowed = [
                    s
                    for s in combinations(range(8), 4)
                    if all(sum(groups[i] == g for i in s) >= n for g, n in quotas.items())
                ]
                best = max(value(rule, position, s, 4, weight_V=weight) for s in allowed)
                assert tuple(sorted(chosen.items)) in allowed
                assert chosen.score == pytest.approx(
                    value(rule, position, chosen.items, 4, weight_V=weight)
                )
                assert chosen.score >= (
                    best - 1e-9 if rule.additive else (0.5 if quotas else 1 - 1 / np.e) * best
                )
                assert chosen.exact is rule.additive
    assert quality(BORDA, position, range(8)) == 1


def test_a_constant_against_a_group_does_not_move_a_quota():
    score = np.array([5.0, 4, 3, 2, 1, 0])
    seen = [
        np.tile((-(score - shift * (np.arange(6) % 2))).argsort().argsort(), (3, 1))
        for shift in (0, 9)
    ]
    assert seen[0][0].tolist() == [0, 1, 2, 3, 4, 5] and seen[1][0].tolist() == [0, 3, 1, 4, 2, 5]
    kept = [
        select(BORDA, position, 4, group_M=[0, 1] * 3, at_least={0: 2, 1: 2}).items
        for position in seen
    ]
    assert set(kept[0]) == set(kept[1])


def test_ties_are_broken_at_random():
    alike = positions([[0, 1, 2, 3]], 4)
    second = [select(SNTV, alike, 2, seed=s).items[1] for s in range(60)]
    assert set(second) == {1, 2, 3}


def test_ballots_that_leave_items_out():
    partial = positions([[2], [0, 1]], 4)
    assert np.isnan(partial).sum() == 5
    assert BORDA.points(partial, 1).tolist() == [[1, 1, 3, 1], [3, 2, 0.5, 0.5]]
    assert BLOC.points(partial, 2).tolist() == [[0, 0, 1, 0], [1, 1, 0, 0]]
    assert BORDA.points(partial, 1).sum(1).tolist() == [6, 6]
    with pytest.raises(DataError, match="ranking 0 names item 1"):
        positions([[1, 1]], 3)


def test_quotas_by_shares():
    assert proportional(["a"] * 5 + ["b"] * 5, 4) == {"a": 2, "b": 2}
    assert proportional(["a"] * 7 + ["b"] * 3, 5) == {"a": 4, "b": 1} or proportional(
        ["a"] * 7 + ["b"] * 3, 5
    ) == {"a": 3, "b": 2}
    assert sum(proportional(list("aabbbcccccc"), 7).values()) == 7


def test_smoothness_by_hand():
    score, seen = [4.0, 2.0, 4.0, 1.0], [4.0, 3.0, 1.0, 0.5]
    assert smoothness(score, seen, GROUPS, beta=0.5) == pytest.approx(
        0.75
    )  # pairs (0, 1) and (2, 3)
    assert smoothness(score, seen, GROUPS, beta=0.25) == pytest.approx(
        0.5
    )  # (2, 3) alone is that far apart
    assert smoothness(score, [4, 5, 1, 0], GROUPS, beta=0.5) == pytest.approx(1.25)


def test_what_cannot_be_chosen_is_refused():
    for keywords, what in (
        ({"k": 5}, "number of items, 4"),
        ({"k": 2, "group_M": GROUPS, "at_least": {"second": 3}}, "has 2 items"),
        ({"k": 2, "group_M": GROUPS, "at_least": {"first": 2, "second": 1}}, "more than k"),
    ):
        with pytest.raises(OptionError, match=what):
            select(BORDA, BALLOTS, **keywords)
    with pytest.raises(OptionError, match="no score function"):
        select("bordo", BALLOTS, 2)
    with pytest.raises(DataError, match="groups"):
        select(BORDA, BALLOTS, 2, group_M=["a"])
    with pytest.raises(DataError, match="weights"):
        select(BORDA, BALLOTS, 2, weight_V=[-1, 1, 1])


# ------------------------------------------------------------ rankings


def discordant(position):
    return sum(a > b for i, a in enumerate(position) for b in position[i + 1 :])


def test_mallows_has_its_expected_distance():
    rng, phi, m = np.random.default_rng(0), 0.6, 6
    drawn = mallows(np.arange(m), phi, 4000, rng)
    expected = sum(i * phi**i / (1 - phi**i) for i in range(1, m + 1))
    expected = m * phi / (1 - phi) - expected
    assert np.mean([discordant(p) for p in drawn]) == pytest.approx(expected, abs=0.1)
    turned = mallows(np.arange(m)[::-1], 1e-6, 3, rng)
    assert (turned == np.arange(m)[::-1]).all()


def test_the_other_models_are_permutations():
    rng = np.random.default_rng(1)
    second = np.arange(8) % 2 == 1
    for drawn in (
        impartial(50, 8, rng),
        urn(50, 8, 1.0, rng),
        by_utility(rng.random(8), 50, 0.1, rng, second_M=second, theta=0.5),
        swapped(impartial(50, 8, rng), second, phi=0.5, share=0.4, rng=rng),
    ):
        assert (np.sort(drawn, axis=1) == np.arange(8)).all()
    assert len(np.unique(urn(200, 8, 1.0, rng), axis=0)) < 40


def test_swaps_move_the_second_group_down_and_end_in_segregation():
    rng = np.random.default_rng(2)
    second = np.arange(20) % 2 == 1
    latent = mallows(rng.permutation(20), 0.9, 300, rng)

    def ahead(position):
        return (position[:, ~second][:, :, None] < position[:, second][:, None, :]).mean()

    shares = [
        ahead(swapped(latent, second, phi=0.5, share=share, rng=rng))
        for share in (0, 0.1, 0.25, 0.5, 1.0)
    ]
    assert shares[0] == ahead(latent)
    assert (np.diff(shares) > 0).all()
    assert shares[-1] == 1.0
    one = np.array(
        [[2, 0, 1, 3]]
        # item 1 (second) is first; the first group's items 0 and 2 are below it, at distances 2 and
        # 1
    )
    hit = [
        int(
            swapped(one, np.array([False, True, False, True]), phi=0.5, share=0.5, rng=rng)[0, 0]
            == 0
        )
        for _ in range(2000)
    ]
    assert np.mean(hit) == pytest.approx(1 / 3, abs=0.04)  # phi^2 against phi


@pytest.mark.parametrize(
    "places",
    [[[0, 0, 2]], [[1, 2, 3]], [[0.5, 1, 2]], [[-1, 0, 1]], [[0, 2, np.nan]], [[0, 1, np.inf]]],
)
def test_places_that_are_no_ranking_are_refused(places):
    with pytest.raises(DataError, match="the places of voter 0 are no ranking"):
        select(BORDA, places, 1)


def test_equal_remainders_go_to_the_group_that_comes_first():
    """Seven items, k = 2: shares 2/7 x (3, 3, 1) leave remainders 6/7, 6/7, 2/7. In floats 1.1 x 3
    would not be 3.3.
    """
    assert proportional(["a"] * 3 + ["b"] * 3 + ["c"], 2) == {"a": 1, "b": 1, "c": 0}
    for n in range(2, 40):
        groups = [i for i in range(n) for _ in range(3)]
        for k in range(0, 3 * n, 7):
            quota = proportional(groups, k)
            more = k % n  # every remainder is the same
            assert [quota[i] for i in range(n)] == [k // n + (i < more) for i in range(n)]
    for wrong in (-1, 4, 1.5, True):
        with pytest.raises(OptionError, match="k is"):
            proportional(["a", "b", "c"], wrong)
    with pytest.raises(DataError, match="no item"):
        proportional([], 0)


def test_scores_that_differ_by_rounding_are_ties_broken_by_the_seed():
    """Three voters of weight 0.1 against one of 0.3: 0.1 + 0.1 + 0.1 is 0.30000000000000004."""
    places = positions([[0, 1]] * 3 + [[1, 0]], 2)
    first = {
        select(SNTV, places, 1, weight_V=[0.1, 0.1, 0.1, 0.3], seed=s).items[0] for s in range(30)
    }
    assert first == {0, 1}


def test_items_of_a_value_are_different_places_of_the_table():
    for wrong in ([0, 0], [5], [-1], [0.5]):
        with pytest.raises(DataError, match="different whole numbers"):
            value(BORDA, positions([[0, 1]], 2), wrong, 1)
