"""The demo, small: it ends, it leaves what it says it leaves, and it touches nothing of anybody
else's.
"""

import json

import pytest

from holdfast.demo import MARKER, demo
from holdfast.errors import OptionError
from holdfast.evaluation.evaluation import evaluate
from holdfast.lab.flip_story import (
    ACCURACY,
    KEPT_ROBUST,
    KEPT_TAUGHT,
    PLAIN_YARDSTICK,
    ROBUST_PLAIN,
)


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """What a quick demo leaves behind."""
    return demo(tmp_path_factory.mktemp("demo") / "out", quick=True).parent


def test_the_report_and_its_pictures_are_there(left):
    page = (left / "report.html").read_text()
    assert "quick run: far too small to show anything" in page
    pictures = sorted(path.stem for path in left.glob("*.png"))
    assert pictures == [
        "gold-reward",
        "held-out-accuracy",
        "held-out-margin",
        "loss",
        "movement",
        "what-the-flips-did",
        "win-rate",
    ]
    for name in pictures:
        assert f'id="chart-{name}"' in page


def test_the_record_says_what_the_files_say(left):
    record = json.loads((left / MARKER).read_text())
    rows = {
        name: [
            json.loads(line)
            for line in (left / "data" / f"{name}-0.jsonl").read_text().splitlines()
        ]
        for name in ("clean", "noisy")
    }
    turned = [
        (a["chosen"], a["rejected"]) == (b["rejected"], b["chosen"])
        for a, b in zip(rows["clean"], rows["noisy"], strict=True)
    ]
    assert sum(turned) == record["facts"][0]["flipped"] > 0
    assert all(
        turn or a["chosen"] == b["chosen"]
        for turn, a, b in zip(turned, rows["clean"], rows["noisy"], strict=True)
    )
    assert [arm["name"] for arm in record["arms"]] == ["DPO", "rDPO", "DPO, no flips"]
    assert set(record["verdicts"]) == {
        ROBUST_PLAIN,
        PLAIN_YARDSTICK,
        ACCURACY,
        KEPT_ROBUST,
        KEPT_TAUGHT,
    }
    assert record["quick"] and record["seed"] == 0


def test_runs_can_be_evaluated_by_anyone(left):
    """The number in the record is the number that `evaluate` gives to whoever asks again."""
    record = json.loads((left / MARKER).read_text())
    found = evaluate(
        left / "runs" / "rdpo-noisy-0",
        data=left / "data" / "held_out.jsonl",
        prompts=0,
        progress=False,
    )
    assert found.all.ranking["implicit_reward"]["value"] == record["arms"][1]["accuracy"]["value"]
    assert found.reference["name"].endswith("sft/model")


def test_an_earlier_demo_is_replaced_and_nothing_else_is_touched(left, tmp_path):
    (left / "data" / "stale.jsonl").write_text("old")
    report = demo(left, quick=True)
    assert report.exists() and not (left / "data" / "stale.jsonl").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("two years of work")
    with pytest.raises(OptionError, match="holds something that no demo left there"):
        demo(mine, quick=True)
    assert (mine / "thesis.txt").read_text() == "two years of work"
    (mine / "thesis.txt").rename(mine / "report.html")
    with pytest.raises(OptionError, match="no demo left there"):
        demo(mine, quick=True)
