"""Data: read, validate, unfold, render, tokenize, and plant flaws at known rates."""

from holdfast.data import corrupt
from holdfast.data.read import Dataset, ReadReport, content_hash, read
from holdfast.data.reading import Reading
from holdfast.data.render import TokenizedSet, TokenReport, tokenize
from holdfast.data.show import show
from holdfast.data.tally import Sample
from holdfast.data.unfold import Unfolded, unfold

__all__ = [
    "Dataset",
    "ReadReport",
    "Reading",
    "Sample",
    "TokenReport",
    "TokenizedSet",
    "Unfolded",
    "content_hash",
    "corrupt",
    "read",
    "show",
    "tokenize",
    "unfold",
]
