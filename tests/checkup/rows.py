"""Small sets of comparisons that know what is wrong with them."""

import numpy as np

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.request import CheckRequest
from holdfast.data import read

QUIET = CheckRequest(quiet=True)
WORDS = [
    "river",
    "stone",
    "paper",
    "garden",
    "winter",
    "music",
    "letter",
    "window",
    "bread",
    "mountain",
    "silver",
    "engine",
    "market",
    "forest",
    "candle",
    "bridge",
    "island",
    "teacher",
    "doctor",
    "kitchen",
    "weather",
    "harbor",
    "village",
    "machine",
    "picture",
]


def comparisons(rows, **options):
    return Comparisons.read(read(rows, **options))


def sentence(rng, low=5, high=15):
    return " ".join(rng.choice(WORDS, rng.integers(low, high)).tolist()) + "."


def plain_rows(n, seed=0, **columns):
    """Nothing wrong: answers drawn alike, the label a coin."""
    rng = np.random.default_rng(seed)
    return [
        {
            "prompt": f"question {i}: {sentence(rng)}",
            "chosen": sentence(rng),
            "rejected": sentence(rng),
        }
        | {name: make(i, rng) for name, make in columns.items()}
        for i in range(n)
    ]


HOSTILE = [
    {
        "prompt": "<script>alert(1)</script>",
        "chosen": "</script><b>",
        "rejected": "\u2028\u202e\x00&amp;",
    },
    {"prompt": "p", "chosen": "x" * 200_000, "rejected": "y"},
    {"prompt": "p", "chosen": "{{7*7}} ${x} %s \\", "rejected": "🙂"},
    {"prompt": "日本語", "chosen": "はい、そうです。", "rejected": "いいえ"},
    {"prompt": "p", "chosen": "none", "rejected": "..."},
]


def drawable(finding):
    """Every chart has a specification, every table is square, and the numbers are JSON's own."""
    import json

    for chart in finding.charts:
        chart.spec()
    json.dumps(finding.numbers, allow_nan=False)
    assert finding.says
    return finding
