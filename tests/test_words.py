"""Words of ours that have a name in the field stand neither in what users read nor in the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {  # ours -> the field's
    r"camps?": "preference subgroups",
    r"contests?": "matches",
    r"twins?": "policy objective of the solver",
    r"trainee": "task",
    r"data room|rooms of|other rooms": "module",
    r"doors?": "function",
    r"surprise": "log loss",
    r"the other way round": "swapped",
    r"turned around": "inverted",
    r"by lot": "at random",
    r"ambiguity sets? of|holdfast\.ambiguity": "reductions",
    r"--path plain|--flip [0-9]": "--scoring padded, --flip-rate",
}
IN_SENTENCES_ABOUT_DOORS = {"src/holdfast/lab/worlds/text.py"}  # a made-up answer: near the door


def read_by_people() -> list[Path]:
    pages = [p for p in (ROOT / "docs").rglob("*.md") if "claims" not in p.parts]
    return [ROOT / "README.md", *pages, *(ROOT / "src").rglob("*.py")]


@pytest.mark.parametrize("ours", OURS)
def test_no_word_of_ours_where_the_field_has_one(ours: str) -> None:
    word = re.compile(rf"(?<![-\w])(?:{ours})(?!\w)", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in read_by_people()
        if str(path.relative_to(ROOT)) not in IN_SENTENCES_ABOUT_DOORS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if word.search(line)
    ]
    assert not found, f"say {OURS[ours]}: {found}"
