"""Verdict columns: what each code means, what can mean two things, and classes that would
vanish.
"""

import json
import os
import threading

import pytest

from holdfast.data import read
from holdfast.data.reading import Reading
from holdfast.data.verdicts import named_verdicts
from holdfast.errors import DataError, OptionError

ASKED, ONE, TWO = "Why is the sky blue?", "It scatters light.", "Nobody can know."


def two(values, verdict="winner", first="response_a", second="response_b", prompt="prompt", **more):
    """Rows with the answers `ONE` and `TWO` in this order."""
    return [{prompt: ASKED, first: ONE, second: TWO, verdict: value, **more} for value in values]


def won(rows, **options):
    """Who won, a letter a row: 1, 2, or t of a tie."""
    return "".join(
        "t" if row.tie else "1" if row.chosen == ONE else "2" for row in read(rows, **options)
    )


def scored(*pairs, first="score_a", second="score_b"):
    return [
        {"prompt": ASKED, "response_a": ONE, "response_b": TWO, first: one, second: other}
        for one, other in pairs
    ]


READ = {
    "letters": (two("ABA"), "121"),
    "small letters and ties": (two(["a", "b", "tie", "both_bad", "Tie (bothbad)"]), "12ttt"),
    "models": (two(["model_a", "model_b", "tie"]), "12t"),
    "in words": (
        two(["Response A is better", "Response B is slightly better", "Both are bad"], "verdict"),
        "12t",
    ),
    "judge": (two(["[[A]]", "[[B]]", "[[C]]"], "verdict"), "12t"),
    "arrows": (two(["A>B", "B>>A", "A=B"], "verdict"), "12t"),
    "from one": (two([1, 2, 1]), "121"),
    "from one, as text": (two(["1", "2", "2"], "choice"), "122"),
    "from one, as floats": (two([1.0, 2.0], "preference"), "12"),
    "halves are ties": (two([1, 1.5, 2], "preference"), "1t2"),
    "one, two and a word": (two([1, 2, "tie"]), "12t"),
    "letters and places from one": (two(["A", 2, "B", 1]), "1221"),
    "names of columns": (two(["response_b", "response_a"]), "21"),
    "names of columns from zero": (
        two(["response_1", "response_0"], "better", "response_0", "response_1"),
        "21",
    ),
    "spoken names from one": (
        two(["Response 2", "Response 1"], "winner", "response_1", "response_2"),
        "21",
    ),
    "indices of the columns": (two([0, 1, 1], "chosen", "answer_0", "answer_1"), "122"),
    "only zeros, as in the columns": (two([0, 0], "winner", "answer_0", "answer_1"), "11"),
    "glued letters": (two(["A", "B"], "preferred", "completionA", "completionB", "query"), "12"),
    "summaries": (two(["1", "2"], "choice", "summary1", "summary2", "post"), "12"),
    "sides": (two(["left", "right"], "choice", "left", "right"), "12"),
    "unknown texts": (two([1, 2], "winner", "essay_1", "essay_2"), "12"),
    "names of models": (
        [{**row, "model_a": "m", "model_b": "n"} for row in two(["n", "m", "tie"])],
        "21t",
    ),
    "a column that speaks of the first": (two([True, False], "a_is_better"), "12"),
    "a column that speaks of the second": (two(["1", "0"], "b_wins"), "21"),
    "yes and no of the second": (two(["Yes", "no"], "response_b_wins"), "21"),
    "letters for messages": (two("AB", **{"source": "x"}), "12"),
    "votes": (scored((1, 9), (3, 0), first="votes_a", second="votes_b"), "21"),
    "one column a side": (
        [
            {**row, "winner_a": one, "winner_b": 1 - one}
            for one, row in enumerate(two([None] * 2, "x"))
        ],
        "21",
    ),
    "one column a side, truth as text": (
        [
            {**row, "a_wins": str(i == 0), "b_wins": str(i == 1), "wins_tie": str(i == 2)}
            for i, row in enumerate(two([None] * 3, "x"))
        ],
        "12t",
    ),
    "scores": (scored((1, 2), (2, 2), (3.5, 2)), "2t1"),
    "scores as text": (scored(("1", "2"), ("10", "9")), "21"),
    "ranks": (scored((1, 2), (2, 1), first="rank_a", second="rank_b"), "12"),
    "two scores of one answer each": (
        scored((7, 2), (1, 3), first="response_a_score", second="response_b_score"),
        "12",
    ),
    "stronger than 1.5": (
        two([-3, 2, 0], "preference_strength", "response_1", "response_2"),
        "12t",
    ),
}


