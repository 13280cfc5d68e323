"""What is there, what stands twice, what says nothing, what is labeled both ways, what leaked:
counted by hand.
"""

from dataclasses import replace

import numpy as np
import pytest

from holdfast.checkup.findings.answer_models import answer_models
from holdfast.checkup.findings.contradictions import contradictions
from holdfast.checkup.findings.duplicates import duplicates, repeats
from holdfast.checkup.findings.leaks import leaks
from holdfast.checkup.findings.overview import language_of, overview
from holdfast.checkup.findings.position_bias import position_bias
from holdfast.checkup.result import Severity
from holdfast.checkup.table import EMPTY_ANSWERS, LENGTH_BIAS
from holdfast.data import Sample
from holdfast.text import minhash as near
from holdfast.text.minhash import ALIKE, Index, bare, similar
from tests.checkup.rows import HOSTILE, QUIET, comparisons, drawable, plain_rows, sentence

LONG = (
    "the quick brown fox jumps over the lazy dog and then it runs away into the dark "
    "green forest again"
)


@pytest.mark.parametrize(
    "find",
    [
        overview,
        contradictions,
        duplicates,
        EMPTY_ANSWERS.run,
        leaks,
        LENGTH_BIAS.run,
        position_bias,
        answer_models,
    ],
)
def test_nothing_breaks_on_few_rows_hostile_rows_or_names(find, tmp_path):
    aside = tmp_path / "aside.jsonl"
    for rows in (
        plain_rows(1),
        plain_rows(5),
        HOSTILE,
        [{**row, "prompt": "same"} for row in plain_rows(6)],
    ):
        drawable(find(comparisons(rows, quarantine=aside), QUIET))
        drawable(
            find(comparisons(rows, quarantine=aside), replace(QUIET, against=["", "p", "question"]))
        )
    drawable(
        find(comparisons([{"winner": "a", "loser": "b"}, {"winner": "b", "loser": "a"}]), QUIET)
    )
    drawable(find(comparisons([{"first": "a", "second": "b", "winner": "a"}]), QUIET))


# ------------------------------------------------------------ near


def test_overlap_of_word_pairs():
    assert similar("a b c d e", "A b, c d f!") == 3 / 5
    assert similar("too short", "too short") == 0.0
    n = len(LONG.split())
    assert similar(LONG, LONG.replace("lazy", "idle")) == pytest.approx((n - 3) / (n + 1))
    assert bare("  The CAT, sat!\n") == "the cat sat" and bare(" ?! ") == "?!"


def test_near_texts_are_found_among_many_and_others_are_not():
    texts = [row["prompt"] for row in plain_rows(300)]
    likes = [LONG, LONG.replace("lazy", "idle"), LONG.upper()]
    found = Index([*texts, *likes]).groups().tolist()
    assert found[:300] == list(range(300)) and found[300:] == [300] * 3
    assert [
        (i, j)
        for i, j, _ in Index(texts).like(
            [texts[7], "nothing of the kind is to be found here at all"]
        )
    ] == [(0, 7)]


# ------------------------------------------------------------ duplicates


def test_repeats_word_for_word_nearly_and_by_another_rater():
    rows = plain_rows(200)
    first = {
        "prompt": "what does it do",
        "chosen": LONG,
        "rejected": "it sleeps all day and does nothing else at all",
    }
    same = {**first, "prompt": "What does it do?", "chosen": LONG.upper()}
    turned = {**first, "chosen": first["rejected"], "rejected": first["chosen"]}
    near = {**first, "chosen": LONG.replace("lazy", "idle")}
    shares_one = {
        **first,
        "rejected": "another thing altogether that nobody has said before in this file",
    }
    found = drawable(
        duplicates(comparisons([*rows[:150], first, same, turned, near, shares_one]), QUIET)
    )
    assert (found.numbers["exact"], found.numbers["near"]) == (1, 1)  # `turned` contradicts
    assert found.severity is Severity.WARNING
    judged = [{**first, "rater": name} for name in ("r", "s", "s")]
    assert duplicates(comparisons([*rows, *judged]), QUIET).numbers["exact"] == 1
    served = [{**first, "group": name} for name in ("a", "b", "b")]
    assert duplicates(comparisons([*served, *plain_rows(9)]), QUIET).numbers["exact"] == 1


