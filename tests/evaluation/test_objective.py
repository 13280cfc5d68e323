"""What a run's own cost asks of a single pair: closed forms, and reasons where there is none."""

import numpy as np
import pytest

from holdfast.card import settings_of
from holdfast.evaluation.difficulty import log_odds
from holdfast.evaluation.objective import own_objective
from holdfast.methods import METHODS

SHARE = np.array([0.5, 0.6, 0.7, 0.95, 1.0])


def own(name, reduction="mean", **settings):
    defaults = {key: p.default for key, p in settings_of(METHODS[name].objective).items()}
    return own_objective({"method": name, "settings": defaults | settings, "reduction": reduction})


@pytest.mark.parametrize("beta", [0.01, 0.1, 2.0])
def test_dpo_asks_for_log_odds_over_beta(beta):
    np.testing.assert_allclose(
        own("dpo", beta=beta).target_N(SHARE), log_odds(SHARE) / beta, rtol=1e-9, atol=1e-9
    )


def test_ipo_asks_for_its_margin_times_the_lead():
    odds = np.exp(log_odds(SHARE))
    np.testing.assert_allclose(
        own("ipo", tau=0.1).target_N(SHARE), 5 * (2 * odds / (1 + odds) - 1), rtol=1e-9, atol=1e-9
    )


def test_softened_labels_ask_for_less_and_unbiased_ones_for_more():
    """A share of 0.7 is 0.7 * 0.9 + 0.3 * 0.1 = 0.66 to cDPO at 0.1, and (0.7 - 0.1) / 0.8 = 0.75
    to rDPO.
    """
    assert own("cdpo", flip_rate=0.1).target_N(np.array([0.7])) == pytest.approx(
        np.log(0.66 / 0.34) / 0.1
    )
    assert own("rdpo", flip_rate=0.1).target_N(np.array([0.7])) == pytest.approx(np.log(3) / 0.1)
    assert (
        own("rdpo", flip_rate=0.1).target_N(np.array([0.95])) == np.inf
    )  # more agreement than a rate of 0.1 leaves room for


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("kto", "single answers"),
        ("simpo", "no reference"),
        ("rpo", "more of a pair than its log-ratio"),
        ("ln_dpo", "more of a pair than its log-ratio"),
        ("madpo", "also reads reward_gap"),
        ("hypo", "also reads samples"),
        ("dr_dpo", "depends on other pairs"),
        ("beta_dpo", "depends on other pairs"),
        ("lcpo_dpo", "depends on other pairs"),
    ],
)
def test_where_a_pair_has_no_target_of_its_own_the_reason_is_given(name, why):
    found = own(name)
    assert why in found.why_not
    assert found.target_N(SHARE) is None


def test_a_robust_average_couples_the_pairs():
    assert "chi_square:rho=1" in own("dpo", reduction="chi_square:rho=1").why_not
    assert own_objective({"method": "no such method", "settings": {}}) is None


def test_a_beta_is_only_taken_where_it_is_a_penalty_per_nat():
    assert own("dpo", beta=0.3).beta == 0.3
    assert (
        own("rpo", beta=0.3).beta == 0.3
    )  # a KL penalty too, though no pair has a target of its own
    assert own("simpo", beta=2.0).beta is None
    assert own("ipo").beta is None