@pytest.mark.parametrize("name", READ)
def test_each_code_is_read(name):
    rows, expected = READ[name]
    assert won(rows) == expected
    swapped = [dict(reversed(row.items())) for row in rows]  # the order of columns says nothing
    assert won(swapped) == expected


@pytest.mark.parametrize("name", READ)
def test_each_code_is_read_from_a_csv_too(name, tmp_path):
    rows, expected = READ[name]
    columns = list(rows[0])
    cells = [
        ",".join(
            '"' + ("" if row[c] is None else str(row[c])).replace('"', '""') + '"' for c in columns
        )
        for row in rows
    ]
    (tmp_path / "a.csv").write_text("\n".join([",".join(columns), *cells]) + "\n")
    assert won(tmp_path / "a.csv") == expected


TWO_READINGS = {
    "index or truth": (
        two([0, 1]),
        "0 is `response_a`, 1 is `response_b`(.|\n)*0 is `response_b`, 1 is `response_a`",
    ),
    "as text": (
        two(["0", "1"]),
        "0 is `response_a`, 1 is `response_b`(.|\n)*0 is `response_b`, 1 is `response_a`",
    ),
    "truth": (
        two([True, False]),
        "--verdicts false=first,true=second or --verdicts false=second,true=first",
    ),
    "a label of two": (
        two([0, 1], "label", "answer_0", "answer_1"),
        "0 is `answer_0`, 1 is `answer_1`(.|\n)*1 is `answer_0`",
    ),
    "all ones": (two([1, 1, 1]), "1 is `response_a`(.|\n)*1 is `response_b`"),
    "all zeros": (two([0, 0]), "0 is `response_a`(.|\n)*0 is `response_b`"),
    "signed": (
        two([-1, 1]),
        "-1 is `response_a`, 1 is `response_b`(.|\n)*-1 is `response_b`, 1 is `response_a`",
    ),
    "signed with ties": (
        two([-1, 0, 1]),
        "0 is a tie(.|\n)*--verdicts -1=first,0=tie,1=second or --verdicts -1=second,0=tie,1=first",
    ),
    "three from zero": (
        two([0, 1, 2]),
        "several things(.|\n)*0 is a tie, 1 is `response_a`(.|\n)*0 is `response_a`, 1 is "
        "`response_b`",
    ),
    "three from one": (two([1, 2, 3]), "3 is a tie(.|\n)*2 is a tie"),
    "five grades": (
        two([1, 5, 3, 2], "preference"),
        "low says that the first won(.|\n)*high says that the first won",
    ),
    "probabilities": (
        two([0.1, 0.9, 0.6], "preference"),
        "low says that the first won(.|\n)*high says",
    ),
    "many grades": (
        two(list(range(-5, 6))),
        "<0=first,>0=second,0=tie(.|\n)*<0=second,>0=first,0=tie",
    ),
    "words and zeros": (two(["A", "B", 0, 1]), "0 is `response_a`, 1 is `response_b`"),
    "one and two beside zero and one": (
        two([1, 2], "winner", "answer_0", "answer_1"),
        "1 is `answer_0`(.|\n)*1 is `answer_1`",
    ),
    "strength without a minus": (two([1, 2], "overall_preference", "response1", "response2"), "."),
}


@pytest.mark.parametrize("stem", ["toxicity_score", "loss", "harm_rating", "perplexity", "length"])
def test_numbers_of_which_high_may_be_bad_are_no_verdict(stem):
    with pytest.raises(DataError, match="no format fits"):
        read(scored((1, 2), (2, 1), first=f"{stem}_a", second=f"{stem}_b"))
    assert (
        won(
            scored((1, 2), first=f"{stem}_a", second=f"{stem}_b"),
            columns={"rank_a": f"{stem}_a", "rank_b": f"{stem}_b"},
        )
        == "1"
    )


