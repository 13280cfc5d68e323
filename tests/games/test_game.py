"""What a game accepts, and what its oracle counts."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.errors import DataError, OptionError
from holdfast.games import Game, Oracle, from_judge, from_votes


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([[0.5, 0.7]], "square"),
        ([], "square"),
        ([[0.5, float("nan")], [0.3, 0.5]], r"P\[0, 1\] is nan"),
        ([[0.5, 1.2], [-0.2, 0.5]], "not probabilities"),
        ([[0.5, 0.7], [0.4, 0.5]], r"P\[0, 1\] is 0.7 and P\[1, 0\] is 0.4: they must add up to 1"),
        ([[0.0, 1.0], [0.0, 0.5]], r"P\[0, 0\] is 0"),
    ],
)
def test_what_is_no_preference_matrix_is_refused_with_its_place(given, said):
    with pytest.raises(DataError, match=said):
        Game(np.array(given, dtype=float))


def test_rounding_is_made_exact():
    game = Game(np.array([[0.5, 0.3 + 1e-8], [0.7, 0.5]]))
    assert game.pref_AA[0, 1] + game.pref_AA[1, 0] == 1 and (game.skew_AA == -game.skew_AA.T).all()


def test_reference_and_names_must_fit():
    with pytest.raises(DataError, match="positive probability"):
        Game(np.full((2, 2), 0.5), log_ref_A=np.array([0.0, -np.inf]))
    with pytest.raises(DataError, match="3 names"):
        Game(np.full((2, 2), 0.5), names=("a", "b", "c"))
    with pytest.raises(OptionError, match="beta is -1"):
        Game(np.full((2, 2), 0.5), beta=-1)


def test_votes_become_probabilities():
    """a beat b three times and lost once: (3 + 1/2) / 5; c never met b: 1/2."""
    game = from_votes(["a", "a", "a", "b", "a"], ["b", "b", "b", "a", "c"])
    assert game.names == ("a", "b", "c")
    assert (
        game.pref_AA[0].tolist() == pytest.approx([0.5, 3.5 / 5, 1.5 / 2])
        and game.pref_AA[1, 2] == 0.5
    )
    assert from_votes(["a"], ["b"], prior=0.0).pref_AA[0, 1] == 1.0
    with pytest.raises(DataError, match="meeting 2: 'x' meets itself"):
        from_votes(["a", "x"], ["b", "x"])
    with pytest.raises(DataError, match="0 winners"):
        from_votes([], [])


def test_a_judge_is_asked_in_both_orders():
    """A judge that favors what it reads first by 0.1 is put right."""
    strength = {"rock": 0, "paper": 1, "scissors": 2}

    def judge(prompt: str, first: str, second: str) -> float:
        beats = (strength[first] - strength[second]) % 3 == 1
        return (0.8 if beats else 0.2) + 0.1

    game = from_judge(judge, "shake", list(strength))
    np.testing.assert_allclose(game.pref_AA, [[0.5, 0.2, 0.8], [0.8, 0.5, 0.2], [0.2, 0.8, 0.5]])


def test_calls_are_counted_and_noise_is_unbiased():
    pref = np.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.7], [0.8, 0.3, 0.5]])
    pi = np.array([0.2, 0.3, 0.5])
    oracle = Oracle(Game(pref))
    np.testing.assert_allclose(oracle.win_A(pi), pref @ pi)
    np.testing.assert_allclose(oracle.columns(np.array([2, 0])), pref[:, [2, 0]] - 0.5)
    assert oracle.calls == pytest.approx(1 + 2 / 3)
    noisy = Oracle(Game(pref), opponents=4, seed=1)
    drawn = np.stack([noisy.win_A(pi) for _ in range(4000)])
    error = drawn.std(0) / np.sqrt(len(drawn))
    assert (np.abs(drawn.mean(0) - pref @ pi) < 4.5 * error).all() and (error > 0).all()
    with pytest.raises(OptionError, match="opponents is 0"):
        Oracle(Game(pref), opponents=0)
