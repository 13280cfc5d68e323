"""A small language model of one's own: a tokenizer learned from given texts and a fresh Llama,
saved as any Hugging Face user expects.

Nothing is downloaded. The model is random: teach it with `holdfast train sft`.
"""

from __future__ import annotations

import gzip
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from holdfast.data.reading import Reading
from holdfast.errors import DataError, OptionError
from holdfast.files import folder_to_write, writing

BOS, EOS, PAD = "<|begin|>", "<|end|>", "<|pad|>"
ROLES = ("system", "user", "assistant")

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' else '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)

SMALLEST_VOCABULARY = 256 + 3 + len(ROLES)


def small_model(
    texts: str | Path | Iterable[str],
    out: str | Path,
    *,
    vocab: int = 4096,
    hidden: int = 192,
    layers: int = 4,
    heads: int = 4,
    kv_heads: int | None = None,
    feed_forward: int | None = None,
    max_tokens: int = 1024,
    tied: bool = True,
    seed: int = 0,
    **reading: Any,
) -> Path:
    """Make a tokenizer and a randomly initialized Llama, and save both to `out`.

    The tokenizer is byte-level BPE learned from `texts`, so it can write any text and never needs
    an unknown token. It puts `<|begin|>` once in front of plain text; its chat template does the
    same, marks each role, and ends each assistant turn with `<|end|>`. The model is a Llama (rotary
    positions, SwiGLU, RMS norm). Of about `12 hidden^2` parameters a layer and `vocab x hidden` for
    the embedding, the defaults make 2.6 million. Weights are drawn with standard deviation 1 /
    sqrt(hidden): the customary 0.02 is that rule at a width of 2,500, and makes a narrow model slow
    to learn. The same `seed` and texts give the same files; the global random state is left alone.

    Args:
        texts: a file of texts, one a line (.txt, .txt.gz), or a file of preference rows. In Python
            also the texts.
        out: the folder to write; made if missing.
        vocab: size of the vocabulary, at most; texts with little variety may give a smaller one. At
            least 262: bytes and marks.
        hidden: width of the model.
        layers: number of transformer blocks.
        heads: attention heads; must divide `hidden` into an even width a head.
        kv_heads: key and value heads, fewer than `heads` for grouped-query attention (default: as
            many as `heads`).
        feed_forward: width of the feed-forward layer (default: 8/3 of `hidden`, rounded up to a
            multiple of 16).
        max_tokens: longest prompt and answer together, in tokens.
        tied: use one matrix for the embedding and the output.
        seed: seed of the initial weights.
        **reading: how rows are read, as for `holdfast.read`: fields of `holdfast.data.Reading`.

    Returns:
        the folder.

    Raises:
        OptionError: if the sizes do not fit together.
        DataError: if there is no text to learn from, or `texts` names no file.
    """
    _check_sizes(vocab, hidden, layers, heads, kv_heads, max_tokens)
    out = folder_to_write(out)
    how_read = Reading.of(reading, "new-model")
    tokenizer = learn_tokenizer(
        _texts(texts, how_read, Path(out)), vocab=vocab, max_tokens=max_tokens
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=feed_forward or -(-hidden * 8 // 3 // 16) * 16,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads or heads,
        max_position_embeddings=max_tokens,
        tie_word_embeddings=tied,
        initializer_range=hidden**-0.5,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    with writing(f"the model in {out}"):
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
    return out


def learn_tokenizer(
    texts: Iterable[str], *, vocab: int, max_tokens: int
) -> PreTrainedTokenizerFast:
    """Byte-level BPE with begin, end, pad and role marks, and a chat template. A word keeps the
    space before it, as in GPT-2.
    """
    texts = iter(texts)
    first = next((text for text in texts if text.strip()), None)
    if first is None:
        raise DataError(
            "there is no text to learn a tokenizer from",
            hint="pass at least one text that is not blank",
        )
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    marks = [PAD, BOS, EOS, *(f"<|{role}|>" for role in ROLES)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=marks,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(itertools.chain([first], texts), trainer)
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, core.token_to_id(BOS))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[f"<|{role}|>" for role in ROLES],
        model_max_length=max_tokens,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _check_sizes(
    vocab: int, hidden: int, layers: int, heads: int, kv_heads: int | None, max_tokens: int
) -> None:
    if vocab < SMALLEST_VOCABULARY:
        raise OptionError(
            f"vocab is {vocab}, but bytes and marks alone take {SMALLEST_VOCABULARY}",
            hint=f"--vocab {SMALLEST_VOCABULARY} or more",
        )
    for name, value in {
        "hidden": hidden,
        "layers": layers,
        "heads": heads,
        "max_tokens": max_tokens,
    }.items():
        if value < 1:
            raise OptionError(f"{name} is {value}; it must be 1 or more")
    if hidden % heads or (hidden // heads) % 2:
        raise OptionError(
            f"{heads} heads do not divide hidden = {hidden} into even widths",
            hint=f"--hidden {2 * heads * max(1, hidden // (2 * heads))}",
        )
    if kv_heads is not None and (kv_heads < 1 or heads % kv_heads):
        raise OptionError(f"kv_heads is {kv_heads}, which does not divide heads = {heads}")


def _texts(source: Any, reading: Reading, out: Path) -> Iterator[str]:
    if not isinstance(source, str | Path):
        yield from source
        return
    path = Path(source)
    if not path.exists():
        raise DataError(
            f"{path}: no such file", hint="texts is a file, or a list of texts in Python"
        )
    if re.search(r"\.(txt|text|md)(\.gz)?$", path.name):
        yield from _lines(path)
    else:
        yield from _texts_of_rows(path, reading, out)


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}:{number}: not UTF-8 ({error.reason})", hint="save the file as UTF-8"
                ) from error


def _texts_of_rows(path: Path, reading: Reading, out: Path) -> Iterator[str]:
    for row in reading.rows(path, reading.quarantine_file(out)):
        for text in (row.prompt, row.chosen, row.rejected, row.answer):
            if isinstance(text, str):
                yield text
            elif text is not None:
                yield from (str(message.get("content") or "") for message in text)
