"""What the demo may say: every sentence is chosen by a number and its interval, whichever way it
came out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.evaluation.show import percent
from holdfast.lab.flips import PLAIN, ROBUST, YARDSTICK, Checked, Verdict
from holdfast.stats.intervals import Estimate


def check_said(checked: Checked, truth: float) -> str:
    """What the check-up made of the flipped labels, beside how many there are."""
    flip, planted = checked.flip_rate, f"{100 * truth:.1f}%"
    if flip.value is None:
        if checked.limit is None or checked.limit >= 0.45:
            return (
                "Before training, the check-up cannot tell how many labels are flipped "
                f"({planted} are)."
            )
        holds = (
            "the truth lies below that"
            if truth <= checked.limit
            else "the truth lies above that, so its limit is wrong here"
        )
        return (
            "Before training, the check-up cannot tell how many labels are flipped: at "
            f"most {100 * checked.limit:.0f}%, it says. "
            f"{planted} are: {holds}."
        )
    said = (
        f"Before training, the check-up says that {percent(flip.to_dict())} of the labels are "
        f"flipped; {planted} are"
    )
    if flip.low is None or flip.high is None:
        return f"{said}."
    return (
        f"{said}: its interval {'holds' if flip.low <= truth <= flip.high else 'misses'} the truth."
    )


def against_start(name: str, estimate: Estimate) -> str:
    """Whether an arm writes better answers than the model it started from."""
    said = f"{name} wins {percent(estimate.to_dict())} against the model it started from"
    if estimate.low is None or estimate.high is None:
        return f"{said}; too few answers for an interval."
    if estimate.low > 0.5:
        return f"{said}: training helped."
    if estimate.high < 0.5:
        return f"{said}: training made it worse."
    return f"{said}, which chance could do: whether training helped is undecided."


def robust_against_plain(verdict: Verdict, seeds: int) -> str:
    """What may be said of rDPO and DPO on the same flipped labels."""
    shown = percent(verdict.estimate.to_dict())
    if verdict.side > 0:
        return f"On the same flipped labels rDPO beats DPO: head to head its answers win {shown}."
    if verdict.side < 0:
        return (
            "On the same flipped labels rDPO does worse than DPO: head to head its answers "
            f"win only {shown}."
        )
    if verdict.estimate.low is None:
        return (
            "Between rDPO and DPO on the same flipped labels this demo decides nothing: head "
            f"to head rDPO's answers win {shown}."
        )
    why = (
        "the interval holds one half"
        if verdict.seeds_agree or seeds < 2
        else f"the {seeds} seeds do not agree on the side"
    )
    return (
        "Between rDPO and DPO on the same flipped labels this demo decides nothing: head to "
        f"head rDPO's answers win {shown}, and {why}."
    )


def distance(plain: float, robust: float, side: int) -> str:
    """A caution where a decided comparison is between policies that did not go equally far; else
    nothing.
    """
    near, far = sorted((plain, robust))
    if side == 0 or far <= 1.5 * near:
        return ""
    return (
        f"But the two did not go equally far from the start (KL {robust:.2f} nats for "
        f"rDPO, {plain:.2f} for DPO), so part of this may be "
        "a matter of step size and beta and not of the objective."
    )


def price_of_flips(verdict: Verdict) -> str:
    """What the flips cost DPO, against DPO on the same pairs before the flips."""
    shown = percent(verdict.estimate.to_dict())
    if verdict.side < 0:
        return (
            f"The flips did harm: DPO on flipped labels wins only {shown} against DPO on the "
            "same pairs without them."
        )
    if verdict.side > 0:
        return (
            f"The flips did no harm here: DPO on flipped labels even wins {shown} against DPO "
            "on the same pairs without them."
        )
    return (
        f"Whether the flips cost DPO any gold reward is undecided: it wins {shown} against "
        "DPO on the same pairs without them."
    )


def memory_of_flips(rows: Sequence[Mapping[str, Any]], taught: Verdict, versus: Verdict) -> str:
    """Whether the flipped labels were followed, and by whom more: `taught` is DPO minus the
    yardstick, `versus` rDPO minus DPO.
    """
    kept = {row["name"]: percent(row["kept_flipped"]) for row in rows}
    said = (
        f"Of the flipped training pairs DPO ends up ranking {kept[PLAIN]} the way the "
        "flipped label says; "
        f"the same objective that never saw the flips {kept[YARDSTICK]}."
    )
    if taught.side > 0:
        said += (
            f" The difference, {points(taught.estimate)}, is what DPO took over from wrong labels."
        )
    elif taught.side < 0:
        said += " So seeing the wrong labels did not make it follow them."
    else:
        said += " The two are not told apart, so nothing shows that DPO took over the wrong labels."
    if versus.side == 0:
        return f"{said} rDPO ranks {kept[ROBUST]} of them so, which is not told apart from DPO."
    return (
        f"{said} rDPO ranks {kept[ROBUST]} of them so, "
        f"{'more' if versus.side > 0 else 'fewer'} than DPO."
    )


def accuracy(verdict: Verdict) -> str:
    """Held-out ranking accuracy, rDPO minus DPO."""
    if verdict.side == 0:
        shown = points(verdict.estimate)
        return (
            "On held-out pairs with honest labels the two are not told apart: rDPO's ranking "
            f"accuracy minus DPO's is {shown}."
        )
    better = "better" if verdict.side > 0 else "worse"
    return (
        f"On held-out pairs with honest labels rDPO ranks {better} than DPO: the difference "
        f"is {points(verdict.estimate)}."
    )


def points(estimate: Estimate) -> str:
    """A difference of shares in percentage points."""
    if estimate.value is None:
        return "n/a"
    said = f"{100 * estimate.value:+.1f} points"
    return (
        said
        if estimate.low is None or estimate.high is None
        else f"{said} ({100 * estimate.low:+.1f} to {100 * estimate.high:+.1f})"
    )
