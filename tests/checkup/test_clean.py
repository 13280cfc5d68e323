"""A cleaned file: every row is accounted for, and it reads back as what was written."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from holdfast.checkup.clean import clean
from holdfast.checkup.clean.relabel import information, relabel_rows
from holdfast.checkup.clean.steps import collapse, leaks, repeats, same, turn, void
from holdfast.cli.app import app
from holdfast.data import read
from holdfast.errors import DataError, OptionError
from holdfast.types import Row, Where
from tests.checkup.rows import plain_rows, sentence


def row(line=1, chosen="yes", rejected="no", prompt="is it?", **known):
    return Row(Where("f", line), prompt, chosen, rejected, **known)


def write(path, rows):
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


# ------------------------------------------------------------ steps


def test_turning_a_source_turns_what_belongs_to_the_answers_and_nothing_else():
    extra = {"chosen_model": "a", "rejected_model": "b", "reward_gap": 2.0, "note": "kept"}
    rows = (row(1, source="s", strength=3.0, extra=extra), row(2, source="t"), row(3))
    out, changes = turn(rows, "source", ["s"])
    assert (out[0].chosen, out[0].rejected, out[0].strength) == ("no", "yes", 3.0)
    turned = {"chosen_model": "b", "rejected_model": "a", "reward_gap": -2.0, "note": "kept"}
    assert out[0].extra == turned
    assert out[1:] == rows[1:]
    assert [(change.done, change.row) for change in changes] == [("turned", rows[0])]


def test_only_an_answer_against_itself_is_void():
    rows = (
        row(1, "x = a + b", "x = a - b"),
        row(2, "Yes.", "Yes"),
        row(3, " same ", "same"),
        row(4, "", ""),
        row(5, "caf\u00e9", "cafe\u0301"),  # one text in two Unicode forms
        row(6, "", "something"),
    )
    out, changes = void(rows)
    assert [one.where.line for one in out] == [1, 2, 6]
    assert [change.row.where.line for change in changes] == [3, 4, 5]


def test_leaks_are_found_word_for_word_and_nearly():
    long = "please tell me how many rivers of this country flow into the northern sea every year"
    rows = (
        row(1, prompt=long.replace("northern", "southern")),
        row(2, prompt="What is 2?"),
        row(3, prompt="an entirely different question about the cooking of rice and beans"),
    )
    out, changes = leaks(rows, [long, "what is 2", ""])
    assert [one.where.line for one in out] == [3]
    assert "word for word" in changes[1].why
    assert "nearly" in changes[0].why


def test_a_repeat_is_the_same_rater_with_the_same_verdict():
    rows = (
        row(1, rater="u"),
        row(2, rater="u"),
        row(3, rater="v"),
        row(4, rater="u", group="g"),
        row(5, "no", "yes", rater="w"),
        row(6, rater="w"),
        row(7, rater="w"),
        row(8, prompt="another?"),
        row(9, prompt="another?"),
    )
    out, changes = repeats(rows)
    assert [change.row.where.line for change in changes] == [2, 9]
    assert [change.kept.line for change in changes] == [1, 8]
    assert len(out) == 7


def test_rows_without_a_rater_that_go_both_ways_are_votes():
    votes = (row(1), row(2), row(3, "no", "yes"))
    assert repeats(votes) == (votes, [])
    (kept,), changes = collapse(votes)
    assert (kept.chosen, kept.confidence, kept.extra["verdicts"]) == (
        "yes",
        pytest.approx(2 / 3),
        3,
    )
    assert [change.done for change in changes] == ["merged"] * 3


def test_verdicts_collapse_to_the_majority_by_hand():
    rows = (
        row(1, "no", "yes", rater="a", strength=1.0, weight=1.0),
        row(2, rater="b", strength=3.0, weight=1.0, confidence=0.75),
        row(3, rater="c", strength=2.0, weight=2.0),
        row(4, rater="d", tie=True, strength=0.0, weight=1.0),
        row(5, prompt="alone?"),
        row(6, group="g"),
        row(7, "no", "yes", group="g"),
    )
    out, changes = collapse(rows)
    kept, alone = out
    # yes: 0 + 0.75 + 1 + 0.5 of 4 verdicts; strength (-1 + 3 + 2 + 0) / 4
    assert (kept.where.line, kept.chosen, kept.rater) == (2, "yes", None)
    assert (kept.confidence, kept.strength, kept.weight) == (2.25 / 4, 1.0, 5.0)
    assert (alone.confidence, alone.extra["verdicts"]) == (1.0, 1)
    even = [change.row.where.line for change in changes if change.done == "removed"]
    assert even == [6, 7]  # another group: one verdict each way


def test_unsure_verdicts_can_turn_a_pair():
    rows = (row(1, confidence=0.2), row(2, confidence=0.4))
    (kept,), _ = collapse(rows)
    assert (kept.chosen, kept.rejected, kept.confidence) == ("no", "yes", pytest.approx(0.7))


def test_nothing_is_said_of_rows_that_nothing_is_done_to():
    rows = tuple(row(i, prompt=f"question {i}") for i in range(5))
    assert collapse(rows) == (rows, [])


def test_messages_are_told_apart_by_all_they_hold():
    call = [{"role": "assistant", "content": "", "tool_calls": [{"name": "a"}]}]
    other = [{"role": "assistant", "content": "", "tool_calls": [{"name": "b"}]}]
    assert same(call) != same(other)
    assert same(call) == same([dict(call[0])])


# ------------------------------------------------------------ the verb


def flawed(seed=0):
    """Rows with every flaw, and single answers and ties among them."""
    rng = np.random.default_rng(seed)
    rows = plain_rows(60, seed)
    for i, one in enumerate(rows):
        one["source"] = "turned" if i % 6 == 0 else "straight"
    rows += [dict(rows[i]) for i in rng.choice(60, 10)]
    rows += [{**rows[3], "chosen": "caf\u00e9", "rejected": "cafe\u0301"}]
    rows += [
        {"prompt": "p", "chosen": a, "rejected": b, "rater": r, "source": "straight"}
        for r, (a, b) in enumerate([("x", "y"), ("x", "y"), ("y", "x")])
    ]
    rows += [{"prompt": sentence(rng), "chosen": "s", "rejected": "t", "tie": True}]
    return rows


def test_every_row_is_in_the_file_or_in_the_list(tmp_path):
    data = write(tmp_path / "in.jsonl", flawed())
    before = data.read_bytes()
    tests = write(tmp_path / "test.jsonl", flawed()[:3])
    out = tmp_path / "out" / "cleaned.jsonl"
    done = clean(data, out=out, against=tests, turn_source=("turned",), quiet=True)
    assert data.read_bytes() == before
    rows = read(data).rows
    cleaned = read(out).rows
    changes = lines(out.parent / "changes.jsonl")
    assert len(cleaned) == len(done.rows)
    gone = Counter(one["where"] for one in changes if one["done"] == "removed")
    merged = {one["where"]: one["kept"] for one in changes if one["done"] == "merged"}
    assert set(gone.values()) == {1}
    assert not gone.keys() & merged.keys()
    assert len(rows) == len(cleaned) + len(gone) + len(merged) - len(set(merged.values()))
    tested = {one["prompt"] for one in flawed()[:3]}
    assert done.counts["leak"] == {"removed": sum(one.prompt in tested for one in rows)}
    assert done.counts["collapse"] == {"merged": 3}
    assert done.counts["void"] == {"removed": 1}
    by_line = {str(one.where): one for one in rows}
    for one in changes:  # a change holds the row as it was when the step came to it
        assert one["row"]["prompt"] == by_line[one["where"]].prompt
    kept = {(one.prompt, one.chosen) for one in cleaned}
    for one in rows:
        if str(one.where) not in gone.keys() | merged.keys():
            side = one.rejected if one.source == "turned" else one.chosen
            assert (one.prompt, side) in kept


def test_a_clean_file_stays_as_it_is_and_cleaning_twice_is_cleaning_once(tmp_path):
    data = write(tmp_path / "in.jsonl", plain_rows(30))
    first = clean(data, out=tmp_path / "once.jsonl", quiet=True)
    assert not first.changes
    assert lines(first.out) == plain_rows(30)
    flawed_once = clean(write(data, flawed()), out=tmp_path / "b" / "once.jsonl", quiet=True)
    again = clean(flawed_once.out, out=tmp_path / "c" / "twice.jsonl", quiet=True)
    assert not again.changes
    assert again.out.read_bytes() == flawed_once.out.read_bytes()


def test_repeats_and_verdicts_stay_where_that_is_asked(tmp_path):
    data = write(tmp_path / "in.jsonl", flawed())
    done = clean(data, out=tmp_path / "o.jsonl", keep_repeats=True, keep_verdicts=True, quiet=True)
    assert set(done.counts) == {"void"}


def test_what_cannot_be_done_is_said_before_anything_is_written(tmp_path):
    data = write(tmp_path / "in.jsonl", flawed())
    with pytest.raises(OptionError, match="is read, and would be written"):
        clean(data, out=data, quiet=True)
    with pytest.raises(OptionError, match="there are: straight, turned"):
        clean(data, out=tmp_path / "o.jsonl", turn_source=("tunred",), quiet=True)
    with pytest.raises(OptionError, match="no row's rater is 'x'"):
        clean(data, out=tmp_path / "o.jsonl", turn_rater=("x",), quiet=True)
    with pytest.raises(OptionError, match="JSON lines"):
        clean(data, out=tmp_path / "o.csv", quiet=True)
    both = [
        {"prompt": f"q{i}", "chosen": a, "rejected": b}
        for i in range(5)
        for a, b in (("a", "b"), ("b", "a"))
    ]
    with pytest.raises(DataError, match="none is left") as error:
        clean(write(data, both), out=tmp_path / "o.jsonl", quiet=True)
    assert "--keep-verdicts" in str(error.value)
    assert not (tmp_path / "o.jsonl").exists()
    assert not list(tmp_path.glob(".part-*"))


def test_the_command_says_what_it_did(tmp_path):
    data = write(tmp_path / "in.jsonl", flawed())
    out, again = tmp_path / "c" / "cleaned.jsonl", tmp_path / "again.jsonl"
    words = ["clean", str(data), "--out", str(out), "--turn-source", "turned"]
    said = CliRunner().invoke(app, [*words, "--relabel", "5", str(again), "--json"])
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    assert found["steps"]["turn"] == {
        "turned": 10 + sum(r["source"] == "turned" for r in flawed()[60:70])
    }
    assert found["rows_after"] == len(lines(out))
    assert len(found["relabel"]["rows"]) == 5
    said = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert "labels turned, as asked" in said.output


# ------------------------------------------------------------ rows to judge again


def agreement(p, f, e):
    """The chance that a second opinion agrees with a label, of which the model says p."""
    right = p * (1 - f) / (p * (1 - f) + (1 - p) * f)
    return right * (1 - e) + (1 - right) * e


@pytest.mark.parametrize("f", [0.05, 0.2, 0.4])
def test_information_is_fishers(f):
    p = np.array([0.01, 0.2, 0.5, 0.8, 0.99])
    e, h = 0.05, 1e-5
    m = agreement(p, f, e)
    slope = (agreement(p, f + h, e) - agreement(p, f - h, e)) / (2 * h)
    right = p * (1 - f) / (p * (1 - f) + (1 - p) * f)
    np.testing.assert_allclose(information(right, f, error=e), slope**2 / (m * (1 - m)), rtol=1e-6)


def test_second_opinions_narrow_the_interval_as_expected():
    """300 draws of 600 labels whose model is right: the variance of the maximum-likelihood rate
    after 100 second opinions against what the information promises, asked where they tell most and
    of the most suspicious rows, which tell less.
    """
    rng = np.random.default_rng(0)
    f, e, n, asked = 0.2, 0.0, 600, 100
    grid = np.linspace(0.02, 0.45, 431)
    estimates, promised = ({"informative": [], "suspicious": []} for _ in range(2))
    for _ in range(300):
        p = 1 / (1 + np.exp(-4 * rng.standard_normal(n)))  # of the first answer
        truth = rng.random(n) < p
        label = truth ^ (rng.random(n) < f)
        p_label = np.where(label, p, 1 - p)
        right = p_label * (1 - f) / (p_label * (1 - f) + (1 - p_label) * f)
        gain = information(right, f, error=e)
        alone = np.log(np.outer(1 - grid, p_label) + np.outer(grid, 1 - p_label))
        known = np.where(truth == label, np.log(1 - grid)[:, None], np.log(grid)[:, None])
        own = ((1 - 2 * p_label) / (p_label * (1 - f) + (1 - p_label) * f)) ** 2
        for name, order in (("informative", np.argsort(-gain)), ("suspicious", np.argsort(right))):
            chosen = np.zeros(n, bool)
            chosen[order[:asked]] = True
            score = np.where(chosen, known, alone).sum(1)
            estimates[name].append(grid[score.argmax()])
            promised[name].append(1 / (own.sum() + gain[chosen].sum()))
    for name, values in estimates.items():
        assert np.var(values) == pytest.approx(np.mean(promised[name]), rel=0.2)
    assert np.mean(promised["informative"]) < 0.9 * np.mean(promised["suspicious"])
    assert np.var(estimates["informative"]) < np.var(estimates["suspicious"])


def separable(n=400, flips=0.2, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        good, bad = sentence(rng) + " indeed splendid", sentence(rng) + " rather dreadful"
        if rng.random() < 0.3:  # a pair of which nothing can be told
            good, bad = sentence(rng), sentence(rng)
        if rng.random() < flips:
            good, bad = bad, good
        rows.append({"prompt": f"question {i}: {sentence(rng)}", "chosen": good, "rejected": bad})
    return rows


def test_rows_of_even_odds_come_first_and_nothing_tells_the_label():
    rows = read(separable()).rows
    found = relabel_rows(rows, 40)
    assert len(set(found.places)) == 40
    assert np.mean(np.abs(np.array(found.doubt) - 0.5) < 0.35) > 0.9
    records = found.records()
    assert set(records[0]) == {"id", "prompt", "answer_a", "answer_b"}
    first = np.mean(
        [
            one["answer_a"] == rows[place].chosen
            for one, place in zip(records, found.places, strict=True)
        ]
    )
    assert 0.2 < first < 0.8
    assert records[0]["id"] == f"row-{found.places[0] + 1}"


def test_a_pair_is_asked_once_and_too_few_rows_are_said(tmp_path):
    rows = read(separable(60)).rows
    twice = (*rows, *(replace(one, rater="again") for one in rows))
    assert len({twice[i].prompt for i in relabel_rows(twice, 30).places}) == 30
    with pytest.raises(DataError, match="too few"):
        relabel_rows(rows[:20], 5)


def test_label_studio_and_argilla_get_their_files(tmp_path):
    found = relabel_rows(read(separable()).rows, 7).write(tmp_path / "again.jsonl")
    flat, tasks, interface = found.files
    assert [task["data"] for task in json.loads(tasks.read_text())] == lines(flat)
    text = interface.read_text()
    assert all(f'value="${name}"' in text for name in ("prompt", "answer_a", "answer_b"))
