"""From rows to token ids, with every boundary checked: `tokenize`.

Prompt and answers are tokenized apart and put together, so all answers of a row share the prompt's
ids exactly. The beginning-of-sequence token stands once at the beginning (if the tokenizer uses
one), the end-of-sequence token once at the end of each answer. Nothing is truncated: a row that is
too long is a bad row, and a document is cut into windows that leave nothing out. Nothing is lost: a
row is a bad row where a chat template does not write all that it says
(`holdfast.data.conservation`), unless that loss is accepted.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from rich.progress import Progress

from holdfast.data.conservation import LOSSES, Loss, Piece, listed
from holdfast.data.fields import plain
from holdfast.data.producers import PRODUCERS, Tree, without_equals
from holdfast.data.row_errors import BadRow, RowError, RowErrors
from holdfast.data.template import AsIs, Chat, Marks, Rendered, Written, renderer
from holdfast.errors import DataError, OptionError
from holdfast.inputs.base import ExtraPrompt, Input
from holdfast.terminal import Terminal
from holdfast.types import Row, Text, Tokenized, Where

STAGE = "tokenize"
CHUNK = 1024  # rows whose texts are tokenized in one call
# rows whose prompt and answer are also tokenized as one text, to see whether the tokenizer would
# join them
LOOKED_AT = 256


@dataclass(frozen=True)
class TokenReport:
    """What tokenizing saw. `read == retained + sum(skipped.values())`; `items` is more than
    `retained` where documents were cut into windows.
    """

    template: str
    read: int
    retained: int
    items: int
    prompt_tokens: int
    response_tokens: int
    longest: int  # tokens of the longest prompt with one answer
    skipped: Mapping[str, int] = field(default_factory=dict)
    documents_cut: int = 0
    windows: int = 0  # that the cut documents gave
    unknown_tokens: int = 0
    cut_after_end: int = 0  # answers whose template wrote more after the end of sequence
    lost: Mapping[str, int] = field(
        default_factory=dict
    )  # accepted losses: what is not in the text -> rows
    refused: Mapping[str, int] = field(default_factory=dict)  # likewise of skipped for it
    notes: tuple[str, ...] = ()
    quarantine: str | None = None

    def lines(self) -> list[str]:
        """The report as text, a fact a line."""
        said = [
            f"rendered {self.read:,} rows ({self.template}): {self.retained:,} retained, giving "
            f"{self.items:,} sequences to score"
        ]
        said.append(
            f"{self.prompt_tokens:,} prompt tokens, {self.response_tokens:,} response "
            f"tokens, longest sequence {self.longest:,}"
        )
        said += [f"skipped {n:,}: {reason}" for reason, n in self.skipped.items()]
        said += [
            f"{n:,} of {self.read:,} rows: {reason} (accepted)" for reason, n in self.lost.items()
        ]
        if self.documents_cut:
            said.append(
                f"{self.documents_cut:,} documents were cut into {self.windows:,} "
                "windows; nothing was left out"
            )
        if self.unknown_tokens:
            said.append(f"{self.unknown_tokens:,} tokens are unknown to the tokenizer")
        if self.quarantine and self.skipped:
            said.append(f"skipped rows, each with its reason, are in {self.quarantine}")
        return said + [f"note: {note}" for note in self.notes]

    def to_dict(self) -> dict[str, Any]:
        """JSON's own types, for the run record."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True)
class TokenizedSet:
    """Items to score, the row of each (aligned), and the report."""

    items: list[Tokenized]
    rows: list[Row]
    report: TokenReport

    def __len__(self) -> int:
        return len(self.items)


