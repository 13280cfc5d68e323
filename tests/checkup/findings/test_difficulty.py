"""Difficulty: the numbers that `evaluate` gives, shares of verdicts by hand, and hidden states as
features.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

from holdfast.checkup.check import check
from holdfast.checkup.estimators.features import SURFACE, dense_ND, surface_ND
from holdfast.checkup.estimators.model_scores import ModelScores
from holdfast.checkup.findings.difficulty import agreement, difficulty
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Severity
from holdfast.errors import ModelError
from holdfast.evaluation.evaluation import evaluate
from tests.checkup.rows import comparisons


@pytest.fixture(scope="module")
def seen(tiny_model_dir, pair_rows):
    data = comparisons(pair_rows)
    request = CheckRequest(model=tiny_model_dir, quiet=True)
    return data, request, ModelScores.read(data.rows, request)


def with_view(data, model_scores):
    return replace(data, model_scores=model_scores, memory={})


def test_absent_without_a_model(pair_rows):
    found = difficulty(comparisons(pair_rows), CheckRequest(quiet=True))
    assert found.severity is Severity.NOT_APPLICABLE and "--model" in found.cannot


def test_numbers_are_those_of_evaluate(seen, tiny_model_dir, pair_rows):
    data, request, model_scores = seen
    found = difficulty(with_view(data, model_scores), request)
    other = evaluate(
        tiny_model_dir,
        reference=tiny_model_dir,
        data=pair_rows,
        prompts=0,
        beta=0.1,
        progress=False,
    ).all
    assert found.numbers["ranking"]["policy"]["value"] == pytest.approx(
        other.ranking["policy"]["value"]
    )
    assert found.numbers["ranking"]["policy_per_token"]["value"] == pytest.approx(
        other.ranking["policy_per_token"]["value"]
    )
    for beta in ("0.01", "0.1", "1", "10"):
        assert found.numbers["idealized"][beta]["value"] == pytest.approx(
            other.difficulty["idealized"][beta]["value"]
        )
    assert (
        found.numbers["ranking"]["implicit_reward"]["value"] == 0.5
    )  # the model is its own reference
    assert json.dumps(found.numbers, default=str)


def test_a_smaller_beta_reaches_further(seen):
    data, request, model_scores = seen
    found = difficulty(with_view(data, model_scores), request).numbers["idealized"]
    shares = [found[beta]["value"] for beta in ("0.01", "0.1", "1", "5", "10")]
    assert shares == sorted(shares, reverse=True) and shares[0] == 1.0


def test_shares_of_verdicts_by_hand():
    """Two verdicts of a pair agree in 4 cases of 6, so shares follow a Beta(1, 1)."""
    row = {"prompt": "p", "chosen": "a", "rejected": "b"}
    sure = {"prompt": "q", "chosen": "a", "rejected": "b", "confidence": 0.8}
    split = [
        {**row, "rater": "1"},
        {**row, "rater": "2"},
        {**row, "chosen": "b", "rejected": "a", "rater": "3"},
    ]
    one_mind = [{**row, "prompt": "o", "rater": rater} for rater in "123"]
    data = comparisons([*split, *one_mind, sure, {**sure, "prompt": "r", "confidence": 1.0}])
    np.testing.assert_allclose(
        agreement(data), [3 / 5, 3 / 5, 2 / 5, 4 / 5, 4 / 5, 4 / 5, 0.8, 1.0]
    )


def test_raters_who_always_agree_are_certain_and_those_who_never_do_say_nothing():
    row, turned = ({"prompt": "p", "chosen": win, "rejected": lose} for win, lose in ("ab", "ba"))
    np.testing.assert_allclose(agreement(comparisons([{**row, "rater": r} for r in "12"])), 1.0)
    np.testing.assert_allclose(
        agreement(comparisons([{**row, "rater": "1"}, {**turned, "rater": "2"}])), 0.5
    )


def test_the_hardest_rows_come_first_and_none_is_lost(seen):
    data, request, model_scores = seen
    found = difficulty(with_view(data, model_scores), request)
    c_N = model_scores.scores.ref_rejected_N - model_scores.scores.ref_chosen_N
    assert found.examples[0].place == int(np.argmax(c_N)) and found.examples[-1].place == int(
        np.argsort(c_N)[2]
    )
    assert found.numbers["scored"] == len(data)


def test_rows_too_long_are_left_out_and_counted(tiny_model_dir, pair_rows):
    rows = [*pair_rows[:20], {"prompt": "p", "chosen": "word " * 500, "rejected": "x"}]
    data = comparisons(rows)
    request = CheckRequest(model=tiny_model_dir, quiet=True)
    model_scores = ModelScores.read(data.rows, request)
    assert (
        np.isnan(model_scores.scores.chosen_N[20])
        and (model_scores.state_ND[20] == 0).all()
        and model_scores.known().sum() == 20
    )
    found = difficulty(with_view(data, model_scores), request)
    assert found.numbers["scored"] == 20 and "1 rows" in found.cannot


def test_states_are_the_features_where_a_model_is_given(seen):
    data, _, model_scores = seen
    surface = len(SURFACE)
    assert dense_ND(with_view(data, model_scores)).shape[1] > 0
    kept = (~np.isclose(surface_ND(data), 0).all(0)).sum()
    assert not np.array_equal(
        dense_ND(with_view(data, model_scores))[:, kept:], dense_ND(data)[:, kept:]
    )
    some = with_view(data, model_scores).take([5, 3, 1])
    np.testing.assert_array_equal(
        some.model_scores.states(some.rows), model_scores.state_ND[[5, 3, 1]]
    )
    assert dense_ND(some).shape[1] <= surface


def test_a_reference_of_its_own(tiny_model_dir, pair_rows, tmp_path, tiny_tokenizer):
    from tests.conftest import build_model

    build_model(len(tiny_tokenizer), seed=1).save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    data = comparisons(pair_rows)
    found = difficulty(data, CheckRequest(model=tiny_model_dir, reference=tmp_path, quiet=True))
    assert (
        found.numbers["ranking"]["reference"]["value"]
        != found.numbers["ranking"]["policy"]["value"]
    )


def test_the_whole_check_up_with_a_model(tiny_model_dir, pair_rows, tmp_path):
    found = check(pair_rows, model=str(tiny_model_dir), out=tmp_path, quiet=True)
    assert found.findings["difficulty"].severity is not Severity.NOT_APPLICABLE
    assert (tmp_path / "difficulty.png").exists() and "difficulty" in (
        tmp_path / "report.html"
    ).read_text()
    with pytest.raises(ModelError):
        check(pair_rows, model="/no/such/model", quiet=True)
