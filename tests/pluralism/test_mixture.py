"""The mixture of rewards: identities of expectation maximization, agreement with scikit-learn, and
subgroups that were planted.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logsumexp
from sklearn.linear_model import LogisticRegression

from holdfast.errors import DataError, OptionError
from holdfast.pluralism.mixture import hard, held_out, log_right, mixture, soft


def subgroups(seed, *, raters=60, minority=18, labels=12, cosine=-0.5, norm=2.0, dims=5):
    """Raters of two subgroups with linear rewards; rows of chosen minus rejected."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((dims, 2)))[0].T
    theta_KD = norm * np.stack([basis[0], cosine * basis[0] + np.sqrt(1 - cosine**2) * basis[1]])
    camp_R = (np.arange(raters) >= raters - minority).astype(int)
    x = rng.standard_normal((raters, labels, dims))
    right = rng.random((raters, labels)) < expit(np.einsum("rld,rd->rl", x, theta_KD[camp_R]))
    x_ND = (x * np.where(right, 1.0, -1.0)[..., None]).reshape(-1, dims)
    return x_ND, np.repeat(np.arange(raters), labels), camp_R, theta_KD


def test_planted_camps_are_found_with_their_rewards_and_shares():
    x_ND, rater_N, camp_R, theta_KD = subgroups(0, raters=200, minority=60, labels=15)
    found = mixture(x_ND, rater_N, k=2)
    assert found.converged
    assert (
        found.responsibility_RK.argmax(1) == camp_R
    ).mean() > 0.95  # the larger subgroup comes first
    assert found.share_K == pytest.approx([0.7, 0.3], abs=0.05)
    for mine, true in zip(found.theta_KD, theta_KD, strict=True):
        assert mine @ true / np.linalg.norm(mine) / np.linalg.norm(true) > 0.97
    assert (found.group_N == found.responsibility_RK.argmax(1)[rater_N]).all()
    fresh_ND = np.random.default_rng(1).standard_normal((20000, 5))
    true_share = (
        fresh_ND @ theta_KD[0] * (fresh_ND @ theta_KD[1]) < 0
    ).mean()  # 2/3 where the cosine is -1/2
    assert found.disagreement(fresh_ND)[0, 1] == pytest.approx(true_share, abs=0.04)


def test_one_group_is_logistic_regression():
    x_ND, rater_N, _, _ = subgroups(1)
    found = mixture(x_ND, rater_N, k=1, ridge=2.0)
    sign_N = np.where(np.arange(len(x_ND)) % 2, 1.0, -1.0)
    peer = LogisticRegression(C=0.5, fit_intercept=False, tol=1e-10).fit(
        sign_N[:, None] * x_ND, sign_N > 0
    )
    assert found.theta_KD[0] == pytest.approx(peer.coef_[0], abs=1e-4)
    assert found.log_likelihood == pytest.approx(log_right(x_ND, found.theta_KD).sum())


def test_the_penalized_likelihood_never_falls_and_is_what_it_says():
    for seed in range(5):
        x_ND, rater_N, _, _ = subgroups(seed, labels=4)
        found = mixture(x_ND, rater_N, k=3, ridge=0.5, restarts=2, seed=seed)
        assert np.diff(found.penalized).min() > -1e-8
        slow = 0.0
        for rater in range(60):
            rows = x_ND[rater_N == rater]
            slow += np.log(
                sum(
                    share * np.prod(expit(rows @ theta))
                    for share, theta in zip(found.share_K, found.theta_KD, strict=True)
                )
            )
        assert found.log_likelihood == pytest.approx(slow)
        assert found.rater_log_likelihood(x_ND, rater_N).sum() == pytest.approx(slow)


def test_at_convergence_the_slope_is_zero():
    x_ND, rater_N, _, _ = subgroups(2, labels=6)
    found = mixture(x_ND, rater_N, k=2, ridge=1.0, tolerance=1e-12, rounds=2000)

    def penalized(theta_KD, share_K):
        joint = np.log(share_K) + np.stack(
            [np.bincount(rater_N, c) for c in log_right(x_ND, theta_KD).T], 1
        )
        return logsumexp(joint, axis=1).sum() - 0.5 * (theta_KD**2).sum()

    for k, d in ((0, 0), (1, 3)):
        step = np.zeros_like(found.theta_KD)
        step[k, d] = 1e-5
        slope = (
            penalized(found.theta_KD + step, found.share_K)
            - penalized(found.theta_KD - step, found.share_K)
        ) / 2e-5
        assert abs(slope) < 0.01
    tilt = np.array([1e-5, -1e-5])
    assert (
        abs(
            penalized(found.theta_KD, found.share_K + tilt)
            - penalized(found.theta_KD, found.share_K - tilt)
        )
        / 2e-5
        < 0.01
    )


