"""Certificates, exact answers, and solvers against numbers worked by hand, closed forms and each
other.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from holdfast.errors import OptionError
from holdfast.games import (
    Game,
    Oracle,
    State,
    apo,
    egpo,
    exploitability,
    gap,
    halpern,
    inpo,
    interior,
    linear_program,
    mirror_descent,
    nash_md,
    online_ipo,
    optimistic,
    regret_matching,
    regularized,
    solve,
    spo_win_rate,
    sppo,
)
from holdfast.games.certificate import kl
from holdfast.games.game import log_softmax

P = np.array([[0.5, 0.8, 0.3], [0.2, 0.5, 0.9], [0.7, 0.1, 0.5]])
THETA = np.array([0.2, 0.0, -0.2])
NASH = np.array([4 / 9, 2 / 9, 3 / 9])
ETA = 1 / 3.1


def random_game(answers: int, seed: int, **more) -> Game:
    half = np.triu(np.random.default_rng(seed).uniform(size=(answers, answers)), 1)
    return Game(half + np.tril(1 - half.T, -1) + 0.5 * np.eye(answers), **more)


def cyclic(a: float, b: float, c: float) -> Game:
    """Rock beats scissors by a, paper beats rock by b, scissors beat paper by c (each above
    1/2).
    """
    return Game(np.array([[0.5, 1 - b, a], [b, 0.5, 1 - c], [1 - a, c, 0.5]]))


# ------------------------------------------------------------------------------------------------
# certificates


def test_certificates_by_hand():
    """A best response to always rock (paper, 0.7) wins 0.4 in +-1 units; at the winner nothing is
    won.
    """
    assert exploitability(Game(P), np.array([1.0, 0, 0])) == pytest.approx(0.4)
    assert exploitability(Game(P), NASH) == pytest.approx(0, abs=1e-15)
    game = Game(P, beta=0.1)
    assert gap(game, np.exp(log_softmax(THETA))) == pytest.approx(0.005582, abs=5e-7)
    assert gap(game, np.full(3, 1 / 3)) > 0 and gap(Game(P), NASH) == exploitability(Game(P), NASH)


def test_the_gap_in_closed_form_is_that_of_best_responses_found_by_search():
    rng = np.random.default_rng(0)
    game = random_game(4, 1, beta=0.3, log_ref_A=rng.normal(size=4))
    pi = rng.dirichlet(np.ones(4))

    def j(p, q):
        return (
            p @ game.pref_AA @ q
            - game.beta * kl(p, game.log_ref_A)
            + game.beta * kl(q, game.log_ref_A)
        )

    answers = rng.dirichlet(np.ones(4), 200_000)
    inner = (answers * (np.log(np.maximum(answers, 1e-300)) - game.log_ref_A)).sum(-1)
    best = (answers @ (game.pref_AA @ pi) - game.beta * inner).max() + game.beta * kl(
        pi, game.log_ref_A
    )
    worst = ((pi @ game.pref_AA) @ answers.T + game.beta * inner).min() - game.beta * kl(
        pi, game.log_ref_A
    )
    assert (
        gap(game, pi) == pytest.approx(best - worst, abs=2e-3)
        and gap(game, pi) >= best - worst - 1e-12
    )
    assert j(pi, pi) == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(5))
def test_the_linear_program_and_the_interior_point_agree(seed: int):
    game = random_game((3, 7, 20, 41, 60)[seed], seed)
    by_program, found = linear_program(game), interior.interior_point(game)
    assert (
        exploitability(game, by_program) < 1e-12 and found.exploitability < 1e-12 and found.polished
    )
    np.testing.assert_allclose(found.pi_A, by_program, atol=1e-9)


def test_interior_point_on_games_with_many_winners_or_one():
    assert interior.interior_point(Game(np.full((6, 6), 0.5))).exploitability == 0
    one = interior.interior_point(
        Game(np.array([[0.5, 0.9, 0.6], [0.1, 0.5, 0.7], [0.4, 0.3, 0.5]]))
    )
    np.testing.assert_allclose(one.pi_A, [1, 0, 0], atol=1e-9)
    twins = np.kron(P, np.ones((2, 2)))  # every answer twice: the winner is not unique
    assert interior.interior_point(Game(twins), until=1e-9).exploitability <= 1e-9
    assert interior.interior_point(Game(np.array([[0.5]]))).pi_A.tolist() == [1.0]


def test_weighted_rock_paper_scissors_has_its_closed_form():
    """Each answer's weight is the margin of the duel it takes no part in."""
    for a, b, c in ((1.0, 1.0, 1.0), (0.9, 0.6, 0.7), (0.55, 0.95, 0.8)):
        margin = np.array([c, a, b]) - 0.5
        expected = np.array([margin[0], margin[1], margin[2]]) / margin.sum()
        game = cyclic(a, b, c)
        np.testing.assert_allclose(linear_program(game), expected, atol=1e-12)
        found = solve(game, regret_matching.step, until=1e-5, max_calls=50_000, average="quadratic")
        assert found.converged
        np.testing.assert_allclose(found.pi_A, expected, atol=1e-3)


