"""The score of a place against slow sums, its sign when the place is inverted, and its chance
of a false alarm where it is worst.
"""

import numpy as np
import pytest
from scipy.stats import norm

from holdfast.checkup.estimators.inversion import Labels, Places, agreeing, right, whitened
from holdfast.checkup.estimators.scan_statistic import SHORTEST, edges, scan, windows


def slow(labels, inside_N):
    """T and V by sums over prompts and pairs of prompts, and the number of prompts of the place."""
    z_ND, prompts = labels.z_ND.astype(float), np.unique(labels.cluster_N)
    in_CD = np.array([z_ND[inside_N & (labels.cluster_N == c)].sum(0) for c in prompts])
    out_CD = np.array([z_ND[~inside_N & (labels.cluster_N == c)].sum(0) for c in prompts])
    t = sum(in_CD[c] @ out_CD[k] for c in prompts for k in prompts if c != k)
    a_C = np.array([in_CD[c] @ sum(out_CD[k] for k in prompts if k != c) for c in prompts])
    b_C = np.array([out_CD[c] @ sum(in_CD[k] for k in prompts if k != c) for c in prompts])
    all_CD = in_CD + out_CD
    whole_C = np.array([inside_N[labels.cluster_N == c].all() for c in prompts])
    share = (all_CD[whole_C] ** 2).sum() / (all_CD**2).sum()
    noise = (1 - share) * sum(
        (all_CD[c] @ all_CD[k]) ** 2 for c in prompts[whole_C] for k in prompts if k != c
    )
    return (
        t,
        max((a_C**2).sum(), (b_C**2).sum(), ((a_C + b_C) ** 2).sum() - noise),
        (in_CD != 0).any(1).sum(),
    )


def made(seed=0, n=60, width=5, prompts=25):
    rng = np.random.default_rng(seed)
    cluster_N = np.concatenate([np.arange(prompts), rng.integers(0, prompts, n - prompts)])
    return Labels((rng.normal(size=(n, width)) + 0.3).astype(np.float32), cluster_N)


def test_scores_are_those_of_slow_sums_also_where_prompts_are_on_both_sides():
    labels, rng = made(), np.random.default_rng(1)
    code_N = rng.integers(-1, 4, 60)
    fast_P = agreeing(labels, Places.codes(code_N, 4))
    for code, fast in enumerate(fast_P):
        t, v, prompts = slow(labels, code_N == code)
        assert fast == pytest.approx(t / np.sqrt(v), rel=1e-4)
        assert abs(fast) <= np.sqrt(prompts)
    stretches = agreeing(labels, Places.stretches(np.array([0, 10, 33]), np.array([9, 40, 60])))
    for (a, b), fast in zip([(0, 9), (10, 40), (33, 60)], stretches, strict=True):
        t, v, _ = slow(labels, (np.arange(60) >= a) & (np.arange(60) < b))
        assert fast == pytest.approx(t / np.sqrt(v), rel=1e-4)


def test_places_scored_in_parts_are_scored_alike(monkeypatch):
    labels, places = made(), Places.codes(np.arange(60) % 7, 7)
    whole = agreeing(labels, places)
    monkeypatch.setattr("holdfast.checkup.estimators.inversion.AT_ONCE", 13)
    assert agreeing(labels, places) == pytest.approx(whole, rel=1e-5)


def test_turned_around_a_place_has_the_negative_score():
    labels = Labels(made().z_ND, np.arange(60))
    turned = Labels(
        np.where(np.arange(60)[:, None] < 20, -labels.z_ND, labels.z_ND), labels.cluster_N
    )
    first = Places.stretches(np.array([0]), np.array([20]))
    assert agreeing(turned, first) == pytest.approx(-agreeing(labels, first), rel=1e-5)


def test_against_nothing_no_place_is_sure():
    """What is left after half a file was taken out says nothing against the other half but rounding
    errors.
    """
    labels = made(n=2000, width=50, prompts=2000).without(np.arange(2000) < 1000)
    assert (
        np.abs(
            agreeing(labels, Places.stretches(np.array([1000, 0]), np.array([2000, 1000])))
        ).max()
        < 1
    )


def test_what_noise_counts_twice_is_the_variance_under_random_signs():
    rng = np.random.default_rng(2)
    u_ND = rng.normal(size=(200, 12)).astype(np.float32)
    t = []
    for _ in range(2000):
        z_ND = u_ND * rng.choice([-1, 1], 200)[:, None]
        t.append(float(z_ND[:50].sum(0) @ z_ND[50:].sum(0)))
    labels = Labels(u_ND, np.arange(200))
    share = labels.length_C[:50].sum() / labels.length_C.sum()
    assert (1 - share) * labels.noise_C[:50].sum() == pytest.approx(np.var(t), rel=0.15)


