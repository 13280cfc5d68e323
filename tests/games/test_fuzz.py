"""Random and degenerate games against slow answers by definition: `benchmarks/fuzz_games.py`,
bounded.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from holdfast.games import Game, certificate, exploitability, gap

FILE = Path(__file__).parents[2] / "benchmarks" / "fuzz_games.py"


@pytest.fixture(scope="module")
def harness() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_games", FILE)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.filterwarnings("ignore")
def test_every_certificate_of_every_solver_is_true(harness: ModuleType):
    found = harness.fuzz(105, seed=1, calls=25)
    assert (
        found["games"] == 105
        and found["checks"] > 15_000
        and found["examples"] == []
        and found["refused"] <= 5
    )


@pytest.mark.filterwarnings("ignore")
def test_a_certificate_that_is_off_is_found(harness: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(certificate, "kl", lambda pi_A, ref_A: 0.0)
    assert any("gap" in said for said in harness.fuzz(20, seed=1)["examples"])


@pytest.mark.parametrize("beta", [0.0, 1e-12, 1e-6, 0.01, 1.0, 1e3, 1e6])
def test_certificates_are_never_negative_and_0_at_a_draw(beta: float):
    rng = np.random.default_rng(0)
    game = Game(np.full((5, 5), 0.5), beta=beta)
    assert gap(game, np.full(5, 0.2)) <= 1e-25 * max(1.0, beta)
    for _ in range(50):
        pi_A = rng.dirichlet(np.full(5, 0.1))
        assert (
            gap(game, pi_A) >= 0
            and np.isfinite(gap(game, pi_A))
            and exploitability(game, pi_A) == 0
        )
