"""Games from files, the race of solvers, its page and its verb."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from holdfast.errors import DataError, OptionError
from holdfast.games import Game, exploitability
from holdfast.lab.claims import spo_sampled
from holdfast.lab.commands import lab_app
from holdfast.lab.game_files import preferences, read_game
from holdfast.lab.games import NOISY, race, three_cycles, verdict
from holdfast.lab.games_page import lead, together
from holdfast.lab.worlds.letter_subgroups import rewards, subgroups

RPS = [[0, -1, 1], [1, 0, -1], [-1, 1, 0]]


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "0,-1,1\n1,0,-1\n-1,1,0\n",
        ",rock,paper,scissors\nrock,0,-1,1\npaper,1,0,-1\nscissors,-1,1,0\n",
        "rock,paper,scissors\n0.5,0,1\n1,0.5,0\n0,1,0.5\n",
        "\ufeffid,rock,paper,scissors\r\nrock,,0,1\r\npaper,1,,0\r\nscissors,0,1,\r\n",
    ],
    ids=["bare", "names twice", "names above", "empty diagonal"],
)
def test_matrices_of_any_kind_are_read(text: str, tmp_path: Path):
    game = read_game(written(tmp_path / "game.csv", text))
    np.testing.assert_allclose(game.pref_AA, (1 + np.array(RPS)) / 2)
    assert len(game.names) == 3 and (game.names[0] in ("rock", "1"))
    packed = tmp_path / "game.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    np.testing.assert_allclose(read_game(packed).pref_AA, game.pref_AA)


def test_counts_become_probabilities_and_nonsense_is_refused(tmp_path: Path):
    """Three wins of four and a prior of one meeting: 3.5 / 5."""
    assert preferences(np.array([[0.0, 3], [1, 0]]))[0, 1] == pytest.approx(0.7)
    with pytest.raises(DataError, match="neither probabilities"):
        preferences(np.array([[0, 0.3], [0.3, 0]]))
    with pytest.raises(DataError, match="row 1, column 2 of the matrix is nan"):
        preferences(np.array([[0, np.nan], [0.3, 0]]))
    with pytest.raises(DataError, match="is empty"):
        read_game(written(tmp_path / "empty.csv", ""))
    with pytest.raises(DataError, match="is square; this one has 2 rows of 3 numbers"):
        read_game(written(tmp_path / "wide.csv", "a,b,c\n0,1,0\n1,0,1\n"))
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00a,b")
    with pytest.raises(DataError, match="cannot be read"):
        read_game(tmp_path / "bad.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            ",a,b,c\na,0,3,1\nc,5,1,0\nb,2,0,4\n",
            "column 2 is 'b' and row 2 is 'c'",
        ),  # counts, which nothing else would give away
        (",a,b\nx,0,3\ny,2,0\n", "column 1 is 'a' and row 1 is 'x'"),
        (",a,a\na,0,3\na,2,0\n", "'a' names 2 answers"),
        ("0.5,?\n?,0.5\n", "the number 0.5 where they meet"),  # was a game of one answer
    ],
)
def test_rows_and_columns_are_the_same_answers(text: str, said: str, tmp_path: Path):
    with pytest.raises(DataError, match=said):
        read_game(written(tmp_path / "game.csv", text))


def test_names_above_need_no_corner(tmp_path: Path):
    game = read_game(written(tmp_path / "game.csv", "a,b\na,0,3\nb,1,0\n"))
    assert game.names == ("a", "b") and game.pref_AA[0, 1] == pytest.approx(3.5 / 5)


def test_votes_are_counted_and_the_most_met_kept(tmp_path: Path):
    rows = ["first,second,winner", *["a,b,a"] * 3, "b,a,b", *["b,c,b"] * 4, *["c,a,c"] * 4, "d,a,a"]
    path = written(tmp_path / "votes.csv", "\n".join(rows) + "\n")
    game = read_game(path, answers=3)
    assert sorted(game.names) == ["a", "b", "c"] and three_cycles(game) == 1.0
    a, b = game.names.index("a"), game.names.index("b")
    assert game.pref_AA[a, b] == pytest.approx(3.5 / 5)
    filled = read_game(path, answers=4, fill="general_preference")
    assert len(filled) == 4 and exploitability(filled, np.full(4, 0.25)) > 0
    few = read_game(path, answers=3, fill="general_preference")
    at = [filled.names.index(name) for name in few.names]
    assert "d" not in few.names
    np.testing.assert_array_equal(
        few.pref_AA, filled.pref_AA[np.ix_(at, at)]
    )  # the model has seen everybody's votes
    with pytest.raises(OptionError, match="fill is 'guess'"):
        read_game(path, fill="guess")
    with pytest.raises(OptionError, match="answers is 1"):
        read_game(path, answers=1)
    with pytest.raises(DataError):
        read_game(written(tmp_path / "pairs.csv", "prompt,chosen,rejected\nx,good,bad\n"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("winner,loser\n1,2\n2,3\n3,1\n", "123"),
        ("winner,loser\n1,2\n2,3\n", "123"),
        ("first,second,winner\n1,2,1\n2,3,2\n3,1,3\n", "123"),
        ("model_a,model_b,winner\n1,2,1\n2,3,2\n3,1,3\n", "123"),
        (",winner,loser\n0,1,2\n1,2,3\n2,3,1\n", "123"),
    ],
)
def test_a_header_of_votes_decides_even_where_names_are_numbers(
    text: str, names: str, tmp_path: Path
):
    """One win of one meeting, and one imagined: 3/4."""
    game = read_game(written(tmp_path / "votes.csv", text))
    assert (
        "".join(game.names) == names and game.pref_AA[0, 1] == 0.75 and game.pref_AA[1, 2] == 0.75
    )


def test_matrices_may_be_named_by_numbers_and_by_the_words_of_votes(tmp_path: Path):
    game = read_game(written(tmp_path / "a.csv", ",1,2\n1,0.5,0.8\n2,0.2,0.5\n"))
    assert game.names == ("1", "2") and game.pref_AA[0, 1] == 0.8
    game = read_game(written(tmp_path / "b.csv", "who,winner,loser\nwinner,0,1\nloser,-1,0\n"))
    assert game.names == ("winner", "loser") and game.pref_AA[0, 1] == 1.0
    with pytest.raises(DataError, match="could be names or numbers"):
        read_game(written(tmp_path / "c.csv", ",1,2\n1,,3\n2,3,\n"))


@pytest.mark.parametrize("beta", [1e-7, 11.0, 1e6])
@pytest.mark.parametrize("pref", [[[0.5]], np.full((3, 3), 0.5), [[0.5, 1], [0, 0.5]]])
def test_games_of_all_sizes_run_at_any_beta(beta: float, pref):
    found = race(Game(pref), beta=beta, calls=6, progress=False)
    assert len(found.lines) == 27 and all(np.isfinite(line.gap_E).all() for line in found.lines)


@pytest.mark.parametrize(
    "options", [{"beta": 0.0}, {"beta": float("nan")}, {"calls": 0}, {"opponents": 0}, {"seed": -1}]
)
def test_a_race_checks_its_options(options):
    with pytest.raises(OptionError, match="it must be"):
        race(Game(np.full((2, 2), 0.5)), progress=False, **options)


def test_words_for_curves():
    calls = np.geomspace(1, 1000, 60)
    fall, flat = 1 / calls, np.full(60, 0.3)
    assert verdict(calls, np.full(60, 1e-8), flat) == "converged"
    assert verdict(calls, fall, fall) == "converges"
    assert verdict(calls, flat, fall) == "cycles" and verdict(calls, flat, flat) == "stalls"


def test_everybody_runs_and_the_known_circle(tmp_path: Path):
    pref = np.array([[0.5, 0.8, 0.3], [0.2, 0.5, 0.9], [0.7, 0.1, 0.5]])
    found = race(Game(pref), name="three", calls=400, progress=False)
    lines = {(line.name, line.answers): line for line in found.lines}
    assert (
        lines["sppo", "exact answers"].word == "cycles"
        and lines["optimistic", "exact answers"].gap_E[-1] < 1e-3
    )
    assert lines["optimistic", NOISY].gap_E[-1] > lines["optimistic", "exact answers"].gap_E[-1]
    assert all(np.isfinite(line.gap_E).all() and line.calls_E[-1] >= 400 for line in found.lines)
    assert (
        found.facts["support_of_the_winner"] == 3
        and found.facts["exploitability_of_the_winner"] < 1e-12
    )
    assert "is first at" in lead(found)


def test_the_verb_writes_a_page_pictures_and_json(tmp_path: Path):
    text = ",r,p,s\nr,0,-1,1\np,1,0,-1\ns,-1,1,0\n"
    file = str(written(tmp_path / "one.csv", text))
    out = tmp_path / "out"
    result = CliRunner().invoke(
        lab_app, ["games", file, "--out", str(out), "--calls", "5", "--json"]
    )
    assert result.exit_code == 0, result.output
    facts = json.loads((out / "games.json").read_text())
    assert facts[0]["game"] == "one" and len(facts[0]["solvers"]) == 27
    assert {"games.html", "one-plain.png", "one-kl.png"} <= {path.name for path in out.iterdir()}
    bad = CliRunner().invoke(lab_app, ["games", file, "--names", "one,two"])
    assert isinstance(bad.exception, OptionError)
    twice = CliRunner().invoke(lab_app, ["games", file, file, "--out", str(out)])
    assert isinstance(twice.exception, OptionError) and "one name" in str(twice.exception)


def test_several_games_share_a_picture():
    found = [
        race(Game((1 + np.array(RPS)) / 2), name=name, calls=3, progress=False)
        for name in ("one", "two")
    ]
    spec = together(found).spec()
    assert spec["facet"]["row"]["sort"] == ["one", "two"]
    rows = spec["spec"]["data"]["values"] if "data" in spec["spec"] else spec["data"]["values"]
    assert {row["game"] for row in rows} == {"one", "two"} and not any(row["kl"] for row in rows)


def test_votes_are_read_as_every_verb_reads_rows(tmp_path: Path):
    """Columns under other names, a code with two readings, and a row that cannot be used."""
    rows = "mine,yours,verdict\n" + "a,b,0\na,b,1\nb,c,0\n" + ",c,0\n"
    file = written(tmp_path / "votes.csv", rows)
    with pytest.raises(DataError):
        read_game(file)
    said = [
        "--columns",
        "model_a=mine",
        "--columns",
        "model_b=yours",
        "--columns",
        "winner=verdict",
        "--verdicts",
        "0=first,1=second",
    ]
    asked = [
        "games",
        str(file),
        *said,
        "--quarantine",
        "--out",
        str(tmp_path / "out"),
        "--calls",
        "50",
        "--json",
    ]
    result = CliRunner().invoke(lab_app, asked)
    assert result.exit_code == 0, result.output + str(result.exception)
    assert (
        len((tmp_path / "out" / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    )
    columns = {"model_a": "mine", "model_b": "yours", "winner": "verdict"}
    game = read_game(
        file,
        columns=columns,
        verdicts={"0": "first", "1": "second"},
        quarantine=True,
        folder=tmp_path,
        prior=0.0,
    )
    assert game.names == ("a", "b", "c") and game.pref_AA[0, 1] == 0.5 and game.pref_AA[1, 2] == 1.0


def test_camps_run_in_circles_and_no_reward_ranks_them():
    game = subgroups(0)
    assert (
        len(game) == 81
        and three_cycles(game) > 0.1
        and set((6 * game.pref_AA).round(9).flat) <= {0, 1, 2, 3, 4, 5, 6}
    )
    reward = rewards(game)
    said = 1 / (1 + np.exp(-(reward[:, None] - reward)))
    np.testing.assert_allclose(
        said.sum(-1), game.pref_AA.sum(-1), atol=1e-4
    )  # Bradley-Terry's own equations


def test_reinforce_on_words_climbs_its_reward_and_stays_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(spo_sampled, "UPDATES", 300)
    rng = np.random.default_rng(0)
    still = spo_sampled.reinforce(lambda batch_B: np.full(len(batch_B), 0.7), rng)
    np.testing.assert_allclose(still, np.full((2, 81), 1 / 81), atol=1e-12)
    zeros_A = (spo_sampled.WORD_AT == 0).sum(1).astype(float)
    _, last = spo_sampled.reinforce(lambda batch_B: zeros_A[batch_B], rng)
    assert last[0] > 0.9 and last.sum() == pytest.approx(1)  # 0000 is the first word


def test_wins_in_a_batch_are_antisymmetric_and_right_on_average():
    rng, batch_B = np.random.default_rng(1), np.array([0, 1, 2])
    rewards_RB = np.array(
        [
            spo_sampled.wins(np.array([[0.5, 0.8, 0.3], [0.2, 0.5, 0.9], [0.7, 0.1, 0.5]]), rng)(
                batch_B
            )
            for _ in range(4000)
        ]
    )
    np.testing.assert_allclose(rewards_RB.sum(1), 0, atol=1e-12)
    np.testing.assert_allclose(
        rewards_RB.mean(0), [0.1, 0.1, -0.2], atol=0.04
    )  # (0.6 - 0.4) / 2, (-0.6 + 0.8) / 2, (0.4 - 0.8) / 2