@pytest.mark.parametrize("inside, outside", [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (0.5, 0.5)])
@pytest.mark.parametrize("width, rows", [(2, 150), (60, 150), (60, 40)])
def test_false_alarms_are_as_rare_as_promised_where_the_mean_is_zero(inside, outside, width, rows):
    """Lots in both, lots in one, and two tastes that have nothing to do with each other: 400 draws
    at 2%; 20 or more have probability 0.0004."""
    rng = np.random.default_rng(rows + width)
    alarms = 0
    for _ in range(400):
        u_ND = rng.normal(size=(rows, width))
        sway_N = np.concatenate([inside * u_ND[: rows // 4, 0], outside * u_ND[rows // 4 :, 1]])
        sign_N = np.where(rng.random(rows) < 1 / (1 + np.exp(-2 * sway_N)), 1, -1)
        labels = Labels((u_ND * sign_N[:, None]).astype(np.float32), np.arange(rows))
        alarms += agreeing(labels, Places.stretches(np.array([0]), np.array([rows // 4])))[
            0
        ] < norm.ppf(0.02)
    assert alarms < 20


@pytest.mark.parametrize("agreeing_raters", [True, False])
def test_false_alarms_are_rare_where_prompts_have_rows_on_both_sides(agreeing_raters):
    """Two raters of each of 80 prompts, one of them the place; labels at random, alike or not. 400
    draws at 2%, as above.
    """
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(400):
        u_ND = rng.normal(size=(80, 30))
        sign_N2 = (
            np.repeat(rng.choice([-1, 1], (80, 1)), 2, 1)
            if agreeing_raters
            else rng.choice([-1, 1], (80, 2))
        )
        labels = Labels(
            (np.concatenate([u_ND, u_ND]) * sign_N2.T.reshape(-1, 1)).astype(np.float32),
            np.tile(np.arange(80), 2),
        )
        alarms += agreeing(labels, Places.stretches(np.array([0]), np.array([80])))[0] < norm.ppf(
            0.02
        )
    assert alarms < 20


def test_a_row_is_judged_by_other_prompts_outside_the_place():
    labels = made()
    inside_N = np.arange(60) % 5 == 1
    fast_N = labels.judged(inside_N)
    for i in range(60):
        fitted = ~inside_N & (labels.cluster_N != labels.cluster_N[i])
        assert fast_N[i] == pytest.approx(
            float(labels.z_ND[i] @ labels.z_ND[fitted].sum(0)), rel=1e-3, abs=1e-3
        )
    assert right(np.array([-2.0, 0.0, 3.0])).tolist() == [0.0, 0.5, 1.0]


def test_whitened_rows_have_the_information_of_a_fit_with_a_prior():
    x_ND = np.random.default_rng(3).normal(size=(50, 4)) * [1, 2, 3, 4]
    z_ND, second_DD = whitened(x_ND).astype(float), x_ND.T @ x_ND
    assert z_ND @ z_ND.T == pytest.approx(
        x_ND @ np.linalg.inv(second_DD / 4 + np.eye(4)) @ x_ND.T, rel=1e-4, abs=1e-4
    )


def test_every_stretch_is_much_like_one_that_is_scanned():
    from_W, to_W = windows(1000)
    rng = np.random.default_rng(4)
    for _ in range(300):
        size = int(np.exp(rng.uniform(np.log(SHORTEST), np.log(500))))
        a = int(rng.integers(0, 1000 - size + 1))
        both_W = np.maximum(0, np.minimum(to_W, a + size) - np.maximum(from_W, a))
        assert (both_W / np.sqrt(size * (to_W - from_W))).max() > 0.87
    assert len(windows(SHORTEST)[0]) == 0 and (windows(2 * SHORTEST)[1] <= 2 * SHORTEST).all()


def test_copies_of_a_row_are_no_evidence():
    """Five copies of each row, of one prompt: 40 scans at 5%; 8 or more have probability 0.0005."""
    rng = np.random.default_rng(0)
    alarms = 0
    for seed in range(40):
        z_ND = np.repeat(rng.normal(size=(60, 8)), 5, axis=0).astype(np.float32)
        alarms += scan(Labels(z_ND, np.repeat(np.arange(60), 5)), sure=0.05, seed=seed).p <= 0.05
    assert alarms <= 7


def test_what_would_be_seen_is_seen():
    rng = np.random.default_rng(5)
    z_ND = (rng.normal(size=(600, 20)) + 0.15).astype(np.float32)
    size = scan(Labels(z_ND, np.arange(600)), sure=0.005, seed=0).would
    assert size is not None and SHORTEST < size < 300
    hits = 0
    for a in range(0, 600 - size, 40):
        turned = z_ND.copy()
        turned[a : a + size] *= -1
        hits += bool(scan(Labels(turned, np.arange(600)), sure=0.005, seed=0).found)
    assert hits >= 0.6 * len(range(0, 600 - size, 40))
    coins = Labels(rng.normal(size=(600, 20)).astype(np.float32), np.arange(600))
    assert scan(coins, sure=0.005, seed=0).would is None


def test_edges_fall_on_rows():
    s_N = np.ones(100)
    s_N[37:58] = -1
    assert edges(s_N, 30, 54) == (37, 58)