def test_an_index_in_each_of_two_columns():
    rows = [
        {**row, "rejected": 1 - row["chosen"]}
        for row in two([0, 1], "chosen", "answer_0", "answer_1")
    ]
    assert won(rows) == "12"
    with pytest.raises(
        DataError, match="--format preference or --format pairwise"
    ):  # as text they could be answers
        read(
            [
                {**row, "chosen": str(row["chosen"]), "rejected": str(row["rejected"])}
                for row in rows
            ]
        )


@pytest.mark.parametrize("column", ["loser", "worse", "rejected"])
def test_who_lost_is_no_verdict_about_who_won(column):
    with pytest.raises(DataError, match="no format fits"):
        read(two("AB", column))


@pytest.mark.parametrize("name", sorted(TWO_READINGS.keys() - {"strength without a minus"}))
def test_a_code_that_can_mean_two_things_is_refused_with_both(name, tmp_path):
    rows, says = TWO_READINGS[name]
    for options in ({}, {"quarantine": tmp_path / "q.jsonl"}):
        with pytest.raises(DataError, match=says) as caught:
            read(rows, **options)
        assert "hint: say which: --verdicts " in str(caught.value)


def test_a_strength_without_a_negative_value_is_places_from_one_not_helpsteers():
    assert won(two([1, 2], "overall_preference", "response1", "response2")) == "12"
    with pytest.raises(DataError, match="can mean"):
        read(two([0, 1, 2, 3], "overall_preference", "response1", "response2"))


@pytest.mark.parametrize(
    ("values", "verdicts", "expected"),
    [
        ([0, 1], "0=first,1=second", "12"),
        ([0, 1], {0: "second", 1: "first"}, "21"),
        (["0", 1.0], ["0=first", "1=second"], "12"),
        ([True, False], {True: "first", False: "second"}, "12"),
        (["true", "False"], "true=first,false=second", "12"),
        ([-1, 0, 1], "-1=first,0=tie,1=second", "1t2"),
        ([-3, 2, 0], {"<0": "first", ">0": "second", 0: "tie"}, "12t"),
        ([0.1, 0.9, 0.5], "<0.5=second,>0.5=first,0.5=tie", "21t"),
        (["win", "lose", "tie"], "win=first,lose=second", "12t"),
        (["A", "B"], "A=second,B=first", "21"),
        ([0, 1, 9], "0=first,1=second,9=skip", "12"),
    ],
)
def test_an_option_decides(values, verdicts, expected):
    assert won(two(values), verdicts=verdicts) == expected


def test_a_range_gives_the_strength():
    assert [row.strength for row in read(two([-3, 2, 0]), verdicts="<0=first,>0=second,0=tie")] == [
        3.0,
        2.0,
        None,
    ]


def test_skipped_rows_are_counted():
    report = read(two(["A", "B", "unclear", "unclear"]), verdicts="unclear=skip").report
    assert report.skipped == {"`winner` is no verdict, as --verdicts says": 2}


@pytest.mark.parametrize(
    ("verdicts", "says"),
    [
        ("0", "verdicts must be like 0=first,1=second"),
        ("0=winner", "'0' cannot mean 'winner'"),
        ("0=first,1=bad", "mixes sides and labels"),
        ("0=good,1=bad", "`winner` cannot mean bad"),
        ("x=first,y=second", "names no value of `winner`, which holds 0, 1"),
    ],
)
def test_options_that_decide_nothing(verdicts, says):
    with pytest.raises(OptionError, match=says):
        read(two([0, 1]), verdicts=verdicts)
    with pytest.raises(OptionError, match="`preference` reads none"):
        read([{"prompt": ASKED, "chosen": ONE, "rejected": TWO}], verdicts="0=first,1=second")


