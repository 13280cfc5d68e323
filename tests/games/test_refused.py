"""What a game, a solver or a certificate cannot take is an error that names it; NaN never reads as
a certificate.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from holdfast.errors import DataError, HoldfastError, OptionError, RunError
from holdfast.games import (
    Game,
    Oracle,
    State,
    apo,
    egpo,
    exploitability,
    from_judge,
    from_votes,
    gap,
    halpern,
    inclusions,
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

P = np.array([[0.5, 0.8, 0.3], [0.2, 0.5, 0.9], [0.7, 0.1, 0.5]])
NAN, INF = float("nan"), float("inf")
BAD = (NAN, INF, -1.0, 0.0)
MIRROR = (egpo, mirror_descent, optimistic, nash_md)


@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize(
    ("pi", "match"),
    [
        ([NAN, 0.5, 0.5], r"pi_A\[0\] is nan"),
        ([NAN] * 3, r"pi_A\[0\] is nan"),
        ([INF, 0, 0], r"pi_A\[0\] is inf"),
        ([0.5, 0.5], "must be 3 numbers"),
        ([0.25] * 4, "must be 3 numbers"),
        ([0.0] * 3, "sums to 0"),
        ([2.0, 3.0, 4.0], "sums to 9"),
        ([1.5, -0.5, 0.0], r"pi_A\[1\] is -0.5"),
        ([[1.0, 0, 0]], "must be 3 numbers"),
        ("abc", "array of real numbers"),
    ],
)
def test_certificates_refuse_what_is_no_policy(beta: float, pi, match: str):
    for certificate in (exploitability, gap):
        with pytest.raises(DataError, match=match):
            certificate(Game(P, beta=beta), pi)


@pytest.mark.parametrize(
    ("step", "beta"),
    [
        (egpo.step, 7.0),
        (mirror_descent.step, 5.0),
        (optimistic.step, 5.0),
        (nash_md.step, 5.0),
        (partial(nash_md.step, eta=NAN), 0.1),
        *(
            (partial(module.step, eta=eta), 0.1)
            for module in (egpo, mirror_descent, optimistic, nash_md)
            for eta in (NAN, INF, -1.0, 0.0, 11)
        ),
        *(
            (partial(module.step, eta=eta), 0.0)
            for module in (sppo, spo_win_rate, halpern, inpo)
            for eta in (NAN, INF, -1.0, 0.0)
        ),
        *((partial(apo.step, beta=beta), 0.0) for beta in (NAN, INF, -1.0, 0.0)),
        *((partial(apo.step, alpha=alpha), 0.0) for alpha in (NAN, 1.0, -0.1)),
        *((partial(online_ipo.step, rate=rate), 0.1) for rate in (NAN, INF, -1.0, 0.0)),
        (online_ipo.step, 0.0),
        (partial(inpo.step, eta=1.0), 2.0),
        (partial(halpern.reduced_step, inner=NAN), 0.0),
    ],
)
def test_steps_out_of_range_are_refused(step, beta: float):
    with pytest.raises(OptionError, match="it must be"):
        solve(Game(P, beta=beta), step, max_calls=50)


@pytest.mark.parametrize("module", MIRROR)
def test_the_longest_step_that_the_kl_term_allows_is_taken(module):
    for beta in (0.3, 7.0, 49.0, 1e5):
        found = solve(Game(P, beta=beta), partial(module.step, eta=1 / beta), max_calls=20)
        assert np.isfinite(found.gap)
    assert solve(
        Game(P, beta=2.0), partial(module.step, eta=0.2), until=1e-4, max_calls=500
    ).converged
    assert (
        solve(Game(P, beta=0.1), partial(nash_md.step, eta=50.0, fade=True), max_calls=50).gap >= 0
    )


def test_a_start_that_leaves_an_answer_out_is_refused():
    for wrong in ([0.0, 0.0, -INF], [0.0, NAN, 0.0], [0.0, 0.0], np.zeros((3, 1)), ["a", "b", "c"]):
        with pytest.raises(DataError, match="start_A"):
            solve(Game(P, beta=0.1), mirror_descent.step, start_A=wrong)
    with pytest.raises(DataError, match="log_pi_A is no policy"):
        State(np.zeros(3))
    away = State(np.log([0.5, 0.5, 1e-300]))
    assert np.isfinite(mirror_descent.step(Oracle(Game(P, beta=0.1)), away).pi_A).all()


def test_a_step_that_leads_to_no_policy_is_an_error_and_not_converged():
    with pytest.raises(RunError, match="step 1 led to no policy"):
        solve(Game(P), lambda oracle, state: state.then(state.log_pi_A * NAN))
    with pytest.raises(RunError, match="step 3 led to no policy"):
        solve(
            Game(P),
            lambda oracle, state: state.then(state.log_pi_A + (1.0 if state.number == 2 else 0.0)),
        )


@pytest.mark.parametrize(
    "options",
    [
        {"until": NAN},
        {"until": INF},
        {"max_calls": NAN},
        {"max_calls": 0},
        {"max_seconds": NAN},
        {"spacing": NAN},
        {"spacing": INF},
        {"average": "cubic"},
    ],
)
def test_options_of_solve(options):
    with pytest.raises(OptionError, match="it must"):
        solve(Game(P), sppo.step, **{"max_calls": 20, **options})
    with pytest.raises(OptionError, match="is no game"):
        solve(P, sppo.step)


@pytest.mark.parametrize(
    "given",
    [
        [[0.5, 1.0], [0.0]],
        np.full((2, 2), 0.5 + 0j),
        [["0.5", "0.5"], ["0.5", "0.5"]],
        [[0.5, None], [0.5, 0.5]],
        0.5,
        [],
        "abc",
        None,
        object(),
    ],
)
def test_matrices_that_are_none(given):
    with pytest.raises(DataError, match=r"a preference matrix|not finite"):
        Game(given)


def test_references_and_betas_of_games():
    for ref in ([0.0, -INF, 0.0], [0.0, 0.0], ["a", "b", "c"], np.zeros((3, 1)), [NAN] * 3):
        with pytest.raises(DataError, match="log_ref_A"):
            Game(P, log_ref_A=ref)
    for beta in (NAN, INF, -1.0, 1e-300):
        with pytest.raises(OptionError, match="beta is"):
            Game(P, beta=beta)


@pytest.mark.parametrize(
    ("weight", "match"),
    [
        ([1, NAN], r"weight\[1\] is nan"),
        ([1, -1], r"weight\[1\] is -1"),
        ([1], "weight has shape"),
        ([1, 1, 1], "weight has shape"),
        ([0, 0], "all weights are 0"),
        (["a", "b"], "weight must be an array"),
    ],
)
def test_weights_of_votes(weight, match: str):
    with pytest.raises(DataError, match=match):
        from_votes(["a", "b"], ["b", "c"], weight=weight)


def test_names_of_votes():
    for winners in (["a", None], ["a", NAN], [["a"], ["b"]], "ab"):
        with pytest.raises(DataError, match="winners"):
            from_votes(winners, ["b", "c"])
    with pytest.raises(DataError, match="there are 2 winners and 1 losers"):
        from_votes(["a", "b"], ["c"])
    assert (
        from_votes(["a", "b"], ["b", "a"], weight=[1e308, 1e308]).pref_AA[0, 1] == 0.5
    )  # their sum is infinite


@pytest.mark.parametrize("said", [None, "0.7", 1.2, -0.1, NAN, [0.5, 0.5], 0.5j])
def test_judges_that_say_no_probability(said):
    with pytest.raises(DataError, match="what the judge says of answers 1 and 0"):
        from_judge(lambda prompt, first, second: said, "x", ["a", "b"])


def test_judges_may_say_numpy_and_torch():
    import torch

    for said in (np.float32(0.75), torch.tensor(0.75), np.array([0.75]), True):

        def judge(prompt, first, second, said=said):
            return said if first == "a" else 1 - said

        game = from_judge(judge, "x", ["a", "b"])
        assert game.pref_AA[0, 1] == pytest.approx(float(torch.as_tensor(said)))
    for answers in (["a"], "ab", []):
        with pytest.raises(DataError, match=r"two answers or more|answers must be a list"):
            from_judge(lambda *_: 0.5, "x", answers)


def test_exact_solvers_check_their_options_and_pass_the_time_on():
    big = np.tril(np.random.default_rng(0).uniform(size=(400, 400)), -1)
    game = Game(big + np.triu(1 - big.T, 1) + 0.5 * np.eye(400))
    with pytest.raises(RunError, match="HiGHS found no solution"):
        linear_program(game, max_seconds=1e-3)
    for call in (
        partial(linear_program, game, max_seconds=NAN),
        partial(linear_program, game, max_seconds=0),
        partial(linear_program, game, method="simplex"),
        partial(interior.interior_point, game, until=NAN),
        partial(interior.interior_point, game, max_steps=0),
        partial(regularized, Game(P)),
        partial(regularized, Game(P, beta=1.0), tolerance=NAN),
        partial(Oracle, game, opponents=0),
        partial(Oracle, game, opponents=1.5),
    ):
        with pytest.raises(OptionError):
            call()


def test_inclusions_check_their_options():
    problem = inclusions.of_game(Game(P))
    for iterates in (
        inclusions.cocoercive(problem, np.full(3, 1 / 3), eta=NAN),
        inclusions.monotone(problem, np.full(3, 1 / 3), eta=INF),
        inclusions.monotone(problem, np.full(3, 1 / 3), inner=NAN),
        inclusions.deterministic(problem, np.full(3, 1 / 3), relax=NAN),
    ):
        with pytest.raises(OptionError):
            next(iterates)
    for options in (
        {"until": NAN, "max_calls": 10},
        {"until": 0.1, "max_calls": INF},
        {"until": 0.1, "max_calls": 10, "spacing": NAN},
    ):
        with pytest.raises(OptionError):
            inclusions.run(inclusions.monotone(problem, np.full(3, 1 / 3)), problem, **options)
    with pytest.raises(OptionError, match="lipschitz"):
        inclusions.FiniteSum(3, np.negative, lambda i, u: u, NAN)


def test_regret_matching_may_leave_answers_out():
    found = solve(Game(np.array([[0.5, 1.0], [0.0, 0.5]])), regret_matching.step, max_calls=20)
    assert found.exploitability == 0 and found.last_A.tolist() == [1.0, 0.0]
    with pytest.raises(HoldfastError):
        solve(Game(P), lambda oracle, state: state.then(np.full(3, -INF)))
