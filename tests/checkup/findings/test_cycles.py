"""Cycles: counted by hand, found where planted, explained by chance where a ranking made the
data.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from holdfast.checkup.estimators.tournament import (
    BENDS,
    Tournament,
    apart_from_rankings,
    clearest_cycle,
    cyclic_share,
    energies,
    fit,
    increasing,
    left_by_rankings,
    linked,
    scores_of,
    triangles,
)
from holdfast.checkup.findings.cycles import (
    Chances,
    Pooled,
    _beyond,
    _levels,
    _measure,
    _scaled,
    cycles,
)
from holdfast.checkup.result import Severity
from tests.checkup.rows import HOSTILE, QUIET, comparisons, drawable, plain_rows


def met(pairs):
    winner, loser = np.array(pairs).T
    return Tournament.of(winner, loser, np.arange(len(pairs)))


def games(n, logit_AA, seed=0, flip=0.0):
    """n games between random players."""
    rng = np.random.default_rng(seed)
    size = len(logit_AA)
    rows = []
    for _ in range(n):
        one, two = rng.choice(size, 2, replace=False)
        p = flip + (1 - 2 * flip) * expit(logit_AA[one, two])
        first = rng.random() < p
        rows.append({"winner": f"p{one if first else two}", "loser": f"p{two if first else one}"})
    return rows


def ranking(size=8, seed=0):
    s = np.random.default_rng(seed).normal(size=size) * 1.5
    return s[:, None] - s


def wheel(size=9, strength=2.0):
    """Players on a circle: each beats the third of them that follows."""
    angle = 2 * np.pi * np.arange(size) / size
    return strength * np.sin(angle[None] - angle[:, None])


# ------------------------------------------------------------ the graph


def test_triangles_and_cycles_by_hand():
    t = met([(0, 1), (1, 2), (2, 0), (0, 3), (3, 1), (5, 6)])  # 5 and 6 stand alone
    assert len(t.nodes) == 4 and len(t.edge_E2) == 5 and t.cycle_rank == 2
    assert sorted(map(tuple, np.sort(t.triangle_T3))) == [(0, 1, 3), (0, 2, 4)]
    assert cyclic_share(t, t.triangle_T3) == 0.5
    assert t.turns(t.triangle_T3)[0].sum() == 1
    assert met([(0, 1), (1, 2)]).cycle_rank == 0


def test_triangles_equal_the_slow_way_and_all_are_closed():
    rng = np.random.default_rng(0)
    edges = np.array([(i, j) for i in range(30) for j in range(i + 1, 30) if rng.random() < 0.3])
    there = {tuple(edge) for edge in edges.tolist()}
    slow = sum(
        (i, j) in there and (j, k) in there and (i, k) in there
        for i in range(30)
        for j in range(i, 30)
        for k in range(j, 30)
    )
    found = triangles(edges, 30)
    assert len(found) == slow == len(np.unique(np.sort(found, axis=1), axis=0))
    for ij, jk, ik in edges[found]:
        assert ij[0] == ik[0] and ij[1] == jk[0] and jk[1] == ik[1]


def test_verdicts_on_one_meeting_are_averaged():
    t = Tournament.of(
        np.array([0, 0, 1, 1, 2]), np.array([1, 1, 0, 2, 0]), np.array([7, 7, 7, 8, 9])
    )
    assert len(t.at_U) == 3 and t.win_E.tolist() == [pytest.approx(2 / 3), 0.0, 1.0]


def test_energies_have_no_noise_in_the_mean():
    """E[(mean - m)^2 - spread / n] = (mu - m)^2, by 4000 draws."""
    rng = np.random.default_rng(0)
    p, m = np.array([0.7, 0.4, 0.5]), np.array([0.6, 0.4, 0.8])
    base = Tournament(
        np.arange(3),
        np.array([[0, 1], [0, 2], [1, 2]]),
        np.repeat([0, 1, 2], [3, 5, 2]),
        np.zeros(10),
        np.arange(10),
    )
    found = np.mean([energies(base.again(p[base.at_U], rng), m) for _ in range(4000)], axis=0)
    n = np.array([3, 5, 2])
    assert found == pytest.approx(
        [(n * (2 * p - 1) ** 2).sum(), (n * (2 * p - 2 * m) ** 2).sum()], abs=0.2
    )


def test_scores_equal_a_library_s():
    from sklearn.linear_model import LogisticRegression

    t = met([(int(r["winner"][1:]), int(r["loser"][1:])) for r in games(300, ranking())])
    x = np.zeros((2 * len(t.edge_E2), len(t.nodes)))
    rows = np.arange(len(t.edge_E2))
    for start in (0, len(rows)):
        x[start + rows, t.edge_E2[:, 0]], x[start + rows, t.edge_E2[:, 1]] = 1, -1
    weights = np.r_[t.n_E * t.win_E, t.n_E * (1 - t.win_E)] + 1e-12
    model = LogisticRegression(C=1 / 0.5, fit_intercept=False, tol=1e-10, max_iter=1000).fit(
        x, np.repeat([1, 0], len(rows)), weights
    )
    assert scores_of(t.edge_E2, t.n_E, t.win_E, len(t.nodes), ridge=0.5) == pytest.approx(
        model.coef_[0], abs=2e-3
    )


def test_the_link_turns_around_and_never_falls():
    value_K = increasing(
        np.array([1.0, 2.0, -1.5, 3.0]), np.array([0.6, 0.9, 0.3, 0.5]), np.ones(4)
    )
    at = np.linspace(-8, 8, 99)
    assert linked(at, value_K) + linked(-at, value_K) == pytest.approx(np.ones(99))
    assert (np.diff(linked(at, value_K)) >= 0).all() and linked(np.zeros(1), value_K) == 0.5


def test_the_link_is_the_nearest_one():
    """Least squares over rises >= 0, by a library that solves for bounds directly."""
    from scipy.optimize import lsq_linear

    rng = np.random.default_rng(0)
    gap, n = rng.normal(size=200) * 2, rng.integers(1, 9, 200).astype(float)
    won = np.clip(expit(gap) + 0.2 * rng.normal(size=200), 0.0, 1.0)
    ramp = np.clip((np.abs(gap)[:, None] - BENDS[:-1]) / np.diff(BENDS), 0, 1)
    rises = lsq_linear(
        np.sqrt(n)[:, None] * ramp, np.sqrt(n) * np.sign(gap) * (2 * won - 1), (0, np.inf)
    ).x
    assert increasing(gap, won, n) == pytest.approx(
        0.5 + np.minimum(np.r_[0, np.cumsum(rises)], 1) / 2, abs=1e-5
    )


def test_nearly_equal_contestants_explain_no_wheel():
    """Where a link may jump anywhere, noise in the scores of equals orders their edges, and the
    order explains much of a wheel.
    """
    off, rng = np.triu_indices(9, 1), np.random.default_rng(0)
    s_A, won = rng.normal(size=9) * 0.05, expit(wheel(strength=3.0))[off]
    gap = s_A[off[0]] - s_A[off[1]]
    left = (won - linked(gap, increasing(gap, won, np.ones(36)))) ** 2
    assert left.sum() / ((won - 0.5) ** 2).sum() > 0.95


# ------------------------------------------------------------ the finding


def test_a_cyclic_tournament_is_found():
    found = drawable(cycles(comparisons(games(2500, wheel())), QUIET))
    numbers = found.numbers["levels"]["name"]
    assert found.severity is Severity.PROBLEM and numbers["p"] <= 0.02
    assert found.estimate.low > 0.8  # no ranking explains it
    assert numbers["cyclic_share_of_triangles"] > numbers["by_chance"] + 0.04
    assert numbers["held_out"]["gained"]["nats"]["low"] > 0.05
    assert found.examples and "in a cycle" in found.examples[0].why and found.tables[1].rows


def test_a_ranking_does_not_even_with_flipped_labels():
    for flip in (0.0, 0.25):
        found = drawable(cycles(comparisons(games(2500, ranking(), flip=flip)), QUIET))
        assert found.severity is Severity.OK, found.says
        assert found.estimate.low == 0.0


def test_the_cyclic_share_is_the_planted_one():
    """Half ranking, half wheel, in win rates: the share of the variance that no ranking explains is
    known.
    """
    size = 9
    logit = 0.6 * wheel(size) + 0.25 * (np.arange(size)[:, None] - np.arange(size))
    p = expit(logit)
    s = scores_of(
        np.array(np.triu_indices(size, 1)).T,
        np.full(36, 1e4),
        p[np.triu_indices(size, 1)],
        size,
        ridge=1e-3,
    )
    off = np.triu_indices(size, 1)
    gap = (s[:, None] - s)[off]
    fitted = linked(gap, increasing(gap, p[off], np.ones(36)))
    truth = ((2 * p[off] - 2 * fitted) ** 2).sum() / ((2 * p[off] - 1) ** 2).sum()
    found = cycles(comparisons(games(6000, logit)), QUIET)
    assert 0.05 < truth < 0.8 and found.estimate.low < truth < found.estimate.high


def test_a_ranking_and_a_wheel_are_taken_apart():
    ring = met([(0, 1), (1, 2), (0, 2)] * 2)  # edges (0, 1), (0, 2), (1, 2)
    assert np.allclose(
        apart_from_rankings(ring, np.array([1.0, 3.0, 2.0])), 0, atol=1e-6
    )  # scores 3, 2, 0
    wheel_E = np.array([1.0, -1.0, 1.0])
    assert np.allclose(
        apart_from_rankings(ring, wheel_E + np.array([1.0, 3.0, 2.0])), wheel_E, atol=1e-6
    )
    assert (
        left_by_rankings(ring, expit(np.array([1.0, 3.0, 2.0]))) < 1e-3
        and left_by_rankings(ring, expit(wheel_E)) > 0.99
    )
    p_E = _scaled(ring, np.array([0.2, 1.0, -0.5]), 3.0)
    assert (
        abs((ring.n_E * (2 * p_E - 1) ** 2).sum() - 3.0) < 1e-6
        and np.ptp(logit(p_E) / [0.2, 1.0, -0.5]) < 1e-6
    )


def test_answers_of_one_prompt_and_models_across_prompts():
    rng = np.random.default_rng(0)
    rows = []
    for i in range(60):
        texts = [f"answer {k} of {i} {rng.random()}" for k in range(3)]
        for one in range(3):
            two = (one + 1) % 3
            row = {"prompt": f"question {i}", "chosen": texts[one], "rejected": texts[two]}
            rows.append({**row, "chosen_model": f"m{one}", "rejected_model": f"m{two}"})
    found = drawable(cycles(comparisons(rows), QUIET))
    assert (
        set(found.numbers["levels"]) == {"answer", "model"} and found.severity is Severity.PROBLEM
    )
    assert found.numbers["levels"]["answer"]["cycles"] == 60
    assert found.numbers["levels"]["model"]["cycles"] == 1


def test_without_rings_there_is_nothing_to_say():
    assert cycles(comparisons(plain_rows(30)), QUIET).severity is Severity.NOT_APPLICABLE
    assert (
        cycles(comparisons([{"winner": "a", "loser": f"b{i}"} for i in range(9)]), QUIET).severity
        is Severity.NOT_APPLICABLE
    )


@pytest.mark.parametrize(
    "rows", [plain_rows(1), HOSTILE, [{"winner": a, "loser": b} for a, b in ("ab", "bc", "ca")]]
)
def test_little_or_strange_data(rows, tmp_path):
    drawable(cycles(comparisons(rows, quarantine=tmp_path / "aside.jsonl"), QUIET))


def test_the_model_expects_what_unseen_meetings_bear_out():
    t = met([(int(r["winner"][1:]), int(r["loser"][1:])) for r in games(3000, ranking(), flip=0.2)])
    model = fit(t, np.random.default_rng(0))
    s = ranking()
    truth = (0.2 + 0.6 * expit(s))[t.nodes[t.edge_E2[:, 0]], t.nodes[t.edge_E2[:, 1]]]
    assert np.abs(model.expected_E - truth).mean() < 0.06


def once_each(logit_AA, seed=0):
    """Every pair meets once: no variance can be split, and cycles look like noise to whoever only
    counts them.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for one in range(len(logit_AA)):
        for two in range(one + 1, len(logit_AA)):
            first = rng.random() < expit(logit_AA[one, two])
            rows.append(
                {"winner": f"p{one if first else two}", "loser": f"p{two if first else one}"}
            )
    return rows