def test_a_value_that_the_option_leaves_out_is_no_count():
    with pytest.raises(
        DataError,
        match=r"`winner` holds '2' \(2 rows\), which is no verdict(.|\n)*skip leaves such rows out",
    ):
        read(two([0, 1, 2, 2]), verdicts="0=first,1=second")


def test_the_whole_column_is_judged_not_the_first_rows(tmp_path):
    rows = two([1] * 300 + [2] * 5)  # in the first 200 rows 1 could be the first or the second
    assert won(rows) == "1" * 300 + "2" * 5
    assert won(iter(rows)) == "1" * 300 + "2" * 5
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert won(path) == "1" * 300 + "2" * 5
    with pytest.raises(
        DataError, match=r"`winner` holds 1 \(300 rows\), 0 \(5 rows\), which can mean two things"
    ):
        read(two([1] * 300 + [0] * 5))


def test_of_a_split_column_only_the_rows_that_are_read_are_judged():
    rows = [
        {**row, "split": split}
        for row, split in zip(two([1, 2, 0]), ("train", "train", "test"), strict=True)
    ]
    assert won(rows, split="train") == "12"
    with pytest.raises(DataError, match=r"two things|several things"):
        read(rows)


def test_a_class_that_would_vanish_is_an_error_also_with_a_quarantine(tmp_path):
    aside = tmp_path / "q.jsonl"
    with pytest.raises(
        DataError,
        match=(
            r"`winner` holds 'broken' \(2 rows\), which is no verdict: all these rows would "
            r"be lost"
        ),
    ):
        read(two(["A", "B", "broken", "broken"]), quarantine=aside)
    rows = [
        {**row, "response_b": "" if row["winner"] == "B" else TWO} for row in two("ABABA")
    ]  # for another reason
    with pytest.raises(
        DataError,
        match=(
            r"every row whose `winner` is B \(2 of 5\) would be skipped(.|\n)*--verdicts "
            r"B=skip"
        ),
    ):
        read(rows, quarantine=aside)
    slip = read(two([*"AB" * 30, "hm"]), quarantine=aside)  # one row's slip is that row's error
    assert slip.report.skipped == {"`winner` holds a value that is no verdict": 1}
    with pytest.raises(DataError, match=r"rows:61: field `winner`(.|\n)*skip leaves such rows out"):
        read(two([*"AB" * 30, "hm"]))


def test_what_became_of_a_verdict_is_kept():
    names = {"model_a": "m", "model_b": "n", "score_a": 1, "score_b": 4}
    second, both = read([{**row, **names} for row in two(["B", "both_bad"])])
    assert (
        second.extra["chosen_first"],
        second.extra["chosen_model"],
        second.extra["score_chosen"],
    ) == (False, "n", 4.0)
    assert (both.tie, both.extra["verdict"]) == (True, "both_bad")


def test_scores_that_contradict_the_verdict_are_said():
    rows = [{**row, "score_a": 1, "score_b": 4} for row in two("ABA")]
    assert "in 2 of 3 rows the answer that won has the lower score" in read(rows).report.notes


# ------------------------------------------------------------------------------------------- labels


def judged(values, column="label"):
    return [
        {"prompt": ASKED, "completion": f"{ONE} {i}", column: value}
        for i, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 0], [True, False]),
        ([1, -1], [True, False]),
        (["good", "bad", "Good"], [True, False, True]),
        (["thumbs_up", "thumbs down"], [True, False]),
        (["chosen", "rejected"], [True, False]),
        (["1.0", "0.0", "true", "FALSE"], [True, False, True, False]),
        ([-1, -1], [False, False]),
    ],
)
def test_labels_in_other_codes(values, expected):
    assert [row.desirable for row in read(judged(values))] == expected
    assert [row.desirable for row in read(judged(values, "kto_tag"))] == expected


def test_labels_that_are_neutral_are_counted():
    got = read(judged([1, 0, -1, 0]))
    assert [row.desirable for row in got] == [True, False]
    assert got.report.skipped == {"`label` is neutral": 2}


