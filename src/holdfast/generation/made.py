"""Answers while they are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessor

from holdfast.errors import ModelError
from holdfast.generation.choose import Chooser, Chosen
from holdfast.generation.contract import Answer

ROW_MULTIPLE = 8  # elementwise kernels round a row by where threads cut the batch


@dataclass
class Made:
    """M answers while they are made, of at most T tokens."""

    ids_MT: Tensor
    logp_MT: Tensor
    sampler_logp_MT: Tensor
    length_M: Tensor  # 0 while an answer goes on
    stopped_M: Tensor

    @classmethod
    def empty(cls, answers: int, tokens: int, device: torch.device) -> Made:
        logp_MT, sampler_logp_MT = (torch.zeros(answers, tokens, device=device) for _ in range(2))
        ids_MT = torch.zeros(answers, tokens, dtype=torch.long, device=device)
        length_M = torch.zeros(answers, dtype=torch.long, device=device)
        return cls(ids_MT, logp_MT, sampler_logp_MT, length_M, length_M.bool())

    def add(self, row_N: Tensor, chosen: Chosen, t: int, stops: Tensor, limit_M: Tensor) -> Tensor:
        """Put down the tokens of some answers at position t; which of them go on."""
        n = len(row_N)
        self.ids_MT[row_N, t] = chosen.ids_N[:n]
        self.logp_MT[row_N, t] = chosen.logp_N[:n]
        self.sampler_logp_MT[row_N, t] = chosen.sampler_logp_N[:n]
        stop_N, length_N = torch.isin(chosen.ids_N[:n], stops), self.length_M[row_N]
        going_N = length_N == 0
        self.stopped_M[row_N] |= stop_N & going_N
        ends_N = going_N & (stop_N | (limit_M[row_N] <= t + 1))
        self.length_M[row_N] = torch.where(ends_N, t + 1, length_N)
        return going_N & ~ends_N

    def answers(self, prompts: Sequence[Sequence[int]]) -> list[Answer]:
        """The answers, to their M prompts."""
        logp_MT, sampler_logp_MT = self.logp_MT.cpu(), self.sampler_logp_MT.cpu()
        made = []
        for m, (prompt, ids, length, stopped) in enumerate(
            zip(
                prompts,
                self.ids_MT.tolist(),
                self.length_M.tolist(),
                self.stopped_M.tolist(),
                strict=True,
            )
        ):
            logp_T = logp_MT[m, :length].clone()
            if not bool(torch.isfinite(logp_T).all()):
                raise ModelError(
                    "the model's logits are not finite while it answers",
                    hint="look for NaN in its weights",
                )
            made.append(
                Answer(
                    tuple(prompt),
                    tuple(ids[:length]),
                    sampler_logp_MT[m, :length].clone(),
                    logp_T,
                    "stop" if stopped else "length",
                )
            )
        return made


class Choice(LogitsProcessor):
    """Leaves `generate` one token to take: the one that the chooser takes."""

    def __init__(self, chooser: Chooser, prompt: int, limit: int, stop_ids: tuple[int, ...]):
        rows, device = len(chooser.key_N), chooser.key_N.device
        self.chooser, self.prompt = chooser, prompt
        self.made = Made.empty(rows, limit, device)
        self.row_N, self.limit_N = (
            torch.arange(rows, device=device),
            torch.full((rows,), limit, device=device),
        )
        self.stops = torch.tensor(stop_ids, dtype=torch.long, device=device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        t = input_ids.shape[1] - self.prompt
        chosen = self.chooser(scores, t)
        self.made.add(self.row_N, chosen, t, self.stops, self.limit_N)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen.ids_N[:, None], 0.0)


def filled(rows: Tensor) -> tuple[Tensor, int]:
    """The rows, the last one repeated until their number is a multiple of ROW_MULTIPLE; and how
    many are real.
    """
    return torch.cat([rows, rows[-1:].expand(-len(rows) % ROW_MULTIPLE)]), len(rows)