def recurring(rng, *, prompts, answers, rows, raters=0):
    """Rows over few prompts, whose answers recur; now and then one with a word of each answer
    changed, or inverted.
    """
    words = np.array([f"w{i}" for i in range(400)])
    texts = [[" ".join(rng.choice(words, 14)) for _ in range(answers)] for _ in range(prompts)]
    out = []
    for _ in range(rows):
        p = int(rng.integers(prompts))
        sides = [texts[p][k] for k in rng.choice(answers, 2, replace=False)]
        if rng.random() < 0.3:
            sides = [" ".join([*side.split()[:-1], "other"]) for side in sides]
        prompt = (
            f"prompt {p} asks"
            + rng.choice([" ", "! "])
            + f"for w{p} w{p + 1} w{p + 2} w{p + 3} w{p + 4} w{p + 5}"
        )
        out.append(
            {"prompt": prompt, "chosen": sides[0], "rejected": sides[1]}
            | ({"rater": f"r{rng.integers(raters)}"} if raters else {})
        )
    return out


def repeats_slowly(data):
    """What `repeats` says, by holding every row against every earlier one."""

    def alike(one, two):
        return bare(one) == bare(two) or similar(one, two) >= ALIKE

    exact, near = [], []
    for j, row in enumerate(data.rows):
        earlier = [
            i
            for i in range(j)
            if (data.rows[i].rater, data.rows[i].group) == (row.rater, row.group)
        ]
        mine = (data.chosen[j], data.rejected[j])
        theirs = {i: (data.chosen[i], data.rejected[i]) for i in earlier}
        same = [i for i in earlier if bare(data.prompts[i]) == bare(data.prompts[j])]
        exact.append(any(list(map(bare, mine)) == list(map(bare, theirs[i])) for i in same))
        like = [i for i in earlier if not exact[i] and alike(data.prompts[i], data.prompts[j])]
        near.append(not exact[j] and any(all(map(alike, mine, theirs[i])) for i in like))
    return exact, near


@pytest.mark.parametrize(
    ("prompts", "answers", "rows", "raters"),
    [(2, 12, 250, 0), (3, 8, 250, 4), (60, 3, 200, 0), (1, 24, 250, 2)],
)
def test_repeats_are_those_of_holding_every_row_against_every_other(prompts, answers, rows, raters):
    data = comparisons(
        recurring(
            np.random.default_rng(prompts),
            prompts=prompts,
            answers=answers,
            rows=rows,
            raters=raters,
        )
    )
    exact, near = repeats_slowly(data)
    found_exact, found_near = repeats(data, 0)
    assert (
        (found_exact.tolist(), found_near.tolist()) == (exact, near)
        and sum(exact) > 5
        and sum(near) > 5
    )


@pytest.mark.parametrize("raters", [0, 100])
def test_few_prompts_and_answers_that_recur_cost_no_more_comparisons_than_there_are_rows(
    monkeypatch, raters
):
    compared, overlap = [], near.overlap
    monkeypatch.setattr(near, "overlap", lambda one, two: compared.append(1) or overlap(one, two))
    rng, counts = np.random.default_rng(5), []
    for rows in (1000, 4000):
        compared.clear()
        repeats(comparisons(recurring(rng, prompts=2, answers=60, rows=rows, raters=raters)), 0)
        counts.append(len(compared))
    assert counts[1] < 4000 and counts[1] < 4.5 * counts[0], counts


