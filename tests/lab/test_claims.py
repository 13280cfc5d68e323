"""Claims as a user meets them: found, run, cached, decided, published."""

from __future__ import annotations

import json
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from typer.testing import CliRunner

from holdfast.errors import OptionError, RunError
from holdfast.lab import cache, fit, runner
from holdfast.lab.claim import Claim, Paper, papers
from holdfast.lab.commands import arms_of, lab_app
from holdfast.lab.publish import facts_of, markdown, page_of, publish
from holdfast.lab.verdict import separated
from holdfast.methods import METHODS

CALLS: list[tuple[tuple[int, ...], int]] = []


def planted(seeds, *, x):
    """Arm a is ahead of b by x on every seed."""
    CALLS.append((tuple(seeds), x))
    noise = [float(np.random.default_rng(seed).standard_normal()) for seed in seeds]
    return {
        "a": {"q": [n + x + 0.001 * s for n, s in zip(noise, seeds, strict=True)]},
        "b": {"q": noise},
    }


def broken(seeds, *, x):
    return {"a": {"q": [float("nan")] * len(seeds)}, "b": {"q": [0.0] * len(seeds)}}


CLAIM = Claim(
    says="a is ahead of b.",
    methods=("dpo",),
    world=fit,
    measure=planted,
    of="q",
    verdict=separated("a", "b", "q"),
    sweep={"x": (1, 2, 3)},
    seeds=range(8),
    chunk=5,
)
PAPER = Paper(
    "planted",
    "A planted effect",
    "How it was planted.",
    (CLAIM, replace(CLAIM, says="b is ahead of a.", verdict=separated("b", "a", "q"))),
)


@pytest.fixture(autouse=True)
def fresh():
    CALLS.clear()


def test_claims_share_work_are_decided_and_kept(tmp_path):
    results = runner.run([PAPER], workers=1, folder=tmp_path, quiet=True)["planted"]
    assert [r.ruling.verdict for r in results] == ["supported", "contradicted"]
    assert (
        len(CALLS) == 3 * 2
    )  # three points, chunks of five and three seeds; the second claim asked for nothing new
    again = runner.run([PAPER], workers=1, folder=tmp_path, quiet=True)["planted"]
    assert len(CALLS) == 6
    assert again[0].ruling == results[0].ruling
    assert results[0].found.of("b", "q", {"x": 2})[7] == pytest.approx(
        np.random.default_rng(7).standard_normal()
    )


def test_quick_takes_a_few_seeds_and_says_so(tmp_path):
    result = runner.run([PAPER], quick=True, workers=1, folder=tmp_path, quiet=True)["planted"][0]
    assert result.verdict == "supported (quick: 6 seeds)"
    assert facts_of(result)["quick"] is True


def test_a_number_that_is_not_finite_is_refused_with_its_place(tmp_path):
    paper = replace(PAPER, claims=(replace(CLAIM, measure=broken),))
    with pytest.raises(RunError, match=r"q of a at \{'x': 1\}"):
        runner.run([paper], workers=1, folder=tmp_path, quiet=True)


def test_a_damaged_file_of_the_cache_counts_as_absent(tmp_path):
    runner.run([PAPER], workers=1, folder=tmp_path, quiet=True)
    for path in tmp_path.glob("*.json"):
        path.write_text("{")
    runner.run([PAPER], workers=1, folder=tmp_path, quiet=True)
    assert len(CALLS) == 12


def test_results_go_stale_with_code_and_not_with_words(tmp_path):
    def hashed(text: str) -> str:
        path = tmp_path / f"m{len(list(tmp_path.iterdir()))}" / "world.py"
        path.parent.mkdir()
        path.write_text(text)
        module = ModuleType("world")
        module.__file__ = str(path)
        return cache.sources([module])

    one = hashed('"""Doc."""\nX = 1\ndef f():\n    """Says."""\n    return X\nCLAIMS = (1,)\n')
    assert (
        hashed(
            '"""Another."""\nX = 1  # why\n\n\ndef f():\n    """Said."""\n    return '
            "X\n\n\nCLAIMS = (2, 3)\n"
        )
        == one
    )
    assert (
        hashed('"""Doc."""\nX = 2\ndef f():\n    """Says."""\n    return X\nCLAIMS = (1,)\n') != one
    )


def test_what_is_published_holds_the_sentence_the_verdict_and_the_numbers(tmp_path):
    results = runner.run([PAPER], workers=1, folder=tmp_path / "cache", quiet=True)
    written = publish(results, [PAPER], tmp_path / "out", docs=tmp_path / "docs")
    assert all(path.is_file() for path in written)
    facts = json.loads((tmp_path / "out" / "results.json").read_text())["planted"]
    assert [f["verdict"] for f in facts] == ["supported", "contradicted"]
    assert facts[0]["tests"][1]["mean"] == pytest.approx(2 + 0.001 * 3.5)
    text = (tmp_path / "docs" / "planted.md").read_text()
    assert "a is ahead of b." in text
    assert "**Contradicted.**" in text
    assert "planted-1.png" in text
    assert (tmp_path / "docs" / "planted-1.png").stat().st_size > 1000
    assert not list(
        (tmp_path / "docs").glob("planted-2.png")
    )  # both claims look at the same numbers
    index = (tmp_path / "docs" / "README.md").read_text()
    assert "**contradicted**" in index
    assert "Contradicted" in page_of(
        PAPER, results["planted"]
    ).html() or "contradicted" in markdown(PAPER, results["planted"])


