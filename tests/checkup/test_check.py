"""`check`: reads, skips and counts, samples with a seed, writes JSON, refuses what holds
nothing.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
from holdfast.checkup.check import run_findings, shares_of
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.present.page import page_of
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import FindingSpec, Severity
from holdfast.errors import DataError, OptionError


def rows(n):
    return [
        {"prompt": f"question {i}", "chosen": f"a long good answer {i}", "rejected": f"bad {i}"}
        for i in range(n)
    ]


def test_a_file_with_bad_rows_is_checked_and_they_are_counted(tmp_path):
    path = tmp_path / "prefs.jsonl"
    path.write_text(
        "\n".join(
            json.dumps(row) for row in [*rows(30), {"prompt": "p", "chosen": "", "rejected": "x"}]
        )
        + "\n{broken\n"
    )
    found = holdfast.check(path, out=tmp_path / "out", quiet=True)
    assert len(found.data) == 30 and sum(found.report.skipped.values()) == 2
    said = json.loads((tmp_path / "out" / "check.json").read_text())
    assert said["comparisons"]["examined"] == 30
    assert "--quarantine" in said["advice"]["command"]
    assert len((tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()) == 2


def test_a_larger_set_is_sampled_with_a_seed_and_says_so():
    found = [holdfast.check(rows(300), rows=100, seed=seed, quiet=True).data for seed in (0, 0, 1)]
    assert [len(data) for data in found] == [100, 100, 100] and found[0].total == 300
    assert (
        [r.where for r in found[0].rows]
        == [r.where for r in found[1].rows]
        != [r.where for r in found[2].rows]
    )
    assert "seed 0" in found[0].note


def test_data_without_comparisons_are_refused_with_what_they_were_read_as():
    with pytest.raises(DataError, match="no row is a comparison: 3 rows read as unpaired"):
        holdfast.check([{"prompt": "p", "completion": "c", "label": True}] * 3, quiet=True)


def test_no_language_model_library_is_loaded_where_none_is_asked_for():
    loads = "import sys, holdfast.checkup.check; print('transformers' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", loads], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "False"
    )


def test_the_command_line_is_also_a_module():
    said = subprocess.run(
        [sys.executable, "-m", "holdfast", "check", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "--against" in said


def test_columns_can_be_named_as_on_the_command_line():
    renamed = [
        {"question": r["prompt"], "chosen": r["chosen"], "rejected": r["rejected"]}
        for r in rows(20)
    ]
    found = holdfast.check(renamed, columns=["prompt=question"], quiet=True)
    assert (
        found.data.prompts[3] == "question 3"
        and "--columns prompt=question" in found.advice.command
    )
    with pytest.raises(OptionError, match="prompt=question"):
        holdfast.check(renamed, columns=["question"], quiet=True)


def test_a_finding_that_fails_says_so_in_its_place_and_the_others_go_on():
    def broken(data, request):
        raise DataError("no good", hint="mend it")

    def fine(data, request):
        from holdfast.checkup.result import Finding

        return Finding("Fine", Severity.OK, "All is well.")

    findings, _ = run_findings(
        Comparisons.of(holdfast.read(rows(5)).rows),
        CheckRequest(quiet=True),
        [FindingSpec("Why?", broken), FindingSpec("What?", fine)],
    )
    assert (
        findings["broken"].severity is Severity.INCONCLUSIVE
        and "no good" in findings["broken"].says
    )
    assert findings["fine"].severity is Severity.OK


def test_a_population_is_read_from_a_mapping_text_or_file(tmp_path):
    path = tmp_path / "shares.json"
    path.write_text('{"a": 0.25, "b": 0.75}')
    assert (
        shares_of(path)
        == shares_of(str(path))
        == shares_of('{"a": 0.25, "b": 0.75}')
        == {"a": 0.25, "b": 0.75}
    )
    for wrong in ("{}x", '{"a": "much"}', tmp_path / "absent.json"):
        with pytest.raises(OptionError, match="population"):
            shares_of(wrong)


def test_contests_between_names_are_checked_and_not_confirmed(tmp_path):
    path = tmp_path / "battles.csv"
    path.write_text("winner,loser\n" + "".join(f"n{i % 7},n{(i + 1) % 7}\n" for i in range(70)))
    found = holdfast.check(path, quiet=True)
    assert found.advice.command.startswith("holdfast lab games")
    confirmed = holdfast.confirm(found, quiet=True)
    assert (
        confirmed.confirmation.verdict == "not tried" and "no texts" in confirmed.confirmation.says
    )


def test_what_holds_no_verdict_is_refused_with_its_own_words(tmp_path):
    ties = [{**row, "tie": True} for row in rows(5)]
    with pytest.raises(DataError, match="5 comparisons, and every one a tie"):
        holdfast.check(ties, quiet=True)
    (tmp_path / "head.csv").write_text("prompt,chosen,rejected\n")
    with pytest.raises(DataError, match=r"holds no rows\nhint: put rows with `prompt`"):
        holdfast.check(tmp_path / "head.csv", quiet=True)


def test_no_number_depends_on_the_hashes_of_words():
    made = "from tests.checkup.rows import *; from holdfast.checkup.estimators.features "
    made += "import preference_model as m; "
    made += "print(m(comparisons(plain_rows(200)), seed=0).logit_N.tolist())"

    def said(seed):
        env = os.environ | {
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]),
        }
        return subprocess.run(
            [sys.executable, "-c", made], capture_output=True, text=True, check=True, env=env
        ).stdout

    assert said("1") == said("2") != ""


def test_every_count_of_a_sampled_file_is_the_file_s_or_says_of_what_sample(tmp_path):
    """300 comparisons of 240 prompts by 200 raters, 20 repeats, 5 contradictions, 12 ties, 6 empty
    answers; 100 are examined.
    """
    one = [
        dict(row, prompt=f"question {i % 240}", chosen=f"{row['chosen']} {i}", rater=f"r{i % 200}")
        for i, row in enumerate(rows(300))
    ]
    for i in range(275, 295):
        one[i] = {**one[i], **{key: one[i - 275][key] for key in ("prompt", "chosen", "rejected")}}
    for i in range(295, 300):
        one[i] = one[i] | {
            "prompt": one[i - 200]["prompt"],
            "chosen": one[i - 200]["rejected"],
            "rejected": one[i - 200]["chosen"],
        }
    for i in range(300):
        one[i] = one[i] | {"group": f"g{i % 7}", "source": f"s{i % 150}"}
    ties = [{"prompt": "t", "chosen": f"a{i}", "rejected": f"b{i}", "tie": True} for i in range(12)]
    empty = [{"prompt": "e", "chosen": f"a{i}", "rejected": ""} for i in range(6)]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*one, *ties, *empty]))
    found = holdfast.check(path, rows=100, out=tmp_path / "out", quiet=True)
    said = json.loads((tmp_path / "out" / "check.json").read_text())
    numbers = said["findings"]["overview"]["numbers"]
    true = {
        name: len({row[name] for row in one}) for name in ("prompt", "rater", "group", "source")
    }
    assert {name: numbers[f"{name}s"] for name in true} == true
    assert (numbers["comparisons"], numbers["ties"], numbers["read"]) == (300, 12, 318)
    assert {"answers", "models", "languages"} == set(numbers["of_the_sample"])
    assert (
        "300 comparisons about" in found.findings["overview"].says
        and f"{true['prompt']} prompts" in found.findings["overview"].says
    )
    tiles = {tile.label: (tile.value, tile.note) for tile in page_of(found).tiles}
    assert tiles["Comparisons"] == ("300", "100 examined, 12 ties left out")
    assert (
        tiles["Prompts"][0] == str(true["prompt"])
        and tiles["Raters"][0] == "200"
        and tiles["Sources"][0] == "150"
    )
    whole = said["read"]["counts"]
    assert (whole["repeated"], whole["both_ways"]) == (20, 5)
    assert "Over the whole file, 20 of 300 comparisons repeat" in found.findings["duplicates"].says
    assert (
        "Over the whole file, 5 pairs of answers are labeled both ways"
        in found.findings["contradictions"].says
    )
    assert (
        "Over the whole file, 6 rows had such answers: 6 empty"
        in found.findings["empty_answers"].says
    )
    for name, finding in found.findings.items():
        if name != "overview" and finding.severity is not Severity.NOT_APPLICABLE:
            assert finding.says.startswith("In a sample of 100 of 300 comparisons: "), name
            assert all(
                "a sample of 100 of 300 comparisons" in part.caption
                for part in (*finding.tables, *finding.charts)
            ), name
            assert said["findings"][name]["numbers"]["sample"] == found.data.note
    whole_file = holdfast.check(path, quiet=True)
    assert not any("sample of" in finding.says for finding in whole_file.findings.values())
