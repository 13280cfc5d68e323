"""What tasks over text share: a tokenizer, and rows as token ids."""

from __future__ import annotations

import hashlib
from abc import ABC
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from holdfast.card import Method
from holdfast.data.examples import to_examples
from holdfast.data.read import Dataset as Rows
from holdfast.data.render import tokenize
from holdfast.errors import OptionError
from holdfast.models.load import context_length, load_tokenizer, tokenizer_hash
from holdfast.models.protocols import ModelSource, Tokenizer, TokenizerSource
from holdfast.scorers.reference import items_hash
from holdfast.training.examples import Examples
from holdfast.training.options import Options
from holdfast.training.router import RouterLoss, router_loss
from holdfast.training.task import Encoded, Task
from holdfast.types import Tokenized


class TextTask(Task[Tokenizer], ABC):
    """A task whose model reads token ids.

    Attributes:
        language_model: whether it is one: Hugging Face adds the load-balancing loss of a mixture of
            experts to language models alone.
    """

    language_model: bool = False

    def processor(
        self,
        given: TokenizerSource | None,
        source: ModelSource,
        model: nn.Module,
        options: Options,
        notes: list[str],
    ) -> Tokenizer:
        """The tokenizer."""
        if given is None:
            given = (
                source if not isinstance(source, nn.Module) else getattr(source, "name_or_path", "")
            )
        if not given:
            raise OptionError(
                "the model does not say where it came from, so its tokenizer cannot be found",
                hint="give tokenizer=",
            )
        return load_tokenizer(
            given, model=model, trust_remote_code=options.trust_remote_code, notes=notes
        )

    def fit_options(self, options: Options, model: nn.Module) -> Options:
        """max_tokens is what the model has positions for: beyond it the numbers mean nothing."""
        if options.max_tokens is not None:
            return options
        return replace(options, max_tokens=context_length(model))

    def encode(
        self,
        rows: Rows,
        method: Method,
        processor: Tokenizer,
        options: Options,
        quarantine: Path | None,
    ) -> Encoded:
        return encode_text(rows, method, processor, options, quarantine)

    def identity(
        self, processor: Tokenizer, options: Options, items: Sequence[Tokenized]
    ) -> dict[str, str]:
        template = f"{options.template}|{getattr(processor, 'chat_template', None)}"
        return {
            "tokenizer": tokenizer_hash(processor),
            "template": hashlib.sha256(template.encode()).hexdigest(),
            "tokens": items_hash(items),
        }

    def router(self, model: nn.Module, options: Options) -> tuple[RouterLoss | None, list[str]]:
        return router_loss(model, options.router_aux_loss, language_model=self.language_model)


def encode_text(
    rows: Rows, method: Method, tokenizer: Tokenizer, options: Options, quarantine: Path | None
) -> Encoded:
    """Rows as token ids: made into the examples that the method takes, rendered, tokenized."""
    examples = to_examples(rows, method)
    made = tokenize(
        examples.rows,
        tokenizer,
        needs=method.card.needs,
        template=options.template,
        accept_loss=options.accept_loss,
        max_tokens=options.max_tokens,
        max_prompt_tokens=options.max_prompt_tokens,
        on_bad="quarantine" if quarantine is not None else "error",
        quarantine=quarantine,
        seed=options.seed,
    )
    return Encoded(
        Examples(made.items, made.rows),
        {"examples": examples.counts, "tokenized": made.report.to_dict()},
        [*examples.lines(), *made.report.lines()],
    )
