"""Offline objectives over comparisons and single answers, one file each: `cost_N = holdfast.preference.rdpo(pairs, flip=0.2)`."""

from holdfast.preference.cdpo import cdpo
from holdfast.preference.cpo import cpo
from holdfast.preference.dpo import dpo
from holdfast.preference.ipo import ipo
from holdfast.preference.kto import kto
from holdfast.preference.orpo import orpo
from holdfast.preference.rdpo import rdpo
from holdfast.preference.sft import sft
from holdfast.preference.simpo import simpo
from holdfast.preference.slic import slic

__all__ = ["cdpo", "cpo", "dpo", "ipo", "kto", "orpo", "rdpo", "sft", "simpo", "slic"]
