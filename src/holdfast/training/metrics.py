"""What is measured at every step, the same for all methods, over the whole batch.

Every value is a finite-when-the-batch-is mean over rows; a mean over no rows is left out, never
NaN. Log-probabilities are sums over response tokens, in nats. Ties count as half a hit, so that a
policy that equals its reference reads 0.5.

The names are TRL's where it has them, so that a dashboard made for its trainers reads these runs.
BRANCH is chosen, rejected, or answer (desirable and undesirable where answers are judged).

    loss                        what was minimized, without the router's loss
    aux_loss                    load-balancing loss of a mixture of experts, before its coefficient;
                                only where it is added
    rewards/BRANCH              mean implicit reward, beta (log pi(y) - log pi_ref(y)); beta is 1
                                for
                                a method that has none
    rewards/margins             mean of chosen less rejected reward: beta h
    rewards/accuracies          share of pairs with h > 0, where h = log pi(y_w)/pi_ref(y_w) -
                                log pi(y_l)/pi_ref(y_l)
    logps/BRANCH                mean log pi(y), nats
    grad_norm, learning_rate, epoch        of the step (`loop.py`)
    kl                          mean log pi(y) - log pi_ref(y) of answers that the policy drew for
                                this batch: an unbiased estimate of the KL, nats; only where the
                                method draws answers
    kl/k3_on_data               mean over tokens of exp(-d) - 1 + d, d = log pi - log pi_ref. The
                                tokens come from the data and not from the policy, so this is a
                                proxy of the KL and no estimate of it
    kl/forward_on_data          mean over tokens of KL(pi_ref || pi) of the next token, over the
                                whole vocabulary; only where it is scored
    cost/mean                   the mean of the costs, whatever the reduction
    log_ratios/BRANCH           mean log pi(y) - log pi_ref(y), nats: where the mass of chosen and
                                rejected answers went
    log_ratios/margin           mean h, nats
    logps_per_token/BRANCH      mean over answers of log pi(y) / |y|, nats per token
    length/BRANCH               mean response tokens
    ranking/accuracy            share of pairs where the policy itself finds the chosen answer
                                likelier
    ranking/reference_accuracy  the same of the reference
    head/mean, head/zeros       mean of what a method's head says of a token of the answers
                                compared,
                                such as its mask, and the share of tokens where it is exactly 0
    corruption_levels/accuracy  share of copies whose corruption level the head tells; near 1 after
                                a few steps the task is too easy to teach much
    state/...                   what the method carries to the next step, such as each rater's
                                reliability: one number a rater, or of more than twenty raters the
                                least, the mean and the greatest
    adversary/...               how the reduction weighs rows: effective sample size 1 / sum p^2,
                                largest weight, weight of each group
"""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from holdfast.inputs import group, label, samples
from holdfast.inputs.prompts import copies_of
from holdfast.training.objective import BatchResult
from holdfast.types import Answers, Batch, Pairs, Scored

RATERS_SHOWN = 20


def batch_metrics(
    result: BatchResult, *, groups: Sequence[str] = (), robust: bool = False
) -> dict[str, float]:
    """The metrics of one scored batch. `robust` adds the adversary's weights."""
    batch = result.batch
    out = {"loss": float(result.total), "cost/mean": float(result.cost_N.mean())}
    if isinstance(batch, Pairs):
        out |= _pairs(batch, result.beta)
    out |= _branches(batch, result.beta)
    if robust:
        out |= adversary_metrics(result.adversary_N, group.of(batch), groups)
    return out


def accuracy(margin_N: Tensor) -> float:
    """Share of margins above zero, a tie counting half; NaN where a margin is."""
    right_N = (margin_N > 0).float() + 0.5 * (margin_N == 0).float()
    return float(right_N.where(~margin_N.isnan(), torch.nan).mean())


def _pairs(pairs: Pairs, beta: float) -> dict[str, float]:
    out = {"ranking/accuracy": accuracy(pairs.chosen.logp_N - pairs.rejected.logp_N)}
    if pairs.chosen.ref_logp_NT is not None:
        out["ranking/reference_accuracy"] = accuracy(
            pairs.chosen.ref_logp_N - pairs.rejected.ref_logp_N
        )
        out["rewards/accuracies"] = accuracy(pairs.margin_N)
        out["rewards/margins"] = beta * float(pairs.margin_N.mean())
        out["log_ratios/margin"] = float(pairs.margin_N.mean())
        if samples.of(pairs):
            out["kl"] = float(
                torch.stack([sample.log_ratio_N for sample in samples.of(pairs)]).mean()
            )
    return out | _tokens(pairs)


