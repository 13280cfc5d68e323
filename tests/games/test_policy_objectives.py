"""A policy objective's minimizer on an exact table is one step of its solver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from holdfast.games import (
    ROLES,
    apo,
    egpo,
    halpern,
    inpo,
    mirror_descent,
    nash_md,
    online_ipo,
    optimistic,
    spo_win_rate,
    sppo,
)
from holdfast.games.game import Game, Oracle, log_softmax
from holdfast.games.state import State
from holdfast.inputs import confidence, earlier_gap, earlier_win_rate, reference, win_rate
from holdfast.inputs.base import Input
from holdfast.methods import METHODS
from holdfast.scorers.table import bradley_terry
from holdfast.types import Pairs, Scored

A = 4
RNG = np.random.default_rng(3)
HALF = np.triu(RNG.uniform(size=(A, A)), 1)
PREF = HALF + np.tril(1 - HALF.T, -1) + 0.5 * np.eye(A)
START, CURRENT, BEFORE, OTHER = (log_softmax(RNG.normal(size=A)) for _ in range(4))


def gap(logp_A: np.ndarray, w_N: Tensor, l_N: Tensor) -> Tensor:
    logp = torch.from_numpy(np.asarray(logp_A, float))
    return logp[w_N] - logp[l_N]


def both(value_A: np.ndarray, w_N: Tensor, l_N: Tensor) -> Tensor:
    value = torch.from_numpy(np.asarray(value_A, float))
    return torch.stack([value[w_N], value[l_N]], 1)


def minimizer(
    objective: Callable[[Pairs], Tensor],
    weight_AA: np.ndarray,
    reference_A: np.ndarray,
    columns: Mapping[Input, Any] | None = None,
) -> np.ndarray:
    """log pi of the table that minimizes the weighted mean cost over all ordered pairs (w, l);
    columns are functions of (w_N, l_N).
    """
    w_N, l_N = torch.nonzero(~torch.eye(A, dtype=torch.bool), as_tuple=True)
    weight_N = torch.from_numpy(weight_AA)[w_N, l_N]
    given = {of: column(w_N, l_N) for of, column in (columns or {}).items()}
    theta_A = torch.from_numpy(reference_A.copy()).requires_grad_()
    start_A = torch.from_numpy(reference_A)

    def scored(theta: Tensor, index_N: Tensor) -> Scored:
        logp_N1 = theta.log_softmax(-1)[index_N, None]
        return Scored(logp_N1, torch.ones_like(logp_N1), start_A[index_N, None])

    optimizer = torch.optim.LBFGS(
        [theta_A],
        max_iter=500,
        tolerance_grad=1e-13,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        cost = (
            weight_N * objective(Pairs(scored(theta_A, w_N), scored(theta_A, l_N), given))
        ).sum() / weight_N.sum()
        cost.backward()
        return cost

    optimizer.step(closure)
    return theta_A.detach().log_softmax(-1).numpy()


# Pairs as a round draws them: two answers of the current policy, and any other way for objectives
# that do not mind.
DRAWN = np.exp(CURRENT)[:, None] * np.exp(CURRENT)[None]
ANYHOW = RNG.uniform(0.1, 1, (A, A))


@pytest.mark.parametrize("weight_AA", [DRAWN, ANYHOW], ids=["drawn", "anyhow"])
@pytest.mark.parametrize("name", ["mirror_descent", "nash_md", "egpo", "optimistic", "halpern"])
def test_regressions_on_win_rates_are_one_step_whatever_is_compared(
    name: str, weight_AA: np.ndarray
):
    eta, beta = 0.7, 0.3
    game = Game(PREF, beta=beta, log_ref_A=START)
    oracle = Oracle(game)
    settings = {"eta": eta, "beta": beta}
    columns: dict[Input, Any] = {earlier_gap: partial(gap, CURRENT)}
    if name == "mirror_descent":
        stepped = mirror_descent.step(oracle, State(CURRENT), eta=eta)
        opponent_A = CURRENT
    elif name == "nash_md":
        stepped = nash_md.step(oracle, State(CURRENT), eta=eta)
        opponent_A = log_softmax((1 - eta * beta) * CURRENT + eta * beta * START)
    elif name == "egpo":
        stepped = egpo.step(oracle, State(CURRENT), eta=eta)
        opponent_A = mirror_descent.step(oracle, State(CURRENT), eta=eta).log_pi_A
    elif name == "optimistic":
        stepped = optimistic.step(
            oracle, State(CURRENT, carried={"win_A": game.win_A(np.exp(BEFORE))}), eta=eta
        )
        opponent_A = CURRENT
        columns[earlier_win_rate] = partial(both, game.win_A(np.exp(BEFORE)))
    else:
        number = 3
        settings = {"eta": eta, **ROLES["halpern"].by_round(number)}
        stepped = halpern.step(
            oracle, State(CURRENT, number=number - 1, carried={"first_A": START}), eta=eta
        )
        opponent_A = halpern.anchored(CURRENT, START, game.win_A(np.exp(CURRENT)), **settings)
    columns[win_rate] = partial(both, game.win_A(np.exp(opponent_A)))
    found_A = minimizer(partial(METHODS[name].objective, **settings), weight_AA, START, columns)
    np.testing.assert_allclose(found_A, stepped.log_pi_A, atol=1e-7)


def test_inpo_reads_win_rates_out_of_labels():
    eta, tau = 1.5, 0.4
    game = Game(PREF, beta=tau, log_ref_A=START)
    stepped = inpo.step(Oracle(game), State(CURRENT), eta=eta)
    objective = partial(inpo.inpo, eta=eta, tau=tau)
    found_A = minimizer(objective, DRAWN * PREF, START, {earlier_gap: partial(gap, CURRENT)})
    np.testing.assert_allclose(found_A, stepped.log_pi_A, atol=1e-7)
    other_A = minimizer(objective, ANYHOW * PREF, START, {earlier_gap: partial(gap, CURRENT)})
    assert np.abs(other_A - stepped.log_pi_A).max() > 0.02, (
        "pairs that are not drawn from the current policy give another step"
    )


def test_inpo_in_numbers():
    """The exact step on three answers, worked elsewhere to six digits."""
    pref = np.array([[0.5, 0.8, 0.3], [0.2, 0.5, 0.9], [0.7, 0.1, 0.5]])
    stepped = inpo.step(
        Oracle(Game(pref, beta=1 / 3)), State(log_softmax(np.array([0.2, 0, -0.2]))), eta=1.0
    )
    np.testing.assert_allclose(stepped.pi_A, [0.396517, 0.327590, 0.275893], atol=5e-7)


def test_spo_is_hedge_and_its_first_gradient_is_reinforce():
    eta = 0.8
    game = Game(PREF)
    stepped = spo_win_rate.step(Oracle(game), State(CURRENT), eta=eta)
    columns = {win_rate: partial(both, game.win_A(np.exp(CURRENT)))}
    for weight_AA in (DRAWN, ANYHOW):
        found_A = minimizer(
            partial(spo_win_rate.spo_win_rate, eta=eta), weight_AA, CURRENT, columns
        )
        np.testing.assert_allclose(found_A, stepped.log_pi_A, atol=1e-7)
    w_N, l_N = torch.meshgrid(torch.arange(A), torch.arange(A), indexing="ij")
    w_N, l_N = w_N.flatten(), l_N.flatten()
    theta_A = torch.from_numpy(CURRENT.copy()).requires_grad_()
    logp_A = theta_A.log_softmax(-1)
    ones = torch.ones(A * A, 1)
    parts = [Scored(logp_A[i, None], ones, torch.from_numpy(CURRENT)[i, None]) for i in (w_N, l_N)]
    cost_N = spo_win_rate.spo_win_rate(
        Pairs(*parts, {win_rate: both(game.win_A(np.exp(CURRENT)), w_N, l_N)}), eta=eta
    )
    (slope_A,) = torch.autograd.grad((torch.from_numpy(DRAWN).flatten() * cost_N).sum(), theta_A)
    pi_A, reward_A = np.exp(CURRENT), 2 * game.win_A(np.exp(CURRENT)) - 1
    np.testing.assert_allclose(slope_A.numpy(), -pi_A * (reward_A - pi_A @ reward_A), atol=1e-12)


def test_sppo_is_its_step_but_for_terms_of_eta_squared():
    game = Game(PREF)
    columns = {win_rate: partial(both, game.win_A(np.exp(CURRENT)))}
    far = []
    for eta in (0.4, 0.2, 0.1):
        stepped = sppo.step(Oracle(game), State(CURRENT), eta=eta)
        found_A = minimizer(partial(sppo.sppo, eta=eta), ANYHOW, CURRENT, columns)
        far.append(np.abs(found_A - stepped.log_pi_A).max() / eta)
    assert (
        far[0] < 0.1
        and far[0] / far[1] == pytest.approx(2, rel=0.15)
        and far[1] / far[2] == pytest.approx(2, rel=0.15)
    )


def test_sppo_by_hand():
    """Log-ratios 0.2 and -0.1, win rates 0.7 and 0.4, step 2: targets 0.4 and -0.2, so (0.04 +
    0.01) / 2.
    """
    one, zero = torch.ones(1, 1), torch.zeros(1, 1)
    pairs = Pairs(
        Scored(0.2 * one, one, zero),
        Scored(-0.1 * one, one, zero),
        {win_rate: torch.tensor([[0.7, 0.4]])},
    )
    assert sppo.sppo(pairs, eta=2.0).item() == pytest.approx(0.025, rel=1e-6)


def test_online_ipo_takes_the_solvers_gradient_step():
    beta, rate = 0.3, 0.2
    game = Game(PREF, beta=beta, log_ref_A=START)
    stepped = online_ipo.step(Oracle(game), State(CURRENT), rate=rate)
    w_N, l_N = (
        x.flatten() for x in torch.meshgrid(torch.arange(A), torch.arange(A), indexing="ij")
    )
    theta_A = torch.from_numpy(CURRENT.copy()).requires_grad_()
    logp_A = theta_A.log_softmax(-1)
    ones = torch.ones(A * A, 1)
    parts = [Scored(logp_A[i, None], ones, torch.from_numpy(START)[i, None]) for i in (w_N, l_N)]
    cost_N = online_ipo.online_ipo(
        Pairs(*parts, {confidence: torch.from_numpy(PREF)[w_N, l_N]}), beta=beta
    )
    (slope_A,) = torch.autograd.grad((torch.from_numpy(DRAWN).flatten() * cost_N).sum(), theta_A)
    np.testing.assert_allclose(
        log_softmax(CURRENT - rate * slope_A.numpy()), stepped.log_pi_A, atol=1e-12
    )
    best_A = minimizer(
        partial(online_ipo.online_ipo, beta=beta),
        DRAWN,
        START,
        {confidence: lambda w_N, l_N: torch.from_numpy(PREF)[w_N, l_N]},
    )
    assert np.abs(best_A - stepped.log_pi_A).max() > 0.1, (
        "on fixed pairs the minimum is a best response, not a step"
    )


def test_apo_is_dpo_from_a_point_further_on():
    beta, alpha = 1.5, 0.4
    reward_A = RNG.normal(size=A)
    pref_AA = bradley_terry(torch.from_numpy(reward_A)[None])[0].numpy()
    found_A = minimizer(
        partial(apo.apo, beta=beta, alpha=alpha),
        DRAWN * pref_AA,
        CURRENT,
        {earlier_gap: partial(gap, BEFORE)},
    )
    begin_A = apo.extrapolated(CURRENT, BEFORE, alpha=alpha)
    np.testing.assert_allclose(found_A, apo.proximal(begin_A, reward_A, beta=beta), atol=1e-6)


def test_every_twin_is_in_the_table_with_its_roles():
    for name, roles in ROLES.items():
        needs = METHODS[name].card.needs
        assert (earlier_gap in needs) == (roles.earlier is not None) and (win_rate in needs) == (
            roles.opponent is not None
        )
        assert reference in needs