def test_no_repeats_are_seen_where_there_are_none():
    found = duplicates(comparisons(plain_rows(300)), QUIET)
    assert (found.numbers["exact"], found.numbers["near"], found.severity) == (0, 0, Severity.OK)


def test_of_a_sample_repeats_are_counted_over_the_whole():
    rows = plain_rows(100)
    found = duplicates(comparisons([*rows, *rows], sample=Sample(20)), QUIET)
    assert (
        found.numbers["whole"]["repeated"] == 100
        and "Over the whole file" in found.says
        and found.cannot
    )


# ------------------------------------------------------------ empties, contents


def test_answers_that_say_nothing(tmp_path):
    pair = {"prompt": "q", "chosen": "a good answer", "rejected": "a bad answer"}
    rows = [
        {**pair, "chosen": ""},
        {**pair, "rejected": " "},
        {**pair, "rejected": pair["chosen"]},
        {**pair, "chosen": "<nooutput>"},
        {**pair, "rejected": "..."},
        {**pair, "rejected": "A good   answer!"},
        {**pair, "chosen": LONG + " now", "rejected": LONG},
        *[pair] * 3,
    ]
    found = drawable(
        EMPTY_ANSWERS.run(comparisons(rows, quarantine=tmp_path / "aside.jsonl"), QUIET)
    )
    counts = [
        found.numbers[kind]
        for kind in ("skipped", "same", "placeholder", "letterless", "marks", "nearly")
    ]
    assert counts == [2, 1, 1, 1, 1, 1] and found.severity is Severity.PROBLEM
    assert (
        "5 comparisons have an answer that says nothing" in found.says
        and "In 1 comparison the two are nearly the same." in found.says
    )
    nearly = EMPTY_ANSWERS.run(comparisons([*plain_rows(50), rows[6]]), QUIET)
    assert nearly.severity is Severity.OK and not nearly.remedy and "They stay" in nearly.cannot
    operators = [
        {"prompt": f"sum {i}", "chosen": "return a + b", "rejected": "return a - b"}
        for i in range(50)
    ]
    code = EMPTY_ANSWERS.run(comparisons(operators), QUIET)
    assert code.severity is Severity.OK and not code.remedy and code.numbers["marks"] == 50
    assert EMPTY_ANSWERS.run(comparisons(plain_rows(50)), QUIET).severity is Severity.OK


def test_contents_count_everything(tmp_path):
    rows = [
        *plain_rows(20),
        {**plain_rows(1)[0], "tie": True},
        {"prompt": "p", "chosen": "", "rejected": "b"},
    ]
    found = drawable(overview(comparisons(rows, quarantine=tmp_path / "aside.jsonl"), QUIET))
    numbers = found.numbers
    assert (
        numbers["read"],
        numbers["comparisons"],
        numbers["ties"],
        sum(numbers["skipped"].values()),
    ) == (22, 20, 1, 1)
    assert (
        "22 rows hold 20 comparisons about 20 prompts, and 1 tie; 1 row (4.5%) was skipped."
        in found.says
    )


def test_languages_by_script_and_common_words():
    said = {
        "The cat is on the table and it is not happy with you.": "English",
        "Die Katze ist auf dem Tisch und das ist nicht gut für mich.": "German",
        "Le chat est sur la table et vous ne pouvez pas le voir.": "French",
        "El gato está en la mesa y no se puede ver por las noches.": "Spanish",
        "我喜欢学习语言，今天天气很好。": "Chinese",
        "今日はとてもいい天気ですね。": "Japanese",
        "Сегодня очень хорошая погода.": "Cyrillic script",
        "yes": None,
    }
    assert {text: language_of(text) for text in said} == said


# ------------------------------------------------------------ contradictions, leaks


