"""Rendered examples: prompt and response told apart, special tokens visible, and data never read as
markup.
"""

import io

from rich.console import Console

from holdfast.data import show, tokenize
from holdfast.types import Row, Where
from tests.data.tokenizers import make_tokenizer


def shown(rows, tokenizer, *, color=False, n=3):
    out = io.StringIO()
    got = tokenize(rows, tokenizer)
    console = Console(
        file=out,
        width=100,
        force_terminal=color,
        color_system="truecolor" if color else None,
        legacy_windows=False,
    )
    show(got.items, got.rows, tokenizer, n, console=console)
    return out.getvalue()


ROW = Row(Where("prefs.jsonl", 17), "What [bold]is[/] it?", "A [red]cat[/] 😀", "Dog\x1b[2J")


def test_prompt_and_answers_with_their_counts_and_special_tokens():
    text = shown([ROW] * 5, make_tokenizer(), n=2)
    assert "example 1 of 5, prefs.jsonl:17" in text
    assert text.count("prompt, not scored (21 tokens)") == 2
    assert "chosen, scored (19 tokens)" in text  # 14 characters, the emoji of 4 bytes, then the end
    assert "<s>What [bold]is[/] it?" in text
    assert "A [red]cat[/] 😀</s>" in text
    assert "Dog␛[2J</s>" in text


def test_color_marks_the_response_and_the_specials():
    text = shown([ROW], make_tokenizer(), color=True)
    assert "\x1b[2mWhat [bold]is[/] it?" in text
    assert "\x1b[1;32mA [red]cat[/] 😀" in text
    assert "\x1b[1;7;32m</s>" in text
    assert "\x1b[2J" not in text
