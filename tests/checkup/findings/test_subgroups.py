"""Subgroups: found where raters want opposite things, not where they differ in care; known groups;
what cannot be told.
"""

import json

import numpy as np
import pytest
from scipy.special import expit

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.latent_groups import EACH, disjoint, others, some_of_each, tied
from holdfast.checkup.estimators.propensity import matched
from holdfast.checkup.findings.subgroups import CONFOUNDED, subgroups
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Severity
from holdfast.types import Row, Where


def judged(seed, theta_ND, flip_N=None, prompts=None, **columns):
    """Answers with more or fewer exclamation and question marks, judged by the weights of each
    row.
    """
    rng, rows = np.random.default_rng(seed), []
    flip_N = np.zeros(len(theta_ND)) if flip_N is None else flip_N
    for i, theta_D in enumerate(theta_ND):
        counts = rng.poisson(2.0, (2, 2))
        a, b = (
            " ".join([f"w{rng.integers(50)}" for _ in range(8)]) + "!" * x + "?" * y
            for x, y in counts
        )
        gap = np.asarray(theta_D) @ (np.log1p(counts[0]) - np.log1p(counts[1]))
        first = (rng.random() < expit(gap)) ^ (rng.random() < flip_N[i])
        said = {name: values[i] for name, values in columns.items()}
        rows.append(
            Row(
                Where("made", i + 1),
                prompts[i] if prompts else f"question {i}",
                a if first else b,
                b if first else a,
                **said,
            )
        )
    return Comparisons.of(rows)


def by_raters(seed, opposed, raters=30, each=20, flips=None):
    rater_N = np.repeat(np.arange(raters), each)
    theta_ND = np.where((rater_N < opposed)[:, None], [-2.0, 1.5], [2.0, -1.5])
    return judged(
        seed,
        theta_ND,
        None if flips is None else np.array(flips)[rater_N],
        rater=[f"r{r}" for r in rater_N],
    )


def test_two_subgroups_are_found_with_their_shares_and_preferences():
    found = subgroups(by_raters(0, 9), CheckRequest())
    numbers = found.numbers
    assert found.severity is Severity.PROBLEM and numbers["subgroups"] == 2
    assert numbers["share_of_smallest"]["low"] < 0.3 < numbers["share_of_smallest"]["high"]
    assert numbers["accuracy_lost"]["low"] > 0 and numbers["disagreement"][0][1] > 0.6
    assert "2 subgroups" in found.says and found.remedy and found.examples and json.dumps(numbers)
    names = [chart.name for chart in found.charts]
    assert names == ["subgroups-preferences", "subgroups-number"] and all(
        chart.spec() for chart in found.charts
    )


@pytest.mark.parametrize("flips", [[0.05] * 30, [0.0] * 15 + [0.45] * 15])
def test_one_taste_is_one_camp_however_unlike_raters_are_in_care(flips):
    lights = [
        subgroups(by_raters(seed, 0, flips=flips), CheckRequest(seed=seed)).severity
        for seed in range(4)
    ]
    assert lights == [Severity.OK] * 4


def test_known_groups_of_opposite_tastes_are_told_from_groups_that_differ_in_noise():
    group_N = np.arange(600) % 2
    theta_ND = np.where((group_N == 1)[:, None], [-2.0, 1.5], [2.0, -1.5])
    opposed = subgroups(judged(0, theta_ND, group=[f"g{g}" for g in group_N]), CheckRequest())
    assert opposed.severity is Severity.PROBLEM and opposed.numbers["opposed_column"] == "group"
    assert opposed.numbers["columns"]["group"]["accuracy_of_on"]["g0"]["g1"]["high"] < 0.5
    noisy = subgroups(
        judged(0, np.tile([2.0, -1.5], (600, 1)), 0.35 * group_N, group=[f"g{g}" for g in group_N]),
        CheckRequest(),
    )
    assert noisy.severity is Severity.OK and noisy.numbers["opposed_column"] is None


def asked_of_kinds(rng, kind_N):
    """Prompts in the words of their kind, and some that both kinds hold."""
    return [
        " ".join(
            [
                *(f"k{k}w{w}" for w in rng.integers(6, size=3)),
                *(f"w{w}" for w in rng.integers(30, size=5)),
            ]
        )
        for k in kind_N
    ]


@pytest.mark.parametrize(
    ("likely", "opposed", "severity"),
    [(1.0, False, "inconclusive"), (0.8, False, "inconclusive"), (0.8, True, "problem")],
)
def test_groups_with_other_kinds_of_prompts_are_no_subgroups_and_opposed_tastes_are_found(
    likely, opposed, severity
):
    """What wins depends on the kind of prompt alone, `likely` that of the row's group; or on who
    judges, as well.
    """
    rng = np.random.default_rng(3)
    group_N = np.arange(2000) % 2
    kind_N = np.where(rng.random(2000) < likely, group_N, 1 - group_N)
    theta_ND = (
        np.where((kind_N == 1)[:, None], [2.0, 1.5], [2.0, -1.5])
        * np.where((group_N == 1) & opposed, -1.0, 1.0)[:, None]
    )
    found = subgroups(
        judged(3, theta_ND, prompts=asked_of_kinds(rng, kind_N), group=[f"g{g}" for g in group_N]),
        CheckRequest(),
    )
    assert found.severity == severity and found.numbers["opposed_column"] == (
        "group" if opposed else None
    )
    assert (
        (CONFOUNDED in found.cannot)
        == ("to other prompts" in found.says)
        == (not found.remedy)
        == (not opposed)
    )
    left = found.numbers["columns"]["group"]["matched"]
    assert left < 0.05 if likely == 1 else 0.3 < left < 0.5  # min(p, q) of both kinds: 0.2 + 0.2