# ------------------------------------------------------------------------------------------------
# the game with its KL term


@pytest.mark.parametrize("beta", [1.0, 0.1, 0.01, 0.001])
def test_the_exact_equilibrium_is_a_fixed_point_without_a_gap(beta: float):
    for seed in range(3):
        ref = np.random.default_rng(seed).normal(size=10)
        game = random_game(10, seed, beta=beta, log_ref_A=ref)
        log_pi = regularized(game)
        pi = np.exp(log_pi)
        np.testing.assert_allclose(
            log_pi, log_softmax(game.log_ref_A + game.win_A(pi) / beta), atol=1e-9
        )
        assert gap(game, pi) < 1e-13


def test_the_exact_equilibrium_in_numbers():
    np.testing.assert_allclose(
        np.exp(regularized(Game(P, beta=0.1))), [0.446408, 0.274351, 0.279242], atol=5e-7
    )
    for beta, expected in ((0.1, 0.052914), (0.01, 0.005184), (0.001, 0.000502)):
        pi = np.exp(regularized(Game(P, beta=beta)))
        assert exploitability(Game(P), pi) == pytest.approx(
            expected, abs=5e-7
        ) and expected <= 2 * beta * np.log(3)
    with pytest.raises(OptionError, match="linear_program"):
        regularized(Game(P))


# ------------------------------------------------------------------------------------------------
# steps in numbers


@pytest.mark.parametrize(
    ("step", "beta", "calls", "expected"),
    [
        (partial(sppo.step, eta=ETA), 0.0, 1, (0.407577, 0.327550, 0.264873)),
        (partial(mirror_descent.step, eta=ETA), 0.1, 1, (0.405323, 0.327848, 0.266829)),
        (partial(nash_md.step, eta=ETA), 0.1, 1, (0.405256, 0.327981, 0.266763)),
        (partial(egpo.step, eta=ETA), 0.1, 2, (0.405385, 0.327661, 0.266954)),
        (partial(inpo.step, eta=3.1), 0.1, 1, (0.405323, 0.327848, 0.266829)),
        (partial(inpo.step, eta=3.2), 0.1, 1, (0.405212, 0.327882, 0.266906)),
    ],
)
def test_one_step_in_numbers(step, beta, calls, expected):
    oracle = Oracle(Game(P, beta=beta))
    np.testing.assert_allclose(step(oracle, State(log_softmax(THETA))).pi_A, expected, atol=5e-7)
    assert oracle.calls == calls


def test_two_optimistic_steps_in_numbers():
    oracle = Oracle(Game(P))
    state = optimistic.step(
        oracle, optimistic.step(oracle, State(log_softmax(THETA)), eta=ETA), eta=ETA
    )
    np.testing.assert_allclose(state.pi_A, [0.413672, 0.325487, 0.260842], atol=5e-7)
    assert oracle.calls == 2


