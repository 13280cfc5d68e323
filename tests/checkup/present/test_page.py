"""The page of a check-up: worst first, every row quoted as text, and the same content as the
JSON.
"""

import json

import pytest

from holdfast.checkup.check import check
from holdfast.checkup.present.page import page_of, pair_of, turns
from holdfast.checkup.result import Severity
from holdfast.report import SEVERITIES
from tests.browser import CHROMIUM, Browser
from tests.checkup.rows import HOSTILE, plain_rows

SCRIPT = (
    "</script><script>document.title='taken'</script><img src=x onerror=document.title='taken'>"
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Markup in prompts, answers, raters, groups, sources, models, and in the file's own name."""
    folder = tmp_path_factory.mktemp("hostile")
    extra = {
        name: lambda i, rng: SCRIPT + str(i % 3)
        for name in ("rater", "group", "source", "chosen_model", "rejected_model")
    }
    rows = [*plain_rows(60, **extra), *HOSTILE, *HOSTILE]
    rows += [
        {"prompt": SCRIPT, "chosen": f"{SCRIPT} yes {i}", "rejected": f"{SCRIPT} no"}
        for i in range(5)
    ]
    path = folder / "<img src=x onerror=alert(1)>&'.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return check(path, out=folder / "out", quiet=True), folder / "out"


def test_sections_stand_worst_first_and_hold_what_was_found(hostile):
    checkup, _ = hostile
    page = page_of(checkup)
    lights = [section.severity for section in page.sections if section.severity]
    assert lights == sorted(lights, key=list(SEVERITIES).index)
    titles = [section.title for section in page.sections]
    assert titles[0] == "What to do" and titles[-1] == "How this was made"
    for finding in checkup.findings.values():
        assert (finding.title in titles) == (finding.severity is not Severity.NOT_APPLICABLE)
        if finding.severity is not Severity.NOT_APPLICABLE:
            section = page.sections[titles.index(finding.title)]
            assert (
                section.text == finding.says
                and len(section.pairs) <= 10
                and bool(section.pairs) == bool(finding.examples)
            )
    assert page.sections[0].command == checkup.advice.command


def test_the_folder_holds_page_and_pictures(hostile):
    checkup, folder = hostile
    assert {"report.html", "check.json"} <= {path.name for path in folder.iterdir()}
    for chart in page_of(checkup).charts():
        assert (folder / f"{chart.name}.png").stat().st_size > 1000
    assert set(json.loads((folder / "check.json").read_text())["findings"]) == set(checkup.findings)


def test_a_row_is_shown_as_it_is_read():
    turns_of = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "yes?"},
        {"role": "user", "content": "go"},
    ]
    sides = {side: [{"role": "assistant", "content": side}] for side in ("chosen", "rejected")}
    row = check([{"prompt": turns_of, **sides}] * 3, quiet=True)
    example = next(iter(row.findings.values())).examples
    assert turns(row.data.rows[0].prompt) == "user: hi\n\nassistant: yes?\n\nuser: go"
    assert turns(row.data.rows[0].chosen) == "chosen" and turns(None) == ""
    assert all(pair_of(row.data.rows[e.place], e).where for e in example)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_runs_nothing_of_the_data(hostile):
    checkup, folder = hostile
    with Browser() as browser:
        browser.open(folder / "report.html")
        assert browser.errors == []
        assert browser.requests == [(folder / "report.html").as_uri()]
        assert browser.run("document.title").startswith("Check-up of")
        assert (
            browser.run(
                "document.querySelectorAll('main img, main [onerror], main svg script').length"
            )
            == 0
        )
        assert browser.run("document.querySelectorAll('.chart svg.marks').length") == len(
            page_of(checkup).charts()
        )
        browser.size(360)
        browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert browser.run("document.documentElement.scrollWidth") <= 360