def test_circles_between_pairs_that_met_once_are_learned():
    angle = np.random.default_rng(0).random(40) * 2 * np.pi
    found = cycles(comparisons(once_each(4.0 * np.sin(angle[None] - angle[:, None]))), QUIET)
    assert found.severity is Severity.PROBLEM and "can be learned" in found.says


@pytest.mark.parametrize("seed", range(3))
def test_a_ranking_of_pairs_that_met_once_is_none(seed):
    strength = np.random.default_rng(seed).normal(size=40) * 1.5
    assert (
        cycles(comparisons(once_each(strength[:, None] - strength, seed)), QUIET).severity
        is Severity.OK
    )


def in_strata(logit_SAA, share_SE, n, seed=0):
    """n meetings; who meets whom differs by stratum, and so does who is better."""
    rng = np.random.default_rng(seed)
    off = np.triu_indices(logit_SAA.shape[1], 1)
    rows = []
    for _ in range(n):
        g = int(rng.random() < 0.5)
        e = rng.choice(len(off[0]), p=share_SE[g] / share_SE[g].sum())
        one, two = off[0][e], off[1][e]
        first = rng.random() < expit(logit_SAA[g, one, two])
        rows.append(
            {
                "winner": f"p{one if first else two}",
                "loser": f"p{two if first else one}",
                "group": f"g{g}",
            }
        )
    return rows


