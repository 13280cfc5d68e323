"""What methods that weigh tokens share: the weighed sum over an answer, and a mask of tokens that
is learned.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.inputs import head, reference, token_kl
from holdfast.types import Scored


def weighed_N(part: Scored, ratio_NT: Tensor | float, kl_NT: Tensor | float) -> Tensor:
    """sum over t of m_u(t) [log pi(y_t|s_t) - log pi_ref(y_t|s_t)] + m_d(t) KL(pi_ref || pi at
    s_t), nats. Masks of 1 count all tokens.
    """
    reference_NT, divergence_NT = reference(part), token_kl(part)
    inside_NT = part.mask_NT.bool()
    log_ratio_NT = torch.where(inside_NT, part.logp_NT - reference_NT, 0.0)
    return (ratio_NT * log_ratio_NT + kl_NT * torch.where(inside_NT, divergence_NT, 0.0)).sum(-1)


def masks_NTK(part: Scored, count: int) -> Tensor:
    """What the head says of each token, 0 outside the answer; `count` masks."""
    said_NTK = head(part)
    return torch.where(part.mask_NT.bool().unsqueeze(-1), said_NTK, 0.0)[..., :count]


class TokenMask(nn.Module):
    """K masks of tokens, at least 0 and without an upper bound, from the reference's states s_l of
    L layers before the token is read:

        m = relu( sum over layers of a_l relu(w_l . LayerNorm(s_l) + b_l) )

    New, every mask is 1 on every token: w = 0, b = 1, a = 1 / L. A mask that starts at 0 would have
        no slope to leave it by.
    """

    def __init__(self, width: int, layers: int, masks: int):
        super().__init__()
        self.inner_KLH = nn.Parameter(torch.zeros(masks, layers, width))
        self.bias_KL = nn.Parameter(torch.ones(masks, layers))
        self.outer_KL = nn.Parameter(torch.full((masks, layers), 1 / layers))

    def forward(self, states_RLH: Tensor) -> Tensor:
        normal_RLH = F.layer_norm(states_RLH.float(), states_RLH.shape[-1:])
        layer_RKL = F.relu(torch.einsum("rlh,klh->rkl", normal_RLH, self.inner_KLH) + self.bias_KL)
        return F.relu((layer_RKL * self.outer_KL).sum(-1))
