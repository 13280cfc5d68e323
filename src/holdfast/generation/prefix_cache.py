"""Keys and values of the prompts once each, shared by the answers to them, and of the answers in
buffers that are not moved as they grow.

The model runs its own forward. It hands new keys and values to the cache and calls the attention
function below, which reads the rest from the cache: so no mask is made, nothing is concatenated and
nothing is copied for each of the G answers to a prompt.

An answer's numbers do not depend on the rows beside it, bit for bit where the matrix products of
the machine allow: each prompt is read alone; the keys of a prompt are padded at the end of the
reduction; products over them are cut into pieces of PIECE tokens, because MKL divides longer ones
by their total length; a prompt has at least four query rows, because smaller products take other
kernels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, DynamicCache

NAME = "holdfast-generation"
PIECE, ALIGN, FEWEST_QUERIES = 128, 16, 4
FIRST_CAPACITY = 64  # tokens of an answer that the buffers hold at first; they double


class UnservedError(Exception):
    """What this model does differently from the attention that the cache serves."""


class _Layer:
    """Keys and values of one layer: of P prompts, and of N answers as far as they are made. Read
    first, share then.
    """

    keys_PKLD: Tensor
    values_PKLD: Tensor
    keys_NKTD: Tensor
    values_NKTD: Tensor

    def __init__(self) -> None:
        self.prompts: list[tuple[Tensor, Tensor]] = []

    def read(self, key: Tensor, value: Tensor) -> None:
        self.prompts.append((key, value))

    def share(self, lengths: list[int], rows: int, capacity: int) -> None:
        if [key.shape[2] for key, _ in self.prompts] != lengths:
            raise UnservedError("a layer keeps other states than keys and values of each token")
        longest = _aligned(max(lengths))
        self.keys_PKLD, self.values_PKLD = (
            torch.cat([pad(x, (0, 0, 0, longest - x.shape[2])) for x in parts])
            for parts in zip(*self.prompts, strict=True)
        )
        self.keys_NKTD, self.values_NKTD = (
            x.new_empty(rows, x.shape[1], capacity, x.shape[3]) for x in self.prompts[0]
        )
        self.prompts.clear()

    def grow(self, capacity: int) -> None:
        more = (0, 0, 0, capacity - self.keys_NKTD.shape[2])
        self.keys_NKTD, self.values_NKTD = pad(self.keys_NKTD, more), pad(self.values_NKTD, more)

    def keep(self, rows: Tensor, tokens: int, prompts: Tensor | None, longest: int) -> None:
        """These rows, with as many tokens, and these prompts (None for all)."""
        kept = []
        for buffer in (self.keys_NKTD, self.values_NKTD):
            kept.append(buffer.new_empty(len(rows), *buffer.shape[1:]))
            kept[-1][:, :, :tokens] = buffer[rows, :, :tokens]
        self.keys_NKTD, self.values_NKTD = kept
        if prompts is not None:
            self.keys_PKLD, self.values_PKLD = (
                x[prompts, :, :longest].contiguous() for x in (self.keys_PKLD, self.values_PKLD)
            )


def _aligned(tokens: int) -> int:
    return -(-tokens // ALIGN) * ALIGN


class Rows:
    """Which N rows the cache holds: their prompt, and the slots (prompts x G) in which rows of one
    prompt meet its keys.
    """

    def __init__(self, prompt_N: Tensor, prompts: int, fewest: int):
        count_P = torch.bincount(prompt_N, minlength=prompts)
        self.prompts, self.slots = prompts, max(int(count_P.max()), fewest)
        self.prompt_N = prompt_N
        self.dense = bool((count_P == self.slots).all())
        first_P = count_P.cumsum(0) - count_P
        place_N = torch.arange(len(prompt_N), device=prompt_N.device) - first_P[prompt_N]
        self.slot_N = prompt_N * self.slots + place_N
        self.row_S = torch.zeros(
            prompts * self.slots, dtype=torch.long, device=prompt_N.device
        ).index_copy_(0, self.slot_N, torch.arange(len(prompt_N), device=prompt_N.device))

    def into_slots(self, x: Tensor) -> Tensor:
        return x if self.dense else x.index_select(0, self.row_S)

    def out_of_slots(self, x: Tensor) -> Tensor:
        return x if self.dense else x.index_select(0, self.slot_N)


class PrefixCache(DynamicCache):
    """What a model writes keys and values to. First each prompt is read with `reading`, then
    `share`, then one forward a token.
    """

    def __init__(self, most_new_tokens: int) -> None:
        super().__init__()
        self.most = most_new_tokens
        self.kv: dict[int, _Layer] = {}
        self.lengths: list[int] = []
        self.held = 0  # tokens of the answers in the buffers, before the current forward
        self.rows: Rows | None = None
        self.windows: set[int] = set()  # that the attention was asked for
        self._pending: int | None = None
        self._bias: dict[int | None, Tensor | None] = {}

    # ------------------------------------------------------------ what a model asks of a cache

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Leaves the writing to the attention: some models cache less than they attend to (latent
        attention) and expand what comes back.
        """
        self._settled()
        self._pending = layer_idx
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0 if self.rows is None else max(self.lengths) + self.held

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        return self.get_seq_length(layer_idx) + query_length, 0

    # ------------------------------------------------------------ prompts and rows

    def read(self, tokens: int) -> None:
        """A prompt of that many tokens was read."""
        self._settled()
        self.lengths.append(tokens)

    def share(self, prompt_N: Tensor) -> None:
        """All prompts are read; from now on N rows answer them, row n the prompt `prompt_N[n]`,
        rows of one prompt side by side.
        """
        capacity = min(FIRST_CAPACITY, self.most)
        for layer in self.kv.values():
            layer.share(self.lengths, len(prompt_N), capacity)
        self._capacity = capacity
        self.length_P = torch.tensor(self.lengths, device=prompt_N.device)
        self.rows = Rows(prompt_N, len(self.lengths), FEWEST_QUERIES)

    def advance(self) -> None:
        """A forward is done."""
        self._settled()
        self.held += 1
        self._bias.clear()
        if self.held == self._capacity < self.most:
            self._capacity = min(2 * self._capacity, self.most)
            for layer in self.kv.values():
                layer.grow(self._capacity)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone, and with the prompts that they answer."""
        assert self.rows is not None
        prompt_N = self.rows.prompt_N[rows]
        prompts, prompt_N = torch.unique_consecutive(prompt_N, return_inverse=True)
        longest = _aligned(int(self.length_P[prompts].max()))
        for layer in self.kv.values():
            layer.keep(
                rows, self.held, None if len(prompts) == len(self.lengths) else prompts, longest
            )
        self.length_P = self.length_P[prompts]
        self.lengths = self.length_P.tolist()
        self.rows = Rows(prompt_N, len(prompts), FEWEST_QUERIES)
        self._bias.clear()

    def _settled(self) -> None:
        """Whatever was written was attended to."""
        if self._pending is not None:
            raise UnservedError(
                "it does not look its attention function up where transformers keeps them"
            )

    # ------------------------------------------------------------ attention

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float,
        window: int | None,
        softcap: float | None,
    ) -> Tensor:
        """query (N, heads, L, width) -> (N, L, heads, width)."""
        index, self._pending = self._pending, None
        if index is None:
            raise UnservedError("a layer attends to keys that are not its own")
        if window is not None:
            self.windows.add(window)
        if self.rows is None:
            self.kv.setdefault(index, _Layer()).read(key, value)
            return _read_prompt(query, key, value, scaling, window, softcap)
        if index not in self.kv or key.shape[2] != 1:
            raise UnservedError("a layer reads the prompts and the answers differently")
        layer, rows, tokens = self.kv[index], self.rows, self.held + 1
        keys_PKLD, values_PKLD, keys_NKTD, values_NKTD = (
            layer.keys_PKLD,
            layer.values_PKLD,
            layer.keys_NKTD,
            layer.values_NKTD,
        )
        keys_NKTD[:, :, self.held], values_NKTD[:, :, self.held] = key[:, :, 0], value[:, :, 0]
        n, heads, _, width = query.shape
        p, k, length, _ = keys_PKLD.shape
        g, r, out_width = rows.slots, heads // k, values_PKLD.shape[3]
        first = 0 if window is None else max(0, tokens - window)
        query_BRD = (query * scaling).view(n * k, r, width)
        own_keys = keys_NKTD.view(n * k, -1, width)[:, first:tokens]
        own_values = values_NKTD.view(n * k, -1, out_width)[:, first:tokens]
        own_BRT = torch.bmm(query_BRD, own_keys.transpose(1, 2))
        query_PKGRD = (
            rows.into_slots(query_BRD.view(n, -1))
            .view(p, g, k, r, width)
            .transpose(1, 2)
            .reshape(p * k, g * r, width)
        )
        prompt_PKGRL = torch.bmm(
            query_PKGRD, keys_PKLD.view(p * k, length, width).transpose(1, 2)
        ).view(p, k, g, r, length)
        prompt_NL = rows.out_of_slots(prompt_PKGRL.transpose(1, 2).reshape(p * g, -1))
        own = tokens - first
        score_BRS = torch.cat([own_BRT, prompt_NL.view(n * k, r, length)], 2)
        if softcap is not None:
            score_BRS = torch.tanh(score_BRS / softcap) * softcap
        bias_N1L = self._visible(window, length)
        if bias_N1L is not None:
            score_BRS.view(n, k * r, own + length)[..., own:] += bias_N1L
        weight_BRS = score_BRS.float().softmax(-1).to(value.dtype)
        out_BRD = torch.bmm(weight_BRS[..., :own], own_values)
        weight_PKGRL = (
            rows.into_slots(weight_BRS[..., own:].reshape(n, -1))
            .view(p, g, k, r, length)
            .transpose(1, 2)
        )
        out_PKGRD = _product(
            weight_PKGRL.reshape(p * k, g * r, length), values_PKLD.view(p * k, length, out_width)
        )
        out_ND = rows.out_of_slots(
            out_PKGRD.view(p, k, g, r, out_width).transpose(1, 2).reshape(p * g, -1)
        )
        return out_BRD.view(n, -1).add_(out_ND).view(n, 1, heads, out_width)

    def _visible(self, window: int | None, length: int) -> Tensor | None:
        """What is added to the scores of prompt tokens: -inf where a row must not look. None if all
        see everything.
        """
        if window not in self._bias:
            assert self.rows is not None
            at_L = torch.arange(length, device=self.length_P.device)
            hidden_PL = at_L >= self.length_P[:, None]
            if window is not None:
                hidden_PL |= at_L <= self.length_P[:, None] + self.held - window
            bias_PL = torch.zeros(hidden_PL.shape, device=at_L.device).masked_fill_(
                hidden_PL, -torch.inf
            )
            self._bias[window] = (
                bias_PL[self.rows.prompt_N][:, None] if bool(hidden_PL.any()) else None
            )
        return self._bias[window]


def _product(weight_BQL: Tensor, values_BLD: Tensor) -> Tensor:
    out = torch.bmm(weight_BQL[..., :PIECE], values_BLD[:, :PIECE])
    for start in range(PIECE, values_BLD.shape[1], PIECE):
        out.baddbmm_(weight_BQL[..., start : start + PIECE], values_BLD[:, start : start + PIECE])
    return out


def _read_prompt(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """Causal attention of one prompt: (1, heads, L, width) -> (1, L, heads, width)."""
    length, groups = query.shape[2], query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    if softcap is None and (window is None or length <= window):
        return (
            scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)
            .transpose(1, 2)
            .contiguous()
        )
    at_L = torch.arange(length, device=query.device)
    hidden_LL = at_L[None] > at_L[:, None]
    if window is not None:
        hidden_LL |= at_L[None] <= at_L[:, None] - window
    score = query @ key.transpose(-1, -2) * scaling
    if softcap is not None:
        score = torch.tanh(score / softcap) * softcap
    weight = score.float().masked_fill(hidden_LL, -torch.inf).softmax(-1).to(value.dtype)
    return (weight @ value).transpose(1, 2).contiguous()


# ------------------------------------------------------------ where a model looks its attention up

_active: ContextVar[PrefixCache] = ContextVar("holdfast-generation")
UNREAD = (
    "s_aux",
    "position_bias",
    "sinks",
    "indices",
    "block_indices",
)  # terms of the attention that the cache does not serve


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    if attention_mask is not None or any(kwargs.get(name) is not None for name in UNREAD):
        raise UnservedError("its attention has a mask or a term of its own")
    scaling = kwargs.get("scaling")
    scaling = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    return _active.get().attend(
        query, key, value, scaling, kwargs.get("sliding_window"), kwargs.get("softcap")
    ), None


AttentionInterface.register(
    NAME, _attention
)  # transformers makes no mask for an attention that has no mask function


@contextlib.contextmanager
def attention_of(model: Any) -> Iterator[None]:
    """Within, the model attends through the cache that is `active`.

    Raises:
        UnservedError: the model does not take an attention function.
    """
    before = {
        id(c): (c, c._attn_implementation)
        for m in model.modules()
        if (c := getattr(m, "config", None)) is not None
    }
    try:
        model.set_attn_implementation(NAME)
    except (ValueError, KeyError, AttributeError) as error:
        raise UnservedError(f"it does not take an attention function: {error}") from error
    try:
        yield
    finally:
        for config, name in before.values():
            config._attn_implementation = name


@contextlib.contextmanager
def active(cache: PrefixCache) -> Iterator[None]:
    token = _active.set(cache)
    try:
        yield
    finally:
        _active.reset(token)
