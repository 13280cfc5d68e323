"""What a stress test compares: methods with settings of their own, under flaws by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.card import Method, settings_of
from holdfast.errors import OptionError
from holdfast.methods import get
from holdfast.training.settings import read_reduction

FLAWS = {  # short name -> holdfast.data.corrupt
    "uniform": "flip",
    "length": "flip_by_length",
    "group": "flip_by_group",
    "rater": "flip_by_rater",
    "cycles": "cycles",
}
ABOVE_HALF = 0.49  # the highest flip rate that a method can be told


@dataclass(frozen=True)
class Arm:
    """A method with settings of its own: "rdpo:flip_rate=0.2", "dpo:reduction=groups"."""

    label: str
    name: str
    settings: Mapping[str, float]
    reduction: str | None = None

    @property
    def method(self) -> Method:
        return get(self.name)

    def told(self, rate: float) -> dict[str, float]:
        """Its settings when labels are flipped at this rate."""
        knows = (
            {"flip_rate": min(rate, ABOVE_HALF)}
            if "flip_rate" in settings_of(self.method.objective)
            else {}
        )
        return {**knows, **self.settings}


def flaw_named(name: str) -> str:
    if name not in FLAWS:
        raise OptionError(f"there is no flaw {name!r}", hint=f"one of {', '.join(FLAWS)}")
    return name


def arm_named(text: str) -> Arm:
    """ "rdpo:flip_rate=0.2" -> the method and its own settings. "reduction=" comes last: what
    follows it is read as `--reduction` is.

    Raises:
        OptionError: no such method, setting or reduction, or a value that is no number.
    """
    name, _, rest = text.strip().partition(":")
    own, settings = settings_of(get(name).objective), {}
    plain, _, average = rest.partition("reduction=")
    if average:
        read_reduction(average, get(name), groups=1)  # refused here if it cannot be read
    for part in filter(None, plain.split(",")):
        setting, _, value = part.partition("=")
        try:
            settings[setting] = float(value)
        except ValueError:
            raise OptionError(
                f"cannot read {part!r} in {text!r}", hint=f"write it as {name}:setting=number"
            ) from None
        if setting not in own:
            raise OptionError(
                f"{name} does not read {setting}",
                hint=f"its settings are {', '.join(own)}, reduction",
            )
    return Arm(text.strip(), name, settings, average or None)
