"""Pages are made from the code, complete, and the committed ones are up to date."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from holdfast import pages
from holdfast.card import settings_of
from holdfast.errors import OptionError
from holdfast.methods import METHODS, get

COMMITTED = Path(__file__).parents[1] / "docs" / "methods"


def test_committed_pages_are_what_the_code_says(tmp_path: Path):
    """If this fails: python -m holdfast.pages docs/methods"""
    written = pages.write(tmp_path / "methods")
    assert (
        {path.name for path in written}
        == {path.name for path in COMMITTED.iterdir()}
        == {"README.md", *(f"{m}.md" for m in METHODS)}
    )
    for path in written:
        assert path.read_text(encoding="utf-8") == (COMMITTED / path.name).read_text(
            encoding="utf-8"
        ), f"{path.name} is out of date"


def test_the_module_writes_the_folder_it_is_given(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "holdfast.pages", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [
        str(tmp_path / name) for name in ("README.md", *(f"{m}.md" for m in METHODS))
    ]


@pytest.mark.parametrize("name", METHODS)
def test_a_page_says_everything_the_card_does(name: str):
    method, text = get(name), pages.page(name)
    card = method.card
    for part in (
        card.equation,
        card.paper.title,
        str(card.paper.year),
        pages.TOKENS[card.tokens],
        *card.departures,
    ):
        assert part in text
    for said in (card.status, card.not_to_confuse_with, card.stop_gradient):
        assert said[1:] in text
    for setting, parameter in settings_of(method.objective).items():
        assert (
            f"| `{pages.flag(setting)}` | {parameter.default:g} | " in text
            and f" {pages.flag(setting)} {parameter.default:g}" in text
        )
    assert all(f"- needs `{need.name}`: " in text for need in card.needs)
    assert (
        f"holdfast train {name} --model" in text and f".{name}({pages.kind(METHODS[name])}" in text
    )
    assert "Args:" not in text and "Raises:" not in text and "None\n\n##" not in text


def test_the_python_line_of_a_page_runs_as_written():
    """Its settings are the method's own: the call with them is the call with none."""
    import torch

    import holdfast.preference
    from holdfast.types import Pairs, Scored

    one = Scored(torch.tensor([[-1.0, -2.0]]), torch.ones(1, 2), torch.tensor([[-1.5, -1.0]]))
    pairs = Pairs(
        one, Scored(torch.tensor([[-3.0, -0.5]]), torch.ones(1, 2), torch.tensor([[-1.0, -1.0]]))
    )
    for name in ("dpo", "cdpo", "rdpo", "ipo", "slic", "simpo", "cpo", "orpo"):
        line = re.search(r"^cost_N = (.*)$", pages.page(name), re.M)[1]
        assert torch.equal(
            eval(line, {"holdfast": holdfast, "pairs": pairs}), get(name).objective(pairs)
        )


def test_rdpo_in_full():
    text = pages.page("rdpo")
    assert text.startswith("# rdpo\n\nIf labels are flipped")
    assert "- at flip_rate = 0, `rdpo` is `dpo`" in text and "unbounded below" in text
    assert "the cost is 0.693147 at the default settings" in text
    assert "- `OptionError`: beta is not above 0, or flip_rate is outside [0, 0.5)." in text
    assert "[arXiv 2403.00409](https://arxiv.org/abs/2403.00409)" in text


def test_the_table_has_every_method_in_order_with_its_settings():
    rows = pages.table()
    assert [row["method"] for row in rows] == list(METHODS)
    rdpo = next(row for row in rows if row["method"] == "rdpo")
    assert (
        rdpo["settings"] == {"beta": 0.1, "flip_rate": 0.1}
        and rdpo["needs"] == ["reference"]
        and rdpo["takes"] == "pairs"
        and rdpo["tokens"] == "sum"
    )
    assert all(row["says"] and row["summary"] and row["paper"] for row in rows)


def test_the_terminal_table_shows_every_method():
    console = Console(width=200, record=True, file=StringIO())
    console.print(pages.rich_table())
    shown = console.export_text()
    assert all(re.search(rf"\b{name}\b", shown) for name in METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_facts_are_plain_data(name: str):
    facts = json.loads(json.dumps(pages.facts(name)))
    assert facts["method"] == name and set(facts["settings"]) == set(
        settings_of(get(name).objective)
    )
    assert facts["batch_dependent"] == (name in ("kto", "beta_dpo"))
    assert bool(facts["remembers"]) == (name.startswith("lcpo_") or name == "beta_dpo")
    assert all(
        setting["help"] == pages.help_of(get(name), s) for s, setting in facts["settings"].items()
    )


def test_an_unknown_page_is_refused_with_a_near_one():
    for function in (pages.page, pages.facts):
        with pytest.raises(OptionError, match="did you mean dpo"):
            function("dppo")


def test_cells_cannot_break_a_table():
    assert pages.grid([{"a": "p(y|x)"}]) == "| a |\n| --- |\n| p(y\\|x) |"
