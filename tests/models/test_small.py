"""A small model of one's own: what it writes is what any Hugging Face user can load, and the same
seed gives the same files.
"""

import gzip
import hashlib

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from holdfast.errors import DataError, OptionError
from holdfast.models.small import SMALLEST_VOCABULARY, small_model

TEXTS = ["the cat sat on the mat.", "the dog ran to the cat.", "a mat is for the dog."] * 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_model(
        TEXTS,
        tmp_path_factory.mktemp("small") / "model",
        vocab=320,
        hidden=32,
        layers=2,
        heads=2,
        max_tokens=64,
        seed=3,
    )


def digest(folder):
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.iterdir())
    }


def test_it_has_the_size_that_was_asked_for(folder):
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    vocab, hidden, layers, wide = (
        len(tokenizer),
        32,
        2,
        96,
    )  # 8/3 of 32 is 85.3, up to a multiple of 16
    attention, feed_forward, norms = 4 * hidden * hidden, 3 * hidden * wide, 2 * hidden
    assert (
        model.num_parameters()
        == vocab * hidden + layers * (attention + feed_forward + norms) + hidden
    )
    assert model.config.max_position_embeddings == tokenizer.model_max_length == 64
    assert SMALLEST_VOCABULARY < vocab <= 320


def test_only_safetensors_are_written(folder):
    assert (folder / "model.safetensors").is_file()
    assert not [file for file in folder.iterdir() if file.suffix in (".bin", ".pt", ".pth")]


def test_marks_stand_exactly_once(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    assert len({bos, eos, tokenizer.pad_token_id}) == 3
    plain = tokenizer("the cat")["input_ids"]
    assert plain.count(bos) == 1 and plain[0] == bos and eos not in plain
    talk = [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "a mat."}]
    text = tokenizer.apply_chat_template(talk, tokenize=False)
    assert text == "<|begin|><|user|>\nthe cat\n<|assistant|>\na mat.<|end|>"
    chat = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert chat.count(bos) == 1 and chat.count(eos) == 1 and chat[-1] == eos
    asked = tokenizer.apply_chat_template(talk[:1], tokenize=False, add_generation_prompt=True)
    assert text.startswith(asked) and asked.endswith("<|assistant|>\n")


def test_any_text_comes_back_as_it_was(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in ("the cat sat.", "  Größe 漢字 🙂\t\n x ", "don't , stop"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_words_that_are_common_become_one_token(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer(" the", add_special_tokens=False)["input_ids"]) == 1


def test_same_seed_same_bytes_and_the_random_state_is_left_alone(folder, tmp_path):
    torch.manual_seed(11)
    before = torch.get_rng_state()
    again = small_model(
        TEXTS, tmp_path / "again", vocab=320, hidden=32, layers=2, heads=2, max_tokens=64, seed=3
    )
    assert torch.equal(before, torch.get_rng_state())
    assert digest(again) == digest(folder)
    other = small_model(
        TEXTS, tmp_path / "other", vocab=320, hidden=32, layers=2, heads=2, max_tokens=64, seed=4
    )
    assert digest(other)["model.safetensors"] != digest(folder)["model.safetensors"]
    assert digest(other)["tokenizer.json"] == digest(folder)["tokenizer.json"]


def test_texts_may_be_a_file_gzipped_or_not(folder, tmp_path):
    plain, packed = tmp_path / "texts.txt", tmp_path / "texts.txt.gz"
    plain.write_text("\n".join(TEXTS) + "\n")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    sizes = {"vocab": 320, "hidden": 16, "layers": 1, "heads": 2}
    tokenizers = [
        small_model(file, tmp_path / file.name.replace(".", "_"), **sizes) / "tokenizer.json"
        for file in (plain, packed)
    ]
    assert tokenizers[0].read_bytes() == tokenizers[1].read_bytes()


def test_texts_may_be_preference_rows(tmp_path):
    file = tmp_path / "prefs.jsonl"
    file.write_text(
        '{"prompt": "zebra zebra zebra", "chosen": "quagga quagga quagga", "rejected": '
        '"okapi okapi okapi"}\n' * 5
    )
    out = small_model(file, tmp_path / "m", vocab=330, hidden=16, layers=1, heads=2)
    tokenizer = AutoTokenizer.from_pretrained(out)
    for word in (" zebra", " quagga", " okapi"):
        assert len(tokenizer(word, add_special_tokens=False)["input_ids"]) == 1


def test_rows_that_cannot_be_used_are_set_aside_when_asked(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(
        '{"prompt": "a b", "chosen": "the sea", "rejected": ""}\n'
        + '{"prompt": "a b", "chosen": "the sea", "rejected": "c"}\n' * 3
    )
    with pytest.raises(DataError, match="rejected"):
        small_model(file, tmp_path / "m", vocab=300, hidden=8, layers=1, heads=1)
    small_model(
        file,
        tmp_path / "m",
        vocab=300,
        hidden=8,
        layers=1,
        heads=1,
        quarantine=tmp_path / "q.jsonl",
    )
    assert (tmp_path / "q.jsonl").read_text().count("\n") == 1


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_bytes(b"good\n\xff\xfe bad\n")
    with pytest.raises(DataError, match=r"texts\.txt:2: not UTF-8"):
        small_model(file, tmp_path / "m", vocab=300, hidden=16, layers=1, heads=2)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"vocab": SMALLEST_VOCABULARY - 1}, "bytes and marks alone take"),
        ({"hidden": 30, "heads": 4}, "do not divide"),
        ({"hidden": 12, "heads": 4}, "even widths"),
        ({"layers": 0}, "layers is 0"),
        ({"kv_heads": 3}, "kv_heads is 3"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(tmp_path, sizes, words):
    with pytest.raises(OptionError, match=words):
        small_model(TEXTS, tmp_path, **sizes)


def test_no_text_is_refused(tmp_path):
    with pytest.raises(DataError, match="no text"):
        small_model(["", "  \n"], tmp_path)
    with pytest.raises(DataError, match="no such file"):
        small_model(str(tmp_path / "nowhere.txt"), tmp_path)
