"""RewardBench, first and second, by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from holdfast.cli.app import app
from holdfast.errors import DataError
from holdfast.evaluation.reward_bench import credit_of, reward_bench, ties_score


def by_number(prompts, answers):
    """The number that an answer is."""
    return [float(answer) for answer in answers]


def pair(chosen, rejected, subset, name="1"):
    return {
        "id": name,
        "prompt": f"p{name}{subset}",
        "chosen": chosen,
        "rejected": rejected,
        "subset": subset,
    }


def test_pairs_of_the_first_by_subset():
    """Two right and one tie of four in a; one of one in b."""
    rows = [pair("2", "1", "a", str(n)) for n in (1, 2)]
    rows += [pair("1", "1", "a", "3"), pair("0", "1", "a", "4"), pair("5", "1", "b")]
    found = reward_bench(by_number, data=rows)
    assert found.subsets["a"].point == pytest.approx(2.5 / 4) and found.subsets["a"].n == 4
    assert found.subsets["b"].point == 1.0 and found.ties is None
    assert found.overall == pytest.approx((0.625 + 1) / 2)
    assert found.subsets["a"].low < 0.625 < found.subsets["a"].high


def test_best_of_four_of_the_second():
    assert credit_of(np.array([3.0, 1, 2, 0])) == 1
    assert credit_of(np.array([3.0, 3, 3, 0])) == pytest.approx(1 / 3)
    assert credit_of(np.array([3.0, 1, 4, 0])) == 0
    rows = [pair(["3"], ["1", "2", "0"], "Focus"), pair(["3"], ["3", "2", "0"], "Focus", "2")]
    assert reward_bench(by_number, data=rows).subsets["Focus"].point == 0.75


def test_ties_by_hand():
    """ref gap 2; tied: right 5 and 6, wrong 3: gap 2, spread 1. Everything holds: 0.3 x 2 + 0.4 +
    0.01 tanh(1). With a spread of 3 the margins fail: 0.6 + 0.01 tanh(2/3 - 1).
    """
    ref = (np.array([4.0, 2.0, 1.0]), 1)
    good = ties_score({"ref:7": ref, "tied:7": (np.array([5.0, 6.0, 3.0]), 2)})
    assert good == pytest.approx(1.0 + 0.01 * math.tanh(1))
    wide = ties_score({"ref:7": ref, "tied:7": (np.array([5.0, 8.0, 3.0]), 2)})
    assert wide == pytest.approx(0.6 + 0.01 * math.tanh(2 / 3 - 1))
    alone = ties_score({"ref:7": ref, "tied:8": (np.array([2.0, 8.0, 3.0]), 2)})
    assert alone == pytest.approx(0.3)
    with pytest.raises(DataError, match="neither"):
        ties_score({"7": ref})


def test_a_row_without_a_score_is_counted_and_a_bad_row_is_named():
    rows = [pair("2", "1", "a"), pair("x", "1", "a", "2")]
    found = reward_bench(by_number, data=rows)
    assert found.unscored == 1 and found.subsets["a"].n == 1 and "ValueError" in found.faults[0]
    with pytest.raises(DataError, match="rows:1 has no subset"):
        reward_bench(by_number, data=[{"prompt": "a", "chosen": "b", "rejected": "c"}])


def test_on_the_command_line(tmp_path: Path):
    (tmp_path / "reward.py").write_text("def score(p, a):\n    return [len(x) for x in a]\n")
    data = tmp_path / "bench.jsonl"
    data.write_text(json.dumps(pair(["long one"], ["a", "b", "c"], "Focus")) + "\n")
    told = ["evaluate", f"{tmp_path}/reward.py:score", "--reward-bench", "--data", str(data)]
    done = CliRunner().invoke(app, [*told, "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["overall"] == 1.0
    assert CliRunner().invoke(app, [*told, "--samples", "4"]).exit_code != 0
