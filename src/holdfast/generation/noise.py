"""Random numbers that are a function of where they are used: no state, no order, the same in any
batch.

A number is the SplitMix64 output (Steele, Lea and Flood 2014) at counter `lane` of a stream, and
the stream is named by (prompt seed, sample, position in the answer).
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

_BITS = (1 << 64) - 1
_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def mixed(*numbers: int) -> int:
    """A 64-bit number from several whole numbers, in their order."""
    state = 0
    for number in numbers:
        state = _mix((state ^ (number & _BITS)) + _GOLDEN & _BITS)
    return state


def exponentials(stream_N: Tensor, lanes: int) -> Tensor:
    """Independent draws from the unit exponential distribution, (N, lanes) float32, above 0.

    Args:
        stream_N: int64, the stream of each row.
    """
    lane_L = torch.arange(1, lanes + 1, device=stream_N.device) * _signed(_GOLDEN)
    bits = _mix_tensor(stream_N[:, None] + lane_L)
    uniform = (_shifted(bits, 11).double() + 0.5) * 2.0**-53
    return (-uniform.log()).float()


def streams(key_N: Tensor, position: int) -> Tensor:
    """The stream of each row at a position of its answer, from the row's key `mixed(prompt seed,
    sample)` as int64.
    """
    return _mix_tensor((key_N ^ position) + _signed(_GOLDEN))


def key(seed: int, sample: int) -> int:
    """The key of one answer, as a signed 64-bit number for a tensor."""
    return _signed(mixed(seed, sample))


def _mix(z: int) -> int:
    z = (z ^ (z >> 30)) * _FIRST & _BITS
    z = (z ^ (z >> 27)) * _SECOND & _BITS
    return z ^ (z >> 31)


def _mix_tensor(z: Tensor) -> Tensor:
    z = (z ^ _shifted(z, 30)) * _signed(_FIRST)
    z = (z ^ _shifted(z, 27)) * _signed(_SECOND)
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, bits: int) -> Tensor:
    """A logical shift to the right; that of int64 tensors copies the sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


@functools.cache
def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number
