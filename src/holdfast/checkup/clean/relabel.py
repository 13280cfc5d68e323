"""Which rows to have judged again, and the files that annotation tools import.

Say a row's label is wrong with probability f before its texts are looked at, and right with
probability r after (r from the preference model of the label-noise finding, and from the pair's
other verdicts). A second opinion agrees with the label with probability

    m = r (1 - e) + (1 - r) e,

e its own error rate, and what it tells about f, given the label, is the Fisher information

    I = [(1 - 2e) r (1 - r) / (f (1 - f))]^2 / (m (1 - m)),

since dr/df = - r (1 - r) / (f (1 - f)). It is largest where r is one half: a row whose label is
most likely wrong tells less than one of which nothing is known, and a certain one tells nothing.
Rows are taken in the order of I, one of each pair of answers. The variance of f after N second
opinions is expected to be 1 / (1 / s^2 + sum of I), s the standard error before them.

Departure: this is the gain for f with the preference model held as it is; what the opinions teach
the model comes on top and is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.flip_rate import by_models, posterior_wrong
from holdfast.checkup.present.wording import count
from holdfast.data.write import write_records
from holdfast.errors import DataError
from holdfast.files import write_json, write_text
from holdfast.stats.arrays import Floats
from holdfast.text.plain import plain_text
from holdfast.types import Row

FEWEST = 50  # comparisons from which a preference model is asked
UNKNOWN = 0.2  # the flip rate where the rows do not tell it; the order hardly depends on it
OPINION = 0.05  # error rate of a second opinion
Z95 = 1.959964

LABEL_STUDIO = """<View>
  <Header value="Which answer is better?"/>
  <Text name="prompt" value="$prompt"/>
  <Pairwise name="better" toName="answer_a,answer_b"/>
  <View style="display: flex; gap: 1em">
    <Text name="answer_a" value="$answer_a"/>
    <Text name="answer_b" value="$answer_b"/>
  </View>
</View>
"""


@dataclass(frozen=True)
class Relabeling:
    """Rows to judge again, most informative first.

    Attributes:
        places: of the rows, among the cleaned ones
        doubt: the probability that each one's label is wrong
        rows: the rows themselves
        half_width: of the interval of the flip rate, now and as it is expected after the second
            opinions; None where these rows do not tell the flip rate
        files: where they were written
    """

    places: tuple[int, ...]
    doubt: tuple[float, ...]
    rows: tuple[Row, ...]
    half_width: tuple[float, float] | None
    seed: int
    files: tuple[Path, ...] = ()

    @property
    def says(self) -> str:
        text = f"{count(len(self.rows), 'row')} to judge again in {self.files[0]}"
        if self.half_width is None:
            return f"{text}; how many labels are flipped cannot be told from these rows yet."
        now, then = (100 * half for half in self.half_width)
        return (
            f"{text}. With these second opinions the interval of the flip rate is expected to "
            f"narrow from {now:.1f} to {then:.1f} points to either side."
        )

    def records(self) -> list[dict[str, Any]]:
        """The rows as an annotator sees them: two answers in an order that says nothing."""
        rng = np.random.default_rng(self.seed)
        made = []
        for place, row, turned in zip(
            self.places, self.rows, rng.random(len(self.rows)) < 0.5, strict=True
        ):
            sides = [plain_text(row.chosen), plain_text(row.rejected)]
            a, b = sides[::-1] if turned else sides
            prompt = plain_text(row.prompt)
            made.append({"id": f"row-{place + 1}", "prompt": prompt, "answer_a": a, "answer_b": b})
        return made

    def write(self, path: Path) -> Relabeling:
        """`path`, JSON lines of flat records, as Argilla's `dataset.records.log` takes them, and
        beside it the tasks and the labeling interface of Label Studio.
        """
        records = self.records()
        tasks, interface = (
            path.with_suffix(end) for end in (".label-studio.json", ".label-studio.xml")
        )
        write_records(path, records)
        write_json(tasks, [{"data": one} for one in records])
        write_text(interface, LABEL_STUDIO)
        return replace(self, files=(path, tasks, interface))

    def to_dict(self) -> dict[str, Any]:
        now, then = self.half_width or (None, None)
        return {
            "rows": [place + 1 for place in self.places],
            "doubt": list(self.doubt),
            "half_width_now": now,
            "half_width_expected": then,
            "files": [str(file) for file in self.files],
        }


def relabel_rows(rows: Sequence[Row], n: int, *, seed: int = 0) -> Relabeling:
    """The `n` comparisons among these rows whose second opinion would tell most about how many
    labels are flipped.

    Raises:
        DataError: there are too few comparisons to rank them.
    """
    places = [i for i, row in enumerate(rows) if row.chosen is not None and not row.tie]
    data = Comparisons.of([rows[i] for i in places])
    if len(data) < FEWEST:
        raise DataError(
            f"{count(len(data), 'comparison')}, too few to say which of them to judge again",
            hint=f"have all of them judged again; from {FEWEST} on they can be ranked",
        )
    found = by_models(data, seed=seed)
    rate = found.rate.point if found.identified and found.rate.point > 0 else UNKNOWN
    wrong_N = posterior_wrong(replace(found, rate=replace(found.rate, value=rate)))
    gain_N = information(1 - np.asarray(wrong_N), rate)
    _, once = np.unique(data.pair.code_N, return_index=True)  # a pair is judged again once
    order = once[np.argsort(-gain_N[once], kind="stable")][:n]
    half = None
    if found.identified:
        now = found.rate.width / 2
        then = Z95 / np.sqrt((Z95 / max(now, 1e-4)) ** 2 + gain_N[order].sum())
        half = (float(now), float(then))
    return Relabeling(
        tuple(places[i] for i in order),
        tuple(float(wrong_N[i]) for i in order),
        tuple(data.rows[i] for i in order),
        half,
        seed,
    )


def information(right_N: Floats, rate: float, *, error: float = OPINION) -> Floats:
    """What a second opinion on each row tells about the flip rate, given the label: see above."""
    slope_N = (1 - 2 * error) * right_N * (1 - right_N) / (rate * (1 - rate))
    agree_N = right_N * (1 - error) + (1 - right_N) * error
    # a label that is certain and an opinion without error: 0 / 0, and nothing to tell
    return np.asarray(slope_N**2 / np.maximum(agree_N * (1 - agree_N), 1e-12))
