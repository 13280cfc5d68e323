"""The max-min policy: tables worked out by another route, its certificate, and a policy gradient
that ends there.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from holdfast.errors import DataError, HoldfastError, OptionError
from holdfast.pluralism.maxmin import gains, maxmin, policy_for, pool_toward_worst, regrets

UNIFORM = np.log(np.full(3, 1 / 3))
OPPOSED = np.array([[1.0, 0.0, 0.6], [0.0, 1.0, 0.6]])
UNEVEN = np.array([[1.0, 0.2, 0.7], [0.0, 0.9, 0.3]])


def test_tables_worked_out_by_hand():
    found = maxmin(OPPOSED, UNIFORM, beta=0.1)
    assert found.weight_K == pytest.approx([0.5, 0.5], abs=1e-6)
    assert np.exp(found.logp_SA[0]) == pytest.approx([0.211942, 0.211942, 0.576117], abs=1e-6)
    assert found.served_K == pytest.approx([0.557612, 0.557612], abs=1e-6)
    assert found.value == pytest.approx(0.545283, abs=1e-6)
    assert 0 <= found.gap < 1e-8
    pooled = policy_for(OPPOSED, UNIFORM, [0.8, 0.2], beta=0.1)
    assert np.exp(pooled.logp_SA[0]) == pytest.approx([0.878878, 0.002179, 0.118943], abs=1e-6)
    assert pooled.served_K == pytest.approx([0.950244, 0.073544], abs=1e-6)
    found = maxmin(UNEVEN, UNIFORM, beta=0.1)
    assert found.weight_K == pytest.approx([0.487325, 0.512675], abs=1e-5)
    assert found.served_K == pytest.approx([0.524795, 0.524795], abs=1e-5)
    assert found.value == pytest.approx(0.519150, abs=1e-6)
    least = policy_for(
        UNEVEN.min(0, keepdims=True), UNIFORM, [1.0], beta=0.1
    )  # answer by answer: another problem
    served_K = UNEVEN @ np.exp(least.logp_SA[0])
    assert served_K == pytest.approx([0.580787, 0.445162], abs=1e-5)
    assert served_K.min() - 0.1 * least.kl == pytest.approx(0.406688, abs=1e-5)


def test_the_certificate_holds_and_no_other_policy_does_better():
    rng = np.random.default_rng(0)
    for groups, prompts, answers in ((2, 1, 4), (3, 4, 5), (6, 3, 8)):
        reward = 2 * rng.standard_normal((groups, prompts, answers))
        log_ref = np.log(rng.dirichlet(np.ones(answers), prompts))
        weight_S = rng.random(prompts)
        found = maxmin(reward, log_ref, beta=0.3, prompt_weight_S=weight_S)
        assert -1e-9 < found.gap < 1e-6
        share_S = weight_S / weight_S.sum()

        def objective(logit, reward=reward, log_ref=log_ref, share_S=share_S):
            logp = torch.tensor(logit.reshape(log_ref.shape)).log_softmax(-1).numpy()
            p = np.exp(logp)
            return np.einsum("s,sa,ksa->k", share_S, p, reward).min() - 0.3 * share_S @ (
                p * (logp - log_ref)
            ).sum(1)

        assert objective(found.logp_SA.ravel()) == pytest.approx(found.value)
        near = [
            objective(found.logp_SA.ravel() + 0.1 * rng.standard_normal(prompts * answers))
            for _ in range(300)
        ]
        assert max(near) <= found.value + found.gap + 1e-9
        climbed = -minimize(
            lambda z: -objective(z), log_ref.ravel(), method="Powell", options={"maxiter": 20}
        ).fun
        assert climbed <= found.value + found.gap + 1e-9
        at_work = found.weight_K > 1e-4
        assert np.ptp(found.served_K[at_work]) < 1e-3
        assert found.served_K.min() == pytest.approx(found.served_K[at_work].min(), abs=1e-3)


def test_limits():
    one = maxmin(OPPOSED[:1], UNIFORM, beta=0.1)
    assert one.logp_SA[0] == pytest.approx(
        policy_for(OPPOSED[:1], UNIFORM, [1.0], beta=0.1).logp_SA[0]
    )
    twins = maxmin(OPPOSED[[0, 0]], UNIFORM, beta=0.1)
    assert twins.logp_SA == pytest.approx(one.logp_SA)
    assert maxmin(OPPOSED, UNIFORM, beta=1e6).logp_SA[0] == pytest.approx(UNIFORM, abs=1e-5)
    swapped = maxmin(UNEVEN[::-1], UNIFORM, beta=0.1)
    assert swapped.weight_K[::-1] == pytest.approx(
        maxmin(UNEVEN, UNIFORM, beta=0.1).weight_K, abs=1e-5
    )
    shifted = maxmin(
        OPPOSED + [[0.3], [0.0]], UNIFORM, beta=0.1
    )  # a constant that no comparison can see changes the minimum
    assert abs(shifted.logp_SA - maxmin(OPPOSED, UNIFORM, beta=0.1).logp_SA).max() > 0.1
    excluded = maxmin(
        OPPOSED,
        np.log([0.5, 0.5, 0.0], where=[True, True, False], out=np.full(3, -np.inf)),
        beta=0.1,
    )
    assert np.exp(excluded.logp_SA[0]) == pytest.approx([0.5, 0.5, 0.0], abs=1e-4)


def test_rewards_are_made_comparable():
    shifted = OPPOSED * [[5.0], [1.0]] + [[3.0], [-2.0]]
    assert gains(shifted, UNIFORM) == pytest.approx(gains(OPPOSED, UNIFORM))
    assert np.einsum("a,ksa->k", np.exp(UNIFORM), gains(shifted, UNIFORM)) == pytest.approx([0, 0])
    assert gains(OPPOSED + [[1.0], [0.0]], UNIFORM, unit=False) == pytest.approx(
        gains(OPPOSED, UNIFORM, unit=False)
    )
    lost = regrets(OPPOSED, UNIFORM, beta=0.1)
    best = maxmin(OPPOSED[1:], UNIFORM, beta=0.1)
    assert lost[1] == pytest.approx(OPPOSED[1:] - best.value)
    assert gains(np.ones((2, 3)), UNIFORM) == pytest.approx(0)


def test_a_policy_gradient_on_the_pooled_reward_ends_at_the_exact_policy():
    """Exact gradients of E reward - beta KL under slowly moving weights, on a table; the averaged
    policy is compared.
    """
    exact = maxmin(UNEVEN, UNIFORM, beta=0.1)
    reward_PGM = torch.tensor(UNEVEN.T)[None]
    logit, log_weight, served = (
        torch.zeros(3, dtype=torch.float64),
        torch.zeros(2, dtype=torch.float64),
        [],
    )
    for step in range(6000):
        logp = logit.log_softmax(-1)
        weighted = (
            reward_PGM * logp.exp()[None, :, None] * 3
        )  # so that the mean over answers is the expectation
        _, log_weight = pool_toward_worst(weighted, log_weight, step=0.02)
        pooled = (log_weight.exp() * reward_PGM[0]).sum(-1)
        advantage = pooled - 0.1 * (logp - torch.tensor(UNIFORM))
        logit = logit + 0.5 * (
            advantage - (logp.exp() * advantage).sum()
        )  # natural gradient of a softmax
        if step >= 2000:
            served.append((logp.exp() @ torch.tensor(UNEVEN.T)).numpy())
    assert np.mean(served, 0) == pytest.approx(exact.served_K, abs=0.01)


def test_the_pool_by_hand():
    pooled, log_weight = pool_toward_worst(
        torch.tensor([[[1.0, 0.0], [3.0, 0.0]]]), torch.zeros(2), step=0.5
    )
    weight = np.exp([-1.0, 0.0]) / np.exp([-1.0, 0.0]).sum()  # means 2 and 0
    assert log_weight.exp().numpy() == pytest.approx(weight, abs=1e-6)
    assert pooled[0].numpy() == pytest.approx([weight[0], 3 * weight[0]], abs=1e-6)


def test_what_cannot_be_solved_is_refused():
    with pytest.raises(OptionError, match="beta"):
        maxmin(OPPOSED, UNIFORM, beta=0.0)
    with pytest.raises(DataError, match="groups x prompts x answers"):
        maxmin(OPPOSED, UNIFORM[:2], beta=0.1)
    with pytest.raises(DataError, match="finite"):
        maxmin(np.full((2, 3), np.nan), UNIFORM, beta=0.1)
    with pytest.raises(DataError, match="log_softmax"):
        maxmin(OPPOSED, np.zeros(3), beta=0.1)
    with pytest.raises(DataError, match="prompt weights"):
        maxmin(OPPOSED, UNIFORM, beta=0.1, prompt_weight_S=[-1.0])


def test_tables_and_settings_that_are_none_are_named():
    reward, ref = np.zeros((2, 3)), np.log(np.full(3, 1 / 3))
    for call, match in (
        (lambda: maxmin([[1.0], [1.0, 2.0]], ref, beta=0.1), "reward_KSA must be an array"),
        (lambda: maxmin(reward, ["a"] * 3, beta=0.1), "log_ref_SA must be an array"),
        (lambda: policy_for(reward, ref, [0.5], beta=0.1), "weight_K has shape"),
        (lambda: policy_for(reward, ref, [0.5, 0.5], beta=float("nan")), "beta is nan"),
        (lambda: regrets(reward, ref, beta=0.0), "beta is 0"),
    ):
        with pytest.raises(HoldfastError, match=match):
            call()
