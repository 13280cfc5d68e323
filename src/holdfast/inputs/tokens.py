"""Inputs that are made where tokens are scored."""

from __future__ import annotations

from holdfast.inputs.base import TokenValue

reference = TokenValue(
    "reference",
    "a reference model",
    hint="--reference MODEL (the default is the policy as it was before training)",
    field="ref_logp_NT",
)
token_kl = TokenValue(
    "token_kl",
    "at each response token the KL divergence of the policy from the reference over the "
    "whole vocabulary; `train` keeps the reference in "
    "memory for it, as no cache could hold it",
    field="kl_NT",
    in_memory=True,
)
activation = TokenValue(
    "activation",
    "the mean activation of each layer of the reference before each response token; "
    "`train` keeps the reference in memory for it",
    field="ref_activation_NTL",
    in_memory=True,
)
head = TokenValue(
    "head",
    "a small module that reads hidden states; `train` trains it beside the policy and "
    "keeps it in checkpoints",
    field="head_NTK",
)
