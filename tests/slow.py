"""Which tests `make fast` leaves out: the slowest, until what stays takes a minute on two cores.

    pytest -n auto --junitxml=durations.xml && python -m tests.slow durations.xml

(`make slow-tests`) writes `tests/slow.txt`, one test function a line, slowest first, with its
seconds on the machine that measured. A function counts with all its cases and with what its
fixtures took. A test that is not on the list runs in both, so that a stale list costs time and
never a test.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

LIST = Path(__file__).with_name("slow.txt")
BUDGET = 100.0  # core-seconds that stay: a minute of two cores, less what starting them takes


def name_of(nodeid: str) -> str:
    """`tests/a/test_b.py::test_c[case]` -> `tests.a.test_b::test_c`, as the XML names it."""
    path, *rest = nodeid.partition("[")[0].split("::")
    return "::".join([path.removesuffix(".py").replace("/", "."), *rest])


def mark(items: list[pytest.Item]) -> None:
    """Give the marker `slow` to the tests of the list."""
    lines = LIST.read_text(encoding="utf-8").splitlines() if LIST.is_file() else []
    slow = {line.split()[1] for line in lines if line.strip()}
    for item in items:
        if name_of(item.nodeid) in slow:
            item.add_marker(pytest.mark.slow)


def write(xml: Path) -> int:
    """The list from a run's report; how many functions stand on it."""
    seconds: Counter[str] = Counter()
    for case in ElementTree.parse(xml).iter("testcase"):
        name = f"{case.attrib['classname']}::{case.attrib['name'].partition('[')[0]}"
        seconds[name] += float(case.attrib["time"])
    left = seconds.total()
    lines = []
    for name, took in seconds.most_common():
        if left <= BUDGET:
            break
        left -= took
        lines.append(f"{took:7.1f} {name}")
    LIST.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


if __name__ == "__main__":
    print(f"{write(Path(sys.argv[1]))} functions in {LIST}")
