"""One line of the health card."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["ok", "warning", "problem", "inconclusive", "not_applicable"]
WORST_FIRST: tuple[Severity, ...] = (
    "problem",
    "warning",
    "inconclusive",
    "ok",
    "not_applicable",
)


@dataclass(frozen=True)
class Finding:
    """Attributes:
    name: what was looked at, in one word or two.
    severity: ok, warning, problem, inconclusive, or not_applicable.
    says: what was found, with numbers, unit and denominator.
    cure: what to do; "" where nothing is to be done.
    numbers: the estimates behind it.
    """

    name: str
    severity: Severity
    says: str
    cure: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def skipped(name: str, why: str) -> Finding:
    return Finding(name, "not_applicable", why)
