"""Offline objectives over comparisons and single answers, one file each: `cost_N =
holdfast.preference.rdpo(pairs, flip_rate=0.2)`.
"""

from holdfast.preference.beta_dpo import beta_dpo
from holdfast.preference.cdpo import cdpo
from holdfast.preference.cpo import cpo
from holdfast.preference.diffusion_dpo import diffusion_dpo
from holdfast.preference.dpo import dpo
from holdfast.preference.dr_dpo import dr_dpo
from holdfast.preference.gpo import gpo
from holdfast.preference.hypo import hypo
from holdfast.preference.ipo import ipo
from holdfast.preference.kto import kto
from holdfast.preference.lcpo import lcpo, lcpo_cpo, lcpo_dpo, lcpo_ipo, lcpo_simpo
from holdfast.preference.ln_dpo import ln_dpo
from holdfast.preference.madpo import madpo
from holdfast.preference.mapo import mapo
from holdfast.preference.maxent import maxent
from holdfast.preference.maxent_length import maxent_length
from holdfast.preference.orpo import orpo
from holdfast.preference.rationale_dpo import rationale_dpo
from holdfast.preference.rationale_logistic import rationale_logistic
from holdfast.preference.rdpo import rdpo
from holdfast.preference.rpo import rpo
from holdfast.preference.self_npo import self_npo
from holdfast.preference.sft import sft
from holdfast.preference.simpo import simpo
from holdfast.preference.slic import slic
from holdfast.preference.smpo import smpo
from holdfast.preference.sparsepo import sparsepo
from holdfast.preference.sparsepo_independent import sparsepo_independent
from holdfast.preference.spo import spo
from holdfast.preference.srpo import srpo
from holdfast.preference.tdpo import tdpo
from holdfast.preference.vpo import vpo

__all__ = [
    "beta_dpo",
    "cdpo",
    "cpo",
    "diffusion_dpo",
    "dpo",
    "dr_dpo",
    "gpo",
    "hypo",
    "ipo",
    "kto",
    "lcpo",
    "lcpo_cpo",
    "lcpo_dpo",
    "lcpo_ipo",
    "lcpo_simpo",
    "ln_dpo",
    "madpo",
    "mapo",
    "maxent",
    "maxent_length",
    "orpo",
    "rationale_dpo",
    "rationale_logistic",
    "rdpo",
    "rpo",
    "self_npo",
    "sft",
    "simpo",
    "slic",
    "smpo",
    "sparsepo",
    "sparsepo_independent",
    "spo",
    "srpo",
    "tdpo",
    "vpo",
]
