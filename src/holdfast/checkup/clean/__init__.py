"""Remedies that need no judgement, applied to a file of preferences, and rows to judge again."""

from holdfast.checkup.clean.clean import Cleaning, clean

__all__ = ["Cleaning", "clean"]
