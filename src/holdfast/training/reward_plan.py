"""How many members an ensemble of reward models has, and what makes them differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from holdfast.card import check
from holdfast.errors import OptionError
from holdfast.rewards.kind import RewardMethod
from holdfast.rewards.pool import parse_pool
from holdfast.training.options import Options

MembersBy = Literal["seed", "bootstrap", "lora", "heads"]


@dataclass(frozen=True)
class Plan:
    members: int
    by: MembersBy
    shared_layers: int | None
    pool: str

    def call(self) -> dict[str, Any]:
        """For the record: nothing for a single model."""
        if self.members == 1:
            return {}
        return {
            "members": self.members,
            "members_by": self.by,
            "shared_layers": self.shared_layers,
            "pool": self.pool,
        }

    @property
    def together(self) -> bool:
        """Whether the members are trained in one model."""
        return self.by in ("lora", "heads")

    def described(self) -> str:
        share = f", {self.shared_layers} layers shared" if self.shared_layers is not None else ""
        return f"{self.members} by {self.by}{share}"


def plan_of(
    members: int,
    by: MembersBy,
    shared_layers: int | None,
    pool: str,
    options: Options,
    method: RewardMethod,
) -> Plan:
    """Raises OptionError for what contradicts itself."""
    whole = isinstance(members, int) and not isinstance(members, bool) and members >= 1
    check("members", members, whole, "be a whole number of at least 1")
    choices = ("seed", "bootstrap", "lora", "heads")
    check("members_by", by, by in choices, f"be one of {', '.join(choices)}")
    parse_pool(pool)
    if members == 1 and (by, shared_layers, pool) != ("seed", None, "mean"):
        raise OptionError(
            "members_by, shared_layers and pool are read with several members alone",
            hint="add members=4",
        )
    if members > 1 and by in ("lora", "heads") and method.name == "gaussian_reward":
        raise OptionError(
            "members of gaussian_reward have two outputs each and are trained apart",
            hint="members_by='bootstrap'",
        )
    if members > 1 and not method.scalar:
        raise OptionError(
            f"{method.name} has no one number an answer that members could be pooled by",
            hint="an ensemble is of bradley_terry or another kind that gives scores",
        )
    if shared_layers is not None and by != "lora":
        raise OptionError("shared_layers is read with members_by lora", hint="members_by='lora'")
    if by == "lora" and not options.lora_rank:
        raise OptionError("members by lora need a rank", hint="lora_rank=16 is usual")
    if by == "heads" and options.lora_rank:
        raise OptionError(
            "members by heads train their trunk whole, so lora_rank is not read",
            hint="members_by='lora' gives each member an adapter",
        )
    if by == "lora" and options.lora_targets != ("all-linear",):
        raise OptionError(
            "members by lora adapt every linear map of the upper layers, so lora_targets is not "
            "read",
            hint="leave lora_targets out, or train members_by='seed'",
        )
    if by == "lora" and options.lora_dropout:
        raise OptionError("members by lora have no lora_dropout", hint="leave lora_dropout out")
    return Plan(members, by, shared_layers, pool)
