"""The commands, from the arguments on."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from holdfast.errors import OptionError
from holdfast.optimization.pareto import NAMES
from holdfast.optimization.pareto.commands import app
from holdfast.optimization.pareto.search import METHODS


def call(*words):
    found = CliRunner().invoke(app, list(words))
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.stdout


SHORT = ("--first", "4", "--evaluations", "8", "--batch", "2", "--seeds", "2")


def test_a_run_and_its_resume(tmp_path):
    words = ("run", "vlmop2", "--variables", "2", "--method", "sobol", *SHORT, "--json")
    whole = json.loads(call(*words))
    curve = [row["hypervolume"]["value"] for row in whole["curve"]]
    assert whole["curve"][0]["evaluations"] == 4 and whole["curve"][-1]["evaluations"] == 8
    assert curve == sorted(curve)
    low, high = (whole["curve"][-1]["hypervolume"][end] for end in ("low", "high"))
    assert low <= curve[-1] <= high
    folder = ("--out", str(tmp_path))
    assert json.loads(call(*words, *folder)) == whole
    assert len(list(tmp_path.glob("vlmop2-sobol-*.json"))) == 2
    assert json.loads(call(*words, *folder)) == whole
    assert "0.5521" in call(*words[:-1])


def test_lists():
    assert [row["name"] for row in json.loads(call("problems", "--json"))] == list(NAMES)
    assert json.loads(call("methods", "--json")) == list(METHODS)
    assert "0.876667" in call("problems")


def test_refusals():
    with pytest.raises(OptionError, match="has no network"):
        call("run", "zdt1", "--method", "nsga2", "--steps", "3")
    with pytest.raises(OptionError, match="seeds"):
        call("run", "zdt1", "--seeds", "0")
    with pytest.raises(OptionError, match="no method"):
        call("run", "zdt1", "--method", "magic", "--steps", "3")
