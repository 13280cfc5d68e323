"""The divergence of two tiny models, by summing over every answer there is, against its three
estimators.
"""

import itertools

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPTNeoXConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
)

from holdfast.evaluation.kl import SampleKL, kl_estimates, sample_kl, standard_error
from holdfast.generation import Answer, Generation, HuggingFaceGenerator

EOS, VOCABULARY, LIMIT, PROMPT = 1, 4, 3, (2, 3)


def answer_of(prompt, ids):
    nothing = torch.zeros(len(ids))
    return Answer(tuple(prompt), tuple(ids), nothing, nothing, "length")


class Tokens:
    eos_token_id, pad_token_id, bos_token_id = EOS, 0, 2


def make_model(seed, spread=0.6):
    torch.manual_seed(seed)
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
    }
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            initializer_range=spread,
            eos_token_id=EOS,
            pad_token_id=0,
            bos_token_id=2,
            **sizes,
        )
    ).eval()


@pytest.fixture(scope="module")
def models():
    """Two models a moderate distance apart: beyond a few nats k3 misses its rare, huge values and
    comes out low.
    """
    policy, reference = make_model(0), make_model(1)
    with torch.no_grad():
        for ours, theirs in zip(policy.parameters(), reference.parameters(), strict=True):
            theirs.copy_(0.7 * ours + 0.3 * theirs)
    return policy, reference


def every_answer():
    """All answers of at most three tokens that end, and all that are cut off."""
    inner = [v for v in range(VOCABULARY) if v != EOS]
    for length in range(LIMIT):
        for body in itertools.product(inner, repeat=length):
            yield (*body, EOS), True
    for body in itertools.product(inner, repeat=LIMIT):
        yield body, False


def answer_logp(model, ids):
    with torch.no_grad():
        logp = model(torch.tensor([[*PROMPT, *ids]])).logits[0].double().log_softmax(-1)
    return sum(float(logp[len(PROMPT) - 1 + t, token]) for t, token in enumerate(ids))


def true_kl(policy, reference):
    logs = [(answer_logp(policy, ids), answer_logp(reference, ids)) for ids, _ in every_answer()]
    assert sum(np.exp(p) for p, _ in logs) == pytest.approx(1.0, abs=1e-6)
    return sum(np.exp(p) * (p - q) for p, q in logs)


def test_expectations_over_every_answer_are_the_divergence(models):
    """All three estimators, weighted by the policy's exact probability of each answer, give the
    exact divergence.
    """
    policy, reference = models
    answers = [answer_of(PROMPT, ids) for ids, _ in every_answer()]
    weights = np.exp([answer_logp(policy, answer.ids_T) for answer in answers])
    kl = sample_kl(policy, reference, answers)
    truth = true_kl(policy, reference)
    assert truth > 0.1
    for values in (kl.k1_N, kl.k3_N, kl.exact_N):
        assert float(weights @ values) == pytest.approx(truth, abs=1e-5)


def test_samples_give_it_within_their_intervals(models):
    policy, reference = models
    how = Generation(LIMIT, seed=3)
    (samples,) = HuggingFaceGenerator(policy, Tokens(), rows=500)(
        [PROMPT], samples=2000, seeds=how.seeds(1), generation=how
    )
    kl = sample_kl(policy, reference, samples)
    truth = true_kl(policy, reference)
    found = kl_estimates(kl, list(range(len(samples))), resamples=300, seed=0)
    assert set(found) == {"rao-blackwellized", "k1", "k3"}
    for estimate in found.values():
        assert abs(estimate["value"] - truth) < 4 * estimate["standard_error"]
        assert estimate["low"] < estimate["value"] < estimate["high"]
    assert found["rao-blackwellized"]["standard_error"] < 0.6 * found["k1"]["standard_error"]