def luck(seeds, *, x):
    """Arm a is ahead on the seeds that were looked at, and behind on all others."""
    return {
        "a": {"q": [x + 0.01 * s if s < 1000 else -x for s in seeds]},
        "b": {"q": [0.001 * s for s in seeds]},
    }


def test_fresh_seeds_overrule_what_was_chosen_after_a_look(tmp_path):
    paper = replace(PAPER, claims=(CLAIM, replace(CLAIM, says="a leads by luck.", measure=luck)))
    results = runner.run([paper], fresh=1000, workers=1, folder=tmp_path / "cache", quiet=True)
    steady, lucky = results["planted"]
    assert steady.found.seeds == tuple(range(1000, 1008)) and not steady.changed
    assert (lucky.first.verdict, lucky.ruling.verdict, lucky.changed) == (
        "supported",
        "contradicted",
        True,
    )
    assert (
        facts_of(lucky)["verdict_on_first_seeds"] == "supported"
        and facts_of(lucky)["fresh"] == 1000
    )
    publish(results, [paper], tmp_path / "out", docs=tmp_path / "docs")
    index = (tmp_path / "docs" / "README.md").read_text()
    assert (
        "it differs in 1 of 2." in index
        and "| **contradicted** | supported |" in index
        and "--fresh 1000" in index
    )
    page = (tmp_path / "docs" / "planted.md").read_text()
    assert (
        "8 seeds that nobody looked at before; on the first 8, supported (3 of 3 predictions hold)"
        in page
    )
    assert "lab claims planted --fresh 1000" in page
    plain = runner.run([paper], workers=1, folder=tmp_path / "cache", quiet=True)
    publish(plain, [paper], tmp_path / "out", docs=tmp_path / "docs")
    assert "the last column is empty (2 claims)" in (tmp_path / "docs" / "README.md").read_text()
    assert "read the verdicts as descriptions" in (tmp_path / "out" / "index.html").read_text()
    for bad in (3, -1000):  # three more than range(8) are mostly the same seeds
        with pytest.raises(OptionError, match="fresh"):
            runner.run([paper], fresh=bad, workers=1, folder=tmp_path / "cache", quiet=True)


def test_a_run_of_one_paper_leaves_the_others_on_the_list(tmp_path):
    for name in ("one", "two"):
        paper = replace(
            PAPER,
            name=name,
            title=f"Paper {name}",
            claims=(replace(CLAIM, says=f"a is ahead | in {name}."),),
        )
        publish(
            runner.run([paper], workers=1, folder=tmp_path / "c", quiet=True),
            [paper],
            tmp_path / "out",
            docs=tmp_path / "docs",
        )
    index = (tmp_path / "docs" / "README.md").read_text()
    assert (
        "| [Paper one](one.md) | a is ahead \\| in one. | **supported** |  |" in index
        and "[Paper two](two.md)" in index
    )
    assert "2 claims: 2 supported, 0 contradicted, 0 undecided" in index


def test_every_claim_of_the_house_is_well_formed():
    every = papers()
    assert len(every) >= 12
    for paper in every:
        assert paper.title, paper.name
        assert paper.about, paper.name
        for claim in paper.claims:
            assert claim.says.endswith("."), claim.says
            assert set(claim.methods) <= set(METHODS), claim.says
            assert claim.points
            assert len(set(claim.seeds)) >= 2
            assert cache.key(claim, claim.points[0], (0,)) == cache.key(
                claim, claim.points[0], (0,)
            )


def test_an_unknown_claim_is_named_with_the_nearest():
    with pytest.raises(OptionError, match="did you mean ranking_accuracy"):
        papers(["ranking_acuracy"])


def test_a_claim_runs_from_the_command_line(tmp_path):
    out = tmp_path / "out"
    args = [
        "claims",
        "rpo_coverage_hole",
        "--quick",
        "--workers",
        "1",
        "--out",
        str(out),
        "--cache",
        str(tmp_path / "cache"),
        "--json",
    ]
    ran = CliRunner().invoke(lab_app, args, catch_exceptions=False)
    assert ran.exit_code == 0
    assert {"rpo_coverage_hole.html", "index.html", "results.json"} <= {
        path.name for path in out.iterdir()
    }
    facts = json.loads((out / "results.json").read_text())["rpo_coverage_hole"]
    assert facts[-1]["verdict"] == "supported"  # vpo and rpo have the same gradient
    assert facts[0]["seeds"] == 6


def test_settings_stay_with_their_method():
    assert arms_of("dpo, rdpo:flip_rate=0.2,beta=1 ,ipo") == [
        "dpo",
        "rdpo:flip_rate=0.2,beta=1",
        "ipo",
    ]
    assert arms_of(
        "dpo:reduction=groups:k=2,step=0.1,rdpo:flip_rate=0.2,reduction=kl:temperature=2"
    ) == [
        "dpo:reduction=groups:k=2,step=0.1",
        "rdpo:flip_rate=0.2,reduction=kl:temperature=2",
    ]