@pytest.mark.parametrize("values", [[1, 2] * 3, [0, 1, 2] * 2, [1, 2, 3, 4, 5], ["1", "2", "2"]])
def test_labels_that_can_mean_two_things(values, tmp_path):
    with pytest.raises(DataError, match=r"high is good: a rating\n.*low is good(.|\n)*--verdicts"):
        read(judged(values), quarantine=tmp_path / "q.jsonl")


def test_an_option_decides_labels_too():
    assert [row.desirable for row in read(judged([1, 2, 2]), verdicts="1=good,2=bad")] == [
        True,
        False,
        False,
    ]
    assert [row.desirable for row in read(judged([1, 5, 3]), verdicts="<3=bad,>3=good,3=skip")] == [
        False,
        True,
    ]
    with pytest.raises(OptionError, match="`label` cannot mean first"):
        read(judged([1, 2, 2]), verdicts="1=first,2=second")


def test_labels_that_are_no_labels_are_refused_whole(tmp_path):
    with pytest.raises(
        DataError, match=r"`label` holds 'spam' \(3 rows\), 'ham' \(2 rows\), which is no verdict"
    ):
        read(judged(["spam", "ham", "spam", "ham", "spam"]), quarantine=tmp_path / "q.jsonl")


# ------------------------------------------------------------------------------------ in every verb


def test_reading_keeps_verdicts_and_gives_its_flags():
    reading = Reading(verdicts={0: "first", 1: "second"})
    assert reading.verdicts == ("0=first", "1=second")
    assert won_by(reading.rows(two([0, 1]))) == "12"
    assert reading.flags()[-2:] == ("--verdicts", "0=first,1=second")
    assert named_verdicts(reading.flags()[-1]) == {"0": "first", "1": "second"}


def won_by(rows):
    return "".join("1" if row.chosen == ONE else "2" for row in rows)


def test_a_pipe_and_several_files_are_judged_whole_too(tmp_path):
    parts = [two([1] * 250), two([2] * 3)]
    for number, rows in enumerate(parts):
        (tmp_path / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert won([tmp_path / "0.jsonl", tmp_path / "1.jsonl"]) == "1" * 250 + "222"
    assert won(str(tmp_path / "*.jsonl")) == "1" * 250 + "222"
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    writer = threading.Thread(
        target=lambda: pipe.write_text(
            "".join(json.dumps(row) + "\n" for part in parts for row in part)
        )
    )
    writer.start()
    assert won(pipe) == "1" * 250 + "222"
    writer.join()


@pytest.mark.parametrize(
    "stem", ["toxicity_score", "error_rating", "harm_score", "down_votes", "penalty_points"]
)
def test_a_score_that_is_low_where_an_answer_is_good_is_no_score(stem):
    bad = scored((1, 5), (5, 1), first=f"{stem}_a", second=f"{stem}_b")
    with pytest.raises(DataError, match="no format fits the columns found"):
        read(bad)
    assert won([{**row, "score_a": n, "score_b": 1 - n} for n, row in enumerate(bad)]) == "21"


def test_a_hint_gives_a_value_whole_and_no_meaning_of_its_own():
    with pytest.raises(
        DataError,
        match=(
            '--verdicts "A is not better than B=MEANING,B is worse than A=MEANING", each '
            "MEANING one of first"
        ),
    ) as e:
        read(two(["A is not better than B", "B is worse than A"] * 4))
    assert "=first" not in str(e.value) and "=second" not in str(e.value)


def test_columns_of_one_verdict_may_know_more_than_one_kind_of_tie():
    """One column a side, one for a tie and one for both bad: none of the four classes is lost."""
    columns = ("winner_model_a", "winner_model_b", "winner_tie", "winner_both_bad")
    rows = [
        {
            "prompt": f"q {i}",
            "response_a": f"a {i}",
            "response_b": f"b {i}",
            **{name: int(k == i % 4) for k, name in enumerate(columns)},
        }
        for i in range(12)
    ]
    found = read(rows)
    assert [row.tie for row in found] == [False, False, True, True] * 3
    assert [row.chosen for row in found if not row.tie] == [
        f"{'ab'[i % 4]} {i}" for i in range(12) if i % 4 < 2
    ]
