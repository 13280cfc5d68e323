"""Characters that act are planted in every field of a file, in its name and in the names of its
columns; no verb lets one through.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast import cli
from holdfast.cli import screen
from holdfast.data import read
from holdfast.errors import DataError
from holdfast.visible import ACTS, code, json_text, listed, markdown, one_line, visible

ESC, C1, BIDI, ZERO = (
    "\x1b]0;PWNED\x07\x1b[31mRED",
    "\x9b31m",
    "\u202eabc\u2066",
    "a\u200bb\u200d\u2060\ufeff\u00ad\U000e0041",
)
EVIL = f"{ESC}{C1}{BIDI}{ZERO}\x7f\x08\r"
MARKUP = "[red]x[/red] [/nothing] :warning:"
LONG = "n" * 100_000

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(screen.out, "_width", 100)

    def call(*args: Any) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["holdfast", *map(str, args)])
        capfd.readouterr()
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = capfd.readouterr()
        raw = [
            f"U+{ord(found[0]):04X} at {text[max(0, found.start() - 40) : found.end() + 20]!r}"
            for text in (out, err)
            for found in acting(text)
        ]
        assert not raw, raw[:5]
        assert not [
            len(line)
            for line in (out + err).splitlines()
            if len(line) > 3000 and not line.startswith(" ")
        ]
        return status, out, err

    return call


def acting(text: str) -> list[re.Match[str]]:
    """Characters that act, a carriage return of a progress bar aside (there is none: output is no
    terminal here).
    """
    return list(ACTS.finditer(text))


def rows(number: int = 24, **more: Any) -> list[dict[str, Any]]:
    dice = random.Random(0)
    words = ["the cat", "a dog", "red tree", "blue hill", "yes", "no"]
    return [
        {
            "prompt": f"{dice.choice(words)} {n}",
            "chosen": f"{dice.choice(words)} sat",
            "rejected": f"{dice.choice(words)} ran",
            **more,
        }
        for n in range(number)
    ]


def write(path: Path, found: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return path


def planted(evil: str) -> list[dict[str, Any]]:
    """Rows with it in every field that is text: what is read, names, what is only carried along, a
    column's name.
    """
    found = []
    for n, row in enumerate(rows()):
        of = [evil, "b"][n % 2]
        names = {"group": of, "rater": of, "source": of, "chosen_model": of, "rejected_model": "c"}
        found.append(
            {
                **{name: text + evil[-200:] for name, text in row.items()},
                **names,
                evil: n,
                "note": evil,
            }
        )
    return found


@pytest.mark.parametrize("evil", [EVIL, MARKUP, LONG + EVIL], ids=["characters", "markup", "long"])
def test_check_shows_it_and_does_not_obey_it(run: Run, tmp_path: Path, evil: str) -> None:
    path = write(tmp_path / "p.jsonl", planted(evil))
    status, out, err = run("check", path)
    assert status == 0, err
    assert len(out) < 20_000
    for made in (tmp_path / "check").glob("*.json"):
        assert not acting(made.read_text())
    page = re.sub(
        r"<script.*?</script>", "", (tmp_path / "check/report.html").read_text(), flags=re.DOTALL
    )
    assert not acting(page)
    assert not acting(checkup_json(tmp_path))


def checkup_json(folder: Path) -> str:
    text = (folder / "check/check.json").read_text()
    assert json.loads(text)["comparisons"]["total"] == 24
    return text


BAD_FILES = {
    "columns.jsonl": json.dumps({f"foo{EVIL}": 1}) + "\n",
    "header.csv": f"{EVIL.strip()},{EVIL.strip()}\na,b\n",
    "twice.jsonl": '{"prompt": "a", "%s": 1, "%s": 2}\n' % ((json.dumps(EVIL)[1:-1],) * 2),
    "types.jsonl": json.dumps({"prompt": {EVIL: EVIL}, "chosen": "a", "rejected": "b"}) + "\n",
    "role.jsonl": json.dumps(
        {
            "prompt": [{"role": EVIL, "content": "a"}],
            "chosen": [{"role": EVIL, "content": "a"}],
            "rejected": "b",
        }
    )
    + "\n",
    "verdict.jsonl": json.dumps(
        {"prompt": "a", "response_a": "x", "response_b": "y", "winner": EVIL}
    )
    + "\n",
    "label.jsonl": json.dumps({"prompt": "a", "completion": "x", "label": EVIL}) + "\n",
    "ending.x": "a",
    "broken.jsonl": f'{{"prompt": "{EVIL}\n',
    "long.jsonl": json.dumps({LONG: 1, LONG + "b": 2}) + "\n",
    "many.jsonl": json.dumps({f"column{n}": n for n in range(5000)}) + "\n",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_errors_show_it_and_stay_short(
    run: Run, tmp_path: Path, tiny_model_dir: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_text(BAD_FILES[name], encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read(path)
    assert not acting(str(caught.value)) and len(str(caught.value)) < 20_000
    status, _, err = run("evaluate", tiny_model_dir, "--data", path)
    assert status == 2 and "error: " in err


VERBS = [
    ("check",),
    ("train", "dpo", "--model", "M", "--data"),
    ("new-model", "--out", "m"),
    ("lab", "stress", "--data"),
]


@pytest.mark.parametrize("verb", VERBS)
def test_the_errors_of_every_verb_show_it(
    run: Run, tmp_path: Path, tiny_model_dir: Path, verb: tuple[str, ...]
) -> None:
    path = tmp_path / "columns.jsonl"
    path.write_text(BAD_FILES["columns.jsonl"], encoding="utf-8")
    status, _, err = run(*(str(tiny_model_dir) if word == "M" else word for word in verb), path)
    assert status == 2 and "error: " in err and "PWNED" in err


def test_the_name_of_a_file_is_shown_not_obeyed(run: Run, tmp_path: Path) -> None:
    status, _, err = run("check", f"{EVIL}.jsonl")
    assert status == 2 and "PWNED" in err
    path = write(tmp_path / f"{EVIL}[red].jsonl".replace("/", ""), rows())
    status, _, err = run("check", path)
    assert status == 0, err


def test_rendered_examples_evaluation_and_a_run(
    run: Run, tmp_path: Path, tiny_model_dir: Path
) -> None:
    groups = [
        EVIL,
        "x\n# PWNED\n<script>alert(1)</script>",
        MARKUP,
        "`|` [link](http://evil.example)",
    ]
    found = [
        {**row, "prompt": row["prompt"] + EVIL, "group": groups[n % 4], EVIL: 1}
        for n, row in enumerate(rows())
    ]
    path = write(tmp_path / "p.jsonl", found)
    base = ["--model", tiny_model_dir, "--data", path, "--batch-size", 8, "--max-steps", 2]
    status, _, err = run("train", "dpo", *base, "--show", 2)
    assert status == 0, err
    status, _, err = run(
        "train",
        "dpo",
        *base,
        "--reduction",
        "groups",
        "--eval-fraction",
        0.3,
        "--out",
        "run",
        "--json",
    )
    assert status == 0, err
    card = (tmp_path / "run/model/README.md").read_text()
    assert (
        not acting(card)
        and "\n# PWNED" not in card
        and "<script" not in card
        and "](http" not in card
    )
    assert "groups: " in card
    assert not acting((tmp_path / "run/run.json").read_text())
    for more in ((), ("--json",)):
        status, _, err = run(
            "evaluate",
            "run",
            "--data",
            path,
            "--prompts",
            2,
            "--max-new-tokens",
            4,
            "--bootstrap",
            20,
            *more,
        )
        assert status == 0, err
    status, _, err = run("train-reward", "bradley_terry", *base, "--out", "judge")
    assert status == 0, err
    assert not acting((tmp_path / "judge/model/README.md").read_text())


def test_text_and_names_made_visible() -> None:
    assert visible("a\x1bb\x9bc\u202ed") == "a\u241bb\u27e8U+009B\u27e9c\u27e8U+202E\u27e9d"
    assert visible("a\u200db") == "a\u27e8U+200D\u27e9b"
    for whole in (
        "نمی\u200cخواهم",
        "\U0001f468\u200d\U0001f469",
        "क\u094d\u200dष",
        "naïve café",
        "日本語\n\tx",
    ):
        assert visible(whole) == whole
    assert one_line("a\nb\tc") == "a\u240ab\u2409c"
    assert (
        len(one_line(LONG)) <= 80
        and one_line(LONG + "a") != one_line(LONG + "b")
        and one_line("n" * 80) == "n" * 80
    )
    assert listed(map(str, range(40)), 3) == "0, 1, 2 and 37 more"


def test_json_is_the_same_value_with_nothing_that_acts() -> None:
    value = {EVIL: [EVIL, {"a": "\ud800"}]}
    assert json.loads(json_text(value)) == value and not acting(json_text(value))


def test_names_in_markdown_are_text() -> None:
    made = markdown("x\n# A\n<b>&amp; [l](http://e.x) `c` *d* _e_ e_f www.x.y | ~z~ \\ @me")
    assert (
        made.startswith(
            "x\u240a&#35; A\u240a&lt;b&gt;&amp;amp; &#91;l&#93;(http&#58;//e.x) &#96;c&#96;"
        )
        and "e_f" in made
    )
    assert "|" not in made and "\\" not in made and "www." not in made and "@" not in made
    assert code("ranking/group a") == "`ranking/group a`" and "`" not in code("a`b|c")


def test_rows_of_frames_errors_are_visible_in_python_too() -> None:
    with pytest.raises(DataError) as caught:
        read([{"prompt": "a", "chosen": {EVIL: 1}, "rejected": "c"}])
    assert not acting(str(caught.value))