def _tokens(pairs: Pairs) -> dict[str, float]:
    """What was scored beside log-probabilities, over the tokens of both answers."""
    both = [part for part in (pairs.chosen, pairs.rejected) if part.mask_NT.any()]
    out: dict[str, float] = {}
    divergences = [part.kl_NT[part.mask_NT.bool()] for part in both if part.kl_NT is not None]
    if divergences:
        out["kl/forward_on_data"] = float(torch.cat(divergences).mean())
    if copies_of(pairs, "chosen"):
        return out | _degrees(pairs)
    said = [part.head_NTK[part.mask_NT.bool()] for part in both if part.head_NTK is not None]
    if said:
        said_RK = torch.cat(said)
        out |= {
            "head/mean": float(said_RK.mean()),
            "head/zeros": float((said_RK == 0).float().mean()),
        }
    return out


def _degrees(pairs: Pairs) -> dict[str, float]:
    hits = []
    for answer, whole in (("chosen", pairs.chosen), ("rejected", pairs.rejected)):
        for degree, part in enumerate([whole, *copies_of(pairs, answer)]):
            there_N = part.length_N > 0
            if part.head_NTK is not None and bool(there_N.any()):
                last_N = part.length_N.long()[there_N] - 1
                hits.append(part.head_NTK[there_N, last_N].argmax(-1) == degree)
    return {"corruption_levels/accuracy": float(torch.cat(hits).float().mean())} if hits else {}


def _branches(batch: Batch, beta: float) -> dict[str, float]:
    out: dict[str, float] = {}
    for name, scored, keep_N in _named_answers(batch):
        if not bool(keep_N.any()):
            continue
        out[f"logps/{name}"] = float(scored.logp_N[keep_N].mean())
        out[f"logps_per_token/{name}"] = float(scored.mean_logp_N[keep_N].mean())
        out[f"length/{name}"] = float(scored.length_N[keep_N].float().mean())
        if scored.ref_logp_NT is not None:
            out[f"log_ratios/{name}"] = float(scored.log_ratio_N[keep_N].mean())
            out[f"rewards/{name}"] = beta * out[f"log_ratios/{name}"]
    compared = [
        scored for name in batch.MAIN if (scored := batch.parts[name]).ref_logp_NT is not None
    ]
    tokens = sum(float(scored.mask_NT.sum()) for scored in compared)
    if tokens:
        out["kl/k3_on_data"] = sum(float(_k3(scored)) for scored in compared) / tokens
    return out


def _named_answers(batch: Batch) -> list[tuple[str, Scored, Tensor]]:
    """Branches by name, and which rows count; judged answers apart by their verdict, so that
    praised and blamed can be told apart.
    """
    judged_N = label.of(batch)
    if isinstance(batch, Answers) and judged_N is not None:
        good_N = judged_N.bool()
        return [("desirable", batch.answer, good_N), ("undesirable", batch.answer, ~good_N)]
    parts = ((name, batch.parts[name]) for name in batch.MAIN)
    return [
        (name, scored, torch.ones_like(scored.length_N, dtype=torch.bool)) for name, scored in parts
    ]


def _k3(scored: Scored) -> Tensor:
    assert scored.ref_logp_NT is not None
    d_NT = torch.where(scored.mask_NT.bool(), scored.logp_NT - scored.ref_logp_NT, 0.0)
    return (torch.exp(-d_NT) - 1 + d_NT).sum()


def adversary_metrics(
    adversary_N: Tensor, group_N: Tensor | None, groups: Sequence[str]
) -> dict[str, float]:
    """How many rows the reduction really looks at, and whose."""
    total = float(adversary_N.sum())
    if not total > 0:
        return {}
    p_N = adversary_N / total
    out = {
        "adversary/effective_sample_size": float(1 / (p_N**2).sum()),
        "adversary/max_weight": float(p_N.max()),
    }
    if group_N is not None:
        out |= {
            f"adversary/group/{name}": float(p_N[group_N == k].sum())
            for k, name in enumerate(groups)
        }
    return out


def state_metrics(state: Mapping[str, Tensor], raters: Sequence[str | None]) -> dict[str, float]:
    """A method's state as numbers. Raters that were not met yet are left out."""
    out: dict[str, float] = {}
    for key, tensor in state.items():
        name = f"state/{key.removesuffix('_R')}"
        named = zip(raters or [None], tensor.reshape(-1).tolist(), strict=False)
        known = {rater or "unnamed": value for rater, value in named if math.isfinite(value)}
        if not known:
            continue
        if tensor.ndim == 0 or len(raters) < 2:
            out[name] = next(iter(known.values()))
        elif len(raters) <= RATERS_SHOWN:
            out |= {f"{name}/{rater}": value for rater, value in known.items()}
        else:
            values = list(known.values())
            out |= {
                f"{name}/least": min(values),
                f"{name}/mean": math.fsum(values) / len(values),
                f"{name}/greatest": max(values),
            }
    return out


def peak_memory_gib(device: torch.device) -> float:
    """Most memory this process has held: of the GPU if it trains on one, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def prefixed(prefix: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in metrics.items()}
