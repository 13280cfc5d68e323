"""What a preference model can rank, by held-out accuracy on planted preferences."""

import numpy as np
import pytest

from holdfast.checkup.estimators.features import preference_model, prompt_model
from tests.checkup.rows import comparisons, plain_rows, sentence


def right(found):
    return float((found.logit_N > 0).mean())


def yes_or_no(n, seed=0):
    """The prompt decides: yes to winter, no to summer."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        season = ("winter", "summer")[int(rng.integers(2))]
        good, bad = ("Yes", "No") if season == "winter" else ("No", "Yes")
        prompt = f"{i}: {sentence(rng)} Do you like {season}?"
        rows.append({"prompt": prompt, "chosen": good, "rejected": bad})
    return comparisons(rows)


def test_what_is_wanted_under_one_prompt_alone_is_told_by_the_prompt_model():
    data = yes_or_no(300)
    assert right(prompt_model(data)) > 0.95
    assert right(preference_model(data)) < 0.65


@pytest.mark.parametrize("model", [preference_model, prompt_model])
def test_coins_are_not_told(model):
    assert right(model(comparisons(plain_rows(400)))) == pytest.approx(0.5, abs=0.08)


def test_the_prompt_model_still_ranks_what_answers_alone_tell():
    rng = np.random.default_rng(0)
    rows = [
        {"prompt": f"{i}?", "chosen": f"{sentence(rng)} splendid", "rejected": sentence(rng)}
        for i in range(300)
    ]
    assert right(prompt_model(comparisons(rows))) > 0.95


def test_a_swapped_pair_has_the_negative_log_odds():
    """No feature knows which answer was chosen: swapping the rows of one fold's prompts turns
    their log-odds and leaves nothing else.
    """
    data = yes_or_no(120)
    logit_N = prompt_model(data).logit_N
    rows = [
        {"prompt": row.prompt, "chosen": row.rejected, "rejected": row.chosen} for row in data.rows
    ]
    np.testing.assert_allclose(prompt_model(comparisons(rows)).logit_N, logit_N, atol=1e-6)