def test_log_ratios_are_those_of_one_answer_at_a_time(models):
    """Batched with padding against one by one without."""
    policy, reference = models
    answers = [
        answer_of((2, 3, 3, 0), (3, 0, 1)),
        answer_of(PROMPT, (1,)),
        answer_of((2,), (0, 0, 3)),
    ]
    kl = sample_kl(policy, reference, answers)
    for answer, ratio in zip(answers, kl.log_ratio_N, strict=True):
        whole = torch.tensor([[*answer.prompt_ids, *answer.ids_T]])
        at = range(len(answer.prompt_ids) - 1, whole.shape[1] - 1)
        with torch.no_grad():
            difference = policy(whole).logits[0].log_softmax(-1) - reference(whole).logits[
                0
            ].log_softmax(-1)
        assert ratio == pytest.approx(
            sum(float(difference[t, whole[0, t + 1]]) for t in at), abs=1e-5
        )


WIDE = {
    "vocab_size": 20,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.4,
    "eos_token_id": EOS,
    "pad_token_id": 0,
    "bos_token_id": 2,
}


@pytest.mark.parametrize(
    "config",
    [
        GPTNeoXConfig(**WIDE),
        MistralConfig(**WIDE, num_key_value_heads=1, sliding_window=4),
        Gemma3TextConfig(
            **WIDE,
            num_key_value_heads=1,
            head_dim=8,
            sliding_window=4,
            layer_types=["sliding_attention", "full_attention"],
        ),
    ],
    ids=lambda config: config.model_type,
)
def test_padding_is_exact_in_other_families(config):
    """Padded batches against one by one: log-ratios of samples."""
    torch.manual_seed(0)
    policy, reference = (AutoModelForCausalLM.from_config(config).eval() for _ in range(2))
    rng = np.random.default_rng(0)
    sizes = [(2, 11), (9, 3), (5, 7)]
    answers = [
        answer_of(tuple(rng.integers(3, 20, p).tolist()), tuple(rng.integers(3, 20, a).tolist()))
        for p, a in sizes
    ]
    together = sample_kl(policy, reference, answers)
    apart = [sample_kl(policy, reference, [answer]) for answer in answers]
    assert together.log_ratio_N == pytest.approx([kl.log_ratio_N[0] for kl in apart], abs=1e-4)
    assert together.exact_N == pytest.approx([kl.exact_N[0] for kl in apart], abs=1e-4)


def test_a_model_is_at_no_distance_from_itself(models):
    kl = sample_kl(models[0], models[0], [answer_of(PROMPT, (3, 0, 1)), answer_of(PROMPT, (1,))])
    for values in (kl.k1_N, kl.k3_N, kl.exact_N):
        assert values == pytest.approx([0.0, 0.0], abs=1e-6)


def test_a_token_the_policy_never_takes_does_no_harm():
    policy, reference = make_model(0), make_model(1)
    answers = [answer_of(PROMPT, (3, 1))]
    policy.lm_head.weight.data[0] = 0
    policy.register_forward_hook(
        lambda module, args, out: setattr(
            out, "logits", out.logits.index_fill(-1, torch.tensor([0]), -torch.inf)
        )
    )
    assert np.isfinite(sample_kl(policy, reference, answers).exact_N).all()


def test_k3_by_hand_and_never_negative():
    kl = SampleKL(np.array([0.0, 1.0, -1.0, -1e4]), np.zeros(4))
    assert kl.k3_N[:3] == pytest.approx([0.0, np.exp(-1.0), np.e - 2])
    assert (kl.k3_N >= 0).all() and np.isfinite(kl.k3_N).all()


def test_standard_error_by_hand():
    values = np.array([1.0, 2.0, 3.0, 6.0])
    assert standard_error(values, [0, 1, 2, 3]) == pytest.approx(values.std(ddof=1) / 2)
    # two clusters, off the mean 3 by -3 and +3 in all: sqrt(2/1 * 18) / 4
    assert standard_error(values, ["a", "a", "b", "b"]) == pytest.approx(1.5)
    assert standard_error(values, ["a"] * 4) is None