def tokenize(
    rows: Iterable[Row],
    tokenizer: Any,
    *,
    needs: Iterable[Input] = (),
    template: str = "auto",
    accept_loss: Sequence[str] = (),
    max_tokens: int | None = None,
    max_prompt_tokens: int | None = None,
    on_bad: Literal["error", "quarantine"] | None = None,
    quarantine: str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
) -> TokenizedSet:
    """Render and tokenize rows.

    Args:
        rows: comparisons (branches "chosen" and "rejected") or single answers (branch "answer"),
            not both; see `to_examples`.
        tokenizer: of the model that will score them.
        needs: the inputs of a method; those that are made of texts (`holdfast.data.producers`) add
            branches and prompts, the others are not the renderer's.
        template: "chat", "plain", "none" (text that is in the template already), or "auto" (the
            chat template if there is one); see `holdfast.data.template`.
        accept_loss: what the template may drop: "system", "turns", "thinking", "tool_calls",
            "tools", "documents", "images". A row that loses anything else is a bad row.
        max_tokens: the most tokens of a prompt with one answer, end included. Documents are cut
            into windows of at most this many.
        max_prompt_tokens: the most tokens of the row's own prompt.
        on_bad: "error" (the default) or "quarantine" (the default when a quarantine file is named).
        quarantine: the file for bad rows.
        seed: of the mismatched answers, and of the order of answers where a rationale is asked for.
        progress: show a bar, if the terminal can.

    Raises:
        DataError: bad rows without a quarantine, no row left, or comparisons mixed with single
            answers.
        ModelError: a tokenizer without an end-of-sequence token, or a chat template whose prompt is
            no beginning of the whole.
        NeedError: an input that no such rows can give.
    """
    rows = list(rows)
    bad_rows = _quarantine(on_bad, quarantine)
    if max_tokens is not None and max_tokens < 2:
        raise OptionError(
            f"max_tokens is {max_tokens}", hint="a prompt token and an answer token need 2 at least"
        )
    if not rows:
        raise DataError(
            "there are no rows to tokenize",
            hint="check what was read, and what the method skipped",
        )
    if len({row.chosen is None for row in rows}) > 1:
        raise DataError(
            "comparisons and single answers are mixed",
            hint="make the examples of one method first: holdfast.data.to_examples(rows, method)",
        )
    marks = Marks.of(tokenizer)
    rendered = renderer(template, marks)
    needs = tuple(needs)
    maker = _Maker(
        marks, rendered, accepted(accept_loss), max_tokens, max_prompt_tokens, needs, seed
    )
    row_errors = RowErrors(STAGE, bad_rows)
    items: list[Tokenized] = []
    console = Terminal(stderr=True)
    with Progress(
        console=console, transient=True, disable=not (progress and console.is_terminal)
    ) as bar:
        task = bar.add_task("tokenizing", total=len(rows))
        for start in range(0, len(rows), CHUNK):
            for made in maker.items(rows, range(start, min(start + CHUNK, len(rows)))):
                if isinstance(made, BadRow):
                    row_errors.add(made)
                else:
                    items += made
            bar.update(task, completed=min(start + CHUNK, len(rows)))
    notes = maker.notes()
    for producer in maker.producers:
        if producer.across is None or not items:
            continue
        paired = producer.across(items, seed=seed, max_tokens=max_tokens)
        for place in paired.unfit:
            cure = "raise max_tokens"
            error = RowError(
                "no other row's answer fits beside the prompt",
                field="prompt",
                detail=f"max_tokens {max_tokens}",
                cure=cure,
            )
            row_errors.add(_bad(rows[items[place].row], error))
        items = paired.items
        notes += paired.notes
    row_errors.settle(len(rows), seen={row.where for row in rows}.__contains__)
    return TokenizedSet(
        items,
        [rows[item.row] for item in items],
        _report(items, len(rows), row_errors, maker, notes),
    )


def written_answers(
    prompts: Sequence[Text],
    answers: Sequence[Sequence[str]],
    tokenizer: Any,
    *,
    template: str = "auto",
    accept_loss: Sequence[str] = (),
) -> list[Tokenized]:
    """Prompts with answers that some model wrote, for a reward model to read: branches "0", "1",
    ... of each prompt.

    What a policy writes is judged however bad it is: an empty answer is an end-of-sequence token
    alone, one that holds such a token ends there, and a thought that the judge's template drops is
    not judged. A prompt must be rendered whole.

    Raises:
        DataError: a prompt that cannot be rendered, or not whole; its number is named.
    """
    maker = _maker(tokenizer, template, accept_loss)
    items = []
    for number, (prompt, texts) in enumerate(zip(prompts, answers, strict=True), start=1):
        row = Row(Where("prompts", number), prompt)
        item = maker.asked(row, {str(g): text for g, text in enumerate(texts)}, f"prompt {number}")
        items.append(replace(item, row=number - 1))
    return items


