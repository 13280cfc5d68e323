"""What `make fast` leaves out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import slow

XML = """<testsuites><testsuite>
<testcase classname="tests.a.test_b" name="test_long[1]" time="60"/>
<testcase classname="tests.a.test_b" name="test_long[2]" time="55"/>
<testcase classname="tests.test_c" name="test_middle" time="40"/>
<testcase classname="tests.test_c" name="test_short" time="50"/>
</testsuite></testsuites>"""


def test_the_slowest_are_left_out_until_the_rest_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """205 seconds, of which 100 may stay: without `test_long`, whose cases take 115, 90 do."""
    monkeypatch.setattr(slow, "LIST", tmp_path / "slow.txt")
    report = tmp_path / "report.xml"
    report.write_text(XML)
    assert slow.write(report) == 1
    assert slow.LIST.read_text().split() == ["115.0", "tests.a.test_b::test_long"]
    marked: list[str] = []
    items = [
        SimpleNamespace(nodeid=nodeid, add_marker=lambda mark, nodeid=nodeid: marked.append(nodeid))
        for nodeid in ("tests/a/test_b.py::test_long[2]", "tests/test_c.py::test_short")
    ]
    slow.mark(items)  # type: ignore[arg-type]
    assert marked == ["tests/a/test_b.py::test_long[2]"]


def test_without_a_list_every_test_is_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow, "LIST", tmp_path / "none.txt")
    slow.mark([SimpleNamespace(nodeid="tests/a.py::test_b")])  # type: ignore[list-item]
