"""Directional neighborhood consensus: the neighbors of the authors' code, selection under the
wanted direction, a model asked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from holdfast.errors import OptionError
from holdfast.generation import Generation
from holdfast.generation.rps import direction_of, in_words, near_angles, near_directions, rps


def test_neighbors_are_those_of_the_grid():
    for target, expected in (
        (10, [10, 5, 15, 0, 20]),
        (20, [20, 15, 25, 10, 30]),
        (30, [30, 25, 35, 20, 40]),
        (35, [35, 30, 40, 25, 20]),
        (40, [40, 35, 30, 25, 20]),
        (45, [40, 35, 30, 25, 20]),
    ):
        assert near_angles(target) == expected
    assert near_angles(30, within=0, n=1) == [30]
    with pytest.raises(OptionError, match="1 angles"):
        near_angles(30, within=0)


def test_directions_by_hand():
    assert direction_of(45) == pytest.approx([0.707107, 0.707107], abs=1e-6)
    assert direction_of([3.0, 4.0]) == pytest.approx([0.6, 0.8])
    reward = np.array([[62, 30], [55, 41], [58, 36]])
    assert reward @ direction_of(45) == pytest.approx([65.053824, 67.882251, 66.468037])
    assert reward @ direction_of(10) == pytest.approx([66.267526, 61.284002, 63.370184])
    with pytest.raises(OptionError, match="not 0"):
        direction_of([0.0, 0.0])


def test_directions_of_any_number_of_attributes_fill_the_cap_evenly():
    for axes in (2, 3, 6):
        target = np.ones(axes)
        found = near_directions(target, within=30, n=4001, seed=0)
        assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(4001))
        angle = np.degrees(np.arccos(np.clip(found @ direction_of(target), -1, 1)))
        assert angle[0] == pytest.approx(0, abs=1e-5)
        assert angle.max() <= 30 + 1e-6
        grid = np.linspace(0, 30, 10001)
        inside = (np.sin(np.radians(grid)) ** (axes - 2))[grid <= 20].sum() / (
            np.sin(np.radians(grid)) ** (axes - 2)
        ).sum()
        assert (angle[1:] <= 20).mean() == pytest.approx(inside, abs=0.03)
    assert near_directions([1.0, 0, 0, 0], within=0, n=3) == pytest.approx(
        np.tile([1.0, 0, 0, 0], (3, 1))
    )


def test_a_direction_in_words():
    assert in_words("Hi", [71, 71]).endswith("helpfulness 71, verbosity 71.")
    chat = in_words([{"role": "user", "content": "Hi"}], [50, -87])
    assert chat[-1]["content"].startswith("Hi\n\n")
    assert "verbosity -87" in chat[-1]["content"]


def test_a_model_is_asked_under_each_and_judged_under_the_wanted(
    tiny_model_dir: Any, tiny_tokenizer: Any
):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    asked: list[Any] = []

    def ask(prompt: Any, percent: Any) -> str:
        asked.append((prompt, tuple(percent)))
        return f"{prompt} {percent[0]}"

    def first(prompts: Any, answers: Any) -> list[int]:
        assert set(prompts) == {"the cat", "a dog"}  # rewards see the prompt as the user wrote it
        return [answer.count("a") for answer in answers]

    def second(prompts: Any, answers: Any) -> list[int]:
        return [len(answer) for answer in answers]

    found = rps(
        model,
        tiny_tokenizer,
        ["the cat", "a dog"],
        [first, second],
        direction=45,
        ask=ask,
        generation=Generation(8, temperature=0.7),
        unit=[1, 10],
    )
    assert [percent for _, percent in asked[:5]] == [
        (77, 64),
        (82, 57),
        (87, 50),
        (91, 42),
        (94, 34),
    ]
    score = found.reward_PND @ direction_of(45)
    assert found.score_PN == pytest.approx(score)
    for p in range(2):
        best = int(score[p].argmax())
        assert found.texts[p] == found.drawn[p][best]
        assert found.reward_PND[p, best].tolist() == [
            found.texts[p].count("a"),
            len(found.texts[p]) / 10,
        ]
    given = rps(
        model,
        tiny_tokenizer,
        ["a dog"],
        [second, second, second],
        direction=[1, 0, 0],
        n=2,
        generation=Generation(4, temperature=0.7),
    )
    assert given.direction_ND.shape == (2, 3)
    chosen = rps(
        model,
        tiny_tokenizer,
        ["a dog"],
        [second, second],
        direction=10,
        neighbors=[0, 20],
        n=2,
        generation=Generation(4, temperature=0.7),
    )
    assert chosen.direction_ND == pytest.approx(np.array([direction_of(0), direction_of(20)]))
    for keywords, what in (
        ({"rewards": [second]}, "as many as the direction has axes, 2"),
        ({"n": 9, "within": 10.0}, "angles of the grid"),
        ({"unit": [0, 1]}, "unit"),
        ({"neighbors": [0, 5, 10]}, "neighbors"),
    ):
        with pytest.raises(OptionError, match=what):
            rps(
                model,
                tiny_tokenizer,
                ["a dog"],
                **{"rewards": [second, second], "direction": 10, **keywords},
            )
