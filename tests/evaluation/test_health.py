"""The health card on rewards with planted faults: each is named, and a sound one is left alone."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from holdfast.cli.app import app
from holdfast.errors import DataError, OptionError
from holdfast.evaluation.health.card import HealthCard, health
from holdfast.evaluation.health.measures import expected_best
from holdfast.training.reward_model import train_reward
from tests.training.test_reward_model import cats

GOOD = ["clear", "short", "true", "kind", "helpful", "correct"]
BAD = ["wrong", "rude", "vague", "false", "lazy", "odd"]


def rows(n: int = 60) -> list[dict[str, Any]]:
    rng = random.Random(4)

    def answer(prompt: str, words: list[str]) -> str:
        return " ".join([prompt.split()[1], *rng.choices(words, k=rng.randint(4, 9))])

    made = []
    for i in range(n):
        prompt = f"about topic{i} please"
        made.append(
            {
                "prompt": prompt,
                "chosen": answer(prompt, GOOD + BAD[:1]),
                "rejected": answer(prompt, BAD + GOOD[:1]),
                "group": "ab"[i % 2],
            }
        )
    return made


def sound(prompts, answers):
    """The share of good words, and whether the topic is named; case and spacing are not read."""
    out = []
    for prompt, answer in zip(prompts, answers, strict=True):
        words = answer.lower().replace("*", " ").replace("-", " ").split()
        good = sum((w in GOOD) - (w in BAD) for w in words) / max(1, len(words))
        turned = words[:1] == prompt.split()[1:2]
        out.append(good + 0.5 * turned - (not words))
    return out


def found(card: HealthCard) -> dict[str, str]:
    return {one.name: one.severity for one in card.findings}


def test_a_sound_reward_has_no_fault():
    card = health(sound, data=rows())
    bad = {name for name, worst in found(card).items() if worst in ("problem", "warning")}
    assert not bad, card.findings
    assert card.findings[0].severity == "ok" and card.data["pairs"] == 60


@pytest.mark.parametrize(
    ("reward", "name", "severity"),
    [
        (lambda p, a: [-x for x in sound(p, a)], "agreement", "problem"),
        (lambda p, a: [-x for x in sound(p, a)], "monotonicity", "problem"),
        (lambda p, a: [1.0] * len(a), "constant", "problem"),
        (lambda p, a: sound(["no prompt"] * len(a), a), "monotonicity", "warning"),
        (lambda p, a: [len(x.split()) for x in a], "length", "problem"),
        (lambda p, a: [s - np.mean(sound(p, a)) for s in sound(p, a)], "batch size", "problem"),
        (
            lambda p, a: [s + x.isupper() for s, x in zip(sound(p, a), a, strict=True)],
            "edits",
            "warning",
        ),
        (
            lambda p, a: [s + 9 * hash_of(q) for s, q in zip(sound(p, a), p, strict=True)],
            "prompt alone",
            "warning",
        ),
        (
            lambda p, a: [s + 9 * (not x) for s, x in zip(sound(p, a), a, strict=True)],
            "prompt alone",
            "problem",
        ),
        (
            lambda p, a: [
                s if int(q.split()[1][5:]) % 2 else -s for s, q in zip(sound(p, a), p, strict=True)
            ],
            "agreement by group",
            "warning",
        ),
    ],
    ids=[
        "inverted",
        "inverted, probe",
        "constant",
        "blind to the prompt",
        "length",
        "batch",
        "case",
        "prompt",
        "empty",
        "group",
    ],
)
def test_a_planted_fault_is_named_with_its_cure(reward, name, severity):
    card = health(reward, data=rows())
    one = next(one for one in card.findings if one.name == name)
    assert one.severity == severity and one.cure, one


def hash_of(prompt: str) -> float:
    return random.Random(prompt).random()


def test_a_row_that_fails_is_named_and_poisons_nothing():
    def reward(prompts, answers):
        if any("topic7 " in p for p in prompts):
            raise ValueError("no topic7")
        return sound(prompts, answers)

    card = health(reward, data=rows())
    one = next(one for one in card.findings if one.name == "returns: raises")
    assert (
        one.severity == "problem"
        and "2 of 120 answers" in one.says
        and "rows:8 (chosen)" in one.says
    )
    assert card.data["pairs"] == 59 and "1 of 60 comparisons" in card.notes[0]
    agreement = next(one for one in card.findings if one.name == "agreement")
    assert agreement.severity == "ok"


def test_what_is_no_reward_or_no_data_is_refused():
    with pytest.raises(OptionError, match="two scores"):
        health(lambda p, a: None, data=rows())
    with pytest.raises(DataError, match="comparisons"):
        health(sound, data=rows(3))


def test_rows_that_cannot_be_used_are_skipped_where_asked(tmp_path: Path):
    bad = [*rows(), {"prompt": "p", "chosen": "a", "rejected": ""}]
    with pytest.raises(DataError):
        health(sound, data=bad)
    card = health(sound, data=bad, quarantine=str(tmp_path / "quarantine.jsonl"))
    assert card.data["pairs"] == 60 and card.notes[0].startswith("skipped 1")
    assert (tmp_path / "quarantine.jsonl").is_file()


def test_expected_best_is_the_mean_over_all_subsets():
    """(0.1, 0.2, 0.5, 0.9): of two 0.6, the mean of six pairs' maxima; of one the mean; of four
    0.9.
    """
    score = np.array([[0.5, 0.1, 0.9, 0.2]])
    made = [float(expected_best(score, n)[0]) for n in (1, 2, 4)]
    assert made == pytest.approx([0.425, (3 * 0.9 + 2 * 0.5 + 0.2) / 6, 0.9])


def test_a_model_and_an_ensemble(tmp_path: Path, tiny_model_dir: Path):
    """Token mechanics, members, and a policy's answers; on a screen, as JSON and as a page."""
    data = tmp_path / "cats.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in cats()))
    run = train_reward(
        "bradley_terry",
        model=tiny_model_dir,
        data=data,
        out=tmp_path / "run",
        members=2,
        members_by="heads",
        max_steps=4,
        learning_rate=3e-3,
    )
    card = health(run.out, data=data, against=tiny_model_dir, samples=4, max_new_tokens=8)
    names = found(card)
    assert names["padding"] == "ok" and names["batch size"] == "ok"
    assert {"end of sequence", "template", "ensemble", "drift", "best of n"} <= names.keys()
    curve = next(one for one in card.findings if one.name == "best of n").numbers["curve"]
    assert list(curve) == [1, 2, 4] and curve[1] <= curve[2] <= curve[4]
    page = card.report(tmp_path / "page" / "health.html")
    assert page[0].is_file() and len(page) > 1
    member = run.model_path / "members" / "000"
    done = CliRunner().invoke(
        app, ["evaluate", str(member), "--health", "--data", str(data), "--json"]
    )
    assert done.exit_code == 0 and json.loads(done.stdout)["data"]["pairs"] == 48
    done = CliRunner().invoke(
        app, ["evaluate", str(member), "--health", "--data", str(data), "--best-of", "4"]
    )
    assert done.exit_code != 0
