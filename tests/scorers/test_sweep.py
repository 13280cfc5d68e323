"""The benchmark of all families, on a few of them: those that pack, fall back, have sides, and are
refused.
"""

import importlib
from pathlib import Path

import pytest


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("families"), importlib.import_module("small_configs")


@pytest.mark.parametrize(
    "family, setting, outcome",
    [
        ("mixtral", "router loss", "packed"),
        ("phi3", "longrope rope", "packed"),
        ("stablelm", "", "fell back"),
        ("rwkv", "", "fell back"),
        ("bert", "", "refused"),
    ],
)
def test_a_family_comes_out_as_it_should(benchmarks, tmp_path, family, setting, outcome):
    sweep, configs = benchmarks
    variant = next(variant for variant in configs.variants(family) if variant.name == setting)
    finding = sweep.examine(variant, tmp_path)
    assert (finding.wrong, finding.outcome) == ([], outcome)


def test_a_wrong_number_is_found(benchmarks, tmp_path, monkeypatch):
    sweep, configs = benchmarks
    honest = sweep.Oracle.logits_LV
    monkeypatch.setattr(sweep.Oracle, "logits_LV", lambda self, ids: honest(self, ids) * 1.01)
    finding = sweep.examine(configs.Variant("llama"), tmp_path)
    assert finding.outcome == "wrong" and any(
        "score: log-probabilities" in text for text in finding.wrong
    )
    assert sweep.totals([finding]) == {
        "families": 1,
        "packed": 0,
        "fell_back": 0,
        "refused": 0,
        "wrong": 1,
    }