def test_hedge_on_payoffs_in_numbers():
    payoff = np.array([[0, 0.6, -0.4], [-0.6, 0, 0.8], [0.4, -0.8, 0]])
    stepped = spo_win_rate.step(
        Oracle(Game((1 + payoff) / 2)), State(np.log([0.5, 0.3, 0.2])), eta=0.5
    )
    np.testing.assert_allclose(stepped.pi_A, [0.524904, 0.279329, 0.195767], atol=5e-7)
    for steps, expected in ((100, 0.025371), (1000, 0.012525)):
        found = solve(
            Game((1 + payoff) / 2),
            partial(spo_win_rate.step, eta=np.sqrt(2 * np.log(3) / steps)),
            max_calls=steps,
        )
        # The mixture of the policies played, the first one included and the last one not.
        assert found.end.average_exploitability <= np.sqrt(2 * np.log(3) / steps)
        assert found.end.average_exploitability == pytest.approx(expected, abs=2e-3)


def test_without_a_kl_term_the_mirror_steps_are_one():
    game = random_game(6, 3)
    stepped = [
        step(Oracle(game), State(log_softmax(np.arange(6.0)))).log_pi_A
        for step in (
            partial(s, eta=0.4)
            for s in (mirror_descent.step, nash_md.step, sppo.step, optimistic.step)
        )
    ]
    for other in stepped[1:]:
        np.testing.assert_allclose(other, stepped[0], atol=1e-14)


def test_online_ipo_is_a_multiple_of_the_policy_gradient():
    game = Game(P, beta=0.1)
    log_pi = log_softmax(THETA)
    moved = online_ipo.step(Oracle(game), State(log_pi), rate=1.0).log_pi_A - log_pi
    np.testing.assert_allclose(
        moved - moved.mean(), -np.array([-0.441412, 0.133624, 0.307788]), atol=5e-7
    )

    def value(theta):
        p = np.exp(log_softmax(theta))
        return p @ game.win_A(np.exp(log_pi)) - game.beta * kl(p, game.log_ref_A)

    slope = [(value(log_pi + h) - value(log_pi - h)) / 2e-6 for h in 1e-6 * np.eye(3)]
    np.testing.assert_allclose(moved - moved.mean(), 4 / game.beta * np.array(slope), atol=1e-6)
    with pytest.raises(OptionError, match="beta is 0"):
        online_ipo.step(Oracle(Game(P)), State(log_pi))


def test_the_momentum_recursion_has_its_closed_form():
    """With fixed gains r the policy is pi_ref exp(h r / beta): h_T = T / (1 - a) - a (1 - a^T) / (1
    - a)^2.
    """
    r, ref, beta, alpha = np.array([0.0, 1, 2]), np.log([0.5, 0.3, 0.2]), 2.0, 0.3
    hat = before = ref
    found = []
    for t in range(1, 7):
        hat, before = apo.proximal(apo.extrapolated(hat, before, alpha=alpha), r, beta=beta), hat
        found.append(hat)
        h = t / (1 - alpha) - alpha * (1 - alpha**t) / (1 - alpha) ** 2
        np.testing.assert_allclose(hat, log_softmax(ref + h * r / beta), atol=1e-12)
    np.testing.assert_allclose(np.exp(found[1]), [0.145252, 0.275240, 0.579508], atol=5e-7)
    np.testing.assert_allclose(np.exp(found[2]), [0.048043, 0.182412, 0.769546], atol=5e-7)


# ------------------------------------------------------------------------------------------------
# where they end


def test_who_circles_and_who_converges():
    """Multiplicative weights run away from a mixed winner and average to it; optimism makes the
    last iterate converge.
    """
    start = np.array([0.2, 0, -0.2])
    plain = solve(Game(P), partial(sppo.step, eta=0.5), start_A=start, max_calls=1000)
    optimism = solve(Game(P), partial(optimistic.step, eta=0.5), start_A=start, max_calls=10_000)
    assert plain.end.gap > 0.3 and plain.end.average_gap < 0.02
    assert optimism.end.gap < 1e-12
    np.testing.assert_allclose(optimism.last_A, NASH, atol=1e-9)
    assert plain.gap == plain.end.average_gap and plain.exploitability == exploitability(
        Game(P), plain.average_A
    )


