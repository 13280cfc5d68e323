"""Numbers in sentences, said the same way by every finding."""

from __future__ import annotations

from holdfast.stats.intervals import Estimate


def percent(value: float | Estimate | None, digits: int = 1) -> str:
    """ "12.3%"; "n/a" where there is no value."""
    value = value.value if isinstance(value, Estimate) else value
    return "n/a" if value is None else f"{100 * value:.{digits}f}%"


def span(estimate: Estimate, *, as_percent: bool = True, digits: int = 1) -> str:
    """ " (95% CI 10.1% to 14.6%)", or nothing where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    low, high = (
        percent(v, digits) if as_percent else f"{v:.{digits}f}"
        for v in (estimate.low, estimate.high)
    )
    return f" ({100 * estimate.level:.0f}% CI {low} to {high})"


def count(n: int, one: str, many: str | None = None) -> str:
    """ "1 row", "2,345 rows"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
