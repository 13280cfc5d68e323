"""Whatever the rows hold, `read` keeps them, sets them aside, or says what is wrong: no other
error, and the counts add up.
"""

import json
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.data import content_hash, read
from holdfast.errors import HoldfastError

NAMES = [
    "prompt",
    "chosen",
    "rejected",
    "completion",
    "label",
    "answers",
    "scores",
    "ranks",
    "messages",
    "text",
    "weight",
    "confidence",
    "tie",
    "x",
]
TEXTS = st.one_of(
    st.sampled_from(["", " ", "a", "a b", "a c", "\n\nHuman: q\n\nAssistant: a", "\ud800"]),
    st.text(max_size=8),
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "", 3]), "content": TEXTS | st.none()}
    ),
    max_size=3,
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS)
VALUES = st.one_of(
    SCALARS,
    MESSAGES,
    st.lists(SCALARS | TEXTS, max_size=3),
    st.recursive(SCALARS, lambda v: st.dictionaries(TEXTS, v, max_size=2)),
)
LIKELY = st.fixed_dictionaries(
    {"prompt": TEXTS | MESSAGES, "chosen": TEXTS | MESSAGES, "rejected": TEXTS | MESSAGES},
    optional={
        "weight": SCALARS,
        "confidence": SCALARS,
        "tie": SCALARS,
        "group": VALUES,
        "x": VALUES,
    },
)
ROWS = st.lists(
    st.one_of(LIKELY, st.dictionaries(st.sampled_from(NAMES), VALUES), SCALARS),
    min_size=1,
    max_size=6,
)
FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@FUZZ
@given(rows=ROWS)
def test_any_rows(tmp_path, rows):
    aside = tmp_path / "q.jsonl"
    aside.unlink(missing_ok=True)
    try:
        got = read(rows, quarantine=aside)
    except HoldfastError as error:
        assert "hint: " in str(error)
        return
    counted = got.report
    assert counted.read == len(rows) == counted.retained + sum(counted.skipped.values())
    written = Counter(
        json.loads(line)["reason"] for line in aside.read_text("utf-8").split("\n") if line
    )
    assert written == Counter(
        {
            reason: n
            for reason, n in counted.skipped.items()
            if reason != "every answer has the same score"
        }
    )
    assert len({row.where for row in got}) == counted.retained
    assert counted.content_hash == content_hash(got.rows)


@FUZZ
@given(
    lines=st.lists(
        st.one_of(
            ROWS.map(json.dumps).map(str.encode),
            st.binary(max_size=30),
            LIKELY.map(json.dumps).map(str.encode),
        ),
        max_size=6,
    )
)
def test_any_bytes_in_any_format(tmp_path, lines):
    for name in ("a.jsonl", "a.json", "a.csv", "a.parquet", "a.jsonl.gz"):
        path, aside = tmp_path / name, tmp_path / f"{name}.bad"
        aside.unlink(missing_ok=True)
        path.write_bytes(b"\n".join(lines))
        try:
            got = read(path, quarantine=aside)
        except HoldfastError as error:
            assert "hint: " in str(error)
            continue
        assert got.report.read == got.report.retained + sum(got.report.skipped.values())
