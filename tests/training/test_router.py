"""The load-balancing loss of a mixture of experts: Hugging Face's own number and gradient of the
padded batch, in whatever pieces.
"""

import pytest
import torch
from transformers import (
    JetMoeConfig,
    JetMoeForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
)

from holdfast.errors import ModelError, RunError
from holdfast.methods import get
from holdfast.reductions.kl import kl
from holdfast.reductions.mean import mean
from holdfast.scorers.text import TextScorer
from holdfast.training.batching import split
from holdfast.training.distributed import Distributed
from holdfast.training.examples import Examples
from holdfast.training.gradient import gradient
from holdfast.training.objective import BoundObjective
from holdfast.training.policy import train
from holdfast.training.router import router_loss
from holdfast.types import Row, Tokenized

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
SIZES |= {
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
    "output_router_logits": True,
    "pad_token_id": 0,
}


def mixtral(**changes):
    torch.manual_seed(0)
    settings = {
        **SIZES,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "router_aux_loss_coef": 0.5,
        "sliding_window": None,
        **changes,
    }
    return MixtralForCausalLM(MixtralConfig(**settings)).eval()


def items(seed=0, rows=5):
    generator = torch.Generator().manual_seed(seed)

    def ids():
        return tuple(
            torch.randint(
                3, 50, (int(torch.randint(2, 9, (1,), generator=generator)),), generator=generator
            ).tolist()
        )

    return [Tokenized(ids(), {"chosen": ids(), "rejected": ids()}) for _ in range(rows)]


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def hugging_face(model, batch):
    """aux_loss and its gradient as Hugging Face has them: one right-padded forward of all chosen
    and rejected rows.
    """
    rows = [
        [*item.prompt, *item.branches[name]] for name in ("chosen", "rejected") for item in batch
    ]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    model.zero_grad(set_to_none=True)
    aux = model(input_ids=ids, attention_mask=mask, output_router_logits=True).aux_loss
    aux.backward()
    return float(aux.detach()), gradients(model)


def added(model, batch, *, scoring, tokens, reduction):
    """What the router's loss adds to the gradient of DPO, per unit of its coefficient."""
    context = Distributed(precision="fp32")
    scorer = TextScorer(model, scoring=scoring)
    method = get("simpo")
    objective = BoundObjective(method, {"beta": 2.0, "gamma": 0.5}, reduction)
    rows = Examples(batch, [Row("p", chosen="a", rejected="b") for _ in batch])
    plan = split([item.tokens for item in batch], processes=1, budget=tokens)
    found = []
    for router in (None, router_loss(model, "config")[0]):
        model.zero_grad(set_to_none=True)
        gradient(context, scorer, objective, rows, objective.first_state(), plan, router)
        found.append(gradients(model))
    without, with_it = found
    return (
        router.metrics()["aux_loss"],
        {n: (g - without.get(n, 0)) / router.coefficient for n, g in with_it.items()},
        len(plan[0]),
    )


@pytest.mark.parametrize("scoring", ["packed", "padded"])
@pytest.mark.parametrize("tokens, pieces", [(10_000, 1), (30, 4)])
@pytest.mark.parametrize("reduction", [mean(), kl(temperature=0.5)], ids=["one pass", "two passes"])
def test_any_cut_of_the_batch_gives_hugging_faces_number_and_gradient(
    scoring, tokens, pieces, reduction
):
    model, batch = mixtral(), items()
    right, slope = hugging_face(model, batch)
    aux, ours, cut = added(model, batch, scoring=scoring, tokens=tokens, reduction=reduction)
    assert (cut == 1) == (pieces == 1)
    assert aux == pytest.approx(right, rel=1e-5)
    for name, value in slope.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-5)


def test_the_mean_over_microbatches_would_be_another_number():
    model, batch = mixtral(), items()
    whole = hugging_face(model, batch)[0]
    assert (
        abs(sum(hugging_face(model, [item])[0] for item in batch) / len(batch) - whole)
        > 1e-2 * whole
    )


@pytest.mark.parametrize(
    "model",
    [
        Qwen2MoeForCausalLM(
            Qwen2MoeConfig(**SIZES, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=8)
        ),
        JetMoeForCausalLM(
            JetMoeConfig(
                **{**SIZES, "num_key_value_heads": 1},
                kv_channels=8,
                num_local_experts=4,
                num_experts_per_tok=2,
            )
        ),
    ],
    ids=lambda model: type(model).__name__,
)
def test_other_families_agree_with_themselves(model):
    found, said = router_loss(model.eval(), "config")
    assert found is not None and found.top_k == 2 and "is added" in said[0]


def test_what_is_not_added_is_said():
    assert router_loss(mixtral(), "off") == (
        None,
        ["the load-balancing loss of the model's routers is not added: router_aux_loss is off"],
    )
    assert (
        "output_router_logits is off"
        in router_loss(mixtral(output_router_logits=False), "config")[1][0]
    )
    assert "reward model" in router_loss(mixtral(), "config", language_model=False)[1][0]
    assert router_loss(mixtral(router_aux_loss_coef=0.0), "config") == (None, [])


def test_a_loss_of_another_kind_is_refused_by_name():
    model = mixtral()
    model.num_experts_per_tok = 1  # as if its own function did something else
    model.forward = lambda **_: type("Out", (), {"aux_loss": torch.tensor(1.0)})()
    with pytest.raises(
        ModelError, match="MixtralForCausalLM asks for a load-balancing loss that cannot be added"
    ):
        router_loss(model, "config")


def test_a_run_records_it_and_a_live_reference_refuses_it(tmp_path, tiny_tokenizer, pair_rows):
    folder = tmp_path / "model"
    mixtral(vocab_size=len(tiny_tokenizer)).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    how = {
        "model": folder,
        "data": pair_rows[:8],
        "batch_size": 4,
        "tokens_per_microbatch": 60,
        "learning_rate": 0.0,
    }
    run = train("dpo", out=tmp_path / "run", **how)
    assert run.record["router_aux_loss_coef"] == 0.5
    assert all(line["aux_loss"] > 0 for line in run.metrics)
    off = train("dpo", out=tmp_path / "off", router_aux_loss="off", **how)
    assert off.record["router_aux_loss_coef"] is None and all(
        "aux_loss" not in line for line in off.metrics
    )
    assert (
        off.metrics[0]["loss"] == run.metrics[0]["loss"]
        and off.metrics[0]["grad_norm"] != run.metrics[0]["grad_norm"]
    )
    with pytest.raises(RunError, match="runs its reference at every step"):
        train("tdpo", out=tmp_path / "live", **how)