def test_rankings_that_differ_by_group_make_circles_when_pooled():
    """A > B > C in one group, C > A > B in the other, which A and C meet in: A > B, B > C, C > A
    over all, and a circle for nobody.
    """
    s_SA = np.array([[2.0, 1.0, 0.0, 1.5, 0.5], [0.5, -0.5, 1.5, 0.0, 1.0]])
    share_SE = np.ones((2, 10))
    share_SE[0, [1]], share_SE[1, [0, 4]] = (
        0.05,
        0.05,
    )  # (A, C) met in the second group, (A, B) and (B, C) in the first
    rows = in_strata(2 * (s_SA[:, :, None] - s_SA[:, None]), share_SE, 3000)
    found = drawable(cycles(comparisons(rows), QUIET))
    told = found.numbers["levels"]["name"]["pooled"]
    assert found.numbers["p"] <= 0.02 and found.estimate.low > 0.05
    assert (
        told["within"]["p"] > 0.02 < told["p"] and told["within"]["share_of_variance"]["low"] == 0.0
    )
    assert (
        found.severity is Severity.WARNING
        and "come from pooling" in found.says
        and "`group`" in found.remedy
    )


def test_circles_in_every_group_are_not_explained_by_pooling():
    rows = in_strata(np.stack([wheel(7), wheel(7)]), np.ones((2, 21)), 2500)
    found = drawable(cycles(comparisons(rows), QUIET))
    assert found.severity is Severity.PROBLEM and "within each `group`, too" in found.says


