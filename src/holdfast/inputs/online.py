"""Inputs that are drawn from the policy at each step."""

from __future__ import annotations

from holdfast.inputs.base import Online

samples = Online(
    "samples",
    "two or more answers to each prompt that the policy draws itself, new at every step; "
    "`train` draws them",
    branch="sample",
    least=2,  # the least that a leave-one-out baseline takes
)
