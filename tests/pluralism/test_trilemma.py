"""The trilemma's measurements: limits that tables give, growth that is known, and a card of
rows.
"""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import rich
from scipy import stats

from holdfast.errors import DataError, OptionError
from holdfast.pluralism.trilemma import growth, robustness, trials_for, trilemma, typos
from holdfast.types import Row, Where


def test_upper_limits_by_the_table():
    for failures, trials, upper in (
        (0, 100, 0.029513),
        (0, 1000, 0.002991),
        (0, 2995, 0.001),
        (0, 10000, 0.0003),
        (3, 200, 0.038310),
    ):
        values = [0.0] * failures + [1.0] * (trials - failures)
        found = robustness(values, floor=0.5)
        assert found.upper == pytest.approx(upper, abs=1e-6)
        assert found.failures == failures
    exact = stats.binomtest(3, 200, alternative="less").proportion_ci(0.95, method="exact").high
    assert robustness([0.0] * 3 + [1.0] * 197, floor=0.5).upper == pytest.approx(exact)
    assert trials_for(0.001) == 2995
    assert (
        robustness([1.0] * 2995, floor=0.5).upper
        <= 0.001
        < robustness([1.0] * 2994, floor=0.5).upper
    )
    assert robustness([0.1, 0.2], floor=0.0).share == 0
    assert robustness([0.1, 0.2], floor=1.0).upper == 1
    with pytest.raises(DataError, match="perturbation"):
        robustness([], floor=0.5)
    with pytest.raises(OptionError, match="delta"):
        trials_for(0.0)


def test_growth_is_told_apart():
    size = np.array([2.0, 4, 6, 8, 10, 12])
    power = growth(size, 5 * size**1.5)
    assert power.better == "polynomial"
    assert power.polynomial.slope.value == pytest.approx(1.5)
    doubling = growth(size, 7 * 2**size)
    assert doubling.better == "exponential"
    assert doubling.exponential.slope.value == pytest.approx(1.0)
    assert doubling.exponential.slope.holds(1)
    rng = np.random.default_rng(0)
    noisy = growth(size, 2 ** (0.9 * size + 0.3 * rng.standard_normal(6)))
    held = []
    for i in range(6):
        keep = np.arange(6) != i
        y = np.log2(2 ** (0.9 * size))
        line = np.polyfit(size[keep], y[keep], 1)
        held.append((np.polyval(line, size[i]) - y[i]) ** 2)
    assert growth(size, 2 ** (0.9 * size)).exponential.error == pytest.approx(
        np.mean(held), abs=1e-12
    )
    assert noisy.better == "exponential"
    with pytest.raises(DataError, match="four"):
        growth([1, 2, 3], [1, 2, 3])


def rows_of(counts):
    rows = []
    for group, (right, wrong) in counts.items():
        for i in range(right + wrong):
            answers = ("good", "bad") if i < right else ("bad", "good")
            where = Where("f", len(rows) + 1)
            rows.append(
                Row(
                    where,
                    prompt="what is good",
                    chosen=answers[0],
                    rejected=answers[1],
                    group=group,
                    rater=f"{group}{i}",
                )
            )
    return rows


def likes_good(rows):
    """A policy that prefers "good", as long as the prompt says so."""
    return [0.5 if "good" not in row.prompt else float(row.chosen == "good") for row in rows]


def test_a_card_of_rows():
    rows = rows_of({"a": (80, 20), "b": (30, 70)})
    found = trilemma(
        rows, likes_good, {"a": 0.5, "b": 0.5}, floor=0.45, perturb=typos(0.0), trials=20
    )
    assert found.representativeness.worst.value == pytest.approx(0.25)
    assert found.representativeness.average.value == pytest.approx(0)
    assert found.robustness is not None
    assert found.robustness.failures == 0
    assert found.robustness.clean == pytest.approx(0.55)
    assert (found.items, found.evaluations) == (200, 200 * 21)
    assert found.labels_needed == 2 * 220  # ceil(ln(80) / 0.02) = 220 a group
    assert found.trials_needed == 59
    shaken = trilemma(
        rows, likes_good, {"a": 0.9, "b": 0.1}, floor=0.74, perturb=typos(0.5), trials=30
    )
    assert shaken.robustness is not None
    assert (
        shaken.robustness.failures == 30
    )  # most prompts no longer say "good": the value falls towards 1/2
    assert 0.5 < shaken.robustness.worst < 0.7
    again = trilemma(
        rows, likes_good, {"a": 0.9, "b": 0.1}, floor=0.74, perturb=typos(0.5), trials=30
    )
    assert again.robustness == shaken.robustness
    assert trilemma(rows, likes_good, {"a": 1}, floor=0.5).robustness is None
    json.dumps(shaken.to_dict())
    console = rich.console.Console(width=200, record=True, file=io.StringIO())
    console.print(shaken.table())
    assert "worst gap (b)" in console.export_text()


def test_typos_keep_letters_and_answers():
    rows = rows_of({"a": (2, 0)})
    drawn = typos(1.0)(rows, np.random.default_rng(0))
    assert sorted(drawn[0].prompt) == sorted(rows[0].prompt)
    assert drawn[0].prompt != rows[0].prompt
    assert [len(word) for word in drawn[0].prompt.split()] == [4, 2, 4]
    assert drawn[0].chosen == rows[0].chosen
    chat = [
        Row(
            Where("f", 1),
            prompt=[{"role": "user", "content": "hello there"}],
            chosen="a",
            rejected="b",
        )
    ]
    assert typos(1.0)(chat, np.random.default_rng(0))[0].prompt[0]["content"] != "hello there"


@pytest.mark.parametrize(
    "options",
    [{"floor": float("nan")}, {"floor": float("inf")}, {"floor": 0.5, "clean": float("nan")}],
)
def test_floors_that_nothing_is_below_are_refused(options):
    with pytest.raises(OptionError, match="must be finite"):
        robustness([0.1, 0.9], **options)