def tokenized_prompts(
    rows: Sequence[Row], tokenizer: Any, *, template: str = "auto", accept_loss: Sequence[str] = ()
) -> list[Sequence[int]]:
    """The prompts of rows as a model is asked them, with all that the template's generation prompt
    opens; of a document, the beginning of a sequence alone.

    Raises:
        DataError: a prompt that cannot be rendered, or not whole; its row is named.
    """
    maker = _maker(tokenizer, template, accept_loss)
    return [
        maker.asked(row, {}, str(row.where)).prompt if row.prompt else [maker.marks.start]
        for row in rows
    ]


def _maker(tokenizer: Any, template: str, accept_loss: Sequence[str]) -> _Maker:
    marks = Marks.of(tokenizer)
    return _Maker(marks, renderer(template, marks), accepted(accept_loss), None, None, (), 0)


def accepted(accept_loss: Sequence[str]) -> frozenset[Loss]:
    """The losses that are accepted. Raises OptionError for one that is not known."""
    given = [accept_loss] if isinstance(accept_loss, str) else accept_loss
    unknown = [name for name in given if name not in LOSSES]
    if unknown:
        raise OptionError(
            f"accept_loss names {unknown[0]!r}, which no template drops",
            hint=f"known are {', '.join(LOSSES)}",
        )
    return frozenset(name for name in LOSSES if name in given)


def _ended(ids: list[int], eos: int) -> list[int]:
    return [*(ids[: ids.index(eos)] if eos in ids else ids), eos]


def _quarantine(on_bad: str | None, quarantine: str | Path | None) -> Path | None:
    if on_bad not in (None, "error", "quarantine"):
        raise OptionError(f"on_bad is {on_bad!r}", hint='"error" or "quarantine"')
    if on_bad == "quarantine" and quarantine is None:
        raise OptionError(
            'on_bad="quarantine" names no file', hint='pass quarantine="quarantine.jsonl"'
        )
    if on_bad == "error" and quarantine is not None:
        raise OptionError(
            'on_bad="error" does not read quarantine=...',
            hint='leave one of them out, or pass on_bad="quarantine"',
        )
    return Path(quarantine).expanduser() if quarantine is not None else None


def _report(
    items: Sequence[Tokenized],
    read: int,
    row_errors: RowErrors,
    maker: _Maker,
    notes: Sequence[str],
) -> TokenReport:
    return TokenReport(
        template=maker.rendered.name,
        read=read,
        retained=read - row_errors.total,
        items=len(items),
        prompt_tokens=sum(len(tree.prompt) for item in items for tree in item.trees),
        response_tokens=sum(len(ids) for item in items for ids in item.answers.values()),
        longest=max(
            (
                len(tree.prompt) + max(map(len, tree.branches.values()))
                for item in items
                for tree in item.trees
            ),
            default=0,
        ),
        skipped=dict(row_errors.counts.most_common()),
        documents_cut=maker.documents_cut,
        windows=maker.windows,
        unknown_tokens=maker.unknown,
        cut_after_end=maker.rendered.cut if isinstance(maker.rendered, Chat) else 0,
        lost=dict(maker.lost.most_common()),
        refused=dict(maker.refused.most_common()),
        notes=tuple(notes),
        quarantine=str(row_errors.quarantine) if row_errors.quarantine else None,
    )


def _bad(row: Row, error: RowError) -> BadRow:
    held = {f.name: getattr(row, f.name) for f in fields(Row) if f.name != "where"}
    return BadRow(
        row.where,
        error,
        row={name: plain(value) for name, value in held.items() if value is not None},
    )


def is_document(row: Row) -> bool:
    """A text of its own: no prompt, no verdict. It is rendered plainly whatever the template, and
    may be cut into windows.
    """
    return (
        row.answer is not None
        and row.desirable is None
        and isinstance(row.prompt, str)
        and not row.prompt
    )