def test_hard_assignment_takes_raters_whole():
    x_ND, rater_N, camp_R, _ = subgroups(3, labels=20)
    found = mixture(x_ND, rater_N, k=2, assign=hard)
    assert set(found.responsibility_RK.ravel()) == {0.0, 1.0}
    assert (found.responsibility_RK.argmax(1) == camp_R).mean() > 0.9
    assert hard(np.array([[1.0, 2.0], [3.0, 0.0]])).tolist() == [[0, 1], [1, 0]]
    assert soft(np.log([[0.2, 0.6]])) == pytest.approx(np.array([[0.25, 0.75]]))


def test_names_of_raters_do_not_matter_and_unknown_raters_stand_alone():
    x_ND, rater_N, _, _ = subgroups(4)
    found = mixture(x_ND, rater_N, k=2)
    gaps = mixture(x_ND, rater_N * 3 + 1, k=2)  # codes that no row has
    assert gaps.share_K == pytest.approx(found.share_K, abs=1e-3)
    assert gaps.responsibility_RK[0] == pytest.approx(gaps.share_K)
    assert gaps.log_likelihood == pytest.approx(found.log_likelihood, abs=0.05)
    alone = mixture(x_ND, k=2)
    assert alone.responsibility_RK.shape == (len(x_ND), 2)
    assert mixture(x_ND, np.full(len(x_ND), -1), k=2).log_likelihood == pytest.approx(
        alone.log_likelihood
    )


def test_held_out_likelihood_tells_camps_from_none():
    planted, none = [], []
    for seed in range(3):
        x_ND, rater_N, _, _ = subgroups(10 + seed)
        planted.append(held_out(x_ND, rater_N, k=2, restarts=3) - held_out(x_ND, rater_N, k=1))
        x_ND, rater_N, _, _ = subgroups(20 + seed, minority=0)
        none.append(held_out(x_ND, rater_N, k=2, restarts=3) - held_out(x_ND, rater_N, k=1))
    for gain_R in planted:
        assert gain_R.mean() > 3 * gain_R.std() / np.sqrt(len(gain_R))
    for gain_R in none:
        assert gain_R.mean() < 2 * gain_R.std() / np.sqrt(len(gain_R))
    gaps = held_out(x_ND, rater_N * 2, k=1)
    assert np.isnan(gaps[1::2]).all()
    assert np.isfinite(gaps[::2]).all()


def test_what_cannot_be_fitted_is_refused():
    x_ND, rater_N, _, _ = subgroups(5)
    with pytest.raises(DataError, match="row 3, column 1"):
        bad = x_ND.copy()
        bad[3, 1] = np.nan
        mixture(bad, rater_N)
    with pytest.raises(DataError, match="table"):
        mixture(np.zeros((0, 3)))
    with pytest.raises(DataError, match="raters must be"):
        mixture(x_ND, rater_N[:-1])
    with pytest.raises(DataError, match="raters must be"):
        mixture(x_ND, rater_N.astype(float))
    with pytest.raises(OptionError, match="number of raters, 60"):
        mixture(x_ND, rater_N, k=61)
    with pytest.raises(OptionError, match="ridge"):
        mixture(x_ND, rater_N, ridge=-1.0)
    with pytest.raises(DataError, match="folds"):
        held_out(x_ND[:36], rater_N[:36])


def test_hostile_shapes_still_end():
    rng = np.random.default_rng(0)
    constant = mixture(np.zeros((30, 2)), np.arange(30) % 6, k=3)
    assert np.isfinite(constant.log_likelihood)
    assert constant.log_likelihood == pytest.approx(-30 * np.log(2))
    assert np.isfinite(
        mixture(1e6 * rng.standard_normal((40, 2)), np.arange(40) % 8, k=2).theta_KD
    ).all()
    assert mixture(
        rng.standard_normal((5, 2)), np.arange(5), k=5, assign=hard
    ).share_K.sum() == pytest.approx(1)
    assert mixture(rng.standard_normal((1, 1)), k=1).converged
