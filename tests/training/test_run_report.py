"""The page of a run: curves of what its metrics hold, sentences that follow its numbers, no more
points than a chart needs.
"""

import json

import pytest

from holdfast.methods import METHODS
from holdfast.training.policy import train
from holdfast.training.run.report import POINTS, lead, run_page, thinned


@pytest.fixture(scope="module")
def run(tiny_model_dir, pair_rows, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "dpo"
    return train(
        "dpo",
        model=str(tiny_model_dir),
        data=pair_rows,
        out=out,
        max_steps=3,
        batch_size=8,
        eval_fraction=0.2,
        learning_rate=1e-3,
    )


def test_a_finished_run_leaves_its_page(run):
    html = (run.out / "report.html").read_text()
    assert lead(run.record)[:20] in html and "PNG</a>" not in html
    titles = [section.title for section in run_page(METHODS["dpo"], run).sections]
    assert titles[:2] == ["What it learned", "How it ranks"] and titles[-1] == "How it was made"
    assert "How the reduction weighs rows" not in titles  # the mean has none


def test_curves_are_the_metrics(run):
    chart = run_page(METHODS["dpo"], run).charts()[0]
    points = [(row["name"], row["x"], row["y"]) for row in chart.spec()["data"]["values"]]
    trained = [("training", line["step"], line["loss"]) for line in run.metrics if "loss" in line]
    held = [
        ("held out", line["step"], line["eval/loss"]) for line in run.metrics if "eval/loss" in line
    ]
    assert points == [*trained, *held] and len(trained) == 3 and len(held) >= 2


def test_the_lead_says_what_is_known():
    last = {"step": 7, "loss": 0.5, "log_ratios/chosen": -3.0}
    record = {"method": "dpo", "results": {"last_step": last}}
    assert (
        "7 steps" in lead(record)
        and "No rows were held out" in lead(record)
        and "less likely, by 3.0 nats" in lead(record)
    )
    before = {"eval/loss": 0.693, "eval/ranking/accuracy": 0.4}
    after = {
        "eval/loss": 0.6,
        "eval/rewards/accuracies": 0.625,
        "eval/ranking/accuracy": 0.45,
        "eval/log_ratios/chosen": 1.0,
    }
    said = lead(
        {
            "method": "dpo",
            "results": {"last_step": last, "eval_before": before, "eval_after": after},
        }
    )
    rose = {"last_step": last, "eval_before": before, "eval_after": {**after, "eval/loss": 0.8}}
    assert "worse than before" in lead({"method": "dpo", "results": rose})
    assert (
        "0.693 to 0.600." in said
        and "62.5%" in said
        and "45.0%, from 40.0%" in said
        and "less likely" not in said
    )


def test_long_curves_are_thinned_to_means():
    points = [(step, float(step % 2)) for step in range(1, 2001)]
    short = thinned(points)
    assert len(short) <= POINTS and short[-1][0] == 2000
    assert all(abs(value - 0.5) < 0.2 for _, value in short)
    assert thinned(points[:5]) == points[:5] and thinned([]) == []


def test_a_reward_model_keeps_its_own_page(run):
    assert json.loads((run.out / "run.json").read_text())["task"] == "policy"


def test_how_it_was_made_says_the_average_and_what_was_changed(tiny_model_dir, pair_rows, tmp_path):
    how = {"max_steps": 1, "batch_size": 4, "average": "constant:length=7"}
    run = train("sft", model=str(tiny_model_dir), data=pair_rows, out=tmp_path / "run", **how)
    made = run_page(METHODS["sft"], run).sections[-1].tables[0]
    values = dict(made.rows)
    assert values["average"] == "constant:length=7" and values["max_steps"] == "1"
    assert "None" not in values.values() and "adam_beta1" not in values