class _Maker:
    """Rows to items, a chunk at a time, with counts of what it met."""

    def __init__(
        self,
        marks: Marks,
        rendered: Rendered,
        accept: frozenset[Loss],
        max_tokens: int | None,
        max_prompt_tokens: int | None,
        needs: Sequence[Input],
        seed: int,
    ):
        self.marks, self.rendered, self.accept = marks, rendered, accept
        self.max_tokens, self.max_prompt_tokens = max_tokens, max_prompt_tokens
        self.producers, self.seed = (
            [PRODUCERS[need] for need in needs if isinstance(need, ExtraPrompt)],
            seed,
        )
        self.documents_cut = self.windows = self.unknown = self.looked_at = self.joined = 0
        self.lost: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._same: dict[
            int, int
        ] = {}  # one object for each token id: a list of ids then costs 8 bytes a token
        self._inside = self._written_inside()

    def items(
        self, rows: Sequence[Row], indices: Iterable[int]
    ) -> Iterator[list[Tokenized] | BadRow]:
        """The items of each of these rows, or why there are none."""
        drafts = [(index, self._draft(rows[index], index)) for index in indices]
        ids = iter(
            self.ids(
                [
                    written
                    for _, draft in drafts
                    if not isinstance(draft, RowError)
                    for written in draft.written
                ]
            )
        )
        for index, draft in drafts:
            if isinstance(draft, RowError):
                yield _bad(rows[index], draft)
                continue
            parts = [part for _ in draft.written for part in next(ids)]
            try:
                made = (
                    self._document(rows[index], parts[1])
                    if is_document(rows[index])
                    else [self._item(draft.trees, parts)]
                )
            except RowError as error:
                yield _bad(rows[index], error)
                continue
            unk = getattr(self.marks.tokenizer, "unk_token_id", None)
            self.unknown += (
                sum(part.count(unk) for part in parts)
                if unk is not None and unk != self.marks.eos
                else 0
            )
            yield [replace(item, row=index) for item in made]

    def asked(self, row: Row, texts: Mapping[str, str], who: str) -> Tokenized:
        """A row's prompt with answers that some model wrote. Raises DataError."""
        try:
            self.rendered.refuse(row.prompt, "prompt")
            written = self.rendered.write(row, texts)
            self.refuse_losses(written.lost)
            ids, *parts = self.ids([written])[0]
            branches = {
                name: _ended(part, self.marks.eos)
                for name, part in zip(written.answers, parts, strict=True)
            }
            return Tokenized(self._prompt(ids), branches)
        except RowError as error:
            raise DataError(f"{who} cannot be rendered: {error}", hint=error.cure) from error

    def ids(self, written: Sequence[Written]) -> list[list[list[int]]]:
        """For each prompt with its answers the ids of the prompt, then of each answer."""
        anchor = self.marks.anchor
        texts = [text for one in written for text in (one.prompt, *one.answers.values())]
        found = iter(self._ids(texts))
        parts = [[next(found) for _ in range(1 + len(one.answers))] for one in written]
        if anchor is not None:
            behind = [
                (one, n, text)
                for one, own in enumerate(written)
                if own.prompt
                for n, text in enumerate(own.answers.values(), 1)
            ]
            for (one, n, _), ids in zip(
                behind, self._ids([f"\n{text}" for _, _, text in behind]), strict=True
            ):
                if ids[: len(anchor)] == anchor:
                    parts[one][n] = ids[len(anchor) :]
        self._look(written, parts)
        return parts

    def _ids(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        found = self.marks.tokenizer(
            texts, add_special_tokens=False, return_attention_mask=False, verbose=False
        )["input_ids"]
        return [[self._same.setdefault(i, i) for i in ids] for ids in found]

    def _look(self, written: Sequence[Written], parts: Sequence[list[list[int]]]) -> None:
        """Whether the tokenizer would join the end of the prompt and the beginning of its first
        answer, were they one text.
        """
        some = [
            (one, ids)
            for one, ids in zip(written, parts, strict=True)
            if one.prompt and one.answers
        ][: LOOKED_AT - self.looked_at]
        whole = self._ids([one.prompt + next(iter(one.answers.values())) for one, _ in some])
        self.looked_at += len(some)
        self.joined += sum(
            ids != [*apart[0], *apart[1]] for ids, (_, apart) in zip(whole, some, strict=True)
        )

    def notes(self) -> list[str]:
        said = self.rendered.notes()
        if self.joined:
            said.append(
                f"in {self.joined:,} of the first {self.looked_at:,} rows the tokenizer "
                "would join the end of the prompt and the "
                "beginning of the answer, were they one text; they are kept apart (does "
                "the prompt end in a space?)"
            )
        return said

    def _draft(self, row: Row, index: int) -> _Draft | RowError:
        """Each tree of the row as text; of a document, its text alone, behind an empty prompt."""
        try:
            for name in ("prompt", *_answers(row)):
                self.rendered.refuse(getattr(row, name), name)
            for name in ("tools", "documents"):
                self.rendered.refuse([{"column": row.extra.get(name)}], name)
            if is_document(row):
                return _Draft(
                    [],
                    [
                        Written(
                            "",
                            {
                                "answer": row.answer
                                if isinstance(row.answer, str)
                                else str(row.answer)
                            },
                        )
                    ],
                )
            trees = [Tree(row.prompt, _answers(row))]
            if row.chosen is not None:
                for producer in self.producers:
                    if producer.beside is not None:
                        trees[0] = Tree(row.prompt, {**trees[0].answers, **producer.beside(row)})
                    if producer.trees is not None:
                        trees += producer.trees(
                            row,
                            isinstance(self.rendered, Chat),
                            random.Random(f"{self.seed} {index}"),
                        )
            written = []
            for tree in trees:
                for name, answer in tree.answers.items():
                    self.rendered.refuse(answer, name)
                one = self.rendered.write(replace(row, prompt=tree.prompt), tree.answers)
                self._refuse_vanished(one)
                written.append(one)
            self.refuse_losses(
                [piece for one in written for piece in (*one.lost, *one.lost_answers)]
            )
            return _Draft(trees, written)
        except RowError as error:
            return error

    def _refuse_vanished(self, written: Written) -> None:
        """Raises RowError for an answer of which nothing is left."""
        for name, text in written.answers.items():
            if (
                not text.replace(self.marks.tokenizer.eos_token, "").strip()
                and written.lost_answers
            ):
                detail = f"it drops {listed(written.lost_answers)}"
                cure = (
                    "take a model whose template writes it, render without the template "
                    "(--template plain), or remove the row"
                )
                raise RowError(
                    f"{self.rendered.who} writes nothing of an answer",
                    field=name,
                    detail=detail,
                    cure=cure,
                )

    def refuse_losses(self, lost: Sequence[Piece]) -> None:
        """Count a row's losses if they are accepted. Raises RowError if not."""
        if not lost:
            return
        reason = f"{self.rendered.who} drops {listed(lost)}"
        refused = list(dict.fromkeys(piece.kind for piece in lost if piece.kind not in self.accept))
        if refused:
            self.refused[reason] += 1
            accept = " ".join(f"--accept-loss {kind}" for kind in refused)
            cure = (
                f"take a template that writes it, or accept the loss: {accept} "
                f"(accept_loss={refused} in Python)"
            )
            raise RowError(reason, cure=cure)
        self.lost[reason] += 1

    def _item(self, trees: Sequence[Tree], parts: list[list[int]]) -> Tokenized:
        part = iter(parts)
        own, *others = [
            self._tree(next(part), {name: next(part) for name in tree.answers}) for tree in trees
        ]
        own = replace(own, branches=without_equals(own.branches))
        if len(own.branches) > 1 and own.branches["chosen"] == own.branches["rejected"]:
            cure = "remove the row, or use a tokenizer that tells them apart"
            raise RowError(
                "`chosen` and `rejected` are the same tokens", field="rejected", cure=cure
            )
        if self.max_prompt_tokens is not None and len(own.prompt) > self.max_prompt_tokens:
            detail, cure = (
                f"{len(own.prompt)} tokens, max_prompt_tokens {self.max_prompt_tokens}",
                "shorten the prompt, or raise max_prompt_tokens",
            )
            raise RowError("the prompt is too long", field="prompt", detail=detail, cure=cure)
        for tree in (own, *others):
            for name, ids in tree.branches.items():
                if self.max_tokens is not None and len(tree.prompt) + len(ids) > self.max_tokens:
                    detail = (
                        f"{len(tree.prompt)} tokens of prompt and {len(ids)} of answer, "
                        f"max_tokens {self.max_tokens}"
                    )
                    raise RowError(
                        "prompt and answer are too long",
                        field=name,
                        detail=detail,
                        cure="shorten them, or raise max_tokens",
                    )
        return replace(own, others=tuple(others))

    def _tree(self, prompt: list[int], answers: Mapping[str, list[int]]) -> Tokenized:
        return Tokenized(
            self._prompt(prompt), {name: self._answer(ids, name) for name, ids in answers.items()}
        )

    def _prompt(self, ids: list[int]) -> list[int]:
        marks = self.marks
        if not ids:
            return [marks.start]
        if marks.bos is not None and ids[0] != marks.bos:
            ids = [marks.bos, *ids]
        start = 0 if marks.bos is None else 1
        for what, token in (("a second beginning", marks.bos), ("an end", marks.eos)):
            if (
                token is not None
                and token in ids[start:]
                and (token not in self._inside or ids[start] == marks.bos)
            ):
                cure = "check the chat template, or take the marker out of the text"
                raise RowError(
                    f"the prompt holds {what}-of-sequence token", field="prompt", cure=cure
                )
        return ids

    def _answer(self, ids: list[int], name: str) -> list[int]:
        marks = self.marks
        if marks.eos not in ids:
            ids = [*ids, marks.eos]
        bos = marks.tokenizer.bos_token_id
        if ids.index(marks.eos) != len(ids) - 1 or (
            bos is not None and bos != marks.eos and bos in ids
        ):
            cure = "check the chat template, or take the marker out of the text"
            raise RowError(
                "an answer holds a beginning- or end-of-sequence token inside",
                field=name,
                cure=cure,
            )
        if len(ids) == 1:
            raise RowError(
                "an answer has no tokens", field=name, cure="use a tokenizer that knows this text"
            )
        return ids

    def _document(self, row: Row, ids: list[int]) -> list[Tokenized]:
        """Consecutive windows; the first token of each is predicted from BOS (or EOS, where there
        is no BOS), and the last ends in EOS.
        """
        body = self._answer(ids, "answer")
        size = len(body) if self.max_tokens is None else self.max_tokens - 1
        windows = [
            Tokenized([self.marks.start], {"answer": body[at : at + size]})
            for at in range(0, len(body), size)
        ]
        if len(windows) > 1:
            self.documents_cut += 1
            self.windows += len(windows)
        return windows

    def _written_inside(self) -> set[int]:
        """The tokens of beginning and end that the chat template itself writes within a prompt, to
        mark its turns.
        """
        if isinstance(self.rendered, AsIs):
            return {token for token in (self.marks.bos, self.marks.eos) if token is not None}
        if not isinstance(self.rendered, Chat):
            return set()
        turns = [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ]
        try:
            ids = self._ids([self.rendered.write(Row(Where("turns", 1), turns), {}).prompt])[0]
        except RowError:
            return set()
        return {
            token
            for token in (self.marks.bos, self.marks.eos)
            if token is not None and token in ids[1:]
        }


@dataclass(frozen=True)
class _Draft:
    """A row as text: each tree's prompt and answers."""

    trees: Sequence[Tree]
    written: Sequence[Written]


def _answers(row: Row) -> dict[str, Text]:
    """The answers of a row under their branch names."""
    if row.chosen is not None and row.rejected is not None:
        return {"chosen": row.chosen, "rejected": row.rejected}
    return {"answer": row.answer if row.answer is not None else ""}
