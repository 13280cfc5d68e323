"""An evaluation's page says what its numbers say, and holds hostile text as text."""

import pytest

from holdfast.evaluation.evaluation import Evaluation
from holdfast.evaluation.page import lead, page_of
from holdfast.evaluation.parts import Part

HOSTILE = "<img src=x onerror=alert(1)>"


def estimate(value, low=None, high=None):
    return {
        "value": value,
        "low": low,
        "high": high,
        "n": 9,
        "clusters": 9,
        "method": "",
        "level": 0.95,
    }


def evaluation(gain=(0.1, 0.05, 0.15), win=(0.6, 0.55, 0.65), **changes):
    ranking = {
        name: estimate(0.6, 0.5, 0.7)
        for name in (
            "policy",
            "policy_per_token",
            "reference",
            "reference_per_token",
            "implicit_reward",
        )
    }
    ranking["policy_minus_reference"] = estimate(*gain)
    margins = {
        name: estimate(1.0, 0.5, 1.5)
        for name in ("policy", "reference", "implicit", "chosen_movement", "rejected_movement")
    }
    lengths = {
        who: {
            "n": 9,
            "mean": estimate(9.0),
            "quantiles": {"0.1": 1.0, "0.5": 2.0, "0.9": 3.0},
            "max": 4,
            "cut_off": estimate(0.1),
        }
        for who in ("policy", "reference")
    }
    match = {
        "under": HOSTILE,
        "kind": "reward",
        "win_rate": estimate(*win),
        "reward": estimate(1.0),
    }
    part = Part(
        9, 5, ranking, margins, {"rao-blackwellized": estimate(2.0, 1.0, 3.0)}, lengths, match
    )
    model = {"name": HOSTILE, "hash": "0" * 64, "parameters": 10}
    settings = {
        "by": "group",
        "samples": 1,
        "max_new_tokens": 8,
        "temperature": 1.0,
        "best_of": 4,
        "select": HOSTILE,
        "opponent": "reference",
    }
    texts = [
        {
            "prompt": [{"role": "user", "content": HOSTILE}],
            "policy": [HOSTILE],
            "opponent": ["b"],
            "policy_reward": [1.0],
            "opponent_reward": [0.0],
        }
    ]
    fields = {
        "model": model,
        "reference": model,
        "against": None,
        "data": {"source": HOSTILE},
        "settings": settings,
        "all": part,
    }
    return Evaluation(
        **fields
        | {
            "groups": {HOSTILE: part, "b": part},
            "worst_group": {"policy": HOSTILE},
            "notes": [HOSTILE],
            "texts": texts,
        }
        | changes
    )


def test_every_section_is_there_and_nothing_runs(tmp_path):
    written = evaluation().report(tmp_path / "report.html")
    page = written[0].read_text()
    assert HOSTILE not in page and "&lt;img src=x onerror=alert(1)&gt;" in page
    assert [path.stem for path in written[1:]] == ["ranking-accuracy", "margins", "groups"]
    for title in (
        "own answers",
        "What it writes",
        "By group",
        "Answers to read",
        "How it was measured",
    ):
        assert title in page


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ((0.1, 0.05, 0.15), "more than its reference"),
        ((-0.1, -0.2, -0.05), "less than its reference"),
        ((0.1, -0.1, 0.2), "not told apart from its reference"),
        ((0.1, None, None), "not told apart"),
    ],
)
def test_the_lead_follows_the_gain(gain, said):
    assert said in lead(evaluation(gain=gain))


@pytest.mark.parametrize(
    ("win", "said"),
    [
        ((0.6, 0.55, 0.65), "writes better answers"),
        ((0.4, 0.3, 0.45), "writes worse answers"),
        ((0.5, 0.4, 0.6), "is undecided"),
        ((0.9, None, None), "is undecided"),
    ],
)
def test_the_lead_follows_the_win_rate(win, said):
    assert said in lead(evaluation(win=win))


def test_an_evaluation_of_nothing_has_a_page_too():
    nothing = Part(0, 0, {"policy": estimate(None)}, {"policy": estimate(None)})
    page = page_of(evaluation(all=nothing, groups={}, texts=[], reference=None))
    assert page.lead == "There is nothing to rank and no prompt to answer." and "n/a" in page.html()