def test_pooling_explains_nothing_where_strata_have_circles_of_their_own_or_rankings_give_none():
    rows = in_strata(np.stack([wheel(7), wheel(7)]), np.ones((2, 21)), 2500)
    data = comparisons(rows)
    (level,) = _levels(data)
    t = Tournament.of(level.winner_N, level.loser_N, level.unit_N)
    ringed = replace(_measure(level, t, QUIET, 1), held_out={})
    plain = replace(ringed, chances=Chances(1.0, 1.0))
    assert _beyond(ringed) and not _beyond(plain)
    assert not Pooled("group", 2, ringed, p=0.5).explains(ringed)
    assert not Pooled("group", 2, plain, p=0.01).explains(ringed)
    assert Pooled("group", 2, plain, p=0.5).explains(ringed)


def test_strata_keep_contestants_apart():
    t = Tournament.of(np.array([0, 1, 2, 0, 1, 2]), np.array([1, 2, 0, 1, 2, 0]), np.arange(6))
    apart = t.apart((t.unit_U >= 3).astype(int))
    assert (
        t.cycle_rank == 1
        and apart.cycle_rank == 2
        and len(apart.nodes) == 6
        and len(apart.triangle_T3) == 2
    )
    assert (apart.y_U == t.y_U).all() and apart.n_E.tolist() == [1.0] * 6


@pytest.mark.parametrize("wrong", [0.0, 0.02, 0.1])
def test_verdicts_that_follow_one_ranking_have_no_cycles(wrong):
    """Three alike raters on rankings of four answers: the win rates fit no logistic scale, since
    close and distant answers are told apart equally well, and nothing runs in a cycle.
    """
    rng = np.random.default_rng(1)
    rows = []
    for prompt in range(80):
        for a, b in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
            for rater in "uvw":
                best, worst = (b, a) if rng.random() < wrong else (a, b)
                sides = {"chosen": f"answer {best}", "rejected": f"answer {worst}"}
                rows.append({"prompt": f"question {prompt}", **sides, "rater": rater})
    found = cycles(comparisons(rows), QUIET)
    assert found.severity is Severity.OK, found.says
    assert "no cycles beyond chance" in found.says


def test_the_clearest_cycle_by_hand():
    pairs = [(0, 1)] * 9 + [(1, 0)] + [(1, 2)] * 8 + [(2, 1)] * 2 + [(2, 0)] * 4
    t = met(pairs)
    # margins 0.8, 0.6 and 1 of 10, 10 and 4 meetings: 2.53, 1.90 and 2 standard errors
    assert clearest_cycle(t, t.triangle_T3) == pytest.approx(0.6 * np.sqrt(10))
    assert clearest_cycle(met([(0, 1), (1, 2), (0, 2)]), t.triangle_T3) == 0


def verdicts_in_prompts(wrong, cyclic, prompts=40, raters=3):
    """Four answers a prompt, each pair judged by three raters."""
    rng = np.random.default_rng(0)
    rows = []
    for p in range(prompts):
        for one in range(4):
            for two in range(one):
                better = (one - two) % 3 == 1 if cyclic and one < 3 else True
                for r in range(raters):
                    a, b = (one, two) if better != (rng.random() < wrong) else (two, one)
                    rows.append(
                        {
                            "prompt": f"q{p}",
                            "chosen": f"answer {a} of {p}",
                            "rejected": f"answer {b} of {p}",
                            "rater": f"r{r}",
                        }
                    )
    return rows


def test_a_cycle_in_every_prompt_is_found_and_counted():
    found = cycles(comparisons(verdicts_in_prompts(0.0, cyclic=True)), QUIET)
    assert found.severity is Severity.PROBLEM, found.says
    assert "40 of 160 triangles are cycles" in found.says
