"""Hidden states beside log-probabilities: packed equals plain over families, and plain equals the
model's own states, token by token.
"""

import pytest
import torch
import transformers as hf

from holdfast.scorers.states import StateScorer
from holdfast.scorers.text import TextScorer
from holdfast.types import Tokenized
from tests.scorers.test_text import FAMILIES, make, make_items

ITEMS = make_items([(5, 7, 3), (1, 2, 9), (12, 1, 1)])


@pytest.mark.parametrize("family", ["llama", "qwen2_sliding", "gemma2_softcapped", "gpt_neox"])
def test_packed_equals_plain(family):
    scorer = StateScorer(make(FAMILIES[family]))
    with torch.no_grad():
        packed, plain = scorer.packed(ITEMS), scorer.padded(ITEMS)
    assert list(packed) == list(plain) == ["chosen", "rejected", "chosen state", "rejected state"]
    for name in packed:
        torch.testing.assert_close(packed[name].logp_NT, plain[name].logp_NT, atol=2e-5, rtol=1e-4)
    assert not scorer.verify(ITEMS).fell_back


def test_log_probabilities_are_the_text_scorer_s():
    model = make(FAMILIES["llama"])
    with torch.no_grad():
        both, alone = StateScorer(model)(ITEMS), TextScorer(model)(ITEMS)
    assert torch.equal(both["chosen"].logp_NT, alone["chosen"].logp_NT)


def test_states_are_the_mean_over_the_answer_s_own_tokens():
    model = make(FAMILIES["llama"])
    item = ITEMS[0]
    ids = torch.tensor([[*item.prompt, *item.branches["rejected"]]])
    with torch.no_grad():
        own = model(ids, output_hidden_states=True).hidden_states[-1][0, len(item.prompt) :].mean(0)
        found = StateScorer(model)(ITEMS)["rejected state"].logp_NT[0]
    torch.testing.assert_close(found, own, atol=1e-5, rtol=1e-4)


def test_an_empty_answer_has_no_state():
    items = [Tokenized([1, 5], {"chosen": [7, 2], "rejected": []})]
    scorer = StateScorer(make(FAMILIES["llama"]))
    with torch.no_grad():
        for parts in (scorer.packed(items), scorer.padded(items)):
            assert (parts["rejected state"].logp_NT == 0).all() and (
                parts["chosen state"].logp_NT != 0
            ).any()


def test_a_recurrent_model_falls_back():
    config = hf.MambaConfig(vocab_size=103, hidden_size=32, num_hidden_layers=2, state_size=8)
    scorer = StateScorer(make(config))
    assert scorer.scoring == "padded"
    with torch.no_grad():
        assert scorer(ITEMS)["chosen state"].logp_NT.shape == (3, 32)
