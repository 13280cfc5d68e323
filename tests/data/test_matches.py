"""Who beat whom: every way of saying it, the order kept, and what is refused."""

import pytest

from holdfast.data import read, to_examples
from holdfast.errors import DataError, NeedError
from holdfast.methods import get


def only(row, **options):
    (got,) = read([row], **options)
    return got


def seen(row):
    return row.chosen, row.rejected, row.tie, row.extra.get("chosen_first"), row.named


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"winner": "x", "loser": "y"}, ("x", "y", False, None, True)),
        ({"winner": 3, "loser": 7}, ("3", "7", False, None, True)),
        ({"first": "x", "second": "y", "winner": "y"}, ("y", "x", False, False, True)),
        ({"model_a": "x", "model_b": "y", "winner": "model_b"}, ("y", "x", False, False, True)),
        ({"model_a": "x", "model_b": "y", "winner": "B"}, ("y", "x", False, False, True)),
        ({"model_a": "x", "model_b": "y", "winner": "tie (bothbad)"}, ("x", "y", True, True, True)),
        ({"generator_1": "x", "generator_2": "y", "preference": 2}, ("y", "x", False, False, True)),
        ({"generator_1": "x", "generator_2": "y", "preference": 1.5}, ("x", "y", True, True, True)),
        (
            {"home": "x", "away": "y", "home_goals": 0, "away_goals": 2},
            ("y", "x", False, False, True),
        ),
        (
            {"home": "x", "away": "y", "home_goals": 1, "away_goals": 1},
            ("x", "y", True, True, True),
        ),
    ],
)
def test_each_way_of_saying_who_won(row, expected):
    got = read([row])
    assert got.report.format == "matches"
    assert seen(got[0]) == expected
    assert {got[0].extra["chosen_model"], got[0].extra["rejected_model"]} == {"x", "y"} or not {
        "x",
        "y",
    } & {got[0].chosen}


def test_codes_of_matches_are_judged_over_the_whole_column():
    met = {"generator_1": "x", "generator_2": "y"}
    graded = read([{**met, "preference": value} for value in (1.0, 0, 2, 1.5, 1.25)])
    assert [seen(row)[:3] for row in graded] == [
        ("x", "y", False),
        ("x", "y", True),
        ("y", "x", False),
        ("x", "y", True),
        ("x", "y", False),
    ]
    places = read([{"first": "x", "second": "y", "winner": value} for value in (1, 2, 1)])
    assert [row.chosen for row in places] == ["x", "y", "x"]
    names = read(
        [{"first": "2", "second": "1", "winner": "1"}, {"first": "7", "second": "2", "winner": "7"}]
    )
    assert [row.chosen for row in names] == ["1", "7"]


def test_a_number_that_could_be_a_name_or_a_place_is_refused_and_an_option_decides():
    rows = [
        {"first": "2", "second": "1", "winner": "1"},
        {"first": "1", "second": "2", "winner": "1"},
    ]
    with pytest.raises(
        DataError,
        match=(
            r"the name of the winner\n.*the winner's place: 1 is `first`(.|\n)*--verdicts "
            r"names or --verdicts 1=first"
        ),
    ):
        read(rows)
    assert [row.chosen for row in read(rows, verdicts="names")] == ["1", "1"]
    assert [row.chosen for row in read(rows, verdicts="1=first,2=second")] == ["2", "1"]
    letters = [{"model_a": "b", "model_b": "a", "winner": "a"}] * 2
    with pytest.raises(DataError, match="the name of the winner"):
        read(letters)


def test_scores_and_graded_preferences_become_strength():
    goals = only({"home": "x", "away": "y", "home_goals": 1, "away_goals": 4})
    assert (goals.strength, goals.extra["score_chosen"], goals.extra["score_rejected"]) == (
        3.0,
        4.0,
        1.0,
    )
    assert only({"generator_1": "x", "generator_2": "y", "preference": 1.25}).strength == 0.5
    assert [
        row.strength
        for row in read(
            [{"generator_1": "x", "generator_2": "y", "preference": value} for value in (1, 2)]
        )
    ] == [
        None,
        None,
    ]


def test_columns_are_renamed_and_the_match_is_kept():
    got = only(
        {"host": "x", "guest": "y", "h": 2, "a": 0, "season": "2020"},
        columns={"first": "host", "second": "guest", "first_score": "h", "second_score": "a"},
    )
    assert seen(got) == ("x", "y", False, True, True) and got.extra["season"] == "2020"
    assert only({"item": 12, "model_a": "x", "model_b": "y", "winner": "a"}).prompt == "12"


def test_contests_in_csv(tmp_path):
    path = tmp_path / "games.csv"
    path.write_text("home,away,home_goals,away_goals\nx,y,3,1\nz,x,0,0\ny,z,,1\n")
    aside = tmp_path / "aside.jsonl"
    got = read(path, quarantine=aside)
    assert [seen(row) for row in got] == [
        ("x", "y", False, True, True),
        ("z", "x", True, True, True),
    ]
    assert got.report.skipped == {"`home_goals` is empty": 1}


def test_with_a_prompt_and_both_texts_they_are_comparisons():
    row = {
        "prompt": "hi",
        "response_a": "short",
        "response_b": "long",
        "model_a": "m",
        "model_b": "n",
        "winner": "model_b",
    }
    got = only(row)
    assert seen(got) == ("long", "short", False, False, False)
    assert (got.prompt, got.extra["chosen_model"], got.extra["rejected_model"]) == ("hi", "n", "m")
    messages = [{"role": "user", "content": "hi"}]
    talk = {
        **row,
        "prompt": messages,
        "response_a": [*messages, {"role": "assistant", "content": "short"}],
    }
    assert only(talk).rejected == "short"
    with pytest.raises(DataError, match="are the same"):
        only({**row, "response_a": "long"})


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"winner": "x", "loser": "x"}, "a side meets itself"),
        (
            {"model_a": "x", "model_b": "y", "winner": "z"},
            "`winner` holds a value that is no verdict",
        ),
        (
            {"generator_1": "x", "generator_2": "y", "preference": 7},
            "`preference` holds 7 .* no code that is known",
        ),
        (
            {"first": "x", "second": "y", "first_score": 1, "second_score": float("nan")},
            "`second_score` is not finite",
        ),
        (
            {"prompt": "hi", "winner": "x", "loser": "y"},
            '"chosen": "winner", "rejected": "loser"',
        ),  # with a prompt they may be texts
    ],
)
def test_what_is_no_contest(row, says):
    with pytest.raises(DataError, match=says):
        read([row])


def test_names_are_not_trained_on():
    names = read([{"winner": "x", "loser": "y"}])
    for method in ("dpo", "sft", "kto"):
        with pytest.raises(NeedError, match="trains on texts; the rows say who beat whom"):
            to_examples(names, get(method))
    text = read([{"prompt": "hi", "chosen": "a", "rejected": "b"}])
    assert to_examples([*names, *text], get("dpo")).skipped == {
        "matches between names, without texts": 1
    }
