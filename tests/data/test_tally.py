"""Counts over a whole read, and a sample of it."""

import numpy as np

from holdfast.data import Dataset, Sample, read


def rows(n):
    return [{"prompt": f"q{i}", "chosen": f"a{i}", "rejected": f"b{i}"} for i in range(n)]


def test_counts_over_every_row():
    pair = {"prompt": "q", "chosen": "a", "rejected": "b"}
    turned = {"prompt": "q", "chosen": "b", "rejected": "a"}
    other = {"prompt": [{"role": "user", "content": "q"}], "chosen": "a", "rejected": "b"}
    given = [pair, pair, turned, turned, {**pair, "prompt": "p"}, {**pair, "tie": True}]
    expected = {
        "comparisons": 5,
        "ties": 1,
        "others": 0,
        "prompts": 2,
        "raters": 0,
        "groups": 0,
        "sources": 0,
        "repeated": 2,
        "both_ways": 1,
    }
    assert read(given).report.counts == expected
    assert read([other, other]).report.counts["repeated"] == 1
    assert Dataset.of(read(given).rows).report.counts == expected
    assert read([{"prompt": "q", "answer": "a"}]).report.counts["others"] == 1


def test_a_sample_is_seeded_ordered_and_counts_the_whole():
    got = read(rows(1000), sample=Sample(50, seed=3))
    lines = [row.where.line for row in got]
    assert len(got) == 50 and lines == sorted(set(lines))
    assert lines == [row.where.line for row in read(rows(1000), sample=Sample(50, seed=3))]
    assert lines == [row.where.line for row in read(read(rows(1000)), sample=Sample(50, seed=3))]
    assert lines != [row.where.line for row in read(rows(1000), sample=Sample(50, seed=4))]
    assert (got.report.read, got.report.rows, got.report.counts["comparisons"]) == (
        1000,
        1000,
        1000,
    )
    assert got.report.sampled == "a sample of 50 of 1,000 comparisons, drawn at random with seed 3"
    assert read(rows(9), sample=Sample(50)).report.sampled == ""


def test_a_sample_holds_comparisons_alone():
    given = [row for i, row in enumerate(rows(100)) for row in (row, {**row, "tie": True})]
    got = read(given, sample=Sample(500))
    assert len(got) == 100 and not any(row.tie for row in got)
    assert got.report.counts["ties"] == 100


def test_every_row_is_as_likely():
    drawn = np.zeros(40)
    for seed in range(600):
        drawn[[row.where.line - 1 for row in read(rows(40), sample=Sample(10, seed=seed))]] += 1
    assert abs(drawn / 600 - 0.25).max() < 4.5 * np.sqrt(0.25 * 0.75 / 600)
