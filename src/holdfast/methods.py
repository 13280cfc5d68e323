"""The one table of methods, typed by hand: name -> METHOD. A new method is one file and one line here."""

from __future__ import annotations

from difflib import get_close_matches

from holdfast.card import Method
from holdfast.errors import OptionError
from holdfast.preference.cdpo import METHOD as CDPO
from holdfast.preference.cpo import METHOD as CPO
from holdfast.preference.dpo import METHOD as DPO
from holdfast.preference.ipo import METHOD as IPO
from holdfast.preference.kto import METHOD as KTO
from holdfast.preference.orpo import METHOD as ORPO
from holdfast.preference.rdpo import METHOD as RDPO
from holdfast.preference.sft import METHOD as SFT
from holdfast.preference.simpo import METHOD as SIMPO
from holdfast.preference.slic import METHOD as SLIC

METHODS: dict[str, Method] = {
    "sft": SFT,
    "dpo": DPO,
    "cdpo": CDPO,
    "rdpo": RDPO,
    "ipo": IPO,
    "slic": SLIC,
    "simpo": SIMPO,
    "cpo": CPO,
    "orpo": ORPO,
    "kto": KTO,
}


def get(name: str) -> Method:
    """The method of that name.

    Raises:
        OptionError: there is none; the hint gives the nearest name.
    """
    if name in METHODS:
        return METHODS[name]
    near = get_close_matches(name.lower(), METHODS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "`holdfast methods` lists them all"
    raise OptionError(f"there is no method {name!r}; there are {', '.join(METHODS)}", hint=hint)