@pytest.mark.parametrize(
    "step",
    [egpo.step, halpern.step, regret_matching.step, halpern.reduced_step],
    ids=lambda s: s.__module__,
)
def test_solvers_come_near_the_winner_of_a_random_game(step):
    game = random_game(12, 5)
    found = solve(game, step, max_calls=600, average="quadratic")
    assert found.gap < 0.05 < exploitability(game, np.full(12, 1 / 12))


def test_constant_nash_md_ends_beside_the_equilibrium_and_fading_steps_do_not():
    game = Game(P, beta=0.1)
    exact = regularized(game)

    def far(step):
        return float(
            np.exp(exact)
            @ (exact - solve(game, step, start_A=THETA, max_calls=5000, spacing=2).state.log_pi_A)
        )

    assert far(partial(nash_md.step, eta=0.3)) == pytest.approx(1.95e-5, rel=0.02)
    assert far(partial(nash_md.step, eta=0.3, fade=True)) < 1e-8
    assert far(partial(mirror_descent.step, eta=0.3)) < 1e-14


def test_the_schedule_of_inpo_in_numbers():
    game = Game(P, beta=0.1)
    exact = regularized(game)
    found = solve(
        game,
        partial(inpo.step, fade=True),
        start_A=np.array([1.0, 0, -1]),
        max_calls=1000,
        spacing=2,
    )
    assert float(np.exp(exact) @ (exact - found.state.log_pi_A)) < 1e-8
    with pytest.raises(OptionError, match="at least the game's beta"):
        inpo.step(Oracle(game), State(exact), eta=0.05)


@pytest.mark.parametrize("beta", [0.001, 0.01, 0.1, 1.0])
def test_egpo_keeps_its_linear_rate(beta: float):
    """KL(pi* || pi_t) <= (1 - eta beta)^t KL(pi* || pi_0) on every random game, at every step."""
    eta = 1 / (beta + 3)
    for seed in range(4):
        game = random_game(
            10, 50 + seed, beta=beta, log_ref_A=np.random.default_rng(seed).normal(size=10)
        )
        exact = regularized(game)
        oracle, state = Oracle(game), State(game.log_ref_A)
        first = float(np.exp(exact) @ (exact - state.log_pi_A))
        for t in range(1, 201):
            state = egpo.step(oracle, state, eta=eta)
            assert (
                float(np.exp(exact) @ (exact - state.log_pi_A))
                <= (1 - eta * beta) ** t * first + 1e-15
            )


def test_a_game_without_preferences_moves_nobody():
    game = Game(np.full((4, 4), 0.5), beta=0.1)
    for step in (
        egpo.step,
        mirror_descent.step,
        nash_md.step,
        optimistic.step,
        sppo.step,
        apo.step,
        halpern.step,
        inpo.step,
    ):
        np.testing.assert_allclose(step(Oracle(game), State(game.log_ref_A)).pi_A, 0.25)


# ------------------------------------------------------------------------------------------------
# the loop


def test_the_loop_stops_by_certificate_and_counts():
    found = solve(Game(P), partial(optimistic.step, eta=0.5), until=1e-6, max_calls=10_000)
    assert found.converged and found.gap <= 1e-6 and found.end.calls == found.end.steps < 10_000
    calls = [moment.calls for moment in found.history]
    assert calls == sorted(set(calls)) and found.history[0].calls == 1
    short = solve(Game(P), partial(egpo.step, eta=0.3), max_calls=7)
    assert not short.converged and short.end.calls == 8 and short.end.steps == 4
    with pytest.raises(OptionError, match="max_calls"):
        solve(Game(P), egpo.step, max_calls=0)


def test_noise_keeps_a_constant_step_from_converging():
    exact = solve(Game(P), partial(optimistic.step, eta=0.5), max_calls=4000)
    noisy = solve(
        Oracle(Game(P), opponents=5, seed=2), partial(optimistic.step, eta=0.5), max_calls=4000
    )
    assert exact.end.gap < 1e-3 < noisy.end.gap
    assert noisy.end.average_gap < 0.05
