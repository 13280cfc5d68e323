"""Findings: one question about the data, one file.

A finding is three things, each in a file of its own:

1. **Estimate**, `findings/NAME.py`: `NAME(data, request)` returns a frozen dataclass of `Estimate`s
   and counts, or `NotApplicable(why)`. No sentence, no chart, no threshold of a severity. Its
   `to_dict()` is what check.json holds under `numbers`.
2. **Severity**, `checkup/severity.py`: `NAME(result) -> Severity`. Every threshold stands there,
   and nowhere else.
3. **Presentation**, `present/NAME.py`: `NAME(result, severity, data, request) -> Finding`: the
   sentence, remedy, charts, tables and rows. It may look at `data` for rows and pictures; it
   decides nothing.

`checkup/table.py` joins them in a `TypedFinding`, whose `run` fills in title, severity, result and
numbers. `length_bias` and `empty_answers` are the shortest examples.

Other files of this folder are one function `NAME(data, request) -> Finding` with
`FINDING = FindingSpec(question, NAME)` below it. To move one: make what its `numbers` hold the
fields of a dataclass, keep the keys of `to_dict()`, carry its thresholds to `severity.py` and its
sentences and charts to `present/NAME.py`, and put a `TypedFinding` in the table.

Who needs a number of a finding reads `finding.result`, a type that a checker knows; not `numbers`.
"""