def test_rows_are_thinned_to_what_both_groups_were_asked():
    prompts = ["a"] * 400 + ["b"] * 400 + ["c"] * 400
    group_S = np.array(
        [0] * 300 + [1] * 100 + [0] * 100 + [1] * 300 + [0] * 400
    )  # c is of one group alone
    kept_S = matched(prompts, group_S)[group_S, np.arange(1200)]
    p, q = (np.array([300, 100, 400]) / 800, np.array([100, 300, 0]) / 400)
    for k, part in enumerate((slice(0, 300), slice(400, 500), slice(800, 1200))):
        assert kept_S[part].mean() == pytest.approx(min(1, q[k] / p[k]), abs=0.08)
    for k, part in enumerate((slice(300, 400), slice(500, 800))):
        assert kept_S[part].mean() == pytest.approx(min(1, p[k] / q[k]), abs=0.08)


def test_prompts_dealt_by_lot_leave_every_row_and_kinds_of_ones_own_none():
    rng = np.random.default_rng(0)
    kind_N = rng.integers(2, size=800)
    prompts = asked_of_kinds(rng, kind_N)
    assert matched(prompts, rng.permutation(kind_N)).all(axis=0).mean() > 0.9
    assert matched(prompts, kind_N)[kind_N, np.arange(800)].mean() < 0.02


def test_without_raters_it_says_that_it_cannot_know():
    data = by_raters(0, 9)
    found = subgroups(
        Comparisons.of([Row(r.where, r.prompt, r.chosen, r.rejected) for r in data.rows]),
        CheckRequest(),
    )
    assert (
        found.severity is Severity.INCONCLUSIVE
        and "rater" in found.cannot
        and found.numbers["subgroups"] == 1
    )


def test_features_that_predict_nobody_are_not_called_good():
    rng = np.random.default_rng(0)
    rows = [
        Row(
            Where("made", i),
            f"q {i}",
            f"w{rng.integers(99)}",
            f"w{rng.integers(99)}",
            group=f"g{i % 2}",
        )
        for i in range(300)
    ]
    assert subgroups(Comparisons.of(rows), CheckRequest()).severity is Severity.INCONCLUSIVE


def test_rankings_by_one_model_are_no_camps():
    rows = []
    for seed in range(2):
        rng, rows = np.random.default_rng(seed), []
        for r in range(80):
            place_A = np.argsort(np.argsort(-(np.linspace(0, 2, 5) + rng.gumbel(size=5))))
            pairs = [
                (a, b) if place_A[a] < place_A[b] else (b, a) for a in range(5) for b in range(a)
            ]
            rows += [
                Row(Where("made", 1), "best?", f"item {win}", f"item {lose}", rater=f"r{r}")
                for win, lose in pairs
            ]
        assert (
            subgroups(Comparisons.of(rows), CheckRequest(seed=seed)).severity
            is not Severity.PROBLEM
        )


def test_rows_kept_of_a_rater_share_no_answer():
    answers_N2 = np.array([[0, 1], [1, 2], [2, 3], [0, 1], [4, 5]])
    code_N = np.array([0, 0, 0, 1, -1])
    for seed in range(5):
        kept = disjoint(answers_N2, code_N, seed)
        mine = answers_N2[kept[code_N[kept] == 0]].ravel()
        assert len(mine) == len(set(mine.tolist())) and 3 in kept and 4 not in kept


def test_of_raters_who_say_much_some_rows_are_kept_and_all_raters():
    code_N = np.repeat([0, 1, 2], [EACH + 50, 10, EACH])
    kept = some_of_each(np.arange(len(code_N)), code_N, 0)
    assert np.bincount(code_N[kept]).tolist() == [EACH, 10, EACH] and len(
        set(kept.tolist())
    ) == len(kept)


def test_what_others_say_leaves_out_ones_own():
    rows = [
        Row(Where("made", i), "p", win, lose, rater=r)
        for i, (win, lose, r) in enumerate([("a", "b", "x"), ("a", "b", "y"), ("b", "a", "z")])
    ]
    # for x: others have a one win and one loss; for z: others have b two losses
    assert others(Comparisons.of(rows)).tolist() == [[0.0, 0.0], [0.0, 0.0], [-1.0, -0.5]]


def test_a_tie_pulls_towards_its_target():
    x_ND = np.random.default_rng(0).normal(size=(50, 2)) + [1.0, 0.0]
    to_D = np.array([0.3, -0.2])
    assert tied(x_ND, to_D, 1e9) == pytest.approx(to_D, abs=1e-6)
    found_D = tied(x_ND, to_D, 2.0)
    assert x_ND.T @ (1 - expit(x_ND @ found_D)) == pytest.approx(2.0 * (found_D - to_D), abs=1e-3)


@pytest.mark.parametrize("n", [5, 80])
def test_few_rows_empty_texts_one_prompt(n):
    rows = [
        Row(Where("made", i), "", "", "", rater=f"r{i % 2}", group=f"g{i % 3}") for i in range(n)
    ]
    assert subgroups(Comparisons.of(rows), CheckRequest()).severity is Severity.INCONCLUSIVE