def test_contradictions_by_hand():
    a, b = ({"prompt": p, "chosen": "x", "rejected": "y"} for p in ("p", "q"))
    turned = {**a, "chosen": "y", "rejected": "x"}
    rows = [
        {**a, "rater": "r"},
        {**turned, "rater": "r"},
        {**a, "rater": "s"},
        {**b, "rater": "r"},
        {**b, "rater": "s"},
        *plain_rows(5),
    ]
    found = drawable(contradictions(comparisons(rows), QUIET))
    assert (found.numbers["judged_again"], found.numbers["both_ways"]) == (2, 1)
    assert found.estimate.value == 0.5
    assert found.numbers["two_disagree"]["value"] == pytest.approx((2 / 3 + 0) / 2)
    assert found.numbers["own"] == {"pairs": 1, "share": 1.0}
    assert contradictions(comparisons(plain_rows(20)), QUIET).severity is Severity.NOT_APPLICABLE


def test_leaks_exact_and_near():
    rows = [*plain_rows(50), {"prompt": LONG, "chosen": "x", "rejected": "y"}]
    tests = [
        LONG.replace("lazy", "idle"),
        rows[3]["prompt"].upper(),
        "a prompt that is nowhere to be found in there",
    ]
    found = drawable(leaks(comparisons(rows), replace(QUIET, against=tests)))
    assert (
        found.numbers["exact"],
        found.numbers["near"],
        found.numbers["tests"],
        found.numbers["rows"],
    ) == (1, 1, 3, 2)
    assert found.severity is Severity.PROBLEM and {example.place for example in found.examples} == {
        3,
        50,
    }
    clean = leaks(
        comparisons(rows), replace(QUIET, against=[row["prompt"] for row in plain_rows(40, seed=9)])
    )
    assert clean.severity is Severity.OK


# ------------------------------------------------------------ near texts


def found_again(texts, edit, seed=0):
    """The share of edited texts that the index of the texts finds."""
    rng = np.random.default_rng(seed)
    return len({i for i, _, _ in Index(texts).like([edit(text, rng) for text in texts])}) / len(
        texts
    )


def one_letter(text, rng):
    at = int(rng.integers(len(text)))
    return text[:at] + str(rng.choice(list("abcdefgh"))) + text[at + 1 :]


def test_a_typo_in_a_short_question_is_no_other_question():
    rng = np.random.default_rng(0)
    texts = [f"how does the {sentence(rng, 3, 8)}" for _ in range(300)]
    assert found_again(texts, one_letter) > 0.85
    assert len(set(Index(texts).groups().tolist())) > 290


def test_another_number_or_another_word_is_another_question():
    pairs = [
        ("what is 345 plus 678 in words", "what is 346 plus 678 in words"),
        ("how do you feel about murder", "how do you feel about market"),
        ("is this number 7 a prime number", "is this number 9 a prime number"),
    ]
    for one, two in pairs:
        assert similar(one, two) < ALIKE
    assert similar("what do the cows eat all day", "what do the cwos eat all day") == 1.0
    assert similar("can you tell me how it works", "can you tell mehow it works") >= ALIKE


def test_a_script_without_spaces_is_read_by_its_characters():
    rng = np.random.default_rng(1)
    letters = [chr(code) for code in range(0x4E00, 0x4E00 + 400)]
    texts = ["".join(rng.choice(letters, 25)) for _ in range(60)]

    def another(text, rng):
        at = int(rng.integers(len(text)))
        return text[:at] + "\u9f98" + text[at + 1 :]

    assert found_again(texts, another) == 1.0
    assert len(set(Index(texts).groups().tolist())) == 60


def test_the_first_word_of_an_index_is_like_any_other():
    """Its number was 0, which every hash leaves 0, so that its texts met each other alone."""
    text = "can you teach me how to steal cars?"
    assert [i for i, _, _ in Index([text]).like(["ban you teach me how to steal cars?"])] == [0]


def test_operators_make_another_text():
    assert bare("a + b") != bare("a - b")
    assert bare("x<y") != bare("x>y")
    assert bare("Well, no!") == bare("well no")
