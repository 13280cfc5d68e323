"""Arrays as they are handed in: what is refused is named, whatever it is."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import DataError
from holdfast.stats.arrays import distribution, floats, names, whole


@pytest.mark.parametrize(
    ("given_", "match"),
    [
        ([[0.5, 1], [0.5]], "array of real numbers"),
        (np.array([[0.5 + 1j]]), "complex"),
        ([["0.5"]], "array of real numbers: it holds"),
        ([[0.5, "a"]], "array of real numbers"),
        ([[None]], r"x\[0, 0\] is nan"),
        ([[0.5, 1j]], "complex"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "datetime64"),
        ({"a": 1}, "array of real numbers"),
        ([[0.5, float("nan")]], r"x\[0, 1\] is nan; it must be finite"),
        ([[0.5, -1.0]], r"x\[0, 1\] is -1; it must be at least 0"),
        ([[2.0, 0.5]], r"x\[0, 0\] is 2; it must be at most 1"),
        ([0.5], r"x has shape \(1,\); it must be any x any"),
        (np.ma.masked_array([[0.5, 0.2]], mask=[[False, True]]), r"x\[0, 1\] is nan"),
        (pd.DataFrame({"a": [0.5, pd.NA]}), "array of real numbers"),
    ],
)
def test_what_is_refused_is_named(given_, match: str):
    with pytest.raises(DataError, match=match):
        floats(given_, "x", shape=(None, None), low=0.0, high=1.0)


def test_whatever_holds_numbers_is_taken():
    for given_ in (
        [[1, 0.5]],
        torch.tensor([[1, 0.5]]),
        pd.DataFrame([[1, 0.5]]),
        [[Decimal(1), 0.5]],
        np.array([[True, 0.5]]),
    ):
        np.testing.assert_array_equal(floats(given_, "x"), [[1.0, 0.5]])
    mine = np.array([1.0])
    assert floats(mine, "x") is not mine


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=3)
    | st.complex_numbers(),
    lambda part: st.lists(part, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(ANYTHING)
def test_anything_is_an_array_or_a_named_error(thing):
    try:
        made = floats(thing, "x")
    except DataError as error:
        assert str(error).startswith("x")
    else:
        assert made.dtype == np.float64 and np.isfinite(made).all()


def test_a_distribution_has_the_right_length_and_sums_to_1():
    np.testing.assert_allclose(distribution([0.25, 0.75000001], 2, "p").sum(), 1.0, atol=1e-15)
    for wrong, match in (
        ([0.5, 0.6], "p sums to 1.1, not to 1"),
        ([0.5], r"p has shape \(1,\); it must be 2 numbers"),
        ([1.5, -0.5], r"p\[1\] is -0.5"),
        ([float("nan"), 1.0], r"p\[0\] is nan"),
        ([0.0, 0.0], "p sums to 0"),
    ):
        with pytest.raises(DataError, match=match):
            distribution(wrong, 2, "p")


def test_names_are_hashable_and_equal_to_themselves():
    assert names(["a", 1, (2,)], "who") == ["a", 1, (2,)]
    for wrong in (["a", None], [float("nan")], [["a"]], [pd.NA], "abc", 5):
        with pytest.raises(DataError, match="who"):
            names(wrong, "who")


def test_whole_numbers():
    assert whole(3, 1) and whole(np.int64(3), 3)
    assert not any(whole(x, 1) for x in (0, True, 2.0, "2", None, float("nan")))
