"""Rewards by function, by name, by file, and from a reward model whose scores are compared with its
own plain forward.
"""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from holdfast.errors import ModelError, OptionError
from holdfast.models.small import learn_tokenizer
from holdfast.rewards.functions import checked, judge_from, name_of, reward_from

TEXTS = ["the cat sat on the mat", "a dog ran far away"] * 5


def reward_here(prompts, answers):
    return [len(answer) for answer in answers]


@pytest.fixture(scope="module")
def reward_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reward") / "model"
    tokenizer = learn_tokenizer(TEXTS, vocab=300, max_tokens=48)
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 48,
    }
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        num_labels=1,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.5,
        **sizes,
    )
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_function_is_itself_and_has_a_name():
    assert reward_from(reward_here) is reward_here
    assert name_of(reward_here).endswith(":reward_here") and name_of("a/folder") == "a/folder"


def test_by_module_and_by_file(tmp_path):
    import holdfast.lab.worlds.text as world

    assert reward_from("holdfast.lab.worlds.text:gold") is world.gold
    file = tmp_path / "mine.py"
    file.write_text(
        "def score(prompts, answers):\n    return [len(p) + len(a) for p, a in "
        "zip(prompts, answers)]\n"
    )
    assert reward_from(f"{file}:score")(["ab"], ["c"]) == [3]
    assert judge_from(f"{file}:score")(["ab"], ["c"]) == [3]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("no.such.module:f", "no module 'no.such.module'"),
        ("holdfast.lab.worlds.text:golden", r"no function 'golden'(.|\n)*hint: it has: .*gold"),
        ("missing.py:f", "missing.py: no such file"),
    ],
)
def test_what_is_not_there_is_named(source, words):
    with pytest.raises(OptionError, match=words):
        reward_from(source)


def test_a_judge_is_no_folder(tmp_path):
    with pytest.raises(OptionError, match="does not name a judge"):
        judge_from(str(tmp_path))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0], "asked about 2 answers"),
        ([[1.0], [2.0]], r"shape \(2, 1\)"),
        ([1.0, float("nan")], "returned nan for answer 2"),
        (["a", "b"], "not return numbers"),
    ],
)
def test_what_a_reward_returns_is_checked(values, words):
    with pytest.raises(OptionError, match=words):
        checked(values, 2, "the reward")


def test_tensors_and_lists_are_taken():
    assert (
        checked(torch.tensor([1.0, 2.0], requires_grad=True), 2, "r").tolist()
        == checked([1, 2], 2, "r").tolist()
        == [1.0, 2.0]
    )


def test_a_reward_model_scores_as_its_own_forward(reward_folder):
    score = reward_from(reward_folder, batch=2)
    prompts, answers = (
        ["the cat", [{"role": "user", "content": "the dog"}], "a"],
        ["sat on the mat", "ran", "far away the cat sat"],
    )
    found = score(prompts, answers)
    model = LlamaForSequenceClassification.from_pretrained(reward_folder).eval()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(reward_folder)
    for prompt, answer, value in zip(prompts, answers, found, strict=True):
        content = prompt if isinstance(prompt, str) else prompt[0]["content"]
        text = f"<|begin|><|user|>\n{content}\n<|assistant|>\n{answer}<|end|>"
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            assert value == pytest.approx(float(model(ids).logits[0, 0]), abs=1e-5)
    assert len(np.unique(found)) == 3


def test_nothing_is_cut_off(reward_folder):
    with pytest.raises(
        ModelError, match=r"prompt and answer 2 are \d+ tokens, the reward model takes 48"
    ):
        reward_from(reward_folder)(["a", "a"], ["b", "the cat " * 40])


def test_a_model_that_is_no_reward_model_is_refused(reward_folder, tmp_path):
    with pytest.raises(ModelError, match="not a reward model"):
        reward_from(tmp_path)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_labels=3,
    )
    two = tmp_path / "three"
    LlamaForSequenceClassification(config).save_pretrained(two)
    learn_tokenizer(TEXTS, vocab=300, max_tokens=48).save_pretrained(two)
    with pytest.raises(ModelError, match="has 3 outputs"):
        reward_from(two)
