"""The one table of methods, typed by hand: name -> METHOD. A new method is one file and one line
here.
"""

from __future__ import annotations

from holdfast.card import Method
from holdfast.games.apo import METHOD as APO
from holdfast.games.egpo import METHOD as EGPO
from holdfast.games.halpern import METHOD as HALPERN
from holdfast.games.inpo import METHOD as INPO
from holdfast.games.mirror_descent import METHOD as MIRROR_DESCENT
from holdfast.games.nash_md import METHOD as NASH_MD
from holdfast.games.online_ipo import METHOD as ONLINE_IPO
from holdfast.games.optimistic import METHOD as OPTIMISTIC
from holdfast.games.spo_win_rate import METHOD as SPO_WIN_RATE
from holdfast.games.sppo import METHOD as SPPO
from holdfast.lookup import named
from holdfast.preference.beta_dpo import METHOD as BETA_DPO
from holdfast.preference.cdpo import METHOD as CDPO
from holdfast.preference.cpo import METHOD as CPO
from holdfast.preference.diffusion_dpo import METHOD as DIFFUSION_DPO
from holdfast.preference.dpo import METHOD as DPO
from holdfast.preference.dr_dpo import METHOD as DR_DPO
from holdfast.preference.gpo import METHOD as GPO
from holdfast.preference.hypo import METHOD as HYPO
from holdfast.preference.ipo import METHOD as IPO
from holdfast.preference.kto import METHOD as KTO
from holdfast.preference.lcpo import LCPO_CPO, LCPO_DPO, LCPO_IPO, LCPO_SIMPO
from holdfast.preference.ln_dpo import METHOD as LN_DPO
from holdfast.preference.madpo import METHOD as MADPO
from holdfast.preference.mapo import METHOD as MAPO
from holdfast.preference.maxent import METHOD as MAXENT
from holdfast.preference.maxent_length import METHOD as MAXENT_LENGTH
from holdfast.preference.orpo import METHOD as ORPO
from holdfast.preference.rationale_dpo import METHOD as RATIONALE_DPO
from holdfast.preference.rationale_logistic import METHOD as RATIONALE_LOGISTIC
from holdfast.preference.rdpo import METHOD as RDPO
from holdfast.preference.rpo import METHOD as RPO
from holdfast.preference.self_npo import METHOD as SELF_NPO
from holdfast.preference.sft import METHOD as SFT
from holdfast.preference.simpo import METHOD as SIMPO
from holdfast.preference.slic import METHOD as SLIC
from holdfast.preference.smpo import METHOD as SMPO
from holdfast.preference.sparsepo import METHOD as SPARSEPO
from holdfast.preference.sparsepo_independent import METHOD as SPARSEPO_INDEPENDENT
from holdfast.preference.spo import METHOD as SPO
from holdfast.preference.srpo import METHOD as SRPO
from holdfast.preference.tdpo import METHOD as TDPO
from holdfast.preference.vpo import METHOD as VPO

# what a method is for -> its methods: one line each
GROUPS: dict[str, dict[str, Method]] = {
    "Baselines": {
        "sft": SFT,
        "dpo": DPO,
        "ipo": IPO,
        "slic": SLIC,
    },
    "Labels that may be wrong": {
        "cdpo": CDPO,
        "rdpo": RDPO,
        "dr_dpo": DR_DPO,
        "madpo": MADPO,
        "beta_dpo": BETA_DPO,
        "lcpo_dpo": LCPO_DPO,
        "lcpo_ipo": LCPO_IPO,
        "lcpo_simpo": LCPO_SIMPO,
        "lcpo_cpo": LCPO_CPO,
    },
    "Answers that no comparison tried": {
        "rpo": RPO,
        "vpo": VPO,
        "hypo": HYPO,
    },
    "Length, and no reference": {
        "ln_dpo": LN_DPO,
        "simpo": SIMPO,
        "maxent": MAXENT,
        "maxent_length": MAXENT_LENGTH,
        "cpo": CPO,
        "orpo": ORPO,
    },
    "Which tokens count": {
        "tdpo": TDPO,
        "mapo": MAPO,
        "sparsepo": SPARSEPO,
        "sparsepo_independent": SPARSEPO_INDEPENDENT,
    },
    "More than two answers to a prompt": {
        "spo": SPO,
        "srpo": SRPO,
        "rationale_dpo": RATIONALE_DPO,
        "rationale_logistic": RATIONALE_LOGISTIC,
    },
    "Rounds of self-play": {
        "gpo": GPO,
        "mirror_descent": MIRROR_DESCENT,
        "nash_md": NASH_MD,
        "sppo": SPPO,
        "online_ipo": ONLINE_IPO,
        "optimistic": OPTIMISTIC,
        "egpo": EGPO,
        "inpo": INPO,
        "spo_win_rate": SPO_WIN_RATE,
        "apo": APO,
        "halpern": HALPERN,
    },
    "Single answers": {
        "kto": KTO,
    },
    "Diffusion models": {
        "diffusion_dpo": DIFFUSION_DPO,
        "smpo": SMPO,
        "self_npo": SELF_NPO,
    },
}
METHODS: dict[str, Method] = {
    name: method for group in GROUPS.values() for name, method in group.items()
}


def get(name: str) -> Method:
    """The method of that name.

    Raises:
        OptionError: there is none; the hint gives the nearest name.
    """
    return named(name, METHODS, "method", lists="holdfast methods")
